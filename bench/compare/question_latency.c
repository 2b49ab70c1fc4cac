/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long does one push of 64 bytes take, at worst? Each push is timed by
 * itself. Rows: "alone", nothing else runs and messages are drained between;
 * "loaded", another thread writes as fast as it can and a third one reads. The
 * parameter is the percentile times 100: 5000 is the median, 10000 the longest.
 * The competitor "clock" pushes nothing: what reading the clock costs.
 */
#include "measure.h"
#include "message.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { LEN = 64, SAMPLES = 50000, CAPACITY = 16000, BATCH = 500 };

struct load {
	const struct queue *queue;
	void *q;
	atomic_bool stop;
	atomic_uint running;
};

static void *clock_open(const struct queue_need *need)
{
	(void)need;
	return calloc(1, 1);
}

static bool clock_push(void *queue, const void *data, size_t len)
{
	(void)queue;
	(void)data;
	(void)len;
	return true;
}

static size_t clock_drain(void *queue, char *to, size_t size)
{
	(void)queue;
	(void)to;
	(void)size;
	return 0;
}

static const struct queue queue_clock = {
	.name = "clock",
	.open = clock_open,
	.push = clock_push,
	.drain = clock_drain,
	.close = free,
};

static void *load_writer(void *arg)
{
	struct load *load = arg;
	char message[LEN];

	pin(1);
	message_fill(message, LEN, 2, 2);
	atomic_fetch_add(&load->running, 1);
	while (!atomic_load_explicit(&load->stop, memory_order_relaxed))
		if (!load->queue->push(load->q, message, LEN))
			sched_yield();
	return NULL;
}

static void *load_reader(void *arg)
{
	struct load *load = arg;
	char *out = malloc(CAPACITY * LEN);

	pin(1);
	atomic_fetch_add(&load->running, 1);
	while (out && !atomic_load_explicit(&load->stop, memory_order_relaxed))
		if (!load->queue->drain(load->q, out, CAPACITY * LEN))
			sched_yield();
	free(out);
	return NULL;
}

/* Returns how many were timed, fewer if the time is up. */
static size_t sample(const struct queue *queue, void *q, bool loaded, uint32_t *ns, char *out)
{
	uint64_t limit = now_ns() + 150000000u;
	size_t samples = work(SAMPLES, 1000);
	char message[LEN];
	size_t count = 0;

	message_fill(message, LEN, 1, 1);
	while (count < samples && now_ns() < limit) {
		for (unsigned int i = 0; i < BATCH; i++) {
			uint64_t begin = now_ns();
			bool stored = queue->push(q, message, LEN);
			uint64_t took = now_ns() - begin;

			/* Refused is not pushed; the reader has to come first. */
			if (!stored)
				sched_yield();
			else if (count < samples)
				ns[count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
		}
		while (!loaded && queue->drain(q, out, CAPACITY * LEN))
			;
	}
	return count;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void report(const char *row, const char *name, uint32_t *ns, size_t count)
{
	static const long points[] = { 5000, 9000, 9900, 9990, 9999, 10000 };

	qsort(ns, count, sizeof(*ns), by_size);
	for (unsigned int i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		size_t at = count * (size_t)points[i] / 10000;

		result_add(row, points[i], name, "ns", ns[at < count ? at : count - 1]);
	}
}

/* In the probe's child @report_it is false, and a hang or crash is found. */
static const char *run(const struct queue *queue, bool loaded, bool report_it)
{
	static uint32_t ns[SAMPLES];
	static char out[CAPACITY * LEN];
	struct queue_need need = { CAPACITY, LEN };
	struct load load = { .queue = queue, .q = queue->open(&need) };
	pthread_t threads[2];
	size_t count;

	if (!load.q)
		return "cannot be opened";
	if (loaded) {
		if (pthread_create(&threads[0], NULL, load_reader, &load) ||
		    pthread_create(&threads[1], NULL, load_writer, &load))
			return "no thread";
		while (atomic_load(&load.running) < 2)
			sched_yield();
	}
	count = sample(queue, load.q, loaded, ns, out);
	atomic_store(&load.stop, true);
	if (loaded) {
		pthread_join(threads[0], NULL);
		pthread_join(threads[1], NULL);
	}
	queue->close(load.q);
	if (count && report_it)
		report(loaded ? "loaded" : "alone", queue->name, ns, count);
	return count ? NULL : "no room";
}

struct turn {
	const struct queue *queue;
	bool loaded;
};

static const char *probe(void *arg)
{
	const struct turn *turn = arg;

	return run(turn->queue, turn->loaded, false);
}

int main(int argc, char **argv)
{
	queue_register(&queue_clock);
	measure_begin(argc, argv, "latency");
	for (unsigned int repeat = 0; !repeat || another_turn(repeat - 1); repeat++)
		for (unsigned int loaded = 0; loaded < 2; loaded++)
			for (unsigned int i = 0; i < queues_count; i++) {
				struct turn turn = { queues[i], loaded != 0 };
				const char *row = loaded ? "loaded" : "alone";
				const char *name = queues[i]->name;

				if (!wanted(name) || result_has_word(row, -1, name))
					continue;
				if (!repeat)
					result_word(row, -1, name, in_child(probe, &turn, 3000));
				else
					run(queues[i], loaded != 0, true);
			}
	progress("done");
	return results_print();
}
