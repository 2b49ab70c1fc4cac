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

/* Pages of a list whose elements all came back, if it is one of partial pages. */
static uint32_t threads_idle(const struct bse_pool *pool, const bse_u64 *list)
{
	bse_page page = (bse_page)((bse_u64_load_relaxed)(list) & BSE_PAGE_MASK);
	uint32_t idle = 0;
	uint32_t next;

	for (; page && idle < pool->pages; page = next & (bse_page)BSE_PAGE_MASK) {
		const struct bse_page_info *info = &pool->page[page];

		next = (bse_u32_load_relaxed)(&info->next);
		idle += !(next & BSE_PAGE_PARTIAL) || (bse_u32_load_relaxed)(&info->given) ==
			(uint32_t)(((uint64_t)1 << 32) - (bse_u32_load_relaxed)(&info->refs));
	}
	return idle;
}

/*
 * Pages that were taken, and are in no list, or in one with elements that did
 * not come back; the pool is quiet. A jump may have lost some before they were
 * marked, which the pool's figures do not show.
 */
static size_t threads_pages_out(void)
{
	const struct bse_pool *pool = bse_pool_known();
	uint32_t idle = 0;
	uint32_t i;

	if (!pool)
		return 0;
	for (i = 0; i <= BSE_COLD; i++)
		idle += threads_idle(pool, &pool->list[i].head);
	return bse_u32_load_relaxed(&pool->fresh) - pool->first - idle;
}

#endif
