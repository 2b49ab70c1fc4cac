/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A program that loads and unloads libraries which contain streams, while
 * threads that pushed there live on. A push takes nothing from malloc, and
 * after dlclose nothing is left that calls into the library: neither the exit
 * hooks of threads, which keep pages, nor the hook of fork. What a load costs
 * is measured; it is what section [1] of the header says.
 *
 * LIBRARY and SECOND are two copies of the same, STAYING is one that was linked
 * with -z nodelete: it stays mapped, and all that is hard about dlclose goes.
 *
 * Seen to fail, with a copy of the header broken on purpose:
 *
 *   no pthread_key_delete in the unload hook   SIGSEGV when a thread ends; no
 *                                              page is kept from load 32 on
 *   fork hook registered for the program       "was killed by SIGSEGV"
 *   no tls_model attribute                     "has no DF_STATIC_TLS",
 *                                              "allocations in a push"
 *   every key counts as settable               "allocations in a push"
 *   an exit hook that releases nothing         "pages in use"
 *   a pool of twice BPF_STREAM_POOL_BYTES      "KiB of addresses for each load"
 *   the pool unmapped in the unload hook       the same; pushes beside exit():
 *                                              SIGSEGV
 *   no -z nodelete for STAYING                 its two cases
 */
#define _GNU_SOURCE
#define PLUGIN_HOST
#include "../program.h"
#include "plugin.h"

#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *library;		/* unloaded by dlclose */
static const char *second;		/* a copy of it */
static const char *staying;		/* never unloaded */
static uint64_t rounds = 1100;		/* more than there are pthread keys */
static struct plugin plugin;		/* what is pushed to */

static bool failed(const char *what, long found)
{
	printf("     %s: %ld\n", what, found);
	return false;
}

static bool is(const char *what, long found, long wanted)
{
	if (found == wanted)
		return true;
	printf("     %s: %ld instead of %ld\n", what, found, wanted);
	return false;
}

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem))
		;
}

/* ---- malloc, interrupted ---------------------------------------------- */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static _Thread_local volatile sig_atomic_t interrupt_malloc;
static _Thread_local volatile sig_atomic_t interrupted;
static _Thread_local volatile int allocations;
static _Thread_local volatile int push_result;

/* Allocations of the whole process come here, the loader's too. */
static void in_malloc(void)
{
	if (interrupted) {
		allocations++;
	} else if (interrupt_malloc) {
		interrupted = 1;
		raise(SIGUSR1);
		interrupted = 0;
	}
}

void *malloc(size_t size)
{
	in_malloc();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	in_malloc();
	return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	in_malloc();
	return __libc_realloc(old, size);
}

static void on_signal(int sig)
{
	(void)sig;
	push_result = plugin.push("x", 1);
}

/* A push in a handler that interrupted malloc; 0, or what went wrong. */
static int push_in_malloc(void)
{
	void *(*volatile allocate)(size_t) = malloc;
	void *p;

	push_result = -1;
	allocations = 0;
	interrupt_malloc = 1;
	p = allocate(1);
	interrupt_malloc = 0;
	free(p);
	if (allocations)
		failed("allocations in a push", allocations);
	return allocations ? -1 : push_result;
}

/* ---- Threads that outlive a library ----------------------------------- */

enum command { PUSH, PUSH_IN_MALLOC, END };

struct resident {
	pthread_t thread;
	sem_t go;
	sem_t done;
	enum command command;
	int result;
};

static void *reside(void *arg)
{
	struct resident *r = arg;

	for (;;) {
		wait_for(&r->go);
		if (r->command == END)
			return NULL;
		r->result = r->command == PUSH ? plugin.push("x", 1) : push_in_malloc();
		sem_post(&r->done);
	}
}

static void start(struct resident *r, int n)
{
	for (; n > 0; n--, r++) {
		sem_init(&r->go, 0, 0);
		sem_init(&r->done, 0, 0);
		if (pthread_create(&r->thread, NULL, reside, r)) {
			puts("no thread");
			exit(1);
		}
	}
}

/* Each pushes one byte, one after the other; every second one in malloc. */
static bool push(struct resident *r, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		r[i].command = i % 2 ? PUSH_IN_MALLOC : PUSH;
		sem_post(&r[i].go);
		wait_for(&r[i].done);
		if (r[i].result)
			return failed("a push returned", r[i].result);
	}
	return true;
}

/* All of them at the same time. */
static void end(struct resident *r, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		r[i].command = END;
		sem_post(&r[i].go);
	}
	for (i = 0; i < n; i++)
		pthread_join(r[i].thread, NULL);
}

/* ---- Libraries -------------------------------------------------------- */

static bool reads(long bytes, long pages_left)
{
	char buf[4096];

	return is("bytes read", plugin.read(buf, sizeof(buf)), bytes) &&
	       is("pages in use", (long)plugin.pages_in_use(), pages_left);
}

static bool load(const char *path, int flags)
{
	return plugin_open(&plugin, path, flags);
}

static bool unload(const char *path)
{
	if (dlclose(plugin.handle))
		return failed("dlclose returned", -1);
	if (path != staying && dlopen(path, RTLD_NOW | RTLD_NOLOAD))
		return failed("times that it is still loaded", 1);
	return true;
}

static void destroy_foreign(void *value)
{
	printf("     another library's key was given the value %p\n", value);
	fflush(stdout);
	_exit(1);
}

/* The key that a library would get now; -1: none. */
static long next_key(void)
{
	pthread_key_t key;

	return pthread_key_create(&key, NULL) || pthread_key_delete(key) ? -1 : (long)key;
}

/* The first free key, which is where the library's was. */
static bool has_key(pthread_key_t *key, long wanted)
{
	if (pthread_key_create(key, destroy_foreign))
		return failed("pthread keys left", 0);
	return is("the library's key is in use: the next free one", (long)*key, wanted);
}

static bool ended_well(pid_t child)
{
	int status = program_wait(child);

	if (status)
		printf("     the child %s\n", program_end_of(status));
	return !status;
}

static bool forks(void)
{
	pid_t child = program_fork();

	if (child == 0)
		_exit(0);
	return ended_well(child);
}

/* May crash, and leave behind what it likes; without a core. */
static bool in_child(bool (*run)(const char *), const char *path)
{
	const struct rlimit none = { 0, 0 };
	pid_t child = program_fork();

	if (child == 0) {
		setrlimit(RLIMIT_CORE, &none);
		exit(!run(path));
	}
	return ended_well(child);
}

/* ---- Cases ------------------------------------------------------------ */

/* A first access does not allocate: its thread-local storage is static. */
static bool library__has_static_tls(const char *path)
{
	const ElfW(Dyn) *entry;
	struct link_map *map;
	bool found = false;

	if (!load(path, RTLD_NOW) || dlinfo(plugin.handle, RTLD_DI_LINKMAP, &map))
		return false;
	for (entry = map->l_ld; entry->d_tag != DT_NULL; entry++)
		if (entry->d_tag == DT_FLAGS && entry->d_un.d_val & DF_STATIC_TLS)
			found = true;
	if (!found)
		puts("     has no DF_STATIC_TLS");
	return unload(path) && found;
}

/* The first use ever, in the main thread; then the first of another one. */
static bool first_in_malloc(const char *path, int flags, long kept)
{
	struct resident r[2];
	bool passed;

	if (!load(path, flags))
		return false;
	passed = is("a push in malloc", push_in_malloc(), 0) && reads(1, kept);
	start(r, 2);
	passed = passed && push(r, 2) && reads(2, 3 * kept);
	passed = unload(path) && passed;
	end(r, 2);
	return passed;
}

static bool first_push__in_a_handler_that_interrupted_malloc(const char *path)
{
	return first_in_malloc(path, RTLD_NOW, 1) && first_in_malloc(path, RTLD_LAZY, 1);
}

/* Setting such a key would allocate: no thread keeps a page then. */
static bool first_push__after_40_keys_keeps_no_page(const char *path)
{
	pthread_key_t key[40];
	bool passed;
	int i;

	for (i = 0; i < 40; i++)
		if (pthread_key_create(&key[i], NULL))
			return failed("keys before there was none left", i);
	passed = first_in_malloc(path, RTLD_NOW, 0) && first_in_malloc(path, RTLD_LAZY, 0);
	for (i = 0; i < 40; i++)
		pthread_key_delete(key[i]);
	return passed;
}

/*
 * 16 end while no library is loaded, 8 after they used the next load too, and
 * the others after that is gone as well. A key of someone else's has the place
 * that the library's had.
 */
static bool threads__outlive_their_library(const char *path)
{
	struct resident r[48];
	long number = next_key();
	pthread_key_t key;
	bool passed;

	start(r, 48);
	passed = load(path, RTLD_NOW) && push(r, 48) && reads(48, 48) && unload(path) &&
		 has_key(&key, number) && forks();
	end(r, 16);
	passed = passed && load(path, RTLD_NOW) && push(r + 16, 16) && reads(16, 16);
	end(r + 16, 8);
	passed = passed && reads(0, 8) && unload(path) && forks();
	end(r + 24, 24);
	pthread_key_delete(key);
	return passed && forks();
}

/* In KiB. What smaps_rollup says is exact; VmRSS is not, on many processors. */
static long figure(const char *path, const char *name)
{
	FILE *file = fopen(path, "r");
	char line[256];
	long kib = 0;

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			kib = atol(line + strlen(name));
	if (file)
		fclose(file);
	return kib;
}

static long mappings(void)
{
	FILE *file = fopen("/proc/self/maps", "r");
	long lines = 0;
	int c;

	while (file && (c = getc(file)) != EOF)
		lines += c == '\n';
	if (file)
		fclose(file);
	return lines;
}

struct cost {
	long addresses;			/* KiB */
	long memory;			/* KiB, page tables included */
	long mappings;
};

static struct cost cost_now(void)
{
	return (struct cost){
		figure("/proc/self/status", "VmSize:"),
		figure("/proc/self/smaps_rollup", "Rss:") + figure("/proc/self/status", "VmPTE:"),
		mappings()
	};
}

static bool load_push_unload(const char *path, struct resident *r, int residents)
{
	long pages;

	if (!load(path, RTLD_NOW))
		return false;
	pages = path == staying ? (long)plugin.pages_in_use() : 0;
	return push(r, residents) && reads(residents, pages ? pages : residents) && unload(path);
}

/* Loads and unloads, beside threads that push; what they cost all together. */
static bool load_and_unload(const char *path, uint64_t n, int residents, struct cost *cost)
{
	struct resident r[4];
	struct cost before = { 0 };
	struct cost after;
	bool passed = true;
	uint64_t i;

	start(r, residents);
	for (i = 0; i < n && passed; i++) {
		if (i == 1)
			before = cost_now();
		passed = load_push_unload(path, r, residents) && (i % 50 || forks());
	}
	after = cost_now();
	end(r, residents);
	if (!passed)
		return failed("in this load, from 1", (long)i);
	cost->addresses = after.addresses - before.addresses;
	cost->memory = after.memory - before.memory;
	cost->mappings = after.mappings - before.mappings;
	printf("     for %" PRIu64 " loads: %ld KiB of addresses, %ld KiB of memory, "
	       "%ld mappings\n", n - 1, cost->addresses, cost->memory, cost->mappings);
	return true;
}

/*
 * Four threads live through all of them. A load leaves the addresses of its
 * pool behind, its head, and the pages that threads keep; no key, no
 * thread-local storage, no mapping: the pools lie side by side.
 */
static bool a_thousand_loads__leave_only_their_pools(const char *path)
{
	struct cost cost;
	pthread_key_t key;
	long loads = (long)rounds - 1;
	long number = next_key();

	if (!load_and_unload(path, rounds, 4, &cost) || !has_key(&key, number) ||
	    pthread_key_delete(key))
		return false;
	if (cost.addresses / loads < 65536 || cost.addresses / loads > 65536 + 64)
		return failed("not 65536 KiB of addresses for each load", cost.addresses / loads);
	if (cost.memory / loads > 32)
		return failed("more KiB for each load than 8 pages", cost.memory / loads);
	return cost.mappings < 32 || failed("more mappings", cost.mappings);
}

static void *push_and_end(void *arg)
{
	(void)arg;
	plugin.push("y", 1);
	return NULL;
}

/* It is still there: so threads may end at any time, beside dlclose too. */
static bool a_thousand_loads__of_a_library_that_stays_leave_nothing(const char *path)
{
	struct cost cost;
	pthread_t thread;
	bool passed = load_and_unload(path, rounds, 4, &cost);
	uint64_t i;

	for (i = 0; passed && i < rounds; i++) {
		passed = load(path, RTLD_NOW) &&
			 !pthread_create(&thread, NULL, push_and_end, NULL) && unload(path) &&
			 !(i % 2 ? pthread_detach(thread) : pthread_join(thread, NULL));
	}
	return passed && (cost.addresses < 1024 || failed("KiB of addresses", cost.addresses)) &&
	       (cost.memory < 1024 || failed("KiB of memory", cost.memory)) &&
	       (cost.mappings < 32 || failed("more mappings", cost.mappings));
}

/* Loads each in turn before the other is unloaded; how often did it go? */
static int overlap(const char *path)
{
	const char *paths[2] = { path, second };
	struct plugin opened[2];
	int n;

	for (n = 0; n < 1000 && plugin_open(&opened[n % 2], paths[n % 2], RTLD_NOW); n++)
		if (n && dlclose(opened[(n - 1) % 2].handle))
			return 0;
	if (n)
		plugin = opened[(n - 1) % 2];
	printf("     %d loads that overlapped\n", n);
	return n;
}

/*
 * The loader does not find the room of a library again that was not the last
 * one loaded. It says so, in an error, and what is loaded goes on.
 */
static bool overlapping_loads__come_to_a_clean_end(const char *path)
{
	int n = overlap(path);

	return (n >= 8 || failed("no room after", n)) &&
	       is("a push", plugin.push("z", 1), 0) && reads(1, 1) && !dlclose(plugin.handle);
}

static bool overlapping_loads__of_a_library_that_stays_do_not_end(const char *path)
{
	return is("loads", overlap(path), 1000);
}

static void *push_on_and_on(void *arg)
{
	for (;;)
		if (plugin.push("z", 1))
			program_pause();
	return arg;
}

static void *start_on_and_on(void *arg)
{
	pthread_t thread;

	for (;;)
		if (!pthread_create(&thread, NULL, push_and_end, NULL))
			pthread_join(thread, NULL);
	return arg;
}

static bool exit_beside_pushes(const char *path)
{
	char buf[4096];
	pthread_t thread;
	int i;

	if (!load(path, RTLD_NOW))
		return false;
	for (i = 0; i < 4; i++)
		if (pthread_create(&thread, NULL, i ? push_on_and_on : start_on_and_on, NULL))
			return false;
	for (i = 0; i < 100; i++)
		plugin.read(buf, sizeof(buf));
	return true;
}

/* exit() runs the unload hook, too, and other threads go on meanwhile. */
static bool exit__beside_pushes(const char *path)
{
	bool passed = true;
	uint64_t i;

	for (i = 0; i < rounds / 10 && passed; i++)
		passed = in_child(exit_beside_pushes, path);
	return passed;
}

#define CASE(name, path) { #name, name, path }

static const struct {
	const char *name;
	bool (*run)(const char *path);
	const char **path;
} cases[] = {
	CASE(library__has_static_tls, &library),
	CASE(first_push__in_a_handler_that_interrupted_malloc, &library),
	CASE(first_push__after_40_keys_keeps_no_page, &library),
	CASE(threads__outlive_their_library, &library),
	CASE(a_thousand_loads__leave_only_their_pools, &library),
	CASE(a_thousand_loads__of_a_library_that_stays_leave_nothing, &staying),
	CASE(overlapping_loads__come_to_a_clean_end, &library),
	CASE(overlapping_loads__of_a_library_that_stays_do_not_end, &staying),
	CASE(exit__beside_pushes, &library),
};

int main(int argc, char **argv)
{
	const struct program_option options[] = {
		PROGRAM_NUMBER("rounds", "loads in the long cases", &rounds, 20, 1000000),
		PROGRAM_WORD("LIBRARY", "built from plugin.c", &library, NULL),
		PROGRAM_WORD("SECOND", "a copy of it", &second, NULL),
		PROGRAM_WORD("STAYING", "the same, linked with -z nodelete", &staying, NULL),
		PROGRAM_LAST
	};
	const unsigned int n = sizeof(cases) / sizeof(cases[0]);
	unsigned int passed = 0;
	unsigned int i;
	bool ok;

	program_begin(argc, argv, "Load and unload libraries that contain streams.", options);
	signal(SIGUSR1, on_signal);
	/* A huge page would count for the load that touched it first. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	for (i = 0; i < n; i++) {
		program_case = cases[i].name;
		ok = in_child(cases[i].run, *cases[i].path);
		passed += ok;
		printf("%s %s\n", ok ? "ok  " : "FAIL", cases[i].name);
	}
	return program_end(passed, n - passed, 0);
}
