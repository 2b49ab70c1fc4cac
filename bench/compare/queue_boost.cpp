/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* boost::lockfree::queue of pointers, with its nodes reserved; free blocks in its stack. */
#include "measure.h"

#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/stack.hpp>

namespace {

typedef boost::lockfree::queue<void *> pointers;
typedef boost::lockfree::stack<void *> blocks;

pointers *pointers_open(size_t count)
{
	return new pointers(count + 1);
}

bool pointers_put(pointers *q, void *message)
{
	return q->push(message);
}

unsigned int pointers_take(pointers *q, void **messages, unsigned int most)
{
	unsigned int count = 0;

	while (count < most && q->pop(messages[count]))
		count++;
	return count;
}

void pointers_close(pointers *q)
{
	delete q;
}

blocks *blocks_open(size_t count)
{
	return new blocks(count);
}

void *blocks_take(blocks *q)
{
	void *block;

	return q->pop(block) ? block : nullptr;
}

void blocks_put(blocks *q, void *block)
{
	q->push(block);
}

void blocks_close(blocks *q)
{
	delete q;
}

#define POINTERS_NAME "boost::lockfree"
#define POINTERS_PACKAGE "libboost-dev"
#include "pointers.h"

}
