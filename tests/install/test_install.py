#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Installing, uninstalling, and the five ways of README.md to get the header into a project.

The commands, the main.c and the build files are taken out of README.md, so what is tested is what
it says: for what is installed in $HOME/.local, as printed. All paths have a blank in them. Seen to
fail: with another directory, or none, in PKG_CONFIG_PATH or CMAKE_PREFIX_PATH of README.md; with
Meson's own pkgconfig.generate(), which writes libdir; with
cmake.write_basic_package_version_file(), which needs CMake; with tests on by default; with a file
installed by a script; with an absolute path in bpf_streamConfig.cmake; with any version accepted,
0 refused, or the end of a range ignored; without Threads; without the guard of CMakeLists.txt,
with a VERSION or CMAKE_C_STANDARD there; without subdir_done() in meson.build; with a wrong name in
README.md; with links to the tests in docs/porting.md; with streamcat not installed, or installed
only where tests are enabled; without its page.
"""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
sys.dont_write_bytecode = True
from status import in_words  # noqa: E402

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)

# Where README.md builds what it installs: ./dev knows nothing of it.
BUILD = "builddir"
PROGRAM = "bin/streamcat"
WANTED = {
    "include/bpf_stream.h",
    "share/bpf_stream/bpf_stream.supp",
    "share/cmake/bpf_stream/bpf_streamConfig.cmake",
    "share/cmake/bpf_stream/bpf_streamConfigVersion.cmake",
    "share/doc/bpf_stream/CHANGELOG.md",
    "share/doc/bpf_stream/LICENSE",
    "share/doc/bpf_stream/LICENSES/BSD-2-Clause.txt",
    "share/doc/bpf_stream/LICENSES/GPL-2.0-only.txt",
    "share/doc/bpf_stream/README.md",
    "share/doc/bpf_stream/docs/design.md",
    "share/doc/bpf_stream/examples/streamcat.c",
    "share/pkgconfig/bpf_stream.pc",
}


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def write(text, *path):
    with open(os.path.join(*path), "w", encoding="utf-8") as f:
        f.write(text)


def below(top):
    """Everything in a directory: its path, and its bytes or None for a directory."""
    found = {}
    for directory, subdirectories, files in os.walk(top):
        for name in subdirectories:
            found[os.path.relpath(os.path.join(directory, name), top)] = None
        for name in files:
            with open(os.path.join(directory, name), "rb") as f:
                found[os.path.relpath(f.name, top)] = f.read()
    return found


def files_below(top):
    return {path for path, data in below(top).items() if data is not None}


def run(*command, cwd, **env):
    p = subprocess.run(command, cwd=cwd, env={**ENV, **env}, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        raise AssertionError(f"{shlex.join(command)}: {in_words(p.returncode)}\n{p.stdout[-4000:]}")
    return p.stdout


def needs(*tools):
    missing = [tool for tool in tools if not shutil.which(tool)]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


def repository(directory):
    """A copy of the source tree in git."""
    tree = shutil.copytree(TREE, os.path.join(directory, "repository"))
    git = "git", "-c", "user.name=x", "-c", "user.email=x@example.org"
    run(*git, "init", "-q", cwd=tree)
    run(*git, "add", "-A", cwd=tree)
    run(*git, "commit", "-q", "-m", "x", cwd=tree)
    return tree


def archive(*directory):
    """As README.md makes it."""
    with tempfile.TemporaryDirectory(dir=TOP) as d:
        tree = repository(d)
        run("sh", "-ec", SAYS["sh"][4], cwd=tree)
        shutil.move(os.path.join(tree, f"bpf_stream-{VERSION}.tar.gz"), os.path.join(*directory))


def setUpModule():
    """TREE, a copy of this source tree, is installed into PREFIX as README.md says."""
    global TOP, TREE, PREFIX, ENV, VERSION, README, SAYS, MAIN, EXPECTED
    temp = tempfile.TemporaryDirectory(prefix="bpf_stream ")
    unittest.addModuleCleanup(temp.cleanup)
    TOP = temp.name
    ENV = {"PATH": os.environ["PATH"], "HOME": os.path.join(TOP, "home"),
           "CMAKE_GENERATOR": "Ninja", "LC_ALL": "C.UTF-8"}
    TREE = os.path.join(TOP, "source tree")
    PREFIX = os.path.join(ENV["HOME"], ".local")
    shutil.copytree(ROOT, TREE, ignore=lambda directory, names:
                    {".git", "build", BUILD, "__pycache__"} & set(names)
                    if directory == ROOT else ())
    VERSION = re.search(r'BPF_STREAM_VERSION "(.*)"', read(TREE, "include/bpf_stream.h")).group(1)
    README = read(TREE, "README.md")
    example = dict(BLOCK.findall(README.split("## How to use it")[0]))
    MAIN, EXPECTED = example["c"], example["text"]
    SAYS = {}
    for kind, block in BLOCK.findall(README.split("## How to use it")[1]):
        SAYS.setdefault(kind, []).append(block)
    run("sh", "-ec", SAYS["sh"][1], cwd=TREE)
    os.rename(os.path.join(TREE, BUILD), os.path.join(TOP, "build"))


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(dir=TOP, prefix="a project ")


class Installation(Case):
    def configure(self, *options):
        """A new build directory."""
        build = tempfile.mkdtemp(dir=TOP, prefix="a build ")
        run("meson", "setup", build, TREE, *options, cwd=TOP)
        return build

    def install(self, build, destdir):
        run("meson", "install", "-C", build, cwd=TOP, DESTDIR=destdir)

    def test_install__puts_everything_into_bin_include_and_share(self):
        files = files_below(PREFIX)
        self.assertLessEqual(WANTED, files)
        self.assertLessEqual({PROGRAM, "share/man/man1/streamcat.1", "share/man/man7/bpf_stream.7",
                              "share/man/man3/bpf_stream_push.3"}, files)
        self.assertEqual({path.split("/")[0] for path in files}, {"bin", "include", "share"})
        self.assertEqual([path for path in files if path.endswith("meson.build")], [])

    def test_installed_program__does_what_its_page_shows(self):
        page = read(PREFIX, "share/man/man1/streamcat.1")
        command, shown = re.search(r"^\.Bd -literal.*\n\$ (.*)\n([^.]*)^\.Ed", page, re.M).groups()
        path = f"{os.path.join(PREFIX, 'bin')}:{os.environ['PATH']}"
        self.assertEqual(run("sh", "-ec", command, cwd=self.dir, PATH=path), shown)

    def test_installed_pages__link_to_what_is_installed(self):
        out = run(sys.executable, "-B", os.path.join(ROOT, "scripts/check_links.py"),
                  os.path.join(PREFIX, "share/doc/bpf_stream"), cwd=self.dir)
        self.assertRegex(out, r"\A\d\d+ links between pages: 0 errors\n\Z")

    def test_install__is_the_same_for_every_libdir_and_destdir(self):
        found = []
        for libdir in "lib", "lib/x86_64-linux-gnu":
            build = self.configure("--prefix=/usr", "--libdir", libdir)
            self.install(build, os.path.join(self.dir, libdir))
            found.append(below(os.path.join(self.dir, libdir, "usr")))
            # What is compiled has the build directory in it, for debuggers.
            found[-1][PROGRAM] = b""
        self.assertEqual(found[0], found[1])
        self.assertEqual({path for path, data in found[0].items() if data is not None},
                         files_below(PREFIX))
        self.assertIn("\nprefix=/usr\n", found[0]["share/pkgconfig/bpf_stream.pc"].decode())
        self.assertEqual([path for path, data in found[0].items() if TOP.encode() in (data or b"")],
                         [])

    def test_install__obeys_directories_outside_the_prefix(self):
        build = self.configure(f"-Dincludedir={self.dir}/in c", f"-Ddatadir={self.dir}/share",
                               f"--prefix={self.dir}/prefix")
        self.install(build, "")
        self.assertLessEqual({path.replace("include/", "in c/") for path in WANTED},
                             files_below(self.dir))
        self.assertIn(f'"{self.dir}/in c"',
                      read(self.dir, "share/cmake/bpf_stream/bpf_streamConfig.cmake"))

    def test_uninstall__leaves_what_was_there_before(self):
        build = self.configure()
        for others in [], ["include/other.h", "share/doc/bpf_stream/local.md", "share/man/x"]:
            with self.subTest(others=others):
                destdir = os.path.join(self.dir, "destdir")
                for name in others:
                    path = os.path.join(destdir, "usr/local", name)
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    write("", path)
                before = below(self.dir)
                self.install(build, destdir)
                self.assertNotEqual(below(self.dir), before)
                run("ninja", "-C", build, "uninstall", cwd=TOP)
                self.assertEqual(below(self.dir), before)

    def test_uninstall__after_two_installations_leaves_no_file(self):
        # Meson knows only of the directories which the last installation made, as README.md says.
        build = self.configure()
        self.install(build, self.dir)
        self.install(build, self.dir)
        run("ninja", "-C", build, "uninstall", cwd=TOP)
        self.assertEqual(files_below(self.dir), set())

    def test_installing__builds_streamcat_and_the_manual_pages_only(self):
        build = os.path.join(TOP, "build")
        self.assertEqual(json.loads(run("meson", "introspect", "--tests", build, cwd=TOP)), [])
        targets = json.loads(run("meson", "introspect", "--targets", build, cwd=TOP))
        self.assertEqual({t["name"] for t in targets if t["build_by_default"]},
                         {"man", "streamcat"})

    def test_install__needs_only_a_compiler_meson_and_ninja(self):
        tools = os.path.join(self.dir, "bin")
        os.mkdir(tools)
        for name in "cc", "as", "ld", "ar", "meson", "ninja", "sed":
            write(f'#!/bin/sh\nexec "{shutil.which(name)}" "$@"\n', tools, name)
            os.chmod(os.path.join(tools, name), 0o755)
        run("meson", "setup", "build", TREE, cwd=self.dir, PATH=tools)
        run("meson", "install", "-C", "build", cwd=self.dir, PATH=tools,
            DESTDIR=f"{self.dir}/to")
        self.assertEqual(files_below(os.path.join(self.dir, "to/usr/local")), files_below(PREFIX))

    @needs("git")
    def test_dist__installs_the_same(self):
        tree = repository(self.dir)
        run("meson", "setup", "b", cwd=tree)
        run("meson", "dist", "-C", "b", "--formats=gztar", "--no-tests", cwd=tree)
        name = f"bpf_stream-{VERSION}"
        with tarfile.open(os.path.join(tree, "b", "meson-dist", name + ".tar.gz")) as tar:
            tar.extractall(self.dir)
        run("meson", "setup", "b", cwd=os.path.join(self.dir, name))
        self.install(os.path.join(self.dir, name, "b"), f"{self.dir}/to")
        self.assertEqual(files_below(os.path.join(self.dir, "to/usr/local")), files_below(PREFIX))


class Plain(Case):
    def test_copied_file(self):
        write(MAIN, self.dir, "main.c")
        shutil.copy(os.path.join(TREE, "include/bpf_stream.h"), self.dir)
        run("sh", "-ec", SAYS["sh"][0], cwd=self.dir)
        self.assertEqual(run("./main", cwd=self.dir), EXPECTED)


@needs("pkg-config")
class PkgConfig(Case):
    @needs("make")
    def test_makefile(self):
        write(MAIN, self.dir, "main.c")
        write(SAYS["make"][0], self.dir, "Makefile")
        self.assertIn("`make`", README)
        out = run("sh", "-ec", SAYS["sh"][2] + "make", cwd=self.dir)
        self.assertIn(" -pthread", out)
        self.assertEqual(run("./main", cwd=self.dir), EXPECTED)

    def test_moved_tree__is_found_with_define_prefix(self):
        moved = shutil.copytree(PREFIX, os.path.join(self.dir, "moved"))
        flags = run("pkg-config", "--define-prefix", "--cflags", "--libs", "bpf_stream",
                    cwd=self.dir, PKG_CONFIG_LIBDIR=f"{moved}/share/pkgconfig")
        self.assertEqual(shlex.split(flags), [f"-I{moved}/include", "-pthread"])

    def test_version(self):
        out = run("pkg-config", "--modversion", "bpf_stream", cwd=self.dir,
                  PKG_CONFIG_LIBDIR=f"{PREFIX}/share/pkgconfig")
        self.assertEqual(out, VERSION + "\n")


@needs("cmake")
class CMake(Case):
    def build(self, place, instead=None, prefix=""):
        """Build README.md's project, perhaps with other lines for find_package(), and see
        where the header comes from."""
        text = SAYS["cmake"][0]
        if instead:
            text = re.sub(r"find_package\(.*\)\n", lambda m: instead, text)
        text += ("get_target_property(place bpf_stream::bpf_stream INTERFACE_INCLUDE_DIRECTORIES)\n"
                 "get_target_property(links bpf_stream::bpf_stream INTERFACE_LINK_LIBRARIES)\n"
                 'message(STATUS "header in ${place}, links to ${links}.")\n')
        write(text, self.dir, "CMakeLists.txt")
        write(MAIN, self.dir, "main.c")
        out = run("cmake", "-B", "build", f"-DCMAKE_PREFIX_PATH={prefix}", cwd=self.dir)
        self.assertIn(f"-- header in {place}, links to Threads::Threads.\n", out)
        self.assertNotIn("Warning", out)
        run("cmake", "--build", "build", cwd=self.dir)
        self.assertEqual(run("build/main", cwd=self.dir), EXPECTED)

    def test_find_package__as_printed(self):
        write(SAYS["cmake"][0], self.dir, "CMakeLists.txt")
        write(MAIN, self.dir, "main.c")
        run("sh", "-ec", SAYS["sh"][3], cwd=self.dir)
        self.assertEqual(run("build/main", cwd=self.dir), EXPECTED)

    def test_find_package__also_in_a_moved_tree(self):
        moved = shutil.copytree(PREFIX, os.path.join(self.dir, "moved"))
        self.build(f"{moved}/include", prefix=moved)

    def test_find_package__with_versions(self):
        major, minor, patch = map(int, VERSION.split("."))
        good = ["", f"{major}", f"{major}.{minor}", VERSION, f"{VERSION} EXACT",
                f"{VERSION}...{major + 1}", f"{major}...{VERSION}", f"{major}...<{major + 1}"]
        bad = [f"{major + 1}", f"{major} EXACT", f"{major}.{minor + 1}", f"{major + 1}.{minor}",
               f"{major}.{minor}.{patch + 1}", f"{major}.{minor}.{patch + 1} EXACT",
               f"{major}...<{VERSION}"]
        if major == 0:
            bad += [f"{major}.{minor - 1}"]
        text = "cmake_minimum_required(VERSION 3.16...3.25)\nproject(versions C)\n"
        for version in good + bad:
            text += (f"unset(bpf_stream_FOUND)\nfind_package(bpf_stream {version} QUIET)\n"
                     f'message(STATUS "asked for ({version}): ${{bpf_stream_FOUND}}")\n')
        write(text, self.dir, "CMakeLists.txt")
        out = run("cmake", "-B", "build", f"-DCMAKE_PREFIX_PATH={PREFIX}", cwd=self.dir)
        for version in good + bad:
            with self.subTest(version=version):
                self.assertIn(f"asked for ({version}): {int(version in good)}\n", out)

    def test_add_subdirectory(self):
        copy = shutil.copytree(TREE, os.path.join(self.dir, "bpf_stream"))
        self.build(f"{copy}/include", SAYS["cmake"][1])

    @needs("git")
    def test_fetch_content(self):
        archive(self.dir)
        self.build(f"{self.dir}/build/_deps/bpf_stream-src/include", SAYS["cmake"][2])

    @needs("c++")
    def test_cxx_program__has_the_bodies_in_a_c_file(self):
        shutil.copytree(TREE, os.path.join(self.dir, "bpf_stream"))
        write(SAYS["cmake"][0].replace("main C", "main C CXX")
              .replace("main.c)", "main.cc streams.c)\nset_property(TARGET main PROPERTY "
                       "CXX_STANDARD 11)")
              .replace("find_package(bpf_stream 0.1 REQUIRED)\n", SAYS["cmake"][1]),
              self.dir, "CMakeLists.txt")
        bodies = "#define BPF_STREAM_IMPLEMENTATION\n"
        self.assertTrue(MAIN.startswith(bodies))
        write(bodies + '#include "bpf_stream.h"\n', self.dir, "streams.c")
        write(MAIN[len(bodies):], self.dir, "main.cc")
        run("cmake", "-B", "build", cwd=self.dir)
        run("cmake", "--build", "build", cwd=self.dir)
        self.assertEqual(run("build/main", cwd=self.dir), EXPECTED)

    def test_tree_by_itself__is_refused(self):
        with self.assertRaisesRegex(AssertionError, "is installed with Meson"):
            run("cmake", "-S", TREE, "-B", "build", cwd=self.dir)

    def test_parent_project__is_left_alone(self):
        for name in "one", "two":
            shutil.copytree(TREE, os.path.join(self.dir, name))
        write("""\
cmake_minimum_required(VERSION 3.16...3.25)
project(parent C)
enable_testing()
get_cmake_property(before VARIABLES)
add_subdirectory(one)
add_subdirectory(two)
get_cmake_property(after VARIABLES)
list(REMOVE_ITEM after before ${before})
message(STATUS "variables: ${after}")
get_directory_property(targets DIRECTORY one BUILDSYSTEM_TARGETS)
get_directory_property(more DIRECTORY two BUILDSYSTEM_TARGETS)
get_directory_property(tests DIRECTORY one TESTS)
get_target_property(type bpf_stream TYPE)
message(STATUS "targets and tests: ${targets},${more},${type},${tests}.")
install(CODE "")
""", self.dir, "CMakeLists.txt")
        out = run("cmake", "-B", "build", cwd=self.dir)
        variables = re.search(r"^-- variables: (.*)$", out, re.M).group(1).split(";")
        self.assertEqual([name for name in variables if not re.search(
            r"^bpf_stream_|PTHREAD|Threads$", name)], [])
        self.assertIn("targets and tests: bpf_stream,,INTERFACE_LIBRARY,.\n", out)
        run("cmake", "--build", "build", cwd=self.dir)
        run("cmake", "--install", "build", "--prefix", f"{self.dir}/to", cwd=self.dir)
        self.assertFalse(os.path.exists(f"{self.dir}/to"))


class Meson(Case):
    def build(self, before="", **env):
        write(MAIN, self.dir, "main.c")
        write(SAYS["meson"][0], self.dir, "meson.build")
        run("sh", "-ec", before + SAYS["sh"][5], cwd=self.dir, **env)
        self.assertEqual(run("build/main", cwd=self.dir), EXPECTED)

    def introspect(self, what):
        return json.loads(run("meson", "introspect", "--" + what, "build", cwd=self.dir))

    @needs("pkg-config")
    def test_installed(self):
        self.build(SAYS["sh"][2])
        self.assertIn(f"-I{PREFIX}/include", self.introspect("targets")[0]["target_sources"][0]
                      ["parameters"])

    @needs("git")
    def test_wrapped_archive(self):
        os.makedirs(os.path.join(self.dir, "subprojects/packagefiles"))
        write(SAYS["ini"][0], self.dir, "subprojects/bpf_stream.wrap")
        archive(self.dir, "subprojects/packagefiles")
        self.build(PKG_CONFIG_LIBDIR="/nowhere")

    def test_subproject__leaves_its_parent_alone(self):
        shutil.copytree(TREE, os.path.join(self.dir, "subprojects/bpf_stream"))
        self.build(PKG_CONFIG_LIBDIR="/nowhere")
        self.assertEqual([t["name"] for t in self.introspect("targets")], ["main"])
        self.assertEqual(self.introspect("tests"), [])
        self.assertEqual(self.introspect("installed"), {})
        options = {o["name"]: o["value"] for o in self.introspect("buildoptions")}
        self.assertEqual([options[o] for o in ("c_std", "warning_level", "buildtype")],
                         ["none", "1", "debug"])


if __name__ == "__main__":
    unittest.main()
