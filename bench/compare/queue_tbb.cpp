/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* oneTBB's concurrent_queue of pointers. */
#include "measure.h"

#include <tbb/concurrent_queue.h>

namespace {

typedef tbb::concurrent_queue<void *> pointers;
typedef tbb::concurrent_queue<void *> blocks;

/* It cannot be told how large it will be. */
pointers *pointers_open(size_t)
{
	return new pointers;
}

bool pointers_put(pointers *q, void *message)
{
	q->push(message);
	return true;
}

unsigned int pointers_take(pointers *q, void **messages, unsigned int most)
{
	unsigned int count = 0;

	while (count < most && q->try_pop(messages[count]))
		count++;
	return count;
}

void pointers_close(pointers *q)
{
	delete q;
}

blocks *blocks_open(size_t)
{
	return new blocks;
}

void *blocks_take(blocks *q)
{
	void *block;

	return q->try_pop(block) ? block : nullptr;
}

void blocks_put(blocks *q, void *block)
{
	q->push(block);
}

void blocks_close(blocks *q)
{
	delete q;
}

#define POINTERS_NAME "TBB"
#define POINTERS_PACKAGE "libtbb-dev"
#include "pointers.h"

}
