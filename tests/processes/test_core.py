# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A process aborts in the middle of a push; its core opens in gdb, and scripts/gdb_bpf_stream.py
shows what was pending: all that was accepted, in order, and nothing else.

Cores come from the kernel where it writes them here, else from gdb's generate-core-file.

Seen to fail with: a text written behind its publish (100 rounds); a script that forgets the
backlog, the log's order, consumed lengths, that messages have several elements, or the log when
the backlog is damaged; one that leaves gdb's errors to gdb.
"""
import os
import pathlib
import random
import re
import resource
import shutil
import subprocess
import tempfile
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from status import in_words  # noqa: E402

VICTIM = os.environ["CORE_VICTIM"]
SCRIPT = str(pathlib.Path(__file__).resolve().parents[2] / "scripts/gdb_bpf_stream.py")
ROUNDS = 100 if os.environ.get("BPF_STREAM_FULL", "0") not in ("", "0") else 5
SEED = int(os.environ.get("BPF_STREAM_SEED") or time.time())
FILLED = [r"'cond\n'", r"""'\x00third"\n'""", "'" + "x" * 10000 + r"\n'"]
PENDING = 5 + 8 + 10001

print(f"seed {SEED}, {ROUNDS} rounds", flush=True)


def gdb(*commands, args=()):
    """The output of gdb for the commands."""
    line = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off"]
    for command in ("set pagination off", "set width 0", f"source {SCRIPT}", *commands):
        line += ["-ex", command]
    done = subprocess.run([*line, "--args", VICTIM, *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout


def why_not_gdb():
    if not shutil.which("gdb"):
        return "gdb is not installed"
    if "bpf-stream EXPR" not in gdb("help bpf-stream"):
        return "this gdb has no Python"
    return None


def why_not_kernel():
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if not pattern or pattern.startswith("|") or "/" in pattern:
        return f"the kernel's core_pattern is '{pattern}'"
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        return "cores are limited here"
    return None


NO_GDB = why_not_gdb()
NO_CORE = why_not_kernel()


@unittest.skipIf(NO_GDB, NO_GDB)
class Core(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name

    def core_of_kernel(self, mode):
        def allow():
            resource.setrlimit(resource.RLIMIT_CORE, [resource.RLIM_INFINITY] * 2)

        place = tempfile.mkdtemp(dir=self.scratch)
        done = subprocess.run([VICTIM, mode], cwd=place, preexec_fn=allow)
        self.assertEqual(in_words(done.returncode), "killed by SIGABRT")
        if not os.listdir(place):
            self.skipTest("the kernel wrote no core")
        return os.path.join(place, os.listdir(place)[0])

    def core_of_gdb(self, mode, *commands):
        """The path, and what @commands showed of the process itself."""
        path = os.path.join(tempfile.mkdtemp(dir=self.scratch), "core")
        out = gdb("run", f"generate-core-file {path}", *commands, args=[mode])
        if not os.path.exists(path):
            for line in out.splitlines():
                if re.search("ptrace|not permitted|denied", line):
                    self.skipTest(f"gdb may run no process here: {line}")
            self.fail(out)
        return path, out

    def show(self, *paths):
        """What gdb shows of each core: messages accepted, the head line, the messages."""
        commands = []
        for path in paths:
            commands += [f"core-file {path}", r"echo \n", "output accepted", r"echo \n",
                         "bpf-stream stream"]
        out = gdb(*commands)
        for path in paths:
            os.remove(path)
        self.assertEqual(out.count("SIGABRT"), len(paths), out)
        found = re.findall(r"^\{(\d+), (\d+)\}\n(pending .*)\n((?:'.*'\n)*)", out, re.M)
        self.assertEqual(len(found), len(paths), out)
        return [([int(a), int(b)], head, text.splitlines()) for a, b, head, text in found]

    def show_aborted(self, *modes):
        return self.show(*(self.core_of_gdb(mode)[0] if NO_CORE else self.core_of_kernel(mode)
                           for mode in modes))

    def check_filled(self, shown):
        self.assertEqual(shown[1], f"pending {PENDING} bytes, 3 messages")
        self.assertEqual(shown[2], FILLED)

    def test_abort_at_each_place_of_a_push_shows_what_was_accepted(self):
        for shown in self.show_aborted("entered", "getting", "counting", "placing", "leaving",
                                       "publishing"):
            self.check_filled(shown)

    def test_core_of_a_shared_region_shows_its_texts(self):
        self.check_filled(*self.show_aborted("shared"))

    def test_core_that_gdb_makes_and_its_process_show_the_same(self):
        path, out = self.core_of_gdb("leaving", "bpf-stream stream_pointer")
        self.assertIn("\n".join([f"pending {PENDING} bytes, 3 messages", *FILLED, ""]), out)
        self.check_filled(*self.show(path))

    def test_damaged_element_is_told_and_the_others_are_shown(self):
        element = "((struct bpf_stream_elem *)((char *)bse_process.pool.bse_v + {} * 8))"
        places = [("stream.backlog_head", FILLED[2:]), ("(stream.log.bse_v >> 32)", FILLED[:2])]
        for place, left in places:
            with self.subTest(place):
                _, out = self.core_of_gdb("leaving", f"set var {element.format(place)}->info = 0",
                                          "bpf-stream stream")
                self.assertRegex(out, rf"pending {PENDING} bytes, {len(left)} messages; "
                                 r"the element at 0x\w+ is damaged; found \d+ bytes: "
                                 "what is behind that is missing")
                self.assertIn("\n".join(["", *left, ""]), out)

    def test_expressions_that_are_no_stream_are_told_in_one_line(self):
        for expression, message in (("", "usage: bpf-stream EXPR: "),
                                    ("accepted", "accepted: not a struct bpf_stream, but "),
                                    ("nosuch", "nosuch: No symbol .*compiled with -g")):
            with self.subTest(expression):
                out = gdb(f"bpf-stream {expression}")
                self.assertRegex(out, rf"\A{message}[^\n]*\n\Z")

    def test_program_without_debug_information_is_told_to_need_it(self):
        bare = os.path.join(self.scratch, "bare")
        subprocess.run(["strip", "-g", "-o", bare, VICTIM], check=True)
        out = gdb(f"file {bare}", "bpf-stream stream")
        self.assertRegex(out, r"(?m)^stream: .*unknown type.*must be compiled with -g\)$")
        self.assertNotIn("Python Exception", out)

    @unittest.skipIf(NO_CORE, NO_CORE)
    def test_core_that_the_kernel_makes_opens(self):
        self.check_filled(*self.show(self.core_of_kernel("leaving")))

    def test_abort_in_a_sink_shows_what_was_not_taken(self):
        (_, head, messages), = self.show_aborted("sink")
        self.assertEqual(head, f"pending {PENDING - 13} bytes, 1 messages")
        self.assertEqual(messages, FILLED[2:])

    def test_abort_at_any_instruction_shows_each_accepted_message_once(self):
        numbers = random.Random(SEED)
        for _ in range(0, ROUNDS, 5):
            microseconds = [str(numbers.randrange(1, 2000)) for _ in range(5)]
            for mode, shown in zip(microseconds, self.show_aborted(*microseconds)):
                with self.subTest(mode):
                    self.check_lanes(*shown)

    def check_lanes(self, accepted, head, messages):
        for lane, count in zip("ab", accepted):
            mine = [text for text in messages if text[1] == lane]
            # One more may be published, and not counted by its thread yet.
            self.assertIn(len(mine), [count, count + 1])
            self.assertEqual(mine, [rf"'{lane}{i}\n'" for i in range(len(mine))])
        self.assertEqual({text[1] for text in messages} - {"a", "b"}, set())
        size = sum(len(text) - 3 for text in messages)
        self.assertEqual(head, f"pending {size} bytes, {len(messages)} messages")
