/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An environment in which a rival gets in between a look at the log and its
 * update, between two looks at what is pending, or between a reader's lock and
 * the note of who holds it.
 */
#ifndef CONTENTION_ENV_H
#define CONTENTION_ENV_H

static void (*rival)(void);	/* runs once, before the next publish */

static _Thread_local void (*locked)(void);	/* runs once, behind the next lock */

static void (*pushing)(void);	/* runs behind each look at what is pending */

static inline size_t (bse_log_pending)(const struct bpf_stream *s);

static inline size_t contention_log_pending(const struct bpf_stream *s)
{
	size_t ret = (bse_log_pending)(s);

	if (pushing)
		pushing();
	return ret;
}

static inline bool contention_u32_cas_acquire(bse_u32 *p, uint32_t *old, uint32_t v)
{
	void (*run)(void) = locked;
	bool taken = (bse_u32_cas_acquire)(p, old, v);

	if (taken && run) {
		locked = NULL;
		run();
	}
	return taken;
}

static inline bool contention_u64_cas_acq_rel(bse_u64 *p, uint64_t *old, uint64_t v)
{
	void (*run)(void) = rival;

	rival = NULL;
	if (run)
		run();
	return (bse_u64_cas_acq_rel)(p, old, v);
}

#define bse_u32_cas_acquire(...) contention_u32_cas_acquire(__VA_ARGS__)
#define bse_u64_cas_acq_rel(...) contention_u64_cas_acq_rel(__VA_ARGS__)
#define bse_log_pending(...) contention_log_pending(__VA_ARGS__)

#endif
