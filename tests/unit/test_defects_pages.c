/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Defects 11 and 12 of test_defects.c once more, with pages of 64 KiB.
 *
 * Seen to fail with element sizes rounded to 4, and with an element's page
 * computed for pages of 4096 bytes.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_PAGE_SIZE 65536u
#include "bpf_stream.h"
#include "unit.h"

#define PAGES 16u

static _Alignas(4096) char region[PAGES * BPF_STREAM_PAGE_SIZE];
static char text[PAGES * BPF_STREAM_PAGE_SIZE];
static struct bpf_stream s;

static void make_stream(void)
{
	cr_assert_eq(bpf_stream_pool_use(region, sizeof(region), 0), 0);
	cr_assert_eq(bpf_stream_init(&s, NULL), 0);
}

_Static_assert(BSI_PAGE_START + BSI_ELEM_HEAD + BSI_ELEM_MAX == BSE_PAGE_ROOM,
	       "the largest element fills a page");

Test(defects, defect_11__large_page_is_filled_to_its_last_byte)
{
	const uint32_t small = bsi_elem_size(1);
	uint32_t i;

	make_stream();
	for (i = 0; i < BPF_STREAM_PAGE_SIZE / small; i++)
		cr_assert_eq(bpf_stream_push(&s, "x", 1), 0);
	cr_expect_eq(unit_pool().in_use, 1);
	cr_assert_eq(bpf_stream_push(&s, "y", 1), 0);
	cr_expect_eq(unit_pool().in_use, 2);
	cr_expect_eq(bpf_stream_read(&s, text, sizeof(text)), (int)i + 1);
	cr_expect_eq(text[i - 1], 'x');
	cr_expect_eq(text[i], 'y');
	cr_expect_eq(unit_pool().in_use, 1);
	unit_assert_sound(&s);
}

Test(defects, defect_11__every_rest_of_a_large_page_is_used_safely)
{
	/* The largest that has not a page for itself. */
	const uint32_t most = BSI_ELEM_MAX - BSI_PAGE_WORTH;
	uint32_t len;
	uint32_t rest;
	uint32_t i;

	make_stream();
	for (len = most - 200; len <= most; len++) {
		memset(text, 'a', len);
		cr_assert_eq(bpf_stream_push(&s, text, len), 0);
		rest = bse_self.slot[bse_group(&s)].space.room - BSI_ELEM_HEAD;
		cr_assert_eq(rest, BPF_STREAM_PAGE_SIZE - BSI_PAGE_START - bsi_elem_size(len) -
			     BSI_ELEM_HEAD);
		memset(text, 'b', rest);
		cr_assert_eq(bpf_stream_push(&s, text, rest), 0);
		cr_assert_eq(bpf_stream_push(&s, "c", 1), 0);
		cr_assert_eq(bpf_stream_read(&s, text, sizeof(text)), (int)(len + rest + 1));
		for (i = 0; i < len + rest + 1; i++)
			cr_assert_eq(text[i], i < len ? 'a' : i < len + rest ? 'b' : 'c',
				     "lengths %u and %u, byte %u", len, rest, i);
		bpf_stream_thread_release();
	}
	unit_assert_sound(&s);
}

/* Elements lie further than 4 KiB into their page, and all pages come back. */
Test(defects, defect_12__elements_find_their_large_page)
{
	uint32_t round;
	uint32_t i;

	make_stream();
	for (round = 0; round < 50; round++) {
		for (i = 0; i < 300; i++)
			cr_assert_eq(bpf_stream_push(&s, text, 1000 + i), 0);
		cr_assert_gt(unit_pool().in_use, 4);
		while (bpf_stream_read(&s, text, 777) > 0)
			;
		cr_assert_leq(unit_pool().in_use, 1, "round %u: %zu pages", round,
			      unit_pool().in_use);
	}
	unit_assert_sound(&s);
}

Test(defects, defect_12__message_of_the_whole_pool_fits_exactly)
{
	size_t len;
	size_t i;

	make_stream();
	len = unit_pool().total * BSI_ELEM_MAX;
	for (i = 0; i < len; i++)
		text[i] = (char)(i % 251);
	cr_expect_eq(bpf_stream_push(&s, text, len + 1), -E2BIG);
	cr_assert_eq(bpf_stream_push(&s, text, len), 0);
	cr_expect_eq(unit_pool().in_use, unit_pool().total);
	memset(text, 0, len);
	cr_assert_eq(bpf_stream_read(&s, text, sizeof(text)), (int)len);
	for (i = 0; i < len; i++)
		cr_assert_eq(text[i], (char)(i % 251));
}
