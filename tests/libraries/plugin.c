/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A shared library with a stream. How it comes by the bodies is for who
 * compiles it to say: -DBPF_STREAM_STATIC, -DBPF_STREAM_IMPLEMENTATION, or
 * another file.
 */
#include "bpf_stream.h"
#include "plugin.h"

static struct bpf_stream stream;

__attribute__((__constructor__)) static void plugin_load(void)
{
	(void)bpf_stream_init(&stream, NULL);	/* the defaults are always valid */
}

int plugin_push(const void *data, size_t len)
{
	return bpf_stream_push(&stream, data, len);
}

int plugin_read(void *buf, size_t len)
{
	return bpf_stream_read(&stream, buf, len);
}

/* Pages that hold messages, or that a thread keeps for its next. */
size_t plugin_pages_in_use(void)
{
	struct bpf_stream_pool_stats stats;

	bpf_stream_pool_get_stats(&stats);
	return stats.in_use;
}

size_t plugin_pages_total(void)
{
	struct bpf_stream_pool_stats stats;

	bpf_stream_pool_get_stats(&stats);
	return stats.total;
}
