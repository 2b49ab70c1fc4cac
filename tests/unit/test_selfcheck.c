/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * selfcheck.h: each check is silent while all is well, and names its
 * invariant when the state is spoiled on purpose.
 *
 * Seen to fail with every single check taken out of selfcheck.h; with the
 * backlog, the log, the cold list, or a list of partial pages not looked at;
 * with the bounds of I3 and I7, or one of a partial page, one too strict; with
 * the marks of pages left where they are; and with the lock kept.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_POOL_BYTES (1024u * 4096u)
#include "bpf_stream.h"
#include "unit.h"

static struct bpf_stream stream;

/* The check of @s, or of the pool, finds @invariant broken. */
static void check_finds(struct bpf_stream *s, const char *invariant)
{
	const char *broken = bpf_stream_selfcheck(s);

	cr_assert_not_null(broken, "nothing found, but %s is broken", invariant);
	cr_assert_eq(strncmp(broken, invariant, strlen(invariant)), 0, "%s found, but %s is broken",
		     broken, invariant);
}

/* Two messages in the log, and in the backlog the rest of two others. */
static void set_up(void)
{
	const struct bpf_stream_options opts = { .group = 2 };
	char buf[4];

	cr_assert_eq(bpf_stream_init(&stream, &opts), 0);
	cr_assert_eq(bpf_stream_push(&stream, "first..", 7), 0);
	cr_assert_eq(bpf_stream_push(&stream, "second.", 7), 0);
	cr_assert_eq(bpf_stream_read(&stream, buf, 3), 3);
	cr_assert_eq(bpf_stream_push(&stream, "third..", 7), 0);
	cr_assert_eq(bpf_stream_push(&stream, "fourth.", 7), 0);
	unit_assert_sound(&stream);
}

static struct bpf_stream_elem *backlog_elem(void)
{
	cr_assert_neq(stream.backlog_head, 0u);
	return bse_elem_of(stream.backlog_head);
}

static bse_link log_link(void)
{
	return (bse_link)(bse_u64_load_relaxed(&stream.log) >> BSE_LOG_SHIFT);
}

static struct bpf_stream_elem *log_elem(void)
{
	bse_link link = log_link();

	cr_assert_neq(link, 0u);
	return bse_elem_of(link);
}

/* Pages in the hot list: the last one put comes first. */
static void set_up_pool(bse_page page[3])
{
	uint32_t i;

	for (i = 0; i < 3; i++)
		cr_assert_eq(bse_page_get(&page[i]), 0);
	for (i = 0; i < 3; i++)
		bse_page_put(page[i]);
	unit_assert_sound(&stream);
}

Test(selfcheck, sound__before_anything_happened)
{
	cr_assert_null(bpf_stream_selfcheck(NULL));
	cr_assert_eq(bpf_stream_init(&stream, NULL), 0);
	unit_assert_sound(&stream);
}

Test(selfcheck, sound__in_every_phase_of_a_stream)
{
	static char big[20000];
	char buf[1000];
	int ret;

	set_up();
	cr_assert_eq(bpf_stream_push(&stream, big, sizeof(big)), 0);
	unit_assert_sound(&stream);
	do {
		ret = bpf_stream_read(&stream, buf, sizeof(buf));
		cr_assert_geq(ret, 0);
		unit_assert_sound(&stream);
	} while (ret);
	bpf_stream_pool_trim();
	unit_assert_sound(&stream);
	bpf_stream_thread_release();
	unit_assert_sound(&stream);
}

Test(selfcheck, sound__leaves_everything_as_it_was)
{
	char buf[64];

	set_up();
	unit_assert_sound(&stream);
	unit_same_length(bpf_stream_read(&stream, buf, sizeof(buf)), 25);
	unit_same_bytes(buf, "st..second.third..fourth.", 25);
	cr_assert_eq(bpf_stream_try_read(&stream, buf, sizeof(buf)), 0);
}

static void *push_and_drop(void *arg)
{
	char buf[100];
	uint32_t i;

	(void)arg;
	for (i = 0; i < 20000; i++) {
		(void)bpf_stream_push(&stream, "beside", 6);
		if (i % 8 == 0)
			(void)bpf_stream_read(&stream, buf, sizeof(buf));
	}
	return NULL;
}

Test(selfcheck, sound__beside_writers_and_readers)
{
	struct bpf_stream_options opts = { .capacity = 1000 };
	pthread_t thread[2];
	const char *broken;
	uint32_t i;

	cr_assert_eq(bpf_stream_init(&stream, &opts), 0);
	unit_start(&thread[0], push_and_drop, NULL);
	unit_start(&thread[1], push_and_drop, NULL);
	for (i = 0; i < 20000; i++) {
		broken = bpf_stream_selfcheck(&stream);
		cr_assert_null(broken, "%s", broken);
	}
	unit_join(thread[0]);
	unit_join(thread[1]);
	unit_assert_sound(&stream);
}

static int check_inside(void *ctx, const void *data, size_t len)
{
	(void)data;
	*(const char **)ctx = bpf_stream_selfcheck(&stream);
	return (int)len;
}

Test(selfcheck, lock__that_cannot_be_taken_is_told)
{
	const char *broken = NULL;

	set_up();
	cr_assert_eq(bpf_stream_drain(&stream, check_inside, &broken, 1), 1);
	cr_assert_not_null(broken);
	unit_assert_sound(&stream);
}

Test(selfcheck, finds__an_element_without_bytes)
{
	set_up();
	bse_elem_set(log_elem(), 0, BSE_ELEM_ENDS);
	check_finds(&stream, "I9");
}

Test(selfcheck, finds__an_element_larger_than_a_page)
{
	set_up();
	bse_elem_set(log_elem(), BSI_ELEM_MAX + 1, BSE_ELEM_ENDS);
	check_finds(&stream, "I9");
}

Test(selfcheck, finds__an_element_too_large_with_what_is_before_its_text)
{
	set_up();
	log_elem()->info = BSI_ELEM_MAX - 8;
	check_finds(&stream, "I3");
	log_elem()->info |= 1u << BSE_ELEM_SHIFT;
	check_finds(&stream, "I3");
	log_elem()->info++;
	check_finds(&stream, "I9");
}

Test(selfcheck, finds__bytes_consumed_of_nothing)
{
	char buf[32];

	set_up();
	cr_assert_eq(bpf_stream_read(&stream, buf, sizeof(buf)), 25);
	unit_assert_sound(&stream);
	stream.consumed = 1;
	check_finds(&stream, "I9");
}

Test(selfcheck, finds__more_told_than_was_refused)
{
	set_up();
	cr_assert_eq(bpf_stream_push(&stream, "", (size_t)INT_MAX + 1), -EINVAL);
	stream.place.told = 1;
	unit_assert_sound(&stream);
	stream.place.told = 2;
	check_finds(&stream, "I11");
}

static uint64_t no_time(void)
{
	return 1;
}

Test(selfcheck, finds__a_gate_that_is_not_as_the_options_say)
{
	set_up();
	stream.options.capacity = 1000;
	check_finds(&stream, "I11");
	bse_u32_store_relaxed(&stream.gate, 1000);
	unit_assert_sound(&stream);
	bse_u32_store_relaxed(&stream.group, 2);
	check_finds(&stream, "I11");
	bse_u32_store_relaxed(&stream.gate, 0);
	unit_assert_sound(&stream);
	bse_u32_store_relaxed(&stream.gate, bse_capacity(&stream));
	unit_assert_sound(&stream);
	stream.options.clock = no_time;
	check_finds(&stream, "I11");
}

Test(selfcheck, finds__a_consumed_element_in_the_backlog)
{
	set_up();
	stream.consumed = bse_elem_len(backlog_elem());
	check_finds(&stream, "I9");
}

Test(selfcheck, finds__a_circle_in_the_backlog)
{
	set_up();
	backlog_elem()->node = stream.backlog_head;
	check_finds(&stream, "I1");
}

Test(selfcheck, finds__a_circle_in_the_log)
{
	set_up();
	log_elem()->node = log_link();
	check_finds(&stream, "I1");
}

Test(selfcheck, finds__a_lost_element)
{
	set_up();
	log_elem()->node = 0;
	check_finds(&stream, "I3");
}

Test(selfcheck, finds__a_lost_backlog)
{
	set_up();
	stream.backlog_head = 0;
	check_finds(&stream, "I9");
	stream.consumed = 0;
	check_finds(&stream, "I3");
}

Test(selfcheck, finds__a_forgotten_refund)
{
	set_up();
	stream.consumed++;
	check_finds(&stream, "I3");
}

Test(selfcheck, finds__a_refund_too_many)
{
	set_up();
	bse_log_refund(&stream, 1);
	check_finds(&stream, "I3");
}

Test(selfcheck, finds__more_pending_than_the_capacity)
{
	set_up();
	stream.options.capacity = 25;
	bse_u32_store_relaxed(&stream.gate, 25);
	unit_assert_sound(&stream);
	stream.options.capacity = 24;
	bse_u32_store_relaxed(&stream.gate, 24);
	check_finds(&stream, "I3");
}

Test(selfcheck, finds__a_free_page_that_is_none)
{
	struct bse_pool *pool;
	bse_page page[3];

	set_up();
	set_up_pool(page);
	pool = bse_pool_known();
	/* One of the table's own. */
	cr_assert_gt(pool->first, 1u);
	bse_u32_store_relaxed(&pool->page[page[2]].next, pool->first - 1);
	check_finds(NULL, "I6");
	bse_u32_store_relaxed(&pool->page[page[2]].next, bse_u32_load_relaxed(&pool->fresh));
	check_finds(NULL, "I6");
}

Test(selfcheck, finds__a_free_page_with_holders)
{
	bse_page page[3];

	set_up();
	set_up_pool(page);
	bse_u32_store_relaxed(bse_page_ref(page[1]), 1);
	check_finds(NULL, "I4");
}

Test(selfcheck, finds__a_circle_of_free_pages)
{
	bse_page page[3];

	set_up();
	set_up_pool(page);
	bse_u32_store_relaxed(&bse_pool_known()->page[page[0]].next, page[2]);
	check_finds(NULL, "I6");
}

Test(selfcheck, finds__a_lost_free_page)
{
	bse_page page[3];

	set_up();
	set_up_pool(page);
	bse_u32_store_relaxed(&bse_pool_known()->page[page[1]].next, 0);
	check_finds(NULL, "I4");
}

Test(selfcheck, finds__a_lost_page_among_the_cold)
{
	bse_page page[3];

	set_up();
	set_up_pool(page);
	bpf_stream_pool_trim();
	unit_assert_sound(&stream);
	/* Trimming turned the list round. */
	bse_u32_store_relaxed(&bse_pool_known()->page[page[1]].next, 0);
	check_finds(NULL, "I4");
}

Test(selfcheck, finds__a_page_that_came_back_twice)
{
	bse_page page;

	set_up();
	cr_assert_eq(bse_page_get(&page), 0);
	bse_page_put(page);
	bse_page_put(page);
	check_finds(NULL, "I6");
}

Test(selfcheck, finds__a_page_that_is_neither_free_nor_in_use)
{
	bse_page page;

	set_up();
	cr_assert_eq(bse_page_get(&page), 0);
	unit_assert_sound(&stream);
	bse_u32_store_relaxed(&bse_pool_known()->page[page].next, 0);
	check_finds(NULL, "I4");
}

Test(selfcheck, finds__slots_that_hold_too_much)
{
	struct bse_pool *pool;

	set_up();
	pool = bse_pool_known();
	bse_u32_store_relaxed(&pool->kept, (uint32_t)unit_pages_total() / 4);
	unit_assert_sound(&stream);
	bse_u32_store_relaxed(&pool->kept, (uint32_t)unit_pages_total() / 4 + 1);
	check_finds(NULL, "I7");
}

/* Two partial pages in list 0, and one in the last; entries in the table. */
static void set_up_partial(bse_page page[3], struct bse_page_info *info[3])
{
	uint32_t i;

	set_up();
	bpf_stream_thread_release();
	for (i = 0; i < 3; i++) {
		struct bse_space space = { .room = BSI_PAGE_WORTH, .given = 3 };

		cr_assert_eq(bse_page_get(&space.page), 0);
		cr_assert(bse_partial_put(i < 2 ? 0 : BSE_LISTS - 1, &space));
		page[i] = space.page;
		info[i] = &bse_pool_known()->page[page[i]];
	}
	unit_assert_sound(&stream);
}

Test(selfcheck, sound__of_partial_pages_at_their_bounds)
{
	struct bse_page_info *info[3];
	bse_page page[3];

	set_up_partial(page, info);
	bse_u32_store_relaxed(&info[0]->refs, 0u - 3u);
	unit_assert_sound(&stream);
	info[0]->room = BPF_STREAM_PAGE_SIZE - 48;
	unit_assert_sound(&stream);
	cr_assert_eq(bse_u32_load_relaxed(&info[0]->next), BSE_PAGE_PARTIAL);
	cr_assert_eq(bse_u32_load_relaxed(&info[1]->next), page[0] | BSE_PAGE_PARTIAL);
	cr_assert_eq(bse_u32_load_relaxed(&info[2]->next), BSE_PAGE_PARTIAL);
}

Test(selfcheck, finds__a_partial_page_with_a_wrong_room)
{
	struct bse_page_info *info[3];
	bse_page page[3];

	set_up_partial(page, info);
	info[2]->room = BSI_PAGE_WORTH + 1;
	check_finds(NULL, "I4");
	info[2]->room = BSI_PAGE_WORTH - 8;
	check_finds(NULL, "I4");
	info[2]->room = BPF_STREAM_PAGE_SIZE + 8;
	check_finds(NULL, "I4");
	info[2]->room = BSI_PAGE_WORTH;
	unit_assert_sound(&stream);
}

Test(selfcheck, finds__a_partial_page_with_a_wrong_count)
{
	struct bse_page_info *info[3];
	bse_page page[3];

	set_up_partial(page, info);
	bse_u32_store_relaxed(&info[1]->given, 0);
	check_finds(NULL, "I4");
	bse_u32_store_relaxed(&info[1]->given, (BPF_STREAM_PAGE_SIZE - BSI_PAGE_WORTH) / 16);
	unit_assert_sound(&stream);
	bse_u32_store_relaxed(&info[1]->given, (BPF_STREAM_PAGE_SIZE - BSI_PAGE_WORTH) / 16 + 1);
	check_finds(NULL, "I4");
}

Test(selfcheck, finds__a_partial_page_to_which_too_much_came_back)
{
	struct bse_page_info *info[3];
	bse_page page[3];

	set_up_partial(page, info);
	bse_u32_store_relaxed(&info[0]->refs, 0u - 4u);
	check_finds(NULL, "I4");
	/* As if it were retired. */
	bse_u32_store_relaxed(&info[0]->refs, 1);
	check_finds(NULL, "I4");
}

Test(selfcheck, finds__a_page_with_the_mark_of_another_kind_of_list)
{
	struct bse_page_info *info[3];
	bse_page page[3];

	set_up_partial(page, info);
	bse_u32_store_relaxed(&info[1]->next, page[0]);
	check_finds(NULL, "I6");
	bse_u32_store_relaxed(&info[1]->next, page[0] | BSE_PAGE_PARTIAL);
	unit_assert_sound(&stream);
	cr_assert_eq(bse_page_get(&page[0]), 0);
	bse_page_put(page[0]);
	bse_u32_store_relaxed(&bse_pool_known()->page[page[0]].next, BSE_PAGE_PARTIAL);
	check_finds(NULL, "I6");
}

Test(selfcheck, finds__a_page_on_two_lists)
{
	struct bse_page_info *info[3];
	bse_page page[3];

	set_up_partial(page, info);
	bse_u32_store_relaxed(&info[2]->next, page[0] | BSE_PAGE_PARTIAL);
	check_finds(NULL, "I6");
	/* Once more: no mark was left behind. */
	check_finds(NULL, "I6");
	bse_u32_store_relaxed(&info[2]->next, BSE_PAGE_PARTIAL);
	unit_assert_sound(&stream);
	bse_page_put(page[2]);
	check_finds(NULL, "I6");
}

Test(selfcheck, finds__a_circle_of_partial_pages)
{
	struct bse_page_info *info[3];
	bse_page page[3];

	set_up_partial(page, info);
	bse_u32_store_relaxed(&info[0]->next, page[1] | BSE_PAGE_PARTIAL);
	check_finds(NULL, "I6");
}

Test(selfcheck, finds__a_lost_partial_page)
{
	struct bse_page_info *info[3];
	bse_page page[3];

	set_up_partial(page, info);
	bse_u32_store_relaxed(&info[1]->next, BSE_PAGE_PARTIAL);
	check_finds(NULL, "I4");
	/* Nor does one that is found twice stand for it. */
	bse_pool_known()->list[0].head = (bse_u64){ page[2] };
	check_finds(NULL, "I6");
}

/* The slot of this thread that the stream's pushes use. */
static struct bse_space *slot_space(void)
{
	struct bse_space *space = &bse_self.slot[bse_group(&stream)].space;

	cr_assert_neq(space->page, 0u);
	return space;
}

Test(selfcheck, finds__a_slot_with_room_without_a_page)
{
	set_up();
	slot_space()->page = 0;
	check_finds(NULL, "I2");
	bse_self.slot[bse_group(&stream)].space.room = 0;
	unit_assert_sound(&stream);
	bse_self.slot[bse_group(&stream)].space.page = bse_pool_known()->pages;
	check_finds(NULL, "I2");
}

Test(selfcheck, finds__a_slot_with_a_wrong_room)
{
	set_up();
	slot_space()->room++;
	check_finds(NULL, "I2");
	slot_space()->room = BPF_STREAM_PAGE_SIZE;
	unit_assert_sound(&stream);
	slot_space()->room += 8;
	check_finds(NULL, "I2");
}

Test(selfcheck, finds__a_slot_whose_page_is_listed)
{
	set_up();
	bse_page_put(slot_space()->page);
	check_finds(NULL, "I2");
}

Test(selfcheck, finds__a_slot_that_counts_too_little)
{
	char buf[4];

	set_up();
	cr_assert_eq(bpf_stream_read(&stream, buf, 4), 4);
	cr_assert_eq(slot_space()->given, 4u);
	/* One of them came back. */
	slot_space()->given = 1;
	unit_assert_sound(&stream);
	slot_space()->given = 0;
	check_finds(NULL, "I2");
}
