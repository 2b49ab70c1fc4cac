/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * whole_lines - lines for a datagram socket, and for a pipe with other writers
 *
 *	cc -std=c11 -Iinclude examples/whole_lines.c -o whole_lines -pthread
 *
 * A drain hands over bytes: one write(2) has many messages, and may end in the
 * middle of one. A datagram socket makes one datagram of all that. In a pipe,
 * the text of other processes comes in between. pass_lines() is what to copy:
 * it writes each line by itself. A pipe takes up to PIPE_BUF bytes in one
 * piece, whoever else writes to it.
 */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WRITERS 2
#define LINES 20000		/* of each writer */
#define LENGTH 100		/* of a line */

static struct bpf_stream s;

static void check(int err, const char *what)
{
	if (err) {
		fprintf(stderr, "whole_lines: %s: %s\n", what, strerror(err));
		exit(1);
	}
}

/* A descriptor, and what was read and not written yet; one thread's. */
struct lines {
	int fd;
	size_t have;
	char buf[PIPE_BUF];
};

/*
 * Until nothing is pending. Returns 0, or the error that stopped it; then the
 * line that could not be written comes first the next time.
 */
static int pass_lines(struct lines *l)
{
	ssize_t n;
	char *end;

	for (;;) {
		end = memchr(l->buf, '\n', l->have);
		if (end) {
			n = write(l->fd, l->buf, (size_t)(end + 1 - l->buf));
			if (n < 0)
				return -errno;
			l->have -= (size_t)n;
			memmove(l->buf, l->buf + n, l->have);
			continue;
		}
		if (l->have == sizeof(l->buf))
			return -EMSGSIZE;		/* a line longer than that */
		n = bpf_stream_read(&s, l->buf + l->have, sizeof(l->buf) - l->have);
		if (n <= 0)
			return (int)n;
		l->have += (size_t)n;
	}
}

static void datagrams(void)
{
	struct lines out = { 0 };
	char buf[100];
	ssize_t n;
	int ends[2];

	check(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) ? errno : 0, "socketpair");
	out.fd = ends[0];
	bpf_stream_printf(&s, "one\n");
	bpf_stream_printf(&s, "two\n");
	check(-pass_lines(&out), "cannot send");
	while ((n = recv(ends[1], buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		printf("a datagram: %.*s", (int)n, buf);
}

static void write_lines(int fd, char letter)
{
	struct lines out = { .fd = fd };
	char line[LENGTH];

	memset(line, letter, LENGTH - 1);
	line[LENGTH - 1] = '\n';
	for (int i = 0; i < LINES; i++) {
		check(-bpf_stream_push(&s, line, LENGTH), "cannot store");
		if (i % 1000 == 999)	/* more than a pipe holds */
			check(-pass_lines(&out), "cannot write");
	}
	exit(0);
}

static void shared_pipe(void)
{
	int lines = 0, torn = 0;
	char line[LENGTH + 1];
	int ends[2];
	FILE *from;
	pid_t pid;

	check(pipe(ends) ? errno : 0, "pipe");
	for (int i = 0; i < WRITERS; i++) {
		pid = fork();
		check(pid < 0 ? errno : 0, "fork");
		if (!pid)
			write_lines(ends[1], (char)('A' + i));
	}
	close(ends[1]);
	from = fdopen(ends[0], "r");
	check(from ? 0 : errno, "fdopen");
	while (fgets(line, sizeof(line), from)) {
		lines++;
		if (strspn(line, line[0] == 'A' ? "A" : "B") != LENGTH - 1)
			torn++;
	}
	while (wait(NULL) > 0)
		;
	printf("a shared pipe: %d lines, %d torn\n", lines, torn);
}

int main(void)
{
	datagrams();
	check(fflush(stdout) ? errno : 0, "cannot write");	/* before the fork */
	shared_pipe();
	check(fflush(stdout) ? errno : 0, "cannot write");
	return 0;
}
