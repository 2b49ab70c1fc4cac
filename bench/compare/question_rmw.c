/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How many atomic read-modify-writes is a message of 64 bytes with bpf_stream,
 * if 1 to 8 threads write at once? A compare-exchange that fails counts, too.
 * Row "one stream": all write to the same one; "stream of its own": each writer
 * has one. The reader comes afterwards: rows with "read" in their names, for
 * batches of 500. The environment counts, as in bench/count_rmw.c.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "counting_env.h"
#include "bpf_stream.h"
#include "measure.h"

#include <sched.h>
#include <stdatomic.h>

enum { LEN = 64, TOTAL = 400000, BATCH = 500, WRITERS = 8 };

static struct bpf_stream streams[WRITERS];
static atomic_uint ready;
static unsigned int writers;
static bool own;
static uint64_t counts[WRITERS];

static void *writer(void *arg)
{
	unsigned int me = (unsigned int)(uintptr_t)arg;
	static const char message[LEN];
	uint64_t begin;

	pin(me);
	(void)!bpf_stream_push(&streams[own ? me : 0], message, LEN);	/* maps, registers */
	begin = counting_rmw;
	atomic_fetch_add(&ready, 1);
	for (unsigned int i = 1; atomic_load(&ready) < writers; i++)
		if (i % 10000 == 0)
			sched_yield();
	for (unsigned int i = 0; i < TOTAL / writers; i++)
		if (bpf_stream_push(&streams[own ? me : 0], message, LEN))
			return arg;
	counts[me] = counting_rmw - begin;
	return NULL;
}

static void run(void)
{
	struct bpf_stream_options opts = { .capacity = (size_t)64 << 20 };
	static char out[BATCH * LEN];
	pthread_t threads[WRITERS];
	uint64_t pushes = 0;
	uint64_t begin;
	void *failed;

	atomic_store(&ready, 0);
	for (unsigned int i = 0; i < WRITERS; i++)
		(void)!bpf_stream_init(&streams[i], &opts);
	for (unsigned int i = 0; i < writers; i++)
		if (pthread_create(&threads[i], NULL, writer, (void *)(uintptr_t)i))
			return;
	for (unsigned int i = 0; i < writers; i++) {
		pthread_join(threads[i], &failed);
		pushes += counts[i];
	}
	begin = counting_rmw;
	for (unsigned int i = 0; i < WRITERS; i++)
		while (bpf_stream_read(&streams[i], out, sizeof(out)) > 0)
			;
	result_add(own ? "stream of its own" : "one stream", (long)writers, "bpf_stream", "RMW",
		   (double)pushes / TOTAL);
	result_add(own ? "stream of its own; read" : "one stream; read", (long)writers,
		   "bpf_stream", "RMW", (double)(counting_rmw - begin) / TOTAL);
	for (unsigned int i = 0; i < WRITERS; i++)
		bpf_stream_destroy(&streams[i]);
}

int main(int argc, char **argv)
{
	measure_begin(argc, argv, "rmw");
	for (unsigned int repeat = 0; another_turn(repeat); repeat++)
		for (unsigned int both = 0; both < 2; both++)
			for (writers = 1; writers <= WRITERS; writers *= 2) {
				own = both != 0;
				run();
			}
	progress("done");
	return results_print();
}
