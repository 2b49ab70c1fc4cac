/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What does a message of 64 bytes cost if 1, 8 or 64 are stored as one group,
 * which no other writer's message divides? Push and drain, ns per message.
 */
#include "measure.h"
#include "message.h"

#include <stdlib.h>
#include <string.h>

enum { LEN = 64, MESSAGES = 512, ROUNDS = 40, GROUPS = 3, PROBE_GROUPS = 20 };

static const unsigned int groups[GROUPS] = { 1, 8, 64 };

struct turn {
	const struct queue *queue;
	unsigned int group;
	void *q;
};

static void push_groups(const struct turn *turn, uint32_t writer)
{
	char message[LEN];

	for (uint32_t i = 0; i < PROBE_GROUPS; i++) {
		message_fill(message, LEN, writer, i);
		turn->queue->push_group(turn->q, message, LEN, turn->group);
	}
}

static void *second_writer(void *arg)
{
	pin(1);
	push_groups(arg, 1);
	return NULL;
}

/* Two writers; every group is whole and together. */
static const char *probe(void *arg)
{
	struct turn *turn = arg;
	size_t count = (size_t)2 * PROBE_GROUPS * turn->group;
	struct queue_need need = { count, LEN };

	if (!turn->queue->push_group)
		return "no groups";
	for (unsigned int round = 0; round < 20; round++) {
		char *out = calloc(count + 1, LEN);
		pthread_t second;
		size_t got = 0;

		child_goes_on();
		turn->q = turn->queue->open(&need);
		if (!out || !turn->q || pthread_create(&second, NULL, second_writer, turn))
			return "cannot be opened";
		push_groups(turn, 0);
		pthread_join(second, NULL);
		for (;;) {
			size_t part = turn->queue->drain(turn->q, out + got, (count + 1) * LEN - got);

			if (!part)
				break;
			got += part;
		}
		if (got != count * LEN)
			return "loses";
		for (size_t i = 0; i < count; i++) {
			const char *message = out + i * LEN;
			uint32_t writer;
			uint32_t number;

			if (!message_check(message, LEN, &writer, &number))
				return "tears";
			if (i % turn->group && memcmp(message, message - LEN, LEN))
				return "divides groups";
		}
		turn->queue->close(turn->q);
		free(out);
	}
	return NULL;
}

static void run(const struct turn *turn, char *out)
{
	struct queue_need need = { MESSAGES, LEN };
	void *q = turn->queue->open(&need);
	size_t rounds = work(ROUNDS, 1);
	double ns[2 * ROUNDS];
	char message[LEN];
	size_t done = 0;

	message_fill(message, LEN, 1, 1);
	if (!q)
		return;
	for (size_t round = 0; round < rounds + 2 && done < 2 * ROUNDS; round++) {
		uint64_t begin = now_ns();
		size_t got = 0;

		for (unsigned int i = 0; i < MESSAGES; i += turn->group)
			turn->queue->push_group(q, message, LEN, turn->group);
		while (got < MESSAGES * LEN) {
			size_t part = turn->queue->drain(q, out + got, MESSAGES * LEN - got);

			if (!part)
				break;
			got += part;
		}
		if (round >= 2)
			ns[done++] = (double)(now_ns() - begin) / MESSAGES;
	}
	turn->queue->close(q);
	result_add("group", (long)turn->group, turn->queue->name, "ns", median(ns, done));
}

int main(int argc, char **argv)
{
	char *out = memory_get(MESSAGES * LEN);

	measure_begin(argc, argv, "group");
	for (unsigned int repeat = 0; !repeat || another_turn(repeat - 1); repeat++)
		for (unsigned int g = 0; g < GROUPS; g++)
			for (unsigned int i = 0; i < queues_count; i++) {
				struct turn turn = { .queue = queues[i], .group = groups[g] };
				const char *name = queues[i]->name;

				if (!wanted(name) || !wanted_param((long)groups[g]) ||
				    result_has_word("group", (long)groups[g], name))
					continue;
				if (!repeat)
					result_word("group", (long)groups[g], name,
						    in_child(probe, &turn, 10000));
				else
					run(&turn, out);
			}
	progress("done");
	return results_print();
}
