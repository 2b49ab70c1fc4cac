#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The examples print what they promise, and every example has a test here or elsewhere.

In the environment: EXAMPLES, the programs that were built, separated by newlines.

Seen to fail with: a handler that does not push; a report that is printed message by message, and
one that is committed though nothing was found; a reader that ends at its first ring; a drain that
gives up on -EAGAIN; drain_fd in place of pass_lines(); a pool that was not given; a sink that says
less than it took; a program that is not built; an example without a test; before errors of writing
were looked at.
"""
import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from status import in_words  # noqa: E402

BUILT = {os.path.basename(path): path for path in os.environ["EXAMPLES"].splitlines()}

# What has its test elsewhere, or is a part of another one.
OTHERS = {"streamcat", "cxx_user_impl"}


class Examples(unittest.TestCase):
    def run_example(self, name):
        if name not in BUILT and name.startswith("cxx_"):
            self.skipTest("no C++ compiler that goes with the C compiler")
        p = subprocess.run([BUILT[name]], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.assertEqual((p.returncode, p.stderr), (0, ""), f"{in_words(p.returncode)}\n{p.stdout}")
        return p.stdout

    def test_cxx_user(self):
        self.assertEqual(self.run_example("cxx_user"),
                         3 * "from a thread\n" + "3 threads have finished\n"
                         f"8 bytes, where 4 fit: bpf_stream: {os.strerror(7)}\n")

    def test_drain_to_fd(self):
        self.assertEqual(self.run_example("drain_to_fd"),
                         "a part is written, a part is pending: yes\n"
                         f"the next drain says: {os.strerror(11)}\n" +
                         "".join(f"line {i}\n" for i in range(1, 20001)))

    def test_from_signal_handler(self):
        self.assertEqual(self.run_example("from_signal_handler"),
                         "".join(f"tick {i}\n" for i in range(1, 6)))

    def test_hello(self):
        self.assertEqual(self.run_example("hello"), "hello, world\n1 + 2 = 3\n")

    def test_reader_thread(self):
        lines = self.run_example("reader_thread").splitlines()
        for name in ("red", "green", "blue"):
            self.assertEqual([line for line in lines if line.startswith(name)],
                             [f"{name} {i}" for i in range(1, 5)])
        self.assertEqual(len(lines), 12)

    def test_records(self):
        self.assertEqual(self.run_example("records"),
                         "0 net info: link is up, 1000 Mbit/s\n1 disk error: sda: I/O error\n"
                         "(2 lost)\n4 disk info: sda: offline\n"
                         "5 net warning: link is down\n(2 lost)\n")

    def test_wait_and_poll(self):
        self.assertEqual(self.run_example("wait_and_poll"),
                         "message 1\nmessage 2\nmessage 3\nthe timer went on: yes\n")

    def test_staged_report(self):
        self.assertEqual(self.run_example("staged_report"),
                         "(something else)\n(something else)\n"
                         "alpha: 3 disks\nalpha: sda is 97 % full\nalpha: sdc is 91 % full\n")

    def test_static_pool(self):
        full = f"stored 60 messages of 1000 bytes; the next: {os.strerror(12)}\n"
        self.assertEqual(self.run_example("static_pool"),
                         "pool: 0 of 15 pages in use; stream: 0 bytes pending, 0 refused\n" + full +
                         "pool: 15 of 15 pages in use; stream: 60000 bytes pending, 1 refused\n"
                         "pool: 0 of 15 pages in use; stream: 0 bytes pending, 1 refused\n" + full)

    def test_whole_lines(self):
        self.assertEqual(self.run_example("whole_lines"),
                         "a datagram: one\na datagram: two\n"
                         "a shared pipe: 40000 lines, 0 torn\n")

    def test_output_that_cannot_be_written__is_reported(self):
        for name in sorted(BUILT):
            with self.subTest(name), open("/dev/full", "w", encoding="utf-8") as full:
                p = subprocess.run([BUILT[name]], stdin=subprocess.DEVNULL, stdout=full,
                                   stderr=subprocess.PIPE, text=True)
                self.assertEqual(p.returncode, 1, f"{in_words(p.returncode)}\n{p.stderr}")
                self.assertRegex(p.stderr, rf"\A{name}: .*cannot write.*\n\Z")
                if name != "cxx_user":          # C++ does not say why
                    self.assertIn(os.strerror(28), p.stderr)

    def test_every_example_has_a_test_and_a_row(self):
        with open(os.path.join(ROOT, "examples", "README.md"), encoding="utf-8") as f:
            rows = set(re.findall(r"\]\(([\w.]+)\)", f.read()))
        files = {name for name in os.listdir(os.path.join(ROOT, "examples"))
                 if name.endswith((".c", ".cpp"))}
        self.assertEqual(rows, files)
        names = {name.rsplit(".", 1)[0] for name in files}
        tests = {name[5:] for name in dir(self) if name.startswith("test_")}
        self.assertEqual(names - OTHERS - tests, set())


if __name__ == "__main__":
    unittest.main()
