#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""scripts/check_stack.py adds up frames, and refuses what it cannot add up."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECK = os.path.join(ROOT, "scripts", "check_stack.py")
CODE = """\
#include <string.h>
void use(void *);
static __attribute__((noinline)) void leaf(void) { char b[1000]; use(b); }
int top(int n);
int top(int n) { char b[200]; memset(b, n, sizeof(b)); use(b); leaf(); return b[n]; }
void (*hook)(void);
int indirect(void);
int indirect(void) { hook(); return 1; }
int dynamic(int n);
int dynamic(int n) { char b[n]; use(b); return b[0]; }
int again(int n);
__attribute__((noinline))
int again(int n) { char b[8]; use(b); return n ? again(n - 1) + b[0] : 1; }
int small(void);
int small(void) { return 1; }
"""
SINKS = """\
#define noinline __attribute__((noinline))
void use(void *);
int (*sink)(void *);
static noinline int bsi_take_user(void *p) { char b[700]; use(b); return sink(p) + b[0]; }
static noinline int bse_base_take_memory(void *p) { use(p); return 0; }
static noinline int bse_base_take_fd(void *p) { char b[300]; use(b); return b[0]; }
int (*const takes[])(void *) = { bsi_take_user, bse_base_take_memory, bse_base_take_fd };
static noinline int bsi_reader_run(int n) { return takes[n](&n) + 1; }
int bpf_stream_try_drain(int n);
int bpf_stream_try_drain(int n) { return bsi_reader_run(n) + 1; }
int bpf_stream_try_read(int n);
int bpf_stream_try_read(int n) { return bsi_reader_run(n) + 2; }
int bpf_stream_push(int n);
int bpf_stream_push(int n) { return bsi_reader_run(n) + 3; }
"""


@unittest.skipUnless(shutil.which("gcc"), "no gcc")
class CheckStack(unittest.TestCase):
    def run_on(self, *limits, code=CODE):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "h.h")
            with open(path, "w", encoding="utf-8") as f:
                f.write(code)
            p = subprocess.run([sys.executable, CHECK, path, *limits], capture_output=True,
                               text=True)
        return p.returncode, p.stdout

    def test_within_the_limit(self):
        status, out = self.run_on("top=1400", "small=100")
        self.assertEqual(status, 0, out)
        self.assertRegex(out, r"ok   top: 1[23]\d\d of 1400 bytes: top \d+ -> leaf \d+")
        self.assertRegex(out, r"counted as 0, from the C library: .*use")
        self.assertTrue(out.endswith("2 passed, 0 failed, 0 skipped\n"))

    def test_over_the_limit(self):
        status, out = self.run_on("top=1100", "small=100")
        self.assertEqual(status, 1)
        self.assertIn("the limit is 1100: top", out)
        self.assertTrue(out.endswith("1 passed, 1 failed, 0 skipped\n"))

    def test_what_cannot_be_added_up(self):
        for name, message in (("indirect", "indirect call"), ("dynamic", "unknown size"),
                              ("again", "recursion"), ("nothing", "not found")):
            with self.subTest(name):
                status, out = self.run_on(f"{name}=100000")
                self.assertEqual(status, 1)
                self.assertIn(message, out)

    def test_sinks_of_the_reader(self):
        """The deepest of our sinks counts, the user's own does not, and only where one reads."""
        status, out = self.run_on("bpf_stream_try_drain=900", "bpf_stream_try_read=700",
                                  "bpf_stream_push=9999", code=SINKS)
        self.assertEqual(status, 1)
        self.assertRegex(out, r"ok   bpf_stream_try_drain: [78]\d\d of 900 bytes: "
                         r"bpf_stream_try_drain \d+ -> bsi_reader_run \d+ -> bsi_take_user 7\d\d")
        self.assertRegex(out, r"FAIL bpf_stream_try_read: [78]\d\d bytes, the limit is 700")
        self.assertIn("FAIL bpf_stream_push: indirect call in", out)

    def test_other_indirect_calls_of_a_read(self):
        for old, new, message in (
                ("{ use(p); return 0; }", "{ return sink(p); }", "indirect call in"),
                ("bsi_take_user", "bsi_take_users", "one of the sinks")):
            with self.subTest(message):
                status, out = self.run_on("bpf_stream_try_drain=900",
                                          code=SINKS.replace(old, new))
                self.assertEqual(status, 1)
                self.assertIn("FAIL bpf_stream_try_drain: ", out)
                self.assertIn(message, out)

    def test_code_that_does_not_compile(self):
        status, out = self.run_on(code="int x")
        self.assertEqual(status, 1)
        self.assertIn("gcc cannot compile it", out)

    def test_a_header_that_is_not_there(self):
        p = subprocess.run([sys.executable, CHECK, "/nosuch"], capture_output=True, text=True)
        self.assertEqual((p.returncode, p.stdout, p.stderr),
                         (2, "", "check_stack.py: there is no file /nosuch\n"))

    def test_the_limits_of_the_header(self):
        """Without limits given, those of the seven functions hold."""
        sinks = ("bsi_take_user", "bse_base_take_memory", "bse_base_take_fd")
        code = "".join(f"void {f}(void);\nvoid {f}(void) {{}}\n" for f in sinks)
        code += "".join(f"void use(void *);\nint {f}(void);\nint {f}(void) "
                       f"{{ char b[{n}]; use(b); return b[0]; }}\n"
                       for f, n in (("bpf_stream_push", 600), ("bpf_stream_printf", 1900),
                                    ("bpf_stream_vprintf", 2100), ("bpf_stream_bprintf", 100),
                                    ("bpf_stream_stage_printk", 2100),
                                    ("bpf_stream_try_drain", 4000),
                                    ("bpf_stream_try_read", 4200)))
        status, out = self.run_on(code=code)
        self.assertEqual(status, 1)
        self.assertTrue(out.endswith("3 passed, 4 failed, 0 skipped\n"), out)


if __name__ == "__main__":
    unittest.main()
