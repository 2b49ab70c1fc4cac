/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An environment in which somebody comes in before or behind the flag that is
 * set in the log, or before a sleeper sleeps; in which naps are as long as a test wants; and in
 * which a writer ends before it wakes others.
 */
#ifndef WAIT_ENV_H
#define WAIT_ENV_H

static void (*before_arm)(void);	/* runs once, as the next one */
static void (*after_arm)(void);
static void (*before_sleep)(void);
static void (*before_wake)(void);
static bool no_wake;			/* of any thread: it is killed there */
static uint32_t nap_ms = 60000;		/* what is missed lasts longer than a test may */
static uint32_t naps;			/* so far */
static uint32_t longest_nap;		/* that was asked for */

static int (bse_sleep)(struct bpf_stream *s, bse_u32 *word, uint32_t key, uint32_t ms);
static void (bse_wake)(struct bpf_stream *s, bse_u32 *word);
static int (bse_log_arm)(struct bpf_stream *s, uint32_t flag, uint32_t bytes);

static void wait_run(void (**hook)(void))
{
	void (*run)(void) = *hook;

	*hook = NULL;
	if (run)
		run();
}

/* A nap of a second is as long as the test wants, a shorter one as it is. */
static int wait_sleep(struct bpf_stream *s, bse_u32 *word, uint32_t key, uint32_t ms)
{
	__atomic_fetch_add(&naps, 1, __ATOMIC_RELAXED);
	if (ms > __atomic_load_n(&longest_nap, __ATOMIC_RELAXED))
		__atomic_store_n(&longest_nap, ms, __ATOMIC_RELAXED);
	wait_run(&before_sleep);
	return (bse_sleep)(s, word, key, ms < 1000 ? ms : nap_ms);
}

static void wait_wake(struct bpf_stream *s, bse_u32 *word)
{
	wait_run(&before_wake);
	if (!no_wake)
		(bse_wake)(s, word);
}

static int wait_arm(struct bpf_stream *s, uint32_t flag, uint32_t bytes)
{
	int ret;

	wait_run(&before_arm);
	ret = (bse_log_arm)(s, flag, bytes);
	wait_run(&after_arm);
	return ret;
}

#define bse_sleep(...) wait_sleep(__VA_ARGS__)
#define bse_wake(...) wait_wake(__VA_ARGS__)
#define bse_log_arm(...) wait_arm(__VA_ARGS__)

#endif
