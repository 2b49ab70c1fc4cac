# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the scripts share that check a whole project: their one argument."""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main(argv, text, check):
    """The exit status: that of check(directory), or 2 if it cannot be read; @text is the help."""
    name = os.path.basename(argv[0])
    if argv[1:] in (["-h"], ["--help"]):
        print(text.strip())
        return 0
    if len(argv) > 2:
        print(f"usage: {name} [PROJECT_DIRECTORY] (--help says more)", file=sys.stderr)
        return 2
    root = argv[1] if len(argv) == 2 else ROOT
    if not os.path.isdir(root):
        print(f"{name}: {root}: there is no such directory; see --help", file=sys.stderr)
        return 2
    try:
        return check(root)
    except (OSError, UnicodeDecodeError) as e:
        print(f"{name}: cannot read the project in {root}: {e}", file=sys.stderr)
        return 2
