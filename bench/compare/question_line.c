/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What does a line of three integers and a string cost? One thread writes
 * bursts of lines, and pumps after each. Rows: "memory", until the text is in a
 * buffer; "file", until it is in a file (in memory: no disk is measured), or
 * with the logger's own thread; "call", what the writer alone waits for, to a
 * file; "CPU", the CPU time of all threads and helping processes until all is
 * in the file. ns per line.
 */
#include "logger.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BURST = 500, ROUNDS = 20, BUFFER = BURST * LINE_MAX_BYTES, CPU_LINES = 50000 };

/* snprintf to a buffer, and nothing else: what formatting costs. */
struct bare {
	char *at;
	char text[BUFFER];
};

static void *bare_open(int fd)
{
	struct bare *b = fd < 0 ? malloc(sizeof(*b)) : NULL;

	if (b)
		b->at = b->text;
	return b;
}

static bool bare_line(void *logger, const struct line *line)
{
	struct bare *b = logger;

	b->at += snprintf(b->at, LINE_MAX_BYTES, LINE_FORMAT, LINE_ARGS(line));
	return true;
}

static size_t bare_pump(void *logger, char *to, size_t size)
{
	struct bare *b = logger;
	size_t len = (size_t)(b->at - b->text);

	memcpy(to, b->text, len < size ? len : size);
	b->at = b->text;
	return len;
}

static const struct logger logger_bare = {
	.name = "snprintf only",
	.open = bare_open,
	.line = bare_line,
	.pump = bare_pump,
	.close = free,
};

static void run_bursts(const struct logger *logger, int fd, char *out)
{
	void *l = logger->open(fd);
	size_t rounds = work(ROUNDS, 1);
	double call[2 * ROUNDS];
	double whole[2 * ROUNDS];
	size_t done = 0;

	if (!l)
		return;
	for (size_t round = 0; round < rounds + 2 && done < 2 * ROUNDS; round++) {
		uint64_t begin = now_ns();
		uint64_t middle;
		size_t got = 0;

		for (int i = 0; i < BURST; i++) {
			struct line line = line_make(1, (int)round * BURST + i);

			logger->line(l, &line);
		}
		middle = now_ns();
		while (fd < 0) {
			size_t part = logger->pump(l, out + got, BUFFER - got);

			got += part;
			if (!part || got == BUFFER)
				break;
		}
		if (fd >= 0)
			logger->pump(l, NULL, 0);
		if (round < 2)
			continue;
		call[done] = (double)(middle - begin) / BURST;
		whole[done++] = (double)(now_ns() - begin) / BURST;
	}
	logger->close(l);
	/* If a thread of its own does the rest, the whole is what CPU says. */
	if (fd >= 0)
		result_add("call", -1, logger->name, "ns", median(call, done));
	if (!logger->own_thread)
		result_add(fd < 0 ? "memory" : "file", -1, logger->name, "ns",
			   median(whole, done));
}

static void run_cpu(const struct logger *logger, int fd)
{
	void *l = logger->open(fd);
	int lines = (int)work(CPU_LINES, 500);
	uint64_t others = l && logger->others_cpu_ns ? logger->others_cpu_ns(l) : 0;
	uint64_t begin = cpu_ns();
	uint64_t cpu;

	if (!l)
		return;
	for (int i = 0; i < lines; i++) {
		struct line line = line_make(0, i);

		logger->line(l, &line);
		if (i % BURST == BURST - 1)
			logger->pump(l, NULL, 0);
	}
	if (logger->others_cpu_ns) {
		sleep_ns(300000000);
		cpu = cpu_ns() - begin + logger->others_cpu_ns(l) - others;
		logger->close(l);
	} else {
		logger->close(l);
		cpu = cpu_ns() - begin;
	}
	result_add("CPU", -1, logger->name, "ns", (double)cpu / lines);
}

/* All lines arrive in the file, whole. */
static const char *probe(void *arg)
{
	const struct logger *logger = arg;
	int fd = memfd_create("compare", 0);
	uint64_t counts[2] = { 0, 0 };
	void *l = logger->open(fd);
	const char *word;

	if (!l)
		return "cannot be opened";
	for (int i = 0; i < 1000; i++) {
		struct line line = line_make(1, i);

		if (!logger->line(l, &line))
			return "refuses";
	}
	logger->pump(l, NULL, 0);
	logger->close(l);
	word = lines_count(fd, counts);
	return word ? word : counts[1] == 1000 ? NULL : "loses";
}

int main(int argc, char **argv)
{
	char *out = memory_get(BUFFER);

	measure_begin(argc, argv, "line");
	for (unsigned int i = 0; i < loggers_count; i++)
		if (wanted(loggers[i]->name))
			result_word("file", -1, loggers[i]->name,
				    in_child(probe, (void *)(uintptr_t)loggers[i], 20000));
	logger_register(&logger_bare);
	progress("probed");
	for (unsigned int repeat = 0; another_turn(repeat); repeat++) {
		for (unsigned int row = 0; row < 3; row++)
			for (unsigned int i = 0; i < loggers_count; i++) {
				const struct logger *logger = loggers[i];
				int fd;

				/* What needs other processes takes seconds to open. */
				if (!wanted(logger->name) ||
				    result_has_word("file", -1, logger->name) ||
				    (logger->others_cpu_ns && (repeat >= 3 || row == 0)))
					continue;
				fd = row ? memfd_create("compare", 0) : -1;
				if (row == 2 && logger != &logger_bare)
					run_cpu(logger, fd);
				else
					run_bursts(logger, fd, out);
				if (fd >= 0)
					close(fd);
			}
		if (repeat % 5 == 0)
			progress("turns");
	}
	progress("done");
	return results_print();
}
