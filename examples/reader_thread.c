/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reader_thread - a reader that sleeps until there is something to read
 *
 *	cc -std=c11 -Iinclude examples/reader_thread.c -o reader_thread -pthread
 *
 * A stream wakes nobody: a writer that could be anywhere, also in a signal
 * handler, must not be made to do so. The program brings its own bell, here an
 * eventfd. Ringing it is a write(2), which a handler may do; any number of
 * rings wakes once; and it can be polled together with sockets.
 *
 * Nothing is missed, because each writer pushes first and rings then, while
 * the reader hears the bell first and drains then: what a drain comes too
 * early for has a ring of its own that is still to be heard.
 *
 * It costs a system call for each push. streamcat.c has a bell that is rung
 * only if it is not rung already.
 */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define WRITERS 3
#define MESSAGES 4

static struct bpf_stream messages;
static int bell;
static atomic_bool closing;		/* no more pushes will come */

static void check(int err, const char *what)
{
	if (err) {
		fprintf(stderr, "reader_thread: %s: %s\n", what, strerror(err));
		exit(1);
	}
}

/* From any context. Keeps errno for handlers, as a push does. */
static void bell_ring(void)
{
	const uint64_t one = 1;
	int saved = errno;

	/* It fails only if 2^64 rings were not heard: then it is rung. */
	if (write(bell, &one, sizeof(one)) < 0)
		errno = saved;
}

static void bell_wait(void)
{
	uint64_t rings;

	while (read(bell, &rings, sizeof(rings)) < 0 && errno == EINTR)
		;
}

static void *writer(void *arg)
{
	const char *name = arg;

	for (int i = 1; i <= MESSAGES; i++) {
		check(-bpf_stream_printf(&messages, "%s %d\n", name, i), "cannot store");
		bell_ring();
	}
	return NULL;
}

static void *reader(void *arg)
{
	bool last;
	int n;

	do {
		bell_wait();
		/* Before draining: then the drain is behind the last push. */
		last = atomic_load(&closing);
		do {
			n = bpf_stream_drain_fd(&messages, 1, SIZE_MAX);
		} while (n > 0 || n == -EINTR);
		check(-n, "cannot write");
	} while (!last);
	return arg;
}

int main(void)
{
	static char names[WRITERS][8] = { "red", "green", "blue" };
	pthread_t writers[WRITERS];
	pthread_t sleeper;

	bell = eventfd(0, EFD_CLOEXEC);
	check(bell < 0 ? errno : 0, "eventfd");
	check(pthread_create(&sleeper, NULL, reader, NULL), "pthread_create");
	for (int i = 0; i < WRITERS; i++)
		check(pthread_create(&writers[i], NULL, writer, names[i]), "pthread_create");
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);

	atomic_store(&closing, true);
	bell_ring();
	pthread_join(sleeper, NULL);
	return 0;
}
