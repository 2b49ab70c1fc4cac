#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Check the shape of include/bpf_stream.h: what a reviewer should not have to.

usage: check_header.py HEADER [PAGE]

  - the limits below; the SPDX line; no // comments
  - the sections, the contents list in the opening comment, and the version, which stands twice
  - ordering labels: unique, on every access by a word that tells its order, and in the pair table
    of [7] unless it is relaxed
  - invariants that are cited exist in the list of [7] PROOF
  - environment tests and #includes only in [3] and [6]
  - the kernel-doc comment of every function declared in [5] API: what it does, every parameter, and
    Return if it returns something; a line `As bpf_stream_x(), but ...` stands for what is missing
  - the ordering labels that PAGE (docs/memory-ordering.md) cites exist

All errors are printed. Exit status: 0 nothing wrong, 1 errors, 2 usage.
"""
import re
import sys

# The limits. They are only ever lowered, the share of comments raised.
MAX_LINES, MAX_COLUMNS, MAX_COMMENT_COLUMNS = 5215, 100, 80
MAX_SECTION = 250                       # lines, without sub-banners
MAX_FUNCTION = 45                       # lines, from its name to its last brace
MAX_UPWARD = 0                          # what the implementation declares before it defines it
MAX_DROPIN_INCLUDES = 2                 # lines that name the drop-in's file
MIN_COMMENTS = 25                       # percent of the lines of each of these sections that are
COMMENTED = ((8, 11), (13, 15))         # not blank: those that hold a comment or part of one

SPDX = "/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */"
SECTIONS = (
    "CONTRACT", "CONFIGURATION", "ENVIRONMENT", "TYPES", "API", "ENVIRONMENT BODIES",
    "PROOF", "LIST", "PAGE", "ELEMENT", "CAPACITY", "FORMAT", "STREAM", "STAGE",
    "READER", "RECORDS", "WAIT", "LIFECYCLE", "PROGRAM",
)
ENVIRONMENT, API, BODIES, PROOF, PROGRAM = 3, 5, 6, 7, 19

BANNER = re.compile(r"/\* ==== \[(\d+)\] (\S.*?) ={4,} \*/")
SUB_BANNER = re.compile(r"/\* ---- \[(\d+)([a-z])\] (\S.*?) -{3,} \*/")
CONTENTS_ROW = re.compile(r" \*\s+\[(\d+)\]\s+(\S.*?)(?:\s+-\s.*)?")

LABEL = r"[a-z][a-z0-9_]*:[A-Z]"
LABEL_COMMENT = re.compile(rf"/\*\s*ORD\(({LABEL})\)\s*\*/")
LABEL_CITED = re.compile(rf"(?<![\w:]){LABEL}(?![\w:])")
PAIR_ROW = re.compile(rf" \*   ({LABEL}(?: / \S+)?)(?:\s|$)")
LITMUS = re.compile(r"planned|[\w.+-]+\.litmus")
INVARIANT_ROW = re.compile(r" \*   (I\d+)\s+\S")
INVARIANT_CITED = re.compile(r"(?<![\w%])I\d+\b")

ATOMIC_CALL = re.compile(r"\bbse_\w*_(?:relaxed|acquire|release|acq_rel)\s*\((?!\s*\))")
ENV_NAME = re.compile(r"\b__\w+|\b_WIN32\b")
ENV_ALLOWED = re.compile(r"__VA_ARGS__|__func__|__BPF_STREAM_\w*H_*")
DOC_FIELDS = ["Context", "Progress", "Ordering", "Ownership", "Return"]

TOKEN = re.compile(
    r"(?P<comment>/\*.*?\*/)|(?P<line>//[^\n]*)"
    r"|(?P<text>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')", re.S)


def blank(text):
    """The same number of lines and columns, with nothing to see."""
    return re.sub(r"[^\n]", " ", text)


class Header:
    def __init__(self, path):
        self.path = path
        with open(path, encoding="utf-8", newline="") as f:
            self.text = f.read()
        self.lines = self.text.removesuffix("\n").split("\n")
        self.errors = []
        self.split()
        self.find_banners()

    def error(self, line, text):
        """Note an error at a line (counted from 1)."""
        self.errors.append((line, f"{self.path}:{line}: {text}"))

    def split(self):
        """Separate comments from code, both with the columns of the file."""
        code, comments, pos = [], [], 0
        for m in TOKEN.finditer(self.text):
            plain, token = self.text[pos:m.start()], m.group()
            text = m.lastgroup == "text"
            if m.lastgroup == "line":
                self.error(self.line_of(m.start()), "a // comment: write /* */")
            code += [plain, token[0] + blank(token[1:-1]) + token[-1] if text else blank(token)]
            comments += [blank(plain), blank(token) if text else token]
            pos = m.end()
        self.code = ("".join(code) + self.text[pos:]).split("\n")[:len(self.lines)]
        self.comments = ("".join(comments) + blank(self.text[pos:])).split("\n")[:len(self.lines)]
        self.directive = []
        inside = False
        for line in self.code:
            self.directive.append(inside or line.lstrip().startswith("#"))
            inside = self.directive[-1] and line.rstrip().endswith("\\")

    def line_of(self, pos):
        return self.text.count("\n", 0, pos) + 1

    def find_banners(self):
        self.banners, self.subs = [], []
        self.section = [0] * len(self.lines)
        for i, line in enumerate(self.lines):
            m = BANNER.fullmatch(line)
            if m:
                self.banners.append((i + 1, int(m[1]), m[2]))
                self.section[i:] = [int(m[1])] * (len(self.lines) - i)
            m = SUB_BANNER.fullmatch(line)
            if m:
                self.subs.append((i + 1, int(m[1]), m[2], m[3]))

    # ---- the file as a whole -------------------------------------------------

    def check_file(self):
        if self.lines[0] != SPDX:
            self.error(1, f"the licence line is missing: begin the file with `{SPDX}`")
        if len(self.lines) > MAX_LINES:
            self.error(len(self.lines), f"the header has {len(self.lines)} lines, at most "
                       f"{MAX_LINES} are allowed")
        for i, line in enumerate(self.lines):
            width = len(line.expandtabs(8))
            only_comment = self.comments[i].strip() and not self.code[i].strip()
            most = MAX_COMMENT_COLUMNS if only_comment else MAX_COLUMNS
            if width > most:
                self.error(i + 1, f"{width} columns, at most {most} are allowed; a tab counts as 8")
        whole = re.search(r'^#define BPF_STREAM_VERSION "(.*)"$', self.text, re.M)
        parts = re.findall(r"^#define BPF_STREAM_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$", self.text,
                           re.M)
        if whole and whole[1] != ".".join(parts):
            self.error(self.line_of(whole.start()), f"the version is {whole[1]}, its parts say "
                       f"{'.'.join(parts)}")

    def check_sections(self):
        found = [(number, title) for _, number, title in self.banners]
        want = list(enumerate(SECTIONS, 1))
        if found != want:
            n = next((n for n, pair in enumerate(zip(found, want)) if pair[0] != pair[1]),
                     min(len(found), len(want)))
            there, wanted = ("[{}] {}".format(*pairs[n]) if n < len(pairs) else "the end"
                             for pairs in (found, want))
            line = self.banners[n][0] if n < len(found) else len(self.lines)
            self.error(line, f"{there} is where {wanted} belongs")
        start = next((i for i, c in enumerate(self.comments) if i and c.strip()), len(self.lines))
        end = next((i for i in range(start, len(self.lines)) if "*/" in self.comments[i]), start)
        rows = map(CONTENTS_ROW.fullmatch, self.lines[start:end + 1])
        rows = [(int(m[1]), m[2]) for m in rows if m]
        for number, title in [row for row in rows if row not in found]:
            self.error(start + 1, f"the contents list has [{number}] {title}, which has no banner")
        for number, title in [banner for banner in found if banner not in rows]:
            self.error(start + 1, f"[{number}] {title} is not in the contents list")
        if sorted(rows) == sorted(found) != rows:
            self.error(start + 1, "the contents list has another order than the file")
        self.check_sub_banners()

    def check_sub_banners(self):
        last = {}
        for line, number, letter, title in self.subs:
            want = chr(ord(last.get(number, "`")) + 1)
            if number != self.section[line - 1] or letter != want:
                self.error(line, f"sub-banner [{number}{letter}] {title} is out of order: the next "
                           f"letter of section [{number}] is {want}, and it belongs there")
            last[number] = letter
        ends = [line for line, _, _ in self.banners[1:]] + [len(self.lines) + 1]
        for (line, number, title), end in zip(self.banners, ends):
            if end - line > MAX_SECTION and number not in last:
                self.error(line, f"section [{number}] {title} has {end - line} lines and no "
                           f"sub-banner: divide it, `/* ---- [{number}a] TITLE ---...--- */`")

    # ---- the implementation -----------------------------------------------------

    def check_functions(self):
        """How long functions are; what is declared before it is defined."""
        declared, defined = {}, {}
        for first, end, text in self.statements():
            struct = re.match(r"struct (\w+)$", text)
            m = struct or re.search(r"\b(?!__|[A-Z_0-9]+\b)(\w+)\s*\(", text.split("=")[0])
            if self.section[first] < BODIES or not m or text.startswith("typedef"):
                continue
            name = m[1]
            if end == ";":
                declared.setdefault(name, first + 1)
            elif end == "{":
                defined.setdefault(name, first + 1)
                last = next((i for i in range(first, len(self.code)) if
                             re.match(r"(\S.*)?\}\s*$", self.code[i])), first)
                if not struct and last - first + 1 > MAX_FUNCTION:
                    self.error(first + 1, f"{name}() has {last - first + 1} lines, at most "
                               f"{MAX_FUNCTION} are allowed")
        upward = [n for n in declared if declared[n] < defined.get(n, 0)]
        for name in upward if len(upward) > MAX_UPWARD else []:
            self.error(declared[name], f"{name} is declared before it is defined, in line "
                       f"{defined[name]}")

    def check_comments(self):
        for first, last in COMMENTED:
            lines = [i for i, n in enumerate(self.section) if first <= n <= last and
                     self.lines[i].strip()]
            share = 100 * sum(bool(self.comments[i].strip()) for i in lines) / max(1, len(lines))
            if share < MIN_COMMENTS:
                self.error(lines[0] + 1 if lines else 1, f"{share:.1f} % of [{first}] to [{last}] "
                           f"are comments, at least {MIN_COMMENTS} % must be")

    def check_dropin(self):
        found = [i + 1 for i, line in enumerate(self.lines) if self.directive[i] and
                 re.match(r"\s*#\s*include\b.*dropin", line)]
        for line in found[MAX_DROPIN_INCLUDES:]:
            self.error(line, "one more #include of the drop-in's file than is allowed")

    # ---- orderings and invariants ----------------------------------------------

    def check_labels(self):
        self.labels, self.ordered, free = {}, [], []    # free: labels that no access has yet
        for i, line in enumerate(self.comments):
            for m in LABEL_COMMENT.finditer(line):
                free.append(i)
                if m[1] in self.labels:
                    self.error(i + 1, f"label {m[1]} is already in line {self.labels[m[1]]}")
                self.labels.setdefault(m[1], i + 1)
            for m in re.finditer(r"ORD\(([^)]*)\)", LABEL_COMMENT.sub("", line)):
                self.error(i + 1, f"ORD({m[1]}) is no label: a label is a comment of its own, "
                           "`/* ORD(function:X) */`; in prose write function:X without ORD")
        for i, call, last in self.atomic_calls():
            place = next((p for p in free if i <= p <= last), None)
            if place is None:
                self.error(i + 1, f"{call} has no label: add `/* ORD(function:X) */` behind it and "
                           "a row to the pair table")
            else:
                free.remove(place)
                if not call.endswith("_relaxed"):
                    self.ordered += LABEL_COMMENT.findall(self.comments[place])
        self.check_pairs()

    def atomic_calls(self):
        """Yield (line index, word, index of the statement's last line) of words that order."""
        depth = 0
        for i, line in enumerate(self.code):
            if self.directive[i] or re.search(r'extern\s+"\s*"\s*\{', line):
                continue
            depth = 1 if line.startswith("}") else depth
            for m in re.finditer(rf"{ATOMIC_CALL.pattern}|[{{}}]", line):
                if m.group() in "{}":
                    depth = max(0, depth + (1 if m.group() == "{" else -1))
                elif depth and self.section[i] != ENVIRONMENT:
                    yield i, m.group().rstrip(" ("), self.statement_end(i, m.end())

    def statement_end(self, i, column):
        while i + 1 < len(self.code) and not (re.search("[;{]", self.code[i][column:]) and
                                              not self.directive[i]):
            i, column = i + 1, 0
        return i

    def proof_rows(self, pattern):
        """Yield (line, match, whole text) of rows in [7]; deeper lines continue a row."""
        for i, line in enumerate(self.lines):
            m = pattern.match(line)
            if self.section[i] != PROOF or not m:
                continue
            text = line[2:].strip()
            for more in self.lines[i + 1:]:
                if not re.match(r" \*(    |\t)\s*\S", more):
                    break
                text += " " + more.replace("*/", "")[2:].strip()
            yield i + 1, m, text

    def check_pairs(self):
        tabled = set()
        for line, _, text in self.proof_rows(PAIR_ROW):
            fields = text.split(" - ")
            names = [n.strip() for n in fields[0].split(" / ")]
            if len(fields) < 3 or len(names) > 2 or not all(re.fullmatch(LABEL, n) for n in names):
                self.error(line, f"row of {fields[0]} is not as the pair table wants it: write "
                           "`a:A / b:B - what the pair guarantees - x.litmus` (or planned)")
                continue
            if not LITMUS.fullmatch(fields[-1].strip()):
                self.error(line, f"row of {fields[0]} ends with `{fields[-1].strip()}`, not with "
                           "the name of a .litmus file or `planned`")
            tabled.update(names)
            for name in set(names) - set(self.labels):
                self.error(line, f"the pair table names {name}, which labels nothing")
        for name in set(self.ordered) - tabled:
            self.error(self.labels[name], f"ordering label {name} is not in the pair table of [7]")
        for i, line in enumerate(self.comments):
            if self.section[i] != PROOF or not PAIR_ROW.match(line):
                for name in LABEL_CITED.findall(LABEL_COMMENT.sub("", line)):
                    if name not in self.labels:
                        self.error(i + 1, f"the comment speaks of {name}, which labels nothing")

    def check_invariants(self):
        known = {}
        for line, m, _ in self.proof_rows(INVARIANT_ROW):
            if m[1] in known:
                self.error(line, f"invariant {m[1]} is already in line {known[m[1]]}")
            known.setdefault(m[1], line)
        for i, line in enumerate(self.comments):
            for name in INVARIANT_CITED.findall(line):
                if name not in known:
                    self.error(i + 1, f"invariant {name} is cited, but not listed in [7] PROOF")

    # ---- environment and API ---------------------------------------------------

    def check_environment(self):
        for i, line in enumerate(self.code):
            if self.section[i] in (ENVIRONMENT, BODIES):
                continue
            names = [n for n in ENV_NAME.findall(line) if not ENV_ALLOWED.fullmatch(n)]
            if self.directive[i] and re.match(r"\s*#\s*include\b", line):
                names.append("#include")
            for name in names:
                self.error(i + 1, f"{name} outside [3] and [6], which alone know the environment: "
                           "use or add a word there")

    def declarations(self):
        """Yield (first line index, name, parameter names) of what [5] declares."""
        for first, end, text in self.statements():
            m = re.search(r"\b(bpf_\w+)\s*\(", text)
            if m and (self.section[first], end) == (API, ";") and not text.startswith("typedef"):
                yield first, m[1], self.parameters(text[m.end():])

    def statements(self):
        """Yield (first line index, what ends it, text) of what stands outside all braces: up to a
        semicolon, or to the brace that a function's body begins with."""
        text, first, depth = "", 0, 0
        for i, line in enumerate(self.code):
            if self.directive[i] or re.search(r'extern\s+"\s*"\s*\{', line) or \
                    not text.strip() and re.fullmatch(r"\s*[A-Z][A-Z0-9_]*\s*", line):
                continue                # a macro that opens or closes the declarations
            for ch in line + "\n":
                if depth == 0 and ch in ";{}":
                    yield first, ch, text.strip()
                    text = ""
                elif depth == 0:
                    first = i if not text.strip() else first
                    text += ch
                depth = max(0, depth + (ch == "{") - (ch == "}"))

    @staticmethod
    def parameters(text):
        names, part, depth = [], "", 1
        for ch in text:
            depth += (ch == "(") - (ch == ")")
            if depth == 0 or (depth == 1 and ch == ","):
                names.append(part.strip())
                part = ""
                if depth == 0:
                    break
            else:
                part += ch
        found = (re.search(r"\(\s*\*\s*(\w+)", p) or
                 re.search(r"(\w+|\.\.\.)\s*(?:\[[^]]*\]\s*)*$", p) for p in names if p != "void")
        return [m[1] for m in found if m]

    def check_api(self):
        for first, name, params in self.declarations():
            start = first - 1
            while start > 0 and self.comments[start].strip() and "/*" not in self.comments[start]:
                start -= 1
            if self.lines[start].strip() != "/**" or not self.lines[first - 1].endswith("*/"):
                self.error(first + 1, f"{name}() has no kernel-doc comment, `/** ... */`, on the "
                           "lines directly above")
                continue
            doc = [re.sub(r"^ \* ?", "", d) for d in self.lines[start + 1:first - 1]]
            void = re.match(r"[\w\s]*\bvoid\s+\w+\s*\(", self.code[first])
            for text in self.wrong_in_doc(doc, name, params, bool(void)):
                self.error(start + 1, f"{name}(): {text}")

    @staticmethod
    def wrong_in_doc(doc, name, params, void):
        if not re.match(rf"{name}\(\) - \S", "".join(doc[:1])):
            yield f"its comment begins with another line than ` * {name}() - what it does`"
        matches = (re.match(r"(@(?:\w+|\.\.\.)|[A-Z]\w+):\s*(.*)", text) for text in doc)
        found = [m for m in matches if m and (m[1][0] == "@" or m[1] in DOC_FIELDS)]
        fields = [m[1] for m in found if m[1] in DOC_FIELDS]
        described = [m[1][1:] for m in found if m[1][0] == "@"]
        yield from (f"{m[1]}: says nothing" for m in found if not m[2])
        yield from (f"there is no parameter {p}" for p in described if p not in params)
        if fields != [f for f in DOC_FIELDS if f in fields]:
            yield f"the order is {', '.join(DOC_FIELDS)}, each at most once"
        if not any(re.match(r"As \w+\(\)", text) for text in doc):
            missing = [f"@{p}" for p in params if p not in described]
            missing += ["Return"] * (not void and "Return" not in fields)
            yield from (f"nothing is said of {m}, nor `As bpf_stream_x(), ...`" for m in missing)

    def check_page(self, path):
        """Return the errors of a page about the header: labels that it cites and nobody has."""
        with open(path, encoding="utf-8") as f:
            return [f"{path}:{i}: the page speaks of {label}, which labels nothing in the header"
                    for i, line in enumerate(f, 1) for label in LABEL_CITED.findall(line)
                    if label not in self.labels]

    def check(self):
        self.check_file()
        self.check_sections()
        self.check_functions()
        self.check_comments()
        self.check_dropin()
        self.check_labels()
        self.check_invariants()
        self.check_environment()
        self.check_api()
        return [text for _, text in sorted(self.errors, key=lambda e: e[0])]


def main(argv):
    if len(argv) not in (2, 3) or argv[1].startswith("-"):
        print(__doc__.strip())
        return 0 if argv[1:] in (["-h"], ["--help"]) else 2
    header = Header(argv[1])
    errors = header.check()
    for page in argv[2:]:
        errors += header.check_page(page)
    for text in errors:
        print(text)
    print(f"{argv[1]}: {len(header.lines)} lines, {len(header.banners)} sections, "
          f"{len(header.labels)} ordering labels, {len(list(header.declarations()))} public "
          f"functions: {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
