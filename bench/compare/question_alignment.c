/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Does it matter where in a page a message of 4000 bytes comes from? Processors
 * take a load for dependent on an earlier store if the lower 12 bits of their
 * addresses are the same. The source lies at each multiple of 64 in a page, and
 * 16 bytes behind it. Rows best, worst, and ratio; ns per push, median of
 * bursts at one place.
 */
#include "measure.h"
#include "message.h"

enum { LEN = 4000, BURST = 32, ROUNDS = 5, PAGE = 4096, STEP = 64 };

static double run(const struct queue *queue, void *q, const char *message, char *out)
{
	double ns[ROUNDS];

	for (unsigned int round = 0; round < ROUNDS + 1; round++) {
		uint64_t begin = now_ns();
		uint64_t end;
		size_t got = 0;

		for (unsigned int i = 0; i < BURST; i++)
			queue->push(q, message, LEN);
		end = now_ns();
		while (got < BURST * LEN) {
			size_t part = queue->drain(q, out + got, BURST * LEN - got);

			if (!part)
				break;
			got += part;
		}
		if (round)		/* the first one warms up */
			ns[round - 1] = (double)(end - begin) / BURST;
	}
	return median(ns, ROUNDS);
}

int main(int argc, char **argv)
{
	char *region = memory_get(4 * PAGE);
	char *out = memory_get(BURST * LEN);
	struct queue_need need = { BURST, LEN };

	measure_begin(argc, argv, "alignment");
	for (unsigned int repeat = 0; another_turn(repeat); repeat++)
		for (unsigned int i = 0; i < queues_count; i++) {
			const char *name = queues[i]->name;
			double best = 1e30;
			double worst = 0;
			void *q;

			if (!wanted(name))
				continue;
			q = queues[i]->open(&need);
			for (size_t at = 0; q && at < PAGE; at += STEP) {
				/* Every second one is 16 bytes off the cache line. */
				char *message = region + at + (at / STEP % 2 ? 16 : 0);
				double ns;

				message_fill(message, LEN, 1, 1);
				ns = run(queues[i], q, message, out);
				best = ns < best ? ns : best;
				worst = ns > worst ? ns : worst;
			}
			if (!q)
				continue;
			queues[i]->close(q);
			result_add("best", LEN, name, "ns", best);
			result_add("worst", LEN, name, "ns", worst);
			result_add("worst to best", LEN, name, "ratio", worst / best);
		}
	progress("done");
	return results_print();
}
