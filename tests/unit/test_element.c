/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [10] ELEMENT: sizes, texts, and long messages in several elements or not at
 * all.
 *
 * Seen to fail with: sizes rounded by 3 or by 8 for 7; an end marked in every
 * piece, or in none; one piece too many when the length is a multiple; a
 * failure that keeps the elements, or the chain; the pool's bound one byte too
 * low, or gone; -E2BIG without a pool; a release without its flush; a chain
 * that is not emptied first.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_POOL_BYTES (64u * 4096u)
#include "bpf_stream.h"
#include "unit.h"
#include <sys/resource.h>

static char text[64 * 4096 + 1];

/* @chain is one message, @len bytes of @text; gives it back. */
static void check_message(struct bse_chain *chain, size_t len)
{
	const struct bpf_stream_elem *elem;
	bse_link list = bsi_list_reverse(chain->newest);
	bse_link link;
	size_t at = 0;

	cr_assert_eq(chain->bytes, len);
	cr_assert_eq(list, chain->oldest);
	for (link = list; link; link = bse_elem_next(bse_elem_of(link))) {
		elem = bse_elem_of(link);
		cr_assert_leq(at + bse_elem_len(elem), len);
		unit_same_bytes(bse_elem_text(elem), text + at, bse_elem_len(elem));
		at += bse_elem_len(elem);
		cr_assert_eq(bse_elem_ends(elem), at == len,
			     "the end of the message, and only it, is marked");
	}
	cr_assert_eq(at, len);
	bsi_list_release(list);
}

static uint32_t elements(const struct bse_chain *chain)
{
	uint32_t n = 0;
	bse_link link;

	for (link = chain->newest; link; link = bse_elem_next(bse_elem_of(link)))
		n++;
	return n;
}

Test(element, size__is_the_least_multiple_of_8_that_holds_all)
{
	uint32_t len;

	for (len = 1; len <= BSI_ELEM_MAX; len++) {
		uint32_t size = bsi_elem_size(len);

		cr_assert_eq(size % 8, 0u);
		cr_assert_geq(size, 8 + len);
		cr_assert_lt(size, 8 + len + 8);
		cr_assert_leq(size, BPF_STREAM_PAGE_SIZE);
	}
}

Test(element, max__fills_a_page)
{
	cr_assert_eq(BSI_PAGE_START + bsi_elem_size(BSI_ELEM_MAX), BPF_STREAM_PAGE_SIZE);
	cr_assert_eq((BSI_PAGE_START + BSI_ELEM_HEAD) % 64, 0u);
}

Test(element, add__stores_every_length)
{
	uint32_t len;

	unit_fill(text, sizeof(text));
	for (len = 1; len <= BSI_ELEM_MAX; len++) {
		struct bse_chain chain;

		cr_assert_eq(bsi_message_make(&chain, BSE_MIXED, text, len, BSE_ELEM_PLAIN, 0), 0);
		cr_assert_eq(elements(&chain), 1u);
		check_message(&chain, len);
	}
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
}

Test(element, add__neighbours_do_not_touch_each_other)
{
	struct bse_chain chain[600];
	uint32_t i;

	unit_fill(text, sizeof(text));
	for (i = 0; i < 600; i++)
		cr_assert_eq(bsi_message_make(&chain[i], BSE_MIXED, text, 1 + i * 37 % 300, BSE_ELEM_PLAIN, 0), 0);
	for (i = 0; i < 600; i++)
		check_message(&chain[i], 1 + i * 37 % 300);
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
}

Test(element, add__failure_leaves_the_chain_alone)
{
	struct bse_chain chain = { 0 };
	bse_link newest;
	bse_page page;

	/* So many that the page at hand has no room for a long one. */
	unit_chain_add(&chain, 0, 5);
	newest = chain.newest;
	while (!bse_page_get(&page))
		;
	cr_assert_eq(bsi_elem_add(&chain, BSE_MIXED, text, BSI_ELEM_MAX, 0), -ENOMEM);
	cr_assert_eq(chain.newest, newest);
	cr_assert_eq(chain.bytes, 20u);
	cr_assert_eq(elements(&chain), 5u);
}

Test(element, make__forgets_what_was_in_the_chain)
{
	struct bse_chain chain = { 1, 1, 1, 1 };

	text[0] = 'x';
	cr_assert_eq(bsi_message_make(&chain, BSE_MIXED, text, 1, BSE_ELEM_PLAIN, 0), 0);
	cr_assert_eq(elements(&chain), 1u);
	cr_assert_eq(chain.bytes, 1u);
}

Test(element, split__takes_the_fewest_elements_at_every_boundary)
{
	uint32_t n;
	int off;

	unit_fill(text, sizeof(text));
	for (n = 1; n <= 20; n++) {
		for (off = -9; off <= 9; off++) {
			size_t len = (size_t)((int)(n * BSI_ELEM_MAX) + off);
			struct bse_chain chain;

			cr_assert_eq(bsi_message_make(&chain, BSE_MIXED, text, len, BSE_ELEM_PLAIN, 0), 0);
			cr_assert_eq(elements(&chain), n + (off > 0 ? 1 : 0));
			check_message(&chain, len);
		}
	}
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
}

Test(element, split__behind_a_started_page_is_whole)
{
	struct bse_chain small;
	struct bse_chain big;
	uint32_t before;

	unit_fill(text, sizeof(text));
	for (before = 1; before < BSI_ELEM_MAX; before += 331) {
		cr_assert_eq(bsi_message_make(&small, BSE_MIXED, text, before, BSE_ELEM_PLAIN, 0), 0);
		cr_assert_eq(bsi_message_make(&big, BSE_MIXED, text, 10000, BSE_ELEM_PLAIN, 0), 0);
		check_message(&small, before);
		check_message(&big, 10000);
	}
}

Test(element, split__all_or_nothing_when_the_pool_runs_out)
{
	static bse_page page[64];
	struct bse_chain chain;
	uint32_t total = 0;
	uint32_t need;
	uint32_t left;

	unit_fill(text, sizeof(text));
	while (!bse_page_get(&page[total]))
		total++;
	for (need = 2; need <= 8; need++) {
		for (left = 0; left <= 8; left++) {
			size_t len = need * BSI_ELEM_MAX - 5;
			uint32_t i;
			int err;

			for (i = 0; i < left; i++)
				bse_page_put(page[--total]);
			err = bsi_message_make(&chain, BSE_MIXED, text, len, BSE_ELEM_PLAIN, 0);
			cr_assert_eq(err, left >= need ? 0 : -ENOMEM);
			if (err)
				cr_assert(!chain.newest && !chain.oldest && !chain.bytes);
			else
				check_message(&chain, len);
			bpf_stream_thread_release();
			cr_assert_eq(unit_pages_in_use(), total, "with %u of %u pages",
				     left, need);
			for (i = 0; i < left; i++)
				cr_assert_eq(bse_page_get(&page[total++]), 0);
		}
	}
}

Test(element, split__as_large_as_the_pool_succeeds)
{
	size_t most = unit_pages_total() * BSI_ELEM_MAX;
	struct bse_chain chain;

	unit_fill(text, sizeof(text));
	cr_assert_gt(most, 0u);
	cr_assert_eq(bsi_message_make(&chain, BSE_MIXED, text, most, BSE_ELEM_PLAIN, 0), 0);
	check_message(&chain, most);
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
}

Test(element, split__larger_than_the_pool_is_refused_at_once)
{
	size_t most = unit_pages_total() * BSI_ELEM_MAX;
	struct bpf_stream_pool_stats stats;
	struct bse_chain chain;

	cr_assert_eq(bsi_message_make(&chain, BSE_MIXED, text, most + 1, BSE_ELEM_PLAIN, 0), -E2BIG);
	cr_assert_eq(chain.newest, 0u);
	cr_assert_eq(bsi_message_make(&chain, BSE_MIXED, text, INT_MAX, BSE_ELEM_PLAIN, 0), -E2BIG);
	bpf_stream_pool_get_stats(&stats);
	cr_assert_eq(stats.highest, 0u);
	cr_assert_eq(stats.denied, 0u);
}

Test(element, split__without_a_pool_may_work_later)
{
	struct rlimit old;
	struct rlimit none;
	struct bse_chain chain;
	int err;

	unit_fill(text, sizeof(text));
	cr_assert_eq(getrlimit(RLIMIT_AS, &old), 0);
	none = old;
	none.rlim_cur = 4096;
	cr_assert_eq(setrlimit(RLIMIT_AS, &none), 0);
	err = bsi_message_make(&chain, BSE_MIXED, text, 10000, BSE_ELEM_PLAIN, 0);
	cr_assert_eq(setrlimit(RLIMIT_AS, &old), 0);
	cr_assert_eq(err, -ENOMEM);
	cr_assert_eq(bsi_message_make(&chain, BSE_MIXED, text, 10000, BSE_ELEM_PLAIN, 0), 0);
	check_message(&chain, 10000);
}

Test(element, release__of_nothing_does_nothing)
{
	bsi_list_release(0);
	cr_assert_eq(unit_pages_in_use(), 0u);
}

Test(element, release__gives_a_list_over_many_pages_back)
{
	struct bse_chain chain = { 0 };

	unit_chain_add(&chain, 0, 10000);
	cr_assert_gt(unit_pages_in_use(), BSI_RETURNS);
	bsi_list_release(chain.newest);
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
}
