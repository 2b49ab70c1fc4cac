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
 *            parent's reader was, and ends where the writer was. A stream whose
 *            reader was cut off is busy until it is made anew. Then it pushes,
 *            reads, starts threads, forks again.
 *   shared   fork with a shared memfd as the pool: everything is -EPERM.
 *   exec     fork and exec, posix_spawn, or exec in place of the process: the
 *            new program finds nothing of the old one, and runs traffic itself.
 *
 * Meanwhile the parent goes on; in the end each lane is whole, and no page is
 * in use.
 *
 * Seen to fail with the header changed so that: forks are not counted, or a
 * holder left in the parent is waited for; init keeps the old stream; the child
 * forgets what its slots count; handlers share the slot that they interrupt, or
 * leave it to another level; a publish links once, before a lost race; the
 * child of a shared pool may push, keep its slots, commit, free a stage, drain,
 * trim, destroy, or look at the parent's pages to check them.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_SELFCHECK 1
#define BPF_STREAM_POOL_BYTES (4u << 20)
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
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

static void nap(void)
{
	nanosleep(&(struct timespec){ 0, 200000 }, NULL);
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
	/* What a reader has seen; changed in a sink, so the lock is held. */
	uint32_t next[LANES];
	size_t have;
	unsigned char part[RECORD_MAX];
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

/* Takes all, and checks each record as soon as it is whole. */
static void parse(struct stream *st, const unsigned char *data, size_t len)
{
	struct record record;
	size_t want;
	size_t n;

	while (len) {
		memcpy(&record, st->part, sizeof(record));
		want = st->have < sizeof(record) ? sizeof(record) : record.length;
		n = want - st->have < len ? want - st->have : len;
		memcpy(st->part + st->have, data, n);
		st->have += n;
		data += n;
		len -= n;
		if (st->have < sizeof(record))
			return;
		memcpy(&record, st->part, sizeof(record));
		CHECK(record.length >= sizeof(record) && record.length <= RECORD_MAX);
		if (st->have < record.length)
			continue;
		CHECK(record.lane < LANES);
		CHECK(record.sum == sum_of(st->part, record.length, st->number));
		CHECK(record.seq == st->next[record.lane]);
		st->next[record.lane]++;
		st->have = 0;
	}
}

static int take(void *st, const void *data, size_t len)
{
	parse(st, data, len);
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
			nap();
	}
	hook = NULL;
	return NULL;
}

static int traffic_sink(void *st, const void *data, size_t len)
{
	/* A fork somewhere else shall find readers at work. */
	sched_yield();
	return take(st, data, len);
}

static void *reader(void *unused)
{
	unsigned int i;
	int ret;

	for (i = 0; !look(&stop); i++) {
		struct stream *st = &stream[i % 16 ? 0 : 1];

		ret = bpf_stream_drain(&st->s, traffic_sink, st, 1 + i * 7919 % 20000);
		CHECK(ret >= 0);
		if (i == 25)
			__atomic_fetch_add(&started, 1, __ATOMIC_RELEASE);
		offer(IN_READER);
		if (born)
			child_goes_on();
		if (!ret)
			nap();
	}
	return unused;
}

/* Takes out what is pending; in the end each lane is where its writer was. */
static void read_all(struct stream *st, enum where where)
{
	struct bpf_stream_stats stats;
	size_t sum = 0;
	size_t pending;
	uint32_t ahead;
	uint32_t lane;
	int ret;

	bpf_stream_get_stats(&st->s, &stats);
	pending = stats.pending;
	do {
		ret = bpf_stream_drain(&st->s, take, st, 3001);
		CHECK(ret >= 0);
		sum += (size_t)ret;
	} while (ret);
	CHECK(sum == pending);
	CHECK(!st->have);
	for (lane = 0; lane < LANES; lane++) {
		ahead = st->next[lane] - st->accepted[lane];
		/* Another thread was cut off between its push and its count. */
		if (where && ahead && lane / 2 + 1 != self) {
			CHECK(ahead <= GROUP);
			st->accepted[lane] = st->next[lane];
			ahead = 0;
		}
		CHECK(!ahead);
	}
	check_sound(&st->s);
}

static int count_bytes(void *sum, const void *data, size_t len)
{
	(void)data;
	*(size_t *)sum += len;
	return (int)len;
}

/* Its reader is not in this process. */
static void check_cut_off(struct stream *st)
{
	size_t sum = 0;
	char byte;

	CHECK(born != IN_READER);
	CHECK(bpf_stream_read(&st->s, &byte, 1) == -EBUSY);
	CHECK(bpf_stream_try_read(&st->s, &byte, 1) == -EBUSY);
	CHECK(bpf_stream_drain(&st->s, count_bytes, &sum, SIZE_MAX) == -EBUSY);
	CHECK(bpf_stream_try_drain(&st->s, count_bytes, &sum, SIZE_MAX) == -EBUSY);
	CHECK(bpf_stream_drain_fd(&st->s, STDERR_FILENO, SIZE_MAX) == -EBUSY);
	CHECK(!sum);
	(void)push_record(st, 0);
	bpf_stream_destroy(&st->s);
	init_stream(st);
	memcpy(st->next, st->accepted, sizeof(st->next));
	st->have = 0;
}

static void *child_writer(void *id)
{
	unsigned int i;

	self = *(unsigned int *)id;
	for (i = 0; i < 200; i++)
		if (push_record(&stream[i % STREAMS], 2 * (self - 1)))
			nap();
	return NULL;
}

static void start(pthread_t *thread, void *run(void *), void *arg)
{
	CHECK(!pthread_create(thread, NULL, run, arg));
}

/* How a child ends; anything else is a failure. */
enum { CONTENT = 0, CONTENT_WITHOUT_READER = 10 };

static uint64_t cut_off;		/* children that were */

static void wait_for(pid_t pid)
{
	int status = program_wait(pid);

	if (!WIFEXITED(status) || (WEXITSTATUS(status) != CONTENT &&
				   WEXITSTATUS(status) != CONTENT_WITHOUT_READER))
		report(__LINE__, program_end_of(status));
	cut_off += WEXITSTATUS(status) == CONTENT_WITHOUT_READER ? 1 : 0;
}

/* The child of a fork with a pool of its own. */
static void child_goes_on(void)
{
	unsigned int id[2] = { 1, 2 };
	pthread_t thread[2];
	bool cut[STREAMS];
	unsigned int i;
	pid_t pid;
	char byte;

	for (i = 0; i < STREAMS; i++) {
		cut[i] = bpf_stream_try_read(&stream[i].s, &byte, 0) == 0 &&
			 bpf_stream_try_drain(&stream[i].s, take, &stream[i], 1) == -EBUSY;
		if (cut[i])
			check_cut_off(&stream[i]);
		else
			read_all(&stream[i], born);
	}
	for (i = 0; i < 300; i++) {
		int err = push_record(&stream[i % STREAMS], i / 3 % LANES);

		/* A reader that was cut off may have had all pages. */
		CHECK(!err || (err == -ENOMEM && (cut[0] || cut[1]) && pool_is_used_up()));
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
	if (!cut[0] && !cut[1])
		CHECK(pages_in_use() <= threads * (2 + (GROUP + 1) * 3));
	if (pid)
		wait_for(pid);
	_exit(cut[0] || cut[1] ? CONTENT_WITHOUT_READER : CONTENT);
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
		nap();
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
		nap();
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
	printf("%" PRIu64 " records in the parent, %" PRIu64 " children without their reader\n",
	       records, cut_off);
	return program_end(rounds, 0, 0);
}
