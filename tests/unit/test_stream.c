/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [13] STREAM: push of every length, the least capacity (more in
 * test_capacity.c), refusals and how they are counted, the three prints at
 * their limits, errno, order, statistics. What the formatter writes is tested
 * elsewhere.
 *
 * Seen to fail with the header changed so that: bytes, or messages, of refusals
 * are not counted; what is above the capacity is -ENOSPC; the fit check adds up
 * and wraps; publish stores without comparing; 1023 bytes are too long; a full
 * argument area counts as a full stream; each part of a long message ends one;
 * a message of the whole pool is too big; push sets errno; publish says `>=`.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
#include "unit.h"

#define PAGE BPF_STREAM_PAGE_SIZE

static struct bpf_stream s;
static char text[4u << 20];
static char got[4u << 20];

static void assert_refused(enum bpf_stream_refusal why, uint64_t messages, uint64_t bytes)
{
	struct bpf_stream_stats now = unit_stats(&s);
	unsigned int i;

	for (i = 0; i < BPF_STREAM_REFUSALS; i++) {
		cr_assert_eq(now.refused[i].messages, i == why ? messages : 0,
			     "reason %u: %llu messages", i,
			     (unsigned long long)now.refused[i].messages);
		cr_assert_eq(now.refused[i].bytes, i == why ? bytes : 0,
			     "reason %u: %llu bytes", i,
			     (unsigned long long)now.refused[i].bytes);
	}
}

/* Bytes that differ from message to message and within one. */
static void fill(char *buf, size_t len, size_t seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = (char)(seed * 31 + i + i / 256);
}

Test(stream, push__every_length_up_to_three_pages_comes_back)
{
	struct bpf_stream_pool_stats pool;
	size_t len;

	unit_make_stream(&s, 0);
	for (len = 0; len <= 3 * PAGE; len++) {
		fill(text, len, len);
		cr_assert_eq(bpf_stream_push(&s, text, len), 0);
		cr_assert_eq(unit_stats(&s).pending, len);
		unit_same_length(bpf_stream_read(&s, got, sizeof(got)), len);
		unit_same_bytes(got, text, len);
	}
	bpf_stream_pool_get_stats(&pool);
	cr_expect_leq(pool.in_use, 1);
	unit_assert_sound(&s);
}

Test(stream, push__lengths_may_be_mixed)
{
	size_t len;
	size_t all = 0;

	unit_make_stream(&s, 0);
	for (len = 1; len < 3 * PAGE; len += 61) {
		fill(text + all, len, len);
		cr_assert_eq(bpf_stream_push(&s, text + all, len), 0);
		all += len;
	}
	cr_assert_eq(unit_stats(&s).pending, all);
	unit_assert_sound(&s);
	unit_same_length(bpf_stream_read(&s, got, sizeof(got)), all);
	unit_same_bytes(got, text, all);
}

Test(stream, push__bytes_of_any_value_are_kept)
{
	int c;

	unit_make_stream(&s, 0);
	for (c = 0; c < 256; c++)
		text[c] = (char)c;
	cr_assert_eq(bpf_stream_push(&s, text, 256), 0);
	unit_same_length(bpf_stream_read(&s, got, sizeof(got)), 256);
	unit_same_bytes(got, text, 256);
}

Test(stream, push__capacity_may_be_one_byte)
{
	unit_make_stream(&s, 1);
	cr_expect_eq(bpf_stream_push(&s, "a", 1), 0);
	cr_expect_eq(bpf_stream_push(&s, "b", 1), -ENOSPC);
	cr_expect_eq(bpf_stream_push(&s, "ab", 2), -E2BIG);
	unit_assert_reads(&s, "a");
	cr_expect_eq(bpf_stream_push(&s, "c", 1), 0);
	unit_assert_reads(&s, "c");
}

Test(stream, push__of_nothing_succeeds_even_when_full)
{
	unit_make_stream(&s, 1);
	cr_expect_eq(bpf_stream_push(&s, NULL, 0), 0);
	cr_expect_eq(bpf_stream_push(&s, "a", 1), 0);
	cr_expect_eq(bpf_stream_push(&s, NULL, 0), 0);
	cr_expect_eq(bpf_stream_printf(&s, "%s", ""), 0);
	cr_expect_eq(bpf_stream_bprintf(&s, "", NULL, 0), 0);
	assert_refused(BPF_STREAM_REFUSALS, 0, 0);
	unit_assert_reads(&s, "a");
	cr_expect_eq(unit_stats(&s).delivered.messages, 1);
}

Test(stream, push__full_stream_counts_every_try)
{
	unit_make_stream(&s, 10);
	cr_assert_eq(bpf_stream_push(&s, "12345678", 8), 0);
	cr_expect_eq(bpf_stream_push(&s, "abc", 3), -ENOSPC);
	cr_expect_eq(bpf_stream_push(&s, "abc", 3), -ENOSPC);
	cr_expect_eq(bpf_stream_push(&s, "0123456789", 10), -ENOSPC);
	assert_refused(BPF_STREAM_REFUSED_FULL, 3, 16);
	cr_expect_eq(unit_stats(&s).pending, 8);
	cr_expect_eq(bpf_stream_push(&s, "ab", 2), 0);
	unit_assert_reads(&s, "12345678ab");
}

Test(stream, push__above_the_capacity_is_too_big_at_any_fill)
{
	unit_make_stream(&s, 10);
	cr_expect_eq(bpf_stream_push(&s, text, 11), -E2BIG);
	cr_assert_eq(bpf_stream_push(&s, text, 5), 0);
	cr_expect_eq(bpf_stream_push(&s, text, 11), -E2BIG);
	cr_expect_eq(bpf_stream_push(&s, text, INT_MAX), -E2BIG);
	assert_refused(BPF_STREAM_REFUSED_SIZE, 3, 22u + INT_MAX);
}

Test(stream, push__above_the_pool_is_too_big)
{
	static _Alignas(4096) char region[8 * PAGE];
	size_t most = 7 * BSI_ELEM_MAX;

	cr_assert_eq(bpf_stream_pool_use(region, sizeof(region), 0), 0);
	unit_make_stream(&s, 0);
	cr_expect_eq(bpf_stream_push(&s, text, most + 1), -E2BIG);
	assert_refused(BPF_STREAM_REFUSED_SIZE, 1, most + 1);
	fill(text, most, 0);
	cr_expect_eq(bpf_stream_push(&s, text, most), 0);
	unit_same_length(bpf_stream_read(&s, got, sizeof(got)), most);
	unit_same_bytes(got, text, most);
}

Test(stream, push__length_above_int_max_is_invalid_in_an_empty_stream)
{
	unit_make_stream(&s, 0);
	cr_expect_eq(bpf_stream_push(&s, text, (size_t)INT_MAX + 1), -EINVAL);
	cr_expect_eq(bpf_stream_push(&s, text, SIZE_MAX), -EINVAL);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_INVALID].messages, 2);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_INVALID].bytes, 0);
	cr_expect_eq(unit_stats(&s).pending, 0);
}

/*
 * The sum of the pending bytes and such a length wraps round, and looked as if
 * it fitted: the answer was -E2BIG, or -ENOMEM.
 */
Test(stream, push__length_above_int_max_is_invalid_beside_pending_bytes)
{
	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_push(&s, "here", 4), 0);
	cr_expect_eq(bpf_stream_push(&s, text, SIZE_MAX), -EINVAL);
	cr_expect_eq(bpf_stream_push(&s, text, SIZE_MAX - 3), -EINVAL);
	cr_expect_eq(bpf_stream_push(&s, text, (size_t)INT_MAX + 1), -EINVAL);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_INVALID].messages, 3);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_INVALID].bytes, 0);
	cr_expect_eq(unit_stats(&s).pending, 4);
}

Test(stream, push__no_page_is_counted_and_nothing_stored)
{
	unit_make_stream(&s, 0);
	hook_pages = 0;
	cr_expect_eq(bpf_stream_push(&s, "abc", 3), -ENOMEM);
	hook_pages = 1;
	cr_expect_eq(bpf_stream_push(&s, text, 2 * PAGE), -ENOMEM);
	assert_refused(BPF_STREAM_REFUSED_POOL, 2, 3 + 2 * PAGE);
	cr_expect_eq(unit_stats(&s).pending, 0);
	hook_pages = ~0ul;
	unit_assert_reads(&s, "");
	unit_assert_sound(&s);
}

static void push_inner(enum hook_point point)
{
	if (point != HOOK_PUBLISHING)
		return;
	hook = NULL;
	cr_expect_eq(bpf_stream_push(&s, "inner;", 6), 0);
}

Test(stream, push__of_a_handler_comes_before_what_is_not_yet_published)
{
	unit_make_stream(&s, 0);
	cr_expect_eq(bpf_stream_push(&s, "first;", 6), 0);
	hook = push_inner;
	cr_expect_eq(bpf_stream_push(&s, "outer;", 6), 0);
	unit_assert_reads(&s, "first;inner;outer;");
}

Test(stream, push__errno_is_kept)
{
	unit_make_stream(&s, 8);
	errno = ELOOP;
	cr_expect_eq(bpf_stream_push(&s, "abcd", 4), 0);
	cr_expect_eq(bpf_stream_printf(&s, "%d", 1), 0);
	cr_expect_eq(bpf_stream_push(&s, "abcd", 4), -ENOSPC);
	cr_expect_eq(bpf_stream_push(&s, text, 9), -E2BIG);
	cr_expect_eq(bpf_stream_bprintf(&s, "%d", NULL, 0), -EINVAL);
	bpf_stream_thread_release();
	cr_expect_eq(errno, ELOOP);
}

Test(stream, push__of_two_streams_do_not_mix)
{
	struct bpf_stream other;
	int i;

	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_init(&other, NULL), 0);
	for (i = 0; i < 10; i++) {
		cr_assert_eq(bpf_stream_printf(&s, "a%d", i), 0);
		cr_assert_eq(bpf_stream_printf(&other, "b%d", i), 0);
	}
	unit_assert_reads(&s, "a0a1a2a3a4a5a6a7a8a9");
	unit_same_length(bpf_stream_read(&other, got, sizeof(got)), 20);
	unit_same_bytes(got, "b0b1b2b3b4b5b6b7b8b9", 20);
}

Test(stream, printf__longest_text_is_1023_bytes)
{
	size_t i;

	unit_make_stream(&s, 0);
	cr_expect_eq(bpf_stream_printf(&s, "%1023d", 7), 0);
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), 1023);
	for (i = 0; i < 1022; i++)
		cr_assert_eq(got[i], ' ');
	cr_expect_eq(got[1022], '7');
	cr_expect_eq(bpf_stream_printf(&s, "%1024d", 7), -E2BIG);
	assert_refused(BPF_STREAM_REFUSED_SIZE, 1, 1024);
	cr_expect_eq(unit_stats(&s).pending, 0);
}

Test(stream, printf__bad_format_stores_and_counts_no_bytes)
{
	const char *bad = "before %n after";
	int n = 5;

	unit_make_stream(&s, 0);
	cr_expect_eq(bpf_stream_printf(&s, bad, &n), -EINVAL);
	cr_expect_eq(n, 5);
	assert_refused(BPF_STREAM_REFUSED_INVALID, 1, 0);
	unit_assert_reads(&s, "");
}

static int call_vprintf(const char *fmt, ...)
{
	va_list ap;
	int err;

	va_start(ap, fmt);
	err = bpf_stream_vprintf(&s, fmt, ap);
	va_end(ap);
	return err;
}

Test(stream, vprintf__does_what_printf_does)
{
	unit_make_stream(&s, 0);
	cr_expect_eq(call_vprintf("%s=%d;", "a", 1), 0);
	cr_expect_eq(bpf_stream_printf(&s, "%s=%d;", "b", 2), 0);
	unit_assert_reads(&s, "a=1;b=2;");
	cr_expect_eq(call_vprintf("%1023d", 7), 0);
	cr_expect_eq(call_vprintf("%1024d", 7), -E2BIG);
	cr_expect_eq(unit_stats(&s).pending, 1023);
	assert_refused(BPF_STREAM_REFUSED_SIZE, 1, 1024);
}

Test(stream, bprintf__longest_text_is_1023_bytes)
{
	const uint64_t arg = 7;

	unit_make_stream(&s, 0);
	cr_expect_eq(bpf_stream_bprintf(&s, "%1023d", &arg, 8), 0);
	cr_expect_eq(unit_stats(&s).pending, 1023);
	cr_expect_eq(bpf_stream_bprintf(&s, "%1024d", &arg, 8), -E2BIG);
	cr_expect_eq(unit_stats(&s).pending, 1023);
	assert_refused(BPF_STREAM_REFUSED_SIZE, 1, 1024);
}

Test(stream, bprintf__length_of_the_arguments_is_checked)
{
	const uint64_t args[13] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 };

	unit_make_stream(&s, 0);
	cr_expect_eq(bpf_stream_bprintf(&s, "%d", NULL, 8), -EINVAL);
	cr_expect_eq(bpf_stream_bprintf(&s, "%d", args, 7), -EINVAL);
	cr_expect_eq(bpf_stream_bprintf(&s, "%d", args, 9), -EINVAL);
	cr_expect_eq(bpf_stream_bprintf(&s, "%d", args, 104), -EINVAL);
	cr_expect_eq(bpf_stream_bprintf(&s, "%d %d", args, 8), -EINVAL);
	assert_refused(BPF_STREAM_REFUSED_INVALID, 5, 0);
	cr_expect_eq(bpf_stream_bprintf(&s, "%d %d;", args, 96), 0);
	cr_expect_eq(bpf_stream_bprintf(&s, "plain", NULL, 0), 0);
	unit_assert_reads(&s, "1 2;plain");
}

/* Not the stream is full but the argument area: retrying does not help. */
Test(stream, bprintf__full_argument_area_is_counted_as_invalid)
{
	const uint64_t args[2] = { (uintptr_t)text, 5 };

	unit_make_stream(&s, 0);
	memset(text, 'x', 600);
	cr_expect_eq(bpf_stream_bprintf(&s, "%s %d", args, 16), -ENOSPC);
	assert_refused(BPF_STREAM_REFUSED_INVALID, 1, 0);
}

Test(stream, print__full_stream_refuses_the_whole_text)
{
	const uint64_t arg = 12345;

	unit_make_stream(&s, 4);
	cr_assert_eq(bpf_stream_printf(&s, "%d", 12), 0);
	cr_expect_eq(bpf_stream_printf(&s, "%d", 123), -ENOSPC);
	cr_expect_eq(bpf_stream_bprintf(&s, "%d", &arg, 8), -E2BIG);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_FULL].messages, 1);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_FULL].bytes, 3);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_SIZE].messages, 1);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_SIZE].bytes, 5);
	unit_assert_reads(&s, "12");
}

Test(stream, get_stats__follow_a_message_through_its_life)
{
	unit_make_stream(&s, 5 * PAGE);
	cr_expect_eq(unit_stats(&s).capacity, 5 * PAGE);
	cr_expect_eq(bpf_stream_push(&s, "abc", 3), 0);
	cr_expect_eq(bpf_stream_push(&s, text, 2 * PAGE), 0);
	cr_expect_eq(unit_stats(&s).pending, 3 + 2 * PAGE);
	cr_expect_eq(unit_stats(&s).delivered.messages, 0);
	cr_expect_eq(bpf_stream_read(&s, got, 2), 2);
	cr_expect_eq(unit_stats(&s).pending, 1 + 2 * PAGE);
	cr_expect_eq(unit_stats(&s).delivered.messages, 0);
	cr_expect_eq(unit_stats(&s).delivered.bytes, 2);
	cr_expect_eq(bpf_stream_read(&s, got, PAGE + 1), (int)PAGE + 1);
	cr_expect_eq(unit_stats(&s).delivered.messages, 1);
	cr_expect_eq(bpf_stream_read(&s, got, PAGE), (int)PAGE);
	cr_expect_eq(unit_stats(&s).delivered.messages, 2);
	cr_expect_eq(unit_stats(&s).delivered.bytes, 3 + 2 * PAGE);
	cr_expect_eq(unit_stats(&s).pending, 0);
	assert_refused(BPF_STREAM_REFUSALS, 0, 0);
}

/* Four writers and one reader: each writer's numbers come out in order. */
#define WRITERS 4u
#define NUMBERS 20000u

static void *write_numbers(void *ctx)
{
	uint32_t message[2] = { *(const uint32_t *)ctx, 0 };

	while (message[1] < NUMBERS) {
		if (!bpf_stream_push(&s, message, sizeof(message)))
			message[1]++;
	}
	return NULL;
}

Test(stream, push__order_of_each_thread_is_kept)
{
	pthread_t thread[WRITERS];
	uint32_t id[WRITERS];
	uint32_t next[WRITERS] = { 0 };
	uint32_t message[512][2];
	unsigned int seen = 0;
	unsigned int i;
	int len;

	unit_make_stream(&s, 8192);
	for (i = 0; i < WRITERS; i++) {
		id[i] = i;
		unit_start(&thread[i], write_numbers, &id[i]);
	}
	while (seen < WRITERS * NUMBERS) {
		len = bpf_stream_read(&s, message, sizeof(message));
		cr_assert_geq(len, 0);
		cr_assert_eq((size_t)len % sizeof(message[0]), 0);
		for (i = 0; i < (size_t)len / sizeof(message[0]); i++) {
			cr_assert_lt(message[i][0], WRITERS);
			cr_assert_eq(message[i][1], next[message[i][0]]);
			next[message[i][0]]++;
			seen++;
		}
	}
	for (i = 0; i < WRITERS; i++)
		unit_join(thread[i]);
	cr_expect_eq(unit_stats(&s).pending, 0);
	cr_expect_eq(unit_stats(&s).delivered.messages, WRITERS * NUMBERS);
	unit_assert_sound(&s);
}
