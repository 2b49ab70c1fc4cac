/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Measures in atomic read-modify-writes what messages of 64 bytes cost without
 * contention. Comes after bpf_stream.h with BPF_STREAM_ENV_HEADER
 * "counting_env.h".
 */
#ifndef COST_H
#define COST_H

#include <fcntl.h>

#define COST_MESSAGE 64u

/* Messages that fit in a page. */
#define COST_PER_PAGE (BPF_STREAM_PAGE_SIZE / ((COST_MESSAGE + 8 + 7) / 8 * 8))

enum cost_way {
	COST_READ,
	COST_DRAIN,
	COST_DRAIN_FD,
	COST_WAYS
};

/* Of several calls. */
struct cost {
	uint64_t calls;
	uint64_t messages;
	uint64_t rmw;
	uint64_t most;		/* of one call */
};

static inline double cost_per_message(const struct cost *cost)
{
	return (double)cost->rmw / (double)cost->messages;
}

static inline void cost_add(struct cost *cost, uint64_t messages, uint64_t rmw)
{
	cost->calls++;
	cost->messages += messages;
	cost->rmw += rmw;
	if (rmw > cost->most)
		cost->most = rmw;
}

/* One push; 0 if it failed. */
static inline uint64_t cost_push(struct bpf_stream *s)
{
	static const char message[COST_MESSAGE];
	uint64_t before = counting_rmw;

	return bpf_stream_push(s, message, sizeof(message)) ? 0 : counting_rmw - before;
}

static int cost_sink(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	return (int)len;
}

/* Drains at most @batch messages; false if these were not what came. */
static inline bool cost_drain_once(struct bpf_stream *s, enum cost_way way, uint32_t batch,
				   struct cost *cost)
{
	static char buf[1024 * COST_MESSAGE];
	static int null = -1;
	size_t want = (size_t)batch * COST_MESSAGE;
	uint64_t before;
	int got = 0;

	if (want > sizeof(buf))
		return false;
	if (null < 0)
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	before = counting_rmw;
	switch (way) {
	case COST_READ:
		got = bpf_stream_read(s, buf, want);
		break;
	case COST_DRAIN:
		got = bpf_stream_drain(s, cost_sink, NULL, want);
		break;
	default:
		got = bpf_stream_drain_fd(s, null, want);
		break;
	}
	cost_add(cost, batch, counting_rmw - before);
	return got >= 0 && (size_t)got == want;
}

/*
 * @times drains of @batch messages each, after @ahead batches were pushed: 1
 * is a reader that keeps up, more is one that works on a backlog.
 */
static inline bool cost_drain(enum cost_way way, uint32_t batch, uint32_t ahead, uint32_t times,
			      struct cost *cost)
{
	struct bpf_stream s;
	uint32_t done = 0;
	uint32_t i;
	bool ok = !bpf_stream_init(&s, NULL);

	*cost = (struct cost){ 0 };
	while (ok && done < times) {
		for (i = 0; ok && i < ahead * batch; i++)
			ok = cost_push(&s) != 0;
		for (i = 0; ok && i < ahead; i++, done++)
			ok = cost_drain_once(&s, way, batch, cost);
	}
	bpf_stream_destroy(&s);
	return ok;
}

#endif
