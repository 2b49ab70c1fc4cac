/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What tests/faults/every_fault.c, which has every kind of fault at every
 * place, does not see: that a refused push leaves nothing in that moment, and
 * not only in the end; how many pages it asked for; and a million refusals.
 *
 * Seen to fail with: a split or a refused publish that keeps its elements; a
 * release that keeps the quota; refusals not counted; a second request for a
 * page that was got.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "faults_env.h"
#include "bpf_stream.h"
#include "unit.h"

/*
 * Messages of every kind of size, among them short parts that fit beside a whole
 * one, and those that just do not; the longest takes eleven pages.
 */
static const size_t size[] = { 1, 64, 3000, 4000, BSI_ELEM_MAX, BSI_ELEM_MAX + 1,
			       BSI_ELEM_MAX + 48, BSI_ELEM_MAX + 49, 2 * BSI_ELEM_MAX,
			       2 * BSI_ELEM_MAX + 1, 2 * BSI_ELEM_MAX + 49, 20000, 43000 };

#define SIZES (sizeof(size) / sizeof(size[0]))

/* With the 8 bytes that tell of the refusals before, at the first part. */
static size_t pages_of(size_t len)
{
	const size_t whole = (len - 1) / BSI_ELEM_MAX;
	const size_t part = len - whole * BSI_ELEM_MAX;

	/* What has no room for them has a page, and 8 bytes of it lie elsewhere. */
	if (part + 8 > BSI_ELEM_MAX)
		return 1 + whole + !whole;
	return whole + (!whole || bsi_elem_size(part + 8) > BSI_PAGE_START);
}

static char text[64 * 1024];
static char got[64 * 1024];

/* All of @s comes back as @len bytes of @text, and no page stays in use. */
static void check_drained(struct bpf_stream *s, size_t len)
{
	unit_assert_sound(s);
	unit_same_length(bpf_stream_read(s, got, sizeof(got)), len);
	unit_same_bytes(got, text, len);
	cr_assert_eq(unit_stats(s).pending, 0u);
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
	if (bse_pool_known())
		cr_assert_eq(bse_u32_load_relaxed(&bse_pool_known()->kept), 0u);
	unit_assert_sound(s);
}

Test(faults, push__no_page_for_any_request_leaks_nothing)
{
	struct bpf_stream_stats stats;
	struct bpf_stream s;
	uint64_t refused = 0;
	uint64_t bytes = 0;
	uint64_t denied;
	unsigned int i;
	int err;

	unit_fill(text, sizeof(text));
	bpf_stream_init(&s, NULL);
	for (i = 0; i < SIZES; i++) {
		denied = 0;
		do {
			faults.deny_page = ++denied;
			err = bpf_stream_push(&s, text, size[i]);
			faults.deny_page = 0;
			if (err) {
				cr_assert_eq(err, -ENOMEM);
				refused++;
				bytes += size[i];
				check_drained(&s, 0);
			}
		} while (err);
		/* The requests of all its pages, one after the other. */
		cr_assert_eq(denied - 1, pages_of(size[i]));
		check_drained(&s, size[i]);
	}
	stats = unit_stats(&s);
	cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_POOL].messages, refused);
	cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_POOL].bytes, bytes);
	cr_assert_eq(stats.delivered.messages, SIZES);
}

Test(faults, push__refused_a_million_times_at_the_last_moment_takes_one_page)
{
	struct bpf_stream_pool_stats pool;
	struct bpf_stream s;
	uint32_t i;

	bpf_stream_init(&s, NULL);
	faults.fail_publish = true;
	for (i = 0; i < 1000000; i++) {
		cr_assert_eq(bpf_stream_push(&s, text, 64), -ENOSPC);
	}
	bpf_stream_pool_get_stats(&pool);
	cr_assert_eq(pool.in_use, 1u);
	cr_assert_eq(pool.highest, 1u);
}
