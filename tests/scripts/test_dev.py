#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""./dev refuses what it cannot do in one clear line, and does what it is told.

meson, ninja and apt-get are replaced by programs that only write down how they were called; so
nothing is built or installed. To see this test fail: take out one check of ./dev, its lock, the
kill in its trap, the number of the round in --logbase, or one of the two lists of packages; take
words that are empty or have blanks; leave no log of a build that failed, or one of each.
"""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BASH = shutil.which("bash")
RECORD = '#!/bin/sh\necho "${0##*/} $*" >>"$CALLS"\n'
# In the second round its test dies.
MESON = RECORD + """\
[ "$1" = test ] || exec mkdir -p "$2"
log=$(echo "$*" | sed 's/.*--logbase //;s/ .*//')
mkdir -p "$3/meson-logs"
case $log in *2) end='"FAIL", "returncode": -11' ;; *) end='"OK", "returncode": 0' ;; esac
echo "{\\"name\\": \\"docs / pages\\", \\"result\\": $end}" >"$3/meson-logs/$log-quick.json"
echo ' 1/1 docs / pages'
[ $log != round2 ]
"""


class Dev(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.top = os.path.realpath(temp.name)
        self.project = os.path.join(self.top, "my project")
        os.makedirs(os.path.join(self.project, "scripts"))
        shutil.copy(os.path.join(ROOT, "dev"), self.project)
        shutil.copy(os.path.join(ROOT, "scripts/sum_tests.py"), self.project + "/scripts")
        self.tools = os.path.join(self.top, "tools")
        os.mkdir(self.tools)
        self.tool("meson", MESON)
        for name in "ninja", "apt-get":
            self.tool(name, RECORD)
        self.calls = os.path.join(self.top, "calls")
        self.env = dict(os.environ, PATH=f"{self.tools}:{os.environ['PATH']}", CALLS=self.calls)

    def tool(self, name, text):
        path = os.path.join(self.tools, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)

    def run_it(self, *args):
        p = subprocess.run([BASH, os.path.join(self.project, "dev"), *args], env=self.env,
                           cwd=self.top, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=60)
        return p.returncode, p.stdout, p.stderr

    def refused(self, args, status, message):
        args = args.split() if isinstance(args, str) else args
        self.assertEqual(self.run_it(*args), (status, "", f"dev: {message}\n"))
        self.assertFalse(os.path.exists(self.calls))

    def test_words_that_it_does_not_know(self):
        for args, message in (
                ("nope", "unknown command 'nope'"), ("clean all", "unknown command 'clean all'"),
                ("bench nope", "unknown command 'bench nope'"), ("demo -x", "unknown option '-x' of demo"),
                ("test unit nope", "unknown argument 'nope' to test"),
                (["test", ""], "unknown argument '' to test"),
                (["test", "unit parity"], "unknown argument 'unit parity' to test"),
                (["test unit"], "unknown command 'test unit'"),
                ("test repeat=0", "'repeat=0': N is a number, 1 to 9999"),
                ("test unit kernel", "kernel comes first: ./dev test kernel"),
                ("test docs asan header", "the build asan has no suite header"),
                ("test tsan unit", "the build tsan has no suite unit"),
                ("bench kernel 7.4", "bench kernel takes a kernel, 7.2 or 7.3, and how many BOOTS, "
                 "1 to 99; not '7.4'")):
            self.refused(args, 2, f"{message}; see ./dev help")

    def test_help(self):
        status, out, err = self.run_it("help")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(self.run_it(), (2, "", out))
        for args in "--help", "demo -h", "test asan --help", "test kernel -h", "bench kernel -h":
            self.assertEqual(self.run_it(*args.split()), (0, out, ""))

    def test_suites__are_those_of_meson_build(self):
        suites = set()
        for top, _, files in os.walk(os.path.join(ROOT, "tests")):
            if "meson.build" in files:
                with open(os.path.join(top, "meson.build"), encoding="utf-8") as f:
                    suites |= set(re.findall(r"\bsuite: '(\w+)'", f.read()))
        with open(os.path.join(ROOT, "dev"), encoding="utf-8") as f:
            known = set(re.search(r"suites_plain='([^']*)'", f.read())[1].split())
        self.assertEqual(known, suites)
        self.assertLessEqual(known, set(self.run_it("help")[1].split()))

    def test_bench__builds_and_runs(self):
        there = os.path.join(self.project, "bench/compare")
        os.makedirs(there)
        with open(os.path.join(there, "packages"), "w", encoding="utf-8") as f:
            f.write("bash=bash\n")
        with open(os.path.join(there, "run.py"), "w", encoding="utf-8") as f:
            f.write("import sys\nprint('asked:', *sys.argv[1:])\nsys.exit(3)\n")
        status, out, err = self.run_it("bench", "--quick")
        self.assertEqual((status, err), (3, ""))
        self.assertTrue(out.endswith("asked: build/bench --quick\n"), out)
        with open(self.calls, encoding="utf-8") as f:
            self.assertIn("-Dbench=enabled", f.read())

    def test_demo__takes_regular_files(self):
        message = "no such file, or no regular one: "
        self.refused("demo none", 1, f"{message}{self.top}/none")
        self.refused("demo /dev/null", 1, f"{message}/dev/null")

    def without_meson(self, user):
        for name in ("bash", "dirname", "readlink", "stat", "mkdir", "cat", "flock", "grep", "tail"):
            os.symlink(shutil.which(name), os.path.join(self.tools, name))
        self.tool("id", f"#!/bin/sh\necho {user}\n")
        os.remove(os.path.join(self.tools, "meson"))
        self.env["PATH"] = self.tools

    def test_missing_packages__the_command_that_installs_them(self):
        self.without_meson(1000)
        status, out, err = self.run_it("demo")
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, r"(?m)^  apt-get update && apt-get install --no-install-recommends "
                              r"[\w -]*\bmeson\b[\w -]*$")
        self.assertFalse(os.path.exists(self.calls))

    def test_missing_packages__those_of_all_tiers_at_once(self):
        self.without_meson(1000)
        self.env["XDG_CACHE_HOME"] = os.path.join(self.top, "cache")
        shutil.copytree(os.path.join(ROOT, "kernel"), os.path.join(self.project, "kernel"))
        for tier, found in ("compile", False), ("dropin", True):
            status, _, err = self.run_it("test", "kernel", tier)
            packages = err.splitlines()[-1].split()
            self.assertEqual((status, "gcc-12" in packages, "bison" in packages),
                             (1, True, found), err)

    def test_installing_fails__with_its_cause(self):
        self.without_meson(0)
        self.tool("apt-get", "#!/bin/sh\necho noise\necho 'E: Unable to locate package'\nexit 100\n")
        status, out, err = self.run_it("demo")
        self.assertEqual(status, 1)
        self.assertRegex(out, r"\Ainstalling [\w -]*\bmeson\b[\w -]* \.\.\. \n\Z")
        self.assertRegex(err, r"\AE: Unable to locate package\ndev: installing failed; .*\n\Z")

    def test_build_that_fails__and_tests_that_did_not_run(self):
        self.tool("ninja", "#!/bin/sh\necho 'error: no such word'\nexit 1\n")
        status, out, err = self.run_it("test", "asan", "docs")
        self.assertEqual((status, err), (1, "dev: building build/asan failed; the whole log is "
                                            "build/asan.log\n"))
        self.assertIn("error: no such word\n", out)
        self.assertTrue(out.startswith("building build/asan ... \n"), out)
        self.assertTrue(out.endswith("FAILED in asan: it was not built\n"
                                     "0 passed, 1 failed, 0 skipped\n"), out)

    def test_repeat__sums_up_and_names_the_round(self):
        self.assertEqual(self.run_it("test", "tsan", "docs")[0], 0)
        status, out, _ = self.run_it("test", "repeat=3", "plain", "docs", "plain", "tsan")
        self.assertEqual(status, 1)
        self.assertRegex(out, r"\Abuilding build/test \.\.\. \d+ s\n\n== plain, round 1 of 3\n")
        self.assertIn("== tsan, round 3 of 3\n 1/1 docs / pages\n", out)
        self.assertTrue(out.endswith("\nFAILED in plain, round 2: pages: was killed by SIGSEGV\n"
                                     "FAILED in tsan, round 2: pages: was killed by SIGSEGV\n"
                                     "4 passed, 2 failed, 0 skipped\n"), out)
        self.assertFalse(os.path.exists(os.path.join(self.project, "build/tsan.log")))
        with open(self.calls, encoding="utf-8") as f:
            self.assertEqual(f.read().count("meson setup "), 2)

    def test_interrupt__ends_it_and_meson(self):
        self.tool("meson", '#!/bin/sh\n[ "$1" = test ] || exec mkdir -p "$2"\n'
                           'trap "echo ended >$CALLS; exit" TERM\necho began >$CALLS\n'
                           "for i in $(seq 100); do sleep 0.1; done\n")
        p = subprocess.Popen([BASH, os.path.join(self.project, "dev"), "test", "asan"], env=self.env,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             start_new_session=True,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        end = time.monotonic() + 60
        while not os.path.exists(self.calls) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertRegex(self.run_it("demo")[2], "^dev: another ./dev is at work in ")
        os.killpg(p.pid, signal.SIGINT)     # as a terminal does
        self.assertNotIn("passed", p.communicate(timeout=60)[0])
        self.assertEqual(p.returncode, 130)
        with open(self.calls, encoding="utf-8") as f:
            self.assertEqual(f.read(), "ended\n")

    def test_clean(self):
        os.makedirs(os.path.join(self.project, "build/asan"))
        self.assertEqual(self.run_it("clean"), (0, "", ""))
        self.assertFalse(os.path.exists(os.path.join(self.project, "build")))


if __name__ == "__main__":
    unittest.main()
