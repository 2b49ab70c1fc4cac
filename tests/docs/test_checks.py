#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""scripts/check_porting.py and check_links.py notice what they are for: each row
breaks a copy of the project and wants the message. And the environment that docs/porting.md shows
is one: it passes the conformance test in the way that the page says.

Seen to fail with: each check taken out of these scripts; a shown environment that returns another
error than the built-in word.
"""
import os
import re
import shutil
import sys
import unittest

from case import ROOT, Case, read

HEADER = "include/bpf_stream.h"
PAGE = "docs/porting.md"
TEST = "tests/unit/test_environment.c"


class Check(Case):
    def run_check(self, name):
        p = self.run_command(sys.executable, "-B", os.path.join(ROOT, "scripts", name), self.dir)
        return p.returncode, p.stdout

    def finds(self, name, message):
        status, out = self.run_check(name)
        self.assertEqual(status, 1, out)
        self.assertIn(message, out)


class Porting(Check):
    def setUp(self):
        super().setUp()
        for path in (HEADER, PAGE, TEST):
            self.write(path, read(path))

    def test_the_project_passes(self):
        status, out = self.run_check("check_porting.py")
        self.assertEqual(status, 0, out)

    def test_each_kind_of_error(self):
        for path, old, new, message in (
                (HEADER, "bse_leave(depth);", "bse_leave(depth);\n\tbse_new(depth);",
                 "bse_new is not documented"),
                (HEADER, "BSE_STORE(ptr, void *, store_relaxed,", "BSE_STORE(ptr, void *, store_release,",
                 "bse_ptr_store_release is not documented"),
                (HEADER, "static void bse_unkeep(struct", "static int bse_unkeep(struct",
                 "[6] says `int bse_unkeep(struct bse_slot *slot)`"),
                (HEADER, "bse_take_fd", "bse_take_descriptor",
                 "speaks of bse_take_fd, which is not in"),
                (TEST, "bse_slot_take(", "other(/* bse_slot_take() */", "does not call bse_slot_take"),
                (PAGE, "`bse_u32_load_relaxed`, ", "", "bse_u32_load_relaxed is not documented"),
                (PAGE, "void bse_unkeep(struct bse_slot *slot);\n", "",
                 "bse_unkeep is not documented"),
                (PAGE, "void bse_unkeep(struct bse_slot *slot);\n```\n",
                 "```\n\n| `bse_unkeep` | gives up |\n", "bse_unkeep has no prototype"),
                (PAGE, "bse_mutex", "bse_lock", "uses bse_mutex, which the page does not name"),
                (PAGE, "`BSE_PIECES`", "`BSE_PIECES_MAX`", "BSE_PIECES_MAX, which is not in")):
            with self.subTest(message):
                text = read(path)
                self.assertIn(old, text)
                self.write(path, text.replace(old, new))
                self.finds("check_porting.py", message)
                self.write(path, text)


class Links(Check):
    def setUp(self):
        super().setUp()
        self.write("README.md", "# A\n[b](docs/b.md#two-words-here-1) [c](docs/) [d](#a)\n")
        self.write("docs/b.md", "# Two `words`, here\n```\n[no](x)\n```\n# Two words here\n"
                                "`[no](y)` [a](../README.md) [w](https://example.org/#x)\n")

    def test_good_links(self):
        status, out = self.run_check("check_links.py")
        self.assertEqual((status, out), (0, "4 links between pages: 0 errors\n"))

    def test_the_project_passes(self):
        p = self.run_command(sys.executable, "-B", os.path.join(ROOT, "scripts/check_links.py"))
        self.assertEqual(p.returncode, 0, p.stdout)

    def test_each_kind_of_error(self):
        for text, message in (("\n[x](d.md)\n", "docs/c.md:2: d.md is not there"),
                              ("[x](b.md#three)\n", "b.md#three names no heading"),
                              ("[x](../../etc)\n", "leaves the project"),
                              ("[x](#y)\n```sh\n# y\n```\n", "#y names no heading")):
            self.write("docs/c.md", text)
            self.finds("check_links.py", message)


class Environment(Case):
    @unittest.skipUnless(os.path.exists("/usr/include/criterion/criterion.h"), "no Criterion")
    def test_the_one_of_the_page_passes_the_conformance_test(self):
        page = read(PAGE)
        blocks = re.findall(r"^```c\n(/\* my_env\.h.*?)^```$", page, re.M | re.S)
        commands = re.search(r"^```sh\n(cc .*?)^\./test_my_env\n```$", page, re.M | re.S)
        self.assertEqual(len(blocks), 1)
        self.write("my_env.h", blocks[0])
        for directory in ("include", "tests"):
            shutil.copytree(os.path.join(ROOT, directory), os.path.join(self.dir, directory))
        p = self.run_command("sh", "-ec", commands[1])
        self.assertEqual((p.returncode, p.stdout), (0, ""))
        p = self.run_command(sys.executable, os.path.join(ROOT, "tests/run_criterion.py"),
                             os.path.join(self.dir, "test_my_env"), os.path.join(ROOT, TEST))
        self.assertEqual(p.returncode, 0, p.stdout)


if __name__ == "__main__":
    unittest.main()
