/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs of this directory share: options, results, and a count of
 * the pages that nobody gave back. Comes after bpf_stream.h, which must be the
 * first and have the self-check.
 */
#ifndef THREADS_H
#define THREADS_H

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__SANITIZE_THREAD__)
#define THREADS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREADS_TSAN 1
#endif
#endif

/* ---- Options ----------------------------------------------------------- */

struct threads_option {
	const char *name;
	const char *help;
	uint64_t *number;		/* one of these two is set */
	const char **word;
};

static void threads_usage(FILE *to, const char *program, const struct threads_option *options)
{
	fprintf(to, "usage: %s [OPTION...]\n\n", program);
	for (; options->name; options++)
		fprintf(to, "  --%s %s\t%s\n", options->name, options->number ? "N" : "NAME",
			options->help);
}

static void threads_options(int argc, char **argv, const struct threads_option *options)
{
	struct option list[8] = { { "help", no_argument, NULL, 'h' } };
	char *end = NULL;
	int i;

	for (i = 0; options[i].name; i++)
		list[i + 1] = (struct option){ options[i].name, required_argument, NULL, i };
	while ((i = getopt_long(argc, argv, "", list, NULL)) != -1) {
		if (i == 'h') {
			threads_usage(stdout, argv[0], options);
			exit(0);
		}
		if (i == '?')
			goto misused;
		if (options[i].word) {
			*options[i].word = optarg;
			continue;
		}
		errno = 0;
		*options[i].number = strtoull(optarg, &end, 0);
		if (errno || end == optarg || *end || *optarg == '-')
			goto misused;
	}
	if (optind == argc)
		return;
misused:
	threads_usage(stderr, argv[0], options);
	exit(2);
}

/* A run with the full numbers, which takes longer? */
static bool threads_full(void)
{
	return getenv("BPF_STREAM_FULL") != NULL;
}

static uint64_t threads_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* ---- Results ----------------------------------------------------------- */

static struct {
	unsigned int passed;
	unsigned int failed;
	unsigned int skipped;
} threads_result;

/* How a child that ran @what ended: 0 passed, 77 skipped. */
static void threads_note(const char *what, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		threads_result.passed++;
	} else if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		threads_result.skipped++;
	} else {
		threads_result.failed++;
		printf("FAIL: %s: %s %d\n", what,
		       WIFSIGNALED(status) ? "killed by signal" : "exit status",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	}
}

static int threads_summary(void)
{
	printf("%u passed, %u failed, %u skipped\n", threads_result.passed,
	       threads_result.failed, threads_result.skipped);
	return threads_result.failed ? 1 : threads_result.passed ? 0 : 77;
}

/* ---- The pool ---------------------------------------------------------- */

/*
 * Pages that were taken and are in no free list; the pool is quiet. A jump may
 * have lost some before they were marked, which the pool's figures do not show.
 */
static size_t threads_pages_out(void)
{
	struct bse_pool *pool = bse_pool_known();
	uint32_t idle = 0;
	const char *broken;

	if (!pool)
		return 0;
	broken = bse_free_check(pool, &pool->hot, &idle);
	if (!broken)
		broken = bse_free_check(pool, &pool->cold, &idle);
	if (broken) {
		printf("%s\n", broken);
		return SIZE_MAX;
	}
	return bse_u32_load_relaxed(&pool->fresh) - pool->first - idle;
}

#endif
