/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A private copy of everything; compiled twice, NAME is its only function. */
#define BPF_STREAM_STATIC
#include "bpf_stream.h"

size_t NAME(void);

/* Push one message that stays; return how many pages this copy's pool uses. */
size_t NAME(void)
{
	static struct bpf_stream s;
	struct bpf_stream_pool_stats stats;

	if (bpf_stream_init(&s, NULL) || bpf_stream_push(&s, "x", 1))
		return 0;
	bpf_stream_pool_get_stats(&stats);
	return stats.in_use;
}
