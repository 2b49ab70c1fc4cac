#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Run the comparisons, and make the CSVs, plots and tables.

usage: run.py BUILD_DIRECTORY [--quick] [--tables] [QUESTION...]

Without QUESTIONs all are run. The CSVs go to bench/results/, the plots to docs/benchmarks/, the
tables into README.md and docs/benchmarks.md, between their markers. --quick takes a tenth of the
time; its figures go to BUILD_DIRECTORY/results, and renew nothing. --tables runs nothing, and
makes plots and tables of the CSVs that are there. ./dev bench calls this.
Exit status: 0 all went well, 1 a question failed, 2 usage.
"""
import csv
import glob
import os
import platform
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BEGIN, END = "<!-- begin {} -->\n", "<!-- end {} -->\n"
OURS, FLOOR, PORT, MUTEX = "bpf_stream", "floor", "port of the original", "mutex and list"
RING = "ck_ring (blocks)"

# Who is asked by --quick where many take their time.
FEW = ",".join((OURS, PORT, MUTEX, "wfcqueue", "ck_ring (blocks)", "moodycamel (malloc)", "spdlog"))

# Seconds after which there is no further turn, for the whole; options for --quick.
QUESTIONS = {
    "size": (25, "--repeats 5 --seconds 5"),
    "alignment": (30, "--repeats 2 --seconds 3"),
    "writers": (120, "--repeats 3 --seconds 10 --only FEW"),
    "group": (10, "--repeats 5 --seconds 3"),
    "pending": (120, "--repeats 3 --work 50 --seconds 4"),
    "handler": (40, "--repeats 5 --work 30 --seconds 3 --only FEW"),
    "memory": (20, "--repeats 1"),
    "latency": (80, "--repeats 2 --work 20 --seconds 5 --only FEW"),
    "instructions": (0, ""),
    "rmw": (20, "--repeats 1"),
    "line": (60, "--repeats 3 --seconds 6"),
    "interrupted": (0, "--work 20 --only FEW"),
    "stopped": (0, "--work 20"),
    "blocked": (60, "--repeats 1 --work 20"),
}
LIMIT = 300     # seconds for a question

PACKAGES = ("liburcu-dev libck-dev libdpdk-dev libconcurrentqueue-dev libtbb-dev libboost-dev "
            "libqb-dev libspdlog-dev liblttng-ust-dev lttng-tools valgrind libc6").split()

# In plots: the name and a colour. All competitors are in the tables.
PLOTTED = {
    FLOOR: "#999999", OURS: "#d62728", PORT: "#9467bd", MUTEX: "#8c564b", "wfcqueue": "#1f77b4",
    "ck_ring (blocks)": "#2ca02c", "rte_ring (blocks)": "#17becf",
    "moodycamel (malloc)": "#ff7f0e", "boost::lockfree (blocks)": "#bcbd22", "libqb": "#e377c2",
}


def output(*command):
    """What a program prints; nothing, if it is not there."""
    try:
        p = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return p.stdout.strip()


def machine():
    """The lines of comment that each CSV begins with."""
    model = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo", encoding="utf-8").read())
    versions = output("dpkg-query", "-W", "-f", "${Package} ${Version}, ", *PACKAGES).rstrip(", ")
    return [
        f"machine: {model.group(1) if model else platform.machine()}, {os.cpu_count()} CPUs, "
        f"Linux {platform.release()}",
        f"versions: {versions}",
        f"commit: {output('git', '-C', ROOT, 'describe', '--always', '--dirty') or 'unknown'}",
        f"load before: {os.getloadavg()[0]:.1f} programs that want a CPU",
    ]


# ---- Running ------------------------------------------------------------

def instructions(program, directory):
    """What the dumps of callgrind say, as the other questions print it."""
    out = os.path.join(directory, "callgrind.out")
    for path in glob.glob(glob.escape(out) + "*"):
        os.remove(path)
    p = subprocess.run(["valgrind", "-q", "--tool=callgrind", "--collect-atstart=no",
                        f"--callgrind-out-file={out}", program],
                       capture_output=True, text=True, timeout=LIMIT, check=False)
    rows = [line for line in p.stdout.splitlines() if line.startswith("#")]
    rows.append("row,param,competitor,unit,best,median,spread,repeats,word")
    nothing = {}                        # what the loops cost, see the program
    dumps = glob.glob(glob.escape(out) + ".*")
    for path in sorted(dumps, key=lambda path: int(path.rsplit(".", 1)[1])):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        what = re.search(r"^desc: Trigger: Client Request: (push|call|drain) (.*)$", text, re.M)
        count = re.search(r"^totals: (\d+)", text, re.M)
        if what and count:
            each = int(count.group(1)) / 500
            if what.group(2) == "nothing":
                nothing[what.group(1)] = each
                continue
            each -= nothing.get(what.group(1), 0)
            rows.append(f"{what.group(1)},64,{what.group(2)},instructions,"
                        f"{each:.1f},{each:.1f},0,1,")
    return p.returncode or len(rows) < 4, "\n".join(rows) + "\n"


def run(build, question, quick, results):
    """Run one question, and write its CSV; return whether that went well."""
    program = os.path.join(build, "bench/compare/compare_" + question)
    seconds, few = QUESTIONS[question]
    options = ["--seconds", str(seconds)]
    if quick:
        options = [FEW if word == "FEW" else word for word in few.split()]
    print(f"{question} ... ", end="", flush=True)
    start = time.monotonic()
    head = machine() + ["command: " + " ".join(["compare_" + question, *options])]
    try:
        if question == "instructions":
            status, text = instructions(program, build)
        else:
            p = subprocess.run([program, *options], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, timeout=LIMIT, check=False)
            status, text = p.returncode, p.stdout
    except subprocess.TimeoutExpired:
        print(f"took more than {LIMIT} s")
        return False
    print(f"{time.monotonic() - start:.0f} s")
    if status:
        print(f"compare_{question} failed: exit status {status}")
        return False
    os.makedirs(results, exist_ok=True)
    with open(os.path.join(results, question + ".csv"), "w", encoding="utf-8") as f:
        f.write("".join(f"# {line}\n" for line in head) + text)
    return True


class Lttng:
    """LTTng's session daemon, while it is needed, if none runs."""

    def __enter__(self):
        self.daemon = None
        if subprocess.run(["lttng", "list"], capture_output=True, check=False).returncode:
            self.daemon = subprocess.Popen(["lttng-sessiond", "--no-kernel"],
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(1)

    def __exit__(self, *_):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait()


# ---- Tables ---------------------------------------------------------------

class Results:
    def __init__(self, directory):
        self.rows = {}
        self.heads = {}
        for question in QUESTIONS:
            path = os.path.join(directory, question + ".csv")
            if not os.path.exists(path):
                continue
            with open(path, encoding="utf-8") as f:
                lines = f.read().splitlines()
            self.heads[question] = [line[2:] for line in lines if line.startswith("# ")]
            self.rows[question] = list(csv.DictReader(
                line for line in lines if not line.startswith("#")))

    def find(self, question, row, param, competitor, unit=None):
        """The figures of one row, or {}; param None: the one without."""
        param = "" if param is None else str(param)
        for r in self.rows.get(question, []):
            if (r["row"], r["param"], r["competitor"]) == (row, param, competitor) and \
                    r["median"] and (unit is None or r["unit"] == unit):
                return r
        return {}

    def word(self, question, row, param, competitor):
        param = "" if param is None else str(param)
        for r in self.rows.get(question, []):
            if (r["row"], r["competitor"]) == (row, competitor) and r["word"] and \
                    r["param"] in (param, ""):
                return r["word"]
        return ""

    def median(self, question, row, param, competitor, unit=None):
        figures = self.find(question, row, param, competitor, unit)
        return float(figures["median"]) if figures else None

    def cell(self, question, row, param, competitor, unit=None):
        figures = self.find(question, row, param, competitor, unit)
        if figures:
            text = short(float(figures["median"]))
            # With several turns the best, too.
            if int(figures["repeats"]) > 1 and short(float(figures["best"])) != text:
                text += f" ({short(float(figures['best']))})"
            return text
        # The word stands once, not beside each of several figures.
        if unit and unit.startswith("percent "):
            return "–"
        return self.word(question, row, param, competitor) or "–"

    def competitors(self, question):
        return list(dict.fromkeys(r["competitor"] for r in self.rows.get(question, [])))

    def delivers(self, competitor):
        """Whether two writers and a reader get all, in order: what a queue for many writers is."""
        return competitor != FLOOR and \
            self.word("writers", "order", None, competitor) == "ordered" and \
            not self.word("writers", "writers and reader", 2, competitor)

    def best_other(self, question, row, param, unit=None):
        """Of those that deliver, but ours and the port: (median, name), or (None, '')."""
        found = [(self.median(question, row, param, name, unit), name)
                 for name in self.competitors(question)
                 if name not in (OURS, PORT) and self.delivers(name)]
        return min((f for f in found if f[0] is not None), default=(None, ""))


def short(value):
    """Three figures, and thousands apart."""
    if value >= 1000:
        digits = 2 - (len(str(int(value))) - 1)
        return f"{int(round(value, digits)):,}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |",
             "|---|" + "---:|" * (len(header) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def table(results, question, columns):
    """A row for each competitor; columns are (title, row, param, unit), sorted by the first."""
    rows = []
    for name in results.competitors(question):
        first = [results.median(question, c[1], c[2], name, c[3]) for c in columns]
        order = next((v for v in first if v is not None), float("inf"))
        cells = [results.cell(question, c[1], c[2], name, c[3]) for c in columns]
        shown = f"**{name}**" if name == OURS else name
        rows.append((first[0] is None, order, [shown, *cells]))
    rows.sort(key=lambda r: r[:2])
    return markdown(["", *(c[0] for c in columns)], [r[2] for r in rows])


def bytes_columns(row, sizes, unit):
    return [(f"{size:,} B", row, size, unit) for size in sizes]


SIZES = (1, 16, 64, 256, 1024, 4000, 16384)


def tables(results):
    """All tables of docs/benchmarks.md, by the names of their markers."""
    made = {
        "size-both": table(results, "size", bytes_columns("both", SIZES, "ns")),
        "size-push": table(results, "size", bytes_columns("push", SIZES, "ns")),
        "size-drain": table(results, "size", bytes_columns("drain", SIZES, "ns")),
        "alignment": table(results, "alignment", [
            ("best place, ns", "best", 4000, "ns"), ("worst place, ns", "worst", 4000, "ns"),
            ("worst to best", "worst to best", 4000, "ratio")]),
        "writers": table(results, "writers", [
            (f"{n}, no reader", "writers", n, "ns") for n in (1, 2, 4, 8)] + [
            (f"{n} and reader", "writers and reader", n, "ns") for n in (1, 2, 4, 8)] + [
            ("order between writers", "order", None, "-")]),
        "group": table(results, "group", [
            (f"groups of {n}", "group", n, "ns") for n in (1, 8, 64)]),
        "pending": table(results, "pending", [
            (f"{n:,}", "whole", n, "ns") for n in (10, 100, 1000, 10000, 100000, 1000000)] + [
            ("1,000,000 in parts", "parts", 1000000, "ns")]),
        "handler": table(results, "handler", [("ns", "push in a handler", 64, "ns")]),
        "memory": table(results, "memory", bytes_columns("pending", (8, 64, 1024), "bytes")),
        "instructions": table(results, "instructions", [
            ("push", "push", 64, "instructions"), ("drain", "drain", 64, "instructions")]),
        "line": table(results, "line", [
            (row, row, None, "ns") for row in ("memory", "file", "call", "CPU")]),
        "interrupted": table(results, "interrupted", [
            (title, row, None, unit) for row in ("over malloc", "over a line")
            for title, unit in ((row, "-"), ("refused, %", "percent refused"),
                                ("lost, %", "percent lost"))]),
        "stopped": table(results, "stopped", [("stops in which all stood, %", "stalled", None,
                                               "percent")]),
        "blocked": table(results, "blocked", [
            ("median, ns", "writer", 5000, "ns"), ("p99.9, ns", "writer", 9990, "ns"),
            ("longest, ns", "writer", 10000, "ns"), ("counted as lost", "counted", None, "lines"),
            ("lost in fact", "lost", None, "lines"), ("grown by, KiB", "memory", None, "KiB")]),
        "bounds": bounds(results),
        "machine": "".join(f"    {line}\n" for line in results.heads.get("size", [])),
    }
    titles = ("one stream", "one stream; read", "stream of its own", "stream of its own; read")
    made["rmw"] = markdown(["writers", *titles], [
        [str(n), *(results.cell("rmw", title, n, OURS) for title in titles)] for n in (1, 2, 4, 8)])
    for row in ("alone", "loaded"):
        made["latency-" + row] = table(results, "latency", [
            (title, row, param, "ns") for title, param in (
                ("p50", 5000), ("p99", 9900), ("p99.9", 9990), ("p99.99", 9999), ("max", 10000))])
    return made


def bounds(results):
    """Each bound that this project sets itself, and what was measured."""
    rows = []

    def row(what, bound, value, digits=2):
        verdict = "–" if value is None else "yes" if value <= bound else \
            f"no: {100 * (value / bound - 1):.0f} % above"
        rows.append([what, f"{bound:g}", "–" if value is None else f"{value:.{digits}f}", verdict])

    def ratio(a, b):
        return a / b if a is not None and b else None

    def ours(question, row, param, unit="ns"):
        return results.median(question, row, param, OURS, unit)

    def to(name, size):
        return ratio(ours("size", "both", size), results.median("size", "both", size, name))

    row("64 bytes, one thread, push and drain, to the floor", 1.7, to(FLOOR, 64))
    row("the same, to the port of the original", 0.5, to(PORT, 64))
    row("1 byte, to the floor", 2.5, to(FLOOR, 1))
    row("16 bytes, to the floor", 2.5, to(FLOOR, 16))
    rest = [("size", "both", size, f"{size:,} byte{'s' * (size > 1)}, one thread")
            for size in SIZES]
    rest += [("writers", "writers", n, f"{n} writers, no reader") for n in (2, 8)]
    rest += [("writers", "writers and reader", n, f"{n} writer{'s' * (n > 1)} and a reader")
             for n in (1, 2)]
    rest += [("group", "group", n, f"groups of {n}") for n in (1, 8, 64)]
    rest += [("pending", "whole", n, f"{n:,} pending") for n in (10, 1000, 100000, 1000000)]
    rest += [("handler", "push in a handler", 64, "push in a handler")]
    for question, name, param, title in rest:
        best, who = results.best_other(question, name, param)
        row(f"{title}, to the best that delivers ({who or 'none'})", 1.0,
            ratio(ours(question, name, param), best))
    row("a line into a stream and out, to snprintf plus push and drain", 0.6,
        ratio(ours("line", "memory", None),
              results.median("line", "memory", None, "snprintf and bpf_stream")))
    row("1,000,000 pending, to 1,000", 1.5,
        ratio(ours("pending", "whole", 1000000), ours("pending", "whole", 1000)))
    row("4,000 bytes, worst place of the source to the best", 1.3,
        ours("alignment", "worst to best", 4000, "ratio"))
    row("instructions of a push of 64 bytes", 75, ours("instructions", "call", 64, "instructions"),
        0)
    row("instructions to read it", 55, ours("instructions", "drain", 64, "instructions"), 0)
    return markdown(["row", "at most", "measured", "kept"], rows)


def readme(results):
    """The six rows of README.md."""
    rows = []

    def row(what, question, name, param, unit):
        best, who = results.best_other(question, name, param, unit)
        cells = [results.cell(question, name, param, c, unit).split(" (")[0]
                 for c in (OURS, PORT, MUTEX)]
        rows.append([what, f"**{cells[0]}**", *cells[1:],
                     f"{short(best)} ({who})" if best is not None else "–"])

    row("64 bytes, one thread, pushed and read; ns", "size", "both", 64, "ns")
    row("two writers and a reader on two cores; ns a message", "writers", "writers and reader", 2,
        "ns")
    row("a million pending; ns a message", "pending", "whole", 1000000, "ns")
    row("memory of a pending message of 64 bytes", "memory", "pending", 64, "bytes")
    row("a push in a signal handler; ns", "handler", "push in a handler", 64, "ns")
    queues = (OURS, "snprintf and " + PORT, "snprintf and " + MUTEX)
    cells = [results.cell("stopped", "stalled", None, name, "percent").split(" (")[0]
             for name in queues]
    rows.append(["a writer is stopped in its write: stops in which all stood still, %",
                 f"**{cells[0]}**", *cells[1:],
                 results.cell("stopped", "stalled", None, "snprintf and " + RING, "percent") +
                 f" ({RING})"])
    return markdown(["", "bpf_stream", PORT, MUTEX, "best other queue for many writers"], rows)


def renew(path, made):
    """Put each table between its markers; return the names of those that were not there."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    missing = []
    for name, content in made.items():
        begin, end = BEGIN.format(name), END.format(name)
        if begin not in text or end not in text:
            missing.append(name)
            continue
        head, rest = text.split(begin, 1)
        text = head + begin + "\n" + content + "\n" + end + rest.split(end, 1)[1]
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return missing


# ---- Plots ----------------------------------------------------------------

def plot(results, path, question, row, title, xlabel, ylabel, xs=None, log="xy"):
    """Lines over the parameter, one for each of those in PLOTTED."""
    script = [
        "set terminal svg size 800,500 font 'sans-serif,13' background rgb 'white'",
        f"set output '{path}'", f"set title '{title}'", f"set xlabel '{xlabel}'",
        f"set ylabel '{ylabel}'", f"set logscale {log}", "set key outside right",
        "set grid ytics lc rgb '#dddddd'", "set format x '%.0f'" if xs is None else
        "set xtics (" + ", ".join(f"'{label}' {x}" for label, x in xs) + ")",
    ]
    lines = []
    for name, colour in PLOTTED.items():
        points = sorted((float(r["param"]), float(r["median"])) for r in results.rows[question]
                        if (r["row"], r["competitor"]) == (row, name)
                        and r["median"] and r["param"])
        if not points:
            continue
        block = f"$d{len(lines)}"
        script += [f"{block} << E", *(f"{x} {y}" for x, y in points), "E"]
        lines.append(f"{block} using 1:2 with linespoints pt 7 ps 0.5 lw "
                     f"{3 if name == OURS else 1.5} lc rgb '{colour}' title '{name}' noenhanced")
    if not lines:
        return
    script.append("plot " + ", ".join(lines))
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)


def plots(results, directory):
    os.makedirs(directory, exist_ok=True)
    percentiles = [("p50", 5000), ("p90", 9000), ("p99", 9900), ("p99.9", 9990), ("max", 10000)]
    for name, question, row, title, xlabel, ylabel, xs, log in (
            ("size", "size", "both", "Push and drain, one thread", "bytes in a message", "ns", None,
             "xy"),
            ("pending", "pending", "whole", "Push and drain of 64 bytes, one thread", "pending",
             "ns", None, "xy"),
            ("writers", "writers", "writers", "64 bytes, writers at once, no reader", "writers",
             "ns a message", None, "y"),
            ("readers", "writers", "writers and reader", "64 bytes, writers and a reader at once",
             "writers", "ns a message", None, "y"),
            ("latency", "latency", "loaded", "One push of 64 bytes, under load", "percentile",
             "ns", percentiles, "y"),
            ("memory", "memory", "pending", "Memory of a pending message", "bytes in a message",
             "bytes", None, "xy")):
        if question in results.rows:
            plot(results, os.path.join(directory, name + ".svg"), question, row, title, xlabel,
                 ylabel, xs, log)


def main():
    words = sys.argv[1:]
    quick = "--quick" in words
    only_tables = "--tables" in words
    words = [word for word in words if word not in ("--quick", "--tables")]
    if words in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if not words or any(word not in QUESTIONS for word in words[1:]):
        print(__doc__, file=sys.stderr)
        return 2
    build, questions = os.path.abspath(words[0]), words[1:] or list(QUESTIONS)
    kept = os.path.join(ROOT, "bench/results")
    directory = os.path.join(build, "results") if quick else kept
    well = True
    start = time.monotonic()
    if not only_tables:
        with Lttng():
            for question in questions:
                well &= run(build, question, quick, directory)
    results = Results(directory)
    print()
    print(bounds(results))
    print(readme(results))
    print("Bounds are ratios, but for the instructions; docs/benchmarks.md explains the rows.")
    if quick:
        print("A dash was not measured: it takes a whole run.")
    else:
        plots(results, os.path.join(ROOT, "docs/benchmarks"))
        missing = renew(os.path.join(ROOT, "docs/benchmarks.md"), tables(results))
        missing += renew(os.path.join(ROOT, "README.md"), {"benchmarks": readme(results)})
        for name in missing:
            print(f"run.py: no markers for the table {name}")
            well = False
    print(f"{len(questions)} questions, {(time.monotonic() - start) / 60:.1f} minutes; the figures "
          f"are in {os.path.relpath(directory)}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
