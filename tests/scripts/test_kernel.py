#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The scripts around the tests in kernels notice what goes wrong, and add up.

kernel/lib.sh gets made-up lists of packages, and a made-up QEMU that only prints; kernel/run.sh gets
made-up tiers, .ci/run a made-up ./dev, kernel/dropin/install.sh a made-up tree.

Seen to fail with: versions sorted as texts; images without headers taken; the newest series not
left out for previous; a kind of complaint not looked for; the end of the guest not waited for; a
tier or ./dev that ends without a sum not noticed; words passed to tiers that do not know them; 7.4
taken; a file not put in, or not taken out; the original written to; a file left by what failed;
missing results and the status of a guest's program that nobody looks at.
"""
import os
import subprocess
import tempfile
import unittest

END = "[    4.9] bpf_stream| end\r\n"
NAMES = ["bpf_stream.h", "bpf_stream_dropin.h", "stream.c", "stream.c.kernel"]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Kernel(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.top = os.path.join(temp.name, "my files")
        self.env = dict(os.environ, XDG_CACHE_HOME=f"{temp.name}/cache",
                        PATH=f"{self.top}/bin:{os.environ['PATH']}")
        # A kernel's tree, as far as install.sh looks at it.
        self.bpf = os.path.join(self.top, "linux/kernel/bpf")
        self.write("linux/kernel/bpf/stream.c", "the original")
        self.write("linux/include/linux/bpf.h", "struct bpf_stream_stage {\n};\n")
        self.write("linux/Makefile", "VERSION = 7\nPATCHLEVEL = 2\n")

    def write(self, name, text):
        path = os.path.join(self.top, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
        return path

    def bash(self, *args):
        p = subprocess.run(["bash", *args], capture_output=True, text=True, env=self.env, timeout=60)
        return p.returncode, p.stdout, p.stderr

    def with_lib(self, text, *args):
        return self.bash("-c", f'. "{ROOT}/kernel/lib.sh"; . "{ROOT}/kernel/own.sh"; '
                         f'. "{ROOT}/kernel/selftests.sh"; {text}', "-", *args)

    def test_words(self):
        for suite, releases in (
                ("sid", ("7.9.11+deb14-cloud", "7.10.1+deb14-cloud", "7.9.11+deb14-rt")),
                ("trixie-backports", ("7.9.4+deb13-cloud", "7.10.2+deb13-cloud", "7.10.2+deb13-rt")),
                ("bookworm", ("6.1.0-9-cloud", "6.1.0-50-cloud")), ("trixie", ())):
            self.write(f"../cache/bpf_stream/kernel/lists/{suite}",
                       "linux-image-8.0.1+deb13-cloud-amd64 1 a\n" + "".join(
                           f"linux-image-{release}-amd64 1 a\nlinux-headers-{release}-amd64 1 b\n"
                           for release in releases))
        for word, found in (("6.1", "6.1.0-50-cloud-amd64 bookworm"),
                            ("newest", "7.10.2+deb13-cloud-amd64 trixie-backports"),
                            ("previous", "7.9.11+deb14-cloud-amd64 sid"),
                            ("rt", "7.10.2+deb13-rt-amd64 trixie-backports"),
                            ("6.12", "no: trixie has no kernel 6.12")):
            self.assertEqual(self.with_lib('find_kernel "$1" && echo "$release $suite" || '
                                           'echo "no: $reason"', word), (0, found + "\n", ""))

    def boot(self, text, more=""):
        self.write("bin/qemu-system-x86_64", f"#!/bin/bash\ncat <<'E'\n{text}\nE\n{more}")
        status, out, _ = self.with_lib('boot image initramfs "$1" 1; s=$?; '
                                       'echo "$verdict: $reason"; exit $s', f"{self.top}/log")
        self.assertEqual(status == 0, out.startswith("clean: "))
        return out.strip()

    def test_boot__verdicts(self):
        self.assertEqual(self.boot("[ 1.0] bpf_stream| ok a: b\r\n" + END), "clean:")
        for verdict, line in (("panic", "Kernel panic - not syncing: Attempted to kill init!"),
                              ("oops", "BUG: KASAN: slab-use-after-free in f+0x1/0x2"),
                              ("oops", "Oops: general protection fault, probably for a"),
                              ("warning", "WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2"),
                              ("warning", "INFO: possible recursive locking detected")):
            self.assertEqual(self.boot(f"[ 1.0] {line}\r\n{END}"), f"{verdict}: [ 1.0] {line}")
        self.assertEqual(self.boot("[ 1.0] x\r"), "ended early: [ 1.0] x")
        self.assertEqual(self.boot("[ 1.0] bpf_stream| begin a\r", "sleep 30\n"),
                         "hang: no end within 1 s; begin a")

    def test_what_is_missing_is_a_failure(self):
        two = ("ok defect 1: a", "FAIL defect 2: b")
        for lines, said in (((*two, "status defect 0"), "0\n"), (two, "status ''"),
                            ((*two[:1], "status defect 0"), "1 results, not 2"),
                            ((*two, "status defect 9"), "status '9'")):
            log = self.write("log", "".join(f"[    1.0] bpf_stream| {line}\r\n" for line in lines))
            self.assertIn(said, self.with_lib(
                'series=7.2 log=$1; complete dropin defect 2 0; echo $failed', log)[1])

    def test_run__sums(self):
        for name in "kernel/run.sh", "kernel/lib.sh", ".ci/run":
            with open(f"{ROOT}/{name}", encoding="utf-8") as f:
                self.write(name, f.read())
        for tier in "compile", "module", "dropin":
            self.write(f"kernel/tiers/{tier}.sh",
                       f'echo "={tier} $*="; [ "$*" = rt ] || '
                       'echo 1 passed, 0 failed, 2 skipped >"$kernel_sum"; [[ $* != *=4 ]]')
        run = f"{self.top}/kernel/run.sh"
        status, out, err = self.bash(run, "module", "dropin", "debug", "seconds=9", "7.3")
        self.assertEqual((status, err), (0, ""))
        for line in "=module seconds=9=", "=dropin 7.3=", "=dropin debug 7.3=":
            self.assertIn(f"\n{line}\n", out)
        for args, status, last in ((["compile", "6.1"], 0, "1 passed, 0 failed, 2 skipped"),
                                   (["module", "nmis=4"], 1, "1 passed, 1 failed, 2 skipped"),
                                   (["module", "rt"], 1, "0 passed, 1 failed, 0 skipped")):
            got, out, _ = self.bash(run, *args)
            self.assertEqual((got, out.splitlines()[-1]), (status, last))
        for args, said in ((["nope"], "'nope' is no tier, kernel or option"),
                           (["seconds=0"], "'seconds=0': N is a number from 1 to 999999999"),
                           (["module", "7.2"], "'7.2' is nothing for module"),
                           (["compile", "seconds=3"], "'seconds=3' is nothing for compile")):
            self.assertEqual(self.bash(run, *args),
                             (2, "", f"kernel/run.sh: {said}; see ./dev help\n"))
        for text, last in (("echo 2 passed, 0 failed, 1 skipped", "4 passed, 0 failed, 2 skipped"),
                           ("exit 1", "0 passed, 2 failed, 0 skipped")):
            self.write("dev", "#!/bin/bash\n" + text)
            self.assertEqual(self.bash(f"{self.top}/.ci/run")[1].splitlines()[-1], last)

    def install(self, *args):
        return self.bash(f"{ROOT}/kernel/dropin/install.sh", *args, f"{self.top}/linux")

    def files(self):
        found = {}
        for name in sorted(os.listdir(self.bpf)):
            with open(os.path.join(self.bpf, name), "rb") as f:
                found[name] = f.read()
        return found

    def test_install__in_and_out_again(self):
        os.link(f"{self.bpf}/stream.c", f"{self.top}/another tree's")
        before = self.files()
        self.assertEqual(self.install()[::2], (0, ""))
        after = self.files()
        self.assertEqual(list(after), NAMES)
        self.assertEqual(after["stream.c.kernel"], b"the original")
        for name, source in (("bpf_stream.h", "include"), ("stream.c", "kernel/dropin"),
                             ("bpf_stream_dropin.h", "kernel/dropin")):
            with open(f"{ROOT}/{source}/{name}", "rb") as f:
                self.assertEqual(after[name], f.read())
        with open(f"{self.top}/another tree's", encoding="utf-8") as f:
            self.assertEqual(f.read(), "the original")
        self.assertIn("already", self.install()[2])
        self.assertEqual(self.install("--remove")[0], 0)
        self.assertEqual(self.files(), before)
        self.assertIn("it is not in", self.install("--remove")[2])

    def test_install__what_fails_leaves_nothing(self):
        for name in NAMES:
            self.write("bin/mv", f"#!/bin/bash\n[[ $2 != */{name} ]] && exec /bin/mv \"$@\"")
            self.assertIn("install.sh: cannot write ", self.install()[2])
            self.assertEqual(self.files(), {"stream.c": b"the original"})

    def test_install__refusals(self):
        self.write("linux/kernel/bpf/bpf_stream.h", "of somebody else")
        self.assertIn("move it away", self.install()[2])
        self.write("linux/Makefile", "VERSION = 7\nPATCHLEVEL = 4\n")
        self.assertIn("file descriptor", self.install()[2])
        self.assertEqual(list(self.files()), ["bpf_stream.h", "stream.c"])
        self.assertEqual(self.install("x")[0], 2)


if __name__ == "__main__":
    unittest.main()
