/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* With places where a test comes in: raises a signal, waits. */
#ifndef JUMPS_ENV_H
#define JUMPS_ENV_H

enum place {
	PLACE_ENTERED,		/* behind enter */
	PLACE_COUNTED,		/* behind the count of one more kept page */
	PLACE_RETURNED,		/* behind the return of a page */
	PLACE_RETIRED,		/* behind the retirement of a page */
	PLACE_GETTING,		/* before a page is asked for */
	PLACE_PUBLISHED,	/* behind a publish */
	PLACE_BARRIER,		/* where the compiler keeps an order */
};

static _Thread_local void (*come_in)(enum place);

static void at_place(enum place place)
{
	if (come_in)
		come_in(place);
}

#undef BSE_BARRIER
#define BSE_BARRIER() jumps_barrier()

static inline void jumps_barrier(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	at_place(PLACE_BARRIER);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline struct bse_slot *(bse_enter)(uint32_t list, uint32_t *depth);
static int (bse_page_get)(bse_page *page);
static void (bse_page_put)(bse_page page);
static inline bool (bse_log_try_publish)(struct bpf_stream *s, uint64_t *seen, bse_link newest,
					 struct bpf_stream_elem *oldest, uint32_t bytes, bool straight);

static inline uint32_t jumps_u32_fetch_add_acq_rel(bse_u32 *p, uint32_t v)
{
	uint32_t ret = (bse_u32_fetch_add_acq_rel)(p, v);

	at_place(PLACE_RETIRED);
	return ret;
}

static inline void jumps_page_put(bse_page page)
{
	(bse_page_put)(page);
	at_place(PLACE_RETURNED);
}

static inline bool jumps_u32_cas_relaxed(bse_u32 *p, uint32_t *old, uint32_t v)
{
	bool ret = (bse_u32_cas_relaxed)(p, old, v);

	at_place(PLACE_COUNTED);
	return ret;
}

static inline struct bse_slot *jumps_enter(uint32_t list, uint32_t *depth)
{
	struct bse_slot *ret = (bse_enter)(list, depth);

	at_place(PLACE_ENTERED);
	return ret;
}

static inline int jumps_page_get(bse_page *page)
{
	at_place(PLACE_GETTING);
	return (bse_page_get)(page);
}

static inline bool jumps_log_try_publish(struct bpf_stream *s, uint64_t *seen, bse_link newest,
					 struct bpf_stream_elem *oldest, uint32_t bytes, bool straight)
{
	bool ret = (bse_log_try_publish)(s, seen, newest, oldest, bytes, straight);

	at_place(PLACE_PUBLISHED);
	return ret;
}

#define bse_u32_fetch_add_acq_rel(...) jumps_u32_fetch_add_acq_rel(__VA_ARGS__)
#define bse_u32_cas_relaxed(...) jumps_u32_cas_relaxed(__VA_ARGS__)
#define bse_enter(...) jumps_enter(__VA_ARGS__)
#define bse_page_get(...) jumps_page_get(__VA_ARGS__)
#define bse_page_put(...) jumps_page_put(__VA_ARGS__)
#define bse_log_try_publish(...) jumps_log_try_publish(__VA_ARGS__)

#endif
