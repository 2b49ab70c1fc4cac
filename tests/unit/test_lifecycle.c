/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [18] LIFECYCLE and what it reaches in [6]: init and destroy, regions of
 * every kind, trimming, threads that end, and fork. More about threads is in
 * test_pool.c, about the quota in test_page.c.
 *
 * Seen to fail with the header changed so that: init checks nothing, or keeps
 * old counts; a stream of zeros stays without capacity, or has none to tell; a
 * capacity or group out of range is taken, or counted as too large; destroy
 * forgets the backlog, or the log, or what is pending; init clears the options
 * before it takes them; regions need only 8 bytes of alignment, or 9
 * pages, may have any flag, are not zeroed, end rounded up, or replace one
 * another; the pool that came second stays mapped, or is gone on with; trim
 * does nothing, trims the next page, trims twice, or only unmaps a shared file;
 * a thread's end keeps its page; slots keep their quota; release or a fork
 * unblocks signals; a key that allocates is set; a page used once is not
 * retired; forks are not counted, or forget who keeps pages; the child of a
 * shared region may push, read, commit, destroy, trim, keep its slots, free a
 * stage, or learns only that a stream is full or a message too large, or gets
 * no region of its own; a reader that is gone is waited for, or its backlog
 * dropped though it was in its sink, or taken though it was not, or its bytes
 * stay charged; a fork keeps the mark of a pool_use that did not come over.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
#include "unit.h"
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define PAGE BPF_STREAM_PAGE_SIZE
#define REGION (64 * PAGE)

static struct bpf_stream s;
static char text[1u << 20];
static char got[1u << 20];
static _Alignas(65536) char region[REGION];

/* Fills the pool of REGION to its last page, and checks that all comes out. */
static void assert_whole_pool_works(void)
{
	size_t len = unit_pool().total * BSI_ELEM_MAX;
	size_t i;

	bpf_stream_thread_release();
	for (i = 0; i < len; i++)
		text[i] = (char)(i * 7 + i / 256);
	cr_assert_eq(bpf_stream_push(&s, text, len), 0);
	cr_assert_eq(unit_pool().in_use, unit_pool().total);
	cr_assert_eq(bpf_stream_push(&s, text, BSI_ELEM_MAX), -ENOMEM);
	unit_same_length(bpf_stream_read(&s, got, sizeof(got)), len);
	unit_same_bytes(got, text, len);
	unit_assert_sound(&s);
}

/* ---- init and destroy ------------------------------------------------ */

Test(lifecycle, init__takes_its_capacity_from_the_options)
{
	struct bpf_stream_options opts = { .capacity = 0 };

	memset(&s, 0xff, sizeof(s));
	cr_expect_eq(bpf_stream_init(&s, NULL), 0);
	cr_expect_eq(unit_stats(&s).capacity, BPF_STREAM_DEFAULT_CAPACITY);
	cr_expect_eq(unit_stats(&s).pending, 0);
	cr_expect_eq(unit_stats(&s).delivered.bytes, 0);
	cr_expect_eq(unit_stats(&s).refused[BPF_STREAM_REFUSED_FULL].messages, 0);
	cr_expect_eq(bpf_stream_init(&s, &opts), 0);
	cr_expect_eq(unit_stats(&s).capacity, BPF_STREAM_DEFAULT_CAPACITY);
	opts.capacity = 1;
	cr_expect_eq(bpf_stream_init(&s, &opts), 0);
	cr_expect_eq(unit_stats(&s).capacity, 1);
	opts.capacity = ((size_t)1 << 29) - 1;
	cr_expect_eq(bpf_stream_init(&s, &opts), 0);
	cr_expect_eq(unit_stats(&s).capacity, ((size_t)1 << 29) - 1);
	opts.capacity = (size_t)1 << 29;
	cr_expect_eq(bpf_stream_init(&s, &opts), -EINVAL);
	opts.capacity = SIZE_MAX;
	cr_expect_eq(bpf_stream_init(&s, &opts), -EINVAL);
}

Test(lifecycle, init__refuses_a_group_that_is_none)
{
	struct bpf_stream_options opts = { .group = 0 };

	for (; opts.group <= BPF_STREAM_GROUPS; opts.group++) {
		cr_expect_eq(bpf_stream_init(&s, &opts), 0);
		cr_expect_lt(bse_group(&s), BPF_STREAM_GROUPS);
	}
	cr_expect_eq(bpf_stream_init(&s, &opts), -EINVAL);
	opts.group = ~0u;
	cr_expect_eq(bpf_stream_init(&s, &opts), -EINVAL);
}

/* ---- streams that were not made at run time -------------------------- */

static struct bpf_stream zero;
static struct bpf_stream of_ten_bytes = BPF_STREAM_INIT(.capacity = 10, .group = 3);
static struct bpf_stream of_defaults = BPF_STREAM_INIT(.capacity = 0);

Test(lifecycle, zero__is_a_stream_with_the_defaults)
{
	struct bpf_stream_stage ss = { 0 };

	cr_expect_eq(unit_stats(&zero).capacity, BPF_STREAM_DEFAULT_CAPACITY);
	cr_expect_eq(unit_stats(&of_defaults).capacity, BPF_STREAM_DEFAULT_CAPACITY);
	cr_expect_eq(unit_stats(&zero).pending, 0);
	cr_expect_eq(bpf_stream_read(&zero, got, 10), 0);
	unit_assert_sound(&zero);
	cr_expect_eq(bpf_stream_push(&zero, "a", 0), 0);
	cr_expect_eq(bpf_stream_push(&zero, "abc", 3), 0);
	unit_assert_sound(&zero);
	cr_expect_eq(bpf_stream_push(&of_defaults, text, 3 * PAGE), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "def", 3), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &zero), 0);
	cr_expect_eq(bpf_stream_printf(&zero, "%d", 1), 0);
	unit_assert_reads(&zero, "abcdef1");
	bpf_stream_destroy(&of_defaults);
	bpf_stream_destroy(&zero);
}

/* Each of these is the first call of a stream. */
Test(lifecycle, zero__may_begin_with_any_call)
{
	static struct bpf_stream first[6];
	struct bpf_stream_stage ss = { 0 };

	cr_expect_eq(bpf_stream_printf(&first[0], "%s", "print"), 0);
	unit_assert_reads(&first[0], "print");
	cr_assert_eq(bpf_stream_stage_push(&ss, "commit", 6), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &first[1]), 0);
	unit_assert_reads(&first[1], "commit");
	cr_expect_eq(bpf_stream_push(&first[2], text, BPF_STREAM_DEFAULT_CAPACITY + 1), -E2BIG);
	cr_expect_eq(bpf_stream_push(&first[3], text, (size_t)INT_MAX + 1), -EINVAL);
	cr_expect_eq(bpf_stream_drain(&first[4], NULL, NULL, SIZE_MAX), 0);
	bpf_stream_destroy(&first[5]);
	cr_expect_eq(unit_stats(&first[2]).refused[BPF_STREAM_REFUSED_SIZE].messages, 1);
	cr_expect_eq(unit_stats(&first[3]).refused[BPF_STREAM_REFUSED_INVALID].messages, 1);
	cr_expect_eq(unit_stats(&first[3]).refused[BPF_STREAM_REFUSED_FULL].messages, 0);
}

Test(lifecycle, static_init__gives_capacity_and_group)
{
	cr_expect_eq(unit_stats(&of_ten_bytes).capacity, 10);
	cr_expect_eq(bpf_stream_push(&of_ten_bytes, "01234567890", 11), -E2BIG);
	cr_expect_eq(bpf_stream_push(&of_ten_bytes, "0123456789", 10), 0);
	cr_expect_eq(bpf_stream_push(&of_ten_bytes, "x", 1), -ENOSPC);
	cr_expect_eq(bse_group(&of_ten_bytes), 2u);
	unit_assert_sound(&of_ten_bytes);
	unit_assert_reads(&of_ten_bytes, "0123456789");
}

/* All calls are refused, all the time, and each is counted. */
static void check_invalid(struct bpf_stream *invalid)
{
	struct bpf_stream_stats stats;
	struct bpf_stream_stage ss = { 0 };
	unsigned int i;

	cr_expect_eq(unit_stats(invalid).capacity, 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "abc", 3), 0);
	for (i = 0; i < 3; i++) {
		cr_expect_eq(bpf_stream_push(invalid, "a", 1), -EINVAL);
		cr_expect_eq(bpf_stream_push(invalid, text, 1000), -EINVAL);
		cr_expect_eq(bpf_stream_push(invalid, text, 5 * PAGE), -EINVAL);
		cr_expect_eq(bpf_stream_printf(invalid, "%d", 1), -EINVAL);
		cr_expect_eq(bpf_stream_stage_commit_to(&ss, invalid), -EINVAL);
	}
	stats = unit_stats(invalid);
	for (i = 0; i < BPF_STREAM_REFUSALS; i++) {
		cr_expect_eq(stats.refused[i].messages, i == BPF_STREAM_REFUSED_INVALID ? 15 : 0);
		cr_expect_eq(stats.refused[i].bytes, 0);
	}
	cr_expect_eq(stats.capacity, 0);
	cr_expect_eq(stats.pending, 0);
	cr_expect_eq(bpf_stream_read(invalid, got, 10), 0);
	bpf_stream_stage_free(&ss);
	bpf_stream_thread_release();
	cr_expect_eq(unit_pool().in_use, 0);
}

Test(lifecycle, static_init__with_options_out_of_range_is_refused_at_each_push)
{
	static struct bpf_stream large = BPF_STREAM_INIT(.capacity = (size_t)1 << 29);
	static struct bpf_stream largest = BPF_STREAM_INIT(.capacity = SIZE_MAX);
	static struct bpf_stream group = BPF_STREAM_INIT(.group = 5);
	static struct bpf_stream limit = BPF_STREAM_INIT(.capacity = ((size_t)1 << 29) - 1);

	check_invalid(&large);
	check_invalid(&largest);
	check_invalid(&group);
	cr_expect_eq(bpf_stream_push(&limit, "abc", 3), 0);
	cr_expect_eq(unit_stats(&limit).capacity, ((size_t)1 << 29) - 1);
	unit_assert_reads(&limit, "abc");
}

/* ---- what init and destroy do ---------------------------------------- */

Test(lifecycle, init__allocates_nothing)
{
	unit_make_stream(&s, 0);
	cr_expect_eq(bpf_stream_read(&s, got, 1), 0);
	cr_expect_eq(unit_pool().total, 0);
	bpf_stream_thread_release();
	cr_expect_eq(bpf_stream_pool_trim(), 0);
	bpf_stream_destroy(&s);
	cr_expect_eq(unit_pool().total, 0);
}

Test(lifecycle, destroy__gives_backlog_and_log_back)
{
	unsigned int i;

	unit_make_stream(&s, 0);
	for (i = 0; i < 100; i++)
		cr_assert_eq(bpf_stream_push(&s, text, 3000), 0);
	cr_assert_eq(bpf_stream_read(&s, got, 5), 5);
	for (i = 0; i < 100; i++)
		cr_assert_eq(bpf_stream_push(&s, text, 3000), 0);
	cr_assert_geq(unit_pool().in_use, 200);
	bpf_stream_destroy(&s);
	cr_expect_eq(unit_pool().in_use, 1);
	bpf_stream_thread_release();
	cr_expect_eq(unit_pool().in_use, 0);
	unit_make_stream(&s, 0);
	cr_expect_eq(bpf_stream_push(&s, "new", 3), 0);
	unit_assert_reads(&s, "new");
	unit_assert_sound(&s);
}

Test(lifecycle, destroy__leaves_an_empty_stream_with_its_options)
{
	static struct bpf_stream small = BPF_STREAM_INIT(.capacity = 1000, .group = 3);

	cr_assert_eq(bpf_stream_push(&small, text, 600), 0);
	bpf_stream_destroy(&small);
	cr_assert_eq(unit_stats(&small).pending, 0);
	cr_assert_eq(bpf_stream_push(&small, text, 600), 0);
	cr_assert_eq(bpf_stream_push(&small, text, 600), -ENOSPC);
	cr_assert_eq(bpf_stream_read(&small, got, 100), 100);
	cr_assert_eq(bpf_stream_push(&small, text, 1), 0);
	/* With a backlog, too. */
	bpf_stream_destroy(&small);
	cr_assert_eq(bpf_stream_push(&small, text, 1000), 0);
	cr_assert_eq(bpf_stream_read(&small, got, 2000), 1000);
	unit_assert_sound(&small);
}

Test(lifecycle, init__takes_the_stream_s_own_options)
{
	unit_make_stream(&s, 1000);
	cr_assert_eq(bpf_stream_init(&s, &s.options), 0);
	cr_assert_eq(unit_stats(&s).capacity, 1000);
}

/* ---- regions --------------------------------------------------------- */

Test(lifecycle, pool_use__rejects_bad_regions)
{
	cr_expect_eq(bpf_stream_pool_use(NULL, REGION, 0), -EINVAL);
	cr_expect_eq(bpf_stream_pool_use(region + 1, REGION - 1, 0), -EINVAL);
	cr_expect_eq(bpf_stream_pool_use(region + 8, REGION - 8, 0), -EINVAL);
	cr_expect_eq(bpf_stream_pool_use(region + 32, REGION - 32, 0), -EINVAL);
	cr_expect_eq(bpf_stream_pool_use(region, 0, 0), -EINVAL);
	cr_expect_eq(bpf_stream_pool_use(region, 8 * PAGE - 1, 0), -EINVAL);
	cr_expect_eq(bpf_stream_pool_use(region, ((size_t)32 << 30) + 1, 0), -EINVAL);
	cr_expect_eq(bpf_stream_pool_use(region, SIZE_MAX, 0), -EINVAL);
	cr_expect_eq(bpf_stream_pool_use(region, REGION, 2), -EINVAL);
	cr_expect_eq(bpf_stream_pool_use(region, REGION, ~0u), -EINVAL);
	cr_expect_eq(unit_pool().total, 0);
	cr_expect_eq(bpf_stream_pool_use(region, REGION, 0), 0);
	cr_expect_eq(unit_pool().page_size, PAGE);
}

Test(lifecycle, pool_use__works_once)
{
	static _Alignas(64) char second[REGION];

	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_pool_use(region, REGION, 0), 0);
	cr_expect_eq(bpf_stream_pool_use(second, REGION, 0), -EBUSY);
	cr_expect_eq(bpf_stream_pool_use(region, REGION, 0), -EBUSY);
	assert_whole_pool_works();
	cr_expect_eq(bpf_stream_pool_use(second, REGION, 0), -EBUSY);
}

Test(lifecycle, pool_use__comes_too_late_after_a_push)
{
	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_push(&s, "abc", 3), 0);
	cr_expect_eq(bpf_stream_pool_use(region, REGION, 0), -EBUSY);
	cr_expect_eq(unit_pool().total * PAGE / BPF_STREAM_POOL_BYTES, 0);
	cr_expect_gt(unit_pool().total, BPF_STREAM_POOL_BYTES / PAGE * 9 / 10);
	unit_assert_reads(&s, "abc");
}

Test(lifecycle, pool_use__eight_pages_are_enough)
{
	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_pool_use(region, 8 * PAGE, 0), 0);
	cr_expect_eq(unit_pool().total, 7);
	assert_whole_pool_works();
	cr_expect_eq(unit_pool().highest, 7);
}

/* Nothing is written outside the region, and old contents do not matter. */
Test(lifecycle, pool_use__region_may_hold_anything_and_end_anywhere)
{
	size_t bytes = 20 * PAGE + 4000;
	size_t i;

	memset(region, 0xa5, sizeof(region));
	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_pool_use(region + 64, bytes, 0), 0);
	cr_expect_eq(unit_pool().total, 19);
	cr_expect_eq(unit_pool().in_use, 0);
	cr_expect_eq(unit_pool().denied, 0);
	assert_whole_pool_works();
	for (i = 0; i < 64; i++)
		cr_assert_eq((unsigned char)region[i], 0xa5);
	for (i = 64 + bytes; i < sizeof(region); i++)
		cr_assert_eq((unsigned char)region[i], 0xa5);
}

static int memfd(void)
{
	int fd = (int)syscall(SYS_memfd_create, "pool", 0u);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, REGION), 0);
	return fd;
}

Test(lifecycle, pool_use__memfd_holds_the_text)
{
	int fd = memfd();
	void *base = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	size_t i;

	cr_assert_neq(base, MAP_FAILED);
	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_pool_use(base, REGION, BPF_STREAM_POOL_SHARED), 0);
	cr_assert_eq(bpf_stream_push(&s, "needle in a haystack", 20), 0);
	cr_assert_eq(pread(fd, got, REGION, 0), (ssize_t)REGION);
	for (i = 0; i < REGION - 20 && memcmp(got + i, "needle in a haystack", 20); i++)
		;
	cr_expect_lt(i, REGION - 20);
	unit_assert_reads(&s, "needle in a haystack");
	assert_whole_pool_works();
}

static void push_in_between(enum hook_point point)
{
	if (point != HOOK_POOLING)
		return;
	hook = NULL;
	cr_expect_eq(bpf_stream_push(&s, "handler;", 8), 0);
}

/* How many mappings of the pool's size there are. */
static unsigned int pools_mapped(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned int n = 0;
	unsigned long from;
	unsigned long to;
	char line[4096];

	cr_assert_not_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		cr_assert_eq(sscanf(line, "%lx-%lx", &from, &to), 2);
		n += (unsigned int)((to - from) / BPF_STREAM_POOL_BYTES == 1);
	}
	fclose(maps);
	return n;
}

Test(lifecycle, pool__set_up_in_a_handler_beside_another_setup)
{
	unsigned int before = pools_mapped();

	unit_make_stream(&s, 0);
	hook = push_in_between;
	cr_expect_eq(bpf_stream_push(&s, "main;", 5), 0);
	cr_expect_eq(pools_mapped(), before + 1, "the loser's mapping stays");
	unit_assert_reads(&s, "handler;main;");
	bpf_stream_thread_release();
	cr_expect_eq(unit_pool().in_use, 0);
	unit_assert_sound(&s);
}

/* ---- trimming -------------------------------------------------------- */

/* Which of the region's pages the system keeps in memory. */
static size_t resident(void)
{
	unsigned char vec[REGION / 4096];
	size_t n = 0;
	size_t i;

	cr_assert_eq(mincore(region, REGION, vec), 0);
	for (i = 0; i < sizeof(vec); i++)
		n += vec[i] & 1;
	return n;
}

Test(lifecycle, pool_trim__gives_memory_back_and_data_stays_right)
{
	unsigned int round;
	size_t before;

	/* A huge page would bring back what is not there. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_pool_use(region, REGION, 0), 0);
	for (round = 0; round < 3; round++) {
		assert_whole_pool_works();
		cr_assert_eq(bpf_stream_push(&s, "kept", 4), 0);
		before = resident();
		errno = ELOOP;
		cr_expect_eq(bpf_stream_pool_trim(), unit_pool().total - unit_pool().in_use);
		cr_expect_eq(errno, ELOOP);
		cr_expect_eq(resident(), before - (unit_pool().total - unit_pool().in_use));
		cr_expect_eq(bpf_stream_pool_trim(), 0);
		unit_assert_sound(&s);
		unit_assert_reads(&s, "kept");
	}
	cr_expect_eq(unit_pool().highest, unit_pool().total);
}

Test(lifecycle, pool_trim__gives_memory_of_a_shared_file_back)
{
	int fd = memfd();
	void *base = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct stat before;
	struct stat after;

	cr_assert_neq(base, MAP_FAILED);
	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_pool_use(base, REGION, BPF_STREAM_POOL_SHARED), 0);
	assert_whole_pool_works();
	cr_assert_eq(fstat(fd, &before), 0);
	cr_expect_eq(bpf_stream_pool_trim(), unit_pool().total - unit_pool().in_use);
	cr_assert_eq(fstat(fd, &after), 0);
	cr_expect_leq(after.st_blocks, before.st_blocks - (blkcnt_t)(60 * PAGE / 512));
	assert_whole_pool_works();
}

static void *trimmer(void *stop)
{
	while (!bse_u32_load_relaxed(stop))
		(void)bpf_stream_pool_trim();
	return NULL;
}

Test(lifecycle, pool_trim__beside_writers_harms_nobody)
{
	bse_u32 stop = { 0 };
	pthread_t thread;
	unsigned int i;
	size_t len;

	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_pool_use(region, REGION, 0), 0);
	unit_start(&thread, trimmer, &stop);
	for (i = 0; i < 5000; i++) {
		len = 1 + i * 37 % (10 * PAGE);
		memset(text, (int)(i + 1) & 0xff, len);
		cr_assert_eq(bpf_stream_push(&s, text, len), 0);
		unit_same_length(bpf_stream_read(&s, got, sizeof(got)), len);
		unit_same_bytes(got, text, len);
	}
	bse_u32_store_relaxed(&stop, 1);
	unit_join(thread);
	unit_assert_sound(&s);
}

/* ---- threads --------------------------------------------------------- */

static void mask_is_as_before(void *unused)
{
	sigset_t set;

	(void)unused;
	UNIT_CHILD_WANTS(!pthread_sigmask(SIG_SETMASK, NULL, &set));
	UNIT_CHILD_WANTS(sigismember(&set, SIGUSR2));
	UNIT_CHILD_WANTS(!sigismember(&set, SIGUSR1));
}

Test(lifecycle, thread_release_and_fork__leave_the_signal_mask_alone)
{
	sigset_t set;

	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_push(&s, "abc", 3), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	cr_assert_eq(pthread_sigmask(SIG_SETMASK, &set, NULL), 0);
	bpf_stream_thread_release();
	cr_assert_eq(pthread_sigmask(SIG_SETMASK, NULL, &set), 0);
	cr_expect(sigismember(&set, SIGUSR2));
	cr_expect_not(sigismember(&set, SIGUSR1));
	unit_in_child(mask_is_as_before, NULL);
}

/* Pushes at all levels, one inside the other. */
static void push_nested(enum hook_point point)
{
	static _Thread_local unsigned int depth;

	if (point != HOOK_ENTERED || depth == 6)
		return;
	depth++;
	(void)bpf_stream_push(&s, "nested", 6);
	depth--;
}

static void *short_lived(void *ctx)
{
	(void)ctx;
	hook = push_nested;
	return (void *)(intptr_t)bpf_stream_push(&s, "outer", 5);
}

Test(lifecycle, thread__many_that_end_leave_no_page_in_use)
{
	pthread_t thread[20];
	unsigned int round;
	unsigned int i;
	void *err;

	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_pool_use(region, REGION, 0), 0);
	for (round = 0; round < 100; round++) {
		for (i = 0; i < 20; i++)
			unit_start(&thread[i], short_lived, NULL);
		for (i = 0; i < 20; i++) {
			pthread_join(thread[i], &err);
			cr_assert(err == NULL || (intptr_t)err == -ENOMEM);
		}
		cr_assert_gt(bpf_stream_read(&s, got, sizeof(got)), 0);
		cr_assert_eq(unit_pool().in_use, 0, "round %u: %zu pages", round,
			     unit_pool().in_use);
	}
	unit_assert_sound(&s);
	assert_whole_pool_works();
	/* Their part of the pages that may be kept is free again, too. */
	cr_assert_eq(bpf_stream_push(&s, "x", 1), 0);
	unit_assert_reads(&s, "x");
	cr_expect_eq(unit_pool().in_use, 1);
}

/* Where no exit hook can be set, pages go from push to push; none is kept. */
Test(lifecycle, thread__without_an_exit_hook_keeps_nothing)
{
	unsigned int i;

	unit_make_stream(&s, 0);
	/* From the key with this number on, setting one allocates. */
	do
		cr_assert_eq(pthread_key_create(&bse_process.exit_key, NULL), 0);
	while (bse_process.exit_key < 32);
	for (i = 0; i < 10; i++)
		cr_assert_eq(bpf_stream_push(&s, "x", 1), 0);
	cr_expect_eq(unit_pool().in_use, 1);
	cr_expect_eq(unit_pool().partial, 1);
	unit_assert_sound(&s);
	unit_assert_reads(&s, "xxxxxxxxxx");
	cr_expect_eq(unit_pool().in_use, 0);
	cr_assert_eq(bpf_stream_push(&s, text, 5 * BSI_ELEM_MAX), 0);
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), (int)(5 * BSI_ELEM_MAX));
	cr_expect_eq(unit_pool().in_use, 0);
	unit_assert_sound(&s);
}

/* ---- fork ------------------------------------------------------------ */

static void private_goes_on(void)
{
	pid_t pid;
	int i;

	cr_assert_eq(bpf_stream_push(&s, "read;", 5), 0);
	cr_assert_eq(bpf_stream_push(&s, "both;", 5), 0);
	cr_assert_eq(bpf_stream_read(&s, got, 5), 5);
	pid = unit_fork();
	if (!pid) {
		UNIT_CHILD_WANTS(!bpf_stream_push(&s, "child;", 6));
		UNIT_CHILD_WANTS(bpf_stream_read(&s, got, 100) == 11);
		UNIT_CHILD_WANTS(!memcmp(got, "both;child;", 11));
		for (i = 0; i < 1000; i++) {
			UNIT_CHILD_WANTS(!bpf_stream_push(&s, text, 10000));
			UNIT_CHILD_WANTS(bpf_stream_read(&s, got, 20000) == 10000);
		}
		bpf_stream_thread_release();
		UNIT_CHILD_WANTS(unit_pool().in_use == 0);
		UNIT_CHILD_WANTS(!bpf_stream_selfcheck(&s));
		UNIT_CHILD_WANTS(!bpf_stream_selfcheck(NULL));
		_exit(0);
	}
	unit_child_ends_well(pid);
	cr_assert_eq(bpf_stream_push(&s, "parent;", 7), 0);
	unit_assert_reads(&s, "both;parent;");
	bpf_stream_thread_release();
	cr_expect_eq(unit_pool().in_use, 0);
	unit_assert_sound(&s);
}

Test(lifecycle, fork__with_the_default_pool_both_go_on)
{
	unit_make_stream(&s, 0);
	private_goes_on();
}

Test(lifecycle, fork__with_a_private_region_both_go_on)
{
	unit_make_stream(&s, 0);
	cr_assert_eq(bpf_stream_pool_use(region, REGION, 0), 0);
	private_goes_on();
}

static sem_t inside;
static sem_t go_on;

static int slow_sink(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	memcpy(got, data, len);
	sem_post(&inside);
	sem_wait(&go_on);
	return (int)len;
}

static void *slow_reader(void *ctx)
{
	*(int *)ctx = bpf_stream_drain(&s, slow_sink, NULL, SIZE_MAX);
	return NULL;
}

/* The thread that reads stays in the parent, in its sink. */
Test(lifecycle, fork__beside_a_sink_gives_the_child_the_whole_backlog)
{
	pthread_t thread;
	int drained;
	pid_t pid;

	unit_make_stream(&s, 0);
	sem_init(&inside, 0, 0);
	sem_init(&go_on, 0, 0);
	cr_assert_eq(bpf_stream_push(&s, "12abc", 5), 0);
	cr_assert_eq(bpf_stream_read(&s, got, 2), 2);
	unit_start(&thread, slow_reader, &drained);
	sem_wait(&inside);
	cr_assert_eq(bpf_stream_push(&s, "def", 3), 0);
	pid = unit_fork();
	if (!pid) {
		UNIT_CHILD_WANTS(bpf_stream_try_read(&s, text, 2) == 2);
		UNIT_CHILD_WANTS(bpf_stream_read(&s, text + 2, 100) == 4);
		UNIT_CHILD_WANTS(!memcmp(text, "abcdef", 6));
		UNIT_CHILD_WANTS(!bpf_stream_push(&s, "ghi", 3));
		UNIT_CHILD_WANTS(bpf_stream_read(&s, text, 100) == 3);
		UNIT_CHILD_WANTS(!memcmp(text, "ghi", 3));
		UNIT_CHILD_WANTS(unit_stats(&s).lost == 0);
		UNIT_CHILD_WANTS(unit_stats(&s).pending == 0);
		UNIT_CHILD_WANTS(!bpf_stream_selfcheck(&s));
		_exit(0);
	}
	unit_child_ends_well(pid);
	sem_post(&go_on);
	unit_join(thread);
	cr_expect_eq(drained, 3);
	unit_same_bytes(got, "abc", 3);
	unit_assert_reads(&s, "def");
	cr_expect_eq(unit_stats(&s).lost, 0);
	unit_assert_sound(&s);
}

static void wait_in_the_middle(enum hook_point point)
{
	if (point != HOOK_COUNTING)
		return;
	hook = NULL;
	sem_post(&inside);
	sem_wait(&go_on);
}

static void *interrupted_reader(void *ctx)
{
	hook = wait_in_the_middle;
	*(int *)ctx = bpf_stream_read(&s, got, 35);
	return NULL;
}

/* It has detached ten messages, and is giving the first three of them back. */
Test(lifecycle, fork__in_the_middle_of_a_read_counts_what_the_child_lost)
{
	struct bpf_stream_stats stats;
	pthread_t thread;
	int len = 0;
	pid_t pid;
	int i;

	unit_make_stream(&s, 200);
	sem_init(&inside, 0, 0);
	sem_init(&go_on, 0, 0);
	for (i = 0; i < 10; i++)
		cr_assert_eq(bpf_stream_push(&s, "0123456789", 10), 0);
	unit_start(&thread, interrupted_reader, &len);
	sem_wait(&inside);
	cr_assert_eq(bpf_stream_push(&s, "after", 5), 0);
	pid = unit_fork();
	if (!pid) {
		UNIT_CHILD_WANTS(bpf_stream_read(&s, text, 200) == 5);
		UNIT_CHILD_WANTS(!memcmp(text, "after", 5));
		stats = unit_stats(&s);
		UNIT_CHILD_WANTS(stats.lost >= 65 && stats.lost <= 100);
		UNIT_CHILD_WANTS(stats.pending + stats.delivered.bytes + stats.lost == 105);
		/* Their room is there again. */
		UNIT_CHILD_WANTS(!bpf_stream_push(&s, text, 200));
		UNIT_CHILD_WANTS(bpf_stream_read(&s, text, 300) == 200);
		UNIT_CHILD_WANTS(unit_stats(&s).pending == 0);
		UNIT_CHILD_WANTS(unit_stats(&s).lost == stats.lost);
		UNIT_CHILD_WANTS(!bpf_stream_selfcheck(&s));
		_exit(0);
	}
	unit_child_ends_well(pid);
	sem_post(&go_on);
	unit_join(thread);
	cr_expect_eq(len, 35);
	cr_expect_eq(bpf_stream_read(&s, text, 200), 70);
	cr_expect_eq(unit_stats(&s).lost, 0);
	unit_assert_sound(&s);
}

static char larger[REGION + 1];	/* than any message in that pool */
static int adopting;

static void adopt_slowly(enum hook_point point)
{
	if (point != HOOK_POOLING)
		return;
	unit_flag_set(&adopting, 1);
	unit_flag_wait(&adopting, 2);
}

static void *use_region_slowly(void *arg)
{
	hook = adopt_slowly;
	cr_assert_eq(bpf_stream_pool_use(arg, REGION, 0), 0);
	return NULL;
}

static void child_uses_region(void *arg)
{
	UNIT_CHILD_WANTS(!bpf_stream_pool_use(arg, REGION, 0));
}

/*
 * A fork while another thread was about to make its region the pool: in the
 * child there was no pool, and each region was refused as one too many.
 */
Test(lifecycle, fork__in_the_middle_of_pool_use_leaves_the_child_free_to_use_one)
{
	pthread_t thread;

	unit_start(&thread, use_region_slowly, region);
	unit_flag_wait(&adopting, 1);
	unit_in_child(child_uses_region, region);
	unit_flag_set(&adopting, 2);
	unit_join(thread);
}

Test(lifecycle, fork__with_a_shared_region_only_the_parent_goes_on)
{
	void *base = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct bpf_stream_count foreign;
	struct bpf_stream_stage ss;
	struct bpf_stream full;
	struct bpf_stream wide;
	size_t before;
	pid_t pid;

	cr_assert_neq(base, MAP_FAILED);
	unit_make_stream(&s, 100);
	unit_make_stream(&wide, 0);
	cr_assert_eq(bpf_stream_pool_use(base, REGION, BPF_STREAM_POOL_SHARED), 0);
	bpf_stream_stage_init(&ss);
	cr_assert_eq(bpf_stream_init(&full, &(struct bpf_stream_options){ .capacity = 4 }), 0);
	cr_assert_eq(bpf_stream_push(&full, "full", 4), 0);
	/* Leaves a page that could be trimmed. */
	cr_assert_eq(bpf_stream_stage_push(&ss, text, 3 * PAGE), 0);
	bpf_stream_stage_free(&ss);
	cr_assert_eq(bpf_stream_push(&s, "abc", 3), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "def", 3), 0);
	before = unit_pool().in_use;
	pid = unit_fork();
	if (!pid) {
		UNIT_CHILD_WANTS(bpf_stream_push(&s, "x", 1) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_push(&s, text, 90) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_push(&wide, larger, sizeof(larger)) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_push(&full, "x", 1) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_printf(&s, "%d", 1) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_bprintf(&s, "x", NULL, 0) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_stage_push(&ss, "x", 1) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_stage_push(&ss, larger, sizeof(larger)) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_stage_printk(&ss, "x") == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_stage_commit_to(&ss, &s) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_stage_commit_to(&ss, &full) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_read(&s, got, 100) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_try_read(&s, got, 100) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_drain(&s, slow_sink, NULL, SIZE_MAX) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_drain_fd(&s, 1, SIZE_MAX) == -EPERM);
		UNIT_CHILD_WANTS(bpf_stream_pool_trim() == 0);
		foreign = unit_stats(&s).refused[BPF_STREAM_REFUSED_FOREIGN];
		UNIT_CHILD_WANTS(foreign.messages == 5);
		UNIT_CHILD_WANTS(foreign.bytes == 1 + 90 + 1 + 1 + 3);
		bpf_stream_stage_free(&ss);
		bpf_stream_thread_release();
		bpf_stream_destroy(&s);
		bpf_stream_destroy(&full);
		/* Until it has a region of its own. */
		UNIT_CHILD_WANTS(!bpf_stream_pool_use(region, REGION, 0));
		UNIT_CHILD_WANTS(!bpf_stream_init(&s, NULL));
		bpf_stream_stage_init(&ss);
		UNIT_CHILD_WANTS(!bpf_stream_push(&s, "own", 3));
		UNIT_CHILD_WANTS(!bpf_stream_stage_push(&ss, text, 3 * PAGE));
		UNIT_CHILD_WANTS(!bpf_stream_stage_commit_to(&ss, &s));
		UNIT_CHILD_WANTS(bpf_stream_read(&s, got, REGION) == 3 + 3 * PAGE);
		UNIT_CHILD_WANTS(!memcmp(got, "own", 3));
		bpf_stream_thread_release();
		UNIT_CHILD_WANTS(unit_pool().in_use == 0);
		UNIT_CHILD_WANTS(!bpf_stream_selfcheck(&s) && !bpf_stream_selfcheck(NULL));
		_exit(0);
	}
	unit_child_ends_well(pid);
	cr_expect_eq(unit_pool().in_use, before);
	cr_expect_eq(bpf_stream_push(&s, "ghi", 3), 0);
	cr_expect_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	unit_assert_reads(&s, "abcghidef");
	cr_expect_eq(bpf_stream_read(&full, got, 100), 4);
	bpf_stream_thread_release();
	cr_expect_eq(unit_pool().in_use, 0);
	unit_assert_sound(&s);
	unit_make_stream(&s, 0);
	assert_whole_pool_works();
}
