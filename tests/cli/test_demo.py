#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What scripts/demo.sh makes of texts that people may name.

usage: test_demo.py [BINARY]     or in the environment, as STREAMCAT

To see it fail: let demo.sh measure lines with `wc -L`, which counts columns, or leave out its
bound for the length of a line, or TMPDIR, or what it does if sort fails. stress is replaced by a
program that does nothing.
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

    def run_it(self, *args, **env):
        p = subprocess.run(["bash", DEMO, *(args or (self.build, self.text))],
                           env={**os.environ, **env}, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True)
        return p.returncode, p.stdout, p.stderr

    def test_long_lines__are_measured_in_bytes__and_files_are_in_the_build_directory(self):
        with open(self.text, "wb") as f:
            f.write("ä".encode() * 30000 + b"\n" + b"\0" * 50000 + b"\0\n\nno newline")
        status, out, err = self.run_it(TMPDIR="/nonexistent")
        self.assertEqual((status, err), (0, ""), out)
        self.assertEqual(out.splitlines()[-1], "demo: all of it verified")

    def test_line__longer_than_streamcat_takes_is_refused(self):
        with open(self.text, "wb") as f:
            f.truncate((128 << 20) - 9)
        status, out, err = self.run_it()
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err, "demo: stopped: a line of 134,217,720 bytes is too long for streamcat: "
                              "at most 134,217,719, its newline included\n")

    def test_tool_that_fails__is_not_taken_for_a_fault_of_the_library(self):
        tools = os.path.join(self.build, "bin")
        os.mkdir(tools)
        with open(self.text, "w", encoding="utf-8") as f:
            f.write("a line\n")
        # The second sort is the one of what came out.
        for good in 0, 1:
            path = os.path.join(tools, "sort")
            with open(path, "w", encoding="utf-8") as f:
                f.write(f'#!/bin/sh\n[ "$(echo x >>"$0.calls"; wc -l <"$0.calls")" -le {good} ] && '
                        'exec /usr/bin/sort "$@"\necho sort: full >&2\nexit 2\n')
            os.chmod(path, 0o755)
            status, out, err = self.run_it(PATH=f"{tools}:{os.environ['PATH']}")
            os.remove(path + ".calls")
            self.assertEqual((status, err), (1, "sort: full\ndemo: stopped: sort failed\n"))
            self.assertNotRegex(out, r"NO\b|FAILED|verified")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        os.environ["STREAMCAT"] = os.path.abspath(sys.argv[1])
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.dont_write_bytecode = True
    from run_unittest import main
    sys.exit(main(["run_unittest.py", os.path.abspath(__file__)]))
