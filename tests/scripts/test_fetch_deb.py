#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""scripts/fetch_deb.sh, with a repository of our own as the machine's mirror.

Seen to fail with the script changed so that: the machine's sources are not looked at; what is
fetched is not unpacked, or all of it where a part is asked for; versions are sorted as texts, or
not compared with the least; a pattern matches a part of a name; a package that is missing is not
told.
"""
import hashlib
import os
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OTHERS = (("image-7.9.1-cloud", "7.9.1-1", "a"), ("image-7.10.2-cloud", "7.10.2-1", "b (= 1), c | d"),
          ("image-6.1.0-cloud", "6.1.9-1", "a"), ("image-7.9.1-cloud-debug", "9", "a"))


@unittest.skipUnless(shutil.which("apt-get"), "no apt-get")
class FetchDeb(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.top = temp.name
        codename = subprocess.run(["sh", "-c", ". /etc/os-release; echo ${VERSION_CODENAME:-none}"],
                                  capture_output=True, text=True, check=True).stdout
        self.write("sources.list", f"deb file:{self.top}/ {codename.strip()} main\n")
        self.write("apt.conf", f'Dir::Etc::SourceList "{self.top}/sources.list";\n'
                   'Dir::Etc::SourceParts "/dev/null";\nAPT::Get::AllowUnauthenticated "true";\n'
                   'Acquire::AllowInsecureRepositories "true";\n')
        control = "Package: thing\nVersion: 1:1.0-1\nArchitecture: all\nMaintainer: x <x@localhost>\n"
        self.write("tree/DEBIAN/control", control + "Description: a thing\n")
        self.write("tree/what", "1")
        self.write("tree/else", "2")
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", f"{self.top}/tree",
                        f"{self.top}/thing.deb"], check=True, capture_output=True)
        with open(f"{self.top}/thing.deb", "rb") as f:
            deb = f.read()
        where = (f"Filename: thing.deb\nSize: {len(deb)}\n"
                 f"SHA256: {hashlib.sha256(deb).hexdigest()}\n")
        packages = control + where + "".join(
            f"\nPackage: {name}\nVersion: {version}\nArchitecture: all\nDepends: {depends}\n{where}"
            for name, version, depends in OTHERS)
        self.write("dists/future/main/binary-all/Packages", packages)
        self.write("dists/future/Release", "Suite: future\nArchitectures: all\nComponents: main\n"
                   f"SHA256:\n {hashlib.sha256(packages.encode()).hexdigest()} {len(packages)} "
                   "main/binary-all/Packages\n")

    def write(self, name, text):
        path = os.path.join(self.top, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    def run_it(self, *args):
        env = {**os.environ, "XDG_CACHE_HOME": f"{self.top}/my cache",
               "APT_CONFIG": f"{self.top}/apt.conf"}
        p = subprocess.run(["bash", f"{ROOT}/scripts/fetch_deb.sh", *args], capture_output=True,
                           text=True, env=env, cwd=self.top)
        return p.returncode, p.stdout, p.stderr

    def test_fetch(self):
        self.assertEqual(self.run_it("future", "thing", "out"), (0, "1:1.0-1\n", ""))
        self.assertEqual(sorted(os.listdir(f"{self.top}/out")), ["else", "what"])
        self.assertEqual(self.run_it("future", "thing", "part", "./wh?t"), (0, "1:1.0-1\n", ""))
        self.assertEqual(os.listdir(f"{self.top}/part"), ["what"])
        self.assertRegex(self.run_it("future", "other", "out")[2],
                         "^fetch_deb: cannot get other of future: E: ")

    def test_list(self):
        newer = "image-7.10.2-cloud 7.10.2-1 b c d\nimage-7.9.1-cloud 7.9.1-1 a\n"
        self.assertEqual(self.run_it("--list", "future", "image-[0-9.]+-cloud", "7"), (0, newer, ""))
        self.assertEqual(self.run_it("--list", "future", "thin"),
                         (1, "", "fetch_deb: future has no package thin\n"))


if __name__ == "__main__":
    unittest.main()
