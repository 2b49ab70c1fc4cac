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
import subprocess
import sys
import unittest


class Status(int):
    """The exit status of a process; of one that died by a signal, shown as its name."""

    def __repr__(self):
        return int.__repr__(self) if self >= 0 else signal.Signals(-self).name


class Popen(subprocess.Popen):
    @property
    def returncode(self):
        return self.__dict__.get("status")

    @returncode.setter
    def returncode(self, value):
        self.__dict__["status"] = value if value is None else Status(value)


def name_of(test):
    """Without the name that the module has here."""
    return test.id().split(".", 1)[-1]


class Result(unittest.TestResult):
    def report(self, name, test, err):
        what = str(err[1]).strip().split("\n")[0]
        print(f"FAIL {name}: {err[0].__name__}: {what}\n{self._exc_info_to_string(err, test)}",
              flush=True)

    def addSuccess(self, test):
        print(f"ok   {name_of(test)}", flush=True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.report(name_of(test), test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self.report(name_of(test), test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self.report(name_of(subtest), test, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"SKIP: {name_of(test)}: {reason}", flush=True)


def main(argv):
    if len(argv) != 2:
        print("usage: run_unittest.py FILE", file=sys.stderr)
        return 2
    subprocess.Popen = Popen
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
