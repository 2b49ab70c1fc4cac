/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What one writes without thinking twice: a mutex, a list, malloc. */
#include "measure.h"

#include <stdlib.h>
#include <string.h>

struct mutex_message {
	struct mutex_message *next;
	size_t len;
	char text[];
};

struct mutex_list {
	pthread_mutex_t lock;
	struct mutex_message *head;
	struct mutex_message **end;
	size_t count;
	size_t most;
	struct mutex_message *batch;	/* the reader's: taken, not yet copied */
};

static void *mutex_open(const struct queue_need *need)
{
	struct mutex_list *list = calloc(1, sizeof(*list));

	if (!list)
		return NULL;
	pthread_mutex_init(&list->lock, NULL);
	list->end = &list->head;
	list->most = need->messages;
	return list;
}

static struct mutex_message *mutex_message_new(const void *data, size_t len)
{
	struct mutex_message *message = malloc(sizeof(*message) + len);

	if (message) {
		message->next = NULL;
		message->len = len;
		memcpy(message->text, data, len);
	}
	return message;
}

/* Appends @count messages; full: frees them. */
static bool mutex_append(struct mutex_list *list, struct mutex_message *first,
			 struct mutex_message **end, size_t count)
{
	bool room;

	pthread_mutex_lock(&list->lock);
	room = list->count + count <= list->most;
	if (room) {
		*list->end = first;
		list->end = end;
		list->count += count;
	}
	pthread_mutex_unlock(&list->lock);
	while (!room && first) {
		struct mutex_message *next = first->next;

		free(first);
		first = next;
	}
	return room;
}

static bool mutex_push(void *queue, const void *data, size_t len)
{
	struct mutex_message *message = mutex_message_new(data, len);

	return message && mutex_append(queue, message, &message->next, 1);
}

static bool mutex_push_group(void *queue, const void *data, size_t len, unsigned int count)
{
	struct mutex_message *first = NULL;
	struct mutex_message **end = &first;
	unsigned int i;

	for (i = 0; i < count; i++) {
		*end = mutex_message_new(data, len);
		if (!*end)
			return false;
		end = &(*end)->next;
	}
	return mutex_append(queue, first, end, count);
}

static size_t mutex_drain(void *queue, char *to, size_t size)
{
	struct mutex_list *list = queue;
	struct mutex_message *message;
	size_t done = 0;
	size_t taken = 0;

	/* The list as a whole, so that writers wait as briefly as can be. */
	if (!list->batch) {
		pthread_mutex_lock(&list->lock);
		list->batch = list->head;
		list->head = NULL;
		list->end = &list->head;
		pthread_mutex_unlock(&list->lock);
	}
	while ((message = list->batch) && message->len <= size - done) {
		list->batch = message->next;
		memcpy(to + done, message->text, message->len);
		done += message->len;
		free(message);
		taken++;
	}
	if (taken) {
		pthread_mutex_lock(&list->lock);
		list->count -= taken;
		pthread_mutex_unlock(&list->lock);
	}
	return done;
}

static void mutex_free(struct mutex_message *message)
{
	while (message) {
		struct mutex_message *next = message->next;

		free(message);
		message = next;
	}
}

static void mutex_close(void *queue)
{
	struct mutex_list *list = queue;

	mutex_free(list->batch);
	mutex_free(list->head);
	free(list);
}

static const struct queue queue_mutex = {
	.name = "mutex and list",
	.open = mutex_open,
	.push = mutex_push,
	.drain = mutex_drain,
	.close = mutex_close,
	.push_group = mutex_push_group,
};
QUEUE_REGISTER(queue_mutex);
