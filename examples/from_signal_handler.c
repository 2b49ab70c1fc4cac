/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * from_signal_handler - a handler may write, whatever it interrupted
 *
 *	cc -std=c11 -Iinclude examples/from_signal_handler.c \
 *		-o from_signal_handler -pthread
 *
 * The main program does nothing but allocate and write messages, so that the
 * alarm mostly interrupts malloc() or a push. fprintf() in this handler could
 * wait for ever for a lock that the interrupted malloc() holds.
 *
 * What a handler writes to the stream whose push it interrupted may come out
 * before the message of that push. Here each of them has a stream of its own.
 */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define TICKS 5

static struct bpf_stream events;	/* what the handler has to tell */
static struct bpf_stream progress;	/* what the main program has to tell */
static volatile sig_atomic_t ticks;
static volatile sig_atomic_t failed;	/* the error of a push that was refused */

static void on_alarm(int sig)
{
	int err;

	(void)sig;
	if (ticks == TICKS)
		return;
	/* No lock, no malloc, no locale; errno is as before when it returns. */
	err = bpf_stream_printf(&events, "tick %d\n", (int)ticks + 1);
	if (err)
		failed = err;
	ticks++;
}

int main(void)
{
	const struct itimerval every_millisecond = { { 0, 1000 }, { 0, 1000 } };
	struct sigaction action = { .sa_handler = on_alarm };
	char drop[4096];
	int err = 0;
	int n;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every_millisecond, NULL);

	while (ticks < TICKS && !err) {
		free(malloc(1000));
		err = bpf_stream_printf(&progress, "working\n");
		bpf_stream_read(&progress, drop, sizeof(drop));
	}
	if (!err)
		err = failed;
	if (err)
		fprintf(stderr, "from_signal_handler: cannot store: %s\n", strerror(-err));

	n = bpf_stream_drain_fd(&events, 1, SIZE_MAX);
	if (n < 0)
		fprintf(stderr, "from_signal_handler: cannot write: %s\n", strerror(-n));
	return err || n < 0;
}
