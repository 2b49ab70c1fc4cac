#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""scripts/check_versions.py fails as soon as one of the four places disagrees."""
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECK = os.path.join(ROOT, "scripts", "check_versions.py")
FILES = {
    "include/bpf_stream.h": '#define BPF_STREAM_VERSION_MAJOR 1\n#define BPF_STREAM_VERSION_MINOR'
                            ' 2\n#define BPF_STREAM_VERSION_PATCH 3\n'
                            '#define BPF_STREAM_VERSION "1.2.3"\n',
    "meson.build": "project('x', 'c',\n  version: '1.2.3',\n  meson_version: '>=1.0')\n",
    "CHANGELOG.md": "# Changes\n\n## 1.2.3 - 2026-01-01\n\n## 1.2.2\n",
}


class CheckVersions(unittest.TestCase):
    def run_on(self, files):
        with tempfile.TemporaryDirectory() as d:
            os.mkdir(os.path.join(d, "include"))
            for name, text in files.items():
                with open(os.path.join(d, name), "w", encoding="utf-8") as f:
                    f.write(text)
            p = subprocess.run([sys.executable, CHECK, d], capture_output=True, text=True)
        return p.returncode, p.stdout

    def test_equal_versions_pass(self):
        self.assertEqual(self.run_on(FILES)[0], 0)

    def test_each_place_is_compared(self):
        for name, old in (("include/bpf_stream.h", "MAJOR 1"), ("include/bpf_stream.h", "MINOR 2"),
                          ("include/bpf_stream.h", "PATCH 3"), ("include/bpf_stream.h", '"1.2.3"'),
                          ("meson.build", "'1.2.3'"), ("CHANGELOG.md", "## 1.2.3")):
            with self.subTest(name=name, old=old):
                new = old.translate(str.maketrans("123", "456"))
                status, out = self.run_on({**FILES, name: FILES[name].replace(old, new)})
                self.assertEqual(status, 1)
                self.assertIn("the versions differ", out)

    def test_a_missing_file_fails(self):
        files = {k: v for k, v in FILES.items() if k != "CHANGELOG.md"}
        status, out = self.run_on(files)
        self.assertEqual(status, 1)
        self.assertIn("CHANGELOG.md: newest entry: unreadable", out)

    def test_a_missing_version_fails(self):
        self.assertEqual(self.run_on({**FILES, "meson.build": "project('x', 'c')\n"})[0], 1)


if __name__ == "__main__":
    unittest.main()
