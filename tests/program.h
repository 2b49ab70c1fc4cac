/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * For test programs with a main() of their own, unlike Criterion's:
 * options, a limit of time, children, the last line, and random numbers from a
 * seed. A program that includes bpf_stream.h, too, does so first.
 */
#ifndef TESTS_PROGRAM_H
#define TESTS_PROGRAM_H

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *program_name;

/* @full where the tests run in full, else @quick. */
static inline uint64_t program_number(uint64_t quick, uint64_t full)
{
	const char *set = getenv("BPF_STREAM_FULL");

	return set && *set && strcmp(set, "0") ? full : quick;
}

/* ---- The limit --------------------------------------------------------- */

/*
 * Seconds for all of it: far more than it takes on a machine that is busy, so
 * that only what hangs comes here. Meson waits longer, but cannot name a case.
 */
#define PROGRAM_LIMIT ((unsigned int)program_number(600, 30 * 600))

/* What runs now, for the report; a program sets them if it has such things. */
static const char *volatile program_case = "";
static volatile uint64_t program_turn;		/* script, round or place */

static inline void program_hangs(int sig)
{
	char text[300];
	int len = snprintf(text, sizeof(text), "FAIL: %s %s %" PRIu64 ": hangs\n"
			   "0 passed, 1 failed, 0 skipped\n", program_name, program_case,
			   program_turn);

	(void)sig;
	(void)!write(STDOUT_FILENO, text, (size_t)len);
	_exit(1);
}

/*
 * For main(), through program_options(), and for each child: an alarm comes
 * over an exec, not over a fork. So the child has what is left of the limit.
 */
static inline void program_limit(void)
{
	static time_t end;
	unsigned int left = alarm(0);
	time_t now = time(NULL);

	if (!end)
		end = now + (time_t)(left ? left : PROGRAM_LIMIT);
	signal(SIGALRM, program_hangs);
	alarm(end > now ? (unsigned int)(end - now) : 1);
}

/* ---- Children --------------------------------------------------------- */

/* fork(), for a child that has what is left of the limit. */
static inline pid_t program_fork(void)
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0)
		program_limit();
	return child;
}

/* Waits for @child to end. Its wait status; -1: there is no such child. */
static inline int program_wait(pid_t child)
{
	int status;

	while (child > 0)
		if (waitpid(child, &status, 0) == child)
			return status;
		else if (errno != EINTR)
			break;
	return -1;
}

/* Of a signal that may end a program. */
static inline const char *program_signal(int number)
{
	static const struct {
		int number;
		const char *name;
	} signals[] = {
		{ SIGABRT, "SIGABRT" }, { SIGALRM, "SIGALRM" }, { SIGBUS, "SIGBUS" },
		{ SIGFPE, "SIGFPE" }, { SIGHUP, "SIGHUP" }, { SIGILL, "SIGILL" },
		{ SIGINT, "SIGINT" }, { SIGKILL, "SIGKILL" }, { SIGPIPE, "SIGPIPE" },
		{ SIGSEGV, "SIGSEGV" }, { SIGSYS, "SIGSYS" }, { SIGTERM, "SIGTERM" },
		{ SIGTRAP, "SIGTRAP" }, { SIGUSR1, "SIGUSR1" }, { SIGUSR2, "SIGUSR2" },
	};
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (signals[i].number == number)
			return signals[i].name;
	return "a signal of another kind";
}

/* How a child with this wait status ended, in words. */
static inline const char *program_end_of(int status)
{
	static char text[60];

	if (status == -1)
		return "could not be started, or waited for";
	if (WIFEXITED(status))
		snprintf(text, sizeof(text), "ended with exit status %d", WEXITSTATUS(status));
	else
		snprintf(text, sizeof(text), "was killed by %s", program_signal(WTERMSIG(status)));
	return text;
}

/* ---- Options ---------------------------------------------------------- */

/* An option, or, with a name in capitals, an argument; these come last. */
struct program_option {
	const char *name;			/* NULL ends an array; [NAME]: may be missing */
	const char *help;
	uint64_t *number;			/* the default, then what was given; or: */
	const char **word;			/* NULL, then what was given */
	uint64_t least;
	uint64_t most;
	const char *(*choice)(unsigned int i);	/* all that a word may be, then NULL */
};

#define PROGRAM_NUMBER(name, help, number, least, most) \
	{ name, help, number, NULL, least, most, NULL }
#define PROGRAM_WORD(name, help, word, choice) { name, help, NULL, word, 0, 0, choice }
#define PROGRAM_SEED(seed) \
	PROGRAM_NUMBER("seed", "of all that is random; default: BPF_STREAM_SEED, or the clock", \
		       seed, 0, UINT64_MAX)
#define PROGRAM_LAST { NULL, NULL, NULL, NULL, 0, 0, NULL }

/* Says what is wrong with how the program was called, and ends it. */
__attribute__((format(printf, 1, 2)))
static inline _Noreturn void program_misused(const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", program_name);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "; see --help\n");
	exit(2);
}

static inline bool program_is_argument(const struct program_option *option)
{
	return *option->name == '[' || (*option->name >= 'A' && *option->name <= 'Z');
}

static inline _Noreturn void program_help(const char *about, const struct program_option *options)
{
	const struct program_option *option;
	unsigned int i;

	printf("usage: %s%s", program_name,
	       options->name && !program_is_argument(options) ? " [OPTION VALUE]..." : "");
	for (option = options; option->name; option++)
		if (program_is_argument(option))
			printf(" %s", option->name);
	printf("\n%s\n\n", about);
	for (option = options; option->name; option++) {
		printf("  %s%-*s %s", program_is_argument(option) ? "" : "--",
		       program_is_argument(option) ? 13 : 11, option->name, option->help);
		if (option->number && strcmp(option->name, "seed"))
			printf("; default: %" PRIu64, *option->number);
		printf("\n");
		for (i = 0; option->choice && option->choice(i); i++)
			printf("                  %s\n", option->choice(i));
	}
	printf("  --help        show this\n\nExit: 0 passed, 1 failed, 2 usage, 77 all skipped.\n");
	exit(0);
}

static inline bool program_parse(const char *text, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 10);
	return !errno && *text >= '0' && *text <= '9' && !*end;
}

/* Takes @text, which @where has. */
static inline void program_set(const struct program_option *option, const char *where,
			       const char *text)
{
	unsigned int i;

	if (option->number) {
		if (!program_parse(text, option->number) || *option->number < option->least ||
		    *option->number > option->most)
			program_misused("%s '%s': must be a number, %" PRIu64 " to %" PRIu64,
					where, text, option->least, option->most);
		return;
	}
	*option->word = text;
	for (i = 0; option->choice && strcmp(option->choice(i), text); i++)
		if (!option->choice(i + 1))
			program_misused("%s '%s': there is none of that name", where, text);
}

/* Takes what the program was called with, or ends it. */
static inline void program_options(int argc, char **argv, const char *about,
				   const struct program_option *options)
{
	const char *slash = strrchr(argv[0], '/');
	const char *seed = getenv("BPF_STREAM_SEED");
	const struct program_option *argument = options;
	const struct program_option *option;
	int i;

	program_name = slash ? slash + 1 : argv[0];
	program_limit();
	for (; argument->name && !program_is_argument(argument); argument++) {
		if (strcmp(argument->name, "seed"))
			continue;
		*argument->number = (uint64_t)time(NULL);
		if (seed && *seed)
			program_set(argument, "BPF_STREAM_SEED", seed);
	}
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			program_help(about, options);
		if (*argv[i] != '-') {
			if (!argument->name)
				program_misused("'%s': one argument too many", argv[i]);
			program_set(argument, argument->name, argv[i]);
			argument++;
			continue;
		}
		for (option = options; option->name && !program_is_argument(option); option++)
			if (!strncmp(argv[i], "--", 2) && !strcmp(argv[i] + 2, option->name))
				break;
		if (!strncmp(argv[i], "--", 2) && strchr(argv[i], '='))
			program_misused("'%s': write --%.*s VALUE", argv[i],
					(int)strcspn(argv[i] + 2, "="), argv[i] + 2);
		if (!option->name || program_is_argument(option))
			program_misused("'%s': there is no such option", argv[i]);
		if (++i == argc)
			program_misused("%s: needs a value", argv[i - 1]);
		program_set(option, argv[i - 1], argv[i]);
	}
	if (argument->name && *argument->name != '[')
		program_misused("%s is missing", argument->name);
}

/* The first line: the call again, as it can be repeated. */
static inline void program_show(const struct program_option *option)
{
	printf("%s", program_name);
	for (; option->name; option++) {
		const char *name = program_is_argument(option) ? "" : option->name;

		if (option->number)
			printf(" --%s %" PRIu64, name, *option->number);
		else if (*option->word)
			printf(" %s%s%s%s", *name ? "--" : "", name, *name ? " " : "",
			       *option->word);
	}
	printf("\n");
	fflush(stdout);
}

static inline void program_begin(int argc, char **argv, const char *about,
				 const struct program_option *options)
{
	program_options(argc, argv, about, options);
	program_show(options);
}

/* ---- Results ---------------------------------------------------------- */

/* For programs that have a report(): it ends them. */
#define CHECK(condition)				\
	do {						\
		if (!(condition))			\
			report(__LINE__, #condition);	\
	} while (0)

/* The last line, and the exit status. */
static inline int program_end(uint64_t passed, uint64_t failed, uint64_t skipped)
{
	printf("%" PRIu64 " passed, %" PRIu64 " failed, %" PRIu64 " skipped\n", passed, failed,
	       skipped);
	fflush(stdout);
	return failed ? 1 : passed ? 0 : 77;
}

/* ---- Waiting ----------------------------------------------------------- */

/*
 * For loops that wait for another thread. Who sleeps is soon back, also where
 * others compute; who calls sched_yield() waits there until these had a turn.
 */
static inline void program_pause(void)
{
	nanosleep(&(struct timespec){ 0, 1000 }, NULL);
}

/* ---- Random numbers --------------------------------------------------- */

/* splitmix64: one addition and a mix, good from any seed. */
static inline uint64_t program_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline uint32_t program_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)(program_random(state) % n);
}

/* ---- Sanitizers ------------------------------------------------------- */

#if defined(__SANITIZE_THREAD__)
#define PROGRAM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PROGRAM_TSAN 1
#endif
#endif
#ifndef PROGRAM_TSAN
#define PROGRAM_TSAN 0
#endif

#endif /* TESTS_PROGRAM_H */
