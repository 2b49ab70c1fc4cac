/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who can push in a signal handler, whatever it interrupted, and what does it
 * cost there? The probe: a thread pushes and drains for a second, and each
 * 50 us a handler comes in at any instruction, and pushes, too. Then:
 * bursts of pushes in a handler, drained by the thread; ns per message.
 */
#include "measure.h"
#include "message.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LEN = 64, BURST = 500, ROUNDS = 40, CAPACITY = 8192 };

struct turn {
	const struct queue *queue;
	void *q;
	volatile uint32_t pushed[2];	/* by the thread, by the handler */
	volatile uint32_t refused;
};

static const struct itimerspec once = { .it_value = { 0, 50000 } };
static struct turn *volatile current;
static timer_t timer;
static volatile bool timer_on;
static char *burst_message;

static void push_one(struct turn *turn, uint32_t who)
{
	char message[LEN];

	message_fill(message, LEN, who, turn->pushed[who]);
	if (turn->queue->push(turn->q, message, LEN))
		turn->pushed[who]++;
	else
		turn->refused++;
}

static void on_timer(int sig)
{
	int saved = errno;

	(void)sig;
	push_one(current, 1);
	/* Set anew each time, so that the thread always gets some time, too. */
	if (timer_on)
		timer_settime(timer, 0, &once, NULL);
	errno = saved;
}

/* Takes what is there; counts each writer's messages. */
static const char *take(struct turn *turn, char *out, size_t size, uint32_t *next)
{
	size_t got = turn->queue->drain(turn->q, out, size);

	for (size_t at = 0; at + LEN <= got; at += LEN) {
		uint32_t who;
		uint32_t number;

		if (!message_check(out + at, LEN, &who, &number) || who > 1)
			return "tears";
		if (number != next[who])
			return number > next[who] ? "loses" : "repeats";
		next[who]++;
	}
	return got % LEN ? "tears" : NULL;
}

static const char *probe(void *arg)
{
	static char out[CAPACITY * LEN];
	struct turn *turn = arg;
	struct queue_need need = { CAPACITY, LEN };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	uint64_t end = now_ns() + (uint64_t)work(1000000000u, 100000000u);
	uint32_t next[2] = { 0, 0 };
	const char *word = NULL;

	turn->q = turn->queue->open(&need);
	current = turn;
	signal(SIGALRM, on_timer);
	if (!turn->q || timer_create(CLOCK_MONOTONIC, &event, &timer))
		return "cannot be opened";
	push_one(turn, 0);		/* what is done at the first push only */
	push_one(turn, 1);
	timer_on = true;
	timer_settime(timer, 0, &once, NULL);
	while (!word && now_ns() < end) {
		child_goes_on();
		for (unsigned int i = 0; i < 1000; i++)
			push_one(turn, 0);
		for (unsigned int i = 0; i < 40 && !word; i++)
			word = take(turn, out, sizeof(out), next);
	}
	timer_on = false;
	sleep_ns(1000000);
	for (unsigned int i = 0; i < 100 && !word; i++)
		word = take(turn, out, sizeof(out), next);
	if (!word && (next[0] != turn->pushed[0] || next[1] != turn->pushed[1]))
		word = "loses";
	if (!word && turn->refused)
		word = "refuses some";
	return word;
}

static void on_burst(int sig)
{
	(void)sig;
	for (unsigned int i = 0; i < BURST; i++)
		current->queue->push(current->q, burst_message, LEN);
}

static void run(struct turn *turn, char *out)
{
	struct queue_need need = { BURST, LEN };
	size_t rounds = work(ROUNDS, 1);
	double ns[2 * ROUNDS];
	size_t done = 0;

	turn->q = turn->queue->open(&need);
	if (!turn->q)
		return;
	current = turn;
	signal(SIGUSR1, on_burst);
	for (size_t round = 0; round < rounds + 2 && done < 2 * ROUNDS; round++) {
		uint64_t begin = now_ns();
		uint64_t end;
		size_t got = 0;

		raise(SIGUSR1);
		end = now_ns();
		while (got < BURST * LEN) {
			size_t part = turn->queue->drain(turn->q, out + got, BURST * LEN - got);

			if (!part)
				break;
			got += part;
		}
		if (round >= 2)
			ns[done++] = (double)(end - begin) / BURST;
	}
	turn->queue->close(turn->q);
	result_add("push in a handler", LEN, turn->queue->name, "ns", median(ns, done));
}

int main(int argc, char **argv)
{
	char *out = memory_get(BURST * LEN);
	struct turn turn;

	burst_message = memory_get(LEN);
	message_fill(burst_message, LEN, 1, 1);
	measure_begin(argc, argv, "handler");
	for (unsigned int repeat = 0; !repeat || another_turn(repeat - 1); repeat++)
		for (unsigned int i = 0; i < queues_count; i++) {
			const char *name = queues[i]->name;

			turn = (struct turn){ .queue = queues[i] };
			if (!wanted(name) || result_has_word("push in a handler", LEN, name))
				continue;
			if (!repeat)
				result_word("push in a handler", LEN, name,
					    in_child(probe, &turn, 1500));
			else
				run(&turn, out);
		}
	progress("done");
	return results_print();
}
