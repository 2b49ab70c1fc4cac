#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The programs that run and count tests notice what failed, what is missing and what was skipped,
and say of what failed its name and how it failed.

To see this test fail: let run_criterion.py forget a test that did not run; take install() out of
tests/unit/signals.c, or Popen out of run_unittest.py; let sum_tests.py believe a closing line.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CRITERION = os.path.join(ROOT, "tests", "run_criterion.py")
UNITTEST = os.path.join(ROOT, "tests", "run_unittest.py")
SUM = os.path.join(ROOT, "scripts", "sum_tests.py")
CASES = """\
#include <criterion/criterion.h>
#include <signal.h>
#include <unistd.h>
Test(a, good) { cr_assert(1); }
Test(a, wrong) { cr_assert_eq(1, 2, "one is not %d", 2); }
Test(a, segv) { cr_assert(1); raise(SIGSEGV); }
Test(a, left) { _exit(3); }
Test(a, skip) { cr_skip_test("no cat"); }
/* Test(a, comment) {} */
"""
PYTHON = """\
import subprocess, unittest
class T(unittest.TestCase):
    def test_good(self):
        pass
    def test_wrong(self):
        self.fail("why")
    def test_segv(self):
        self.assertEqual(subprocess.run(["sh", "-c", "kill -SEGV $$"]).returncode, 0)
    def test_sub(self):
        for i in range(3):
            with self.subTest(i=i):
                self.fail()
    def test_skip(self):
        self.skipTest("no cat")
"""


def run(*args):
    p = subprocess.run([sys.executable, *args], capture_output=True, text=True)
    return p.returncode, p.stdout


class WithDirectory(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.dir = temp.name

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
        return path

    def expect(self, found, status, last, *lines):
        self.assertEqual((found[0], found[1].splitlines()[-1]), (status, last), found[1])
        for line in lines:
            self.assertIn(f"\n{line}\n", "\n" + found[1])


@unittest.skipUnless(os.path.exists("/usr/include/criterion/criterion.h"), "no Criterion")
class RunCriterion(WithDirectory):
    def build(self, text):
        source, program = self.write("cases.c", text), os.path.join(self.dir, "cases")
        subprocess.run(["cc", source, os.path.join(ROOT, "tests/unit/signals.c"), "-o", program,
                        "-lcriterion"], check=True)
        return program, source

    def test_each_kind_of_result(self):
        program, source = self.build(CASES)
        self.expect(run(CRITERION, program, source), 1, "1 passed, 3 failed, 1 skipped",
                    "ok   a::good", f"FAIL a::wrong: {source}:5: Assertion failed: one is not 2",
                    f"FAIL a::segv: was killed by SIGSEGV after {source}:6", "SKIP: a::skip: no cat",
                    "FAIL a::left: ended early, with an exit status other than 0")

    def test_programs_that_do_not_run_what_they_should(self):
        program, source = self.build("#include <criterion/criterion.h>\nTest(a, one) { cr_assert(1); }\n")
        self.expect(run(CRITERION, program, source), 0, "1 passed, 0 failed, 0 skipped")
        two = self.write("two.c", "Test(a, one) {}\nTest(a,\n     two, .timeout = 1) {}\n")
        self.expect(run(CRITERION, program, two), 1, "1 passed, 1 failed, 0 skipped",
                    f"FAIL a::two is declared in {two} but did not run")
        none = self.write("none.c", "int x;\n")
        self.expect(run(CRITERION, program, none), 1, "1 passed, 2 failed, 0 skipped",
                    f"FAIL a::one ran but is not declared in {none}")
        self.expect(run(CRITERION, shutil.which("true"), source), 1, "0 passed, 1 failed, 0 skipped",
                    "FAIL no test ran")
        bad = self.write("bad", f"#!/bin/sh\n{program} \"$@\"\nexit 3\n")
        self.expect(run(CRITERION, bad, source), 1, "1 passed, 1 failed, 0 skipped",
                    f"FAIL {bad} ended with exit status 3")


class RunUnittest(WithDirectory):
    def test_each_kind_of_result(self):
        self.expect(run(UNITTEST, self.write("t.py", PYTHON)), 1, "1 passed, 3 failed, 1 skipped",
                    "ok   T.test_good", "FAIL T.test_wrong: AssertionError: why",
                    "FAIL T.test_segv: AssertionError: SIGSEGV != 0",
                    "FAIL T.test_sub (i=2): AssertionError: None", "SKIP: T.test_skip: no cat")

    def test_files_that_run_nothing(self):
        self.expect(run(UNITTEST, self.write("t.py", "")), 1, "0 passed, 1 failed, 0 skipped")
        text = "import unittest\ndef setUpModule():\n    1 / 0\n"
        text += "class T(unittest.TestCase):\n    def test(self):\n        pass\n"
        self.expect(run(UNITTEST, self.write("t.py", text)), 1, "0 passed, 1 failed, 0 skipped",
                    "FAIL setUpModule (test): ZeroDivisionError: division by zero")
        text = "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        "
        self.expect(run(UNITTEST, self.write("t.py", text + "self.skipTest('x')\n")), 77,
                    "0 passed, 0 failed, 1 skipped")


class SumTests(WithDirectory):
    def log(self, build, number, *tests):
        lines = [json.dumps({"name": f"p / {name}", "result": result, "returncode": status,
                             "stdout": out}) for name, result, status, out in tests]
        self.write(f"{build}/meson-logs/round{number}-quick.json", "\n".join(lines) + "\n")
        return os.path.join(self.dir, build)

    def sum(self, *tests):
        return run(SUM, "1", self.log("a", 1, *tests))

    def test_lines_and_directories_are_added(self):
        a = self.log("a", 1, ("x", "OK", 0, "12 passed, 0 failed, 0 skipped\n"), ("y", "OK", 0, ""))
        b = self.log("b", 1, ("x", "OK", 0, "SKIP: z: no dog\n2 passed, 0 failed, 1 skipped"))
        self.expect(run(SUM, "1", a, b), 0, "15 passed, 0 failed, 1 skipped",
                    "skipped in b: x: z: no dog")

    def test_the_status_overrules_the_line(self):
        good = "2 passed, 0 failed, 0 skipped\n"
        for result, status, words in (
                ("FAIL", 1, "ended with exit status 1"), ("FAIL", -11, "was killed by SIGSEGV"),
                ("TIMEOUT", -15, "was ended after its time limit"),
                ("ERROR", 99, "ended with exit status 99")):
            self.expect(self.sum(("x", result, status, good)), 1, "2 passed, 1 failed, 0 skipped",
                        f"FAILED in a: x: {words}")
        for out, last in (("2 passed, 3 failed, 0 skipped\n", "2 passed, 3 failed, 0 skipped"),
                          ("0 passed, 0 failed, 0 skipped\n", "0 passed, 1 failed, 0 skipped")):
            self.expect(self.sum(("x", "OK", 0, out)), 1, last)

    def test_a_failure_is_named_with_its_round_and_seed(self):
        a = self.log("a", 1, ("x", "OK", 0, "quiet\n"))
        self.log("a", 2, ("x", "FAIL", 1, "x --seed 17\nFAIL: y: 1, not 2\n0 passed, 1 failed, 0 skipped"))
        found = run(SUM, "3", a)
        self.expect(found, 1, "1 passed, 2 failed, 0 skipped", "FAIL: y: 1, not 2",
                    "FAILED in a, round 2: x (seed 17): y: 1, not 2",
                    "FAILED in a, round 3: no test ran")
        self.assertNotIn("quiet", found[1])

    def test_builds__by_their_names(self):
        self.write("asan.log", "error")
        builds = self.log("test", 1, ("x", "FAIL", 1, "")), os.path.join(self.dir, "asan")
        self.expect(run(SUM, "1", *builds), 1, "0 passed, 2 failed, 0 skipped",
                    "FAILED in plain: x: ended with exit status 1",
                    "FAILED in asan: it was not built")

    def test_usage(self):
        self.assertEqual((run(SUM), run(SUM, "a", "b")), ((2, ""), (2, "")))


if __name__ == "__main__":
    unittest.main()
