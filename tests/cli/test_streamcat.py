#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How streamcat behaves on its command line, behaviour by behaviour.

usage: test_streamcat.py [BINARY]     or in the environment, as STREAMCAT

Seen to fail: streamcat.c was broken on purpose, one way at a time, and each of these made
at least one test red:
  waiting    no ring after a push; none after a drain; a bell that is never reset; a busy loop
             instead of the wait for room; nobody takes turns; -EAGAIN from the output taken for a
             failure; no poll() for a non-blocking input; a pool as small as 4 MiB
  text       no newline for the last line; lines cut at NUL; capacity one byte too small; label
             only on the first line; label with the newline of its command; blank line put before
             the next group; each line a group; a group as one message; groups staged without turn
  interrupt  no signal to blocked threads; only one; one that restarts the call; an unfinished
             line delivered; exit status 1; the second SIGINT ends all; the third does not
  commands   no process group; no SIGKILL; SIGPIPE ignored or signals blocked in them; pipes that
             others inherit; exit status or signal not looked at; no -- before the command
  outputs    --stderr or --stdout ignored; a failure that does not wake main or the writer that
             waits, does not stop its inputs, stops those of the other stream, or is not told;
             SIGPIPE not ignored; messages that pass the stream by; a closed descriptor reused;
             the output read as input
  counting   --drop waits; all drop; lost or too large not counted; exit status 0 in spite of a
             failure; 255 inputs; stdin twice, or beside other inputs; --help on stderr
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
import threading
import time
import unittest

if __name__ == "__main__" and len(sys.argv) == 2:
    os.environ["STREAMCAT"] = os.path.abspath(sys.argv[1])
BINARY = os.path.abspath(os.environ["STREAMCAT"])
PATIENCE = 100		# seconds; only a hang ever uses them up


def until(condition, what):
    """Poll until the condition holds, and return its value."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.002)
    raise AssertionError(f"timed out waiting until {what}")


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


def catches(pid, sig):
    return signal_mask_has(pid, "SigCgt", sig)


def is_pending(pid, sig):
    return signal_mask_has(pid, "ShdPnd", sig)


def limit_file_size():
    """A disk with room for 40,000 bytes more; runs in the child."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def limit_address_space():
    """1 GiB of addresses, which a stream of 128 MiB does not get by with; runs in the child."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))


def out_of_patience(*_):
    raise AssertionError("timed out")


class Case(unittest.TestCase):
    def setUp(self):
        # For what has no timeout of its own, such as opening a FIFO.
        signal.signal(signal.SIGALRM, out_of_patience)
        signal.alarm(PATIENCE + 5)
        self.addCleanup(signal.alarm, 0)
        self.dir = tempfile.mkdtemp(prefix="streamcat-")
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.started = []
        self.addCleanup(self.end_started)

    def end_started(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe and not pipe.closed:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        pass

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
        how.setdefault("stdin", subprocess.DEVNULL)
        how.setdefault("stdout", subprocess.PIPE)
        how.setdefault("stderr", subprocess.PIPE)
        process = subprocess.Popen([BINARY, *args], cwd=self.dir, bufsize=0, **how)
        self.started.append(process)
        return process

    def finish(self, process):
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.fail(f"did not end: {process.args}")
        return process.returncode, out, err.decode() if err is not None else None

    def run_it(self, *args, data=None, **how):
        if data is not None:
            with tempfile.TemporaryFile() as f:
                f.write(data)
                f.seek(0)
                return self.finish(self.start(*args, stdin=f, **how))
        return self.finish(self.start(*args, **how))

    def expect(self, args, out, status=0, err="", data=None):
        got = self.run_it(*args, data=data)
        self.assertEqual(got, (status, out, err))

    def wait_blocked(self, process, threads):
        """Until all threads exist and all sleep. Sanitizers have threads of their own."""
        def blocked():
            self.assertIsNone(process.poll(), "ended instead of blocking")
            states = task_states(process.pid)
            return len(states) >= threads and set(states) == {"S"}
        # Twice in a row with a pause: a thread may sleep for a moment on its way.
        for _ in range(3):
            until(blocked, f"{threads} threads block")
            time.sleep(0.01)

    def read_lines(self, pipe, count):
        """Exactly this many lines, as they come."""
        data = b""
        while data.count(b"\n") < count:
            piece = os.read(pipe.fileno(), 1)
            self.assertTrue(piece, f"ended after {data!r}")
            data += piece
        return data

    def stats(self, err):
        figures = {}
        for stream, what, lines, size in re.findall(
                r"^streamcat: (\w+): (delivered|lost|attempts refused \(\w+\)) "
                r"(\d+) lines, (\d+) bytes$", err, re.M):
            figures[stream, what] = (int(lines), int(size))
        return figures


class Options(Case):
    def test_help__names_every_option_on_stdout(self):
        status, out, err = self.run_it("--help")
        self.assertEqual((status, err), (0, ""))
        for word in ("usage: streamcat", "--command CMD", "--group", "--label", "--stdout",
                     "--stderr", "--capacity N", "--drop", "--stats", "--help", "--version",
                     "256", "suffixes k (1024) and m (1048576)", "attempts refused",
                     "third such signal", "129, 130 or 143"):
            self.assertIn(word, out.decode())

    def test_help__full_disk_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            status, _, err = self.run_it("--help", stdout=full)
        self.assertEqual((status, err), (1, "streamcat: stdout: cannot write: "
                                            "No space left on device\n"))

    def test_version__is_that_of_the_library(self):
        status, out, err = self.run_it("--version")
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out.decode(), r"\Astreamcat \d+\.\d+\.\d+\n\Z")

    def usage_error(self, args, message):
        status, out, err = self.run_it(*args, data=b"not read\n")
        self.assertEqual((status, out), (2, b""))
        self.assertEqual(err, f"streamcat: {message}\n"
                              "Try 'streamcat --help' for more information.\n")

    def test_usage__unknown_long_option(self):
        self.usage_error(["--nosuch"], "unrecognized option '--nosuch'")

    def test_usage__unknown_short_option(self):
        self.usage_error(["-x"], "invalid option -- 'x'")

    def test_usage__missing_value(self):
        for option in ("--command", "--capacity"):
            self.usage_error([option], f"option '{option}' requires an argument")

    def test_usage__value_for_an_option_without(self):
        self.usage_error(["--drop=1"], "option '--drop' doesn't allow an argument")

    def test_usage__bad_capacities(self):
        for bad in ("", "0", "0k", "-1", "+1", " 1", "1 ", "x", "k", "1x", "1kk", "1g", "0x10",
                    "1.5", "129m", "134217729", "131073k", "99999999999999999999", "16777216m",
                    "18014398509481985k"):
            self.usage_error(["--capacity", bad], f"--capacity: '{bad}': not a number of bytes "
                             "from 1 to 128m with a suffix k (1024) or m (1048576) or none")

    def test_usage__stdin_twice(self):
        self.usage_error(["-", "--label", "-"], "-: standard input can be given only once")

    def test_usage__257_inputs(self):
        self.usage_error(["f"] * 200 + ["--command=true"] * 57, "at most 256 inputs")

    def test_256_inputs__all_are_read(self):
        names = [f"{i}" for i in range(256)]
        for name in names:
            self.file(name, f"line of {name}\n".encode())
        status, out, err = self.run_it(*names)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(sorted(out.splitlines()),
                         sorted(f"line of {name}".encode() for name in names))

    def test_values__with_equals_sign_or_apart(self):
        for args in (["--capacity=2"], ["--capacity", "2"], ["--command=printf 123"],
                     ["--command", "printf 123"]):
            status, _, err = self.run_it(*args, data=b"123\n")
            capacity = "capacity" in args[0]
            self.assertEqual((status, "line of 4 bytes" in err), (int(capacity), capacity))

    def test_capacity__suffixes(self):
        self.file("f", b"x" * 2047 + b"\n")
        for good in ("2k", "2K", "2048", "1m", "128M", "134217728"):
            self.assertEqual(self.run_it("--capacity", good, "f")[::2], (0, ""), good)
        self.assertEqual(self.run_it("--capacity", "1k", "f")[0], 1)

    def test_options_and_inputs__may_be_mixed(self):
        self.file("a", b"1\n")
        self.expect(["a", "--label", "--group"], b"a: 1\n")

    def test_double_dash__ends_options(self):
        self.file("--label", b"1\n")
        self.expect(["--label", "--", "--label"], b"--label: 1\n")
        self.expect(["--", "-"], b"in\n", data=b"in\n")


class Inputs(Case):
    def test_no_arguments__reads_stdin(self):
        self.expect([], b"a\nb\n", data=b"a\nb\n")

    def test_no_inputs__options_apply_to_stdin(self):
        self.expect(["--label"], b"stdin: a\n", data=b"a\n")

    def test_dash__is_stdin_beside_others(self):
        self.file("f", b"from file\n")
        status, out, err = self.run_it("f", "-", data=b"from stdin\n")
        self.assertEqual((status, sorted(out.splitlines()), err),
                         (0, [b"from file", b"from stdin"], ""))

    def test_stdin__is_not_read_if_others_are_named(self):
        self.file("f", b"a\n")
        self.expect(["f"], b"a\n", data=b"b\n")

    def test_files__order_of_each_is_kept(self):
        self.file("a", b"".join(b"a%d\n" % i for i in range(1000)))
        self.file("b", b"".join(b"b%d\n" % i for i in range(1000)))
        status, out, _ = self.run_it("a", "b")
        lines = out.splitlines()
        self.assertEqual(status, 0)
        for name in (b"a", b"b"):
            self.assertEqual([x for x in lines if x.startswith(name)],
                             [b"%s%d" % (name, i) for i in range(1000)])
        self.assertEqual(len(lines), 2000)

    def test_empty_input__gives_nothing(self):
        self.expect(["--label", "--group"], b"", data=b"")

    def test_last_line__gets_its_newline(self):
        self.file("f", b"a\nb")
        self.expect(["f"], b"a\nb\n")
        self.expect(["--group", "--label", "f"], b"f: a\nf: b\n")
        self.expect(["--command", "printf 'x\\ny'"], b"x\ny\n")

    def test_nul_bytes__are_data(self):
        data = b"\0a\0\n\0\n\n" + bytes(range(256)) + b"\n"
        for args in ([], ["--group"]):
            self.expect(args, data, data=data)

    def test_long_line__is_of_one_piece(self):
        data = random.Random(1).randbytes(3 << 20).replace(b"\n", b" ") + b"\n"
        self.expect([], data, data=data)

    def test_same_file_twice__is_read_twice(self):
        self.file("f", b"a\n")
        self.expect(["f", "f"], b"a\na\n")

    def test_fifo__waits_for_its_writer(self):
        process = self.start("--label", self.fifo("f"))
        self.wait_blocked(process, 3)
        with open(self.path("f"), "wb") as f:
            f.write(b"a\nb\n")
        self.assertEqual(self.finish(process),
                         (0, f"{self.path('f')}: a\n{self.path('f')}: b\n".encode(), ""))

    def test_fifo__writer_that_writes_nothing_is_waited_for(self):
        process = self.start(self.fifo("f"))
        with open(self.path("f"), "wb", buffering=0) as f:
            self.wait_blocked(process, 3)
            f.write(b"late\n")
            self.assertEqual(self.read_lines(process.stdout, 1), b"late\n")
            self.wait_blocked(process, 3)
            f.write(b"later\n")
        self.assertEqual(self.finish(process), (0, b"later\n", ""))

    def test_fifos__lines_come_as_they_are_written_in_pieces(self):
        names = [self.fifo(f"{i}") for i in range(4)]
        process = self.start(*names)
        files = [open(name, "wb", buffering=0) for name in names]
        for turn in range(20):
            for i, f in enumerate(files):
                f.write(b"%d,%d " % (i, turn))
            self.wait_blocked(process, 6) if turn == 0 else None
            for i, f in enumerate(files):
                f.write(b"end\n")
                self.assertEqual(self.read_lines(process.stdout, 1), b"%d,%d end\n" % (i, turn))
        for f in files:
            f.close()
        self.assertEqual(self.finish(process), (0, b"", ""))

    def test_fifos__opened_in_any_order(self):
        names = [self.fifo(f"{i}") for i in range(3)]
        process = self.start(*names)
        for name in reversed(names):
            with open(name, "wb", buffering=0) as f:
                f.write(os.path.basename(name).encode() + b"\n")
            self.assertEqual(self.read_lines(process.stdout, 1).decode().strip(),
                             os.path.basename(name))
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
        self.expect(["--command", "echo a; echo b"], b"a\nb\n")

    def test_command__repeatable_and_beside_files(self):
        self.file("f", b"file\n")
        status, out, err = self.run_it("--command", "echo 1", "f", "--command=echo 2")
        self.assertEqual((status, sorted(out.splitlines()), err), (0, [b"1", b"2", b"file"], ""))

    def test_command__beginning_with_a_dash(self):
        status, _, err = self.run_it("--command=-x")
        self.assertEqual(status, 1)
        self.assertIn("streamcat: -x: command failed: exit status 127\n", err)

    def test_command__label_is_one_line(self):
        self.expect(["--label", "--command", "echo a\necho b"],
                    b"echo a echo b: a\necho a echo b: b\n")

    def test_command__stdin_is_empty(self):
        self.expect(["--command", "cat; echo end"], b"end\n", data=b"not for it\n")

    def test_command__exit_status(self):
        self.expect(["--command", "echo a; exit 3"], b"a\n", 1,
                    "streamcat: echo a; exit 3: command failed: exit status 3\n")

    def test_command__killed_by_signal(self):
        self.expect(["--command", "echo a; kill -9 $$"], b"a\n", 1,
                    "streamcat: echo a; kill -9 $$: command failed: "
                    "killed by signal 9 (Killed)\n")

    def test_command__failure_does_not_stop_others(self):
        self.file("f", b"a\n")
        self.expect(["--command", "false", "f"], b"a\n", 1,
                    "streamcat: false: command failed: exit status 1\n")

    def test_command__goes_on_after_its_last_line(self):
        self.expect(["--command", "echo a; exec >&-; exit 4"], b"a\n", 1,
                    "streamcat: echo a; exec >&-; exit 4: command failed: exit status 4\n")

    def test_command__gets_ordinary_signals_and_descriptors(self):
        status, out, err = self.run_it("--command", "exec cat /proc/self/status",
                                       "--command", "ls -l /proc/self/fd")
        self.assertEqual((status, err), (0, ""))
        for mask in ("SigBlk", "SigIgn"):
            value = int(re.search(rf"{mask}:\s*([0-9a-f]+)".encode(), out).group(1), 16)
            for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGUSR1):
                self.assertFalse(value >> (sig - 1) & 1, f"{mask} {sig}")
        numbers = re.findall(rb" (\d+) -> ", out)
        self.assertEqual(set(numbers), {b"0", b"1", b"2", b"3"}, out)

    def test_command__that_sigpipe_ends_is_not_blamed_for_it(self):
        r, w = os.pipe()
        os.close(r)
        status, _, err = self.run_it("--command", "yes", stdout=w)
        os.close(w)
        self.assertEqual((status, err), (1, "streamcat: stdout: cannot write: Broken pipe\n"))


class Groups(Case):
    def test_group__comes_when_its_blank_line_comes(self):
        a = self.fifo("a")
        b = self.fifo("b")
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

    def test_group__only_an_empty_line_is_blank(self):
        self.expect(["--group", "--capacity", "4"], b"\n", 1,
                    "streamcat: stdin: group of 5 bytes: larger than the capacity of 4 bytes\n",
                    data=b"a\n \n\n\n")

    def test_group__label_on_each_line(self):
        self.expect(["--group", "--label"], b"stdin: a\nstdin: \nstdin: b\n", data=b"a\n\nb\n")

    def test_label__on_each_line_of_each_kind_of_input(self):
        self.file("f", b"1\n\n2\n")
        status, out, err = self.run_it("--label", "f", "-", "--command", "echo c", data=b"in\n")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(sorted(out.splitlines()),
                         [b"echo c: c", b"f: ", b"f: 1", b"f: 2", b"stdin: in"])

    def test_groups__of_eight_inputs_stay_in_one_piece(self):
        rng = random.Random(7)
        whole = {}
        for name in "abcdefgh":
            groups = []
            for g in range(300):
                lines = [f"{name} {g} {i} {'x' * rng.randrange(60)}\n"
                         for i in range(rng.randrange(1, 12))]
                groups.append("".join(lines) + "\n")
            whole[name] = groups
            self.file(name, "".join(groups).encode())
        status, out, err = self.run_it("--group", "--capacity", "2k", *whole)
        self.assertEqual((status, err), (0, ""))
        got = [g + "\n\n" for g in out.decode().split("\n\n")[:-1]]
        self.assertEqual(len(got), 8 * 300)
        for name, groups in whole.items():
            self.assertEqual([g for g in got if g[0] == name], groups)


class Sizes(Case):
    def too_large(self, args, data, out, what, size, capacity, name="stdin", labels=""):
        self.expect(["--capacity", str(capacity), *args], out, 1,
                    f"streamcat: {name}: {what} of {size} bytes{labels}: larger than the capacity "
                    f"of {capacity} bytes\n", data=data)

    def test_line__exactly_the_capacity(self):
        self.expect(["--capacity", "6"], b"12345\n12345\n", data=b"12345\n12345\n")
        self.expect(["--capacity", "6"], b"12345\n", data=b"12345")
        self.expect(["--capacity", "13", "--label"], b"stdin: 12345\n", data=b"12345\n")
        self.expect(["--capacity", "1"], b"\n\n", data=b"\n\n")

    def test_line__one_byte_over_is_left_out_and_others_go_on(self):
        self.too_large([], b"a\n123456\nb\n", b"a\nb\n", "line", 7, 6)
        self.too_large([], b"a\n123456", b"a\n", "line", 7, 6)
        self.too_large(["--label"], b"12345\n1234\n", b"stdin: 1234\n", "line", 6, 12,
                       labels=" (13 with its label)")

    def test_line__much_larger_is_counted_to_its_end(self):
        self.too_large([], b"x" * 5000000 + b"\nb\n", b"b\n", "line", 5000001, 100)

    def test_line__message_names_the_input(self):
        self.file("f", b"12\n")
        self.too_large(["f"], None, b"", "line", 3, 2, name="f")

    def test_group__exactly_the_capacity(self):
        self.expect(["--group", "--capacity", "5"], b"1\n2\n\n3\n4\n", data=b"1\n2\n\n3\n4\n")
        self.expect(["--group", "--capacity", "19", "--label"], b"stdin: 123\nstdin: \n",
                    data=b"123\n\n")

    def test_group__one_byte_over_is_left_out_and_others_go_on(self):
        self.too_large(["--group"], b"1\n2\n\n3\n\n", b"3\n\n", "group", 5, 4)
        self.too_large(["--group"], b"3\n\n1\n2\n1", b"3\n\n", "group", 6, 4)
        self.too_large(["--group", "--label"], b"123\n\n", b"", "group", 5, 18,
                       labels=" (19 with its labels)")

    def test_too_large__is_counted(self):
        status, _, err = self.run_it("--capacity", "6", "--stats", data=b"a\n123456\nb\n")
        self.assertEqual(status, 1)
        stats = self.stats(err)
        self.assertEqual(stats["stdout", "attempts refused (size)"], (1, 7))
        self.assertEqual(stats["stdout", "lost"], (1, 7))
        self.assertEqual(stats["stdout", "delivered"], (2, 4))


class Streams(Case):
    def test_stdout_and_stderr__apply_to_what_follows(self):
        for name in "abcd":
            self.file(name, name.encode() + b"\n")
        status, out, err = self.run_it("a", "--stderr", "b", "--command", "echo x", "--stdout",
                                       "c", "--stderr", "--", "d")
        self.assertEqual((status, sorted(out.split()), sorted(err.split())),
                         (0, [b"a", b"c"], ["b", "d", "x"]))

    def test_stderr__for_stdin_if_no_input_is_named(self):
        self.expect(["--stderr"], b"", 0, "a\n", data=b"a\n")

    def test_stderr__messages_do_not_tear_lines(self):
        lines = [f"{i} " + "x" * 200 for i in range(3000)]
        self.file("f", "\n".join(lines).encode() + b"\n")
        bad = [f"none{i}" for i in range(100)]
        r, w = os.pipe()
        fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 4096)
        process = self.start("--stderr", "f", "f", "--command", "sleep 0.2; cat f", *bad,
                             stderr=w)
        os.close(w)
        self.wait_blocked(process, 2)	# its writev() is in the middle of a line
        with os.fdopen(r, "rb") as f:
            err = f.read().decode()
        self.assertEqual(self.finish(process)[0], 1)
        messages = [f"streamcat: {b}: cannot open: No such file or directory" for b in bad]
        self.assertEqual(sorted(err.splitlines()), sorted(lines * 3 + messages))

    def test_slow_stdout__does_not_stop_stderr(self):
        # the empty lines are the dearest ones for the library's pool
        fifo = self.fifo("f")
        for command in ("yes ''", "yes"):
            for mode in ([], ["--group"]):
                process = self.start(*mode, "--command", command, "--stderr", fifo)
                with open(fifo, "wb", buffering=0) as f:
                    self.stuck(process)
                    for i in range(50):
                        f.write(b"%d\n\n" % i)
                        self.assertEqual(self.read_lines(process.stderr, 2), b"%d\n\n" % i)
                process.kill()
                self.finish(process)

    def test_slow_stderr__does_not_stop_stdout(self):
        fifo = self.fifo("f")
        process = self.start("--stderr", "--command", "yes ''", "--stdout", fifo)
        with open(fifo, "wb", buffering=0) as f:
            self.stuck(process)
            for i in range(50):
                f.write(b"%d\n" % i)
                self.assertEqual(self.read_lines(process.stdout, 1), b"%d\n" % i)
        process.kill()
        self.finish(process)

    def stuck(self, process):
        """Until a flood into a stream that nobody reads has come to its end."""
        self.wait_blocked(process, 5)

    def test_drop__lost_and_delivered_make_the_whole(self):
        line = b"x" * 99 + b"\n"
        self.file("f", line * 20000)
        process = self.start("--drop", "--capacity", "1k", "--stats", "f")
        message = self.read_lines(process.stderr, 1).decode()
        status, out, err = self.finish(process)
        dropped = re.fullmatch(r"streamcat: f: (\d+) lines of (\d+) bytes dropped: "
                               r"stdout was full\n", message)
        self.assertTrue(dropped, message)
        lost = (int(dropped.group(1)), int(dropped.group(2)))
        lines = out.count(b"\n")
        self.assertEqual((status, out), (1, line * lines))
        self.assertGreater(lost[0], 0)
        self.assertEqual(lines + lost[0], 20000)
        self.assertEqual(lost[1], 100 * lost[0])
        stats = self.stats(err)
        self.assertEqual(stats["stdout", "lost"], lost)
        self.assertEqual(stats["stdout", "attempts refused (full)"], lost)
        self.assertEqual(stats["stdout", "delivered"], (lines, 100 * lines))

    def test_drop__takes_whole_groups(self):
        self.file("f", b"".join(b"%d\n%d\n%d\n\n" % (i, i, i) for i in range(30000)))
        process = self.start("--drop", "--group", "--capacity", "100", "f")
        self.read_lines(process.stderr, 1)
        status, out, _ = self.finish(process)
        groups = out.split(b"\n\n")[:-1]
        self.assertEqual(status, 1)
        self.assertLess(len(groups), 30000)
        for group in groups:
            lines = group.split(b"\n")
            self.assertEqual(lines, [lines[0]] * 3)
        numbers = [int(g.split(b"\n")[0]) for g in groups]
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_drop__nothing_is_dropped_if_there_is_room(self):
        self.expect(["--drop"], b"a\nb\n", data=b"a\nb\n")

    def test_stats__figures_of_both_streams_and_the_pool(self):
        self.file("a", b"1\n22\n")
        self.file("b", b"333\n")
        status, out, err = self.run_it("--stats", "a", "--stderr", "b")
        self.assertEqual((status, out), (0, b"1\n22\n"))
        self.assertTrue(err.startswith("333\n"))
        stats = self.stats(err)
        self.assertEqual(stats["stdout", "delivered"], (2, 5))
        self.assertEqual(stats["stderr", "delivered"], (1, 4))
        for stream in ("stdout", "stderr"):
            self.assertEqual(stats[stream, "lost"], (0, 0))
        self.assertNotIn("refused", err)
        pool = re.search(r"^streamcat: pool: (\d+) pages of (\d+) bytes, in use (\d+), "
                         r"highest (\d+), denied 0$", err, re.M)
        total, _, in_use, highest = (int(n) for n in pool.groups())
        self.assertTrue(0 <= in_use <= highest <= total and highest >= 1)

    def test_stats__lines_of_groups_count_one_by_one(self):
        status, _, err = self.run_it("--stats", "--group", data=b"a\nb\n\nc\n")
        self.assertEqual((status, self.stats(err)["stdout", "delivered"]), (0, (4, 7)))

    def test_stats__without_option_nothing_is_shown(self):
        self.expect([], b"a\n", data=b"a\n")

    def test_waiting__refusals_are_counted_and_nothing_is_lost(self):
        self.file("f", (b"x" * 99 + b"\n") * 5000)
        process = self.start("--capacity", "100", "--stats", "f")
        self.wait_blocked(process, 3)
        status, out, err = self.finish(process)
        self.assertEqual((status, len(out)), (0, 500000))
        stats = self.stats(err)
        self.assertGreater(stats["stdout", "attempts refused (full)"][0], 0)
        self.assertEqual(stats["stdout", "lost"], (0, 0))
        self.assertEqual(stats["stdout", "delivered"], (5000, 500000))

    def test_waiting__uses_no_processor(self):
        process = self.start("--capacity", "1k", "--command", "yes")
        self.wait_blocked(process, 3)

        def ticks():
            with open(f"/proc/{process.pid}/stat", encoding="utf-8") as f:
                fields = f.read().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])
        before = ticks()
        time.sleep(1)
        self.assertLessEqual(ticks() - before, os.sysconf("SC_CLK_TCK") // 10)
        process.kill()
        self.finish(process)

    def test_waiting__long_lines_are_not_starved_by_short_ones(self):
        fifo = self.fifo("f")
        process = self.start("--capacity", "1k", fifo, "--command", "yes")
        with open(fifo, "wb", buffering=0) as f:
            self.wait_blocked(process, 4)
            f.write(b"z" * 1023 + b"\n")
        seen = b""
        end = time.monotonic() + PATIENCE
        while b"z\n" not in seen[-200000:]:
            self.assertLess(time.monotonic(), end, "the long line never came")
            seen += os.read(process.stdout.fileno(), 65536)
        self.assertIn(b"\n" + b"z" * 1023 + b"\n", seen)
        process.kill()
        self.finish(process)

    def test_slow_reader__tiny_capacity_loses_nothing(self):
        data = b"".join(b"%d %s\n" % (i, b"x" * (i % 50)) for i in range(3000))
        self.file("f", data)
        r, w = os.pipe()
        fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 4096)
        process = self.start("--capacity", "64", "f", stdout=w)
        os.close(w)
        out = b""
        piece = b"first"
        while piece:
            piece = os.read(r, 777)
            out += piece
            time.sleep(0.0005)
        os.close(r)
        self.assertEqual(out, data)
        self.assertEqual(self.finish(process)[::2], (0, ""))

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
            got = out.decode().split("\n")
            self.assertEqual((len(got), got[-1]), (80001, ""))
            for name, want in lines.items():
                self.assertEqual([g[3:] for g in got if g.startswith(name + ": ")], want)


class Failures(Case):
    def test_missing_file__others_are_delivered(self):
        self.file("f", b"a\n")
        self.expect(["nosuch", "f"], b"a\n", 1,
                    "streamcat: nosuch: cannot open: No such file or directory\n")

    def test_empty_name__can_be_seen_in_the_message(self):
        self.expect([""], b"", 1, "streamcat: '': cannot open: No such file or directory\n")

    def test_no_address_space__blames_no_option(self):
        if self.run_it("--version", preexec_fn=limit_address_space)[0]:
            self.skipTest("a sanitizer needs more addresses than this test allows")
        status, out, err = self.run_it("--capacity", "128m", preexec_fn=limit_address_space)
        self.assertEqual((status, out), (1, b""))
        self.assertRegex(err, r"\Astreamcat: cannot reserve \d+ bytes of address space\n\Z")

    def test_directory(self):
        self.file("f", b"a\n")
        self.expect([".", "f"], b"a\n", 1, "streamcat: .: cannot read: Is a directory\n")

    def test_unreadable_file(self):
        self.file("f", b"a\n")
        os.chmod(self.path("f"), 0)
        who = {}
        if os.geteuid() == 0:
            who = {"user": 65534, "group": 65534, "extra_groups": []}
            shutil.copy(BINARY, self.path("streamcat"))
            os.chmod(self.path("streamcat"), 0o755)
        try:
            process = subprocess.run(
                [self.path("streamcat") if who else BINARY, "f"], cwd=self.dir,
                capture_output=True, timeout=PATIENCE, check=False, **who)
        except PermissionError as e:
            self.skipTest(f"cannot become an ordinary user: {e}")
        self.assertEqual((process.returncode, process.stdout, process.stderr.decode()),
                         (1, b"", "streamcat: f: cannot open: Permission denied\n"))

    def test_stdin__closed(self):
        status, out, err = self.run_it(preexec_fn=lambda: os.close(0))
        self.assertEqual((status, out, err),
                         (1, b"", "streamcat: stdin: cannot read: Bad file descriptor\n"))

    def test_stdout__closed(self):
        self.file("f", b"a\n")
        status, _, err = self.run_it("f", preexec_fn=lambda: os.close(1))
        self.assertEqual((status, err),
                         (1, "streamcat: stdout: cannot write: Bad file descriptor\n"))

    def test_output_file__is_not_its_own_input(self):
        self.file("f", b"a\n")
        self.file("g", b"b\n")
        with open(self.path("f"), "ab") as f:
            status, _, err = self.run_it("f", "g", stdout=f)
        self.assertEqual((status, err), (1, "streamcat: f: cannot read: it is the output\n"))
        with open(self.path("f"), "rb") as f:
            self.assertEqual(f.read(), b"a\nb\n")

    def test_full_disk__one_message(self):
        self.file("f", b"a\n" * 100000)
        with open("/dev/full", "wb") as full:
            status, _, err = self.run_it("f", "f", "f", "--capacity", "1k", stdout=full)
        self.assertEqual((status, err),
                         (1, "streamcat: stdout: cannot write: No space left on device\n"))

    def test_full_disk__ends_an_input_that_is_blocked(self):
        with open("/dev/full", "wb") as full:
            process = self.start("-", stdin=subprocess.PIPE, stdout=full)
            process.stdin.write(b"a\n")
            self.assertEqual(process.wait(PATIENCE), 1)
        self.assertEqual(process.stderr.read(),
                         b"streamcat: stdout: cannot write: No space left on device\n")

    def test_full_disk__what_fits_is_delivered(self):
        self.file("f", b"0123456\n" * 8192)
        with open(self.path("out"), "wb") as out:
            status, _, err = self.run_it("f", stdout=out, restore_signals=False,
                                         preexec_fn=limit_file_size)
        self.assertEqual((status, err), (1, "streamcat: stdout: cannot write: File too large\n"))
        with open(self.path("out"), "rb") as out:
            self.assertEqual(out.read(), (b"0123456\n" * 8192)[:40000])

    def test_broken_pipe__one_message_and_the_end(self):
        r, w = os.pipe()
        os.close(r)
        fifo = self.fifo("never")
        process = self.start("--command", "yes", "--command", "sleep 1000", fifo, "-",
                             stdin=subprocess.PIPE, stdout=w)
        os.close(w)
        self.assertEqual(self.finish(process)[::2],
                         (1, "streamcat: stdout: cannot write: Broken pipe\n"))

    def test_broken_pipe__writers_that_wait_for_room_end(self):
        self.file("f", b"12345678\n\n" * 100000)
        for mode in ([], ["--group"]):
            process = self.start("--capacity", "1k", "f", "f", "--command", "yes ''", *mode)
            self.wait_blocked(process, 5)
            process.stdout.close()
            process.stdout = None
            self.assertEqual(self.finish(process)[::2],
                             (1, "streamcat: stdout: cannot write: Broken pipe\n"))

    def test_failed_stdout__stderr_inputs_are_delivered(self):
        with open("/dev/full", "wb") as full:
            process = self.start("--capacity", "1k", "--command", "yes", "--stderr",
                                 self.fifo("f"), stdout=full)
            message = self.read_lines(process.stderr, 1)
            self.assertEqual(message, b"streamcat: stdout: cannot write: "
                                      b"No space left on device\n")
            lines = b"".join(b"%d\n" % i for i in range(10000))
            writer = threading.Thread(target=self.file, args=("f", lines))
            writer.start()
            status, _, err = self.finish(process)
            writer.join()
        self.assertEqual((status, err), (1, lines.decode()))

    def test_failed_stderr__stdout_inputs_are_delivered(self):
        self.file("f", b"a\n" * 100000)
        with open("/dev/full", "wb") as full:
            status, out, _ = self.run_it("f", "--stderr", "--command", "yes", stderr=full)
        self.assertEqual((status, out), (1, b"a\n" * 100000))

    def test_undelivered__is_in_the_stats(self):
        with open("/dev/full", "wb") as full:
            status, _, err = self.run_it("--stats", data=b"12345\n", stdout=full)
        self.assertEqual(status, 1)
        self.assertIn("streamcat: stdout: accepted and not delivered 6 bytes\n", err)
        self.assertEqual(self.stats(err)["stdout", "delivered"], (0, 0))


class Interrupts(Case):
    def interrupt(self, process, out=b"", status=130, sig=signal.SIGINT):
        process.send_signal(sig)
        self.assertEqual(self.finish(process), (status, out, ""))

    def test_sigint__in_open_of_a_fifo(self):
        process = self.start(self.fifo("f"))
        self.wait_blocked(process, 3)
        self.interrupt(process)

    def test_sigint__in_read_of_a_fifo(self):
        process = self.start(self.fifo("f"))
        with open(self.path("f"), "wb", buffering=0) as f:
            f.write(b"a\nb\npart")
            self.assertEqual(self.read_lines(process.stdout, 2), b"a\nb\n")
            self.wait_blocked(process, 3)
            self.interrupt(process)

    def test_sigint__in_read_of_stdin(self):
        process = self.start(stdin=subprocess.PIPE)
        process.stdin.write(b"a\npart")
        self.assertEqual(self.read_lines(process.stdout, 1), b"a\n")
        self.wait_blocked(process, 3)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(PATIENCE), 130)
        self.assertEqual(process.stdout.read(), b"")

    def test_sigint__in_poll_of_nonblocking_stdin(self):
        r, w = os.pipe()
        os.set_blocking(r, False)
        process = self.start(stdin=r)
        self.wait_blocked(process, 3)
        self.interrupt(process)
        os.close(r)
        os.close(w)

    def test_sigint__in_read_of_a_terminal(self):
        try:
            master, slave = os.openpty()
        except OSError:
            self.skipTest("no pseudo-terminals here: /dev/pts is not mounted")
        process = self.start(os.ttyname(slave))
        self.wait_blocked(process, 3)
        self.interrupt(process)
        os.close(master)
        os.close(slave)

    def test_sigint__in_read_of_a_command_leaves_no_children(self):
        process = self.start("--command", "echo a; sleep 1000 & echo $! $$; wait")
        words = self.read_lines(process.stdout, 2).split()
        self.wait_blocked(process, 3)
        self.interrupt(process)
        for pid in words[1:]:
            until(lambda pid=int(pid): not is_alive(pid), "the command's processes have ended")

    def test_sigint__command_that_ignores_signals_is_killed(self):
        process = self.start("--command", "trap '' TERM INT; echo $$; sleep 1000; sleep 1000")
        pid = int(self.read_lines(process.stdout, 1))
        self.interrupt(process)
        until(lambda: not is_alive(pid), "the command has ended")

    def test_sigint__whole_lines_of_an_unfinished_group_are_delivered(self):
        process = self.start("--group", "--label", "-", stdin=subprocess.PIPE)
        process.stdin.write(b"a\n\nb\nc\npart")
        self.assertEqual(self.read_lines(process.stdout, 2), b"stdin: a\nstdin: \n")
        self.wait_blocked(process, 3)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(PATIENCE), 130)
        self.assertEqual(process.stdout.read(), b"stdin: b\nstdin: c\n")

    def test_sigint__lines_that_wait_for_room_are_delivered(self):
        self.file("f", b"".join(b"%d\n" % i for i in range(100000)))
        process = self.start("--capacity", "64", "f")
        self.wait_blocked(process, 3)
        process.send_signal(signal.SIGINT)
        status, out, err = self.finish(process)
        self.assertEqual((status, err), (130, ""))
        numbers = [int(n) for n in out.split()]
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertTrue(out.endswith(b"\n"))
        # one read is 64 KiB; all of the last one is there, except a part of a line
        rest = (len(out) + 7) % 65536
        self.assertLessEqual(rest, 8, len(out))

    def test_sigint__many_inputs_of_all_kinds(self):
        fifos = [self.fifo(f"{i}") for i in range(40)]
        process = self.start(*fifos, "-", *["--command=sleep 1000"] * 20,
                             stdin=subprocess.PIPE)
        self.wait_blocked(process, 63)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(PATIENCE), 130)
        self.assertEqual(process.stderr.read(), b"")

    def test_sigint__at_any_moment(self):
        fifo = self.fifo("f")
        for i in range(60):
            process = self.start(fifo, "--command", "sleep 1000", "--command", "sleep 1000")
            until(lambda: catches(process.pid, signal.SIGINT), "signals are caught")
            if i % 2:
                time.sleep(i * 0.00005)
            self.interrupt(process)

    def test_sigint__twice_like_timeout_does(self):
        process = self.start("--capacity", "1k", "--command", "yes")
        self.wait_blocked(process, 3)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            until(lambda: not is_pending(process.pid, signal.SIGINT), "the signal is taken")
            self.wait_blocked(process, 2)
        status, out, err = self.finish(process)
        self.assertEqual((status, err), (130, ""))
        self.assertEqual(out, b"y\n" * (len(out) // 2))

    def test_sigint__three_times_ends_a_stuck_output(self):
        process = self.start("--capacity", "1k", "--command", "yes")
        self.wait_blocked(process, 3)

        def ended():
            process.send_signal(signal.SIGINT)
            return process.poll() is not None
        until(ended, "the process ends")
        self.assertEqual(process.returncode, -signal.SIGINT)

    def test_sigterm__is_treated_alike(self):
        process = self.start(self.fifo("f"))
        self.wait_blocked(process, 3)
        self.interrupt(process, status=143, sig=signal.SIGTERM)

    def test_sighup__is_treated_alike(self):
        process = self.start(self.fifo("f"),		# the tests may run under nohup
                             preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
        self.wait_blocked(process, 3)
        self.interrupt(process, status=129, sig=signal.SIGHUP)

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

    def test_sigint__stats_are_still_shown(self):
        process = self.start("--stats", self.fifo("f"))
        self.wait_blocked(process, 3)
        process.send_signal(signal.SIGINT)
        status, _, err = self.finish(process)
        self.assertEqual(status, 130)
        self.assertEqual(self.stats(err)["stdout", "delivered"], (0, 0))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.dont_write_bytecode = True
    from run_unittest import main
    sys.exit(main(["run_unittest.py", os.path.abspath(__file__)]))
