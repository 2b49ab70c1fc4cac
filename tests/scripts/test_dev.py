#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""./dev refuses what it cannot do in one clear line, before it does anything.

meson, ninja and apt-get are replaced by programs that only write down how they were called; so
nothing is built or installed. To see this test fail: take out one check of ./dev, or one suite of
those that a build lacks; the trap, the lock, or the name of the tree that was configured.
"""
import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import termios
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
RECORD = '#!/bin/sh\necho "${0##*/} $*" >>"$CALLS"\n'


class Dev(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.top = os.path.realpath(temp.name)
        os.chmod(self.top, 0o755)
        self.project = os.path.join(self.top, "my project")
        os.mkdir(self.project)
        shutil.copy(os.path.join(ROOT, "dev"), self.project)
        self.tools = os.path.join(self.top, "tools")
        os.mkdir(self.tools)
        for name in ("meson", "ninja", "apt-get"):
            self.tool(name, RECORD)
        self.path = f"{self.tools}:{os.environ['PATH']}"

    def tool(self, name, text):
        with open(os.path.join(self.tools, name), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(os.path.join(self.tools, name), 0o755)

    def run_it(self, *args, dev=None, **how):
        env = dict(os.environ, PATH=self.path, CALLS=os.path.join(self.top, "calls"))
        p = subprocess.run([shutil.which("bash"), dev or os.path.join(self.project, "dev"), *args],
                           env=env, cwd=self.top, stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, timeout=60, **how)
        return p.returncode, p.stdout, p.stderr

    def calls(self):
        try:
            with open(os.path.join(self.top, "calls"), encoding="utf-8") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def refuse(self, args, status, message, **how):
        self.assertEqual(self.run_it(*args, **how), (status, "", f"dev: {message}\n"))
        self.assertEqual(self.calls(), "")

    def test_usage_errors(self):
        for args, message in ((["help", "me"], "help takes nothing"),
                              (["clean", "all"], "clean takes nothing"),
                              (["test", "unit", "nope"], "unknown argument 'nope' to test"),
                              (["test", "nope"], "unknown argument 'nope' to test"),
                              (["test", "unit", "kernel"],
                               "kernel comes first: ./dev test kernel"),
                              (["test", "kernel", "dropin", "--check"],
                               "unknown option '--check' of test kernel"),
                              (["bench", "kernel", "7.4"],
                               "unknown argument '7.4' to bench kernel"),
                              (["bench", "kernel", "7.2", "7.3"], "'7.3' is one too many for bench "
                               "kernel, which takes one kernel and one number"),
                              (["bench", "kernel", "3", "7.2", "4"], "'4' is one too many for bench "
                               "kernel, which takes one kernel and one number"),
                              (["nope"], "unknown command 'nope'"),
                              (["demo", "--nope"], "unknown option '--nope' of demo"),
                              (["demo", "/etc/passwd", "-x"], "unknown option '-x' of demo")):
            self.refuse(args, 2, f"{message}; see ./dev help")

    def test_help(self):
        text = self.run_it("help")
        self.assertEqual((text[0], text[2]), (0, ""))
        self.assertIn("demo [FILE...]", text[1])
        for args in (["--help"], ["-h"], ["demo", "--help"], ["demo", "-h"], ["test", "--help"],
                     ["test", "asan", "-h"], ["test", "kernel", "--help"],
                     ["test", "kernel", "module", "-h"], ["bench", "kernel", "--help"],
                     ["bench", "-h"], ["clean", "--help"]):
            self.assertEqual(self.run_it(*args), text)

    def test_demo__takes_regular_files_only(self):
        fifo = os.path.join(self.top, "fifo")
        os.mkfifo(fifo)
        self.refuse(["demo", "fifo"], 1, f"not a regular file: {fifo}")
        self.refuse(["demo", "tools"], 1, f"not a regular file: {self.tools}")
        self.refuse(["demo", "none"], 1, f"no such file: {self.top}/none")
        r, w = os.pipe()
        self.refuse(["demo", f"/dev/fd/{r}"], 1, f"not a regular file: /dev/fd/{r}", pass_fds=[r])
        os.close(r)
        os.close(w)

    def test_symbolic_link__leads_to_the_project(self):
        link = os.path.join(self.top, "link")
        os.symlink(os.path.join(self.project, "dev"), link)
        os.makedirs(os.path.join(self.project, "build", "demo"))
        self.assertEqual(self.run_it("clean", dev=link), (0, "", ""))
        self.assertEqual(os.listdir(self.project), ["dev"])

    @unittest.skipUnless(NOBODY, "only root can make what belongs to another user")
    def test_build_directory__of_another_user(self):
        for command in (["demo"], ["test"], ["clean"]):
            for inside in ((), ("asan",)):
                with self.subTest(command, inside=inside):
                    path = os.path.join(self.project, "build", *inside)
                    os.makedirs(path)
                    os.chmod(os.path.join(self.project, "build"), 0o777)
                    os.chmod(path, 0o555)
                    status, out, err = self.run_it(*command, **NOBODY)
                    self.assertEqual((status, out), (1, ""))
                    self.assertRegex(err, r"\Adev: cannot write to build" + "/asan" * len(inside) +
                                     r", which belongs to \S+; who owns it can remove it with "
                                     r"\./dev clean\n\Z")
                    os.chmod(path, 0o755)
                    shutil.rmtree(os.path.join(self.project, "build"))

    def unwritable(self):
        """A build directory that NOBODY cannot write to, though it is theirs."""
        path = os.path.join(self.project, "build")
        os.mkdir(path)
        if NOBODY:
            os.chown(path, NOBODY["user"], NOBODY["group"])
        os.chmod(path, 0o555)
        return path

    def test_build_directory__that_is_read_only(self):
        path = self.unwritable()
        self.refuse(["demo"], 1, f"cannot write to {path}, which is read-only", **NOBODY)

    def test_clean__in_a_tree_that_is_read_only(self):
        os.chmod(self.project, 0o555)
        self.assertEqual(self.run_it("clean", **NOBODY), (0, "", ""))
        os.chmod(self.project, 0o755)
        kept = os.path.join(self.project, "build", "kept")
        os.mkdir(os.path.dirname(kept))
        open(kept, "w", encoding="utf-8").close()
        os.chmod(os.path.dirname(kept), 0o777)
        os.chmod(self.project, 0o555)
        self.refuse(["clean"], 1, f"cannot remove build/ from {self.project}, which cannot be "
                    "written to", **NOBODY)
        self.assertTrue(os.path.exists(kept))
        os.chmod(self.project, 0o755)

    def without_meson(self, user):
        for name in ("bash", "dirname", "readlink", "stat", "mkdir", "cat", "env", "grep", "head",
                     "tail"):
            os.symlink(shutil.which(name), os.path.join(self.tools, name))
        self.tool("id", f"#!/bin/sh\necho {user}\n")
        os.remove(os.path.join(self.tools, "meson"))
        self.path = self.tools

    def test_installing_fails__with_its_cause_and_advice(self):
        self.without_meson(0)
        self.tool("apt-get", """#!/bin/sh
case $* in
*update*) echo 'W: Failed to fetch http://deb.example.org: Could not resolve'; exit 0 ;;
esac
i=0
while [ $((i += 1)) -le 30 ]; do echo "Err:$i"; done
echo 'E: Unable to locate package meson'
while [ $((i -= 1)) -ge 0 ]; do echo "noise $i"; done
exit 100
""")
        status, out, err = self.run_it("demo")
        self.assertEqual(status, 1)
        self.assertRegex(out, r"\Ainstalling [\w -]*\bmeson\b[\w -]* \.\.\. \n\Z")
        self.assertEqual(err, "W: Failed to fetch http://deb.example.org: Could not resolve\n"
                         "E: Unable to locate package meson\n"
                         "dev: installing failed; the whole log is build/install.log\n"
                         "dev: if packages could not be found or fetched: mend the network or "
                         "/etc/apt/sources.list, see that apt-get update works, and try again\n")
        self.tool("apt-get", "#!/bin/sh\necho killed\nexit 9\n")
        self.assertIn("killed\ndev: installing failed", self.run_it("demo")[2])

    def test_missing_packages__how_to_install_them(self):
        self.without_meson(1000)
        status, out, err = self.run_it("demo")
        self.assertEqual((status, out, self.calls()), (1, "", ""))
        self.assertRegex(err, r"\Adev: some packages are missing; install them, as root:\n"
                              r"  apt-get update && apt-get install --no-install-recommends "
                              r"[\w -]*\bmeson\b[\w -]*\n\Z")

    def test_interrupted_while_installing(self):
        """apt-get ends as usual after Ctrl-C while dpkg is at work: all that was asked for followed,
        a minute and more of it. Fixed: it is the end, without another word but one. TERM to ./dev
        alone was not heard before all was fetched and installed. Fixed: apt-get is told."""
        self.without_meson(0)
        os.symlink(shutil.which("sleep"), os.path.join(self.tools, "sleep"))
        done = os.path.join(self.top, "done")
        for number, on_int, is_done in ((signal.SIGINT, "", True), (signal.SIGTERM, "", True),
                                        (signal.SIGTERM, "exit 100", False)):
            # What a package starts is not waited for.
            self.tool("apt-get", "#!/bin/bash\ncase $* in\n*update*) exit ;;\nesac\n"
                                 "(trap '' INT && exec sleep 90 >/dev/null 2>&1) &\n"
                                 f"trap '{on_int}' INT\nread -r _ _ _ dev _ </proc/$PPID/stat\n"
                                 f"kill -{int(number)} $dev\n"
                                 f"for i in {{1..{300 if on_int else 8}}}; do sleep 0.1; done\n: >{done}\n")
            # INT may be ignored, as in what a script has put into the background.
            status, out, err = self.run_it("demo", preexec_fn=lambda s=number: (
                signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(s, signal.SIG_DFL)))
            self.assertEqual((status, err, self.calls()), (-number, "\ndev: interrupted\n", ""))
            self.assertRegex(out, r"\Ainstalling [\w -]* \.\.\. \Z")
            self.assertEqual(os.path.exists(done), is_done)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(done)

    @unittest.skipUnless(os.path.exists("/usr/include/criterion/criterion.h"), "no Criterion")
    @unittest.skipUnless(os.access("/dev/shm", os.W_OK), "/dev/shm is not writable")
    def test_werror__for_tests_and_not_for_users(self):
        self.run_it("demo")
        self.assertIn("meson setup build/demo ", self.calls())
        self.assertNotIn("werror", self.calls())
        self.run_it("test", "asan")
        self.assertRegex(self.calls(), r"(?m)^meson setup build/asan .*-Dwerror=true")
        with open(os.path.join(ROOT, "meson.build"), encoding="utf-8") as f:
            self.assertNotIn("werror", f.read())

    @unittest.skipUnless(shutil.which("cc"), "no cc")
    def test_a_build_of_another_tree__or_cut_short__is_made_anew(self):
        configured = "meson setup build/demo "
        self.run_it("demo")
        self.assertEqual(self.calls().count(configured), 1)
        self.run_it("demo")
        self.assertEqual(self.calls().count(configured), 1)
        copy = os.path.join(self.top, "copy")
        shutil.copytree(self.project, copy)
        self.run_it("demo", dev=os.path.join(copy, "dev"))
        self.assertEqual(self.calls().count(configured), 2)
        self.tool("meson", RECORD + "exit 1\n")
        shutil.rmtree(os.path.join(self.project, "build"))
        for times in (3, 4):
            self.assertEqual(self.run_it("demo")[0], 1)
            self.assertEqual(self.calls().count(configured), times)

    @unittest.skipUnless(shutil.which("cc"), "no cc")
    def test_a_full_disk_is_named(self):
        """The log, which was to tell why, lies on the same disk, and was empty."""
        self.tool("meson", "#!/bin/sh\nexit 1\n")
        for free, told in ((1023, f"dev: no space left in {self.project}/build\n"), (1024, ""),
                           ("-", "")):
            self.tool("df", "#!/bin/sh\necho Filesystem 1024-blocks Used Available\n"
                            f"echo /dev/vda 9999999 9999999 {free}\n")
            self.assertEqual(self.run_it("demo")[::2], (1, told + "dev: building build/demo failed; "
                                                        "the whole log is build/demo.log\n"))

    @unittest.skipUnless(shutil.which("cc"), "no cc")
    def test_demo__ended_with_dev(self):
        """kill of ./dev alone left the demo itself, which went on for a minute."""
        os.mkdir(os.path.join(self.project, "scripts"))
        mark = os.path.join(self.top, "mark")
        with open(os.path.join(self.project, "scripts/demo.sh"), "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\nexec 2>/dev/null\ntrap 'echo ended >{mark}; exit 1' TERM\n"
                    "kill -TERM $PPID\nsleep 30\n")
        os.chmod(f.name, 0o755)
        self.assertEqual(self.run_it("demo")[::2], (-signal.SIGTERM, "\ndev: interrupted\n"))
        self.assertTrue(os.path.exists(mark))

    @unittest.skipUnless(shutil.which("cc"), "no cc")
    def test_interrupted__ends_what_runs_and_says_so(self):
        mark = os.path.join(self.top, "mark")
        self.tool("meson", f"#!/bin/sh\ntrap 'echo ended >{mark}; exit 1' TERM\n"
                           f"echo began >{mark}\nwhile sleep 0.1; do :; done\n")
        env = dict(os.environ, PATH=self.path, CALLS=os.devnull)
        command = [shutil.which("bash"), os.path.join(self.project, "dev"), "demo"]
        for number in (signal.SIGINT, signal.SIGHUP):
            with contextlib.suppress(FileNotFoundError):
                os.remove(mark)
            # What was ignored when a shell began, it cannot trap.
            p = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 start_new_session=True, preexec_fn=lambda s=number:
                                 signal.signal(s, signal.SIG_DFL))
            try:
                end = time.monotonic() + 60
                while not os.path.exists(mark) and time.monotonic() < end:
                    time.sleep(0.05)
                self.assertEqual(self.run_it("demo")[::2],
                                 (1, f"dev: another ./dev is at work in {self.project}/build; "
                                     "wait until it has ended\n"))
                # As a terminal does.
                os.killpg(p.pid, number)
                out, err = p.communicate(timeout=60)
            finally:
                if p.poll() is None:
                    p.terminate()
                    p.communicate(timeout=60)
            self.assertEqual((p.returncode, out, err), (-number, "", "\ndev: interrupted\n"))
            with open(mark, encoding="utf-8") as f:
                self.assertEqual(f.read(), "ended\n")

    def test_a_lock_that_was_just_removed_is_none(self):
        """./dev clean has the lock, and removes it: who had opened it before had a lock of his own
        then. Fixed: it is looked at again."""
        self.tool("flock", f"#!/bin/sh\nrm build/lock\nexec {shutil.which('flock')} \"$@\"\n")
        os.mkdir(os.path.join(self.project, "build"))
        self.refuse(["clean"], 1, f"another ./dev is at work in {self.project}/build; wait until "
                    "it has ended")

    @unittest.skipUnless(os.path.exists("/usr/include/criterion/criterion.h"), "no Criterion")
    @unittest.skipUnless(os.access("/dev/shm", os.W_OK), "/dev/shm is not writable")
    def test_a_terminal_with_tostop(self):
        """After `stty tostop` what ran was stopped by its first line, and ./dev waited for ever."""
        self.tool("meson", "#!/bin/sh\necho ' 1/1 a test'\n")
        master, slave = pty.openpty()
        mode = termios.tcgetattr(slave)
        mode[3] |= termios.TOSTOP
        termios.tcsetattr(slave, termios.TCSANOW, mode)
        env = dict(os.environ, PATH=self.path, CALLS=os.devnull)
        p = subprocess.Popen([shutil.which("bash"), os.path.join(self.project, "dev"), "test", "asan",
                              "unit"], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=env,
                             start_new_session=True,
                             preexec_fn=lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0))
        try:
            self.assertNotEqual(p.wait(timeout=30), 0)      # there is no sum_tests.py
            self.assertIn("1/1 a test", os.read(master, 10000).decode())
        finally:
            p.kill()
            os.close(slave)
            os.close(master)

    def test_kernel__ended_with_dev(self):
        """kill of ./dev alone: what ran in kernels, and QEMU, went on for minutes, and the next run
        waited. Fixed: it is ended, too, and waited for."""
        os.mkdir(os.path.join(self.project, "kernel"))
        for name in ("gcc-12", "make", "nm", "qemu-system-x86_64", "cpio"):
            self.tool(name, "#!/bin/sh\n")
        self.tool("id", "#!/bin/sh\necho 0\n")    # what is missing all the same is "installed"
        mark = os.path.join(self.top, "mark")
        script = os.path.join(self.project, "kernel/run.sh")
        with open(script, "w", encoding="utf-8") as f:
            f.write('#!/bin/bash\n[ "${1-}" != --check ] || exit 0\n'
                    f"trap 'echo ended >{mark}; echo interrupted; exit 130' TERM\n"
                    f"exec 2>/dev/null\necho began >{mark}\nwhile sleep 0.1; do :; done\n")
        os.chmod(script, 0o755)
        env = dict(os.environ, PATH=self.path, CALLS=os.devnull)
        command = [shutil.which("bash"), os.path.join(self.project, "dev"), "test", "kernel"]
        for how in (signal.SIGTERM, signal.SIGHUP):
            with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  start_new_session=True, preexec_fn=lambda s=how:
                                  signal.signal(s, signal.SIG_DFL)) as p:
                end = time.monotonic() + 60
                while not os.path.exists(mark) and time.monotonic() < end:
                    time.sleep(0.05)
                p.send_signal(how)
                out, err = p.communicate(timeout=60)
            self.assertEqual((p.returncode, out.split("\n")[-2:], err),
                             (-how, ["interrupted", ""], ""))
            with open(mark, encoding="utf-8") as f:
                self.assertEqual(f.read(), "ended\n")
            os.unlink(mark)

    @unittest.skipUnless(shutil.which("unshare"), "no unshare")
    def test_no_dev_shm__how_to_get_it(self):
        inside = ["unshare", "--map-root-user", "--mount", "--", "sh", "-ec",
                  'mount -t tmpfs -o ro tmpfs /dev/shm\n[ $# -eq 0 ] || exec "$@"', "sh"]
        p = subprocess.run(inside, capture_output=True, text=True)
        if p.returncode:
            self.skipTest(f"/dev/shm cannot be made read-only: {p.stderr.strip()}")
        p = subprocess.run([*inside, os.path.join(self.project, "dev"), "test", "asan"],
                           capture_output=True, text=True)
        self.assertEqual((p.returncode, p.stdout, p.stderr),
                         (1, "", "dev: /dev/shm is missing or cannot be written to; the tests need "
                          "it: mkdir -p /dev/shm && mount -t tmpfs -o mode=1777 tmpfs /dev/shm\n"))

    @unittest.skipUnless(os.path.exists("/usr/include/criterion/criterion.h"), "no Criterion")
    @unittest.skipUnless(os.access("/dev/shm", os.W_OK), "/dev/shm is not writable")
    def test_words_given_twice__count_once(self):
        os.mkdir(os.path.join(self.project, "scripts"))
        with open(os.path.join(self.project, "scripts/sum_tests.py"), "w", encoding="utf-8") as f:
            f.write("import sys\nprint(sys.argv[1:])\n")
        status, out, err = self.run_it("test", "asan", "unit", "asan", "unit")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out.splitlines()[-1], "['build/asan']")
        self.assertEqual(self.calls().count("meson setup "), 1)
        self.assertEqual(self.calls().count("meson test "), 1)

    @unittest.skipUnless(shutil.which("meson"), "no meson")
    def test_suites_that_a_build_lacks__are_refused_at_once(self):
        with open(os.path.join(ROOT, "dev"), encoding="utf-8") as f:
            known = re.search(r"\n\t\t(unit \|[^)]*)\) suites", f.read()).group(1)
        unwritable = self.unwritable()
        for tier, sanitizer in (("plain", "none"), ("asan", "address,undefined"),
                                ("tsan", "thread")):
            build = os.path.join(self.top, tier)
            p = subprocess.run(["meson", "setup", build, ROOT, "-Dtests=auto", "-Db_lundef=false",
                                f"-Db_sanitize={sanitizer}"], capture_output=True, text=True)
            self.assertEqual(p.returncode, 0, p.stdout)
            p = subprocess.run(["meson", "introspect", "--tests", build], capture_output=True,
                               text=True, check=True)
            there = {suite.split(":")[-1] for test in json.loads(p.stdout)
                     for suite in test["suite"]}
            for suite in re.findall(r"\w+", known):
                with self.subTest(tier=tier, suite=suite):
                    if suite not in there:
                        self.refuse(["test", "docs", tier, suite], 2, f"the build {tier} has no "
                                    f"suite {suite}; see ./dev help")
                    else:
                        # The next check is of the build directory.
                        self.refuse(["test", tier, suite], 1, f"cannot write to {unwritable}, "
                                    "which is read-only", **NOBODY)

    def test_suites_of_the_build__can_all_be_named(self):
        suites = set()
        for top, _, files in os.walk(os.path.join(ROOT, "tests")):
            if "meson.build" in files:
                with open(os.path.join(top, "meson.build"), encoding="utf-8") as f:
                    suites |= set(re.findall(r"\bsuite: '(\w+)'", f.read()))
        with open(os.path.join(ROOT, "dev"), encoding="utf-8") as f:
            known = re.search(r"\n\t\tunit \|([^)]*)\) suites", f.read()).group(1)
        self.assertEqual(suites - set(re.findall(r"\w+", known)) - {"unit"}, set())
        self.assertIn("unit", suites)

    def test_help__names_every_suite(self):
        with open(os.path.join(ROOT, "dev"), encoding="utf-8") as f:
            known = re.search(r"\n\t\t(unit \|[^)]*)\) suites", f.read()).group(1)
        words = self.run_it("help")[1].split()
        for suite in re.findall(r"\w+", known):
            self.assertIn(suite, words)


if __name__ == "__main__":
    unittest.main()
