/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs of this directory share: results, and a count of the pages
 * that nobody gave back. Comes after bpf_stream.h, which must be the
 * first and have the self-check.
 */
#ifndef THREADS_H
#define THREADS_H

#include "../program.h"

/* ---- Results ----------------------------------------------------------- */

static struct {
	unsigned int passed;
	unsigned int failed;
	unsigned int skipped;
} threads_result;

/* How a child that ran @what ended: 0 passed, 77 skipped. */
static void threads_note(const char *what, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		threads_result.passed++;
	} else if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		threads_result.skipped++;
	} else {
		threads_result.failed++;
		printf("FAIL: %s: %s\n", what, program_end_of(status));
	}
}

static int threads_summary(void)
{
	return program_end(threads_result.passed, threads_result.failed, threads_result.skipped);
}

/* ---- The pool ---------------------------------------------------------- */

/*
 * Pages that were taken and are in no free list; the pool is quiet. A jump may
 * have lost some before they were marked, which the pool's figures do not show.
 */
static size_t threads_pages_out(void)
{
	struct bse_pool *pool = bse_pool_known();
	uint32_t idle = 0;
	const char *broken;

	if (!pool)
		return 0;
	broken = selfcheck_free(pool, &pool->hot, &idle);
	if (!broken)
		broken = selfcheck_free(pool, &pool->cold, &idle);
	if (broken) {
		printf("%s\n", broken);
		return SIZE_MAX;
	}
	return bse_u32_load_relaxed(&pool->fresh) - pool->first - idle;
}

#endif
