/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Handlers that jump away or fork in the middle of a call, and two calls that
 * lay out one region. Most tests are bugs that were found:
 *
 * - A page turn retired a page and then emptied its slot. A handler in between
 *   jumped into the handler that it had interrupted; the interrupted push under
 *   both went on at a wrong depth, with a slot that still named the retired
 *   page: pushes went into a free page. Now the slot is emptied first, and
 *   leave goes back to the depth that its enter found.
 * - A jump behind the publish of a commit left the stage full; freeing it freed
 *   what was pending. Now a stage is emptied before the publish.
 * - Two calls of pool_use with one region: the slower one wiped the pool that
 *   was in use.
 * - A handler forked while its thread waited for a stream's lock: the child
 *   went on waiting for a holder that is not there. Now the number of forks is
 *   read again after each wait.
 * - A handler forked in a page turn: the child counted one kept page too few,
 *   went below zero and never kept one again.
 * - A handler jumped out of a page turn, when the slot was empty and its page
 *   counted as kept: it stayed so for ever, and when half of the pool's pages
 *   were lost that way, every message took a page. Since then the slot says
 *   that it counts, in one step with the count; so does the child of a fork.
 * - A sink forked and returned in the child of a shared pool: pages were given
 *   back twice. Now the child's drain ends there.
 * - A handler forked just before its thread slept for a lock: the child slept
 *   for ever. Now it looks every second.
 * - Release left the levels, and the pages in them, that jumps had cost a
 *   thread.
 * - A fault while signals were blocked killed, also if it had a handler.
 *
 * Seen to fail: with each of these put back into the header; with the count of
 * kept pages taken over into the child of a fork as it is; with signals let in
 * between this count and its mark in the slot; with no mark in a turn; with an
 * exit hook that leaves the depth; with a stage that free empties at its end.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_SELFCHECK 1
#define BPF_STREAM_POOL_BYTES (64u * 4096u)
#define BPF_STREAM_ENV_HEADER "jumps_env.h"
#include "bpf_stream.h"

#include <criterion/criterion.h>
#include <setjmp.h>
#include <sys/wait.h>

#define LARGE 3000

static struct bpf_stream s;
static struct bpf_stream other;
static sigjmp_buf back;
static char text[40000];
static char buf[100000];

static void check_pool(size_t in_use)
{
	const char *broken = bpf_stream_selfcheck(NULL);
	struct bpf_stream_pool_stats pool;

	bpf_stream_pool_get_stats(&pool);
	cr_assert_null(broken, "%s", broken);
	cr_assert_leq(pool.in_use, in_use);
}

/* All that comes out of @from is @len times @c. */
static void expect(struct bpf_stream *from, char c, int len)
{
	int i;

	int got = bpf_stream_read(from, buf, sizeof(buf));

	cr_assert_eq(got, len, "%d bytes for %d of %c", got, len, c);
	for (i = 0; i < len; i++)
		cr_assert_eq(buf[i], c, "byte %d of %d", i, len);
}

static void push(struct bpf_stream *to, char c, size_t len)
{
	memset(text, c, len);
	cr_assert_eq(bpf_stream_push(to, text, len), 0);
}

static void push_byte(void)
{
	cr_assert_eq(bpf_stream_push(&s, "b", 1), 0);
}

static void set_up(void)
{
	bpf_stream_init(&s, NULL);
	bpf_stream_init(&other, NULL);
}

static void jump_back(int sig)
{
	(void)sig;
	siglongjmp(back, 1);
}

static void jump_at_second_retirement(enum place place)
{
	if (place != PLACE_RETIRED)
		return;
	come_in = NULL;
	raise(SIGUSR2);
}

static void push_twice_and_be_jumped_into(int sig)
{
	(void)sig;
	if (sigsetjmp(back, 1))
		return;
	push(&s, 'x', LARGE);
	come_in = jump_at_second_retirement;
	bpf_stream_push(&s, text, LARGE);
}

static void raise_at_retirement(enum place place)
{
	if (place != PLACE_RETIRED)
		return;
	come_in = NULL;
	raise(SIGUSR1);
}

Test(jumps, push__jump_into_a_handler_below_leaves_no_slot_with_a_free_page)
{
	int i;

	set_up();
	signal(SIGUSR1, push_twice_and_be_jumped_into);
	signal(SIGUSR2, jump_back);
	push(&s, 'x', LARGE);
	come_in = raise_at_retirement;
	push(&s, 'x', LARGE);
	cr_assert_eq(bse_self.depth.bse_v, 0);
	expect(&s, 'x', 3 * LARGE);
	for (i = 0; i < 5; i++)
		push(&s, 'x', 100);
	push(&other, 'y', sizeof(text));
	memset(text, 'x', sizeof(text));
	expect(&s, 'x', 500);
	expect(&other, 'y', sizeof(text));
	/* The page that was retired and not given back, and a kept one. */
	bpf_stream_thread_release();
	check_pool(2);
}

static void raise_when_published(enum place place)
{
	if (place != PLACE_PUBLISHED)
		return;
	come_in = NULL;
	raise(SIGUSR2);
}

Test(jumps, commit__jump_behind_the_publish_leaves_an_empty_stage)
{
	static struct bpf_stream_stage ss;	/* not in registers across the jump */
	int i;

	set_up();
	signal(SIGUSR2, jump_back);
	bpf_stream_stage_init(&ss);
	memset(text, 'g', 4000);
	for (i = 0; i < 4; i++)
		cr_assert_eq(bpf_stream_stage_push(&ss, text, 4000), 0);
	come_in = raise_when_published;
	if (!sigsetjmp(back, 1))
		bpf_stream_stage_commit_to(&ss, &s);
	bpf_stream_stage_free(&ss);
	for (i = 0; i < 6; i++)
		push(&other, 'o', 4000);
	expect(&s, 'g', 4 * 4000);
	expect(&other, 'o', 6 * 4000);
	check_pool(1);
}

static _Alignas(4096) char region[64 * 4096];
static bse_u32 looked;
static bse_u32 used;

static void wait_until_used(enum place place)
{
	if (place != PLACE_ADOPTING)
		return;
	come_in = NULL;
	bse_base_u32_store_relaxed(&looked, 1);
	while (!bse_base_u32_load_acquire(&used))
		usleep(1000);
}

static void *use_region_late(void *arg)
{
	int *ret = arg;

	come_in = wait_until_used;
	*ret = bpf_stream_pool_use(region, sizeof(region), 0);
	return NULL;
}

Test(jumps, pool_use__the_slower_of_two_calls_leaves_the_region_alone)
{
	pthread_t thread;
	int ret = 0;

	set_up();
	cr_assert_eq(pthread_create(&thread, NULL, use_region_late, &ret), 0);
	while (!bse_base_u32_load_relaxed(&looked))
		usleep(1000);
	cr_assert_eq(bpf_stream_pool_use(region, sizeof(region), 0), 0);
	push(&s, 'a', 5);
	push(&s, 'a', 20000);
	bse_base_u32_xchg_release(&used, 1);
	pthread_join(thread, NULL);
	cr_assert_eq(ret, -EBUSY);
	push(&other, 'z', 40000);
	expect(&s, 'a', 20005);
	expect(&other, 'z', 40000);
	check_pool(2);
}

static bse_u32 reading;
static bse_u32 forked;

static int read_until_forked(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	bse_base_u32_store_relaxed(&reading, 1);
	while (!bse_base_u32_load_acquire(&forked))
		usleep(1000);
	return (int)len;
}

static void *drain_slowly(void *arg)
{
	bpf_stream_drain(&s, read_until_forked, NULL, SIZE_MAX);
	return arg;
}

static volatile pid_t child = -1;

static void fork_here(int sig)
{
	(void)sig;
	child = fork();
	if (child == 0)
		alarm(20);
}

static enum place fork_from;

static void fork_there(enum place place)
{
	if (place != fork_from)
		return;
	come_in = NULL;
	raise(SIGUSR1);
}

static void check_child(void)
{
	int status;

	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x",
		  (unsigned int)status);
}

static void *read_and_be_forked(void *before_it_sleeps)
{
	char byte;
	int ret;

	fork_from = PLACE_COUNTED;
	come_in = before_it_sleeps ? fork_there : NULL;
	ret = bpf_stream_read(&s, &byte, 1);
	if (child == 0)
		_exit(ret == -EBUSY ? 0 : 1);
	return NULL;
}

/* A thread that waits is forked, and then the reader goes on. */
static void check_waiter(void *before_it_sleeps)
{
	const struct sigaction action = { .sa_handler = fork_here };
	pthread_t reader;
	pthread_t waiter;

	set_up();
	push(&s, 'a', 3);
	sigaction(SIGUSR1, &action, NULL);
	cr_assert_eq(pthread_create(&reader, NULL, drain_slowly, NULL), 0);
	while (!bse_base_u32_load_relaxed(&reading))
		usleep(1000);
	cr_assert_eq(pthread_create(&waiter, NULL, read_and_be_forked, before_it_sleeps),
		     0);
	while (!(bse_base_u32_load_relaxed(&s.lock.word) & 1))
		usleep(1000);
	if (!before_it_sleeps)
		pthread_kill(waiter, SIGUSR1);
	while (child < 0)
		usleep(1000);
	bse_base_u32_xchg_release(&forked, 1);
	pthread_join(reader, NULL);
	pthread_join(waiter, NULL);
	check_child();
}

Test(jumps, read__forked_while_it_waits_tells_the_child)
{
	check_waiter(NULL);
}

Test(jumps, read__forked_just_before_it_waits_tells_the_child)
{
	check_waiter(&s);
}

static int read_again(void *ctx, const void *data, size_t len)
{
	int *ret = ctx;

	(void)data;
	*ret = bpf_stream_read(&s, buf, 1);
	return (int)len;
}

Test(jumps, drain__forked_while_it_takes_the_lock_holds_it_in_the_child)
{
	int ret = 0;

	set_up();
	push(&s, 'a', 3);
	signal(SIGUSR1, fork_here);
	fork_from = PLACE_LOCKING;
	come_in = fork_there;
	bpf_stream_drain(&s, read_again, &ret, SIZE_MAX);
	if (child == 0)
		_exit(ret != -EDEADLK);
	cr_assert_eq(ret, -EDEADLK);
	check_child();
}

/* The child ends before the parent goes on. */
static int fork_in_sink(void *ctx, const void *data, size_t len)
{
	siginfo_t info;

	(void)ctx;
	(void)data;
	if (child >= 0)
		return (int)len;
	fork_here(0);
	if (child > 0)
		waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
	return (int)len;
}

Test(jumps, drain__forked_in_its_sink_leaves_a_shared_pool_alone)
{
	const size_t bytes = 64 * 4096;
	void *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int ret;
	int i;

	cr_assert_eq(bpf_stream_pool_use(shared, bytes, BPF_STREAM_POOL_SHARED), 0);
	set_up();
	for (i = 0; i < 40; i++)
		push(&s, 'a', 1000);
	ret = bpf_stream_drain(&s, fork_in_sink, NULL, SIZE_MAX);
	if (child == 0)
		_exit(ret != -EPERM);
	cr_assert_eq(ret, 40 * 1000);
	bpf_stream_thread_release();
	check_pool(0);
	for (i = 0; i < 10; i++)
		push(i % 2 ? &s : &other, (char)('x' + i % 2), 3000);
	expect(&s, 'y', 5 * 3000);
	expect(&other, 'x', 5 * 3000);
	check_child();
}

static bse_u32 keepers;
static bse_u32 done;

static void *keep_a_page(void *arg)
{
	push_byte();
	bse_base_u32_fetch_add_relaxed(&keepers, 1);
	while (!bse_base_u32_load_relaxed(&done))
		usleep(1000);
	return arg;
}

/* Without this, children of children would come to keep no page at all. */
Test(jumps, fork__counts_only_the_pages_that_this_thread_keeps)
{
	pthread_t thread[4];
	int i;

	set_up();
	push_byte();
	for (i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, keep_a_page, NULL), 0);
	while (bse_base_u32_load_relaxed(&keepers) < 4)
		usleep(1000);
	child = fork();
	if (child == 0)
		_exit(bse_base_u32_load_relaxed(&bse_pool_known()->kept) != 1);
	cr_assert_eq(bse_base_u32_load_relaxed(&bse_pool_known()->kept), 5);
	bse_base_u32_store_relaxed(&done, 1);
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	check_child();
}

/* In the child: pushes still share a page. */
static int child_keeps_pages(void)
{
	struct bpf_stream_pool_stats pool;
	int i;

	bpf_stream_read(&s, buf, sizeof(buf));
	bpf_stream_thread_release();
	for (i = 0; i < 100; i++)
		if (bpf_stream_push(&s, "12345678", 8))
			return 2;
	bpf_stream_pool_get_stats(&pool);
	return pool.in_use > 3 || bpf_stream_selfcheck(NULL);
}

Test(jumps, push__forked_in_a_page_turn_keeps_pages_in_the_child)
{
	set_up();
	signal(SIGUSR1, fork_here);
	push(&s, 'a', LARGE);
	fork_from = PLACE_GETTING;
	come_in = fork_there;
	push(&s, 'a', LARGE);
	if (child == 0)
		_exit(child_keeps_pages());
	check_child();
	expect(&s, 'a', 2 * LARGE);
}

#define LEAVERS 20		/* more than the pages of their pool */

static _Alignas(4096) char small_region[16 * 4096];
static enum place jump_from;
static unsigned int jump_later;		/* so many times it is not yet */

static void jump_there(enum place place)
{
	if (place != jump_from || jump_later--)
		return;
	jump_later = 0;
	come_in = NULL;
	raise(SIGUSR2);
}

/* One jump for each level, each in a push that needs a page. */
static void *be_jumped_out_of_turns(void *arg)
{
	static volatile unsigned int i;	/* not in registers across the jump */

	for (i = 0; i < BPF_STREAM_LEVELS; i++) {
		push(&s, 'x', LARGE);
		come_in = jump_there;
		if (!sigsetjmp(back, 1))
			bpf_stream_push(&s, text, LARGE);
		cr_assert_null(come_in);
		while (bpf_stream_read(&s, buf, sizeof(buf)) > 0)
			;
	}
	return arg;
}

/* In the thread's first push. */
static void *be_jumped_out_of_keeping(void *arg)
{
	come_in = jump_there;
	if (!sigsetjmp(back, 1))
		bpf_stream_push(&s, "x", 1);
	cr_assert_null(come_in);
	return arg;
}

/* A page is kept, and no element of it is out. */
static void *be_jumped_out_of_the_bracket(void *arg)
{
	push_byte();
	cr_assert_eq(bpf_stream_read(&s, buf, sizeof(buf)), 1);
	come_in = jump_there;
	if (!sigsetjmp(back, 1))
		bpf_stream_push(&s, "x", 1);
	cr_assert_null(come_in);
	return arg;
}

/* Threads are jumped out of, one after the other; each costs @lost pages. */
static void check_leavers(void *(*leave)(void *), enum place from, size_t lost)
{
	struct bpf_stream_pool_stats pool;
	size_t in_use;
	pthread_t thread;
	int i;

	cr_assert_eq(bpf_stream_pool_use(small_region, sizeof(small_region), 0), 0);
	set_up();
	signal(SIGUSR2, jump_back);
	/* Used pages: to take these, only one word is a cas_relaxed. */
	push(&s, 'w', sizeof(text));
	expect(&s, 'w', sizeof(text));
	bpf_stream_thread_release();
	jump_from = from;
	for (i = 0; i < (lost ? 5 : LEAVERS); i++) {
		cr_assert_eq(pthread_create(&thread, NULL, leave, NULL), 0);
		pthread_join(thread, NULL);
	}
	cr_assert_eq(bse_base_u32_load_relaxed(&bse_pool_known()->kept), 0u);
	bpf_stream_pool_get_stats(&pool);
	in_use = pool.in_use;
	cr_assert_eq(in_use, (size_t)i * lost);
	/* Pages are still kept: messages share one. */
	for (i = 0; i < 10; i++)
		push_byte();
	bpf_stream_pool_get_stats(&pool);
	cr_assert_eq(pool.in_use, in_use + 1);
	bpf_stream_thread_release();
	cr_assert_eq(bse_base_u32_load_relaxed(&bse_pool_known()->kept), 0u);
}

Test(jumps, push__jumps_out_of_page_turns_cost_no_place_in_the_quota)
{
	check_leavers(be_jumped_out_of_turns, PLACE_GETTING, 0);
}

Test(jumps, push__jumps_out_of_keeping_a_page_cost_no_place_in_the_quota)
{
	/* But the page that was just taken. */
	check_leavers(be_jumped_out_of_keeping, PLACE_COUNTED, 1);
}

Test(jumps, push__jumps_from_right_behind_enter_cost_nothing_when_the_thread_ends)
{
	check_leavers(be_jumped_out_of_the_bracket, PLACE_ENTERED, 0);
}

Test(jumps, thread_release__takes_back_what_jumps_left)
{
	struct bpf_stream_pool_stats pool;

	cr_assert_eq(bpf_stream_pool_use(small_region, sizeof(small_region), 0), 0);
	set_up();
	signal(SIGUSR2, jump_back);
	jump_from = PLACE_GETTING;
	be_jumped_out_of_turns(NULL);
	bpf_stream_thread_release();
	bpf_stream_pool_get_stats(&pool);
	cr_assert_eq(pool.in_use, 0u);
	cr_assert_eq(bse_base_u32_load_relaxed(&bse_pool_known()->kept), 0u);
	/* All levels are there again: each message shares a page. */
	push_byte();
	push_byte();
	bpf_stream_pool_get_stats(&pool);
	cr_assert_eq(pool.in_use, 1u);
}

static volatile sig_atomic_t arrived;
static int arrived_early[2];		/* of the faults, of others */

static void arrive(int sig)
{
	(void)sig;
	arrived++;
}

/* Signals are blocked here. */
static void raise_faults(enum place place)
{
	static const int fault[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	unsigned int i;

	if (place != PLACE_RETIRED)
		return;
	come_in = NULL;
	for (i = 0; i < sizeof(fault) / sizeof(fault[0]); i++) {
		signal(fault[i], arrive);
		raise(fault[i]);
	}
	arrived_early[0] = arrived;
	signal(SIGUSR1, arrive);
	raise(SIGUSR1);
	arrived_early[1] = arrived - arrived_early[0];
}

/* A fault that is blocked kills, whatever handler there is for it. */
Test(jumps, thread_release__blocks_no_faults)
{
	set_up();
	push_byte();
	come_in = raise_faults;
	bpf_stream_thread_release();
	cr_assert_null(come_in);
	cr_assert_eq(arrived_early[0], 5);
	cr_assert_eq(arrived_early[1], 0);
	cr_assert_eq(arrived, 6);
}

Test(jumps, stage_free__jump_out_of_it_leaves_an_empty_stage)
{
	static struct bpf_stream_stage ss;	/* not in registers across the jump */
	int i;

	set_up();
	signal(SIGUSR2, jump_back);
	bpf_stream_stage_init(&ss);
	memset(text, 'g', 4000);
	for (i = 0; i < 20; i++)
		cr_assert_eq(bpf_stream_stage_push(&ss, text, 4000), 0);
	/* Some pages are free by then, others are not. */
	jump_from = PLACE_RETURNED;
	jump_later = 8;
	come_in = jump_there;
	if (!sigsetjmp(back, 1))
		bpf_stream_stage_free(&ss);
	cr_assert_null(come_in);
	bpf_stream_stage_free(&ss);
	for (i = 0; i < 6; i++)
		push(&other, 'o', 4000);
	expect(&other, 'o', 6 * 4000);
	check_pool(20 + 1);
}
