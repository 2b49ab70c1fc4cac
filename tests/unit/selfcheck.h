/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The invariants of section [7] of bpf_stream.h as code, for tests and modules
 * that have the bodies as static. bpf_stream.h comes first. I2, I5, I8 and I10
 * cannot be seen from outside.
 */
#ifndef SELFCHECK_H
#define SELFCHECK_H

/* Linear in the list: lengths that are in range (I9); adds up what is left. */
static const char *selfcheck_list(bse_link link, uint64_t *bytes)
{
	for (; link; link = bse_next_of(link)) {
		const struct bpf_stream_elem *elem = bse_elem_of(link);
		uint32_t len = bsi_elem_len(elem);

		if (len > BSI_ELEM_MAX || elem->consumed_len >= len)
			return "I9: an element has no bytes left";
		*bytes += len - elem->consumed_len;
		if (*bytes > INT_MAX)
			return "I1: a list goes round in circles";
	}
	return NULL;
}

/*
 * Linear. Beside writers: with the lock held nobody detaches or refunds, and
 * what one read of the word shows below its head does not change. The read is
 * an acquire, which pairs with publish:B as detach:B does.
 */
static const char *selfcheck_stream(struct bpf_stream *s)
{
	const char *broken;
	uint64_t bytes = 0;
	uint64_t pending;
	uint64_t word;

	if (bsi_reader_lock(s, true))
		return "the stream's lock cannot be taken";
	word = (bse_u64_load_acquire)(&s->log);
	pending = word & BSE_LOG_PENDING;
	broken = selfcheck_list(s->backlog_head, &bytes);
	if (!broken)
		broken = selfcheck_list((bse_link)(word >> BSE_LOG_SHIFT), &bytes);
	if (!broken && bytes != pending)
		broken = "I3: pending is not the sum of what is left";
	if (!broken && pending > bse_capacity(s))
		broken = "I3: pending is above the capacity";
	bse_unlock(&s->lock);
	return broken;
}

/* Linear. A free list, with nobody beside; adds up its pages (I4, I6). */
static const char *selfcheck_free(struct bse_pool *pool, const bse_u64 *list, uint32_t *pages)
{
	bse_page page = (bse_page)((bse_u64_load_relaxed)(list) & BSE_PAGE_MASK);
	uint32_t fresh = (bse_u32_load_relaxed)(&pool->fresh);

	while (page) {
		if (page < pool->first || page >= fresh)
			return "I6: a free list holds what is no used page";
		if ((bse_u32_load_relaxed)(&pool->page[page].refs))
			return "I4: a free page has references";
		if (++*pages > pool->pages)
			return "I6: a free list goes round in circles";
		page = (bse_u32_load_relaxed)(&pool->page[page].next);
	}
	return NULL;
}

/* Linear. Nobody pushes or reads beside it. */
static const char *selfcheck_pool(void)
{
	struct bse_pool *pool = bse_pool_found();
	const char *broken;
	uint32_t pages = 0;

	if (!pool)
		return NULL;
	broken = selfcheck_free(pool, &pool->hot, &pages);
	if (!broken)
		broken = selfcheck_free(pool, &pool->cold, &pages);
	if (broken)
		return broken;
	if (pages + bse_pool_in_use(pool) != (bse_u32_load_relaxed)(&pool->fresh) - pool->first)
		return "I4: pages in use and free pages are not all pages";
	if ((bse_u32_load_relaxed)(&pool->kept) > (pool->pages - pool->first) / 2)
		return "I7: slots hold too many pages";
	return NULL;
}

/*
 * Of @s, which may be in use; or, if it is NULL, of the pool, which must be
 * quiet. A jump or fork in the middle of a call must not have cost the pool a
 * page (I4). NULL if all hold that it sees: of a stream I1, I3, I9, of the pool
 * I4, I6, I7. Else a text that begins with the number of one that does not.
 */
static inline const char *bpf_stream_selfcheck(struct bpf_stream *s)
{
	if (bse_access())
		return "the pool belongs to another process";
	return s ? selfcheck_stream(s) : selfcheck_pool();
}

#endif
