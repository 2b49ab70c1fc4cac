#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""scripts/check_matrix.sh and tests/languages/symbols.sh fail on headers that are wrong.

Seen to fail: with `true` in place of the compilation; without the comparison of symbols.
"""
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


@unittest.skipUnless(shutil.which("gcc-12"), "no gcc-12")
class CheckBuilds(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.dir = temp.name
        # Without other compilers, to be quick.
        os.mkdir(os.path.join(self.dir, "bin"))
        for name in os.listdir("/usr/bin"):
            if not name.startswith(("clang", "musl")):
                os.symlink(os.path.join("/usr/bin", name), os.path.join(self.dir, "bin", name))

    def run_on(self, script, *inside):
        p = subprocess.run(["bash", script, os.path.join(self.dir, *inside)], capture_output=True,
                           text=True, env=dict(os.environ, PATH=os.path.join(self.dir, "bin")))
        return p.returncode, p.stdout + p.stderr

    def header(self, text):
        os.mkdir(os.path.join(self.dir, "include"))
        with open(os.path.join(self.dir, "include/bpf_stream.h"), "w", encoding="utf-8") as f:
            f.write(text)

    def test_matrix(self):
        self.header(SLOPPY)
        status, out = self.run_on(MATRIX)
        self.assertEqual(status, 1)
        self.assertRegex(out, r"FAIL gcc-12 .*-std=c17 -DBPF_STREAM_PROG .*/implement\.c\n")
        self.assertIn("error: conversion from 'int' to 'char' may change value", out)
        self.assertNotRegex(out, r"FAIL gcc-12 .*-std=c11 -DBPF_STREAM_PROG .*/implement\.c\n")
        self.assertRegex(out, r"FAIL gcc-12 .*-std=c11 .*/late_static\.c\n")
        self.assertEqual(out.count("\nSKIP: its cells: clang-14 is not installed\n"), 1)
        self.assertRegex(out.splitlines()[-1], r"^[1-9]\d* passed, 6 failed, [1-9]\d* skipped$")

    def test_exports(self):
        with open(os.path.join(ROOT, "include/bpf_stream.h"), encoding="utf-8") as f:
            self.header(f.read() + STRAY)
        status, out = self.run_on(os.path.join(LANGUAGES, "symbols.sh"), "include")
        self.assertEqual(status, 1)
        self.assertIn("FAIL gcc-12 -O0: exports bpf_stream_* only\n     stray\n", out)
        self.assertIn("ok   gcc-12 -O0: exports nothing of it\n", out)


if __name__ == "__main__":
    unittest.main()
