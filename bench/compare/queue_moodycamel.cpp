/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* moodycamel's ConcurrentQueue of pointers; the reader takes them in bulk, with a token. */
#include "measure.h"

#include <concurrentqueue/concurrentqueue.h>

namespace {

struct camel {
	moodycamel::ConcurrentQueue<void *> queue;
	moodycamel::ConsumerToken token;

	explicit camel(size_t count) : queue(count), token(queue) {}
};

typedef camel pointers;
typedef camel blocks;

pointers *pointers_open(size_t count)
{
	return new camel(count);
}

bool pointers_put(pointers *q, void *message)
{
	return q->queue.enqueue(message);
}

#define POINTERS_PUT_MANY
bool pointers_put_many(pointers *q, void **messages, unsigned int count)
{
	return q->queue.enqueue_bulk(messages, count);
}

unsigned int pointers_take(pointers *q, void **messages, unsigned int most)
{
	return static_cast<unsigned int>(q->queue.try_dequeue_bulk(q->token, messages, most));
}

void pointers_close(pointers *q)
{
	delete q;
}

blocks *blocks_open(size_t count)
{
	return new camel(count);
}

void *blocks_take(blocks *q)
{
	void *block;

	return q->queue.try_dequeue(block) ? block : nullptr;
}

void blocks_put(blocks *q, void *block)
{
	q->queue.enqueue(block);
}

void blocks_close(blocks *q)
{
	delete q;
}

#define POINTERS_NAME "moodycamel"
#define POINTERS_PACKAGE "libconcurrentqueue-dev"
#include "pointers.h"

}
