/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * from_signal_handler - a handler may write, whatever it interrupted
 *
 *	cc -std=c11 -Iinclude examples/from_signal_handler.c -o from_signal_handler -pthread
 *
 * The main program does nothing but allocate and write messages, so that the
 * alarm mostly interrupts malloc() or a push. fprintf() in this handler could
 * wait for ever for a lock that the interrupted malloc() holds.
 */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#define TICKS 5

static struct bpf_stream events;	/* what the handler has to tell */
static struct bpf_stream progress;	/* what the main program has to tell */
static volatile sig_atomic_t ticks;

static void on_alarm(int sig)
{
	(void)sig;
	if (ticks == TICKS)
		return;
	/* No lock, no malloc, no locale; errno is as before when it returns. */
	bpf_stream_printf(&events, "tick %d\n", (int)ticks + 1);
	ticks++;
}

int main(void)
{
	const struct itimerval every_millisecond = { { 0, 1000 }, { 0, 1000 } };
	struct sigaction action = { .sa_handler = on_alarm };
	char drop[4096];

	/* The streams must be there before the handler can run. */
	bpf_stream_init(&events, NULL);
	bpf_stream_init(&progress, NULL);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every_millisecond, NULL);

	while (ticks < TICKS) {
		free(malloc(1000));
		bpf_stream_printf(&progress, "working\n");
		bpf_stream_read(&progress, drop, sizeof(drop));
	}
	return bpf_stream_drain_fd(&events, 1, SIZE_MAX) < 0;
}
