/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * staged_report - several messages that come out together, or not at all
 *
 *	cc -std=c11 -Iinclude examples/staged_report.c -o staged_report -pthread
 *
 * A stage collects messages out of sight. Committing it makes all of them
 * visible in one step: what others push meanwhile stands before or behind the
 * group, never inside. A stage whose messages are not wanted is freed.
 *
 * line() is a print of our own: it puts a prefix before what it is given.
 */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"

#include <stdio.h>
#include <string.h>

struct disk {
	const char *name;
	int used;		/* percent */
};

/* Others write to the same stream all the time; here they are this function. */
static int somebody_else(struct bpf_stream *log)
{
	return bpf_stream_printf(log, "(something else)\n");
}

/* Inside the group nothing comes between the prefix and the rest of its line. */
__attribute__((__format__(__printf__, 3, 4)))
static int line(struct bpf_stream_stage *stage, const char *prefix, const char *fmt, ...)
{
	int err = bpf_stream_stage_printk(stage, "%s: ", prefix);
	va_list ap;

	if (err)
		return err;
	va_start(ap, fmt);
	err = bpf_stream_stage_vprintk(stage, fmt, ap);
	va_end(ap);
	return err;
}

/* One report about all disks that are nearly full, if there are any. */
static int report(struct bpf_stream *log, const char *host, const struct disk *disks, size_t n)
{
	struct bpf_stream_stage stage;
	int found = 0;
	int err;

	bpf_stream_stage_init(&stage);
	err = line(&stage, host, "%zu disks\n", n);
	for (size_t i = 0; i < n && !err; i++) {
		if (disks[i].used < 90)
			continue;
		err = somebody_else(log);
		if (!err)
			err = line(&stage, host, "%s is %d %% full\n", disks[i].name,
				   disks[i].used);
		found++;
	}
	if (!err && found)
		err = bpf_stream_stage_commit_to(&stage, log);
	/* After a commit this does nothing; else it gives the messages back. */
	bpf_stream_stage_free(&stage);
	return err;
}

int main(void)
{
	const struct disk alpha[] = { { "sda", 97 }, { "sdb", 12 }, { "sdc", 91 } };
	const struct disk beta[] = { { "sda", 3 } };
	static struct bpf_stream log;
	int err;
	int n;

	err = report(&log, "alpha", alpha, 3);
	if (!err)
		err = report(&log, "beta", beta, 1);
	if (err)
		fprintf(stderr, "staged_report: cannot report: %s\n", strerror(-err));
	n = bpf_stream_drain_fd(&log, 1, SIZE_MAX);
	if (n < 0)
		fprintf(stderr, "staged_report: cannot write: %s\n", strerror(-n));
	return err || n < 0;
}
