/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Makes the calls of one row of the table in docs/recipes.md in a seccomp
 * filter that allows only the system calls that are named. usage: system_calls
 * CALLS SYSTEM_CALL...; test_recipes.py says which. Exit status: 0 no other was
 * made, 1 one was, 2 usage, 77 there is no seccomp.
 */
#define _GNU_SOURCE
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NAMED(name) { #name, SYS_ ## name }

static const struct {
	const char *name;
	long number;
} system_calls[] = {
	NAMED(eventfd2),
	NAMED(futex),
	NAMED(getpid),
	NAMED(gettid),
	NAMED(madvise),
	NAMED(mmap),
	NAMED(munmap),
	NAMED(rt_sigprocmask),
	NAMED(tgkill),
	NAMED(writev),
};

/* This program's own. */
static const long own[] = {
	SYS_exit_group, SYS_write, SYS_nanosleep, SYS_clock_nanosleep, SYS_openat, SYS_read,
	SYS_close,
};

static struct bpf_stream s;
static struct bpf_stream more;
static struct bpf_stream small = BPF_STREAM_INIT(.capacity = 1);
static char buf[100];
static volatile pid_t reader;		/* in its sink */
static volatile pid_t comes;		/* about to read, while the other one is in its sink */

static void killed(int sig, siginfo_t *info, void *context)
{
	char text[60];
	int n = snprintf(text, sizeof(text), "system call %d\n", info->si_syscall);

	(void)sig;
	(void)context;
	(void)!write(1, text, (size_t)n);
	_exit(1);
}

static int usage(void)
{
	fprintf(stderr, "usage: system_calls CALLS SYSTEM_CALL...\n");
	return 2;
}

/* Lets a system call pass; skipped if it is another one. */
static void allow(struct sock_fprog *program, long number)
{
	const struct sock_filter is = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)number,
					       0, 1);
	const struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

	program->filter[program->len++] = is;
	program->filter[program->len++] = pass;
}

/* For this thread: the program's own, and those named. */
static int allow_only(char *const *names)
{
	const struct sock_filter load = BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	const struct sock_filter trap = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	const size_t known = sizeof(system_calls) / sizeof(system_calls[0]);
	struct sigaction action = { .sa_sigaction = killed, .sa_flags = SA_SIGINFO };
	struct sock_filter filter[64] = { load };
	struct sock_fprog program = { .len = 1, .filter = filter };
	size_t i;

	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		allow(&program, own[i]);
	for (; *names && program.len < 60; names++) {
		for (i = 0; i < known && strcmp(*names, system_calls[i].name); i++)
			;
		if (i == known)
			return usage();
		allow(&program, system_calls[i].number);
	}
	filter[program.len++] = trap;
	sigaction(SIGSYS, &action, NULL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 77;
	return 0;
}

static void nap(long ms)
{
	struct timespec t = { 0, ms * 1000000 };

	nanosleep(&t, NULL);
}

static int take_all(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	return (int)len;
}

static bool sleeps(pid_t thread)
{
	char path[60];
	char stat[60];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)thread);
	fd = open(path, O_RDONLY);
	n = read(fd, stat, sizeof(stat) - 1);
	close(fd);
	stat[n > 0 ? n : 0] = 0;
	return strstr(stat, ") S ");
}

/* Until the other one waits for the lock. */
static int stay(void *ctx, const void *data, size_t len)
{
	reader = *(pid_t *)ctx;
	while (!comes || !sleeps(comes))
		nap(1);
	return take_all(ctx, data, len);
}

/* In its sink while the filtered thread comes. */
static void *read_first(void *unused)
{
	pid_t self = gettid();

	bpf_stream_drain(&s, stay, &self, SIZE_MAX);
	return unused;
}

/* Comes while the filtered thread is in its sink. */
static void *read_second(void *unused)
{
	while (!reader)
		nap(1);
	comes = gettid();
	bpf_stream_read(&s, buf, 1);
	return unused;
}

static void push_many(void)
{
	uint64_t arg = 7;
	struct bpf_stream_stats stats;
	struct bpf_stream_pool_stats pool;
	struct bpf_stream_stage stage;

	bpf_stream_init(&more, NULL);
	for (int i = 0; i < 1000; i++) {
		bpf_stream_push(&more, buf, sizeof(buf));
		bpf_stream_printf(&more, "line %d\n", i);
		bpf_stream_bprintf(&more, "%d", &arg, 8);
		bpf_stream_stage_init(&stage);
		bpf_stream_stage_push(&stage, buf, sizeof(buf));
		bpf_stream_stage_printk(&stage, "line %d\n", i);
		bpf_stream_stage_commit_to(&stage, &more);
		bpf_stream_stage_push(&stage, buf, sizeof(buf));
		bpf_stream_stage_free(&stage);
	}
	bpf_stream_get_stats(&more, &stats);
	bpf_stream_pool_get_stats(&pool);
}

int main(int argc, char **argv)
{
	static _Alignas(4096) char region[1 << 20];
	const char *calls = argc > 1 ? argv[1] : "";
	pid_t self = getpid();
	pthread_t other;
	int err;

	if (strcmp(calls, "pool_use") && strcmp(calls, "first_push"))
		bpf_stream_push(&s, "x", 1);
	if (!strcmp(calls, "wake"))
		pthread_create(&other, NULL, read_second, NULL);
	if (!strcmp(calls, "wait") || !strcmp(calls, "try")) {
		pthread_create(&other, NULL, read_first, NULL);
		while (!reader)
			nap(1);
	}
	if (!strcmp(calls, "pool_trim")) {
		push_many();
		bpf_stream_destroy(&more);
	}
	if (!strcmp(calls, "push_wakes")) {
		bpf_stream_poll_fd(&more);
		bpf_stream_wait(&more, 1);
	}
	if (!strcmp(calls, "sleep_for_room"))
		bpf_stream_push(&small, "x", 1);
	if (!strcmp(calls, "read_with_fd"))
		bpf_stream_poll_fd(&s);
	err = argc > 1 ? allow_only(argv + 2) : usage();
	if (err)
		return err;

	if (!strcmp(calls, "pool_use")) {
		bpf_stream_pool_use(region, sizeof(region), 0);
	} else if (!strcmp(calls, "first_push")) {
		bpf_stream_push(&s, "x", 1);
	} else if (!strcmp(calls, "push")) {
		push_many();
	} else if (!strcmp(calls, "read")) {
		bpf_stream_read(&s, buf, sizeof(buf));
		bpf_stream_push(&s, "x", 1);
		bpf_stream_try_read(&s, buf, sizeof(buf));
		bpf_stream_push(&s, "x", 1);
		bpf_stream_drain(&s, take_all, NULL, SIZE_MAX);
		bpf_stream_push(&s, "x", 1);
		bpf_stream_try_drain(&s, take_all, NULL, SIZE_MAX);
		bpf_stream_destroy(&s);
	} else if (!strcmp(calls, "try")) {
		if (bpf_stream_try_read(&s, buf, sizeof(buf)) != -EBUSY)
			_exit(2);
	} else if (!strcmp(calls, "wait")) {
		comes = self;
		bpf_stream_read(&s, buf, sizeof(buf));
	} else if (!strcmp(calls, "wake")) {
		bpf_stream_drain(&s, stay, &self, SIZE_MAX);
	} else if (!strcmp(calls, "drain_fd")) {
		bpf_stream_drain_fd(&s, STDOUT_FILENO, SIZE_MAX);
	} else if (!strcmp(calls, "push_wakes")) {
		bpf_stream_push(&more, "x", 1);
		bpf_stream_close(&more);
	} else if (!strcmp(calls, "sleep")) {
		bpf_stream_wait(&more, 10);
	} else if (!strcmp(calls, "sleep_for_room")) {
		bpf_stream_push_wait(&small, "x", 1, 10);
	} else if (!strcmp(calls, "poll_fd")) {
		bpf_stream_poll_fd(&more);
	} else if (!strcmp(calls, "read_with_fd")) {
		bpf_stream_read(&s, buf, sizeof(buf));
	} else if (!strcmp(calls, "pool_trim")) {
		bpf_stream_pool_trim();
	} else if (!strcmp(calls, "thread_release")) {
		bpf_stream_thread_release();
	} else {
		_exit(2);
	}
	_exit(0);
}
