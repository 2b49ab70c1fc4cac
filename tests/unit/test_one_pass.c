/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [10] ELEMENT and [15] READER: copies of short texts, elements with bytes
 * before their text, and reads that take a detached list in one pass.
 *
 * Seen to fail with: a copy of one byte too few or too many, or with one of its
 * bounds one too high; a text that is looked for at the element's head, in each
 * of the ways to read; a pass that does not look whether a text still fits,
 * goes on behind one that does not, forgets what is left of the list, or leaves
 * the texts at the buffer's end; a buffer that is too small by one byte and
 * taken for large enough, or the other way round; room that comes back at the
 * end of a pass only, or pages that do; a sink's buffer that is filled by one
 * byte too many.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
#include "unit.h"
#include <sys/mman.h>

#define PAGE BPF_STREAM_PAGE_SIZE
#define GUARD 64u

static struct bpf_stream s;
static char text[1u << 20];
static char got[1u << 20];

/* ---- Copies ---------------------------------------------------------- */

/* @len bytes of text came to @at, and around them nothing was touched. */
static void check_copy(const char *at, const char *want, size_t len)
{
	size_t i;

	unit_same_bytes(at, want, len);
	for (i = 1; i <= GUARD; i++)
		cr_assert(at[-(ptrdiff_t)i] == '#' && at[len + i - 1] == '#',
			  "%zu bytes, and one %zu bytes away is touched", len, i);
}

Test(one_pass, copies__of_every_length_and_alignment_are_exact)
{
	size_t align;
	size_t len;
	char *to;

	unit_make_stream(&s, 0);
	unit_fill(text, sizeof(text));
	for (len = 0; len <= 300; len++) {
		for (align = 0; align < 16; align++) {
			to = got + GUARD + align * 5 % 16;
			memset(got, '#', 1000);
			/* Neighbours in the page, which stay as they are. */
			cr_assert_eq(bpf_stream_push(&s, "<", 1), 0);
			cr_assert_eq(bpf_stream_push(&s, text + align, len), 0);
			cr_assert_eq(bpf_stream_push(&s, ">", 1), 0);
			cr_assert_eq(bpf_stream_read(&s, to, 1), 1);
			cr_assert_eq(to[0], '<');
			unit_same_length(bpf_stream_read(&s, to, len), len);
			if (len)
				check_copy(to, text + align, len);
			cr_assert_eq(bpf_stream_read(&s, to, 10), 1);
			cr_assert_eq(to[0], '>');
		}
	}
	unit_assert_sound(&s);
}

/* The same in one pass, and in pieces of the gather buffer. */
static int sink(void *ctx, const void *data, size_t len)
{
	char **at = ctx;

	memcpy(*at, data, len);
	*at += len;
	return (int)len;
}

Test(one_pass, copies__of_several_at_once_are_exact)
{
	size_t align;
	size_t len;
	char *to;
	char *at;
	int way;

	unit_make_stream(&s, 0);
	unit_fill(text, sizeof(text));
	for (way = 0; way < 2; way++) {
		for (len = 1; len <= 300; len++) {
			for (align = 0; align < 16; align++) {
				to = got + GUARD + align * 5 % 16;
				memset(got, '#', 1200);
				cr_assert_eq(bpf_stream_push(&s, text + align, 3), 0);
				cr_assert_eq(bpf_stream_push(&s, text + align + 3, len), 0);
				cr_assert_eq(bpf_stream_push(&s, text + align + 3 + len, 9), 0);
				at = to;
				unit_same_length(way ? bpf_stream_drain(&s, sink, &at, SIZE_MAX) :
						       bpf_stream_read(&s, to, len + 12), len + 12);
				check_copy(to, text + align, len + 12);
			}
		}
	}
}

/* A text, or a buffer, that lies between two pages which may not be touched. */
Test(one_pass, copies__touch_nothing_beside_source_and_buffer)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *from = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *to = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t len;

	cr_assert(from != MAP_FAILED && to != MAP_FAILED);
	cr_assert_eq(mprotect(from + page, page, PROT_READ | PROT_WRITE), 0);
	cr_assert_eq(mprotect(to + page, page, PROT_READ | PROT_WRITE), 0);
	unit_fill(from + page, page);
	unit_make_stream(&s, 0);
	for (len = 1; len <= 300; len++) {
		cr_assert_eq(bpf_stream_push(&s, from + page, len), 0);
		unit_same_length(bpf_stream_read(&s, to + 2 * page - len, len), len);
		unit_same_bytes(to + 2 * page - len, from + page, len);
		cr_assert_eq(bpf_stream_push(&s, from + 2 * page - len, len), 0);
		unit_same_length(bpf_stream_read(&s, to + page, len), len);
		unit_same_bytes(to + page, from + 2 * page - len, len);
	}
}

/* ---- Bytes before the text ------------------------------------------- */

/* A message with @units of 8 bytes before its text: nobody makes these yet. */
static void publish_with_units(uint32_t units, const char *from, uint32_t len)
{
	const uint32_t size = bsi_elem_size(units * 8 + len);
	struct bse_chain chain = { .bytes = len };
	struct bpf_stream_elem *elem;
	bse_link link;

	cr_assert_eq(bsi_page_reserve(bse_group(&s), size, false, &link), 0);
	elem = bse_elem_of(link);
	bse_unpoison(elem, size);
	memset(elem->str, '#', units * 8);
	bse_elem_set(elem, len, BSE_ELEM_ENDS);
	elem->info |= units << BSE_ELEM_SHIFT;
	memcpy(elem->str + units * 8, from, len);
	chain.newest = link;
	chain.oldest = link;
	cr_assert_eq(unit_publish(&s, &chain), 0);
}

/* Messages of all kinds, one behind the other: how many bytes these are. */
static size_t publish_all(uint32_t most)
{
	size_t all = 0;
	uint32_t units;
	uint32_t len;

	for (len = 1; len <= most; len = len * 2 + 1) {
		for (units = 0; units < 4; units++) {
			publish_with_units(units, text + all, len);
			all += len;
		}
	}
	unit_assert_sound(&s);
	return all;
}

static void check_units(size_t all, int way)
{
	int end[2];
	char *at = got;

	memset(got, 0, all);
	switch (way) {
	case 0:
		unit_same_length(bpf_stream_read(&s, got, sizeof(got)), all);
		break;
	case 1:
		while (bpf_stream_read(&s, at, 7) > 0)
			at += 7;
		break;
	case 2:
		unit_same_length(bpf_stream_drain(&s, sink, &at, SIZE_MAX), all);
		break;
	case 3:
		while (bpf_stream_drain(&s, sink, &at, 11) > 0)
			;
		break;
	default:
		cr_assert_eq(pipe(end), 0);
		unit_same_length(bpf_stream_drain_fd(&s, end[1], SIZE_MAX), all);
		unit_same_length(read(end[0], got, sizeof(got)), all);
		close(end[0]);
		close(end[1]);
	}
	unit_same_bytes(got, text, all);
	cr_assert_eq(unit_stats(&s).pending, 0u);
	unit_assert_sound(&s);
}

Test(one_pass, units__before_a_text_are_passed_over_by_every_reader)
{
	size_t all;
	int way;

	unit_fill(text, sizeof(text));
	unit_make_stream(&s, 0);
	for (way = 0; way < 5; way++) {
		/* As many as a sink's buffer holds, and more. */
		check_units(publish_all(200), way);
		all = publish_all(3000);
		cr_assert_gt(all, BSE_GATHER);
		check_units(all, way);
		/* The largest there are; alone. */
		publish_with_units(3, text, BSI_ELEM_MAX - 24);
		check_units(BSI_ELEM_MAX - 24, way);
	}
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
	unit_assert_sound(NULL);
}

Test(one_pass, units__of_what_is_dropped_are_no_matter)
{
	unit_make_stream(&s, 0);
	publish_all(3000);
	cr_assert_eq(bpf_stream_read(&s, got, 5), 5);
	publish_all(3000);
	bpf_stream_destroy(&s);
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
}

/* ---- One pass -------------------------------------------------------- */

/* Messages of @step, 2 * @step, ... bytes; @n of them. */
static size_t push_many(size_t step, size_t n)
{
	size_t all = 0;
	size_t i;

	for (i = 1; i <= n; i++) {
		cr_assert_eq(bpf_stream_push(&s, text + all, i * step), 0);
		all += i * step;
	}
	return all;
}

Test(one_pass, read__with_a_buffer_of_about_what_is_pending)
{
	size_t all;
	size_t step;
	size_t n;
	size_t size;
	size_t taken;
	int off;

	unit_fill(text, sizeof(text));
	unit_make_stream(&s, 0);
	for (step = 1; step < 3000; step = step * 3 + 1) {
		for (n = 1; n <= 9; n++) {
			for (off = -1; off <= 1; off++) {
				all = push_many(step, n);
				size = (size_t)((int)all + off);
				taken = size < all ? size : all;
				memset(got, '#', all + 2 * GUARD + 2);
				unit_same_length(bpf_stream_read(&s, got + GUARD, size), taken);
				check_copy(got + GUARD, text, taken);
				cr_assert_eq(unit_stats(&s).pending, all - taken);
				unit_assert_sound(&s);
				unit_same_length(bpf_stream_read(&s, got, 10), all - taken);
				if (taken < all)
					cr_assert_eq(got[0], text[all - 1]);
			}
		}
	}
	cr_assert_leq(unit_pages_in_use(), 1u);
}

Test(one_pass, read__behind_a_backlog_takes_both)
{
	size_t all;
	size_t size;

	unit_fill(text, sizeof(text));
	unit_make_stream(&s, 0);
	for (size = 1; size <= 2000; size += 13) {
		all = push_many(100, 5);
		cr_assert_eq(bpf_stream_read(&s, got, 3), 3);
		cr_assert_eq(bpf_stream_push(&s, text + all, 500), 0);
		unit_same_length(bpf_stream_read(&s, got + 3, size),
				 size < all + 497 ? size : all + 497);
		unit_assert_sound(&s);
		if (size < all + 497)
			unit_same_length(bpf_stream_read(&s, got + 3 + size, 5000),
					 all + 497 - size);
		unit_same_bytes(got, text, all + 500);
	}
	cr_expect_eq(unit_stats(&s).pending, 0u);
}

/*
 * What is pending is what is in the list (I3). If it were not, by @off bytes,
 * memory beside the buffer would be safe, and each message would come out.
 */
static void read_with_pending(int off, bool by_sink)
{
	static const char *const word[] = { "one,", "three,", "five,", "seven,", "nine," };
	const size_t all = 4 + 6 + 5 + 6 + 5;
	size_t pending = (size_t)((int)all + off);
	char *at = got + GUARD;
	size_t len;
	size_t i;
	int ret;

	unit_make_stream(&s, 0);
	for (i = 0; i < 5; i++)
		cr_assert_eq(bpf_stream_push(&s, word[i], strlen(word[i])), 0);
	s.log.bse_v = s.log.bse_v - all + pending;
	memset(got, '#', 500);
	ret = by_sink ? bpf_stream_drain(&s, sink, &at, pending) :
			bpf_stream_read(&s, at, pending);
	cr_assert_geq(ret, 0);
	len = (size_t)ret;
	cr_assert_leq(len, pending);
	check_copy(got + GUARD, got + GUARD, pending);
	/* The books are put right, and the rest is read. */
	s.log.bse_v = s.log.bse_v - pending + all;
	unit_assert_sound(&s);
	got[GUARD + len] = 0;
	ret = bpf_stream_read(&s, got + GUARD + len, 100);
	cr_assert_eq(len + (size_t)ret, all, "pending off by %d: %zu and %d bytes", off, len, ret);
	got[GUARD + all] = 0;
	for (i = 0; i < 5; i++)
		cr_assert_not_null(strstr(got + GUARD, word[i]), "off by %d: %s is lost", off,
				   word[i]);
	cr_assert_eq(unit_stats(&s).delivered.messages, 5u);
	cr_assert_eq(unit_stats(&s).pending, 0u);
	unit_assert_sound(&s);
}

Test(one_pass, read__with_a_pending_count_that_is_wrong_loses_nothing)
{
	int off;

	for (off = -25; off <= 40; off++) {
		read_with_pending(off, false);
		read_with_pending(off, true);
	}
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
}

/* ---- Room and pages during a pass ------------------------------------ */

static size_t seen_pending[1000];
static size_t seen_pages[1000];
static size_t seen;

static void look(enum hook_point point)
{
	if (point != HOOK_COUNTING)
		return;
	hook = NULL;
	cr_assert_lt(seen, 1000u);
	seen_pending[seen] = unit_stats(&s).pending;
	seen_pages[seen++] = unit_pages_in_use();
	hook = look;
}

Test(one_pass, read__gives_room_and_pages_back_each_16_kib)
{
	const size_t all = 200 * 1000;
	const size_t step = (16u << 10) + 1000;
	size_t pages;
	size_t i;

	unit_make_stream(&s, all);
	unit_fill(text, all);
	for (i = 0; i < 200; i++)
		cr_assert_eq(bpf_stream_push(&s, text + i * 1000, 1000), 0);
	pages = unit_pages_in_use();
	hook = look;
	unit_same_length(bpf_stream_read(&s, got, all), all);
	hook = NULL;
	unit_same_bytes(got, text, all);
	cr_assert_gt(seen, pages);
	cr_assert_eq(seen_pending[0], all);
	/* So many bytes and a message, and the pages of so many, at most. */
	for (i = 1; i < seen; i++) {
		cr_assert_geq(seen_pending[i] + step, seen_pending[i - 1]);
		cr_assert_leq(seen_pages[i] + 1, seen_pages[i - 1] + 1);
		cr_assert_leq(seen_pages[i] * 3000, seen_pending[i] + 2 * PAGE);
	}
	cr_assert_leq(seen_pending[seen - 1], step);
	cr_assert_leq(seen_pages[seen - 1], 6u);
	cr_assert_eq(unit_stats(&s).pending, 0u);
	cr_assert_eq(unit_stats(&s).delivered.messages, 200u);
	unit_assert_sound(&s);
}

/* A writer gets on in the middle of the pass. */
static void push_when_room(enum hook_point point)
{
	if (point != HOOK_COUNTING || unit_stats(&s).pending + 16384 > 200 * 1000)
		return;
	hook = NULL;
	cr_assert_eq(bpf_stream_push(&s, "meanwhile", 9), 0);
}

Test(one_pass, read__leaves_what_is_pushed_meanwhile)
{
	size_t i;

	unit_make_stream(&s, 200 * 1000);
	unit_fill(text, sizeof(text));
	for (i = 0; i < 200; i++)
		cr_assert_eq(bpf_stream_push(&s, text + i * 1000, 1000), 0);
	cr_assert_eq(bpf_stream_push(&s, "full", 4), -ENOSPC);
	hook = push_when_room;
	unit_same_length(bpf_stream_read(&s, got, 200 * 1000), 200 * 1000);
	cr_assert_null(hook);
	unit_same_bytes(got, text, 200 * 1000);
	cr_assert_eq(unit_stats(&s).pending, 9u);
	unit_assert_reads(&s, "meanwhile");
	unit_assert_sound(&s);
}

/* ---- A sink's buffer ------------------------------------------------- */

static int count_calls(void *ctx, const void *data, size_t len)
{
	size_t *calls = ctx;

	(void)data;
	++*calls;
	return (int)len;
}

Test(one_pass, sink__gets_several_texts_at_once_up_to_its_buffer)
{
	size_t calls;
	size_t len;

	unit_make_stream(&s, 0);
	for (len = 1; len < BSE_GATHER + 100; len++) {
		calls = 0;
		cr_assert_eq(bpf_stream_push(&s, text, len), 0);
		cr_assert_eq(bpf_stream_push(&s, text, 2), 0);
		cr_assert_eq(bpf_stream_drain(&s, count_calls, &calls, SIZE_MAX), (int)len + 2);
		cr_assert_eq(calls, len + 2 <= BSE_GATHER ? 1u : 2u, "%zu bytes", len);
	}
}
