/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * core_victim - abort in the middle of something; test_core.py opens the core
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
#include "../program.h"

#include <sys/time.h>

/* Those that a push comes to, in the order of hooks.h. */
static const char *const places[] = {
	"entered", "getting", "counting", "placing", "leaving", "publishing"
};

#define PLACES (sizeof(places) / sizeof(places[0]))

struct bpf_stream stream;
struct bpf_stream *stream_pointer = &stream;
volatile unsigned int accepted[2];	/* of each thread; read in the core */
static enum hook_point wanted;

static void abort_at(enum hook_point point)
{
	if (point == wanted)
		abort();
}

static int abort_in_sink(void *calls, const void *data, size_t len)
{
	(void)data;
	if (++*(int *)calls == 2)
		abort();
	return (int)len;
}

static void *push_on(void *lane)
{
	int i = *(int *)lane;

	for (;;)
		if (!bpf_stream_printf(&stream, "%c%u\n", 'a' + i, accepted[i]))
			accepted[i]++;
	return NULL;
}

static void abort_anywhere(int signal)
{
	(void)signal;
	abort();
}

static void fill(void)
{
	static char large[10001];
	char eight[8];

	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\n';
	bpf_stream_push(&stream, "first\n", 6);
	bpf_stream_push(&stream, "second\n", 7);
	bpf_stream_push(&stream, "\0third\"\n", 8);
	bpf_stream_read(&stream, eight, sizeof(eight));
	bpf_stream_push(&stream, large, sizeof(large));
}

static void use_shared_region(void)
{
	const size_t bytes = 64 * BPF_STREAM_PAGE_SIZE;
	int fd = (int)syscall(SYS_memfd_create, "core", 0u);
	void *region;

	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		exit(3);
	region = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (region == MAP_FAILED || bpf_stream_pool_use(region, bytes, BPF_STREAM_POOL_SHARED))
		exit(3);
}

int main(int argc, char **argv)
{
	static char message[3000];
	const char *mode = NULL;
	const struct program_option options[] = {
		PROGRAM_WORD("WHERE", "in a push, behind a known backlog and log: entered,\n"
			     "                getting, counting, placing, leaving, publishing;\n"
			     "                sink: of a drain that took half of it already;\n"
			     "                shared: as leaving, with a memfd as the pool;\n"
			     "                a number: after so many microseconds of pushes",
			     &mode, NULL),
		PROGRAM_LAST
	};
	uint64_t microseconds;
	int calls = 0;

	program_options(argc, argv, "Abort in the middle of something.", options);
	bpf_stream_init(&stream, NULL);
	if (program_parse(mode, &microseconds)) {
		static int lane[] = { 0, 1 };
		struct itimerval timer = { .it_value.tv_usec = 1 + (int)microseconds };
		pthread_t thread;

		signal(SIGALRM, abort_anywhere);
		if (pthread_create(&thread, NULL, push_on, &lane[1]) ||
		    setitimer(ITIMER_REAL, &timer, NULL))
			return 3;
		push_on(&lane[0]);
	}
	if (!strcmp(mode, "shared")) {
		use_shared_region();
		mode = "leaving";
	}
	fill();
	if (!strcmp(mode, "sink"))
		bpf_stream_drain(&stream, abort_in_sink, &calls, SIZE_MAX);
	while (wanted < PLACES && strcmp(mode, places[wanted]))
		wanted++;
	if (wanted == PLACES)
		program_misused("WHERE '%s': there is no such place", mode);
	hook = abort_at;
	bpf_stream_push(&stream, message, sizeof(message));
	return 3;
}
