#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How streamcat behaves on its command line, behaviour by behaviour.

usage: test_streamcat.py [BINARY]     or in the environment, as STREAMCAT

Seen to fail: streamcat.c was broken on purpose, one way at a time, and each of these made
at least one test red:
  waiting    no ring after a push; none after a drain; a bell that is never reset; a busy loop
             instead of the wait for room; nobody takes turns; EAGAIN of the output taken for a
             failure; an input that does not look whether it has to stop
  text       no newline for the last line; lines cut at NUL; capacity one byte too small; label
             only on the first line; label with the newline of its command; each line a group; a
             group as one message; a pool as small as 4 MiB
  loss       a message for each large line, or none; not the largest; --drop waits; all drop;
             lost lines not counted; exit status 0 in spite of a failure
  signals    nobody told to stop; an unfinished line delivered; an exit status instead of the
             signal; the second SIGINT ends all; the third does not; SIGPIPE ignored, not caught,
             or caught though it was ignored at the start; EPIPE told, or no failure
  commands   no process group; no SIGTERM; no SIGKILL; pipes that others inherit; exit status or
             signal not looked at; not waited for; no -- before the command
  outputs    --stderr or --stdout ignored; a failure that does not wake the writer that waits, does
             not stop its inputs, stops those of the other stream, or is not told; messages that
             pass the stream by; a closed descriptor reused; the output read as input
  options    255 inputs; stdin twice, or beside other inputs; --help on stderr; a name for all
             inputs, for none, or that no input follows; no -h; no -V
"""
import fcntl
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

if __name__ == "__main__" and len(sys.argv) == 2:
    os.environ["STREAMCAT"] = os.path.abspath(sys.argv[1])
BINARY = os.path.abspath(os.environ["STREAMCAT"])
PATIENCE = 100		# seconds; only a hang ever uses them up
HINT = "Try 'streamcat --help' for more information.\n"


def until(condition, what):
    """Poll until the condition holds, and return its value."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.002)
    raise AssertionError(f"waited {PATIENCE} s in vain until {what}")


def task_states(pid):
    """The scheduler state of each thread of a process, as in "S"."""
    states = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/stat", encoding="utf-8", errors="replace") as f:
                states.append(f.read().rpartition(")")[2].split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return []
    return states


def is_alive(pid):
    """A zombie that nobody collects is not."""
    states = task_states(pid)
    return bool(states) and states[0] not in "ZX"


def signal_mask_has(pid, mask, sig):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        found = re.search(rf"^{mask}:\s*([0-9a-f]+)", f.read(), re.M)
    return bool(found and int(found.group(1), 16) >> (sig - 1) & 1)


def limit_address_space():
    """1 GiB of addresses, which a stream of 128 MiB does not get by with; runs in the child."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))


def out_of_patience(*_):
    raise AssertionError(f"the test did not end within {PATIENCE + 5} s")


class Case(unittest.TestCase):
    def setUp(self):
        # For what has no timeout of its own, such as opening a FIFO.
        signal.signal(signal.SIGALRM, out_of_patience)
        signal.alarm(PATIENCE + 5)
        self.addCleanup(signal.alarm, 0)
        self.dir = tempfile.mkdtemp(prefix="streamcat-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.started = []
        self.addCleanup(self.end_started)

    def end_started(self):
        for process in self.started:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()

    def path(self, name):
        return os.path.join(self.dir, name)

    def file(self, name, content):
        with open(self.path(name), "wb") as f:
            f.write(content)
        return self.path(name)

    def fifo(self, name):
        os.mkfifo(self.path(name))
        return self.path(name)

    def start(self, *args, **how):
        for pipe in "stdin", "stdout", "stderr":
            how.setdefault(pipe, subprocess.DEVNULL if pipe == "stdin" else subprocess.PIPE)
        process = subprocess.Popen([BINARY, *args], cwd=self.dir, bufsize=0, **how)
        self.started.append(process)
        return process

    def finish(self, process):
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.fail(f"did not end: {process.args}")
        return process.returncode, out, err.decode(errors="replace") if err is not None else None

    def run_it(self, *args, data=None, **how):
        if data is None:
            return self.finish(self.start(*args, **how))
        with tempfile.TemporaryFile() as f:
            f.write(data)
            f.seek(0)
            return self.finish(self.start(*args, stdin=f, **how))

    def expect(self, args, out, status=0, err="", data=None, **how):
        self.assertEqual(self.run_it(*args, data=data, **how), (status, out, err))

    def expect_lines(self, args, out, **how):
        """Of several inputs, in any order."""
        status, got, err = self.run_it(*args, **how)
        self.assertEqual((status, sorted(got.splitlines()), err), (0, sorted(out), ""))

    def wait_blocked(self, process, threads):
        """Until all threads exist and sleep, each time we look. Sanitizers have threads, too.

        One that reads a file sleeps only when there is no room; one that reads a command sleeps
        before the command has begun, too: nothing may be concluded from that.
        """
        def blocked():
            states = task_states(process.pid)
            return len(states) >= threads and set(states) == {"S"}
        until(lambda: process.poll() is not None or all(blocked() for _ in range(30)),
              f"{threads} threads block")
        self.assertIsNone(process.poll(), "ended instead of blocking")

    def read_lines(self, pipe, count):
        """Exactly this many lines, as they come."""
        data = b""
        while data.count(b"\n") < count:
            piece = os.read(pipe.fileno(), 1)
            self.assertTrue(piece, f"ended after {data!r}")
            data += piece
        return data

    def stats(self, err):
        """For each stream: lines and bytes delivered, bytes left, lost, attempts refused."""
        found = re.findall(r"^streamcat: (\w+): delivered (\d+) lines, (\d+) bytes; accepted and "
                           r"not delivered (\d+) bytes; lost (\d+) (?:lines|groups); "
                           r"attempts refused (\d+)$", err, re.M)
        return {name: tuple(map(int, figures)) for name, *figures in found}


class Options(Case):
    def test_help__names_every_option_on_stdout(self):
        status, out, err = self.run_it("--help")
        self.assertEqual((status, err), (0, ""))
        for word in ("usage: streamcat", "--command CMD", "--name NAME", "--group", "--label",
                     "--stdout", "--stderr", "--capacity N", "--drop", "--stats", "-h, --help",
                     "-V, --version", "At most 256", "suffixes k (1024) and m (1048576)",
                     "as they arrive", "newline, one is added", "third", "141 SIGPIPE"):
            self.assertIn(word, out.decode(errors="replace"))
        self.assertEqual(self.run_it("-h"), (0, out, ""))

    def test_help__full_disk_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            self.expect(["--help"], None, 1, "streamcat: stdout: cannot write: "
                        "No space left on device\n", stdout=full)

    def test_version__is_that_of_the_library(self):
        for option in "-V", "--version":
            status, out, err = self.run_it(option)
            self.assertEqual((status, err), (0, ""))
            self.assertRegex(out.decode(errors="replace"), r"\Astreamcat \d+\.\d+\.\d+\n\Z")

    def test_usage__says_what_is_wrong(self):
        for args, message in (
                (["--nosuch"], "unrecognized option '--nosuch'"),
                (["-x"], "invalid option -- 'x'"),
                (["--command"], "option '--command' requires an argument"),
                (["--capacity"], "option '--capacity' requires an argument"),
                (["--drop=1"], "option '--drop' doesn't allow an argument"),
                (["-", "--label", "-"], "-: standard input can be given only once"),
                (["f", "--name", "x"], "--name x: no input or command follows it"),
                (["--name=x", "--name=y", "f"], "--name x: no input or command follows it"),
                (["f"] * 200 + ["--command=true"] * 57, "more than 256 inputs: let a part of "
                                                        "them be one --command 'streamcat ...'")):
            self.expect(args, b"", 2, f"streamcat: {message}\n{HINT}", data=b"not read\n")

    def test_usage__bad_capacities(self):
        for bad in ("''", "0", "-1", "+1", " 1", "1 ", "k", "1kk", "1g", "0x10", "1.5", "129m",
                    "134217729", "131073k", "99999999999999999999", "18014398509481985k"):
            self.expect(["--capacity", bad.strip("'")], b"", 2, f"streamcat: --capacity {bad}: "
                        "must be 1 to 128m bytes; k stands for 1024, m for 1048576\n" + HINT)

    def test_capacity__suffixes(self):
        self.file("f", b"x" * 2047 + b"\n")
        for good in ("2k", "2K", "2048", "1m", "128M", "134217728"):
            self.assertEqual(self.run_it("--capacity", good, "f")[::2], (0, ""), good)
        self.assertEqual(self.run_it("--capacity=1k", "f")[0], 1)

    def test_256_inputs__all_are_read(self):
        for i in range(256):
            self.file(f"{i}", b"line of %d\n" % i)
        self.expect_lines(map(str, range(256)), [b"line of %d" % i for i in range(256)])

    def test_inputs__stand_among_options_or_after_two_dashes(self):
        self.file("--label", b"1\n")
        self.expect(["./--label", "--label", "--group"], b"./--label: 1\n")
        self.expect(["--label", "--", "--label"], b"--label: 1\n")
        self.expect(["--", "-"], b"in\n", data=b"in\n")

    def test_name__is_that_of_the_next_input(self):
        self.file("f", b"file\n")
        self.expect_lines(["--label", "--name", "a", "--stdout", "--command", "echo command",
                           "--name=b", "f", "f", "--name", "c", "--", "-"],
                          [b"a: command", b"b: file", b"c: in", b"f: file"], data=b"in\n")
        self.expect(["--label", "--name", "web"], b"web: in\n", data=b"in\n")
        self.expect(["--name", "n", "nosuch"], b"", 1,
                    "streamcat: n: cannot open: No such file or directory\n")


class Inputs(Case):
    def test_no_inputs__reads_stdin(self):
        self.expect(["--drop"], b"a\nb\n", data=b"a\nb\n")
        self.expect(["--label"], b"stdin: a\n", data=b"a\n")
        self.expect(["--label", "--group"], b"", data=b"")

    def test_stdin__is_read_beside_others_only_if_named(self):
        self.file("f", b"from file\n")
        self.expect_lines(["f", "-"], [b"from file", b"from stdin"], data=b"from stdin\n")
        self.expect(["f"], b"from file\n", data=b"from stdin\n")

    def test_last_line__gets_its_newline(self):
        self.file("f", b"a\nb")
        self.expect(["f"], b"a\nb\n")
        self.expect(["--group", "--label", "f"], b"f: a\nf: b\n")

    def test_bytes__are_data(self):
        data = b"\0a\0\n\0\n\n" + bytes(range(256)) + b"\n"
        data += random.Random(1).randbytes(3 << 20).replace(b"\n", b" ") + b"\n"
        for args in ([], ["--group"]):
            self.expect(args, data, data=data)

    def test_fifo__its_writer_is_waited_for(self):
        process = self.start("--label", "--name", "x", self.fifo("f"))
        self.wait_blocked(process, 3)
        with open(self.path("f"), "wb", buffering=0) as f:
            self.wait_blocked(process, 3)
            f.write(b"late\n")
            self.assertEqual(self.read_lines(process.stdout, 1), b"x: late\n")
            self.wait_blocked(process, 3)
            f.write(b"later\n")
        self.assertEqual(self.finish(process), (0, b"x: later\n", ""))

    def test_fifos__lines_come_as_they_are_written_in_pieces(self):
        names = [self.fifo(f"{i}") for i in range(4)]
        process = self.start(*names)
        files = [open(name, "wb", buffering=0) for name in reversed(names)]
        for turn in range(20):
            for i, f in enumerate(files):
                f.write(b"%d,%d " % (i, turn))
            for i, f in enumerate(files):
                f.write(b"end\n")
                self.assertEqual(self.read_lines(process.stdout, 1), b"%d,%d end\n" % (i, turn))
        for f in files:
            f.close()
        self.assertEqual(self.finish(process), (0, b"", ""))

    def test_nonblocking_stdin__is_waited_for(self):
        r, w = os.pipe()
        os.set_blocking(r, False)
        process = self.start(stdin=r)
        os.close(r)
        self.wait_blocked(process, 3)
        os.write(w, b"a\n")
        self.assertEqual(self.read_lines(process.stdout, 1), b"a\n")
        os.close(w)
        self.assertEqual(self.finish(process), (0, b"", ""))


class Commands(Case):
    def test_command__output_is_read(self):
        self.file("f", b"file\n")
        self.expect_lines(["--command", "echo 1; printf 2", "f", "--command=cat; echo 3"],
                          [b"1", b"2", b"3", b"file"], data=b"not for it\n")

    def test_command__label_is_its_first_line(self):
        self.expect(["--label", "--command", "echo a\necho b"], b"echo a: a\necho a: b\n")

    def test_command__failures_are_told_and_do_not_stop_others(self):
        self.file("f", b"file\n")
        for command, why in (("echo a; exit 3", "exit status 3"),
                             ("echo a; kill -9 $$", "killed by signal 9 (Killed)"),
                             ("echo a; exec >&-; exit 4", "exit status 4")):
            status, out, err = self.run_it("--command", command, "f")
            self.assertEqual((status, sorted(out.split()), err),
                             (1, [b"a", b"file"], f"streamcat: {command}: command failed: {why}\n"))
        self.assertIn("streamcat: -x: command failed: exit status 127\n",
                      self.run_it("--command=-x")[2])

    def test_command__gets_ordinary_signals_and_descriptors(self):
        status, out, err = self.run_it("--command", "exec cat /proc/self/status",
                                       "--command", "ls -l /proc/self/fd")
        self.assertEqual((status, err), (0, ""))
        for mask in ("SigBlk", "SigIgn"):
            value = int(re.search(rf"{mask}:\s*([0-9a-f]+)".encode(), out).group(1), 16)
            for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
                self.assertFalse(value >> (sig - 1) & 1, f"{mask} {sig}")
        numbers = re.findall(rb" (\d+) -> ", out)
        self.assertEqual(set(numbers), {b"0", b"1", b"2", b"3"}, out)


class Groups(Case):
    def test_group__comes_when_its_blank_line_comes(self):
        a, b = self.fifo("a"), self.fifo("b")
        process = self.start("--group", a, b)
        with open(a, "wb", buffering=0) as fa, open(b, "wb", buffering=0) as fb:
            fa.write(b"a1\na2\n")
            fb.write(b"b1\n")
            fb.write(b"b2\n\nb3\n")
            self.assertEqual(self.read_lines(process.stdout, 3), b"b1\nb2\n\n")
            fa.write(b"a3\n\n")
            self.assertEqual(self.read_lines(process.stdout, 4), b"a1\na2\na3\n\n")
        self.assertEqual(self.finish(process), (0, b"b3\n", ""))

    def test_group__further_blank_lines_are_groups_of_their_own(self):
        # "\n" + "a\n\n" + "\n" + "b\n": no group is larger than three bytes
        self.expect(["--group", "--capacity", "3"], b"\na\n\n\nb\n", data=b"\na\n\n\nb\n")

    def test_label__on_each_line(self):
        self.expect(["--group", "--label"], b"stdin: a\nstdin: \nstdin: b\n", data=b"a\n\nb\n")
        self.file("f", b"1\n\n2\n")
        self.expect_lines(["--label", "f", "-", "--command", "echo c"],
                          [b"echo c: c", b"f: ", b"f: 1", b"f: 2", b"stdin: in"], data=b"in\n")

    def test_groups__of_eight_inputs_stay_in_one_piece(self):
        rng = random.Random(7)
        whole = {}
        for name in "abcdefgh":
            whole[name] = ["".join(f"{name} {g} {i} {'x' * rng.randrange(60)}\n"
                                   for i in range(rng.randrange(1, 12))) + "\n"
                           for g in range(300)]
            self.file(name, "".join(whole[name]).encode())
        status, out, err = self.run_it("--group", "--capacity", "2k", *whole)
        self.assertEqual((status, err), (0, ""))
        got = [g + "\n\n" for g in out.decode(errors="replace").split("\n\n")[:-1]]
        self.assertEqual(len(got), 8 * 300)
        for name, groups in whole.items():
            self.assertEqual([g for g in got if g[0] == name], groups)


class Sizes(Case):
    def left_out(self, args, data, out, count, capacity, largest):
        what = "groups" if "--group" in args else "lines"
        labels = " with labels" if "--label" in args else ""
        self.expect(["--capacity", str(capacity), *args], out, 1,
                    f"streamcat: stdin: {what} left out: {count}, larger than the capacity of "
                    f"{capacity} bytes, the largest {largest}{labels}; see --capacity\n", data=data)

    def test_exactly_the_capacity__is_delivered(self):
        self.expect(["--capacity", "6"], b"12345\n12345\n", data=b"12345\n12345")
        self.expect(["--capacity", "13", "--label"], b"stdin: 12345\n", data=b"12345\n")
        self.expect(["--capacity", "1"], b"\n\n", data=b"\n\n")
        self.expect(["--group", "--capacity", "5"], b"1\n2\n\n3\n4\n", data=b"1\n2\n\n3\n4\n")
        self.expect(["--group", "--capacity", "19", "--label"], b"stdin: 123\nstdin: \n",
                    data=b"123\n\n")

    def test_larger_lines__are_one_message_and_others_go_on(self):
        self.left_out([], b"a\n123456\nb\n", b"a\nb\n", 1, 6, 7)
        self.left_out([], b"a\n123456", b"a\n", 1, 6, 7)
        self.left_out([], b"a\n" + b"123456\n12345678\n1234567\n" * 1000 + b"b\n", b"a\nb\n",
                      3000, 6, 9)
        self.left_out([], b"x" * 5000000 + b"\nb\n", b"b\n", 1, 100, 5000001)
        self.left_out(["--label"], b"12345\n1234\n", b"stdin: 1234\n", 1, 12, 13)

    def test_larger_groups__are_one_message_and_others_go_on(self):
        self.left_out(["--group"], b"1\n2\n\n3\n\n", b"3\n\n", 1, 4, 5)
        self.left_out(["--group"], b"3\n\n1\n2\n1", b"3\n\n", 1, 4, 6)
        self.left_out(["--group"], b"a\n \n\n\n", b"\n", 1, 4, 5)	# " \n" is not empty
        self.left_out(["--group", "--label"], b"123\n\n" * 2, b"", 2, 18, 19)

    def test_each_input__has_its_own_message(self):
        self.file("f", b"12\n" * 3)
        self.file("g", b"123\n")
        status, out, err = self.run_it("--capacity", "2", "--stats", "f", "g")
        self.assertEqual((status, out, len(err.splitlines())), (1, b"", 3))
        self.assertRegex(err, r"(?m)^streamcat: f: lines left out: 3, .* largest 3;")
        self.assertRegex(err, r"(?m)^streamcat: g: lines left out: 1, .* largest 4;")
        self.assertEqual(self.stats(err)["stdout"], (0, 0, 0, 4, 0))


class Streams(Case):
    def test_stdout_and_stderr__apply_to_what_follows(self):
        for name in "abcd":
            self.file(name, name.encode() + b"\n")
        status, out, err = self.run_it("a", "--stderr", "b", "--command", "echo x", "--stdout",
                                       "c", "--stderr", "--stats", "--", "d")
        stats = self.stats(err)
        self.assertEqual((status, sorted(out.split()), sorted(err.split()[:3])),
                         (0, [b"a", b"c"], ["b", "d", "x"]))
        self.assertEqual(stats, {"stdout": (2, 4, 0, 0, 0), "stderr": (3, 6, 0, 0, 0)})
        self.expect(["--stderr"], b"", 0, "a\n", data=b"a\n")

    def test_stderr__messages_do_not_tear_lines(self):
        lines = [f"{i} " + "x" * 200 for i in range(3000)]
        self.file("f", "\n".join(lines).encode() + b"\n")
        bad = [f"none{i}" for i in range(100)]
        fifo = self.fifo("late")
        r, w = os.pipe()
        fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 4096)
        process = self.start("--stderr", "f", "f", fifo, *bad, stderr=w)
        os.close(w)
        with open(fifo, "wb"):
            self.wait_blocked(process, 3)	# its writev() is in the middle of a line
        with os.fdopen(r, "rb") as f:
            err = f.read().decode(errors="replace")
        self.assertEqual(self.finish(process)[0], 1)
        messages = [f"streamcat: {b}: cannot open: No such file or directory" for b in bad]
        self.assertEqual(sorted(err.splitlines()), sorted(lines * 2 + messages))

    def test_full_stream__does_not_stop_the_other(self):
        fifo = self.fifo("f")
        # the empty lines are the dearest ones for the library's pool
        self.file("empty", b"\n" * (5 << 20))
        for full, other, mode in (("--stdout", "--stderr", "--stdout"),
                                  ("--stderr", "--stdout", "--group")):
            process = self.start(mode, full, "empty", other, fifo)
            pipe = process.stderr if other == "--stderr" else process.stdout
            with open(fifo, "wb", buffering=0) as f:
                self.wait_blocked(process, 5)
                for i in range(50):
                    f.write(b"%d\n\n" % i)
                    self.assertEqual(self.read_lines(pipe, 2), b"%d\n\n" % i)
            process.kill()
            self.finish(process)

    def test_drop__lost_and_delivered_make_the_whole(self):
        self.file("f", b"".join(b"%d\n%d\n%d\n\n" % (i, i, i) for i in range(30000)))
        for mode, what, whole, size in ([], "lines", 120000, 1), (["--group"], "groups", 30000, 4):
            process = self.start("--drop", "--capacity", "100", "--stats", *mode, "f")
            message = self.read_lines(process.stderr, 1).decode(errors="replace")
            status, out, err = self.finish(process)
            lost = re.fullmatch(rf"streamcat: f: {what} dropped: (\d+), stdout was full\n", message)
            self.assertTrue(lost, message)
            lost, lines = int(lost[1]), out.count(b"\n")
            self.assertEqual((status, lost > 0, lines // size + lost), (1, True, whole))
            self.assertEqual(self.stats(err)["stdout"], (lines, len(out), 0, lost, lost * size))
            if mode:
                groups = [g.split(b"\n") for g in out.split(b"\n\n")[:-1]]
                self.assertEqual(groups, [g[:1] * 3 for g in groups])
                self.assertEqual(groups, sorted(groups, key=lambda g: int(g[0])))

    def test_waiting__ends_when_there_is_room_and_loses_nothing(self):
        data = b"".join(b"%d %s\n" % (i, b"x" * (i % 50)) for i in range(9000))
        self.file("f", data)
        process = self.start("--capacity", "64", "--stats", "f")
        self.wait_blocked(process, 3)		# also: it uses no processor
        status, out, err = self.finish(process)
        self.assertEqual((status, out), (0, data))
        self.assertEqual(self.stats(err)["stdout"][:4], (9000, len(data), 0, 0))

    def test_waiting__long_lines_are_not_starved_by_short_ones(self):
        fifo = self.fifo("f")
        process = self.start("--capacity", "1k", fifo, "--command", "yes")
        with open(fifo, "wb", buffering=0) as f:
            self.read_lines(process.stdout, 1)
            f.write(b"z" * 1023 + b"\n")
        seen = b"\n"
        end = time.monotonic() + PATIENCE
        while b"z\n" not in seen[-200000:]:
            if time.monotonic() >= end:
                self.fail(f"the long line did not come within {PATIENCE} s")
            seen += os.read(process.stdout.fileno(), 65536)
        self.assertIn(b"\n" + b"z" * 1023 + b"\n", seen)

    def test_nonblocking_stdout__loses_nothing(self):
        data = b"".join(b"%d %s\n" % (i, b"x" * (i % 500)) for i in range(5000))
        self.file("f", data)
        r, w = os.pipe()
        os.set_blocking(w, False)
        process = self.start("f", stdout=w)
        self.wait_blocked(process, 2)
        os.close(w)
        with os.fdopen(r, "rb") as f:
            self.assertEqual(f.read(), data)
        self.assertEqual(self.finish(process)[::2], (0, ""))

    def test_eight_inputs__order_kept_and_no_line_torn(self):
        rng = random.Random(8)
        lines = {}
        for name in "abcdefgh":
            lines[name] = [f"{i} {chr(rng.randrange(97, 123)) * rng.randrange(120)}"
                           for i in range(10000)]
            self.file(name, "\n".join(lines[name]).encode() + b"\n")
        for capacity in ("4m", "500"):
            status, out, err = self.run_it("--label", "--capacity", capacity, *lines)
            self.assertEqual((status, err), (0, ""))
            got = out.decode(errors="replace").split("\n")
            self.assertEqual((len(got), got[-1]), (80001, ""))
            for name, want in lines.items():
                self.assertEqual([g[3:] for g in got if g.startswith(name + ": ")], want)


class Failures(Case):
    FULL = "streamcat: stdout: cannot write: No space left on device\n"

    def test_input_that_cannot_be_read__others_are_delivered(self):
        self.file("f", b"a\n")
        for name, message in (("nosuch", "nosuch: cannot open: No such file or directory"),
                              ("", "'': cannot open: No such file or directory"),
                              (".", ".: cannot read: Is a directory")):
            self.expect([name, "f"], b"a\n", 1, f"streamcat: {message}\n")

    def test_no_address_space(self):
        if self.run_it("--version", preexec_fn=limit_address_space)[0]:
            self.skipTest("a sanitizer needs more addresses than this test allows")
        status, out, err = self.run_it("--capacity", "128m", preexec_fn=limit_address_space)
        self.assertEqual((status, out), (1, b""))
        self.assertRegex(err, r"\Astreamcat: cannot reserve \d+ bytes of address space for a "
                              r"capacity of 134217728: see ulimit -v\n\Z")
        for i in range(64):
            self.file(f"{i:02}", b"%02d\n" % i)
        status, out, err = self.run_it("--capacity", "16m", *(f"{i:02}" for i in range(64)),
                                       preexec_fn=limit_address_space)
        failed = re.fullmatch(r"streamcat: (\d\d): cannot start: .*\n", err)
        self.assertEqual((status, sorted(out.split())),
                         (1, [b"%02d" % i for i in range(int(failed[1]))]))

    def test_closed_descriptors__are_told(self):
        self.file("f", b"a\n")
        self.expect([], b"", 1, "streamcat: stdin: cannot read: Bad file descriptor\n",
                    preexec_fn=lambda: os.close(0))
        self.expect(["f"], b"", 1, "streamcat: stdout: cannot write: Bad file descriptor\n",
                    preexec_fn=lambda: os.close(1))

    def test_output_file__is_not_its_own_input(self):
        self.file("f", b"a\n")
        self.file("g", b"b\n")
        with open(self.path("f"), "ab") as f:
            self.expect(["f", "g"], None, 1, "streamcat: f: cannot read: it is the output\n",
                        stdout=f)
        with open(self.path("f"), "rb") as f:
            self.assertEqual(f.read(), b"a\nb\n")

    def test_full_disk__one_message_and_the_end_of_inputs_that_block(self):
        self.file("f", b"a\n" * 100000)
        with open("/dev/full", "wb") as full:
            self.expect(["f", "f", "f", "--capacity", "1k", self.fifo("never"), "--command",
                         "sleep 1000", "--command", "yes"], None, 1, self.FULL, stdout=full)
            status, _, err = self.run_it("--stats", data=b"12345\n", stdout=full)
        self.assertEqual((status, self.stats(err)["stdout"]), (1, (0, 0, 6, 0, 0)))

    def test_failed_output__inputs_of_the_other_are_delivered(self):
        lines = b"".join(b"%d\n" % i for i in range(100))
        for bad, good in ("--stdout", "--stderr"), ("--stderr", "--stdout"):
            with open("/dev/full", "wb") as full:
                process = self.start("--capacity", "1k", bad, "--command", "yes", good, "-",
                                     stdin=subprocess.PIPE, **{bad[2:]: full})
            pipe = process.stderr or process.stdout
            if bad == "--stdout":
                self.assertEqual(self.read_lines(pipe, 1).decode(errors="replace"), self.FULL)
            process.stdin.write(lines)
            self.assertEqual(self.read_lines(pipe, 100), lines)
            process.stdin.close()
            process.stdin = None
            self.assertEqual(self.finish(process)[0], 1)


class Pipes(Case):
    def test_head__ends_as_cat_does_without_a_message(self):
        self.file("f", b"12345678\n\n" * 100000)
        # SIGPIPE as usual, and ignored, as Python has it for itself
        for restore in True, False:
            status = []
            for program in "cat", BINARY:
                process = subprocess.Popen([program, "f"], cwd=self.dir, restore_signals=restore,
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.assertEqual(process.stdout.readline(), b"12345678\n")
                process.stdout.close()
                err = process.stderr.read()
                process.stderr.close()
                status.append(process.wait(PATIENCE))
            self.assertEqual((status[1], err), (status[0], b""))
            self.assertEqual(status[1], -signal.SIGPIPE if restore else 1)

    def test_head__ends_inputs_and_writers_of_every_kind(self):
        self.file("f", b"12345678\n\n" * 100000)
        fifo = self.fifo("never")
        for mode in "--stdout", "--group":
            process = self.start("--capacity", "1k", mode, "f", "f", fifo, "--command", "yes ''",
                                 "--command", "sleep 1000", "--stderr", "-",
                                 stdin=subprocess.PIPE)
            self.wait_blocked(process, 9)
            process.stdout.close()
            process.stdout = None
            self.assertEqual(process.wait(PATIENCE), -signal.SIGPIPE)
            self.assertEqual(process.stderr.read(), b"")


class Interrupts(Case):
    def interrupt(self, process, out=b"", sig=signal.SIGINT, err=b""):
        until(lambda: signal_mask_has(process.pid, "SigCgt", signal.SIGTERM), "signals are caught")
        process.send_signal(sig)
        self.assertEqual(process.wait(PATIENCE), -sig)
        self.assertEqual((process.stdout.read(), process.stderr.read()), (out, err))

    def test_signals__end_inputs_of_every_kind(self):
        fifos = [self.fifo(f"{i}") for i in range(20)]
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = self.start(*fifos, "-", *["--command=sleep 1000"] * 10,
                                 "--command=exec >&-; sleep 1000", stdin=subprocess.PIPE,
                                 preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
            self.wait_blocked(process, 34)
            self.interrupt(process, sig=sig)

    def test_sigint__whole_lines_are_delivered_and_no_part_of_one(self):
        process = self.start("--group", "--label", stdin=subprocess.PIPE)
        process.stdin.write(b"a\n\nb\nc\npart")
        self.assertEqual(self.read_lines(process.stdout, 2), b"stdin: a\nstdin: \n")
        self.interrupt(process, b"stdin: b\nstdin: c\n")
        process = self.start(stdin=subprocess.PIPE)
        process.stdin.write(b"a\npart")
        self.assertEqual(self.read_lines(process.stdout, 1), b"a\n")
        self.interrupt(process)

    def test_sigint__lines_that_wait_for_room_are_delivered(self):
        self.file("f", b"".join(b"%d\n" % i for i in range(100000)))
        process = self.start("--capacity", "64", "f")
        self.wait_blocked(process, 3)
        process.send_signal(signal.SIGINT)
        status, out, err = self.finish(process)
        self.assertEqual((status, err), (-signal.SIGINT, ""))
        numbers = [int(n) for n in out.split()]
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertTrue(out.endswith(b"\n"))
        # one read is 64 KiB; all of the last one is there, except a part of a line
        self.assertLessEqual((len(out) + 7) % 65536, 8, len(out))

    def test_sigint__leaves_no_children_of_commands(self):
        for command in ("echo $$; sleep 1000 & echo $!; wait",
                        "trap '' TERM INT; echo $$; echo $$; sleep 1000; sleep 1000"):
            process = self.start("--command", command)
            pids = [int(pid) for pid in self.read_lines(process.stdout, 2).split()]
            self.interrupt(process)
            for pid in pids:
                until(lambda pid=pid: not is_alive(pid), f"the processes of {command} have ended")

    def test_sigint__at_any_moment(self):
        fifo = self.fifo("f")
        for _ in range(40):
            self.interrupt(self.start(fifo, "--command", "sleep 1000", "--command", "sleep 1000"))

    def test_sigint__twice_as_timeout_does_and_three_times_for_a_stuck_output(self):
        self.file("f", b"y\n" * 100000)
        for times in 2, 3:
            process = self.start("--capacity", "1k", "--stats", "f")
            self.wait_blocked(process, 3)
            for _ in range(times):
                process.send_signal(signal.SIGINT)
                until(lambda: process.poll() is not None or
                      not signal_mask_has(process.pid, "ShdPnd", signal.SIGINT),
                      "the signal is taken")
            if times == 3:
                process.wait(PATIENCE)
            status, out, err = self.finish(process)
            self.assertEqual((status, "delivered" in err), (-signal.SIGINT, times == 2))
            self.assertTrue(times == 3 or out == b"y\n" * (len(out) // 2))

    def test_ignored_at_the_start__stays_ignored(self):
        fifo = self.fifo("f")
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = self.start(
                fifo, preexec_fn=lambda sig=sig: signal.signal(sig, signal.SIG_IGN))
            with open(fifo, "wb", buffering=0) as f:
                self.wait_blocked(process, 3)
                process.send_signal(sig)
                f.write(b"a\n")
            self.assertEqual(self.finish(process), (0, b"a\n", ""), sig)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.dont_write_bytecode = True
    from run_unittest import main
    sys.exit(main(["run_unittest.py", os.path.abspath(__file__)]))
