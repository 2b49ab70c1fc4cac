/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* libqb's ring buffer of chunks: for one writer, as it says itself. */
#include "measure.h"

#include <qb/qbrb.h>
#include <stdlib.h>
#include <unistd.h>

struct rb {
	qb_ringbuffer_t *ring;
	size_t longest;
};

static void *rb_open(const struct queue_need *need)
{
	static unsigned int number;
	struct rb *rb = calloc(1, sizeof(*rb));
	char name[64];

	if (!rb)
		return NULL;
	snprintf(name, sizeof(name), "compare-%d-%u", (int)getpid(), number++);
	rb->longest = need->bytes;
	/* A chunk has a head of 8 bytes, and is a multiple of 4. */
	rb->ring = qb_rb_open(name, need->messages * ((need->bytes + 3) / 4 * 4 + 8) + 64,
			      QB_RB_FLAG_CREATE | QB_RB_FLAG_SHARED_THREAD |
			      QB_RB_FLAG_NO_SEMAPHORE, 0);
	return rb->ring ? rb : NULL;
}

static bool rb_push(void *queue, const void *data, size_t len)
{
	struct rb *rb = queue;

	return qb_rb_chunk_write(rb->ring, data, len) == (ssize_t)len;
}

static size_t rb_drain(void *queue, char *to, size_t size)
{
	struct rb *rb = queue;
	size_t done = 0;

	while (size - done >= rb->longest) {
		ssize_t len = qb_rb_chunk_read(rb->ring, to + done, size - done, 0);

		if (len <= 0)
			break;
		done += (size_t)len;
	}
	return done;
}

static void rb_close(void *queue)
{
	struct rb *rb = queue;

	qb_rb_close(rb->ring);
	free(rb);
}

static const struct queue queue_libqb = {
	.name = "libqb",
	.package = "libqb-dev",
	.open = rb_open,
	.push = rb_push,
	.drain = rb_drain,
	.close = rb_close,
};
QUEUE_REGISTER(queue_libqb);
