/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Nobody reads the pipe that the log goes to, for a second: what happens? A
 * thread writes 100,000 lines a second for 1.5 s, another one pumps; after 1 s
 * a third one reads again. Rows: "writer" with the percentile times 100 of a
 * write, in ns; "counted", lines of which the logger, or its refusals, say that
 * they are lost; "lost", those that did not arrive; "memory", by how much the
 * process had grown at the end of the second, in KiB. Queues hold 65536 lines.
 */
#include "logger.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RATE_NS = 10000, LINES = 150000, REPEATS = 3 };

static const struct logger *logger;
static void *l;
static atomic_bool written;
static atomic_bool closed;

static void *pump(void *arg)
{
	while (!atomic_load(&written))
		if (!logger->pump(l, NULL, 0))
			sleep_ns(1000000);
	logger->pump(l, NULL, 0);
	return arg;
}

struct reading {
	int fd;
	size_t before;
	size_t grown;
	uint64_t lines;
	uint64_t blocked_ns;
};

static void *reader(void *arg)
{
	struct reading *r = arg;
	char buffer[65536];

	sleep_ns(r->blocked_ns);
	r->grown = memory_resident() - r->before;
	for (;;) {
		ssize_t len = read(r->fd, buffer, sizeof(buffer));

		if (len > 0) {
			for (ssize_t i = 0; i < len; i++)
				r->lines += buffer[i] == '\n';
			child_goes_on();
		} else if (atomic_load(&closed)) {
			return NULL;
		} else {
			sleep_ns(1000000);
		}
	}
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static const char *probe(void *arg)
{
	static uint32_t ns[LINES];
	struct reading reading = { .blocked_ns = work(1000000000u, 10000000u) };
	size_t lines = work(LINES, 1500);
	uint64_t refused = 0;
	uint64_t said = 0;
	pthread_t threads[2];
	uint64_t next;
	int fds[2];

	logger = arg;
	memset(ns, 1, sizeof(ns));
	if (pipe(fds))
		return "no pipe";
	l = logger->open(fds[1]);
	if (!l)
		return "cannot be opened";
	for (int i = 0; i < 100; i++) {		/* warms up */
		struct line line = line_make(0, i);

		logger->line(l, &line);
	}
	(void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
	reading.fd = fds[0];
	reading.before = memory_resident();
	if (pthread_create(&threads[0], NULL, reader, &reading) ||
	    pthread_create(&threads[1], NULL, pump, NULL))
		return "no thread";
	next = now_ns();
	for (size_t i = 0; i < lines; i++) {
		struct line line = line_make(1, (int)i);
		uint64_t begin;
		uint64_t took;

		while (now_ns() < next)
			;
		next += RATE_NS;
		begin = now_ns();
		refused += !logger->line(l, &line);
		took = now_ns() - begin;
		ns[i] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
		if (i % 1000 == 0)
			child_goes_on();
	}
	atomic_store(&written, true);
	pthread_join(threads[1], NULL);
	said = logger->lost ? logger->lost(l) : 0;
	logger->close(l);
	sleep_ns(10000000);
	atomic_store(&closed, true);
	pthread_join(threads[0], NULL);
	qsort(ns, lines, sizeof(ns[0]), by_size);
	child_numbers[0] = ns[lines / 2];
	child_numbers[1] = ns[lines * 999 / 1000];
	child_numbers[2] = ns[lines - 1];
	child_numbers[3] = refused + said;
	child_numbers[4] = lines + 100 - reading.lines;
	child_numbers[5] = reading.grown / 1024;
	return NULL;
}

int main(int argc, char **argv)
{
	measure_begin(argc, argv, "blocked");
	for (unsigned int repeat = 0; repeat < REPEATS && another_turn(repeat); repeat++)
		for (unsigned int i = 0; i < loggers_count; i++) {
			const char *name = loggers[i]->name;
			const char *word;

			/* Another process writes its own file, not this pipe. */
			if (!wanted(name) || loggers[i]->others_cpu_ns ||
			    result_has_word("writer", -1, name))
				continue;
			word = in_child(probe, (void *)(uintptr_t)loggers[i], 5000);
			result_word("writer", -1, name, word);
			if (word)
				continue;
			result_add("writer", 5000, name, "ns", (double)child_numbers[0]);
			result_add("writer", 9990, name, "ns", (double)child_numbers[1]);
			result_add("writer", 10000, name, "ns", (double)child_numbers[2]);
			result_add("counted", -1, name, "lines", (double)child_numbers[3]);
			result_add("lost", -1, name, "lines", (double)child_numbers[4]);
			result_add("memory", -1, name, "KiB", (double)child_numbers[5]);
		}
	progress("done");
	return results_print();
}
