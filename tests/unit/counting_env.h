/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An environment that counts atomic read-modify-writes: every word that is one
 * adds to counting_rmw and does what the built-in word does.
 */
#ifndef COUNTING_ENV_H
#define COUNTING_ENV_H

/* Of this thread. */
static _Thread_local uint64_t counting_rmw;

/* A word with a value and an answer of the shared word's own type. */
#define COUNTING_FETCH(word, type, value)					\
	static inline value counting_##word(type *p, value v)			\
	{									\
		counting_rmw++;							\
		return (bse_##word)(p, v);					\
	}

/* A compare-exchange; a failed one costs as much. */
#define COUNTING_CAS(word, type, value)						\
	static inline bool counting_##word(type *p, value *old, value v)	\
	{									\
		counting_rmw++;							\
		return (bse_##word)(p, old, v);				\
	}

COUNTING_FETCH(u32_fetch_add_acq_rel, bse_u32, uint32_t)
COUNTING_FETCH(u32_fetch_sub_acq_rel, bse_u32, uint32_t)
COUNTING_FETCH(u32_fetch_or_acq_rel, bse_u32, uint32_t)
COUNTING_FETCH(u32_xchg_release, bse_u32, uint32_t)
COUNTING_CAS(u32_cas_relaxed, bse_u32, uint32_t)
COUNTING_CAS(u32_cas_acquire, bse_u32, uint32_t)
COUNTING_CAS(u32_cas_acq_rel, bse_u32, uint32_t)
COUNTING_FETCH(u64_fetch_add_release, bse_u64, uint64_t)
COUNTING_FETCH(u64_fetch_sub_relaxed, bse_u64, uint64_t)
COUNTING_FETCH(u64_fetch_and_acquire, bse_u64, uint64_t)
COUNTING_FETCH(u64_fetch_or_acq_rel, bse_u64, uint64_t)
COUNTING_FETCH(figure_add, bse_figure, uint64_t)
COUNTING_CAS(u64_cas_acquire, bse_u64, uint64_t)
COUNTING_CAS(u64_cas_release, bse_u64, uint64_t)
COUNTING_CAS(u64_cas_acq_rel, bse_u64, uint64_t)
COUNTING_CAS(ptr_cas_release, bse_ptr, void *)

#define bse_u32_fetch_add_acq_rel(...) counting_u32_fetch_add_acq_rel(__VA_ARGS__)
#define bse_u32_fetch_sub_acq_rel(...) counting_u32_fetch_sub_acq_rel(__VA_ARGS__)
#define bse_u32_fetch_or_acq_rel(...) counting_u32_fetch_or_acq_rel(__VA_ARGS__)
#define bse_u32_xchg_release(...) counting_u32_xchg_release(__VA_ARGS__)
#define bse_u32_cas_relaxed(...) counting_u32_cas_relaxed(__VA_ARGS__)
#define bse_u32_cas_acquire(...) counting_u32_cas_acquire(__VA_ARGS__)
#define bse_u32_cas_acq_rel(...) counting_u32_cas_acq_rel(__VA_ARGS__)
#define bse_u64_fetch_add_release(...) counting_u64_fetch_add_release(__VA_ARGS__)
#define bse_u64_fetch_or_acq_rel(...) counting_u64_fetch_or_acq_rel(__VA_ARGS__)
#define bse_u64_fetch_sub_relaxed(...) counting_u64_fetch_sub_relaxed(__VA_ARGS__)
#define bse_u64_fetch_and_acquire(...) counting_u64_fetch_and_acquire(__VA_ARGS__)
#define bse_figure_add(...) counting_figure_add(__VA_ARGS__)
#define bse_u64_cas_acquire(...) counting_u64_cas_acquire(__VA_ARGS__)
#define bse_u64_cas_release(...) counting_u64_cas_release(__VA_ARGS__)
#define bse_u64_cas_acq_rel(...) counting_u64_cas_acq_rel(__VA_ARGS__)
#define bse_ptr_cas_release(...) counting_ptr_cas_release(__VA_ARGS__)

#endif
