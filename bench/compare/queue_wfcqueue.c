/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* liburcu's wait-free concurrent queue: nodes in malloc'ed copies, spliced out. */
#include "measure.h"

#define _LGPL_SOURCE
#include <stdlib.h>
#include <string.h>
#include <urcu/wfcqueue.h>

struct wfc_message {
	struct cds_wfcq_node node;
	size_t len;
	char text[];
};

struct wfc {
	_Alignas(64) struct cds_wfcq_tail tail;
	_Alignas(64) struct cds_wfcq_head head;
	struct cds_wfcq_head batch_head;	/* spliced out, not yet copied */
	struct cds_wfcq_tail batch_tail;
};

static void *wfc_open(const struct queue_need *need)
{
	struct wfc *w = aligned_alloc(64, sizeof(*w));

	(void)need;
	if (w) {
		cds_wfcq_init(&w->head, &w->tail);
		cds_wfcq_init(&w->batch_head, &w->batch_tail);
	}
	return w;
}

static struct wfc_message *wfc_message_new(const void *data, size_t len)
{
	struct wfc_message *message = malloc(sizeof(*message) + len);

	if (message) {
		message->len = len;
		memcpy(message->text, data, len);
		cds_wfcq_node_init(&message->node);
	}
	return message;
}

static bool wfc_push(void *queue, const void *data, size_t len)
{
	struct wfc *w = queue;
	struct wfc_message *message = wfc_message_new(data, len);

	if (!message)
		return false;
	cds_wfcq_enqueue(&w->head, &w->tail, &message->node);
	return true;
}

/* A queue of its own, appended as a whole. */
static bool wfc_push_group(void *queue, const void *data, size_t len, unsigned int count)
{
	struct wfc *w = queue;
	struct cds_wfcq_head head;
	struct cds_wfcq_tail tail;

	cds_wfcq_init(&head, &tail);
	while (count--) {
		struct wfc_message *message = wfc_message_new(data, len);

		if (!message)
			abort();
		cds_wfcq_enqueue(&head, &tail, &message->node);
	}
	__cds_wfcq_splice_blocking(&w->head, &w->tail, &head, &tail);
	return true;
}

static size_t wfc_drain(void *queue, char *to, size_t size)
{
	struct wfc *w = queue;
	size_t done = 0;

	__cds_wfcq_splice_blocking(&w->batch_head, &w->batch_tail, &w->head, &w->tail);
	for (;;) {
		struct cds_wfcq_node *node =
			__cds_wfcq_first_blocking(&w->batch_head, &w->batch_tail);
		struct wfc_message *message =
			(void *)((char *)node - offsetof(struct wfc_message, node));

		if (!node || message->len > size - done)
			return done;
		memcpy(to + done, message->text, message->len);
		done += message->len;
		(void)__cds_wfcq_dequeue_blocking(&w->batch_head, &w->batch_tail);
		free(message);
	}
}

static void wfc_close(void *queue)
{
	char *dropped = malloc(1 << 20);

	while (dropped && wfc_drain(queue, dropped, 1 << 20))
		;
	free(dropped);
	free(queue);
}

static const struct queue queue_wfcqueue = {
	.name = "wfcqueue",
	.package = "liburcu-dev",
	.open = wfc_open,
	.push = wfc_push,
	.drain = wfc_drain,
	.close = wfc_close,
	.push_group = wfc_push_group,
};
QUEUE_REGISTER(queue_wfcqueue);
