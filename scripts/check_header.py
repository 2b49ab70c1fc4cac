#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Check the shape of include/bpf_stream.h: what a reviewer should not have to.

usage: check_header.py HEADER [PAGE]

  - the SPDX line; fewer than 4,650 lines of at most 100 columns, 80 where there is only comment;
    no // comments
  - the contents list in the opening comment equals the section banners
  - ordering labels: unique, on every access, and in the pair table of [7] PROOF
  - invariants that are cited exist in the list of [7] PROOF
  - environment tests and #includes only in [3] and [6]
  - every function declared in [5] API or defined in [17] PROGRAM has a complete kernel-doc comment
  - the ordering labels that PAGE (docs/memory-ordering.md) cites exist

All errors are printed. Exit status: 0 nothing wrong, 1 errors, 2 usage.
"""
import re
import sys

SPDX = "/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */"
SECTIONS = (
    "CONTRACT", "CONFIGURATION", "ENVIRONMENT", "TYPES", "API", "ENVIRONMENT BODIES",
    "PROOF", "LIST", "PAGE", "ELEMENT", "CAPACITY", "FORMAT", "STREAM", "STAGE",
    "READER", "LIFECYCLE", "PROGRAM", "SELFCHECK",
)
ENVIRONMENT, API, BODIES, PROOF, PROGRAM = 3, 5, 6, 7, 17
MAX_LINES, MAX_COLUMNS, MAX_COMMENT_COLUMNS, MAX_SECTION = 4650, 100, 80, 250

RULE = "=" * 70
BANNER_TOP = f"/* {RULE} *"
BANNER_END = f" * {RULE} */"
BANNER_TITLE = re.compile(r" \* \[(\d+)\] (\S.*)")
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
ENV_NAME = re.compile(r"\b__\w+")
ENV_ALLOWED = re.compile(r"__VA_ARGS__|__func__|__BPF_STREAM_\w*H_*")
DOC_FIELDS = ("Context", "Progress", "Ordering", "Ownership", "Return")

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
        self.lines = self.text.split("\n")
        if self.lines and self.lines[-1] == "":
            self.lines.pop()
        self.errors = []
        self.split()
        self.find_banners()

    def error(self, line, wrong, advice):
        """Note an error at a line (counted from 1)."""
        self.errors.append((line, f"{self.path}:{line}: {wrong}: {advice}"))

    def split(self):
        """Separate comments from code, both with the columns of the file."""
        code, comments, pos = [], [], 0
        self.line_comments = []
        for m in TOKEN.finditer(self.text):
            plain, token = self.text[pos:m.start()], m.group()
            code.append(plain)
            comments.append(blank(plain))
            if m.lastgroup == "text":
                code.append(token[0] + blank(token[1:-1]) + token[-1])
                comments.append(blank(token))
            else:
                if m.lastgroup == "line":
                    self.line_comments.append(self.line_of(m.start()))
                code.append(blank(token))
                comments.append(token)
            pos = m.end()
        code.append(self.text[pos:])
        comments.append(blank(self.text[pos:]))
        self.code = "".join(code).split("\n")[:len(self.lines)]
        self.comments = "".join(comments).split("\n")[:len(self.lines)]
        self.directive = [False] * len(self.lines)
        inside = False
        for i, line in enumerate(self.code):
            self.directive[i] = inside or line.lstrip().startswith("#")
            inside = self.directive[i] and line.rstrip().endswith("\\")

    def line_of(self, pos):
        return self.text.count("\n", 0, pos) + 1

    def find_banners(self):
        self.banners, self.subs, used = [], [], set()
        for i, line in enumerate(self.lines):
            if line == BANNER_TOP and i + 2 < len(self.lines) and self.lines[i + 2] == BANNER_END:
                m = BANNER_TITLE.fullmatch(self.lines[i + 1])
                if m:
                    self.banners.append((i + 1, int(m[1]), m[2]))
                    used.update((i, i + 2))
            m = SUB_BANNER.fullmatch(line)
            if m:
                self.subs.append((i + 1, int(m[1]), m[2], m[3]))
                used.add(i)
        self.section = [0] * len(self.lines)
        for start, number, _ in self.banners:
            self.section[start - 1:] = [number] * (len(self.lines) - start + 1)
        for i, line in enumerate(self.comments):
            if i in used:
                continue
            if re.search(r"={10}", line):
                self.error(i + 1, "this is no section banner",
                           "a banner is exactly three lines, `/* =...= *`, ` * [N] TITLE`, "
                           "` * =...= */`, with 70 equals signs")
            if re.match(r"/\* ?-{3}", line):
                self.error(i + 1, "this is no sub-banner",
                           "write `/* ---- [12a] TITLE ---...--- */` on one line")

    # ---- the file as a whole -------------------------------------------------

    def check_file(self):
        if not self.lines or self.lines[0] != SPDX:
            self.error(1, "the licence line is missing", f"begin the file with `{SPDX}`")
        if len(self.lines) >= MAX_LINES:
            self.error(len(self.lines), f"the header has {len(self.lines)} lines",
                       f"keep it under {MAX_LINES}")
        if not self.text.endswith("\n"):
            self.error(len(self.lines), "the last line has no newline", "add one")
        for line in self.line_comments:
            self.error(line, "a // comment", "write /* */")
        for i, line in enumerate(self.lines):
            if line != line.rstrip():
                self.error(i + 1, "blanks at the end of the line", "remove them")
        self.check_columns()

    def check_columns(self):
        for i, line in enumerate(self.lines):
            width = len(line.expandtabs(8))
            only_comment = self.comments[i].strip() and not self.code[i].strip()
            if width > MAX_COLUMNS:
                self.error(i + 1, f"{width} columns",
                           f"break the line: at most {MAX_COLUMNS}, a tab counts as 8")
            elif width > MAX_COMMENT_COLUMNS and only_comment:
                self.error(i + 1, f"{width} columns of comment",
                           f"break the line: at most {MAX_COMMENT_COLUMNS}, a tab counts as 8")

    def check_sections(self):
        for (line, number, title), want in zip(self.banners, enumerate(SECTIONS, 1)):
            if (number, title) != want:
                self.error(line, f"banner [{number}] {title} stands where [{want[0]}] {want[1]} "
                           "belongs", "keep the sections, their numbers and their order")
                break
        else:
            if len(self.banners) < len(SECTIONS):
                n = len(self.banners) + 1
                self.error(len(self.lines), f"section [{n}] {SECTIONS[n - 1]} has no banner",
                           "add the three-line banner")
            for line, number, title in self.banners[len(SECTIONS):]:
                self.error(line, f"section [{number}] {title} is not in the design",
                           f"there are {len(SECTIONS)} sections")
        self.check_contents()
        self.check_sub_banners()

    def check_contents(self):
        start = next((i for i, c in enumerate(self.comments) if i and c.strip()), len(self.lines))
        rows = []
        for i in range(start, len(self.lines)):
            m = CONTENTS_ROW.fullmatch(self.lines[i])
            if m:
                rows.append((i + 1, int(m[1]), m[2]))
            if "*/" in self.comments[i]:
                break
        if not rows:
            self.error(start + 1, "the opening comment has no contents list",
                       "list every section there as ` *   [1]  CONTRACT - explanation`")
            return
        banners = {number: (line, title) for line, number, title in self.banners}
        for line, number, title in rows:
            if number not in banners:
                self.error(line, f"the contents list names [{number}] {title}, which has no banner",
                           "add the banner or remove the row")
            elif banners[number][1] != title:
                self.error(line, f"the contents list says [{number}] {title}, the banner in line "
                           f"{banners[number][0]} says {banners[number][1]}", "make them equal")
        listed = [number for _, number, _ in rows]
        for line, number, title in self.banners:
            if number not in listed:
                self.error(line, f"section [{number}] {title} is not in the contents list",
                           "add a row to the opening comment")
        for (line, number, title), previous in zip(rows[1:], listed):
            if number <= previous:
                self.error(line, f"[{number}] {title} comes after [{previous}] in the contents "
                           "list", "list the sections in the order of the file, each once")

    def check_sub_banners(self):
        last = {}
        for line, number, letter, title in self.subs:
            name = f"[{number}{letter}] {title}"
            if number != self.section[line - 1]:
                self.error(line, f"sub-banner {name} lies in section [{self.section[line - 1]}]",
                           "give it the section's number")
                continue
            want = chr(ord(last.get(number, "`")) + 1)
            if letter != want:
                self.error(line, f"sub-banner {name} is out of order",
                           f"the next letter of section [{number}] is {want}")
            last[number] = letter
        ends = [line for line, _, _ in self.banners[1:]] + [len(self.lines) + 1]
        for (line, number, title), end in zip(self.banners, ends):
            if end - line > MAX_SECTION and number not in last:
                self.error(line, f"section [{number}] {title} has {end - line} lines and no "
                           "sub-banner", f"divide it: `/* ---- [{number}a] TITLE ---...--- */`")

    # ---- orderings and invariants ----------------------------------------------

    def check_labels(self):
        labels, used = {}, set()
        places = []                     # (line, column, label), in the order of the file
        for i, line in enumerate(self.comments):
            for m in LABEL_COMMENT.finditer(line):
                places.append((i, m.start(), m[1]))
                if m[1] in labels:
                    self.error(i + 1, f"ordering label {m[1]} is already in line "
                               f"{labels[m[1]]}", "take the next free letter")
                else:
                    labels[m[1]] = i + 1
            for m in re.finditer(r"ORD\(([^)]*)\)", LABEL_COMMENT.sub("", line)):
                self.error(i + 1, f"ORD({m[1]}) is no ordering label",
                           "a label is a comment of its own, `/* ORD(function:X) */`; in prose "
                           "write function:X without ORD")
        for i, call, last in self.atomic_calls():
            free = [p for p in places if i <= p[0] <= last and p not in used]
            if free:
                used.add(free[0])
            else:
                self.error(i + 1, f"{call} has no ordering label",
                           "add `/* ORD(function:X) */` behind it and a row to the pair table")
        self.check_pairs(labels)
        self.labels = labels

    def atomic_calls(self):
        """Yield (line index, word, index of the statement's last line) of labelled words."""
        depth = 0
        for i, line in enumerate(self.code):
            if self.directive[i]:
                continue
            if line.startswith("}"):
                depth = 1
            if re.search(r'extern\s+"\s*"\s*\{', line):
                continue
            calls = list(ATOMIC_CALL.finditer(line))
            for k, ch in enumerate(line):
                while calls and calls[0].start() == k:
                    m = calls.pop(0)
                    if depth and self.section[i] != ENVIRONMENT:
                        yield i, m.group().split("(")[0].rstrip(), self.statement_end(i, m.end())
                if ch == "{":
                    depth += 1
                elif ch == "}":
                    depth = max(0, depth - 1)

    def statement_end(self, i, column):
        for k in range(i, len(self.code)):
            if re.search(r"[;{]", self.code[k][column:]) and not self.directive[k]:
                return k
            column = 0
        return len(self.code) - 1

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

    def check_pairs(self, labels):
        tabled = set()
        for line, _, text in self.proof_rows(PAIR_ROW):
            fields = text.split(" - ")
            names = fields[0].split(" / ")
            relaxed = len(fields) > 1 and fields[1].strip().startswith("relaxed: ")
            if len(fields) < 3 or len(names) > 2 and not relaxed or \
                    not all(re.fullmatch(LABEL, n.strip()) for n in names):
                self.error(line, f"row of {fields[0]} is not as the pair table wants it",
                           "write `a:A / b:B - what the pair guarantees - x.litmus` (or planned); "
                           "more than two labels only as `a:A / b:B / c:C - relaxed: why - ...`")
                continue
            if not LITMUS.fullmatch(fields[-1].strip()):
                self.error(line, f"row of {fields[0]} ends with `{fields[-1].strip()}`",
                           "end it with the name of a .litmus file or `planned`")
            for name in (n.strip() for n in names):
                tabled.add(name)
                if name not in labels:
                    self.error(line, f"the pair table names {name}, which labels nothing",
                               "correct the row, or label the access")
        for name, line in labels.items():
            if name not in tabled:
                self.error(line, f"ordering label {name} is not in the pair table",
                           "add a row to section [7] PROOF")
        for i, line in enumerate(self.comments):
            if self.section[i] == PROOF and PAIR_ROW.match(line):
                continue
            for m in LABEL_CITED.finditer(LABEL_COMMENT.sub("", line)):
                if m.group() not in labels:
                    self.error(i + 1, f"the comment speaks of {m.group()}, which labels nothing",
                               "name a label that exists")

    def check_invariants(self):
        known = {}
        for line, m, _ in self.proof_rows(INVARIANT_ROW):
            if m[1] in known:
                self.error(line, f"invariant {m[1]} is already in line {known[m[1]]}",
                           "give it the next free number")
            else:
                known[m[1]] = line
        for i, line in enumerate(self.comments):
            for m in INVARIANT_CITED.finditer(line):
                if m.group() not in known:
                    self.error(i + 1, f"invariant {m.group()} is cited, but not listed",
                               "add ` *   I1  text` to section [7] PROOF or correct the number")

    # ---- environment and API ---------------------------------------------------

    def check_environment(self):
        for i, line in enumerate(self.code):
            if self.section[i] in (ENVIRONMENT, BODIES):
                continue
            advice = "only [3] and [6] know the environment; use or add a word there"
            if self.directive[i] and re.match(r"\s*#\s*include\b", line):
                self.error(i + 1, "#include outside [3] and [6]", advice)
            for m in ENV_NAME.finditer(line):
                if not ENV_ALLOWED.fullmatch(m.group()):
                    self.error(i + 1, f"{m.group()} outside [3] and [6]", advice)
            if self.directive[i] and "_WIN32" in line:
                self.error(i + 1, "_WIN32 outside [3] and [6]", advice)

    def declarations(self):
        """Yield (first line index, name, parameter names) of the public functions: what [5]
        declares, and what [17] defines inline."""
        text, first, depth = "", 0, 0
        for i, line in enumerate(self.code):
            if self.section[i] not in (API, PROGRAM) or self.directive[i] or \
                    re.search(r'extern\s+"\s*"\s*\{', line):
                continue
            if not text.strip() and re.fullmatch(r"\s*[A-Z][A-Z0-9_]*\s*", line):
                continue                # a macro that opens or closes the declarations
            for ch in line + "\n":
                if depth == 0 and ch in ";{}":
                    m = re.search(r"\b(bpf_\w+)\s*\(", text)
                    wanted = ch == "{" if self.section[i] == PROGRAM else ch == ";"
                    if m and wanted and not text.startswith("typedef"):
                        yield first, m[1], self.parameters(text[m.end():])
                    text = ""
                elif depth == 0:
                    if not text.strip() and ch.strip():
                        first, text = i, ""
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
        out = []
        for p in names:
            m = re.search(r"\(\s*\*\s*(\w+)", p) or re.search(r"(\w+)\s*(?:\[[^]]*\]\s*)*$", p)
            if p == "...":
                out.append("...")
            elif m and p != "void":
                out.append(m[1])
        return out

    def check_api(self):
        for first, name, params in self.declarations():
            line = first + 1
            end = first - 1
            if end < 0 or not self.lines[end].rstrip().endswith("*/"):
                self.error(line, f"{name}() has no comment", "put its kernel-doc comment, "
                           "`/** ... */`, on the lines directly above")
                continue
            start = end
            while start > 0 and "/*" not in self.comments[start]:
                start -= 1
            if self.lines[start].strip() != "/**":
                self.error(start + 1, f"the comment of {name}() is no kernel-doc comment",
                           "begin it with `/**` alone on the line")
                continue
            self.check_doc(start + 1, self.lines[start + 1:end], name, params)

    def check_doc(self, base, doc, name, params):
        doc = [re.sub(r"^ \* ?", "", d) for d in doc]
        if not doc or not re.match(rf"{name}\(\) - \S", doc[0]):
            self.error(base + 1, f"the comment of {name}() does not name it",
                       f"begin with ` * {name}() - what it does`")
        described, fields = {}, []
        for i, text in enumerate(doc):
            m = re.match(r"@(\w+|\.\.\.):(.*)", text)
            if m:
                described[m[1]] = base + 1 + i
                if not m[2].strip():
                    self.error(base + 1 + i, f"@{m[1]} of {name}() says nothing", "describe it")
            m = re.match(r"(\w+):(.*)", text)
            if m and m[1] in DOC_FIELDS:
                fields.append((base + 1 + i, m[1]))
                if not m[2].strip():
                    self.error(base + 1 + i, f"{m[1]}: of {name}() says nothing",
                               'fill it in; "none" is an answer')
        for p in params:
            if p not in described:
                self.error(base, f"parameter {p} of {name}() is not described",
                           f"add ` * @{p}: ...`")
        for p, line in described.items():
            if p not in params:
                self.error(line, f"{name}() has no parameter {p}", "remove or rename it")
        names = [f for _, f in fields]
        for f in DOC_FIELDS:
            if names.count(f) != 1:
                self.error(base, f"{name}() has {names.count(f)} lines `{f}:`",
                           f"state {', '.join(DOC_FIELDS)}, each once")
        if sorted(names) == sorted(DOC_FIELDS) and tuple(names) != DOC_FIELDS:
            self.error(fields[0][0], f"{name}() states {', '.join(names)}",
                       f"the order is {', '.join(DOC_FIELDS)}")

    def check_page(self, path):
        """Return the errors of a page about the header: labels that it cites and nobody has."""
        with open(path, encoding="utf-8") as f:
            cited = [(i, m.group()) for i, line in enumerate(f, 1)
                     for m in LABEL_CITED.finditer(line)]
        return [f"{path}:{i}: the page speaks of {label}, which labels nothing in the header: "
                "name a label that exists" for i, label in cited if label not in self.labels]

    def check(self):
        self.check_file()
        self.check_sections()
        self.check_labels()
        self.check_invariants()
        self.check_environment()
        self.check_api()
        return [text for _, text in sorted(self.errors, key=lambda e: e[0])]


def main(argv):
    if argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        return 0
    if len(argv) not in (2, 3) or argv[1].startswith("-"):
        print("usage: check_header.py HEADER [PAGE] (--help says what is checked)",
              file=sys.stderr)
        return 2
    try:
        header = Header(argv[1])
        errors = header.check()
        for page in argv[2:]:
            errors += header.check_page(page)
    except (OSError, UnicodeDecodeError) as e:
        print(f"check_header.py: cannot read {' or '.join(argv[1:])}: {e}", file=sys.stderr)
        return 2
    for text in errors:
        print(text)
    functions = len(list(header.declarations()))
    labels = sum(len(LABEL_COMMENT.findall(c)) for c in header.comments)
    print(f"{argv[1]}: {len(header.lines)} lines, {len(header.banners)} sections, "
          f"{labels} ordering labels, {functions} public functions: {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
