/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A shared library with a copy of its own of everything; see plugin_host.c. */
#define BPF_STREAM_STATIC
#include "bpf_stream.h"

int plugin_push(void);
int plugin_drain(void);
size_t plugin_pages_in_use(void);

static struct bpf_stream stream;

__attribute__((__constructor__)) static void plugin_load(void)
{
	(void)bpf_stream_init(&stream, NULL);	/* the defaults are always valid */
}

/* Store one message of one byte; 0 if it was stored. */
int plugin_push(void)
{
	return bpf_stream_push(&stream, "x", 1);
}

static int sink(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	return (int)len;
}

/* Take out everything; return how many bytes, or a negative errno. */
int plugin_drain(void)
{
	return bpf_stream_drain(&stream, sink, NULL, SIZE_MAX);
}

/* Pages that hold messages, or that a thread keeps for its next. */
size_t plugin_pages_in_use(void)
{
	struct bpf_stream_pool_stats stats;

	bpf_stream_pool_get_stats(&stats);
	return stats.in_use;
}
