/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Environment of every_fault.c, which has the bodies: what can fail asks it. */
#ifndef EVERY_FAULT_ENV_H
#define EVERY_FAULT_ENV_H

static int fault_page_get(bse_page *page);
static void fault_leave(uint32_t depth);
static inline void (bse_leave)(uint32_t depth);
static bool (bse_partial_get)(uint32_t list, struct bse_space *space);
static bool fault_partial_get(uint32_t list, struct bse_space *space);
static bool fault_u64_cas_acquire(bse_u64 *p, uint64_t *old, uint64_t v);
static bool fault_u64_cas_release(bse_u64 *p, uint64_t *old, uint64_t v);
static bool fault_u64_cas_acq_rel(bse_u64 *p, uint64_t *old, uint64_t v);
static bool fault_u32_cas_relaxed(bse_u32 *p, uint32_t *old, uint32_t v);
static bool fault_ptr_cas_release(bse_ptr *p, void **old, void *v);
static int fault_sink_call(bse_mutex *lock, bse_take *take, void *ctx,
			   const struct bse_piece *piece, unsigned int n);
static void *fault_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
static int fault_munmap(void *at, size_t bytes);
static int fault_madvise(void *at, size_t bytes, int advice);
static int fault_setspecific(pthread_key_t key, const void *value);

#define bse_page_get(...) fault_page_get(__VA_ARGS__)
#define bse_leave(...) fault_leave(__VA_ARGS__)
#define bse_partial_get(...) fault_partial_get(__VA_ARGS__)
#define bse_u64_cas_acquire(...) fault_u64_cas_acquire(__VA_ARGS__)
#define bse_u64_cas_release(...) fault_u64_cas_release(__VA_ARGS__)
#define bse_u64_cas_acq_rel(...) fault_u64_cas_acq_rel(__VA_ARGS__)
#define bse_u32_cas_relaxed(...) fault_u32_cas_relaxed(__VA_ARGS__)
#define bse_ptr_cas_release(...) fault_ptr_cas_release(__VA_ARGS__)
#define bse_sink_call(...) fault_sink_call(__VA_ARGS__)

/* With arguments only, so that (mmap)(...) is still the C library's. */
#define mmap(...) fault_mmap(__VA_ARGS__)
#define munmap(...) fault_munmap(__VA_ARGS__)
#define madvise(...) fault_madvise(__VA_ARGS__)
#define pthread_setspecific(...) fault_setspecific(__VA_ARGS__)

#endif
