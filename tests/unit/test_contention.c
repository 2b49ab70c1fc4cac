/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Publishing while somebody else does, step by step: the rival's push comes
 * between this writer's look at the log and its compare-exchange. And reading
 * while somebody else does, who has not yet noted that the lock is his.
 *
 * A bug that the stress program found: a writer looked at the log, linked its
 * oldest element to the head, lost the race, looked again, and found no room
 * any more. It gave its elements back by following their links - through the
 * one it had just set, into the log, and freed what was pending there. A
 * refused stage kept such a link, too. Since then a refused publish unlinks.
 *
 * Seen to fail: without that line in bsi_publish() the tests named
 * refused__ crash or read nothing; with the old head taken from before the
 * lost race (the link set once, before the loop) accepted__ loses a message;
 * with an unlock that leaves the owner, the last test gets -EDEADLK; with a
 * drain that looks twice at what is pending, and takes what it saw last, it
 * takes more than it was asked for.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "contention_env.h"
#include "bpf_stream.h"

#include "unit.h"
#include <semaphore.h>

static struct bpf_stream s;

static void init_for(size_t capacity)
{
	struct bpf_stream_options options = { .capacity = capacity };

	cr_assert_eq(bpf_stream_init(&s, &options), 0);
}

static void rival_pushes(void)
{
	cr_assert_eq(bpf_stream_push(&s, "rival", 5), 0);
}

static void expect_text(const char *text)
{
	char buf[64] = "";
	const char *broken = bpf_stream_selfcheck(&s);

	cr_assert_null(broken, "%s", broken);
	cr_assert_eq(bpf_stream_read(&s, buf, sizeof(buf) - 1), (int)strlen(text));
	cr_assert_str_eq(buf, text);
	broken = bpf_stream_selfcheck(&s);
	cr_assert_null(broken, "%s", broken);
}

static void expect_books_in_order(void)
{
	struct bpf_stream_pool_stats pool;
	const char *broken;

	bpf_stream_thread_release();
	broken = bpf_stream_selfcheck(NULL);
	bpf_stream_pool_get_stats(&pool);
	cr_assert_eq(pool.in_use, 0);
	cr_assert_null(broken, "%s", broken);
}

Test(contention, accepted__rival_comes_first)
{
	init_for(100);
	cr_assert_eq(bpf_stream_push(&s, "first ", 6), 0);
	rival = rival_pushes;
	cr_assert_eq(bpf_stream_push(&s, " mine", 5), 0);
	expect_text("first rival mine");
	expect_books_in_order();
}

Test(contention, refused__push_frees_its_own_element_only)
{
	init_for(14);
	cr_assert_eq(bpf_stream_push(&s, "first ", 6), 0);
	rival = rival_pushes;
	cr_assert_eq(bpf_stream_push(&s, "mine", 4), -ENOSPC);
	expect_text("first rival");
	expect_books_in_order();
}

Test(contention, refused__push_of_several_elements_frees_its_own_only)
{
	static char large[3 * BPF_STREAM_PAGE_SIZE];

	init_for(sizeof(large) + 8);
	cr_assert_eq(bpf_stream_push(&s, "first ", 6), 0);
	rival = rival_pushes;
	cr_assert_eq(bpf_stream_push(&s, large, sizeof(large)), -ENOSPC);
	expect_text("first rival");
	expect_books_in_order();
}

Test(contention, refused__commit_keeps_a_stage_that_ends_at_its_own_tail)
{
	struct bpf_stream_stage ss;

	init_for(14);
	bpf_stream_stage_init(&ss);
	cr_assert_eq(bpf_stream_stage_push(&ss, "mi", 2), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "ne", 2), 0);
	cr_assert_eq(bpf_stream_push(&s, "first ", 6), 0);
	rival = rival_pushes;
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), -ENOSPC);
	expect_text("first rival");
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	expect_text("mine");

	cr_assert_eq(bpf_stream_stage_push(&ss, "mine", 4), 0);
	cr_assert_eq(bpf_stream_push(&s, "first ", 6), 0);
	rival = rival_pushes;
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), -ENOSPC);
	bpf_stream_stage_free(&ss);
	expect_text("first rival");
	expect_books_in_order();
}

static int count_bytes(void *ctx, const void *data, size_t len)
{
	(void)data;
	*(size_t *)ctx += len;
	return (int)len;
}

Test(contention, drain__takes_no_more_than_it_shall_while_others_push)
{
	size_t taken = 0;

	init_for(100);
	cr_assert_eq(bpf_stream_push(&s, "four", 4), 0);
	pushing = rival_pushes;
	cr_assert_eq(bpf_stream_drain(&s, count_bytes, &taken, 6), 4);
	pushing = NULL;
	cr_assert_eq(taken, 4u);
	while (bpf_stream_drain(&s, count_bytes, &taken, SIZE_MAX) > 0)
		;
	expect_books_in_order();
}

static sem_t has_lock;
static sem_t may_note;

static void wait_to_note(void)
{
	sem_post(&has_lock);
	sem_wait(&may_note);
}

static void *read_slowly(void *arg)
{
	char byte;

	locked = wait_to_note;
	cr_assert_eq(bpf_stream_read(&s, &byte, 1), 1);
	return arg;
}

Test(contention, busy__a_reader_that_was_here_before_is_not_the_one_that_reads)
{
	pthread_t reader;
	char byte;

	init_for(100);
	sem_init(&has_lock, 0, 0);
	sem_init(&may_note, 0, 0);
	cr_assert_eq(bpf_stream_push(&s, "abc", 3), 0);
	cr_assert_eq(bpf_stream_read(&s, &byte, 1), 1);
	cr_assert_eq(pthread_create(&reader, NULL, read_slowly, NULL), 0);
	sem_wait(&has_lock);
	cr_assert_eq(bpf_stream_try_read(&s, &byte, 1), -EBUSY);
	sem_post(&may_note);
	pthread_join(reader, NULL);
	cr_assert_eq(bpf_stream_try_read(&s, &byte, 1), 1);
	cr_assert_eq(byte, 'c');
	expect_books_in_order();
}
