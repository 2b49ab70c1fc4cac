/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * plugin.h - a shared library that contains streams, and how programs reach it
 *
 * The library is plugin.c, compiled in many ways. Programs find its functions
 * by name, so that several of these libraries can be in one process.
 */
#ifndef TESTS_LIBRARIES_PLUGIN_H
#define TESTS_LIBRARIES_PLUGIN_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ---- What the library has --------------------------------------------- */

#pragma GCC visibility push(default)
int plugin_push(const void *data, size_t len);
int plugin_read(void *buf, size_t len);
size_t plugin_pages_in_use(void);
size_t plugin_pages_total(void);
#pragma GCC visibility pop

/* ---- How a program holds it ------------------------------------------- */

struct plugin {
	void *handle;
	int (*push)(const void *data, size_t len);
	int (*read)(void *buf, size_t len);
	size_t (*pages_in_use)(void);
	size_t (*pages_total)(void);
};

#if defined(PLUGIN_HOST) && defined(PLUGIN_IN_PROGRAM)

/* Linked into the program itself. */
static bool plugin_open(struct plugin *plugin, const char *path, int flags)
{
	(void)path;
	(void)flags;
	*plugin = (struct plugin){ NULL, plugin_push, plugin_read,
				   plugin_pages_in_use, plugin_pages_total };
	return true;
}

#elif defined(PLUGIN_HOST)

/* ISO C knows no way from an object's address to a function's but its bytes. */
static bool plugin_find(const struct plugin *plugin, const char *name, void *function)
{
	void *symbol = dlsym(plugin->handle, name);

	memcpy(function, &symbol, sizeof(symbol));
	return symbol != NULL;
}

/* Opens the library at @path with dlopen()'s @flags; on failure says why. */
static bool plugin_open(struct plugin *plugin, const char *path, int flags)
{
	plugin->handle = dlopen(path, flags);
	if (plugin->handle && plugin_find(plugin, "plugin_push", &plugin->push) &&
	    plugin_find(plugin, "plugin_read", &plugin->read) &&
	    plugin_find(plugin, "plugin_pages_in_use", &plugin->pages_in_use) &&
	    plugin_find(plugin, "plugin_pages_total", &plugin->pages_total))
		return true;
	printf("cannot be loaded: %s\n", dlerror());
	return false;
}

#endif

#endif
