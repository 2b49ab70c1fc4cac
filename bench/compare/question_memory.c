/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How much memory does a pending message of 8, 64 or 1024 bytes take? In a
 * child: what its resident memory grows by from before the queue is opened, for
 * so many messages, until all of them are pending; bytes per message.
 */
#include "measure.h"
#include "message.h"
#include "ours.h"

enum { BYTES = 8000000 };

static const size_t sizes[] = { 8, 64, 1024 };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

struct turn {
	const struct queue *queue;
	size_t len;
};

static const char *probe(void *arg)
{
	const struct turn *turn = arg;
	size_t count = BYTES / (turn->len < 64 ? 64 : turn->len);
	struct queue_need need = { count, turn->len };
	static char message[1024];
	size_t before;
	size_t grown;
	void *q;

	message_fill(message, turn->len, 1, 1);
	before = memory_resident();
	q = turn->queue->open(&need);
	if (!q)
		return "cannot be opened";
	for (size_t i = 0; i < count; i++)
		if (!turn->queue->push(q, message, turn->len))
			return "no room";
	grown = memory_resident() - before;
	if (grown < count * turn->len / 2)
		return "in the kernel";
	child_numbers[0] = grown * 100 / count;
	return NULL;
}

int main(int argc, char **argv)
{
	ours_pool_bytes = (size_t)64 << 20;	/* the default */
	measure_begin(argc, argv, "memory");
	for (unsigned int repeat = 0; repeat < 3 && another_turn(repeat); repeat++)
		for (unsigned int size = 0; size < SIZES; size++)
			for (unsigned int i = 0; i < queues_count; i++) {
				struct turn turn = { queues[i], sizes[size] };
				const char *name = queues[i]->name;
				const char *word;

				if (!wanted(name) || !wanted_param((long)sizes[size]) ||
				    result_has_word("pending", (long)sizes[size], name))
					continue;
				word = in_child(probe, &turn, 10000);
				result_word("pending", (long)sizes[size], name, word);
				if (!word)
					result_add("pending", (long)sizes[size], name, "bytes",
						   (double)child_numbers[0] / 100);
			}
	progress("done");
	return results_print();
}
