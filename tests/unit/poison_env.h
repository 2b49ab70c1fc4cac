/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An environment that remembers what was poisoned and unpoisoned last. */
#ifndef POISON_ENV_H
#define POISON_ENV_H

static struct span {
	const char *begin;
	size_t size;
} poisoned, unpoisoned;

static inline void (bse_poison)(const void *p, size_t size);
static inline void (bse_unpoison)(const void *p, size_t size);

static inline void span_poison(const void *p, size_t size)
{
	poisoned = (struct span){ p, size };
	(bse_poison)(p, size);
}

static inline void span_unpoison(const void *p, size_t size)
{
	unpoisoned = (struct span){ p, size };
	(bse_unpoison)(p, size);
}

#define bse_poison(...) span_poison(__VA_ARGS__)
#define bse_unpoison(...) span_unpoison(__VA_ARGS__)

#endif
