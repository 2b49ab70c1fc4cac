/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [11] CAPACITY: what a refusal leaves behind (nothing), and that every charge
 * is refunded, however it ends.
 *
 * Seen to fail with the header changed so that: a push that is refused by
 * publish keeps its elements, or stays linked to the log; messages of refusals
 * are not counted; publish says `>=`; odd bytes are not refunded, or all of
 * them twice; a page whose count comes to 0 is not returned; elements on their
 * way back are forgotten when they belong to too many pages, or are counted for
 * another page.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
#include "unit.h"

#define PAGE BPF_STREAM_PAGE_SIZE
#define LIMIT BPF_STREAM_CAPACITY_LIMIT

static struct bpf_stream s;
static char text[1u << 20];

static void drain(void)
{
	while (bpf_stream_read(&s, text, sizeof(text)) > 0)
		;
}

#define REFUSED 1000000u

Test(capacity, refused__a_million_pushes_hold_no_page)
{
	size_t full;
	unsigned int i;

	unit_make_stream(&s, 100000);
	while (!bpf_stream_push(&s, text, 100))
		;
	full = unit_pool().in_use;
	for (i = 1; i < REFUSED; i++)
		cr_assert_eq(bpf_stream_push(&s, text, 100), -ENOSPC);
	cr_expect_eq(unit_pool().in_use, full);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_FULL].messages, REFUSED);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_FULL].bytes,
		     100 * (uint64_t)REFUSED);
	drain();
	cr_expect_eq(unit_stats(&s).pending, 0);
	cr_expect_eq(unit_pool().in_use, 1);
	unit_assert_sound(&s);
}

/*
 * A push that looked as if it fitted had its element linked to the log when
 * others filled the stream. It was refused, and gave its element back, but did
 * so with the whole list behind it: the messages of others, which were then
 * used again while they still waited for the reader.
 */
static void fill_up(enum hook_point point)
{
	if (point != HOOK_PUBLISHING)
		return;
	hook = NULL;
	while (!bpf_stream_push(&s, text, 1))
		;
}

Test(capacity, refused__pushes_that_lose_a_race_hold_no_page)
{
	size_t len;
	unsigned int i;
	size_t all = 0;

	unit_make_stream(&s, 3 * PAGE);
	for (i = 0; i < 3000; i++) {
		len = 2 + i % (3 * PAGE - 1);
		(void)bpf_stream_read(&s, text, len);
		hook = fill_up;
		cr_assert_eq(bpf_stream_push(&s, text, len), -ENOSPC);
		cr_assert_null(hook);
		cr_assert_eq(unit_stats(&s).pending, 3 * PAGE);
		all += len;
	}
	unit_assert_sound(&s);
	drain();
	cr_expect_eq(unit_stats(&s).pending, 0);
	/* Those in fill_up() are counted, too: one byte each. */
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_FULL].messages, 2 * 3000);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_FULL].bytes, all + 3000);
	cr_expect_eq(unit_pool().in_use, 1);
	unit_assert_sound(&s);
}

#define WRITERS 4u
#define TRIES (REFUSED / WRITERS)

static void *refused_writer(void *ctx)
{
	static const char message[3 * PAGE];
	size_t *refused = ctx;
	unsigned int i;

	for (i = 0; i < TRIES; i++)
		*refused += bpf_stream_push(&s, message, 1 + i % 2000) == -ENOSPC;
	return NULL;
}

Test(capacity, refused__pushes_of_many_threads_hold_no_page)
{
	pthread_t thread[WRITERS];
	size_t refused[WRITERS] = { 0 };
	size_t all = 0;
	unsigned int i;

	unit_make_stream(&s, 5000);
	for (i = 0; i < WRITERS; i++)
		unit_start(&thread[i], refused_writer, &refused[i]);
	for (i = 0; i < 2000; i++)
		(void)bpf_stream_read(&s, text, 1 + i % 3000);
	for (i = 0; i < WRITERS; i++) {
		unit_join(thread[i]);
		all += refused[i];
	}
	cr_expect_gt(all, 0);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_FULL].messages, all);
	drain();
	cr_expect_eq(unit_stats(&s).pending, 0);
	cr_expect_eq(unit_stats(&s).delivered.messages, (uint64_t)WRITERS * TRIES - all);
	cr_expect_eq(unit_pool().in_use, 0);
	unit_assert_sound(&s);
}

Test(capacity, refused__commits_hold_what_the_stage_holds)
{
	struct bpf_stream_stage ss;
	size_t before;
	unsigned int i;

	unit_make_stream(&s, 1000);
	cr_assert_eq(bpf_stream_push(&s, text, 900), 0);
	bpf_stream_stage_init(&ss);
	for (i = 0; i < 20; i++)
		cr_assert_eq(bpf_stream_stage_push(&ss, text, 50), 0);
	before = unit_pool().in_use;
	for (i = 0; i < 10000; i++)
		cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), -ENOSPC);
	cr_expect_eq(unit_pool().in_use, before);
	drain();
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	drain();
	cr_expect_eq(unit_stats(&s).pending, 0);
	/* Kept for the stream, and for stages. */
	cr_expect_eq(unit_pool().in_use, 2);
	unit_assert_sound(&s);
}

/* Room comes back byte by byte, not message by message. */
Test(capacity, refund__is_what_was_taken)
{
	size_t i;

	unit_make_stream(&s, 3 * PAGE);
	cr_assert_eq(bpf_stream_push(&s, text, 3 * PAGE), 0);
	for (i = 1; i <= 100; i++) {
		cr_assert_eq(bpf_stream_read(&s, text, i), (int)i);
		cr_assert_eq(unit_stats(&s).pending, 3 * PAGE - i);
		cr_assert_eq(bpf_stream_push(&s, text, i + 1), -ENOSPC);
		cr_assert_eq(bpf_stream_push(&s, text, i), 0);
	}
	unit_assert_sound(&s);
}

Test(capacity, refund__pending_is_0_after_each_drain)
{
	unsigned int i;
	size_t len;

	unit_make_stream(&s, 50000);
	for (i = 0; i < 2000; i++) {
		for (len = 1 + i % 7; !bpf_stream_push(&s, text, len); len = len * 3 / 2 + 1)
			;
		(void)bpf_stream_read(&s, text, i);
		drain();
		cr_assert_eq(unit_stats(&s).pending, 0);
		cr_assert_eq(unit_pool().in_use, 1, "round %u: %zu pages", i, unit_pool().in_use);
	}
	unit_assert_sound(&s);
}

static void push_deeper(enum hook_point point)
{
	if (point != HOOK_ENTERED)
		return;
	hook = NULL;
	cr_assert_eq(bpf_stream_push(&s, text, 2000), 0);
}

/* Two nesting levels fill a page each, so that pages alternate in the log. */
Test(capacity, refund__reaches_every_page_of_a_large_batch)
{
	unsigned int round;
	unsigned int i;

	unit_make_stream(&s, 0);
	for (round = 0; round < 5; round++) {
		for (i = 0; i < 200; i++) {
			hook = push_deeper;
			cr_assert_eq(bpf_stream_push(&s, text, 1 + i * 17), 0);
		}
		cr_assert_gt(unit_pool().in_use, 32);
		drain();
		cr_assert_eq(unit_pool().in_use, 2, "round %u: %zu pages", round,
			     unit_pool().in_use);
	}
	unit_assert_sound(&s);
}

/* Elements of one page belong to many streams of a group. */
Test(capacity, refund__streams_share_pages_and_free_them_in_any_order)
{
	const struct bpf_stream_options opts = { .group = 3 };
	struct bpf_stream other[5];
	unsigned int round;
	unsigned int i;

	for (i = 0; i < 5; i++)
		cr_assert_eq(bpf_stream_init(&other[i], &opts), 0);
	for (round = 0; round < 20; round++) {
		for (i = 0; i < 1000; i++)
			cr_assert_eq(bpf_stream_push(&other[i * 7 % 5], text, 1 + i % 50), 0);
		for (i = 0; i < 5; i++) {
			cr_assert_eq(bpf_stream_read(&other[(i + round) % 5], text, 10), 10);
			cr_assert_gt(bpf_stream_read(&other[(i + round) % 5], text,
						     sizeof(text)), 0);
		}
		cr_assert_eq(unit_pool().in_use, 1);
	}
	for (i = 0; i < 5; i++)
		unit_assert_sound(&other[i]);
}

/* The upper half of the log's word: no refund may reach into it. */
Test(capacity, charge__limits_of_the_word)
{
	unit_make_stream(&s, LIMIT);
	cr_expect_eq(unit_stats(&s).capacity, LIMIT);
	cr_assert_eq(bpf_stream_push(&s, "ab", 2), 0);
	/* As if the stream were nearly full; so much text takes too long. */
	s.log.bse_v += LIMIT - 4;
	cr_expect_eq(bpf_stream_push(&s, "cde", 3), -ENOSPC);
	cr_expect_eq(bpf_stream_push(&s, "cd", 2), 0);
	cr_expect_eq(bpf_stream_push(&s, "e", 1), -ENOSPC);
	cr_expect_eq(bpf_stream_push(&s, text, sizeof(text)), -ENOSPC);
	cr_expect_eq(unit_stats(&s).pending, LIMIT);
	s.log.bse_v -= LIMIT - 4;
	unit_same_length(bpf_stream_read(&s, text, sizeof(text)), 4);
	unit_same_bytes(text, "abcd", 4);
	cr_expect_eq(unit_stats(&s).pending, 0);
}
