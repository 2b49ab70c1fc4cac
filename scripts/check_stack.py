#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Check how much stack the write path needs, as GCC says (-fcallgraph-info=su).

usage: check_stack.py HEADER

Compiles the bodies with gcc -O2 and adds up the frames on the deepest path from each function. On
these paths indirect calls, recursion and frames of unknown size are errors, but that the reader calls
a sink: for a drain the one that gathers, and the user's own as 0; for a read the one of memory. A
function of the C library counts as 128 bytes, and must be called by the constructor, too: to bind it
at its first call would take kilobytes. The last line is `N passed, N failed, N skipped`. Exit status:
0 all within their limits, 1 not so.
"""
import os
import re
import subprocess
import sys
import tempfile

USER_SINK = "bsi_take_sink"                             # calls the sink that the user gave
READS = {"bpf_stream_try_drain": USER_SINK, "bpf_stream_try_read": "bse_take_memory"}
LIMITS = dict.fromkeys(READS, 4096) | {"bpf_stream_push": 512} | dict.fromkeys(
    ("bpf_stream_" + f for f in ("printf", "vprintf", "bprintf", "stage_printk")), 2048)
READERS = (*READS, "bsi_reader_run", "bsi_drain")       # the sink's caller, and where it is inlined
NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes \(([\w,]+)\)')
EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
STAMPS = ("bse_news_write", "bsi_publish_news")         # the clock's caller, and where it is inlined
INDIRECT = "__indirect_call"
LIBRARY = 128
BINDS, BOUND_LATE = "bsi_process_load", {"writev"}     # the constructor; called for threads only


class Problem(Exception):
    pass


def call_graph(header):
    """Return ({function: (bytes, kind)}, {function: [callees]})."""
    with tempfile.TemporaryDirectory() as d:
        with open(os.path.join(d, "stack.c"), "w", encoding="utf-8") as f:
            f.write("#define BPF_STREAM_IMPLEMENTATION\n"
                    f'#include "{os.path.abspath(header)}"\n')
        subprocess.run(["gcc", "-std=c11", "-O2", "-fcallgraph-info=su", "-pthread", "-c",
                        "stack.c", "-o", "stack.o"], cwd=d, check=True)
        with open(os.path.join(d, "stack.ci"), encoding="utf-8") as f:
            text = f.read()
    calls = {}
    for source, target in EDGE.findall(text):
        calls.setdefault(source, []).append(target)
    return {title: (int(size), kind) for title, size, kind in NODE.findall(text)}, calls


def deepest(function, frames, calls, done, path=()):
    """Return (bytes, path) of the deepest path from a function; remember it in done."""
    if function in path:
        raise Problem("recursion: " + " -> ".join(map(plain, path[path.index(function):])))
    if function == INDIRECT:
        raise Problem("indirect call in " + " -> ".join(map(plain, path)))
    if function not in frames:
        done[function] = (LIBRARY, ((function, LIBRARY),))
    if function not in done:
        size, kind = frames[function]
        if kind != "static":
            raise Problem(f"{function} has a frame of unknown size ({kind})")
        below = max((deepest(callee, frames, calls, done, path + (function,))
                     for callee in calls.get(function, [])), default=(0, ()))
        done[function] = (size + below[0], ((function, size),) + below[1])
    return done[function]


def plain(title):
    """A function's name, without its file and the suffix of a clone."""
    return title.rsplit(":", 1)[-1].split(".")[0]


def with_sink(name, frames, calls):
    """Return the calls with a sink's replaced: by the one of this name, or none for the user's own."""
    sinks = [f for f in frames if plain(f) == name]
    if name and not sinks:
        raise Problem(f"not in the compiled code: the sink {name}")
    into = dict.fromkeys(READERS if name else (), sinks) | dict.fromkeys((USER_SINK, *STAMPS), [])
    return {source: [t for callee in callees for t in
                     (into.get(plain(source), [callee]) if callee == INDIRECT else [callee])]
            for source, callees in calls.items()}


def main(header):
    frames, calls = call_graph(header)
    failed, bound = 0, {}
    deepest(next(f for f in frames if plain(f) == BINDS), frames, calls, bound)
    for function, limit in LIMITS.items():
        done = {}
        try:
            if function not in frames:
                raise Problem("not found in the compiled code")
            known = with_sink(READS.get(function), frames, calls)
            size, path = deepest(function, frames, known, done)
            text = f"{size} of {limit} bytes: " + " -> ".join(f"{plain(f)} {n}" for f, n in path)
            if size > limit:
                raise Problem(text)
            if late := {f for f in done if f not in frames} - bound.keys() - BOUND_LATE:
                raise Problem(BINDS + "() does not call " + ", ".join(sorted(late)))
            print(f"ok   {function}: {text}")
        except Problem as e:
            failed += 1
            print(f"FAIL {function}: {e}")
    print(f"{len(LIMITS) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
