/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * waiting - readers sleep until there is something, writers until there is room
 *
 * Four writers push into a stream that holds a few messages, and sleep while it
 * is full. Two readers sleep in bpf_stream_wait(), one in poll(). There is no
 * nap after which a sleeper would look by itself: a wake-up that is missed hangs
 * the program, which is ended and fails. The cases:
 *
 *   to_the_end    all is written, then the stream is closed: all is read
 *   closed        it is closed while all are at work: what was accepted is read,
 *                 and everybody comes back
 *   leaving       sleepers give up after a millisecond, and come again
 *
 * Seen to fail, with a copy of the header broken on purpose:
 *
 *   a flag that is set whatever is there   hangs
 *   a refund that wakes nobody             hangs
 *   a descriptor cleared behind the flag   hangs
 *
 * And, under ThreadSanitizer: a relaxed poll_fd:B or event_fd:A.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "../tests/threads/waiting_env.h"
#include "bpf_stream.h"
#include "../unit/selfcheck.h"

#include <poll.h>
#include "threads.h"

enum { WRITERS = 4, READERS = 3, CAPACITY = 100, LENGTH = 24 };

static uint64_t seed;
static uint64_t messages;		/* of each writer */
static struct bpf_stream stream;
static uint64_t accepted;
static uint64_t taken;			/* bytes */
static int patience;			/* of sleepers, in milliseconds */

static void complain(const char *what, long long is, long long want)
{
	printf("FAIL: %s, seed %" PRIu64 ": %s: %lld, not %lld\n", program_case, seed, what, is,
	       want);
	fflush(stdout);
	_exit(1);
}

static void *write_all(void *number)
{
	char text[LENGTH];
	uint64_t i;
	int err;

	memset(text, 'a' + (int)(uintptr_t)number, sizeof(text));
	for (i = 0; i < messages;) {
		err = bpf_stream_push_wait(&stream, text, sizeof(text), patience);
		if (err == -EPIPE)
			break;
		if (err && (err != -ENOSPC || patience < 0))
			complain("push_wait", err, 0);
		i += !err;
	}
	__atomic_fetch_add(&accepted, i, __ATOMIC_RELAXED);
	return NULL;
}

/* What is there; false: it is closed, and that was all. */
static bool read_some(void)
{
	char text[3 * LENGTH + 5];
	int n = bpf_stream_try_read(&stream, text, sizeof(text));

	if (n > 0)
		__atomic_fetch_add(&taken, (uint64_t)n, __ATOMIC_RELAXED);
	else if (n && n != -EBUSY && n != -ESHUTDOWN)
		complain("try_read", n, 0);
	return n != -ESHUTDOWN;
}

static void *read_waiting(void *unused)
{
	int ret;

	do {
		ret = bpf_stream_wait(&stream, patience);
		if (ret < 0 && ret != -ESHUTDOWN)
			complain("wait", ret, 1);
	} while (ret >= 0 && (!ret || read_some()));
	return unused;
}

static void *read_polling(void *unused)
{
	struct pollfd p = { .fd = bpf_stream_poll_fd(&stream), .events = POLLIN };

	if (p.fd < 0)
		complain("poll_fd", p.fd, 0);
	do {
		if (poll(&p, 1, patience) < 0)
			complain("poll", errno, 0);
	} while (!(p.revents & POLLIN) || read_some());
	return unused;
}

static void run(bool close_early)
{
	const struct bpf_stream_options options = { .capacity = CAPACITY };
	uint64_t state = seed;
	pthread_t writer[WRITERS];
	pthread_t reader[READERS];
	unsigned int i;

	if (bpf_stream_init(&stream, &options))
		complain("init", 1, 0);
	accepted = taken = 0;
	for (i = 0; i < READERS; i++)
		if (pthread_create(&reader[i], NULL, i ? read_waiting : read_polling, NULL))
			complain("no thread", 0, 1);
	for (i = 0; i < WRITERS; i++)
		if (pthread_create(&writer[i], NULL, write_all, (void *)(uintptr_t)i))
			complain("no thread", 0, 1);
	for (i = program_below(&state, 20); close_early && i; i--)
		program_pause();
	if (close_early)
		bpf_stream_close(&stream);
	for (i = 0; i < WRITERS; i++)
		pthread_join(writer[i], NULL);
	bpf_stream_close(&stream);
	for (i = 0; i < READERS; i++)
		pthread_join(reader[i], NULL);
	if (taken != accepted * LENGTH)
		complain("bytes that were read", (long long)taken, (long long)(accepted * LENGTH));
	if (bpf_stream_selfcheck(&stream))
		complain(bpf_stream_selfcheck(&stream), 0, 0);
	bpf_stream_destroy(&stream);
}

static void to_the_end(void)
{
	patience = -1;
	run(false);
}

static void closed(void)
{
	unsigned int i;

	patience = -1;
	for (i = 0; i < 50; i++, seed++)
		run(true);
}

static void leaving(void)
{
	patience = 1;
	run(false);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "to_the_end", to_the_end }, { "closed", closed }, { "leaving", leaving },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static const char *case_name(unsigned int i)
{
	return i < CASES ? cases[i].name : NULL;
}

int main(int argc, char **argv)
{
	const char *only = NULL;
	const struct program_option options[] = {
		PROGRAM_SEED(&seed),
		PROGRAM_NUMBER("messages", "of each writer", &messages, 1, 100000000),
		PROGRAM_WORD("case", "only this case:", &only, case_name),
		PROGRAM_LAST
	};
	unsigned int i;
	pid_t pid;

	(void)threads_pages_out;
	messages = program_number(PROGRAM_TSAN ? 2000 : 10000, 200000);
	program_begin(argc, argv, "Sleep for messages and for room, and miss no wake-up.", options);
	for (i = 0; i < CASES; i++) {
		program_case = cases[i].name;
		if (only && strcmp(only, cases[i].name))
			continue;
		pid = program_fork();
		if (!pid) {
			cases[i].run();
			exit(0);
		}
		threads_note(cases[i].name, program_wait(pid));
	}
	return threads_summary();
}
