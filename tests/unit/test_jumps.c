/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Handlers that jump away in the middle of a call, and two calls that lay out
 * one region. Most tests are bugs that were found:
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
 * - A handler jumped out of a page turn, when the slot was empty and its page
 *   counted as kept: it stayed so for ever, and when half of the pool's pages
 *   were lost that way, every message took a page. Since then the slot says
 *   that it counts, in one step with the count; so does the child of a fork.
 * - Release left the levels, and the pages in them, that jumps had cost a
 *   thread.
 *
 * Seen to fail: with each of these put back into the header; with the count of
 * kept pages taken over into the child of a fork as it is; with signals let in
 * between this count and its mark in the slot; with no mark in a turn; with an
 * exit hook that leaves the depth; with a stage that free empties at its end.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_POOL_BYTES (64u * 4096u)
#define BPF_STREAM_ENV_HEADER "jumps_env.h"
#include "bpf_stream.h"

#include "unit.h"
#include <setjmp.h>

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
	cr_assert_eq(bse_self.depth.word.bse_v, 0);
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
static int looked;
static int used;

static void wait_until_used(enum place place)
{
	if (place != PLACE_ADOPTING)
		return;
	come_in = NULL;
	unit_flag_set(&looked, 1);
	unit_flag_wait(&used, 1);
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
	unit_start(&thread, use_region_late, &ret);
	unit_flag_wait(&looked, 1);
	cr_assert_eq(bpf_stream_pool_use(region, sizeof(region), 0), 0);
	push(&s, 'a', 5);
	push(&s, 'a', 20000);
	unit_flag_set(&used, 1);
	unit_join(thread);
	cr_assert_eq(ret, -EBUSY);
	push(&other, 'z', 40000);
	expect(&s, 'a', 20005);
	expect(&other, 'z', 40000);
	check_pool(2);
}

static int keepers;
static int done;

static void *keep_a_page(void *arg)
{
	push_byte();
	__atomic_fetch_add(&keepers, 1, __ATOMIC_RELEASE);
	unit_flag_wait(&done, 1);
	return arg;
}

static void one_page_is_kept(void *unused)
{
	(void)unused;
	UNIT_CHILD_WANTS((bse_u32_load_relaxed)(&bse_pool_known()->kept) == 1);
}

/* Without this, children of children would come to keep no page at all. */
Test(jumps, fork__counts_only_the_pages_that_this_thread_keeps)
{
	pthread_t thread[4];
	int i;

	set_up();
	push_byte();
	for (i = 0; i < 4; i++)
		unit_start(&thread[i], keep_a_page, NULL);
	unit_flag_wait(&keepers, 4);
	unit_in_child(one_page_is_kept, NULL);
	cr_assert_eq((bse_u32_load_relaxed)(&bse_pool_known()->kept), 5);
	unit_flag_set(&done, 1);
	for (i = 0; i < 4; i++)
		unit_join(thread[i]);
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
	cr_assert_eq((bse_u32_load_relaxed)(&bse_pool_known()->kept), 0u);
	bpf_stream_pool_get_stats(&pool);
	in_use = pool.in_use;
	cr_assert_eq(in_use, (size_t)i * lost);
	/* Pages are still kept: messages share one. */
	for (i = 0; i < 10; i++)
		push_byte();
	bpf_stream_pool_get_stats(&pool);
	cr_assert_eq(pool.in_use, in_use + 1);
	bpf_stream_thread_release();
	cr_assert_eq((bse_u32_load_relaxed)(&bse_pool_known()->kept), 0u);
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
	cr_assert_eq((bse_u32_load_relaxed)(&bse_pool_known()->kept), 0u);
	/* All levels are there again: each message shares a page. */
	push_byte();
	push_byte();
	bpf_stream_pool_get_stats(&pool);
	cr_assert_eq(pool.in_use, 1u);
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
