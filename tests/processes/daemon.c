// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A program that starts a thread to read, logs, and then calls daemon(3): the
 * thread does not come along. The daemon drains by itself, and gets all that
 * was pending, as the thread was in its sink.
 *
 * A regression test: the stream was busy for ever.
 *
 * Seen to fail with: a reader that is waited for though it is not in this
 * process; a backlog that is dropped though its reader was in its sink.
 */
#define BPF_STREAM_STATIC
#include "bpf_stream.h"
#include "../program.h"

#include <semaphore.h>

#define STEPS 3000

static struct bpf_stream stream;
static sem_t in_sink;
static int result[2];			/* a pipe: what is wrong, or "right" */

static int never_come_back(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	sem_post(&in_sink);
	for (;;)
		pause();
	return (int)len;
}

static void *read_on(void *arg)
{
	bpf_stream_drain(&stream, never_come_back, NULL, SIZE_MAX);
	return arg;
}

static _Noreturn void say(const char *what)
{
	(void)!write(result[1], what, strlen(what));
	_exit(0);
}

static _Noreturn void be_the_daemon(void)
{
	static char got[64 * STEPS];
	static char want[64 * STEPS];
	size_t want_len = 0;
	size_t len = 0;
	int n;
	int i;

	if (bpf_stream_printf(&stream, "daemon runs\n"))
		say("the daemon cannot push");
	for (i = 0; i < STEPS; i++)
		want_len += (size_t)snprintf(want + want_len, 64, "starting up, step %d\n", i);
	want_len += (size_t)snprintf(want + want_len, 64, "daemon runs\n");
	do {
		n = bpf_stream_read(&stream, got + len, sizeof(got) - len);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	if (n)
		say(n == -EBUSY ? "the stream is busy" : "a read failed");
	if (len != want_len || memcmp(got, want, len))
		say("not what was pending");
	say("right");
}

static _Noreturn void start_up(void)
{
	pthread_t thread;
	int i;

	bpf_stream_init(&stream, NULL);
	sem_init(&in_sink, 0, 0);
	for (i = 0; i < STEPS; i++)
		if (bpf_stream_printf(&stream, "starting up, step %d\n", i))
			say("a push failed");
	if (pthread_create(&thread, NULL, read_on, NULL))
		say("no thread");
	while (sem_wait(&in_sink))
		;
	if (daemon(1, 1))
		say("no daemon");
	program_limit();
	be_the_daemon();
}

int main(int argc, char **argv)
{
	const struct program_option options[] = { PROGRAM_LAST };
	char text[100] = "";
	size_t len = 0;
	ssize_t n;

	program_begin(argc, argv, "A daemon drains what its starting process could not.", options);
	if (pipe(result) || !program_fork())
		start_up();
	close(result[1]);
	while ((n = read(result[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	if (strcmp(text, "right"))
		printf("FAIL: %s\n", len ? text : "the daemon said nothing");
	return program_end(!strcmp(text, "right"), !!strcmp(text, "right"), 0);
}
