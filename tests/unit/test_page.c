/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [9] PAGE: room in pages, their turn, their count of holders, and the way
 * back of elements.
 *
 * Seen to fail with: retire that ignores what came back; give_back that frees
 * at every return; a released slot that keeps its quota, or its page; a failed
 * turn that keeps the slot, or the depth; a first element, or a later one, that
 * is not counted; a quota of all pages, or none; a page that nobody keeps and
 * nobody gets; room compared with > for >=; one slot for all levels; returns
 * that forget the page they evict, evict the latest one, or are told twice.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_POOL_BYTES (64u * 4096u)
#include "bpf_stream.h"
#include "unit.h"

static bse_link reserve(uint32_t size)
{
	bse_link at = 0;

	cr_assert_eq(bsi_page_reserve(0, size, false, &at), 0);
	cr_assert_neq(at, 0u);
	return at;
}

static uint32_t holders(bse_page page)
{
	return bse_u32_load_relaxed(bse_page_ref(page));
}

static uint32_t kept(void)
{
	return bse_u32_load_relaxed(&bse_pool()->kept);
}

static uint32_t depth(void)
{
	return bse_own_get(&bse_self.depth);
}

/* Takes every page that is left; how many these were. */
static uint32_t take_all(bse_page *page)
{
	uint32_t n = 0;

	while (!bse_page_get(&page[n]))
		n++;
	return n;
}

Test(page, reserve__places_lie_side_by_side)
{
	bse_link first = reserve(16);
	bse_link second = reserve(80);
	bse_link third = reserve(8);

	cr_assert_eq(first, bse_link_at(bse_page_of(first), 0));
	cr_assert_eq(second, first + 2);
	cr_assert_eq(third, second + 10);
	cr_assert_eq(unit_pages_in_use(), 1u);
}

Test(page, reserve__fills_a_page_to_its_end)
{
	static const uint32_t size[] = { 16, 64, 80, 1024, 2048, 3784, 3792, 4040 };
	unsigned int i;
	uint32_t n;

	for (i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
		uint32_t fit = BPF_STREAM_PAGE_SIZE / size[i];
		bse_page page;

		/* A large one begins behind the page's start, if it can. */
		if (size[i] >= BSI_PAGE_LARGE && size[i] <= BPF_STREAM_PAGE_SIZE - BSI_PAGE_START)
			fit = (BPF_STREAM_PAGE_SIZE - BSI_PAGE_START) / size[i];

		bpf_stream_thread_release();
		bpf_stream_pool_trim();
		page = bse_page_of(reserve(size[i]));
		for (n = 1; n < fit; n++)
			cr_assert_eq(bse_page_of(reserve(size[i])), page);
		cr_assert_neq(bse_page_of(reserve(size[i])), page);
		cr_assert_eq(holders(page), fit);
	}
}

Test(page, reserve__counts_in_the_slot_and_not_in_the_page)
{
	bse_page page = bse_page_of(reserve(16));

	reserve(16);
	reserve(16);
	cr_assert_eq(bse_self.slot[0].space.page, page);
	cr_assert_eq(bse_self.slot[0].space.given, 3u);
	cr_assert_eq(bse_self.slot[0].space.room, BPF_STREAM_PAGE_SIZE - 48);
	cr_assert_eq(holders(page), 0u);
}

Test(page, reserve__each_level_has_a_page_of_its_own)
{
	bse_link at[BPF_STREAM_LEVELS];
	uint32_t found[BPF_STREAM_LEVELS];
	uint32_t i;
	uint32_t j;

	for (i = 0; i < BPF_STREAM_LEVELS; i++) {
		at[i] = reserve(16);
		for (j = 0; j < i; j++)
			cr_assert_neq(bse_page_of(at[i]), bse_page_of(at[j]));
		cr_assert_eq(depth(), i);
		bse_enter(0, &found[i]);
	}
	for (i = BPF_STREAM_LEVELS; i-- > 0;) {
		bse_leave(found[i]);
		cr_assert_eq(reserve(16), at[i] + 2);
	}
	cr_assert_eq(kept(), BPF_STREAM_LEVELS);
}

Test(page, reserve__below_the_levels_a_page_goes_on_to_the_next)
{
	uint32_t found;
	bse_link at[3];
	uint32_t i;

	for (i = 0; i < BPF_STREAM_LEVELS; i++)
		bse_enter(0, &found);
	for (i = 0; i < 3; i++) {
		bse_enter(0, &found);
		at[i] = reserve(16);
		cr_assert_eq(at[i], at[0] + 2 * i);
		cr_assert_eq(unit_pool().in_use, 1u);
		cr_assert_eq(unit_pool().partial, 1u);
		cr_assert_eq(holders(bse_page_of(at[i])), 0u);
		cr_assert_eq(kept(), 0u);
	}
	bsi_page_give_back(bse_page_of(at[0]), 3);
	cr_assert_eq(unit_pool().in_use, 0u);
	/* All came back, so it starts afresh. */
	cr_assert_eq(reserve(16), at[0]);
	unit_assert_sound(NULL);
	cr_assert_eq(depth(), BPF_STREAM_LEVELS + 3);
}

Test(page, reserve__leaves_the_depth_as_it_was)
{
	static bse_page page[64];
	bse_link at;

	reserve(64);
	cr_assert_eq(depth(), 0u);
	/* A page of its own, and another page. */
	reserve(BSE_PAGE_ROOM - BSI_PAGE_START);
	cr_assert_eq(depth(), 0u);
	reserve(3000);
	reserve(3000);
	cr_assert_eq(depth(), 0u);
	cr_assert_eq(bsi_page_reserve(0, 3000, true, &at), -EBUSY);
	cr_assert_eq(depth(), 0u);
	take_all(page);
	cr_assert_eq(bsi_page_reserve(0, BSE_PAGE_ROOM - BSI_PAGE_START, false, &at), -ENOMEM);
	cr_assert_eq(depth(), 0u);
	cr_assert_eq(bsi_page_reserve(0, 3000, false, &at), -ENOMEM);
	cr_assert_eq(depth(), 0u);
}

Test(page, turn__takes_the_same_page_when_all_came_back)
{
	bse_page page = bse_page_of(reserve(3000));
	uint32_t i;

	for (i = 0; i < 100; i++) {
		bsi_page_give_back(page, 1);
		cr_assert_eq(bse_page_of(reserve(3000)), page);
		cr_assert_eq(unit_pages_in_use(), 1u);
		cr_assert_eq(holders(page), 0u);
		cr_assert_eq(kept(), 1u);
	}
}

Test(page, turn__leaves_a_page_with_elements_to_its_readers)
{
	bse_page page = bse_page_of(reserve(3000));
	bse_page next = bse_page_of(reserve(3000));

	cr_assert_neq(page, next);
	cr_assert_eq(unit_pages_in_use(), 2u);
	cr_assert_eq(kept(), 1u);
	bsi_page_give_back(page, 1);
	cr_assert_eq(unit_pages_in_use(), 1u);
	cr_assert_eq(bse_self.slot[0].space.page, next);
}

Test(page, turn__that_finds_no_page_leaves_the_slot_only_its_quota)
{
	static bse_page page[64];
	bse_page first = bse_page_of(reserve(3000));
	bse_link at;

	take_all(page);
	cr_assert_eq(kept(), 1u);
	cr_assert_eq(bsi_page_reserve(0, 3000, false, &at), -ENOMEM);
	cr_assert_eq(bse_self.slot[0].space.page, 0u);
	cr_assert_eq(bse_self.slot[0].keeps, 1u);
	cr_assert_eq(bse_self.slot[0].space.room, 0u);
	cr_assert_eq(kept(), 1u);
	/* Once more, without a page to retire. */
	cr_assert_eq(bsi_page_reserve(0, 3000, false, &at), -ENOMEM);
	cr_assert_eq(kept(), 1u);
	/* Retired all the same: its reader frees it, and that helps. */
	bsi_page_give_back(first, 1);
	cr_assert_eq(bse_page_of(reserve(3000)), first);
	cr_assert_eq(kept(), 1u);
}

Test(page, release__of_a_slot_without_its_page_gives_up_its_quota)
{
	static bse_page page[64];
	bse_link at;

	reserve(3000);
	take_all(page);
	cr_assert_eq(bsi_page_reserve(0, 3000, false, &at), -ENOMEM);
	cr_assert_eq(kept(), 1u);
	bpf_stream_thread_release();
	cr_assert_eq(bse_self.slot[0].space.page, 0u);
	cr_assert_eq(kept(), 0u);
	bpf_stream_thread_release();
	cr_assert_eq(kept(), 0u);
}

Test(page, turn__that_finds_no_page_in_an_empty_slot_gives_up_no_quota)
{
	static bse_page page[64];
	bse_link at;

	take_all(page);
	cr_assert_eq(bsi_page_reserve(0, 16, false, &at), -ENOMEM);
	cr_assert_eq(kept(), 0u);
}

Test(page, turn__beyond_the_quota_a_page_goes_on_to_the_next)
{
	struct bse_slot slot = { .keeps = 0 };
	uint32_t quota = 0;
	bse_link at;

	cr_assert_neq(unit_pages_total(), 0u);
	for (; bse_may_keep(&slot); slot.keeps = 0)
		quota++;
	cr_assert_eq(quota, unit_pages_total() / 4);
	at = reserve(16);
	cr_assert_eq(bse_self.slot[0].space.page, 0u);
	cr_assert_eq(kept(), quota);
	cr_assert_eq(unit_pool().partial, 1u);
	bse_unkeep(&(struct bse_slot){ .keeps = 1 });
	cr_assert_eq(reserve(16), at + 2);
	cr_assert_eq(bse_self.slot[0].space.page, bse_page_of(at));
	cr_assert_eq(unit_pool().partial, 0u);
	cr_assert_eq(kept(), quota);
}

Test(page, retire__with_elements_out_is_not_the_end)
{
	bse_page page;

	cr_assert_eq(bse_page_get(&page), 0);
	cr_assert_not(unit_retire(page, 3));
	bsi_page_give_back(page, 1);
	bsi_page_give_back(page, 1);
	cr_assert_eq(unit_pages_in_use(), 1u);
	bsi_page_give_back(page, 1);
	cr_assert_eq(unit_pages_in_use(), 0u);
	cr_assert_eq(holders(page), 0u);
}

Test(page, retire__after_all_came_back_frees_the_page)
{
	bse_page page;

	cr_assert_eq(bse_page_get(&page), 0);
	bsi_page_give_back(page, 2);
	bsi_page_give_back(page, 3);
	cr_assert_eq(holders(page), 0u - 5u);
	cr_assert_eq(unit_pages_in_use(), 1u);
	cr_assert(unit_retire(page, 5));
	cr_assert_eq(holders(page), 0u);
	cr_assert_eq(unit_pages_in_use(), 0u);
}

Test(page, give_back__the_last_of_many_frees_the_page)
{
	bse_page page;
	uint32_t given;
	uint32_t early;

	/* Every split of five elements, before and after the retirement. */
	for (given = 1; given <= 5; given++) {
		for (early = 0; early < given; early++) {
			cr_assert_eq(bse_page_get(&page), 0);
			if (early)
				bsi_page_give_back(page, early);
			cr_assert_not(unit_retire(page, given));
			cr_assert_eq(unit_pages_in_use(), 1u);
			bsi_page_give_back(page, given - early);
			cr_assert_eq(unit_pages_in_use(), 0u);
		}
	}
}

Test(page, slots_release__of_a_full_page_waits_for_its_elements)
{
	bse_page page = bse_page_of(reserve(16));

	reserve(BPF_STREAM_PAGE_SIZE - BSI_PAGE_WORTH - 8);
	bsi_slots_release(bse_self.slot);
	cr_assert_eq(bse_self.slot[0].space.page, 0u);
	cr_assert_eq(bse_self.slot[0].space.room, 0u);
	cr_assert_eq(bse_self.slot[0].space.given, 0u);
	cr_assert_eq(kept(), 0u);
	cr_assert_eq(holders(page), 2u);
	cr_assert_eq(unit_pool().in_use, 1u);
	cr_assert_eq(unit_pool().partial, 0u);
	bsi_page_give_back(page, 2);
	cr_assert_eq(unit_pages_in_use(), 0u);
}

Test(page, slots_release__of_a_page_with_room_leaves_it_to_others)
{
	bse_page page = bse_page_of(reserve(16));

	reserve(BPF_STREAM_PAGE_SIZE - BSI_PAGE_WORTH - 16);
	bsi_slots_release(bse_self.slot);
	cr_assert_eq(bse_self.slot[0].space.page, 0u);
	cr_assert_eq(bse_self.slot[0].space.room, 0u);
	cr_assert_eq(bse_self.slot[0].space.given, 0u);
	cr_assert_eq(kept(), 0u);
	cr_assert_eq(holders(page), 0u);
	cr_assert_eq(unit_pool().in_use, 1u);
	cr_assert_eq(unit_pool().partial, 1u);
	unit_assert_sound(NULL);
	bsi_page_give_back(page, 1);
	cr_assert_eq(unit_pool().in_use, 1u);
	bsi_page_give_back(page, 1);
	/* Empty, but only who takes it finds that out. */
	cr_assert_eq(unit_pool().in_use, 0u);
	cr_assert_eq(unit_pool().partial, 0u);
	unit_assert_sound(NULL);
}

Test(page, slots_release__without_elements_frees_the_page)
{
	bse_page page = bse_page_of(reserve(16));

	bsi_page_give_back(page, 1);
	cr_assert_eq(unit_pages_in_use(), 1u);
	bsi_slots_release(bse_self.slot);
	cr_assert_eq(unit_pages_in_use(), 0u);
	cr_assert_eq(kept(), 0u);
}

Test(page, slots_release__of_an_empty_slot_does_nothing)
{
	bsi_page_give_back(bse_page_of(reserve(16)), 1);
	bsi_slots_release(bse_self.slot);
	bsi_slots_release(bse_self.slot);
	cr_assert_eq(unit_pages_in_use(), 0u);
	cr_assert_eq(kept(), 0u);
}

Test(page, returns__of_one_page_are_told_at_once)
{
	struct bsi_returns returns;
	bse_page page;
	uint32_t i;

	bsi_returns_init(&returns);
	cr_assert_eq(bse_page_get(&page), 0);
	cr_assert_not(unit_retire(page, 100));
	for (i = 0; i < 100; i++)
		bsi_returns_add(&returns, page);
	cr_assert_eq(holders(page), 100u);
	bsi_returns_flush(&returns);
	cr_assert_eq(holders(page), 0u);
	cr_assert_eq(unit_pages_in_use(), 0u);
	/* Nothing is told twice. */
	bsi_returns_flush(&returns);
	cr_assert_eq(holders(page), 0u);
}

Test(page, returns__as_many_pages_as_entries_wait_for_the_flush)
{
	struct bsi_returns returns;
	bse_page page[BSI_RETURNS];
	uint32_t round;
	uint32_t i;

	bsi_returns_init(&returns);
	for (i = 0; i < BSI_RETURNS; i++) {
		cr_assert_eq(bse_page_get(&page[i]), 0);
		cr_assert_not(unit_retire(page[i], 3));
	}
	for (round = 0; round < 3; round++)
		for (i = 0; i < BSI_RETURNS; i++)
			bsi_returns_add(&returns, page[i]);
	for (i = 0; i < BSI_RETURNS; i++)
		cr_assert_eq(holders(page[i]), 3u);
	bsi_returns_flush(&returns);
	cr_assert_eq(unit_pages_in_use(), 0u);
}

Test(page, returns__of_more_pages_than_entries_all_arrive)
{
	enum { PAGES = BSI_RETURNS * 3, EACH = 4 };
	struct bsi_returns returns;
	bse_page page[PAGES];
	uint32_t round;
	uint32_t i;

	bsi_returns_init(&returns);
	for (i = 0; i < PAGES; i++) {
		cr_assert_eq(bse_page_get(&page[i]), 0);
		cr_assert_not(unit_retire(page[i], 2 * EACH));
	}
	for (round = 0; round < EACH; round++)
		for (i = 0; i < PAGES; i++)
			bsi_returns_add(&returns, page[i]);
	for (round = 0; round < EACH; round++)
		for (i = 0; i < PAGES; i++)
			bsi_returns_add(&returns, page[i * 7 % PAGES]);
	bsi_returns_flush(&returns);
	for (i = 0; i < PAGES; i++)
		cr_assert_eq(holders(page[i]), 0u);
	cr_assert_eq(unit_pages_in_use(), 0u);
}

Test(page, returns__the_page_that_came_first_goes_first)
{
	struct bsi_returns returns;
	bse_page page[BSI_RETURNS + 1];
	uint32_t i;

	bsi_returns_init(&returns);
	for (i = 0; i <= BSI_RETURNS; i++) {
		cr_assert_eq(bse_page_get(&page[i]), 0);
		cr_assert_not(unit_retire(page[i], 2));
		bsi_returns_add(&returns, page[i]);
	}
	cr_assert_eq(holders(page[0]), 1u);
	for (i = 1; i <= BSI_RETURNS; i++)
		cr_assert_eq(holders(page[i]), 2u);
}

/* More threads than the quota, all alive: some get on without a page. */
struct keeper {
	struct bpf_stream *s;
	pthread_barrier_t *pushed;
	int err;
};

static void *keep_one(void *arg)
{
	struct keeper *k = arg;

	k->err = bpf_stream_push(k->s, "x", 1);
	pthread_barrier_wait(k->pushed);
	pthread_barrier_wait(k->pushed);
	return NULL;
}

Test(page, quota__threads_keep_at_most_a_quarter_of_the_pages)
{
	enum { THREADS = 50 };
	static pthread_t thread[THREADS];
	static struct keeper k[THREADS];
	struct bpf_stream s;
	pthread_barrier_t pushed;
	char buf[THREADS];
	uint32_t i;

	bpf_stream_init(&s, NULL);
	pthread_barrier_init(&pushed, NULL, THREADS + 1);
	for (i = 0; i < THREADS; i++) {
		k[i] = (struct keeper){ &s, &pushed, 1 };
		unit_start(&thread[i], keep_one, &k[i]);
	}
	pthread_barrier_wait(&pushed);
	cr_assert_eq(kept(), unit_pages_total() / 4);
	cr_assert_eq(bpf_stream_read(&s, buf, sizeof(buf)), THREADS);
	cr_assert_eq(unit_pages_in_use(), unit_pages_total() / 4);
	pthread_barrier_wait(&pushed);
	for (i = 0; i < THREADS; i++) {
		unit_join(thread[i]);
		cr_assert_eq(k[i].err, 0);
	}
	cr_assert_eq(kept(), 0u);
	cr_assert_eq(unit_pages_in_use(), 0u);
}
