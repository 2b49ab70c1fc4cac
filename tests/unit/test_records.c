/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [16] RECORDS: messages one by one, with level, tag, group, parts, time and
 * thread; mixed with reads of bytes; the three answers of who takes them.
 *
 * Seen to fail with: a total that leaves out what comes behind; an offset that
 * is kept after a read of bytes; a record that is taken though the answer was
 * negative; a stop that takes one more; a level or tag of another bit; a group
 * that goes on behind its end; a stamp that is not cleared between messages, or
 * is by the second message of a group; a prefix that is not left out of the
 * text; a message with a prefix that overruns its page; a muted message that is
 * formatted, or counted; a plain push that is muted; read_record that takes
 * what does not fit, or one part of it.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_PROG
#include "bpf_stream.h"
#include "unit.h"
#include <syslog.h>
#include <time.h>

enum { MOST = 400 };

static struct bpf_stream s;
static char text[200000];

/* What was taken, with copies of the texts one behind the other. */
static struct bpf_stream_record got[MOST];
static int taken;
static char copies[2 * sizeof(text)];
static size_t copied;

/* After so many records it stops; or, if it says so, takes the next one not. */
static int stop_after = MOST;
static int refusal;

static int take(void *ctx, const struct bpf_stream_record *r)
{
	(void)ctx;
	if (taken == stop_after && refusal)
		return refusal;
	cr_assert_lt(taken, MOST);
	got[taken] = *r;
	got[taken].data = memcpy(copies + copied, r->data, r->len);
	copied += r->len;
	return ++taken == stop_after;
}

static int drain(size_t max)
{
	taken = 0;
	copied = 0;
	return bpf_stream_drain_records(&s, take, NULL, max);
}

/* The number @i of what was taken is a whole message. */
static void check(int i, const char *want, int level, int tag, bool more)
{
	const struct bpf_stream_record *r = &got[i];

	cr_assert_eq(r->len, strlen(want), "record %d has %zu bytes", i, r->len);
	cr_assert_eq(memcmp(r->data, want, r->len), 0, "record %d is '%.*s'", i, (int)r->len,
		     (const char *)r->data);
	cr_assert_eq(r->total, r->len);
	cr_assert_eq(r->offset, 0u);
	cr_assert_eq(r->level, level, "record %d has level %d", i, r->level);
	cr_assert_eq(r->tag, tag, "record %d has tag %d", i, r->tag);
	cr_assert_eq(r->more, more, "record %d says more: %d", i, r->more);
}

Test(records, drain__one_for_each_message)
{
	int i;

	cr_assert_eq(drain(10), 0);
	cr_assert_eq(bpf_stream_push(&s, "one", 3), 0);
	cr_assert_eq(bpf_stream_printf(&s, "%d", 2), 0);
	cr_assert_eq(bpf_stream_push(&s, "three\n", 6), 0);
	cr_assert_eq(drain(SIZE_MAX), 3);
	check(0, "one", LOG_INFO, 0, false);
	check(1, "2", LOG_INFO, 0, false);
	check(2, "three\n", LOG_INFO, 0, false);
	for (i = 0; i < 3; i++) {
		cr_assert_eq(got[i].seq, (uint64_t)i);
		cr_assert_eq(got[i].lost, 0u);
		cr_assert_eq(got[i].time, 0u);
		cr_assert_eq(got[i].tid, 0u);
	}
	cr_assert_eq(drain(SIZE_MAX), 0);
	cr_assert_eq(unit_stats(&s).pending, 0u);
	cr_assert_eq(unit_stats(&s).delivered.messages, 3u);
	unit_assert_sound(&s);
}

static int in_pool(void *ctx, const struct bpf_stream_record *r)
{
	const char *pool = (const char *)bse_pool_known();
	const char *data = r->data;

	(void)ctx;
	return data < pool || data + r->len > pool + BPF_STREAM_POOL_BYTES ? -EFAULT : 0;
}

Test(records, drain__copies_nothing)
{
	cr_assert_eq(bpf_stream_push(&s, "short", 5), 0);
	cr_assert_eq(bpf_stream_push(&s, text, sizeof(text)), 0);
	cr_assert_gt(bpf_stream_drain_records(&s, in_pool, NULL, SIZE_MAX), 2);
	cr_assert_eq(unit_stats(&s).pending, 0u);
}

Test(records, levels_and_tags__are_those_of_syslog)
{
	int level;

	cr_assert_eq(BPF_STREAM_EMERG, LOG_EMERG);
	cr_assert_eq(BPF_STREAM_WARNING, LOG_WARNING);
	cr_assert_eq(BPF_STREAM_DEBUG, LOG_DEBUG);
	for (level = LOG_EMERG; level <= LOG_DEBUG; level++)
		cr_assert_eq(bpf_stream_push_pri(&s, level | BPF_STREAM_TAG(level * 36), "x", 1), 0);
	cr_assert_eq(bpf_stream_log(&s, BPF_STREAM_TAG(255) | LOG_ERR, "%s", "e"), 0);
	cr_assert_eq(bpf_stream_bprintf_pri(&s, BPF_STREAM_TAG(1) | LOG_CRIT, "b", NULL, 0), 0);
	cr_assert_eq(drain(SIZE_MAX), 10);
	for (level = LOG_EMERG; level <= LOG_DEBUG; level++)
		check(level, "x", level, level * 36, false);
	check(8, "e", LOG_ERR, 255, false);
	check(9, "b", LOG_CRIT, 1, false);
}

Test(records, levels__not_valid_is_refused_and_counted)
{
	struct bpf_stream_stage ss = { 0 };

	cr_assert_eq(bpf_stream_push_pri(&s, -1, "x", 1), -EINVAL);
	cr_assert_eq(bpf_stream_log(&s, BPF_STREAM_TAG(256), "x"), -EINVAL);
	cr_assert_eq(bpf_stream_bprintf_pri(&s, INT_MAX, "x", NULL, 0), -EINVAL);
	cr_assert_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_INVALID].messages, 3u);
	cr_assert_eq(bpf_stream_stage_log(&ss, -1, "x"), -EINVAL);
	cr_assert_eq(bpf_stream_stage_log(&ss, BPF_STREAM_TAG(256), "x"), -EINVAL);
	cr_assert_eq(bpf_stream_set_level(&s, -2), -EINVAL);
	cr_assert_eq(bpf_stream_set_level(&s, 8), -EINVAL);
	cr_assert(bpf_stream_enabled(&s, LOG_DEBUG));
}

/* Not formatted: the format is not valid, and the string cannot be read. */
Test(records, levels__muted_is_neither_formatted_nor_counted)
{
	const char *volatile bad_format = "%s%";
	const char *volatile nowhere = (const char *)16;
	int level;

	for (level = -1; level <= LOG_DEBUG; level++) {
		int pri;

		cr_assert_eq(bpf_stream_set_level(&s, level), 0);
		for (pri = 0; pri <= LOG_DEBUG; pri++) {
			cr_assert_eq(bpf_stream_enabled(&s, pri | BPF_STREAM_TAG(9)), pri <= level);
			if (pri <= level)
				continue;
			cr_assert_eq(bpf_stream_log(&s, pri, bad_format, nowhere), 0);
			cr_assert_eq(bpf_stream_push_pri(&s, pri, nowhere, 4), 0);
			cr_assert_eq(bpf_stream_bprintf_pri(&s, pri, bad_format, NULL, 0), 0);
		}
		/* Without a level nothing is muted. */
		cr_assert_eq(bpf_stream_push(&s, "p", 1), 0);
		cr_assert_eq(bpf_stream_printf(&s, "f"), 0);
		cr_assert_eq(bpf_stream_log(&s, level < 0 ? 0 : level, "l"), 0);
	}
	cr_assert_eq(drain(SIZE_MAX), 26);
	for (level = 0; level < BPF_STREAM_REFUSALS; level++)
		cr_assert_eq(unit_stats(&s).refused[level].messages, 0u);
}

/* Texts of every interesting length, in parts that make up the whole. */
static void check_parts(size_t len, const char *want)
{
	size_t offset = 0;
	int i;

	for (i = 0; i < taken; i++) {
		cr_assert_eq(got[i].offset, offset, "%zu bytes: record %d begins at %zu", len, i,
			     got[i].offset);
		cr_assert_eq(got[i].total, len);
		cr_assert_eq(got[i].level, LOG_NOTICE);
		cr_assert_eq(got[i].tag, 7);
		cr_assert_eq(got[i].seq, got[0].seq);
		cr_assert(!got[i].more);
		offset += got[i].len;
	}
	cr_assert_eq(offset, len);
	unit_same_bytes(copies, want, len);
}

Test(records, parts__make_up_the_message)
{
	static const size_t lens[] = { 1, BSI_ELEM_MAX - 1, BSI_ELEM_MAX, BSI_ELEM_MAX + 1,
				       2 * BSI_ELEM_MAX, 3 * BSI_ELEM_MAX + 7, sizeof(text) };
	size_t i;

	unit_fill(text, sizeof(text));
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		cr_assert_eq(bpf_stream_push_pri(&s, BPF_STREAM_TAG(7) | LOG_NOTICE, text, lens[i]), 0);
		cr_assert_eq(drain(SIZE_MAX), (int)((lens[i] + BSI_ELEM_MAX - 1) / BSI_ELEM_MAX));
		check_parts(lens[i], text);
		cr_assert_eq(got[0].seq, i);
		unit_assert_sound(&s);
	}
}

/* A message that is taken in two calls goes on where it was left. */
Test(records, parts__go_on_in_the_next_call)
{
	const size_t len = 5 * BSI_ELEM_MAX;
	int i;

	unit_fill(text, len);
	cr_assert_eq(bpf_stream_push(&s, text, len), 0);
	cr_assert_eq(bpf_stream_push(&s, "next", 4), 0);
	for (i = 0; i < 5; i++) {
		cr_assert_eq(drain(1), 1);
		cr_assert_eq(got[0].offset, (size_t)i * BSI_ELEM_MAX);
		cr_assert_eq(got[0].total, len);
		cr_assert_eq(got[0].seq, 0u);
		unit_same_bytes(copies, text + got[0].offset, got[0].len);
	}
	cr_assert_eq(drain(1), 1);
	check(0, "next", LOG_INFO, 0, false);
	cr_assert_eq(got[0].seq, 1u);
}

Test(records, bytes__that_end_in_a_message_leave_a_record)
{
	char buf[100];
	const size_t len = 2 * BSI_ELEM_MAX;

	unit_fill(text, len);
	cr_assert_eq(bpf_stream_push_pri(&s, LOG_ERR, "0123456789", 10), 0);
	cr_assert_eq(bpf_stream_push(&s, "abc", 3), 0);
	cr_assert_eq(bpf_stream_push(&s, text, len), 0);
	cr_assert_eq(bpf_stream_read(&s, buf, 4), 4);
	cr_assert_eq(drain(1), 1);
	check(0, "456789", LOG_ERR, 0, false);
	cr_assert_eq(got[0].seq, 0u);
	/* All of one, and a bit of the next. */
	cr_assert_eq(bpf_stream_read(&s, buf, 5), 5);
	cr_assert_eq(drain(1), 1);
	cr_assert_eq(got[0].offset, 0u);
	cr_assert_eq(got[0].total, len - 2);
	cr_assert_eq(got[0].seq, 2u);
	/* In the second part, of which the first was a record. */
	cr_assert_eq(bpf_stream_read(&s, buf, 10), 10);
	cr_assert_eq(drain(SIZE_MAX), 1);
	cr_assert_eq(got[0].offset, 0u);
	cr_assert_eq(got[0].total, BSI_ELEM_MAX - 10u);
	unit_same_bytes(copies, text + BSI_ELEM_MAX + 10, got[0].len);
	cr_assert_eq(unit_stats(&s).delivered.messages, 3u);
}

Test(records, groups__tell_where_they_go_on)
{
	struct bpf_stream_stage ss;

	bpf_stream_stage_init(&ss);
	cr_assert_eq(bpf_stream_push(&s, "before", 6), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "first", 5), 0);
	cr_assert_eq(bpf_stream_stage_log(&ss, LOG_DEBUG | BPF_STREAM_TAG(3), "%s", "second"), 0);
	cr_assert_eq(bpf_stream_stage_printk(&ss, "third"), 0);
	cr_assert_eq(bpf_stream_stage_commit_tag(&ss, &s, 9), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "alone", 5), 0);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_assert_eq(bpf_stream_push(&s, "after", 5), 0);
	cr_assert_eq(drain(SIZE_MAX), 6);
	check(0, "before", LOG_INFO, 0, false);
	check(1, "first", LOG_INFO, 9, true);
	check(2, "second", LOG_DEBUG, 3, true);
	check(3, "third", LOG_INFO, 9, false);
	check(4, "alone", LOG_INFO, 0, false);
	check(5, "after", LOG_INFO, 0, false);
	unit_assert_sound(&s);
}

/* The first part of a group has 24 bytes before its text: every length fits. */
Test(records, groups__first_message_of_every_length)
{
	struct bpf_stream_stage ss = { 0 };
	size_t len;

	unit_fill(text, sizeof(text));
	for (len = BSI_ELEM_MAX - 40; len < BSI_ELEM_MAX + 40; len++) {
		cr_assert_eq(bpf_stream_stage_push(&ss, text, len), 0);
		cr_assert_eq(bpf_stream_stage_push(&ss, text, 3), 0);
		cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
		unit_assert_sound(&s);
		cr_assert_geq(drain(SIZE_MAX), 2);
		cr_assert_eq(copied, len + 3);
		unit_same_bytes(copies, text, len);
		cr_assert_eq(got[0].total, len);
		cr_assert(got[0].more);
		cr_assert(!got[taken - 1].more);
		unit_assert_sound(&s);
	}
}

Test(records, answer__one_stops_behind_and_negative_before)
{
	int i;

	for (i = 0; i < 6; i++)
		cr_assert_eq(bpf_stream_printf(&s, "%d", i), 0);
	stop_after = 2;
	cr_assert_eq(drain(SIZE_MAX), 2);
	cr_assert_eq(unit_stats(&s).pending, 4u);
	refusal = -ENODATA;
	cr_assert_eq(drain(SIZE_MAX), 2);
	cr_assert_eq(unit_stats(&s).pending, 2u);
	stop_after = 0;
	cr_assert_eq(drain(SIZE_MAX), -ENODATA);
	cr_assert_eq(drain(0), 0);
	cr_assert_eq(unit_stats(&s).pending, 2u);
	refusal = 0;
	stop_after = MOST;
	cr_assert_eq(drain(1), 1);
	check(0, "4", LOG_INFO, 0, false);
	cr_assert_eq(got[0].seq, 4u);
	cr_assert_eq(drain(5), 1);
	check(0, "5", LOG_INFO, 0, false);
	unit_assert_sound(&s);
}

static int push_too(void *ctx, const struct bpf_stream_record *r)
{
	(void)ctx;
	(void)r;
	return bpf_stream_push(&s, "again", 5);
}

/* As a drain of bytes: what was pending when it began. */
Test(records, drain__ends_though_who_takes_them_pushes)
{
	cr_assert_eq(bpf_stream_push(&s, "a", 1), 0);
	cr_assert_eq(bpf_stream_push(&s, "b", 1), 0);
	cr_assert_eq(bpf_stream_drain_records(&s, push_too, NULL, SIZE_MAX), 2);
	cr_assert_eq(unit_stats(&s).pending, 10u);
	cr_assert_eq(drain(SIZE_MAX), 2);
	check(1, "again", LOG_INFO, 0, false);
}

static int drain_too(void *ctx, const struct bpf_stream_record *r)
{
	(void)ctx;
	(void)r;
	return bpf_stream_drain_records(&s, take, NULL, 1);
}

Test(records, drain__in_itself_is_refused)
{
	cr_assert_eq(bpf_stream_push(&s, "a", 1), 0);
	cr_assert_eq(bpf_stream_drain_records(&s, drain_too, NULL, 1), -EDEADLK);
	cr_assert_eq(unit_stats(&s).pending, 1u);
}

Test(records, read_record__one_message_whole)
{
	static char buf[sizeof(text)];
	struct bpf_stream_record r;
	const size_t len = 3 * BSI_ELEM_MAX;

	unit_fill(text, len);
	cr_assert_eq(bpf_stream_read_record(&s, &r, buf, sizeof(buf)), 0);
	cr_assert_eq(bpf_stream_push_pri(&s, LOG_ALERT | BPF_STREAM_TAG(2), text, len), 0);
	cr_assert_eq(bpf_stream_push(&s, "x", 1), 0);
	cr_assert_eq(bpf_stream_read_record(&s, &r, NULL, 0), -EMSGSIZE);
	cr_assert_eq(r.total, len);
	cr_assert_eq(r.level, LOG_ALERT);
	cr_assert_eq(bpf_stream_read_record(&s, &r, buf, len - 1), -EMSGSIZE);
	cr_assert_eq(unit_stats(&s).pending, len + 1);
	cr_assert_eq(bpf_stream_read_record(&s, &r, buf, len), 1);
	cr_assert_eq(r.data, buf);
	cr_assert_eq(r.len, len);
	cr_assert_eq(r.offset, 0u);
	cr_assert_eq(r.total, len);
	cr_assert_eq(r.tag, 2);
	unit_same_bytes(buf, text, len);
	cr_assert_eq(bpf_stream_read_record(&s, &r, buf, 1), 1);
	cr_assert_eq(r.seq, 1u);
	cr_assert_eq(buf[0], 'x');
	cr_assert_eq(bpf_stream_read_record(&s, &r, buf, 1), 0);
	unit_assert_sound(&s);
}

/* After a part, the rest is one record. */
Test(records, read_record__what_a_drain_left)
{
	static char buf[sizeof(text)];
	struct bpf_stream_record r;
	const size_t len = 3 * BSI_ELEM_MAX;

	unit_fill(text, len);
	cr_assert_eq(bpf_stream_push(&s, text, len), 0);
	cr_assert_eq(drain(1), 1);
	cr_assert_eq(bpf_stream_read_record(&s, &r, buf, 2 * BSI_ELEM_MAX), 1);
	cr_assert_eq(r.offset, BSI_ELEM_MAX);
	cr_assert_eq(r.len, 2 * BSI_ELEM_MAX);
	cr_assert_eq(r.total, len);
	unit_same_bytes(buf, text + BSI_ELEM_MAX, r.len);
}

/* ---- Time and thread -------------------------------------------------- */

static uint64_t now;

static uint64_t tick(void)
{
	return ++now;
}

static void make_clocked(uint64_t (*clock)(void))
{
	const struct bpf_stream_options opts = { .clock = clock };

	cr_assert_eq(bpf_stream_init(&s, &opts), 0);
	now = 100;
}

static uint32_t my_tid(void)
{
	return (uint32_t)syscall(SYS_gettid);
}

Test(records, clock__each_message_has_its_time_and_thread)
{
	struct bpf_stream_stage ss = { 0 };
	int i;

	make_clocked(tick);
	unit_fill(text, sizeof(text));
	cr_assert_eq(bpf_stream_push(&s, "a", 1), 0);
	cr_assert_eq(bpf_stream_push(&s, text, 2 * BSI_ELEM_MAX), 0);
	cr_assert_eq(bpf_stream_log(&s, LOG_ERR, "c"), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "g", 1), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "h", 1), 0);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_assert_eq(bpf_stream_push(&s, text, BSI_ELEM_MAX), 0);
	unit_assert_sound(&s);
	cr_assert_eq(drain(4), 4);
	cr_assert_eq(got[0].time, 101u);
	cr_assert_eq(got[1].time, 102u);
	cr_assert_eq(got[2].time, 102u, "the second part has the time of the message");
	for (i = 0; i < 4; i++)
		cr_assert_eq(got[i].tid, my_tid());
	cr_assert_eq(drain(SIZE_MAX), 5);
	cr_assert_eq(got[0].time, 103u);
	cr_assert_eq(got[1].time, 104u);
	cr_assert_eq(got[2].time, 104u, "a group was stored in one step");
	cr_assert_eq(got[3].time, 105u);
	unit_assert_sound(&s);
}

/* Of a message whose beginning was taken as bytes nothing is known. */
Test(records, clock__rest_of_a_message)
{
	char buf[BSI_ELEM_MAX + 1];

	make_clocked(tick);
	cr_assert_eq(bpf_stream_push(&s, "abc", 3), 0);
	cr_assert_eq(bpf_stream_push(&s, text, 2 * BSI_ELEM_MAX), 0);
	cr_assert_eq(bpf_stream_read(&s, buf, 1), 1);
	cr_assert_eq(drain(1), 1);
	cr_assert_eq(got[0].time, 101u, "its first element is there");
	cr_assert_eq(bpf_stream_read(&s, buf, sizeof(buf)), (int)sizeof(buf));
	cr_assert_eq(drain(SIZE_MAX), 1);
	cr_assert_eq(got[0].time, 0u);
	cr_assert_eq(got[0].tid, 0u);
}

/* Nor of a group: what records told before is not its time. */
Test(records, clock__rest_of_a_group)
{
	struct bpf_stream_stage ss = { 0 };
	char byte;

	make_clocked(tick);
	cr_assert_eq(bpf_stream_push(&s, "a", 1), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "g", 1), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "h", 1), 0);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_assert_eq(drain(1), 1);
	cr_assert_eq(bpf_stream_read(&s, &byte, 1), 1);
	cr_assert_eq(drain(1), 1);
	cr_assert_eq(got[0].time, 0u);
	cr_assert_eq(got[0].tid, 0u);
}

/* A stage that goes into a stream without a clock leaves no time behind. */
Test(records, clock__none_has_none)
{
	struct bpf_stream_stage ss = { 0 };

	cr_assert_eq(bpf_stream_stage_push(&ss, "g", 1), 0);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_assert_eq(drain(SIZE_MAX), 1);
	cr_assert_eq(got[0].time, 0u);
	cr_assert_eq(got[0].tid, 0u);
	cr_assert_eq(got[0].lost, 0u);
}

static void check_clock(uint64_t (*clock)(void), clockid_t id, uint64_t slack)
{
	struct timespec before;
	uint64_t from;

	clock_gettime(id, &before);
	from = (uint64_t)before.tv_sec * 1000000000 + (uint64_t)before.tv_nsec;
	make_clocked(clock);
	cr_assert_eq(bpf_stream_push(&s, "x", 1), 0);
	cr_assert_eq(drain(1), 1);
	cr_assert_geq(got[0].time + slack, from);
	cr_assert_leq(got[0].time, clock());
	bpf_stream_destroy(&s);
}

Test(records, clock__given_ones_are_the_systems)
{
	check_clock(bpf_stream_clock_monotonic, CLOCK_MONOTONIC, 0);
	check_clock(bpf_stream_clock_realtime, CLOCK_REALTIME, 0);
	check_clock(bpf_stream_clock_coarse, CLOCK_MONOTONIC_COARSE, 0);
}

static void *push_own_id(void *arg)
{
	const uint32_t id = my_tid();

	(void)arg;
	cr_assert_eq(bpf_stream_push(&s, &id, sizeof(id)), 0);
	return NULL;
}

static void check_own_ids(int messages)
{
	int i;

	cr_assert_eq(drain(SIZE_MAX), messages);
	for (i = 0; i < messages; i++)
		cr_assert_eq(memcmp(got[i].data, &got[i].tid, sizeof(got[i].tid)), 0);
}

Test(records, thread__is_right_in_threads_that_live_shortly)
{
	int i;

	make_clocked(tick);
	for (i = 0; i < 300; i++)
		unit_in_thread(push_own_id, NULL);
	check_own_ids(300);
}

static void child(void *arg)
{
	uint32_t id = my_tid();
	struct bpf_stream_record r;
	uint32_t said;

	(void)arg;
	UNIT_CHILD_WANTS(!bpf_stream_push(&s, &id, sizeof(id)));
	UNIT_CHILD_WANTS(bpf_stream_read_record(&s, &r, &said, sizeof(said)) == 1);
	UNIT_CHILD_WANTS(bpf_stream_read_record(&s, &r, &said, sizeof(said)) == 1);
	UNIT_CHILD_WANTS(said == id && r.tid == id);
}

Test(records, thread__is_right_after_fork)
{
	make_clocked(tick);
	push_own_id(NULL);
	unit_in_child(child, NULL);
	check_own_ids(1);
}

/* ---- The program layer ------------------------------------------------ */

Test(records, program__merged_is_one_order)
{
	static struct bpf_prog_aux aux;
	struct bpf_prog prog = { &aux };
	struct bpf_stream_stage ss;
	uint64_t arg = 5;

	bpf_prog_stream_init_merged(&prog);
	cr_assert_eq(bpf_stream_vprintk(BPF_STDERR, "err %d", &arg, 8, &aux), 0);
	cr_assert_eq(bpf_stream_vprintk(BPF_STDOUT, "out", NULL, 0, &aux), 0);
	bpf_stream_stage(ss, &prog, BPF_STDERR, bpf_stream_printk(ss, "report"));
	cr_assert_eq(bpf_stream_vprintk(3, "x", NULL, 0, &aux), -ENOENT);
	taken = 0;
	copied = 0;
	cr_assert_eq(bpf_prog_stream_drain_records(&prog, BPF_STDOUT, take, NULL, 2), 2);
	cr_assert_eq(bpf_prog_stream_drain_records(&prog, BPF_STDERR, take, NULL, 2), 1);
	cr_assert_eq(bpf_prog_stream_drain_records(&prog, (enum bpf_stream_id)3, take, NULL, 2),
		     -ENOENT);
	check(0, "err 5", LOG_INFO, BPF_STDERR, false);
	check(1, "out", LOG_INFO, BPF_STDOUT, false);
	check(2, "report", LOG_INFO, BPF_STDERR, false);
	bpf_prog_stream_free(&prog);
}

Test(records, program__not_merged_is_two)
{
	static struct bpf_prog_aux aux;
	struct bpf_prog prog = { &aux };

	bpf_prog_stream_init(&prog);
	cr_assert_eq(bpf_stream_vprintk(BPF_STDERR, "err", NULL, 0, &aux), 0);
	cr_assert_eq(bpf_stream_vprintk(BPF_STDOUT, "out", NULL, 0, &aux), 0);
	taken = 0;
	copied = 0;
	cr_assert_eq(bpf_prog_stream_drain_records(&prog, BPF_STDOUT, take, NULL, 9), 1);
	check(0, "out", LOG_INFO, BPF_STDOUT, false);
	bpf_prog_stream_free(&prog);
}
