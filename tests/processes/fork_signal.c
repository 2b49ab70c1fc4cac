// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Signals that come to parent and child while the one becomes two.
 *
 * Another process signals the group without a pause, as a terminal does once
 * for Ctrl-C; the handler pushes; the main thread forks, pushes and reads. One
 * signal is raised in the child before the library's own hook runs there: so
 * each child has a handler that comes in between.
 *
 *   private  the pool is the process's own: parent and child go on, each with a
 *            copy of what was pending. Each tenth child forks in turn. In each
 *            of them no record is lost, doubled, torn or out of its order.
 *   shared   the pool is a region that both have. Signals are blocked around
 *            the fork, which the contract wants. No push in a child succeeds,
 *            and what the parent reads is its own.
 *
 * A child waits until a handler has come in, so that it does not depend on the
 * machine's load whether the test has tested anything.
 *
 * Seen to fail with: no hook in the child; one that does not refuse the child
 * of a shared region, or leaves it the parent's slots; a private child that
 * forgets which pages it keeps.
 */
#define BPF_STREAM_STATIC
#include "bpf_stream.h"
#include "../unit/selfcheck.h"
#include "../program.h"

#define REGION_PAGES 64

enum lane { MAIN, HANDLER, LANES };

struct record {
	uint64_t lane;
	uint64_t number;
	uint64_t check;
	char fill[40];
};

static struct bpf_stream stream;
static bool shared;
static pid_t parent;
static uint64_t number[LANES];		/* of the next record; each lane has its own writer */
static uint64_t seen[LANES];		/* of the next record that comes out */
static volatile sig_atomic_t handled;	/* in this process */
static volatile sig_atomic_t result;	/* of the handler's last push */
static uint64_t seed;
static uint64_t rounds;

/* In any process. */
static _Noreturn void report(int line, const char *what)
{
	printf("FAIL %s, seed %" PRIu64 ", fork %" PRIu64 ", in the %s: line %d: %s\n",
	       program_case, seed, program_turn, getpid() == parent ? "parent" : "child", line,
	       what);
	if (getpid() == parent)
		program_end(0, 1, 0);
	fflush(stdout);
	_exit(1);
}

/* The same, of a record. */
__attribute__((format(printf, 2, 3)))
static _Noreturn void report_record(int line, const char *format, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	report(line, text);
}

static int push(enum lane lane)
{
	struct record r = { lane, number[lane], ~(lane * 31 + number[lane]), { 0 } };
	int err;

	memset(r.fill, (int)r.number & 127, sizeof(r.fill));
	err = bpf_stream_push(&stream, &r, sizeof(r));
	number[lane] += !err;
	return err;
}

/*
 * TSan runs a signal that it held back before the fork in the middle of the
 * handler for another one, whatever the mask says. Then the lane has no writer
 * of its own.
 */
static void push_in_handler(int sig)
{
	static volatile sig_atomic_t inside;
	int saved = errno;

	(void)sig;
	if (inside)
		return;
	inside = 1;
	result = push(HANDLER);
	handled = 1;
	inside = 0;
	errno = saved;
}

static void read_all(void)
{
	static const char *const names[] = { "MAIN", "HANDLER" };
	struct record r;
	size_t i;
	int n;

	while ((n = bpf_stream_read(&stream, &r, sizeof(r))) > 0) {
		if (n != sizeof(r))
			report_record(__LINE__, "%d bytes were read, expected a record of %zu", n,
				      sizeof(r));
		if (r.lane >= LANES || r.check != ~(r.lane * 31 + r.number))
			report_record(__LINE__, "a torn record: lane %" PRIu64 ", number %" PRIu64
				      ", check %#" PRIx64, r.lane, r.number, r.check);
		if (r.number != seen[r.lane])
			report_record(__LINE__, "lane %s: record %" PRIu64 " came, expected %"
				      PRIu64, names[r.lane], r.number, seen[r.lane]);
		seen[r.lane]++;
		for (i = 0; i < sizeof(r.fill); i++)
			if (r.fill[i] != (char)(r.number & 127))
				report_record(__LINE__, "lane %s: record %" PRIu64 " is torn: byte "
					      "%zu is 0x%02x, expected 0x%02x", names[r.lane],
					      r.number, i, (unsigned char)r.fill[i],
					      (unsigned int)r.number & 127);
	}
	if (n)
		report_record(__LINE__, "a read returned %d", n);
}

/* Handlers may have filled the stream. */
static void push_and_read(void)
{
	int err;

	while ((err = push(MAIN))) {
		CHECK(err == -ENOSPC || err == -ENOMEM);
		read_all();
	}
	read_all();
}

static void let_signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK(!sigprocmask(how, &set, NULL));
}

static void check_sound(struct bpf_stream *s)
{
	const char *broken = bpf_stream_selfcheck(s);

	if (broken)
		report(__LINE__, broken);
}

static pid_t fork_once(void)
{
	pid_t pid;

	if (shared)
		let_signals(SIG_BLOCK);
	handled = 0;
	pid = program_fork();
	CHECK(pid >= 0);
	if (shared)
		let_signals(SIG_UNBLOCK);
	return pid;
}

static void wait_for(pid_t child)
{
	int status = program_wait(child);

	if (status)
		report(__LINE__, program_end_of(status));
}

/* So many @generations come after it. */
static _Noreturn void child_goes_on(unsigned int generations)
{
	pid_t pid = 0;
	unsigned int i;

	for (; !pid; generations--) {
		while (!handled)
			program_pause();
		if (shared) {
			CHECK(push(MAIN) == -EPERM);
			CHECK(result == -EPERM);
			_exit(0);
		}
		for (i = 0; i < 5; i++)
			push_and_read();
		if (!generations)
			break;
		pid = fork_once();
	}
	if (pid)
		wait_for(pid);
	signal(SIGUSR1, SIG_IGN);
	read_all();
	CHECK(seen[MAIN] == number[MAIN] && seen[HANDLER] == number[HANDLER]);
	bpf_stream_thread_release();
	check_sound(&stream);
	check_sound(NULL);
	_exit(0);
}

static bool raises_in_child;

/* Registered before the library's hooks, so that in the child it runs first. */
static void raise_in_child(void)
{
	if (raises_in_child)
		raise(SIGUSR1);
}

__attribute__((__constructor__(101))) static void register_hook(void)
{
	pthread_atfork(NULL, NULL, raise_in_child);
}

static pid_t signal_the_group(void)
{
	uint64_t state = seed;
	pid_t pid = program_fork();

	if (pid)
		return pid;
	signal(SIGUSR1, SIG_IGN);
	while (getppid() == parent) {
		kill(0, SIGUSR1);
		usleep(program_below(&state, 100));
	}
	_exit(0);
}

static const char *mode_name(unsigned int i)
{
	static const char *const names[] = { "private", "shared", NULL };

	return names[i];
}

int main(int argc, char **argv)
{
	const char *mode = NULL;
	const struct program_option options[] = {
		PROGRAM_SEED(&seed),
		PROGRAM_NUMBER("rounds", "forks", &rounds, 1, 1000000),
		PROGRAM_WORD("MODE", "whose pool it is:", &mode, mode_name),
		PROGRAM_LAST
	};
	const size_t size = REGION_PAGES * BPF_STREAM_PAGE_SIZE;
	const struct sigaction action = { .sa_handler = push_in_handler };
	struct bpf_stream_pool_stats pool;
	void *region;
	pid_t other;
	pid_t pid;

	rounds = program_number(500, 10000);
	program_begin(argc, argv, "Signals to the group while a process forks.", options);
	program_case = mode;
	shared = !strcmp(mode, "shared");
	parent = getpid();
	setpgid(0, 0);
	region = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(region != MAP_FAILED);
	CHECK(!shared || !bpf_stream_pool_use(region, size, BPF_STREAM_POOL_SHARED));
	bpf_stream_init(&stream, NULL);
	CHECK(!sigaction(SIGUSR1, &action, NULL));
	let_signals(SIG_UNBLOCK);
	other = signal_the_group();
	CHECK(other > 0);
	raises_in_child = true;
	for (program_turn = 0; program_turn < rounds; program_turn++) {
		(void)push(MAIN);
		pid = fork_once();
		if (!pid)
			child_goes_on(program_turn % 10 ? 0 : 2);
		wait_for(pid);
		push_and_read();
	}
	while (!handled)
		program_pause();
	kill(other, SIGKILL);
	program_wait(other);
	signal(SIGUSR1, SIG_IGN);
	read_all();
	CHECK(seen[MAIN] == number[MAIN] && seen[HANDLER] == number[HANDLER]);
	bpf_stream_thread_release();
	bpf_stream_pool_get_stats(&pool);
	CHECK(!pool.in_use);
	check_sound(NULL);
	printf("  %" PRIu64 " records of the main thread, %" PRIu64 " of handlers\n", seen[MAIN],
	       seen[HANDLER]);
	return program_end(1, 0, 0);
}
