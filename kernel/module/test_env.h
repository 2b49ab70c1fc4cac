/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's environment, in which pages can be denied on request, and a wake-up
 * that is missed lasts for a minute.
 */
#ifndef TEST_ENV_H
#define TEST_ENV_H

static int deny_page;	/* the page request so many from now finds none; 0: none */

static bool page_denied;	/* the last one: what others left is not there, either */

static int (bse_page_get)(bse_page *page);
static bool (bse_partial_get)(uint32_t list, struct bse_space *space);

static int test_page_get(bse_page *page)
{
	page_denied = deny_page && --deny_page == 0;
	return page_denied ? -ENOMEM : (bse_page_get)(page);
}

static bool test_partial_get(uint32_t list, struct bse_space *space)
{
	return !page_denied && (bse_partial_get)(list, space);
}

static int (bse_sleep)(struct bpf_stream *s, bse_u32 *word, uint32_t key, uint32_t ms);

/* Naps are a second at most, to look again by oneself. */
static int test_sleep(struct bpf_stream *s, bse_u32 *word, uint32_t key, uint32_t ms)
{
	return (bse_sleep)(s, word, key, ms < 1000 ? ms : 60000);
}

#define bse_sleep(...) test_sleep(__VA_ARGS__)
#define bse_page_get(...) test_page_get(__VA_ARGS__)
#define bse_partial_get(...) test_partial_get(__VA_ARGS__)

#endif
