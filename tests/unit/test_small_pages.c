/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [18] once more, with pages that are smaller than the system's: trimming gives
 * no memory back, but retires partial pages all the same.
 *
 * Seen to fail with: a trim that returns before it comes to the partial pages,
 * because its own are no multiple of the system's; one that gives such pages
 * back, and so wipes their neighbours.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_PAGE_SIZE 1024u
#include "bpf_stream.h"
#include "unit.h"

static struct bpf_stream idle;
static struct bpf_stream kept;
static char text[BSI_ELEM_MAX];
static char got[2 * BSI_ELEM_MAX];

/* Lists a page with four elements handed out, of which @back came back. */
static bse_page list_page(uint32_t list, uint32_t back)
{
	struct bse_space space = { .room = 500, .given = 4 };

	cr_assert_eq(bse_page_get(&space.page), 0);
	bsi_page_give_back(space.page, back);
	cr_assert(bse_partial_put(list, &space));
	return space.page;
}

Test(small_pages, trim__frees_empty_pages_and_retires_the_others)
{
	const bse_page holds = list_page(0, 3);
	const bse_page empty = list_page(1, 4);
	bse_page again;

	cr_assert_eq(unit_pool().partial, 1u);
	cr_assert_eq(bpf_stream_pool_trim(), 0u);
	cr_assert_eq(unit_pool().partial, 0u);
	cr_assert_eq(unit_pool().in_use, 1u);
	unit_assert_sound(NULL);
	cr_assert_eq(bse_page_get(&again), 0);
	cr_assert_eq(again, empty);
	bsi_page_give_back(holds, 1);
	cr_assert_eq(bse_page_get(&again), 0);
	cr_assert_eq(again, holds);
}

Test(small_pages, trim__leaves_a_text_alone_whose_page_is_free_once_it_is_read)
{
	cr_assert_eq(bpf_stream_push(&kept, text, 100), 0);
	bpf_stream_thread_release();
	cr_assert_eq(unit_pool().partial, 1u);
	cr_assert_eq(bpf_stream_pool_trim(), 0u);
	cr_assert_eq(unit_pool().partial, 0u);
	cr_assert_eq(unit_pool().in_use, 1u);
	unit_assert_sound(&kept);
	unit_same_length(bpf_stream_read(&kept, got, sizeof(got)), 100);
	cr_assert_eq(unit_pool().in_use, 0u);
	unit_assert_sound(&kept);
}

/* Every third page is idle, so some of them at a boundary of the system's. */
Test(small_pages, trim__leaves_texts_beside_idle_pages_as_they_are)
{
	uint32_t i;

	for (i = 0; i < 48; i++) {
		memset(text, (int)('0' + i), sizeof(text));
		cr_assert_eq(bpf_stream_push(i % 3 ? &kept : &idle, text, sizeof(text)), 0);
	}
	while (bpf_stream_read(&idle, got, sizeof(got)) > 0)
		;
	cr_assert_eq(bpf_stream_pool_trim(), 0u);
	for (i = 0; i < 48; i++) {
		if (i % 3 == 0)
			continue;
		memset(text, (int)('0' + i), sizeof(text));
		unit_same_length(bpf_stream_read(&kept, got, sizeof(text)), sizeof(text));
		unit_same_bytes(got, text, sizeof(text));
	}
	unit_assert_sound(&kept);
}
