/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [15] READER: reads and drains of any size, sinks that take less, fail, lie
 * or push, file descriptors of every mood, and who may read beside whom.
 *
 * Seen to fail with the header changed so that: nothing is flushed before a
 * sink is called; the list is not reversed; consumed bytes are offered again; a
 * sink that claims too much is believed, or clipped; a drain is not bounded by
 * what was pending, or by its maximum; the last piece is not cut; an error wins
 * over progress; a short sink is called again; the log is taken before the
 * backlog is empty; nothing is gathered; there is no -EDEADLK; nobody is woken;
 * try waits, the other does not; the lock lets everybody in; cancellation stays
 * on; length 0 reads; drain_fd loses errno, or the error; who waited does not
 * mark the lock for those who may still wait; the lock is free before it has
 * forgotten its owner.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
#include "unit.h"
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>

#define PAGE BPF_STREAM_PAGE_SIZE

static struct bpf_stream s;
static char text[1u << 20];
static char got[1u << 20];

static void push_text(const char *str)
{
	cr_assert_eq(bpf_stream_push(&s, str, strlen(str)), 0);
}

/* Messages of 1, 2, 3, ... bytes with @all bytes together, also in text[]. */
static void push_many(size_t all)
{
	size_t len = 1;
	size_t at;
	size_t i;

	for (i = 0; i < all; i++)
		text[i] = (char)(i * 7 + i / 256);
	for (at = 0; at < all; at += len++) {
		if (len > all - at)
			len = all - at;
		cr_assert_eq(bpf_stream_push(&s, text + at, len), 0);
	}
}

/* ---- reading --------------------------------------------------------- */

Test(reader, read__may_split_messages_anywhere)
{
	static const char whole[] = "abcdefghijklm";
	int split;
	int rest;

	unit_make_stream(&s, 0);
	for (split = 1; split < 13; split++) {
		rest = 13 - split;
		push_text("abcd");
		push_text("e");
		push_text("fgh");
		push_text("ijklm");
		cr_assert_eq(bpf_stream_read(&s, got, (size_t)split), split);
		cr_assert_eq(unit_stats(&s).pending, (size_t)rest);
		unit_assert_sound(&s);
		unit_same_length(bpf_stream_read(&s, got + split, sizeof(got) - 13), rest);
		unit_same_bytes(got, whole, 13);
	}
	cr_expect_eq(unit_stats(&s).delivered.messages, 12 * 4);
}

Test(reader, read__pieces_of_every_size_give_the_same_bytes)
{
	size_t piece;
	size_t all = 3 * PAGE + 77;
	size_t at;
	const char *differs;
	int len;

	unit_make_stream(&s, 0);
	for (piece = 1; piece < 2 * PAGE; piece = piece * 4 / 3 + 1) {
		push_many(all);
		memset(got, 0, all);
		for (at = 0; (len = bpf_stream_read(&s, got + at, piece)) > 0; at += (size_t)len)
			cr_assert_eq((size_t)len, all - at < piece ? all - at : piece);
		cr_assert_eq(at, all);
		differs = unit_difference(got, text, all);
		cr_assert_null(differs, "in pieces of %zu: %s", piece, differs);
		cr_assert_eq(unit_stats(&s).pending, 0);
	}
	cr_expect_leq(unit_pages_in_use(), 1);
	unit_assert_sound(&s);
}

Test(reader, read__backlog_comes_before_the_log)
{
	unit_make_stream(&s, 0);
	push_text("abc");
	push_text("def");
	cr_assert_eq(bpf_stream_read(&s, got, 1), 1);
	push_text("ghi");
	push_text("jkl");
	unit_assert_reads(&s, "bcdefghijkl");
}

/* Each side of the buffer is watched by another byte. */
Test(reader, read__touches_nothing_outside_what_it_returns)
{
	unit_make_stream(&s, 0);
	push_text("abcdef");
	memset(got, '.', 10);
	unit_same_length(bpf_stream_read(&s, got + 1, 4), 4);
	unit_same_bytes(got, ".abcd.....", 10);
	unit_same_length(bpf_stream_read(&s, got + 6, 4), 2);
	unit_same_bytes(got, ".abcd.ef..", 10);
}

Test(reader, read__of_length_0_or_of_nothing_touches_no_pointer)
{
	void *const bad = (void *)(uintptr_t)8;

	unit_make_stream(&s, 0);
	cr_expect_eq(bpf_stream_read(&s, NULL, 0), 0);
	cr_expect_eq(bpf_stream_read(&s, bad, 100), 0);
	cr_expect_eq(bpf_stream_try_read(&s, bad, 100), 0);
	cr_expect_eq(bpf_stream_drain(&s, NULL, NULL, SIZE_MAX), 0);
	cr_expect_eq(bpf_stream_drain_fd(&s, -1, SIZE_MAX), 0);
	push_text("here");
	cr_expect_eq(bpf_stream_read(&s, NULL, 0), 0);
	cr_expect_eq(bpf_stream_try_read(&s, NULL, 0), 0);
	cr_expect_eq(bpf_stream_drain(&s, NULL, NULL, 0), 0);
	cr_expect_eq(bpf_stream_drain_fd(&s, -1, 0), 0);
	unit_assert_reads(&s, "here");
}

/* ---- sinks ----------------------------------------------------------- */

/* A sink with a script: what to take or answer at each of its calls. */
struct script {
	const int *takes;		/* up to the last one, which is repeated */
	size_t last;
	size_t calls;
	size_t len;			/* bytes in got[] */
};

#define ALL INT_MAX

static int script_sink(void *ctx, const void *data, size_t len)
{
	struct script *sc = ctx;
	int take = sc->takes[sc->calls < sc->last ? sc->calls : sc->last];

	if (!len)
		return -ENODATA;
	sc->calls++;
	if (take == ALL)
		take = (int)len;
	if (take > 0) {
		memcpy(got + sc->len, data, (size_t)take < len ? (size_t)take : len);
		sc->len += (size_t)take;
	}
	return take;
}

/* @takes is an array; the size of what one drain takes. */
#define SCRIPT(...) { .takes = (const int[]){ __VA_ARGS__ }, \
		      .last = sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int) - 1 }

Test(reader, drain__takes_all_in_order)
{
	struct script sc = SCRIPT(ALL);

	unit_make_stream(&s, 0);
	push_many(5 * PAGE);
	cr_expect_eq(bpf_stream_drain(&s, script_sink, &sc, SIZE_MAX), (int)(5 * PAGE));
	cr_expect_eq(sc.len, 5 * PAGE);
	unit_same_bytes(got, text, 5 * PAGE);
	cr_expect_eq(unit_stats(&s).pending, 0);
}

Test(reader, drain__takes_no_more_than_its_maximum)
{
	struct script sc = SCRIPT(ALL);
	size_t max;

	unit_make_stream(&s, 0);
	push_many(9000);
	for (max = 1; sc.len + max <= 9000; max++)
		cr_assert_eq(bpf_stream_drain(&s, script_sink, &sc, max), (int)max);
	cr_expect_eq(unit_stats(&s).pending, 9000 - sc.len);
	(void)bpf_stream_drain(&s, script_sink, &sc, max);
	cr_assert_eq(sc.len, 9000);
	unit_same_bytes(got, text, 9000);
}

Test(reader, drain__short_sink_ends_the_call_and_loses_nothing)
{
	struct script sc = SCRIPT(1);
	int i;

	unit_make_stream(&s, 0);
	push_text("ab");
	push_text("cde");
	for (i = 0; i < 5; i++) {
		cr_expect_eq(bpf_stream_drain(&s, script_sink, &sc, SIZE_MAX), 1);
		cr_expect_eq(sc.calls, (size_t)i + 1);
		cr_expect_eq(unit_stats(&s).pending, (size_t)(4 - i));
	}
	unit_same_length(bpf_stream_drain(&s, script_sink, &sc, SIZE_MAX), 0);
	unit_same_bytes(got, "abcde", 5);
	cr_expect_eq(unit_stats(&s).delivered.messages, 2);
}

Test(reader, drain__sink_that_takes_nothing_ends_the_call)
{
	struct script sc = SCRIPT(0);

	unit_make_stream(&s, 0);
	push_text("ab");
	push_text("cde");
	cr_expect_eq(bpf_stream_drain(&s, script_sink, &sc, SIZE_MAX), 0);
	cr_expect_eq(sc.calls, 1);
	unit_assert_reads(&s, "abcde");
}

Test(reader, drain__error_before_any_progress_is_passed_on)
{
	struct script sc = SCRIPT(-EIO);

	unit_make_stream(&s, 0);
	push_text("ab");
	push_text("cde");
	cr_expect_eq(bpf_stream_drain(&s, script_sink, &sc, SIZE_MAX), -EIO);
	cr_expect_eq(bpf_stream_try_drain(&s, script_sink, &sc, SIZE_MAX), -EIO);
	cr_expect_eq(sc.calls, 2);
	cr_expect_eq(unit_stats(&s).pending, 5);
	unit_assert_sound(&s);
	unit_assert_reads(&s, "abcde");
}

Test(reader, drain__error_after_progress_is_a_short_count)
{
	struct script sc = SCRIPT(ALL, -EIO);
	int first;

	unit_make_stream(&s, 0);
	push_many(5 * PAGE);
	first = bpf_stream_drain(&s, script_sink, &sc, SIZE_MAX);
	cr_expect_gt(first, 0);
	cr_expect_eq(sc.calls, 2);
	cr_expect_eq(sc.len, (size_t)first);
	cr_expect_eq(unit_stats(&s).pending, 5 * PAGE - (size_t)first);
	cr_expect_eq(bpf_stream_drain(&s, script_sink, &sc, SIZE_MAX), -EIO);
	unit_same_length(bpf_stream_read(&s, got + first, sizeof(got) / 2), (int)(5 * PAGE) - first);
	unit_same_bytes(got, text, 5 * PAGE);
}

static int greedy_sink(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	return (int)len + 1;
}

Test(reader, drain__sink_that_claims_too_much_gets_nothing)
{
	unit_make_stream(&s, 0);
	push_text("ab");
	push_text("cde");
	cr_expect_eq(bpf_stream_drain(&s, greedy_sink, NULL, SIZE_MAX), -EINVAL);
	cr_expect_eq(bpf_stream_drain(&s, greedy_sink, NULL, 1), -EINVAL);
	cr_expect_eq(unit_stats(&s).pending, 5);
	unit_assert_reads(&s, "abcde");
}

static int pushing_sink(void *ctx, const void *data, size_t len)
{
	unsigned int *calls = ctx;

	(void)data;
	++*calls;
	cr_assert_eq(bpf_stream_push(&s, "again", 5), 0);
	cr_assert_eq(bpf_stream_push(&s, text, PAGE), 0);
	return (int)len;
}

Test(reader, drain__ends_though_its_sink_pushes)
{
	unsigned int calls = 0;

	unit_make_stream(&s, 0);
	push_text("abc");
	cr_expect_eq(bpf_stream_drain(&s, pushing_sink, &calls, SIZE_MAX), 3);
	cr_expect_eq(calls, 1);
	cr_expect_eq(unit_stats(&s).pending, 5 + PAGE);
	calls = 0;
	cr_expect_eq(bpf_stream_drain(&s, pushing_sink, &calls, SIZE_MAX), (int)(5 + PAGE));
	cr_expect_eq(unit_stats(&s).pending, calls * (5 + PAGE));
	unit_assert_sound(&s);
}

/* What was taken makes room before the next call: a sink may block for long. */
static int refilling_sink(void *ctx, const void *data, size_t len)
{
	size_t *before = ctx;

	(void)data;
	if (*before)
		cr_assert_eq(bpf_stream_push(&s, text, *before), 0);
	cr_assert_eq(bpf_stream_push(&s, text, 1), -ENOSPC);
	*before = len;
	return (int)len;
}

Test(reader, drain__refunds_before_each_call_of_the_sink)
{
	size_t before = 0;
	int i;

	unit_make_stream(&s, 10 * BSI_ELEM_MAX);
	for (i = 0; i < 10; i++)
		cr_assert_eq(bpf_stream_push(&s, text, BSI_ELEM_MAX), 0);
	cr_expect_eq(bpf_stream_drain(&s, refilling_sink, &before, SIZE_MAX),
		     (int)(10 * BSI_ELEM_MAX));
	cr_expect_eq(unit_stats(&s).pending, 10 * BSI_ELEM_MAX - before);
}

struct reentry {
	struct bpf_stream *other;
	int drain;
	int read;
	int try_read;
	int fd;
	int other_read;
	char other_got[8];
};

static int reentering_sink(void *ctx, const void *data, size_t len)
{
	struct reentry *r = ctx;
	char c;

	(void)data;
	r->drain = bpf_stream_drain(&s, greedy_sink, NULL, SIZE_MAX);
	r->read = bpf_stream_read(&s, &c, 1);
	r->try_read = bpf_stream_try_read(&s, &c, 1);
	r->fd = bpf_stream_drain_fd(&s, -1, SIZE_MAX);
	r->other_read = bpf_stream_read(r->other, r->other_got, sizeof(r->other_got));
	return (int)len;
}

Test(reader, drain__sink_reads_other_streams_but_not_its_own)
{
	struct bpf_stream other;
	struct reentry r = { .other = &other };

	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_init(&other, NULL), 0);
	cr_assert_eq(bpf_stream_push(&other, "other", 5), 0);
	push_text("abc");
	cr_expect_eq(bpf_stream_drain(&s, reentering_sink, &r, SIZE_MAX), 3);
	cr_expect_eq(r.drain, -EDEADLK);
	cr_expect_eq(r.read, -EDEADLK);
	cr_expect_eq(r.try_read, -EDEADLK);
	cr_expect_eq(r.fd, -EDEADLK);
	cr_expect_eq(r.other_read, 5);
	unit_same_bytes(r.other_got, "other", 5);
	push_text("later");
	unit_assert_reads(&s, "later");
}

Test(reader, drain__small_messages_are_offered_together)
{
	struct script sc = SCRIPT(ALL);
	int i;

	unit_make_stream(&s, 0);
	for (i = 0; i < 64; i++)
		push_text("0123456789");
	cr_expect_eq(bpf_stream_drain(&s, script_sink, &sc, SIZE_MAX), 640);
	cr_expect_leq(sc.calls, 2);
}

/* ---- file descriptors ------------------------------------------------ */

Test(reader, drain_fd__writes_all_in_order)
{
	FILE *file = tmpfile();

	cr_assert_not_null(file);
	unit_make_stream(&s, 0);
	push_many(200000);
	cr_expect_eq(bpf_stream_drain_fd(&s, fileno(file), 1001), 1001);
	cr_expect_eq(bpf_stream_drain_fd(&s, fileno(file), SIZE_MAX), 200000 - 1001);
	cr_expect_eq(bpf_stream_drain_fd(&s, fileno(file), SIZE_MAX), 0);
	unit_same_length(pread(fileno(file), got, sizeof(got), 0), 200000);
	unit_same_bytes(got, text, 200000);
	cr_expect_eq(unit_stats(&s).pending, 0);
	cr_expect_eq(unit_stats(&s).delivered.bytes, 200000);
	fclose(file);
}

Test(reader, drain_fd__full_pipe_loses_nothing)
{
	size_t all = 300000;
	size_t taken = 0;
	size_t len = 0;
	ssize_t n;
	int end[2];
	int ret;

	cr_assert_eq(pipe(end), 0);
	cr_assert_eq(fcntl(end[1], F_SETFL, O_NONBLOCK), 0);
	unit_make_stream(&s, 0);
	push_many(all);
	errno = ELOOP;
	while (taken < all) {
		while ((ret = bpf_stream_drain_fd(&s, end[1], SIZE_MAX)) > 0)
			taken += (size_t)ret;
		cr_assert_eq(ret, taken < all ? -EAGAIN : 0, "%d", ret);
		cr_assert_eq(unit_stats(&s).pending, all - taken);
		while (len < taken) {
			n = read(end[0], got + len, 5000);
			cr_assert_gt(n, 0);
			len += (size_t)n;
		}
	}
	cr_expect_eq(errno, ELOOP);
	cr_expect_eq(len, all);
	unit_same_bytes(got, text, all);
	unit_assert_sound(&s);
}

Test(reader, drain_fd__errors_of_the_descriptor_lose_nothing)
{
	int end[2];

	unit_make_stream(&s, 0);
	push_text("abc");
	push_text("def");
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(pipe(end), 0);
	errno = ELOOP;
	cr_expect_eq(bpf_stream_drain_fd(&s, -1, SIZE_MAX), -EBADF);
	cr_expect_eq(bpf_stream_drain_fd(&s, end[0], SIZE_MAX), -EBADF);
	cr_assert_eq(close(end[0]), 0);
	cr_expect_eq(bpf_stream_drain_fd(&s, end[1], SIZE_MAX), -EPIPE);
	cr_assert_eq(close(end[1]), 0);
	cr_expect_eq(bpf_stream_drain_fd(&s, end[1], SIZE_MAX), -EBADF);
	cr_expect_eq(errno, ELOOP);
	cr_expect_eq(unit_stats(&s).pending, 6);
	unit_assert_sound(&s);
	unit_assert_reads(&s, "abcdef");
}

/* ---- beside each other ----------------------------------------------- */

static sem_t inside;
static sem_t go_on;

static int slow_sink(void *ctx, const void *data, size_t len)
{
	struct script *sc = ctx;

	sem_post(&inside);
	while (sem_wait(&go_on))
		;
	return script_sink(sc, data, len);
}

static int slow_ret;

/* Not inlined: a frame that is cancelled has nothing for the sanitizer. */
__attribute__((__noinline__)) static void *slow_reader(void *ctx)
{
	slow_ret = bpf_stream_drain(&s, slow_sink, ctx, SIZE_MAX);
	return NULL;
}

/* Another thread is in the middle of a drain until go_on. */
static pthread_t slow_begin(struct script *sc)
{
	pthread_t thread;

	sem_init(&inside, 0, 0);
	sem_init(&go_on, 0, 0);
	unit_start(&thread, slow_reader, sc);
	while (sem_wait(&inside))
		;
	return thread;
}

Test(reader, try__is_busy_while_another_thread_reads)
{
	struct script sc = SCRIPT(ALL);
	struct script mine = SCRIPT(ALL);
	pthread_t thread;
	char c;

	unit_make_stream(&s, 0);
	push_text("abc");
	thread = slow_begin(&sc);
	cr_expect_eq(bpf_stream_try_read(&s, &c, 1), -EBUSY);
	cr_expect_eq(bpf_stream_try_drain(&s, script_sink, &mine, SIZE_MAX), -EBUSY);
	cr_expect_eq(mine.calls, 0);
	cr_expect_eq(bpf_stream_try_read(&s, NULL, 0), 0);
	push_text("def");
	sem_post(&go_on);
	unit_join(thread);
	cr_expect_eq(slow_ret, 3);
	unit_same_bytes(got, "abc", 3);
	unit_same_length(bpf_stream_try_read(&s, got, 100), 3);
	unit_same_bytes(got, "def", 3);
}

static int second_ret;

static void *second_reader(void *ctx)
{
	second_ret = bpf_stream_read(&s, ctx, 100);
	return NULL;
}

/* The lock's word says when the second reader has gone to sleep. */
Test(reader, read__waits_for_another_reader)
{
	struct script sc = SCRIPT(2);
	char rest[100];
	pthread_t first;
	pthread_t second;

	unit_make_stream(&s, 0);
	push_text("abcde");
	first = slow_begin(&sc);
	unit_start(&second, second_reader, rest);
	unit_wait_for_sleeper(&s.lock);
	sem_post(&go_on);
	unit_join(first);
	unit_join(second);
	cr_expect_eq(slow_ret, 2);
	cr_expect_eq(second_ret, 3);
	unit_same_bytes(rest, "cde", 3);
	cr_expect_eq(bse_u32_load_relaxed(&s.lock.word), 0);
}

/* One is woken at a time: so whoever waited wakes the next, if there is one. */
static int note_mark(void *ctx, const void *data, size_t len)
{
	(void)data;
	*(bool *)ctx = bse_u32_load_relaxed(&s.lock.word) & BSE_LOCK_WAITED;
	return (int)len;
}

static void *marking_reader(void *ctx)
{
	second_ret = bpf_stream_drain(&s, note_mark, ctx, SIZE_MAX);
	return NULL;
}

Test(reader, drain__that_waited_marks_the_lock_for_others)
{
	struct script sc = SCRIPT(2);
	bool mark = false;
	pthread_t first;
	pthread_t second;

	unit_make_stream(&s, 0);
	push_text("abcde");
	first = slow_begin(&sc);
	unit_start(&second, marking_reader, &mark);
	unit_wait_for_sleeper(&s.lock);
	sem_post(&go_on);
	unit_join(first);
	unit_join(second);
	cr_expect_eq(second_ret, 3);
	cr_expect(mark);
}

#define READERS 4
#define EACH 30000u

static bse_u32 sum_of_bytes;
static bse_u32 bytes_read;

static void *counting_reader(void *ctx)
{
	unsigned char buf[61];
	uint32_t sum = 0;
	int len;
	int i;

	(void)ctx;
	while (bse_u32_load_relaxed(&bytes_read) < EACH) {
		len = bpf_stream_read(&s, buf, sizeof(buf));
		if (len < 0)
			break;
		for (i = 0; i < len; i++)
			sum += buf[i];
		bse_u32_fetch_add_acq_rel(&bytes_read, (uint32_t)len);
	}
	bse_u32_fetch_add_acq_rel(&sum_of_bytes, sum);
	return NULL;
}

Test(reader, read__many_readers_share_every_byte_once)
{
	pthread_t thread[READERS];
	unsigned char byte;
	uint32_t sum = 0;
	uint32_t i;

	unit_make_stream(&s, 500);
	for (i = 0; i < READERS; i++)
		unit_start(&thread[i], counting_reader, NULL);
	for (i = 0; i < EACH; i++) {
		byte = (unsigned char)(i * 7);
		while (bpf_stream_push(&s, &byte, 1))
			program_pause();
		sum += byte;
	}
	for (i = 0; i < READERS; i++)
		unit_join(thread[i]);
	cr_expect_eq(bse_u32_load_relaxed(&bytes_read), EACH);
	cr_expect_eq(bse_u32_load_relaxed(&sum_of_bytes), sum);
	cr_expect_eq(unit_stats(&s).delivered.messages, EACH);
	cr_expect_eq(unit_stats(&s).pending, 0);
	unit_assert_sound(&s);
}

/* The sink is a cancellation point; the cancel comes while it is in it. */
static void *cancelled_reader(void *ctx)
{
	(void)slow_reader(ctx);
	pthread_testcancel();
	return NULL;
}

Test(reader, drain__cancelled_thread_finishes_it_first)
{
	struct script sc = SCRIPT(ALL);
	pthread_t thread;
	void *result;

	unit_make_stream(&s, 0);
	push_text("abc");
	sem_init(&inside, 0, 0);
	sem_init(&go_on, 0, 0);
	unit_start(&thread, cancelled_reader, &sc);
	sem_wait(&inside);
	cr_assert_eq(pthread_cancel(thread), 0);
	sem_post(&go_on);
	cr_assert_eq(pthread_join(thread, &result), 0);
	cr_expect_eq(result, PTHREAD_CANCELED);
	cr_expect_eq(slow_ret, 3);
	push_text("def");
	cr_expect_eq(bpf_stream_try_read(&s, got, 100), 3);
}
