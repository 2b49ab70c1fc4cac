/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Regression tests, one or more for each known defect of the kernel's own
 * streams; the number in a test's name is the defect's. Each opens with the
 * story of the defect. test_defects_pages.c has more for 11 and 12.
 *
 * Seen to fail, each in the tests of its number, with the header changed so
 * that: 1 a failed push stays charged; a half made message is not released.
 * 2 a stage adds the length first. 3 commit leaves the length. 4 a long print
 * is charged; a long stage print is refused. 5 push stores empty messages.
 * 6 the sink's error wins over progress. 7 the length is not checked. 8 publish
 * says `>=`. 9 all levels share one slot; a push beyond the levels fails.
 * 10 a denied page is not counted. 11 sizes are rounded to 4. 12 an element's
 * address is rounded to find its page. 13 the limit counts on and on. 15 push
 * takes the reader's lock.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_PROG
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
#include "unit.h"
#include <semaphore.h>

static struct bpf_stream s;
static char text[1 << 20];

/*
 * 1: the capacity was charged first, and not refunded when no memory was
 * found for the element. After enough of these an empty stream was full.
 */
Test(defects, defect_01__failed_allocation_is_refunded)
{
	unsigned int i;

	unit_make_stream(&s, 1000);
	hook_pages = 0;
	for (i = 0; i < 20; i++)
		cr_assert_eq(bpf_stream_push(&s, text, 100), -ENOMEM);
	cr_expect_eq(unit_stats(&s).pending, 0);
	hook_pages = ~0ul;
	cr_expect_eq(bpf_stream_push(&s, text, 1000), 0);
	cr_expect_eq(bpf_stream_read(&s, text, sizeof(text)), 1000);
}

/* The same for a message that found memory for its first part only. */
Test(defects, defect_01__half_allocated_message_is_given_back)
{
	unsigned int i;

	unit_make_stream(&s, 5 * BPF_STREAM_PAGE_SIZE);
	for (i = 0; i < 20; i++) {
		hook_pages = 3;
		cr_assert_eq(bpf_stream_push(&s, text, 5 * BPF_STREAM_PAGE_SIZE), -ENOMEM);
	}
	cr_expect_eq(unit_stats(&s).pending, 0);
	cr_expect_leq(unit_pages_in_use(), 1, "%zu pages are lost", unit_pages_in_use());
	hook_pages = ~0ul;
	cr_expect_eq(bpf_stream_push(&s, text, 5 * BPF_STREAM_PAGE_SIZE), 0);
	unit_assert_sound(&s);
}

/*
 * 2: a stage added a message's length before it was stored, and commit charged
 * bytes that did not exist and were never refunded.
 */
Test(defects, defect_02__failed_stage_push_adds_no_length)
{
	struct bpf_stream_stage ss;

	unit_make_stream(&s, 1000);
	bpf_stream_stage_init(&ss);
	cr_assert_eq(bpf_stream_stage_push(&ss, "kept", 4), 0);
	hook_pages = 1;
	cr_assert_eq(bpf_stream_stage_push(&ss, text, 3 * BPF_STREAM_PAGE_SIZE), -ENOMEM);
	hook_pages = 0;
	cr_assert_eq(bpf_stream_stage_push(&ss, text, BSI_ELEM_MAX), -ENOMEM);
	hook_pages = ~0ul;
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_expect_eq(unit_stats(&s).pending, 4);
	unit_same_length(bpf_stream_read(&s, text, sizeof(text)), 4);
	unit_same_bytes(text, "kept", 4);
	cr_expect_eq(unit_stats(&s).pending, 0);
}

/*
 * 3: the length of a stage outlived its messages: committing it again, or
 * committing after everything in it had failed, charged bytes for nothing.
 */
Test(defects, defect_03__empty_stage_charges_nothing)
{
	struct bpf_stream_stage ss;

	unit_make_stream(&s, 1000);
	bpf_stream_stage_init(&ss);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	hook_pages = 0;
	cr_assert_eq(bpf_stream_stage_printk(&ss, "lost"), -ENOMEM);
	hook_pages = ~0ul;
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_expect_eq(unit_stats(&s).pending, 0);
}

Test(defects, defect_03__commit_empties_the_stage)
{
	struct bpf_stream_stage ss;

	unit_make_stream(&s, 1000);
	bpf_stream_stage_init(&ss);
	cr_assert_eq(bpf_stream_stage_push(&ss, text, 600), 0);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_expect_eq(unit_stats(&s).pending, 600);
	cr_assert_eq(bpf_stream_stage_push(&ss, text, 400), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_expect_eq(unit_stats(&s).pending, 1000);
}

/*
 * 4: text longer than the scratch buffer failed with -ENOMEM, and its whole
 * length stayed charged: one "%99999d" made an empty stream full for ever.
 */
Test(defects, defect_04__too_long_a_print_charges_nothing)
{
	const uint64_t arg = 1;

	unit_make_stream(&s, 100000);
	cr_expect_eq(bpf_stream_printf(&s, "%99999d", 1), -E2BIG);
	cr_expect_eq(bpf_stream_bprintf(&s, "%99999d", &arg, sizeof(arg)), -E2BIG);
	cr_expect_eq(bpf_stream_printf(&s, "%1024d", 1), -E2BIG);
	cr_expect_eq(unit_stats(&s).pending, 0);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_SIZE].messages, 3);
	cr_expect_eq(bpf_stream_push(&s, text, 100000), 0);
}

Test(defects, defect_04__too_long_a_stage_print_is_cut)
{
	struct bpf_stream_stage ss;

	unit_make_stream(&s, 100000);
	bpf_stream_stage_init(&ss);
	cr_expect_eq(bpf_stream_stage_printk(&ss, "%-99999d", 1), 0);
	cr_expect_eq(bpf_stream_stage_printk(&ss, "end"), 0);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_expect_eq(unit_stats(&s).pending, BPF_STREAM_PRINT_MAX + 3);
	unit_same_length(bpf_stream_read(&s, text, sizeof(text)), BPF_STREAM_PRINT_MAX + 3);
	unit_same_bytes(text, "1 ", 2);
	unit_same_bytes(text + BPF_STREAM_PRINT_MAX - 1, " end", 4);
	cr_expect_eq(unit_stats(&s).pending, 0);
}

/* 5: empty messages took an element each and charged nothing for it. */
Test(defects, defect_05__empty_messages_take_no_memory)
{
	struct bpf_stream_stage ss;
	size_t before;
	unsigned int i;

	unit_make_stream(&s, 1000);
	cr_assert_eq(bpf_stream_push(&s, "a", 1), 0);
	before = unit_pages_in_use();
	bpf_stream_stage_init(&ss);
	for (i = 0; i < 100000; i++) {
		cr_assert_eq(bpf_stream_push(&s, text, 0), 0);
		cr_assert_eq(bpf_stream_printf(&s, "%s", ""), 0);
		cr_assert_eq(bpf_stream_bprintf(&s, "", NULL, 0), 0);
		cr_assert_eq(bpf_stream_stage_push(&ss, text, 0), 0);
		cr_assert_eq(bpf_stream_stage_printk(&ss, "%s", ""), 0);
	}
	cr_expect_eq(ss.log, 0);
	cr_expect_eq(unit_pages_in_use(), before);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_expect_eq(bpf_stream_read(&s, text, sizeof(text)), 1);
}

/* Takes what fits into @left, and then fails. */
struct faulty {
	char *at;
	size_t left;
	unsigned int calls;
};

static int faulty_sink(void *ctx, const void *data, size_t len)
{
	struct faulty *f = ctx;

	f->calls++;
	if (!f->left)
		return -EFAULT;
	if (len > f->left)
		len = f->left;
	memcpy(f->at, data, len);
	f->at += len;
	f->left -= len;
	return (int)len;
}

/*
 * 6: a fault in the second of two messages was reported as -EFAULT, and the
 * first, already copied and released, was gone.
 */
Test(defects, defect_06__fault_after_progress_is_a_short_count)
{
	char *first = text;
	size_t whole = 2 * BSI_ELEM_MAX;
	struct faulty f = { text + sizeof(text) / 2, BSI_ELEM_MAX, 0 };

	unit_make_stream(&s, whole);
	memset(first, 'a', BSI_ELEM_MAX);
	memset(first + BSI_ELEM_MAX, 'b', BSI_ELEM_MAX);
	cr_assert_eq(bpf_stream_push(&s, first, BSI_ELEM_MAX), 0);
	cr_assert_eq(bpf_stream_push(&s, first + BSI_ELEM_MAX, BSI_ELEM_MAX), 0);
	cr_expect_eq(bpf_stream_drain(&s, faulty_sink, &f, SIZE_MAX), BSI_ELEM_MAX);
	cr_expect_eq(f.calls, 2);
	cr_expect_eq(bpf_stream_drain(&s, faulty_sink, &f, SIZE_MAX), -EFAULT);
	cr_expect_eq(unit_stats(&s).pending, BSI_ELEM_MAX);
	f.left = sizeof(text) / 2;
	unit_same_length(bpf_stream_drain(&s, faulty_sink, &f, SIZE_MAX), BSI_ELEM_MAX);
	unit_same_bytes(text + sizeof(text) / 2, first, whole);
}

/* 7: a read length above INT_MAX turned negative. */
Test(defects, defect_07__read_above_int_max_is_invalid)
{
	unit_make_stream(&s, 1000);
	cr_assert_eq(bpf_stream_push(&s, "here", 4), 0);
	cr_expect_eq(bpf_stream_read(&s, text, (size_t)INT_MAX + 1), -EINVAL);
	cr_expect_eq(bpf_stream_read(&s, text, SIZE_MAX), -EINVAL);
	cr_expect_eq(bpf_stream_try_read(&s, text, (size_t)INT_MAX + 4), -EINVAL);
	cr_expect_eq(unit_stats(&s).pending, 4);
	cr_expect_eq(bpf_stream_read(&s, text, INT_MAX), 4);
}

/*
 * 8: `>=`: of 100,000 bytes only 99,999 could be used, as 1562 messages of 64
 * bytes and 31 of one byte.
 */
Test(defects, defect_08__capacity_is_reached_exactly)
{
	unsigned int i;

	unit_make_stream(&s, 100000);
	for (i = 0; i < 1562; i++)
		cr_assert_eq(bpf_stream_push(&s, text, 64), 0);
	for (i = 0; i < 32; i++)
		cr_assert_eq(bpf_stream_push(&s, text, 1), 0);
	cr_expect_eq(unit_stats(&s).pending, 100000);
	cr_expect_eq(bpf_stream_push(&s, text, 1), -ENOSPC);
	cr_expect_eq(unit_stats(&s).pending, 100000);
}

/*
 * 9: a writer that interrupted the allocator on the same CPU lost its message,
 * and nobody counted it. Here every push is interrupted by another one at the
 * same point, many levels deep; the innermost is published first.
 */
#define NESTED 40u

static enum hook_point nest_point;
static size_t nest_len;
static unsigned int nest_depth;
static unsigned int nest_failed;

static void nest_push(void)
{
	char message[BSI_ELEM_MAX];

	memset(message, (int)nest_depth, sizeof(message));
	if (bpf_stream_push(&s, message, nest_len))
		nest_failed++;
}

static void nest(enum hook_point point)
{
	if (point != nest_point || nest_depth == NESTED)
		return;
	nest_depth++;
	nest_push();
}

/* One push, interrupted by NESTED others; false if they could not nest. */
static bool nest_check(enum hook_point point, size_t len)
{
	unsigned int i;

	nest_point = point;
	nest_len = len;
	nest_depth = 0;
	hook = nest;
	nest_push();
	hook = NULL;
	cr_assert_eq(nest_failed, 0, "%u of the nested pushes failed", nest_failed);
	cr_assert_eq(unit_stats(&s).pending, (nest_depth + 1) * len);
	cr_assert_eq(bpf_stream_read(&s, text, sizeof(text)), (int)((nest_depth + 1) * len));
	for (i = 0; i < (nest_depth + 1) * len; i++)
		cr_assert_eq((unsigned char)text[i], nest_depth - i / len);
	unit_assert_sound(&s);
	return nest_depth == NESTED;
}

Test(defects, defect_09__nesting_makes_no_push_fail)
{
	unit_make_stream(&s, 0);
	/* Each has a page of its own. */
	cr_expect(nest_check(HOOK_GETTING, BSI_ELEM_MAX));
	cr_expect(nest_check(HOOK_COUNTING, BSI_ELEM_MAX));
	cr_expect(nest_check(HOOK_ENTERED, BSI_ELEM_MAX));
	cr_expect(nest_check(HOOK_PLACING, BSI_ELEM_MAX));
	cr_expect(nest_check(HOOK_LEAVING, BSI_ELEM_MAX));
	cr_expect(nest_check(HOOK_PUBLISHING, BSI_ELEM_MAX));
	/* First every level gets a page, then it counts and replaces it. */
	cr_expect(nest_check(HOOK_GETTING, 3000));
	cr_expect(nest_check(HOOK_COUNTING, 3000));
	cr_expect(nest_check(HOOK_ENTERED, 3000));
	cr_expect(nest_check(HOOK_PLACING, 3000));
	cr_expect(nest_check(HOOK_LEAVING, 3000));
	cr_expect(nest_check(HOOK_PUBLISHING, 3000));
	cr_expect(nest_check(HOOK_ENTERED, 9));
	cr_expect(nest_check(HOOK_PLACING, 9));
	cr_expect(nest_check(HOOK_LEAVING, 9));
	cr_expect(nest_check(HOOK_PUBLISHING, 9));
	cr_expect_leq(unit_pages_in_use(), BPF_STREAM_LEVELS);
}

static void nest_signal(int signo)
{
	(void)signo;
	nest_depth++;
	nest_push();
}

static void nest_raise(enum hook_point point)
{
	if (point == nest_point && nest_depth < NESTED)
		raise(SIGUSR1);
}

Test(defects, defect_09__signal_handlers_nest_in_a_reservation)
{
	struct sigaction sa = { .sa_handler = nest_signal, .sa_flags = SA_NODEFER };
	unsigned int i;

	unit_make_stream(&s, 0);
	cr_assert_eq(sigaction(SIGUSR1, &sa, NULL), 0);
	nest_point = HOOK_PLACING;
	nest_len = 24;
	hook = nest_raise;
	nest_push();
	hook = NULL;
	cr_expect_eq(nest_depth, NESTED);
	cr_expect_eq(nest_failed, 0);
	cr_assert_eq(bpf_stream_read(&s, text, sizeof(text)), (int)((NESTED + 1) * 24));
	for (i = 0; i < (NESTED + 1) * 24; i++)
		cr_assert_eq((unsigned char)text[i], NESTED - i / 24);
}

/* When nested pushes do fail, because memory is gone, each one is counted. */
Test(defects, defect_09__nested_refusals_are_counted)
{
	unit_make_stream(&s, 0);
	hook_pages = 10;
	nest_point = HOOK_ENTERED;
	nest_len = BSI_ELEM_MAX;
	hook = nest;
	nest_push();
	hook = NULL;
	cr_expect_eq(nest_failed, NESTED + 1 - 10);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_POOL].messages, nest_failed);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_POOL].bytes, nest_failed * nest_len);
	cr_expect_eq(unit_stats(&s).pending, 10 * nest_len);
}

/*
 * 10: only text was counted, so one-byte messages below the 4 MiB capacity
 * held more than 100 MiB. Pages have a hard bound here.
 */
Test(defects, defect_10__one_byte_messages_stop_at_the_pool)
{
	static _Alignas(BPF_STREAM_PAGE_SIZE) char region[64 * BPF_STREAM_PAGE_SIZE];
	struct bpf_stream_pool_stats stats;
	size_t stored = 0;
	int err;

	cr_assert_eq(bpf_stream_pool_use(region, sizeof(region), 0), 0);
	unit_make_stream(&s, 0);
	while (!(err = bpf_stream_push(&s, "x", 1)))
		stored++;
	cr_expect_eq(err, -ENOMEM);
	cr_expect_eq(stored, 63 * (BPF_STREAM_PAGE_SIZE / bsi_elem_size(1)));
	bpf_stream_pool_get_stats(&stats);
	cr_expect_eq(stats.total, 63);
	cr_expect_eq(stats.in_use, 63);
	cr_expect_eq(stats.denied, 1);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_POOL].messages, 1);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_POOL].bytes, 1);
	cr_expect_eq(bpf_stream_read(&s, text, sizeof(text)), (int)stored);
	cr_expect_leq(unit_pages_in_use(), 1);
	unit_assert_sound(&s);
}

/*
 * In a stream of the same group, one unread byte in each page pins them all;
 * the bound holds all the same.
 */
Test(defects, defect_10__pinned_pages_stay_within_the_bound)
{
	static _Alignas(BPF_STREAM_PAGE_SIZE) char region[64 * BPF_STREAM_PAGE_SIZE];
	const struct bpf_stream_options opts = { .group = 1 };
	struct bpf_stream pinning;
	unsigned int i;
	int err = 0;

	cr_assert_eq(bpf_stream_pool_use(region, sizeof(region), 0), 0);
	cr_assert_eq(bpf_stream_init(&s, &opts), 0);
	cr_assert_eq(bpf_stream_init(&pinning, &opts), 0);
	for (i = 0; i < 1000 && !err; i++) {
		err = bpf_stream_push(&pinning, "x", 1);
		if (!err)
			err = bpf_stream_push(&s, text, 3000);
		(void)bpf_stream_read(&s, text, sizeof(text));
	}
	cr_expect_eq(err, -ENOMEM);
	cr_expect_eq(i, 64);
	cr_expect_eq(unit_pages_in_use(), 63);
	cr_expect_eq(bpf_stream_read(&pinning, text, sizeof(text)), 64);
	cr_expect_leq(unit_pages_in_use(), 1);
}

/*
 * 11: with a header of 12 bytes elements were rounded to 4 or 8 bytes,
 * depending on whom one asked, and the last one of a page could stick out.
 */
_Static_assert(BSI_ELEM_HEAD == 8, "the same on 32 and 64 bits");
_Static_assert(BSI_PAGE_START + BSI_ELEM_HEAD + BSI_ELEM_MAX == BSE_PAGE_ROOM,
	       "the largest element fills a page");
_Static_assert(BPF_STREAM_PAGE_SIZE % 8 == 0, "links count in units of 8 bytes");

Test(defects, defect_11__element_sizes_are_multiples_of_eight)
{
	uint32_t len;

	for (len = 1; len <= BSI_ELEM_MAX; len++) {
		cr_assert_eq(bsi_elem_size(len) % 8, 0);
		cr_assert_geq(bsi_elem_size(len), BSI_ELEM_HEAD + len);
		cr_assert_lt(bsi_elem_size(len), BSI_ELEM_HEAD + len + 8);
		cr_assert_leq(bsi_elem_size(len), BPF_STREAM_PAGE_SIZE);
	}
}

/* Of the page at hand, a text can fill so much; 1 if there is none, or none left. */
static uint32_t rest_at_hand(void)
{
	const uint32_t room = bse_self.slot[bse_group(&s)].space.room;

	return room <= BSI_ELEM_HEAD ? 1 :
	       room - BSI_ELEM_HEAD < BSI_ELEM_MAX ? room - BSI_ELEM_HEAD : BSI_ELEM_MAX;
}

/* Pages are filled to every possible rest, and then the rest is filled. */
Test(defects, defect_11__every_rest_of_a_page_is_used_safely)
{
	uint32_t len;
	uint32_t rest;
	int want;
	int i;

	unit_make_stream(&s, 0);
	for (len = 1; len < BSI_ELEM_MAX; len++) {
		memset(text, 'a', len);
		cr_assert_eq(bpf_stream_push(&s, text, len), 0);
		rest = rest_at_hand();
		memset(text, 'b', rest);
		cr_assert_eq(bpf_stream_push(&s, text, rest), 0);
		cr_assert_eq(bpf_stream_push(&s, "c", 1), 0);
		want = (int)(len + rest + 1);
		cr_assert_eq(bpf_stream_read(&s, text, sizeof(text)), want);
		for (i = 0; i < want; i++)
			cr_assert_eq(text[i], i < (int)len ? 'a' : i < want - 1 ? 'b' : 'c',
				     "lengths %u and %u, byte %d", len, rest, i);
		bpf_stream_thread_release();
	}
	unit_assert_sound(&s);
}

/*
 * 12: an element's page was found by rounding its address down to 4 KiB. Here
 * the region begins 64 bytes after a page boundary, so rounding is wrong.
 */
Test(defects, defect_12__page_is_found_in_a_region_off_the_boundary)
{
	static _Alignas(BPF_STREAM_PAGE_SIZE) char memory[17 * BPF_STREAM_PAGE_SIZE];
	size_t i;

	cr_assert_eq(bpf_stream_pool_use(memory + 64, 16 * BPF_STREAM_PAGE_SIZE, 0), 0);
	unit_make_stream(&s, 0);
	for (i = 0; i < 2000; i++) {
		cr_assert_eq(bpf_stream_push(&s, text, 1 + i % 300), 0);
		if (i % 8 == 7)
			cr_assert_gt(bpf_stream_read(&s, text, sizeof(text)), 0);
	}
	cr_expect_leq(unit_pages_in_use(), 1);
	unit_assert_sound(&s);
}

/* 13: the counter of reports wrapped after 2^32 of them, and all began anew. */
Test(defects, defect_13__report_counter_does_not_wrap)
{
	struct bpf_prog_aux aux;
	struct bpf_prog prog = { &aux };
	unsigned int i;

	bpf_prog_stream_init(&prog);
	for (i = 0; i < 600; i++)
		cr_assert_eq(bpf_prog_stream_error_limit(&prog), i >= 512);
	bse_figure_set(&aux.stream_error_cnt, UINT32_MAX - 2);
	for (i = 0; i < 600; i++)
		cr_assert(bpf_prog_stream_error_limit(&prog), "report %u after the limit", i);
}

/*
 * 15: a hook that took a spinning lock inside the allocator broke real-time
 * kernels. No call of a writer takes the only lock there is.
 */
Test(defects, defect_15__writers_take_no_lock)
{
	struct bpf_stream_stage ss;
	unsigned int i;

	unit_make_stream(&s, 100000);
	bpf_stream_stage_init(&ss);
	for (i = 0; i < 10000; i++) {
		(void)bpf_stream_push(&s, text, i);
		(void)bpf_stream_printf(&s, "%u", i);
		(void)bpf_stream_stage_push(&ss, text, i % 100);
		(void)bpf_stream_stage_commit_to(&ss, &s);
	}
	bpf_stream_stage_free(&ss);
	hook_pages = 0;
	cr_expect_eq(bpf_stream_push(&s, text, 1 << 20), -E2BIG);
	cr_expect_eq(hook_locks, 0, "%lu calls of the lock", hook_locks);
	cr_expect_gt(bpf_stream_read(&s, text, sizeof(text)), 0);
	cr_expect_eq(hook_locks, 1);
}

/* The reader's lock is held by another thread for as long as writers work. */
static sem_t reading;
static sem_t written;

static int waiting_sink(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	sem_post(&reading);
	sem_wait(&written);
	return (int)len;
}

static void *waiting_reader(void *ctx)
{
	(void)ctx;
	(void)bpf_stream_drain(&s, waiting_sink, NULL, SIZE_MAX);
	return NULL;
}

Test(defects, defect_15__writers_go_on_while_a_reader_holds_its_lock)
{
	pthread_t thread;
	unsigned int i;

	unit_make_stream(&s, 0);
	sem_init(&reading, 0, 0);
	sem_init(&written, 0, 0);
	cr_assert_eq(bpf_stream_push(&s, "first", 5), 0);
	unit_start(&thread, waiting_reader, NULL);
	sem_wait(&reading);
	for (i = 0; i < 1000; i++)
		cr_assert_eq(bpf_stream_printf(&s, "%04u", i), 0);
	sem_post(&written);
	unit_join(thread);
	cr_expect_eq(bpf_stream_read(&s, text, sizeof(text)), 4000);
}
