/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Queues as loggers: the caller formats with snprintf and pushes; whoever pumps
 * drains into a buffer and writes. bpf_stream with its own formatter, too.
 */
#include "logger.h"
#include "ours.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CAPACITY = 1 << 16, BUFFER = 1 << 16 };

struct queue_logger {
	const struct queue *queue;
	void *q;
	int fd;
	char *buffer;
};

static void *queue_logger_open(const char *name, int fd)
{
	struct queue_need need = { CAPACITY, LINE_MAX_BYTES };
	struct queue_logger *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	for (unsigned int i = 0; i < queues_count; i++)
		if (!strcmp(queues[i]->name, name))
			l->queue = queues[i];
	l->fd = fd;
	l->buffer = memory_get(BUFFER);
	l->q = l->queue && l->buffer ? l->queue->open(&need) : NULL;
	return l->q ? l : NULL;
}

static bool queue_logger_line(void *logger, const struct line *line)
{
	struct queue_logger *l = logger;
	char text[LINE_MAX_BYTES];
	int len = snprintf(text, sizeof(text), LINE_FORMAT, LINE_ARGS(line));

	return len > 0 && l->queue->push(l->q, text, (size_t)len);
}

static void write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t part = write(fd, text, len);

		if (part <= 0)
			return;
		text += part;
		len -= (size_t)part;
	}
}

static size_t queue_logger_pump(void *logger, char *to, size_t size)
{
	struct queue_logger *l = logger;
	size_t done = 0;
	size_t part;

	if (l->fd < 0)
		return l->queue->drain(l->q, to, size);
	while ((part = l->queue->drain(l->q, l->buffer, BUFFER))) {
		write_all(l->fd, l->buffer, part);
		done += part;
	}
	return done;
}

static void queue_logger_close(void *logger)
{
	struct queue_logger *l = logger;

	if (l->fd >= 0)
		queue_logger_pump(l, NULL, 0);
	l->queue->close(l->q);
	memory_put(l->buffer, BUFFER);
	free(l);
}

#define QUEUE_LOGGER(id, queue_name, queue_package)				\
	static void *id##_open(int fd)						\
	{									\
		return queue_logger_open(queue_name, fd);			\
	}									\
	static const struct logger id = {					\
		.name = "snprintf and " queue_name,				\
		.package = queue_package,					\
		.open = id##_open,						\
		.line = queue_logger_line,					\
		.pump = queue_logger_pump,					\
		.close = queue_logger_close,					\
	};									\
	LOGGER_REGISTER(id)

/* ---- bpf_stream with its own formatter --------------------------------- */

static bool ours_line(void *logger, const struct line *line)
{
	struct queue_logger *l = logger;

	return !bpf_stream_printf(l->q, LINE_FORMAT, LINE_ARGS(line));
}

static size_t ours_pump(void *logger, char *to, size_t size)
{
	struct queue_logger *l = logger;
	int got = l->fd < 0 ? bpf_stream_read(l->q, to, size > INT_MAX ? INT_MAX : size) :
		bpf_stream_drain_fd(l->q, l->fd, SIZE_MAX);

	return got > 0 ? (size_t)got : 0;
}

static void *ours_logger_open(int fd)
{
	return queue_logger_open("bpf_stream", fd);
}

static void ours_logger_close(void *logger)
{
	struct queue_logger *l = logger;

	while (l->fd >= 0 && ours_pump(l, NULL, 0))
		;
	queue_logger_close(logger);
}

static const struct logger logger_ours = {
	.name = "bpf_stream",
	.open = ours_logger_open,
	.line = ours_line,
	.pump = ours_pump,
	.close = ours_logger_close,
};
LOGGER_REGISTER(logger_ours);

QUEUE_LOGGER(logger_push, "bpf_stream", NULL);
QUEUE_LOGGER(logger_port, "port of the original", NULL);
QUEUE_LOGGER(logger_mutex, "mutex and list", NULL);
QUEUE_LOGGER(logger_wfcqueue, "wfcqueue", "liburcu-dev");
QUEUE_LOGGER(logger_ck_ring, "ck_ring (blocks)", "libck-dev");
QUEUE_LOGGER(logger_rte_ring, "rte_ring (blocks)", "libdpdk-dev");
QUEUE_LOGGER(logger_moodycamel, "moodycamel (malloc)", "libconcurrentqueue-dev");
QUEUE_LOGGER(logger_datagram, "datagram socket", NULL);
