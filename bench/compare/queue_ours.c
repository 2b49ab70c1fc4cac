/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bpf_stream, through its public calls; its bodies are in ours.c. */
#include "measure.h"
#include "ours.h"

#include <limits.h>
#include <stdlib.h>

static void *ours_open(const struct queue_need *need)
{
	struct bpf_stream_options opts = { .capacity = need->messages * need->bytes };
	struct bpf_stream *s = aligned_alloc(64, (sizeof(*s) + 63) / 64 * 64);

	if (s && ours_pool() && !bpf_stream_init(s, &opts))
		return s;
	free(s);
	return NULL;
}

static bool ours_push(void *queue, const void *data, size_t len)
{
	return !bpf_stream_push(queue, data, len);
}

static bool ours_push_group(void *queue, const void *data, size_t len, unsigned int count)
{
	struct bpf_stream_stage stage;
	bool ok = true;

	bpf_stream_stage_init(&stage);
	while (ok && count--)
		ok = !bpf_stream_stage_push(&stage, data, len);
	if (ok && !bpf_stream_stage_commit_to(&stage, queue))
		return true;
	bpf_stream_stage_free(&stage);
	return false;
}

static size_t ours_drain(void *queue, char *to, size_t size)
{
	int got = bpf_stream_read(queue, to, size > INT_MAX ? INT_MAX : size);

	return got > 0 ? (size_t)got : 0;
}

static void ours_close(void *queue)
{
	bpf_stream_destroy(queue);
	free(queue);
}

static const struct queue queue_ours = {
	.name = "bpf_stream",
	.open = ours_open,
	.push = ours_push,
	.drain = ours_drain,
	.close = ours_close,
	.push_group = ours_push_group,
};
QUEUE_REGISTER(queue_ours);
