/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Prints as a Markdown table what messages of 64 bytes cost without contention,
 * in atomic read-modify-writes. The figures do not depend on the machine.
 * Built with -Itests/unit, where the counting environment is.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "counting_env.h"
#include "bpf_stream.h"
#include "cost.h"
#include "../tests/program.h"

enum { TIMES = 10000 };

static void row(const char *what, const struct cost *cost)
{
	printf("| %s | %.4f | %u |\n", what, cost_per_message(cost), (unsigned int)cost->most);
}

static int print_pushes(void)
{
	struct bpf_stream s;
	struct cost plain = { 0 };
	struct cost turn = { 0 };
	struct cost all = { 0 };
	uint32_t i;

	if (bpf_stream_init(&s, NULL))
		return 1;
	for (i = 0; i < TIMES; i++) {
		uint64_t rmw = cost_push(&s);

		if (!rmw)
			return 1;
		cost_add(i % COST_PER_PAGE ? &plain : &turn, 1, rmw);
		cost_add(&all, 1, rmw);
	}
	bpf_stream_destroy(&s);
	row("push", &plain);
	row("push that turns a page", &turn);
	row("push, all", &all);
	return 0;
}

static int print_drains(const char *name, enum cost_way way)
{
	static const uint32_t batch[] = { 1, 8, 64, 512 };
	struct cost cost;
	char what[64];
	unsigned int i;

	for (i = 0; i < sizeof(batch) / sizeof(batch[0]); i++) {
		if (!cost_drain(way, batch[i], 1, TIMES, &cost))
			return 1;
		snprintf(what, sizeof(what), "%s, batches of %u", name, batch[i]);
		row(what, &cost);
	}
	if (!cost_drain(way, 64, 100, TIMES, &cost))
		return 1;
	snprintf(what, sizeof(what), "%s, 64 at a time of a backlog of 6400", name);
	row(what, &cost);
	return 0;
}

int main(int argc, char **argv)
{
	const struct program_option none[] = { PROGRAM_LAST };

	program_options(argc, argv, "Print what messages cost in atomic operations.", none);
	puts("| what | read-modify-writes for each message | most in one call |");
	puts("|---|---:|---:|");
	if (print_pushes() || print_drains("`bpf_stream_read`", COST_READ) ||
	    print_drains("`bpf_stream_drain`", COST_DRAIN) ||
	    print_drains("`bpf_stream_drain_fd`", COST_DRAIN_FD)) {
		fputs("count_rmw: a push or a drain failed\n", stderr);
		return 1;
	}
	return 0;
}
