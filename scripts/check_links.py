#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Check that the links between the project's *.md files lead somewhere.

usage: check_links.py [PROJECT_DIRECTORY]

A link is `[text](target)` outside of code. A relative target must be a file or directory of the
project; an anchor, `#...`, must be a heading of that page, written as GitHub makes anchors. Links
with a scheme (https:) are not looked at. Exit status: 0 all lead somewhere, 1 not so, 2 usage.
"""
import os
import re
import sys

import project

FENCED = r"^(```|~~~).*?^\1[^\n]*$"
CODE = re.compile(FENCED + r"|`+[^`\n]*`+", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]*)>?[^)]*\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.M)


def pages(root):
    for directory, names, files in os.walk(root):
        names[:] = sorted(n for n in names if n != "build" and not n.startswith("."))
        yield from (os.path.join(directory, f) for f in sorted(files) if f.endswith(".md"))


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def without_code(text):
    """Blanks, with all lines where they were."""
    return CODE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def anchors(path):
    text = re.sub(FENCED, "", read(path), flags=re.M | re.S)
    seen, out = {}, set()
    for heading in HEADING.findall(text):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        out.add(f"{slug}-{seen[slug]}" if slug in seen else slug)
        seen[slug] = seen.get(slug, 0) + 1
    return out


def check(root):
    """Return (number of links, errors)."""
    count, errors = 0, []
    for page in pages(root):
        text = without_code(read(page))
        for m in LINK.finditer(text):
            target = m[1]
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            count += 1
            where = f"{os.path.relpath(page, root)}:{text.count(chr(10), 0, m.start()) + 1}"
            path, _, anchor = target.partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
            if os.path.relpath(path, root).startswith(".."):
                errors.append(f"{where}: {target} leaves the project")
            elif not os.path.exists(path):
                errors.append(f"{where}: there is no {target}")
            elif anchor and (not path.endswith(".md") or anchor not in anchors(path)):
                errors.append(f"{where}: {target} names no heading there")
    return count, errors


def report(root):
    count, errors = check(root)
    for text in errors:
        print(text)
    print(f"{count} links between pages: {len(errors)} errors")
    return 1 if errors or not count else 0


if __name__ == "__main__":
    sys.exit(project.main(sys.argv, __doc__, report))
