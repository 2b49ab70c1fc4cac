/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * static_pool - all memory is an array of the program; what happens at its end
 *
 *	cc -std=c11 -Iinclude examples/static_pool.c -o static_pool -pthread
 *
 * The streams of a process share one pool. It is 64 MiB of address space,
 * unless the program gives it another region before the first push. That size
 * is a hard bound: beyond it a push is refused with -ENOMEM, and counted.
 */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PAGES 16

static _Alignas(4096) char region[PAGES * BPF_STREAM_PAGE_SIZE];
static struct bpf_stream s;

/* How many of these messages go in until one is refused. */
static int fill(void)
{
	char message[1000];
	int stored = 0;
	int err;

	memset(message, 'x', sizeof(message));
	while (!(err = bpf_stream_push(&s, message, sizeof(message))))
		stored++;
	printf("stored %d messages of %zu bytes; the next: %s\n", stored, sizeof(message),
	       strerror(-err));
	return err;
}

static void show(void)
{
	struct bpf_stream_pool_stats pool;
	struct bpf_stream_stats stats;

	bpf_stream_pool_get_stats(&pool);
	bpf_stream_get_stats(&s, &stats);
	printf("pool: %zu of %zu pages in use; stream: %zu bytes pending, %llu refused\n",
	       pool.in_use, pool.total, stats.pending,
	       (unsigned long long)stats.refused[BPF_STREAM_REFUSED_POOL].messages);
}

/* A sink that takes everything and keeps nothing. */
static int discard(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	return (int)len;
}

int main(void)
{
	/* The region is the library's from now on, and never given back. */
	int err = bpf_stream_pool_use(region, sizeof(region), 0);

	if (err) {
		fprintf(stderr, "static_pool: %s\n", strerror(-err));
		return 1;
	}
	show();
	if (fill() != -ENOMEM)
		return 1;
	show();

	/* Reading gives the pages back, and as much goes in again. */
	bpf_stream_drain(&s, discard, NULL, SIZE_MAX);
	show();
	if (fill() != -ENOMEM)
		return 1;
	if (fflush(stdout)) {
		fprintf(stderr, "static_pool: cannot write: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}
