/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An environment in which things go wrong on request; until then it is the
 * built-in one. All members count down or switch; zero means never.
 */
#ifndef FAULTS_ENV_H
#define FAULTS_ENV_H

static struct {
	uint64_t deny_page;		/* the page request so many from now finds none */
	uint64_t pages;			/* page requests so far */
	bool fail_publish;		/* each publish finds the stream full */
	void (*in_page_get)(void);	/* runs in the middle of a reservation */
	void (*in_page_put)(void);	/* runs when a page comes back */
	void (*before_ptr_cas)(void);	/* runs before a pointer is published */
} faults;

static int (bse_page_get)(bse_page *page);
static void (bse_page_put)(bse_page page);
static inline bool (bse_log_try_publish)(struct bpf_stream *s, uint64_t *seen, bse_link newest,
					 struct bpf_stream_elem *oldest, uint32_t bytes, bool straight);

static inline int faults_page_get(bse_page *page)
{
	int err;

	faults.pages++;
	if (faults.deny_page && --faults.deny_page == 0)
		return -ENOMEM;
	err = (bse_page_get)(page);
	if (faults.in_page_get)
		faults.in_page_get();
	return err;
}

static inline void faults_page_put(bse_page page)
{
	(bse_page_put)(page);
	if (faults.in_page_put)
		faults.in_page_put();
}

static inline bool faults_ptr_cas_release(bse_ptr *p, void **old, void *v)
{
	if (faults.before_ptr_cas)
		faults.before_ptr_cas();
	return (bse_ptr_cas_release)(p, old, v);
}

static inline bool faults_log_try_publish(struct bpf_stream *s, uint64_t *seen, bse_link newest,
					  struct bpf_stream_elem *oldest, uint32_t bytes, bool straight)
{
	if (!faults.fail_publish)
		return (bse_log_try_publish)(s, seen, newest, oldest, bytes, straight);
	/* As if others had filled the stream. */
	*seen |= BPF_STREAM_CAPACITY_LIMIT;
	return false;
}

#define bse_page_get(...) faults_page_get(__VA_ARGS__)
#define bse_page_put(...) faults_page_put(__VA_ARGS__)
#define bse_ptr_cas_release(...) faults_ptr_cas_release(__VA_ARGS__)
#define bse_log_try_publish(...) faults_log_try_publish(__VA_ARGS__)

#endif
