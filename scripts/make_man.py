#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Make the manual pages of section 3 from the header's comments, so that both stay the same.

usage: make_man.py PROJECT_DIRECTORY OUTPUT_DIRECTORY NAME...

Fills man/bpf_stream.3.in and writes it as bpf_stream.3, and a page for each NAME, which only refers
to it. In the template, @VERSION@ stands for the version, and these lines for what [4], [5] and [19]
say: @NAMES@ @SYNOPSIS 5a@ @TYPES 4@ @FUNCTIONS 5a@ @RETURNS 5a@, each with its section, and
@SIGNAL_SAFE@ @THREADS_ONLY@. What is written by hand, there and in man/bpf_stream.7, is compared:

  - the NAMEs are the functions and macros of the header
  - the ERRORS of bpf_stream.3 are those that the header's comments name
  - whatever begins with bpf_ or BPF_ is in the header; the reasons of refusals, the knobs of [2]
    and the macros of [19] are all spoken of
  - the paragraphs `From any context` and `From threads only` of bpf_stream.7 are as [5] says, and
    so is `threads only` in [1]; its numbers for the constants are those of [2]

Exit status: 0 made, 1 something differs, 2 usage.
"""
import os
import re
import sys
import textwrap

from check_header import API, DOC_FIELDS, Header, PROGRAM

CONFIGURATION, TYPES = 2, 4
MARK = re.compile(r"^@([A-Z_]+)(?: (\w+))?@$", re.M)
ERROR = re.compile(r"(?<![\w-])-(E[A-Z0-9]{2,})\b")
IN_KERNELS = "5f"                        # these functions are not for user programs
PUBLIC = re.compile(r"\b(?:bpf_|BPF_)\w*[a-zA-Z0-9]\b")
WORD = re.compile(r"(\(*)(?:@(\w+)|(\w+)\(\))([.,;:)]*)")
DOC = re.compile(r"/\*\*\n(.*?)\n \*/\n", re.S)
SENTENCE = re.compile(r"^/\* (.*) \*/\n(static inline [^;{]*?\b(bpf_\w+))(\([^{]*\))\n\{", re.M)


class Item:
    """What one kernel-doc comment says."""

    def __init__(self, section, doc, prototype):
        self.section = section          # "5a"
        lines = [re.sub(r"^ \* ?", "", line) for line in doc.split("\n")]
        self.title, _, self.brief = lines[0].partition(" - ")
        self.name = self.title.split()[-1].replace("()", "")
        self.prototype = prototype
        self.definition = None          # of a struct or typedef: its lines
        self.params, self.fields, self.text = [], {}, [""]
        into = None
        for line in lines[1:]:
            m = re.match(r"(@?)(\w+|\.\.\.):\s*(.*)", line)
            if m and (m[1] or m[2] in DOC_FIELDS):
                into = [m[2], m[3]]
                if m[1]:
                    self.params.append(into)
                else:
                    self.fields[m[2]] = into
            elif not line.strip():
                into = None
                self.text.append("")
            elif into:
                into[1] += " " + line.strip()
            else:
                self.text[-1] += " " + line.strip()
        self.text = [text.strip() for text in self.text if text.strip()]
        # The function that this one is like, and the sentence that says so.
        likes = [re.match(r"(As (\w+)\(\)).*?\.(?= |$)", text) for text in self.text]
        self.like = next((m for m in likes if m), None)


def items(header):
    """The documented types and functions, in the order of the header."""
    functions = {name for _, name, _ in header.declarations()}
    subs = {line - 1: letter for line, _, letter, _ in header.subs}
    subs.update((line - 1, "") for line, _, _ in header.banners)
    letter, header.starts = "", []
    for i, number in enumerate(header.section):
        letter = subs.get(i, letter)
        header.starts.append(f"{number}{letter}")
    for m in DOC.finditer(header.text):
        start = header.starts[header.line_of(m.start()) - 1]
        if int(re.match(r"\d+", start)[0]) not in (TYPES, API, PROGRAM) or start == IN_KERNELS:
            continue
        following = header.line_of(m.end()) - 1
        code = " ".join(" ".join(header.code[following:following + 5]).split())
        item = Item(start, m[1], re.split(r"[;{]", code)[0].strip())
        if re.match(r"(struct|typedef) ", item.title):
            text = re.match(r"[^{;]*(\{.*?^\})?;", header.text[m.end():], re.M | re.S)[0]
            item.definition = re.sub(r"\bbse_(?:figure|(u32|u64))\b", lambda m: m[1] or "u64",
                                     text)                            # atomic: private
        if item.name in functions or re.match(r"(struct|enum|typedef) ", item.title):
            yield item
    for m in SENTENCE.finditer(header.text):                    # what [19] says of its functions
        prototype = " ".join(f"{m[2]}{m[4]}".split())
        item = Item(str(PROGRAM), f" * {m[3]}() - {m[1]}\n * {m[1]}", prototype)
        item.text = []
        yield item


def escape(text):
    text = text.replace("\\", "\\e").replace("-E", "\\-E")
    return "\\&" + text if text[:1] in (".", "'") else text


def prose(text):
    """Text with @parameters, functions() and sentences on lines of their own."""
    lines, plain = [], []
    for word in text.split():
        m = WORD.fullmatch(word)
        if not m:
            plain.append(escape(word))
        if plain and (m or word.endswith((".", ".)"))):
            lines += textwrap.wrap(" ".join(plain), 80)
            plain = []
        if not m:
            continue
        macro = f".Fa {m[2]}" if m[2] else f".Fn {m[3]}"
        if m[1]:
            macro = macro.replace(" ", f" {m[1]} ", 1)
        lines.append(" ".join([macro, *m[4]]))
    if plain:
        lines += textwrap.wrap(" ".join(plain), 80)
    return "\n".join(lines)


def sentence(text):
    first = text.split()[0]
    return (text if "_" in first else text[0].upper() + text[1:]) + \
        ("" if text.endswith((".", "?")) else ".")


def synopsis(item):
    text = re.sub(r"\b(BSE_API(?:_STAGE)?|static|inline)\b|\bBSE_PRINTF\(.*?\)", "", item.prototype)
    m = re.fullmatch(r"(.*?)\s*\b(\w+)\((.*)\)", text.strip())
    out = [f".Ft {m[1]}", f".Fo {m[2]}"]
    out += [f'.Fa "{parameter.strip()}"' for parameter in m[3].split(",")]
    return "\n".join(out + [".Fc"])


def tagged(pairs, macro=""):
    out = [".Bl -tag -width Ownership -compact"]
    for tag, text in pairs:
        out += [f".It {macro}{tag}".rstrip(), prose(text)]
    return "\n".join(out + [".El"])


def describe(item):
    out = [f".Ss {item.title if ' ' in item.title else item.name}", prose(sentence(item.brief))]
    if item.definition:
        out += [".Bd -literal -offset indent", escape(item.definition), ".Ed"]
    if item.params:
        out.append(".Pp")
        out.append(tagged(item.params, "Fa "))
    for text in item.text:
        out += [".Pp", prose(text)]
    # What functions return has a section of its own.
    fields = [f for f in item.fields.values() if f[0] != "Return" or item.definition]
    if fields:
        out += [".Pp", tagged(fields, "Em ")]
    return "\n".join(out)


def signal_safe(item, functions):
    """Its context begins with "Any", or is that of the function that it is like; else it is any."""
    if "Context" in item.fields:
        return item.fields["Context"][1].startswith("Any")
    return not item.like or signal_safe(functions[item.like[2]], functions)


def returns(item):
    """What a function returns, or nothing."""
    if "Return" in item.fields:
        return item.fields["Return"][1].replace("none.", "")
    if not item.like or "void " + item.name in item.prototype:
        return ""
    text = item.like[0].split(";")[0] if ERROR.search(item.like[0]) else item.like[1]
    return text.rstrip(".") + "."


def contexts(header, overview, functions):
    """What bpf_stream.7 and [1] say wrongly about where functions may be called from."""
    short = re.search(r"threads only:(.*?)inside a sink:", header.text, re.S)[1]
    told = {"bpf_stream_" + name for name in re.findall(r"\w+", short)}
    true = {name for name, item in functions.items()
            if item.section.startswith(str(API)) and not signal_safe(item, functions)}
    yield from (f"bpf_stream.h: [1], threads only: {n} is here or in [5], not in both"
                for n in sorted(told ^ true))
    for begin, safe in (("From any context", True), ("From threads only", False)):
        paragraph = overview.partition(begin)[2].partition(".Pp")[0]
        told = set(re.findall(r"^\.Fn (\w+)", paragraph, re.M))
        true = {name for name, item in functions.items()
                if item.section.startswith(str(API)) and signal_safe(item, functions) == safe}
        yield from (f"bpf_stream.7: {begin}: {n} is not" for n in sorted(told - true))
        # The first paragraph names groups of functions, too.
        yield from (f"bpf_stream.7: {begin}: {n} is missing" for n in sorted(true - told)
                    if not safe)


def fill(template, header, found, functions, macros):
    types = [item for item in found if item.name not in functions and item.name != "bpf_stream" and
             "private" not in item.brief]

    def names(safe):
        return "\n".join(f".Fn {name} ," for name, item in functions.items()
                         if signal_safe(item, functions) == safe).rstrip(" ,") + " ."

    def insert(m):
        here = [item for item in functions.values() if item.section == m[2]]
        of_types = [item for item in types if item.section == m[2]]
        made = {
            "NAMES": lambda: "\n".join(f".Nm {n} ," for n in [*functions, *macros]).rstrip(" ,"),
            "SIGNAL_SAFE": lambda: names(True),
            "THREADS_ONLY": lambda: names(False),
            "SYNOPSIS": lambda: "\n".join(map(synopsis, here)),
            "TYPES": lambda: "\n".join(map(describe, of_types)),
            "FUNCTIONS": lambda: "\n".join(map(describe, here)),
            "RETURNS": lambda: tagged([(f.name, returns(f)) for f in here if returns(f)], "Fn "),
        }.get(m[1], lambda: "")()
        return made or sys.exit(f"make_man.py: the template's {m.group()} stands for nothing")

    version = re.search(r'^#define BPF_STREAM_VERSION "(.*)"', header.text, re.M)[1]
    return MARK.sub(insert, template).replace("@VERSION@", version)


def differences(header, functions, macros, names, template, overview):
    """What was written by hand and is not so."""
    public = set(PUBLIC.findall(header.text)) | {"BPF_STREAM"}     # the title
    comments = "\n".join(line for i, line in enumerate(header.comments)
                         if header.section[i] in (TYPES, API, PROGRAM) and
                         header.starts[i] != IN_KERNELS)
    errors = set(ERROR.findall(comments))
    listed = set(re.findall(r"^\.It Bq Er (\w+)$", template, re.M))
    configuration = "\n".join(line for i, line in enumerate(header.lines)
                              if header.section[i] == CONFIGURATION)
    knobs = set(re.findall(r"^#ifndef (\w+)|^ \* (BPF_\w+)\t", configuration, re.M))
    knobs = {a or b for a, b in knobs}
    reasons = set(re.findall(r"\bBPF_STREAM_REFUSED_\w+", header.text))
    spoken = {page: set(PUBLIC.findall(text)) for page, text in
              (("bpf_stream.3", template), ("bpf_stream.7", overview))}
    for what, found in (
            ("man/meson.build does not list {}", (functions | macros) - names),
            ("man/meson.build lists {}, which the header does not declare", names - functions - macros),
            ("bpf_stream.3: ERRORS lacks {}", errors - listed),
            ("bpf_stream.3: ERRORS has {}, which the header never names", listed - errors),
            ("bpf_stream.3: {} is not in the header", spoken["bpf_stream.3"] - public),
            ("bpf_stream.7: {} is not in the header", spoken["bpf_stream.7"] - public),
            ("no page speaks of {}", (knobs | macros | reasons) - set().union(*spoken.values()))):
        yield from (what.format(name) for name in sorted(found))


def main(argv):
    if len(argv) < 4:
        print(__doc__.strip())
        return 0 if argv[1:] in (["-h"], ["--help"]) else 2
    root, out = argv[1:3]
    header = Header(os.path.join(root, "include/bpf_stream.h"))
    pages = []
    for name in ("bpf_stream.3.in", "bpf_stream.7"):
        with open(os.path.join(root, "man", name), encoding="utf-8") as f:
            pages.append(f.read())
    found = list(items(header))
    functions = {item.name: item for item in found if item.title.endswith("()")}
    macros = re.findall(r"^#define (bpf_\w+)\(", header.text, re.M)
    errors = list(differences(header, set(functions), set(macros), set(argv[3:]), *pages))
    errors += [f"bpf_stream.h: {item.name}() is as {item.like[2]}(), which is not there"
               for item in functions.values() if item.like and item.like[2] not in functions]
    errors += [] if errors else contexts(header, pages[1], functions)
    for text in errors:
        print(f"make_man.py: {text}", file=sys.stderr)
    if errors:
        return 1
    text = fill(pages[0], header, found, functions, macros)
    for name in ["bpf_stream", *argv[3:]]:
        with open(os.path.join(out, name + ".3"), "w", encoding="utf-8") as f:
            f.write(text if name == "bpf_stream" else ".so man3/bpf_stream.3\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
