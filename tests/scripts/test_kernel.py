#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The scripts around the tests in kernels notice what goes wrong, and add up.

kernel/lib.sh gets made-up lists of packages, and a made-up QEMU that only prints; kernel/run.sh
gets made-up tiers, .ci/run a made-up ./dev; kernel/dropin/install.sh a made-up tree; kernel/cc.sh
works with the real compiler.

Seen to fail with: versions sorted as texts; images without headers taken; the newest series not
left out for previous; each kind of complaint not looked for; the end of the guest not waited for; a
guest never started again, or always; a tier or ./dev that ends without a sum not noticed; an option
dropped in trials, too; words passed to tiers that do not know them; 7.4 taken; any stream.c.kernel
taken for the installer's own; a log of before, missing results and a status of a guest's program
that nobody looks at; an interrupt that the tier does not get; a fetch taken for done because no
reason was there why not; a tree marked complete that could not be adapted.
"""
import fcntl
import fnmatch
import os
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import termios
import threading
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class WithDirectory(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.top = os.path.join(temp.name, "my files")
        self.env = dict(os.environ, XDG_CACHE_HOME=os.path.join(temp.name, "cache"),
                        PATH=f"{self.top}/bin:{os.environ['PATH']}")
        self.cache = os.path.join(temp.name, "cache/bpf_stream/kernel")
        os.makedirs(os.path.join(self.top, "bin"))

    def write(self, name, text):
        path = os.path.join(self.top, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
        return path

    def bash(self, *args, **how):
        p = subprocess.run(["bash", *args], capture_output=True, text=True, env=self.env,
                           timeout=60, **how)
        return p.returncode, p.stdout, p.stderr

    def with_lib(self, text, *args, **how):
        return self.bash("-c", f'. "{ROOT}/kernel/lib.sh"; ' + text, "-", *args, **how)


class Cache(WithDirectory):
    def test_a_relative_XDG_CACHE_HOME_is_ignored(self):
        """XDG_CACHE_HOME=cache, called in the project's tree: kernels were kept in that tree, those
        of each directory one called from elsewhere. Fixed: ~/.cache."""
        for name in ("cache", "./cache", ""):
            self.env.update(XDG_CACHE_HOME=name, HOME=os.path.dirname(self.top) + "/home")
            status, out, err = self.bash("-c", f'. "{ROOT}/kernel/lib.sh"; echo "$kernel_cache"',
                                         cwd=self.top)
            self.assertEqual((status, out, err),
                             (0, self.env["HOME"] + "/.cache/bpf_stream/kernel\n", ""))
            self.assertEqual(os.listdir(self.top), ["bin"])


class FindKernel(WithDirectory):
    BACKPORTS = ["7.9.4+deb13-cloud", "7.10.2+deb13-cloud", "7.10.2+deb13-rt", "7.8.1+deb13-cloud"]
    SID = ["7.9.11+deb14-cloud", "7.10.1+deb14-cloud", "7.9.11+deb14-rt"]

    def lists(self, **suites):
        os.makedirs(os.path.join(self.cache, "lists"), exist_ok=True)
        for suite, releases in suites.items():
            with open(os.path.join(self.cache, "lists", suite.replace("_", "-")), "w",
                      encoding="utf-8") as f:
                for release in releases:
                    f.write(f"linux-image-{release}-amd64 1 a\nlinux-headers-{release}-amd64 1 b\n")

    def find(self, word):
        status, out, err = self.with_lib(
            'find_kernel "$1" && echo "$release $suite" || echo "no: $reason"', word)
        self.assertEqual((status, err), (0, ""))
        return out.strip()

    def test_words(self):
        self.lists(sid=self.SID, trixie_backports=self.BACKPORTS,
                   bookworm=["6.1.0-9-cloud", "6.1.0-50-cloud", "6.12.3+deb12-cloud"],
                   trixie=["6.12.107+deb13-cloud", "6.12.94+deb13-cloud"])
        self.assertEqual(self.find("6.1"), "6.1.0-50-cloud-amd64 bookworm")
        self.assertEqual(self.find("6.12"), "6.12.107+deb13-cloud-amd64 trixie")
        self.assertEqual(self.find("newest"), "7.10.2+deb13-cloud-amd64 trixie-backports")
        self.assertEqual(self.find("previous"), "7.9.11+deb14-cloud-amd64 sid")
        self.assertEqual(self.find("rt"), "7.10.2+deb13-rt-amd64 trixie-backports")

    def test_an_image_needs_headers(self):
        self.lists(sid=self.SID, trixie_backports=[])
        with open(os.path.join(self.cache, "lists/trixie-backports"), "w", encoding="utf-8") as f:
            f.write("linux-image-8.0.1+deb13-cloud-amd64 1 a\n")
        self.assertEqual(self.find("newest"), "7.10.1+deb14-cloud-amd64 sid")

    def test_says_why_not(self):
        self.lists(sid=self.SID[:1], trixie_backports=[], trixie=[])
        self.assertEqual(self.find("previous"), "no: sid trixie-backports has no kernel previous")
        self.assertEqual(self.find("6.12"), "no: trixie has no kernel 6.12")
        self.assertEqual(self.find("5.4"), "no: there is no kernel called 5.4")

    def test_an_old_list_has_to_do_without_network(self):
        self.write("bin/apt-get", "#!/bin/sh\nexit 1\n")
        self.lists(trixie=["6.12.107+deb13-cloud"])
        os.utime(os.path.join(self.cache, "lists/trixie"), (0, 0))
        lines = self.find("6.12").splitlines()
        self.assertEqual(lines[-1], "6.12.107+deb13-cloud-amd64 trixie")
        self.assertRegex(lines[-2], "^using an old list of trixie: fetch_deb: ")
        self.assertRegex(self.find("6.1"), "(?m)^no: fetch_deb: ")

    def test_a_failure_is_remembered_for_one_run(self):
        """The network was mended and the tests started again: for two minutes they were skipped,
        for the reason of before. Fixed: a run does not know what failed before it began."""
        fetch = 'fetch_deb() { echo asked >&3; echo "fetch_deb: no network" >&2; return 1; }; '
        find = 'find_kernel 6.12 || echo "$reason" >&3; '
        twice = fetch + "exec 3>&1 >/dev/null; " + find + find
        run = r"\Aasked\nfetch_deb: no network\nfetch_deb: no network \(tried \d+ s ago\)\n\Z"
        for _ in range(2):
            status, out, err = self.with_lib(twice)
            self.assertEqual(err, "")
            self.assertRegex(out, run)
        # A tier belongs to the run that started it.
        self.env["kernel_start"] = "1000000000.5"
        self.assertNotIn("asked", self.with_lib(twice)[1])


class GetKernel(WithDirectory):
    """get_kernel, with packages made of nothing but what is adapted."""
    OLD, NEW = "6.12.9+deb13-cloud-amd64", "6.12.107+deb13-cloud-amd64"
    FETCH = """fetch_deb() {
        local source=$4/usr/src/$3
        mkdir -p "$source" "$4/usr/lib" && echo "include /usr/src/common" >"$source/Makefile" &&
            ln -s /usr/lib/kbuild "$source/tools" && echo 1.0
    }; """

    def setUp(self):
        super().setUp()
        os.makedirs(os.path.join(self.cache, "lists"))
        with open(os.path.join(self.cache, "lists/trixie"), "w", encoding="utf-8") as f:
            f.write(f"linux-image-{self.NEW} 1 a\nlinux-headers-{self.NEW} 1 "
                    "linux-headers-6.12.107+deb13-common linux-kbuild-6.12.107+deb13\n")
        self.tree = os.path.join(self.cache, "debian/6.12")
        self.log = os.path.join(self.cache, "log/fetch-6.12.log")

    def old_tree(self):
        os.makedirs(self.tree)
        with open(os.path.join(self.tree, "release"), "w", encoding="utf-8") as f:
            f.write(f"{self.OLD} trixie\n")

    def get(self, before):
        _, out, err = self.with_lib(
            before + 'get_kernel 6.12 && echo "${kdir##*/}" || echo "no: $reason"')
        self.assertEqual(err, "")
        lines = [line for line in out.splitlines() if not re.search(r"\d s(, failed)?$", line)]
        self.assertEqual([name for name in os.listdir(os.path.dirname(self.tree))
                          if name not in ("6.12", "6.12.lock")], [])
        return lines

    def has_old_tree(self):
        return os.listdir(self.tree) == ["release"]

    def test_a_newer_one_replaces_the_older(self):
        self.old_tree()
        self.assertEqual(self.get(self.FETCH), [f"linux-headers-{self.NEW}"])
        source = f"{self.tree}/usr/src/linux-headers-{self.NEW}"
        with open(f"{source}/Makefile", encoding="utf-8") as f:
            self.assertEqual(f.read(), f"include {self.tree}/usr/src/common\n")
        self.assertEqual(os.readlink(f"{source}/tools"), f"{self.tree}/usr/lib/kbuild")
        with open(f"{self.tree}/release", encoding="utf-8") as f:
            self.assertEqual(f.read(), f"{self.NEW} trixie\n")

    def test_a_fetch_that_fails_silently_leaves_the_older(self):
        """The disk was full: fetching failed, and its log stayed empty, with which the reason was
        empty. That was taken for success: the tree that was there was removed, and what there was
        of the other marked complete. Fixed: the status counts; an empty reason names the log."""
        self.assertEqual(self.get("fetch_deb() { return 1; }; "), [f"no: see {self.log}"])
        self.old_tree()
        self.assertEqual(self.get("fetch_deb() { return 1; }; "),
                         [f"using {self.OLD}, which is here already: see {self.log}",
                          f"linux-headers-{self.OLD}"])
        self.assertTrue(self.has_old_tree())

    def test_what_cannot_be_adapted_leaves_the_older(self):
        for name in ("sed", "ln"):
            with self.subTest(name):
                self.write("bin/" + name, "#!/bin/sh\nexit 1\n")
                fetch = self.FETCH.replace("ln -s", "/bin/ln -s")
                self.assertEqual(self.get(fetch), [f"no: cannot write to {self.tree}.new"])
                self.old_tree()
                self.assertEqual(self.get(fetch)[1], f"linux-headers-{self.OLD}")
                self.assertTrue(self.has_old_tree())
                shutil.rmtree(self.tree)
                os.unlink(os.path.join(self.top, "bin", name))

    def test_what_is_there_already_after_an_interrupt(self):
        """All packages were fetched again. Fixed: those that are missing, if it is the same kernel."""
        names = [f"linux-headers-{self.NEW}", "linux-headers-6.12.107+deb13-common",
                 "linux-kbuild-6.12.107+deb13"]
        for release, fetched in ((names[0] + " 1", names[1:]), (names[0] + " 0", names)):
            shutil.rmtree(self.tree, ignore_errors=True)
            os.makedirs(self.tree + ".new")
            with open(self.tree + ".new/fetched", "w", encoding="utf-8") as f:
                f.write(f"{release}\n{names[0]}\n")
            lines = self.get(self.FETCH.replace("{", '{ echo "$3" >>"$kernel_cache/asked";', 1))
            self.assertEqual(lines, [names[0]])
            with open(os.path.join(self.cache, "asked"), encoding="utf-8") as f:
                self.assertEqual(f.read().split(), fetched)
            os.unlink(f.name)
            self.assertNotIn("fetched", os.listdir(self.tree))

    def test_what_words_mean_is_noted_by_several_at_once(self):
        """Two runs, each with other words, wrote the same temporary file: lines were lost or cut,
        and one run complained that it could not move the file. Fixed: one after the other."""
        status, out, err = self.with_lib(
            f'for i in 1 2 3 4 5 6; do (. "{ROOT}/kernel/lib.sh"; '
            'for j in 1 2 3; do record "$i.$j" release suite; done; record $i.2 again suite) & '
            'done; wait; cat "$kernel_cache/resolved"')
        self.assertEqual((status, err), (0, ""))
        self.assertEqual([line.rsplit(" ", 1)[0] for line in out.splitlines()],
                         [f"{i}.{j} {'again' if j == 2 else 'release'} suite"
                          for i in range(1, 7) for j in range(1, 4)])
        self.assertEqual([name for name in os.listdir(self.cache) if name.startswith("resolved")
                          and name != "resolved.lock"], ["resolved"])

    def test_who_is_waited_for_is_named(self):
        """Two runs, the second waits, and one could not see for whom, to end it. Fixed: the lock
        has the number of the process that holds it."""
        os.makedirs(os.path.dirname(self.tree))
        lock = self.tree + ".lock"
        with subprocess.Popen(
                ["bash", "-c", 'exec 5>>"$0"; flock 5; echo 4711 >"$0"; echo held; read x', lock],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
            self.assertEqual(p.stdout.readline(), "held\n")
            timer = threading.Timer(30, p.kill)
            timer.start()
            self.addCleanup(timer.cancel)
            with subprocess.Popen(
                    ["bash", "-c", f'. "{ROOT}/kernel/lib.sh"; {self.FETCH} echo $$; '
                     'get_kernel 6.12; echo "$release"; cat "$kernel_tree.lock"'], env=self.env,
                    stdout=subprocess.PIPE, text=True) as q:
                pid = q.stdout.readline()
                self.assertEqual(q.stdout.readline(),
                                 f"waiting for process 4711, which has {lock}\n")
                p.communicate("\n")
                out = q.communicate()[0]
        self.assertEqual(out.splitlines()[-2:], [self.NEW, pid.strip()])

    def test_an_interrupt_between_the_old_tree_and_the_new_one(self):
        self.old_tree()
        os.rename(self.tree, self.tree + ".old")
        self.assertEqual(self.get("fetch_deb() { return 1; }; ")[1], f"linux-headers-{self.OLD}")
        self.assertTrue(self.has_old_tree())

    def test_a_full_disk_is_the_reason(self):
        """With a full disk, a log has no last line, or any. Fixed: df is asked."""
        self.assertEqual(
            self.get("fetch_deb() { echo tar: x: Cannot write: No space left on device; echo y; "
                     "return 1; }; "), ["no: tar: x: Cannot write: No space left on device"])
        self.write("bin/df", "#!/bin/sh\necho Filesystem 1024-blocks Used Available\n"
                             "echo /dev/vda 9999999 9999000 999\n")
        self.assertEqual(self.get("fetch_deb() { echo something; return 1; }; "),
                         [f"no: no space left in {self.cache}"])

    def test_a_full_disk_is_why_a_fixture_does_not_compile(self):
        self.write("bin/df", "#!/bin/sh\necho Filesystem 1024-blocks Used Available\n"
                             "echo /dev/vda 9999999 9999999 0\n")
        for name in ("gcc", "gcc-12"):
            self.write("bin/" + name, "#!/bin/sh\nexit 1\n")
        self.write("bin/apt-get", "#!/bin/sh\nexit 1\n")
        status, out, _ = self.bash(os.path.join(ROOT, "kernel/tiers/compile.sh"), "6.1")
        self.assertEqual(status, 1)
        self.assertRegex(out, rf"(?m)^FAIL: compile 6.18: .*: no space left in {self.cache}$")
        self.assertIn(f"SKIP: compile 6.1: no space left in {self.cache}\n", out)


class Boot(WithDirectory):
    END = "[    4.9] bpf_stream| end\r\n"

    def boot(self, text, seconds="9"):
        self.write("bin/qemu-system-x86_64", f"#!/bin/bash\ncat <<'E'\n{text}\nE\n" +
                   ("sleep 30\n" if seconds == "1" else ""))
        log = os.path.join(self.top, "log")
        status, out, err = self.with_lib(
            'boot image initramfs "$1" "$2"; s=$?; echo "$verdict: $reason"; exit $s', log, seconds)
        self.assertEqual(err, "")
        self.assertEqual(status == 0, out.startswith("clean: "))
        return out.strip()

    def test_clean(self):
        self.assertEqual(self.boot("[    1.0] bpf_stream| ok a: b\r\n" + self.END), "clean:")
        _, out, _ = self.with_lib('results "$1"', os.path.join(self.top, "log"))
        self.assertEqual(out, "ok a: b\nend\n")

    def test_complaints(self):
        for verdict, line in (
                ("panic", "Kernel panic - not syncing: Attempted to kill init!"),
                ("oops", "BUG: kernel NULL pointer dereference, address: 0"),
                ("oops", "kernel BUG at /a/b.c:9!"),
                ("oops", "BUG: sleeping function called from invalid context at a.c:1"),
                ("oops", "BUG: KASAN: slab-use-after-free in f+0x1/0x2"),
                ("oops", "Oops: general protection fault, probably for non-canonical address"),
                ("warning", "WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2"),
                ("warning", "WARNING: possible circular locking dependency detected"),
                ("warning", "INFO: possible recursive locking detected"),
                ("warning", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"),
                ("oops", "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [a:1]"),
                ("warning", "Call Trace:")):
            with self.subTest(line):
                said = self.boot(f"[    1.0] {line}\r\n{self.END}")
                self.assertEqual(said, f"{verdict}: [    1.0] {line}")

    def test_the_first_complaint_counts(self):
        self.assertEqual(self.boot("[    1.0] WARNING: a\r\n[    2.0] Kernel panic - b\r"),
                         "warning: [    1.0] WARNING: a")

    def test_once_more_if_qemu_is_to_blame(self):
        self.boot("[    1.0] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\r")
        logs = [os.path.join(self.top, "log" + end) for end in ("", ".1", ".2", ".3")]
        self.assertTrue(all(map(os.path.exists, logs)))
        for log in logs:
            os.unlink(log)
        self.boot("[    1.0] Oops: 0000 [#1] PREEMPT SMP NOPTI\r")
        self.assertEqual([os.path.exists(log) for log in logs], [True, False, False, False])

    def test_hang(self):
        self.assertEqual(self.boot("[    1.0] bpf_stream| begin a\r\n", "1"),
                         "hang: no end within 1 s; begin a")

    def test_ended_early(self):
        self.assertEqual(self.boot("[    1.0] something"), "ended early: [    1.0] something")


class Run(WithDirectory):
    def setUp(self):
        super().setUp()
        self.script = os.path.join(self.top, "kernel/run.sh")
        os.makedirs(os.path.dirname(self.script))
        for name in ("run.sh", "lib.sh"):
            shutil.copy(os.path.join(ROOT, "kernel", name), os.path.dirname(self.script))

    def tier(self, name, text):
        text = re.sub(r"(?m)(echo \d+ passed.*)$", r'\1 >"$kernel_sum"', text)
        self.write(f"kernel/tiers/{name}.sh", "#!/bin/bash\n" + text)

    def last(self, *args):
        status, out, _ = self.bash(self.script, *args)
        return status, out.splitlines()[-1], out

    def test_adds_up(self):
        self.tier("compile", "echo compile $*; echo ok: a\necho 1 passed, 0 failed, 0 skipped\n")
        self.tier("module", "echo SKIP: b: c\necho 0 passed, 0 failed, 1 skipped\nexit 77\n")
        status, line, out = self.last()
        self.assertEqual((status, line), (0, "1 passed, 0 failed, 1 skipped"))
        self.assertEqual(out.count("passed,"), 1)
        self.assertEqual(self.last("module")[:2], (77, "0 passed, 0 failed, 1 skipped"))
        self.assertIn("compile 6.1\n", self.last("compile", "6.1")[2])

    def test_each_tier_gets_the_words_that_it_knows(self):
        for name in ("compile", "module", "dropin"):
            self.tier(name, f"echo ={name} $*=\necho 1 passed, 0 failed, 0 skipped\n")
        _, _, out = self.last("compile", "module", "dropin", "debug", "rt", "7.3", "seconds=12",
                              "nmis=200000")
        self.assertEqual([line for line in out.splitlines() if line.endswith("=") and
                          line != "=="],
                         ["=compile rt=", "=module rt seconds=12 nmis=200000=", "=dropin 7.3=",
                          "=dropin debug 7.3="])

    def test_a_tier_that_fails(self):
        self.tier("module", "echo FAIL: b: c\necho 3 passed, 2 failed, 1 skipped\nexit 1\n")
        self.assertEqual(self.last("module")[:2], (1, "3 passed, 2 failed, 1 skipped"))
        self.tier("module", "echo ok: a\n")
        self.assertEqual(self.last("module")[:2], (1, "0 passed, 1 failed, 0 skipped"))
        self.tier("module", "echo 3 passed, 0 failed, 1 skipped\nexit 3\n")
        self.assertEqual(self.last("module")[:2], (1, "3 passed, 1 failed, 1 skipped"))

    def test_lines_come_at_once_and_an_interrupt_ends_all(self):
        self.tier("module", f'. "{self.top}/kernel/lib.sh"\nmake_temporary "{self.top}"\n'
                            f'echo $$; step a "a step" sleep 987\nok no\nfinish\n')
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(how):
                master, slave = pty.openpty()
                p = subprocess.Popen(["bash", self.script, "module"], stdin=subprocess.DEVNULL,
                                     stdout=slave, stderr=slave, env=self.env,
                                     start_new_session=True, preexec_fn=lambda s=how:
                                     signal.signal(s, signal.SIG_DFL))
                os.close(slave)
                out = ""
                while "a step ... " not in out:
                    out += os.read(master, 1000).decode()
                tier = int(re.search(r"(?m)^(\d+)\r$", out).group(1))
                self.assertTrue([n for n in os.listdir(self.top) if len(n) == 6 and n != "kernel"])
                p.send_signal(how)
                self.assertEqual(p.wait(timeout=30), 130)
                out = os.read(master, 1000).decode()
                os.close(master)
                self.assertEqual(out.count("interrupted"), 1)
                with self.assertRaises(ProcessLookupError):
                    os.killpg(tier, 0)
                self.assertEqual(sorted(os.listdir(self.top)), ["bin", "kernel"])

    def test_a_signal_while_a_tier_is_being_started(self):
        """Before its number was noted, nobody ended the tier, and QEMU in it. Fixed: bash knows it."""
        mark = os.path.join(self.top, "mark")
        ready = os.path.join(self.top, "ready")
        self.tier("module", f"trap ': >\"{mark}\"; exit 1' TERM\n: >\"{ready}\"\n"
                            "for ((i = 0; i < 300; i++)); do sleep 0.1; done\n")
        self.env["BASH_ENV"] = self.write(
            "env", "trap '[ \"$BASH_COMMAND\" != \"child=\\$!\" ] || "
                   f"{{ for i in {{1..300}}; do [ ! -e \"{ready}\" ] || break; sleep 0.1; done; "
                   "kill -TERM $$; }' DEBUG\n")
        status, out, _ = self.bash(self.script, "module")
        self.assertEqual((status, out.splitlines()[-1]), (130, "interrupted"))
        self.assertTrue(os.path.exists(mark))

    def test_a_terminal_with_tostop(self):
        """After `stty tostop` a tier was stopped by its first line, and run.sh waited for ever."""
        self.tier("module", "echo ok: a\necho 1 passed, 0 failed, 0 skipped\n")
        master, slave = pty.openpty()
        mode = termios.tcgetattr(slave)
        mode[3] |= termios.TOSTOP
        termios.tcsetattr(slave, termios.TCSANOW, mode)
        p = subprocess.Popen(["bash", self.script, "module"], stdin=subprocess.DEVNULL,
                             stdout=slave, stderr=slave, env=self.env, start_new_session=True,
                             preexec_fn=lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0))
        try:
            self.assertEqual(p.wait(timeout=30), 0)
        finally:
            p.kill()
            os.close(slave)
            os.close(master)

    def test_the_cache_is_checked_once(self):
        for name in ("compile", "module"):
            self.tier(name, "echo 1 passed, 0 failed, 0 skipped\n")
        del self.env["XDG_CACHE_HOME"]
        for home, why in (("", "neither XDG_CACHE_HOME nor HOME"), ("/proc/x", "cannot write to")):
            self.env["HOME"] = home
            status, out, err = self.bash(self.script)
            self.assertEqual((status, out, err.count("\n")), (1, "", 1))
            self.assertIn(why, err)

    def test_help(self):
        status, out, err = self.bash(self.script, "module", "--help")
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(out.startswith("usage: "))

    def test_debug_is_the_drop_in_once_more(self):
        self.tier("dropin", "echo =$*=\necho 1 passed, 0 failed, 0 skipped\n")
        self.assertIn("\n=debug=\n", self.last("debug")[2])

    def test_usage(self):
        for args in (["nope"], ["seconds="], ["seconds=0"], ["nmis=x"], ["module", "7"],
                     ["compile", "7.2"], ["compile", "seconds=3"], ["dropin", "6.1"],
                     ["debug", "rt"], ["dropin", "debug", "seconds=3"]):
            with self.subTest(args):
                status, out, err = self.bash(self.script, *args)
                self.assertEqual((status, out), (2, ""))
                self.assertIn("unknown argument '" + args[-1] + "'", err)

    def test_a_word_of_another_tier(self):
        """./dev test kernel compile 7.2 did not say which tiers know 7.2."""
        for args, others in ((["compile", "7.2"], "it is for: dropin debug; "), (["nope"], ""),
                             (["dropin", "rt"], "it is for: compile module; "),
                             (["debug", "compile", "nmis=9"], "it is for: module; ")):
            _, _, err = self.bash(self.script, *args)
            self.assertTrue(err.endswith(f"; {others}see ./dev help\n"), err)

    def test_tiers_by_themselves(self):
        """module.sh frob was a kernel that could not be found: skipped, with 77; --help as well."""
        self.env["XDG_CACHE_HOME"] = "/proc/x"      # nothing is begun
        for tier, args in (("compile", ["frob"]), ("compile", ["6.1", "seconds=1"]),
                           ("module", ["frob"]), ("module", ["seconds=0"]), ("module", ["7.2"]),
                           ("module", ["nmis="]), ("dropin", ["6.1"]), ("dropin", ["7.2", "x"])):
            script = os.path.join(ROOT, f"kernel/tiers/{tier}.sh")
            status, out, err = self.bash(script, *args)
            self.assertEqual((status, out), (2, ""))
            self.assertRegex(err, rf"^{tier}\.sh: unknown argument '{args[-1]}'; usage: ")
            for word in "--help", "-h":
                status, out, err = self.bash(script, word)
                self.assertEqual((status, err), (0, ""))
                self.assertTrue(out.startswith(f"usage: {tier}.sh "), out)


class Install(WithDirectory):
    """kernel/dropin/install.sh, with a tree that has only what it looks at."""

    def setUp(self):
        super().setUp()
        self.tree = os.path.join(self.top, "linux")
        self.write("linux/Kconfig", "")
        self.write("linux/kernel/bpf/stream.c", "the original")
        self.write("linux/include/linux/bpf.h", "struct bpf_stream_stage {\n};\n")
        self.version(7, 2)

    def version(self, major, minor):
        self.write("linux/Makefile", f"VERSION = {major}\nPATCHLEVEL = {minor}\n")

    def install(self, *args):
        return self.bash(os.path.join(ROOT, "kernel/dropin/install.sh"), *args, self.tree)

    def files(self):
        return sorted(os.listdir(os.path.join(self.tree, "kernel/bpf")))

    def test_in_and_out_again(self):
        status, _, err = self.install()
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(self.files(), ["bpf_stream.h", "stream.c", "stream.c.kernel"])
        self.assertEqual(self.install()[0], 1)
        self.assertEqual(self.install("--remove")[0], 0)
        self.assertEqual(self.files(), ["stream.c"])
        with open(os.path.join(self.tree, "kernel/bpf/stream.c"), encoding="utf-8") as f:
            self.assertEqual(f.read(), "the original")
        self.assertEqual(self.install("--remove")[0], 1)

    def test_the_original_survives_distclean(self):
        """make distclean removes *.orig, which was the original's name: it was lost, and --remove
        refused. The patterns are those of Linux's Makefile, in clean and distclean."""
        self.assertEqual(self.install()[0], 0)
        for pattern in ("*.[aios]", "*.rsi", "*.ko", ".*.cmd", "*.dtb", "*.dtbo", "*.dwo", "*.lst",
                        "*.su", "*.mod", "*.usyms", ".*.d", ".*.tmp", "*.mod.c", "*.lex.c",
                        "*.tab.[ch]", "*.asn1.[ch]", "*.symtypes", "modules.order", "*.c.[012]*.*",
                        "*.ll", "*.gcno", "*.orig", "*.rej", "*~", "*.bak", "#*#", "*%", "core",
                        "tags", "TAGS", "cscope*", "GPATH", "GRTAGS", "GSYMS", "GTAGS"):
            self.assertEqual(fnmatch.filter(self.files(), pattern), [], pattern)

    def test_what_fails_leaves_nothing(self):
        """The disk was full: stream.c.orig and bpf_stream.h.new stayed, and because of them both
        ways were refused. Fixed: what was made is removed."""
        self.write("bin/ln", "#!/bin/sh\nexit 1\n")
        for name in ("bpf_stream.h", "stream.c", "-pP"):
            with self.subTest(name):
                self.write("bin/cp", f"#!/bin/bash\ncase $1 in\n*{name})\n"
                                     "\techo half >\"${@: -1}\"\n\techo full >&2\n\texit 1\n\t;;\n"
                                     f"esac\nexec {shutil.which('cp')} \"$@\"\n")
                status, _, err = self.install()
                self.assertEqual((status, self.files()), (1, ["stream.c"]))
                self.assertRegex(err, r"\Afull\ninstall.sh: cannot write ")
                with open(os.path.join(self.tree, "kernel/bpf/stream.c"), encoding="utf-8") as f:
                    self.assertEqual(f.read(), "the original")
        self.write("bin/cp", f"#!/bin/sh\nexec {shutil.which('cp')} \"$@\"\n")
        self.assertEqual(self.install()[0], 0)
        before = self.files()
        self.write("bin/mv", f'#!/bin/sh\n{shutil.which("mv")} "$@"\nkill -TERM $PPID\n')
        self.assertEqual((self.install("--remove")[0], self.files()), (1, ["stream.c"]))
        os.unlink(os.path.join(self.top, "bin/mv"))
        self.assertEqual(self.install()[0], 0)
        self.write("bin/cp", '#!/bin/sh\necho half >"$2"\nexit 1\n')
        self.assertEqual((self.install("--remove")[0], self.files()), (1, before))
        os.unlink(os.path.join(self.top, "bin/cp"))
        self.assertEqual((self.install("--remove")[0], self.files()), (0, ["stream.c"]))

    def test_a_removal_that_fails_is_told__and_done_all_the_same(self):
        """What rm said was not looked at: `taken out`, and two files stayed, because of which both
        ways were refused. Fixed: it fails, and tries once more."""
        self.assertEqual(self.install()[0], 0)
        once = os.path.join(self.top, "once")
        self.write("bin/rm", f'#!/bin/sh\n[ -e "{once}" ] || {{ : >"{once}"; exit 1; }}\n'
                             f'exec {shutil.which("rm")} "$@"\n')
        status, out, err = self.install("--remove")
        self.assertEqual((status, out, self.files()), (1, "", ["stream.c"]))
        self.assertTrue(err.startswith("install.sh: cannot remove "), err)

    def test_one_at_a_time(self):
        """Of two at once, the second wrote the drop-in into the original, and into the file of each
        tree that shared it."""
        bpf = os.open(os.path.join(self.tree, "kernel/bpf"), os.O_RDONLY)
        self.addCleanup(os.close, bpf)
        fcntl.flock(bpf, fcntl.LOCK_EX)
        for action in ([], ["--remove"]):
            self.assertEqual(self.install(*action), (
                1, "", f"install.sh: another install.sh is at work in {self.tree}\n"))
        self.write("bin/flock", "#!/bin/sh\nexit 127\n")
        self.assertIn("needs flock", self.install()[2])
        os.unlink(os.path.join(self.top, "bin/flock"))
        self.assertEqual(self.files(), ["stream.c"])
        fcntl.flock(bpf, fcntl.LOCK_UN)
        self.assertEqual(self.install()[0], 0)

    def test_edits_are_dropped_with_force_only(self):
        """Who had debugged in the tree, and removed the drop-in, lost the edits without a word."""
        for name in ("stream.c", "bpf_stream.h"):
            with self.subTest(name):
                path = os.path.join(self.tree, "kernel/bpf", name)
                self.assertEqual(self.install()[0], 0)
                with open(path, "a", encoding="utf-8") as f:
                    f.write("/* edited */\n")
                status, _, err = self.install("--remove")
                self.assertEqual((status, len(self.files())), (1, 3))
                self.assertTrue(err.startswith(f"install.sh: {path} is not "), err)
                self.assertIn("--remove --force", err)
                self.assertEqual(self.install("--remove", "--force")[0], 0)
                self.assertEqual(self.files(), ["stream.c"])
        self.assertEqual(self.install("--force")[0], 2)

    def test_names_of_trees(self):
        script = os.path.join(ROOT, "kernel/dropin/install.sh")
        for args in ([""], ["--remove", ""], [], ["a", "b"]):
            self.assertEqual(self.bash(script, *args), (
                2, "", "install.sh: one source tree is needed; see install.sh --help\n"))
        for name in "/", "//":
            self.assertEqual(self.bash(script, name),
                             (1, "", "install.sh: / is not a Linux source tree\n"))
        self.assertEqual(self.bash(script, self.tree + "//")[:2],
                         (0, f"installed in {self.tree}, Linux 7.2; build as usual\n"))

    def test_files_that_are_not_of_an_installation_are_left_alone(self):
        bpf = os.path.join(self.tree, "kernel/bpf")
        for stray in (["stream.c.kernel"], ["bpf_stream.h"], ["stream.c.kernel", "bpf_stream.h"]):
            with self.subTest(stray):
                for name in stray:
                    self.write("linux/kernel/bpf/" + name, "something else")
                for action in ([], ["--remove"]):
                    status, _, err = self.install(*action)
                    self.assertEqual((status, self.files()), (1, sorted(stray + ["stream.c"])))
                    for name in stray:
                        self.assertIn(f"{bpf}/{name}", err)
                    with open(os.path.join(bpf, "stream.c"), encoding="utf-8") as f:
                        self.assertEqual(f.read(), "the original")
                for name in stray:
                    os.unlink(os.path.join(bpf, name))

    def test_an_installation_that_lacks_a_file(self):
        """Without bpf_stream.h there was no way back, with the original at hand."""
        bpf = os.path.join(self.tree, "kernel/bpf")
        for lost in ("stream.c.kernel", "bpf_stream.h"):
            with self.subTest(lost):
                self.write("linux/kernel/bpf/stream.c", "the original")
                self.assertEqual(self.install()[0], 0)
                os.unlink(os.path.join(bpf, lost))
                left = self.files()
                for action in ([], ["--remove"]):
                    status, _, err = self.install(*action)
                    self.assertEqual((status, self.files()), (1, left))
                    self.assertIn(f"is the drop-in, but there is no {bpf}/{lost};", err)
                if lost == "bpf_stream.h":
                    self.assertIn("--remove --force", err)
                    self.assertEqual(self.install("--remove", "--force")[0], 0)
                    self.assertEqual(self.files(), ["stream.c"])
                for name in self.files():
                    os.unlink(os.path.join(bpf, name))

    def test_files_of_the_tree_s_owner(self):
        """A symbolic link came back as a file that all may write, and two files were overwritten."""
        bpf = os.path.join(self.tree, "kernel/bpf")
        os.rename(f"{bpf}/stream.c", f"{self.top}/real.c")
        os.symlink(f"{self.top}/real.c", f"{bpf}/stream.c")
        for name in "stream.c.new", "bpf_stream.h.new":
            self.write("linux/kernel/bpf/" + name, name)
        before = self.files()
        for _ in range(2):
            self.assertEqual(self.install()[0], 0)
            self.assertEqual(self.install("--remove")[0], 0)
            self.assertEqual(self.files(), before)
            self.assertEqual(os.readlink(f"{bpf}/stream.c"), f"{self.top}/real.c")
            self.write("bin/ln", "#!/bin/sh\nexit 1\n")
        for name in "stream.c.new", "bpf_stream.h.new":
            with open(f"{bpf}/{name}", encoding="utf-8") as f:
                self.assertEqual(f.read(), name)

    @unittest.skipUnless(os.geteuid() == 0, "only root can")
    def test_root_in_the_tree_of_another(self):
        bpf = os.path.join(self.tree, "kernel/bpf")
        path = os.path.join(bpf, "stream.c")
        os.chown(bpf, 65534, 65534)
        os.chown(path, 1234, 1234)
        self.assertEqual(self.install()[0], 0)
        self.assertEqual(os.stat(path).st_uid, 65534)
        self.assertEqual(self.install("--remove")[0], 0)
        self.assertEqual(os.stat(path).st_uid, 1234)

    def test_a_tree_that_got_another_version_s_file(self):
        self.assertEqual(self.install()[0], 0)
        self.write("linux/kernel/bpf/stream.c", "of 7.3")
        self.assertEqual(self.install("--remove")[0], 1)
        with open(os.path.join(self.tree, "kernel/bpf/stream.c"), encoding="utf-8") as f:
            self.assertEqual(f.read(), "of 7.3")

    def test_versions(self):
        for version, why in (((7, 4), "file descriptor"), ((7, 5), "not known"),
                             ((6, 12), "not known")):
            self.version(*version)
            status, _, err = self.install()
            self.assertEqual((status, self.files()), (1, ["stream.c"]))
            self.assertIn(why, err)
        self.version(6, 18)
        status, _, err = self.install()
        self.assertEqual(status, 0)
        self.assertIn("nothing was ever booted on Linux 6.18", err)

    def test_no_streams_no_tree(self):
        self.write("linux/include/linux/bpf.h", "")
        self.assertIn("no BPF streams", self.install()[2])
        os.unlink(os.path.join(self.tree, "Kconfig"))
        status, _, err = self.install()
        self.assertEqual(status, 1)
        self.assertIn("not a Linux source tree", err)


class OwnKernels(WithDirectory):
    """What the tiers of our own kernels believe: kernel/selftests.sh."""

    def with_own(self, text, *args, **how):
        return self.with_lib(f'. "{ROOT}/kernel/own.sh"; . "{ROOT}/kernel/selftests.sh"; ' + text,
                             *args, **how)

    def complete(self, *lines):
        text = "".join(f"[    1.0] bpf_stream| {line}\r\n" for line in lines)
        _, out, err = self.with_own('series=7.2 log=$1; complete dropin defect 2 0; echo $failed',
                                    self.write("log", text))
        self.assertEqual(err, "")
        return out.splitlines()

    def test_everything_is_there(self):
        self.assertEqual(self.complete("ok defect 1: a", "FAIL defect 2: b: c", "ok nmi: d",
                                       "status defect 0", "status nmi 1"), ["0"])

    def test_something_is_missing(self):
        self.assertIn("1 results, not 2", self.complete("ok defect 1: a", "status defect 0")[0])
        self.assertIn("3 results, not 2", self.complete(*["ok defect 1: a"] * 3,
                                                        "status defect 0")[0])
        self.assertIn("status ''", self.complete(*["ok defect 1: a"] * 2)[0])
        self.assertIn("status '139'", self.complete(*["ok defect 1: a"] * 2,
                                                    "status defect 139")[0])
        self.assertIn("status '0 1'", self.complete(*["ok defect 1: a"] * 2, "status defect 0",
                                                    "status defect 1")[0])

    def test_what_does_not_boot_leaves_nothing_of_before(self):
        self.write("bin/cpio", "#!/bin/sh\nexit 1\n")
        self.write("bin/busybox", "")
        os.makedirs(os.path.join(self.cache, "log"))
        with open(os.path.join(self.cache, "log/boot-7.2-dropin.log"), "w", encoding="utf-8") as f:
            f.write("[    1.0] bpf_stream| ok defect 1: a\r\n")
        status, out, err = self.with_own(
            'mkdir -p "$own"; verdict=clean; boot_own 7.2 dropin 9 :; s=$?; '
            'echo "$verdict: $reason"; results "$log"; exit $s')
        self.assertEqual((status, err), (1, ""))
        self.assertRegex(out, r"\Anot booted: cannot write .*initramfs.gz\n\Z")


    def test_what_cannot_be_written_is_the_reason(self):
        """The reason was empty, and the log shown that of an earlier step."""
        status, out, err = self.with_own(
            'own=/proc/x; build_tools 7.2 2>/dev/null || echo "$reason"')
        self.assertEqual((status, out, err), (0, "cannot write to /proc/x/tools-7.2\n", ""))

    def source(self, version):
        for name, text in (("Makefile", "VERSION = 7\nPATCHLEVEL = 2\n"), ("Kconfig", ""),
                           ("include/linux/bpf.h", "struct bpf_stream_stage {\n};\n"),
                           ("kernel/bpf/stream.c", "the original"), ("kernel/bpf/Makefile", "")):
            self.write(f"../cache/bpf_stream/kernel/own/source-7.2/{name}", text)
        self.write("../cache/bpf_stream/kernel/own/source-7.2.version", version + "\n")
        return os.path.join(self.cache, "own")

    def test_a_tree_that_was_linked_in_part(self):
        """An interrupt, or a full disk, while a tree was linked: that part of it was built from then
        on. Fixed: it gets its name when it is whole."""
        own = self.source("7.2.5-1")
        self.write("bin/cp", f'#!/bin/sh\n{shutil.which("cp")} "$@"\nexit 1\n')
        self.assertEqual(self.with_own("link_tree 7.2")[0], 1)
        self.assertFalse(os.path.exists(f"{own}/tree-7.2"))
        os.unlink(os.path.join(self.top, "bin/cp"))
        self.assertEqual(self.with_own("link_tree 7.2"), (0, "", ""))
        self.assertEqual(sorted(os.listdir(f"{own}/tree-7.2")),
                         ["Kconfig", "Makefile", "include", "kernel"])

    def test_parts_after_an_interrupt(self):
        """What was left of a tree in which the drop-in was being installed made install.sh refuse,
        for good. Fixed: it is removed first."""
        own = self.source("7.2.5-1")
        self.write("../cache/bpf_stream/kernel/own/parts.tree/kernel/bpf/stream.c.kernel", "")
        self.assertEqual(self.with_own('make_parts "$own/parts" 7.2 dropin'), (0, "", ""))
        self.assertIn("bpf_stream.h", os.listdir(f"{own}/parts"))

    def test_an_older_source_does_not_replace_a_newer_one(self):
        """With the list of one suite out of reach, the other's older source replaced what was there,
        and all that was built of it."""
        own = self.source("7.2.5-1")
        os.utime(f"{own}/source-7.2.version", (0, 0))
        status, out, err = self.with_own(
            'fetch_deb() { case $* in "--list sid "*) return 1 ;; --list*) echo x 7.2.1-1~bpo ;; '
            '*) touch "$own/fetched" ;; esac; }; get_source 7.2; echo "$? $own_version"')
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out.splitlines()[-2:],
                         ["using linux-source-7.2 7.2.5-1, which is here already: trixie-backports "
                          "has 7.2.1-1~bpo", "0 7.2.5-1"])
        self.assertTrue(os.path.exists(f"{own}/source-7.2/Kconfig"))
        self.assertFalse(os.path.exists(f"{own}/fetched"))
        # It is looked up again the next time.
        self.assertEqual(os.stat(f"{own}/source-7.2.version").st_mtime, 0)

    def test_a_configuration_that_was_cut_short(self):
        """What was configured before, and begun to be replaced, was taken for what it had been."""
        build = os.path.join(self.cache, "own/build-7.2-tiny")
        os.makedirs(build)
        self.write("../cache/bpf_stream/kernel/own/build-7.2-tiny/fragments", "as before")
        self.assertNotEqual(self.with_own('own_make() { return 1; }; '
                                          'configure_own 7.2 tiny /dev/null')[0], 0)
        self.assertEqual(os.listdir(build), [])

    def test_configuring_writes_nothing_into_this_tree(self):
        """merge_config.sh of 7.2 makes a file where it is called: in this tree, which may belong to
        another user; then it failed, after all had been fetched."""
        self.write("../cache/bpf_stream/kernel/own/tree-7.2/scripts/kconfig/merge_config.sh",
                   "#!/bin/sh\npwd\n")
        status, out, _ = self.with_own(
            'own_make() { :; }; configure_own 7.2 tiny /dev/null', cwd=self.top)
        self.assertEqual((status, out), (0, os.path.join(self.cache, "own/build-7.2-tiny\n")))

    def test_debug_of_each_kernel_that_is_named(self):
        """debug 7.2 7.3 ran 7.3 only, without a word."""
        self.write("bin/apt-get", "#!/bin/sh\nexit 1\n")
        for words, series in (([], ["7.3"]), (["7.2"], ["7.2"]), (["7.2", "7.3"], ["7.2", "7.3"])):
            status, out, err = self.bash(os.path.join(ROOT, "kernel/tiers/dropin.sh"), "debug",
                                         *words)
            self.assertEqual((status, err), (77, ""))
            self.assertEqual(re.findall(r"(?m)^SKIP: (7\..) stock: fetch_deb: ", out), series)


class ContinuousIntegration(WithDirectory):
    def run_it(self, text):
        script = os.path.join(self.top, ".ci/run")
        os.makedirs(os.path.dirname(script), exist_ok=True)
        shutil.copy(os.path.join(ROOT, ".ci/run"), script)
        self.write("dev", "#!/bin/bash\n" + text)
        status, out, _ = self.bash(script)
        return status, out

    def test_one_sum(self):
        status, out = self.run_it('echo "ran $*"\necho 2 passed, 0 failed, 1 skipped\n')
        self.assertEqual(status, 0)
        self.assertEqual(out, "ran test\nran test kernel compile module 6.1 newest\n\n"
                              "4 passed, 0 failed, 2 skipped\n")

    def test_what_ends_without_a_sum_failed(self):
        status, out = self.run_it("[ $# -gt 1 ] || echo 2 passed, 0 failed, 1 skipped\nexit $#\n")
        self.assertEqual(status, 1)
        self.assertTrue(out.endswith("\n2 passed, 2 failed, 1 skipped\n"), out)


@unittest.skipUnless(shutil.which("gcc-12"), "no gcc-12")
class Compiler(WithDirectory):
    def setUp(self):
        super().setUp()
        self.script = os.path.join(self.top, "cc.sh")
        shutil.copy(os.path.join(ROOT, "kernel/cc.sh"), self.script)
        self.source = self.write("a.c", "int a;\n")

    def test_unknown_options_are_dropped_and_remembered(self):
        out = os.path.join(self.top, "a.o")
        for _ in range(2):
            self.assertEqual(self.bash(self.script, "-fnope=3", "-mnope", "-c", self.source, "-o",
                                       out), (0, "", ""))
            with open(os.path.join(self.top, "dropped"), encoding="utf-8") as f:
                self.assertEqual(f.read(), "-fnope=3\n-mnope\n")
            os.unlink(out)

    def test_not_in_trials(self):
        status, _, err = self.bash(self.script, "-fnope", "-c", "-x", "c", "/dev/null", "-o",
                                   os.path.join(self.top, "a.o"))
        self.assertEqual(status, 1)
        self.assertIn("-fnope", err)

    def test_errors_are_passed_on(self):
        status, _, err = self.bash(self.script, "-Werror", "-Wall", "-c",
                                   self.write("b.c", "static int b;\n"), "-o",
                                   os.path.join(self.top, "b.o"))
        self.assertEqual(status, 1)
        self.assertIn("unused", err)


if __name__ == "__main__":
    unittest.main()
