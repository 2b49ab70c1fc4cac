/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Makes a competitor out of a queue that carries pointers, twice: a message is
 * a malloc'ed copy, which the reader frees; or it is copied into a preallocated
 * block, which comes from a list of free blocks and goes back there. A file
 * defines the following, then includes this. C and C++.
 *
 *	POINTERS_NAME, POINTERS_PACKAGE
 *	typedef ... pointers;
 *	static pointers *pointers_open(size_t count);
 *	static bool pointers_put(pointers *, void *);		many writers
 *	static unsigned int pointers_take(pointers *, void **, unsigned int most);	one reader
 *	static void pointers_close(pointers *);
 *
 *	typedef ... blocks;			a list of free blocks, with:
 *	static blocks *blocks_open(size_t count);
 *	static void *blocks_take(blocks *);			many writers; NULL: none
 *	static void blocks_put(blocks *, void *);		one reader
 *	static void blocks_close(blocks *);
 *
 * With POINTERS_PUT_MANY there are groups, of at most 64:
 *	static bool pointers_put_many(pointers *, void **, unsigned int count);
 */
#include <stdlib.h>
#include <string.h>

struct pointers_message {
	size_t len;			/* the text follows */
};

struct pointers_queue {
	pointers *full;
	blocks *empty;			/* NULL: malloc */
	char *memory;
	size_t memory_size;
	size_t longest;
	void *taken[64];		/* by the reader, not yet copied */
	unsigned int taken_at;
	unsigned int taken_end;
};

static inline void *pointers_queue_open(const struct queue_need *need)
{
	struct pointers_queue *q = (struct pointers_queue *)calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->longest = need->bytes;
	q->full = pointers_open(need->messages);
	return q->full ? q : NULL;
}

static inline struct pointers_message *pointers_queue_next(struct pointers_queue *q, size_t room)
{
	struct pointers_message *message;

	if (q->taken_at == q->taken_end) {
		q->taken_at = 0;
		q->taken_end = pointers_take(q->full, q->taken, 64);
		if (!q->taken_end)
			return NULL;
	}
	message = (struct pointers_message *)q->taken[q->taken_at];
	if (message->len > room)
		return NULL;
	q->taken_at++;
	return message;
}

static inline bool malloced_push(void *queue, const void *data, size_t len)
{
	struct pointers_queue *q = (struct pointers_queue *)queue;
	struct pointers_message *message =
		(struct pointers_message *)malloc(sizeof(*message) + len);

	if (!message)
		return false;
	message->len = len;
	memcpy(message + 1, data, len);
	if (pointers_put(q->full, message))
		return true;
	free(message);
	return false;
}

#ifdef POINTERS_PUT_MANY
static inline bool pointers_push_group(void *queue, const void *data, size_t len,
				       unsigned int count)
{
	struct pointers_queue *q = (struct pointers_queue *)queue;
	void *messages[64];
	unsigned int done;

	for (done = 0; done < count && done < 64; done++) {
		struct pointers_message *message = (struct pointers_message *)(q->empty ?
			blocks_take(q->empty) : malloc(sizeof(*message) + len));

		if (!message)
			break;
		message->len = len;
		memcpy(message + 1, data, len);
		messages[done] = message;
	}
	if (done == count && pointers_put_many(q->full, messages, count))
		return true;
	while (done--)
		if (q->empty)
			blocks_put(q->empty, messages[done]);
		else
			free(messages[done]);
	return false;
}
#else
#define pointers_push_group NULL
#endif

static inline size_t malloced_drain(void *queue, char *to, size_t size)
{
	struct pointers_queue *q = (struct pointers_queue *)queue;
	struct pointers_message *message;
	size_t done = 0;

	while ((message = pointers_queue_next(q, size - done))) {
		memcpy(to + done, message + 1, message->len);
		done += message->len;
		free(message);
	}
	return done;
}

static inline void malloced_close(void *queue)
{
	struct pointers_queue *q = (struct pointers_queue *)queue;
	struct pointers_message *message;

	while ((message = pointers_queue_next(q, (size_t)-1)))
		free(message);
	pointers_close(q->full);
	free(q);
}

static const struct queue queue_malloced = {
	.name = POINTERS_NAME " (malloc)",
	.package = POINTERS_PACKAGE,
	.open = pointers_queue_open,
	.push = malloced_push,
	.drain = malloced_drain,
	.close = malloced_close,
	.push_group = pointers_push_group,
};
QUEUE_REGISTER(queue_malloced);

static inline void *blocks_queue_open(const struct queue_need *need)
{
	struct pointers_queue *q = (struct pointers_queue *)pointers_queue_open(need);
	size_t block = (sizeof(struct pointers_message) + need->bytes + 15) / 16 * 16;
	/* The reader holds up to 64 that it has not yet copied. */
	size_t count = need->messages + 64;
	size_t i;

	if (!q)
		return NULL;
	q->memory_size = block * count;
	q->memory = (char *)memory_get(q->memory_size);
	q->empty = q->memory ? blocks_open(count) : NULL;
	if (!q->empty)
		return NULL;
	for (i = 0; i < count; i++)
		blocks_put(q->empty, q->memory + i * block);
	return q;
}

static inline bool blocks_push(void *queue, const void *data, size_t len)
{
	struct pointers_queue *q = (struct pointers_queue *)queue;
	struct pointers_message *message = (struct pointers_message *)blocks_take(q->empty);

	if (!message || len > q->longest)
		return false;
	message->len = len;
	memcpy(message + 1, data, len);
	if (pointers_put(q->full, message))
		return true;
	blocks_put(q->empty, message);
	return false;
}

static inline size_t blocks_drain(void *queue, char *to, size_t size)
{
	struct pointers_queue *q = (struct pointers_queue *)queue;
	struct pointers_message *message;
	size_t done = 0;

	while ((message = pointers_queue_next(q, size - done))) {
		memcpy(to + done, message + 1, message->len);
		done += message->len;
		blocks_put(q->empty, message);
	}
	return done;
}

static inline void blocks_queue_close(void *queue)
{
	struct pointers_queue *q = (struct pointers_queue *)queue;

	while (pointers_queue_next(q, (size_t)-1))
		;
	pointers_close(q->full);
	blocks_close(q->empty);
	memory_put(q->memory, q->memory_size);
	free(q);
}

static const struct queue queue_blocks = {
	.name = POINTERS_NAME " (blocks)",
	.package = POINTERS_PACKAGE,
	.open = blocks_queue_open,
	.push = blocks_push,
	.drain = blocks_drain,
	.close = blocks_queue_close,
	.push_group = pointers_push_group,
};
QUEUE_REGISTER(queue_blocks);
