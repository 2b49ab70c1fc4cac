/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * single_step - a handler comes in at every instruction of every operation
 *
 * Every one beside which the contract allows a handler that pushes: all but
 * init and destroy. vprintf is in printf, stage_push in stage_commit.
 *
 * A thread runs one operation with the processor's trap flag set, and at its
 * k-th instruction the trap's handler comes in, as any signal's might: it
 * reads, pushes two messages, jumps out. Then the next k, until the operation
 * has no more instructions. Each time, afterwards:
 *
 * - what was accepted is read once and whole: first what was there before, then
 *   the handler's messages and the operation's, in either order but not mixed,
 *   then what was pushed behind them;
 * - after a jump, the operation's messages may be missing, as a whole;
 * - what was refused before the operation is told by the first message behind,
 *   and as a sum by all;
 * - the invariants hold, and all pages come back when the thread has ended, and
 *   all places in the quota of kept pages. A jump may cost as many pages as the
 *   operation's messages take.
 *
 * With --stride N only each N-th instruction has its turn; the seed chooses
 * where that begins.
 *
 * Seen to fail, with a copy of the header broken on purpose:
 *
 *   one level for all handlers         push: not what was accepted
 *   an element counted after leave     push: pages
 *   a log changed by a plain store     push: not what was accepted
 *   an element that fills a page, not  push_that_fills_an_adopted_page: pages
 *     counted, or counted as alone
 *   a slot that has the page before    adopted_page, jump and release: a late
 *     its count                          push failed
 *   a slot that loses the count first  page_turn, jump and release: the same
 *   a page that starts afresh with     page_turn: a late push failed
 *     its old count
 *   a refused message not given back   push_into_a_full_stream: pages
 *   a release that leaves the depth    thread_release: pages
 *   errno lost in unlock               read: errno
 *   a try that takes a lock in use     drain_fd, try_drain: I3
 *   a pool that comes second stays     pool_use: not what was accepted
 *   a gate that is opened before the   push_that_tells: told in another place
 *     publish, or by a plain store     or: not all that was refused
 *   a publish that leaves the flag     push_that_wakes: a sleeper
 *   told before the record is taken    drain_records: not all that was refused
 */
#define _GNU_SOURCE
#define BPF_STREAM_STATIC
#ifndef BPF_STREAM_PAGE_SIZE
#define BPF_STREAM_PAGE_SIZE 1024u	/* so that copying takes few instructions */
#endif
#include "bpf_stream.h"
#include "../unit/selfcheck.h"

#include <setjmp.h>
#include <ucontext.h>
#include "threads.h"

#if !defined(__x86_64__) || !defined(__linux__)
#define NOT_HERE "no x86-64 processor's trap flag here"
#elif PROGRAM_TSAN
#define NOT_HERE "the thread sanitizer's own code cannot be interrupted anywhere"
#endif

#ifdef NOT_HERE
int main(int argc, char **argv)
{
	const struct program_option none[] = { PROGRAM_LAST };

	program_begin(argc, argv, "It does nothing here.", none);
	(void)threads_pages_out;
	(void)threads_note;
	printf("SKIP: single_step: %s\n", NOT_HERE);
	threads_result.skipped++;
	return threads_summary();
}
#else

#define ELEM BSI_ELEM_MAX
#define CAPACITY 100000u
#define TRAP_FLAG 0x100
#define SAID 3				/* the exit status after a FAIL line */

#ifdef BSE_ASAN
static const bool poisons = true;
#else
static const bool poisons;
#endif

struct text {
	char bytes[8 * BPF_STREAM_PAGE_SIZE];
	size_t len;
};

/* What should come out, and what came out. */
static struct text before;
static struct text operation;
static struct text handler;
static struct text after;
static struct text got_in_operation;
static struct text got_in_handler;
static struct text got_at_end;
static struct text late;		/* pushed when all was read */
static struct text got_late;

static struct bpf_stream stream;
static const struct op *op;
static const struct mode *mode;
static bool accepted;			/* the operation said so */
static volatile bool jumped;
static uint64_t target;			/* the instruction at which the handler comes in */
static const char *complaint;
static uint64_t lost_before;		/* refused before the operation */
static uint64_t lost_told;		/* by records */
static bool fills;			/* the stream: any push may be refused */

static void complain(const char *what)
{
	if (!complaint)
		complaint = what;
}

/* ---- Messages ---------------------------------------------------------- */

static void add(struct text *text, char tag, size_t len)
{
	char *at = text->bytes + text->len;
	size_t i;

	at[0] = tag;
	for (i = 1; i < len; i++)
		at[i] = (char)('0' + (i * 7 + i / 10 + i / 1000 + (size_t)tag) % 75);
	text->len += len;
}

static void add_before(char tag, size_t len)
{
	add(&before, tag, len);
	if (bpf_stream_push(&stream, before.bytes + before.len - len, len))
		complain("a push before the operation failed");
}

static void refuse_before(void)
{
	add_before('b', 50);
	for (lost_before = 0; lost_before < 2; lost_before++)
		if (bpf_stream_push(&stream, "", CAPACITY + 1) != -E2BIG)
			complain("a push before the operation succeeded");
}

/* As much as the page at hand has room for: what comes now needs another one. */
static void fill_page(void)
{
	const struct bse_space *at_hand = &bse_self.slot[bse_group(&stream)].space;

	/* Not alone: what fills a page has it for itself. */
	add_before('e', ELEM / 2);
	add_before('f', at_hand->room - BSI_ELEM_HEAD - 8);
	if (at_hand->room != 8)
		complain("the page at hand is not filled");
}

static void read_before(void)
{
	if (bpf_stream_read(&stream, got_at_end.bytes, sizeof(got_at_end.bytes)) !=
	    (int)before.len)
		complain("not all could be read before the operation");
	before.len = 0;
}

/* ---- Operations -------------------------------------------------------- */

static void prepare_push(void)
{
	add_before('b', 50);
	add(&operation, 'o', 40);
}

static void prepare_first(void)
{
	add(&operation, 'o', 40);
}

/* The old page has elements that are not read. */
static void prepare_turn(void)
{
	fill_page();
	add(&operation, 'o', 200);
}

/* The old page comes back at once, and is the new one. */
static void prepare_turn_over(void)
{
	fill_page();
	read_before();
	add(&operation, 'o', 200);
}

/* A page is there that another thread left. */
static void prepare_adopt(void)
{
	add_before('b', 50);
	bpf_stream_thread_release();
	add(&operation, 'o', 40);
}

/* With the same page, whose elements all came back. */
static void prepare_adopt_empty(void)
{
	add_before('b', 50);
	bpf_stream_thread_release();
	read_before();
	add(&operation, 'o', 40);
}

/* With too little room in it. */
static void prepare_adopt_full(void)
{
	add_before('b', ELEM - 300);
	bpf_stream_thread_release();
	add(&operation, 'o', 400);
}

static void prepare_left(void)
{
	prepare_adopt();
	operation.len = 0;
}

/* A page of its own, beside one at hand. */
static void prepare_fill(void)
{
	add_before('b', 200);
	add(&operation, 'o', ELEM);
}

/* The same page once more, which came back. */
static void prepare_fill_again(void)
{
	add_before('a', ELEM);
	read_before();
	add_before('b', 200);
	add(&operation, 'o', ELEM);
}

/* Behind a message in a page that another thread left. */
static void prepare_fill_adopted(void)
{
	add_before('b', 20);
	bpf_stream_thread_release();
	add(&operation, 'o', ELEM);
}

/* So that there is room left in it that is worth it. */
static void prepare_fill_adopted_in_part(void)
{
	add_before('b', 1);
	bpf_stream_thread_release();
	add(&operation, 'o', ELEM - BSI_PAGE_WORTH + 1);
}

static void prepare_large(void)
{
	add_before('b', 50);
	add(&operation, 'o', 2 * ELEM + 300);
}

/* Deeper than the levels. */
static void prepare_deep(void)
{
	uint32_t depth;
	unsigned int i;

	prepare_push();
	for (i = 0; i < BPF_STREAM_LEVELS; i++)
		bse_enter(BSE_MIXED, &depth);
}

static bool run_push(void)
{
	return !bpf_stream_push(&stream, operation.bytes, operation.len);
}

static void prepare_telling(void)
{
	refuse_before();
	add(&operation, 'o', 40);
}

static void prepare_telling_in_parts(void)
{
	refuse_before();
	add(&operation, 'o', 3 * ELEM - 4);
}

static void prepare_telling_stage(void)
{
	refuse_before();
	add(&operation, 's', 100);
	add(&operation, 't', ELEM + 300);
}

/* A reader sleeps, and another one watches the descriptor; nothing is pending. */
static void prepare_sleeper(void)
{
	if (bpf_stream_poll_fd(&stream) < 0)
		complain("no descriptor");
	bse_sleep_key(&stream.readers);
	add(&operation, 'o', 40);
}

static bool run_push_that_wakes(void)
{
	bool done = !bpf_stream_push(&stream, operation.bytes, operation.len);

	if (stream.readers.bse_v & 1 || bse_log_pending(&stream) == 0 ||
	    stream.log.bse_v & BSE_LOG_READER_WAITS)
		complain("a sleeper is not woken");
	return done;
}

static bool run_push_wait(void)
{
	return !bpf_stream_push_wait(&stream, operation.bytes, operation.len, 0);
}

static bool run_wait(void)
{
	if (bpf_stream_wait(&stream, 0) != 1)
		complain("nothing is pending");
	return false;
}

#define FORMAT "%3d %s"
#define ARGUMENTS -4, "ab"

static void prepare_print(void)
{
	add_before('b', 50);
	operation.len = (size_t)snprintf(operation.bytes, sizeof(operation.bytes), FORMAT,
					 ARGUMENTS);
}

static bool run_printf(void)
{
	return !bpf_stream_printf(&stream, FORMAT, ARGUMENTS);
}

static bool run_log(void)
{
	return !bpf_stream_log(&stream, BPF_STREAM_TAG(5) | BPF_STREAM_ERR, FORMAT, ARGUMENTS);
}

static bool run_bprintf(void)
{
	const uint64_t args[] = { (uint64_t)-4, (uintptr_t)"ab" };

	return !bpf_stream_bprintf(&stream, FORMAT, args, sizeof(args));
}

static bool run_stage_printk(void)
{
	static struct bpf_stream_stage ss;

	bpf_stream_stage_init(&ss);
	return !bpf_stream_stage_printk(&ss, FORMAT, ARGUMENTS) &&
	       !bpf_stream_stage_commit_to(&ss, &stream);
}

static void prepare_stage(void)
{
	add_before('b', 50);
	add(&operation, 's', 100);
	add(&operation, 't', ELEM + 300);
}

static bool run_stage(void)
{
	static struct bpf_stream_stage ss;

	bpf_stream_stage_init(&ss);
	if (bpf_stream_stage_push(&ss, operation.bytes, 100) ||
	    bpf_stream_stage_push(&ss, operation.bytes + 100, ELEM + 300) ||
	    bpf_stream_stage_commit_to(&ss, &stream))
		complain("a stage call failed");
	bpf_stream_stage_free(&ss);
	return true;
}

static void prepare_nothing_more(void)
{
	add_before('b', 50);
}

static bool run_stage_free(void)
{
	static struct bpf_stream_stage ss;

	bpf_stream_stage_init(&ss);
	if (bpf_stream_stage_push(&ss, before.bytes, 40) ||
	    bpf_stream_stage_push(&ss, before.bytes, ELEM + 10))
		complain("a stage call failed");
	bpf_stream_stage_free(&ss);
	return false;
}

static void prepare_read(void)
{
	add_before('b', 50);
	add_before('c', ELEM + 200);
	add_before('d', 30);
	fill_page();
}

static bool run_read(void)
{
	int n = bpf_stream_read(&stream, got_in_operation.bytes, ELEM + 265);

	if (n != (int)(ELEM + 265) && !got_in_handler.len)
		complain("a read fell short");
	got_in_operation.len = (size_t)n;
	return false;
}

/* In one pass, if all fits. */
static bool run_read_all(void)
{
	int n = bpf_stream_read(&stream, got_in_operation.bytes, sizeof(got_in_operation.bytes));

	if (n < 0)
		complain("a read failed");
	else
		got_in_operation.len = (size_t)n;
	return false;
}

static bool run_try_read(void)
{
	int n = bpf_stream_try_read(&stream, got_in_operation.bytes, 150);

	if (n != 150)
		complain("a read fell short");
	got_in_operation.len = (size_t)n;
	return false;
}

static int keep(void *ctx, const void *data, size_t len)
{
	struct text *text = ctx;

	memcpy(text->bytes + text->len, data, len);
	text->len += len;
	return (int)len;
}

static bool run_drain(void)
{
	if (bpf_stream_drain(&stream, keep, &got_in_operation, SIZE_MAX) < 0)
		complain("a drain failed");
	return false;
}

/* Until the stream is empty the place is that of the refusals, too. */
static int keep_record(void *ctx, const struct bpf_stream_record *r)
{
	/* Unless it was told already, at the end of what was there. */
	const bool first = got_in_operation.len + got_at_end.len == before.len && !lost_told;

	keep(ctx, r->data, r->len);
	lost_told += r->lost;
	if (!got_in_handler.len && !fills && r->lost != (first ? lost_before : 0))
		complain("what was refused is told in another place");
	return 0;
}

static void prepare_records(void)
{
	prepare_read();
	for (lost_before = 0; lost_before < 2; lost_before++)
		if (bpf_stream_push(&stream, "", CAPACITY + 1) != -E2BIG)
			complain("a push before the operation succeeded");
}

static bool run_drain_records(void)
{
	if (bpf_stream_drain_records(&stream, keep_record, &got_in_operation, SIZE_MAX) < 0)
		complain("a drain failed");
	return false;
}

static bool run_read_record(void)
{
	struct bpf_stream_record r;
	char *to = got_in_operation.bytes;
	int n = bpf_stream_read_record(&stream, &r, to, sizeof(got_in_operation.bytes));

	if (n < 0 || (!n && !got_in_handler.len))
		complain("a read failed");
	else if (n)
		got_in_operation.len = r.len;
	lost_told += r.lost;
	return false;
}

/* A writer sleeps. */
static void prepare_room(void)
{
	prepare_read();
	bse_sleep_key(&stream.writers);
	stream.log.bse_v |= BSE_LOG_ROOM_WAITED;
}

static bool run_read_that_wakes(void)
{
	run_read();
	if (stream.writers.bse_v & 1 && !got_in_handler.len)
		complain("a sleeper is not woken");
	return false;
}

static bool run_try_drain(void)
{
	if (bpf_stream_try_drain(&stream, keep, &got_in_operation, SIZE_MAX) < 0)
		complain("a drain failed");
	return false;
}

static int through[2];

static void prepare_pipe(void)
{
	if (!through[1] && pipe(through))
		complain("no pipe");
	prepare_read();
}

static bool run_drain_fd(void)
{
	int n = bpf_stream_drain_fd(&stream, through[1], ELEM + 265);

	if (n < 0 || (n && read(through[0], got_in_operation.bytes, (size_t)n) != n))
		complain("a drain failed");
	else
		got_in_operation.len = (size_t)n;
	return false;
}

static bool run_figures(void)
{
	struct bpf_stream_pool_stats pool;
	struct bpf_stream_stats stats;

	bpf_stream_get_stats(&stream, &stats);
	bpf_stream_pool_get_stats(&pool);
	if (!stats.capacity || pool.in_use > pool.highest)
		complain("figures that cannot be");
	return false;
}

static void prepare_idle(void)
{
	prepare_read();
	read_before();
}

static bool run_release(void)
{
	bpf_stream_thread_release();
	return false;
}

static bool run_end(void)
{
	bsi_thread_exit(NULL);
	return false;
}

static void prepare_nothing(void)
{
}

static bool run_pool_use(void)
{
	static _Alignas(4096) char region[64 * BPF_STREAM_PAGE_SIZE];
	int err = bpf_stream_pool_use(region, sizeof(region), 0);

	if (err && err != -EBUSY)
		complain("pool_use failed");
	return false;
}

static bool run_trim(void)
{
	bpf_stream_pool_trim();
	return false;
}

struct op {
	const char *name;
	void (*prepare)(void);
	bool (*run)(void);
	unsigned int pages;		/* of its messages; 0: a jump is not allowed */
	size_t room;			/* in the stream for all but what is before; 0: enough */
	bool first_use;			/* each time in a process without a pool */
	uint64_t (*clock)(void);	/* of the stream */
};

static const struct op ops[] = {
	{ "push", prepare_push, run_push, 1, 0, false, NULL },
	{ "first_push_of_a_thread", prepare_first, run_push, 1, 0, false, NULL },
	{ "first_push_of_a_process", prepare_first, run_push, 1, 0, true, NULL },
	{ "page_turn", prepare_turn, run_push, 1, 0, false, NULL },
	{ "page_turn_to_the_same", prepare_turn_over, run_push, 1, 0, false, NULL },
	{ "adopted_page", prepare_adopt, run_push, 1, 0, false, NULL },
	{ "adopted_page_without_elements", prepare_adopt_empty, run_push, 1, 0, false, NULL },
	{ "adopted_page_without_room", prepare_adopt_full, run_push, 1, 0, false, NULL },
	{ "push_that_fills_a_page", prepare_fill, run_push, 1, 0, false, NULL },
	{ "push_that_fills_the_same_page", prepare_fill_again, run_push, 1, 0, false, NULL },
	{ "push_that_fills_an_adopted_page", prepare_fill_adopted, run_push, 1, 0, false, NULL },
	{ "push_into_most_of_an_adopted_page", prepare_fill_adopted_in_part, run_push, 1, 0,
	  false, NULL },
	{ "push_of_three_elements", prepare_large, run_push, 3, 0, false, NULL },
	{ "push_below_the_levels", prepare_deep, run_push, 1, 0, false, NULL },
	{ "push_into_a_full_stream", prepare_large, run_push, 3, 2 * ELEM + 400, false, NULL },
	{ "printf", prepare_print, run_printf, 1, 0, false, NULL },
	{ "bprintf", prepare_print, run_bprintf, 1, 0, false, NULL },
	{ "stage_printk", prepare_print, run_stage_printk, 1, 0, false, NULL },
	{ "stage_commit", prepare_stage, run_stage, 2, 0, false, NULL },
	{ "log", prepare_print, run_log, 1, 0, false, NULL },
	{ "stamped_push", prepare_push, run_push, 1, 0, false, bpf_stream_clock_monotonic },
	{ "stamped_stage", prepare_stage, run_stage, 2, 0, false, bpf_stream_clock_monotonic },
	{ "push_that_tells", prepare_telling, run_push, 1, 0, false, NULL },
	{ "stamped_push_that_tells", prepare_telling, run_push, 1, 0, false,
	  bpf_stream_clock_monotonic },
	{ "push_in_parts_that_tells", prepare_telling_in_parts, run_push, 4, 0, false, NULL },
	{ "stage_that_tells", prepare_telling_stage, run_stage, 2, 0, false, NULL },
	{ "push_that_wakes", prepare_sleeper, run_push_that_wakes, 1, 0, false, NULL },
	{ "push_wait", prepare_push, run_push_wait, 1, 0, false, NULL },
	{ "push_wait_into_a_full_stream", prepare_large, run_push_wait, 3, 2 * ELEM + 400, false,
	  NULL },
	{ "wait", prepare_nothing_more, run_wait, 1, 0, false, NULL },
	{ "drain_records", prepare_records, run_drain_records, 0, 0, false, NULL },
	{ "read_record", prepare_read, run_read_record, 0, 0, false, NULL },
	{ "read_that_wakes", prepare_room, run_read_that_wakes, 0, 0, false, NULL },
	{ "stage_free", prepare_nothing_more, run_stage_free, 2, 0, false, NULL },
	{ "read", prepare_read, run_read, 0, 0, false, NULL },
	{ "read_all", prepare_read, run_read_all, 0, 0, false, NULL },
	{ "try_read", prepare_read, run_try_read, 0, 0, false, NULL },
	{ "drain", prepare_read, run_drain, 0, 0, false, NULL },
	{ "try_drain", prepare_read, run_try_drain, 0, 0, false, NULL },
	{ "drain_fd", prepare_pipe, run_drain_fd, 0, 0, false, NULL },
	{ "figures", prepare_read, run_figures, 1, 0, false, NULL },
	{ "thread_release", prepare_read, run_release, 0, 0, false, NULL },
	{ "thread_release_of_idle_pages", prepare_idle, run_release, 0, 0, false, NULL },
	{ "thread_release_of_a_page_with_room", prepare_nothing_more, run_release, 0, 0, false, NULL },
	{ "thread_end", prepare_nothing_more, run_end, 0, 0, false, NULL },
	{ "pool_trim", prepare_idle, run_trim, 0, 0, false, NULL },
	{ "pool_trim_of_left_pages", prepare_left, run_trim, 0, 0, false, NULL },
	{ "pool_use", prepare_nothing, run_pool_use, 0, 0, true, NULL },
};

/* ---- The handler ------------------------------------------------------- */

struct mode {
	const char *name;
	bool reads;
	bool pushes;
	bool jumps;
	bool releases;			/* afterwards, so that all levels are used again */
};

static const struct mode modes[] = {
	{ "pushes", false, true, false, false },
	{ "reads_and_pushes", true, true, false, false },
	{ "jumps", false, false, true, false },
	{ "jumps_before_a_release", false, false, true, true },
	{ "pushes_and_jumps", false, true, true, false },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static enum { IDLE, STARTING, STEPPING } volatile phase;
static volatile uint64_t steps;
static sigjmp_buf back;

static void push_in_handler(const char *bytes, size_t len)
{
	int err = bpf_stream_push(&stream, bytes, len);

	if (!err)
		keep(&handler, bytes, len);
	else if (err != -ENOSPC || !op->room)
		complain("a push in the handler failed");
}

static void come_in(void)
{
	static struct text text;
	int n;

	text.len = 0;
	add(&text, 'h', 30);
	add(&text, 'i', ELEM + 90);
	errno = 77;
	if (mode->reads) {
		n = bpf_stream_try_read(&stream, got_in_handler.bytes, ELEM);
		if (n >= 0)
			got_in_handler.len = (size_t)n;
		else if (n != -EDEADLK && n != -EBUSY)
			complain("a read in the handler failed");
	}
	if (mode->pushes) {
		push_in_handler(text.bytes, 30);
		push_in_handler(text.bytes + 30, ELEM + 90);
	}
	if (errno != 77)
		complain("errno did not stay");
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
	greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
	int saved = errno;

	(void)sig;
	(void)info;
	if (phase == STARTING)
		*flags |= TRAP_FLAG;
	if (phase == STEPPING && ++steps == target) {
		phase = IDLE;
		come_in();
		if (mode->jumps) {
			jumped = true;
			siglongjmp(back, 1);
		}
	}
	if (phase == IDLE)
		*flags &= ~TRAP_FLAG;
	errno = saved;
}

/* ---- One time ---------------------------------------------------------- */

static void read_to(struct text *text)
{
	text->len = 0;
	if (bpf_stream_drain_records(&stream, keep_record, text, SIZE_MAX) < 0)
		complain("a last read failed");
}

static void push_late(char tag, size_t len)
{
	add(&late, tag, len);
	if (bpf_stream_push(&stream, late.bytes + late.len - len, len))
		complain("a late push failed");
}

static void *run_stepped(void *ignored)
{
	uint32_t depth;
	int cancel;

	op->prepare();
	depth = bse_own_get(&bse_self.depth);
	errno = 78;
	if (!sigsetjmp(back, 1)) {
		phase = STARTING;
		raise(SIGTRAP);
		phase = STEPPING;
		accepted = op->run();
		phase = IDLE;
		if (errno != 78)
			complain("errno changed");
		if (depth != bse_own_get(&bse_self.depth) && op->run != run_end)
			complain("the depth changed");
	}
	if (pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &cancel) ||
	    cancel != PTHREAD_CANCEL_ENABLE)
		complain("cancellation stays off");
	if (op->prepare == prepare_deep && !jumped)
		bse_leave(0);
	if (mode->releases)
		bpf_stream_thread_release();
	add(&after, 'z', 30);
	if (bpf_stream_push(&stream, after.bytes, 30))
		complain("a push behind the operation failed");
	read_to(&got_at_end);
	/* Into the pages that came back; with what is left of a jump beside. */
	push_late('k', ELEM - BSI_PAGE_WORTH);
	push_late('l', ELEM - 100);
	push_late('m', 200);
	return ignored;
}

static void join(struct text *to, const struct text *a, const struct text *b,
		 const struct text *c)
{
	to->len = 0;
	keep(to, a->bytes, a->len);
	keep(to, b->bytes, b->len);
	keep(to, c->bytes, c->len);
}

static bool same(const struct text *a, const struct text *b)
{
	return a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

/* The words for what was read; of all that it might be, it has most of this. */
static char difference[200];
static size_t alike;

static void note_difference(const struct text *all, const struct text *want)
{
	size_t i = 0;

	while (i < all->len && i < want->len && all->bytes[i] == want->bytes[i])
		i++;
	if (*difference && i <= alike)
		return;
	alike = i;
	snprintf(difference, sizeof(difference), "what was read is not what was accepted: %zu "
		 "bytes were accepted, %zu read; the first that differs is byte %zu", want->len,
		 all->len, i);
}

/* Is it this, then what was pushed last? */
static bool is(const struct text *all, const struct text *a, const struct text *b)
{
	static struct text want;

	join(&want, &before, a, b);
	keep(&want, after.bytes, after.len);
	if (same(all, &want))
		return true;
	note_difference(all, &want);
	return false;
}

static bool is_allowed(const struct text *all)
{
	static const struct text nothing;

	if ((jumped || !accepted) && is(all, &handler, &nothing))
		return true;
	return (jumped || accepted) && (is(all, &handler, &operation) ||
					is(all, &operation, &handler));
}

/* The operation's reading and the handler's: each may have been the first. */
static void check_texts(void)
{
	static struct text all;
	bool allowed;

	*difference = '\0';
	join(&all, &got_in_handler, &got_in_operation, &got_at_end);
	allowed = is_allowed(&all);
	join(&all, &got_in_operation, &got_in_handler, &got_at_end);
	if (!allowed && !is_allowed(&all))
		complain(difference);
	if (!same(&got_late, &late))
		complain("what was pushed late is not what was read");
}

static void check_pages(size_t out_before, uint32_t kept_before)
{
	size_t out = threads_pages_out() - out_before;
	uint32_t kept = bse_u32_load_relaxed(&bse_pool_known()->kept) - kept_before;
	const char *broken;

	if (jumped) {
		if (out > op->pages || kept)
			complain("the jump cost too much");
		return;
	}
	if (out || kept)
		complain("pages did not come back");
	broken = bpf_stream_selfcheck(mode->jumps ? &stream : NULL);
	if (broken)
		complain(broken);
}

/* True if the handler came in. */
static bool step_once(void)
{
	struct bpf_stream_options options = { .capacity = CAPACITY };
	size_t out = threads_pages_out();
	uint32_t kept = bse_pool_known() ? bse_u32_load_relaxed(&bse_pool_known()->kept) : 0;
	struct bpf_stream_stats stats;
	uint64_t refused = 0;
	const char *broken;
	pthread_t thread;
	unsigned int i;

	lost_before = lost_told = 0;
	before.len = operation.len = handler.len = after.len = late.len = 0;
	got_in_operation.len = got_in_handler.len = got_at_end.len = 0;
	accepted = jumped = false;
	steps = 0;
	if (op->room)
		options.capacity = 50 + op->room;
	options.clock = op->clock;
	fills = op->room;
	bpf_stream_init(&stream, &options);
	if (pthread_create(&thread, NULL, run_stepped, NULL) || pthread_join(thread, NULL))
		complain("no thread");
	broken = bpf_stream_selfcheck(&stream);
	if (broken)
		complain(broken);
	read_to(&got_late);
	bpf_stream_get_stats(&stream, &stats);
	for (i = 0; i < BPF_STREAM_REFUSALS; i++)
		refused += stats.refused[i].messages;
	if (refused != lost_told)
		complain("not all that was refused was told");
	check_texts();
	check_pages(out, kept);
	if (complaint)
		printf("FAIL: %s, handler %s at instruction %" PRIu64 ": %s\n", op->name,
		       mode->name, target, complaint);
	fflush(stdout);
	if (complaint)
		_exit(SAID);
	return steps >= target;
}

static bool step_once_in_child(void)
{
	pid_t pid = program_fork();
	int status;

	if (pid == 0)
		_exit(step_once() ? 0 : 2);
	status = program_wait(pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SAID)
		_exit(SAID);
	if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 2)) {
		printf("FAIL: %s, handler %s at instruction %" PRIu64 ": the process %s\n",
		       op->name, mode->name, target, program_end_of(status));
		fflush(stdout);
		_exit(SAID);
	}
	return WEXITSTATUS(status) == 0;
}

/* In a process of its own, so that what one jump costs stays there. */
static int step_through(uint64_t stride, uint64_t seed)
{
	uint64_t times = 0;

	for (target = 1 + seed % stride;; target += stride) {
		if (op->first_use ? step_once_in_child() : step_once()) {
			times++;
			continue;
		}
		if (times || target == 1)
			break;
		/* Shorter than where it was to begin: its first one, then. */
		target = 1 - stride;
	}
	if (!times)
		printf("FAIL: %s: no instructions\n", op->name);
	printf("  %s, handler %s: came in %" PRIu64 " times\n", op->name, mode->name, times);
	fflush(stdout);
	return times ? 0 : SAID;
}

/* An emulator may ignore the flag. */
static bool traps(void)
{
	target = UINT64_MAX;
	phase = STARTING;
	raise(SIGTRAP);
	phase = STEPPING;
	phase = IDLE;
	return steps > 0;
}

static const char *op_name(unsigned int i)
{
	return i < COUNT(ops) ? ops[i].name : NULL;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
	/* Under the address sanitizer there are many more instructions. */
	uint64_t stride = poisons ? program_number(997, 37) : program_number(23, 1);
	uint64_t seed;
	const char *only = NULL;
	const struct program_option options[] = {
		PROGRAM_SEED(&seed),
		PROGRAM_NUMBER("stride", "each so many instructions have their turn", &stride,
			       1, 1000000000),
		PROGRAM_WORD("op", "only this operation:", &only, op_name),
		PROGRAM_LAST
	};
	unsigned int failed;
	pid_t pid;
	int status;
	unsigned int i;
	unsigned int k;

	program_begin(argc, argv, "Let a handler come in at every instruction of every operation.",
		      options);
	sigaction(SIGTRAP, &action, NULL);
	if (!traps()) {
		printf("SKIP: single_step: the processor's trap flag does nothing here\n");
		threads_result.skipped++;
		return threads_summary();
	}
	for (i = 0; i < COUNT(ops); i++) {
		op = &ops[i];
		program_case = op->name;
		if (only && strcmp(only, op->name))
			continue;
		if (poisons && op->first_use) {
			printf("SKIP: %s: poisoning a pool takes too many instructions\n",
			       op->name);
			threads_result.skipped++;
			continue;
		}
		/* It stops after its first FAIL. */
		failed = threads_result.failed;
		for (k = 0; k < COUNT(modes) && threads_result.failed == failed; k++) {
			mode = &modes[k];
			if (mode->jumps && !op->pages)
				continue;
			pid = program_fork();
			if (pid == 0)
				_exit(step_through(stride, seed));
			status = program_wait(pid);
			if (WIFEXITED(status) && WEXITSTATUS(status) == SAID)
				threads_result.failed++;
			else
				threads_note(op->name, status);
		}
	}
	return threads_summary();
}
#endif
