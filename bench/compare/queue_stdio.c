/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What most programs do: fwrite, or dprintf, to a file, which somebody reads.
 * The file is in memory (memfd), so no disk is measured; it grows until it is
 * closed, so it is never full.
 */
#include "measure.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct stdio_file {
	FILE *file;
	int fd;
	off_t read;
};

static void *stdio_open(const struct queue_need *need)
{
	struct stdio_file *f = calloc(1, sizeof(*f));

	(void)need;
	if (!f)
		return NULL;
	f->fd = memfd_create("compare", MFD_CLOEXEC);
	f->file = f->fd < 0 ? NULL : fdopen(f->fd, "a");
	return f->file ? f : NULL;
}

static bool fwrite_push(void *queue, const void *data, size_t len)
{
	struct stdio_file *f = queue;

	return fwrite(data, 1, len, f->file) == len;
}

static bool fwrite_push_group(void *queue, const void *data, size_t len, unsigned int count)
{
	struct stdio_file *f = queue;
	bool ok = true;

	flockfile(f->file);
	while (ok && count--)
		ok = fwrite_unlocked(data, 1, len, f->file) == len;
	funlockfile(f->file);
	return ok;
}

static bool dprintf_push(void *queue, const void *data, size_t len)
{
	struct stdio_file *f = queue;

	return dprintf(f->fd, "%.*s", (int)len, (const char *)data) == (int)len;
}

static size_t stdio_drain(void *queue, char *to, size_t size)
{
	struct stdio_file *f = queue;
	ssize_t len;

	fflush(f->file);
	len = pread(f->fd, to, size, f->read);
	if (len <= 0)
		return 0;
	f->read += len;
	return (size_t)len;
}

static void stdio_close(void *queue)
{
	struct stdio_file *f = queue;

	fclose(f->file);
	free(f);
}

static const struct queue queue_fwrite = {
	.name = "fwrite",
	.open = stdio_open,
	.push = fwrite_push,
	.drain = stdio_drain,
	.close = stdio_close,
	.push_group = fwrite_push_group,
};
QUEUE_REGISTER(queue_fwrite);

static const struct queue queue_dprintf = {
	.name = "dprintf",
	.open = stdio_open,
	.push = dprintf_push,
	.drain = stdio_drain,
	.close = stdio_close,
};
QUEUE_REGISTER(queue_dprintf);
