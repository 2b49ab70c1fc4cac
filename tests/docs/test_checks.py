#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""scripts/check_porting.py and check_links.py notice what they are for: each test breaks a copy of
the project and wants the message. And the environment that docs/porting.md shows is one: it passes
the conformance test in the way that the page says.

Seen to fail with: each check taken out of the two scripts; a shown environment that returns another
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

    def broken(self, path, old, new, message):
        text = read(path)
        self.assertIn(old, text)
        self.write(path, text.replace(old, new))
        self.finds("check_porting.py", message)

    def test_the_project_passes(self):
        status, out = self.run_check("check_porting.py")
        self.assertEqual(status, 0, out)

    def test_a_new_word(self):
        self.broken(HEADER, "#define bse_usable bse_base_usable\n",
                    "#define bse_usable bse_base_usable\n#define bse_new bse_base_new\n",
                    "bse_new is not documented")

    def test_a_word_without_test(self):
        self.broken(TEST, "bse_slot_set(", "other(", "does not call bse_slot_set")

    def test_a_word_that_is_called_in_comments_only(self):
        self.broken(TEST, "bse_slot_set(", "other(/* bse_slot_set() */",
                    "does not call bse_slot_set")

    def test_a_word_that_went(self):
        self.broken(HEADER, "#define bse_unkeep bse_base_unkeep\n", "",
                    "bse_unkeep is documented, but is no word")

    def test_an_atomic_that_is_not_documented(self):
        self.broken(PAGE, "`bse_u32_load_relaxed`, ", "", "bse_u32_load_relaxed is not documented")

    def test_a_prototype_that_is_missing(self):
        self.broken(PAGE, "void bse_unkeep(void);\n", "", "bse_unkeep is not documented")

    def test_a_word_in_a_table_without_prototype(self):
        self.broken(PAGE, "void bse_unkeep(void);\n```\n", "```\n\n| `bse_unkeep` | gives up |\n",
                    "bse_unkeep has no prototype")

    def test_a_prototype_that_changed(self):
        self.broken(HEADER, "static void bse_base_unkeep(void)", "static int bse_base_unkeep(void)",
                    "[6] says `int bse_unkeep(void)`")

    def test_a_type_that_is_not_named(self):
        self.broken(PAGE, "bse_mutex", "bse_lock", "uses bse_mutex, which the page does not name")

    def test_a_name_that_does_not_exist(self):
        self.broken(PAGE, "`BSE_PIECES`", "`BSE_PIECES_MAX`", "BSE_PIECES_MAX, which is not in")


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

    def test_no_such_file(self):
        self.write("docs/c.md", "\n[x](d.md)\n")
        self.finds("check_links.py", "docs/c.md:2: there is no d.md")

    def test_no_such_heading(self):
        self.write("docs/c.md", "[x](b.md#three)\n")
        self.finds("check_links.py", "b.md#three names no heading")

    def test_out_of_the_project(self):
        self.write("docs/c.md", "[x](../../etc)\n")
        self.finds("check_links.py", "leaves the project")

    def test_a_heading_in_code_is_none(self):
        self.write("docs/c.md", "[x](#y)\n```sh\n# y\n```\n")
        self.finds("check_links.py", "#y names no heading")


class Usage(Check):
    def test_a_project_that_is_not_there_is_told_without_a_traceback(self):
        for name in ("check_links.py", "check_porting.py", "check_readme.py", "check_versions.py"):
            with self.subTest(name):
                check = [sys.executable, "-B", os.path.join(ROOT, "scripts", name)]
                p = self.run_command(*check, "nowhere")
                self.assertEqual((p.returncode, p.stdout), (
                    2, f"{name}: nowhere: there is no such directory; see --help\n"))
                p = self.run_command(*check, self.dir, "more")
                self.assertEqual(p.returncode, 2, p.stdout)
                self.assertIn("usage: " + name, p.stdout)
        self.assertIn("cannot read the project", self.run_check("check_readme.py")[1])

    def test_the_command_for_gdb_says_so(self):
        p = self.run_command(sys.executable, os.path.join(ROOT, "scripts/gdb_bpf_stream.py"))
        self.assertEqual(p.returncode, 2)
        self.assertIn("this is for gdb", p.stdout)


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
