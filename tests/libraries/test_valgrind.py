# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Programs with streams under Valgrind: packaging/bpf_stream.supp does what it says.

valgrind_user.c is the program, and says what its modes do. With the file Helgrind and DRD report
what the program itself does, and nothing else; without it they report the library.

Seen to fail: without any one of the file's entries; with an entry for all that a sink does (sinks'
races are missing); without any one of the annotations in valgrind_user.c.
"""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FILE = os.path.join(ROOT, "packaging", "bpf_stream.supp")
SUPPRESSED = "--suppressions=" + FILE
FLAGS = ["-std=c11", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread",
         "-I" + os.path.join(ROOT, "include")]
BUILDS = (["-O0", "-DBPF_STREAM_IMPLEMENTATION"], ["-O2", "-DBPF_STREAM_STATIC"])
# An error begins so; its second or third line is the top of the stack.
ERROR = re.compile(r"(?:Possible data race|Conflicting (?:load|store)).*\n(?:.*Locks held.*\n)?"
                   r".*? at 0x\w+: (.*)\n")
TOTAL = re.compile(r"ERROR SUMMARY: (\d+) errors")


@unittest.skipUnless(shutil.which("valgrind"), "no valgrind")
class Gcc(unittest.TestCase):
    compiler = ["gcc"]

    def setUp(self):
        if not shutil.which(self.compiler[0]):
            self.skipTest(f"no {self.compiler[0]}")
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.programs = []
        for build in BUILDS:
            program = os.path.join(work.name, "user" + build[0])
            subprocess.run([*self.compiler, *FLAGS, *build,
                            os.path.join(HERE, "valgrind_user.c"), "-o", program], check=True)
            self.programs.append(program)

    def errors(self, program, mode, *options):
        """How many errors, and the top of each one's stack."""
        done = subprocess.run(["valgrind", *options, program, mode], text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout)
        return int(TOTAL.search(done.stdout)[1]), ERROR.findall(done.stdout)

    def reports(self, tool, mode, *functions):
        """With the file these functions (regular expressions) are, and the library is not."""
        for program in self.programs:
            with self.subTest(program=program, tool=tool, mode=mode):
                count, tops = self.errors(program, mode, "--tool=" + tool, SUPPRESSED)
                self.assertEqual(count > 0, bool(functions), tops)
                self.assertFalse([top for top in tops if "bpf_stream.h" in top])
                for function in functions:
                    self.assertTrue([top for top in tops if re.match(function, top)], tops)

    def test_without_the_file__the_library_is_reported(self):
        for tool in "helgrind", "drd":
            for program in self.programs:
                with self.subTest(program=program, tool=tool):
                    tops = self.errors(program, "quiet", "--tool=" + tool)[1]
                    self.assertTrue([top for top in tops if "bpf_stream.h" in top], tops)

    def test_no_race__nothing_is_reported(self):
        for tool in "helgrind", "drd":
            self.reports(tool, "quiet")

    def test_races_of_the_program__are_reported(self):
        for tool in "helgrind", "drd":
            self.reports(tool, "race", "race_of_writers|write_all")
            self.reports(tool, "sink", "race_in_sink|text_sink|race_of_writers|write_all")

    def test_what_the_tools_do_not_know__is_reported_unless_told(self):
        for tool in "helgrind", "drd":
            self.reports(tool, "looks", "look_at_text|text_sink",
                         "look_behind_pointer|pointer_sink")
            self.reports(tool, "told")

    def test_memcheck__finds_nothing(self):
        for program in self.programs:
            with self.subTest(program=program):
                self.assertEqual(self.errors(program, "looks", "--leak-check=full"), (0, []))


# Its debugging information is too new for Valgrind 3.19, which then has the lines only.
class Clang(Gcc):
    compiler = ["clang-14"]


if __name__ == "__main__":
    unittest.main()
