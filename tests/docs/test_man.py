#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The manual pages are well formed, their examples work, and they are true to the header: each test
of the last kind breaks a copy of the project, and scripts/make_man.py must refuse to make a page,
or make one that says what the header says now.

In the environment: MAN, the directory where the pages of section 3 were made. Seen to fail with: a
list that is not closed; an example that misses a semicolon, and one that prints something else; a
page that does not refer to bpf_stream.3; a knob with another range, or without one; types without
their definitions, or with the name of a private one; checks taken out of make_man.py one by one; a
streamcat.1 without one of its options, or with one that is not there.
"""
import os
import re
import shutil
import sys
import unittest

from case import ROOT, Case, read

MADE = os.path.abspath(os.environ["MAN"])
OVERVIEW = os.path.join(ROOT, "man/bpf_stream.7")
PROGRAM = os.path.join(ROOT, "man/streamcat.1")
REFERENCE = os.path.join(MADE, "bpf_stream.3")
NAMES = sorted(name[:-2] for name in os.listdir(MADE)
               if name.endswith(".3") and name != "bpf_stream.3")


class Form(Case):
    @unittest.skipUnless(shutil.which("mandoc"), "no mandoc")
    def test_mandoc_has_no_complaint(self):
        p = self.run_command("mandoc", "-T", "lint", "-W", "warning", OVERVIEW, PROGRAM, REFERENCE)
        self.assertEqual((p.returncode, p.stdout), (0, ""))

    def plain_text(self, name):
        """Without the backspaces that make letters bold or underlined."""
        p = self.run_command("mandoc", "-T", "ascii", f"man3/{name}.3")
        self.assertEqual(p.returncode, 0, p.stdout)
        return re.sub(".\x08", "", p.stdout)

    @unittest.skipUnless(shutil.which("mandoc"), "no mandoc")
    def test_each_function_and_macro_has_a_page(self):
        os.mkdir(os.path.join(self.dir, "man3"))
        for name in ["bpf_stream", *NAMES]:
            shutil.copy(os.path.join(MADE, name + ".3"), os.path.join(self.dir, "man3"))
        want = self.plain_text("bpf_stream")
        self.assertGreater(len(NAMES), 20)
        self.assertLess({"bpf_stream_printk", "bpf_stream_stage"}, set(NAMES))
        for name in NAMES:
            self.assertTrue(self.plain_text(name) == want, f"{name}.3 is not bpf_stream.3")
            self.assertTrue(f"\n     {name}(" in want, f"{name} is not in the synopsis")
            head = want.split("SYNOPSIS")[0]
            self.assertRegex(head, rf"\b{name}[, ]", f"{name} is not under NAME")

    def example(self, path, name):
        block = re.search(r"^\.Bd -literal.*?\n(#define.*?)^\.Ed", read(path), re.M | re.S)
        self.write(name + ".c", block[1].replace("\\e", "\\"))
        p = self.run_command("cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                             "-I" + os.path.join(ROOT, "include"), name + ".c", "-o", name,
                             "-pthread")
        self.assertEqual((p.returncode, p.stdout), (0, ""))
        p = self.run_command(os.path.join(self.dir, name))
        self.assertEqual(p.returncode, 0)
        return p.stdout

    @unittest.skipUnless(shutil.which("cc"), "no cc")
    def test_the_examples_work(self):
        self.assertEqual(self.example(OVERVIEW, "overview"),
                         "hello from main\nsignal 10 arrived\n")
        self.assertEqual(self.example(REFERENCE, "reference"), "2 lines\n")

    def test_streamcat_has_its_options(self):
        source, page = read("examples/streamcat.c"), read(PROGRAM)
        known = set(re.findall(r'^\t\t{ "(\w+)", ', source, re.M))
        self.assertGreater(len(known), 8)
        told = re.findall(r"^\.It Fl (?:\w , Fl )?-(\w+)", page, re.M)
        self.assertEqual(sorted(told), sorted(known))
        shown = re.findall(r'^"  (?:-\w, )?--(\w+)', source, re.M)
        self.assertEqual(sorted(shown), sorted(known))

    def test_no_page_has_a_private_name(self):
        for page in (OVERVIEW, PROGRAM, REFERENCE):
            self.assertEqual(re.findall(r"(?i)\bbs[ei]_\w*", read(page)), [], page)


class Ranges(Case):
    # What bpf_stream.7 says, the least and the greatest value, and one beyond on either side.
    KNOBS = {
        "BPF_STREAM_DEFAULT_CAPACITY": ("1 to .Dv BPF_STREAM_CAPACITY_LIMIT ;", "1", "0x1fffffff", "0", "0x20000000"),
        "BPF_STREAM_POOL_BYTES": ("8 pages to 32 GiB;", "32768", "(32ull << 30)", "32767",
                                  "((32ull << 30) + 1)"),
        "BPF_STREAM_PAGE_SIZE": ("a power of two, 1024 to 65536;", "1024", "65536", "512",
                                 "131072", "3072"),
        "BPF_STREAM_LEVELS": ("1 to 8;", "1", "8", "0", "9"),
    }

    def test_the_overview_has_each_knob_with_its_range(self):
        knobs = re.findall(r"^#ifndef (BPF_\w+)\n#define \1 ", read("include/bpf_stream.h"), re.M)
        self.assertEqual(set(knobs), set(self.KNOBS))
        page = read(OVERVIEW)
        for knob, (text, *_) in self.KNOBS.items():
            with self.subTest(knob):
                told = page.split(f".It Dv {knob}\n")[1].split("\n.It ")[0]
                self.assertIn(text, told.replace("\n", " "))
                self.assertIn("if not defined", told.replace("\n", " "))

    @unittest.skipUnless(shutil.which("cc"), "no cc")
    def test_the_header_takes_what_is_in_the_range_only(self):
        self.write("bodies.c", '#define BPF_STREAM_IMPLEMENTATION\n#include "bpf_stream.h"\n')
        for knob, (_, least, greatest, *beyond) in self.KNOBS.items():
            for value in (least, greatest, *beyond):
                with self.subTest(knob, value=value):
                    p = self.run_command("cc", "-std=c11", "-fsyntax-only", f"-D{knob}={value}",
                                         "-I" + os.path.join(ROOT, "include"), "bodies.c")
                    self.assertEqual(p.returncode != 0, value in beyond, p.stdout)
                    if value in beyond:
                        self.assertIn(f"{knob}: use ", p.stdout)


    def test_the_overview_has_the_constants_with_their_values(self):
        header, page = read("include/bpf_stream.h"), read(OVERVIEW)
        for name, value in re.findall(r"^#define (BPF_STREAM_(?:PRINT_MAX|MAX_REPORTS|GROUPS)) (\d+)u",
                                      header, re.M):
            told = page.split(f".It Dv {name}\n")[1].split("\n.It ")[0]
            self.assertRegex(told, rf": {value}\b")
        for name in re.findall(r"^#define (BPF_STREAM_VERSION\w*) ", header, re.M):
            self.assertRegex(page, rf"\bDv {name}\b")

    def test_return_values_refer_to_functions(self):
        """On the page, what the header's comment says stands without its neighbours."""
        returns = read(REFERENCE).split(".Sh RETURN VALUES")[1].split(".Sh ")[0]
        self.assertNotRegex(returns, r"\bas there\b")


class Truth(Case):
    def setUp(self):
        super().setUp()
        for directory in ("include", "man"):
            shutil.copytree(os.path.join(ROOT, directory), os.path.join(self.dir, directory))

    def make(self, *names):
        p = self.run_command(sys.executable, "-B", os.path.join(ROOT, "scripts/make_man.py"),
                             self.dir, self.dir, *(names or NAMES))
        return p.returncode, p.stdout

    def change(self, path, old, new):
        text = read(path)
        self.assertIn(old, text)
        self.write(path, text.replace(old, new))

    def refused(self, path, old, new, message):
        self.change(path, old, new)
        status, out = self.make()
        self.assertEqual(status, 1, out)
        self.assertIn(message, out)

    def test_the_project_passes(self):
        self.assertEqual(self.make(), (0, ""))

    def test_a_function_that_is_like_another(self):
        """What its comment leaves out is that of the other one, which the page names."""
        text = re.sub(r"( \* bpf_stream_vprintf\(\) - .*\n)(?: \* .*\n| \*\n)* \*/",
                      r"\1 *\n * As bpf_stream_printf(), but with a list.\n */",
                      read("include/bpf_stream.h"), count=1)
        self.write("include/bpf_stream.h", text)
        self.assertEqual(self.make(), (0, ""))
        page = read(os.path.join(self.dir, "bpf_stream.3"))
        said = "As\n.Fn bpf_stream_printf"
        self.assertIn(f"{said} ,\nbut with a list.\n", page)
        self.assertIn(f".It Fn bpf_stream_vprintf\n{said} .\n", page.split(".Sh RETURN VALUES")[1])
        safe = page.split(".Sh ATTRIBUTES")[1].split("threads only")[0]
        self.assertIn(".Fn bpf_stream_vprintf ,", safe)

    def test_the_page_that_was_made_is_the_one_of_this_header(self):
        self.make()
        self.assertEqual(read(os.path.join(self.dir, "bpf_stream.3")), read(REFERENCE))

    def test_a_type_that_changed(self):
        self.change("include/bpf_stream.h", "\tsize_t highest;\n", "\tshort highest[2];\n")
        self.assertEqual(self.make(), (0, ""))
        page = read(os.path.join(self.dir, "bpf_stream.3"))
        self.assertIn("\nstruct bpf_stream_pool_stats {\n", page)
        self.assertIn("\n\tshort highest[2];\n", page)
        self.assertIn("\ntypedef int bpf_stream_sink(void *ctx, const void *data, size_t len);\n",
                      page)

    def test_a_function_that_is_like_one_that_is_not_there(self):
        self.refused("include/bpf_stream.h", "/* As bpf_stream_destroy().", "/* As bpf_stream_gone().",
                     "bpf_prog_stream_free() is as bpf_stream_gone(), which is not there")

    def test_a_function_that_is_not_listed(self):
        status, out = self.make(*NAMES[1:])
        self.assertEqual(status, 1)
        self.assertIn(f"does not list {NAMES[0]}", out)

    def test_a_function_that_went(self):
        status, out = self.make(*NAMES, "bpf_stream_gone")
        self.assertEqual(status, 1)
        self.assertIn("bpf_stream_gone, which the header does not declare", out)

    def test_a_prototype_that_changed(self):
        self.change("include/bpf_stream.h", "size_t bpf_stream_pool_trim(void);",
                    "long bpf_stream_pool_trim(int some);")
        self.assertEqual(self.make(), (0, ""))
        self.assertIn('.Ft long\n.Fo bpf_stream_pool_trim\n.Fa "int some"\n.Fc',
                      read(os.path.join(self.dir, "bpf_stream.3")))

    def test_a_context_that_changed(self):
        self.change("include/bpf_stream.h", "/* Counts a report; ",
                    "/* As bpf_stream_destroy(). Counts a report; ")
        self.assertEqual(self.make(), (0, ""))
        page = read(os.path.join(self.dir, "bpf_stream.3"))
        safe, threads_only = page.split(".Sh ATTRIBUTES")[1].split(".Sh")[0].split("threads only")
        self.assertIn(".Fn bpf_prog_stream_error_limit", threads_only)
        self.assertNotIn(".Fn bpf_prog_stream_error_limit", safe)

    def test_contexts_that_the_overview_has_wrong(self):
        self.refused("man/bpf_stream.7", ".Fn bpf_stream_try_read ,", ".Fn bpf_stream_read ,",
                     "From any context: bpf_stream_read is not")
        self.refused("man/bpf_stream.7", ".Fn bpf_stream_drain_fd ,\n.Fn bpf_stream_drain_records ,",
                     ".Fn bpf_stream_drain_records ,",
                     "From threads only: bpf_stream_drain_fd is missing")

    def test_contexts_that_the_contract_has_wrong(self):
        self.refused("include/bpf_stream.h", "read, drain_fd, drain_records,", "read, drain_records,",
                     "[1], threads only: bpf_stream_drain_fd is here or in [5], not in both")

    def test_an_error_that_is_not_explained(self):
        self.refused("include/bpf_stream.h", "0, or -EINVAL if the capacity",
                     "0, -EFAULT, or -EINVAL if the capacity", "ERRORS lacks EFAULT")

    def test_an_error_that_does_not_happen(self):
        self.refused("man/bpf_stream.3.in", ".It Bq Er ENOENT", ".It Bq Er ESRCH",
                     "ERRORS has ESRCH")

    def test_names_that_do_not_exist(self):
        self.refused("man/bpf_stream.7", ".Fn bpf_stream_read ,", ".Fn bpf_stream_get ,",
                     "bpf_stream.7: bpf_stream_get is not in the header")
        self.refused("man/bpf_stream.3.in", "BPF_STREAM_PRINT_MAX", "BPF_STREAM_MAX",
                     "bpf_stream.3: BPF_STREAM_MAX is not in the header")

    def test_a_knob_that_no_page_names(self):
        self.refused("include/bpf_stream.h", " * BPF_STREAM_LEVELS\t",
                     " * BPF_STREAM_KNOB\tone more\n * BPF_STREAM_LEVELS\t",
                     "no page speaks of BPF_STREAM_KNOB")


if __name__ == "__main__":
    unittest.main()
