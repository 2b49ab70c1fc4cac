#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Check that docs/porting.md and the vocabulary of the header are the same.

usage: check_porting.py [PROJECT_DIRECTORY]

  - the page documents the words that the algorithm calls, and the atomics of [3d]: by a prototype
    in a ```c block, or in the first cell of a table
  - these prototypes are those of the built-in words in [3] and [6]
  - whatever else the algorithm takes from the environment is named: types, macros, functions
  - every environment name on the page is in the header
  - tests/unit/test_environment.c calls each word

Exit status: 0 all is so, 1 it is not.
"""
import os
import re
import sys

from check_header import BODIES, ENVIRONMENT, Header

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NAME = re.compile(r"\b(?:bse|bsi|BSE)_\w*[a-zA-Z0-9]\b(?!_)")
ATOMIC = re.compile(r"^BSE_(?:LOAD|STORE|RMW|CAS)\((\w+), [\w *]+, (\w+),", re.M)
BUILT_IN = re.compile(r"^static (?:inline )?([^;{}()#]*?[ *])\(?(bse_\w+)\)?(\([^)]*\))\n\{", re.M)
PROTOTYPE = re.compile(r"^(?!static)([\w ]*?[ *])(bs[ei]_\w+)(\([^)]*\));$", re.M)
CODE = re.compile(r"^```c\n(.*?)^```$", re.M | re.S)
KERNEL_ONLY = {"bse_take_user"}         # kernel/module tests it
BUILT_IN_ONLY = (16, 17, 18)            # of the built-in environments


def spaces(text):
    return re.sub(r"\s+", " ", text).strip()


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        return f.read()


def main(root=ROOT):
    header = Header(os.path.join(root, "include/bpf_stream.h"))
    page = read(root, "docs/porting.md")
    test = re.sub(r"/\*.*?\*/", "", read(root, "tests/unit/test_environment.c"), flags=re.S)
    code = "\n".join(header.code)
    # What the header has: built-in prototypes, all names that the algorithm uses; words are what it
    # calls, and the atomics. An environment of kernels may have its own way.
    built_in = {}
    for m in BUILT_IN.finditer(re.sub(r"\bBSE_NOINLINE ", "", code)):
        prototype = re.sub(r"\bu(32|64)\b", r"uint\1_t", f"{m[1]}{m[2]}{m[3]}")
        built_in.setdefault(m[2], set()).add(spaces(prototype))
    lines = [line for i, line in enumerate(header.code)
             if header.section[i] > 0 and header.section[i] not in (ENVIRONMENT, BODIES, *BUILT_IN_ONLY)]
    algorithm = {name for line in lines for name in NAME.findall(line)
                 if not name.startswith("bsi_")}
    words = {name for name in algorithm if name.startswith("bse_") and
             re.search(rf"\b{name}\(", "\n".join(lines))}
    for m in ATOMIC.finditer(code):
        words.add(f"bse_{m[1]}_{m[2]}")

    # What the page has: prototypes, and first cells of tables, where types stand, too.
    prototypes = {m[2]: spaces("".join(m.groups())) for block in CODE.findall(page)
                  for m in PROTOTYPE.finditer(block) if m[2].startswith("bse_")}
    cells = {name for line in page.splitlines() if line.startswith("| `bse_")
             for name in NAME.findall(line.split("|")[1])}
    types = {name for name in cells if re.search(rf"(\}}|\btype\w* \w+|struct) {name}\b", code)}
    documented = set(prototypes) | cells - types
    named = set(NAME.findall(page))

    errors = [f"{word} is not documented" for word in sorted(words - documented)]
    errors += [f"{name}: the page says `{text}`, [6] says `{'`, `'.join(sorted(built_in[name]))}`"
               for name, text in sorted(prototypes.items())
               if name in built_in and built_in[name] != {text}]
    errors += [f"{name} has no prototype on the page"
               for name in sorted(words & set(built_in) - set(prototypes))]
    errors += [f"the algorithm uses {name}, which the page does not name"
               for name in sorted(algorithm - named)]
    errors += [f"the page speaks of {name}, which is not in the header"
               for name in sorted(named - words - {"bse_x"}) if not re.search(rf"\b{name}\b", code)]
    errors += [f"tests/unit/test_environment.c does not call {word}"
               for word in sorted(words - KERNEL_ONLY) if not re.search(rf"\b{word}\s*\(", test)]
    for text in errors:
        print(f"docs/porting.md: {text}")
    print(f"docs/porting.md: {len(words)} words: {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
