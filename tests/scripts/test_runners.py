#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The programs that run and count tests notice what failed, what is missing and what was skipped.

run_criterion.py, run_unittest.py, sum_tests.py and check_cost.sh are fed with made-up programs and
logs. To see this test fail: let run_criterion.py forget a test that did not run.
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CRITERION = os.path.join(ROOT, "tests", "run_criterion.py")
UNITTEST = os.path.join(ROOT, "tests", "run_unittest.py")
SUM = os.path.join(ROOT, "scripts", "sum_tests.py")


def run(*args):
    p = subprocess.run([sys.executable, *args], capture_output=True, text=True)
    return p.returncode, p.stdout


class WithDirectory(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory()
        self.addCleanup(self.temp.cleanup)

    def write(self, name, text):
        path = os.path.join(self.temp.name, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
        return path


class RunCriterion(WithDirectory):
    SOURCE = "/* Test(a, no) */\nTest(a, one) {}\nTest(a,\n     two, .timeout = 1) {}\n"

    def run_on(self, tap, status=0, source=SOURCE):
        program = self.write("program", '#!/bin/sh\nfor a; do case $a in --tap=*) '
                             f"cat >\"${{a#--tap=}}\" <<'END'\n{tap}\nEND\n"
                             f";; esac; done\necho noise\nexit {status}\n")
        return run(CRITERION, program, self.write("test.c", source))

    def test_all_pass(self):
        status, out = self.run_on("TAP\nok - a::one  (0.00s)\nok - a::two  (0.00s)")
        self.assertEqual(status, 0)
        self.assertNotIn("noise", out)
        self.assertTrue(out.endswith("\n2 passed, 0 failed, 0 skipped\n"))

    def test_failure_shows_the_output(self):
        status, out = self.run_on("ok - a::one  (0s)\nnot ok - a::two timed out (1s)", 1)
        self.assertEqual(status, 1)
        self.assertIn("FAIL a::two timed out", out)
        self.assertIn("noise", out)
        self.assertTrue(out.endswith("\n1 passed, 1 failed, 0 skipped\n"))

    def test_skip_names_its_reason(self):
        status, out = self.run_on("ok - a::one  (0s)\nok - a::two  # SKIP no machine")
        self.assertEqual(status, 0)
        self.assertIn("SKIP: a::two: no machine", out)
        self.assertTrue(out.endswith("\n1 passed, 0 failed, 1 skipped\n"))

    def test_a_test_that_did_not_run_fails(self):
        status, out = self.run_on("ok - a::one  (0s)")
        self.assertEqual(status, 1)
        self.assertIn("FAIL a::two is declared in", out)

    def test_a_test_from_elsewhere_fails(self):
        status, out = self.run_on("ok - a::one  (0s)\nok - a::two  (0s)\nok - a::six  (0s)")
        self.assertEqual(status, 1)
        self.assertIn("FAIL a::six ran but is not declared", out)

    def test_nothing_ran(self):
        status, out = self.run_on("")
        self.assertEqual(status, 1)
        self.assertIn("no test ran", out)

    def test_nothing_declared(self):
        status, out = self.run_on("", source="int x;\n")
        self.assertEqual(status, 1)
        self.assertIn("declares no test", out)

    def test_bad_end_fails(self):
        status, out = self.run_on("ok - a::one  (0s)\nok - a::two  (0s)", 3)
        self.assertEqual(status, 1)
        self.assertIn("ended with status 3", out)


class RunUnittest(WithDirectory):
    def run_on(self, *bodies):
        text = "import unittest\nclass T(unittest.TestCase):\n    x = 0\n"
        for i, body in enumerate(bodies):
            text += f"    def test_{i}(self):\n        {body}\n"
        return run(UNITTEST, self.write("test.py", text))

    def test_counts(self):
        status, out = self.run_on("pass", "self.fail('why')", "1 / 0", "self.skipTest('no cat')")
        self.assertEqual(status, 1)
        self.assertIn("why", out)
        self.assertIn("ZeroDivisionError", out)
        self.assertIn("SKIP: T.test_3: no cat\n", out)
        self.assertTrue(out.endswith("\n1 passed, 2 failed, 1 skipped\n"), out)

    def test_subtests_of_one_test_count_once(self):
        status, out = self.run_on("pass", "[self.sub(i) for i in range(3)]\n"
                                  "    def sub(self, i):\n"
                                  "        with self.subTest(i=i):\n            self.fail()")
        self.assertEqual(status, 1)
        self.assertTrue(out.endswith("\n1 passed, 1 failed, 0 skipped\n"), out)

    def test_no_test_fails(self):
        self.assertEqual(self.run_on()[0], 1)

    def test_failing_setup_of_the_module_fails(self):
        text = "import unittest\ndef setUpModule():\n    1 / 0\n"
        text += "class T(unittest.TestCase):\n    def test(self):\n        pass\n"
        status, out = run(UNITTEST, self.write("t.py", text))
        self.assertEqual(status, 1)
        self.assertIn("FAIL setUpModule", out)
        self.assertTrue(out.endswith("\n0 passed, 1 failed, 0 skipped\n"))

    def test_all_skipped(self):
        self.assertEqual(self.run_on("self.skipTest('x')")[0], 77)


class SumTests(WithDirectory):
    def log(self, build, *tests):
        lines = [json.dumps({"name": name, "result": result, "stdout": out, "returncode": 0,
                             "duration": 1.0, "command": ["x"]}) for name, result, out in tests]
        self.write(f"{build}/meson-logs/testlog.json", "\n".join(lines) + "\n")
        return os.path.join(self.temp.name, build)

    def expect(self, status, last, *tests):
        found, out = run(SUM, self.log("a", *tests))
        self.assertEqual(out.splitlines()[-1], last, out)
        self.assertEqual(found, status)
        return out

    def test_closing_lines_are_added(self):
        self.expect(0, "13 passed, 0 failed, 0 skipped",
                    ("p / x", "OK", "12 passed, 0 failed, 0 skipped\n"), ("p / y", "OK", "fine\n"))

    def test_directories_are_added(self):
        a = self.log("a", ("x", "OK", ""))
        b = self.log("b", ("x", "OK", "2 passed, 0 failed, 0 skipped"))
        self.assertEqual(run(SUM, a, b), (0, "\n3 passed, 0 failed, 0 skipped\n"))

    def test_the_status_overrules_the_line(self):
        for result in ("FAIL", "TIMEOUT", "ERROR", "UNEXPECTEDPASS"):
            with self.subTest(result):
                self.expect(1, "2 passed, 1 failed, 0 skipped",
                            ("x", result, "2 passed, 0 failed, 0 skipped\n"))

    def test_failures_that_ended_well_count(self):
        self.expect(1, "2 passed, 3 failed, 0 skipped",
                    ("x", "OK", "2 passed, 3 failed, 0 skipped\n"))

    def test_zero_of_everything_fails(self):
        self.expect(1, "0 passed, 1 failed, 0 skipped",
                    ("x", "OK", "0 passed, 0 failed, 0 skipped\n"))

    def test_only_failed_tests_are_shown(self):
        out = self.expect(1, "1 passed, 1 failed, 0 skipped", ("x", "OK", "quiet\n"),
                          ("y", "FAIL", "loud\n"))
        self.assertIn("loud", out)
        self.assertNotIn("quiet", out)

    def test_skips_name_their_reason(self):
        out = self.expect(0, "1 passed, 0 failed, 3 skipped",
                          ("x", "OK", "SKIP: a: no cat\n1 passed, 0 failed, 1 skipped\n"),
                          ("y", "SKIP", "no dog\n"), ("z", "SKIP", ""))
        self.assertIn("skipped in a: x: a: no cat\n", out)
        self.assertIn("skipped in a: y: no dog\n", out)
        self.assertIn("skipped in a: z: no reason given\n", out)

    def test_help(self):
        for word in "--help", "-h":
            status, out = run(SUM, word)
            self.assertEqual(status, 0)
            self.assertIn("\nusage: sum_tests.py BUILD_DIRECTORY...\n", out)
        self.assertEqual((run(SUM), run(SUM, "--nope")), ((2, ""), (2, "")))

    def test_a_directory_without_log_fails(self):
        status, out = run(SUM, os.path.join(self.temp.name, "none"))
        self.assertEqual(status, 1)
        self.assertIn("its tests did not run", out)
        self.assertTrue(out.endswith("0 passed, 1 failed, 0 skipped\n"))


class CheckCost(WithDirectory):
    def check(self, *args):
        p = subprocess.run(["bash", os.path.join(ROOT, "scripts", "check_cost.sh"), *args],
                           capture_output=True, text=True)
        return p.returncode, p.stdout, p.stderr

    def test_help(self):
        for word in "--help", "-h":
            status, out, err = self.check(word)
            self.assertEqual((status, err), (0, ""))
            self.assertTrue(out.startswith("usage: check_cost.sh COUNT_RMW PAGE\n"), out)
        self.assertEqual(self.check(), (2, "", "usage: check_cost.sh COUNT_RMW PAGE\n"))

    def test_rows(self):
        program = self.write("count_rmw", "#!/bin/sh\necho '| push | 1 |'\necho '| read | 2 |'\n")
        page = self.write("page", "| push | 1 |\n| read | 3 |\n")
        status, out, _ = self.check(program, page)
        self.assertEqual((status, out.splitlines()[-1]), (1, "1 passed, 1 failed, 0 skipped"))


if __name__ == "__main__":
    unittest.main()
