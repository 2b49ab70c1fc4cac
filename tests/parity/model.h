/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * model.h - what streams do, slowly and obviously
 *
 * One thread; arrays of elements, each with a copy of its text; linear
 * searches. Knows nothing of the header: it is written from its contract. An
 * element is what one page holds of a message: a piece with its head, rounded
 * up to 8 bytes. A writer fills one page, and takes another one when there is
 * no room left in it. A page is in use while it is being filled or holds an
 * element. That is enough to say exactly when the pool is exhausted.
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

enum { MODEL_FULL, MODEL_POOL, MODEL_SIZE, MODEL_INVALID, MODEL_FOREIGN, MODEL_REFUSALS };

struct model_stream {
	bool live;
	bool drained;			/* a drain of it is under way */
	size_t capacity;
	size_t pending;			/* what is charged */
	struct model_list list;
	struct model_count delivered;
	struct model_count refused[MODEL_REFUSALS];
};

struct model_stage {
	struct model_list list;
	size_t len;
	uint64_t messages;
};

struct model_pool {
	size_t page_size;
	size_t page_head;		/* bytes at the beginning of each page */
	size_t elem_head;		/* and of each element */
	size_t total;
	size_t *elems;			/* in each page: elements not given back */
	bool *in_use;
	size_t known;			/* how many pages these two describe */
	size_t current;			/* the page being filled, SIZE_MAX: none */
	size_t offset;			/* how far */
	size_t used;			/* pages in use */
	size_t highest;
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

static inline void model_page_put(struct model_pool *pool, size_t page)
{
	pool->in_use[page] = false;
	pool->used--;
	pool->idle++;
}

static inline int model_page_get(struct model *m, size_t *page)
{
	struct model_pool *pool = &m->pool;

	if (pool->used >= pool->total && !(m->original & MODEL_NO_BOUND)) {
		pool->denied++;
		return -ENOMEM;
	}
	for (*page = 0; *page < pool->known && pool->in_use[*page]; ++*page)
		;
	if (*page == pool->known) {
		pool->known += pool->known + 8;
		pool->elems = model_grow(pool->elems, pool->known * sizeof(*pool->elems));
		pool->in_use = model_grow(pool->in_use, pool->known * sizeof(*pool->in_use));
		for (size_t i = *page; i < pool->known; i++) {
			pool->elems[i] = 0;
			pool->in_use[i] = false;
		}
	}
	pool->in_use[*page] = true;
	pool->used++;
	if (pool->highest < pool->used)
		pool->highest = pool->used;
	if (pool->idle)
		pool->idle--;
	return 0;
}

/* The writer gives up the page that it fills. */
static inline void model_release_thread(struct model *m)
{
	struct model_pool *pool = &m->pool;

	if (pool->current != SIZE_MAX && !pool->elems[pool->current])
		model_page_put(pool, pool->current);
	pool->current = SIZE_MAX;
}

/* How many idle pages the system gets back. */
static inline size_t model_trim(struct model *m)
{
	size_t idle = m->pool.idle;

	m->pool.idle = 0;
	return idle;
}

/* A place for @len bytes of text: a page in which there is room. */
static inline int model_place(struct model *m, size_t len, size_t *page)
{
	struct model_pool *pool = &m->pool;
	size_t size = (pool->elem_head + len + 7) / 8 * 8;
	int err;

	if (pool->current == SIZE_MAX || pool->offset + size > pool->page_size) {
		/* One that came back entirely is filled once more. */
		if (pool->current == SIZE_MAX || pool->elems[pool->current]) {
			pool->current = SIZE_MAX;
			err = model_page_get(m, page);
			if (err)
				return err;
			pool->current = *page;
		}
		pool->offset = pool->page_head;
	}
	*page = pool->current;
	pool->offset += size;
	pool->elems[*page]++;
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
	if (!--pool->elems[elem->page] && elem->page != pool->current)
		model_page_put(pool, elem->page);
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

/* Stores a message in as many elements as it takes, or nothing at all. */
static inline int model_store(struct model *m, struct model_list *list, const void *text,
			      size_t len)
{
	size_t most = m->pool.page_size - m->pool.page_head - m->pool.elem_head;
	struct model_list made = { 0 };
	const unsigned char *at = text;
	int err = 0;

	if (len > m->pool.total * most)
		return -E2BIG;
	do {
		struct model_elem elem = { .len = len < most ? len : most };

		err = model_place(m, elem.len, &elem.page);
		if (err)
			break;
		elem.text = model_grow(NULL, elem.len + 1);
		memcpy(elem.text, at, elem.len);
		at += elem.len;
		len -= elem.len;
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

static inline int model_init(struct model *m, unsigned int stream, size_t capacity)
{
	if (capacity > INT_MAX)
		return -EINVAL;
	m->stream[stream] = (struct model_stream){
		.live = true,
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
			   err == -E2BIG ? MODEL_SIZE : MODEL_INVALID;

	s->refused[why].messages += messages;
	if (why != MODEL_INVALID)
		s->refused[why].bytes += bytes;
	return err;
}

static inline int model_charge(struct model *m, struct model_stream *s, size_t len)
{
	if (len > INT_MAX)
		return -EINVAL;
	if (len > s->capacity)
		return -E2BIG;
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
	int err;

	if (!len && !(m->original & MODEL_STORES_EMPTY))
		return 0;
	err = model_charge(m, s, len);
	if (err)
		return model_refuse(s, err, 1, len);
	err = model_store(m, &s->list, text, len);
	if (err && !(err == -ENOMEM && m->original & MODEL_KEEPS_CHARGE))
		s->pending -= len;
	return err ? model_refuse(s, err, 1, len) : 0;
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
	int err;

	if (!len && !(m->original & MODEL_STORES_EMPTY))
		return 0;
	if (len > INT_MAX)
		return -EINVAL;
	if (ss->len + len > INT_MAX)
		return -E2BIG;
	err = model_store(m, &ss->list, text, len);
	if (!err)
		ss->messages++;
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
	int err;

	if (is_empty && !(m->original & MODEL_STAGE_KEEPS))
		return 0;
	err = model_charge(m, s, ss->len);
	if (err)
		return model_refuse(s, err, ss->messages, ss->len);
	model_move(&s->list, &ss->list);
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
	m->pool.elem_head = 12;
	m->pool.total = total;
	m->pool.current = SIZE_MAX;
}

/* Streams, stages and the page that is being filled are given up. */
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
	free(m->pool.elems);
	free(m->pool.in_use);
}

#endif
