#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The example of README.md, at most 20 lines, compiles, runs and prints as README.md says: the first
```c block, saved under the name of the .c file in the ```sh block that follows it, which is run
beside include/, and the ```text block that follows.

Seen to fail with: another text; a parenthesis that is missing; 20 lines more; no ```text block.
"""
import os
import re
import unittest

from case import ROOT, Case, read

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


class Readme(Case):
    def test_the_example(self):
        blocks = BLOCK.findall(read("README.md"))
        first = [kind for kind, _ in blocks].index("c")
        kinds, (code, commands, expected) = zip(*blocks[first:first + 3])
        self.assertEqual(kinds, ("c", "sh", "text"))
        self.assertLessEqual(code.count("\n"), 22)
        self.write(re.search(r"\b[\w-]+\.c\b", commands).group(), code)
        os.symlink(os.path.join(ROOT, "include"), os.path.join(self.dir, "include"))
        p = self.run_command("sh", "-ec", commands, timeout=60)
        self.assertEqual((p.returncode, p.stdout), (0, expected))


if __name__ == "__main__":
    unittest.main()
