#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Compile and run the example of the README the way the README says.

usage: check_readme.py [PROJECT_DIRECTORY]

The first ```c block, at most 20 lines, is saved under the name of the .c file in the ```sh block
that follows it; that block is run beside a copy of include/, and must print exactly the ```text
block that follows. Exit status: 0 it does, 1 it does not, 2 usage, 77 no cc.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import project

MAX_LINES = 20
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def fail(text):
    print(f"README.md: {text}")
    return 1


def report(root):
    with open(os.path.join(root, "README.md"), encoding="utf-8") as f:
        blocks = BLOCK.findall(f.read())
    kinds = [kind for kind, _ in blocks]
    if "c" not in kinds:
        return fail("no ```c block: the example is missing")
    at = kinds.index("c")
    if kinds[at:at + 3] != ["c", "sh", "text"]:
        return fail("the first ```c block must be followed by a ```sh block (how to compile and "
                    "run it) and a ```text block (what it prints)")
    code, commands, expected = (text for _, text in blocks[at:at + 3])
    lines = code.count("\n")
    if lines > MAX_LINES:
        return fail(f"the example has {lines} lines, at most {MAX_LINES} are promised")
    name = re.search(r"\b[\w-]+\.c\b", commands)
    if not name:
        return fail("the ```sh block names no .c file")
    if not shutil.which("cc"):
        print("SKIP: README example: no cc")
        return 77
    with tempfile.TemporaryDirectory() as d:
        shutil.copytree(os.path.join(root, "include"), os.path.join(d, "include"))
        with open(os.path.join(d, name.group()), "w", encoding="utf-8") as f:
            f.write(code)
        p = subprocess.run(["sh", "-e", "-c", commands], cwd=d, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=60)
    if p.returncode:
        return fail(f"the example ended with status {p.returncode}:\n{p.stdout}")
    if p.stdout != expected:
        return fail(f"the example prints\n{p.stdout}but the README says\n{expected}")
    print(f"README.md: the example, {lines} lines, compiles and prints what it says")
    return 0


if __name__ == "__main__":
    sys.exit(project.main(sys.argv, __doc__, report))
