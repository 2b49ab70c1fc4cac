/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What several unit tests need. bpf_stream.h comes first. */
#ifndef UNIT_H
#define UNIT_H

#include <criterion/criterion.h>
#include <pthread.h>
#include "../program.h"

#include "selfcheck.h"

/* ---- Streams and the pool --------------------------------------------- */

static inline void unit_make_stream(struct bpf_stream *s, size_t capacity)
{
	struct bpf_stream_options opts = { .capacity = capacity };

	cr_assert_eq(bpf_stream_init(s, &opts), 0);
}

static inline struct bpf_stream_stats unit_stats(const struct bpf_stream *s)
{
	struct bpf_stream_stats stats;

	bpf_stream_get_stats(s, &stats);
	return stats;
}

static inline struct bpf_stream_pool_stats unit_pool(void)
{
	struct bpf_stream_pool_stats stats;

	bpf_stream_pool_get_stats(&stats);
	return stats;
}

static inline size_t unit_pages_in_use(void)
{
	return unit_pool().in_use;
}

/* Retires a page of which @given elements were handed out; true: it is free. */
static inline bool unit_retire(bse_page page, uint32_t given)
{
	bsi_page_retire(&(struct bse_space){ .page = page, .given = given });
	return (bse_u32_load_relaxed)(&bse_pool_known()->page[page].next) != BSE_PAGE_IN_USE;
}

static inline size_t unit_pages_total(void)
{
	return bse_pool_pages();
}

/* The invariants of @s and of the pool hold; with NULL, those of the pool. */
static inline void unit_assert_sound(struct bpf_stream *s)
{
	const char *broken = bpf_stream_selfcheck(s);

	cr_assert_null(broken, "%s", broken);
	broken = bpf_stream_selfcheck(NULL);
	cr_assert_null(broken, "%s", broken);
}

/* @s holds @want, and nothing else; reads it. */
static inline void unit_assert_reads(struct bpf_stream *s, const char *want)
{
	static char got[1u << 20];
	int len = bpf_stream_read(s, got, sizeof(got));

	cr_assert_eq(len, (int)strlen(want), "%d bytes instead of '%s'", len, want);
	cr_assert_arr_eq(got, want, strlen(want), "'%.*s' instead of '%s'", len, got, want);
}

/* Until a thread sleeps for @lock: its word says so. */
static inline void unit_wait_for_sleeper(const bse_mutex *lock)
{
	while (!((bse_u32_load_relaxed)(&lock->word) & BSE_LOCK_WAITED))
		program_pause();
}

/* ---- Elements and bytes ------------------------------------------------ */

/* @n elements of four bytes that hold @first, @first + 1, ... onto @chain. */
static inline void unit_chain_add(struct bse_chain *chain, uint32_t first, uint32_t n)
{
	uint32_t i;

	for (i = first; i < first + n; i++)
		cr_assert_eq(bsi_elem_add(chain, BSE_MIXED, &i, sizeof(i), BSE_ELEM_ENDS), 0);
}

/* Publishes @chain, if there is room for it. */
static inline int unit_publish(struct bpf_stream *s, const struct bse_chain *chain)
{
	return bsi_publish(s, bse_log_seen(s), chain);
}

/* Detaches what is in the log. */
static inline bse_link unit_detach(struct bpf_stream *s)
{
	size_t pending;

	return bse_log_detach(s, &pending);
}

/* The number in an element of unit_chain_add(). */
static inline uint32_t unit_number(bse_link link)
{
	uint32_t number;

	cr_assert_neq(link, 0u);
	memcpy(&number, bse_elem_text(bse_elem_of(link)), sizeof(number));
	return number;
}

/* Byte @i of a text that is unlike itself moved by any small distance. */
static inline char unit_byte(size_t i)
{
	return (char)((i * 7 + i / 251 + i / 4084 * 13) & 0x7f);
}

/* In words, the first of @len bytes that differs; NULL: none does. */
static inline const char *unit_difference(const void *got, const void *want, size_t len)
{
	static char words[100];
	const unsigned char *ours = got;
	const unsigned char *wanted = want;
	size_t i = 0;

	while (i < len && ours[i] == wanted[i])
		i++;
	if (i == len)
		return NULL;
	snprintf(words, sizeof(words), "byte %zu of %zu is 0x%02x, expected 0x%02x", i, len,
		 ours[i], wanted[i]);
	return words;
}

#define unit_same_bytes(got, want, len)							\
	do {										\
		const char *unit_words = unit_difference(got, want, len);		\
											\
		cr_assert_null(unit_words, "%s", unit_words);				\
	} while (0)

/* What a call returned that should have given @want bytes. */
#define unit_same_length(got, want)							\
	do {										\
		long long unit_got = (got);						\
		long long unit_want = (long long)(want);				\
											\
		cr_assert_eq(unit_got, unit_want, "returned %lld, expected %lld bytes",	\
			     unit_got, unit_want);					\
	} while (0)

static inline void unit_fill(char *buf, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = unit_byte(i);
}

/* ---- Threads and children ---------------------------------------------- */

static inline void unit_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	cr_assert_eq(pthread_create(thread, NULL, run, arg), 0);
}

static inline void unit_join(pthread_t thread)
{
	cr_assert_eq(pthread_join(thread, NULL), 0);
}

/* Runs @run in a thread of its own, to its end. */
static inline void unit_in_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	unit_start(&thread, run, arg);
	unit_join(thread);
}

/* fork(); a child that hangs ends by SIGALRM. */
static inline pid_t unit_fork(void)
{
	pid_t child = fork();

	cr_assert_geq(child, 0);
	if (!child)
		alarm(150);
	return child;
}

/* What must hold in a child, which has no Criterion. */
#define UNIT_CHILD_WANTS(condition)						\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "%s:%d: the child wants: %s\n", __FILE__,	\
				__LINE__, #condition);				\
			_exit(1);						\
		}								\
	} while (0)

/* Waits for a child that ends with _exit(0). */
static inline void unit_child_ends_well(pid_t child)
{
	int status = program_wait(child);

	cr_assert_eq(status, 0, "the child %s", program_end_of(status));
}

/* Runs @run in a child. */
static inline void unit_in_child(void (*run)(void *), void *arg)
{
	pid_t child = unit_fork();

	if (!child) {
		run(arg);
		_exit(0);
	}
	unit_child_ends_well(child);
}

/* A flag between threads, without help from the words under test. */
static inline void unit_flag_set(int *flag, int value)
{
	__atomic_store_n(flag, value, __ATOMIC_RELEASE);
}

static inline void unit_flag_wait(const int *flag, int value)
{
	while (__atomic_load_n(flag, __ATOMIC_ACQUIRE) != value)
		program_pause();
}

#endif
