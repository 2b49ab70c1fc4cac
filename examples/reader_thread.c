/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reader_thread - a reader that sleeps until there is something to read
 *
 *	cc -std=c11 -Iinclude examples/reader_thread.c -o reader_thread -pthread
 *
 * A writer wakes a reader only if one sleeps, and so pays nothing while the
 * reader is at work. Closing the stream ends the reader: it gets the rest, and
 * is then told that no more will come.
 */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITERS 3
#define MESSAGES 4

static struct bpf_stream messages;

static void check(int err, const char *what)
{
	if (err) {
		fprintf(stderr, "reader_thread: %s: %s\n", what, strerror(err));
		exit(1);
	}
}

static void *writer(void *arg)
{
	const char *name = arg;

	for (int i = 1; i <= MESSAGES; i++)
		check(-bpf_stream_printf(&messages, "%s %d\n", name, i), "cannot store");
	return NULL;
}

static void *reader(void *arg)
{
	int n;

	do {
		n = bpf_stream_wait(&messages, -1);
		if (n == 1)
			n = bpf_stream_drain_fd(&messages, 1, SIZE_MAX);
	} while (n >= 0 || n == -EINTR);
	check(n == -ESHUTDOWN ? 0 : -n, "cannot write");
	return arg;
}

int main(void)
{
	static char names[WRITERS][8] = { "red", "green", "blue" };
	pthread_t writers[WRITERS];
	pthread_t sleeper;

	check(pthread_create(&sleeper, NULL, reader, NULL), "pthread_create");
	for (int i = 0; i < WRITERS; i++)
		check(pthread_create(&writers[i], NULL, writer, names[i]), "pthread_create");
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);

	bpf_stream_close(&messages);
	pthread_join(sleeper, NULL);
	return 0;
}
