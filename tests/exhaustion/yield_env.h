/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An environment in which other threads come in between a look at a log or a
 * free list and its update, more often than they would on a few processors.
 */
#ifndef YIELD_ENV_H
#define YIELD_ENV_H

#include <sched.h>

static _Thread_local unsigned int yield_calls;

static inline void yield_now_and_then(void)
{
	if (++yield_calls % 61 == 0)
		sched_yield();
}

static inline bool yield_u64_cas_acquire(bse_u64 *p, uint64_t *old, uint64_t v)
{
	yield_now_and_then();
	return (bse_u64_cas_acquire)(p, old, v);
}

static inline bool yield_u64_cas_release(bse_u64 *p, uint64_t *old, uint64_t v)
{
	yield_now_and_then();
	return (bse_u64_cas_release)(p, old, v);
}

static inline bool yield_u64_cas_acq_rel(bse_u64 *p, uint64_t *old, uint64_t v)
{
	yield_now_and_then();
	return (bse_u64_cas_acq_rel)(p, old, v);
}

static inline bool yield_u32_cas_acq_rel(bse_u32 *p, uint32_t *old, uint32_t v)
{
	yield_now_and_then();
	return (bse_u32_cas_acq_rel)(p, old, v);
}

#define bse_u32_cas_acq_rel(...) yield_u32_cas_acq_rel(__VA_ARGS__)
#define bse_u64_cas_acquire(...) yield_u64_cas_acquire(__VA_ARGS__)
#define bse_u64_cas_release(...) yield_u64_cas_release(__VA_ARGS__)
#define bse_u64_cas_acq_rel(...) yield_u64_cas_acq_rel(__VA_ARGS__)

#endif /* YIELD_ENV_H */
