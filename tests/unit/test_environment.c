/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The vocabulary of [6a]: what every environment must keep, whatever it is made
 * of. Only words are used here, and of what is built in just a look at whether
 * somebody sleeps for a lock; compile with another BPF_STREAM_ENV_HEADER to
 * examine that one.
 *
 * Seen to fail with: read-modify-writes made of a load and a store; a
 * compare-exchange that does not tell what it found; leave that does not leave,
 * or only counts down; slots shared by threads; a slot that gets its room
 * before its page, or its page before the count, or loses them so; a page too
 * many, or too few; one that is counted first and marked in its slot later,
 * with signals let in; a capacity that cannot be reached; a fit check whose sum
 * wraps; a detach that refunds; a lock without owner, without wake-up, without
 * memory of its waiters, that a try always gets, that loses errno or does not
 * count forks; cancellation left on in it, or off behind it or behind a failed
 * try; a shared child that may write; a write of the first piece only, or one
 * that loses errno; memory pieces that do not move on; messages not added, nor
 * what is lost; a figure that is set by add; a copy or fill of one byte more;
 * a partial page with the room of the one before; a publish that trusts what
 * was seen.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_POOL_BYTES (64u * 4096u)
#include "bpf_stream.h"
#include "unit.h"
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/time.h>

enum { MANY = 100000 };

/* ---- Atomics --------------------------------------------------------- */

Test(environment, u32__every_word_does_what_its_name_says)
{
	bse_u32 v;
	uint32_t old;

	bse_u32_store_relaxed(&v, 5);
	cr_assert_eq(bse_u32_load_relaxed(&v), 5u);
	cr_assert_eq(bse_u32_load_acquire(&v), 5u);
	cr_assert_eq(bse_u32_fetch_add_acq_rel(&v, 12), 5u);
	cr_assert_eq(bse_u32_fetch_sub_acq_rel(&v, 16), 17u);
	cr_assert_eq(bse_u32_load_relaxed(&v), 1u);
	/* Around zero, as a page's count goes. */
	cr_assert_eq(bse_u32_fetch_sub_acq_rel(&v, 3), 1u);
	cr_assert_eq(bse_u32_fetch_add_acq_rel(&v, 2), UINT32_MAX - 1);
	cr_assert_eq(bse_u32_load_relaxed(&v), 0u);
	cr_assert_eq(bse_u32_xchg_release(&v, 9), 0u);
	cr_assert_eq(bse_u32_load_relaxed(&v), 9u);

	old = 8;
	cr_assert_not(bse_u32_cas_relaxed(&v, &old, 1));
	cr_assert_eq(old, 9u);
	cr_assert(bse_u32_cas_relaxed(&v, &old, 1));
	cr_assert_eq(bse_u32_load_relaxed(&v), 1u);
	old = 0;
	cr_assert_not(bse_u32_cas_acquire(&v, &old, 2));
	cr_assert_eq(old, 1u);
	cr_assert(bse_u32_cas_acquire(&v, &old, 2));
	cr_assert_eq(bse_u32_load_relaxed(&v), 2u);
	old = 1;
	cr_assert_not(bse_u32_cas_acq_rel(&v, &old, 4));
	cr_assert_eq(old, 2u);
	cr_assert(bse_u32_cas_acq_rel(&v, &old, 4));
	cr_assert_eq(bse_u32_fetch_or_acq_rel(&v, 6), 4u);
	cr_assert_eq(bse_u32_load_relaxed(&v), 6u);
	bse_u32_store_release(&v, 1);
	cr_assert_eq(bse_u32_load_relaxed(&v), 1u);
}

Test(environment, u64__every_word_does_what_its_name_says)
{
	const uint64_t high = UINT64_C(1) << 40;
	bse_u64 v = { 2 * high + 5 };
	uint64_t old;

	cr_assert_eq(bse_u64_load_relaxed(&v), 2 * high + 5);
	cr_assert_eq(bse_u64_load_acquire(&v), 2 * high + 5);
	cr_assert_eq(bse_u64_fetch_sub_relaxed(&v, 4), 2 * high + 5);
	cr_assert_eq(bse_u64_fetch_and_acquire(&v, 0xff), 2 * high + 1);
	cr_assert_eq(bse_u64_load_relaxed(&v), 1u);

	old = high + 1;
	cr_assert_not(bse_u64_cas_acquire(&v, &old, 3));
	cr_assert_eq(old, 1u);
	cr_assert(bse_u64_cas_acquire(&v, &old, high));
	old = 0;
	cr_assert_not(bse_u64_cas_release(&v, &old, 3));
	cr_assert_eq(old, high);
	cr_assert(bse_u64_cas_release(&v, &old, 3));
	cr_assert_eq(bse_u64_load_relaxed(&v), 3u);
	old = 2;
	cr_assert_not(bse_u64_cas_acq_rel(&v, &old, high));
	cr_assert_eq(old, 3u);
	cr_assert(bse_u64_cas_acq_rel(&v, &old, high));
	cr_assert_eq(bse_u64_fetch_add_release(&v, 5), high);
	cr_assert_eq(bse_u64_fetch_or_acq_rel(&v, 2 * high + 2), high + 5);
	cr_assert_eq(bse_u64_load_relaxed(&v), 3 * high + 7);
}

Test(environment, ptr__every_word_does_what_its_name_says)
{
	int a;
	int b;
	bse_ptr v;
	void *old = &b;

	bse_ptr_store_relaxed(&v, &a);
	cr_assert_eq(bse_ptr_load_relaxed(&v), &a);
	cr_assert_eq(bse_ptr_load_acquire(&v), &a);
	cr_assert_not(bse_ptr_cas_release(&v, &old, &b));
	cr_assert_eq(old, &a);
	cr_assert(bse_ptr_cas_release(&v, &old, &b));
	cr_assert_eq(bse_ptr_load_relaxed(&v), &b);
}

/* What two threads change at the same time. */
static struct {
	bse_u32 u32[4];
	bse_figure figure;
	bse_u64 u64[3];
	bse_ptr ptr;
	char place[2 * MANY + 1];
} both;

static void *change_both(void *arg)
{
	uint32_t i;
	uint32_t old32;
	uint64_t old64;
	void *old;

	(void)arg;
	for (i = 0; i < MANY; i++) {
		bse_u32_fetch_add_acq_rel(&both.u32[0], 1);
		bse_u32_fetch_sub_acq_rel(&both.u32[1], 1);
		for (old32 = 0; !bse_u32_cas_relaxed(&both.u32[2], &old32, old32 + 1);)
			;
		for (old32 = 0; !bse_u32_cas_acquire(&both.u32[3], &old32, old32 + 1);)
			;
		bse_figure_add(&both.figure, UINT32_MAX);
		bse_u64_fetch_sub_relaxed(&both.u64[0], UINT32_MAX);
		for (old64 = 0; !bse_u64_cas_acquire(&both.u64[1], &old64, old64 + UINT32_MAX);)
			;
		for (old64 = 0; !bse_u64_cas_release(&both.u64[2], &old64, old64 + UINT32_MAX);)
			;
		for (old = both.place; !bse_ptr_cas_release(&both.ptr, &old, (char *)old + 1);)
			;
	}
	return NULL;
}

Test(environment, figures_and_own__every_word_does_what_its_name_says)
{
	bse_figure figure;
	bse_own own;

	bse_own_set(&own, UINT32_MAX);
	cr_assert_eq(bse_own_get(&own), UINT32_MAX);
	bse_figure_set(&figure, UINT64_MAX);
	cr_assert_eq(bse_figure_get(&figure), UINT64_MAX);
	cr_assert_eq(bse_figure_add(&figure, 3), UINT64_MAX);
	cr_assert_eq(bse_figure_get(&figure), 2u);
}

Test(environment, copy_and_fill__change_these_bytes_and_no_other)
{
	volatile size_t none = 0;
	char to[6] = "abcde";

	bse_copy(to + 1, "XYZ", 2);
	cr_assert_str_eq(to, "aXYde");
	bse_fill(to + 2, 'o', 2);
	cr_assert_str_eq(to, "aXooe");
	bse_copy(to, "--", none);
	bse_fill(to, '-', none);
	cr_assert_str_eq(to, "aXooe");
}

Test(environment, atomics__two_threads_lose_no_change)
{
	const uint64_t sum = UINT64_C(2) * MANY * UINT32_MAX;
	pthread_t thread[2];

	bse_ptr_store_relaxed(&both.ptr, both.place);
	unit_start(&thread[0], change_both, NULL);
	unit_start(&thread[1], change_both, NULL);
	unit_join(thread[0]);
	unit_join(thread[1]);
	cr_assert_eq(bse_u32_load_relaxed(&both.u32[0]), 2u * MANY);
	cr_assert_eq(bse_u32_load_relaxed(&both.u32[1]), 0u - 2u * MANY);
	cr_assert_eq(bse_u32_load_relaxed(&both.u32[2]), 2u * MANY);
	cr_assert_eq(bse_u32_load_relaxed(&both.u32[3]), 2u * MANY);
	cr_assert_eq(bse_figure_get(&both.figure), sum);
	cr_assert_eq(bse_u64_load_relaxed(&both.u64[0]), 0 - sum);
	cr_assert_eq(bse_u64_load_relaxed(&both.u64[1]), sum);
	cr_assert_eq(bse_u64_load_relaxed(&both.u64[2]), sum);
	cr_assert_eq(bse_ptr_load_relaxed(&both.ptr), both.place + 2 * MANY);
}

static bse_u32 token;

static void *take_tokens(void *arg)
{
	uint32_t *taken = arg;
	uint32_t i;

	for (i = 0; i < MANY; i++)
		*taken += bse_u32_xchg_release(&token, 0);
	return NULL;
}

Test(environment, xchg__gives_each_value_to_one_thread)
{
	pthread_t thread;
	uint32_t other = 0;
	uint32_t mine = 0;
	uint32_t put = 0;
	uint32_t i;

	unit_start(&thread, take_tokens, &other);
	for (i = 1; i <= MANY; i++) {
		mine += bse_u32_xchg_release(&token, i);
		put += i;
	}
	unit_join(thread);
	mine += bse_u32_xchg_release(&token, 0);
	cr_assert_eq(mine + other, put);
}

static bse_u64 round_trip;
static uint64_t payload;

static void *answer_rounds(void *arg)
{
	uint64_t *wrong = arg;
	uint64_t i;
	uint64_t old;

	for (i = 1; i < MANY; i += 2) {
		while (bse_u64_load_acquire(&round_trip) != i)
			sched_yield();
		*wrong += payload != i;
		payload = i + 1;
		old = i;
		*wrong += !bse_u64_cas_release(&round_trip, &old, i + 1);
	}
	return NULL;
}

Test(environment, release_and_acquire__hand_plain_memory_over)
{
	pthread_t thread;
	uint64_t wrong = 0;
	uint64_t bad = 0;
	uint64_t i;
	uint64_t old;

	unit_start(&thread, answer_rounds, &bad);
	for (i = 0; i < MANY; i += 2) {
		while (bse_u64_load_acquire(&round_trip) != i)
			sched_yield();
		wrong += payload != i;
		payload = i + 1;
		old = i;
		wrong += !bse_u64_cas_release(&round_trip, &old, i + 1);
	}
	unit_join(thread);
	cr_assert_eq(wrong + bad, 0u);
	cr_assert_eq(payload, (uint64_t)MANY);
}

/* ---- Levels and quota ------------------------------------------------ */

Test(environment, enter__gives_each_level_its_slot)
{
	struct bse_slot *slot[BPF_STREAM_LEVELS + 3];
	uint32_t depth[BPF_STREAM_LEVELS + 3];
	uint32_t round;
	uint32_t i;
	uint32_t j;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < BPF_STREAM_LEVELS + 3; i++) {
			struct bse_slot *here = bse_enter(0, &depth[i]);

			if (round)
				cr_assert_eq(here, slot[i]);
			slot[i] = here;
			cr_assert_eq(here != NULL, i < BPF_STREAM_LEVELS);
			for (j = 0; here && j < i; j++)
				cr_assert_neq(here, slot[j]);
		}
		while (i-- > 0)
			bse_leave(depth[i]);
	}
}

static void *enter_here(void *arg)
{
	struct bse_slot **slot = arg;
	uint32_t depth;

	*slot = bse_enter(0, &depth);
	bse_leave(depth);
	return NULL;
}

Test(environment, enter__gives_each_thread_its_slots)
{
	uint32_t depth;
	struct bse_slot *mine = bse_enter(0, &depth);
	struct bse_slot *other = NULL;

	unit_in_thread(enter_here, &other);
	bse_leave(depth);
	cr_assert_not_null(mine);
	cr_assert_not_null(other);
	cr_assert_neq(mine, other);
}

Test(environment, leave__goes_back_over_levels_that_were_jumped_out_of)
{
	struct bse_slot *slot;
	uint32_t depth;
	uint32_t inner;
	uint32_t i;

	slot = bse_enter(0, &depth);
	for (i = 0; i < BPF_STREAM_LEVELS + 3; i++)
		bse_enter(0, &inner);
	bse_leave(depth);
	cr_assert_eq(bse_enter(0, &depth), slot);
}

/* In a process of its own: a function between two stops. */
static pid_t trace(void (*fn)(void *), void *arg)
{
	int status;
	pid_t pid = unit_fork();

	if (!pid) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(1);
		raise(SIGSTOP);
		fn(arg);
		raise(SIGSTOP);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		cr_skip_test("processes here may not be traced");
	cr_assert(WIFSTOPPED(status));
	cr_assert_eq(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL), 0);
	return pid;
}

/* One instruction; false if it was the last: then the process is gone. */
static bool trace_step(pid_t pid)
{
	int status;

	cr_assert_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSTOPPED(status));
	if (WSTOPSIG(status) != SIGSTOP)
		return true;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return false;
}

static void *shared_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(p, MAP_FAILED);
	return p;
}

struct change {
	struct bse_slot slot;
	struct bse_space space;
};

static void take_page(void *arg)
{
	struct change *change = arg;

	bse_slot_take(&change->slot, &change->space);
}

static void leave_page(void *arg)
{
	struct change *change = arg;

	change->space = bse_slot_leave(&change->slot);
}

static bool space_equals(const struct bse_space *a, const struct bse_space *b)
{
	return a->page == b->page && a->room == b->room && a->given == b->given;
}

/*
 * Goes through @move instruction by instruction; any could be the last. The
 * slot has room only as a whole, and the page never without its count.
 */
static void step_through(void (*move)(void *), struct change *change, const struct bse_space *full)
{
	struct bse_space now;
	pid_t pid = trace(move, change);

	while (trace_step(pid)) {
		now = change->slot.space;
		cr_assert(!now.room || space_equals(&now, full), "room %u in page %u, %u given",
			  now.room, now.page, now.given);
		cr_assert(!now.page || (now.page == full->page && now.given >= full->given),
			  "page %u with %u given", now.page, now.given);
	}
}

Test(environment, slot_take_and_leave__keep_the_slot_usable_after_every_instruction)
{
	const struct bse_space full = { .page = 5, .room = 100, .given = 7 };
	const struct bse_space none = { .page = 0 };
	struct change *change = shared_memory(sizeof(*change));

	*change = (struct change){ .space = full };
	step_through(take_page, change, &full);
	cr_assert(space_equals(&change->slot.space, &full));
	change->space = none;
	step_through(leave_page, change, &full);
	cr_assert(space_equals(&change->slot.space, &none));
	cr_assert(space_equals(&change->space, &full));
}

/* The answer stands in the slot, too. */
static bool new_slot_may_keep(void)
{
	struct bse_slot slot = { .keeps = 0 };
	bool may = bse_may_keep(&slot);

	cr_assert_eq(slot.keeps, may ? 1u : 0u);
	cr_assert_eq(slot.space.page, 0u);
	return may;
}

Test(environment, may_keep__is_a_quota_of_a_quarter_of_the_pages)
{
	size_t n = 0;
	bse_page page;

	cr_assert_eq(bse_page_get(&page), 0);
	while (n <= bse_pool_pages() && new_slot_may_keep())
		n++;
	cr_assert_eq(n, bse_pool_pages() / 4);
	cr_assert_not(new_slot_may_keep());
	bse_unkeep(&(struct bse_slot){ .keeps = 1 });
	cr_assert(new_slot_may_keep());
	cr_assert_not(new_slot_may_keep());
	/* Not of a slot that keeps none, nor below nothing. */
	bse_unkeep(&(struct bse_slot){ .keeps = 0 });
	cr_assert_not(new_slot_may_keep());
	for (; n > 0; n--)
		bse_unkeep(&(struct bse_slot){ .keeps = 1 });
	bse_unkeep(&(struct bse_slot){ .keeps = 1 });
	cr_assert_eq(bse_u32_load_relaxed(&bse_pool()->kept), 0u);
}

/* How many slots more may keep a page. */
static size_t may_keep_left(void)
{
	size_t n = 0;
	size_t i;

	while (n <= bse_pool_pages() && new_slot_may_keep())
		n++;
	for (i = 0; i < n; i++)
		bse_unkeep(&(struct bse_slot){ .keeps = 1 });
	return n;
}

static void keep(void *slot)
{
	bse_may_keep(slot);
}

/*
 * Another process counts, in the same pool, after each instruction. A jump out
 * of there may cost the count, but never the quota.
 */
Test(environment, may_keep__never_counts_more_than_the_slot_says)
{
	const size_t bytes = 16 * 4096;
	struct bse_slot *slot = shared_memory(sizeof(*slot));
	bse_page page;
	size_t all;
	pid_t pid;

	cr_assert_eq(bpf_stream_pool_use(shared_memory(bytes), bytes, 0), 0);
	cr_assert_eq(bse_page_get(&page), 0);
	all = may_keep_left();
	pid = trace(keep, slot);
	while (trace_step(pid))
		cr_assert_geq(may_keep_left(), all - slot->keeps);
	cr_assert_eq(slot->keeps, 1u);
	cr_assert_eq(may_keep_left(), all - 1);
}

Test(environment, access__is_given_with_a_pool_of_its_own)
{
	cr_assert_eq(bse_access(), 0);
}

static void child_has(void *access)
{
	bse_page page;

	UNIT_CHILD_WANTS(bse_access() == *(const int *)access);
	UNIT_CHILD_WANTS(bse_page_get(&page) == bse_access());
}

static char region[16 * 4096] __attribute__((__aligned__(4096)));

Test(environment, access__is_given_to_a_child_with_a_private_pool)
{
	int access = 0;

	cr_assert_eq(bpf_stream_pool_use(region, sizeof(region), 0), 0);
	unit_in_child(child_has, &access);
}

Test(environment, access__is_refused_to_a_child_of_a_shared_pool)
{
	int access = -EPERM;

	cr_assert_eq(bpf_stream_pool_use(region, sizeof(region), BPF_STREAM_POOL_SHARED), 0);
	cr_assert_eq(bse_access(), 0);
	unit_in_child(child_has, &access);
	cr_assert_eq(bse_access(), 0);
}

/* ---- Pages and links ------------------------------------------------- */

Test(environment, page_get__gives_every_page_once_and_then_none)
{
	static bool seen[4096];
	size_t n;
	bse_page page;

	for (n = 0; !bse_page_get(&page); n++) {
		cr_assert_neq(page, 0u);
		cr_assert_lt(page, sizeof(seen));
		cr_assert_not(seen[page]);
		seen[page] = true;
		cr_assert_eq(bse_u32_load_relaxed(bse_page_ref(page)), 0u);
	}
	cr_assert_eq(n, bse_pool_pages());
	cr_assert_eq(bse_page_get(&page), -ENOMEM);
}

Test(environment, page_put__makes_a_page_available)
{
	bse_page last = 0;
	bse_page page;

	while (!bse_page_get(&page))
		last = page;
	bse_page_put(last);
	cr_assert_eq(bse_page_get(&page), 0);
	cr_assert_eq(page, last);
	cr_assert_eq(bse_page_get(&page), -ENOMEM);
}

Test(environment, pages__are_memory_of_their_own)
{
	bse_page page[8];
	unsigned int i;
	size_t k;

	for (i = 0; i < 8; i++) {
		char *at;

		cr_assert_eq(bse_page_get(&page[i]), 0);
		at = (char *)bse_elem_of(bse_link_at(page[i], 0));
		bse_unpoison(at, BPF_STREAM_PAGE_SIZE);
		memset(at, (int)i + 1, BPF_STREAM_PAGE_SIZE);
		bse_u32_store_relaxed(bse_page_ref(page[i]), i);
	}
	for (i = 0; i < 8; i++) {
		const char *at = (const char *)bse_elem_of(bse_link_at(page[i], 0));

		for (k = 0; k < BPF_STREAM_PAGE_SIZE; k++)
			cr_assert_eq(at[k], (char)(i + 1));
		cr_assert_eq(bse_u32_load_relaxed(bse_page_ref(page[i])), i);
	}
}

Test(environment, links__name_every_place_of_every_page)
{
	bse_page page;
	uint32_t offset;

	while (!bse_page_get(&page)) {
		const char *base = (const char *)bse_elem_of(bse_link_at(page, 0));

		cr_assert_eq((uintptr_t)base % 8, 0u);
		for (offset = 0; offset < BPF_STREAM_PAGE_SIZE; offset += 8) {
			bse_link link = bse_link_at(page, offset);

			cr_assert_neq(link, 0u);
			cr_assert_eq(bse_page_of(link), page);
			cr_assert_eq((const char *)bse_elem_of(link), base + offset);
		}
	}
}

Test(environment, next_of__is_what_set_next_said)
{
	bse_link a;
	bse_link b;
	bse_page page;

	cr_assert_eq(bse_page_get(&page), 0);
	a = bse_link_at(page, 0);
	b = bse_link_at(page, 16);
	bse_unpoison(bse_elem_of(a), 32);
	bse_set_next(a, b);
	bse_set_next(b, 0);
	cr_assert_eq(bse_elem_next(bse_elem_of(a)), b);
	cr_assert_eq(bse_elem_next(bse_elem_of(b)), 0u);
	cr_assert_eq(bse_elem_of(a)->node, b);
}

Test(environment, elem__is_what_set_said)
{
	struct bpf_stream_elem *elem;
	bse_page page;

	cr_assert_eq(bse_page_get(&page), 0);
	elem = bse_elem_of(bse_link_at(page, 0));
	bse_unpoison(elem, 32);
	bse_elem_set(elem, BPF_STREAM_PAGE_SIZE - 8, BSE_ELEM_ENDS);
	cr_assert_eq(bse_elem_len(elem), BPF_STREAM_PAGE_SIZE - 8);
	cr_assert(bse_elem_ends(elem));
	cr_assert_eq(bse_elem_text(elem), elem->str);
	bse_elem_set(elem, 1, 0);
	cr_assert_eq(bse_elem_len(elem), 1u);
	cr_assert_not(bse_elem_ends(elem));
	cr_assert_eq(bse_prefix_bytes(BSE_ELEM_PLAIN | BSE_ELEM_ENDS | BSE_ELEM_GOES_ON), 0u);
	cr_assert_eq(bse_prefix_bytes(BSE_ELEM_GROUP), 24u);
	bse_elem_set(elem, 1, BSE_ELEM_GROUP);
	cr_assert_eq(bse_elem_text(elem), elem->str + 24);
	cr_assert_eq(bse_elem_len(elem), 1u);
}

Test(environment, partial__pages_come_back_as_they_were_put)
{
	const uint64_t denied = unit_pool().denied;
	struct bse_space space[2];
	struct bse_space got;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		cr_assert_eq(bse_page_get(&space[i].page), 0);
		space[i].room = 256 + 8 * i;
		space[i].given = 1 + i;
		cr_assert(bse_partial_put(1, &space[i]));
	}
	cr_assert_not(bse_partial_get(0, &got));
	for (; i > 0; i--) {
		cr_assert(bse_partial_get(1, &got));
		cr_assert_eq(got.page, space[i - 1].page);
		cr_assert_eq(got.room, space[i - 1].room);
		cr_assert_eq(got.given, space[i - 1].given);
	}
	cr_assert_not(bse_partial_get(1, &got));
	cr_assert_eq(unit_pool().denied, denied);
	cr_assert_eq(bse_denied(), -ENOMEM);
	cr_assert_eq(unit_pool().denied, denied + 1);
}

static void *get_and_put(void *arg)
{
	bse_page page[3];
	uint32_t *bad = arg;
	uint32_t i;
	uint32_t k;

	for (i = 0; i < MANY / 10; i++) {
		for (k = 0; k < 3; k++) {
			if (bse_page_get(&page[k]))
				(*bad)++;
			else if (bse_u32_fetch_add_acq_rel(bse_page_ref(page[k]), 1))
				(*bad)++;
		}
		for (k = 0; k < 3; k++) {
			bse_u32_fetch_sub_acq_rel(bse_page_ref(page[k]), 1);
			bse_page_put(page[k]);
		}
	}
	return NULL;
}

Test(environment, pages__belong_to_one_thread_at_a_time)
{
	pthread_t thread[4];
	uint32_t bad[4] = { 0 };
	bse_page page;
	size_t n;
	uint32_t i;

	for (i = 0; i < 4; i++)
		unit_start(&thread[i], get_and_put, &bad[i]);
	for (i = 0; i < 4; i++) {
		unit_join(thread[i]);
		cr_assert_eq(bad[i], 0u);
	}
	for (n = 0; !bse_page_get(&page); n++)
		;
	cr_assert_eq(n, bse_pool_pages());
}

/* ---- Log ------------------------------------------------------------- */

static bool fits(const struct bpf_stream *s, uint32_t bytes)
{
	return bse_log_has_room(s, bse_log_seen(s), bytes);
}

Test(environment, log__is_detached_as_a_whole_and_pending_stays)
{
	struct bse_chain a = { 0 };
	struct bse_chain b = { 0 };
	size_t pending;
	struct bpf_stream s;

	unit_chain_add(&a, 0, 1);
	unit_chain_add(&b, 1, 1);
	unit_make_stream(&s, 8);
	cr_assert_eq(bse_log_detach(&s, &pending), 0u);
	cr_assert_eq(pending, 0u);
	cr_assert_eq(unit_publish(&s, &a), 0);
	cr_assert_eq(unit_publish(&s, &b), 0);
	cr_assert_eq(bse_log_detach(&s, &pending), b.newest);
	cr_assert_eq(pending, 8u);
	cr_assert_eq(bse_log_detach(&s, &pending), 0u);
	cr_assert_eq(pending, 8u);
	cr_assert_eq(unit_publish(&s, &a), -ENOSPC);
	bse_log_refund(&s, 4);
	cr_assert_eq(unit_publish(&s, &a), 0);
	cr_assert_eq(bse_log_detach(&s, &pending), a.newest);
}

Test(environment, log__detach_keeps_pending_until_the_refund)
{
	struct bse_chain a = { 0 };
	size_t pending;
	struct bpf_stream s;

	unit_chain_add(&a, 0, 2);
	unit_make_stream(&s, 8);
	cr_assert_eq(bse_log_pending(&s), 0u);
	cr_assert_eq(unit_publish(&s, &a), 0);
	cr_assert_eq(bse_log_pending(&s), 8u);
	cr_assert_eq(bse_log_detach(&s, &pending), a.newest);
	cr_assert_eq(pending, 8u);
	cr_assert_eq(bse_log_pending(&s), 8u);
	bse_log_refund(&s, 5);
	cr_assert_eq(bse_log_pending(&s), 3u);
	cr_assert_eq(bse_log_detach(&s, &pending), 0u);
	cr_assert_eq(pending, 3u);
	bse_log_refund(&s, 3);
	cr_assert_eq(bse_log_pending(&s), 0u);
}

Test(environment, log__refund_leaves_the_list)
{
	struct bse_chain a = { 0 };
	struct bpf_stream s;
	size_t pending;

	unit_chain_add(&a, 0, 2);
	unit_make_stream(&s, 8);
	cr_assert_eq(unit_publish(&s, &a), 0);
	bse_log_refund(&s, 8);
	cr_assert_eq(bse_log_pending(&s), 0u);
	cr_assert_eq(bse_log_detach(&s, &pending), a.newest);
}

Test(environment, stream__has_the_group_of_its_options)
{
	struct bpf_stream s = { .options = { .group = 3 } };

	cr_assert_eq(bse_capacity(&s), BPF_STREAM_DEFAULT_CAPACITY);
	cr_assert_eq(bse_group(&s), 2u);
	bse_consumed_set(&s, 7);
	cr_assert_eq(bse_consumed_get(&s), 7u);
}

Test(environment, log__publish_tells_if_others_were_faster)
{
	struct bpf_stream_elem *elem;
	struct bse_chain a = { 0 };
	struct bpf_stream s;
	bse_seen seen;

	unit_chain_add(&a, 0, 1);
	elem = bse_elem_of(a.oldest);
	unit_make_stream(&s, 10);
	seen = bse_log_seen(&s);
	cr_assert(bse_log_try_publish(&s, &seen, a.newest, elem, 6, false));
	cr_assert(!bse_log_try_publish(&s, &seen, a.newest, elem, 4, false), "what it saw is old");
	cr_assert_eq(bse_log_pending(&s), 6u);
	cr_assert_eq(seen, bse_log_seen(&s));
	cr_assert(!bse_log_has_room(&s, seen, 5));
	cr_assert(bse_log_try_publish(&s, &seen, a.newest, elem, 4, false));
	cr_assert_eq(bse_log_pending(&s), 10u);
}

Test(environment, log__room_is_told_whatever_else_is_to_do)
{
	struct bpf_stream s;

	unit_make_stream(&s, 10);
	cr_assert_eq(bse_log_room(&s, bse_log_seen(&s), 10), 0);
	cr_assert_eq(bse_log_room(&s, bse_log_seen(&s), 11), -ENOSPC);
	bse_note_refusal(&s, BPF_STREAM_REFUSED_FULL, 1, 1);
	cr_assert_not(fits(&s, 1), "there is something to tell");
	cr_assert_eq(bse_log_room(&s, bse_log_seen(&s), 10), 0);
	s.log.bse_v |= BSE_LOG_READER_WAITS;
	cr_assert_eq(bse_log_room(&s, bse_log_seen(&s), 10), 0);
	bpf_stream_close(&s);
	cr_assert_eq(bse_log_room(&s, bse_log_seen(&s), 1), -EPIPE);
	cr_assert_eq(bse_reader_done(&s, 0), -ESHUTDOWN);
	cr_assert_eq(bse_reader_done(&s, 5), 5);
}

/* Who published takes care of sleepers, if there were any. */
Test(environment, published__wakes_who_waits)
{
	struct bpf_stream s;
	uint32_t key;

	unit_make_stream(&s, 10);
	key = bse_sleep_key(&s.readers);
	bse_published(&s, 0);
	cr_assert_eq(bse_u32_load_relaxed(&s.readers), key);
	bse_published(&s, BSE_LOG_READER_WAITS);
	cr_assert_neq(bse_u32_load_relaxed(&s.readers), key);
	cr_assert_neq(bse_sleep_key(&s.readers), key);
}

Test(environment, news__open_the_gate_when_they_are_told)
{
	struct bse_chain a = { 0 };
	struct bpf_stream s;
	struct bse_news news;
	uint64_t lost;

	unit_make_stream(&s, 10);
	bse_news_get(&s, &news);
	cr_assert_eq(news.flags, 0u);
	cr_assert(fits(&s, 1));
	bse_note_refusal(&s, BPF_STREAM_REFUSED_FULL, 3, 1);
	bse_news_get(&s, &news);
	cr_assert_eq(news.flags, BSE_ELEM_LOST);
	cr_assert_eq(bsi_elem_add(&a, BSE_MIXED, "x", 1, news.flags | BSE_ELEM_ENDS), 0);
	bse_news_write(&s, &news, bse_elem_of(a.newest));
	memcpy(&lost, bse_elem_of(a.newest)->str, sizeof(lost));
	cr_assert_eq(lost, 3u);
	cr_assert_not(fits(&s, 1));
	bse_news_told(&s, &news);
	cr_assert(fits(&s, 1));
	s.place.offset = 7;
	bse_place_reset(&s);
	cr_assert_eq(s.place.offset, 0u);
}

Test(environment, log__capacity_is_exact)
{
	size_t pending;
	struct bse_chain a = { 0 };
	struct bpf_stream s;

	unit_chain_add(&a, 0, 1);
	unit_make_stream(&s, 10);
	cr_assert(fits(&s, 0));
	cr_assert(fits(&s, 10));
	cr_assert_not(fits(&s, 11));
	cr_assert_eq(bse_capacity(&s), 10u);
	a.bytes = 11;
	cr_assert_eq(unit_publish(&s, &a), -ENOSPC);
	cr_assert_eq(bse_log_detach(&s, &pending), 0u);
	a.bytes = 10;
	cr_assert_eq(unit_publish(&s, &a), 0);
	cr_assert(fits(&s, 0));
	cr_assert_not(fits(&s, 1));
}

Test(environment, log__holds_the_largest_capacity)
{
	size_t pending;
	struct bse_chain a = { 0 };
	struct bpf_stream s;

	unit_chain_add(&a, 0, 1);
	a.bytes = BPF_STREAM_CAPACITY_LIMIT;
	unit_make_stream(&s, BPF_STREAM_CAPACITY_LIMIT);
	cr_assert_eq(unit_publish(&s, &a), 0);
	cr_assert_eq(bse_log_pending(&s), (size_t)BPF_STREAM_CAPACITY_LIMIT);
	cr_assert_not(fits(&s, BPF_STREAM_CAPACITY_LIMIT));
	cr_assert_not(fits(&s, 1));
	cr_assert_eq(unit_publish(&s, &a), -ENOSPC);
	cr_assert_eq(bse_log_detach(&s, &pending), a.newest);
	bse_log_refund(&s, BPF_STREAM_CAPACITY_LIMIT);
	cr_assert_eq(bse_log_pending(&s), 0u);
}

Test(environment, log__does_not_fit_what_is_larger_than_any_number)
{
	struct bse_chain a = { 0 };
	struct bpf_stream s;
	bse_seen seen;
	size_t over;

	unit_chain_add(&a, 0, 1);
	unit_make_stream(&s, BPF_STREAM_CAPACITY_LIMIT);
	cr_assert_eq(unit_publish(&s, &a), 0);
	for (over = 0; over < 8; over++)
		cr_assert_eq(bsi_capacity_check(&s, SIZE_MAX - over, &seen), -EINVAL);
}

/* Writers of one log; every element is theirs, and none is given back. */
static struct {
	struct bpf_stream s;
	int done;
} shared;

static void *publish_many(void *arg)
{
	uint32_t me = *(const uint32_t *)arg;
	struct bse_chain chain;
	uint32_t i;

	for (i = 0; i < 5000; i++) {
		chain = (struct bse_chain){ 0 };
		unit_chain_add(&chain, me << 16 | i, 1);
		cr_assert_eq(unit_publish(&shared.s, &chain), 0);
	}
	__atomic_fetch_add(&shared.done, 1, __ATOMIC_RELEASE);
	return NULL;
}

Test(environment, log__two_writers_and_a_reader_lose_nothing)
{
	pthread_t thread[2];
	uint32_t me[2] = { 0, 1 };
	uint32_t next[2] = { 0, 0 };
	uint32_t number;
	bse_link link;
	bool last = false;

	unit_make_stream(&shared.s, BPF_STREAM_CAPACITY_LIMIT);
	unit_start(&thread[0], publish_many, &me[0]);
	unit_start(&thread[1], publish_many, &me[1]);
	while (!last) {
		last = __atomic_load_n(&shared.done, __ATOMIC_ACQUIRE) == 2;
		link = bsi_list_reverse(unit_detach(&shared.s));
		for (; link; link = bse_elem_next(bse_elem_of(link))) {
			number = unit_number(link);
			cr_assert_eq(number & 0xffff, next[number >> 16]++);
			bse_log_refund(&shared.s, 4);
		}
	}
	unit_join(thread[0]);
	unit_join(thread[1]);
	cr_assert_eq(next[0], 5000u);
	cr_assert_eq(next[1], 5000u);
	cr_assert_eq(bse_log_pending(&shared.s), 0u);
}

/* ---- Stages ---------------------------------------------------------- */

Test(environment, stage__holds_a_chain)
{
	struct bpf_stream_stage ss = { 0 };
	struct bse_chain chain = bse_stage_load(&ss);

	cr_assert_eq(chain.newest, 0u);
	cr_assert_eq(chain.bytes, 0u);
	cr_assert_eq(chain.messages, 0u);
	unit_chain_add(&chain, 0, 3);
	chain.messages = 2;
	bse_stage_store(&ss, &chain);
	chain = bse_stage_load(&ss);
	cr_assert_eq(unit_number(chain.newest), 2u);
	cr_assert_eq(chain.bytes, 12u);
	chain = bse_stage_whole(&ss);
	cr_assert_eq(unit_number(chain.newest), 2u);
	cr_assert_eq(unit_number(chain.oldest), 0u);
	cr_assert_eq(chain.bytes, 12u);
	cr_assert_eq(chain.messages, 2u);
}

/* ---- Lock ------------------------------------------------------------ */

static struct bpf_stream locked;
static uint64_t guarded;
static int step;

static void *lock_many(void *arg)
{
	uint32_t i;

	for (i = 0; i < MANY; i++) {
		if (arg && i % 2) {
			while (bse_lock(&locked.lock, false))
				sched_yield();
		} else if (bse_lock(&locked.lock, true)) {
			return NULL;
		}
		guarded++;
		bse_unlock(&locked.lock);
	}
	return NULL;
}

Test(environment, lock__lets_one_in_at_a_time)
{
	pthread_t thread[4];
	uint32_t i;

	unit_make_stream(&locked, 1);
	for (i = 0; i < 4; i++)
		unit_start(&thread[i], lock_many, i % 2 ? &locked.lock : NULL);
	for (i = 0; i < 4; i++)
		unit_join(thread[i]);
	cr_assert_eq(guarded, UINT64_C(4) * MANY);
}

Test(environment, lock__again_by_its_holder_is_a_deadlock)
{
	unit_make_stream(&locked, 1);
	cr_assert_eq(bse_lock(&locked.lock, true), 0);
	cr_assert_eq(bse_lock(&locked.lock, true), -EDEADLK);
	cr_assert_eq(bse_lock(&locked.lock, false), -EDEADLK);
	bse_unlock(&locked.lock);
	cr_assert_eq(bse_lock(&locked.lock, false), 0);
	cr_assert_eq(bse_lock(&locked.lock, true), -EDEADLK);
	bse_unlock(&locked.lock);
	cr_assert_eq(bse_lock(&locked.lock, true), 0);
}

static void *try_once(void *arg)
{
	int *ret = arg;

	*ret = bse_lock(&locked.lock, false);
	if (!*ret)
		bse_unlock(&locked.lock);
	return NULL;
}

Test(environment, trylock__of_another_threads_lock_is_busy)
{
	int ret = 1;

	unit_make_stream(&locked, 1);
	cr_assert_eq(bse_lock(&locked.lock, true), 0);
	unit_in_thread(try_once, &ret);
	cr_assert_eq(ret, -EBUSY);
	bse_unlock(&locked.lock);
	unit_in_thread(try_once, &ret);
	cr_assert_eq(ret, 0);
}

Test(environment, lock__two_locks_know_nothing_of_each_other)
{
	struct bpf_stream other;

	unit_make_stream(&locked, 1);
	unit_make_stream(&other, 1);
	cr_assert_eq(bse_lock(&locked.lock, true), 0);
	cr_assert_eq(bse_lock(&other.lock, true), 0);
	bse_unlock(&other.lock);
	cr_assert_eq(bse_lock(&locked.lock, true), -EDEADLK);
	bse_unlock(&locked.lock);
}

static void *lock_and_tell(void *arg)
{
	(void)arg;
	unit_flag_set(&step, 1);
	if (bse_lock(&locked.lock, true))
		return NULL;
	guarded++;
	bse_unlock(&locked.lock);
	return NULL;
}

Test(environment, lock__waits_for_its_holder_and_is_woken)
{
	pthread_t thread[3];
	unsigned int round;
	unsigned int i;

	unit_make_stream(&locked, 1);
	for (round = 0; round < 5; round++) {
		guarded = 0;
		cr_assert_eq(bse_lock(&locked.lock, true), 0);
		for (i = 0; i < 3; i++) {
			unit_flag_set(&step, 0);
			unit_start(&thread[i], lock_and_tell, NULL);
			unit_flag_wait(&step, 1);
		}
		unit_wait_for_sleeper(&locked.lock);
		cr_assert_eq(guarded, 0u);
		bse_unlock(&locked.lock);
		/* A wake-up that got lost ends in the runner's timeout. */
		for (i = 0; i < 3; i++)
			unit_join(thread[i]);
		cr_assert_eq(guarded, 3u);
	}
}

static int signals;

static void count_signal(int sig)
{
	(void)sig;
	unit_flag_set(&signals, signals + 1);
}

Test(environment, lock__a_signal_does_not_end_the_wait)
{
	struct sigaction action = { .sa_handler = count_signal };
	pthread_t thread;
	int i;

	cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
	unit_make_stream(&locked, 1);
	cr_assert_eq(bse_lock(&locked.lock, true), 0);
	unit_start(&thread, lock_and_tell, NULL);
	unit_flag_wait(&step, 1);
	unit_wait_for_sleeper(&locked.lock);
	for (i = 1; i <= 5; i++) {
		cr_assert_eq(pthread_kill(thread, SIGUSR1), 0);
		unit_flag_wait(&signals, i);
	}
	cr_assert_eq(guarded, 0u);
	bse_unlock(&locked.lock);
	unit_join(thread);
	cr_assert_eq(guarded, 1u);
}

/* This thread's state; leaves it as it is. */
static int cancel_state(void)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	pthread_setcancelstate(state, NULL);
	return state;
}

Test(environment, lock__cancellation_is_off_while_it_is_held)
{
	struct bpf_stream other;
	int old;

	unit_make_stream(&locked, 1);
	unit_make_stream(&other, 1);
	cr_assert_eq(cancel_state(), PTHREAD_CANCEL_ENABLE);
	cr_assert_eq(bse_lock(&locked.lock, true), 0);
	cr_assert_eq(cancel_state(), PTHREAD_CANCEL_DISABLE);
	/* A lock inside it, and one that fails, change nothing. */
	cr_assert_eq(bse_lock(&other.lock, false), 0);
	bse_unlock(&other.lock);
	cr_assert_eq(bse_lock(&locked.lock, true), -EDEADLK);
	cr_assert_eq(cancel_state(), PTHREAD_CANCEL_DISABLE);
	bse_unlock(&locked.lock);
	cr_assert_eq(cancel_state(), PTHREAD_CANCEL_ENABLE);

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	cr_assert_eq(bse_lock(&locked.lock, false), 0);
	bse_unlock(&locked.lock);
	cr_assert_eq(cancel_state(), PTHREAD_CANCEL_DISABLE);
}

static void *cancel_states(void *arg)
{
	int *state = arg;

	if (bse_lock(&locked.lock, false) == -EBUSY)
		*state = cancel_state();
	return NULL;
}

Test(environment, trylock__that_is_busy_restores_cancellation)
{
	int state = -1;

	unit_make_stream(&locked, 1);
	cr_assert_eq(bse_lock(&locked.lock, true), 0);
	unit_in_thread(cancel_states, &state);
	cr_assert_eq(state, PTHREAD_CANCEL_ENABLE);
}

static void *hold_until_cancelled(void *arg)
{
	(void)arg;
	if (bse_lock(&locked.lock, true))
		return NULL;
	unit_flag_set(&step, 1);
	unit_flag_wait(&step, 2);
	pthread_testcancel();
	guarded = 1;
	bse_unlock(&locked.lock);
	pthread_testcancel();
	guarded = 2;
	return NULL;
}

Test(environment, lock__its_holder_is_cancelled_behind_the_unlock)
{
	pthread_t thread;
	void *ret;

	unit_make_stream(&locked, 1);
	unit_start(&thread, hold_until_cancelled, NULL);
	unit_flag_wait(&step, 1);
	cr_assert_eq(pthread_cancel(thread), 0);
	unit_flag_set(&step, 2);
	cr_assert_eq(pthread_join(thread, &ret), 0);
	cr_assert_eq(ret, PTHREAD_CANCELED);
	cr_assert_eq(guarded, 1u);
	cr_assert_eq(bse_lock(&locked.lock, false), 0);
}

Test(environment, lock__keeps_errno)
{
	pthread_t thread;

	unit_make_stream(&locked, 1);
	errno = 77;
	cr_assert_eq(bse_lock(&locked.lock, true), 0);
	cr_assert_eq(bse_lock(&locked.lock, true), -EDEADLK);
	cr_assert_eq(errno, 77);
	/* Somebody waits, so that the unlock has somebody to wake. */
	unit_start(&thread, lock_and_tell, NULL);
	unit_flag_wait(&step, 1);
	unit_wait_for_sleeper(&locked.lock);
	errno = 78;
	bse_unlock(&locked.lock);
	cr_assert_eq(errno, 78);
	unit_join(thread);
}

/* The holder stayed in the parent: whoever asks first has the lock. */
static void child_lock(void *arg)
{
	bse_mutex *held = arg;

	UNIT_CHILD_WANTS(bse_lock(held, false) == 1);
	UNIT_CHILD_WANTS(bse_lock(held, true) == -EDEADLK);
	bse_unlock(held);
	UNIT_CHILD_WANTS(bse_lock(held, true) == 0);
}

static void *hold_and_wait(void *arg)
{
	(void)arg;
	if (bse_lock(&locked.lock, true))
		return NULL;
	unit_flag_set(&step, 1);
	unit_flag_wait(&step, 2);
	bse_unlock(&locked.lock);
	return NULL;
}

Test(environment, lock__of_another_thread_is_taken_over_in_a_child)
{
	pthread_t thread;

	unit_make_stream(&locked, 1);
	unit_start(&thread, hold_and_wait, NULL);
	unit_flag_wait(&step, 1);
	unit_in_child(child_lock, &locked.lock);
	/* But not here. */
	cr_assert_eq(bse_lock(&locked.lock, false), -EBUSY);
	unit_flag_set(&step, 2);
	unit_join(thread);
	cr_assert_eq(bse_lock(&locked.lock, false), 0);
}

/* In another pid namespace a child's threads can have the ids of its parent's. */
static void child_with_the_holders_id(void *arg)
{
	bse_mutex *held = arg;
	uint32_t mine = bse_thread_id();

	UNIT_CHILD_WANTS(mine != 0);
	/* The test left its generation there. */
	bse_u32_store_relaxed(&held->word, (mine & BSE_TID) | (uint32_t)held->cancel);
	UNIT_CHILD_WANTS(bse_lock(held, true) == 1);
}

Test(environment, lock__of_a_parents_thread_with_the_same_id_is_taken_over)
{
	unit_make_stream(&locked, 1);
	locked.lock.cancel = (int)bse_process.generation;
	unit_in_child(child_with_the_holders_id, &locked.lock);
}

/* Filters gettid() out, as a sandbox may, for this thread. */
static void *lock_without_an_id(void *ret)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_gettid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return NULL;
	*(int *)ret = bse_lock(&locked.lock, true);
	return ret;
}

/* Two readers would both take -1 for themselves. */
Test(environment, lock__of_a_thread_without_an_id_is_refused)
{
	pthread_t thread;
	void *filtered;
	int ret = 0;

	unit_make_stream(&locked, 1);
	unit_start(&thread, lock_without_an_id, &ret);
	cr_assert_eq(pthread_join(thread, &filtered), 0);
	if (!filtered)
		cr_skip_test("no seccomp filter can be set here");
	cr_assert_eq(ret, -EPERM);
	cr_assert_eq(bse_lock(&locked.lock, false), 0);
}

static int sink_and_wait(void *ctx, const struct bse_piece *piece, unsigned int n)
{
	(void)ctx;
	(void)piece;
	unit_flag_set(&step, 1);
	unit_flag_wait(&step, 2);
	return (int)n;
}

static void *hold_in_sink(void *ret)
{
	if (bse_lock(&locked.lock, true))
		return NULL;
	*(int *)ret = bse_sink_call(&locked.lock, sink_and_wait, NULL, NULL, 7);
	bse_unlock(&locked.lock);
	return NULL;
}

static void child_lock_in_sink(void *arg)
{
	UNIT_CHILD_WANTS(bse_lock(arg, false) == 0);
}

Test(environment, lock__tells_who_takes_it_over_from_a_sink)
{
	pthread_t thread;
	int ret = 0;

	unit_make_stream(&locked, 1);
	unit_start(&thread, hold_in_sink, &ret);
	unit_flag_wait(&step, 1);
	unit_in_child(child_lock_in_sink, &locked.lock);
	cr_assert_eq(bse_lock(&locked.lock, false), -EBUSY);
	unit_flag_set(&step, 2);
	unit_join(thread);
	cr_assert_eq(ret, 7);
	cr_assert_eq(bse_u32_load_relaxed(&locked.lock.word), 0u);
}

static void *lock_and_end(void *arg)
{
	(void)arg;
	(void)bse_lock(&locked.lock, true);
	return NULL;
}

/* A waiter that slept before its holder ended looks again after its nap. */
static void *end_with_the_lock(void *arg)
{
	(void)arg;
	if (bse_lock(&locked.lock, true))
		return NULL;
	unit_flag_set(&step, 1);
	unit_wait_for_sleeper(&locked.lock);
	return NULL;
}

Test(environment, lock__of_a_thread_that_ended_is_taken_over)
{
	pthread_t thread;

	unit_make_stream(&locked, 1);
	unit_in_thread(lock_and_end, NULL);
	/* Who does not wait does not ask the system either. */
	cr_assert_eq(bse_lock(&locked.lock, false), -EBUSY);
	cr_assert_eq(bse_lock(&locked.lock, true), 1);
	bse_unlock(&locked.lock);
	unit_start(&thread, end_with_the_lock, NULL);
	unit_flag_wait(&step, 1);
	cr_assert_eq(bse_lock(&locked.lock, true), 1);
	unit_join(thread);
}

static void ignore_signal(int sig)
{
	(void)sig;
}

/* Each signal ended a nap, and the waiter took its holder for alive, for ever. */
Test(environment, lock__of_a_thread_that_ended_is_taken_over_beside_signals)
{
	struct itimerval often = { { 0, 20000 }, { 0, 20000 } };
	struct sigaction action = { .sa_handler = ignore_signal };
	sigset_t alarm;
	pthread_t thread;

	unit_make_stream(&locked, 1);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
	/* For the waiter only. */
	pthread_sigmask(SIG_BLOCK, &alarm, NULL);
	unit_start(&thread, end_with_the_lock, NULL);
	unit_flag_wait(&step, 1);
	pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
	cr_assert_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
	cr_assert_eq(bse_lock(&locked.lock, true), 1);
	unit_join(thread);
}

static void child_locks(void *arg)
{
	UNIT_CHILD_WANTS(bse_lock(arg, true) == 0);
}

Test(environment, lock__free_at_a_fork_works_in_both)
{
	unit_make_stream(&locked, 1);
	cr_assert_eq(bse_lock(&locked.lock, true), 0);
	bse_unlock(&locked.lock);
	unit_in_child(child_locks, &locked.lock);
	cr_assert_eq(bse_lock(&locked.lock, true), 0);
}

/* ---- Scratch, sinks and counts --------------------------------------- */

Test(environment, scratch__holds_the_longest_print)
{
	struct bse_scratch a;
	struct bse_scratch b;
	char *mine = bse_scratch_get(&a);
	char *nested;
	unsigned int i;

	cr_assert_not_null(mine);
	memset(mine, 'a', BPF_STREAM_PRINT_MAX);
	nested = bse_scratch_get(&b);
	memset(nested, 'b', BPF_STREAM_PRINT_MAX);
	bse_scratch_put(&b);
	for (i = 0; i < BPF_STREAM_PRINT_MAX; i++)
		cr_assert_eq(mine[i], 'a');
	bse_scratch_put(&a);
}

static int format(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = bse_format(buf, size, fmt, ap);
	va_end(ap);
	return ret;
}

Test(environment, format__is_vsnprintf_of_size_bytes)
{
	struct bse_scratch scratch;
	char *text = bse_scratch_get(&scratch);

	unit_same_length(format(text, BPF_STREAM_PRINT_MAX, "%d-%s", 12, "ab"), 5);
	unit_same_bytes(text, "12-ab", 5);
	cr_assert_eq(format(text, BPF_STREAM_PRINT_MAX, "%2000d", 7), 2000);
	cr_assert_eq(text[BPF_STREAM_PRINT_MAX - 1], ' ');
	bse_scratch_put(&scratch);
}

Test(environment, reserve__gives_memory_that_release_takes_back)
{
	struct bpf_stream_pool_stats before;
	struct bpf_stream_pool_stats after;
	struct bsi_returns returns;
	const uint32_t size = BSE_PAGE_ROOM / 3 / 8 * 8;
	bse_link link[50];
	uint32_t i;

	bsi_returns_init(&returns);
	bpf_stream_pool_get_stats(&before);
	for (i = 0; i < 50; i++) {
		cr_assert_eq(bse_reserve(0, size, false, &link[i]), 0);
		bse_unpoison(bse_elem_of(link[i]), size);
		memset(bse_elem_of(link[i]), (int)i, size);
	}
	for (i = 0; i < 50; i++) {
		cr_assert_eq(*(unsigned char *)bse_elem_of(link[i]), i);
		bse_release(link[i], &returns);
	}
	bsi_returns_flush(&returns);
	bpf_stream_thread_release();
	bpf_stream_pool_get_stats(&after);
	cr_assert_eq(after.in_use, before.in_use);
}

Test(environment, take_memory__goes_on_behind_what_was_gathered)
{
	char buf[16] = "one+two.........";
	const struct bse_piece piece = { buf, 7 };
	char *at = buf;

	cr_assert_eq(bse_take_memory(&at, &piece, 1), 7);
	cr_assert(at == buf + 7);
	unit_same_bytes(buf, "one+two.........", 16);
}

Test(environment, take_fd__writes_the_pieces_in_order)
{
	const struct bse_piece piece[] = { { "one", 3 }, { "+", 1 }, { "two", 3 } };
	char buf[16];
	int fd[2];

	cr_assert_eq(pipe(fd), 0);
	cr_assert_eq(bse_take_fd(&fd[1], piece, 3), 7);
	unit_same_length(read(fd[0], buf, sizeof(buf)), 7);
	unit_same_bytes(buf, "one+two", 7);
}

Test(environment, take_fd__takes_as_many_pieces_as_there_may_be)
{
	static const char letter[] = "abcdefg";
	struct bse_piece piece[BSE_PIECES];
	char buf[BSE_PIECES + 1];
	unsigned int i;
	int fd[2];

	for (i = 0; i < BSE_PIECES; i++)
		piece[i] = (struct bse_piece){ (void *)(uintptr_t)&letter[i % 7], 1 };
	cr_assert_eq(pipe(fd), 0);
	cr_assert_eq(bse_take_fd(&fd[1], piece, BSE_PIECES), (int)BSE_PIECES);
	cr_assert_eq(read(fd[0], buf, sizeof(buf)), (ssize_t)BSE_PIECES);
	for (i = 0; i < BSE_PIECES; i++)
		cr_assert_eq(buf[i], letter[i % 7]);
}

Test(environment, take_fd__tells_errors_and_keeps_errno)
{
	static char big[1 << 20];
	const struct bse_piece piece = { big, sizeof(big) };
	const int closed = -1;
	int fd[2];
	int taken;

	errno = 77;
	cr_assert_eq(bse_take_fd((void *)(uintptr_t)&closed, &piece, 1), -EBADF);
	cr_assert_eq(errno, 77);
	cr_assert_eq(pipe(fd), 0);
	cr_assert_eq(fcntl(fd[1], F_SETFL, O_NONBLOCK), 0);
	taken = bse_take_fd(&fd[1], &piece, 1);
	cr_assert_gt(taken, 0);
	cr_assert_lt(taken, (int)sizeof(big));
	errno = 78;
	cr_assert_eq(bse_take_fd(&fd[1], &piece, 1), -EAGAIN);
	cr_assert_eq(errno, 78);
}

Test(environment, counts__arrive_in_the_figures_of_their_stream)
{
	struct bpf_stream s;
	struct bpf_stream_stats stats;
	unsigned int why;

	bpf_stream_init(&s, NULL);
	for (why = 0; why < BPF_STREAM_REFUSALS; why++) {
		bse_note_refusal(&s, (enum bpf_stream_refusal)why, 1, 100);
		bse_note_refusal(&s, (enum bpf_stream_refusal)why, why, 5);
	}
	bse_note_delivered(&s, 2, 7);
	bse_note_delivered(&s, 3, 1);
	bse_note_lost(&s, 4);
	bse_note_lost(&s, 5);
	bse_get_counts(&s, &stats);
	cr_assert_eq(stats.capacity, BPF_STREAM_DEFAULT_CAPACITY);
	for (why = 0; why < BPF_STREAM_REFUSALS; why++) {
		cr_assert_eq(stats.refused[why].messages, 1u + why);
		cr_assert_eq(stats.refused[why].bytes, 105u);
	}
	cr_assert_eq(stats.delivered.messages, 5u);
	cr_assert_eq(stats.delivered.bytes, 8u);
	cr_assert_eq(stats.lost, 9u);
}

#ifdef BSE_ASAN
int __asan_address_is_poisoned(void const volatile *p);
#endif

Test(environment, poison__hides_memory_where_somebody_watches)
{
	static char block[64] __attribute__((__aligned__(8)));

	memset(block, 'x', sizeof(block));
	bse_poison(block + 8, 16);
#ifdef BSE_ASAN
	cr_assert_not(__asan_address_is_poisoned(block + 7));
	cr_assert(__asan_address_is_poisoned(block + 8));
	cr_assert(__asan_address_is_poisoned(block + 23));
	cr_assert_not(__asan_address_is_poisoned(block + 24));
#endif
	bse_unpoison(block + 8, 16);
	cr_assert_eq(block[8], 'x');
	cr_assert_eq(block[23], 'x');
}
