#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""scripts/check_header.py passes on the header, and finds each kind of thing that can be wrong.

Every row changes one thing in a copy of the header and wants the message. To see this test fail:
let a check in check_header.py return early.
"""
import os
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECK = os.path.join(ROOT, "scripts/check_header.py")
with open(os.path.join(ROOT, "include/bpf_stream.h"), encoding="utf-8") as header:
    GOOD = header.read()
RULE = "=" * 70
LIST = f" * [8] LIST\n * {RULE} */\n"          # what is planted stands behind it
PUSH = GOOD.index("/**\n * bpf_stream_push() - ")
LABEL = re.search(r"/\* ORD\((\w+:[A-Z])\) \*/", GOOD)
DOC = "/**\n * bpf_stream_new() - x\n * @a: x\n *\n * Context: Any.\n * Return:  x\n */\n"
NEW = "int bpf_stream_new(int a);\n"


def after_list(text):
    return GOOD.replace(LIST, LIST + text, 1)


def in_api(text):
    return GOOD[:PUSH] + text + GOOD[PUSH:]


class CheckHeader(unittest.TestCase):
    def run_on(self, text, page=""):
        with tempfile.TemporaryDirectory() as d:
            for name, content in ("h.h", text), ("page.md", page):
                with open(os.path.join(d, name), "w", encoding="utf-8") as f:
                    f.write(content)
            p = subprocess.run([sys.executable, "-B", CHECK, "h.h", "page.md"], cwd=d,
                               capture_output=True, text=True)
        self.assertEqual(p.stderr, "")
        return p.returncode, p.stdout

    def test_the_header_passes(self):
        self.assertEqual(self.run_on(GOOD)[0], 0)
        short = "/**\n * bpf_stream_new() - x\n *\n * As bpf_stream_push(), but twice.\n */\n"
        for doc in DOC, short:
            self.assertNotIn("bpf_stream_new", self.run_on(in_api(doc + NEW))[1])

    def test_each_kind_of_error(self):
        for text, message in (
                (GOOD.replace("GPL-2.0-only OR ", "", 1), "h.h:1: the licence line is missing"),
                (GOOD + "/* */\n" * 5000, "lines, at most"),
                (GOOD.rstrip("\n"), "no newline"),
                (after_list("int x; \n"), "blanks at the end"),
                (after_list("int x;" + "\t" * 12 + "int y;\n"), "102 columns, at most 100"),
                (after_list("/* " + "x" * 75 + " */\n"), "81 columns, at most 80"),
                (after_list("int x; // y\n"), "a // comment"),
                (re.sub(r"(BPF_STREAM_VERSION_PATCH) \d+", r"\1 99", GOOD), "its parts say"),
                # Sections.
                (GOOD.replace(" * [8] LIST\n", " * [8] LISTS\n"), "[8] LISTS is where [8] LIST"),
                (GOOD.replace(f"{RULE} *\n * [8]", f"{RULE}= *\n * [8]"), "no section banner"),
                (re.sub(r"\n \*   \[10\] .*", "", GOOD), "[10] ELEMENT is not in the contents"),
                (re.sub(r"(\n \*   \[10\].*)(\n.*)", r"\2\1", GOOD), "another order than the file"),
                (after_list("/* --- [8a] LINKS --- */\n"), "this is no sub-banner"),
                (after_list("/* ---- [8z] LINKS --- */\n"), "[8z] LINKS is out of order"),
                (after_list("/* ---- [9a] LINKS --- */\n"), "[9a] LINKS is out of order"),
                (re.sub(r"/\* ---- \[12.*\n", "", GOOD), "section [12] FORMAT has"),
                # Labels and invariants.
                (GOOD.replace(LABEL.group(), "", 1), "has no label: add"),
                (after_list(f"\t{LABEL.group()}\n"), f"label {LABEL[1]} is already in line"),
                (after_list("\t/* ORD(new:A) */\n"), "label new:A is not in the pair table"),
                (after_list("\t/* ORD(new:A) a hint */\n"), "ORD(new:A) is no label"),
                (GOOD.replace(f" *   {LABEL[1]} ", " *   new:A ", 1), "names new:A, which labels"),
                (GOOD.replace(" - planned\n", " - later\n", 1), "ends with `later`"),
                (re.sub(r"(\n \*   \w+:A) - rel.*", r"\1 - x", GOOD, count=1), "as the pair table"),
                (after_list("/* see new:A */\n"), "the comment speaks of new:A"),
                (after_list("/* keeps I99 */\n"), "invariant I99 is cited"),
                (GOOD.replace(" *   I2 ", " *   I1 ", 1), "invariant I1 is already in line"),
                # The environment.
                (after_list("#ifdef __clang__\n#endif\n"), "__clang__ outside [3] and [6]"),
                (after_list("#include <string.h>\n"), "#include outside [3] and [6]"),
                # Documentation.
                (in_api("/* x */\n" + NEW), "bpf_stream_new() has no kernel-doc"),
                (in_api(DOC.replace("/**", "/*") + NEW), "has no kernel-doc comment"),
                (in_api(DOC.replace("new()", "old()") + NEW), "begins with another line"),
                (in_api(DOC.replace(" * @a: x\n", "") + NEW), "nothing is said of @a"),
                (in_api(DOC.replace("@a", "@b") + NEW), "there is no parameter b"),
                (in_api(DOC.replace("Context", "Where") + NEW), "nothing is said of Context"),
                (in_api(DOC.replace("Return", "Gives") + NEW), "nothing is said of Return"),
                (in_api(DOC.replace("Any.", "") + NEW), "Context: says nothing"),
                (in_api(DOC.replace(" */", " * Progress: x\n */") + NEW), "the order is Context"),
                (GOOD.replace("* bpf_prog_stream_read() -", "* read() -"), "begins with another")):
            with self.subTest(message):
                self.assertNotEqual(text, GOOD)
                status, out = self.run_on(text)
                self.assertEqual(status, 1)
                self.assertIn(message, out)
                self.assertRegex(out, r"\Ah\.h:\d+: ")

    def test_page(self):
        status, out = self.run_on(GOOD, f"\n`{LABEL[1]}`, at 10:30, a::B, and new:A\n")
        self.assertEqual(status, 1)
        self.assertTrue(out.startswith("page.md:2: the page speaks of new:A, which"), out)


if __name__ == "__main__":
    unittest.main()
