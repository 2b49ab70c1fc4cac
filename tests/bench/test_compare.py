#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Every question of bench/compare can be asked, and what is compared gives right bytes.

No time is looked at. To see this test fail: let a competitor copy one byte less (queue_mutex.c: the
questions size, group, writers and line find it), or leave a column out where measure.c prints.
"""
import csv
import os
import subprocess
import unittest

DIRECTORY = os.environ["COMPARE"]
MISSING = os.environ["COMPARE_MISSING"].split()
FEW = "bpf_stream,floor,port of the original,mutex and list"
COLUMNS = ["row", "param", "competitor", "unit", "best", "median", "spread", "repeats", "word"]


class Compare(unittest.TestCase):
    def ask(self, question, *options):
        """Run it with a tiny turn; return its rows, each of which is well-formed."""
        p = subprocess.run([os.path.join(DIRECTORY, "compare_" + question), *options],
                           capture_output=True, text=True, timeout=200)
        self.assertEqual(p.returncode, 0, p.stderr)
        lines = p.stdout.splitlines()
        self.assertTrue(lines[0].startswith("# compiler: "), lines[0])
        reader = csv.DictReader(lines[1:])
        self.assertEqual(reader.fieldnames, COLUMNS)
        rows = list(reader)
        self.assertTrue(rows)
        for r in rows:
            self.assertNotIn(None, [*r, *r.values()], r)
            self.assertNotEqual(bool(r["word"]), bool(r["median"]), r)
            if r["median"]:
                self.assertGreaterEqual(float(r["median"]), float(r["best"]), r)
                self.assertGreaterEqual(float(r["best"]), 0, r)
        return rows

    def tiny(self, question, *options):
        return self.ask(question, "--repeats", "1", "--work", "5", *options)

    def words(self, rows):
        return {(r["row"], r["param"], r["competitor"]): r["word"] for r in rows if r["word"]}

    def test_size__all_bytes_come_out_of_all(self):
        rows = self.tiny("size")
        self.assertEqual(self.words(rows),
                         {("both", "16384", "port of the original"): "too long"})
        self.assertEqual({r["row"] for r in rows}, {"push", "drain", "both"})

    def test_group__none_is_divided(self):
        words = set(self.words(self.tiny("group")).values())
        self.assertLessEqual(words, {"no groups"})

    def test_writers__all_arrive_in_order(self):
        words = self.words(self.tiny("writers", "--only", FEW))
        self.assertEqual({word for (row, _, name), word in words.items() if name != "floor"},
                         {"ordered"})

    def test_handler__ours_loses_nothing(self):
        words = self.words(self.tiny("handler", "--only", "bpf_stream,floor"))
        self.assertNotIn("bpf_stream", [name for _, _, name in words])

    def test_lines__all_arrive_whole(self):
        words = self.words(self.tiny("line"))
        for (_, _, name), word in words.items():
            # It needs a daemon, which ./dev bench starts; others a queue, which may be missing.
            self.assertTrue(name == "LTTng-UST" or MISSING and name.startswith("snprintf and "))
            self.assertEqual(word, "cannot be opened")

    def test_interrupted__ours_loses_nothing(self):
        words = self.words(self.tiny("interrupted", "--only", "bpf_stream"))
        self.assertEqual(set(words.values()), {"yes"})

    def test_stopped__others_go_on_with_ours(self):
        rows = self.tiny("stopped", "--only", "bpf_stream")
        self.assertEqual([r["median"] for r in rows], ["0"])

    def test_blocked__what_is_lost_is_counted(self):
        rows = self.tiny("blocked", "--only", "bpf_stream,fprintf")
        lost = {(r["row"], r["competitor"]): r["median"] for r in rows}
        for name in "bpf_stream", "fprintf":
            self.assertEqual(lost["lost", name], lost["counted", name])

    def test_other_questions_have_figures(self):
        for question, few in (("alignment", FEW), ("pending", FEW), ("memory", FEW),
                              ("latency", FEW)):
            with self.subTest(question):
                rows = self.tiny(question, "--only", few)
                self.assertIn("bpf_stream", [r["competitor"] for r in rows if r["median"]])

    def test_all_packages_are_there(self):
        if MISSING:
            self.skipTest("not installed, and left out: " + " ".join(MISSING))


if __name__ == "__main__":
    unittest.main()
