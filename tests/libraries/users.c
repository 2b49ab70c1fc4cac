/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A program that uses one or two libraries with streams from several threads
 * and from their handlers, forks meanwhile, and ends while threads still push.
 * All that was stored comes out, each writer's in its order, and the threads
 * that ended left no page. test_users.py builds it and the libraries in many
 * ways, and says what is meant to happen: two libraries have a pool each, or
 * one serves both.
 *
 * Seen to fail, with a copy of the header broken on purpose: an exit hook that
 * releases nothing ("pages in use after all threads"); a bare store at
 * publish:A ("a message comes after"); a pool that a fork shares (the same);
 * the pool unmapped in the unload hook (SIGSEGV after "passed").
 */
#define _GNU_SOURCE
#define PLUGIN_HOST
#include "../program.h"
#include "plugin.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define THREADS 4
#define FORKS 8
#define LIBRARIES 2

/* Each thread is two writers, the second one in handlers. */
#define WRITERS (2 * (THREADS + 1))

struct message {
	uint32_t writer;
	uint32_t number;
};

static struct plugin plugin[LIBRARIES];
static int libraries;
static uint32_t messages;			/* of each thread in each library */
static uint32_t stored[WRITERS][LIBRARIES];	/* the writer's own */
static uint32_t found[WRITERS][LIBRARIES];	/* the reader's */
static int finished;

#define NOBODY UINT32_MAX
static _Thread_local uint32_t writer = NOBODY;

static void fail(const char *what, long found_value, long wanted)
{
	printf("FAIL %s: %ld, wanted %ld\n", what, found_value, wanted);
	fflush(stdout);
	_exit(1);
}

static void expect(const char *what, long found_value, long wanted)
{
	if (found_value != wanted)
		fail(what, found_value, wanted);
}

/* Only what was stored gets a number. */
static int store(uint32_t who, int in)
{
	struct message m = { who, stored[who][in] };
	int err = plugin[in].push(&m, sizeof(m));

	stored[who][in] += !err;
	return err;
}

static void on_signal(int sig)
{
	int i;

	(void)sig;
	for (i = 0; i < libraries && writer != NOBODY; i++)
		store(writer + 1, i);
}

static void *write_messages(void *arg)
{
	uint32_t n = 0;
	int i;

	writer = *(uint32_t *)arg;
	while (n < messages) {
		for (i = 0; i < libraries; i++)
			while (store(writer, i))
				program_pause();
		if (++n % 1000 == 0)
			raise(SIGUSR1);
	}
	__atomic_fetch_add(&finished, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* What is there; how many bytes. */
static int read_messages(void)
{
	struct message m[512];
	int bytes = 0;
	int i;
	int n;
	int k;

	for (i = 0; i < libraries; i++) {
		n = plugin[i].read(m, sizeof(m));
		if (n < 0 || n % (int)sizeof(m[0]))
			fail("a read", n, (long)sizeof(m));
		bytes += n;
		for (k = 0; k < n / (int)sizeof(m[0]); k++) {
			if (m[k].writer >= WRITERS)
				fail("a writer", (long)m[k].writer, WRITERS);
			expect("a message comes after", (long)m[k].number,
			       (long)found[m[k].writer][i]++);
		}
	}
	return bytes;
}

/* It has what was pending, as its own; it reads that, writes more, and ends. */
static void in_the_child(void)
{
	uint32_t n;
	int i;

	writer = 2 * THREADS;
	while (read_messages())
		;
	for (n = 0; n < 1000; n++)
		for (i = 0; i < libraries; i++)
			expect("a push in the child", store(writer, i), 0);
	raise(SIGUSR1);
	while (read_messages())
		;
	for (i = 0; i < libraries; i++) {
		expect("messages in the child", (long)found[writer][i], 1000);
		expect("from its handler", (long)found[writer + 1][i], 1);
	}
	exit(0);
}

static void fork_one(void)
{
	pid_t child = program_fork();
	int status;

	if (child == 0)
		in_the_child();
	status = program_wait(child);
	if (status) {
		printf("FAIL: the child %s\n", program_end_of(status));
		fflush(stdout);
		_exit(1);
	}
}

static void threads_and_forks(void)
{
	static uint32_t id[THREADS];
	pthread_t thread[THREADS];
	uint32_t forks = 0;
	uint32_t seen;
	uint32_t i;
	int k;

	for (i = 0; i < THREADS; i++) {
		id[i] = 2 * i;
		expect("a thread", pthread_create(&thread[i], NULL, write_messages, &id[i]), 0);
	}
	while (__atomic_load_n(&finished, __ATOMIC_ACQUIRE) < THREADS) {
		read_messages();
		for (seen = 0, i = 0; i < THREADS; i++) {
			pthread_kill(thread[i], SIGUSR1);
			seen += found[2 * i][0];
		}
		if (seen > forks * (THREADS * messages / FORKS)) {
			fork_one();
			forks++;
		}
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	while (read_messages())
		;
	for (i = 0; i < 2 * THREADS; i++)
		for (k = 0; k < libraries; k++)
			expect("messages of a writer", (long)found[i][k], (long)stored[i][k]);
	for (k = 0; k < libraries; k++)
		expect("pages in use after all threads", (long)plugin[k].pages_in_use(), 0);
}

static long seen_by_second;

/* One push into the first library: does the second one's pool have it? */
static void *push_first(void *arg)
{
	char c;

	(void)arg;
	expect("the first push", plugin[0].push("x", 1), 0);
	expect("pages of the first", (long)plugin[0].pages_in_use(), 1);
	if (libraries == 2)
		seen_by_second = (long)plugin[1].pages_in_use();
	expect("the first read", plugin[0].read(&c, 1), 1);
	return NULL;
}

static void *push_on_and_on(void *arg)
{
	for (;;)
		if (plugin[0].push("z", 1) + plugin[libraries - 1].push("z", 1))
			program_pause();
	return arg;
}

static void end_beside_pushes(void)
{
	pthread_t thread;
	char buf[64];
	int i;

	for (i = 0; i < THREADS; i++)
		expect("a thread", pthread_create(&thread, NULL, push_on_and_on, NULL), 0);
	for (i = 0; i < 1000; i++)
		plugin[i % libraries].read(buf, sizeof(buf));
}

static const char *pools_name(unsigned int i)
{
	static const char *const names[] = { "separate", "shared", NULL };

	return names[i];
}

static const char *how_name(unsigned int i)
{
	static const char *const names[] = { "linked", "local", "global", NULL };

	return names[i];
}

int main(int argc, char **argv)
{
	const char *pools = NULL;
	const char *how = NULL;
	const char *path[LIBRARIES] = { NULL, NULL };
	const struct program_option options[] = {
		PROGRAM_WORD("POOLS", "what the libraries have:", &pools, pools_name),
		PROGRAM_WORD("HOW", "they get here:", &how, how_name),
		PROGRAM_WORD("LIBRARY", "built from plugin.c", &path[0], NULL),
		PROGRAM_WORD("[SECOND]", "another one", &path[1], NULL),
		PROGRAM_LAST
	};
	pthread_t thread;
	bool shared;
	int flags;
	int i;

	program_options(argc, argv, "Use libraries that contain streams.", options);
	messages = (uint32_t)program_number(20000, 1000000);
	shared = !strcmp(pools, "shared");
	flags = !strcmp(how, "linked") ? RTLD_NOLOAD : !strcmp(how, "global") ? RTLD_GLOBAL : 0;
	libraries = path[1] ? 2 : 1;
	for (i = 0; i < libraries; i++) {
		if (!plugin_open(&plugin[i], path[i], RTLD_NOW | flags))
			return 1;
	}
	signal(SIGUSR1, on_signal);
	expect("a thread", pthread_create(&thread, NULL, push_first, NULL), 0);
	pthread_join(thread, NULL);
	threads_and_forks();
	if (libraries == 2)
		expect("one pool for both", seen_by_second, shared);
	if (shared)
		expect("pages of the second", (long)plugin[1].pages_total(),
		       (long)plugin[0].pages_total());
	end_beside_pushes();
	puts("passed");
	return 0;
}
