/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * drain_to_fd - a file descriptor that takes a part now and the rest later
 *
 *	cc -std=c11 -Iinclude examples/drain_to_fd.c -o drain_to_fd -pthread
 *
 * A drain tells how many bytes were written. What was not written is still in
 * the stream, in order, and comes with the next drain: there is no buffer to
 * keep, and writers go on all the time. drain_all() is what to copy.
 */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINES 20000		/* more text than a pipe holds */

static void check(int err, const char *what)
{
	if (err) {
		fprintf(stderr, "drain_to_fd: %s: %s\n", what, strerror(err));
		exit(1);
	}
}

/* Until nothing is pending. Returns 0, or the error that stopped it. */
static int drain_all(struct bpf_stream *s, int fd)
{
	struct pollfd writable = { .fd = fd, .events = POLLOUT };
	int n;

	do {
		n = bpf_stream_drain_fd(s, fd, SIZE_MAX);
		/* No room now. One that blocks would wait by itself. */
		if (n == -EAGAIN)
			poll(&writable, 1, -1);
	} while (n > 0 || n == -EAGAIN || n == -EINTR);
	/* -EPIPE, -ENOSPC, ...: what could not be written can still be read. */
	return n;
}

/*
 * At the other end of the pipe: brings it to standard output. It reads on if
 * that fails, for the drain would wait for it; main looks at the first error.
 */
static int copy_error;

static void *copy(void *arg)
{
	const int *from = arg;
	char buf[1000];
	ssize_t n;

	while ((n = read(*from, buf, sizeof(buf))) > 0)
		if (fwrite(buf, 1, (size_t)n, stdout) < (size_t)n && !copy_error)
			copy_error = errno;
	return NULL;
}

int main(void)
{
	static struct bpf_stream s;
	struct bpf_stream_stats stats;
	pthread_t copier;
	int ends[2];
	int n;

	signal(SIGPIPE, SIG_IGN);	/* a drain is to return -EPIPE instead */
	check(pipe(ends) ? errno : 0, "pipe");
	check(fcntl(ends[1], F_SETFL, O_NONBLOCK) ? errno : 0, "fcntl");

	for (int i = 1; i <= LINES; i++)
		check(-bpf_stream_printf(&s, "line %d\n", i), "cannot store");

	/* Nobody reads yet: the pipe fills up, and the drain ends there. */
	n = bpf_stream_drain_fd(&s, ends[1], SIZE_MAX);
	check(n < 0 ? -n : 0, "cannot write");
	bpf_stream_get_stats(&s, &stats);
	printf("a part is written, a part is pending: %s\n", n && stats.pending ? "yes" : "no");
	printf("the next drain says: %s\n", strerror(-bpf_stream_drain_fd(&s, ends[1], SIZE_MAX)));

	check(pthread_create(&copier, NULL, copy, &ends[0]), "pthread_create");
	check(-drain_all(&s, ends[1]), "cannot write");
	close(ends[1]);
	pthread_join(copier, NULL);
	check(copy_error, "cannot write");
	check(fflush(stdout) ? errno : 0, "cannot write");
	return 0;
}
