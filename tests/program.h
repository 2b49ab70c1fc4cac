/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the test programs that are not Criterion's share: options, random
 * numbers from a seed, and the last line. Comes after bpf_stream.h.
 */
#ifndef TESTS_PROGRAM_H
#define TESTS_PROGRAM_H

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Options ---------------------------------------------------------- */

/* An option that takes a number, or, if @text is set, a word. */
struct program_option {
	const char *name;		/* NULL ends an array */
	const char *help;
	uint64_t *number;		/* the default, then what was given */
	uint64_t least;
	uint64_t most;
	const char **text;
};

static inline int program_usage(FILE *to, const char *program, const char *about,
				const struct program_option *option)
{
	fprintf(to, "usage: %s [OPTION VALUE]...\n%s\n\n", program, about);
	for (; option->name; option++) {
		fprintf(to, "  --%-10s %s", option->name, option->help);
		if (option->number)
			fprintf(to, "; now %" PRIu64, *option->number);
		fprintf(to, "\n");
	}
	fprintf(to, "\nExit: 0 passed, 1 failed, 2 usage, 77 all skipped.\n");
	return to == stdout ? 0 : 2;
}

static inline bool program_parse(const struct program_option *option, const char *value)
{
	uint64_t number;
	char *end;

	if (option->text) {
		*option->text = value;
		return true;
	}
	errno = 0;
	number = strtoull(value, &end, 0);
	if (errno || *value < '0' || *value > '9' || *end ||
	    number < option->least || number > option->most)
		return false;
	*option->number = number;
	return true;
}

/* Takes the options, and prints them as they can be given again; or exits. */
static inline void program_begin(int argc, char **argv, const char *about,
				 const struct program_option *options)
{
	const char *slash = strrchr(argv[0], '/');
	const char *program = slash ? slash + 1 : argv[0];
	const struct program_option *option;
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help"))
			exit(program_usage(stdout, program, about, options));
		for (option = options; option->name; option++)
			if (!strncmp(argv[i], "--", 2) && !strcmp(argv[i] + 2, option->name))
				break;
		if (!option->name || ++i == argc || !program_parse(option, argv[i]))
			exit(program_usage(stderr, program, about, options));
	}
	printf("%s", program);
	for (option = options; option->name; option++) {
		if (option->number)
			printf(" --%s %" PRIu64, option->name, *option->number);
		else if (*option->text)
			printf(" --%s %s", option->name, *option->text);
	}
	printf("\n");
	fflush(stdout);
}

/* @full where the tests run in full, else @quick. */
static inline uint64_t program_number(uint64_t quick, uint64_t full)
{
	return getenv("BPF_STREAM_FULL") ? full : quick;
}

static inline int program_end(unsigned int passed, unsigned int failed, unsigned int skipped)
{
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return failed ? 1 : passed ? 0 : 77;
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
