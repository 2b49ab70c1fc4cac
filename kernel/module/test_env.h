/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's environment, in which pages can be denied on request.
 */
#ifndef TEST_ENV_H
#define TEST_ENV_H

static int deny_page;	/* the page request so many from now finds none; 0: none */

static int (bse_page_get)(bse_page *page);

static int test_page_get(bse_page *page)
{
	if (deny_page && --deny_page == 0)
		return -ENOMEM;
	return (bse_page_get)(page);
}

#define bse_page_get(...) test_page_get(__VA_ARGS__)

#endif
