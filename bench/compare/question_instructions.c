/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How many instructions is a push of 64 bytes, and reading it in batches of
 * 500, copies included? To be run under valgrind --tool=callgrind
 * --collect-atstart=no: each part is a dump of its own, named "push NAME" or
 * "drain NAME". run.py reads them.
 */
#include "measure.h"
#include "message.h"

#include <valgrind/callgrind.h>

enum { LEN = 64, BATCH = 500, WARM = 4 };

int main(int argc, char **argv)
{
	char *out = memory_get(BATCH * LEN);
	char message[LEN];

	measure_begin(argc, argv, "instructions");
	message_fill(message, LEN, 1, 1);
	for (unsigned int i = 0; i < queues_count; i++) {
		struct queue_need need = { BATCH, LEN };
		const struct queue *queue = queues[i];
		char label[80];
		void *q;

		if (!wanted(queue->name) || !(q = queue->open(&need)))
			continue;
		for (unsigned int round = 0; round <= WARM; round++) {
			CALLGRIND_ZERO_STATS;
			if (round == WARM)
				CALLGRIND_TOGGLE_COLLECT;
			for (unsigned int j = 0; j < BATCH; j++)
				queue->push(q, message, LEN);
			if (round == WARM) {
				CALLGRIND_TOGGLE_COLLECT;
				snprintf(label, sizeof(label), "push %s", queue->name);
				CALLGRIND_DUMP_STATS_AT(label);
				CALLGRIND_ZERO_STATS;
				CALLGRIND_TOGGLE_COLLECT;
			}
			for (size_t got = 0; got < BATCH * LEN;) {
				size_t part = queue->drain(q, out + got, BATCH * LEN - got);

				if (!part)
					break;
				got += part;
			}
			if (round == WARM) {
				CALLGRIND_TOGGLE_COLLECT;
				snprintf(label, sizeof(label), "drain %s", queue->name);
				CALLGRIND_DUMP_STATS_AT(label);
			}
		}
		queue->close(q);
	}
	return 0;
}
