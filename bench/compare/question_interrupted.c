/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which logger may be called in a signal handler? 20,000 times a second a
 * handler writes a line, whatever it interrupts: in the row "over malloc" a
 * thread that allocates and frees, in "over a line" one that writes lines
 * itself. Another thread pumps. All lines that were accepted must be in the
 * file, whole. A word says what went wrong, "yes" that nothing did; the figures
 * are lines that were lost, in percent, with those that were refused.
 */
#include "logger.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static const struct itimerspec once = { .it_value = { 0, 50000 } };

struct turn {
	const struct logger *logger;
	bool over_line;
};

static const struct logger *volatile logger;
static void *l;
static timer_t timer;
static volatile bool timer_on;
static volatile int accepted[2];
static volatile int numbers[2];
static atomic_bool stop;

static void write_line(int writer)
{
	struct line line = line_make(writer, numbers[writer]);

	numbers[writer]++;
	if (logger->line(l, &line))
		accepted[writer]++;
}

static void on_timer(int sig)
{
	int saved = errno;

	(void)sig;
	write_line(1);
	/* Set anew each time, so that the thread always gets some time, too. */
	if (timer_on)
		timer_settime(timer, 0, &once, NULL);
	errno = saved;
}

static void *pump(void *arg)
{
	while (!atomic_load(&stop)) {
		if (!logger->pump(l, NULL, 0))
			sleep_ns(1000000);
	}
	return arg;
}

static const char *probe(void *arg)
{
	const struct turn *turn = arg;
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	int fd = memfd_create("compare", 0);
	uint64_t end = now_ns() + work(1000000000u, 100000000u);
	uint64_t counts[2];
	uint64_t arrived;
	uint64_t sent;
	pthread_t pumper;
	sigset_t set;
	const char *word;

	logger = turn->logger;
	l = logger->open(fd);
	if (!l)
		return "cannot be opened";
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	event._sigev_un._tid = gettid();
	signal(SIGUSR1, on_timer);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (pthread_create(&pumper, NULL, pump, NULL) ||
	    timer_create(CLOCK_MONOTONIC, &event, &timer))
		return "no timer";
	write_line(0);
	write_line(1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	timer_on = true;
	timer_settime(timer, 0, &once, NULL);
	for (unsigned int i = 0; now_ns() < end; i++) {
		child_goes_on();
		for (unsigned int j = 0; j < 100; j++)
			if (turn->over_line)
				write_line(0);
			else
				free(malloc(16 + (i * 100 + j) * 37 % 3000));
		if (turn->over_line)
			sleep_ns(100000);	/* for the pump */
	}
	timer_on = false;
	sleep_ns(1000000);
	atomic_store(&stop, true);
	pthread_join(pumper, NULL);
	logger->close(l);
	word = lines_count(fd, counts);
	sent = (uint64_t)numbers[0] + (uint64_t)numbers[1];
	arrived = counts[0] + counts[1];
	child_numbers[0] = sent;
	child_numbers[1] = sent - (uint64_t)accepted[0] - (uint64_t)accepted[1];
	child_numbers[2] = sent - arrived;
	if (!word && arrived < sent)
		word = child_numbers[1] == sent - arrived ? "refuses some" : "loses";
	return word ? word : "yes";
}

int main(int argc, char **argv)
{
	measure_begin(argc, argv, "interrupted");
	for (unsigned int over_line = 0; over_line < 2; over_line++)
		for (unsigned int i = 0; i < loggers_count; i++) {
			const char *row = over_line ? "over a line" : "over malloc";
			const char *name = loggers[i]->name;
			struct turn turn = { loggers[i], over_line != 0 };
			double percent;

			if (!wanted(name))
				continue;
			/* One that needs other processes is slow to open. */
			result_word(row, -1, name,
				    in_child(probe, &turn, loggers[i]->others_cpu_ns ? 10000 : 2000));
			if (!child_numbers[0])
				continue;
			percent = 100.0 / (double)child_numbers[0];
			result_add(row, -1, name, "percent refused", (double)child_numbers[1] * percent);
			result_add(row, -1, name, "percent lost", (double)child_numbers[2] * percent);
		}
	progress("done");
	return results_print();
}
