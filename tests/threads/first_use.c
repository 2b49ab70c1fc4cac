/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * first_use - a thread uses the pool that another one has just set up
 *
 * Nothing orders the two threads but the pool's address: the second one is told
 * to begin by a relaxed word. So the race detector sees whether the address
 * alone brings the layout along (pool_publish:A and pool_found:A). A stress
 * program does not show it: its threads begin when there is a pool.
 *
 * Each case has a process of its own, as there is one first use in each.
 *
 * Seen to fail, under ThreadSanitizer: with pool_found:A relaxed, and with
 * pool_publish:A relaxed, each case.
 */
#define BPF_STREAM_STATIC
#include "bpf_stream.h"

#include "../program.h"

static struct bpf_stream stream[2];
static _Alignas(64) char region[16 * BPF_STREAM_PAGE_SIZE];
static bse_u32 there;
static bool ok[2];

static bool push(struct bpf_stream *s)
{
	return !bpf_stream_push(s, "text", 4);
}

static bool use_region(struct bpf_stream *s)
{
	(void)s;
	return !bpf_stream_pool_use(region, sizeof(region), 0);
}

static bool push_large(struct bpf_stream *s)
{
	static const char text[3 * BPF_STREAM_PAGE_SIZE];

	return !bpf_stream_push(s, text, sizeof(text));
}

static bool look(struct bpf_stream *s)
{
	struct bpf_stream_pool_stats stats;

	(void)s;
	bpf_stream_pool_get_stats(&stats);
	return stats.total >= 8;
}

static bool trim(struct bpf_stream *s)
{
	(void)s;
	return !bpf_stream_pool_trim();
}

static const struct pair {
	const char *name;
	bool (*first)(struct bpf_stream *s);
	bool (*second)(struct bpf_stream *s);
} pairs[] = {
	{ "push behind a push", push, push },
	{ "push behind pool_use", use_region, push },
	{ "push of several pages behind a push", push, push_large },
	{ "pool_get_stats behind a push", push, look },
	{ "pool_trim behind a push", push, trim },
};

static void *be_first(void *arg)
{
	const struct pair *pair = arg;

	ok[0] = pair->first(&stream[0]);
	bse_u32_store_relaxed(&there, 1);
	return NULL;
}

static void *be_second(void *arg)
{
	const struct pair *pair = arg;

	while (!bse_u32_load_relaxed(&there))
		program_pause();
	ok[1] = pair->second(&stream[1]);
	return NULL;
}

static int run(const struct pair *pair)
{
	pthread_t thread[2];

	bpf_stream_init(&stream[0], NULL);
	bpf_stream_init(&stream[1], NULL);
	if (pthread_create(&thread[0], NULL, be_first, (void *)(uintptr_t)pair) ||
	    pthread_create(&thread[1], NULL, be_second, (void *)(uintptr_t)pair))
		return 1;
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	if (!ok[0] || !ok[1])
		printf("  the %s call did not do what it should\n", ok[0] ? "second" : "first");
	return ok[0] && ok[1] ? 0 : 1;
}

int main(int argc, char **argv)
{
	const struct program_option options[] = { PROGRAM_LAST };
	const unsigned int n = sizeof(pairs) / sizeof(pairs[0]);
	unsigned int passed = 0;
	unsigned int i;
	int status;
	pid_t pid;

	program_begin(argc, argv, "A thread uses the pool that another one has just set up.",
		      options);
	for (i = 0; i < n; i++) {
		pid = program_fork();
		if (pid == 0)
			exit(run(&pairs[i]));
		status = program_wait(pid);
		passed += status == 0;
		printf("%s: %s %s\n", status ? "FAILED" : "passed", pairs[i].name,
		       status ? program_end_of(status) : "");
	}
	return program_end(passed, n - passed, 0);
}
