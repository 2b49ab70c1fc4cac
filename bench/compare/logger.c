/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "logger.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct logger *loggers[LOGGERS_MAX];
unsigned int loggers_count;

void logger_register(const struct logger *logger)
{
	if (loggers_count < LOGGERS_MAX)
		loggers[loggers_count++] = logger;
}

static const char *const texts[] = {
	"connection closed by peer", "cache miss for a key", "retry", "configuration was read again",
	"queue drained", "user logged in", "took longer than expected",
};
enum { TEXTS = sizeof(texts) / sizeof(texts[0]) };

static int line_check(int writer, int number)
{
	return (int)(((unsigned int)writer * 7919u + (unsigned int)number * 31u) % 1000003u);
}

struct line line_make(int writer, int number)
{
	return (struct line){ writer, number, line_check(writer, number),
			      texts[(unsigned int)number % TEXTS] };
}

bool line_parse(const char *text, size_t len, struct line *line)
{
	char copy[LINE_MAX_BYTES];
	int at = -1;

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (sscanf(copy, "%d %d %d %n", &line->writer, &line->number, &line->check, &at) != 3 ||
	    at < 0 || line->writer < 0 || line->number < 0)
		return false;
	line->text = texts[(unsigned int)line->number % TEXTS];
	return line->check == line_check(line->writer, line->number) &&
	       !strcmp(copy + at, line->text);
}

const char *lines_count(int fd, uint64_t counts[2])
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = malloc((size_t)size + 1);
	int last[2] = { -1, -1 };
	const char *word = NULL;
	size_t got = 0;

	counts[0] = 0;
	counts[1] = 0;
	while (text && got < (size_t)size) {
		ssize_t part = pread(fd, text + got, (size_t)size - got, (off_t)got);

		if (part <= 0)
			break;
		got += (size_t)part;
	}
	for (const char *at = text; !word && text && at < text + got;) {
		const char *end = memchr(at, '\n', (size_t)(text + got - at));
		struct line line;

		if (!end || !line_parse(at, (size_t)(end - at), &line) || line.writer > 1)
			word = "tears";
		else if (line.number == last[line.writer])
			word = "repeats";
		else
			last[line.writer] = line.number;
		counts[line.writer & 1]++;
		at = end ? end + 1 : text + got;
	}
	free(text);
	return word;
}
