/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a message costs without contention, in atomic read-modify-writes: one
 * to push it, but when a page turns over; under 0.16 to drain it in batches of
 * 64 or more, locks and refunds included, and less the longer they are. One that
 * fills a page costs two to push, and one when it is given back.
 *
 * Seen to fail with: a page's count touched by every element; a refund, or a
 * return, for every element; a sink that gets messages one by one; a quota
 * asked for at every turn; a page given back and taken again where it could
 * stay; no look at the capacity before a page is touched; a count changed by a
 * read-modify-write for the last elements of a page, or to retire a page of
 * one.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "counting_env.h"
#include "bpf_stream.h"
#include "unit.h"
#include "cost.h"

static const char *const way_name[COST_WAYS] = { "read", "drain", "drain_fd" };

/* Drains of @batch messages, @ahead batches behind: under the @limits? */
static void check_drain(uint32_t batch, uint32_t ahead, const double limits[COST_WAYS])
{
	unsigned int way;
	struct cost cost;

	for (way = 0; way < COST_WAYS; way++) {
		cr_assert(cost_drain((enum cost_way)way, batch, ahead, 500, &cost));
		cr_log_info("%s, %u messages, backlog of %u batches: %.4f for each, "
			    "at most %u in a call\n", way_name[way], batch, ahead,
			    cost_per_message(&cost), (unsigned int)cost.most);
		cr_assert_geq(cost.calls, 500u);
		/* Lock, refund, unlock: below that nothing is counted. */
		cr_assert_geq(cost.rmw, 3 * cost.calls);
		cr_assert_lt(cost_per_message(&cost), limits[way], "%s of %u", way_name[way],
			     batch);
	}
}

Test(cost, push__is_one_read_modify_write_but_when_a_page_turns)
{
	enum { PUSHES = 10000 };
	struct bpf_stream s;
	struct cost plain = { 0 };
	struct cost turn = { 0 };
	uint32_t i;

	bpf_stream_init(&s, NULL);
	for (i = 0; i < PUSHES; i++) {
		bse_page page = bse_self.slot[bse_group(&s)].space.page;
		uint64_t rmw = cost_push(&s);

		cr_assert_neq(rmw, 0u);
		cr_assert_eq(bse_self.slot[bse_group(&s)].space.page != page, i % COST_PER_PAGE == 0);
		if (i % COST_PER_PAGE) {
			cr_assert_eq(rmw, 1u, "push %u took %u", i, (unsigned int)rmw);
			cost_add(&plain, 1, rmw);
		} else {
			cr_assert_gt(rmw, 1u);
			cost_add(&turn, 1, rmw);
		}
	}
	cr_log_info("push: %.4f; one that turns a page: %.4f; together %.4f\n",
		    cost_per_message(&plain), cost_per_message(&turn),
		    (double)(plain.rmw + turn.rmw) / PUSHES);
}

Test(cost, push__that_finds_its_page_empty_again_costs_no_more)
{
	struct bpf_stream s;
	struct cost unused = { 0 };
	uint32_t i;

	bpf_stream_init(&s, NULL);
	for (i = 0; i < 1000; i++) {
		uint64_t rmw = cost_push(&s);

		if (i)
			cr_assert_eq(rmw, 1u);
		cr_assert(cost_drain_once(&s, COST_READ, 1, &unused));
	}
	cr_assert_eq(unit_pages_in_use(), 1u);
}

Test(cost, refused_push__of_a_full_stream_touches_only_its_counters)
{
	struct bpf_stream_options opts = { .capacity = COST_MESSAGE };
	struct bpf_stream s;
	uint64_t before;
	uint32_t i;

	bpf_stream_init(&s, &opts);
	cr_assert_neq(cost_push(&s), 0u);
	before = counting_rmw;
	for (i = 0; i < 100; i++)
		cr_assert_eq(cost_push(&s), 0u);
	/* Messages, bytes, and what readers are told. */
	cr_assert_eq(counting_rmw - before, 300u);
	cr_assert_eq(unit_pages_in_use(), 1u);
}

Test(cost, push__of_what_fills_a_page_is_one_more_for_the_page)
{
	static const char text[BSI_ELEM_MAX];
	struct bpf_stream s;
	uint64_t before;
	uint32_t i;

	bpf_stream_init(&s, NULL);
	/* A page at hand stays there, and pages that were used come from a list. */
	cr_assert_neq(cost_push(&s), 0u);
	for (i = 0; i < 100; i++) {
		before = counting_rmw;
		cr_assert_eq(bpf_stream_push(&s, text, sizeof(text)), 0);
		cr_assert_eq(counting_rmw - before, 2u);
	}
	cr_assert_eq(cost_push(&s), 1u);
}

Test(cost, read__of_what_fills_pages_is_one_for_each_page)
{
	enum { MESSAGES = 64, REFUNDED = 16384 / BSI_ELEM_MAX + 1 };
	static const char text[BSI_ELEM_MAX];
	static char buf[MESSAGES * BSI_ELEM_MAX];
	struct bpf_stream s;
	uint64_t before;
	uint32_t i;

	bpf_stream_init(&s, NULL);
	for (i = 0; i < MESSAGES; i++)
		cr_assert_eq(bpf_stream_push(&s, text, sizeof(text)), 0);
	before = counting_rmw;
	cr_assert_eq(bpf_stream_read(&s, buf, sizeof(buf)), (int)sizeof(buf));
	cr_log_info("read of %u that fill pages: %u\n", (unsigned int)MESSAGES,
		    (unsigned int)(counting_rmw - before));
	/* Lock, detach, unlock; a refund from 16 KiB on; the way of each page. */
	cr_assert_leq(counting_rmw - before,
		      3u + (MESSAGES + REFUNDED - 1) / REFUNDED + MESSAGES);
}

Test(cost, drain__in_batches_of_64_is_under_an_eighth_for_each)
{
	check_drain(64, 1, (const double[COST_WAYS]){ 0.095, 0.124, 0.095 });
}

Test(cost, drain__in_batches_of_512_is_under_a_twelfth_for_each)
{
	check_drain(512, 1, (const double[COST_WAYS]){ 0.032, 0.083, 0.054 });
}

Test(cost, drain__of_every_batch_from_64_to_200_is_under_0_16_for_each)
{
	uint32_t batch;

	for (batch = 65; batch <= 200; batch++)
		check_drain(batch, 1, (const double[COST_WAYS]){ 0.095, 0.156, 0.126 });
}

Test(cost, drain__of_a_long_backlog_by_64_is_under_a_ninth_for_each)
{
	check_drain(64, 100, (const double[COST_WAYS]){ 0.079, 0.108, 0.079 });
}
