/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * wait_and_poll - one thread that waits for a stream, a socket and a timer
 *
 *	cc -std=c11 -Iinclude examples/wait_and_poll.c -o wait_and_poll -pthread
 *
 * The stream's descriptor goes into epoll beside the others. It is readable
 * while something may be pending; a drain that empties the stream makes it
 * unreadable. It stays readable when the stream is closed: then the loop ends.
 */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

static struct bpf_stream messages;
static int ends[2];			/* a socket: the thread has one end, main the other */

static void check(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "wait_and_poll: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static void watch(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	check(fd >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

/* Writes to the stream, asks by the socket, and waits for the answer. */
static void *worker(void *arg)
{
	char answer;

	for (int i = 1; i <= 3; i++) {
		bpf_stream_printf(&messages, "message %d\n", i);
		check(write(ends[1], "?", 1) == 1 && read(ends[1], &answer, 1) == 1, "socket");
	}
	bpf_stream_close(&messages);
	return arg;
}

int main(void)
{
	const struct itimerspec tick = { { 0, 1000000 }, { 0, 1000000 } };
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int stream = bpf_stream_poll_fd(&messages);
	struct epoll_event event;
	unsigned long long ticks = 0;
	uint64_t count;
	pthread_t thread;
	char asked;
	int n = 0;

	check(epoll >= 0 && timer >= 0 && !timerfd_settime(timer, 0, &tick, NULL), "timer");
	check(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
	watch(epoll, stream);
	watch(epoll, timer);
	watch(epoll, ends[0]);
	errno = pthread_create(&thread, NULL, worker, NULL);
	check(!errno, "pthread_create");

	while (n != -ESHUTDOWN) {
		/* A second at most: a writer can be killed before it wakes others. */
		if (epoll_wait(epoll, &event, 1, 1000) < 1)
			continue;
		if (event.data.fd == timer) {
			if (read(timer, &count, sizeof(count)) > 0)
				ticks += count;
		} else if (event.data.fd == ends[0]) {
			/* Answered when there was a tick, to show that all three go on. */
			if (ticks && read(ends[0], &asked, 1) == 1)
				check(write(ends[0], "!", 1) == 1, "socket");
		} else {
			n = bpf_stream_drain_fd(&messages, 1, SIZE_MAX);
			errno = n < 0 && n != -ESHUTDOWN ? -n : 0;
			check(!errno, "cannot write");
		}
	}
	pthread_join(thread, NULL);
	check(dprintf(1, "the timer went on: %s\n", ticks ? "yes" : "no") > 0, "cannot write");
	return 0;
}
