/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Does a message of 64 bytes cost more if many are pending? So many are pushed
 * as the parameter says, then drained: in the row "whole" into one buffer for
 * all, in "parts" into 64 KiB again and again. ns of CPU time per message, push
 * and drain: a turn is long, and other programs come in.
 */
#include "measure.h"
#include "message.h"

#include <string.h>

enum { LEN = 64, PART = 65536, MOST = 1000000, ROUNDS = 9, SLOW_NS = 400000000 };

static const size_t depths[] = { 10, 100, 1000, 10000, 100000, MOST };
enum { DEPTHS = sizeof(depths) / sizeof(depths[0]) };

struct turn {
	const struct queue *queue;
	size_t depth;
	size_t part;
};

static char *out;		/* MOST messages */

/* Fills and drains once, @count times; returns whether all came. */
static bool fill_and_drain(const struct turn *turn, void *q, size_t count)
{
	char message[LEN];
	size_t bytes = turn->depth * LEN;

	message_fill(message, LEN, 1, 1);
	while (count--) {
		size_t got = 0;

		for (size_t i = 0; i < turn->depth; i++)
			if (!turn->queue->push(q, message, LEN))
				return false;
		while (got < bytes) {
			size_t size = bytes - got < turn->part ? bytes - got : turn->part;
			size_t part = turn->queue->drain(q, turn->part == PART ? out : out + got,
							 size);

			if (!part)
				return false;
			got += part;
		}
	}
	return true;
}

/* Adds the figure of a turn; returns how long it took. */
static uint64_t run(const char *row, const struct turn *turn)
{
	struct queue_need need = { turn->depth, LEN };
	size_t count = turn->depth < 2000 ? 2000 / turn->depth : 1;
	size_t rounds = turn->depth < MOST ? ROUNDS : 1;
	uint64_t begin = now_ns();
	double ns[ROUNDS];
	void *q = turn->queue->open(&need);
	bool room = q && fill_and_drain(turn, q, 1);

	for (size_t round = 0; room && round < rounds; round++) {
		uint64_t start = thread_cpu_ns();

		room = fill_and_drain(turn, q, count);
		ns[round] = (double)(thread_cpu_ns() - start) / (double)(count * turn->depth);
	}
	if (q)
		turn->queue->close(q);
	if (room)
		result_add(row, (long)turn->depth, turn->queue->name, "ns", median(ns, rounds));
	else
		result_word(row, (long)turn->depth, turn->queue->name, "no room");
	return now_ns() - begin;
}

/* In parts: only where it is most. */
static bool has_row(unsigned int row, size_t depth, const char *name)
{
	return wanted(name) && wanted_param((long)depth) && (!row || depth == MOST) &&
	       (options.work >= 100 || depth <= 10000);
}

static bool slow[2][DEPTHS][QUEUES_MAX];

/* Everybody's turn at a depth. */
static void turns(unsigned int row, unsigned int d, unsigned int repeat)
{
	static const char *const rows[] = { "whole", "parts" };

	for (unsigned int i = 0; i < queues_count; i++) {
		struct turn turn = { queues[i], depths[d], row ? PART : depths[d] * LEN };
		const char *name = queues[i]->name;

		/* Three turns are enough of what takes so long. */
		if (!has_row(row, depths[d], name) || (repeat >= 3 && slow[row][d][i]) ||
		    (!row && repeat && !another_turn(repeat)) ||
		    result_has_word("whole", (long)depths[d], name))
			continue;
		if (!row && d && slow[row][d - 1][i] && depths[d] == MOST)
			result_word(rows[row], MOST, name, "not run");
		else
			slow[row][d][i] |= run(rows[row], &turn) > SLOW_NS;
	}
}

/* Parts come last: they give memory back in another order than it was taken. */
int main(int argc, char **argv)
{
	out = memory_get((size_t)MOST * LEN);
	measure_begin(argc, argv, "pending");
	for (unsigned int repeat = 0; another_turn(repeat); repeat++) {
		for (unsigned int d = 0; d < DEPTHS; d++)
			turns(0, d, repeat);
		if (repeat % 5 == 0)
			progress("turns");
	}
	for (unsigned int repeat = 0; repeat < 3; repeat++)
		turns(1, DEPTHS - 1, repeat);
	progress("done");
	return results_print();
}
