/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [14] STAGE: groups of any number of messages, committed as one or not at
 * all; what a stage holds after each failure; that nothing is left behind.
 *
 * Seen to fail with the header changed so that: a chain's oldest element is its
 * newest; commit swaps the ends; a commit that lost a race stays linked to the
 * log; a failed commit empties the stage; a successful one leaves its length;
 * messages are not counted; the length is added before the message is made; the
 * sum is not checked; init leaves the length; free keeps the pages; a long
 * print is refused; vprintk pushes the format itself; its long print is
 * refused, or passed on with its whole length.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
#include "unit.h"
#include <stdio.h>

#define PAGE BPF_STREAM_PAGE_SIZE

static struct bpf_stream s;
static struct bpf_stream_stage ss;
static char text[1u << 20];
static char got[1u << 20];

static void make_stream(size_t capacity)
{
	unit_make_stream(&s, capacity);
	bpf_stream_stage_init(&ss);
}

/* An early version of the original got the tail of this one wrong. */
Test(stage, commit__of_one_message)
{
	make_stream(0);
	cr_assert_eq(bpf_stream_push(&s, "a", 1), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "b", 1), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_assert_eq(bpf_stream_push(&s, "c", 1), 0);
	unit_assert_reads(&s, "abc");
	cr_expect_eq(unit_stats(&s).delivered.messages, 3);
}

Test(stage, commit__keeps_the_order_of_many_messages)
{
	size_t len = 0;
	int i;

	make_stream(0);
	for (i = 0; i < 5000; i++) {
		cr_assert_eq(bpf_stream_stage_printk(&ss, "%d,", i), 0);
		len += (size_t)sprintf(text + len, "%d,", i);
	}
	cr_expect_eq(unit_stats(&s).pending, 0);
	cr_expect_eq(bpf_stream_read(&s, got, sizeof(got)), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_expect_eq(unit_stats(&s).pending, len);
	unit_assert_sound(&s);
	unit_assert_reads(&s, text);
	cr_expect_eq(unit_stats(&s).delivered.messages, 5000);
	cr_expect_leq(unit_pages_in_use(), 1);
}

Test(stage, commit__messages_of_several_pages_stay_whole)
{
	size_t at[] = { 0, 3 * PAGE + 5, 3 * PAGE + 6, 5 * PAGE + 6, 5 * PAGE + 106 };
	size_t i;

	make_stream(0);
	for (i = 0; i < at[4]; i++)
		text[i] = (char)(i * 7 + i / 256);
	for (i = 0; i < 4; i++)
		cr_assert_eq(bpf_stream_stage_push(&ss, text + at[i], at[i + 1] - at[i]), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	unit_assert_sound(&s);
	unit_same_length(bpf_stream_read(&s, got, sizeof(got)), at[4]);
	unit_same_bytes(got, text, at[4]);
	cr_expect_eq(unit_stats(&s).delivered.messages, 4);
}

static void push_between(enum hook_point point)
{
	if (point != HOOK_ENTERED && point != HOOK_PUBLISHING)
		return;
	hook = NULL;
	cr_expect_eq(bpf_stream_push(&s, "!", 1), 0);
	if (point == HOOK_ENTERED)
		hook = push_between;
}

Test(stage, commit__group_is_contiguous_whoever_else_writes)
{
	make_stream(0);
	hook = push_between;
	cr_assert_eq(bpf_stream_stage_push(&ss, "1", 1), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "2", 1), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "3", 1), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	hook = NULL;
	cr_expect_eq(bpf_stream_push(&s, "?", 1), 0);
	unit_assert_reads(&s, "!!!!123?");
}

#define WRITERS 4u
#define GROUPS 3000u
#define MEMBERS 5u

struct member {
	uint32_t writer;
	uint32_t group;
	uint32_t number;
};

static void *write_groups(void *ctx)
{
	struct member member = { *(const uint32_t *)ctx, 0, 0 };
	struct bpf_stream_stage group;

	bpf_stream_stage_init(&group);
	while (member.group < GROUPS) {
		for (member.number = 0; member.number < MEMBERS; member.number++)
			(void)bpf_stream_stage_push(&group, &member, sizeof(member));
		while (bpf_stream_stage_commit_to(&group, &s))
			;
		member.group++;
	}
	return NULL;
}

Test(stage, commit__groups_of_threads_are_never_split)
{
	pthread_t thread[WRITERS];
	uint32_t id[WRITERS];
	uint32_t next[WRITERS] = { 0 };
	struct member member[MEMBERS];
	unsigned int groups = 0;
	unsigned int i;
	int len;

	make_stream(10 * sizeof(member));
	for (i = 0; i < WRITERS; i++) {
		id[i] = i;
		unit_start(&thread[i], write_groups, &id[i]);
	}
	while (groups < WRITERS * GROUPS) {
		len = bpf_stream_read(&s, member, sizeof(member));
		if (!len)
			continue;
		cr_assert_eq(len, (int)sizeof(member));
		cr_assert_lt(member[0].writer, WRITERS);
		for (i = 0; i < MEMBERS; i++) {
			cr_assert_eq(member[i].writer, member[0].writer);
			cr_assert_eq(member[i].group, next[member[0].writer]);
			cr_assert_eq(member[i].number, i);
		}
		next[member[0].writer]++;
		groups++;
	}
	for (i = 0; i < WRITERS; i++)
		unit_join(thread[i]);
	cr_expect_eq(unit_stats(&s).pending, 0);
	cr_expect_eq(unit_stats(&s).delivered.messages, WRITERS * GROUPS * MEMBERS);
	unit_assert_sound(&s);
}

Test(stage, commit__full_stream_keeps_stage_intact)
{
	make_stream(10);
	cr_assert_eq(bpf_stream_push(&s, "1234", 4), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "abcd", 4), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "efg", 3), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), -ENOSPC);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), -ENOSPC);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_FULL].messages, 4);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_FULL].bytes, 14);
	cr_expect_eq(unit_stats(&s).pending, 4);
	unit_assert_reads(&s, "1234");
	cr_assert_eq(bpf_stream_stage_push(&ss, "hij", 3), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_expect_eq(unit_stats(&s).pending, 10);
	unit_assert_reads(&s, "abcdefghij");
}

/* Between the last look and the publish somebody else takes the room. */
static void take_room(enum hook_point point)
{
	if (point != HOOK_PUBLISHING)
		return;
	hook = NULL;
	cr_expect_eq(bpf_stream_push(&s, "x", 1), 0);
}

/* Loses that race: a stage of two messages, @s with one, and then another. */
static void lose_race(void)
{
	make_stream(11);
	cr_assert_eq(bpf_stream_push(&s, "w", 1), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "abcde", 5), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "fghij", 5), 0);
	hook = take_room;
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), -ENOSPC);
	cr_expect_null(hook);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_FULL].messages, 2);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_FULL].bytes, 10);
}

Test(stage, commit__lost_race_keeps_stage_intact)
{
	lose_race();
	unit_assert_reads(&s, "wx");
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	unit_assert_reads(&s, "abcdefghij");
	unit_assert_sound(&s);
}

/*
 * The stage was linked to the log already when it lost: freeing it gave the
 * stream's own messages back to the pool, too.
 */
Test(stage, free__after_a_lost_race_leaves_the_stream_alone)
{
	lose_race();
	bpf_stream_stage_free(&ss);
	cr_assert_eq(bpf_stream_stage_push(&ss, text, 3 * PAGE), 0);
	unit_assert_sound(&s);
	unit_assert_reads(&s, "wx");
	bpf_stream_stage_free(&ss);
	bpf_stream_thread_release();
	cr_expect_eq(unit_pages_in_use(), 0);
	unit_assert_sound(&s);
}

Test(stage, commit__group_above_the_capacity_is_too_big)
{
	struct bpf_stream larger;

	make_stream(10);
	cr_assert_eq(bpf_stream_init(&larger, NULL), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "abcdef", 6), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "ghijk", 5), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), -E2BIG);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_SIZE].messages, 2);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_SIZE].bytes, 11);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &larger), 0);
	unit_same_length(bpf_stream_read(&larger, got, sizeof(got)), 11);
	unit_same_bytes(got, "abcdefghijk", 11);
}

Test(stage, commit__stage_can_be_used_again)
{
	struct bpf_stream other;
	int i;

	make_stream(0);
	cr_assert_eq(bpf_stream_init(&other, NULL), 0);
	for (i = 0; i < 4; i++) {
		cr_assert_eq(bpf_stream_stage_printk(&ss, "<%d", i), 0);
		cr_assert_eq(bpf_stream_stage_printk(&ss, ">"), 0);
		cr_assert_eq(bpf_stream_stage_commit_to(&ss, i % 2 ? &other : &s), 0);
	}
	unit_assert_reads(&s, "<0><2>");
	unit_same_length(bpf_stream_read(&other, got, sizeof(got)), 6);
	unit_same_bytes(got, "<1><3>", 6);
}

Test(stage, commit__of_nothing_succeeds_on_a_full_stream)
{
	make_stream(1);
	cr_assert_eq(bpf_stream_push(&s, "a", 1), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, NULL, 0), 0);
	cr_assert_eq(bpf_stream_stage_printk(&ss, "%s", ""), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_FULL].messages, 0);
	unit_assert_reads(&s, "a");
}

Test(stage, init__zeroed_memory_is_an_empty_stage)
{
	static struct bpf_stream_stage zero;

	make_stream(0);
	memset(&ss, 0xff, sizeof(ss));
	bpf_stream_stage_init(&ss);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&zero, &s), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "a", 1), 0);
	cr_assert_eq(bpf_stream_stage_push(&zero, "b", 1), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&zero, &s), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	unit_assert_reads(&s, "ba");
}

Test(stage, free__gives_all_pages_back)
{
	int round;
	int i;

	make_stream(0);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 100; i++)
			cr_assert_eq(bpf_stream_stage_push(&ss, text,
							   1 + 100u * (unsigned int)i), 0);
		cr_assert_gt(unit_pages_in_use(), 100);
		bpf_stream_stage_free(&ss);
		cr_expect_leq(unit_pages_in_use(), 1);
	}
	bpf_stream_stage_free(&ss);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "new", 3), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	unit_assert_reads(&s, "new");
	unit_assert_sound(&s);
}

Test(stage, free__after_commit_leaves_the_stream_alone)
{
	make_stream(0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "kept", 4), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	bpf_stream_stage_free(&ss);
	cr_assert_eq(bpf_stream_push(&s, "more", 4), 0);
	unit_assert_reads(&s, "keptmore");
	unit_assert_sound(&s);
}

Test(stage, push__no_page_keeps_stage_intact)
{
	size_t before;

	make_stream(0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "abc", 3), 0);
	before = unit_pages_in_use();
	hook_pages = 2;
	cr_expect_eq(bpf_stream_stage_push(&ss, text, 3 * PAGE), -ENOMEM);
	hook_pages = 0;
	cr_expect_eq(bpf_stream_stage_push(&ss, text, PAGE), -ENOMEM);
	hook_pages = ~0ul;
	cr_expect_eq(ss.len, 3);
	cr_expect_eq(ss.messages, 1);
	cr_expect_leq(unit_pages_in_use(), before + 1);
	cr_assert_eq(bpf_stream_stage_push(&ss, "def", 3), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	unit_assert_reads(&s, "abcdef");
	cr_expect_leq(unit_pages_in_use(), 1);
	unit_assert_sound(&s);
}

Test(stage, push__empty_pool_is_counted_there)
{
	static _Alignas(4096) char region[8 * PAGE];
	struct bpf_stream_pool_stats pool;

	cr_assert_eq(bpf_stream_pool_use(region, sizeof(region), 0), 0);
	make_stream(0);
	cr_assert_eq(bpf_stream_stage_push(&ss, text, 5 * BSI_ELEM_MAX), 0);
	cr_expect_eq(bpf_stream_stage_push(&ss, text, 4 * BSI_ELEM_MAX), -ENOMEM);
	cr_expect_eq(bpf_stream_stage_push(&ss, text, 7 * BSI_ELEM_MAX + 1), -E2BIG);
	bpf_stream_pool_get_stats(&pool);
	cr_expect_eq(pool.denied, 1);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_expect_eq(bpf_stream_read(&s, got, sizeof(got)), (int)(5 * BSI_ELEM_MAX));
}

Test(stage, push__length_is_checked)
{
	make_stream(0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "abc", 3), 0);
	cr_expect_eq(bpf_stream_stage_push(&ss, text, (size_t)INT_MAX + 1), -EINVAL);
	cr_expect_eq(bpf_stream_stage_push(&ss, text, SIZE_MAX), -EINVAL);
	cr_expect_eq(bpf_stream_stage_push(&ss, text, INT_MAX), -E2BIG);
	cr_expect_eq(bpf_stream_stage_push(&ss, text, INT_MAX - 2), -E2BIG);
	/* As if it held so much; so far no pool is large enough to try. */
	ss.len += INT_MAX - 5;
	cr_expect_eq(bpf_stream_stage_push(&ss, "123", 3), -E2BIG);
	cr_expect_eq(bpf_stream_stage_push(&ss, "12", 2), 0);
	ss.len -= INT_MAX - 5;
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	unit_assert_reads(&s, "abc12");
}

Test(stage, printk__text_is_cut_at_1023_bytes)
{
	size_t i;

	make_stream(0);
	cr_expect_eq(bpf_stream_stage_printk(&ss, "%01023d", 1), 0);
	cr_expect_eq(ss.len, 1023);
	cr_expect_eq(bpf_stream_stage_printk(&ss, "%-1024dX", 2), 0);
	cr_expect_eq(ss.len, 2046);
	cr_expect_eq(ss.messages, 2);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), 2046);
	for (i = 0; i < 2046; i++)
		cr_assert_eq(got[i], i < 1022 ? '0' : i == 1022 ? '1' : i == 1023 ? '2' : ' ');
}

Test(stage, printk__bad_format_keeps_stage_intact)
{
	const char *bad = "x%n";
	int n;

	make_stream(0);
	cr_assert_eq(bpf_stream_stage_printk(&ss, "a"), 0);
	cr_expect_eq(bpf_stream_stage_printk(&ss, bad, &n), -EINVAL);
	cr_expect_eq(ss.messages, 1);
	cr_assert_eq(bpf_stream_stage_printk(&ss, "b"), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	unit_assert_reads(&s, "ab");
}

/* A print as a user writes it, with a prefix of its own */
static int prefixed(const char *fmt, ...)
{
	va_list ap;
	int err = bpf_stream_stage_printk(&ss, "<%d>", 4);

	va_start(ap, fmt);
	if (!err)
		err = bpf_stream_stage_vprintk(&ss, fmt, ap);
	va_end(ap);
	return err;
}

Test(stage, vprintk__takes_the_arguments_of_a_wrapper)
{
	make_stream(0);
	cr_expect_eq(prefixed("%s %d %lld;", "a", -1, 1LL << 40), 0);
	cr_expect_eq(prefixed("%*d", 3, 7), 0);
	cr_expect_eq(ss.messages, 4);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	unit_assert_reads(&s, "<4>a -1 1099511627776;<4>  7");
}

Test(stage, vprintk__is_cut_and_refused_as_printk)
{
	make_stream(0);
	cr_expect_eq(prefixed("%f", 1.0), -EINVAL);
	cr_expect_eq(ss.messages, 1);
	cr_expect_eq(prefixed("%s", ""), 0);
	cr_expect_eq(ss.messages, 2);
	cr_expect_eq(prefixed("%-1024dX", 2), 0);
	cr_expect_eq(ss.messages, 4);
	cr_expect_eq(ss.len, 3 * 3 + 1023);
	bpf_stream_stage_free(&ss);
	cr_expect_eq(unit_stats(&s).pending, 0);
}

Test(stage, calls__errno_is_kept)
{
	make_stream(1);
	errno = ELOOP;
	cr_expect_eq(bpf_stream_stage_push(&ss, "ab", 2), 0);
	cr_expect_eq(bpf_stream_stage_printk(&ss, "%d", 5), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), -E2BIG);
	bpf_stream_stage_free(&ss);
	cr_expect_eq(errno, ELOOP);
}
