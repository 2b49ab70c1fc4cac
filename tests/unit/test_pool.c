/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [6b], [6c]: free lists, the first use of the pool, and what threads leave
 * behind when they end, are cancelled, or are jumped out of; with a look into
 * [6e].
 *
 * Seen to fail with: a tag that stays, at a pop or a push; a push that loses
 * the list; fresh pages first; cold ones forgotten; denials not counted; a trim
 * that loses its page; errno lost when mapping fails; a pool published by a
 * plain store; a key above 31 set from a push; no exit hook, or one after which
 * the thread keeps pages, or that lets signals in, or that leaves them out for
 * ever; only some slots released, or not those that were jumped out of; an
 * owner that stays in the lock.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "faults_env.h"
#include "bpf_stream.h"
#include "unit.h"
#include <setjmp.h>
#include <stdlib.h>
#include <sys/resource.h>

/* ---- malloc ---------------------------------------------------------- */
/*
 * Every call is seen, so that a test can raise a signal inside it, and notice
 * calls that are made where none may be.
 */
static volatile sig_atomic_t forbidden;		/* nobody may allocate now */
static volatile sig_atomic_t raise_inside;	/* the next call is interrupted */
static volatile sig_atomic_t violations;

static void inside_malloc(void)
{
	if (forbidden)
		violations++;
	if (raise_inside) {
		raise_inside = 0;
		raise(SIGUSR1);
	}
}

#ifdef BSE_ASAN
int __sanitizer_install_malloc_and_free_hooks(void (*seen_malloc)(const volatile void *, size_t),
					      void (*seen_free)(const volatile void *));

static void seen_malloc(const volatile void *p, size_t size)
{
	(void)p;
	(void)size;
	inside_malloc();
}

static void seen_free(const volatile void *p)
{
	(void)p;
	if (forbidden)
		violations++;
}

__attribute__((__constructor__)) static void watch_malloc(void)
{
	__sanitizer_install_malloc_and_free_hooks(seen_malloc, seen_free);
}
#else
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

void *malloc(size_t size)
{
	inside_malloc();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	inside_malloc();
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	inside_malloc();
	return __libc_realloc(p, size);
}

void free(void *p)
{
	if (forbidden)
		violations++;
	__libc_free(p);
}
#endif

/* A call that no compiler leaves out. */
static void allocate_and_free(void)
{
	void *(*volatile allocate)(size_t) = malloc;
	void *p;

	raise_inside = 1;
	p = allocate(100);
	raise_inside = 0;
	free(p);
}

/* ---- Helpers --------------------------------------------------------- */

static char region[12 * 4096] __attribute__((__aligned__(4096)));
static struct bpf_stream stream;
static volatile sig_atomic_t handled;
static volatile int handler_result = 1;

/* Eleven pages. */
static struct bse_pool *small_pool(void)
{
	cr_assert_eq(bpf_stream_pool_use(region, sizeof(region), 0), 0);
	return bse_pool();
}

static bse_page get(void)
{
	bse_page page = 0;

	cr_assert_eq(bse_page_get(&page), 0);
	return page;
}

/* Reads @n bytes of x, and nothing is left. */
static void check_read(uint32_t n)
{
	static char buf[65536];
	uint32_t i;

	cr_assert_lt(n, sizeof(buf));
	cr_assert_eq(bpf_stream_read(&stream, buf, sizeof(buf)), (int)n);
	for (i = 0; i < n; i++)
		cr_assert_eq(buf[i], 'x');
}

static void handle(int sig, void (*action)(int), int flags)
{
	struct sigaction sa = { .sa_handler = action, .sa_flags = flags };

	cr_assert_eq(sigaction(sig, &sa, NULL), 0);
}

/* ---- Free lists ------------------------------------------------------ */

Test(pool, free_list__is_last_in_first_out)
{
	bse_page page[5];
	uint32_t i;

	small_pool();
	for (i = 0; i < 5; i++)
		page[i] = get();
	for (i = 0; i < 5; i++)
		bse_page_put(page[i]);
	for (i = 5; i-- > 0;)
		cr_assert_eq(get(), page[i]);
	unit_assert_sound(NULL);
}

Test(pool, free_list__every_change_changes_the_tag)
{
	struct bse_pool *pool = small_pool();
	uint64_t last = bse_u64_load_relaxed(&pool->list[BSE_HOT].head) >> BSE_PAGE_BITS;
	bse_page page = get();
	uint32_t i;

	for (i = 0; i < 1000; i++) {
		uint64_t tag;

		if (i % 2 == 0)
			bse_list_push(pool, BSE_HOT, page);
		else
			cr_assert_eq(bse_list_pop(pool, BSE_HOT), page);
		tag = bse_u64_load_relaxed(&pool->list[BSE_HOT].head) >> BSE_PAGE_BITS;
		cr_assert_eq(tag, last + 1);
		last = tag;
	}
}

Test(pool, free_list__tag_comes_round_without_touching_the_page)
{
	struct bse_pool *pool = small_pool();
	bse_page a = get();
	bse_page b = get();

	/* The last tag before zero. */
	pool->list[BSE_HOT].head = (bse_u64){ ~BSE_PAGE_MASK };
	bse_list_push(pool, BSE_HOT, a);
	cr_assert_eq(bse_u64_load_relaxed(&pool->list[BSE_HOT].head), a);
	bse_list_push(pool, BSE_HOT, b);
	pool->list[BSE_HOT].head = (bse_u64){ ~BSE_PAGE_MASK | b };
	cr_assert_eq(bse_list_pop(pool, BSE_HOT), b);
	cr_assert_eq(bse_list_pop(pool, BSE_HOT), a);
	cr_assert_eq(bse_list_pop(pool, BSE_HOT), 0u);
}

Test(pool, page_get__takes_used_pages_first_and_fresh_ones_last)
{
	bse_page a;
	bse_page b;
	bse_page c;

	small_pool();
	a = get();
	b = get();
	cr_assert_eq(b, a + 1);
	bse_page_put(a);
	bse_page_put(b);
	/* Both are cold now; a is put back hot. */
	bpf_stream_pool_trim();
	cr_assert_eq(get(), a);
	bse_page_put(a);
	cr_assert_eq(get(), a);
	cr_assert_eq(get(), b);
	c = get();
	cr_assert_eq(c, b + 1);
	cr_assert_eq(unit_pool().highest, 3u);
}

Test(pool, exhaustion__is_refused_and_counted_and_passes)
{
	struct bpf_stream_stats stats;
	size_t n = 0;

	small_pool();
	bpf_stream_init(&stream, NULL);
	while (!bpf_stream_push(&stream, region, BSI_ELEM_MAX))
		n++;
	cr_assert_eq(n, 11u);
	cr_assert_eq(unit_pool().total, 11u);
	cr_assert_eq(unit_pages_in_use(), 11u);
	cr_assert_eq(unit_pool().highest, 11u);
	cr_assert_eq(unit_pool().denied, 1u);
	cr_assert_eq(bpf_stream_push(&stream, "x", 1), -ENOMEM);
	cr_assert_eq(unit_pool().denied, 2u);
	bpf_stream_get_stats(&stream, &stats);
	cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_POOL].messages, 2u);
	cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_POOL].bytes, BSI_ELEM_MAX + 1u);
	bpf_stream_destroy(&stream);
	cr_assert_eq(unit_pages_in_use(), 0u);
	bpf_stream_init(&stream, NULL);
	cr_assert_eq(bpf_stream_push(&stream, "x", 1), 0);
	check_read(1);
	unit_assert_sound(NULL);
}

Test(pool, stats__of_no_pool_are_all_zero)
{
	const struct bpf_stream_pool_stats zero = { 0 };
	struct bpf_stream_pool_stats stats;

	memset(&stats, 0xff, sizeof(stats));
	bpf_stream_pool_get_stats(&stats);
	unit_same_bytes(&stats, &zero, sizeof(zero));
	cr_assert_eq(bpf_stream_pool_trim(), 0u);
	cr_assert_null(bse_pool_known());
}

Test(pool, trim__gives_idle_pages_back_and_keeps_the_others)
{
	uint32_t i;

	bpf_stream_init(&stream, NULL);
	for (i = 0; i < 20000; i++)
		cr_assert_eq(bpf_stream_push(&stream, "x", 1), 0);
	cr_assert_eq(bpf_stream_pool_trim(), 0u);
	check_read(20000);
	cr_assert_eq(bpf_stream_push(&stream, "x", 1), 0);
	/* All that were used, but the one in the slot. */
	cr_assert_eq(bpf_stream_pool_trim(), unit_pool().highest - 1);
	unit_assert_sound(NULL);
	cr_assert_eq(bpf_stream_pool_trim(), 0u);
	check_read(1);
	for (i = 0; i < 20000; i++)
		cr_assert_eq(bpf_stream_push(&stream, "x", 1), 0);
	check_read(20000);
	unit_assert_sound(NULL);
}

/* ---- First use ------------------------------------------------------- */

static void push_in_handler(int sig)
{
	(void)sig;
	forbidden = 1;
	handler_result = bpf_stream_push(&stream, "x", 1);
	forbidden = 0;
	handled++;
}

Test(pool, first_use__in_a_handler_that_interrupted_malloc)
{
	bpf_stream_init(&stream, NULL);
	handle(SIGUSR1, push_in_handler, 0);
	cr_assert_null(bse_pool_known());
	allocate_and_free();
	cr_assert_eq(handled, 1);
	cr_assert_eq(handler_result, 0);
	cr_assert_eq(violations, 0);
	check_read(1);
}

/* The thread's first push, which has to register the thread. */
static void *push_inside_malloc(void *arg)
{
	(void)arg;
	allocate_and_free();
	return NULL;
}

/*
 * The library's key comes after 40 others, as when it is loaded late. Setting
 * such a key allocates.
 */
static pthread_key_t own_key[40];

static void come_late(void (*destructor)(void *))
{
	unsigned int i;

	bsi_process_unload();
	for (i = 0; i < 40; i++)
		cr_assert_eq(pthread_key_create(&own_key[i], destructor), 0);
	bsi_process_load();
	cr_assert_geq(bse_process.exit_key, 32u);
}

Test(pool, first_use__of_threads_in_handlers_while_40_keys_exist)
{
	unsigned int i;

	come_late(NULL);
	bpf_stream_init(&stream, NULL);
	handle(SIGUSR1, push_in_handler, 0);
	for (i = 0; i < 100; i++)
		unit_in_thread(push_inside_malloc, NULL);
	cr_assert_eq(handled, 100);
	cr_assert_eq(violations, 0);
	check_read(100);
	cr_assert_eq(unit_pages_in_use(), 0u);
	unit_assert_sound(NULL);
}

Test(pool, first_use__of_threads_in_handlers_that_interrupted_malloc)
{
	unsigned int i;

	bpf_stream_init(&stream, NULL);
	handle(SIGUSR1, push_in_handler, 0);
	for (i = 0; i < 100; i++)
		unit_in_thread(push_inside_malloc, NULL);
	cr_assert_eq(handled, 100);
	cr_assert_eq(violations, 0);
	check_read(100);
	cr_assert_eq(unit_pages_in_use(), 0u);
	unit_assert_sound(NULL);
}

static void *first_push(void *arg)
{
	pthread_barrier_wait(arg);
	if (bpf_stream_push(&stream, "x", 1))
		return NULL;
	return bse_pool_known();
}

static void race_first_use(void *arg)
{
	enum { THREADS = 4 };
	pthread_t thread[THREADS];
	pthread_barrier_t start;
	void *pool;
	char buf[8];
	int i;

	(void)arg;
	pthread_barrier_init(&start, NULL, THREADS);
	for (i = 0; i < THREADS; i++)
		unit_start(&thread[i], first_push, &start);
	for (i = 0; i < THREADS; i++) {
		UNIT_CHILD_WANTS(!pthread_join(thread[i], &pool));
		UNIT_CHILD_WANTS(pool && pool == bse_pool_known());
	}
	UNIT_CHILD_WANTS(bpf_stream_read(&stream, buf, sizeof(buf)) == THREADS);
	UNIT_CHILD_WANTS(!unit_pages_in_use());
}

Test(pool, first_use__by_threads_at_once_makes_one_pool)
{
	unsigned int i;

	bpf_stream_init(&stream, NULL);
	for (i = 0; i < 100; i++)
		unit_in_child(race_first_use, NULL);
}

/* Another thread's pool appears while this one is being prepared. */
static void *pool_rival;

static void *use_region(void *arg)
{
	(void)arg;
	small_pool();
	pool_rival = bse_pool_known();
	return NULL;
}

/* By a second region, which becomes the pool, or by a first push. */
static void be_overtaken_by_a_region(void)
{
	faults.before_ptr_cas = NULL;
	pool_rival = small_pool();
}

static void be_overtaken_by_a_push(void)
{
	faults.before_ptr_cas = NULL;
	cr_assert_eq(bpf_stream_push(&stream, "x", 1), 0);
}

Test(pool, pool_use__that_is_overtaken_is_busy)
{
	static char other[16 * 4096] __attribute__((__aligned__(4096)));

	bpf_stream_init(&stream, NULL);
	faults.before_ptr_cas = be_overtaken_by_a_push;
	cr_assert_eq(bpf_stream_pool_use(other, sizeof(other), 0), -EBUSY);
	cr_assert_neq((void *)bse_pool_known(), (void *)other);
	/* The caller's again, all of it. */
	memset(other, 1, sizeof(other));
	check_read(1);
}

Test(pool, pool_use__that_is_overtaken_by_another_is_busy)
{
	static char other[16 * 4096] __attribute__((__aligned__(4096)));

	bpf_stream_init(&stream, NULL);
	faults.before_ptr_cas = be_overtaken_by_a_region;
	cr_assert_eq(bpf_stream_pool_use(other, sizeof(other), 0), -EBUSY);
	cr_assert_neq(pool_rival, (void *)other);
	cr_assert_eq((void *)bse_pool_known(), pool_rival);
	memset(other, 1, sizeof(other));
	cr_assert_eq(bpf_stream_pool_use(other, sizeof(other), 0), -EBUSY);
	memset(other, 1, sizeof(other));
	cr_assert_eq(bpf_stream_push(&stream, "x", 1), 0);
	check_read(1);
	unit_assert_sound(NULL);
}

Test(pool, pool_use__in_another_thread_serves_this_one)
{
	unit_in_thread(use_region, NULL);
	bpf_stream_init(&stream, NULL);
	cr_assert_eq(bpf_stream_push(&stream, "x", 1), 0);
	cr_assert_eq(bse_pool_known(), pool_rival);
	cr_assert_eq((void *)bse_pool_known(), (void *)region);
	check_read(1);
}

Test(pool, first_use__without_memory_fails_and_works_later)
{
	struct bpf_stream_stats stats;
	struct rlimit old;
	struct rlimit none;
	int err[3];
	int kept;

	bpf_stream_init(&stream, NULL);
	cr_assert_eq(getrlimit(RLIMIT_AS, &old), 0);
	none = old;
	none.rlim_cur = 4096;
	cr_assert_eq(setrlimit(RLIMIT_AS, &none), 0);
	errno = 77;
	err[0] = bpf_stream_push(&stream, "x", 1);
	err[1] = bpf_stream_push(&stream, region, sizeof(region));
	err[2] = bpf_stream_push(&stream, "x", 0);
	kept = errno;
	cr_assert_eq(setrlimit(RLIMIT_AS, &old), 0);
	cr_assert_eq(err[0], -ENOMEM);
	cr_assert_eq(err[1], -ENOMEM);
	cr_assert_eq(err[2], 0);
	cr_assert_eq(kept, 77);
	cr_assert_null(bse_pool_known());
	bpf_stream_get_stats(&stream, &stats);
	cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_POOL].messages, 2u);
	cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_POOL].bytes, 1 + sizeof(region));
	cr_assert_eq(stats.pending, 0u);
	cr_assert_eq(bpf_stream_push(&stream, "x", 1), 0);
	cr_assert_eq(errno, 77);
	check_read(1);
}

/* ---- Threads that end ------------------------------------------------ */

static void *push_once(void *arg)
{
	(void)arg;
	cr_assert_eq(bpf_stream_push(&stream, "x", 1), 0);
	return NULL;
}

/* own_key's destructors: each pushes, before and after the library's hook. */
static void push_at_exit(void *value)
{
	(void)value;
	(void)bpf_stream_push(&stream, "x", 1);
}

static void *push_and_leave_values(void *arg)
{
	unsigned int i;

	for (i = 0; i < 40; i++)
		cr_assert_eq(pthread_setspecific(own_key[i], arg), 0);
	return push_once(arg);
}

/* 20 of the keys before the library's key, 20 behind it. */
static void come_between(void)
{
	unsigned int i;

	bsi_process_unload();
	for (i = 0; i < 20; i++)
		cr_assert_eq(pthread_key_create(&own_key[i], push_at_exit), 0);
	bsi_process_load();
	for (; i < 40; i++)
		cr_assert_eq(pthread_key_create(&own_key[i], push_at_exit), 0);
	cr_assert_lt(own_key[0], bse_process.exit_key);
	cr_assert_gt(own_key[39], bse_process.exit_key);
	cr_assert_lt(bse_process.exit_key, 32u);
}

static void check_exit_pushes(void)
{
	unsigned int i;

	bpf_stream_init(&stream, NULL);
	for (i = 0; i < 300; i++) {
		unit_in_thread(push_and_leave_values, &stream);
		check_read(41);
		cr_assert_eq(unit_pages_in_use(), 0u);
	}
	cr_assert_leq(unit_pool().highest, 41u);
	unit_assert_sound(NULL);
}

Test(pool, threads__that_push_from_destructors_on_both_sides_leave_nothing)
{
	come_between();
	check_exit_pushes();
}

Test(pool, threads__that_push_from_destructors_before_a_late_key_leave_nothing)
{
	come_late(push_at_exit);
	check_exit_pushes();
}

/* What a thread has to itself before main's code, and behind its hook. */
static void *check_attachment(void *arg)
{
	bse_link at;

	(void)arg;
	cr_assert_eq(bpf_stream_push(&stream, "x", 1), 0);
	cr_assert_neq(bse_self.slot[bse_group(&stream)].space.page, 0u);
	bsi_thread_exit(&bse_self);
	cr_assert_eq(bse_self.slot[bse_group(&stream)].space.page, 0u);
	cr_assert_eq(bpf_stream_push(&stream, "x", 1), 0);
	cr_assert_eq(bse_self.slot[bse_group(&stream)].space.page, 0u);
	cr_assert_eq(bsi_page_reserve(0, 16, false, &at), 0);
	bsi_page_give_back(bse_page_of(at), 1);
	return NULL;
}

Test(pool, threads__keep_no_page_behind_their_exit_hook)
{
	bpf_stream_init(&stream, NULL);
	unit_in_thread(check_attachment, NULL);
	check_read(2);
	cr_assert_eq(unit_pages_in_use(), 0u);
	unit_assert_sound(NULL);
}

static void *leave_with_the_last_page(void *arg)
{
	push_once(arg);
	pthread_exit(NULL);
}

Test(pool, threads__that_call_pthread_exit_leave_nothing)
{
	uint32_t i;

	bpf_stream_init(&stream, NULL);
	for (i = 0; i < 100; i++)
		unit_in_thread(leave_with_the_last_page, NULL);
	check_read(100);
	cr_assert_eq(unit_pages_in_use(), 0u);
}

/*
 * A handler that pushes while a thread gives its pages back gets a page of its
 * own. With the slot that is being emptied it would retire the same page again.
 */
static void interrupt_once(void)
{
	faults.in_page_put = NULL;
	raise(SIGUSR1);
	cr_assert_eq(handled, 1);
}

static void *give_back_interrupted(void *arg)
{
	push_once(NULL);
	check_read(1);
	faults.in_page_put = interrupt_once;
	if (arg)
		bpf_stream_thread_release();
	return NULL;
}

static void check_interrupted(void *arg)
{
	uint32_t i;

	bpf_stream_init(&stream, NULL);
	handle(SIGUSR1, push_in_handler, 0);
	for (i = 0; i < 10; i++) {
		handled = 0;
		unit_in_thread(give_back_interrupted, arg);
		cr_assert_null(faults.in_page_put);
		cr_assert_eq(handled, 1);
		cr_assert_eq(handler_result, 0);
		check_read(1);
		cr_assert_eq(unit_pages_in_use(), 0u);
		unit_assert_sound(NULL);
	}
}

Test(pool, thread_exit__a_handler_that_pushes_meanwhile_has_a_page_of_its_own)
{
	check_interrupted(NULL);
}

Test(pool, thread_release__a_handler_that_pushes_meanwhile_has_a_page_of_its_own)
{
	check_interrupted(&stream);
}

Test(pool, thread_release__may_come_at_any_time)
{
	bpf_stream_init(&stream, NULL);
	bpf_stream_thread_release();
	cr_assert_null(bse_pool_known());
	push_once(NULL);
	check_read(1);
	cr_assert_eq(unit_pages_in_use(), 1u);
	bpf_stream_thread_release();
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
	push_once(NULL);
	cr_assert_neq(bse_self.slot[bse_group(&stream)].space.page, 0u);
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 1u);
	check_read(1);
	cr_assert_eq(unit_pages_in_use(), 0u);
}

Test(pool, thread_release__takes_back_a_level_that_was_jumped_out_of)
{
	uint32_t found;

	bpf_stream_init(&stream, NULL);
	push_once(NULL);
	/* A reservation on that level begins, and never ends. */
	bse_enter(bse_group(&stream), &found);
	push_once(NULL);
	check_read(2);
	cr_assert_eq(unit_pages_in_use(), 2u);
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
	push_once(NULL);
	cr_assert_neq(bse_self.slot[bse_group(&stream)].space.page, 0u);
	check_read(1);
}

/* Signals all the time, whose handlers push; also while the thread ends. */
static int storm;

static void *end_in_a_storm(void *arg)
{
	push_once(arg);
	unit_flag_set(&storm, 1);
	unit_flag_wait(&storm, 2);
	return NULL;
}

static void count_push(int sig)
{
	(void)sig;
	if (!bpf_stream_push(&stream, "x", 1))
		__atomic_fetch_add(&handler_result, 1, __ATOMIC_RELAXED);
}

Test(pool, threads__that_end_while_handlers_push_leave_nothing)
{
	static char buf[4096];
	pthread_t thread;
	int taken = 0;
	uint32_t i;
	uint32_t k;

	bpf_stream_init(&stream, NULL);
	handle(SIGUSR1, count_push, SA_RESTART);
	handler_result = 0;
	for (i = 0; i < 300; i++) {
		unit_flag_set(&storm, 0);
		unit_start(&thread, end_in_a_storm, NULL);
		unit_flag_wait(&storm, 1);
		unit_flag_set(&storm, 2);
		/* Not joined yet: its number is valid, gone or not. */
		for (k = 0; k < 20; k++)
			(void)pthread_kill(thread, SIGUSR1);
		unit_join(thread);
		taken += bpf_stream_read(&stream, buf, sizeof(buf));
	}
	cr_assert_eq(taken, 300 + handler_result);
	cr_assert_eq(unit_pages_in_use(), 0u);
	unit_assert_sound(NULL);
}

/* ---- Threads that are cancelled or jump ------------------------------ */

#ifdef BSE_ASAN
void __asan_handle_no_return(void);
#endif

static void cancel_here(void)
{
#ifdef BSE_ASAN
	/* It does not see that cancellation leaves these frames. */
	__asan_handle_no_return();
#endif
	pthread_testcancel();
}

static void *push_until_cancelled(void *arg)
{
	push_once(arg);
	(void)bpf_stream_push(&stream, region, 3000);
	faults.in_page_get = cancel_here;
	pthread_cancel(pthread_self());
	/* Needs a page, and ends there. */
	(void)bpf_stream_push(&stream, region, 3000);
	return NULL;
}

Test(pool, threads__cancelled_in_a_reservation_cost_one_page_each)
{
	enum { THREADS = 100 };
	static char buf[THREADS * 3100];
	pthread_t thread;
	uint32_t i;
	void *ret;

	bpf_stream_init(&stream, NULL);
	for (i = 0; i < THREADS; i++) {
		unit_start(&thread, push_until_cancelled, NULL);
		cr_assert_eq(pthread_join(thread, &ret), 0);
		cr_assert_eq(ret, PTHREAD_CANCELED);
		faults.in_page_get = NULL;
	}
	/* Of each, the short message and the first long one came in. */
	cr_assert_eq(bpf_stream_read(&stream, buf, sizeof(buf)), THREADS * 3001);
	cr_assert_leq(unit_pages_in_use(), (size_t)THREADS);
	push_once(NULL);
	check_read(1);
	unit_assert_sound(NULL);
}

static void *push_for_ever(void *arg)
{
	uint32_t refused = 0;

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, arg);
	while (refused < UINT32_MAX) {
		if (bpf_stream_push(&stream, "xxxxxxxxxxxxxxxx", 16))
			refused++;
	}
	return NULL;
}

Test(pool, threads__cancelled_anywhere_cost_one_page_each)
{
	enum { THREADS = 200 };
	struct bpf_stream_options opts = { .capacity = 60000 };
	static char buf[65536];
	pthread_t thread;
	uint32_t i;
	int type;

#ifdef BSE_ASAN
	cr_skip_test("the address sanitizer does not see which frames cancellation leaves");
#endif
	bpf_stream_init(&stream, &opts);
	for (i = 0; i < THREADS; i++) {
		unit_start(&thread, push_for_ever, &type);
		while (!bpf_stream_read(&stream, buf, 1600))
			program_pause();
		cr_assert_eq(pthread_cancel(thread), 0);
		unit_join(thread);
	}
	while (bpf_stream_read(&stream, buf, sizeof(buf)))
		;
	/* A page, and the message that was in the making, in the worst case. */
	cr_assert_leq(unit_pages_in_use(), 2u * THREADS);
	for (i = 0; i < 1000; i++)
		push_once(NULL);
	check_read(1000);
}

static sigjmp_buf out;
static uint32_t jumps;

static void jump_out(int sig)
{
	(void)sig;
	jumps++;
	siglongjmp(out, 1);
}

static void raise_here(void)
{
	raise(SIGUSR1);
}

Test(pool, jumps__a_thousand_out_of_handlers_between_pushes_cost_nothing)
{
	volatile uint32_t i;

	bpf_stream_init(&stream, NULL);
	handle(SIGUSR1, jump_out, SA_NODEFER);
	for (i = 0; i < 1000; i++) {
		push_once(NULL);
		if (!sigsetjmp(out, 1))
			raise(SIGUSR1);
	}
	cr_assert_eq(jumps, 1000u);
	check_read(1000);
	cr_assert_eq(unit_pages_in_use(), 1u);
	unit_assert_sound(NULL);
}

/* So much that nothing which fills a page fits beside it. */
#define BESIDE 50u

static void push_beside(void)
{
	static char text[BESIDE];

	memset(text, 'x', sizeof(text));
	cr_assert_eq(bpf_stream_push(&stream, text, sizeof(text)), 0);
}

Test(pool, jumps__a_thousand_out_of_reservations_cost_a_page_each)
{
	volatile uint32_t i;
	volatile int ret = 0;

	bpf_stream_init(&stream, NULL);
	handle(SIGUSR1, jump_out, SA_NODEFER);
	for (i = 0; i < 1000; i++) {
		faults.in_page_get = raise_here;
		if (!sigsetjmp(out, 1)) {
			ret = bpf_stream_push(&stream, region, BSI_ELEM_MAX);
			cr_assert_fail("the push came back with %d", ret);
		}
		/* Unread, so that the next push needs another page. */
		faults.in_page_get = NULL;
		push_beside();
	}
	cr_assert_eq(jumps, 1000u);
	check_read(1000 * BESIDE);
	/* One for each jump, and those of the levels that were jumped over. */
	cr_assert_leq(unit_pages_in_use(), 1000u + BPF_STREAM_LEVELS);
	for (i = 0; i < 1000; i++)
		push_once(NULL);
	check_read(1000);
	unit_assert_sound(NULL);
	/* Other threads have all their levels. */
	unit_in_thread(push_once, NULL);
	check_read(1);
}

/* In the handler: a push on the next level, then away. */
static void push_and_jump(int sig)
{
	faults.in_page_get = NULL;
	push_beside();
	jump_out(sig);
}

Test(pool, jumps__out_of_handlers_that_pushed_keep_these_messages)
{
	volatile uint32_t i;

	bpf_stream_init(&stream, NULL);
	handle(SIGUSR1, push_and_jump, SA_NODEFER);
	for (i = 0; i < 1000; i++) {
		faults.in_page_get = raise_here;
		if (!sigsetjmp(out, 1))
			(void)bpf_stream_push(&stream, region, BSI_ELEM_MAX);
	}
	cr_assert_eq(jumps, 1000u);
	check_read(1000 * BESIDE);
	cr_assert_leq(unit_pages_in_use(), 1000u + BPF_STREAM_LEVELS);
	unit_assert_sound(NULL);
}
