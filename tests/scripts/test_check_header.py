#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""scripts/check_header.py passes on the header, and finds each kind of thing that can be wrong.

Each test changes a copy of the header and wants the messages. To see this test fail:
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
LIST = re.search(r"/\* ==== \[8\] LIST =+ \*/\n", GOOD)[0]    # what is planted stands behind it
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

    def finds(self, text, *messages):
        self.assertTrue(text != GOOD, f"nothing was changed for: {messages}")
        status, out = self.run_on(text)
        self.assertEqual(status, 1)
        self.assertRegex(out, r"\Ah\.h:\d+: ")
        for message in messages:
            with self.subTest(message):
                self.assertIn(message, out)

    def test_what_is_wrong_in_the_text(self):
        self.finds(after_list("int x;" + "\t" * 12 + "int y;\n" + "int x; // y\n"
                              "/* " + "x" * 75 + " */\n" "/* ---- [8z] LINKS --- */\n"
                              "/* ---- [9a] LINKS --- */\n"
                              f"\t{LABEL.group()}\n\t/* ORD(old:A) a hint */\n"
                              "void bsi_x(void)\n{\n\tbse_x_load_acquire(x);\t/* ORD(new:A) */\n}\n"
                              "/* see old:A, which keeps I99 */\n"
                              "#ifdef __clang__\n#endif\n#include <string.h>\n" + "/* */\n" * 5000),
                   "lines, at most", "102 columns, at most 100", "a // comment",
                   "81 columns, at most 80", "[8z] LINKS is out of order",
                   "[9a] LINKS is out of order", f"label {LABEL[1]} is already in line",
                   "label new:A is not in the pair table", "ORD(old:A) is no label",
                   "the comment speaks of old:A", "invariant I99 is cited",
                   "__clang__ outside [3] and [6]", "#include outside [3] and [6]")

    def test_limits(self):
        """Each section that must have comments, and more than is allowed of what may be there."""
        bare = re.compile(r"^\s*/?\*.*\n", re.M)
        cut = [GOOD.index(f"\n/* ==== [{number}] ") + 1 for number in (13, 16)]
        self.finds(GOOD[:cut[0]] + GOOD[cut[0]:].split("\n", 1)[0] + "\n" +
                   bare.sub("", GOOD[cut[0]:cut[1]].split("\n", 1)[1]) + GOOD[cut[1]:],
                   "of [13] to [15] are comments, at least 25 % must be")
        include = '#include "../bpf_stream_dropin.h"\n'
        self.finds(after_list("static int bsi_new(void);\nstruct bsi_x;\n"
                              "static int bsi_new(void)\n{\n" + "\tx();\n" * 43 + "}\n"
                              "struct bsi_x {\n\tint a;\n};\n" + 3 * include),
                   "bsi_new is declared before it is defined", "bsi_new() has 46 lines, at most 45",
                   "bsi_x is declared before it is defined", "one more #include of the drop-in's")
        self.assertNotIn("bsi_new", self.run_on(after_list(
            "static int bsi_new(void)\n{\n" + "\tx();\n" * 42 + "}\n"))[1])

    def test_what_is_wrong_in_the_documentation(self):
        changes = (("Any.", "", "Context: says nothing"),
                   ("/**", "/*", "has no kernel-doc comment"),
                   (" * @a: x\n", "", "nothing is said of @a"),
                   ("@a", "@b", "there is no parameter b"),
                   ("Return", "Gives", "nothing is said of Return"),
                   (" */", " * Progress: x\n */", "the order is Context"),
                   ("- x", "", "its comment begins with another line"),
                   (DOC, "", "has no kernel-doc comment"))
        text, messages = "", []
        for i, (old, new, message) in enumerate(changes):
            text += (DOC.replace(old, new) + NEW).replace("_new", f"_new{i}")
            messages.append(f"bpf_stream_new{i}(){':' * (message[:3] != 'has')} {message}")
        self.finds(in_api(text), *messages)

    def test_what_was_changed(self):
        for text, message in (
                (GOOD.replace("GPL-2.0-only OR ", "", 1), "h.h:1: the licence line is missing"),
                (re.sub(r"(BPF_STREAM_VERSION_PATCH) \d+", r"\1 99", GOOD), "its parts say"),
                (GOOD.replace(LIST, LIST.replace("LIST", "LISTS")), "[8] LISTS is where [8] LIST"),
                (GOOD.replace(LIST, LIST.replace("====", "==", 1)), "LIST, which has no banner"),
                (re.sub(r"\n \*   \[10\] .*", "", GOOD), "[10] ELEMENT is not in the contents"),
                (re.sub(r"(\n \*   \[10\].*)(\n.*)", r"\2\1", GOOD), "another order than the file"),
                (re.sub(r"/\* ---- \[12.*\n", "", GOOD), "section [12] FORMAT has"),
                (GOOD.replace(LABEL.group(), "", 1), "has no label: add"),
                (GOOD.replace(" *   publish:A ", " *   new:A ", 1), "names new:A, which labels"),
                (GOOD.replace(" - planned\n", " - later\n", 1), "ends with `later`"),
                (re.sub(r"(\n \*   \w+:\w / \w+:\w) - ", r"\1 / x:A - ", GOOD, count=1),
                 "as the pair"),
                (GOOD.replace(" *   I2 ", " *   I1 ", 1), "invariant I1 is already in line")):
            self.finds(text, message)

    def test_page(self):
        status, out = self.run_on(GOOD, f"\n`{LABEL[1]}`, at 10:30, a::B, and new:A\n")
        self.assertEqual(status, 1)
        self.assertIn("page.md:2: the page speaks of new:A, which labels nothing", out)


if __name__ == "__main__":
    unittest.main()
