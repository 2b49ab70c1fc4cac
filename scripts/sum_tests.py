#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Add up what the tests of several build directories say, in one round or more.

usage: sum_tests.py ROUNDS BUILD_DIRECTORY...

Every test in meson-logs/roundN*.json counts with its closing line, `N passed, N failed,
N skipped`, or as one if it has none. The whole output of failed tests is printed, then the
reason of every skip and, in a few words, of every failure, then the sum as the last line. A build
whose tests did not run in a round counts as one failure; ./dev leaves DIRECTORY.log if it failed.
Exit status: 0 nothing failed, 1 something did, 2 usage.
"""
import glob
import json
import os
import re
import signal
import sys

CLOSING = re.compile(r"(\d+) passed, (\d+) failed, (\d+) skipped")
SEED = re.compile(r"\bseed[ =](\d+)")


def read_log(build, number):
    tests = []
    for path in glob.glob(f"{glob.escape(build)}/meson-logs/round{number}[.-]*json"):
        with open(path, encoding="utf-8") as f:
            tests += [json.loads(line) for line in f if line.strip()]
    return tests


def output(test):
    return (test.get("stdout") or "").strip().splitlines()


def count(test):
    """Return [passed, failed, skipped] of one test; its status overrules a closing line."""
    lines = output(test)
    m = CLOSING.fullmatch(lines[-1].strip()) if lines else None
    numbers = [int(n) for n in m.groups()] if m else [0, 0, 0]
    result = test["result"]
    if result == "OK" and sum(numbers):
        return numbers
    least = {"OK": 1 if m else 0, "SKIP": 2}.get(result, 1)
    numbers[least] = numbers[least] or 1
    return numbers


def end(test):
    """How its process ended, in words."""
    status = test.get("returncode") or 0
    if test["result"] == "TIMEOUT":
        return "was ended after its time limit"
    if status < 0:
        return "was killed by " + signal.Signals(-status).name
    return f"ended with exit status {status}"


def reasons(test, word):
    """What its lines that begin with the word say; else how it ended, or its last line."""
    lines = (re.fullmatch(rf" *{word}\W\s*(.*)", line) for line in output(test))
    found = [m[1] for m in lines if m]
    if found:
        return found
    return [end(test)] if word != "SKIP" else output(test)[-1:] or ["no reason given"]


def main(argv):
    if len(argv) < 3 or not re.fullmatch(r"[1-9]\d*", argv[1]):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    total, rounds, last = [0, 0, 0], int(argv[1]), {}       # a reason is told once for all rounds
    for number in range(1, rounds + 1):
        for build in argv[2:]:
            label = re.sub("^test$", "plain", os.path.basename(os.path.normpath(build)))
            failed_in = label + (f", round {number}" if rounds > 1 else "")
            tests = read_log(build, number)
            if not tests:
                total[1] += 1
                why = "it was not built" if os.path.exists(build + ".log") else "no test ran"
                last[f"FAILED in {failed_in}: {why}"] = 1
            for test in tests:
                numbers = count(test)
                total = [a + b for a, b in zip(total, numbers)]
                name = test["name"].split(" / ")[-1]
                if numbers[1]:
                    print(f"\n==== FAILED in {failed_in}: {name} ====")
                    print("command: " + " ".join(test.get("command") or []))
                    for stream in ("stdout", "stderr"):
                        print((test.get(stream) or "").rstrip())
                    print(f"==== {name} {end(test)}, after {test.get('duration', 0):.1f} s ====")
                    seed = SEED.search("\n".join(output(test)[:5]))
                    seed = f" (seed {seed[1]})" if seed else ""
                    for reason in reasons(test, "FAIL(?:ED)?"):
                        last[f"FAILED in {failed_in}: {name}{seed}: {reason}"] = 1
                if numbers[2]:
                    for reason in reasons(test, "SKIP"):
                        last.setdefault(f"skipped in {label}: {name}: {reason}", 0)
    print()
    for text in sorted(last, key=last.get):
        print(text)
    print("{} passed, {} failed, {} skipped".format(*total))
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
