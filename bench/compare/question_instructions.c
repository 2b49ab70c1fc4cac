/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How many instructions is a push of 64 bytes, and reading it in batches of
 * 500, copies included? To be run under valgrind --tool=callgrind
 * --collect-atstart=no: each part is a dump of its own, named "push NAME" or
 * "drain NAME". The pushes of the table go through the adapter that each queue
 * has; "call bpf_stream" is our call alone. "push nothing" and "call nothing"
 * are what the loops cost, which run.py takes away.
 */
#include "measure.h"
#include "message.h"
#include "bpf_stream.h"
#include <stdlib.h>

#include <valgrind/callgrind.h>

enum { LEN = 64, BATCH = 500, WARM = 4 };

static bool nothing_push(void *queue, const void *data, size_t len)
{
	(void)queue;
	(void)data;
	return len != 0;
}

__attribute__((__noinline__)) static int nothing_call(struct bpf_stream *s, const void *data,
						      size_t len)
{
	(void)s;
	(void)data;
	(void)len;
	__asm__ volatile("");	/* else there is no call */
	return 0;
}

static void dump(const char *part, const char *name)
{
	char label[80];

	snprintf(label, sizeof(label), "%s %s", part, name);
	CALLGRIND_DUMP_STATS_AT(label);
}

/* Our call alone, without the adapter. */
static void call_batches(const char *message, char *out)
{
	static struct bpf_stream s;
	unsigned int i;

	CALLGRIND_ZERO_STATS;
	CALLGRIND_TOGGLE_COLLECT;
	for (i = 0; i < BATCH; i++)
		nothing_call(&s, message, LEN);
	CALLGRIND_TOGGLE_COLLECT;
	dump("call", "nothing");
	for (unsigned int round = 0; round <= WARM; round++) {
		CALLGRIND_ZERO_STATS;
		CALLGRIND_TOGGLE_COLLECT;
		for (i = 0; i < BATCH; i++)
			bpf_stream_push(&s, message, LEN);
		CALLGRIND_TOGGLE_COLLECT;
		if (bpf_stream_read(&s, out, BATCH * LEN) != BATCH * LEN)
			abort();
	}
	dump("call", "bpf_stream");
	bpf_stream_destroy(&s);
}

static void push_batch(bool (*push)(void *queue, const void *data, size_t len), void *q,
		       const char *message)
{
	for (unsigned int i = 0; i < BATCH; i++)
		push(q, message, LEN);
}

int main(int argc, char **argv)
{
	char *out = memory_get(BATCH * LEN);
	char message[LEN];

	measure_begin(argc, argv, "instructions");
	message_fill(message, LEN, 1, 1);
	CALLGRIND_ZERO_STATS;
	CALLGRIND_TOGGLE_COLLECT;
	push_batch(nothing_push, NULL, message);
	CALLGRIND_TOGGLE_COLLECT;
	dump("push", "nothing");
	for (unsigned int i = 0; i < queues_count; i++) {
		struct queue_need need = { BATCH, LEN };
		const struct queue *queue = queues[i];
		void *q;

		if (!wanted(queue->name) || !(q = queue->open(&need)))
			continue;
		for (unsigned int round = 0; round <= WARM; round++) {
			CALLGRIND_ZERO_STATS;
			if (round == WARM)
				CALLGRIND_TOGGLE_COLLECT;
			push_batch(queue->push, q, message);
			if (round == WARM) {
				CALLGRIND_TOGGLE_COLLECT;
				dump("push", queue->name);
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
				dump("drain", queue->name);
			}
		}
		queue->close(q);
	}
	/* Last: our queue wants to make the pool itself. */
	call_batches(message, out);
	return 0;
}
