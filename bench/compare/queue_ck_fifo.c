/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Concurrency Kit's linked queue for many writers. Its entries must stay entry
 * memory for ever, so blocks that hold one are preallocated, in a stack of Concurrency
 * Kit's. Taking a message gives the entry of the one before it free.
 */
#include "measure.h"

#include <ck_fifo.h>
#include <ck_stack.h>
#include <stdlib.h>
#include <string.h>

struct fifo_block {
	ck_fifo_mpmc_entry_t entry;		/* first: the block's address, too */
	ck_stack_entry_t free;
	size_t len;
	char text[];
};

struct fifo {
	ck_fifo_mpmc_t fifo;
	_Alignas(64) ck_stack_t empty;
	_Alignas(64) struct fifo_block *held;	/* taken, too long for the last drain */
	char *memory;
	size_t memory_size;
};

static void *fifo_open(const struct queue_need *need)
{
	size_t block = (sizeof(struct fifo_block) + need->bytes + 63) / 64 * 64;
	struct fifo *f = aligned_alloc(64, (sizeof(*f) + 63) / 64 * 64);
	size_t count = need->messages + 1;

	if (!f)
		return NULL;
	memset(f, 0, sizeof(*f));
	f->memory_size = count * block;
	f->memory = memory_get(f->memory_size);
	if (!f->memory)
		return NULL;
	ck_stack_init(&f->empty);
	ck_fifo_mpmc_init(&f->fifo, (void *)f->memory);
	while (--count) {
		struct fifo_block *b = (void *)(f->memory + count * block);

		ck_stack_push_mpmc(&f->empty, &b->free);
	}
	return f;
}

static bool fifo_push(void *queue, const void *data, size_t len)
{
	struct fifo *f = queue;
	ck_stack_entry_t *free_entry = ck_stack_pop_mpmc(&f->empty);
	struct fifo_block *b;

	if (!free_entry)
		return false;
	b = (void *)((char *)free_entry - offsetof(struct fifo_block, free));
	b->len = len;
	memcpy(b->text, data, len);
	ck_fifo_mpmc_enqueue(&f->fifo, &b->entry, b);
	return true;
}

static size_t fifo_drain(void *queue, char *to, size_t size)
{
	struct fifo *f = queue;
	size_t done = 0;

	for (;;) {
		struct fifo_block *b = f->held;
		ck_fifo_mpmc_entry_t *garbage;

		if (!b) {
			if (!ck_fifo_mpmc_dequeue(&f->fifo, &b, &garbage))
				return done;
			f->held = b;
			ck_stack_push_mpmc(&f->empty, &((struct fifo_block *)(void *)garbage)->free);
		}
		if (b->len > size - done)
			return done;
		memcpy(to + done, b->text, b->len);
		done += b->len;
		f->held = NULL;
	}
}

static void fifo_close(void *queue)
{
	struct fifo *f = queue;

	memory_put(f->memory, f->memory_size);
	free(f);
}

static const struct queue queue_ck_fifo = {
	.name = "ck_fifo",
	.package = "libck-dev",
	.open = fifo_open,
	.push = fifo_push,
	.drain = fifo_drain,
	.close = fifo_close,
};
QUEUE_REGISTER(queue_ck_fifo);
