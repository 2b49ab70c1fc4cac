#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Compile and run the example of the README the way the README says.

usage: check_readme.py [PROJECT_DIRECTORY]

The first ```c block, at most 20 lines, is saved under the name of the .c file in the ```sh block
that follows it; that block is run beside a copy of include/, and must print exactly the ```text
block that follows. Exit status: 0 it does, 1 it does not.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAX_LINES = 20
BLOCKS = re.compile(r"^```c\n(.*?)^```$.*?^```sh\n(.*?)^```$.*?^```text\n(.*?)^```$", re.M | re.S)


def main(root=ROOT):
    with open(os.path.join(root, "README.md"), encoding="utf-8") as f:
        found = BLOCKS.search(f.read())
    if not found:
        sys.exit("README.md: there is no ```c block with a ```sh and a ```text block behind it")
    code, commands, expected = found.groups()
    if code.count("\n") > MAX_LINES:
        sys.exit(f"README.md: the example has {code.count(chr(10))} lines, at most {MAX_LINES}")
    with tempfile.TemporaryDirectory() as d:
        shutil.copytree(os.path.join(root, "include"), os.path.join(d, "include"))
        name = re.search(r"\b[\w-]+\.c\b", commands).group()
        with open(os.path.join(d, name), "w", encoding="utf-8") as f:
            f.write(code)
        p = subprocess.run(["sh", "-e", "-c", commands], cwd=d, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=60)
    if (p.returncode, p.stdout) != (0, expected):
        sys.exit(f"README.md: the example ended with status {p.returncode} and printed\n{p.stdout}"
                 f"but the README says\n{expected}")
    print("README.md: the example compiles and prints what it says")


if __name__ == "__main__":
    main(*sys.argv[1:])
