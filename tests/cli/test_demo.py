#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What scripts/demo.sh makes of texts that people may name.

usage: test_demo.py [BINARY]     or in the environment, as STREAMCAT

To see it fail: let demo.sh measure lines with `wc -L`, which counts columns, or leave out its
bound for the length of a line. stress is replaced by a program that does nothing.
"""
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(ROOT, "scripts", "demo.sh")


class Demo(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.build = os.path.join(temp.name, "my build")
        os.mkdir(self.build)
        os.symlink(os.environ["STREAMCAT"], os.path.join(self.build, "streamcat"))
        os.symlink("/bin/true", os.path.join(self.build, "stress"))
        self.text = os.path.join(temp.name, "a text")

    def run_it(self):
        p = subprocess.run(["bash", DEMO, self.build, self.text], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=200)
        return p.returncode, p.stdout, p.stderr

    def test_long_lines__are_measured_in_bytes(self):
        with open(self.text, "wb") as f:
            f.write("ä".encode() * 30000 + b"\n" + b"\0" * 50000 + b"\0\n\nno newline")
        status, out, err = self.run_it()
        self.assertEqual((status, err), (0, ""), out)
        self.assertEqual(out.splitlines()[-1], "demo: all of it verified")

    def test_line__longer_than_streamcat_takes_is_refused(self):
        with open(self.text, "wb") as f:
            f.truncate((128 << 20) - 9)
        status, out, err = self.run_it()
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err, "demo: a line of 134,217,720 bytes, its newline included, is too "
                              "long for streamcat: at most 134,217,719\n")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        os.environ["STREAMCAT"] = os.path.abspath(sys.argv[1])
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.dont_write_bytecode = True
    from run_unittest import main
    sys.exit(main(["run_unittest.py", os.path.abspath(__file__)]))
