#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""scripts/check_matrix.sh and tests/languages/ fail on headers that are wrong."""
import os
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MATRIX = os.path.join(ROOT, "scripts", "check_matrix.sh")
LANGUAGES = os.path.join(ROOT, "tests", "languages")

# Compiles everywhere, but converts silently in C17 and never stops with an #error.
SLOPPY = """\
extern int declared;
#if defined(__STDC_VERSION__) && __STDC_VERSION__ > 201112L && defined(BPF_STREAM_PROG)
extern char sloppy;
static inline void f(int i) { sloppy = i; }
#endif
"""
STRAY = "\n#ifdef BPF_STREAM_IMPLEMENTATION\nint stray;\n#endif\n"


def only_gcc(directory):
    """An environment without other compilers, to be quick."""
    path = os.path.join(directory, "bin")
    os.mkdir(path)
    for name in os.listdir("/usr/bin"):
        if not name.startswith(("clang", "musl")):
            os.symlink(os.path.join("/usr/bin", name), os.path.join(path, name))
    return dict(os.environ, PATH=path)


@unittest.skipUnless(shutil.which("gcc-12"), "no gcc-12")
class CheckBuilds(unittest.TestCase):
    def run_on(self, script, header, *inside, quick=False):
        with tempfile.TemporaryDirectory() as d:
            os.makedirs(os.path.join(d, "include"))
            with open(os.path.join(d, "include", "bpf_stream.h"), "w", encoding="utf-8") as f:
                f.write(header)
            p = subprocess.run(["bash", script, os.path.join(d, *inside)], capture_output=True,
                               text=True, env=only_gcc(d) if quick else None)
        return p.returncode, p.stdout

    def test_matrix(self):
        status, out = self.run_on(MATRIX, SLOPPY)
        self.assertEqual(status, 1)
        self.assertIn("FAIL gcc-12 c17 implement -DBPF_STREAM_PROG\n", out)
        self.assertIn("conversion", out)
        self.assertNotIn("FAIL gcc-12 c11 implement -DBPF_STREAM_PROG", out)
        self.assertIn("FAIL gcc-12 c11: static copy after declarations\n", out)
        self.assertIn("FAIL gcc-12 c11: -DBPF_STREAM_SELFCHECK=-1\n", out)
        self.assertIn("it compiles, but must stop with an #error", out)
        self.assertRegex(out.splitlines()[-1], r"^\d+ passed, [1-9]\d* failed, \d+ skipped$")

    def test_exports(self):
        with open(os.path.join(ROOT, "include", "bpf_stream.h"), encoding="utf-8") as f:
            header = f.read()
        status, out = self.run_on(os.path.join(LANGUAGES, "symbols.sh"), header + STRAY, "include",
                                  quick=True)
        self.assertEqual(status, 1)
        self.assertIn("FAIL gcc-12 -O0: exports bpf_stream_* only\n     stray\n", out)
        self.assertIn("ok   gcc-12 -O0: exports nothing of it\n", out)

    def test_usage(self):
        symbols = os.path.join(LANGUAGES, "symbols.sh")
        for script, message in ((MATRIX, "check_matrix.sh: there is no include/bpf_stream.h in "),
                                (symbols, "symbols.sh: there is no bpf_stream.h in ")):
            for option in "--help", "-h":
                p = subprocess.run(["bash", script, option], capture_output=True, text=True)
                self.assertEqual((p.returncode, p.stderr), (0, ""))
                self.assertIn(f"usage: {os.path.basename(script)} [", p.stdout)
            p = subprocess.run(["bash", script, "--nosuch"], capture_output=True, text=True)
            self.assertEqual(p.returncode, 2)
            p = subprocess.run(["bash", script, "/nosuch"], capture_output=True, text=True)
            self.assertEqual((p.returncode, p.stdout), (2, ""))
            self.assertRegex(p.stderr, rf"\A{message}/nosuch\b.*\n\Z")

    def test_checks_that_are_skipped_together_are_counted_where_they_are_named(self):
        with tempfile.TemporaryDirectory() as d:
            env = dict(only_gcc(d), XDG_CACHE_HOME=os.path.join(d, "cache"))
            for name in "curl", "wget", "apt-get", "apt-cache", "dpkg-deb":
                path = os.path.join(d, "bin", name)
                if os.path.islink(path):
                    os.unlink(path)
            p = subprocess.run(["bash", os.path.join(LANGUAGES, "neighbours.sh")],
                               capture_output=True, text=True, env=env)
        self.assertRegex(p.stdout, r"\nSKIP: 32 checks: sid's headers: .+\n")

    def test_a_blank_in_the_path(self):
        with tempfile.TemporaryDirectory() as d:
            copy = os.path.join(d, "my project")
            for part in ("include", "bench", "tests/languages"):
                shutil.copytree(os.path.join(ROOT, part), os.path.join(copy, part))
            p = subprocess.run(["bash", os.path.join(copy, "tests/languages/inclusion.sh")],
                               capture_output=True, text=True, env=only_gcc(d))
        self.assertEqual((p.returncode, p.stderr), (0, ""), p.stdout)
        self.assertRegex(p.stdout.splitlines()[-1], r"^[1-9]\d+ passed, 0 failed, ")


if __name__ == "__main__":
    unittest.main()
