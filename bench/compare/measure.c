/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "measure.h"

#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const struct queue *queues[QUEUES_MAX];
unsigned int queues_count;

void queue_register(const struct queue *queue)
{
	if (queues_count < QUEUES_MAX)
		queues[queues_count++] = queue;
}

/* ---- Options ---------------------------------------------------------- */

struct options options = { .repeats = 15, .work = 100, .param = -1 };
volatile uint64_t *child_numbers;
static uint64_t started;
static const char *question_name;

static void misused(const char *argument)
{
	fprintf(stderr, "%s: bad argument '%s'\n"
		"usage: compare_%s [--repeats N] [--work PERCENT] [--seconds N]\n"
		"	[--param N] [--only NAME,NAME...]\n"
		"competitors:", question_name, argument, question_name);
	for (unsigned int i = 0; i < queues_count; i++)
		fprintf(stderr, "%s %s", i ? "," : "", queues[i]->name);
	fputs("\n", stderr);
	exit(2);
}

static unsigned long number(const char *text, unsigned long most)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = text ? strtoul(text, &end, 10) : 0;
	if (!text || end == text || *end || errno || value > most)
		misused(text ? text : "");
	return value;
}

/* No signal comes to it. */
static void *sleep_for_ever(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	for (;;)
		pause();
	return arg;
}

void measure_begin(int argc, char **argv, const char *question)
{
	pthread_t second;

	question_name = question;
	started = now_ns();
	/* Memory that was freed stays: no page faults in what is measured. */
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mallopt(M_MMAP_THRESHOLD, 1 << 25);
	for (int i = 1; i < argc; i += 2) {
		const char *value = argv[i + 1];

		if (!strcmp(argv[i], "--repeats"))
			options.repeats = (unsigned int)number(value, 1000);
		else if (!strcmp(argv[i], "--work"))
			options.work = (unsigned int)number(value, 1000);
		else if (!strcmp(argv[i], "--seconds"))
			options.seconds = (unsigned int)number(value, 100000);
		else if (!strcmp(argv[i], "--param"))
			options.param = (long)number(value, 100000000);
		else if (!strcmp(argv[i], "--only") && value)
			options.only = value;
		else
			misused(argv[i]);
	}
	if (!options.repeats || !options.work)
		misused("0");
	child_numbers = mmap(NULL, (CHILD_NUMBERS + 1) * sizeof(*child_numbers), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (child_numbers == MAP_FAILED || pthread_create(&second, NULL, sleep_for_ever, NULL)) {
		perror(question);
		exit(1);
	}
	pin(0);
	puts("# compiler: " COMPARE_COMPILER);
}

bool wanted(const char *competitor)
{
	size_t len = strlen(competitor);
	const char *at = options.only;

	while (at && *at) {
		if (!strncmp(at, competitor, len) && (!at[len] || at[len] == ','))
			return true;
		at = strchr(at, ',');
		at = at ? at + 1 : "";
	}
	return !options.only;
}

bool wanted_param(long param)
{
	return options.param < 0 || options.param == param;
}

bool another_turn(unsigned int done)
{
	uint64_t limit = (uint64_t)options.seconds * 1000000000u;

	return done < options.repeats && (!done || !limit || now_ns() - started < limit);
}

size_t work(size_t count, size_t least)
{
	size_t less = count * options.work / 100;

	return less < least ? least : less;
}

/* ---- Time and CPUs ---------------------------------------------------- */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t cpu_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t thread_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void pin(unsigned int nth)
{
	static cpu_set_t allowed;
	static int count;
	cpu_set_t one;
	unsigned int cpu;

	if (!count && !sched_getaffinity(0, sizeof(allowed), &allowed))
		count = CPU_COUNT(&allowed);
	if (!count)
		return;
	nth %= (unsigned int)count;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) && !nth--)
			break;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
}

void sleep_ns(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

void *memory_get(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

void memory_put(void *memory, size_t bytes)
{
	if (memory)
		munmap(memory, bytes);
}

size_t memory_resident(void)
{
	unsigned long total;
	unsigned long resident = 0;
	FILE *statm = fopen("/proc/self/statm", "re");

	if (statm) {
		if (fscanf(statm, "%lu %lu", &total, &resident) != 2)
			resident = 0;
		fclose(statm);
	}
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- Children --------------------------------------------------------- */

void child_goes_on(void)
{
	child_numbers[CHILD_NUMBERS]++;
}

const char *in_child(const char *(*probe)(void *arg), void *arg, unsigned int ms)
{
	static char word[80];
	uint64_t end = now_ns() + (uint64_t)ms * 1000000u;
	uint64_t steps = 0;
	pthread_t second;
	int to_parent[2];
	int status = 0;
	pid_t child;
	ssize_t len;

	fflush(stdout);
	memset((void *)(uintptr_t)child_numbers, 0, (CHILD_NUMBERS + 1) * sizeof(*child_numbers));
	if (pipe(to_parent))
		return "no pipe";
	child = fork();
	if (!child) {
		const char *says;

		(void)!freopen("/dev/null", "w", stderr);
		says = pthread_create(&second, NULL, sleep_for_ever, NULL) ? "no thread" : probe(arg);
		if (says)
			(void)!write(to_parent[1], says, strlen(says));
		_exit(says != NULL);
	}
	close(to_parent[1]);
	while (child > 0 && !waitpid(child, &status, WNOHANG)) {
		if (child_numbers[CHILD_NUMBERS] != steps) {
			steps = child_numbers[CHILD_NUMBERS];
			end = now_ns() + (uint64_t)ms * 1000000u;
		} else if (now_ns() > end) {
			kill(child, SIGKILL);
			waitpid(child, &status, 0);
			close(to_parent[0]);
			return "hangs";
		}
		sleep_ns(500000);
	}
	len = read(to_parent[0], word, sizeof(word) - 1);
	word[len > 0 ? len : 0] = '\0';
	close(to_parent[0]);
	if (child < 0)
		return "no process";
	if (len > 0)
		return word;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? NULL : "crashes";
}

/* ---- Results ---------------------------------------------------------- */

struct result {
	char *row;
	long param;
	char *competitor;
	char *unit;
	char *word;
	double *values;
	unsigned int count;
};

static struct result *results;
static size_t results_count;

static struct result *result_find(const char *row, long param, const char *competitor,
				  const char *unit)
{
	struct result *r;

	for (r = results; r < results + results_count; r++)
		if (r->param == param && !strcmp(r->row, row) &&
		    !strcmp(r->competitor, competitor) && !strcmp(r->unit, unit))
			return r;
	return NULL;
}

static struct result *result_get(const char *row, long param, const char *competitor,
				 const char *unit)
{
	struct result *r = result_find(row, param, competitor, unit);

	if (r)
		return r;
	results = realloc(results, (results_count + 1) * sizeof(*results));
	if (!results)
		abort();
	r = &results[results_count++];
	*r = (struct result){
		.row = strdup(row), .param = param, .competitor = strdup(competitor),
		.unit = strdup(unit),
		.values = calloc(options.repeats + 1, sizeof(double)),
	};
	return r;
}

void result_add(const char *row, long param, const char *competitor, const char *unit, double value)
{
	struct result *r = result_get(row, param, competitor, unit);

	if (r->count < options.repeats)
		r->values[r->count++] = value;
}

void result_word(const char *row, long param, const char *competitor, const char *word)
{
	if (word)
		result_get(row, param, competitor, "")->word = strdup(word);
}

bool result_has_word(const char *row, long param, const char *competitor)
{
	return result_find(row, param, competitor, "") != NULL;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), by_value);
	return values[count / 2];
}

int results_print(void)
{
	struct result *r;

	puts("row,param,competitor,unit,best,median,spread,repeats,word");
	for (r = results; r < results + results_count; r++) {
		unsigned int n = r->count;
		double *v = r->values;

		printf("%s,", r->row);
		if (r->param >= 0)
			printf("%ld", r->param);
		printf(",%s,%s,", r->competitor, r->unit);
		if (n) {
			qsort(v, n, sizeof(*v), by_value);
			printf("%.4g,%.4g,%.4g,%u,", v[0], v[n / 2], v[n * 3 / 4] - v[n / 4], n);
		} else {
			printf(",,,0,");
		}
		printf("%s\n", r->word ? r->word : "");
	}
	return fflush(stdout) || ferror(stdout) ? 1 : 0;
}

void progress(const char *what)
{
	fprintf(stderr, "%s: %s, %.1f s\n", question_name, what,
		(double)(now_ns() - started) / 1e9);
}
