# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Libraries with streams, linked or opened, one or two in a process, built in many ways.

users.c is the program; it finds out whether all goes well, and whether each library has a pool of
its own or one serves both. Section [1] of the header says which ways are good:

- bodies as they are, or a private copy: always a pool for each, however much is inlined;
- exported ones (BPF_STREAM_EXPORT), in a file of their own: one serves both, if the loader sees
  both; the second one's knobs then count for nothing. Not tested, because forbidden: bodies that
  two libraries export, and that a compiler inlined. With Clang the second library then pushes into
  its own pool, and a drain by the first one's functions crashes.

musl: libraries linked at start work; one that dlopen() is to load is refused, with an error.

Seen to fail: bse_process exported in a copy of the header (INCLUDE names its directory), so that
two libraries share it; BSE_API without its visibility; no tls_model attribute ("dlopen was not refused");
and what is named in users.c.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from status import in_words  # noqa: E402

INCLUDE = os.environ.get("INCLUDE", os.path.join(HERE, "../../include"))
BODIES = os.path.join(HERE, "../languages/bodies.c")
FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2", "-pthread", "-I" + INCLUDE]
IMPLEMENTATION = "-DBPF_STREAM_IMPLEMENTATION"
# Of the second library: with pools apart, these are its own.
KNOBS = ["-DBPF_STREAM_PAGE_SIZE=1024u", "-DBPF_STREAM_POOL_BYTES=8388608u"]


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Case(unittest.TestCase):
    compiler = "gcc"

    def setUp(self):
        if not shutil.which(self.compiler):
            self.skipTest(f"no {self.compiler}")
        self.work = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.work)
        self.libraries = [os.path.join(self.work, name) for name in ("first.so", "second.so")]

    def compile(self, output, *args):
        done = run(self.compiler, *FLAGS, *args, "-o", os.path.join(self.work, output))
        self.assertEqual(done.returncode, 0, done.stderr)

    def build(self, *args):
        plugin = os.path.join(HERE, "plugin.c")
        for path, knobs in zip(self.libraries, ([], KNOBS)):
            self.compile(path, "-fPIC", "-shared", *args, *knobs, plugin)
        user = os.path.join(HERE, "users.c")
        self.compile("opens", user, "-ldl")
        self.compile("linked", user, "-Wl,--no-as-needed", *self.libraries, "-ldl")

    def use(self, pools, how):
        """One run of a user, to its end."""
        program = os.path.join(self.work, "linked" if how == "linked" else "opens")
        done = run(program, pools, how, *self.libraries)
        text = f"{how}: {in_words(done.returncode)}\n{done.stdout}{done.stderr}"
        self.assertEqual(done.returncode, 0, text)
        self.assertEqual(done.stdout, "passed\n", text)


class Gcc(Case):
    def test_private_bodies__have_a_pool_each(self):
        self.build("-DBPF_STREAM_STATIC")
        for how in "linked", "local", "global":
            self.use("separate", how)

    def test_bodies__have_a_pool_each_at_every_level_of_optimisation(self):
        for level in "-O0", "-O1", "-O2", "-O3":
            self.build(IMPLEMENTATION, level)
            for how in "linked", "local", "global":
                with self.subTest(level):
                    self.use("separate", how)

    def test_exported_bodies__of_the_first_library_serve_both_that_are_seen(self):
        self.build("-DBPF_STREAM_EXPORT", "-fvisibility=hidden", BODIES)
        self.use("shared", "linked")
        self.use("shared", "global")
        self.use("separate", "local")


class Clang(Gcc):
    compiler = "clang-14"


class Musl(Case):
    compiler = "musl-gcc"

    def test_linked_at_start__has_a_pool_for_each_library(self):
        self.build("-DBPF_STREAM_STATIC")
        self.use("separate", "linked")

    def test_static_program(self):
        self.compile("linked", "-static", "-DBPF_STREAM_STATIC", "-DPLUGIN_IN_PROGRAM",
                     os.path.join(HERE, "users.c"), os.path.join(HERE, "plugin.c"))
        self.libraries = ["none"]
        self.use("separate", "linked")

    def test_dlopen__is_refused_with_an_error(self):
        self.build("-DBPF_STREAM_STATIC")
        done = run(os.path.join(self.work, "opens"), "separate", "local", self.libraries[0])
        self.assertEqual(done.returncode, 1, "dlopen was not refused")
        self.assertIn("initial-exec TLS", done.stdout)


if __name__ == "__main__":
    unittest.main()
