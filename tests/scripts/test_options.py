#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The test programs that share tests/program.h take no option that they do not understand: each
says what is wrong on stderr, prints nothing else, and ends with 2.

In the environment: PROGRAMS, the programs that were built, separated by newlines. Their options are
those that --help shows. Seen to fail with: each check taken out of program.h; a program that does
not look at its arguments, or that takes the word of an option as it is;
programs that do not look for /proc.
"""
import os
import re
import shutil
import subprocess
import unittest

PROGRAMS = os.environ["PROGRAMS"].splitlines()
MAY_BE_ZERO = {"seed", "stream_parity --scripts", "list_parity --threads"}
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("BPF_STREAM_")}


def run(program, *args, **env):
    p = subprocess.run([program, *args], env={**ENVIRONMENT, **env}, stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=60)
    return p.returncode, p.stdout, p.stderr


# A command behind which there is nothing in /proc.
NO_PROC = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs none /proc && exec "$0" "$@"']
if not shutil.which("unshare") or run(*NO_PROC, "true")[0]:
    NO_PROC = None


class Options(unittest.TestCase):
    def refused(self, program, message, *args, **env):
        name = os.path.basename(program)
        with self.subTest(name, args=args):
            status, out, err = run(program, *args, **env)
            self.assertEqual((status, out), (2, ""))
            self.assertRegex(err, rf"^{name}: .*{message}.*; see --help\n$")

    def help(self, program, **env):
        """What it prints, and its options: name, and the text up to the next one."""
        status, out, err = run(program, "--help", **env)
        self.assertEqual((status, err), (0, ""), program)
        self.assertIn(f"usage: {os.path.basename(program)}", out)
        return out, re.findall(r"^  --(?!help)(\S+) +((?:.*\n(?! {2}\S|\n))*.*\n)", out, re.M)

    def numbers(self):
        for program in PROGRAMS:
            for option, text in self.help(program)[1]:
                if "; default: " in text:
                    yield program, option

    def test_there_are_programs(self):
        self.assertGreater(len(PROGRAMS), 10)
        self.assertGreater(len(list(self.numbers())), 15)

    def test_unknown_options_and_arguments(self):
        for program in PROGRAMS:
            arguments = re.findall(r" ([A-Z]\w+)(?= |$)", self.help(program)[0].splitlines()[0])
            for bad in "--nosuch", "-x", "-", "--MODE":
                self.refused(program, f"'{bad}': there is no such option", bad)
            if not arguments:
                self.refused(program, "'more': one argument too many", "more")
            else:
                self.refused(program, f"{arguments[0]} is missing")

    def test_short_help(self):
        for program in PROGRAMS:
            self.assertEqual(run(program, "-h"), run(program, "--help"))

    def test_values_behind_an_equals_sign(self):
        for program in PROGRAMS:
            self.refused(program, "'--seed=3': write --seed VALUE", "--seed=3")

    def test_missing_values(self):
        for program in PROGRAMS:
            for option, _ in self.help(program)[1]:
                self.refused(program, f"--{option}: needs a value", f"--{option}")

    def test_no_numbers(self):
        for program, option in self.numbers():
            for bad in "xyz", "", "-1", "12x", " 1", "0x10", "99999999999999999999":
                self.refused(program, f"--{option} '{bad}': must be a number", f"--{option}", bad)

    def test_zero(self):
        for program, option in self.numbers():
            if not {option, f"{os.path.basename(program)} --{option}"} & MAY_BE_ZERO:
                self.refused(program, f"--{option} '0': must be a number, \\d+ to", f"--{option}",
                             "0")

    def test_unknown_names(self):
        seen = set()
        for program in PROGRAMS:
            for option, text in self.help(program)[1]:
                if ":\n" in text:
                    seen.add(option)
                    self.refused(program, "there is none of that name", f"--{option}", "nosuch")
        self.assertEqual(seen, {"case", "op", "original"})

    def test_bad_seed_in_the_environment(self):
        for program in PROGRAMS:
            if "seed" in dict(self.help(program)[1]):
                self.refused(program, "BPF_STREAM_SEED 'xyz': must be a number",
                             BPF_STREAM_SEED="xyz")

    def test_particular_ones(self):
        special = {os.path.basename(program): program for program in PROGRAMS}
        self.refused(special["processes"], "MODE 'nosuch': there is none", "nosuch")
        self.refused(special["core_victim"], "WHERE 'nosuch': there is no such place", "nosuch")
        self.refused(special["stream_parity"], "only one of them", "--original", "1", "--replay",
                     "file")

    @unittest.skipUnless(NO_PROC, "mount namespaces are not allowed here")
    def test_programs_that_need_proc_say_so(self):
        for program in PROGRAMS:
            if os.path.basename(program) in ("processes", "short_lived"):
                arguments = ["private"] if program.endswith("/processes") else []
                status, out, err = run(*NO_PROC, program, *arguments)
                self.assertEqual((status, err), (77, ""), out)
                self.assertRegex(out, r"\nSKIP: .*: /proc is not mounted\n0 passed, 0 failed, 1 ")

    def test_full_unless_empty_or_0(self):
        program, = (p for p in PROGRAMS if p.endswith("/list_parity"))
        quick = self.help(program)
        for value in "", "0":
            self.assertEqual(self.help(program, BPF_STREAM_FULL=value), quick)
        self.assertNotEqual(self.help(program, BPF_STREAM_FULL="1"), quick)


if __name__ == "__main__":
    unittest.main()
