/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What does a message of 64 bytes cost if 1, 2, 4 or 8 threads write at once,
 * with and without a reader beside them? Rows "writers" and "writers and reader";
 * the parameter is the number of writers. The figure is the time from the first
 * push to the last push (with a reader: to the last message read), divided by
 * the number of messages: the inverse of the throughput. The figure of a turn is
 * that of its fastest burst.
 *
 * The row "order": messages that two threads push in turns, one after the other.
 */
#include "measure.h"
#include "message.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { LEN = 64, TOTAL = 4000, WRITERS = 8, BURSTS = 12, SLOW_NS = 200000000 };

struct crew {
	const struct queue *queue;
	void *q;
	unsigned int writers;
	unsigned int each;		/* messages of a writer in a burst */
	bool reader;			/* beside the writers */
	bool check;			/* fill each message, and look at what comes */
	char *out;
	atomic_uint arrived;
	atomic_uint go;			/* bursts that were begun */
	atomic_uint done;
	atomic_bool refused;
	atomic_bool stop;
	uint64_t begin[WRITERS];
	uint64_t end[WRITERS];
};

struct member {
	struct crew *crew;
	unsigned int number;
};

static void *writer(void *arg)
{
	const struct member *me = arg;
	struct crew *c = me->crew;
	char message[LEN];

	pin(me->number);
	message_fill(message, LEN, me->number, 0);
	for (unsigned int burst = 1; burst <= BURSTS; burst++) {
		atomic_fetch_add(&c->arrived, 1);
		for (unsigned int i = 1; atomic_load(&c->go) < burst && !atomic_load(&c->stop); i++)
			if (i % 1000 == 0)
				sched_yield();
		c->begin[me->number] = now_ns();
		for (uint32_t i = 0; i < c->each; i++) {
			if (c->check)
				message_fill(message, LEN, me->number, (burst - 1) * c->each + i);
			while (!c->queue->push(c->q, message, LEN)) {
				if (!c->reader) {
					atomic_store(&c->refused, true);
					break;
				}
				if (atomic_load(&c->stop))
					return NULL;
				sched_yield();
			}
		}
		c->end[me->number] = now_ns();
		atomic_fetch_add(&c->done, 1);
	}
	return NULL;
}

/* One burst; returns what is wrong, or NULL. */
static const char *burst(struct crew *c, unsigned int number, double *ns)
{
	size_t bytes = (size_t)c->writers * c->each * LEN;
	uint64_t begin = UINT64_MAX;
	uint64_t end = 0;
	uint64_t give_up;
	size_t got = 0;

	while (atomic_load(&c->arrived) < number * c->writers)
		sched_yield();
	atomic_store(&c->go, number);
	give_up = now_ns() + 3000000000u;
	while (!c->reader && atomic_load(&c->done) < number * c->writers)
		sched_yield();
	if (c->refused)
		return "no room";
	while (got < bytes) {
		size_t part = c->queue->drain(c->q, c->out + got, bytes - got);

		got += part;
		if (part) {
			give_up = now_ns() + 3000000000u;
			continue;
		}
		if (!c->reader || now_ns() > give_up)
			return "loses";
		sched_yield();
	}
	if (c->reader)
		end = now_ns();
	while (atomic_load(&c->done) < number * c->writers)
		sched_yield();
	for (unsigned int i = 0; i < c->writers; i++) {
		begin = c->begin[i] < begin ? c->begin[i] : begin;
		end = c->end[i] > end ? c->end[i] : end;
	}
	*ns = (double)(end - begin) / (double)(c->writers * c->each);
	return NULL;
}

/* In a slow burst, another program had one of the CPUs. */
static double fastest(const double *ns)
{
	double best = ns[0];

	for (unsigned int i = 1; i < BURSTS; i++)
		best = ns[i] < best ? ns[i] : best;
	return best;
}

static const char *check(const struct crew *c, uint32_t *next)
{
	for (size_t i = 0; i < (size_t)c->writers * c->each; i++) {
		uint32_t from;
		uint32_t number;

		if (!message_check(c->out + i * LEN, LEN, &from, &number) || from >= c->writers)
			return "tears";
		if (number != next[from])
			return number > next[from] ? "loses or reorders" : "repeats";
		next[from]++;
	}
	return NULL;
}

/* If all is not well, the crew stays: a writer may hang in its push. */
static const char *bursts(const struct queue *queue, unsigned int writers, bool reader,
			  bool checked, double *ns)
{
	struct queue_need need = { TOTAL, LEN };
	struct crew *c = calloc(1, sizeof(*c));
	struct member *members = calloc(WRITERS, sizeof(*members));
	pthread_t threads[WRITERS];
	uint32_t next[WRITERS] = { 0 };
	const char *word = NULL;

	if (!c || !members)
		return "no memory";
	c->queue = queue;
	c->writers = writers;
	c->each = TOTAL / writers;
	c->reader = reader;
	c->check = checked;
	c->out = memory_get((size_t)TOTAL * LEN);
	c->q = queue->open(&need);
	if (!c->q || !c->out)
		return "cannot be opened";
	pin(1);
	for (unsigned int i = 0; i < writers; i++) {
		members[i] = (struct member){ c, i };
		if (pthread_create(&threads[i], NULL, writer, &members[i]))
			return "no thread";
	}
	for (unsigned int i = 1; i <= BURSTS && !word; i++) {
		child_goes_on();
		word = burst(c, i, &ns[i - 1]);
		if (!word && checked)
			word = check(c, next);
	}
	if (word) {
		atomic_store(&c->stop, true);
		return word;
	}
	for (unsigned int i = 0; i < writers; i++)
		pthread_join(threads[i], NULL);
	queue->close(c->q);
	memory_put(c->out, (size_t)TOTAL * LEN);
	free(members);
	free(c);
	return NULL;
}

/* ---- Order between writers --------------------------------------------- */

struct turns {
	const struct queue *queue;
	void *q;
	atomic_uint turn;
};

enum { TURNS = 400 };

static void push_in_turn(struct turns *t, unsigned int which)
{
	char message[LEN];

	for (unsigned int i = which; i < TURNS; i += 2) {
		while (atomic_load(&t->turn) != i)
			sched_yield();
		message_fill(message, LEN, which, i);
		t->queue->push(t->q, message, LEN);
		atomic_store(&t->turn, i + 1);
	}
}

static void *second_in_turn(void *arg)
{
	push_in_turn(arg, 1);
	return NULL;
}

static const char *probe_order(void *arg)
{
	struct queue_need need = { TURNS, LEN };
	struct turns t = { .queue = arg };
	static char out[TURNS * LEN + 1];
	pthread_t second;
	size_t got = 0;

	t.q = t.queue->open(&need);
	if (!t.q || pthread_create(&second, NULL, second_in_turn, &t))
		return "cannot be opened";
	push_in_turn(&t, 0);
	pthread_join(second, NULL);
	for (;;) {
		size_t part = t.queue->drain(t.q, out + got, sizeof(out) - got);

		if (!part)
			break;
		got += part;
	}
	for (unsigned int i = 0; i < TURNS; i++) {
		uint32_t from;
		uint32_t number;

		if (!message_check(out + (size_t)i * LEN, LEN, &from, &number))
			return "loses or tears";
		if (number != i)
			return "unordered";
	}
	return "ordered";
}

/* ---- Rows -------------------------------------------------------------- */

struct row {
	const char *name;
	unsigned int writers;
	bool reader;
};

static const struct row rows[] = {
	{ "writers", 1, false }, { "writers", 2, false },
	{ "writers", 4, false }, { "writers", 8, false },
	{ "writers and reader", 1, true }, { "writers and reader", 2, true },
	{ "writers and reader", 4, true }, { "writers and reader", 8, true },
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

struct turn {
	const struct queue *queue;
	const struct row *row;
};

static const char *probe(void *arg)
{
	const struct turn *turn = arg;
	double ns[BURSTS];

	return bursts(turn->queue, turn->row->writers, turn->row->reader, true, ns);
}

int main(int argc, char **argv)
{
	static bool slow[ROWS][QUEUES_MAX];

	measure_begin(argc, argv, "writers");
	for (unsigned int i = 0; i < queues_count; i++) {
		if (!wanted(queues[i]->name))
			continue;
		if (options.param < 0)
			result_word("order", -1, queues[i]->name,
				    in_child(probe_order, (void *)(uintptr_t)queues[i], 3000));
		for (const struct row *row = rows; row < rows + ROWS; row++) {
			struct turn turn = { queues[i], row };

			if (wanted_param((long)row->writers))
				result_word(row->name, (long)row->writers, queues[i]->name,
					    in_child(probe, &turn, 4000));
		}
	}
	progress("probed");
	for (unsigned int repeat = 0; another_turn(repeat); repeat++) {
		for (const struct row *row = rows; row < rows + ROWS; row++)
			for (unsigned int i = 0; i < queues_count; i++) {
				const char *name = queues[i]->name;
				uint64_t begin = now_ns();
				const char *word;
				double ns[BURSTS];

				/* Three turns are enough of what takes so long. */
				if ((repeat >= 3 && slow[row - rows][i]) ||
				    (repeat && !another_turn(repeat)))
					continue;
				if (!wanted(name) || !wanted_param((long)row->writers) ||
				    result_has_word(row->name, (long)row->writers, name))
					continue;
				word = bursts(queues[i], row->writers, row->reader, false, ns);
				if (word)
					result_word(row->name, (long)row->writers, name, word);
				else
					result_add(row->name, (long)row->writers, name, "ns",
						   fastest(ns));
				slow[row - rows][i] |= now_ns() - begin > SLOW_NS;
			}
		if (repeat % 5 == 0)
			progress("turns");
	}
	progress("done");
	return results_print();
}
