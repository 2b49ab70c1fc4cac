// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Signals that come to parent and child while the one becomes two.
 *
 * Another process signals the group without a pause, as a terminal does once
 * for Ctrl-C; the handler pushes; the main thread forks and reads. With a
 * shared region no push in a child may succeed, and every record that the
 * parent reads must be one of its own, whole.
 *
 * A regression test. The C library runs the hooks of pthread_atfork() in the
 * child some time after the child exists. A handler that came in between took
 * itself for the parent's, and wrote into the page that the parent was filling.
 * Signals are blocked from before the fork until the hook has run.
 *
 * Before that, a hook of somebody else's that forks, too: signals must be as
 * they were, in all of the processes.
 *
 * Seen to fail with: bse_process_forks() that blocks nothing; the mask set back
 * in the child before it knows what it is, or not at all; a mask that the fork
 * inside a hook overwrites.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_SELFCHECK 1
#include "bpf_stream.h"
#include "../program.h"

#include <sys/wait.h>

#define REGION_PAGES 64

struct record {
	uint64_t pid;
	uint64_t number;
	uint64_t check;
	char fill[40];
};

static struct bpf_stream stream;
static pid_t parent;
static uint64_t number;
static uint32_t *pushed_in_children;	/* shared with them */
static uint32_t *refused_in_children;
static volatile sig_atomic_t handled;	/* by the parent */
static uint64_t seed;
static uint64_t rounds;

static bool push(void)
{
	struct record r = { (uint64_t)getpid(), number++, 0, { 0 } };

	r.check = ~(r.pid * 31 + r.number);
	memset(r.fill, (int)r.number & 127, sizeof(r.fill));
	return !bpf_stream_push(&stream, &r, sizeof(r));
}

static void push_in_handler(int sig)
{
	int saved = errno;
	bool pushed = push();

	(void)sig;
	if (getpid() == parent)
		handled = 1;
	else
		__atomic_fetch_add(pushed ? pushed_in_children : refused_in_children, 1,
				   __ATOMIC_RELAXED);
	errno = saved;
}

static bool is_whole(const struct record *r)
{
	size_t i;

	for (i = 0; i < sizeof(r->fill); i++)
		if (r->fill[i] != (char)(r->number & 127))
			return false;
	return r->pid == (uint64_t)parent && r->check == ~(r->pid * 31 + r->number);
}

/* Returns how many records were not as they should be. */
static uint64_t read_all(uint64_t *records)
{
	uint64_t wrong = 0;
	struct record r;

	while (bpf_stream_read(&stream, &r, sizeof(r)) > 0) {
		++*records;
		wrong += !is_whole(&r);
	}
	return wrong;
}

static bool open_to_signals(void)
{
	sigset_t blocked;

	sigprocmask(SIG_BLOCK, NULL, &blocked);
	return !sigismember(&blocked, SIGUSR1) && !sigismember(&blocked, SIGTERM);
}

/* Forks: the child tells by its status whether all is well. */
static bool child_is_open_to_signals(void)
{
	int status = 1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(open_to_signals() ? 0 : 1);
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

static bool forks_in_hook;
static pid_t forked_in_hook;

/* Registered before the library's hooks, so that it runs inside of them. */
static void fork_in_hook(void)
{
	if (!forks_in_hook)
		return;
	forks_in_hook = false;
	forked_in_hook = fork();
}

__attribute__((__constructor__(101))) static void register_hook(void)
{
	pthread_atfork(fork_in_hook, NULL, NULL);
}

/* The hook's child goes on with the fork that it came in: four processes. */
static bool masks_are_set_back(void)
{
	pid_t self = getpid();
	int status = 1;
	bool well;

	forks_in_hook = true;
	well = child_is_open_to_signals() && open_to_signals();
	if (getpid() != self)
		_exit(well ? 0 : 1);
	return well && forked_in_hook > 0 &&
	       waitpid(forked_in_hook, &status, 0) == forked_in_hook && !status;
}

static pid_t signal_the_group(void)
{
	uint64_t state = seed;
	pid_t pid = fork();

	if (pid)
		return pid;
	program_limit();
	signal(SIGUSR1, SIG_IGN);
	while (getppid() == parent) {
		kill(0, SIGUSR1);
		usleep(program_below(&state, 100));
	}
	_exit(0);
}

static uint64_t fork_and_read(uint64_t *records)
{
	uint64_t wrong;
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(push() ? 1 : 0);
	if (pid < 0) {
		perror("fork");
		return 1;
	}
	while (waitpid(pid, &status, 0) < 0)
		;
	if (status)
		printf("FAIL: a child ended with status %d; its push should be refused\n", status);
	wrong = read_all(records) + !!status;
	push();
	return wrong;
}

int main(int argc, char **argv)
{
	const struct program_option options[] = {
		{ "seed", "of the pauses", &seed, NULL, 0, UINT64_MAX, NULL },
		{ "rounds", "forks", &rounds, NULL, 1, 1000000, NULL },
		PROGRAM_LAST
	};
	const size_t size = REGION_PAGES * BPF_STREAM_PAGE_SIZE;
	struct sigaction action = { .sa_handler = push_in_handler };
	struct bpf_stream_pool_stats pool;
	uint64_t records = 0;
	uint64_t wrong = 0;
	uint32_t in_children;
	const char *broken;
	sigset_t used;
	pid_t other;
	void *region;

	sigemptyset(&used);
	sigaddset(&used, SIGUSR1);
	sigaddset(&used, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &used, NULL);
	rounds = program_number(500, 10000);
	program_begin(argc, argv, "Signals to the group while a process forks.", options);
	region = mmap(NULL, size + 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (region == MAP_FAILED || bpf_stream_pool_use(region, size, BPF_STREAM_POOL_SHARED)) {
		printf("FAIL: no region\n");
		return program_end(0, 1, 0);
	}
	pushed_in_children = (uint32_t *)(void *)((char *)region + size);
	refused_in_children = pushed_in_children + 1;
	bpf_stream_init(&stream, NULL);
	parent = getpid();
	setpgid(0, 0);
	if (!masks_are_set_back()) {
		printf("FAIL: signals are not as they were before a fork\n");
		return program_end(0, 1, 0);
	}
	push();
	sigaction(SIGUSR1, &action, NULL);
	other = signal_the_group();
	if (other < 0) {
		perror("fork");
		return program_end(0, 1, 0);
	}
	for (program_turn = 0; program_turn < rounds && !wrong; program_turn++)
		wrong = fork_and_read(&records);
	kill(other, SIGKILL);
	while (waitpid(other, NULL, 0) < 0)
		;
	signal(SIGUSR1, SIG_IGN);
	wrong += read_all(&records);
	bpf_stream_thread_release();
	bpf_stream_pool_get_stats(&pool);
	broken = bpf_stream_selfcheck(NULL);
	printf("  %" PRIu64 " records, %" PRIu64 " wrong; handlers in children: %u pushed, "
	       "%u refused; %zu pages in use\n", records, wrong, *pushed_in_children,
	       *refused_in_children, pool.in_use);
	if (broken)
		printf("FAIL: %s\n", broken);
	if (!handled)
		printf("FAIL: no signal came\n");
	in_children = *pushed_in_children + *refused_in_children;
	if (!in_children && rounds >= 500)
		printf("FAIL: no signal came to a child\n");
	wrong += broken || !handled || (!in_children && rounds >= 500) || *pushed_in_children ||
		 pool.in_use;
	return program_end(!wrong, !!wrong, 0);
}
