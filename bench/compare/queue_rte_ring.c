/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* DPDK's ring of pointers, on memory of ours: no hugepages, no EAL. */
#include "measure.h"

#include <rte_ring.h>

typedef struct rte_ring pointers;
typedef struct rte_ring blocks;

static struct rte_ring *ring_open(size_t count, unsigned int flags)
{
	unsigned int size = 2;
	ssize_t bytes;
	struct rte_ring *r;

	while (size < count + 1)
		size *= 2;
	bytes = rte_ring_get_memsize(size);
	r = bytes > 0 ? aligned_alloc(128, ((size_t)bytes + 127) / 128 * 128) : NULL;
	if (r && !rte_ring_init(r, "ring", size, flags))
		return r;
	free(r);
	return NULL;
}

static pointers *pointers_open(size_t count)
{
	return ring_open(count, RING_F_SC_DEQ);
}

static bool pointers_put(pointers *r, void *message)
{
	return !rte_ring_enqueue(r, message);
}

#define POINTERS_PUT_MANY
static bool pointers_put_many(pointers *r, void **messages, unsigned int count)
{
	return rte_ring_enqueue_bulk(r, messages, count, NULL) == count;
}

static unsigned int pointers_take(pointers *r, void **messages, unsigned int most)
{
	return rte_ring_dequeue_burst(r, messages, most, NULL);
}

static void pointers_close(pointers *r)
{
	free(r);
}

/* As DPDK's own pools of blocks are made. */
static blocks *blocks_open(size_t count)
{
	return ring_open(count, 0);
}

static void *blocks_take(blocks *r)
{
	void *block;

	return rte_ring_dequeue(r, &block) ? NULL : block;
}

static void blocks_put(blocks *r, void *block)
{
	(void)rte_ring_enqueue(r, block);
}

static void blocks_close(blocks *r)
{
	free(r);
}

#define POINTERS_NAME "rte_ring"
#define POINTERS_PACKAGE "libdpdk-dev"
#include "pointers.h"
