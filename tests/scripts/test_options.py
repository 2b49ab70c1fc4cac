#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The test programs that share tests/program.h take no option that they do not understand: each
says what is wrong on stderr, prints nothing else, and ends with 2.

In the environment: PROGRAMS, the programs that were built, separated by newlines. Their options are
those that --help shows. Seen to fail with: each check taken out of program.h; a program that does
not look at its arguments.
"""
import os
import re
import subprocess
import unittest

PROGRAMS = os.environ["PROGRAMS"].splitlines()


def run(program, *args, **env):
    p = subprocess.run([program, *args], env={**os.environ, **env}, stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=60)
    return p.returncode, p.stdout, p.stderr


class Options(unittest.TestCase):
    def refused(self, program, message, *args, **env):
        name = os.path.basename(program)
        with self.subTest(name, args=args):
            status, out, err = run(program, *args, **env)
            self.assertEqual((status, out), (2, ""))
            self.assertRegex(err, rf"^{name}: .*{message}.*; see --help\n$")

    def test_what_is_wrong_is_refused(self):
        self.assertGreater(len(PROGRAMS), 10)
        seen = set()
        for program in PROGRAMS:
            status, text, err = run(program, "--help")
            self.assertEqual((status, err), (0, ""), program)
            self.assertIn(f"usage: {os.path.basename(program)}", text)
            self.refused(program, "'--nosuch': there is no such option", "--nosuch")
            self.refused(program, "'--seed=3': write --seed VALUE", "--seed=3")
            argument = re.search(r" ([A-Z]\w+)(?= |$)", text.splitlines()[0])
            if argument:
                self.refused(program, f"{argument[1]} is missing")
            else:
                self.refused(program, "'more': one argument too many", "more")
            for option, about in re.findall(
                    r"^  --(?!help)(\S+) +((?:.*\n(?! {2}\S|\n))*.*\n)", text, re.M):
                self.refused(program, f"--{option}: needs a value", f"--{option}")
                if ":\n" in about:
                    self.refused(program, "there is none of that name", f"--{option}", "nosuch")
                if "; default: " in about or option == "seed":
                    for bad in "xyz", "", "-1", "12x", "99999999999999999999":
                        self.refused(program, "must be a number", f"--{option}", bad)
                if option == "seed":
                    self.refused(program, "must be a number", BPF_STREAM_SEED="xyz")
                seen.add(option)
        self.assertLess({"seed", "case", "op", "threads"}, seen)


if __name__ == "__main__":
    unittest.main()
