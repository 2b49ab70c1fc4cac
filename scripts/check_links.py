#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Check that the links between the project's *.md files lead somewhere.

usage: check_links.py [PROJECT_DIRECTORY]

A link is `[text](target)` outside of code, without a scheme (https:). A target must be a file or
directory of the project; an anchor, `#...`, a heading of that page, written as GitHub makes anchors.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FENCED = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.M | re.S)
CODE = re.compile(FENCED.pattern + r"|`+[^`\n]*`+", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]*)>?[^)]*\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.M)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def anchors(path):
    out = set()
    for heading in HEADING.findall(FENCED.sub("", read(path))):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        out.add(next(s for s in [slug, *(f"{slug}-{n}" for n in range(1, 99))] if s not in out))
    return out


def wrong(root, page, target):
    """What is wrong with a link of a page, or nothing."""
    path, _, anchor = target.partition("#")
    path = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
    if os.path.relpath(path, root).startswith(".."):
        return "leaves the project"
    if not os.path.exists(path):
        return "is not there"
    if anchor and (not path.endswith(".md") or anchor not in anchors(path)):
        return "names no heading there"
    return ""


def main(root=ROOT):
    count = errors = 0
    for directory, names, files in os.walk(root):
        names[:] = sorted(n for n in names if n != "build" and not n.startswith("."))
        for page in (os.path.join(directory, f) for f in sorted(files) if f.endswith(".md")):
            text = CODE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), read(page))
            for m in LINK.finditer(text):
                if re.match(r"[a-z][a-z0-9+.-]*:", m[1]):
                    continue
                count += 1
                error = wrong(root, page, m[1])
                if error:
                    errors += 1
                    line = text.count("\n", 0, m.start()) + 1
                    print(f"{os.path.relpath(page, root)}:{line}: {m[1]} {error}")
    print(f"{count} links between pages: {errors} errors")
    return 1 if errors or not count else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
