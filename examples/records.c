/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * records - messages one by one, with level, tag, time, and what was lost
 *
 *	cc -std=c11 -Iinclude examples/records.c -o records -pthread
 *
 * Two parts of a program, the network and the disk, log to one stream under two
 * tags, so their messages have one order. Debugging is muted: it costs a look
 * at the level. The stream is small: what it refuses is told in its place.
 */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"

#include <stdio.h>
#include <string.h>
#include <syslog.h>

#define NET BPF_STREAM_TAG(1)
#define DISK BPF_STREAM_TAG(2)

static const char *const parts[] = { "-", "net", "disk" };
static const char *const levels[] = { "emerg", "alert", "crit", "error", "warning", "notice",
				      "info", "debug" };

/* Called for each record; the text lies in the pool, and is not copied. */
static int print(void *ctx, const struct bpf_stream_record *r)
{
	uint64_t *last = ctx;

	if (r->lost)
		printf("(%llu lost)\n", (unsigned long long)r->lost);
	if (!r->total)
		return 0;
	printf("%llu %s %s: %.*s%s\n", (unsigned long long)r->seq, parts[r->tag], levels[r->level],
	       (int)r->len, (const char *)r->data, r->time < *last ? " (back in time?)" : "");
	*last = r->time;
	return 0;
}

int main(void)
{
	const struct bpf_stream_options options = { .capacity = 60,
						    .clock = bpf_stream_clock_monotonic };
	struct bpf_stream s;
	uint64_t last = 0;

	bpf_stream_init(&s, &options);
	bpf_stream_set_level(&s, LOG_INFO);

	bpf_stream_log(&s, NET | LOG_INFO, "link is up, %d Mbit/s", 1000);
	bpf_stream_log(&s, DISK | LOG_DEBUG, "this is muted");
	bpf_stream_log(&s, DISK | LOG_ERR, "sda: %s", "I/O error");
	bpf_stream_log(&s, NET | LOG_NOTICE, "there is no room for this message");
	bpf_stream_log(&s, NET | LOG_NOTICE, "nor for this one, as it is too long");
	bpf_stream_log(&s, DISK | LOG_INFO, "sda: offline");
	bpf_stream_drain_records(&s, print, &last, SIZE_MAX);

	bpf_stream_log(&s, NET | LOG_WARNING, "link is down");
	bpf_stream_log(&s, NET | LOG_INFO, "a message that is longer than all of the stream is");
	bpf_stream_log(&s, NET | LOG_INFO, "so that it is lost, too, and nothing comes behind");
	bpf_stream_drain_records(&s, print, &last, SIZE_MAX);
	bpf_stream_destroy(&s);

	if (fflush(stdout)) {
		perror("records: cannot write");
		return 1;
	}
	return 0;
}
