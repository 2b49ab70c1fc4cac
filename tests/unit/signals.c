/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Linked into every unit test: one that dies by a signal says which, what
 * Criterion does not. tests/run_criterion.py puts it into the test's line.
 *
 * Seen to fail: without install(), tests/scripts/test_runners.py does.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void add(char *text, const char *more)
{
	strncat(text, more, 200);
}

/* SA_RESETHAND: the signal then does what it would have done without us. */
static void tell(int sig)
{
	char text[500] = "";

	if (criterion_current_test) {
		add(text, criterion_current_test->category);
		add(text, "::");
		add(text, criterion_current_test->name);
		add(text, ": was killed by SIG");
		add(text, sigabbrev_np(sig));
		add(text, "\n");
		(void)!write(STDERR_FILENO, text, strlen(text));
	}
	raise(sig);
}

__attribute__((constructor)) static void install(void)
{
	static const int signals[] = {
		SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGPIPE, SIGSYS,
		SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU, SIGXFSZ,
	};
	struct sigaction action = { .sa_handler = tell, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER) };
	struct sigaction old;
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		/* A sanitizer's own handlers stay. */
		if (!sigaction(signals[i], NULL, &old) && old.sa_handler == SIG_DFL)
			sigaction(signals[i], &action, NULL);
}
