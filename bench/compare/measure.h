/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What all questions share: options, time, CPUs, children with a limit of time,
 * and results, which are printed as CSV.
 */
#ifndef COMPARE_MEASURE_H
#define COMPARE_MEASURE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "queue.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Options ---------------------------------------------------------- */

struct options {
	unsigned int repeats;	/* turns of each competitor */
	unsigned int work;	/* percent of the usual work in a turn */
	unsigned int seconds;	/* no further turn after so many; 0: all turns */
	long param;		/* only this size, depth, ...; -1: all */
	const char *only;	/* only these competitors; NULL: all */
};
extern struct options options;

/*
 * Takes the options, pins this thread to the first CPU, starts a second thread
 * that sleeps (alone, glibc would skip its locks), and prints the compiler.
 */
void measure_begin(int argc, char **argv, const char *question);

bool wanted(const char *competitor);
bool wanted_param(long param);

/* Whether there is another turn after @done ones. */
bool another_turn(unsigned int done);

/* @count, less with --work; at least @least. */
size_t work(size_t count, size_t least);

/* ---- Time and CPUs ---------------------------------------------------- */

uint64_t now_ns(void);
uint64_t cpu_ns(void);			/* of all threads of this process */
uint64_t thread_cpu_ns(void);
void pin(unsigned int nth);		/* to the nth CPU of those allowed, modulo their number */
void sleep_ns(uint64_t ns);

/* @bytes of memory that is there already; whoever measures memory wants it so. */
void *memory_get(size_t bytes);
void memory_put(void *memory, size_t bytes);
size_t memory_resident(void);		/* bytes of this process */

/* ---- Children --------------------------------------------------------- */

/*
 * Calls @probe in a child. Returns NULL if it returned NULL, else the word that
 * it returned, or "crashes"; or "hangs", if for @ms it neither ended nor called
 * child_goes_on().
 */
const char *in_child(const char *(*probe)(void *arg), void *arg, unsigned int ms);

void child_goes_on(void);

/* Numbers that such a child leaves for its parent; shared, zero at its start. */
extern volatile uint64_t *child_numbers;
enum { CHILD_NUMBERS = 64 };

/* ---- Results ---------------------------------------------------------- */

/* One more figure of a competitor in a row. */
void result_add(const char *row, long param, const char *competitor, const char *unit,
		double value);

/* Why it has no figure there; NULL: it can have one. */
void result_word(const char *row, long param, const char *competitor, const char *word);
bool result_has_word(const char *row, long param, const char *competitor);

/* row,param,competitor,unit,best,median,spread,repeats,word. 0: for main(). */
int results_print(void);

/* Sorts; the one in the middle. Of @count figures, at least 1. */
double median(double *values, size_t count);

void progress(const char *what);

#ifdef __cplusplus
}
#endif

#endif
