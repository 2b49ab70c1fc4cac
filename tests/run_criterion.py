#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Run a Criterion program and check that it ran every test of its source file.

usage: run_criterion.py PROGRAM SOURCE

Criterion exits with 0 after running nothing at all where /proc is missing, so the tests that ran
are counted and compared with the Test( declarations in SOURCE. The last line is
`N passed, N failed, N skipped`. Exit status: 0 all passed, 1 not so, 2 usage.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile

RESULT = re.compile(r"(ok|not ok) - (\S+) *(.*)")
PLACE = re.compile(r"  - (\S+:\d+): ")
SIGNAL = re.compile(r"^(\S+::\S+): (was killed by SIG\w+)$", re.M)     # from unit/signals.c
# Of the signals that unit/signals.c does not tell, the one that comes by itself.
KILLED = "was killed by SIGKILL, which cannot be caught: out of memory? That was"
SECONDS = 200                           # for one test

# Under AddressSanitizer: the tests' own processes end without a check for leaks, and Criterion's
# leaks now and then; a cancelled thread leaves its stack poisoned, and the sanitizer's own work at
# its end trips over that.
ASAN_OPTIONS = "detect_leaks=0:use_sigaltstack=0"


def declared(source):
    with open(source, encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    other = re.search(r"^\s*(ParameterizedTest|Theory)\s*\(", text, re.M)
    if other:
        sys.exit(f"{source}: {other[1]}() cannot be counted; write Test()")
    return {f"{suite}::{name}" for suite, name in
            re.findall(r"^\s*Test\(\s*(\w+)\s*,\s*(\w+)", text, re.M)}


def results(tap, died_by):
    """Return [[name, verdict, remark]] of a TAP report; of a failed test, what was expected."""
    out, place = [], ""
    for line in tap.splitlines():
        m = RESULT.fullmatch(line)
        if m and "# SKIP" in m[3]:
            out.append([m[2], "skipped", m[3].replace("# SKIP", "").strip() or "no reason given"])
        elif m and m[1] == "ok":
            out.append([m[2], "passed", ""])
        elif m:
            remark = m[3].replace("unexpected signal", died_by.get(m[2], KILLED))
            if m[3].startswith("("):
                remark = "ended early, with an exit status other than 0"
            out.append([m[2], "failed", remark])
        elif PLACE.match(line):
            if out[-1][2].startswith("ended early"):
                out[-1][2] = ""
            place = PLACE.match(line)[1]
            out[-1][2] += f"; {place}:"
        elif place and line.startswith("      "):
            out[-1][2] += " " + line.strip()
        else:
            place = ""
    return [[name, verdict, remark.lstrip("; ")] for name, verdict, remark in out]


def main(argv):
    if len(argv) != 3:
        print("usage: run_criterion.py PROGRAM SOURCE", file=sys.stderr)
        return 2
    program, source = argv[1:]
    want = declared(source)
    asan = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), ASAN_OPTIONS)))
    with tempfile.TemporaryDirectory() as d:
        tap = os.path.join(d, "tap")
        p = subprocess.run([program, "--quiet", "--color=never", f"--tap={tap}",
                            f"--timeout={SECONDS}"], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, errors="replace",
                           env={**os.environ, "ASAN_OPTIONS": asan})
        ran = []
        if os.path.exists(tap):
            with open(tap, encoding="utf-8", errors="replace") as f:
                ran = results(f.read(), dict(SIGNAL.findall(p.stdout)))

    count = {"passed": 0, "failed": 0, "skipped": 0}
    for name, verdict, remark in ran:
        count[verdict] += 1
        if verdict == "skipped":
            print(f"SKIP: {name}: {remark}")
        else:
            print(f"ok   {name}" if verdict == "passed" else f"FAIL {name}: {remark}")

    names = {name for name, _, _ in ran}
    for name in sorted(want - names):
        count["failed"] += 1
        print(f"FAIL {name} is declared in {source} but did not run")
    for name in sorted(names - want):
        count["failed"] += 1
        print(f"FAIL {name} ran but is not declared in {source}")
    if len(names) != len(ran):
        count["failed"] += 1
        print("FAIL a test ran twice")
    if not want:
        count["failed"] += 1
        print(f"FAIL {source} declares no test")
    if not ran:
        print("FAIL no test ran" + ("" if os.path.exists("/proc/self/stat")
                                    else ": /proc is not mounted, Criterion needs it"))
    if p.returncode and not count["failed"]:
        count["failed"] += 1
        print(f"FAIL {program} ended with " + (
            f"exit status {p.returncode}" if p.returncode > 0 else signal.Signals(-p.returncode).name))
    if count["failed"] and p.stdout.strip():
        print("---- output of the program ----")
        print(p.stdout.rstrip())
        print("-------------------------------")
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**count))
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
