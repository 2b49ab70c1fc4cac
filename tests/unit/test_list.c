/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [8] LIST: chains, reversing, and how chains go into and out of a log.
 *
 * Seen to fail with: chain_add that forgets the oldest element, sets it always,
 * links the newest, or counts no bytes; reverse that stops before the last
 * element; publish that does not link, or links the newest; a detach that
 * leaves the list in the log.
 */
#define BPF_STREAM_STATIC
#include "bpf_stream.h"
#include "unit.h"

Test(list, chain_add__first_element_is_both_ends)
{
	struct bse_chain chain = { 0 };
	bse_link element;

	unit_chain_add(&chain, 7, 1);
	element = chain.newest;
	cr_assert_neq(element, 0u);
	cr_assert_eq(chain.oldest, element);
	cr_assert_eq(bse_elem_next(bse_elem_of(element)), 0u);
	cr_assert_eq(chain.bytes, 4u);
}

Test(list, chain_add__links_go_from_newest_to_oldest)
{
	struct bse_chain chain = { 0 };
	bse_link link;
	uint32_t i;

	unit_chain_add(&chain, 0, 1000);
	cr_assert_eq(chain.bytes, 4000u);
	link = chain.newest;
	for (i = 1000; i-- > 0; link = bse_elem_next(bse_elem_of(link))) {
		cr_assert_eq(unit_number(link), i);
		if (!i)
			cr_assert_eq(chain.oldest, link);
	}
	cr_assert_eq(link, 0u);
}

Test(list, chain_add__a_whole_chain_keeps_its_order)
{
	struct bse_chain group = { 0 };
	struct bse_chain message = { 0 };
	bse_link link;
	uint32_t i;

	unit_chain_add(&message, 0, 3);
	bsi_chain_add(&group, message.newest, message.oldest, message.bytes);
	cr_assert_eq(group.newest, message.newest);
	cr_assert_eq(group.oldest, message.oldest);
	message = (struct bse_chain){ 0 };
	unit_chain_add(&message, 3, 3);
	bsi_chain_add(&group, message.newest, message.oldest, message.bytes);
	cr_assert_eq(group.newest, message.newest);
	cr_assert_eq(unit_number(group.oldest), 0u);
	cr_assert_eq(group.bytes, 24u);
	link = group.newest;
	for (i = 6; i-- > 0; link = bse_elem_next(bse_elem_of(link)))
		cr_assert_eq(unit_number(link), i);
	cr_assert_eq(link, 0u);
}

Test(list, reverse__of_nothing_is_nothing)
{
	cr_assert_eq(bsi_list_reverse(0), 0u);
}

Test(list, reverse__turns_every_length_round)
{
	uint32_t n;
	uint32_t i;

	for (n = 1; n <= 70; n++) {
		struct bse_chain chain = { 0 };
		bse_link link;

		unit_chain_add(&chain, 100, n);
		link = bsi_list_reverse(chain.newest);
		cr_assert_eq(link, chain.oldest);
		for (i = 0; i < n; i++, link = bse_elem_next(bse_elem_of(link)))
			cr_assert_eq(unit_number(link), 100 + i);
		cr_assert_eq(link, 0u);
	}
}

Test(list, publish__puts_a_chain_before_what_was_there)
{
	struct bse_chain first = { 0 };
	struct bse_chain second = { 0 };
	struct bpf_stream s;
	bse_link link;
	uint32_t i;

	unit_make_stream(&s, 100);
	unit_chain_add(&first, 0, 2);
	unit_chain_add(&second, 2, 3);
	cr_assert_eq(unit_publish(&s, &first), 0);
	cr_assert_eq(unit_publish(&s, &second), 0);
	cr_assert_eq(bse_log_pending(&s), 20u);
	link = unit_detach(&s);
	cr_assert_eq(link, second.newest);
	for (i = 5; i-- > 0; link = bse_elem_next(bse_elem_of(link)))
		cr_assert_eq(unit_number(link), i);
	cr_assert_eq(link, 0u);
}

Test(list, publish__a_group_stays_together)
{
	struct bse_chain chain[3] = { { 0 }, { 0 }, { 0 } };
	struct bpf_stream s;
	bse_link link;
	uint32_t i;

	/* Made at the same time, published one after the other. */
	for (i = 0; i < 4; i++) {
		unit_chain_add(&chain[0], i, 1);
		unit_chain_add(&chain[1], 10 + i, 1);
		unit_chain_add(&chain[2], 20 + i, 1);
	}
	unit_make_stream(&s, 100);
	for (i = 0; i < 3; i++)
		cr_assert_eq(unit_publish(&s, &chain[i]), 0);
	link = bsi_list_reverse(unit_detach(&s));
	for (i = 0; i < 12; i++, link = bse_elem_next(bse_elem_of(link)))
		cr_assert_eq(unit_number(link), i / 4 * 10 + i % 4);
	cr_assert_eq(link, 0u);
}

Test(list, publish__after_a_detach_knows_nothing_of_what_left)
{
	struct bse_chain old = { 0 };
	struct bse_chain new = { 0 };
	bse_link detached;
	struct bpf_stream s;

	unit_make_stream(&s, 100);
	unit_chain_add(&old, 0, 3);
	cr_assert_eq(unit_publish(&s, &old), 0);
	detached = unit_detach(&s);
	unit_chain_add(&new, 3, 1);
	cr_assert_eq(unit_publish(&s, &new), 0);
	cr_assert_eq(bse_elem_next(bse_elem_of(new.oldest)), 0u);
	cr_assert_eq(unit_number(detached), 2u);
	cr_assert_eq(bse_log_pending(&s), 16u);
}

Test(list, publish__that_is_refused_changes_nothing)
{
	struct bse_chain in = { 0 };
	struct bse_chain out = { 0 };
	struct bpf_stream s;

	unit_make_stream(&s, 15);
	unit_chain_add(&in, 0, 2);
	unit_chain_add(&out, 2, 2);
	cr_assert_eq(unit_publish(&s, &in), 0);
	cr_assert_eq(unit_publish(&s, &out), -ENOSPC);
	cr_assert_eq(bse_log_pending(&s), 8u);
	cr_assert_eq(bse_elem_next(bse_elem_of(out.oldest)), 0u);
	cr_assert_eq(unit_detach(&s), in.newest);
}
