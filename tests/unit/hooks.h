/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hooks.h - environment words with a hook in them, for unit tests
 *
 * A test file names it as BPF_STREAM_ENV_HEADER. It can then run code in the
 * middle of a reservation or just before a publish, as a signal handler would;
 * have page requests fail; and count the calls of the lock. All of it concerns
 * the calling thread only.
 */
#ifndef TESTS_UNIT_HOOKS_H
#define TESTS_UNIT_HOOKS_H

/* Where a hook can come in. */
enum hook_point {
	HOOK_ENTERED,		/* in a reservation: at its begin */
	HOOK_GETTING,		/* in a reservation: before a page is asked for */
	HOOK_COUNTING,		/* before a page's shared count changes */
	HOOK_PLACING,		/* in a reservation: before the place is told */
	HOOK_LEAVING,		/* in a reservation: at its end */
	HOOK_PUBLISHING,	/* outside of it: just before a log, or a free list, changes */
	HOOK_POOLING,		/* before a pool that was set up is made known */
	HOOK_UNLOCKING,		/* before the lock's word says that it is free */
	HOOK_POINTS
};

static _Thread_local void (*hook)(enum hook_point);

/* So many page requests are granted, then they fail. */
static _Thread_local unsigned long hook_pages = ~0ul;

static _Thread_local unsigned long hook_locks;	/* calls of lock */

static void hook_run(enum hook_point point)
{
	if (hook)
		hook(point);
}

static inline struct bse_slot *(bse_enter)(uint32_t list, uint32_t *depth);
static inline void (bse_leave)(uint32_t depth);
static int (bse_page_get)(bse_page *page);
static inline bse_u32 *(bse_page_ref)(bse_page page);
static inline bse_link (bse_link_at)(bse_page page, uint32_t offset);
static int (bse_lock)(bse_mutex *lock, bool wait);

static inline struct bse_slot *hook_enter(uint32_t list, uint32_t *depth)
{
	struct bse_slot *slot = (bse_enter)(list, depth);

	hook_run(HOOK_ENTERED);
	return slot;
}

static inline void hook_leave(uint32_t depth)
{
	hook_run(HOOK_LEAVING);
	(bse_leave)(depth);
}

static int hook_page_get(bse_page *page)
{
	hook_run(HOOK_GETTING);
	if (!hook_pages)
		return -ENOMEM;
	hook_pages--;
	return (bse_page_get)(page);
}

static inline bse_u32 *hook_page_ref(bse_page page)
{
	hook_run(HOOK_COUNTING);
	return (bse_page_ref)(page);
}

static inline bse_link hook_link_at(bse_page page, uint32_t offset)
{
	hook_run(HOOK_PLACING);
	return (bse_link_at)(page, offset);
}

static inline bool hook_u64_cas_release(bse_u64 *p, uint64_t *old, uint64_t v)
{
	hook_run(HOOK_PUBLISHING);
	return (bse_u64_cas_release)(p, old, v);
}

static inline bool hook_u64_cas_acq_rel(bse_u64 *p, uint64_t *old, uint64_t v)
{
	hook_run(HOOK_PUBLISHING);
	return (bse_u64_cas_acq_rel)(p, old, v);
}

static inline bool hook_ptr_cas_release(bse_ptr *p, void **old, void *v)
{
	hook_run(HOOK_POOLING);
	return (bse_ptr_cas_release)(p, old, v);
}

static inline uint32_t hook_u32_xchg_release(bse_u32 *p, uint32_t v)
{
	hook_run(HOOK_UNLOCKING);
	return (bse_u32_xchg_release)(p, v);
}

static int hook_lock(bse_mutex *lock, bool wait)
{
	hook_locks++;
	return (bse_lock)(lock, wait);
}

#define bse_enter(...) hook_enter(__VA_ARGS__)
#define bse_leave(...) hook_leave(__VA_ARGS__)
#define bse_page_get(...) hook_page_get(__VA_ARGS__)
#define bse_page_ref(...) hook_page_ref(__VA_ARGS__)
#define bse_link_at(...) hook_link_at(__VA_ARGS__)
#define bse_u64_cas_release(...) hook_u64_cas_release(__VA_ARGS__)
#define bse_u64_cas_acq_rel(...) hook_u64_cas_acq_rel(__VA_ARGS__)
#define bse_ptr_cas_release(...) hook_ptr_cas_release(__VA_ARGS__)
#define bse_u32_xchg_release(...) hook_u32_xchg_release(__VA_ARGS__)
#define bse_lock(...) hook_lock(__VA_ARGS__)

#endif /* TESTS_UNIT_HOOKS_H */
