#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Check that header, meson.build and CHANGELOG.md name the same version.

usage: check_versions.py [PROJECT_DIRECTORY]

Exit status: 0 they agree, 1 they do not, 2 usage.
"""
import os
import re
import sys

import project

PLACES = (
    ("include/bpf_stream.h", "BPF_STREAM_VERSION",
     r'^#define\s+BPF_STREAM_VERSION\s+"([^"]*)"'),
    ("include/bpf_stream.h", "BPF_STREAM_VERSION_MAJOR, _MINOR, _PATCH",
     r"^#define\s+BPF_STREAM_VERSION_MAJOR\s+(\d+)$.*?"
     r"^#define\s+BPF_STREAM_VERSION_MINOR\s+(\d+)$.*?"
     r"^#define\s+BPF_STREAM_VERSION_PATCH\s+(\d+)$"),
    ("meson.build", "project version", r"^project\([^)]*?\bversion\s*:\s*'([^']*)'"),
    ("CHANGELOG.md", "newest entry", r"^## \[?v?(\d[^\]\s]*)"),
)


def report(root):
    found = []
    for name, what, pattern in PLACES:
        try:
            with open(os.path.join(root, name), encoding="utf-8") as f:
                m = re.search(pattern, f.read(), re.M | re.S)
        except OSError as e:
            found.append((name, what, f"unreadable ({e.strerror})"))
            continue
        found.append((name, what, ".".join(m.groups()) if m else "not found"))
    for name, what, version in found:
        print(f"{name}: {what}: {version}")
    versions = {version for _, _, version in found}
    if len(versions) > 1 or not re.fullmatch(r"\d+\.\d+\.\d+", versions.pop()):
        print("the versions differ: make them one, MAJOR.MINOR.PATCH, everywhere")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(project.main(sys.argv, __doc__, report))
