/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * small_stack - calls in a handler whose stack has what was promised, no more
 *
 * Section [5] of the header says how much stack a push, a print and a read take
 * with -O2. Here each is called on an alternate stack of so many bytes, beside
 * what the kernel needs for the signal and a little for the handler. Below lie
 * pages that nobody may touch, so that who takes more dies of SIGSEGV.
 *
 * The program is linked with -z lazy. Then a function of the C library is bound
 * when it is called for the first time, by code that takes kilobytes of this
 * stack. The library calls what it needs once at load, so that this has
 * happened before. Each call has a child of its own, for the first use in a
 * process, the first one in a thread, and a later one.
 *
 * Seen to fail: bsi_process_bind() that does nothing; without its calls of
 * mmap(), of strnlen(), of bse_copy() and bse_fill(); without the
 * pthread_setspecific() behind it; a print's buffer that is 1,400 bytes larger;
 * 1,400 bytes more in a push (what the kernel asks for is more than it takes).
 * What only a read calls would find stack enough to be bound here; that it is
 * called at load is seen by check_stack.py.
 */
#define BPF_STREAM_STATIC
#include "bpf_stream.h"

#include <sys/auxv.h>
#include "../program.h"

#define HANDLER 256u		/* bytes, for its frames below the kernel's */
#define GUARD (64u << 10)	/* more than any frame here could step over */

static struct bpf_stream stream;

/* ---- The calls --------------------------------------------------------- */

static int push(void)
{
	return bpf_stream_push(&stream, "text", 4);
}

static int push_long(void)
{
	static const char text[3 * BPF_STREAM_PAGE_SIZE];

	return bpf_stream_push(&stream, text, sizeof(text));
}

static int print(void)
{
	return bpf_stream_printf(&stream, "%-9s %d %#llx %p %*c\n", "text", -1, 1ull,
				 (void *)&stream, 9, 'c');
}

/* Its arguments wait where the handler's stack does not pay for them. */
static va_list arguments;

static int vprint(void)
{
	return bpf_stream_vprintf(&stream, "%s %d\n", arguments);
}

static int bprint(void)
{
	static const uint64_t args[] = { 1, 2 };

	return bpf_stream_bprintf(&stream, "%d %px\n", args, sizeof(args));
}

static int stage(void)
{
	struct bpf_stream_stage group;
	int err;

	bpf_stream_stage_init(&group);
	err = bpf_stream_stage_printk(&group, "%s %x\n", "text", 10u);
	return err ? err : bpf_stream_stage_commit_to(&group, &stream);
}

static int take_all(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	return (int)len;
}

static int drain(void)
{
	return bpf_stream_try_drain(&stream, take_all, NULL, SIZE_MAX);
}

static int read_some(void)
{
	static char buf[100];

	return bpf_stream_try_read(&stream, buf, sizeof(buf));
}

static const struct call {
	const char *name;
	int (*make)(void);
	size_t promised;	/* bytes of stack */
	bool reads;
} calls[] = {
	{ "push", push, 512, false },
	{ "push of several pages", push_long, 512, false },
	{ "printf", print, 2048, false },
	{ "vprintf", vprint, 2048, false },
	{ "bprintf", bprint, 2048, false },
	{ "stage_printk and commit", stage, 2048, false },
	{ "try_drain", drain, 4096, true },
	{ "try_read", read_some, 4096, true },
};

/* ---- The stack --------------------------------------------------------- */

/* Not from mmap(), which is not to be bound here, before a first push. */
static _Alignas(GUARD) char memory[2 * GUARD];
static const struct call *call;
static volatile int result;

static void handler(int sig)
{
	(void)sig;
	result = call->make();
}

/* Makes the call in a handler on a stack of its own. */
static void interrupt(const char *unused, ...)
{
	const size_t size = getauxval(AT_MINSIGSTKSZ) + call->promised + HANDLER;
	const struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	const stack_t small = { .ss_sp = memory + GUARD, .ss_size = size };

	if (size > sizeof(memory) - GUARD || mprotect(memory, GUARD, PROT_NONE) ||
	    sigaltstack(&small, NULL) || sigaction(SIGUSR1, &action, NULL))
		exit(2);
	va_start(arguments, unused);
	raise(SIGUSR1);
	va_end(arguments);
}

static void *thread(void *arg)
{
	interrupt("", "text", 10);
	return arg;
}

/* ---- The cases --------------------------------------------------------- */

enum when { FIRST_IN_PROCESS, FIRST_IN_THREAD, LATER };

static const char *const when_names[] = { "first in the process", "first in the thread", "later" };

/* What a child does; its exit status. */
static int use(enum when when)
{
	pthread_t other;
	int i;

	bpf_stream_init(&stream, NULL);
	/* Some messages, which a reader gathers, and one that it does not. */
	for (i = 0; when != FIRST_IN_PROCESS && i < 5; i++)
		if (push() || (i == 3 && push_long()))
			return 1;
	if (when == LATER && call->reads && read_some() <= 0)
		return 1;
	if (when != FIRST_IN_THREAD)
		interrupt("", "text", 10);
	else if (pthread_create(&other, NULL, thread, NULL) || pthread_join(other, NULL))
		return 2;
	/* Bytes that were read, or 0. */
	return call->reads && when != FIRST_IN_PROCESS ? result <= 0 : result != 0;
}

int main(int argc, char **argv)
{
	const struct program_option none[] = { PROGRAM_LAST };
	unsigned int passed = 0;
	unsigned int failed = 0;
	unsigned int i;
	enum when when;
	pid_t child;
	int status;

	program_begin(argc, argv, "Calls the library on stacks of the promised size.", none);
	if (!getauxval(AT_MINSIGSTKSZ)) {
		printf("SKIP: small_stack: the kernel does not say what a signal needs\n");
		return program_end(0, 0, 1);
	}
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		for (when = FIRST_IN_PROCESS; when <= LATER; when++) {
			call = &calls[i];
			child = program_fork();
			if (child == 0)
				exit(use(when));
			status = program_wait(child);
			if (!status) {
				passed++;
				continue;
			}
			failed++;
			printf("FAIL: %s, %s, with %zu bytes: %s\n", call->name, when_names[when],
			       call->promised, program_end_of(status));
		}
	}
	return program_end(passed, failed, 0);
}
