/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cases - programs that users have, and that once used up the pool
 *
 *   two_streams_one_pool  a stream that is always read, beside one that never
 *                         is. The unread one's text had its place in the same
 *                         pages, and some KiB of it held the whole pool. A
 *                         million rounds; no refusal; the pages in use are 3
 *                         times the pages of the text that is pending, at most
 *   thread_per_request    50,000 threads with two lines each, which nobody
 *                         reads. Each had a page of its own
 *   many_keys             a host with 32 pthread keys loads a library. There a
 *                         thread cannot be told to give back its page at its
 *                         end; so each message had a page of its own
 *   siglongjmp_repl       a command loop that SIGALRM leaves by siglongjmp(),
 *                         which costs nesting levels; without them, too, each
 *                         message had a page of its own
 *   small_pool            40 threads in a pool of 15 pages. They kept them all,
 *                         and when all was read there was no room for a message
 *                         of half the pool
 *
 * In the middle three the pages may be 1.5 times those that one thread needs
 * for the same lines, undisturbed.
 *
 * Seen to fail with the header of 0.1, which has neither groups nor lists of
 * partial pages: all five.
 */
#define BPF_STREAM_STATIC
#include "bpf_stream.h"

#include <setjmp.h>
#include <sys/time.h>
#define PLUGIN_HOST
#include "../libraries/plugin.h"
#include "../program.h"

#if defined(BSE_ASAN) || PROGRAM_TSAN
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static const char *plugin_path;
static struct bpf_stream stream;

static void fail(int line, const char *what, uint64_t is, uint64_t most)
{
	printf("FAIL: %s: line %d: %s: %" PRIu64 ", bound %" PRIu64 "\n", program_case, line, what,
	       is, most);
	fflush(stdout);
	_exit(1);
}

#define AT_MOST(is, most)							\
	do {									\
		const uint64_t is_ = (uint64_t)(is);				\
		const uint64_t most_ = (uint64_t)(most);			\
										\
		if (is_ > most_)						\
			fail(__LINE__, #is, is_, most_);			\
	} while (0)

#define WANT(condition) AT_MOST(!(condition), 0)

static size_t pages_in_use(void)
{
	struct bpf_stream_pool_stats stats;

	bpf_stream_pool_get_stats(&stats);
	return stats.in_use;
}

static size_t pending(const struct bpf_stream *s)
{
	struct bpf_stream_stats stats;

	bpf_stream_get_stats(s, &stats);
	return stats.pending;
}

/* What a child finds out for its parent; the memory is shared. */
static size_t *found;

static size_t found_by(void work(void))
{
	pid_t pid = program_fork();

	if (pid == 0) {
		work();
		_exit(0);
	}
	WANT(!program_wait(pid));
	return *found;
}

/* The second stands 1.5 times, and a page that is not full, for the first. */
static size_t bound_for(size_t pages)
{
	return pages + pages / 2 + 1;
}

/* ---- Two streams, one pool --------------------------------------------- */

static struct bpf_stream both[2];	/* neighbours, so of two groups */

static int two_streams_one_pool(void)
{
	static char line[4000];
	static char buf[1u << 16];
	const uint64_t rounds = SANITIZED ? 50000 : 1000000;
	struct bpf_stream_options options = { .capacity = BPF_STREAM_CAPACITY_LIMIT };
	uint64_t i;

	WANT(!bpf_stream_init(&both[0], NULL) && !bpf_stream_init(&both[1], &options));
	for (i = 0; i < rounds; i++) {
		WANT(!bpf_stream_push(&both[0], line, sizeof(line)));
		WANT(!bpf_stream_printf(&both[1], "error %" PRIu64 "\n", i));
		WANT(bpf_stream_read(&both[0], buf, sizeof(buf)) == (int)sizeof(line));
	}
	printf("  %zu pages hold %zu bytes\n", pages_in_use(), pending(&both[1]));
	AT_MOST(pages_in_use(), 3 * pending(&both[1]) / BPF_STREAM_PAGE_SIZE);
	return 0;
}

/* ---- A thread for each request ----------------------------------------- */

static uintptr_t requests;

static void *serve(void *request)
{
	if (bpf_stream_printf(&stream, "request %zu came\n", (size_t)(uintptr_t)request) ||
	    bpf_stream_printf(&stream, "request %zu served\n", (size_t)(uintptr_t)request))
		fail(__LINE__, "a line is refused", 1, 0);
	return NULL;
}

static void serve_all_in_one_thread(void)
{
	uintptr_t i;

	for (i = 0; i < requests; i++)
		(void)serve((void *)i);
	*found = pages_in_use();
}

static int thread_per_request(void)
{
	pthread_t thread;
	uintptr_t i;
	size_t one;

	requests = SANITIZED ? 5000 : 50000;
	one = found_by(serve_all_in_one_thread);
	for (i = 0; i < requests; i++) {
		WANT(!pthread_create(&thread, NULL, serve, (void *)i));
		WANT(!pthread_join(thread, NULL));
	}
	printf("  %zu pages hold %zu bytes; of one thread, %zu\n", pages_in_use(),
	       pending(&stream), one);
	AT_MOST(pages_in_use(), bound_for(one));
	return 0;
}

/* ---- Many keys --------------------------------------------------------- */

static unsigned int keys;

static void push_in_plugin(void)
{
	struct plugin plugin;
	pthread_key_t key;
	char line[64];
	unsigned int i;
	int len;

	while (keys--)
		WANT(!pthread_key_create(&key, NULL));
	WANT(plugin_open(&plugin, plugin_path, RTLD_NOW));
	for (i = 0; i < 100000; i++) {
		len = snprintf(line, sizeof(line), "a line of text %u\n", i);
		WANT(!plugin.push(line, (size_t)len));
	}
	*found = plugin.pages_in_use();
}

static int many_keys(void)
{
	size_t few;
	size_t many;

	if (!plugin_path) {
		printf("SKIP: %s: without --plugin\n", program_case);
		return 77;
	}
	few = found_by(push_in_plugin);
	keys = 32;
	many = found_by(push_in_plugin);
	printf("  %zu pages; without so many keys, %zu\n", many, few);
	AT_MOST(many, bound_for(few));
	return 0;
}

/* ---- A command loop that is jumped out of ------------------------------ */

static sigjmp_buf top;
static volatile sig_atomic_t jumps;

static void on_alarm(int sig)
{
	(void)sig;
	jumps++;
	siglongjmp(top, 1);
}

static void empty(void)
{
	static char buf[1u << 16];

	while (bpf_stream_read(&stream, buf, sizeof(buf)) > 0)
		;
}

/* siglongjmp() out of a reader is not allowed. */
static void empty_undisturbed(void)
{
	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	sigprocmask(SIG_BLOCK, &alarm, NULL);
	empty();
	sigprocmask(SIG_UNBLOCK, &alarm, NULL);
}

/* Pages for some lines, beside those that are in use anyway. */
static size_t pages_for_lines(void)
{
	size_t before;
	size_t pages;
	int i;

	empty();
	before = pages_in_use();
	for (i = 0; i < 1000; i++)
		WANT(!bpf_stream_push(&stream, "0123456789", 10));
	pages = pages_in_use() - before;
	empty();
	return pages;
}

static int siglongjmp_repl(void)
{
	static const struct itimerval on = { { 0, 70 }, { 0, 70 } };
	static const struct itimerval off = { { 0, 0 }, { 0, 0 } };
	static size_t before;
	size_t after;

	if (PROGRAM_TSAN) {
		printf("SKIP: %s: signals do not interrupt at every instruction there\n",
		       program_case);
		return 77;
	}
	before = pages_for_lines();
	signal(SIGALRM, on_alarm);
	(void)sigsetjmp(top, 1);
	/* The command, which is left until all levels are lost, and on. */
	if (bse_own_get(&bse_self.depth) < BPF_STREAM_LEVELS || jumps < 200) {
		setitimer(ITIMER_REAL, &on, NULL);
		for (;;)
			if (bpf_stream_push(&stream, "0123456789", 10))
				empty_undisturbed();
	}
	setitimer(ITIMER_REAL, &off, NULL);
	signal(SIGALRM, SIG_IGN);
	after = pages_for_lines();
	printf("  %d jumps; then 1000 lines take %zu pages, before %zu\n", (int)jumps, after,
	       before);
	AT_MOST(after, bound_for(before));
	return 0;
}

/* ---- A small pool ------------------------------------------------------ */

#define SMALL 40

static pthread_barrier_t barrier;

static void *push_and_stay(void *refused)
{
	if (bpf_stream_push(&stream, "hello", 5))
		__atomic_fetch_add((int *)refused, 1, __ATOMIC_RELAXED);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static int small_pool(void)
{
	static _Alignas(4096) char region[16 * BPF_STREAM_PAGE_SIZE];
	static char large[30000];
	pthread_t thread[SMALL];
	int refused = 0;
	int i;

	WANT(!bpf_stream_pool_use(region, sizeof(region), 0));
	WANT(!pthread_barrier_init(&barrier, NULL, SMALL + 1));
	for (i = 0; i < SMALL; i++)
		WANT(!pthread_create(&thread[i], NULL, push_and_stay, &refused));
	pthread_barrier_wait(&barrier);
	printf("  %d threads have %zu pages; %d were refused\n", SMALL, pages_in_use(), refused);
	WANT(!refused);
	empty();
	WANT(!bpf_stream_push(&stream, large, sizeof(large)));
	pthread_barrier_wait(&barrier);
	for (i = 0; i < SMALL; i++)
		pthread_join(thread[i], NULL);
	empty();
	return 0;
}

/* ---- The program ------------------------------------------------------- */

static const struct a_case {
	const char *name;
	int (*run)(void);		/* 0, or 77: skipped */
} cases[] = {
	{ "two_streams_one_pool", two_streams_one_pool },
	{ "thread_per_request", thread_per_request },
	{ "many_keys", many_keys },
	{ "siglongjmp_repl", siglongjmp_repl },
	{ "small_pool", small_pool },
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
		PROGRAM_WORD("case", "only this one:", &only, case_name),
		PROGRAM_WORD("plugin", "a library with a stream, for many_keys", &plugin_path,
			     NULL),
		PROGRAM_LAST
	};
	unsigned int ended[3] = { 0 };	/* passed, failed, skipped */
	unsigned int i;
	int status;
	pid_t pid;

	program_begin(argc, argv, "Programs that users have; each in a process of its own.",
		      options);
	found = mmap(NULL, sizeof(*found), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		     -1, 0);
	if (found == MAP_FAILED)
		return 2;
	for (i = 0; i < CASES; i++) {
		if (only && strcmp(only, cases[i].name))
			continue;
		program_case = cases[i].name;
		printf("%s\n", program_case);
		pid = program_fork();
		if (pid == 0) {
			(void)bpf_stream_init(&stream, NULL);
			exit(cases[i].run());
		}
		status = program_wait(pid);
		if (status && WEXITSTATUS(status) != 77)
			printf("FAIL: %s %s\n", program_case, program_end_of(status));
		ended[!status ? 0 : WIFEXITED(status) && WEXITSTATUS(status) == 77 ? 2 : 1]++;
	}
	return program_end(ended[0], ended[1], ended[2]);
}
