/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * processes - fork and exec in the middle of traffic; every record is checked
 *
 * Writers push records and groups to two streams, are interrupted by handlers
 * that do the same, and a reader takes them out. In each round one of these
 * threads, in between its own calls, makes a process, while the others are
 * anywhere in theirs:
 *
 *   private  fork: the child, with the one thread that forked, reads its copy
 *            of what was pending: each lane goes on at the number where the
 *            parent's reader was, and ends where the writer was. If that reader
 *            was in its sink, its bytes come again; if it was elsewhere in a
 *            drain, what it had is lost and counted. Then the child pushes,
 *            reads, starts threads, forks again.
 *   shared   fork with a shared memfd as the pool: everything is -EPERM.
 *   exec     fork and exec, posix_spawn, or exec in place of the process: the
 *            new program finds nothing of the old one, and runs traffic itself.
 *
 * Meanwhile the parent goes on; in the end each lane is whole, and no page is
 * in use.
 *
 * Seen to fail with the header changed so that: a reader left in the parent is
 * waited for; its backlog is taken as it is, or dropped though it was in its
 * sink; what is lost is not counted, or stays charged; the child forgets what
 * its slots count; handlers share the slot that they interrupt, or leave it to
 * another level; a publish links once, before a lost race; the child of a
 * shared pool may push, keep its slots, commit, free a stage, drain, trim,
 * destroy, or look at the parent's pages to check them.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_POOL_BYTES (4u << 20)
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
#include "../unit/selfcheck.h"
#include "../program.h"

#include <sched.h>
#include <spawn.h>

#define THREADS_MAX 16u
#define LANES (2 * THREADS_MAX)		/* of each writer, and of its handlers */
#define STREAMS 2u
#define RECORD_MAX 6000u
#define GROUP 3u

enum mode { PRIVATE, SHARED, EXEC, EXEC_HERE, FRESH, MODES };

static const char *const mode_names[MODES] = { "private", "shared", "exec", "exec-here", "fresh" };

/* Which thread makes a process. */
enum where { NOWHERE, IN_MAIN, IN_WRITER, IN_READER, WHERES };

static enum mode mode;
static uint64_t seed;
static uint64_t drawn;			/* at random so far, from this seed */
static unsigned int threads;

static pid_t first_process;		/* which tells the result */

/* In any process; the parent of a child that ends so reports it, too. */
static void report(int line, const char *what)
{
	char text[200];
	int len = snprintf(text, sizeof(text), "FAIL %s, seed %" PRIu64 ", process %" PRIu64
			   ", %s: line %d: %s\n%s", mode_names[mode], seed, program_turn,
			   getpid() == first_process ? "the parent" : "a child", line, what,
			   getpid() == first_process ? "0 passed, 1 failed, 0 skipped\n" : "");

	(void)!write(STDOUT_FILENO, text, (size_t)len);
	_exit(1);
}

/* 0 to @below - 1; for the main thread. */
static unsigned int draw(unsigned int below)
{
	return (unsigned int)(program_random(&drawn) % below);
}

static int look(const int *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void set(int *p, int value)
{
	__atomic_store_n(p, value, __ATOMIC_RELEASE);
}

/* ---- Records ----------------------------------------------------------- */

struct record {
	uint32_t length;
	uint32_t lane;
	uint32_t seq;
	uint32_t sum;			/* of all but itself, and of the stream's number */
};

struct stream {
	struct bpf_stream s;
	uint32_t number;
	uint32_t accepted[LANES];	/* written by their lane */
	int draining;			/* a thread of the first process is */
	int in_sink;			/* of that thread */
	/* What a reader has seen; changed in a sink, so the lock is held. */
	struct seen {
		uint32_t next[LANES];
		size_t have;
		unsigned char part[RECORD_MAX];
	} seen, before;			/* now; when the last call of the sink began */
};

static struct stream stream[STREAMS];

static uint32_t sum_of(const unsigned char *record, size_t len, uint32_t number)
{
	uint32_t sum = 2166136261u + number;
	size_t i;

	for (i = 0; i < len; i++)
		if (i < offsetof(struct record, sum) || i >= sizeof(struct record))
			sum = (sum ^ record[i]) * 16777619u;
	return sum;
}

static uint32_t make(unsigned char *at, const struct stream *st, uint32_t lane, uint32_t seq)
{
	uint64_t about = st->number + LANES * seq + lane;
	uint64_t h = program_random(&about);
	uint32_t most = h % 50 ? 300 : RECORD_MAX;
	struct record record = {
		(uint32_t)(sizeof(record) + (h >> 32) % (most - sizeof(record))), lane, seq, 0
	};

	memset(at, (int)(h >> 8 & 0xff), record.length);
	memcpy(at, &record, sizeof(record));
	record.sum = sum_of(at, record.length, st->number);
	memcpy(at, &record, sizeof(record));
	return record.length;
}

/*
 * Takes all, and checks each record as soon as it is whole. What is wrong, or
 * NULL. Behind a loss records of a lane may be missing.
 */
static const char *parse(struct seen *seen, uint32_t number, const unsigned char *data, size_t len,
			 bool lost)
{
	struct record record;
	size_t want;
	size_t n;

	while (len) {
		memcpy(&record, seen->part, sizeof(record));
		want = seen->have < sizeof(record) ? sizeof(record) : record.length;
		n = want - seen->have < len ? want - seen->have : len;
		memcpy(seen->part + seen->have, data, n);
		seen->have += n;
		data += n;
		len -= n;
		if (seen->have < sizeof(record))
			return NULL;
		memcpy(&record, seen->part, sizeof(record));
		if (record.length < sizeof(record) || record.length > RECORD_MAX)
			return "no record begins here";
		if (seen->have < record.length)
			continue;
		if (record.lane >= LANES || record.sum != sum_of(seen->part, record.length, number))
			return "a record is damaged";
		if (record.seq != seen->next[record.lane] &&
		    !(lost && record.seq > seen->next[record.lane]))
			return "a record is not the next of its lane";
		seen->next[record.lane] = record.seq + 1;
		seen->have = 0;
	}
	return NULL;
}

/* A sink. */
static int take(void *ctx, const void *data, size_t len)
{
	struct stream *st = ctx;
	const char *wrong = parse(&st->seen, st->number, data, len, false);

	if (wrong)
		report(__LINE__, wrong);
	return (int)len;
}

static int push_record(struct stream *st, uint32_t lane)
{
	unsigned char record[RECORD_MAX];
	uint32_t len = make(record, st, lane, st->accepted[lane]);
	int err = bpf_stream_push(&st->s, record, len);

	CHECK(!err || err == -ENOSPC || err == -ENOMEM);
	st->accepted[lane] += err ? 0 : 1;
	return err;
}

static int push_group(struct stream *st, uint32_t lane)
{
	unsigned char record[RECORD_MAX];
	struct bpf_stream_stage ss;
	uint32_t i;
	int err = 0;

	bpf_stream_stage_init(&ss);
	for (i = 0; i < GROUP && !err; i++)
		err = bpf_stream_stage_push(&ss, record,
					    make(record, st, lane, st->accepted[lane] + i));
	if (!err)
		err = bpf_stream_stage_commit_to(&ss, &st->s);
	CHECK(!err || err == -ENOSPC || err == -ENOMEM);
	st->accepted[lane] += err ? 0 : GROUP;
	bpf_stream_stage_free(&ss);
	return err;
}

static size_t pages_in_use(void)
{
	struct bpf_stream_pool_stats pool;

	bpf_stream_pool_get_stats(&pool);
	return pool.in_use;
}

static bool pool_is_used_up(void)
{
	struct bpf_stream_pool_stats pool;

	bpf_stream_pool_get_stats(&pool);
	/* A long record takes two, and gives the one back that it got. */
	return pool.total - pool.in_use <= 2;
}

static void check_sound(struct bpf_stream *s)
{
	const char *broken = bpf_stream_selfcheck(s);

	if (broken)
		report(__LINE__, broken);
}

static void init_stream(struct stream *st)
{
	/* The second one is read seldom, and has more pending. */
	struct bpf_stream_options opts = { .capacity = st == stream ? 50000 : 300000 };

	st->number = (uint32_t)(st - stream);
	CHECK(!bpf_stream_init(&st->s, &opts));
}

/* ---- Processes --------------------------------------------------------- */

static void make_process(enum where where);

static int stop;
static int started;			/* threads that are in the middle of their work */
static int wanted;			/* enum where: a process is to be made */
static int wanted_writer;		/* by this one, if by one */
static pid_t made;			/* its id */
static enum where born;			/* NOWHERE, or this is a child, made there */
static _Thread_local unsigned int self;	/* writer from 1; 0: another thread */

/* Called where a process can be made. */
static void offer(enum where where)
{
	if (look(&wanted) != (int)where ||
	    (where == IN_WRITER && look(&wanted_writer) != (int)self))
		return;
	set(&wanted, NOWHERE);
	make_process(where);
}

/* In a handler, or where one could come in; not inside of itself. */
static void push_in_between(void)
{
	static _Thread_local volatile bool busy;
	uint32_t lane = 2 * (self - 1) + 1;

	if (busy)
		return;
	busy = true;
	(void)push_record(&stream[0], lane);
	(void)push_record(&stream[1], lane);
	busy = false;
}

static void handler(int signal)
{
	int saved = errno;

	(void)signal;
	if (self)
		push_in_between();
	errno = saved;
}

static void at_hook(enum hook_point point)
{
	static _Thread_local unsigned int calls;

	if (born || point >= HOOK_POOLING)
		return;
	if (++calls % 97 == 0)
		push_in_between();
}

static void child_goes_on(void);

static void *writer(void *id)
{
	uint32_t lane;
	uint64_t i;
	int err;

	self = *(unsigned int *)id;
	lane = 2 * (self - 1);
	hook = at_hook;
	for (i = 0; !look(&stop); i++) {
		err = (i % 32 < 30 ? push_record : push_group)(&stream[i % STREAMS], lane);
		if (i == 25)
			__atomic_fetch_add(&started, 1, __ATOMIC_RELEASE);
		/* Nothing comes in: signals are blocked, as at its end. */
		hook = NULL;
		if (i % 500 == 0)
			bpf_stream_thread_release();
		hook = at_hook;
		offer(IN_WRITER);
		if (born)
			child_goes_on();
		if (err)
			program_pause();
	}
	hook = NULL;
	return NULL;
}

static int traffic_sink(void *ctx, const void *data, size_t len)
{
	struct stream *st = ctx;
	int ret;

	st->before = st->seen;
	/* Whole, before anything else changes: a child may need it. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	set(&st->in_sink, 1);
	/* A fork somewhere else shall find readers at work. */
	sched_yield();
	ret = take(st, data, len);
	set(&st->in_sink, 0);
	return ret;
}

static void *reader(void *unused)
{
	unsigned int i;
	int ret;

	for (i = 0; !look(&stop); i++) {
		struct stream *st = &stream[i % 16 ? 0 : 1];

		set(&st->draining, 1);
		ret = bpf_stream_drain(&st->s, traffic_sink, st, 1 + i * 7919 % 20000);
		set(&st->draining, 0);
		CHECK(ret >= 0);
		if (i == 25)
			__atomic_fetch_add(&started, 1, __ATOMIC_RELEASE);
		offer(IN_READER);
		if (born)
			child_goes_on();
		if (!ret)
			program_pause();
	}
	return unused;
}

/* In the end each lane is where its writer was, or behind what was lost. */
static void check_lanes(struct stream *st, enum where where, bool lost)
{
	uint32_t ahead;
	uint32_t lane;

	for (lane = 0; lane < LANES; lane++) {
		ahead = st->seen.next[lane] - st->accepted[lane];
		if (lost && st->seen.next[lane] < st->accepted[lane])
			ahead = 0;
		/* Another thread was cut off between its push and its count. */
		if (where && ahead && lane / 2 + 1 != self) {
			CHECK(ahead <= GROUP);
			st->accepted[lane] = st->seen.next[lane];
			ahead = 0;
		}
		CHECK(!ahead);
		st->seen.next[lane] = st->accepted[lane];
	}
	check_sound(&st->s);
}

static struct bpf_stream_stats stats_of(const struct stream *st)
{
	struct bpf_stream_stats stats;

	bpf_stream_get_stats(&st->s, &stats);
	return stats;
}

/* Takes out what is pending. */
static void read_all(struct stream *st, enum where where)
{
	size_t pending = stats_of(st).pending;
	size_t sum = 0;
	int ret;

	do {
		ret = bpf_stream_drain(&st->s, take, st, 3001);
		CHECK(ret >= 0);
		sum += (size_t)ret;
	} while (ret);
	CHECK(sum == pending);
	CHECK(!st->seen.have);
	check_lanes(st, where, false);
}

/* The same, where its reader was in a drain, and is not in this process. */
static bool read_behind_a_reader(struct stream *st)
{
	static unsigned char data[300000];
	const struct bpf_stream_stats stats = stats_of(st);
	const char *wrong;
	uint64_t lost;
	size_t len = 0;
	int ret;

	CHECK(born != IN_READER);
	do {
		ret = bpf_stream_read(&st->s, data + len, sizeof(data) - len);
		CHECK(ret >= 0);
		len += (size_t)ret;
	} while (ret);
	lost = stats_of(st).lost - stats.lost;
	CHECK(len + lost == stats.pending);
	CHECK(!stats_of(st).pending);
	CHECK(!lost || !look(&st->in_sink));
	if (lost) {
		st->seen.have = 0;
		wrong = parse(&st->seen, st->number, data, len, true);
	} else {
		struct seen seen = st->seen;

		wrong = parse(&seen, st->number, data, len, false);
		/* Or it was in its sink: the bytes of that call come again. */
		if (wrong || seen.have) {
			seen = st->before;
			wrong = parse(&seen, st->number, data, len, false);
		}
		st->seen = seen;
	}
	if (wrong)
		report(__LINE__, wrong);
	CHECK(!st->seen.have);
	check_lanes(st, born, lost);
	return lost;
}

static int count_bytes(void *sum, const void *data, size_t len)
{
	(void)data;
	*(size_t *)sum += len;
	return (int)len;
}

static void *child_writer(void *id)
{
	unsigned int i;

	self = *(unsigned int *)id;
	for (i = 0; i < 200; i++)
		if (push_record(&stream[i % STREAMS], 2 * (self - 1)))
			program_pause();
	return NULL;
}

static void start(pthread_t *thread, void *run(void *), void *arg)
{
	CHECK(!pthread_create(thread, NULL, run, arg));
}

/* How a child ends; anything else is a failure. */
enum { CONTENT = 0, CONTENT_BEHIND_A_LOSS = 10 };

static uint64_t losses;			/* children that had one */

static void wait_for(pid_t pid)
{
	int status = program_wait(pid);

	if (!WIFEXITED(status) || (WEXITSTATUS(status) != CONTENT &&
				   WEXITSTATUS(status) != CONTENT_BEHIND_A_LOSS))
		report(__LINE__, program_end_of(status));
	losses += WEXITSTATUS(status) == CONTENT_BEHIND_A_LOSS ? 1 : 0;
}

/* The child of a fork with a pool of its own. */
static void child_goes_on(void)
{
	unsigned int id[2] = { 1, 2 };
	pthread_t thread[2];
	bool lost = false;
	unsigned int i;
	pid_t pid;

	for (i = 0; i < STREAMS; i++) {
		if (look(&stream[i].draining))
			lost |= read_behind_a_reader(&stream[i]);
		else
			read_all(&stream[i], born);
	}
	for (i = 0; i < 300; i++) {
		int err = push_record(&stream[i % STREAMS], i / 3 % LANES);

		/* A reader that is gone may have had all pages. */
		CHECK(!err || (err == -ENOMEM && lost && pool_is_used_up()));
		if (i % 50 == 49)
			read_all(&stream[i / 50 % STREAMS], NOWHERE);
	}
	/* The race detector allows no thread in the child of many threads. */
	if (!PROGRAM_TSAN) {
		for (i = 0; i < 2; i++)
			start(&thread[i], child_writer, &id[i]);
		for (i = 0; i < 2; i++)
			CHECK(!pthread_join(thread[i], NULL));
	}
	pid = program_fork();
	CHECK(pid >= 0);
	for (i = 0; i < STREAMS; i++) {
		(void)push_record(&stream[i], 0);
		read_all(&stream[i], NOWHERE);
	}
	bpf_stream_thread_release();
	/* Left behind: what other threads kept, and were in the middle of. */
	if (!lost)
		CHECK(pages_in_use() <= threads * (2 + (GROUP + 1) * 3));
	if (pid)
		wait_for(pid);
	_exit(lost ? CONTENT_BEHIND_A_LOSS : CONTENT);
}

/* The child of a fork with a shared pool. */
static void child_is_refused(void)
{
	struct bpf_stream_stage ss = { 0 };
	struct bpf_stream *s = &stream[born % STREAMS].s;
	struct bpf_stream_stats before;
	struct bpf_stream_stats after;
	size_t sum = 0;
	char buf[100] = "";

	bpf_stream_get_stats(s, &before);
	CHECK(bpf_stream_push(s, buf, 1) == -EPERM);
	CHECK(bpf_stream_push(s, buf, sizeof(buf)) == -EPERM);
	CHECK(bpf_stream_printf(s, "%d", 1) == -EPERM);
	CHECK(bpf_stream_bprintf(s, "x", NULL, 0) == -EPERM);
	bpf_stream_get_stats(s, &after);
	CHECK(after.refused[BPF_STREAM_REFUSED_FOREIGN].messages ==
	      before.refused[BPF_STREAM_REFUSED_FOREIGN].messages + 4);
	CHECK(bpf_stream_stage_push(&ss, buf, 1) == -EPERM);
	CHECK(bpf_stream_stage_printk(&ss, "x") == -EPERM);
	/* As if it had been filled before the fork. */
	ss = (struct bpf_stream_stage){ 4096, 4096, 1, 1 };
	CHECK(bpf_stream_stage_commit_to(&ss, s) == -EPERM);
	bpf_stream_stage_free(&ss);
	CHECK(bpf_stream_read(s, buf, sizeof(buf)) == -EPERM);
	CHECK(bpf_stream_try_read(s, buf, sizeof(buf)) == -EPERM);
	CHECK(bpf_stream_drain(s, count_bytes, &sum, SIZE_MAX) == -EPERM);
	CHECK(bpf_stream_try_drain(s, count_bytes, &sum, SIZE_MAX) == -EPERM);
	CHECK(bpf_stream_drain_fd(s, STDERR_FILENO, SIZE_MAX) == -EPERM);
	CHECK(!sum);
	CHECK(!bpf_stream_pool_trim());
	/* It does not look at what the parent changes meanwhile. */
	CHECK(bpf_stream_selfcheck(s) && bpf_stream_selfcheck(NULL));
	bpf_stream_thread_release();
	bpf_stream_destroy(s);
	_exit(CONTENT);
}

static void become_fresh(void)
{
	sigset_t set;

	/* The new program has no handler; one that is pending would end it. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK(!pthread_sigmask(SIG_BLOCK, &set, NULL));
	execl("/proc/self/exe", "processes", "fresh", (char *)NULL);
	report(__LINE__, "exec failed");
}

static void make_process(enum where where)
{
	static char name[] = "processes";
	static char fresh[] = "fresh";
	char *args[] = { name, fresh, NULL };
	char *no_environment[] = { NULL };
	pid_t pid;

	if (mode == EXEC_HERE)
		become_fresh();
	if (mode == EXEC && where == IN_WRITER) {
		CHECK(!posix_spawn(&pid, "/proc/self/exe", NULL, NULL, args, no_environment));
	} else {
		pid = program_fork();
		CHECK(pid >= 0);
	}
	if (!pid) {
		born = where;
		if (mode == EXEC)
			become_fresh();
		if (mode == SHARED)
			child_is_refused();
		return;
	}
	set(&made, pid);
}

/* ---- The program ------------------------------------------------------- */

/* The program that was exec'ed starts from nothing. */
static void check_nothing_is_here(void)
{
	struct bpf_stream_pool_stats pool;
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[4096];

	bpf_stream_pool_get_stats(&pool);
	CHECK(!pool.total && !pool.denied);
	CHECK(maps);
	while (fgets(line, sizeof(line), maps))
		CHECK(!strstr(line, "processes_pool"));
	fclose(maps);
}

static void use_shared_region(void)
{
	int fd = (int)syscall(SYS_memfd_create, "processes_pool", 1u /* MFD_CLOEXEC */);
	void *region;

	CHECK(fd >= 0);
	CHECK(!ftruncate(fd, BPF_STREAM_POOL_BYTES));
	region = mmap(NULL, BPF_STREAM_POOL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(region != MAP_FAILED);
	CHECK(!bpf_stream_pool_use(region, BPF_STREAM_POOL_BYTES, BPF_STREAM_POOL_SHARED));
}

/* Another process runs this program in @mode_name. */
static void run_other(const char *mode_name)
{
	char text[32];
	pid_t pid = program_fork();

	CHECK(pid >= 0);
	if (!pid) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)seed + draw(1000000));
		execl("/proc/self/exe", "processes", mode_name, "--seed", text, (char *)NULL);
		_exit(1);
	}
	wait_for(pid);
}

/* One round: some traffic, then a process is made, and both go on. */
static void run_round(enum where where, const pthread_t *writers)
{
	unsigned int i;
	unsigned int n;

	for (n = 1 + draw(3); n; n--) {
		for (i = 0; i < threads; i++)
			CHECK(!pthread_kill(writers[i], SIGUSR1));
		nanosleep(&(struct timespec){ 0, 1 + (long)draw(300000) }, NULL);
	}
	i = draw(threads);
	set(&made, 0);
	set(&wanted_writer, (int)i + 1);
	set(&wanted, (int)where);
	if (where == IN_MAIN)
		offer(IN_MAIN);
	if (born)
		child_goes_on();
	while (!look(&made))
		program_pause();
	wait_for(made);
}

static uint64_t run(uint64_t rounds)
{
	const struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	unsigned int id[THREADS_MAX];
	pthread_t writers[THREADS_MAX];
	pthread_t reading;
	uint64_t round;
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < STREAMS; i++)
		init_stream(&stream[i]);
	CHECK(!sigaction(SIGUSR1, &action, NULL));
	for (i = 0; i < threads; i++) {
		id[i] = i + 1;
		start(&writers[i], writer, &id[i]);
	}
	start(&reading, reader, NULL);
	/*
	 * The address sanitizer allocates while a thread begins; a child of
	 * this moment would wait for that lock when it starts its own.
	 */
	while (look(&started) <= (int)threads)
		program_pause();
	program_case = mode_names[mode];
	for (round = 0; round < rounds; round++) {
		program_turn = round;
		run_round((enum where)(1 + (seed + round) % (WHERES - 1)), writers);
	}
	set(&stop, 1);
	for (i = 0; i < threads; i++)
		CHECK(!pthread_join(writers[i], NULL));
	CHECK(!pthread_join(reading, NULL));
	for (i = 0; i < STREAMS; i++) {
		unsigned int lane;

		read_all(&stream[i], NOWHERE);
		for (lane = 0; lane < LANES; lane++)
			sum += stream[i].accepted[lane];
		bpf_stream_destroy(&stream[i].s);
	}
	CHECK(sum);
	CHECK(!pages_in_use());
	check_sound(NULL);
	return sum;
}

static const char *mode_name(unsigned int i)
{
	return i < MODES ? mode_names[i] : NULL;
}

int main(int argc, char **argv)
{
	uint64_t rounds = program_number(200, 5000) / (PROGRAM_TSAN ? 5 : 1);
	uint64_t n = 4;
	const char *name = NULL;
	const struct program_option options[] = {
		PROGRAM_SEED(&seed),
		PROGRAM_NUMBER("rounds", "processes that are made", &rounds, 1, UINT64_MAX),
		PROGRAM_NUMBER("threads", "that write", &n, 1, THREADS_MAX),
		PROGRAM_WORD("MODE", "the last two are for exec's own use:", &name, mode_name),
		PROGRAM_LAST
	};
	uint64_t records;
	uint64_t i;

	program_options(argc, argv, "Make processes out of the middle of traffic.", options);
	while (strcmp(name, mode_names[mode]))
		mode++;
	drawn = seed;
	threads = (unsigned int)n;
	if (mode == FRESH) {
		check_nothing_is_here();
		(void)run(0);
		return 0;
	}
	if (mode != EXEC_HERE) {
		first_process = getpid();
		program_show(options);
		if (access("/proc/self/exe", F_OK)) {
			printf("SKIP: processes: /proc is not mounted\n");
			return program_end(0, 0, 1);
		}
	}
	for (i = 0; mode == EXEC && i < rounds / 2; i++)
		run_other("exec-here");
	if (mode != PRIVATE)
		use_shared_region();
	records = run(mode == EXEC_HERE ? 1 : mode == EXEC ? rounds - rounds / 2 : rounds);
	printf("%" PRIu64 " records in the parent, %" PRIu64 " children behind a loss\n",
	       records, losses);
	return program_end(rounds, 0, 0);
}
