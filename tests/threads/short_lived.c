/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * short_lived - ten thousand threads that push and end, in unfriendly ways
 *
 * Each case runs in a process of its own and leaves nothing: all that was
 * accepted is read once, whole and in order; no page stays in use; memory,
 * mappings and what malloc gave out do not grow with the number of threads;
 * LeakSanitizer finds nothing, where it is built in. Eight threads live at a
 * time. The cases:
 *
 *   plain            each pushes, prints and commits a group
 *   in_malloc        the first push is in a handler that interrupted a call of
 *                    malloc or free; each thread makes sure of that
 *   destructors      pushes from the destructors of keys made before and after
 *                    the library's, and of thread_local objects, in every round
 *                    of them; for three of four threads the first push
 *   cancelled        cancelled where a cancellation point comes; one is in the
 *                    sink of a drain, where cancellation is off
 *   cancelled_anywhere  cancelled at any instruction. Bound: for each thread
 *                    that was inside a call, the pages of what it was storing,
 *                    and one more. More threads come until enough were inside
 *   jumped           siglongjmp out of a handler that interrupted a push or a
 *                    stage, a thousand times in one thread, half of them behind
 *                    a push of the handler. The same bound, for each jump.
 *
 * The first four come again as *_late: with 40 pthread keys made before the
 * library's. A push cannot set such a key in glibc, so that these threads keep
 * no page.
 *
 * A message is text: its lane, its number in the lane and its length, each in 8
 * digits, then filling. A lane is a thread, or the handlers of one.
 *
 * Seen to fail, with a copy of the header broken on purpose:
 *
 *   a key above 31 set in a push      in_malloc_late hangs in malloc
 *   malloc in a first push            in_malloc hangs, plain: memory
 *   20 bytes lost by each thread      plain: malloc gave out more
 *   a mapping lost by each thread     plain: mappings
 *   an exit hook that does nothing    plain, cancelled, ..._anywhere: pages
 *   pages kept behind the exit hook   destructors: pages
 *   cancellation left on in a drain   cancelled hangs, the lock is lost
 *   no page below the levels          jumped: a push fails
 *   one-shot pages not retired        jumped, plain_late: pages
 *   8 bytes too few for an element    plain: a message is damaged
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_POOL_BYTES (256u << 20)
#include "bpf_stream.h"
#include "../unit/selfcheck.h"

#include <malloc.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdatomic.h>
#include "threads.h"

#ifdef BSE_ASAN
void __asan_handle_no_return(void);
int __lsan_do_recoverable_leak_check(void);
static const bool leak_check = true;
#else
static const bool leak_check;
static int __lsan_do_recoverable_leak_check(void)
{
	return 0;
}
#endif

#define LIVE 8u			/* threads at a time */
#define WARM_UP 200u		/* threads before memory is first looked at */
#define LATE_KEYS 40u
#define HEAD 24u
#define MESSAGE_MAX 9000u
#define CAPACITY 65536u
#define HIGHEST (CAPACITY / HEAD + LIVE * 8)	/* pages at a time, of any number of threads */
#define JUMPS 1000u

/* Set in the processes of the cases: how many keys are made first. */
static const char keys_variable[] = "SHORT_LIVED_KEYS";

struct lane {
	_Atomic uint32_t accepted;	/* messages: the library said 0 */
	_Atomic uint32_t offered;	/* messages of the call that is under way */
	_Atomic uint32_t pages;		/* of that call */
	uint32_t seen;			/* by the reader; its lock held */
};

static struct bpf_stream stream;
static struct lane *lanes;
static uint64_t seed;
static _Thread_local uint32_t self;	/* the thread's lane */

/* Ends the case. */
static void complain(const char *what, uint64_t a, uint64_t b)
{
	printf("FAIL: %s, seed %" PRIu64 ": %s: %" PRIu64 ", %" PRIu64 "\n", program_case, seed,
	       what, a, b);
	fflush(stdout);
	_exit(1);
}

static void expect(bool ok, const char *what, uint64_t found, uint64_t bound)
{
	if (!ok)
		complain(what, found, bound);
}

/* ---- Messages ---------------------------------------------------------- */

static void put_digits(char *at, uint32_t n)
{
	unsigned int i;

	for (i = 8; i-- > 0; n >>= 4)
		at[i] = "0123456789abcdef"[n & 15];
}

static uint32_t get_digits(const char *at)
{
	char digits[9] = { 0 };

	memcpy(digits, at, 8);
	return (uint32_t)strtoul(digits, NULL, 16);
}

/* What messages are filled with: another text from each place on. */
static char filling[MESSAGE_MAX + 64];

static void make_filling(void)
{
	size_t i;

	for (i = 0; i < sizeof(filling); i++)
		filling[i] = (char)('a' + (i + i / 101 + i / 4084 * 5) % 26);
}

static void make(char *at, uint32_t lane, uint32_t seq, uint32_t len)
{
	put_digits(at, lane);
	put_digits(at + 8, seq);
	put_digits(at + 16, len);
	memcpy(at + HEAD, filling + (lane + seq) % 64, len - HEAD);
}

/* Any handler may call it, for a lane of its own. */
static bool push(uint32_t number, uint32_t len)
{
	struct lane *lane = &lanes[number];
	char text[MESSAGE_MAX];
	int err;

	make(text, number, lane->accepted, len);
	lane->pages = (len + BSI_ELEM_MAX - 1) / BSI_ELEM_MAX;
	lane->offered = 1;
	err = bpf_stream_push(&stream, text, len);
	if (!err)
		lane->accepted++;
	lane->offered = 0;
	expect(!err || err == -ENOSPC, "push", (uint64_t)-err, 0);
	return !err;
}

static void print(uint32_t number)
{
	struct lane *lane = &lanes[number];
	char text[201] = { 0 };
	int err;

	make(text, number, lane->accepted, 200);
	err = bpf_stream_printf(&stream, "%.24s%s", text, text + 24);
	if (!err)
		lane->accepted++;
	expect(!err || err == -ENOSPC, "printf", (uint64_t)-err, 0);
}

/* Two messages, which come in both or not at all. */
static void commit(uint32_t number, uint32_t len)
{
	struct lane *lane = &lanes[number];
	struct bpf_stream_stage ss;
	char text[2][MESSAGE_MAX];
	int err;

	make(text[0], number, lane->accepted, len);
	make(text[1], number, lane->accepted + 1, HEAD);
	lane->pages = (len + BSI_ELEM_MAX - 1) / BSI_ELEM_MAX + 1;
	lane->offered = 2;
	bpf_stream_stage_init(&ss);
	err = bpf_stream_stage_push(&ss, text[0], len);
	if (!err)
		err = bpf_stream_stage_push(&ss, text[1], HEAD);
	if (!err)
		err = bpf_stream_stage_commit_to(&ss, &stream);
	if (!err)
		lane->accepted += 2;
	else
		bpf_stream_stage_free(&ss);
	lane->offered = 0;
	expect(!err || err == -ENOSPC, "commit", (uint64_t)-err, 0);
}

static uint32_t random_length(uint64_t *state)
{
	uint64_t r = program_random(state);
	uint32_t most = r % 8 < 4 ? 200 : r % 8 < 7 ? 4000 : MESSAGE_MAX;

	return HEAD + (uint32_t)(r >> 32) % (most - HEAD + 1);
}

/* For threads that are stopped on their way. */
static void offer_something(uint32_t number, uint64_t *state)
{
	uint32_t len = random_length(state);

	if (program_random(state) % 4)
		push(number, len);
	else
		commit(number, len);
}

/* ---- The reader -------------------------------------------------------- */

/* The part of a message that came at the end of a piece; reader's lock held. */
static char rest[MESSAGE_MAX];
static size_t rest_len;

static void check_message(const char *at, size_t len)
{
	char want[MESSAGE_MAX];
	uint32_t number = get_digits(at);
	uint32_t seq = get_digits(at + 8);

	make(want, number, seq, (uint32_t)len);
	if (memcmp(at, want, len))
		complain("a message is damaged", number, seq);
	expect(seq == lanes[number].seen, "a message of a lane is not the next", seq,
	       lanes[number].seen);
	lanes[number].seen = seq + 1;
}

/* A sink: how many bytes are still missing decides how many to take. */
static int check(void *ctx, const void *data, size_t len)
{
	size_t want = rest_len < HEAD ? HEAD : get_digits(rest + 16);

	(void)ctx;
	if (want < HEAD || want > MESSAGE_MAX)
		complain("no message begins here", want, 0);
	if (len > want - rest_len)
		len = want - rest_len;
	memcpy(rest + rest_len, data, len);
	rest_len += len;
	if (rest_len >= HEAD && rest_len == get_digits(rest + 16)) {
		check_message(rest, rest_len);
		rest_len = 0;
	}
	/* Cancellation is off: who goes here keeps the lock for ever. */
	pthread_testcancel();
	return (int)len;
}

static void drain(void)
{
	struct bpf_stream_stats stats;

	do {
		expect(bpf_stream_drain(&stream, check, NULL, SIZE_MAX) >= 0, "drain", 0, 0);
		bpf_stream_get_stats(&stream, &stats);
	} while (stats.pending);
}

/*
 * The thread of the lane has ended, or jumped: what was under way came in as a
 * whole or not at all. Returns how many pages that may have cost.
 */
static size_t settle(uint32_t number)
{
	struct lane *lane = &lanes[number];
	uint32_t offered = lane->offered;
	uint32_t pages = lane->pages + 1;

	lane->offered = 0;
	drain();
	if (lane->seen == lane->accepted + offered)
		lane->accepted = lane->seen;
	expect(lane->seen == lane->accepted, "messages seen, accepted", lane->seen, lane->accepted);
	return offered ? pages : 0;
}

/* ---- Lives ------------------------------------------------------------- */

static void *live_plainly(void *arg)
{
	(void)arg;
	push(self, HEAD + self % 100);
	print(self);
	commit(self, 3000);
	push(self, 5000);
	return NULL;
}

static _Thread_local volatile sig_atomic_t in_malloc;

static void push_in_malloc(int sig)
{
	int saved = errno;

	(void)sig;
	/* Its first, and only if there is something to interrupt. */
	if (in_malloc && !lanes[self].accepted)
		push(self, HEAD + self % 3000);
	errno = saved;
}

/* Blocks that the allocator's lock is taken for. */
static void *live_in_malloc(void *arg)
{
	void *(*volatile allocate)(size_t) = malloc;
	uint64_t state = self;
	void *block[8] = { NULL };
	unsigned int i;

	(void)arg;
	while (!lanes[self].accepted) {
		size_t size = 1100 + program_below(&state, 30000);
		void **place = &block[program_random(&state) % 8];
		void *old = *place;

		in_malloc = 1;
		free(old);
		old = allocate(size);
		in_malloc = 0;
		*place = old;
	}
	for (i = 0; i < 8; i++)
		free(block[i]);
	push(self, HEAD);
	return NULL;
}

/* Destructors: of keys made before and after the library's, and in between. */
static pthread_key_t early_key[LATE_KEYS];
static unsigned int early_keys;
static pthread_key_t after_key;

/* The way of C++'s thread_local objects. */
extern int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *library)
	__attribute__((__weak__));
extern void *__dso_handle;

/* Comes again in the next round, as long as there is one. */
static void push_and_come_again(void *key)
{
	push(self, HEAD + 10);
	pthread_setspecific(*(pthread_key_t *)key, key);
}

static void push_once(void *ignored)
{
	(void)ignored;
	push(self, HEAD + 20);
}

static void *live_with_destructors(void *arg)
{
	(void)arg;
	if (self % 4 == 0)
		push(self, 1000);
	if (self % 4 != 1)
		pthread_setspecific(after_key, &after_key);
	if (self % 4 != 2)
		pthread_setspecific(early_key[0], &early_key[0]);
	if (self % 4 == 3 && __cxa_thread_atexit_impl)
		__cxa_thread_atexit_impl(push_once, NULL, &__dso_handle);
	return NULL;
}

static sem_t busy;			/* a thread has some messages; cancel it */

/* Until it is cancelled; it ends after any of its calls, or in one. */
static void offer_for_ever(void (*between)(void *), void *arg)
{
	uint64_t state = seed ^ self;
	uint64_t wanted = 1 + program_random(&state) % 4;
	bool told = false;

	for (;;) {
		offer_something(self, &state);
		if (!told && lanes[self].accepted >= wanted) {
			told = true;
			sem_post(&busy);
		}
		if (between)
			between(arg);
	}
}

static void free_stage_and_push(void *ss)
{
	bpf_stream_stage_free(ss);
	push(self, 500);
}

static void be_cancelled_here(void *ss)
{
	struct bpf_stream_stage *group = ss;

	if (group->len > 20000)
		bpf_stream_stage_free(group);
	(void)bpf_stream_stage_push(group, filling, 2000);
	(void)bpf_stream_try_drain(&stream, check, NULL, 4000);
#ifdef BSE_ASAN
	/* It does not see that cancellation leaves these frames. */
	__asan_handle_no_return();
#endif
	pthread_testcancel();
}

static void *live_until_cancelled(void *arg)
{
	struct bpf_stream_stage ss;

	bpf_stream_stage_init(&ss);
	pthread_cleanup_push(free_stage_and_push, &ss);
	offer_for_ever(be_cancelled_here, &ss);
	pthread_cleanup_pop(1);
	return arg;
}

static void *live_until_cancelled_anywhere(void *arg)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	offer_for_ever(NULL, NULL);
	return arg;
}

/* ---- Cases ------------------------------------------------------------- */

struct a_case {
	const char *name;
	void *(*live)(void *);		/* NULL: the one without threads */
	bool interrupted;		/* by signals, until they pushed */
	bool cancelled;
	bool costly;			/* may cost pages */
	const char *not_asan;		/* why not with that sanitizer, if so */
	const char *not_tsan;
};

static const char signals_late[] = "signals do not interrupt at every instruction there";

static const struct a_case cases[] = {
	{ "plain", live_plainly, false, false, false, NULL, NULL },
	{ "in_malloc", live_in_malloc, true, false, false, NULL, signals_late },
	{ "destructors", live_with_destructors, false, false, false,
	  NULL, "it forgets a thread before the last round of its destructors" },
	{ "cancelled", live_until_cancelled, false, true, false, NULL, NULL },
	{ "cancelled_anywhere", live_until_cancelled_anywhere, false, true, true,
	  "it does not see which frames cancellation leaves", signals_late },
	{ "jumped", NULL, false, false, true, NULL, signals_late },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))
#define CASES_LATE 4u		/* so many of them come again, with late keys */

/* A sanitizer keeps what was freed, and its own notes. */
#if defined(BSE_ASAN) || PROGRAM_TSAN
static const bool memory_is_watched = true;
#else
static const bool memory_is_watched;
#endif

struct memory {
	size_t resident;		/* bytes, of the process */
	size_t allocated;		/* bytes, by malloc */
	size_t mappings;
};

static struct memory look_at_memory(void)
{
	struct memory memory = { 0 };
	char line[4096];
	FILE *f = fopen("/proc/self/smaps_rollup", "r");

	/* Exact, which statm is not on many processors. */
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Rss: %zu", &memory.resident) == 1)
			break;
	if (!memory.resident)
		complain("cannot read /proc/self/smaps_rollup", 0, 0);
	fclose(f);
	memory.resident <<= 10;
	f = fopen("/proc/self/maps", "r");
	while (f && fgets(line, sizeof(line), f))
		memory.mappings++;
	if (f)
		fclose(f);
#ifdef __GLIBC__
	memory.allocated = mallinfo2().uordblks + mallinfo2().hblkhd;
#endif
	return memory;
}

static void check_memory(const struct memory *before, size_t lost)
{
	struct memory now = look_at_memory();

	printf("  resident %zu to %zu KiB, allocated %zu to %zu bytes, mappings %zu to %zu\n",
	       before->resident >> 10, now.resident >> 10, before->allocated, now.allocated,
	       before->mappings, now.mappings);
	if (memory_is_watched)
		return;
	/* A few blocks, arenas, stacks more. */
	expect(now.resident <= before->resident + (2u << 20) + lost * BPF_STREAM_PAGE_SIZE,
	       "resident memory grew", before->resident, now.resident);
	expect(now.allocated <= before->allocated + 16384, "malloc gave out more",
	       before->allocated, now.allocated);
	expect(now.mappings <= before->mappings + 24, "there are more mappings",
	       before->mappings, now.mappings);
}

/* At rest; as many pages as @bound may be lost. Returns how many are. */
static size_t check_pool(size_t bound, bool costly)
{
	struct bpf_stream_pool_stats pool;
	size_t out = threads_pages_out();
	const char *broken = bpf_stream_selfcheck(&stream);

	bpf_stream_pool_get_stats(&pool);
	if (!broken && !costly)
		broken = bpf_stream_selfcheck(NULL);
	if (broken)
		complain(broken, 0, 0);
	expect(out <= bound, "pages that did not come back, bound", out, bound);
	expect(pool.in_use <= out, "pages in use", pool.in_use, out);
	expect(pool.highest <= HIGHEST + bound, "pages at a time, bound", pool.highest,
	       HIGHEST + bound);
	expect(!pool.denied, "pages denied", pool.denied, 0);
	printf("  pages: %zu at most, %zu did not come back, bound %zu\n", pool.highest, out,
	       bound);
	return out;
}

static const struct a_case *this_case;

/* Signals all the time, to some thread that does not block them. */
static timer_t start_timer(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec every = { { 0, 53000 }, { 0, 53000 } };
	timer_t timer;

	if (timer_create(CLOCK_MONOTONIC, &event, &timer) ||
	    timer_settime(timer, 0, &every, NULL)) {
		printf("SKIP: %s: no timers here\n", this_case->name);
		exit(77);
	}
	return timer;
}

static void block_signal(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(how, &set, NULL);
}

static void *live(void *lane)
{
	self = (uint32_t)(uintptr_t)lane;
	if (this_case->interrupted)
		block_signal(SIG_UNBLOCK);
	return this_case->live(lane);
}

/* Until the newest thread has its messages, and is somewhere behind these. */
static void wait_until_busy(uint64_t *state)
{
	struct timespec a_while = { 0, (long)(program_random(state) % 50000) };
	struct timespec until;

	for (;;) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		if (!sem_timedwait(&busy, &until))
			break;
		/* Other threads may have filled the stream. */
		(void)bpf_stream_drain(&stream, check, NULL, SIZE_MAX);
	}
	nanosleep(&a_while, NULL);
}

/* Threads @from to @to - 1. Returns how many pages they may have cost. */
static size_t run_threads(uint32_t from, uint32_t to, uint32_t *inside)
{
	uint64_t state = seed ^ from;
	pthread_t ring[LIVE];
	size_t bound = 0;
	size_t cost;
	uint32_t i;

	for (i = from; i < to + LIVE; i++) {
		if (i >= from + LIVE) {
			pthread_join(ring[i % LIVE], NULL);
			cost = settle(i - LIVE);
			*inside += cost > 0;
			bound += cost;
		}
		if (i >= to)
			continue;
		drain();
		if (pthread_create(&ring[i % LIVE], NULL, live, (void *)(uintptr_t)i))
			complain("no thread", i, 0);
		if (this_case->cancelled) {
			wait_until_busy(&state);
			pthread_cancel(ring[i % LIVE]);
		}
	}
	return bound;
}

/* Those below @from stay; no thread runs. */
static void make_lanes(uint32_t from, uint32_t to)
{
	lanes = realloc(lanes, to * sizeof(*lanes));
	if (!lanes)
		exit(1);
	memset(lanes + from, 0, (to - from) * sizeof(*lanes));
}

static void run_lives(uint32_t n)
{
	uint32_t inside = 0;
	uint64_t messages = 0;
	struct memory before;
	size_t bound;
	size_t lost;
	uint32_t to;
	uint32_t i;

	make_lanes(0, WARM_UP + n);
	if (this_case->interrupted) {
		block_signal(SIG_BLOCK);
		start_timer();
	}
	bound = run_threads(0, WARM_UP, &inside);
	lost = check_pool(bound, this_case->costly);
	before = look_at_memory();
	to = WARM_UP + n;
	bound += run_threads(WARM_UP, to, &inside);
	for (; this_case->costly && inside <= n / 100; to += n) {
		make_lanes(to, to + n);
		before.allocated += n * sizeof(*lanes);
		before.resident += n * sizeof(*lanes);
		bound += run_threads(to, to + n, &inside);
	}
	lost = check_pool(bound, this_case->costly) - lost;
	check_memory(&before, lost);
	for (i = 0; i < to; i++)
		messages += lanes[i].seen;
	expect(messages >= to, "messages, threads", messages, to);
	if (!this_case->costly)
		expect(!inside, "threads that ended inside of a call", inside, 0);
	printf("  %" PRIu64 " messages", messages);
	if (this_case->costly)
		printf(", %" PRIu32 " cancelled inside of a call", inside);
	printf("\n");
	free(lanes);
}

/* ---- Jumps ------------------------------------------------------------- */

enum { LANE_THREAD, LANE_HANDLER, LANE_LATER, LANES };

static sigjmp_buf back;
static volatile sig_atomic_t jumps;

static void jump_out(int sig)
{
	(void)sig;
	if (!lanes[LANE_THREAD].offered)
		return;
	jumps++;
	if (jumps % 2)
		push(LANE_HANDLER, HEAD + (uint32_t)jumps % 3000);
	siglongjmp(back, 1);
}

static void *push_small_ones(void *ignored)
{
	unsigned int i;

	(void)ignored;
	for (i = 0; i < 100; i++)
		push(LANE_LATER, HEAD);
	return NULL;
}

static void run_jumps(uint32_t n)
{
	static uint64_t state;
	static size_t bound;
	struct bpf_stream_stats stats;
	pthread_t thread;
	timer_t timer;
	size_t lost;
	uint32_t i;

	state = seed;
	make_lanes(0, LANES);
	timer = start_timer();
	if (sigsetjmp(back, 1))
		bound += settle(LANE_THREAD);
	while ((uint32_t)jumps < n) {
		offer_something(LANE_THREAD, &state);
		bpf_stream_get_stats(&stream, &stats);
		if (stats.pending > 30000)
			drain();
	}
	timer_delete(timer);
	printf("  %d jumps, at depth %" PRIu32 " now\n", (int)jumps,
	       bse_own_get(&bse_self.depth));
	/* Here each message may take a page; elsewhere it does not. */
	for (i = 0; i < 1000; i++)
		expect(push(LANE_THREAD, HEAD), "a later push", i, 0);
	settle(LANE_THREAD);
	settle(LANE_HANDLER);
	bpf_stream_thread_release();
	lost = check_pool(bound + BPF_STREAM_LEVELS, true);
	if (pthread_create(&thread, NULL, push_small_ones, NULL) || pthread_join(thread, NULL))
		complain("no thread", 0, 0);
	expect(threads_pages_out() <= lost + 2, "pages for 100 small messages of another thread",
	       threads_pages_out() - lost, 2);
	settle(LANE_LATER);
	expect(threads_pages_out() == lost, "pages", threads_pages_out(), lost);
	free(lanes);
}

/* ---- Processes --------------------------------------------------------- */

/* Comes before the library's, which has no priority. */
__attribute__((__constructor__(101))) static void make_early_keys(void)
{
	const char *number = getenv(keys_variable);
	unsigned int i;

	early_keys = number ? (unsigned int)strtoul(number, NULL, 10) : 0;
	for (i = 0; i < early_keys; i++)
		(void)pthread_key_create(&early_key[i], push_and_come_again);
}

/* In a fresh process. */
static int run_case(uint32_t n)
{
	struct bpf_stream_options options = { .capacity = CAPACITY };
	struct sigaction action = { .sa_handler = push_in_malloc, .sa_flags = SA_RESTART };

	program_case = this_case->name;
	make_filling();
	if (!this_case->live)
		action.sa_handler = jump_out;
	sigaction(SIGUSR1, &action, NULL);
	expect(bse_process.exit_key >= early_keys && bse_process.exit_key < early_keys + 9,
	       "the library's key, keys before it", bse_process.exit_key, early_keys);
	if (pthread_key_create(&after_key, push_and_come_again))
		complain("no key", 0, 0);
	sem_init(&busy, 0, 0);
	bpf_stream_init(&stream, &options);
	if (this_case->live)
		run_lives(n);
	else
		run_jumps(JUMPS);
	if (__lsan_do_recoverable_leak_check())
		complain("LeakSanitizer found a leak", 0, 0);
	return 0;
}

/* A fresh process, which has @keys pthread keys before the library's. */
static int start(char **argv, const char *name, const char *keys, uint32_t n)
{
	char threads[24];
	char number[24];
	pid_t pid;

	snprintf(threads, sizeof(threads), "%" PRIu32, n);
	snprintf(number, sizeof(number), "%" PRIu64, seed);
	pid = program_fork();
	if (pid == 0) {
		setenv(keys_variable, keys, 1);
		execl("/proc/self/exe", argv[0], "--case", name, "--threads", threads, "--seed",
		      number, (char *)NULL);
		_exit(127);
	}
	return program_wait(pid);
}

/* Whether LeakSanitizer works in this place: it must find this. */
static int leak_check_works(void)
{
	void *(*volatile allocate)(size_t) = malloc;
	void *volatile block;
	pid_t pid = program_fork();

	if (pid == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		block = allocate(100);
		block = NULL;
		(void)block;
		_exit(__lsan_do_recoverable_leak_check() ? 0 : 1);
	}
	return program_wait(pid) == 0;
}

/* First all as they are, then those that come again. */
static const char *case_name(unsigned int i)
{
	static char name[64];

	snprintf(name, sizeof(name), "%s%s", cases[i % CASES].name, i < CASES ? "" : "_late");
	return i < CASES + CASES_LATE ? name : NULL;
}

static void run(char **argv, unsigned int i, const char *only, uint32_t n)
{
	const struct a_case *c = &cases[i % CASES];
	const char *name = case_name(i);
	const char *reason = NULL;

	if (only && strcmp(only, name))
		return;
#if defined(BSE_ASAN)
	reason = c->not_asan;
#elif PROGRAM_TSAN
	reason = c->not_tsan;
#endif
	if (reason) {
		printf("SKIP: %s: not under this sanitizer: %s\n", name, reason);
		threads_result.skipped++;
		return;
	}
	printf("%s\n", name);
	program_case = name;
	threads_note(name, start(argv, c->name, i < CASES ? "1" : "40", n));
}

int main(int argc, char **argv)
{
	uint64_t threads = program_number(2000, 10000);
	const char *only = NULL;
	const struct program_option options[] = {
		PROGRAM_SEED(&seed),
		PROGRAM_NUMBER("threads", "that each case has", &threads, 1, 10000000),
		PROGRAM_WORD("case", "only this one:", &only, case_name),
		PROGRAM_LAST
	};
	unsigned int i;

	program_options(argc, argv, "Threads that push and end, in unfriendly ways.", options);
	if (getenv(keys_variable)) {
		for (i = 0; i < CASES; i++)
			if (!strcmp(only ? only : "", cases[i].name))
				this_case = &cases[i];
		return this_case ? run_case((uint32_t)threads) : 2;
	}
	program_show(options);
	if (access("/proc/self/exe", F_OK)) {
		printf("SKIP: short_lived: /proc is not mounted\n");
		return program_end(0, 0, 1);
	}
	if (leak_check && !leak_check_works()) {
		/* It needs ptrace, which not every container allows. */
		printf("SKIP: LeakSanitizer: it does not find a leak here\n");
		setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
		threads_result.skipped++;
	}
	for (i = 0; i < CASES + CASES_LATE; i++)
		run(argv, i, only, (uint32_t)threads);
	/* No look for leaks here: where it does not work, it would fail. */
	_exit(threads_summary());
}
