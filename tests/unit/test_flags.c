/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [6d] LOG: the three flag bits of the log's word. Nobody sets them yet; every
 * operation keeps them, and counts as if they were not there.
 *
 * Seen to fail with: a publish, a detach, or a look at whether a message fits
 * that takes the flags for pending bytes, or drops them; a figure of pending
 * bytes with flags in it.
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

/* The flags are as they were, and @pending and all else is right. */
static void check(size_t pending)
{
	cr_assert_eq(s.log.bse_v & SELFCHECK_FLAGS, selfcheck_flags);
	cr_assert_eq(unit_stats(&s).pending, pending);
	unit_assert_sound(&s);
}

/* @test with each of the flags, and with all. */
static void with_flags(void (*test)(void))
{
	uint64_t flags;

	for (flags = 0; flags <= SELFCHECK_FLAGS; flags += BSE_LOG_PENDING + 1) {
		selfcheck_flags = flags;
		unit_make_stream(&s, CAPACITY);
		s.log.bse_v |= flags;
		test();
		cr_assert_eq(s.log.bse_v & SELFCHECK_FLAGS, flags);
		bpf_stream_destroy(&s);
		cr_assert_eq(s.log.bse_v & SELFCHECK_FLAGS, flags);
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
	check(0);
	hook_pages = 0;
	cr_assert_eq(bpf_stream_push(&s, text, 5), -ENOMEM);
	hook_pages = ~0ul;
	check(0);
	cr_assert_eq(bpf_stream_push(&s, text, CAPACITY - 5), 0);
	cr_assert_eq(bpf_stream_push(&s, text, 6), -ENOSPC);
	cr_assert_eq(bpf_stream_push(&s, text, 200), -ENOSPC);
	check(CAPACITY - 5);
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
	cr_assert_eq(bpf_stream_stage_push(&ss, text, 11), 0);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), -ENOSPC);
	check(CAPACITY - 10);
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
	check(29900);
	cr_assert_eq(bpf_stream_drain_fd(&s, null, 9900), 9900);
	check(20000);
	cr_assert_eq(bpf_stream_try_drain(&s, sink, &first, SIZE_MAX), 20000);
	check(0);
	/* Few enough for the sink's buffer. */
	cr_assert_eq(bpf_stream_push(&s, text, 30), 0);
	cr_assert_eq(bpf_stream_push(&s, text, 40), 0);
	cr_assert_eq(bpf_stream_drain(&s, sink, &first, SIZE_MAX), 70);
	check(0);
	cr_assert_eq(bpf_stream_drain(&s, sink, &first, SIZE_MAX), 0);
	check(0);
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
	check(0);
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), 0);
	check(0);
}

Test(flags, read__in_one_pass_keeps_them)
{
	with_flags(read_all);
}

static void read_parts(void)
{
	fill();
	cr_assert_eq(bpf_stream_read(&s, got, 1), 1);
	check(29999);
	cr_assert_eq(bpf_stream_read(&s, got, 20000), 20000);
	check(9999);
	cr_assert_eq(bpf_stream_push(&s, text, 300), 0);
	check(10299);
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), 10299);
	check(0);
}

Test(flags, read__of_parts_keeps_them)
{
	with_flags(read_parts);
}

static void destroy(void)
{
	fill();
	cr_assert_eq(bpf_stream_read(&s, got, 1000), 1000);
	cr_assert_eq(bpf_stream_push(&s, text, 1000), 0);
	check(30000);
}

Test(flags, destroy__keeps_them)
{
	with_flags(destroy);
}

/* A reader that took 301 bytes is gone, in the middle of a change. */
static void abandon(void)
{
	fill();
	cr_assert_eq(bpf_stream_read(&s, got, 301), 301);
	cr_assert_eq(bpf_stream_push(&s, text, 123), 0);
	/* Its id is of another generation: as after a fork. */
	s.lock.word.bse_v = bse_process.generation + BSE_TID + 2;
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), 123);
	cr_assert_eq(unit_stats(&s).lost, 30000u - 301);
	check(0);
	cr_assert_eq(bpf_stream_push(&s, text, CAPACITY), 0);
	check(CAPACITY);
}

Test(flags, backlog__that_is_abandoned_keeps_them)
{
	uint64_t flags;

	for (flags = 0; flags <= SELFCHECK_FLAGS; flags += BSE_LOG_PENDING + 1) {
		selfcheck_flags = flags;
		unit_make_stream(&s, CAPACITY);
		s.log.bse_v |= flags;
		/* Its elements' pages are lost. */
		abandon();
		bpf_stream_destroy(&s);
		cr_assert_eq(s.log.bse_v & SELFCHECK_FLAGS, flags);
	}
}
