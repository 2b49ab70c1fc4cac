#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Add up what the tests of several build directories say.

usage: sum_tests.py BUILD_DIRECTORY...

Every test in meson-logs/testlog*.json counts with its closing line, `N passed, N failed,
N skipped`, or as one if it has none. The whole output of failed tests is printed, then the
reason of every skip, then the sum as the last line. A directory whose tests did not run counts
as one failure. Exit status: 0 nothing failed, 1 something did, 2 usage.
"""
import glob
import json
import os
import re
import sys

CLOSING = re.compile(r"(\d+) passed, (\d+) failed, (\d+) skipped")


def read_log(build):
    tests = []
    for path in glob.glob(os.path.join(glob.escape(build), "meson-logs", "testlog*.json")):
        with open(path, encoding="utf-8") as f:
            tests += [json.loads(line) for line in f if line.strip()]
    return tests


def count(test):
    """Return (passed, failed, skipped) of one test; its status overrules a closing line."""
    lines = (test.get("stdout") or "").strip().splitlines()
    m = CLOSING.fullmatch(lines[-1].strip()) if lines else None
    numbers = [int(n) for n in m.groups()] if m else [0, 0, 0]
    result = test["result"]
    if result == "OK":
        if not m:
            numbers[0] = 1
        elif not sum(numbers):
            numbers[1] = 1
    elif result == "SKIP":
        if not numbers[2]:
            numbers[2] = 1
    elif not numbers[1]:
        numbers[1] = 1
    return numbers


def reasons(test):
    lines = (test.get("stdout") or "").strip().splitlines()
    found = [line.strip()[6:] for line in lines if line.strip().startswith("SKIP: ")]
    if not found and lines:
        found = [lines[-1].strip()]
    return found or ["no reason given"]


def main(argv):
    if argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        return 0
    if len(argv) < 2 or argv[1].startswith("-"):
        print("usage: sum_tests.py BUILD_DIRECTORY...", file=sys.stderr)
        return 2
    total, skips = [0, 0, 0], []
    for build in argv[1:]:
        label = os.path.basename(os.path.normpath(build))
        tests = read_log(build)
        if not tests:
            print(f"\nFAILED {label}: its tests did not run")
            total[1] += 1
        for test in tests:
            numbers = count(test)
            total = [a + b for a, b in zip(total, numbers)]
            name = test["name"].split(" / ")[-1]
            if numbers[1]:
                print(f"\n==== FAILED {label}: {name} ({test['result']}, "
                      f"status {test.get('returncode')}, {test.get('duration', 0):.1f} s) ====")
                print("command: " + " ".join(test.get("command") or []))
                for stream in ("stdout", "stderr"):
                    if (test.get(stream) or "").strip():
                        print(test[stream].rstrip())
                print("==== end ====")
            if numbers[2]:
                skips += [f"skipped in {label}: {name}: {r}" for r in reasons(test)]
    print()
    for text in skips:
        print(text)
    print("{} passed, {} failed, {} skipped".format(*total))
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
