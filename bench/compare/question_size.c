/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What does a message of 1 to 16384 bytes cost, in one thread? Bursts are
 * pushed, then drained into memory. Rows push, drain, both; ns per message. The
 * figure of a turn is that of its median burst: a burst in which another program
 * got the CPU is left out.
 */
#include "measure.h"
#include "message.h"

#include <stdlib.h>
#include <string.h>

static const size_t sizes[] = { 1, 16, 64, 256, 1024, 4000, 16384 };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };
enum { BURST = 500, BURST_BYTES = 1 << 18 };

struct turn {
	const struct queue *queue;
	size_t len;
};

static size_t burst_of(size_t len)
{
	return len * BURST > BURST_BYTES ? BURST_BYTES / len : BURST;
}

/* Each byte comes out, in order, twice. */
static const char *probe(void *arg)
{
	const struct turn *turn = arg;
	struct queue_need need = { burst_of(turn->len), turn->len };
	size_t bytes = need.messages * turn->len;
	char *in = malloc(bytes);
	char *out = malloc(bytes + 1);
	void *q = in && out ? turn->queue->open(&need) : NULL;

	if (!q)
		return "too long";
	for (uint32_t round = 0; round < 2; round++) {
		size_t got = 0;

		for (uint32_t i = 0; i < need.messages; i++) {
			message_fill(in + i * turn->len, turn->len, round, i);
			if (!turn->queue->push(q, in + i * turn->len, turn->len))
				return "refuses";
		}
		for (;;) {
			size_t part = turn->queue->drain(q, out + got, bytes + 1 - got);

			if (!part)
				break;
			got += part;
		}
		if (got != bytes || memcmp(in, out, bytes))
			return "wrong bytes";
	}
	turn->queue->close(q);
	return NULL;
}

static void run(const struct turn *turn, const char *message, char *out)
{
	enum { ROUNDS = 40, WARM = 2, TURN_NS = 5000000 };
	const struct queue *queue = turn->queue;
	size_t burst = burst_of(turn->len);
	struct queue_need need = { burst, turn->len };
	size_t bytes = burst * turn->len;
	size_t rounds = work(ROUNDS, 1) + WARM;
	double push[2 * ROUNDS];
	double drain[2 * ROUNDS];
	double both[2 * ROUNDS];
	size_t done = 0;
	uint64_t turn_begin = now_ns();
	void *q = queue->open(&need);

	if (!q)
		return;
	for (size_t round = 0; round < rounds && done < 2 * ROUNDS; round++) {
		uint64_t begin = now_ns();
		uint64_t middle;
		uint64_t end;
		size_t got = 0;

		for (size_t i = 0; i < burst; i++)
			queue->push(q, message, turn->len);
		middle = now_ns();
		while (got < bytes) {
			size_t part = queue->drain(q, out + got, bytes - got);

			if (!part)
				break;
			got += part;
		}
		end = now_ns();
		if (round < WARM)
			continue;
		push[done] = (double)(middle - begin) / (double)burst;
		drain[done] = (double)(end - middle) / (double)burst;
		both[done++] = (double)(end - begin) / (double)burst;
		if (done >= 3 && end - turn_begin > TURN_NS)
			break;
	}
	queue->close(q);
	result_add("push", (long)turn->len, queue->name, "ns", median(push, done));
	result_add("drain", (long)turn->len, queue->name, "ns", median(drain, done));
	result_add("both", (long)turn->len, queue->name, "ns", median(both, done));
}

int main(int argc, char **argv)
{
	char *out = memory_get(BURST_BYTES + 65536);
	char *message = memory_get(65536);
	struct turn turn;

	measure_begin(argc, argv, "size");
	message_fill(message + 64, sizes[SIZES - 1], 1, 1);
	for (unsigned int size = 0; size < SIZES; size++)
		for (unsigned int i = 0; i < queues_count; i++) {
			turn = (struct turn){ queues[i], sizes[size] };
			if (wanted(queues[i]->name) && wanted_param((long)sizes[size]))
				result_word("both", (long)sizes[size], queues[i]->name,
					    in_child(probe, &turn, 10000));
		}
	progress("probed");
	for (unsigned int repeat = 0; another_turn(repeat); repeat++) {
		for (unsigned int size = 0; size < SIZES; size++)
			for (unsigned int i = 0; i < queues_count; i++) {
				turn = (struct turn){ queues[i], sizes[size] };
				if (wanted(queues[i]->name) && wanted_param((long)sizes[size]) &&
				    !result_has_word("both", (long)sizes[size], queues[i]->name))
					run(&turn, message + 64, out);
			}
	}
	progress("done");
	return results_print();
}
