/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Concurrency Kit's ring of pointers. */
#include "measure.h"

#include <ck_ring.h>
#include <stdlib.h>
#include <string.h>

struct ck {
	ck_ring_t ring;
	size_t bytes;
	ck_ring_buffer_t *slots;
};

typedef struct ck pointers;
typedef struct ck blocks;

static struct ck *ring_open(size_t count)
{
	struct ck *r = aligned_alloc(64, (sizeof(*r) + 63) / 64 * 64);
	unsigned int size = 4;

	while (size < count + 1)
		size *= 2;
	if (!r)
		return NULL;
	r->bytes = size * sizeof(*r->slots);
	r->slots = memory_get(r->bytes);
	ck_ring_init(&r->ring, size);
	return r->slots ? r : NULL;
}

static void ring_close(struct ck *r)
{
	memory_put(r->slots, r->bytes);
	free(r);
}

static pointers *pointers_open(size_t count)
{
	return ring_open(count);
}

static bool pointers_put(pointers *r, void *message)
{
	return ck_ring_enqueue_mpsc(&r->ring, r->slots, message);
}

static unsigned int pointers_take(pointers *r, void **messages, unsigned int most)
{
	unsigned int count = 0;

	while (count < most && ck_ring_dequeue_mpsc(&r->ring, r->slots, &messages[count]))
		count++;
	return count;
}

static void pointers_close(pointers *r)
{
	ring_close(r);
}

static blocks *blocks_open(size_t count)
{
	return ring_open(count);
}

/* Writers take, and give back if the other ring is full. */
static void *blocks_take(blocks *r)
{
	void *block;

	return ck_ring_dequeue_mpmc(&r->ring, r->slots, &block) ? block : NULL;
}

static void blocks_put(blocks *r, void *block)
{
	(void)ck_ring_enqueue_mpmc(&r->ring, r->slots, block);
}

static void blocks_close(blocks *r)
{
	ring_close(r);
}

#define POINTERS_NAME "ck_ring"
#define POINTERS_PACKAGE "libck-dev"
#include "pointers.h"
