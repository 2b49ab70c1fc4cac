/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [9] PAGE once more: partial pages, which go from one owner to the next;
 * groups of streams, which share none; and where in a page a text begins.
 *
 * Seen to fail with: a restart that never comes, or always; one that leaves the
 * count, or forgets what was handed out; an adopter that takes a page without
 * room, puts it back on its list, or takes as many as it likes; a search that
 * begins with all of its list, or not there, goes through its own list only, or
 * all but the mixed one, or none; a denial that is not counted; a page with
 * little room on a list, or one with much that is retired; a room, or a count,
 * that does not come with the page; a deeper level that uses the group's list
 * or slot; a thread that leaves its pages on one list; a trim that leaves
 * partial pages alone; figures that count empty ones, or none; groups from the
 * options that are one off; one group for all addresses, or two; a large text
 * at a page's start, or behind other elements with a gap; one that fits only a
 * whole page, and finds no room there.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_POOL_BYTES (64u * 4096u)
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
#include "unit.h"

#define PAGE BPF_STREAM_PAGE_SIZE

static struct bpf_stream s;		/* both of the same group */
static struct bpf_stream other;
static char text[64 * PAGE];
static char got[64 * PAGE];

static void set_up(void)
{
	const struct bpf_stream_options opts = { .group = 2 };

	cr_assert_eq(bpf_stream_init(&s, &opts), 0);
	cr_assert_eq(bpf_stream_init(&other, &opts), 0);
}

static void push(struct bpf_stream *to, char c, size_t len)
{
	memset(text, c, len);
	cr_assert_eq(bpf_stream_push(to, text, len), 0);
}

/* The next of what @from holds is @len times @c. */
static void expect(struct bpf_stream *from, char c, size_t len)
{
	size_t i;

	unit_same_length(bpf_stream_read(from, got, len), len);
	for (i = 0; i < len; i++)
		cr_assert_eq(got[i], c, "byte %zu of %zu of %c", i, len, c);
}

static uint32_t holders(bse_page page)
{
	return (bse_u32_load_relaxed)((bse_page_ref)(page));
}

/* Lists a page with @given elements handed out, of which @back came back. */
static bse_page list_page(uint32_t list, uint32_t room, uint32_t given, uint32_t back)
{
	struct bse_space space = { .room = room, .given = given };

	cr_assert_eq(bse_page_get(&space.page), 0);
	if (back)
		bsi_page_give_back(space.page, back);
	cr_assert(bse_partial_put(list, &space));
	return space.page;
}

/* Takes every free page; how many these were. */
static uint32_t take_free(bse_page *page)
{
	uint32_t n = 0;

	while (!bse_page_get(&page[n]))
		n++;
	return n;
}

/* ---- Taking a page over ---------------------------------------------- */

Test(partial, adopt__with_all_back_starts_the_page_afresh)
{
	bse_page page = list_page(1, 1000, 5, 5);
	struct bse_space space;

	cr_assert(bsi_page_adopt(&space, 1, PAGE, 1));
	cr_assert_eq(space.page, page);
	cr_assert_eq(space.room, PAGE);
	cr_assert_eq(space.given, 0u);
	cr_assert_eq(holders(page), 0u);
	cr_assert_not(bse_partial_get(1, &space));
	unit_assert_sound(NULL);
}

Test(partial, adopt__with_room_goes_on_where_the_page_was_left)
{
	bse_page page = list_page(1, 1000, 5, 4);
	struct bse_space space;

	cr_assert(bsi_page_adopt(&space, 1, 1000, 1));
	cr_assert_eq(space.page, page);
	cr_assert_eq(space.room, 1000u);
	cr_assert_eq(space.given, 5u);
	cr_assert_eq(holders(page), 0u - 4u);
	unit_assert_sound(NULL);
	/* The fifth, one that its new owner hands out, and the end. */
	bsi_page_give_back(page, 1);
	bsi_page_give_back(page, 1);
	cr_assert(unit_retire(page, 6));
}

Test(partial, adopt__without_room_retires_the_page)
{
	bse_page page = list_page(1, 1000, 5, 3);
	struct bse_space space;

	cr_assert_not(bsi_page_adopt(&space, 1, 1008, UINT_MAX));
	cr_assert_not(bse_partial_get(1, &space));
	cr_assert_eq(holders(page), 2u);
	cr_assert_eq(unit_pages_in_use(), 1u);
	bsi_page_give_back(page, 2);
	cr_assert_eq(unit_pages_in_use(), 0u);
	unit_assert_sound(NULL);
}

Test(partial, adopt__takes_the_first_that_has_room_of_as_many_as_it_may)
{
	bse_page fits = list_page(1, 2000, 1, 0);
	bse_page second = list_page(1, 504, 1, 0);
	bse_page first = list_page(1, 400, 1, 0);
	struct bse_space space;

	cr_assert_not(bsi_page_adopt(&space, 1, 1000, 1));
	cr_assert_eq(holders(first), 1u);
	cr_assert_eq(holders(second), 0u);
	unit_assert_sound(NULL);
	cr_assert(bsi_page_adopt(&space, 1, 1000, UINT_MAX));
	cr_assert_eq(space.page, fits);
	cr_assert_eq(space.room, 2000u);
	cr_assert_eq(holders(second), 1u);
	cr_assert_not(bse_partial_get(1, &space));
}

/* When the page is about to be retired: its last element comes back. */
static bse_page coming_back;
static unsigned int coming_later;

static void come_back(enum hook_point point)
{
	if (point != HOOK_COUNTING || coming_later--)
		return;
	hook = NULL;
	bsi_page_give_back(coming_back, 1);
}

Test(partial, adopt__without_room_frees_the_page_if_the_rest_comes_back_meanwhile)
{
	struct bse_space space;

	coming_back = list_page(1, 1000, 5, 4);
	/* First the look whether it may start afresh, then its retirement. */
	coming_later = 1;
	hook = come_back;
	cr_assert_not(bsi_page_adopt(&space, 1, PAGE, 1));
	cr_assert_null(hook);
	cr_assert_eq(holders(coming_back), 0u);
	cr_assert_eq(unit_pages_in_use(), 0u);
	cr_assert_eq(bse_page_get(&space.page), 0);
	cr_assert_eq(space.page, coming_back);
	unit_assert_sound(NULL);
}

/* ---- Leaving a page -------------------------------------------------- */

Test(partial, leave__with_less_room_than_is_worth_it_retires)
{
	struct bse_space space = { .room = BSI_PAGE_WORTH - 8, .given = 2 };

	cr_assert_eq(bse_page_get(&space.page), 0);
	bsi_page_leave(&space, 1);
	cr_assert_eq(holders(space.page), 2u);
	cr_assert_eq(unit_pool().partial, 0u);
	cr_assert_eq(unit_pool().in_use, 1u);
}

Test(partial, leave__with_enough_room_lists_the_page)
{
	struct bse_space space = { .room = BSI_PAGE_WORTH, .given = 2 };
	struct bse_space found;
	uint32_t list;

	for (list = 0; list < BSE_LISTS; list++) {
		cr_assert_eq(bse_page_get(&space.page), 0);
		bsi_page_leave(&space, list);
		unit_assert_sound(NULL);
		cr_assert(bse_partial_get(list, &found));
		cr_assert_eq(found.page, space.page);
		cr_assert_eq(found.room, BSI_PAGE_WORTH);
		cr_assert_eq(found.given, 2u);
		cr_assert_not(bse_partial_get(list, &found));
	}
}

Test(partial, leave__with_all_back_frees_the_page)
{
	struct bse_space space = { .room = BSI_PAGE_WORTH, .given = 2 };

	cr_assert_eq(bse_page_get(&space.page), 0);
	bsi_page_give_back(space.page, 2);
	bsi_page_leave(&space, 1);
	cr_assert_eq(unit_pool().in_use, 0u);
	cr_assert_eq(holders(space.page), 0u);
	unit_assert_sound(NULL);
}

/* ---- An adopter beside a reader -------------------------------------- */

static void *push_two(void *arg)
{
	push(&s, 'a', 100);
	push(&s, 'b', 200);
	return arg;
}

static unsigned int hook_later;

/* All that is in @s is read, here and now. */
static void read_rest(enum hook_point point)
{
	(void)point;
	if (hook_later--)
		return;
	hook = NULL;
	expect(&s, 'b', 200);
}

/*
 * A thread leaves a page with two messages, of which one is read. The other is
 * read at a point of the push that takes the page over; all points in turn.
 */
static void adopt_beside_reader(size_t len)
{
	unsigned int at;

	set_up();
	for (at = 0; !hook; at++) {
		cr_assert_lt(at, 100u);
		unit_in_thread(push_two, NULL);
		cr_assert_eq(unit_pool().partial, 1u);
		expect(&s, 'a', 100);
		hook_later = at;
		hook = read_rest;
		push(&other, 'o', len);
		if (hook)
			break;
		unit_assert_sound(&s);
		unit_assert_sound(&other);
		push(&s, 'c', 100);
		push(&other, 'p', 3000);
		push(&s, 'd', 100);
		expect(&other, 'o', len);
		expect(&other, 'p', 3000);
		expect(&s, 'c', 100);
		expect(&s, 'd', 100);
		bpf_stream_thread_release();
		cr_assert_eq(unit_pages_in_use(), 0u, "at point %u", at);
		unit_assert_sound(NULL);
	}
	hook = NULL;
	cr_assert_gt(at, 4u);
	bpf_stream_destroy(&s);
	bpf_stream_destroy(&other);
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
}

Test(partial, adopt__with_room_beside_a_reader_that_gives_the_last_element_back)
{
	adopt_beside_reader(100);
}

Test(partial, adopt__without_room_beside_a_reader_that_gives_the_last_element_back)
{
	adopt_beside_reader(BSI_ELEM_MAX - BSI_PAGE_WORTH);
}

Test(partial, adopt__for_what_fills_a_page_beside_a_reader_that_gives_the_last_element_back)
{
	adopt_beside_reader(BSI_ELEM_MAX);
}

/* ---- A handler between the list and the slot ------------------------- */

static void push_from_handler(enum hook_point point)
{
	int i;

	if (point != HOOK_PLACING)
		return;
	hook = NULL;
	for (i = 0; i < 50; i++)
		push(&s, 'h', 200);
}

Test(partial, handler__between_a_page_and_its_slot_uses_other_pages)
{
	bse_page page;

	set_up();
	unit_in_thread(push_two, NULL);
	page = bse_page_of((bse_link)(s.log.bse_v >> BSE_LOG_SHIFT));
	hook = push_from_handler;
	memset(text, 'o', 100);
	cr_assert_eq(bpf_stream_push(&other, "o", 1), 0);
	cr_assert_null(hook);
	cr_assert_eq(bse_self.slot[1].space.page, page);
	cr_assert_eq(bse_self.slot[1].space.given, 3u);
	cr_assert_neq(bse_self.slot[BSE_MIXED + 1].space.page, 0u);
	cr_assert_neq(bse_self.slot[BSE_MIXED + 1].space.page, page);
	unit_assert_sound(&s);
	expect(&s, 'a', 100);
	expect(&s, 'b', 200);
	expect(&s, 'h', 50 * 200);
	expect(&other, 'o', 1);
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
	unit_assert_sound(NULL);
}

Test(partial, handler__in_a_reservation_takes_pages_of_the_mixed_list)
{
	bse_page of_group = list_page(1, 2000, 1, 0);
	bse_page mixed = list_page(BSE_MIXED, 2000, 1, 0);
	uint32_t depth;

	set_up();
	bse_enter(1, &depth);
	push(&s, 'h', 100);
	cr_assert_eq(bse_self.slot[BSE_MIXED + 1].space.page, mixed);
	bse_leave(depth);
	push(&s, 'o', 100);
	cr_assert_eq(bse_self.slot[1].space.page, of_group);
	bpf_stream_thread_release();
	unit_assert_sound(&s);
}

/* ---- Other groups' pages, before -ENOMEM ----------------------------- */

Test(partial, find__takes_a_page_of_any_other_list_before_it_fails)
{
	static bse_page page[64];
	uint32_t list;

	set_up();
	for (list = 0; list < BSE_LISTS; list++) {
		bse_page partial = list_page(list, 2000, 1, 0);
		uint32_t n = take_free(page);

		push(&s, 'x', 1000);
		cr_assert_eq(bse_self.slot[1].space.page, partial);
		/* The page is the group's from now on. */
		bpf_stream_thread_release();
		cr_assert_eq(unit_pool().partial, 1u);
		push(&s, 'y', 500);
		cr_assert_eq(bse_self.slot[1].space.page, partial);
		expect(&s, 'x', 1000);
		expect(&s, 'y', 500);
		bpf_stream_thread_release();
		bsi_page_give_back(partial, 1);
		bpf_stream_pool_trim();
		while (n > 0)
			bse_page_put(page[--n]);
		cr_assert_eq(unit_pages_in_use(), 0u);
		cr_assert_eq(unit_pool().denied, 0u);
	}
	unit_assert_sound(NULL);
}

Test(partial, find__fails_once_when_no_list_has_room)
{
	static bse_page page[64];
	uint32_t list;

	set_up();
	for (list = 0; list < BSE_LISTS; list++)
		list_page(list, 992, 1, 0);
	take_free(page);
	memset(text, 'x', 1000);
	cr_assert_eq(bpf_stream_push(&s, text, 1000), -ENOMEM);
	cr_assert_eq(unit_pool().denied, 1u);
	cr_assert_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_POOL].messages, 1u);
	/* Those without room were retired on the way. */
	cr_assert_eq(unit_pool().partial, 0u);
	unit_assert_sound(&s);
}

Test(partial, find__prefers_free_pages_to_a_search)
{
	bse_page own = list_page(1, 2000, 1, 0);
	bse_page of_others = list_page(0, 2000, 1, 0);
	bse_page small = list_page(1, 504, 1, 0);

	set_up();
	push(&s, 'x', 1000);
	cr_assert_neq(bse_self.slot[1].space.page, own);
	cr_assert_neq(bse_self.slot[1].space.page, of_others);
	cr_assert_neq(bse_self.slot[1].space.page, small);
	cr_assert_eq(unit_pool().partial, 2u);
	unit_assert_sound(&s);
}

/* As a thread of group 4 would leave a page, behind one message. */
static void leave_message(struct bpf_stream *to)
{
	const uint32_t size = bsi_elem_size(2500);
	struct bse_space space = { .room = PAGE - size, .given = 1 };
	struct bse_chain chain = { .bytes = 2500 };

	cr_assert_eq(bse_page_get(&space.page), 0);
	chain.newest = bse_link_at(space.page, 0);
	chain.oldest = chain.newest;
	bsi_elem_write(bse_elem_of(chain.newest), text, 2500, BSE_ELEM_ENDS);
	cr_assert_eq(unit_publish(to, &chain), 0);
	cr_assert(bse_partial_put(3, &space));
}

Test(partial, push__of_one_group_succeeds_with_all_pages_left_by_another)
{
	size_t pages = unit_pages_total();
	size_t i;

	set_up();
	memset(text, 'f', 2500);
	for (i = 0; i < pages; i++)
		leave_message(&other);
	cr_assert_eq(unit_pool().in_use, pages);
	cr_assert_eq(unit_pool().partial, pages);
	for (i = 0; i < pages; i++)
		push(&s, 'x', 1400);
	unit_assert_sound(&s);
	memset(text, 'x', 1400);
	cr_assert_eq(bpf_stream_push(&s, text, 1400), -ENOMEM);
	expect(&s, 'x', pages * 1400);
	expect(&other, 'f', pages * 2500);
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
	unit_assert_sound(NULL);
}

/* ---- Figures and trim ------------------------------------------------ */

Test(partial, figures__count_listed_pages_until_all_came_back)
{
	bse_page page[3];
	uint32_t i;

	for (i = 0; i < 3; i++)
		page[i] = list_page(i, 1000, 4, 1);
	cr_assert_eq(unit_pool().in_use, 3u);
	cr_assert_eq(unit_pool().partial, 3u);
	for (i = 0; i < 3; i++) {
		bsi_page_give_back(page[i], 2);
		cr_assert_eq(unit_pool().in_use, 3u - i);
		bsi_page_give_back(page[i], 1);
		cr_assert_eq(unit_pool().in_use, 2u - i);
		cr_assert_eq(unit_pool().partial, 2u - i);
	}
	cr_assert_eq(unit_pool().highest, 3u);
	unit_assert_sound(NULL);
}

Test(partial, trim__frees_empty_pages_and_retires_the_others)
{
	bse_page page[BSE_LISTS];
	uint32_t i;

	for (i = 0; i < BSE_LISTS; i++)
		page[i] = list_page(i, 1000, 4, i % 2 ? 4 : 3);
	cr_assert_eq(unit_pool().partial, 3u);
	cr_assert_eq(bpf_stream_pool_trim(), 2u);
	cr_assert_eq(unit_pool().partial, 0u);
	cr_assert_eq(unit_pool().in_use, 3u);
	unit_assert_sound(NULL);
	for (i = 0; i < BSE_LISTS; i += 2)
		bsi_page_give_back(page[i], 1);
	cr_assert_eq(unit_pool().in_use, 0u);
	unit_assert_sound(NULL);
}

/* ---- Groups ---------------------------------------------------------- */

/* Marks the pages of what is in @from as those of @group. */
static void mark_pages(const struct bpf_stream *from, unsigned int group, unsigned int *owner)
{
	bse_link link = (bse_link)((bse_u64_load_relaxed)(&from->log) >> BSE_LOG_SHIFT);

	cr_assert_neq(link, 0u);
	for (; link; link = bse_elem_next(bse_elem_of(link))) {
		bse_page page = bse_page_of(link);

		cr_assert(!owner[page] || owner[page] == group, "groups %u and %u share page %u",
			  owner[page], group, page);
		owner[page] = group;
	}
}

#define STREAMS 8u

static struct bpf_stream grouped[STREAMS];

/* Short and long ones, by turns, in every stream. */
static void *push_to_all(void *arg)
{
	unsigned int i;

	for (i = 0; i < 5 * STREAMS; i++)
		push(&grouped[i * 3 % STREAMS], (char)('0' + i), 50 + i * 41 % 300);
	return arg;
}

Test(partial, groups__share_no_page_whoever_pushes)
{
	unsigned int owner[64] = { 0 };
	unsigned int i;

	for (i = 0; i < STREAMS; i++) {
		const struct bpf_stream_options opts = { .group = 1 + i % BPF_STREAM_GROUPS };

		cr_assert_eq(bpf_stream_init(&grouped[i], &opts), 0);
		cr_assert_eq(bse_group(&grouped[i]), i % BPF_STREAM_GROUPS);
	}
	push_to_all(NULL);
	for (i = 0; i < 5; i++)
		unit_in_thread(push_to_all, NULL);
	push_to_all(NULL);
	for (i = 0; i < STREAMS; i++)
		mark_pages(&grouped[i], 1 + i % BPF_STREAM_GROUPS, owner);
	unit_assert_sound(NULL);
}

Test(partial, groups__of_neighbours_are_different)
{
	static struct bpf_stream zero[STREAMS];
	unsigned int owner[64] = { 0 };
	unsigned int i;
	unsigned int k;

	for (i = 0; i < STREAMS; i++)
		push(&zero[i], 'z', 100);
	for (i = 0; i < STREAMS; i++) {
		for (k = i + 1; k < STREAMS && k < i + BPF_STREAM_GROUPS; k++)
			cr_assert_neq(bse_group(&zero[i]), bse_group(&zero[k]));
		mark_pages(&zero[i], 1 + bse_group(&zero[i]), owner);
	}
}

Test(partial, groups__an_unread_stream_does_not_pin_the_pages_of_another)
{
	struct bpf_stream unread;
	const struct bpf_stream_options opts = { .group = 1 };
	int i;

	set_up();
	cr_assert_eq(bpf_stream_init(&unread, &opts), 0);
	for (i = 0; i < 200; i++) {
		push(&unread, 'u', 1);
		push(&s, 'r', 3000);
		expect(&s, 'r', 3000);
	}
	cr_assert_eq(unit_pages_in_use(), 2u);
}

/* ---- Where a text begins --------------------------------------------- */

Test(partial, start__of_a_page_leaves_large_texts_aligned)
{
	uint32_t len;

	set_up();
	for (len = 1; len <= BSI_ELEM_MAX; len++) {
		const uint32_t size = bsi_elem_size(len);
		const char *at;
		bse_link link;

		push(&s, 'x', len);
		link = (bse_link)(s.log.bse_v >> BSE_LOG_SHIFT);
		at = bse_elem_text(bse_elem_of(link));
		if (size >= 2048 && size <= PAGE - 56)
			cr_assert_eq((uintptr_t)at % 64, 0u, "%u bytes", len);
		else
			cr_assert_eq(link, bse_link_at(bse_page_of(link), 0), "%u bytes", len);
		expect(&s, 'x', len);
		/* In the second round the page is used again, else another. */
		if (len % 2)
			bpf_stream_thread_release();
		else
			bse_self.slot[1].space.room = 0;
	}
	cr_assert_leq(unit_pages_in_use(), 1u);
	unit_assert_sound(&s);
}

Test(partial, start__behind_another_element_costs_no_room)
{
	bse_link link[2];

	set_up();
	push(&s, 'x', 100);
	link[0] = (bse_link)(s.log.bse_v >> BSE_LOG_SHIFT);
	push(&s, 'y', 800);
	link[1] = (bse_link)(s.log.bse_v >> BSE_LOG_SHIFT);
	cr_assert_eq(link[1], link[0] + bsi_elem_size(100) / 8);
	/* Nor in a page that was left to others. */
	bpf_stream_thread_release();
	push(&other, 'z', 2100);
	cr_assert_eq((bse_link)(other.log.bse_v >> BSE_LOG_SHIFT),
		     link[1] + bsi_elem_size(800) / 8);
}
