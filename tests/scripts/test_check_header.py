#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""scripts/check_header.py finds each thing that can be wrong, and says what and where.

A small header without errors is built here; every test breaks one thing in it and expects the
message. To see this test fail: make a check in check_header.py return early.
"""
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECK = os.path.join(ROOT, "scripts", "check_header.py")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(CHECK))
from check_header import SECTIONS  # noqa: E402

RULE = "=" * 70
ENVIRONMENT = """\
#include <stddef.h>
#ifdef __GNUC__
#define BSE_INLINE static inline
#endif
BSE_INLINE int bse_int_load_relaxed(const int *p)
{
	return bse_base_int_load_relaxed(p);
}"""
API = """\
/**
 * bpf_stream_push() - store a message
 * @s:    the stream
 * @data: its bytes
 * @len:  how many
 *
 * Context:   Any.
 * Progress:  Lock-free.
 * Ordering:  Release.
 * Ownership: none
 * Return:    0 or a negative errno.
 */
int bpf_stream_push(struct bpf_stream *s, const void *data,
		    size_t len);

/**
 * bpf_stream_drain() - empty the stream
 * @s:    the stream
 * @sink: who takes the bytes
 * @...:  none
 *
 * Context:   Threads.
 * Progress:  Blocking.
 * Ordering:  Acquire.
 * Ownership: none
 * Return:    bytes
 */
int bpf_stream_drain(struct bpf_stream *s, int (*sink)(void *ctx, size_t len), ...);"""
PROOF = """\
/*
 * Invariants:
 *   I1  pending is the sum of what is linked.
 *   I2  a page has one owner.
 *
 * Pairs:
 *   push:A / refill:A - what was written before push:A is seen - by whoever
 *       detaches - push-refill.litmus
 *   refund:A - relaxed: a stale sum does no harm - planned
 */"""
LIST = """\
static int bsi_push(int *p)
{
	/* Keeps I1 (and I2); pairs with refill:A. */
	while (!bse_int_cas_release(p, 1,
				    2))	/* ORD(push:A) */
		;
	return bse_int_load_relaxed(p) +	/* ORD(refund:A) */
		bse_int_xchg_acquire(p, 0);	/* ORD(refill:A) */
}"""
PROGRAM = """\
#ifdef BPF_STREAM_PROG
BSE_DECLS_BEGIN

struct bpf_prog {
	int stream;
};

/* A private helper needs no kernel-doc. */
static inline int bsi_prog_stream(struct bpf_prog *prog)
{
	return prog->stream;
}

/**
 * bpf_prog_stream_read() - take bytes out of a stream
 * @prog: the program
 * @len:  the most bytes to take
 *
 * Context:   Threads.
 * Progress:  Blocking.
 * Ordering:  Acquire.
 * Ownership: none
 * Return:    bytes
 */
static inline int bpf_prog_stream_read(struct bpf_prog *prog,
				       int len)
{
	if (len)
		bpf_undocumented(len);
	return bsi_prog_stream(prog);
}

#define bpf_stream_stage(ss, expr)	\\
	do {				\\
		bpf_stream_expr(expr);	\\
	} while (0)

BSE_DECLS_END
#endif"""
BODY = {"ENVIRONMENT": ENVIRONMENT, "API": API, "PROOF": PROOF, "LIST": LIST, "PROGRAM": PROGRAM}


def good():
    out = ["/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */", "/*",
           " * bpf_stream.h - streams", " *"]
    out += [" *   %-5s %s%s" % (f"[{n}]", t, " - the " + t.lower() if n % 2 else "")
            for n, t in enumerate(SECTIONS, 1)]
    out += [" */", "#ifndef BPF_STREAM_H", "#define BPF_STREAM_H"]
    for n, title in enumerate(SECTIONS, 1):
        out += ["", f"/* {RULE} *", f" * [{n}] {title}", f" * {RULE} */", BODY.get(title, "")]
    return "\n".join(out) + "\n\n#endif\n"


class CheckHeader(unittest.TestCase):
    def run_on(self, text, page=None):
        with tempfile.TemporaryDirectory() as d:
            files = {"h.h": text} if page is None else {"h.h": text, "page.md": page}
            for name, content in files.items():
                with open(os.path.join(d, name), "w", encoding="utf-8") as f:
                    f.write(content)
            p = subprocess.run([sys.executable, CHECK, *files], cwd=d, capture_output=True,
                               text=True)
        return p.returncode, p.stdout.splitlines()

    def expect(self, text, *messages):
        """Exactly these errors; each message is a part of one line that has a line number."""
        status, out = self.run_on(text)
        errors = out[:-1]
        self.assertEqual(len(errors), len(messages), "\n".join(out))
        for error, message in zip(errors, messages):
            self.assertRegex(error, r"^h\.h:\d+: .+: .+")
            self.assertIn(message, error)
        self.assertEqual(status, 1 if messages else 0)

    def broken(self, old, new, *messages, count=1):
        text = good()
        self.assertIn(old, text)
        self.expect(text.replace(old, new, count), *messages)

    def test_a_good_header_passes(self):
        self.expect(good())

    def test_the_line_number_is_right(self):
        text = good()
        line = text[:text.index("Invariants:")].count("\n") + 1
        _, out = self.run_on(text.replace("Invariants:", "Invariants: "))
        self.assertTrue(out[0].startswith(f"h.h:{line}: blanks at the end"), out[0])

    def test_licence_line(self):
        self.broken("GPL-2.0-only OR ", "", "h.h:1: the licence line is missing")

    def test_long_line(self):
        self.broken("\treturn bse_base", "\t" * 11 + "return bse_base", "columns: break the line")

    def test_long_comment_line(self):
        comment = "/* " + "x" * 74 + " */"                  # 80 columns
        self.expect(good().replace(LIST, comment + "\n" + LIST))
        self.broken(LIST, comment.replace("x", "xx", 1) + "\n" + LIST, "81 columns of comment")
        self.broken("\t/* Keeps", "\t" * 6 + "/* Keeps", "columns of comment")
        self.broken("\t\t;\n", "\t\t;" + "\t" * 7 + "/* beside code */\n")

    def test_line_comment(self):
        self.broken("#endif\nBSE", "#endif // GNU\nBSE", "a // comment")

    def test_slashes_in_a_string_are_no_comment(self):
        text = good().replace("#define BPF_STREAM_H", '#define BPF_STREAM_H "a//b"')
        self.expect(text)

    def test_no_newline_at_the_end(self):
        self.expect(good().rstrip("\n"), "no newline")

    def test_too_long(self):
        status, out = self.run_on(good().replace("\n#endif\n", "/* */\n" * 4650 + "\n#endif\n"))
        self.assertEqual(status, 1)
        self.assertTrue(any("keep it under 4650" in line for line in out))

    def test_long_section_needs_sub_banners(self):
        long = LIST + "\n/* */" * 260
        self.broken(LIST, long, "section [8] LIST has")
        sub = "/* ---- [8a] LINKS " + "-" * 40 + " */\n"
        self.expect(good().replace(LIST, sub + long))

    def test_sub_banner_of_another_section(self):
        self.broken(LIST, "/* ---- [9a] LINKS ------- */\n" + LIST, "lies in section [8]")

    def test_sub_banner_out_of_order(self):
        self.broken(LIST, "/* ---- [8b] LINKS ------- */\n" + LIST, "the next letter")

    def test_malformed_sub_banner(self):
        self.broken(LIST, "/* --- [8a] LINKS ------- */\n" + LIST, "this is no sub-banner")

    def test_malformed_banner(self):
        status, out = self.run_on(good().replace(f"/* {RULE} *\n * [8]", f"/* {RULE}= *\n * [8]"))
        self.assertEqual(status, 1)
        self.assertTrue(any("this is no section banner" in line for line in out))
        self.assertTrue(any("[8] LIST, which has no banner" in line for line in out))

    def test_contents_and_banner_differ(self):
        self.broken(" *   [10]  ELEMENT", " *   [10]  ELEMENTS",
                    "the contents list says [10] ELEMENTS, the banner in line")

    def test_contents_row_missing(self):
        self.broken(" *   [10]  ELEMENT\n", "", "section [10] ELEMENT is not in the contents list")

    def test_contents_order(self):
        self.broken(" *   [10]  ELEMENT\n *   [11]  CAPACITY - the capacity\n",
                    " *   [11]  CAPACITY - the capacity\n *   [10]  ELEMENT\n",
                    "[10] ELEMENT comes after [11]")

    def test_contents_missing(self):
        text = "".join(line for line in good().splitlines(True) if not line.startswith(" *   ["))
        self.expect(text, "the opening comment has no contents list")

    def test_section_missing(self):
        text = good()
        at = text.index(f"/* {RULE} *\n * [18]")
        self.expect(text[:at] + "#endif\n",
                    "the contents list names [18] SELFCHECK, which has no banner",
                    "section [18] SELFCHECK has no banner")

    def test_wrong_title(self):
        self.expect(good().replace("SELFCHECK", "CHECKS"),
                    "banner [18] CHECKS stands where [18] SELFCHECK belongs")

    def test_access_without_label(self):
        text = good().replace("\t/* ORD(refund:A) */", "")
        self.expect(text.replace(" *   refund:A - relaxed: a stale sum does no harm - planned\n",
                                 ""), "has no ordering label")

    def test_label_twice(self):
        self.broken("ORD(refill:A)", "ORD(push:A)",
                    "the pair table names refill:A, which labels nothing",
                    "speaks of refill:A", "ordering label push:A is already in line")

    def test_label_not_in_table(self):
        self.broken(" *   refund:A - relaxed: a stale sum does no harm - planned\n", "",
                    "ordering label refund:A is not in the pair table")

    def test_malformed_label(self):
        self.broken("ORD(refund:A) */", "ORD(refund:A) a hint */",
                    "the pair table names refund:A", "ORD(refund:A) is no ordering label",
                    "speaks of refund:A", "bse_int_xchg_acquire has no ordering label")

    def test_table_row_malformed(self):
        self.broken("refund:A - relaxed: a stale sum does no harm - planned", "refund:A - relaxed",
                    "row of refund:A is not as the pair table wants it",
                    "refund:A is not in the pair table")

    def test_table_row_without_litmus(self):
        self.broken("harm - planned", "harm - later", "row of refund:A ends with `later`")

    def test_label_cited_but_absent(self):
        self.broken("pairs with refill:A", "pairs with refill:B", "speaks of refill:B")

    def test_page_cites_labels(self):
        status, out = self.run_on(good(), "# Pairs\n\n`push:A` / refill:A, at 10:30, a::B\n")
        self.assertEqual((status, len(out)), (0, 1), out)
        status, out = self.run_on(good(), "# Pairs\n\n`push:A` and push:B, refill:C\n")
        self.assertEqual((status, len(out)), (1, 3), out)
        self.assertIn("page.md:3: the page speaks of push:B, which labels nothing", out[0])
        self.assertIn("refill:C", out[1])
        self.assertIn("2 errors", out[2])

    def test_invariant_cited_but_absent(self):
        self.broken("(and I2)", "(and I3)", "invariant I3 is cited, but not listed")

    def test_invariant_twice(self):
        self.broken("I2  a page", "I1  a page", "invariant I1 is already in line",
                    "invariant I2 is cited")

    def test_environment_test_outside(self):
        self.broken(LIST, "#if defined(__clang__) || \\\n\t__has_include(<x.h>)\n#endif\n" + LIST,
                    "__clang__ outside [3] and [6]", "__has_include outside [3] and [6]")
        self.expect(good().replace(LIST, "#ifdef _WIN32\n#endif\n" + LIST), "_WIN32 outside")

    def test_builtin_outside(self):
        self.broken("\t\t;\n", "\t\t__builtin_trap();\n", "__builtin_trap outside [3] and [6]")

    def test_include_outside(self):
        self.broken(LIST, "#include <string.h>\n" + LIST, "#include outside [3] and [6]")

    def test_bodies_may_test_the_environment(self):
        banner = f" * [6] ENVIRONMENT BODIES\n * {RULE} */\n"
        self.assertIn(banner, good())
        banner_and_more = banner + "#include <time.h>\n#ifdef __linux__\n#endif\n"
        self.expect(good().replace(banner, banner_and_more))

    def test_declaration_without_comment(self):
        self.broken(API, API + "\n\nint bpf_stream_new(void);", "bpf_stream_new() has no comment")

    def test_inline_functions_of_the_program_layer(self):
        self.broken(" * bpf_prog_stream_read() - take", " * bpf_prog_read() - take",
                    "does not name it")
        self.broken(" * @len:  the most bytes to take\n", "",
                    "parameter len of bpf_prog_stream_read() is not")
        self.broken("/**\n * bpf_prog_stream_read", "/*\n * bpf_prog_stream_read",
                    "bpf_prog_stream_read() is no kernel-doc")
        self.broken("BSE_DECLS_END\n#endif", "static inline void bpf_new(void)\n{\n}\n#endif",
                    "bpf_new() has no comment")
        self.broken(PROGRAM, PROGRAM.replace(" * Ownership: none\n", ""),
                    "bpf_prog_stream_read() has 0 lines `Ownership:`")

    def test_comment_is_not_kernel_doc(self):
        self.broken("/**\n * bpf_stream_drain", "/*\n * bpf_stream_drain", "is no kernel-doc")

    def test_comment_names_another(self):
        self.broken("bpf_stream_drain() - empty", "bpf_stream_read() - empty", "does not name it")

    def test_parameter_missing(self):
        self.broken(" * @len:  how many\n", "", "parameter len of bpf_stream_push() is not")
        self.expect(good().replace(" * @sink: who takes the bytes\n", ""), "parameter sink of")
        self.expect(good().replace(" * @...:  none\n", ""), "parameter ... of")

    def test_parameter_unknown(self):
        self.broken(" * @len:  how many\n", " * @len:  how many\n * @x: y\n", "no parameter x")

    def test_field_missing(self):
        for field in ("Context", "Progress", "Ordering", "Ownership", "Return"):
            with self.subTest(field):
                self.broken(f" * {field}:", f" * Some {field}:",
                            f"bpf_stream_push() has 0 lines `{field}:`")

    def test_field_empty(self):
        self.broken("Ordering:  Release.", "Ordering:", "Ordering: of bpf_stream_push() says")

    def test_field_order(self):
        self.broken(" * Context:   Any.\n * Progress:  Lock-free.\n",
                    " * Progress:  Lock-free.\n * Context:   Any.\n", "the order is Context")

    def test_all_errors_are_printed(self):
        text = good().replace("(and I2)", "(and I3) ").replace("Context:   Any.", "Context:")
        self.assertEqual(len(self.run_on(text + "//\n")[1]), 4)

    def test_usage(self):
        for args in ([], ["a", "b", "c"], ["--what"], ["/nonexistent.h"],
                     [os.path.join(ROOT, "include", "bpf_stream.h"), "/nonexistent.md"]):
            p = subprocess.run([sys.executable, CHECK, *args], capture_output=True, text=True)
            self.assertEqual(p.returncode, 2, args)
            self.assertIn("check_header.py", p.stderr)
        p = subprocess.run([sys.executable, CHECK, "--help"], capture_output=True, text=True)
        self.assertEqual(p.returncode, 0)
        self.assertIn("usage:", p.stdout)


if __name__ == "__main__":
    unittest.main()
