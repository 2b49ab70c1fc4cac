/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A program that unloads a library which contains streams, while a thread
 * that pushed there lives on. Nothing may be left that calls into the library:
 * neither the exit hook of the thread, which keeps a page, nor the hook of
 * fork.
 *
 * usage: plugin_host LIBRARY
 *
 * Exit status: 0 passed, 1 failed.
 *
 * Seen to fail, with a copy of the header broken on purpose:
 *
 *   no pthread_key_delete in the unload hook    SIGSEGV when the thread ends
 *   the fork hook registered for the program    "the child ended with 0xb"
 *   no tls_model attribute                      "has no DF_STATIC_TLS"
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 20

static const char *library;
static int (*plugin_push)(void);
static int (*plugin_drain)(void);
static size_t (*plugin_pages_in_use)(void);
static sem_t pushed;
static sem_t unloaded;

static bool failed(const char *what, long found)
{
	printf("FAIL %s: %s 0x%lx\n", library, what, (unsigned long)found);
	return false;
}

/* ISO C knows no way from an object's address to a function's but its bytes. */
static bool find(void *handle, const char *name, void *function)
{
	void *symbol = dlsym(handle, name);

	memcpy(function, &symbol, sizeof(symbol));
	return symbol != NULL;
}

/* Its thread-local storage is static: a first access does not allocate. */
static bool has_static_tls(void *handle)
{
	const ElfW(Dyn) *entry;
	struct link_map *map;

	if (dlinfo(handle, RTLD_DI_LINKMAP, &map))
		return false;
	for (entry = map->l_ld; entry->d_tag != DT_NULL; entry++)
		if (entry->d_tag == DT_FLAGS && entry->d_un.d_val & DF_STATIC_TLS)
			return true;
	return false;
}

/* Pushes, and outlives the library. */
static void *push_and_stay(void *result)
{
	*(int *)result = plugin_push();
	sem_post(&pushed);
	while (sem_wait(&unloaded))
		;
	return NULL;
}

/* With the thread at rest: what it pushed comes out, and it keeps its page. */
static bool use(void *handle, int push_result)
{
	int bytes;
	size_t pages;

	if (push_result)
		return failed("the push returned", push_result);
	bytes = plugin_drain();
	if (bytes != 1)
		return failed("the drain returned", bytes);
	pages = plugin_pages_in_use();
	if (pages != 1)
		return failed("pages in use after the drain:", (long)pages);
	if (dlclose(handle))
		return failed("dlclose failed", 0);
	if (dlopen(library, RTLD_NOW | RTLD_NOLOAD))
		return failed("it is still loaded", 0);
	return true;
}

static bool forks(void)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return failed("fork or waitpid failed", child);
	return status == 0 || failed("the child ended with", status);
}

static bool load_use_unload(void)
{
	void *handle = dlopen(library, RTLD_NOW);
	pthread_t thread;
	int push_result = 0;
	bool passed;

	if (!handle) {
		printf("FAIL %s\n", dlerror());
		return false;
	}
	if (!find(handle, "plugin_push", &plugin_push) ||
	    !find(handle, "plugin_drain", &plugin_drain) ||
	    !find(handle, "plugin_pages_in_use", &plugin_pages_in_use))
		return failed("a function is missing", 0);
	if (!has_static_tls(handle))
		return failed("has no DF_STATIC_TLS", 0);
	if (pthread_create(&thread, NULL, push_and_stay, &push_result))
		return failed("no thread", 0);
	while (sem_wait(&pushed))
		;
	passed = use(handle, push_result);
	sem_post(&unloaded);
	pthread_join(thread, NULL);
	return forks() && passed;
}

int main(int argc, char **argv)
{
	int round;

	if (argc != 2) {
		fputs("usage: plugin_host LIBRARY\n", stderr);
		return 1;
	}
	library = argv[1];
	sem_init(&pushed, 0, 0);
	sem_init(&unloaded, 0, 0);
	for (round = 0; round < ROUNDS; round++)
		if (!load_use_unload())
			return 1;
	return 0;
}
