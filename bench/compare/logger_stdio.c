/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the C library has: fprintf, dprintf, snprintf and write. */
#include "logger.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct stdio_logger {
	FILE *file;
	int fd;
	char *text;		/* of the file in memory */
	size_t len;
};

static void *fprintf_open(int fd)
{
	struct stdio_logger *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->fd = fd < 0 ? -1 : dup(fd);
	l->file = fd < 0 ? open_memstream(&l->text, &l->len) : fdopen(l->fd, "a");
	return l->file ? l : NULL;
}

static bool fprintf_line(void *logger, const struct line *line)
{
	struct stdio_logger *l = logger;

	return fprintf(l->file, LINE_FORMAT, LINE_ARGS(line)) > 0;
}

static size_t fprintf_pump(void *logger, char *to, size_t size)
{
	struct stdio_logger *l = logger;
	size_t len;

	fflush(l->file);
	if (l->fd >= 0)
		return 0;
	len = l->len < size ? l->len : size;
	memcpy(to, l->text, len);
	rewind(l->file);
	return len;
}

static void fprintf_close(void *logger)
{
	struct stdio_logger *l = logger;

	fclose(l->file);
	free(l->text);
	free(l);
}

static void *fd_open(int fd)
{
	struct stdio_logger *l = fd < 0 ? NULL : calloc(1, sizeof(*l));

	if (l)
		l->fd = dup(fd);
	return l;
}

static bool dprintf_line(void *logger, const struct line *line)
{
	struct stdio_logger *l = logger;

	return dprintf(l->fd, LINE_FORMAT, LINE_ARGS(line)) > 0;
}

static bool write_line(void *logger, const struct line *line)
{
	struct stdio_logger *l = logger;
	char text[LINE_MAX_BYTES];
	int len = snprintf(text, sizeof(text), LINE_FORMAT, LINE_ARGS(line));

	return len > 0 && write(l->fd, text, (size_t)len) == len;
}

static size_t fd_pump(void *logger, char *to, size_t size)
{
	(void)logger;
	(void)to;
	(void)size;
	return 0;
}

static void fd_close(void *logger)
{
	struct stdio_logger *l = logger;

	close(l->fd);
	free(l);
}

static const struct logger logger_fprintf = {
	.name = "fprintf",
	.open = fprintf_open,
	.line = fprintf_line,
	.pump = fprintf_pump,
	.close = fprintf_close,
};
LOGGER_REGISTER(logger_fprintf);

static const struct logger logger_dprintf = {
	.name = "dprintf",
	.open = fd_open,
	.line = dprintf_line,
	.pump = fd_pump,
	.close = fd_close,
};
LOGGER_REGISTER(logger_dprintf);

static const struct logger logger_write = {
	.name = "snprintf and write",
	.open = fd_open,
	.line = write_line,
	.pump = fd_pump,
	.close = fd_close,
};
LOGGER_REGISTER(logger_write);
