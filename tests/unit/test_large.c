/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [9] PAGE, [10] ELEMENT: elements that fill a page, which leave alone the page
 * that a slot has; and the last elements of a page, which come back without a
 * read-modify-write.
 *
 * Seen to fail with: an element that fills a page which it shares and gives to
 * the slot, or that makes the slot give up what it has; the limit of what fills
 * a page 8 bytes lower, or higher; another page where there is room at hand; a
 * page of one such element that is retired without a count, or with one too
 * many; one with other elements that is retired as if it had one (>= 1 for
 * == 1), or that does not count the large one; a share of the kept pages taken
 * for it; last elements that go the long way, or do not leave a count of 0; a
 * page that is free when as much comes back as before (refs == 0 - count); a
 * short part that comes last; an empty page at hand that is left alone, too;
 * a page of others that is retired for want of room when another one is free.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_POOL_BYTES (1024u * 4096u)
#define BPF_STREAM_ENV_HEADER "counting_env.h"
#include "bpf_stream.h"
#include "unit.h"

#define PAGE BPF_STREAM_PAGE_SIZE
#define MOST BSI_ELEM_MAX

/* The most that an element takes without filling a page. */
#define SHARES (PAGE - BSI_PAGE_START - BSI_PAGE_WORTH)

static struct bpf_stream s;		/* both of group 2 */
static struct bpf_stream other;
static char text[1u << 20];
static char got[1u << 20];

static void set_up(void)
{
	const struct bpf_stream_options opts = { .group = 2 };

	cr_assert_eq(bpf_stream_init(&s, &opts), 0);
	cr_assert_eq(bpf_stream_init(&other, &opts), 0);
	unit_fill(text, sizeof(text));
}

/* Of the streams' group. */
static struct bse_space *at_hand(void)
{
	return &bse_self.slot[1].space;
}

/* Where @to's newest element lies. */
static bse_link newest(const struct bpf_stream *to)
{
	return (bse_link)((bse_u64_load_relaxed)(&to->log) >> BSE_LOG_SHIFT);
}

static bse_link push(struct bpf_stream *to, size_t len)
{
	cr_assert_eq(bpf_stream_push(to, text, len), 0);
	return newest(to);
}

/* The next of what @from holds is the first @len bytes of the text. */
static void expect(struct bpf_stream *from, size_t len)
{
	unit_same_length(bpf_stream_read(from, got, len), len);
	unit_same_bytes(got, text, len);
}

static uint32_t refs(bse_page page)
{
	return bse_u32_load_relaxed(bse_page_ref(page));
}

static uint32_t kept(void)
{
	return bse_u32_load_relaxed(&bse_pool()->kept);
}

static bool same_space(const struct bse_space *a, const struct bse_space *b)
{
	return a->page == b->page && a->room == b->room && a->given == b->given;
}

/* All was read; no page, and no share of kept pages, is lost. */
static void expect_all_back(void)
{
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
	cr_assert_eq(kept(), 0u);
	unit_assert_sound(&s);
	unit_assert_sound(&other);
}

/* ---- A page of its own ------------------------------------------------- */

Test(large, fills__leaves_alone_the_page_at_hand)
{
	struct bse_space before;
	bse_link large;
	uint32_t i;

	set_up();
	push(&s, 100);
	before = *at_hand();
	for (i = 1; i <= 5; i++) {
		large = push(&s, MOST);
		cr_assert(same_space(at_hand(), &before));
		cr_assert_neq(bse_page_of(large), before.page);
		cr_assert_eq(refs(bse_page_of(large)), 1u);
		cr_assert_eq(unit_pool().in_use, 1u + i);
		cr_assert_eq(unit_pool().partial, 0u);
		cr_assert_eq(kept(), 1u);
	}
	/* What is short goes on behind what was short. */
	cr_assert_eq(push(&s, 100), bse_link_at(before.page, bsi_elem_size(100)));
	unit_assert_sound(&s);
	expect(&s, 100);
	for (i = 1; i <= 5; i++) {
		expect(&s, MOST);
		/* Free at once, as it was retired. */
		cr_assert_eq(unit_pool().in_use, 6u - i);
	}
	expect(&s, 100);
	expect_all_back();
}

Test(large, fills__from_the_size_on_that_leaves_no_room_worth_it)
{
	struct bse_space before;
	size_t len;

	set_up();
	for (len = SHARES - 40; len <= MOST; len++) {
		const uint32_t size = bsi_elem_size(len);
		bse_link link;

		/* Too little room for any of them, and not empty. */
		push(&s, 500);
		before = *at_hand();
		link = push(&s, len);
		if (size <= SHARES) {
			cr_assert_eq(at_hand()->page, bse_page_of(link), "%zu bytes", len);
			cr_assert_eq(at_hand()->given, 1u);
			cr_assert_eq(at_hand()->room, PAGE - BSI_PAGE_START - size);
			cr_assert_geq(at_hand()->room, BSI_PAGE_WORTH);
		} else {
			cr_assert(same_space(at_hand(), &before), "%zu bytes", len);
			cr_assert_eq(refs(bse_page_of(link)), 1u);
		}
		cr_assert_eq(unit_pool().in_use, 2u);
		expect(&s, 500);
		expect(&s, len);
		expect_all_back();
	}
}

Test(large, fills__the_page_at_hand_if_that_has_room)
{
	size_t len;

	set_up();
	for (len = SHARES; len <= MOST; len++) {
		const uint32_t size = bsi_elem_size(len);
		bse_link first = push(&s, PAGE - size - BSI_ELEM_HEAD);
		bse_link large;

		/* Exactly what is left, and then 8 bytes less than that. */
		cr_assert_eq(at_hand()->room, size);
		large = push(&s, len);
		cr_assert_eq(large, bse_link_at(bse_page_of(first), PAGE - size));
		cr_assert_eq(at_hand()->room, 0u);
		cr_assert_eq(at_hand()->given, 2u);
		bpf_stream_thread_release();
		first = push(&other, PAGE - size - BSI_ELEM_HEAD + 1);
		cr_assert_eq(at_hand()->room, size - 8);
		large = push(&other, len);
		cr_assert_neq(bse_page_of(large), bse_page_of(first));
		cr_assert_eq(at_hand()->room, size - 8);
		cr_assert_eq(unit_pool().in_use, 3u);
		while (bpf_stream_read(&s, got, sizeof(got)) ||
		       bpf_stream_read(&other, got, sizeof(got)))
			;
		expect_all_back();
	}
}

Test(large, fills__without_a_page_at_hand_takes_no_share_of_the_kept_ones)
{
	bse_page page;
	uint32_t i;

	set_up();
	page = bse_page_of(push(&s, MOST));
	expect(&s, MOST);
	for (i = 0; i < 100; i++) {
		cr_assert_eq(at_hand()->page, 0u);
		cr_assert_eq(kept(), 0u);
		cr_assert_eq(unit_pages_in_use(), 0u);
		cr_assert_eq(bse_page_of(push(&s, MOST)), page);
		cr_assert_eq(refs(page), 1u);
		expect(&s, MOST);
	}
	expect_all_back();
}

Test(large, fills__below_the_levels_as_well)
{
	uint32_t depth;
	uint32_t i;

	set_up();
	for (i = 0; i < BPF_STREAM_LEVELS; i++)
		bse_enter(0, &depth);
	cr_assert_eq(refs(bse_page_of(push(&s, MOST))), 1u);
	cr_assert_eq(unit_pool().in_use, 1u);
	cr_assert_eq(unit_pool().partial, 0u);
	bse_leave(0);
	expect(&s, MOST);
	expect_all_back();
}

Test(large, fills__without_a_page_fails_and_leaves_the_page_at_hand)
{
	static bse_page page[1024];
	struct bse_space before;
	uint32_t n = 0;

	set_up();
	push(&s, 100);
	before = *at_hand();
	while (!bse_page_get(&page[n]))
		n++;
	cr_assert_eq(bpf_stream_push(&s, text, MOST), -ENOMEM);
	cr_assert_eq(bpf_stream_push(&s, text, 3 * MOST), -ENOMEM);
	cr_assert(same_space(at_hand(), &before));
	cr_assert_eq(unit_pool().denied, 2u);
	cr_assert_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_POOL].bytes, 4u * MOST);
	push(&s, 200);
	expect(&s, 100);
	expect(&s, 200);
	while (n > 0)
		bse_page_put(page[--n]);
	expect_all_back();
}

/* ---- A page that another thread left ----------------------------------- */

static size_t left_len;

/* One element of the stream, in a page that is left then. */
static void *push_one(void *arg)
{
	push(arg, left_len);
	return NULL;
}

/* A page of that is left, behind an element of @len bytes in @other. */
static bse_page leave(size_t len)
{
	left_len = len;
	unit_in_thread(push_one, &other);
	cr_assert_eq(unit_pool().partial, 1u);
	return bse_page_of(newest(&other));
}

/* Pushes when no page is free, and only what is left by others can serve. */
static bse_link push_as_last_resort(struct bpf_stream *stream, size_t len)
{
	static bse_page taken[1024];
	unsigned int n = 0;
	bse_link link;

	while (!bse_page_get(&taken[n]))
		n++;
	link = push(stream, len);
	while (n > 0)
		bse_page_put(taken[--n]);
	return link;
}

/* An element of @size bytes goes there; @mine: beside a page at hand. */
static void adopt_for(uint32_t size, bool mine)
{
	const size_t len = size - BSI_ELEM_HEAD;
	const uint32_t room = PAGE - bsi_elem_size(8);
	bse_page page;
	struct bse_space before;
	bse_link link;

	set_up();
	if (mine)
		push(&s, 1000);
	before = *at_hand();
	page = leave(8);
	link = push_as_last_resort(&s, len);
	cr_assert_eq(link, bse_link_at(page, bsi_elem_size(8)));
	cr_assert(same_space(at_hand(), &before));
	/* Retired with both, or left to others once more. */
	if (room - size < BSI_PAGE_WORTH) {
		cr_assert_eq(refs(page), 2u);
		cr_assert_eq(unit_pool().partial, 0u);
	} else {
		cr_assert_eq(refs(page), 0u);
		cr_assert_eq(unit_pool().partial, 1u);
		cr_assert_eq(bse_u32_load_relaxed(&bse_pool()->page[page].given), 2u);
		cr_assert_eq(bse_pool()->page[page].room, room - size);
	}
	cr_assert_eq(kept(), mine ? 1u : 0u);
	unit_assert_sound(&s);
	if (mine)
		expect(&s, 1000);
	expect(&s, len);
	cr_assert_eq(unit_pool().in_use, mine ? 2u : 1u);
	expect(&other, 8);
	cr_assert_eq(unit_pool().in_use, mine ? 1u : 0u);
	expect_all_back();
}

Test(large, adopted__page_with_elements_is_retired_with_all_of_them)
{
	adopt_for(bsi_elem_size(MOST), false);
	adopt_for(bsi_elem_size(MOST), true);
	adopt_for(PAGE - bsi_elem_size(8) - BSI_PAGE_WORTH + 8, false);
	adopt_for(PAGE - bsi_elem_size(8) - BSI_PAGE_WORTH + 8, true);
}

Test(large, adopted__page_with_room_worth_it_is_left_once_more)
{
	adopt_for(SHARES + 8, false);
	adopt_for(SHARES + 8, true);
	adopt_for(PAGE - bsi_elem_size(8) - BSI_PAGE_WORTH, true);
}

Test(large, adopted__page_that_starts_afresh_is_retired_with_one)
{
	bse_page page;

	set_up();
	page = leave(8);
	expect(&other, 8);
	cr_assert_eq(refs(page), 0u - 1u);
	cr_assert_eq(push_as_last_resort(&s, MOST), bse_link_at(page, BSI_PAGE_START));
	cr_assert_eq(refs(page), 1u);
	expect(&s, MOST);
	cr_assert_eq(refs(page), 0u);
	expect_all_back();
}

/* ---- Long messages ----------------------------------------------------- */

Test(large, fills__leaves_alone_what_others_have_left)
{
	bse_page page;

	set_up();
	page = leave(8);
	cr_assert_neq(bse_page_of(push(&s, MOST)), page);
	cr_assert_eq(unit_pool().partial, 1u);
	cr_assert_eq(bse_page_of(push(&s, 8)), page);
	expect(&s, MOST);
	expect(&s, 8);
	expect(&other, 8);
	expect_all_back();
}

Test(large, fills__the_empty_page_at_hand_before_there_is_none)
{
	static _Alignas(4096) char region[8 * PAGE];
	size_t all = 7 * MOST;	/* the pool's first page is its own */

	cr_assert_eq(bpf_stream_pool_use(region, sizeof(region), 0), 0);
	set_up();
	cr_assert_eq(bpf_stream_push(&s, text, 3000), 0);
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), 3000);
	cr_assert_eq(unit_pages_in_use(), 1u);
	cr_assert_eq(bpf_stream_push(&s, text, all), 0);
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), (int)all);
	unit_same_bytes(got, text, all);
}

Test(large, parts__the_short_one_comes_first)
{
	static const size_t lens[] = { MOST + 1, 2 * MOST, 2 * MOST + 1, 3 * MOST - 1, 16384,
				       20000, 65536 };
	unsigned int i;

	set_up();
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		const size_t all = (lens[i] - 1) / MOST;
		bse_link link = push(&s, lens[i]);
		size_t n;

		/* From the last to the first. */
		for (n = 0; n < all; n++, link = bse_elem_next(bse_elem_of(link)))
			cr_assert_eq(bse_elem_len(bse_elem_of(link)), MOST);
		cr_assert_eq(bse_elem_len(bse_elem_of(link)), lens[i] - all * MOST);
		cr_assert_eq(bse_elem_next(bse_elem_of(link)), 0u);
		expect(&s, lens[i]);
	}
	expect_all_back();
}

/*
 * @n messages of @len bytes use a page for each whole part, and share others for
 * the rest, which is so long that no whole part fits beside it.
 */
static void check_density(size_t len, uint32_t n)
{
	const size_t whole = (len - 1) / MOST;
	const size_t each = PAGE / bsi_elem_size(len - whole * MOST);
	uint32_t i;

	set_up();
	for (i = 1; i <= n; i++) {
		push(&s, len);
		cr_assert_eq(unit_pages_in_use(), i * whole + (i + each - 1) / each,
			     "%u messages of %zu bytes", i, len);
	}
	for (i = n; i-- > 0;) {
		expect(&s, len);
		/* Short parts keep their page until the last of it. */
		cr_assert_leq(unit_pages_in_use(), i * whole + (i + each - 1) / each + 1);
	}
	expect_all_back();
}

Test(large, parts__of_16384_bytes_use_four_pages_and_264_bytes)
{
	cr_assert_eq(bsi_elem_size(16384 - 4 * MOST), 264u);
	check_density(16384, 200);
}

Test(large, parts__use_no_more_pages_than_they_must)
{
	check_density(MOST, 200);
	check_density(MOST + 100, 200);
	check_density(2 * MOST, 200);
	check_density(5000, 200);
	check_density(10000, 100);
	check_density(65536, 50);
}

/* ---- The last elements of a page --------------------------------------- */

/* What @count elements of @page cost in read-modify-writes to give back. */
static uint64_t give_back(bse_page page, uint32_t count)
{
	const uint64_t before = counting_rmw;

	bsi_page_give_back(page, count);
	return counting_rmw - before;
}

Test(large, give_back__of_the_last_ones_costs_the_way_of_the_page_alone)
{
	bse_page page;
	uint32_t given;
	uint32_t early;

	for (given = 1; given <= 5; given++) {
		for (early = 0; early < given; early++) {
			cr_assert_eq(bse_page_get(&page), 0);
			cr_assert_not(unit_retire(page, given));
			/* One change of the count, if they are not the last. */
			if (early)
				cr_assert_eq(give_back(page, early), 1u);
			cr_assert_eq(refs(page), given - early);
			cr_assert_eq(unit_pages_in_use(), 1u);
			/* One to put the page on its list. */
			cr_assert_eq(give_back(page, given - early), 1u);
			cr_assert_eq(refs(page), 0u);
			cr_assert_eq(unit_pages_in_use(), 0u);
		}
	}
	unit_assert_sound(NULL);
}

Test(large, give_back__to_an_owner_frees_nothing)
{
	struct bse_space space;
	uint32_t first;
	uint32_t second;

	for (first = 1; first <= 5; first++) {
		for (second = 1; first + second <= 6; second++) {
			space.given = 6;
			cr_assert_eq(bse_page_get(&space.page), 0);
			cr_assert_eq(give_back(space.page, first), 1u);
			cr_assert_eq(give_back(space.page, second), 1u);
			cr_assert_eq(refs(space.page), 0u - first - second);
			cr_assert_eq(unit_pages_in_use(), 1u);
			if (first + second < 6) {
				bsi_page_retire(&space);
				cr_assert_eq(unit_pages_in_use(), 1u);
				bsi_page_give_back(space.page, 6 - first - second);
			} else {
				cr_assert(bsi_page_restart(&space));
				bsi_page_retire(&space);
			}
			cr_assert_eq(unit_pages_in_use(), 0u);
		}
	}
	unit_assert_sound(NULL);
}

/*
 * Two streams have elements in one page, by turns; their readers give back what
 * is theirs, at once or in two calls, before the owner retires the page or
 * after that.
 */
static void two_readers(uint32_t mine, uint32_t others, uint32_t split, bool retired)
{
	bse_page page;
	uint32_t i;

	set_up();
	for (i = 0; i < mine || i < others; i++) {
		if (i < mine)
			push(&s, 100);
		if (i < others)
			push(&other, 100);
	}
	page = at_hand()->page;
	if (retired) {
		at_hand()->room = 0;
		bpf_stream_thread_release();
	}
	cr_assert_eq(refs(page), retired ? mine + others : 0u);
	if (split)
		unit_same_length(bpf_stream_read(&s, got, split * 100), split * 100);
	unit_same_length(bpf_stream_read(&other, got, sizeof(got)), others * 100);
	cr_assert_eq(refs(page), (retired ? mine : 0u - others) - split);
	cr_assert_eq(unit_pages_in_use(), 1u);
	unit_same_length(bpf_stream_read(&s, got, sizeof(got)), (mine - split) * 100);
	cr_assert_eq(refs(page), retired ? 0u : 0u - mine - others);
	cr_assert_eq(unit_pages_in_use(), retired ? 0u : 1u);
	if (!retired) {
		/* Still the owner's, who goes on in it. */
		cr_assert_eq(at_hand()->page, page);
		cr_assert_eq(bse_page_of(push(&s, 100)), page);
		expect(&s, 100);
	}
	expect_all_back();
}

Test(large, give_back__by_two_readers_at_once_and_in_parts)
{
	uint32_t mine;
	uint32_t others;
	uint32_t split;

	for (mine = 1; mine <= 5; mine++) {
		for (others = 1; others <= 5; others++) {
			for (split = 0; split < mine; split++) {
				two_readers(mine, others, split, false);
				two_readers(mine, others, split, true);
			}
		}
	}
}
