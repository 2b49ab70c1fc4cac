/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * For test_valgrind.py: a program that does what programs do with streams.
 *
 *	valgrind_user MODE
 *
 * Three threads push, print and commit groups, each with a handler that prints,
 * too; a reader takes the bytes out in every way, while they write and
 * afterwards. The MODEs add to that:
 *
 *   quiet     nothing: the program has no race
 *   race      two threads write to a variable of the program
 *   sink      the sink writes to it, and so does a writer
 *   looks     sinks look at the text itself, and at what a writer has written
 *             and then pushed the address of
 *   told      the same, with the annotations that packaging/bpf_stream.supp
 *             names
 *
 * No mode depends on how the threads take turns: what they do is ordered by
 * their start and end, or, for these tools, not at all.
 */
#include "bpf_stream.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/helgrind.h>

#define WRITERS 3
#define ROUNDS 20

static struct bpf_stream texts;
static struct bpf_stream pointers;
enum { QUIET, RACE, SINK, LOOKS, TOLD, MODES };
static int mode;
static volatile int shared;	/* without a lock */
static int results[WRITERS][ROUNDS];
/* Of the readers, who come one after the other. */
static volatile int sum;
static bool texts_taken;
static unsigned int pointers_taken;

static void handler(int sig)
{
	bpf_stream_printf(&texts, "signal %d\n", sig);
}

/*
 * What is to be reported, or not, is in functions with names. No two have the
 * same body: GCC would make them one.
 */
static __attribute__((noinline)) void race_of_writers(int value)
{
	shared = value;
}

static __attribute__((noinline)) void race_in_sink(int value)
{
	shared += value;
}

static __attribute__((noinline)) void look_at_text(const char *text)
{
	sum += *text;
}

static __attribute__((noinline)) void look_behind_pointer(const int *result)
{
	sum += *result;
}

static void hand_over(int *result)
{
	*result = 1;
	if (mode == TOLD)
		ANNOTATE_HAPPENS_BEFORE(&pointers);
	bpf_stream_push(&pointers, &result, sizeof(result));
}

static void *write_all(void *arg)
{
	const int me = *(const int *)arg;
	char text[3000];
	int i;

	memset(text, 'x', sizeof(text));
	for (i = 0; i < ROUNDS; i++) {
		struct bpf_stream_stage stage;

		bpf_stream_push(&texts, text, sizeof(text) - (size_t)i);
		bpf_stream_printf(&texts, "writer %d of %s\n", me, "three");
		bpf_stream_stage_init(&stage);
		bpf_stream_stage_push(&stage, "a group ", 8);
		bpf_stream_stage_printk(&stage, "of %d\n", 2);
		bpf_stream_stage_commit_to(&stage, &texts);
		raise(SIGUSR1);
		if (mode == LOOKS || mode == TOLD)
			hand_over(&results[me][i]);
	}
	if (mode == RACE || (mode == SINK && !me))
		race_of_writers(me);
	return NULL;
}

static int text_sink(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	texts_taken = true;
	if (mode == SINK)
		race_in_sink((int)len);
	if (mode == TOLD)
		VALGRIND_HG_DISABLE_CHECKING(data, len);
	if (mode == LOOKS || mode == TOLD)
		look_at_text(data);
	return (int)len;
}

/* Pointers are pushed as a whole, and all are taken. */
static int pointer_sink(void *ctx, const void *data, size_t len)
{
	size_t at;

	(void)ctx;
	if (mode == TOLD) {
		ANNOTATE_HAPPENS_AFTER(&pointers);
		VALGRIND_HG_DISABLE_CHECKING(data, len);
	}
	for (at = 0; at < len; at += sizeof(int *)) {
		const int *result;

		memcpy(&result, (const char *)data + at, sizeof(result));
		look_behind_pointer(result);
		pointers_taken++;
	}
	return (int)len;
}

/* Goes on until its sinks had what they should see before the writers are joined. */
static void *read_all(void *arg)
{
	const unsigned int wanted = mode == LOOKS || mode == TOLD ? WRITERS * ROUNDS : 0;
	const int null = open("/dev/null", O_WRONLY);
	struct bpf_stream_stats stats;
	char text[100];
	int i;

	for (i = 0; i < ROUNDS || !texts_taken || pointers_taken < wanted; i++) {
		if (bpf_stream_drain(&texts, text_sink, NULL, 5000) > 0) {
			bpf_stream_drain_fd(&texts, null, 5000);
			bpf_stream_try_read(&texts, text, sizeof(text));
		}
		bpf_stream_get_stats(&texts, &stats);
		bpf_stream_drain(&pointers, pointer_sink, NULL, SIZE_MAX);
		sched_yield();
	}
	close(null);
	return arg;
}

int main(int argc, char **argv)
{
	static const char *const names[MODES] = { "quiet", "race", "sink", "looks", "told" };
	static int numbers[WRITERS] = { 0, 1, 2 };
	struct bpf_stream_pool_stats stats;
	pthread_t writers[WRITERS];
	pthread_t readers[2];
	int i;

	for (i = 0; i < MODES && argc == 2; i++)
		if (!strcmp(argv[1], names[i]))
			break;
	if (argc != 2 || i == MODES) {
		fprintf(stderr, "usage: valgrind_user quiet|race|sink|looks|told\n");
		return 2;
	}
	mode = i;
	signal(SIGUSR1, handler);
	bpf_stream_init(&texts, NULL);
	bpf_stream_init(&pointers, NULL);
	for (i = 0; i < WRITERS; i++)
		if (pthread_create(&writers[i], NULL, write_all, &numbers[i]))
			return 2;
	if (pthread_create(&readers[0], NULL, read_all, NULL))
		return 2;
	for (i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	pthread_join(readers[0], NULL);
	/* For what was left, and came last. */
	if (pthread_create(&readers[1], NULL, read_all, NULL))
		return 2;
	pthread_join(readers[1], NULL);
	bpf_stream_pool_trim();
	bpf_stream_pool_get_stats(&stats);
	bpf_stream_thread_release();
	bpf_stream_destroy(&texts);
	bpf_stream_destroy(&pointers);
	return 0;
}
