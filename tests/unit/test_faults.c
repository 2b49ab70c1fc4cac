/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What happens when things go wrong at every possible place: no page for the
 * k-th request, no room at the moment of publishing, a sink that takes less.
 * Nothing leaks, all is counted, and it goes on.
 *
 * Seen to fail with: a split or a refused publish that keeps its elements; a
 * failed turn that keeps the slot, or the quota; refusals not counted; a stage
 * emptied by a failed commit; a short count that loses the rest, or does not end
 * the drain; a claim of too much believed; a sink's error told though bytes were
 * taken; a consumed length that starts over in every call.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_SELFCHECK 1
#define BPF_STREAM_ENV_HEADER "faults_env.h"
#include "bpf_stream.h"
#include "unit.h"
#include <fcntl.h>

/* Messages of every kind of size; the longest takes eleven pages. */
static const size_t size[] = { 1, 64, 4000, 4084, 4085, 8168, 8169, 20000, 43000 };

#define SIZES (sizeof(size) / sizeof(size[0]))

static char text[64 * 1024];
static char got[64 * 1024];

/* All of @s comes back as @len bytes of @text, and no page stays in use. */
static void check_drained(struct bpf_stream *s, size_t len)
{
	unit_assert_sound(s);
	cr_assert_eq(bpf_stream_read(s, got, sizeof(got)), (int)len);
	cr_assert_eq(memcmp(got, text, len), 0);
	cr_assert_eq(unit_stats(s).pending, 0u);
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
	if (bse_pool_known())
		cr_assert_eq(bse_u32_load_relaxed(&bse_pool_known()->kept), 0u);
	unit_assert_sound(s);
}

Test(faults, push__no_page_for_any_request_leaks_nothing)
{
	struct bpf_stream_stats stats;
	struct bpf_stream s;
	uint64_t refused = 0;
	uint64_t bytes = 0;
	uint64_t denied;
	unsigned int i;
	int err;

	unit_fill(text, sizeof(text));
	bpf_stream_init(&s, NULL);
	for (i = 0; i < SIZES; i++) {
		denied = 0;
		do {
			faults.deny_page = ++denied;
			err = bpf_stream_push(&s, text, size[i]);
			faults.deny_page = 0;
			if (err) {
				cr_assert_eq(err, -ENOMEM);
				refused++;
				bytes += size[i];
				check_drained(&s, 0);
			}
		} while (err);
		/* Denied were the requests of all its pages, one after the other. */
		cr_assert_eq(denied - 1, (size[i] + BSI_ELEM_MAX - 1) / BSI_ELEM_MAX);
		check_drained(&s, size[i]);
	}
	stats = unit_stats(&s);
	cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_POOL].messages, refused);
	cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_POOL].bytes, bytes);
	cr_assert_eq(stats.delivered.messages, SIZES);
}

Test(faults, push__no_page_between_others_keeps_these)
{
	struct bpf_stream s;
	uint64_t k;

	unit_fill(text, sizeof(text));
	bpf_stream_init(&s, NULL);
	for (k = 1; k <= 5; k++) {
		cr_assert_eq(bpf_stream_push(&s, text, 100), 0);
		faults.deny_page = k;
		cr_assert_eq(bpf_stream_push(&s, text, 20000), -ENOMEM);
		cr_assert_eq(bpf_stream_push(&s, text + 100, 5000), 0);
		check_drained(&s, 5100);
	}
}

Test(faults, stage_push__no_page_keeps_the_stage)
{
	struct bpf_stream_stage ss;
	struct bpf_stream s;
	uint64_t k;

	unit_fill(text, sizeof(text));
	bpf_stream_init(&s, NULL);
	for (k = 1; k <= 5; k++) {
		bpf_stream_stage_init(&ss);
		cr_assert_eq(bpf_stream_stage_push(&ss, text, 100), 0);
		faults.deny_page = k;
		cr_assert_eq(bpf_stream_stage_push(&ss, text, 20000), -ENOMEM);
		cr_assert_eq(bpf_stream_stage_push(&ss, text + 100, 20000), 0);
		cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
		check_drained(&s, 20100);
	}
	/* No stream was there to count it in. */
	cr_assert_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_POOL].messages, 0u);
}

Test(faults, push__no_room_at_the_last_moment_gives_all_back)
{
	struct bpf_stream_stats stats;
	struct bpf_stream s;
	uint64_t bytes = 0;
	unsigned int i;

	unit_fill(text, sizeof(text));
	bpf_stream_init(&s, NULL);
	faults.fail_publish = true;
	for (i = 0; i < SIZES; i++) {
		cr_assert_eq(bpf_stream_push(&s, text, size[i]), -ENOSPC);
		bytes += size[i];
		stats = unit_stats(&s);
		cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_FULL].messages, i + 1);
		cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_FULL].bytes, bytes);
		check_drained(&s, 0);
		cr_assert_eq(bpf_stream_push(&s, text, size[i]), 0);
		check_drained(&s, size[i]);
	}
}

Test(faults, push__refused_a_million_times_at_the_last_moment_takes_one_page)
{
	struct bpf_stream_pool_stats pool;
	struct bpf_stream s;
	uint32_t i;

	bpf_stream_init(&s, NULL);
	faults.fail_publish = true;
	for (i = 0; i < 1000000; i++) {
		faults.publish_failed = false;
		cr_assert_eq(bpf_stream_push(&s, text, 64), -ENOSPC);
	}
	bpf_stream_pool_get_stats(&pool);
	cr_assert_eq(pool.in_use, 1u);
	cr_assert_eq(pool.highest, 1u);
}

Test(faults, stage_commit__no_room_at_the_last_moment_keeps_the_stage)
{
	struct bpf_stream_stats stats;
	struct bpf_stream_stage ss;
	struct bpf_stream s;

	unit_fill(text, sizeof(text));
	bpf_stream_init(&s, NULL);
	bpf_stream_stage_init(&ss);
	cr_assert_eq(bpf_stream_stage_push(&ss, text, 5000), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, text + 5000, 1), 0);
	faults.fail_publish = true;
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), -ENOSPC);
	cr_assert_eq(ss.len, 5001u);
	stats = unit_stats(&s);
	cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_FULL].messages, 2u);
	cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_FULL].bytes, 5001u);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	cr_assert_eq(ss.len, 0u);
	check_drained(&s, 5001);
}

/* Reads until nothing comes, into @got. */
static size_t read_on(struct bpf_stream *s)
{
	size_t len = 0;
	int ret;

	do {
		ret = bpf_stream_read(s, got + len, sizeof(got) - len);
		cr_assert_geq(ret, 0);
		len += (size_t)ret;
		unit_assert_sound(s);
	} while (ret);
	return len;
}

/* Messages of 1, 38, 75, ... bytes, some hundred of them; how many bytes. */
static size_t push_many(struct bpf_stream *s)
{
	size_t at = 0;
	size_t len;

	for (len = 1; at + len <= 30000; len = len * 37 % 401 + 1) {
		cr_assert_eq(bpf_stream_push(s, text + at, len), 0);
		at += len;
	}
	return at;
}

Test(faults, read__a_short_take_anywhere_loses_nothing)
{
	struct bpf_stream s;
	size_t first;
	size_t len;
	uint64_t k;

	unit_fill(text, sizeof(text));
	bpf_stream_init(&s, NULL);
	for (k = 1; k <= 4; k++) {
		len = push_many(&s);
		faults.short_take = k;
		/* Half of one byte is none. */
		first = k == 1 ? 0 : 1;
		cr_assert_eq(bpf_stream_read(&s, got, 1), (int)first);
		cr_assert_eq(memcmp(got, text, first), 0);
		cr_assert_eq(read_on(&s), len - first);
		cr_assert_eq(memcmp(got, text + first, len - first), 0);
		cr_assert_eq(faults.short_take, 0u);
		check_drained(&s, 0);
	}
}

Test(faults, drain_fd__a_short_write_anywhere_loses_nothing)
{
	struct bpf_stream s;
	size_t len;
	uint64_t k;
	int fd[2];

	unit_fill(text, sizeof(text));
	bpf_stream_init(&s, NULL);
	cr_assert_eq(pipe(fd), 0);
	for (k = 1; k <= 3; k++) {
		size_t done = 0;
		uint32_t calls = 0;
		int ret;

		len = push_many(&s);
		faults.short_take = k;
		do {
			ret = bpf_stream_drain_fd(&s, fd[1], SIZE_MAX);
			cr_assert_geq(ret, 0);
			if (ret)
				cr_assert_eq(read(fd[0], got + done, (size_t)ret), ret);
			done += (size_t)ret;
			calls++;
			unit_assert_sound(&s);
		} while (done < len && calls < 9);
		cr_assert_eq(done, len);
		cr_assert_eq(calls, 2u);
		cr_assert_eq(memcmp(got, text, len), 0);
		check_drained(&s, 0);
	}
}

/* A sink that takes all, until its @fall_short-th call; then @answer. */
struct sink {
	size_t len;
	uint32_t calls;
	uint32_t fall_short;
	int answer;		/* more than what was offered: half of it */
};

static int sink_take(void *ctx, const void *data, size_t len)
{
	struct sink *sink = ctx;

	if (++sink->calls == sink->fall_short) {
		if (sink->answer < 0)
			return sink->answer;
		len = (size_t)sink->answer < len ? (size_t)sink->answer : len / 2;
	}
	memcpy(got + sink->len, data, len);
	sink->len += len;
	return (int)len;
}

/* Drains @s with a sink that falls short once, at every call; then the rest. */
static void check_sink(int answer)
{
	struct bpf_stream s;
	uint32_t k;
	size_t len;
	bool fell = true;

	unit_fill(text, sizeof(text));
	bpf_stream_init(&s, NULL);
	for (k = 1; fell; k++) {
		struct sink sink = { .fall_short = k, .answer = answer };
		struct bpf_stream_stats before = unit_stats(&s);
		int ret;

		len = push_many(&s);
		ret = bpf_stream_drain(&s, sink_take, &sink, SIZE_MAX);
		fell = sink.calls >= k;
		if (!fell)
			cr_assert_eq(ret, (int)len);
		else if (!sink.len && answer < 0)
			cr_assert_eq(ret, answer);
		else
			cr_assert_eq(ret, (int)sink.len);
		cr_assert_eq(unit_stats(&s).pending, len - sink.len);
		cr_assert_eq(unit_stats(&s).delivered.bytes - before.delivered.bytes, sink.len);
		unit_assert_sound(&s);
		bpf_stream_drain(&s, sink_take, &sink, SIZE_MAX);
		cr_assert_eq(sink.len, len);
		cr_assert_eq(memcmp(got, text, len), 0);
		check_drained(&s, 0);
	}
	cr_assert_gt(k, 10u);
}

Test(faults, drain__a_sink_that_takes_nothing_once_loses_nothing)
{
	check_sink(0);
}

Test(faults, drain__a_sink_that_takes_one_byte_once_loses_nothing)
{
	check_sink(1);
}

Test(faults, drain__a_sink_that_takes_half_once_loses_nothing)
{
	check_sink(INT_MAX);
}

Test(faults, drain__a_sink_that_fails_once_loses_nothing)
{
	check_sink(-EIO);
}

/* More bytes than it was offered. */
static int sink_lie(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	return (int)len + 1;
}

Test(faults, drain__a_sink_that_claims_too_much_takes_nothing)
{
	struct bpf_stream s;

	unit_fill(text, sizeof(text));
	bpf_stream_init(&s, NULL);
	cr_assert_eq(bpf_stream_push(&s, text, 100), 0);
	cr_assert_eq(bpf_stream_push(&s, text + 100, 100), 0);
	cr_assert_eq(bpf_stream_drain(&s, sink_lie, NULL, SIZE_MAX), -EINVAL);
	check_drained(&s, 200);
}

/* Some of everything fails, again and again, and the books still balance. */
Test(faults, all__mixed_keeps_the_books)
{
	struct bpf_stream_options opts = { .capacity = 50000 };
	struct bpf_stream_stats stats;
	struct bpf_stream s;
	uint64_t accepted = 0;
	uint64_t refused = 0;
	uint64_t taken = 0;
	uint32_t seed = 12345;
	uint32_t i;
	int ret;

	bpf_stream_init(&s, &opts);
	for (i = 0; i < 100000; i++) {
		size_t len = size[(seed = seed * 1103515245u + 12345u) / 65536 % SIZES];

		faults.deny_page = i % 7 == 3 ? 1 + i % 5 : 0;
		faults.fail_publish = i % 11 == 5;
		faults.short_take = i % 13 == 7 ? 1 + i % 3 : 0;
		if (bpf_stream_push(&s, text, len))
			refused += len;
		else
			accepted += len;
		ret = bpf_stream_read(&s, got, (seed / 7) % 30000);
		cr_assert_geq(ret, 0);
		taken += (uint64_t)ret;
		if (i % 64 == 0)
			unit_assert_sound(&s);
	}
	stats = unit_stats(&s);
	cr_assert_eq(accepted, taken + stats.pending);
	cr_assert_eq(stats.delivered.bytes, taken);
	cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_FULL].bytes +
		     stats.refused[BPF_STREAM_REFUSED_POOL].bytes, refused);
	cr_assert_gt(stats.refused[BPF_STREAM_REFUSED_FULL].messages, 1000u);
	cr_assert_gt(stats.refused[BPF_STREAM_REFUSED_POOL].messages, 1000u);
	faults.short_take = 0;
	read_on(&s);
	check_drained(&s, 0);
}
