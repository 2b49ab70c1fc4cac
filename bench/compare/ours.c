/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#define BPF_STREAM_IMPLEMENTATION
#include "ours.h"

#include <sys/mman.h>

size_t ours_pool_bytes = (size_t)1 << 30;

bool ours_pool(void)
{
	size_t bytes = ours_pool_bytes;
	static bool done;
	void *region;

	if (done)
		return true;
	region = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	done = region != MAP_FAILED && !bpf_stream_pool_use(region, bytes, 0);
	return done;
}
