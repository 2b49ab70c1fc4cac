/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * model.h - what streams do, slowly and obviously
 *
 * One thread; arrays of elements, each with a copy of its text; linear
 * searches. Knows nothing of the header: it is written from its contract. An
 * element is what one page holds of a message: a piece with its head, rounded
 * up to 8 bytes. A writer fills one page for each group of streams, and one for
 * stages, if not too many pages are kept already; it takes another one when
 * there is no room left in it. A piece that fills a page has it for itself. A
 * page that a writer stops filling is filled by the next one. A page is in use while it is being filled or holds an element.
 * That is enough to say exactly when the pool is exhausted.
 *
 * The model can also play the original, the streams in the kernel, in what is
 * known to be different there: one switch for each difference. Their names are
 * the numbers in docs/differences.md, or words for what has no number.
 */
#ifndef MODEL_H
#define MODEL_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL_STREAMS 3u
#define MODEL_STAGES 2u
#define MODEL_GROUPS 5u			/* of streams, and the last one: of stages */
#define MODEL_WORTH 256u		/* bytes of room in a page that is left to others */
#define MODEL_LARGE 2048u		/* bytes of an element that begins at a multiple of 64 */
#define MODEL_CAPACITY_LIMIT 0x1fffffffu
#define MODEL_PRINT_MAX 1023u		/* longest text of a print */
#define MODEL_SCRATCH 1024u		/* the original's: text and NUL */
#define MODEL_REPORTS 512u		/* a program makes so many */
#define MODEL_DEFAULT_CAPACITY (4u << 20)

/* No return code: the original goes on, how is not known. */
#define MODEL_GOES_ON INT_MIN

enum model_original {
	MODEL_KEEPS_CHARGE = 1u << 0,	/* 1: no page: the capacity stays charged */
	MODEL_STAGE_COUNTS = 1u << 1,	/* 2: a stage counts what it could not store */
	MODEL_STAGE_KEEPS = 1u << 2,	/* 3: commit does not reset a stage's length */
	MODEL_LONG_LEAKS = 1u << 3,	/* 4: text above the scratch buffer: -ENOMEM, charged */
	MODEL_STORES_EMPTY = 1u << 4,	/* 5: a message without text takes an element */
	MODEL_FAULT_WINS = 1u << 5,	/* 6: an error after progress hides the progress */
	MODEL_NEGATIVE = 1u << 6,	/* 7: a read length above INT_MAX is not refused */
	MODEL_NEVER_FULL = 1u << 7,	/* 8: capacity is never reached exactly */
	MODEL_NO_BOUND = 1u << 8,	/* 10: capacity is the only bound on memory */
	MODEL_WRAPS = 1u << 9,		/* 13: the counter of reports wraps */
	MODEL_LAST_BYTE = 1u << 10,	/* 1024: such a text loses its last byte to a NUL */
	MODEL_WHOLE = 1u << 11,		/* whole: refunds only whole elements */
	MODEL_ORIGINAL = (1u << 12) - 1
};

struct model_elem {
	unsigned char *text;
	size_t len;
	size_t taken;			/* by readers */
	size_t page;
	bool ends;			/* the last element of its message */
	bool goes_on;			/* the first one, of the same group as before */
	uint64_t carried;		/* refusals that it tells of */
};

struct model_list {
	struct model_elem *elem;	/* oldest first */
	size_t first;			/* those before are gone */
	size_t end;
	size_t room;
};

struct model_count {
	uint64_t messages;
	uint64_t bytes;
};

enum { MODEL_FULL, MODEL_POOL, MODEL_SIZE, MODEL_INVALID, MODEL_FOREIGN, MODEL_CLOSED,
       MODEL_REFUSALS };

struct model_stream {
	bool live;
	bool drained;			/* a drain of it is under way */
	unsigned int group;
	size_t capacity;
	size_t pending;			/* what is charged */
	struct model_list list;
	struct model_count delivered;
	struct model_count refused[MODEL_REFUSALS];
	bool closed;
	bool untold;			/* the next message tells of refusals */
	uint64_t refusals;		/* messages */
	uint64_t told;			/* of these, by records */
	size_t offset;			/* bytes of the head's message that records had */
};

struct model_stage {
	struct model_list list;
	size_t len;
	uint64_t messages;
};

struct model_page {
	enum { MODEL_FREE, MODEL_FILLED, MODEL_PARTIAL, MODEL_RETIRED } is;
	size_t elems;			/* not given back */
	size_t room;			/* bytes */
	unsigned int group;		/* whose writers it was left to */
	uint64_t left;			/* and when */
};

struct model_pool {
	size_t page_size;
	size_t page_head;		/* bytes at the beginning of each page */
	size_t elem_head;		/* and of each element */
	size_t total;
	struct model_page *page;
	size_t known;			/* how many pages that has room for */
	size_t used;			/* pages that were ever used */
	size_t filled[MODEL_GROUPS];	/* the page being filled, SIZE_MAX: none */
	bool keeps[MODEL_GROUPS];	/* the writer may keep it */
	size_t kept;			/* how many of these */
	uint64_t lefts;			/* pages that were left to others, so far */
	size_t idle;			/* free, and not trimmed since */
	uint64_t denied;
};

struct model {
	unsigned int original;		/* enum model_original */
	struct model_pool pool;
	struct model_stream stream[MODEL_STREAMS];
	struct model_stage stage[MODEL_STAGES];
	uint32_t reports;
};

static inline void *model_grow(void *p, size_t bytes)
{
	p = realloc(p, bytes);
	if (!p)
		abort();
	return p;
}

/* ---- pages ------------------------------------------------------------- */

static inline void model_page_free(struct model_pool *pool, size_t page)
{
	pool->page[page].is = MODEL_FREE;
	pool->idle++;
}

/* No writer fills it any more. */
static inline void model_page_retire(struct model_pool *pool, size_t page)
{
	if (pool->page[page].elems)
		pool->page[page].is = MODEL_RETIRED;
	else
		model_page_free(pool, page);
}

static inline void model_page_start(struct model_pool *pool, size_t page)
{
	pool->page[page].is = MODEL_FILLED;
	pool->page[page].room = pool->page_size - pool->page_head;
}

/* A writer that stops filling a page leaves it to others, if it is worth it. */
static inline void model_page_leave(struct model_pool *pool, size_t page, unsigned int group)
{
	struct model_page *pg = &pool->page[page];

	if (!pg->elems || pg->room < MODEL_WORTH) {
		model_page_retire(pool, page);
		return;
	}
	pg->is = MODEL_PARTIAL;
	pg->group = group;
	pg->left = ++pool->lefts;
}

/* Free pages first, and then those that were never used. */
static inline bool model_page_get(struct model *m, size_t *page)
{
	struct model_pool *pool = &m->pool;

	for (*page = 0; *page < pool->used && pool->page[*page].is != MODEL_FREE; ++*page)
		;
	if (*page == pool->used) {
		if (pool->used >= pool->total && !(m->original & MODEL_NO_BOUND))
			return false;
		pool->used++;
		if (pool->used > pool->known) {
			pool->known += pool->known + 8;
			pool->page = model_grow(pool->page, pool->known * sizeof(*pool->page));
		}
		pool->page[*page] = (struct model_page){ .elems = 0 };
	} else if (pool->idle) {
		pool->idle--;
	}
	model_page_start(pool, *page);
	return true;
}

/*
 * The page of a group that was left last is filled next. One with too little
 * room is not filled any more, and after @tries of them this gives up.
 */
static inline bool model_page_adopt(struct model_pool *pool, size_t *page, unsigned int group,
				    size_t size, size_t tries)
{
	while (tries--) {
		size_t last = SIZE_MAX;

		for (size_t i = 0; i < pool->used; i++)
			if (pool->page[i].is == MODEL_PARTIAL && pool->page[i].group == group &&
			    (last == SIZE_MAX || pool->page[i].left > pool->page[last].left))
				last = i;
		if (last == SIZE_MAX)
			return false;
		*page = last;
		if (!pool->page[last].elems)
			model_page_start(pool, last);
		pool->page[last].is = MODEL_FILLED;
		if (pool->page[last].room >= size)
			return true;
		model_page_retire(pool, last);
	}
	return false;
}

/*
 * A page with @size bytes of room: before there is none, that of any group. What
 * fills a page leaves the first one of its group alone.
 */
static inline int model_page_find(struct model *m, size_t *page, unsigned int group, size_t size,
				  bool fills)
{
	struct model_pool *pool = &m->pool;

	if ((!fills && model_page_adopt(pool, page, group, size, 1)) || model_page_get(m, page))
		return 0;
	for (unsigned int i = 0; i < MODEL_GROUPS; i++)
		if (model_page_adopt(pool, page, (group + i) % MODEL_GROUPS, size, SIZE_MAX))
			return 0;
	pool->denied++;
	return -ENOMEM;
}

/* The writer gives up the pages that it fills. */
static inline void model_release_thread(struct model *m)
{
	struct model_pool *pool = &m->pool;

	for (unsigned int i = 0; i < MODEL_GROUPS; i++) {
		if (pool->filled[i] != SIZE_MAX)
			model_page_leave(pool, pool->filled[i], i);
		pool->filled[i] = SIZE_MAX;
		pool->keeps[i] = false;
	}
	pool->kept = 0;
}

/* Pages that are filled, or hold elements; or of these, those left by writers. */
static inline size_t model_pages(const struct model *m, bool all)
{
	size_t pages = 0;

	for (size_t i = 0; i < m->pool.used; i++) {
		const struct model_page *pg = &m->pool.page[i];

		pages += pg->is == MODEL_PARTIAL ? pg->elems > 0 : all && pg->is != MODEL_FREE;
	}
	return pages;
}

/*
 * What writers left is not filled any more. Then: how many idle pages does the
 * system get back?
 */
static inline size_t model_trim(struct model *m)
{
	size_t idle;

	for (size_t i = 0; i < m->pool.used; i++)
		if (m->pool.page[i].is == MODEL_PARTIAL)
			model_page_retire(&m->pool, i);
	idle = m->pool.idle;
	m->pool.idle = 0;
	return idle;
}

/* May the writer keep the page that it fills for this group? */
static inline bool model_keeps(struct model_pool *pool, unsigned int group)
{
	if (!pool->keeps[group] && pool->kept < pool->total / 4) {
		pool->keeps[group] = true;
		pool->kept++;
	}
	return pool->keeps[group];
}

/* Where the first text of a page begins if it is large: at a multiple of 64. */
static inline size_t model_text_start(const struct model_pool *pool)
{
	return 64 - pool->page_head - pool->elem_head;
}

/* A place for @len bytes of text: a page in which there is room. */
static inline int model_place(struct model *m, unsigned int group, size_t len, size_t *page)
{
	struct model_pool *pool = &m->pool;
	size_t most = pool->page_size - pool->page_head - model_text_start(pool);
	size_t size = (pool->elem_head + len + 7) / 8 * 8;
	size_t filled = pool->filled[group];
	bool fills = size > most - MODEL_WORTH;
	int err;

	if (filled == SIZE_MAX || pool->page[filled].room < size) {
		/* What fills a page leaves alone the one that is being filled. */
		if (fills && filled != SIZE_MAX && pool->page[filled].elems)
			filled = SIZE_MAX;
		else
			pool->filled[group] = SIZE_MAX;
		/* One that came back entirely is filled once more. */
		if (filled != SIZE_MAX && !pool->page[filled].elems) {
			model_page_start(pool, filled);
		} else {
			if (filled != SIZE_MAX)
				model_page_retire(pool, filled);
			err = model_page_find(m, &filled, group, size, fills);
			if (err)
				return err;
		}
		if (size >= MODEL_LARGE &&
		    pool->page[filled].room == pool->page_size - pool->page_head)
			pool->page[filled].room -= model_text_start(pool);
		if (!fills && model_keeps(pool, group))
			pool->filled[group] = filled;
	}
	*page = filled;
	pool->page[filled].room -= size;
	pool->page[filled].elems++;
	if (pool->filled[group] != filled)
		model_page_leave(pool, filled, group);
	return 0;
}

/* ---- lists of elements ------------------------------------------------- */

static inline void model_add(struct model_list *list, struct model_elem elem)
{
	if (list->end == list->room) {
		list->room += list->room + 8;
		list->elem = model_grow(list->elem, list->room * sizeof(elem));
	}
	list->elem[list->end++] = elem;
}

static inline void model_drop_oldest(struct model *m, struct model_list *list)
{
	struct model_pool *pool = &m->pool;
	struct model_elem *elem = &list->elem[list->first];

	free(elem->text);
	if (!--pool->page[elem->page].elems && pool->page[elem->page].is == MODEL_RETIRED)
		model_page_free(pool, elem->page);
	if (++list->first == list->end)
		list->first = list->end = 0;
}

static inline void model_drop_all(struct model *m, struct model_list *list)
{
	while (list->first < list->end)
		model_drop_oldest(m, list);
	free(list->elem);
	memset(list, 0, sizeof(*list));
}

/* Moves all of @from behind what is in @to. */
static inline void model_move(struct model_list *to, struct model_list *from)
{
	for (size_t i = from->first; i < from->end; i++)
		model_add(to, from->elem[i]);
	free(from->elem);
	memset(from, 0, sizeof(*from));
}

/*
 * Stores a message in as many elements as it takes, or nothing at all. Its short
 * part comes first, behind @prefix bytes that no reader of bytes sees.
 */
static inline int model_store(struct model *m, struct model_list *list, unsigned int group,
			      size_t prefix, const void *text, size_t len)
{
	size_t most = m->pool.page_size - m->pool.page_head - m->pool.elem_head -
		      model_text_start(&m->pool);
	size_t part = len ? (len - 1) % most + 1 : 0;
	struct model_list made = { 0 };
	const unsigned char *at = text;
	int err = 0;

	if (len > m->pool.total * most)
		return -E2BIG;
	if (part + prefix > most)
		part -= prefix;
	do {
		struct model_elem elem = { .len = part };

		err = model_place(m, group, prefix + elem.len, &elem.page);
		prefix = 0;
		if (err)
			break;
		elem.text = model_grow(NULL, elem.len + 1);
		memcpy(elem.text, at, elem.len);
		at += elem.len;
		len -= elem.len;
		part = len ? (len - 1) % most + 1 : 0;
		elem.ends = !len;
		model_add(&made, elem);
	} while (len);
	if (err)
		model_drop_all(m, &made);
	else
		model_move(list, &made);
	return err;
}

/* ---- streams: writing -------------------------------------------------- */

static inline int model_init(struct model *m, unsigned int stream, size_t capacity,
			     unsigned int group)
{
	if (capacity > MODEL_CAPACITY_LIMIT || group >= MODEL_GROUPS - 1)
		return -EINVAL;
	m->stream[stream] = (struct model_stream){
		.live = true,
		.group = group,
		.capacity = capacity ? capacity : MODEL_DEFAULT_CAPACITY,
	};
	return 0;
}

static inline void model_destroy(struct model *m, unsigned int stream)
{
	model_drop_all(m, &m->stream[stream].list);
	m->stream[stream].live = false;
}

static inline int model_refuse(struct model_stream *s, int err, uint64_t messages, size_t bytes)
{
	unsigned int why = err == -ENOSPC ? MODEL_FULL : err == -ENOMEM ? MODEL_POOL :
			   err == -E2BIG ? MODEL_SIZE :
			   err == -EPIPE ? MODEL_CLOSED : MODEL_INVALID;

	s->untold = true;
	s->refusals += messages;
	s->refused[why].messages += messages;
	if (why != MODEL_INVALID)
		s->refused[why].bytes += bytes;
	return err;
}

/* What was stored at this place of the list tells of refusals. */
static inline void model_tell(struct model_stream *s, size_t at)
{
	if (s->untold)
		s->list.elem[s->list.first + at].carried = s->refusals;
	s->untold = false;
}

static inline int model_charge(struct model *m, struct model_stream *s, size_t len)
{
	if (len > INT_MAX)
		return -EINVAL;
	if (len > s->capacity)
		return -E2BIG;
	if (s->closed)
		return -EPIPE;
	if (s->pending + len > s->capacity)
		return -ENOSPC;
	if (m->original & MODEL_NEVER_FULL && s->pending + len >= s->capacity)
		return -ENOSPC;
	s->pending += len;
	return 0;
}

static inline int model_push(struct model *m, unsigned int stream, const void *text, size_t len)
{
	struct model_stream *s = &m->stream[stream];
	size_t at = s->list.end - s->list.first;
	int err;

	if (!len && !(m->original & MODEL_STORES_EMPTY))
		return 0;
	err = model_charge(m, s, len);
	if (err)
		return model_refuse(s, err, 1, len);
	err = model_store(m, &s->list, s->group, s->untold ? 8 : 0, text, len);
	if (err && !(err == -ENOMEM && m->original & MODEL_KEEPS_CHARGE))
		s->pending -= len;
	if (err)
		return model_refuse(s, err, 1, len);
	model_tell(s, at);
	return 0;
}

/* What the original does with a text that just does not fit its buffer. */
static inline bool model_cuts_last(const struct model *m, size_t len)
{
	return m->original & MODEL_LAST_BYTE && len == MODEL_SCRATCH;
}

static inline bool model_is_too_long(const struct model *m, size_t len)
{
	return m->original & MODEL_LONG_LEAKS && len > MODEL_SCRATCH;
}

/* @text is changed; with @len below 0 the format was not valid. */
static inline int model_print(struct model *m, unsigned int stream, char *text, int len)
{
	struct model_stream *s = &m->stream[stream];
	size_t bytes = (size_t)len;
	int err;

	if (len < 0)
		return model_refuse(s, -EINVAL, 1, 0);
	if (model_is_too_long(m, bytes)) {
		err = model_charge(m, s, bytes);
		return model_refuse(s, err ? err : -ENOMEM, 1, bytes);
	}
	if (model_cuts_last(m, bytes))
		text[bytes - 1] = '\0';
	else if (bytes > MODEL_PRINT_MAX)
		return model_refuse(s, -E2BIG, 1, bytes);
	return model_push(m, stream, text, bytes);
}

/* ---- stages ------------------------------------------------------------ */

static inline void model_stage_free(struct model *m, unsigned int stage)
{
	model_drop_all(m, &m->stage[stage].list);
	m->stage[stage] = (struct model_stage){ 0 };
}

static inline int model_stage_push(struct model *m, unsigned int stage, const void *text,
				   size_t len)
{
	struct model_stage *ss = &m->stage[stage];
	size_t at = ss->list.end - ss->list.first;
	int err;

	if (!len && !(m->original & MODEL_STORES_EMPTY))
		return 0;
	if (len > INT_MAX)
		return -EINVAL;
	if (ss->len + len > INT_MAX)
		return -E2BIG;
	err = model_store(m, &ss->list, MODEL_GROUPS - 1,
			  ss->list.first == ss->list.end ? 24 : 0, text, len);
	if (!err)
		ss->messages++;
	if (!err && at)
		ss->list.elem[ss->list.first + at].goes_on = true;
	if (!err || (err == -ENOMEM && m->original & MODEL_STAGE_COUNTS))
		ss->len += len;
	return err;
}

static inline int model_stage_printk(struct model *m, unsigned int stage, char *text, int len)
{
	size_t bytes = (size_t)len;

	if (len < 0)
		return -EINVAL;
	if (model_is_too_long(m, bytes)) {
		if (m->original & MODEL_STAGE_COUNTS)
			m->stage[stage].len += bytes;
		return -ENOMEM;
	}
	if (model_cuts_last(m, bytes))
		text[bytes - 1] = '\0';
	else if (bytes > MODEL_PRINT_MAX)
		bytes = MODEL_PRINT_MAX;
	return model_stage_push(m, stage, text, bytes);
}

static inline int model_commit(struct model *m, unsigned int stage, unsigned int stream)
{
	struct model_stage *ss = &m->stage[stage];
	struct model_stream *s = &m->stream[stream];
	bool is_empty = ss->list.first == ss->list.end;
	size_t at = s->list.end - s->list.first;
	int err;

	if (is_empty && !(m->original & MODEL_STAGE_KEEPS))
		return 0;
	err = model_charge(m, s, ss->len);
	if (err)
		return model_refuse(s, err, ss->messages, ss->len);
	model_move(&s->list, &ss->list);
	if (!is_empty)
		model_tell(s, at);
	ss->messages = 0;
	if (!(m->original & MODEL_STAGE_KEEPS))
		ss->len = 0;
	return 0;
}

/* ---- streams: reading -------------------------------------------------- */

/* Bytes that a reader would find; not what is charged. */
static inline size_t model_bytes(const struct model_stream *s)
{
	size_t bytes = 0;

	for (size_t i = s->list.first; i < s->list.end; i++)
		bytes += s->list.elem[i].len - s->list.elem[i].taken;
	return bytes;
}

/* Copies out the next @len bytes, which must be there; takes nothing. */
static inline void model_peek(const struct model_stream *s, unsigned char *to, size_t len)
{
	for (size_t i = s->list.first; len; i++) {
		const struct model_elem *elem = &s->list.elem[i];
		size_t part = elem->len - elem->taken;

		if (part > len)
			part = len;
		memcpy(to, elem->text + elem->taken, part);
		to += part;
		len -= part;
	}
}

/* A reader took @len bytes; elements that are finished go. */
static inline void model_take(struct model *m, struct model_stream *s, size_t len)
{
	if (len)
		s->offset = 0;
	s->delivered.bytes += len;
	if (!(m->original & MODEL_WHOLE))
		s->pending -= len;
	while (s->list.first < s->list.end) {
		struct model_elem *elem = &s->list.elem[s->list.first];
		size_t rest = elem->len - elem->taken;

		if (len < rest) {
			elem->taken += len;
			return;
		}
		len -= rest;
		if (m->original & MODEL_WHOLE)
			s->pending -= elem->len;
		s->delivered.messages += elem->ends;
		model_drop_oldest(m, &s->list);
	}
}

/* May this reader begin, and with how many bytes? Below 0: no. */
static inline int model_begin(const struct model *m, unsigned int stream, size_t max)
{
	const struct model_stream *s = &m->stream[stream];
	size_t bytes = model_bytes(s);

	if (!max)
		return 0;
	if (s->drained)
		return -EDEADLK;
	if (!bytes && s->closed)
		return -ESHUTDOWN;
	return (int)(bytes < max ? bytes : max);
}

/* As model_begin(), for a read into memory. */
static inline int model_read(const struct model *m, unsigned int stream, size_t len)
{
	if (len > INT_MAX)
		return m->original & MODEL_NEGATIVE && (int)(uint32_t)len < 0 ? MODEL_GOES_ON :
										-EINVAL;
	return model_begin(m, stream, len);
}

/* A record: the head's, or what is lost at the end, or nothing: then it is all 0. */
struct model_record {
	size_t len;
	size_t offset;
	size_t total;
	uint64_t seq;
	uint64_t lost;
	bool more;
};

static inline struct model_record model_record(const struct model_stream *s)
{
	const struct model_elem *elem = &s->list.elem[s->list.first];
	struct model_record r = { .offset = s->offset };
	uint64_t refusals = s->refusals;

	if (s->list.first < s->list.end) {
		refusals = elem->carried;
		r.len = elem->len - elem->taken;
		for (r.total = s->offset + r.len; !elem->ends; r.total += elem->len)
			elem++;
		r.more = elem + 1 < &s->list.elem[s->list.end] && elem[1].goes_on;
	}
	r.lost = refusals > s->told ? refusals - s->told : 0;
	r.seq = s->delivered.messages + s->told + r.lost;
	return r;
}

static inline void model_take_record(struct model *m, struct model_stream *s,
				     const struct model_record *r)
{
	s->told += r->lost;
	model_take(m, s, r->len);
	s->offset = r->offset + r->len < r->total ? r->offset + r->len : 0;
}

/* What a reader returns that took @taken bytes and then met @err, if any. */
static inline int model_answer(const struct model *m, size_t taken, int err)
{
	if (err && m->original & MODEL_FAULT_WINS)
		return err;
	return taken ? (int)taken : err;
}

/* ---- reports ----------------------------------------------------------- */

/* A program makes @times reports; how many of them may be printed? */
static inline uint64_t model_report(struct model *m, uint64_t times)
{
	uint64_t printed = 0;
	uint64_t step;

	for (; times; times -= step) {
		step = 1;
		if (m->reports < MODEL_REPORTS) {
			printed++;
			m->reports++;
		} else if (!(m->original & MODEL_WRAPS)) {
			break;
		} else {
			/* All the same, up to the wrap. */
			step = (UINT64_C(1) << 32) - m->reports;
			if (step > times)
				step = times;
			m->reports += (uint32_t)step;
		}
	}
	return printed;
}

/* ---- all of it --------------------------------------------------------- */

static inline void model_start(struct model *m, unsigned int original, size_t page_size,
			       size_t total)
{
	memset(m, 0, sizeof(*m));
	m->original = original;
	m->pool.page_size = page_size;
	m->pool.elem_head = 8;
	m->pool.total = total;
	for (unsigned int i = 0; i < MODEL_GROUPS; i++)
		m->pool.filled[i] = SIZE_MAX;
}

/* So many pages were used in a former life; they are free, and trimmed. */
static inline void model_used_before(struct model *m, size_t pages)
{
	size_t page;

	while (m->pool.used < pages && model_page_get(m, &page))
		;
	for (page = 0; page < m->pool.used; page++)
		m->pool.page[page].is = MODEL_FREE;
}

/* Streams, stages and the pages that are being filled are given up. */
static inline void model_quiet(struct model *m)
{
	for (unsigned int i = 0; i < MODEL_STREAMS; i++)
		model_destroy(m, i);
	for (unsigned int i = 0; i < MODEL_STAGES; i++)
		model_stage_free(m, i);
	model_release_thread(m);
}

static inline void model_stop(struct model *m)
{
	model_quiet(m);
	free(m->pool.page);
}

#endif
