/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Handlers that jump away in the middle of a call. Most tests are bugs that were
 * found:
 *
 * - A page turn retired a page and then emptied its slot. A handler in between
 *   jumped into the handler that it had interrupted; the interrupted push under
 *   both went on at a wrong depth, with a slot that still named the retired
 *   page: pushes went into a free page. Now the slot is emptied first, and
 *   leave goes back to the depth that its enter found.
 * - A jump behind the publish of a commit left the stage full; freeing it freed
 *   what was pending. Now a stage is emptied before the publish.
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
 * exit hook that leaves the depth; with a stage that free empties at its end;
 * with the stores of slot_take or of slot_leave in any other order; with a turn
 * that retires before it empties the slot.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_POOL_BYTES (256u * 4096u)
#define BPF_STREAM_ENV_HEADER "jumps_env.h"
#include "bpf_stream.h"

#include "unit.h"
#include <setjmp.h>

#define LARGE 3000
#define MORE 3700		/* fits no page with a LITTLE in it, and fills none */
#define LITTLE 400
#define WHOLE 4000		/* fills a page */

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

/*
 * A push, and a jump out of it at one of its barriers; true if it came there.
 * What the jump left of the depth is undone, as by the leave of a push that was
 * interrupted by all this: the slot is used again.
 */
static bool jump_out_at_barrier(char c, size_t len, unsigned int later)
{
	static volatile bool jumped;	/* not in registers across the jump */

	memset(text, c, len);
	jumped = true;
	jump_from = PLACE_BARRIER;
	jump_later = later;
	come_in = jump_there;
	if (!sigsetjmp(back, 1)) {
		cr_assert_eq(bpf_stream_push(&s, text, len), 0);
		jumped = false;
	}
	come_in = NULL;
	bse_leave(0);
	return jumped;
}

/* The next of what @s holds is @len times @c. */
static void expect_next(char c, size_t len)
{
	size_t i;

	cr_assert_eq(bpf_stream_read(&s, buf, len), (int)len, "before %c", c);
	for (i = 0; i < len; i++)
		cr_assert_eq(buf[i], c, "byte %zu of %zu of %c", i, len, c);
}

static void *leave_a_partial_page(void *arg)
{
	int i;

	for (i = 0; i < 3; i++)
		push(&s, 'a', 100);
	return arg;
}

/*
 * Jumps at every barrier of a push that takes a partial page over, and of one
 * that leaves it for another, or leaves it alone: so between any two of the
 * three stores. The page holds messages all the time, which nobody else may
 * write over.
 */
static void jump_between_stores(size_t last, unsigned int least)
{
	const struct bpf_stream_options opts = { .group = 2 };
	static unsigned int from[2];	/* not in registers across the jumps */
	static unsigned int jumps;
	static bool jumped[2];
	size_t pages;
	int i;

	cr_assert_eq(bpf_stream_init(&s, &opts), 0);
	cr_assert_eq(bpf_stream_init(&other, &opts), 0);
	signal(SIGUSR2, jump_back);
	jumps = 0;
	for (from[0] = 0; from[0] < 10; from[0]++) {
		for (from[1] = 0; from[1] < 10; from[1]++) {
			pages = unit_pages_in_use();
			unit_in_thread(leave_a_partial_page, NULL);
			jumped[0] = jump_out_at_barrier('b', 100, from[0]);
			unit_assert_sound(NULL);
			push(&s, 'c', LITTLE);
			jumped[1] = jump_out_at_barrier('d', last, from[1]);
			unit_assert_sound(NULL);
			push(&s, 'e', 100);
			for (i = 0; i < 30; i++)
				push(&other, 'y', 1000);
			expect_next('a', 300);
			if (!jumped[0])
				expect_next('b', 100);
			expect_next('c', LITTLE);
			if (!jumped[1])
				expect_next('d', last);
			expect_next('e', 100);
			expect(&other, 'y', 30 * 1000);
			bpf_stream_thread_release();
			unit_assert_sound(NULL);
			/* A jump may cost the page at hand, or the next. */
			cr_assert_leq(unit_pages_in_use(), pages + jumped[0] + jumped[1]);
			jumps += jumped[0] + jumped[1];
		}
		if (from[0] && !jumped[0])
			break;
	}
	cr_assert_gt(jumps, least);
}

Test(jumps, slot__jumps_between_its_stores_free_no_page_under_an_element)
{
	jump_between_stores(MORE, 140);
}

Test(jumps, slot__jumps_out_of_what_fills_a_page_free_no_page_under_an_element)
{
	jump_between_stores(WHOLE, 100);
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
	memset(text, 'g', LARGE);
	for (i = 0; i < 4; i++)
		cr_assert_eq(bpf_stream_stage_push(&ss, text, LARGE), 0);
	come_in = raise_when_published;
	if (!sigsetjmp(back, 1))
		bpf_stream_stage_commit_to(&ss, &s);
	bpf_stream_stage_free(&ss);
	for (i = 0; i < 6; i++)
		push(&other, 'o', LARGE);
	expect(&s, 'g', 4 * LARGE);
	expect(&other, 'o', 6 * LARGE);
	/* Kept for stages, and for the other stream. */
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
	memset(text, 'g', WHOLE);
	for (i = 0; i < 20; i++)
		cr_assert_eq(bpf_stream_stage_push(&ss, text, WHOLE), 0);
	/* Some pages are free by then, others are not. */
	jump_from = PLACE_RETURNED;
	jump_later = 8;
	come_in = jump_there;
	if (!sigsetjmp(back, 1))
		bpf_stream_stage_free(&ss);
	cr_assert_null(come_in);
	bpf_stream_stage_free(&ss);
	for (i = 0; i < 6; i++)
		push(&other, 'o', WHOLE);
	expect(&other, 'o', 6 * WHOLE);
	/* Those that the jump kept from their way back. */
	check_pool(20 - 9);
}
