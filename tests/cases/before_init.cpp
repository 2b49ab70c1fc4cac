/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * before_init - constructors log to a stream that nobody has initialised
 *
 * One comes before the library's own constructor, another one at some time
 * before main(). Their lines are there, in order; nothing was refused; and the
 * stream goes on without bpf_stream_init().
 *
 * Seen to fail with the header of 0.1, where a stream that is all zero has no
 * capacity: each line was refused.
 */
#include "bpf_stream.h"

#include <cstdio>
#include <string>

static bpf_stream events;	/* zero, as all globals */

namespace {
struct Early {
	int error;

	explicit Early(const char *name)
		: error(bpf_stream_printf(&events, "%s came\n", name))
	{
	}
};

/* 101 comes before all that name no number. */
const Early first __attribute__((__init_priority__(101))) ("the first");
const Early second("the second");

unsigned int failed;

void check(const char *what, bool holds)
{
	if (!holds) {
		std::printf("FAIL: %s\n", what);
		failed++;
	}
}
}

int main()
{
	bpf_stream_stats stats;
	char text[100];
	int len;

	check("the constructors' calls succeed", !first.error && !second.error);
	check("so does one in main()", !bpf_stream_push(&events, "main came\n", 10));
	bpf_stream_get_stats(&events, &stats);
	for (const bpf_stream_count &refused : stats.refused)
		check("nothing was refused", !refused.messages);
	check("the capacity is the default", stats.capacity == 4u << 20);
	len = bpf_stream_read(&events, text, sizeof(text));
	check("all lines are there", len > 0 && std::string(text, static_cast<size_t>(len)) ==
					   "the first came\nthe second came\nmain came\n");
	std::printf("%d passed, %d failed, 0 skipped\n", failed ? 0 : 1, failed ? 1 : 0);
	return failed ? 1 : 0;
}
