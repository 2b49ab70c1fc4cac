#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""docs/recipes.md keeps its word: its programs print what it says, its cures help where the problem
was seen without them, and its tables are true.

Seen to fail with: programs without pool_use, without a first push and read, without destroy and
init; a system call missing in the table, and one that is not made; other figures; a format that is
supported.
"""
import os
import re
import resource
import shutil
import unittest

from case import ROOT, Case, read

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
PAGE = read("docs/recipes.md")
BODIES = '#define BPF_STREAM_IMPLEMENTATION\n#include "bpf_stream.h"\n#include <stdio.h>\n'
# One push, and what it returned.
ONE_PUSH = BODIES + """
#include <sys/mman.h>
static struct bpf_stream s;
int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1 && mlockall(MCL_CURRENT | MCL_FUTURE))
		return 77;
	bpf_stream_init(&s, NULL);
	printf("%d\\n", bpf_stream_push(&s, "x", 1));
}
"""
FILL = BODIES + """
#include <stdlib.h>
static struct bpf_stream s;
int main(int argc, char **argv)
{
	struct bpf_stream_options options = { .capacity = strtoull(argv[argc - 1], NULL, 10) };
	struct bpf_stream_pool_stats pool;
	static char message[1000];
	long n = 0;

	bpf_stream_init(&s, &options);
	while (!bpf_stream_push(&s, message, strtoull(argv[1], NULL, 10)))
		n++;
	bpf_stream_pool_get_stats(&pool);
	printf("%ld %zu\\n", n, pool.in_use);
}
"""
SPAWN = BODIES + """
#include <spawn.h>
#include <sys/wait.h>
static struct bpf_stream s;
int main(void)
{
	char *argv[] = { "true", NULL };
	pid_t child;

	bpf_stream_init(&s, NULL);
	bpf_stream_printf(&s, "once\\n");
	if (posix_spawnp(&child, argv[0], NULL, NULL, argv, NULL) || waitpid(child, NULL, 0) < 0)
		return 1;
	return bpf_stream_drain_fd(&s, 1, SIZE_MAX) < 0;
}
"""
# The first cell of a row of the system calls, and what system_calls.c is told for it.
CALLS = {
    "the process's first push": "first_push",
    "all other pushes": "push",
    "`read`, `drain`, `try_read`, `try_drain`": "read",
    "`try_read`, `try_drain`, while": "try",
    "`read`, `drain`, while": "wait",
    "`read`, `drain`, when": "wake",
    "`drain_fd`": "drain_fd",
    "a push when": "push_wakes",
    "`wait`": "sleep",
    "`push_wait`": "sleep_for_room",
    "`poll_fd`": "poll_fd",
    "a reader that": "read_with_fd",
    "`pool_trim`": "pool_trim",
    "`thread_release`": "thread_release",
}


def section(title):
    return PAGE.split(f"\n## When you {title}")[1].split("\n## ")[0]


def rows(text):
    """The cells of the rows of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@unittest.skipUnless(shutil.which("cc"), "no cc")
class Recipes(Case):
    def compile(self, name, code, std="c11"):
        self.write(name + ".c", code)
        p = self.run_command("cc", "-O2", "-std=" + std, "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                             "-I" + os.path.join(ROOT, "include"), name + ".c", "-o", name,
                             "-pthread")
        self.assertEqual((p.returncode, p.stdout), (0, ""))
        return os.path.join(self.dir, name)

    def program(self, title):
        blocks = BLOCK.findall(section(title))
        self.assertEqual([kind for kind, _ in blocks], ["c", "text"])
        return blocks[0][1], blocks[1][1]

    def prints(self, expected, *command, **more):
        p = self.run_command(*command, **more)
        self.assertEqual((p.returncode, p.stdout), (0, expected))

    def test_fork(self):
        code, expected = self.program("fork")
        self.prints(expected, self.compile("fork", code))
        self.prints("once\n", self.compile("spawn", SPAWN))

    def test_sandbox(self):
        code, expected = self.program("filter system calls")
        self.prints(expected, self.compile("sandbox", code))

    def test_limited_address_space(self):
        code, expected = self.program("lock memory")
        limited = "ulimit -v 40000; exec ./"
        self.compile("cured", code)
        self.compile("one_push", ONE_PUSH)
        self.prints("-12\n", "sh", "-c", limited + "one_push")
        self.prints("0\n", "./one_push")
        code = re.sub(r"\tif \(mlockall.*?\n\t}\n", "", code, flags=re.S)
        self.compile("cured", code)
        self.prints(expected, "sh", "-c", limited + "cured")

    def test_locked_memory(self):
        code, expected = self.program("lock memory")
        self.compile("cured", code)
        self.compile("one_push", ONE_PUSH)
        os.chmod(self.dir, 0o755)
        if 0 <= resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] < 8 << 20:
            self.skipTest("one may not lock 8 MiB here")
        # root may lock as much as it likes
        user = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
        limited = "ulimit -l 8192 && exec ./"
        self.prints("-12\n", "sh", "-c", limited + "one_push locked", **user)
        self.prints(expected, "sh", "-c", limited + "cured", **user)

    def test_system_calls(self):
        program = self.compile("system_calls", read("tests/docs/system_calls.c"), "gnu11")
        table = rows(section("filter system calls"))
        self.assertEqual(len(table), len(CALLS))
        for (first, makes, may), (start, calls) in zip(table, CALLS.items()):
            with self.subTest(first):
                self.assertTrue(first.startswith(start))
                makes, may = ([name for name in re.findall(r"`(\w+)`", cell)
                               if name not in ("drain", "read", "write")]
                              for cell in (makes, may))
                if calls == "drain_fd":
                    may += ["gettid"]               # as drain
                p = self.run_command(program, calls, *makes, *may)
                if p.returncode == 77:
                    self.skipTest("no seccomp here")
                self.assertEqual(p.returncode, 0, f"allowed are {makes + may}: {p.stdout}")
                for name in makes:
                    others = [other for other in makes + may if other != name]
                    p = self.run_command(program, calls, *others)
                    self.assertEqual(p.returncode, 1, f"{name} is not called")
        self.assertEqual(self.run_command(program, "pool_use").returncode, 0)

    def test_memory(self):
        program = self.compile("fill", FILL)
        text = section("plan memory")
        for size, each, most in rows(text):
            size = size.split()[0]
            p = self.run_command(program, size, str(2**29 - 1))
            self.assertEqual(p.stdout.split()[0], most)
            self.assertEqual(f"{(64 << 20) / int(most):.1f}", each.split()[0])
        lines, pages, mib = re.search(
            r"of lines\s+of 40 bytes it holds (\d+), in (\d+) pages, ([\d.]+) MiB", text).groups()
        self.prints(f"{lines} {pages}\n", program, "40", "0")
        self.assertEqual(f"{int(pages) / 256:.1f}", mib)
        self.assertIn(f"holds {lines} such lines, in {mib} MiB", read("man/bpf_stream.7"))

    def test_formats(self):
        formats = re.findall(r"`(%[^`]+)`", "".join(
            row[0] for row in rows(PAGE.split("\n## When a print returns")[1])))
        self.assertGreater(len(formats), 15)
        calls = "".join(f'\tprintf("%d ", bpf_stream_printf(&s, "{f}"));\n' for f in formats)
        code = BODIES + "static struct bpf_stream s;\nint main(void)\n{\n"
        self.write("formats.c", code + "\tbpf_stream_init(&s, NULL);\n" + calls + "}\n")
        self.prints("", "cc", "-w", "-I" + os.path.join(ROOT, "include"), "formats.c", "-o",
                    "formats", "-pthread")
        self.prints("-22 " * len(formats), "./formats")


if __name__ == "__main__":
    unittest.main()
