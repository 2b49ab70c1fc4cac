#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""scripts/check_stack.py adds up frames, and refuses what is too much or cannot be added up.

Seen to fail: with another limit, without the check for recursion, with the user's sink counted.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECK = os.path.join(ROOT, "scripts", "check_stack.py")
# In the order of check_stack.py; all but the first two are as good as they can be.
CODE = """\
#define noinline __attribute__((noinline))
void use(void *);
int (*hook)(void *);
static noinline int bsi_take_sink(void *p) { char b[700]; use(b); return hook(p) + b[0]; }
static noinline int bse_take_memory(void *p) { use(p); return 0; }
void bsi_process_load(void); void bsi_process_load(void) { char b[9]; use(b); }
int (*const takes[])(void *) = { bsi_take_sink, bse_take_memory };
static noinline int bsi_reader_run(int n) { return takes[n](&n) + 1; }
static noinline int leaf(void) { char b[200]; use(b); return b[0]; }
#define FRAME(n) { char b[n]; use(b); return b[0] + leaf(); }
#define RUN(n) { char b[n]; use(b); return b[0] + bsi_reader_run(b[1]); }
int bpf_stream_try_drain(int n); int bpf_stream_try_drain(int n) RUN(2900)
int bpf_stream_try_read(int n); int bpf_stream_try_read(int n) RUN(2910)
int bpf_stream_push(int n); int bpf_stream_push(int n) FRAME(30)
int bpf_stream_printf(int n); int bpf_stream_printf(int n) FRAME(1500)
int bpf_stream_vprintf(int n); int bpf_stream_vprintf(int n) FRAME(1501)
int bpf_stream_bprintf(int n); int bpf_stream_bprintf(int n) FRAME(1502)
int bpf_stream_stage_printk(int n); int bpf_stream_stage_printk(int n) FRAME(1503)
"""


@unittest.skipUnless(shutil.which("gcc"), "no gcc")
class CheckStack(unittest.TestCase):
    def run_on(self, code):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "h.h")
            with open(path, "w", encoding="utf-8") as f:
                f.write(code)
            p = subprocess.run([sys.executable, CHECK, path], capture_output=True, text=True)
        return p.returncode, p.stdout

    def test_within_the_limits(self):
        status, out = self.run_on(CODE)
        self.assertEqual(status, 0, out)
        self.assertRegex(out, r"ok   bpf_stream_push: 4\d\d of 512 bytes: bpf_stream_push \d\d -> "
                              r"leaf 2\d\d -> use 128\n")
        self.assertRegex(out, r"ok   bpf_stream_try_drain: 3[78]\d\d of 4096 bytes: "
                              r"bpf_stream_try_drain 29\d+ -> bsi_reader_run \d+ -> bsi_take_sink 7")
        self.assertRegex(out, r"ok   bpf_stream_try_read: 3[01]\d\d of .* -> bse_take_memory ")
        self.assertTrue(out.endswith("\n7 passed, 0 failed, 0 skipped\n"), out)

    def test_each_kind_of_error(self):
        push, drain = "bpf_stream_push(int n) FRAME(30)", "bpf_stream_try_drain(int n) RUN(2900)"
        for old, new, message in (
                (push, push.replace("30", "300"), "FAIL bpf_stream_push: 6"),
                (drain, drain.replace("2900", "3500"), "FAIL bpf_stream_try_drain: 4"),
                (push, "bpf_stream_push(int n) { return hook(&n) + 1; }", "indirect call in"),
                (push, "bpf_stream_push(int n) RUN(10)", "FAIL bpf_stream_push: indirect call in"),
                ("{ use(p); return 0; }", "{ return hook(p) + 1; }", "indirect call in"),
                (push, "bpf_stream_push(int n) { char b[n]; use(b); return 1; }", "unknown size"),
                (push, "bpf_stream_push(int n) { char b[9]; use(b); return b[0] + "
                 "bpf_stream_printf(n); }", "FAIL bpf_stream_push: 1"),
                ("int leaf(void) { char b[200]; use(b);", "int leaf(void) { char b[9]; use(b); "
                 "if (b[1]) return leaf() + b[2];", "recursion: leaf"),
                ("{ char b[9]; use(b); }", "{ }", "bsi_process_load() does not call use"),
                ("bse_take_memory", "bse_take_all", "not in the compiled code: the sink bse_take_memory"),
                ("bpf_stream_bprintf", "bpf_stream_nothing", "FAIL bpf_stream_bprintf: not found")):
            with self.subTest(message):
                self.assertIn(old, CODE)
                status, out = self.run_on(CODE.replace(old, new))
                self.assertEqual(status, 1, out)
                self.assertIn(message, out)


if __name__ == "__main__":
    unittest.main()
