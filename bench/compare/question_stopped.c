/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One of two writers is stopped at any instruction of its write: what does the
 * other one still deliver? A signal stops the thread, whose handler waits: what
 * SIGSTOP does to a process, for one thread. In each of 30 stops the file must
 * grow within 250 ms. Unit: percent of stops in which it did not.
 */
#include "logger.h"

#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { STOPS = 30, STOP_MS = 250 };

static const struct logger *logger;
static void *l;
static sem_t stopped;
static sem_t resume;
static atomic_bool stop;

static void on_stop(int sig)
{
	(void)sig;
	sem_post(&stopped);
	while (sem_wait(&resume))
		;
}

static void *writer(void *arg)
{
	const int *which = arg;

	pin((unsigned int)*which);
	for (int i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++) {
		struct line line = line_make(*which, i);

		if (!logger->line(l, &line))
			sleep_ns(100000);
	}
	return NULL;
}

static void *pump(void *arg)
{
	while (!atomic_load(&stop))
		if (!logger->pump(l, NULL, 0))
			sleep_ns(100000);
	return arg;
}

static const char *probe(void *arg)
{
	static int which[2] = { 0, 1 };
	int fd = memfd_create("compare", 0);
	pthread_t writers[2];
	pthread_t pumper;

	logger = arg;
	l = logger->open(fd);
	sem_init(&stopped, 0, 0);
	sem_init(&resume, 0, 0);
	signal(SIGUSR1, on_stop);
	if (!l)
		return "cannot be opened";
	if (pthread_create(&writers[0], NULL, writer, &which[0]) ||
	    pthread_create(&writers[1], NULL, writer, &which[1]) ||
	    pthread_create(&pumper, NULL, pump, NULL))
		return "no thread";
	for (unsigned int i = 0; i < (unsigned int)work(STOPS, 3); i++) {
		struct stat before;
		struct stat after;
		uint64_t end;

		child_goes_on();
		sleep_ns(2000000 + i * 10007 % 1000000);
		pthread_kill(writers[0], SIGUSR1);
		while (sem_wait(&stopped))
			;
		/* What the pump had in hand is not counted. */
		sleep_ns(5000000);
		fstat(fd, &before);
		end = now_ns() + STOP_MS * 1000000u;
		do {
			sleep_ns(1000000);
			fstat(fd, &after);
		} while (after.st_size == before.st_size && now_ns() < end);
		child_numbers[0]++;
		child_numbers[1] += after.st_size == before.st_size;
		sem_post(&resume);
		/* The file shall not grow for ever. */
		if (after.st_size > 1 << 28)
			break;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	measure_begin(argc, argv, "stopped");
	for (unsigned int i = 0; i < loggers_count; i++) {
		const char *name = loggers[i]->name;
		const char *word;

		/* What another process writes is not in this file until the end. */
		if (!wanted(name) || loggers[i]->others_cpu_ns)
			continue;
		word = in_child(probe, (void *)(uintptr_t)loggers[i], 5000);
		result_word("stalled", -1, name, word);
		if (child_numbers[0] && !word)
			result_add("stalled", -1, name, "percent",
				   100.0 * (double)child_numbers[1] / (double)child_numbers[0]);
	}
	progress("done");
	return results_print();
}
