/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The floor: no queue, but what no queue can do without. One atomic addition
 * says where the message goes; it is copied there, and copied out again. It
 * knows all messages to be of one length, and must not be read while it is
 * written.
 */
#include "measure.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct floor {
	_Alignas(64) _Atomic(size_t) end;
	_Alignas(64) size_t begin;
	size_t len;
	size_t size;
	char *bytes;
};

static void *floor_open(const struct queue_need *need)
{
	struct floor *f = aligned_alloc(64, sizeof(*f));

	if (!f)
		return NULL;
	memset(f, 0, sizeof(*f));
	f->len = need->bytes;
	f->size = need->messages * need->bytes;
	f->bytes = memory_get(f->size);
	return f->bytes ? f : NULL;
}

static bool floor_push(void *queue, const void *data, size_t len)
{
	struct floor *f = queue;
	size_t at = atomic_fetch_add_explicit(&f->end, len, memory_order_release);

	if (at + len > f->size)
		return false;
	memcpy(f->bytes + at, data, len);
	return true;
}

static size_t floor_drain(void *queue, char *to, size_t size)
{
	struct floor *f = queue;
	size_t end = atomic_load_explicit(&f->end, memory_order_acquire);
	size_t len = f->len;
	size_t done = 0;

	while (f->begin < end && len <= size - done) {
		memcpy(to + done, f->bytes + f->begin, len);
		done += len;
		f->begin += len;
	}
	if (f->begin == end) {
		f->begin = 0;
		atomic_store_explicit(&f->end, 0, memory_order_relaxed);
	}
	return done;
}

static void floor_close(void *queue)
{
	struct floor *f = queue;

	memory_put(f->bytes, f->size);
	free(f);
}

static const struct queue queue_floor = {
	.name = "floor",
	.open = floor_open,
	.push = floor_push,
	.drain = floor_drain,
	.close = floor_close,
};
QUEUE_REGISTER(queue_floor);
