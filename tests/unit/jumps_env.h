/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* With places where a test comes in: raises a signal, waits. */
#ifndef JUMPS_ENV_H
#define JUMPS_ENV_H

enum place {
	PLACE_ENTERED,		/* behind enter */
	PLACE_COUNTED,		/* behind the count of one more kept page */
	PLACE_RETURNED,		/* behind the return of elements of a page */
	PLACE_RETIRED,		/* behind the retirement of a page */
	PLACE_GETTING,		/* before a page is asked for */
	PLACE_PUBLISHED,	/* behind a publish */
	PLACE_ADOPTING		/* behind the look whether there is a pool */
};

static _Thread_local void (*come_in)(enum place);

static void at_place(enum place place)
{
	if (come_in)
		come_in(place);
}

static inline struct bse_slot *(bse_enter)(uint32_t *depth);
static int (bse_page_get)(bse_page *page);
static inline int (bse_log_publish)(struct bpf_stream *s, const struct bse_chain *chain);

static inline uint32_t jumps_u32_fetch_add_acq_rel(bse_u32 *p, uint32_t v)
{
	uint32_t ret = (bse_u32_fetch_add_acq_rel)(p, v);

	at_place(PLACE_RETIRED);
	return ret;
}

static inline uint32_t jumps_u32_fetch_sub_acq_rel(bse_u32 *p, uint32_t v)
{
	uint32_t ret = (bse_u32_fetch_sub_acq_rel)(p, v);

	at_place(PLACE_RETURNED);
	return ret;
}

static inline bool jumps_u32_cas_relaxed(bse_u32 *p, uint32_t *old, uint32_t v)
{
	bool ret = (bse_u32_cas_relaxed)(p, old, v);

	at_place(PLACE_COUNTED);
	return ret;
}

static inline struct bse_slot *jumps_enter(uint32_t *depth)
{
	struct bse_slot *ret = (bse_enter)(depth);

	at_place(PLACE_ENTERED);
	return ret;
}

static inline int jumps_page_get(bse_page *page)
{
	at_place(PLACE_GETTING);
	return (bse_page_get)(page);
}

static inline int jumps_log_publish(struct bpf_stream *s, const struct bse_chain *chain)
{
	int ret = (bse_log_publish)(s, chain);

	at_place(PLACE_PUBLISHED);
	return ret;
}

static inline void *jumps_ptr_load_relaxed(const bse_ptr *p)
{
	void *ret = (bse_ptr_load_relaxed)(p);

	at_place(PLACE_ADOPTING);
	return ret;
}

#define bse_u32_fetch_add_acq_rel(...) jumps_u32_fetch_add_acq_rel(__VA_ARGS__)
#define bse_u32_fetch_sub_acq_rel(...) jumps_u32_fetch_sub_acq_rel(__VA_ARGS__)
#define bse_u32_cas_relaxed(...) jumps_u32_cas_relaxed(__VA_ARGS__)
#define bse_enter(...) jumps_enter(__VA_ARGS__)
#define bse_page_get(...) jumps_page_get(__VA_ARGS__)
#define bse_log_publish(...) jumps_log_publish(__VA_ARGS__)
#define bse_ptr_load_relaxed(...) jumps_ptr_load_relaxed(__VA_ARGS__)

#endif
