#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Check how much stack the write path needs, as GCC says (-fcallgraph-info=su).

usage: check_stack.py HEADER [FUNCTION=LIMIT...]

Compiles the implementation with gcc -O2 and adds up the frames on the deepest path from each
function; without arguments push may use 512 bytes, the prints 2048, and what a handler may read
with, try_drain and try_read, 4096. On these paths indirect calls, recursion and frames of unknown
size are errors, but that the reader calls sinks: the deepest of ours counts, a user's own as 0.
Functions of the C library count as 0 and are named. The last line is `N passed, N failed, N
skipped`. Exit status: 0 all within their limits, 1 not so, 2 usage, 77 no gcc.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

LIMITS = {"bpf_stream_push": 512, "bpf_stream_printf": 2048, "bpf_stream_vprintf": 2048,
          "bpf_stream_bprintf": 2048, "bpf_stream_stage_printk": 2048,
          "bpf_stream_try_drain": 4096, "bpf_stream_try_read": 4096}
READS = ("bpf_stream_try_drain", "bpf_stream_try_read")
READERS = READS + ("bsi_reader_run", "bsi_drain")       # the sink's caller, and where it is inlined
USER_SINK = "bsi_take_user"                             # calls the sink that the user gave
SINKS = (USER_SINK, "bse_base_take_memory", "bse_base_take_fd")
NODE = re.compile(r'node: \{ title: "([^"]+)" label: "([^"]*)"')
EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
FRAME = re.compile(r"(\d+) bytes \(([\w,]+)\)")
INDIRECT = "__indirect_call"


class Problem(Exception):
    pass


def call_graph(header):
    """Return ({function: (bytes, kind)}, {function: [callees]})."""
    with tempfile.TemporaryDirectory() as d:
        with open(os.path.join(d, "stack.c"), "w", encoding="utf-8") as f:
            f.write("#define BPF_STREAM_IMPLEMENTATION\n"
                    f'#include "{os.path.abspath(header)}"\n')
        p = subprocess.run(["gcc", "-std=c11", "-O2", "-fcallgraph-info=su", "-pthread", "-c",
                            "stack.c", "-o", "stack.o"], cwd=d, capture_output=True, text=True)
        if p.returncode:
            raise Problem("gcc cannot compile it:\n" + p.stderr)
        with open(os.path.join(d, "stack.ci"), encoding="utf-8") as f:
            text = f.read()
    frames, calls = {}, {}
    for title, label in NODE.findall(text):
        m = FRAME.search(label)
        if m:
            frames[title] = (int(m[1]), m[2])
    for source, target in EDGE.findall(text):
        calls.setdefault(source, []).append(target)
    return frames, calls


def deepest(function, frames, calls, done, path=()):
    """Return (bytes, path) of the deepest path from a function; remember it in done."""
    if function in path:
        raise Problem("recursion: " + " -> ".join(path[path.index(function):] + (function,)))
    if function in done:
        return done[function]
    if function == INDIRECT:
        raise Problem("indirect call in " + " -> ".join(path))
    if function not in frames:
        done[function] = (0, ())
        return done[function]
    size, kind = frames[function]
    if kind != "static":
        raise Problem(f"{function} has a frame of unknown size ({kind})")
    below = (0, ())
    for callee in calls.get(function, []):
        below = max(below, deepest(callee, frames, calls, done, path + (function,)))
    done[function] = (size + below[0], ((function, size),) + below[1])
    return done[function]


def plain(title):
    """A function's name, without its file and the suffix of a clone."""
    return title.rsplit(":", 1)[-1].split(".")[0]


def with_sinks(frames, calls):
    """Return the calls with those of a sink replaced: by ours, or by none for the user's own."""
    sinks = [f for f in frames if plain(f) in SINKS]
    if {plain(f) for f in sinks} != set(SINKS):
        raise Problem("not in the compiled code: one of the sinks " + ", ".join(SINKS))
    into = {name: sinks for name in READERS} | {USER_SINK: []}
    return {source: [t for callee in callees for t in
                     (into.get(plain(source), [callee]) if callee == INDIRECT else [callee])]
            for source, callees in calls.items()}


def main(argv):
    if argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        return 0
    limits = dict(LIMITS)
    if len(argv) < 2 or argv[1].startswith("-") or \
            not all(re.fullmatch(r"\w+=\d+", a) for a in argv[2:]):
        print("usage: check_stack.py HEADER [FUNCTION=LIMIT...]", file=sys.stderr)
        return 2
    if not os.path.isfile(argv[1]):
        print(f"check_stack.py: there is no file {argv[1]}", file=sys.stderr)
        return 2
    if argv[2:]:
        limits = {name: int(n) for name, n in (a.split("=") for a in argv[2:])}
    if not shutil.which("gcc"):
        print("SKIP: stack: no gcc")
        return 77
    try:
        frames, calls = call_graph(argv[1])
    except Problem as e:
        print(e)
        print("0 passed, 1 failed, 0 skipped")
        return 1
    failed, outside = 0, set()
    for function, limit in limits.items():
        done = {}
        try:
            if function not in frames:
                raise Problem("not found in the compiled code")
            known = with_sinks(frames, calls) if function in READS else calls
            size, path = deepest(function, frames, known, done)
            if size > limit:
                raise Problem(f"{size} bytes, the limit is {limit}: "
                              + " -> ".join(f"{plain(f)} {n}" for f, n in path))
            print(f"ok   {function}: {size} of {limit} bytes: "
                  + " -> ".join(f"{plain(f)} {n}" for f, n in path))
        except Problem as e:
            failed += 1
            print(f"FAIL {function}: {e}")
        outside |= {f for f in done if f not in frames}
    if outside:
        print("counted as 0, from the C library: " + ", ".join(sorted(map(plain, outside))))
    print(f"{len(limits) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
