/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [1] CONTRACT: everything that may run beside everything else does so for a
 * while, in threads and in handlers, and afterwards the books balance: every
 * accepted byte came out or is pending, in each writer's order, and no page is
 * lost.
 *
 * Seen to fail with: a lock that does not lock, or does not know its owner; a
 * refund forgotten, or made twice; a log published by a plain store; a list
 * that is not reversed; one slot for all levels; retire that ignores what came
 * back; a drain that goes on as long as its sink pushes; a trim that loses
 * pages; a group of which the newest message alone is linked.
 */
#define BPF_STREAM_STATIC
#include "bpf_stream.h"
#include "unit.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>

/* A handler may find its own thread reading; it is a writer of its own, too. */
enum { ROUNDS = 4000, WRITERS = 4, HANDLER = 3, GROUP = 3 };

static struct bpf_stream stream;
static int null_fd = -1;

/* A message; all messages of a group have the same number. */
struct record {
	uint16_t writer;
	uint16_t in_group;		/* 0: alone; else which of the group */
	uint32_t number;
};

/* What an actor does, again and again. */
struct actor {
	void (*act)(struct actor *actor);
	uint16_t writer;
	uint32_t number;		/* of the next message */
	uint32_t acts;
	uint64_t accepted;		/* bytes */
	uint64_t refused;		/* bytes */
	uint64_t taken;			/* bytes */
	int bad;			/* an answer that may not be */
};

/* What the sinks know; the stream's lock guards it. */
static struct {
	uint32_t next[WRITERS];
	struct record part;		/* a record that came in parts */
	size_t part_len;
	uint32_t group_left;		/* of a group that began */
	struct record group;
	int wrong;
} seen;

static void see_record(const struct record *r)
{
	if (r->writer >= WRITERS) {
		seen.wrong = 1;
		return;
	}
	if (seen.group_left) {
		/* Nothing comes between the messages of a group. */
		if (r->writer != seen.group.writer || r->number != seen.group.number ||
		    r->in_group != GROUP + 1 - seen.group_left)
			seen.wrong = 2;
		seen.group_left--;
	} else if (r->in_group > 1) {
		seen.wrong = 3;
	} else {
		if (r->number < seen.next[r->writer])
			seen.wrong = 4;
		seen.next[r->writer] = r->number + 1;
		seen.group = *r;
		seen.group_left = r->in_group ? GROUP - 1 : 0;
	}
}

static int see(void *ctx, const void *data, size_t len)
{
	const char *at = data;
	size_t i;

	(void)ctx;
	for (i = 0; i < len; i++) {
		((char *)&seen.part)[seen.part_len++] = at[i];
		if (seen.part_len == sizeof(seen.part)) {
			see_record(&seen.part);
			seen.part_len = 0;
		}
	}
	return (int)len;
}

/* ---- Actors ---------------------------------------------------------- */

static void note(struct actor *a, int err, uint64_t bytes)
{
	if (!err)
		a->accepted += bytes;
	else
		a->refused += bytes;
	if (err && err != -ENOSPC)
		a->bad = err;
}

static void act_push(struct actor *a)
{
	struct record r = { a->writer, 0, a->number++ };

	note(a, bpf_stream_push(&stream, &r, sizeof(r)), sizeof(r));
}

static void act_commit(struct actor *a)
{
	struct record r = { a->writer, 0, a->number++ };
	struct bpf_stream_stage ss;

	bpf_stream_stage_init(&ss);
	for (r.in_group = 1; r.in_group <= GROUP; r.in_group++) {
		if (bpf_stream_stage_push(&ss, &r, sizeof(r)))
			a->bad = 1;
	}
	note(a, bpf_stream_stage_commit_to(&ss, &stream), GROUP * sizeof(r));
	bpf_stream_stage_free(&ss);
}

static void took(struct actor *a, int ret, bool may_be_busy)
{
	if (ret >= 0)
		a->taken += (uint64_t)ret;
	else if (!may_be_busy || (ret != -EBUSY && (a->writer != HANDLER || ret != -EDEADLK)))
		a->bad = ret;
}

static void act_drain(struct actor *a)
{
	took(a, bpf_stream_drain(&stream, see, NULL, 1 + a->acts % 300), false);
}

static void act_try_drain(struct actor *a)
{
	took(a, bpf_stream_try_drain(&stream, see, NULL, 1 + a->acts % 300), true);
}

static void act_read(struct actor *a)
{
	char buf[300];

	took(a, bpf_stream_read(&stream, buf, 1 + a->acts % sizeof(buf)), false);
}

static void act_try_read(struct actor *a)
{
	char buf[300];

	took(a, bpf_stream_try_read(&stream, buf, 1 + a->acts % sizeof(buf)), true);
}

static void act_drain_fd(struct actor *a)
{
	took(a, bpf_stream_drain_fd(&stream, null_fd, 1 + a->acts % 300), false);
}

static void act_stats(struct actor *a)
{
	struct bpf_stream_stats stats;

	bpf_stream_get_stats(&stream, &stats);
	if (stats.pending > stats.capacity)
		a->bad = 1;
}

static void act_pool(struct actor *a)
{
	struct bpf_stream_pool_stats stats;
	static char region[8 * 4096] __attribute__((__aligned__(64)));

	bpf_stream_pool_trim();
	bpf_stream_pool_get_stats(&stats);
	if (stats.in_use > stats.total || stats.highest > stats.total || stats.denied)
		a->bad = 1;
	bpf_stream_thread_release();
	if (bpf_stream_pool_use(region, sizeof(region), 0) != -EBUSY)
		a->bad = 2;
}

static void act_push_and_release(struct actor *a)
{
	act_push(a);
	bpf_stream_thread_release();
}

/* ---- Pairs ----------------------------------------------------------- */

static void *run(void *arg)
{
	struct actor *a = arg;

	for (a->acts = 0; a->acts < ROUNDS; a->acts++)
		a->act(a);
	return NULL;
}

/* All drained, given back, and sound. */
static void check_books(const struct actor *actor, unsigned int n, bool in_order)
{
	struct bpf_stream_stats stats;
	const char *broken = bpf_stream_selfcheck(&stream);
	uint64_t accepted = 0;
	uint64_t refused = 0;
	uint64_t taken = 0;
	unsigned int i;
	int ret;

	cr_assert_null(broken, "%s", broken);
	for (i = 0; i < n; i++) {
		cr_assert_eq(actor[i].bad, 0, "actor %u had %d", i, actor[i].bad);
		accepted += actor[i].accepted;
		refused += actor[i].refused;
		taken += actor[i].taken;
	}
	ret = bpf_stream_drain(&stream, see, NULL, SIZE_MAX);
	cr_assert_geq(ret, 0);
	taken += (uint64_t)ret;
	bpf_stream_get_stats(&stream, &stats);
	cr_assert_eq(taken, accepted);
	cr_assert_eq(stats.pending, 0u);
	cr_assert_eq(stats.delivered.bytes, taken);
	cr_assert_eq(stats.refused[BPF_STREAM_REFUSED_FULL].bytes, refused);
	if (in_order) {
		cr_assert_eq(seen.wrong, 0, "wrong in the way of %d", seen.wrong);
		cr_assert_eq(seen.part_len, 0u);
		cr_assert_eq(seen.group_left, 0u);
		cr_assert_eq(stats.delivered.messages * sizeof(struct record), taken);
	}
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
	broken = bpf_stream_selfcheck(NULL);
	cr_assert_null(broken, "%s", broken);
}

static void set_up(void)
{
	const struct bpf_stream_options opts = { .capacity = 4000 };

	memset(&seen, 0, sizeof(seen));
	if (null_fd < 0)
		null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	/* So that pool_use always comes too late. */
	cr_assert_not_null(bse_pool());
	cr_assert_eq(bpf_stream_init(&stream, &opts), 0);
}

/* Who takes bytes that see() does not see. */
static bool is_reader(void (*act)(struct actor *))
{
	return act == act_read || act == act_try_read || act == act_drain_fd;
}

/*
 * @one and @other beside each other, and a writer and a reader beside both, so
 * that there is always something to do.
 */
static void run_pair(void (*one)(struct actor *), void (*other)(struct actor *))
{
	struct actor actor[] = {
		{ .act = one, .writer = 0 }, { .act = other, .writer = 1 },
		{ .act = act_push, .writer = 2 }, { .act = act_drain },
	};
	pthread_t thread[4];
	unsigned int i;

	set_up();
	for (i = 0; i < 4; i++)
		unit_start(&thread[i], run, &actor[i]);
	for (i = 0; i < 4; i++)
		unit_join(thread[i]);
	check_books(actor, 4, !is_reader(one) && !is_reader(other));
	bpf_stream_destroy(&stream);
}

/* A row of the matrix: @one beside everything. */
static void run_row(void (*one)(struct actor *))
{
	run_pair(one, act_push);
	run_pair(one, act_commit);
	run_pair(one, act_drain);
	run_pair(one, act_try_drain);
	run_pair(one, act_read);
	run_pair(one, act_try_read);
	run_pair(one, act_drain_fd);
	run_pair(one, act_stats);
	run_pair(one, act_pool);
}

Test(contract, push__beside_everything)
{
	run_row(act_push);
}

Test(contract, push_and_thread_release__beside_everything)
{
	run_row(act_push_and_release);
}

Test(contract, stage_commit__beside_everything)
{
	run_row(act_commit);
}

Test(contract, drain__beside_everything)
{
	run_row(act_drain);
}

Test(contract, try_drain__beside_everything)
{
	run_row(act_try_drain);
}

Test(contract, read__beside_everything)
{
	run_row(act_read);
}

Test(contract, try_read__beside_everything)
{
	run_row(act_try_read);
}

Test(contract, drain_fd__beside_everything)
{
	run_row(act_drain_fd);
}

Test(contract, get_stats__beside_everything)
{
	run_row(act_stats);
}

Test(contract, pool_calls__beside_everything)
{
	run_row(act_pool);
}

/* ---- What waits, and what is busy ------------------------------------ */

static int gate;
static int others[2];			/* what the try variants said */
static int waited;

static int sink_at_the_gate(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	unit_flag_set(&gate, 1);
	unit_flag_wait(&gate, 2);
	return (int)len;
}

static void *drain_at_the_gate(void *arg)
{
	*(int *)arg = bpf_stream_drain(&stream, sink_at_the_gate, NULL, 1);
	return NULL;
}

static void *read_behind_the_gate(void *arg)
{
	char buf[8];

	*(int *)arg = bpf_stream_read(&stream, buf, sizeof(buf));
	unit_flag_set(&waited, 1);
	return NULL;
}

Test(contract, try_variants__are_busy_and_others_wait_while_a_reader_is_at_work)
{
	pthread_t thread[2];
	char buf[8];
	int first = -1;
	int second = -1;

	bpf_stream_init(&stream, NULL);
	cr_assert_eq(bpf_stream_push(&stream, "abc", 3), 0);
	unit_start(&thread[0], drain_at_the_gate, &first);
	unit_flag_wait(&gate, 1);
	others[0] = bpf_stream_try_drain(&stream, see, NULL, SIZE_MAX);
	others[1] = bpf_stream_try_read(&stream, buf, sizeof(buf));
	cr_assert_eq(others[0], -EBUSY);
	cr_assert_eq(others[1], -EBUSY);
	/* Writers do not wait. */
	cr_assert_eq(bpf_stream_push(&stream, "def", 3), 0);
	unit_start(&thread[1], read_behind_the_gate, &second);
	unit_wait_for_sleeper(&stream.lock);
	cr_assert_eq(__atomic_load_n(&waited, __ATOMIC_ACQUIRE), 0);
	unit_flag_set(&gate, 2);
	unit_join(thread[0]);
	unit_join(thread[1]);
	cr_assert_eq(first, 1);
	cr_assert_eq(second, 5);
}

/* ---- Inside a sink --------------------------------------------------- */

static struct bpf_stream side;

static int sink_busy(void *ctx, const void *data, size_t len)
{
	int *wrong = ctx;
	char buf[16];

	(void)data;
	*wrong |= bpf_stream_push(&stream, "again", 5) != 0;
	*wrong |= bpf_stream_printf(&side, "%zu", len) != 0;
	*wrong |= bpf_stream_read(&side, buf, sizeof(buf)) != 1;
	*wrong |= bpf_stream_read(&stream, buf, sizeof(buf)) != -EDEADLK;
	*wrong |= bpf_stream_try_read(&stream, buf, sizeof(buf)) != -EDEADLK;
	*wrong |= bpf_stream_drain(&stream, sink_busy, ctx, 1) != -EDEADLK;
	*wrong |= bpf_stream_try_drain(&stream, sink_busy, ctx, 1) != -EDEADLK;
	*wrong |= bpf_stream_drain_fd(&stream, -1, 1) != -EDEADLK;
	bpf_stream_thread_release();
	return (int)len;
}

Test(contract, sink__may_push_and_drain_others_and_ends)
{
	int wrong = 0;
	uint32_t i;

	bpf_stream_init(&stream, NULL);
	bpf_stream_init(&side, NULL);
	cr_assert_eq(bpf_stream_push(&stream, "begin", 5), 0);
	/* Each drain takes what was there when it began, and no more. */
	for (i = 0; i < 100; i++)
		cr_assert_eq(bpf_stream_drain(&stream, sink_busy, &wrong, SIZE_MAX), 5);
	cr_assert_eq(wrong, 0);
	bpf_stream_destroy(&stream);
	bpf_stream_destroy(&side);
	bpf_stream_thread_release();
	cr_assert_eq(unit_pages_in_use(), 0u);
}

/* ---- Handlers -------------------------------------------------------- */

static struct actor in_handler = { .writer = HANDLER };
static void (*const any_context[])(struct actor *) = {
	act_push, act_commit, act_try_drain, act_try_read, act_stats,
};
static volatile sig_atomic_t alarms;

static void handle_alarm(int sig)
{
	struct bpf_stream_pool_stats stats;

	(void)sig;
	any_context[alarms % 5](&in_handler);
	if (alarms % 7 == 0)
		bpf_stream_pool_trim();
	bpf_stream_pool_get_stats(&stats);
	in_handler.acts++;
	alarms++;
}

static void run_interrupted(void (*act)(struct actor *))
{
	const struct itimerval often = { { 0, 200 }, { 0, 200 } };
	const struct itimerval never = { { 0, 0 }, { 0, 0 } };
	struct sigaction sa = { .sa_handler = handle_alarm, .sa_flags = SA_RESTART };
	struct actor actor[] = { { .act = act, .writer = 0 }, { .writer = 2 }, { .bad = 0 } };
	int begin = alarms;

	set_up();
	cr_assert_eq(sigaction(SIGALRM, &sa, NULL), 0);
	cr_assert_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
	while (alarms < begin + 1000) {
		act_push(&actor[1]);
		act(&actor[0]);
		actor[0].acts++;
	}
	cr_assert_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	actor[2] = in_handler;
	in_handler = (struct actor){ .writer = HANDLER, .number = in_handler.number };
	check_books(actor, 3, false);
	bpf_stream_destroy(&stream);
}

Test(contract, handlers__interrupt_pushes)
{
	run_interrupted(act_push);
}

Test(contract, handlers__interrupt_commits)
{
	run_interrupted(act_commit);
}

Test(contract, handlers__interrupt_drains)
{
	run_interrupted(act_drain);
}

Test(contract, handlers__interrupt_reads)
{
	run_interrupted(act_read);
}

Test(contract, handlers__interrupt_drains_to_descriptors)
{
	run_interrupted(act_drain_fd);
}

Test(contract, handlers__interrupt_pool_calls)
{
	run_interrupted(act_pool);
}
