/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [6d] LOG: the three flag bits of the log's word. Every operation counts as if
 * they were not there, and keeps them, but that a publish takes READER_WAITS
 * away, a refund ROOM_WAITED, and that nothing is published if it is CLOSED.
 *
 * Seen to fail with: a publish, a detach, or a look at whether a message fits
 * that takes the flags for pending bytes, or drops them; a figure of pending
 * bytes with flags in it; a publish in parts, or of a stage, or a refund, that
 * leaves its flag; a publish that another one beats and that does not look at
 * CLOSED again.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
#include "unit.h"
#include <fcntl.h>

#define CAPACITY 40000u

static struct bpf_stream s;
static char text[2 * CAPACITY];
static char got[2 * CAPACITY];

#define FLAGS ((uint64_t)BSE_LOG_READER_WAITS | BSE_LOG_ROOM_WAITED | BSE_LOG_CLOSED)

/* The flags that were set. */
static uint64_t flags;

/* They are there but for those that went; @pending and all else is right. */
static void check_without(size_t pending, uint64_t gone)
{
	cr_assert_eq(s.log.bse_v & FLAGS, flags & ~gone);
	cr_assert_eq(unit_stats(&s).pending, pending);
	unit_assert_sound(&s);
}

/* Something was published. */
static void check(size_t pending)
{
	check_without(pending, BSE_LOG_READER_WAITS);
	s.log.bse_v |= flags;
}

/* Something was read. */
static void check_read(size_t pending)
{
	check_without(pending, BSE_LOG_ROOM_WAITED);
	s.log.bse_v |= flags;
}

/* @test with none of the flags that a writer may meet, with each, and with both. */
static void with_flags(void (*test)(void))
{
	for (flags = 0; flags < BSE_LOG_CLOSED; flags += BSE_LOG_PENDING + 1) {
		unit_make_stream(&s, CAPACITY);
		s.log.bse_v |= flags;
		test();
		bpf_stream_destroy(&s);
		cr_assert_eq(s.log.bse_v, 0u);
		bpf_stream_thread_release();
		cr_assert_eq(unit_pages_in_use(), 0u);
	}
}

static void push(void)
{
	cr_assert_eq(bpf_stream_push(&s, text, 1), 0);
	check(1);
	cr_assert_eq(bpf_stream_push(&s, text, 200), 0);
	check(201);
	cr_assert_eq(bpf_stream_push(&s, text, 10000), 0);
	check(10201);
	cr_assert_eq(bpf_stream_printf(&s, "%d", 12345), 0);
	check(10206);
	/* Up to the last byte. */
	cr_assert_eq(bpf_stream_push(&s, text, CAPACITY - 10206), 0);
	check(CAPACITY);
}

Test(flags, push__keeps_them)
{
	with_flags(push);
}

static void take_room(enum hook_point point)
{
	if (point != HOOK_PUBLISHING)
		return;
	hook = NULL;
	cr_assert_eq(bpf_stream_push(&s, "x", 1), 0);
}

static void failed_push(void)
{
	cr_assert_eq(bpf_stream_push(&s, text, CAPACITY + 1), -E2BIG);
	check_without(0, 0);
	hook_pages = 0;
	cr_assert_eq(bpf_stream_push(&s, text, 5), -ENOMEM);
	hook_pages = ~0ul;
	check_without(0, 0);
	cr_assert_eq(bpf_stream_push(&s, text, CAPACITY - 5), 0);
	check(CAPACITY - 5);
	cr_assert_eq(bpf_stream_push(&s, text, 6), -ENOSPC);
	cr_assert_eq(bpf_stream_push(&s, text, 200), -ENOSPC);
	check_without(CAPACITY - 5, 0);
	hook = take_room;
	cr_assert_eq(bpf_stream_push(&s, text, 5), -ENOSPC);
	check(CAPACITY - 4);
}

Test(flags, push__that_fails_keeps_them)
{
	with_flags(failed_push);
}

static void commit(void)
{
	struct bpf_stream_stage ss;

	bpf_stream_stage_init(&ss);
	cr_assert_eq(bpf_stream_stage_push(&ss, text, 5000), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, text, 7), 0);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	check(5007);
	cr_assert_eq(bpf_stream_stage_push(&ss, text, CAPACITY - 5007), 0);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	check(CAPACITY);
}

Test(flags, stage_commit__keeps_them)
{
	with_flags(commit);
}

static void failed_commit(void)
{
	struct bpf_stream_stage ss;

	bpf_stream_stage_init(&ss);
	cr_assert_eq(bpf_stream_push(&s, text, CAPACITY - 10), 0);
	check(CAPACITY - 10);
	cr_assert_eq(bpf_stream_stage_push(&ss, text, 11), 0);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), -ENOSPC);
	check_without(CAPACITY - 10, 0);
	bpf_stream_stage_free(&ss);
	cr_assert_eq(bpf_stream_stage_push(&ss, text, 10), 0);
	hook = take_room;
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), -ENOSPC);
	check(CAPACITY - 9);
	bpf_stream_stage_free(&ss);
}

Test(flags, stage_commit__that_fails_keeps_them)
{
	with_flags(failed_commit);
}

static void fill(void)
{
	int i;

	for (i = 0; i < 100; i++)
		cr_assert_eq(bpf_stream_push(&s, text, 300), 0);
	check(30000);
}

/* Less than is offered at the first call, then all. */
static int sink(void *ctx, const void *data, size_t len)
{
	size_t *first = ctx;
	size_t take = *first && *first < len ? *first : len;

	(void)data;
	*first = 0;
	return (int)take;
}

static void drain(void)
{
	size_t first = 100;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	fill();
	cr_assert_eq(bpf_stream_drain(&s, sink, &first, SIZE_MAX), 100);
	check_read(29900);
	cr_assert_eq(bpf_stream_drain_fd(&s, null, 9900), 9900);
	check_read(20000);
	cr_assert_eq(bpf_stream_try_drain(&s, sink, &first, SIZE_MAX), 20000);
	check_read(0);
	/* Few enough for the sink's buffer. */
	cr_assert_eq(bpf_stream_push(&s, text, 30), 0);
	cr_assert_eq(bpf_stream_push(&s, text, 40), 0);
	check(70);
	cr_assert_eq(bpf_stream_drain(&s, sink, &first, SIZE_MAX), 70);
	check_read(0);
	cr_assert_eq(bpf_stream_drain(&s, sink, &first, SIZE_MAX), 0);
	check_without(0, 0);
	close(null);
}

Test(flags, drain__keeps_them)
{
	with_flags(drain);
}

static void read_all(void)
{
	fill();
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), 30000);
	check_read(0);
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), 0);
	check_without(0, 0);
}

Test(flags, read__in_one_pass_keeps_them)
{
	with_flags(read_all);
}

static void read_parts(void)
{
	fill();
	cr_assert_eq(bpf_stream_read(&s, got, 1), 1);
	check_read(29999);
	cr_assert_eq(bpf_stream_read(&s, got, 20000), 20000);
	check_read(9999);
	cr_assert_eq(bpf_stream_push(&s, text, 300), 0);
	check(10299);
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), 10299);
	check_read(0);
}

Test(flags, read__of_parts_keeps_them)
{
	with_flags(read_parts);
}

static void destroy(void)
{
	fill();
	cr_assert_eq(bpf_stream_read(&s, got, 1000), 1000);
	check_read(29000);
	cr_assert_eq(bpf_stream_push(&s, text, 1000), 0);
	check(30000);
}

Test(flags, destroy__clears_them)
{
	with_flags(destroy);
}

/* A reader that took 301 bytes is gone, in the middle of a change. */
static void abandon(void)
{
	fill();
	cr_assert_eq(bpf_stream_read(&s, got, 301), 301);
	check_read(29699);
	cr_assert_eq(bpf_stream_push(&s, text, 123), 0);
	check(29822);
	/* Its id is of another generation: as after a fork. */
	s.lock.word.bse_v = bse_process.generation + BSE_TID + 2;
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), 123);
	cr_assert_eq(unit_stats(&s).lost, 30000u - 301);
	check_read(0);
	cr_assert_eq(bpf_stream_push(&s, text, CAPACITY), 0);
	check(CAPACITY);
}

Test(flags, backlog__that_is_abandoned_keeps_them)
{
	for (flags = 0; flags < BSE_LOG_CLOSED; flags += BSE_LOG_PENDING + 1) {
		unit_make_stream(&s, CAPACITY);
		s.log.bse_v |= flags;
		/* Its elements' pages are lost. */
		abandon();
		bpf_stream_destroy(&s);
		cr_assert_eq(s.log.bse_v, 0u);
	}
}

static void close_now(enum hook_point point)
{
	if (point != HOOK_PUBLISHING)
		return;
	hook = NULL;
	bpf_stream_close(&s);
}

/* Each way in, in a stream that is closed before, or just before the publish. */
static void refused(int way)
{
	struct bpf_stream_stage ss;
	const size_t len = way == 0 ? 5 : way == 1 ? 300 : 9000;
	int ret;

	bpf_stream_stage_init(&ss);
	cr_assert_eq(bpf_stream_stage_push(&ss, text, len), 0);
	hook = close_now;
	ret = way < 3 ? bpf_stream_push(&s, text, len) : bpf_stream_stage_commit_to(&ss, &s);
	cr_assert_eq(ret, -EPIPE);
	check_without(0, 0);
	ret = way < 3 ? bpf_stream_push(&s, text, len) : bpf_stream_stage_commit_to(&ss, &s);
	cr_assert_eq(ret, -EPIPE);
	check_without(0, 0);
	bpf_stream_stage_free(&ss);
	cr_assert_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_CLOSED].messages, 2u);
	cr_assert_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_CLOSED].bytes, 2 * len);
}

Test(flags, closed__refuses_all_and_is_kept)
{
	int way;

	flags = BSE_LOG_CLOSED;
	for (way = 0; way < 4; way++) {
		unit_make_stream(&s, CAPACITY);
		refused(way);
		bpf_stream_destroy(&s);
		bpf_stream_thread_release();
		cr_assert_eq(unit_pages_in_use(), 0u);
		cr_assert_eq(bpf_stream_push(&s, text, 5), 0);
		bpf_stream_destroy(&s);
	}
}

Test(flags, closed__lets_readers_have_the_rest)
{
	unit_make_stream(&s, CAPACITY);
	flags = BSE_LOG_CLOSED;
	cr_assert_eq(bpf_stream_push(&s, text, 500), 0);
	cr_assert_eq(bpf_stream_push(&s, text, 500), 0);
	bpf_stream_close(&s);
	bpf_stream_close(&s);
	cr_assert_eq(bpf_stream_read(&s, got, 300), 300);
	check_without(700, 0);
	cr_assert_eq(bpf_stream_read(&s, got, 0), 0);
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), 700);
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), -ESHUTDOWN);
	cr_assert_eq(bpf_stream_try_drain(&s, sink, &(size_t){ 0 }, SIZE_MAX), -ESHUTDOWN);
	cr_assert_eq(bpf_stream_drain_fd(&s, 1, SIZE_MAX), -ESHUTDOWN);
	check_without(0, 0);
	bpf_stream_destroy(&s);
}
