#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Run one Python unittest file: a line for each test, and our closing line.

usage: run_unittest.py FILE

The last line is `N passed, N failed, N skipped`. Exit status: 0 all passed, 1 not so (also when
the file holds no test), 2 usage, 77 all skipped.
"""
import importlib.util
import os
import signal
import sys
import unittest


class Result(unittest.TestResult):
    def startTest(self, test):
        super().startTest(test)
        self.bad = False

    def report(self, test, text=""):
        self.bad = True
        print(f"FAIL {test.id().split('.', 1)[-1]}\n{text}", flush=True)

    def addSuccess(self, test):
        print(f"ok   {test.id().split('.', 1)[1]}", flush=True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.report(test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.report(test, self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            print(f"FAIL {subtest}\n{self._exc_info_to_string(err, test)}", flush=True)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"SKIP: {test.id().split('.', 1)[1]}: {reason}", flush=True)


def main(argv):
    if len(argv) != 2:
        print("usage: run_unittest.py FILE", file=sys.stderr)
        return 2
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.path.dirname(os.path.abspath(argv[1])))
    # Children of a background job would otherwise ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    spec = importlib.util.spec_from_file_location("test", argv[1])
    module = importlib.util.module_from_spec(spec)
    sys.modules["test"] = module
    spec.loader.exec_module(module)
    result = Result()
    unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
    failed = len({str(getattr(t, "test_case", t)) for t, _ in result.failures + result.errors})
    skipped = len(result.skipped)
    passed = max(0, result.testsRun - failed - skipped)
    if not result.testsRun and not failed:
        print(f"FAIL {argv[1]} holds no test")
        failed = 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 77 if skipped and not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
