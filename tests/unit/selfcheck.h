/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The invariants of section [7] of bpf_stream.h as code, for tests and modules
 * that have the bodies as static. bpf_stream.h comes first. I5, I8 and I10
 * cannot be seen from outside.
 */
#ifndef SELFCHECK_H
#define SELFCHECK_H

/* In a page's next, during a check: it was found on a list. */
#define SELFCHECK_SEEN 0x40000000u

/* Linear in the list: lengths that are in range (I9); adds up the texts. */
static const char *selfcheck_list(bse_link link, uint64_t *bytes)
{
	for (; link; link = bse_elem_next(bse_elem_of(link))) {
		const struct bpf_stream_elem *elem = bse_elem_of(link);
		const uint32_t len = bse_elem_len(elem);

		if (!len || (size_t)(bse_elem_text(elem) - elem->str) + len > BSI_ELEM_MAX)
			return "I9: an element has no bytes, or more than fit a page";
		*bytes += len;
		if (*bytes > INT_MAX)
			return "I1: a list goes round in circles";
	}
	return NULL;
}

/* An open gate is as the options say; with a clock it is shut. */
static bool selfcheck_options(const struct bpf_stream *s)
{
	const uint32_t gate = (bse_u32_load_relaxed)(&s->gate);
	size_t group;

	return !gate || gate & BSE_GATE_SHUT ||
	       (gate == bse_options_of(s, &group) && !s->options.clock &&
			 (bse_u32_load_relaxed)(&s->group) == group - 1);
}

/* With the lock held; @word is what the log held at one moment. */
static const char *selfcheck_log(const struct bpf_stream *s, uint64_t word)
{
	const uint64_t pending = word & BSE_LOG_PENDING;
	const uint32_t consumed = bse_consumed_get(s);
	uint64_t bytes = 0;
	const char *broken = selfcheck_list(s->backlog_head, &bytes);

	if (broken)
		return broken;
	if (consumed >= (s->backlog_head ? bse_elem_len(bse_elem_of(s->backlog_head)) : 1))
		return "I9: all of the backlog's head, or of nothing, is consumed";
	bytes -= consumed;
	broken = selfcheck_list((bse_link)(word >> BSE_LOG_SHIFT), &bytes);
	if (broken)
		return broken;
	if (bytes != pending)
		return "I3: pending is not the sum of what is left";
	if (pending > bse_options_of(s, &(size_t){ 0 }))
		return "I3: pending is above the capacity";
	if (s->place.told > (bse_u64_load_relaxed)(&s->refusals))
		return "I11: more was told as lost than was refused";
	return NULL;
}

/*
 * Linear. Beside writers: with the lock held nobody detaches or refunds, and
 * what one read of the word shows below its head does not change. The read is
 * an acquire, which pairs with publish:A as detach:B does.
 */
static const char *selfcheck_stream(struct bpf_stream *s)
{
	const char *broken;

	if (bsi_reader_lock(s, true))
		return "the stream's lock cannot be taken";
	broken = selfcheck_log(s, (bse_u64_load_acquire)(&s->log));
	if (!broken && !selfcheck_options(s))
		broken = "I11: gate and group are not those of the options";
	bse_unlock(&s->lock);
	return broken;
}

/* What came back of the @given elements of a page is not more than these. */
static bool selfcheck_counts(const struct bse_page_info *info, uint32_t given)
{
	return (uint32_t)(((uint64_t)1 << 32) - (bse_u32_load_relaxed)(&info->refs)) <= given;
}

/* A page on a list, with the mark that its list says. */
static const char *selfcheck_listed(const struct bse_page_info *info, uint32_t mark)
{
	const uint32_t given = (bse_u32_load_relaxed)(&info->given);

	if (((bse_u32_load_relaxed)(&info->next) & BSE_PAGE_PARTIAL) != mark)
		return "I6: a page has the mark of another kind of list";
	if (!mark)
		return (bse_u32_load_relaxed)(&info->refs) ? "I4: a free page has references" :
							     NULL;
	if (info->room % 8 || info->room < BSI_PAGE_WORTH || info->room > BSE_PAGE_ROOM)
		return "I4: a partial page has no such room";
	if (!given || given > (BSE_PAGE_ROOM - info->room) / bsi_elem_size(1))
		return "I4: a partial page cannot have had so many elements";
	if (!selfcheck_counts(info, given))
		return "I4: more came back to a partial page than was handed out";
	return NULL;
}

/* Linear. A list of pages, with nobody beside; each is on one only (I4, I6). */
static const char *selfcheck_pages(struct bse_pool *pool, uint32_t list)
{
	const uint32_t fresh = (bse_u32_load_relaxed)(&pool->fresh);
	const uint32_t mark = list < BSE_LISTS ? BSE_PAGE_PARTIAL : 0;
	bse_page page =
		(bse_page)((bse_u64_load_relaxed)(&pool->list[list].head) & BSE_PAGE_MASK);
	const char *broken;
	uint32_t next;

	for (; page; page = next & (bse_page)BSE_PAGE_MASK) {
		if (page < pool->first || page >= fresh)
			return "I6: a list holds what is no used page";
		next = (bse_u32_load_relaxed)(&pool->page[page].next);
		if (next & SELFCHECK_SEEN)
			return "I6: a page is listed twice";
		broken = selfcheck_listed(&pool->page[page], mark);
		if (broken)
			return broken;
		(bse_u32_store_relaxed)(&pool->page[page].next, next | SELFCHECK_SEEN);
	}
	return NULL;
}

/* Linear. Takes the marks of what was seen off; tells if the rest is in use. */
static bool selfcheck_rest(struct bse_pool *pool)
{
	bse_page page = (bse_u32_load_relaxed)(&pool->fresh);
	bool in_use = true;

	while (page-- > pool->first) {
		uint32_t next = (bse_u32_load_relaxed)(&pool->page[page].next);

		if (next & SELFCHECK_SEEN)
			(bse_u32_store_relaxed)(&pool->page[page].next, next & ~SELFCHECK_SEEN);
		else if (next != BSE_PAGE_IN_USE)
			in_use = false;
	}
	return in_use;
}

#ifdef BSE_HAS_THREADS
/* This thread's slots: usable, whatever jumped out of what (I2). */
static const char *selfcheck_slots(const struct bse_pool *pool)
{
	uint32_t i;

	for (i = 0; i < BSE_SLOTS; i++) {
		const struct bse_space *space = &bse_self.slot[i].space;
		const struct bse_page_info *info = &pool->page[space->page];

		if (!space->page && !space->room)
			continue;
		if (space->page >= pool->pages ||
		    (bse_u32_load_relaxed)(&info->next) != BSE_PAGE_IN_USE)
			return "I2: a slot has a page that is not in use";
		if (space->room % 8 || space->room > BSE_PAGE_ROOM)
			return "I2: a slot has no such room";
		if (!selfcheck_counts(info, space->given))
			return "I2: a slot counts less than came back";
	}
	return NULL;
}
#else
#define selfcheck_slots(pool) NULL
#endif

/* Linear. Nobody pushes or reads beside it. */
static const char *selfcheck_pool(void)
{
	struct bse_pool *pool = bse_pool_found();
	const char *broken = NULL;
	uint32_t i;

	if (!pool)
		return NULL;
	for (i = 0; !broken && i <= BSE_COLD; i++)
		broken = selfcheck_pages(pool, i);
	if (!selfcheck_rest(pool) && !broken)
		broken = "I4: a page is neither free, nor partial, nor in use";
	if (!broken && (bse_u32_load_relaxed)(&pool->kept) > (pool->pages - pool->first) / 4)
		broken = "I7: slots hold too many pages";
	return broken ? broken : selfcheck_slots(pool);
}

/*
 * Of @s, which may be in use; or, if it is NULL, of the pool, which must be
 * quiet. A jump or fork in the middle of a call must not have cost the pool a
 * page (I4). NULL if all hold that it sees: of a stream I1, I3, I9, of the pool
 * I4, I6, I7, and of this thread's slots I2. Else a text that begins with the
 * number of one that does not.
 */
static inline const char *bpf_stream_selfcheck(struct bpf_stream *s)
{
	if (bse_access())
		return "the pool belongs to another process";
	return s ? selfcheck_stream(s) : selfcheck_pool();
}

#endif
