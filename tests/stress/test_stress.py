#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""bench/stress.c passes, fails on each planted bug under the right name, and takes its options.

usage: test_stress.py [STRESS STRESS_PLANTED]     or both in the environment, by these names

How it was seen to fail, by breaking the header: a publish that leaves the link behind a refused
message pointing into the stream, or one page for all nesting levels: runs crash; a reader that
does not reverse its list: `torn` and `lost`; a refund of too little: `pending left`; give-back
counts that forget an element, or a thread release that does not block signals: `leaked pages`; a
push that changes errno, or passes the capacity: `unexpected results`. By breaking the program:
with a check taken out, the bug that is planted for it is not reported; a run that could store
nothing is clean; -h and -V are not known, or a value of --quiet is not refused as such.
"""
import os
import re
import resource
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from status import in_words  # noqa: E402

VERDICTS = ("torn", "lost", "doubled", "reordered", "group split", "pending left", "leaked pages",
            "figures wrong", "unexpected results")
PLANTS = {"torn": "torn", "lost": "lost", "doubled": "doubled", "reordered": "reordered",
          "overtaken": "reordered", "split": "group split", "leaked": "leaked pages",
          "pending": "pending left"}
OPTIONS = ("seed", "threads", "seconds", "signals", "signal-interval", "max-small", "max-large",
           "large-every", "capacity", "pool")
# How long runs take that have something to see.
SECONDS = ("0.5", "2", "8", "32", "128")


class Run:
    """One run of a program: its status, its output, the parameters and the figures in it."""

    def __init__(self, program, *args, env=None):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("BPF_STREAM_STRESS_")}
        clean.update(env or {})
        p = subprocess.run([os.environ[program], *args], env=clean, capture_output=True, text=True)
        self.status, self.out, self.err = p.returncode, p.stdout, p.stderr
        self.end = f"{in_words(p.returncode)}\n{p.stdout}{p.stderr}"
        self.first = (p.stdout.splitlines() or [""])[0]
        self.parameters = dict(re.findall(r"--(\S+) (\S+)", self.first))
        self.figures = {m[1]: int(m[2]) for m in re.finditer(r"^(\S.*?) +(\d+)(?:  <-- WRONG)?$",
                                                             p.stdout, re.M)}


class Stress(unittest.TestCase):
    def run_clean(self, *args, env=None):
        run = Run("STRESS", "--quiet", *args, env=env)
        if run.status == 77:
            self.skipTest(run.out.splitlines()[-1])
        self.assertEqual((run.status, run.err), (0, ""), run.end)
        self.assertEqual(run.out.splitlines()[-1], "verdict: clean")
        for verdict in VERDICTS:
            self.assertEqual(run.figures[verdict], 0, verdict)
        return run

    def until(self, seen, run, *args):
        """The first run that has seen enough: on a busy machine it takes longer."""
        for seconds in SECONDS:
            done = run("--seconds", seconds, *args)
            if seen(done):
                return done
        self.fail(f"not seen in {seconds} seconds:\n{getattr(done, 'end', done)}")

    def run_clean_until(self, seen, *args):
        return self.until(lambda run: run.figures["messages"] > 100 and seen(run.figures),
                          self.run_clean, *args)

    def test_signals_on__handlers_write_and_nest(self):
        self.run_clean_until(lambda figures: figures["messages"] > 10000 and
                             figures["groups"] and figures["deepest nesting"] >= 3 and
                             all(figures.get(f"level {level}") for level in range(4)))

    def test_signals_off__only_threads_write(self):
        run = self.run_clean_until(bool, "--signals", "off")
        self.assertEqual(run.figures["signals"], 0)
        self.assertNotIn("level 1", run.figures)

    def test_smallest_pool__is_exhausted_and_recovers(self):
        run = self.run_clean_until(lambda figures: figures["refused: pool empty"],
                                   "--pool", "32768")
        self.assertLessEqual(run.figures["pool pages, highest"], 8)

    def test_small_pool__many_threads(self):
        run = self.run_clean_until(bool, "--pool", "163840", "--threads", "20")
        self.assertLessEqual(run.figures["pool pages, highest"], 40)

    def test_small_capacity__is_exhausted_and_recovers(self):
        run = self.run_clean_until(lambda figures: figures["refused: stream full"],
                                   "--capacity", "200")
        self.assertEqual(run.parameters["max-large"], "200")

    def test_one_thread(self):
        self.run_clean_until(bool, "--threads", "1")

    def test_small_messages_only(self):
        self.run_clean_until(bool, "--max-small", "23", "--large-every", "0")

    def test_mostly_large_messages(self):
        run = self.run_clean_until(lambda figures: figures["messages"] > 1000,
                                   "--large-every", "2", "--threads", "2")
        self.assertGreater(run.figures["bytes"], 4096 * run.figures["messages"])

    def test_seed__comes_first_and_decides(self):
        args = ("--seconds", "0.2", "--threads", "2", "--signals", "off")
        a = self.run_clean(*args, "--seed", "7")
        b = self.run_clean(*args, "--seed=7")
        self.assertRegex(a.first, r"^stress --seed 7 --threads 2 --seconds 0\.2 --signals off ")
        self.assertEqual(a.first, b.first)
        self.assertEqual(tuple(a.parameters), OPTIONS)
        c = self.run_clean(*args)
        d = self.run_clean(*args, "--seed", "0")
        self.assertNotIn("0", (c.parameters["seed"], d.parameters["seed"]))
        again = self.run_clean(*c.first.split()[1:])
        self.assertEqual(again.first, c.first)

    def test_parameters__can_be_given_again(self):
        a = self.run_clean("--seconds", "0.290001", "--max-small", "1k", "--max-large=64K",
                           "--capacity", "1M", "--pool", "2m", "--threads", "2")
        self.assertEqual(a.parameters, a.parameters | {
            "seconds": "0.290001", "max-small": "1024", "max-large": "65536",
            "capacity": "1048576", "pool": "2097152"})
        b = self.run_clean(*a.first.split()[1:])
        self.assertEqual(b.first, a.first)

    def test_environment__gives_defaults(self):
        env = {"BPF_STREAM_STRESS_THREADS": "3", "BPF_STREAM_STRESS_SECONDS": "0.2",
               "BPF_STREAM_STRESS_SEED": "11", "BPF_STREAM_STRESS_SIGNALS": "off",
               "BPF_STREAM_STRESS_MAX_SMALL": "50", "BPF_STREAM_STRESS_LARGE_EVERY": "77"}
        run = self.run_clean("--threads", "2", env=env)
        self.assertEqual(run.parameters, run.parameters | {
            "threads": "2", "seconds": "0.2", "seed": "11", "signals": "off", "max-small": "50",
            "large-every": "77"})

    def test_progress__a_line_every_two_seconds_elsewhere(self):
        def shown(run):
            return [float(time) for time in
                    re.findall(r"^ +(\d+\.\d) s +\d+ messages ", run.out, re.M)]

        run = self.until(lambda run: len(shown(run)) >= 2, lambda *args: Run("STRESS", *args),
                         "--signals", "off", "--threads", "2")
        self.assertEqual(run.status, 0, run.end)
        times = shown(run)
        for before, after in zip([0, *times], times):
            self.assertGreater(after - before, 1.85, run.out)   # they are rounded

    def test_progress__a_live_line_on_a_terminal(self):
        self.until(lambda out: len(re.findall(rb"\r +\d+\.\d s +\d+ messages ", out)) >= 2,
                   self.run_on_terminal, "--signals", "off")

    def run_on_terminal(self, *args):
        try:
            parent, child = os.openpty()
        except OSError:
            self.skipTest("no pseudo-terminals here: /dev/pts is not mounted")
        with subprocess.Popen([os.environ["STRESS"], *args], stdout=child) as p:
            os.close(child)
            out = b""
            try:
                while chunk := os.read(parent, 4096):
                    out += chunk
            except OSError:     # how a terminal without a program ends
                pass
            os.close(parent)
        self.assertEqual(p.returncode, 0, in_words(p.returncode))
        return out

    def test_help(self):
        run = Run("STRESS", "--help")
        self.assertEqual((run.status, run.err), (0, ""))
        for option in OPTIONS:
            self.assertIn(f"  --{option} ", run.out)
        self.assertIn("BPF_STREAM_STRESS_THREADS", run.out)
        self.assertNotIn("--plant", run.out)
        env = {"BPF_STREAM_STRESS_THREADS": "5"}
        self.assertIn("writer threads (5)", Run("STRESS", "--help", env=env).out)
        env = {"BPF_STREAM_STRESS_THREADS": "many"}
        for option, shown in (("--help", "writer threads (8)"), ("--version", "stress "),
                              ("-h", "writer threads (8)"), ("-V", "stress ")):
            run = Run("STRESS", option, env=env)
            self.assertEqual((run.status, run.err), (0, ""))
            self.assertIn(shown, run.out)

    def test_help__explains_the_table(self):
        text = Run("STRESS", "--help").out
        for row in ("deepest nesting", "refused: ", "stages denied by pool", *VERDICTS[5:]):
            self.assertRegex(text, rf"(?m)^  {row}")

    def test_version__is_that_of_the_library(self):
        run = Run("STRESS", "--version")
        self.assertEqual((run.status, run.err), (0, ""))
        self.assertRegex(run.out, r"\Astress \d+\.\d+\.\d+\n\Z")

    def test_full_disk__is_a_failure(self):
        for args in (["--help"], ["--version"], ["--seconds", "0.1", "--signals", "off"]):
            with self.subTest(args), open("/dev/full", "wb") as full:
                p = subprocess.run([os.environ["STRESS"], *args], stdout=full, text=True,
                                   stderr=subprocess.PIPE)
                self.assertEqual((p.returncode, p.stderr),
                                 (1, "stress: stdout: cannot write: No space left on device\n"))

    def test_usage_errors(self):
        def refuse(args, message, env=None):
            run = Run("STRESS", *args, env=env)
            self.assertEqual((run.status, run.out, run.err), (2, "", f"stress: {message}\n"))

        for value in ("0", "65", "-1", "+1", " 1", "1x", "1k", "x", "1.5", "99999999999999999999"):
            refuse(["--threads", value], f"--threads {value}: must be 1 to 64")
        for value in ("0", "0.05", "nan", "inf", "1s", "604801"):
            refuse(["--seconds", value], f"--seconds {value}: must be 0.1 to 604800")
        refuse(["--threads", ""], "--threads '': must be 1 to 64")
        refuse(["--threads="], "--threads '': must be 1 to 64")
        for value in ("k", "1kk", "1g", "64k1", "18014398509481984k"):
            refuse(["--max-small", value], f"--max-small {value}: must be 1 to 4096")
        refuse(["--signals", "yes"], "--signals yes: must be on or off")
        refuse(["--pool=4096"], "--pool 4096: must be 0, or 32768 to 34359738368")
        refuse(["--capacity", "536870912"], "--capacity 536870912: must be 24 to 536870911")
        refuse(["--max-large", "23"], "--max-large 23: must be 24 to 1048576")
        refuse(["--max-small", "0"], "--max-small 0: must be 1 to 4096")
        refuse(["--seed"], "--seed: needs a value")
        for option in "--quiet", "--help", "--version":
            refuse([option + "=1"], f"{option}: takes no value")
        for arg in ("--sed", "--", "-", "8", "--threadsx=1", "--plant"):
            refuse([arg, "torn"], f"{arg}: there is no such option; see --help")
        refuse([], "BPF_STREAM_STRESS_LARGE_EVERY=often: must be 0 to 1000000000",
               {"BPF_STREAM_STRESS_LARGE_EVERY": "often"})

    def test_no_pool__is_a_failure(self):
        def limit_address_space():
            resource.setrlimit(resource.RLIMIT_AS, (60000 << 10, 60000 << 10))

        def run_limited(*args):
            return subprocess.run([os.environ["STRESS"], *args], capture_output=True, text=True,
                                  preexec_fn=limit_address_space)

        if run_limited("--version").returncode:
            self.skipTest("a sanitizer needs more addresses than this test allows")
        p = run_limited("--seconds", "0.3", "--signals", "off")
        self.assertEqual((p.returncode, p.stderr), (1, ""), p.stdout)
        self.assertEqual(p.stdout.splitlines()[-2:],
                         ["no message was accepted: the pool could not be mapped; see ulimit -v",
                          "verdict: FAILED"])

    def test_planted__each_bug_fires_its_verdict_alone(self):
        for plant, verdict in PLANTS.items():
            for signals in ("on", "off"):
                with self.subTest(plant=plant, signals=signals):
                    run = self.until(lambda run: run.status,
                                     lambda *args: Run("STRESS_PLANTED", *args),
                                     "--threads", "4", "--quiet", "--signals", signals,
                                     "--plant", plant)
                    if run.status == 77:
                        self.skipTest(run.out.splitlines()[-1])
                    self.assertEqual(run.status, 1, run.end)
                    self.assertEqual(run.out.splitlines()[-1], "verdict: FAILED")
                    wrong = [v for v in VERDICTS if run.figures[v]]
                    self.assertEqual(wrong, [verdict], run.out)
                    self.assertEqual(re.findall(r"^(\S.*?) +\d+  <-- WRONG$", run.out, re.M),
                                     [verdict])

    def test_planted__nothing_without_the_option(self):
        run = Run("STRESS_PLANTED", "--seconds", "0.3", "--signals", "off")
        self.assertEqual(run.status, 0, run.out)
        run = Run("STRESS_PLANTED", "--plant", "weeds")
        self.assertEqual((run.status, run.err),
                         (2, "stress: --plant weeds: there is no such bug; see --help\n"))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        os.environ["STRESS"], os.environ["STRESS_PLANTED"] = map(os.path.abspath, sys.argv[1:])
    sys.dont_write_bytecode = True
    from run_unittest import main
    sys.exit(main(["run_unittest.py", os.path.abspath(__file__)]))
