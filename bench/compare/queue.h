/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is compared: things that carry messages of bytes from writers to one
 * reader. To add one, write a file queue_NAME.c or .cpp that ends with
 * QUEUE_REGISTER(...), and name it in meson.build. The probes of each question
 * find out what it can do.
 */
#ifndef COMPARE_QUEUE_H
#define COMPARE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How much must fit; all competitors of a row get the same. */
struct queue_need {
	size_t messages;	/* the most that are ever pending */
	size_t bytes;		/* in the longest */
};

struct queue {
	const char *name;
	const char *package;	/* Debian's; NULL: none is needed */

	/* Allocates all that can be; NULL: cannot be made for this need. */
	void *(*open)(const struct queue_need *need);

	/* Takes a copy; false: full or refused, nothing was stored. */
	bool (*push)(void *queue, const void *data, size_t len);

	/* Copies whole messages to @to, oldest first; returns bytes, 0: none. */
	size_t (*drain)(void *queue, char *to, size_t size);

	/* Drops what is pending. */
	void (*close)(void *queue);

	/* @count messages of @len bytes as one group; NULL: it has no groups. */
	bool (*push_group)(void *queue, const void *data, size_t len, unsigned int count);
};

/* In the order in which meson.build names their files. */
enum { QUEUES_MAX = 40 };
extern const struct queue *queues[QUEUES_MAX];
extern unsigned int queues_count;
void queue_register(const struct queue *queue);

/* Behind a competitor's definition; a semicolon follows. */
#define QUEUE_REGISTER(which)							\
	__attribute__((constructor)) static void register_##which(void)		\
	{									\
		queue_register(&(which));					\
	}									\
	extern const struct queue *queues[QUEUES_MAX]

#ifdef __cplusplus
}
#endif

#endif
