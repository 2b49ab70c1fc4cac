#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Check how wide the lines of C are: as check_header.py does for the header, in other files too.

usage: check_columns.py FILE_OR_DIRECTORY...

Of a directory all *.c and *.h are looked at. Exit status: 0 nothing wrong, 1 errors, 2 usage.
"""
import glob
import os
import sys

from check_header import Header


def files(names):
    for name in names:
        if not os.path.isdir(name):
            yield name
            continue
        for kind in ("c", "h"):
            yield from sorted(glob.glob(f"{glob.escape(name)}/**/*.{kind}", recursive=True))


def main(argv):
    if argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        return 0
    if len(argv) == 1 or argv[1].startswith("-"):
        print("usage: check_columns.py FILE_OR_DIRECTORY... (--help says what is checked)",
              file=sys.stderr)
        return 2
    looked_at = errors = 0
    for path in files(argv[1:]):
        try:
            file = Header(path)
        except (OSError, UnicodeDecodeError) as e:
            print(f"check_columns.py: cannot read {path}: {e}", file=sys.stderr)
            return 2
        file.errors = []        # what has the looks of a banner is one in the header only
        file.check_columns()
        for _, text in file.errors:
            print(text)
        errors += len(file.errors)
        looked_at += 1
    print(f"{looked_at} files: {errors} errors")
    return 1 if errors or not looked_at else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
