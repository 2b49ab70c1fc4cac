#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Each example compiles without a warning by the commands in its opening comment, which a newcomer
copies; run in the directory of the project, as they are meant.

Seen to fail with: a variable that is not used; a wrong path of the include directory.
"""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STRICT = "-Wall -Wextra -Wpedantic -Werror"


class Commands(unittest.TestCase):
    def test_each_example_compiles_as_it_says(self):
        examples = os.path.join(ROOT, "examples")
        for name in sorted(os.listdir(examples)):
            if not name.endswith((".c", ".cpp")) or name in ("streamcat.c", "cxx_user_impl.c"):
                continue
            with self.subTest(name), tempfile.TemporaryDirectory() as d:
                if name.endswith(".cpp") and not shutil.which("c++"):
                    self.skipTest("no c++")
                with open(os.path.join(examples, name), encoding="utf-8") as f:
                    text = f.read().replace("\\\n *\t", "")
                commands = re.findall(r"^ \*\t(c(?:c|\+\+) .*)$", text, re.M)
                self.assertTrue(commands, f"{name}: its opening comment has no command")
                for directory in ("include", "examples"):
                    os.symlink(os.path.join(ROOT, directory), os.path.join(d, directory))
                for command in commands:
                    p = subprocess.run(f"{command} {STRICT}", shell=True, cwd=d, text=True,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                    self.assertEqual((p.returncode, p.stdout), (0, ""), command)
                self.assertTrue(os.path.exists(os.path.join(d, name.rsplit(".", 1)[0])))


if __name__ == "__main__":
    unittest.main()
