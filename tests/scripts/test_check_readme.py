#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""scripts/check_readme.py notices an example that is too long, does not compile or prints else."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECK = os.path.join(ROOT, "scripts", "check_readme.py")
README = """\
# x

```c
#include <stdio.h>
#include "h.h"
int main(void) { return puts(TEXT) < 0; }
```
Then

```sh
cc -Iinclude hello.c -o hello
./hello
```

```text
hello
```
"""


@unittest.skipUnless(shutil.which("cc"), "no cc")
class CheckReadme(unittest.TestCase):
    def run_on(self, readme):
        with tempfile.TemporaryDirectory() as d:
            os.mkdir(os.path.join(d, "include"))
            with open(os.path.join(d, "include", "h.h"), "w", encoding="utf-8") as f:
                f.write('#define TEXT "hello"\n')
            with open(os.path.join(d, "README.md"), "w", encoding="utf-8") as f:
                f.write(readme)
            p = subprocess.run([sys.executable, CHECK, d], capture_output=True, text=True)
        return p.returncode, p.stdout

    def broken(self, old, new, message):
        status, out = self.run_on(README.replace(old, new))
        self.assertEqual(status, 1, out)
        self.assertIn(message, out)

    def test_a_good_example_passes(self):
        status, out = self.run_on(README)
        self.assertEqual(status, 0, out)

    def test_other_output(self):
        self.broken("```text\nhello", "```text\nhallo", "but the README says")

    def test_does_not_compile(self):
        self.broken("puts(TEXT)", "puts(TEXT", "ended with status")

    def test_too_long(self):
        self.broken("int main", "\n" * 20 + "int main", "at most 20")

    def test_blocks_missing(self):
        self.broken("```text", "```", "must be followed by")
        self.broken("```c\n", "```d\n", "no ```c block")


if __name__ == "__main__":
    unittest.main()
