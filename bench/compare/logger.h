/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is compared as loggers: things that make a line of text out of three
 * integers and a string, and bring it to a file descriptor, or to memory.
 */
#ifndef COMPARE_LOGGER_H
#define COMPARE_LOGGER_H

#include "measure.h"

#ifdef __cplusplus
extern "C" {
#endif

struct line {
	int writer;
	int number;
	int check;
	const char *text;
};

#define LINE_FORMAT "%d %d %d %s\n"
#define LINE_ARGS(line) (line)->writer, (line)->number, (line)->check, (line)->text
enum { LINE_MAX_BYTES = 80 };

/* A line that says which it is, and how far text is read whether it is whole. */
struct line line_make(int writer, int number);
bool line_parse(const char *text, size_t len, struct line *line);

/*
 * Counts the lines of @fd from its begin, by writer (2 at most). Returns NULL,
 * or "tears", "repeats"; what is missing is not looked for.
 */
const char *lines_count(int fd, uint64_t counts[2]);

struct logger {
	const char *name;
	const char *package;		/* Debian's; NULL: none is needed */

	/* Lines shall go to @fd; -1: to memory. NULL: cannot. */
	void *(*open)(int fd);

	/* false: this line is lost, and the caller knows it. */
	bool (*line)(void *logger, const struct line *line);

	/*
	 * What remains to be done, by the writer or another thread: takes what
	 * is pending to the descriptor, or, in memory, to @to. Returns bytes
	 * taken, as far as it knows.
	 */
	size_t (*pump)(void *logger, char *to, size_t size);

	/* Lines of which it says that they are lost, but told no caller. */
	uint64_t (*lost)(void *logger);

	/* All that was accepted is written when this returns. */
	void (*close)(void *logger);

	/* Of other processes that work for it; NULL: there are none. */
	uint64_t (*others_cpu_ns)(void *logger);

	bool own_thread;		/* it does what pump would do */
};

enum { LOGGERS_MAX = 24 };
extern const struct logger *loggers[LOGGERS_MAX];
extern unsigned int loggers_count;
void logger_register(const struct logger *logger);

#define LOGGER_REGISTER(which)							\
	__attribute__((constructor)) static void register_##which(void)		\
	{									\
		logger_register(&(which));					\
	}									\
	extern const struct logger *loggers[LOGGERS_MAX]

#ifdef __cplusplus
}
#endif

#endif
