// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A constructor that runs before the library's own reads a stream, and forks.
 * In the child two threads read: one after the other, as everywhere.
 *
 * A regression test: the library has no hook yet that a fork calls. The thread
 * went on under the id that it had in the parent, where it passed for a reader
 * that has stayed there: the second reader took the lock away from the first,
 * and bytes were given back twice.
 *
 * Seen to fail with: an id that is kept before there is a hook.
 */
#define BPF_STREAM_STATIC
#include "bpf_stream.h"
#include "../program.h"

#include <semaphore.h>
#include <sys/wait.h>
#include <time.h>

static struct bpf_stream stream;
static sem_t in_sink;
static volatile int readers;
static volatile int most;

/* Stays long enough for the other one to come in, if it can. */
static int take_slowly(void *ctx, const void *data, size_t len)
{
	int now = __atomic_add_fetch(&readers, 1, __ATOMIC_SEQ_CST);

	(void)ctx;
	(void)data;
	if (now > most)
		most = now;
	sem_post(&in_sink);
	nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
	__atomic_sub_fetch(&readers, 1, __ATOMIC_SEQ_CST);
	return (int)len;
}

static void *read_as_well(void *arg)
{
	sem_wait(&in_sink);
	bpf_stream_drain(&stream, take_slowly, NULL, SIZE_MAX);
	return arg;
}

/* 101: as early as a program may. */
__attribute__((constructor(101))) static void fork_early(void)
{
	char byte;
	int status;
	pid_t child;

	if (bpf_stream_push(&stream, "x", 1) || bpf_stream_read(&stream, &byte, 1) != 1)
		_exit(1);
	child = fork();
	if (child < 0 || (child && waitpid(child, &status, 0) != child))
		_exit(1);
	if (child)
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

int main(int argc, char **argv)
{
	const struct program_option options[] = { PROGRAM_LAST };
	struct bpf_stream_stats stats;
	pthread_t thread;
	bool right;

	program_begin(argc, argv, "In the child of a fork before main() two threads read.", options);
	if (sem_init(&in_sink, 0, 0) || bpf_stream_push(&stream, "hello", 5) ||
	    pthread_create(&thread, NULL, read_as_well, NULL))
		return 1;
	bpf_stream_drain(&stream, take_slowly, NULL, SIZE_MAX);
	pthread_join(thread, NULL);
	bpf_stream_get_stats(&stream, &stats);
	printf("readers at once: %d, expected 1; pending: %zu bytes, expected 0; delivered: %llu, "
	       "expected 6\n", most, stats.pending, (unsigned long long)stats.delivered.bytes);
	right = most == 1 && !stats.pending && stats.delivered.bytes == 6;
	return program_end(right, !right, 0);
}
