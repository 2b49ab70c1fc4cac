/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * LTTng-UST: a tracepoint stores the values, and another process writes them
 * to a trace; nothing is formatted until somebody reads it. With a descriptor,
 * close() has babeltrace2 format the trace into it. With none: a snapshot
 * session, whose buffers stay in memory, and nobody reads them.
 */
#include "logger.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef void lttng_line_fn(int writer, int number, int check, const char *text);

struct lttng {
	lttng_line_fn *line;
	int fd;
	char directory[64];
};

__attribute__((format(printf, 1, 2)))
static bool shell(const char *format, ...)
{
	char command[400];
	va_list ap;
	int len;

	va_start(ap, format);
	len = vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	return len > 0 && (size_t)len < sizeof(command) && !system(command);
}

static void *lttng_open(int fd)
{
	static lttng_line_fn *line;
	struct lttng *l = calloc(1, sizeof(*l));
	void *module;

	if (!l || !shell("lttng list >/dev/null 2>&1"))
		return NULL;
	if (!line) {
		setenv("LTTNG_UST_REGISTER_TIMEOUT", "3000", 0);
		module = dlopen(LTTNG_MODULE, RTLD_NOW | RTLD_LOCAL);
		line = module ? (lttng_line_fn *)(uintptr_t)dlsym(module, "compare_lttng_line") : NULL;
	}
	l->line = line;
	l->fd = fd;
	strcpy(l->directory, "/tmp/compare-XXXXXX");
	if (!line || !mkdtemp(l->directory) ||
	    !shell("s=${0##*/}; s=%s; n=${s##*/}; { lttng create $n %s && "
		   "lttng enable-channel -u -s $n --subbuf-size=1M --num-subbuf=8 c && "
		   "lttng enable-event -u -s $n -c c compare:line && lttng start $n; } >/dev/null 2>&1",
		   l->directory, fd < 0 ? "--snapshot" : "--output=$s"))
		return NULL;
	return l;
}

static bool lttng_line(void *logger, const struct line *line)
{
	((struct lttng *)logger)->line(LINE_ARGS(line));
	return true;
}

static size_t lttng_pump(void *logger, char *to, size_t size)
{
	(void)logger;
	(void)to;
	(void)size;
	return 0;
}

static void lttng_close(void *logger)
{
	struct lttng *l = logger;

	(void)shell("s=%s; n=${s##*/}; { lttng stop $n; lttng destroy $n; } >/dev/null 2>&1",
		    l->directory);
	if (l->fd >= 0)
		(void)shell("babeltrace2 --no-delta %s 2>/dev/null | sed 's/.*{ writer = "
			    "\\([0-9]*\\), number = \\([0-9]*\\), check = \\([0-9]*\\), "
			    "text = \"\\(.*\\)\" }$/\\1 \\2 \\3 \\4/' >>/proc/%d/fd/%d",
			    l->directory, (int)getpid(), l->fd);
	(void)shell("rm -rf %s", l->directory);
	free(l);
}

/* Of its consumer daemon: user and system time, in ticks. */
static uint64_t lttng_others_cpu_ns(void *logger)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	uint64_t ticks = 0;

	(void)logger;
	while (proc && (entry = readdir(proc))) {
		unsigned long user;
		unsigned long system;
		char path[300];
		FILE *stat;

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		stat = fopen(path, "re");
		if (!stat)
			continue;
		if (fscanf(stat, "%*d (lttng-consumerd) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
			   "%lu %lu", &user, &system) == 2)
			ticks += user + system;
		fclose(stat);
	}
	if (proc)
		closedir(proc);
	return ticks * 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
}

static const struct logger logger_lttng = {
	.name = "LTTng-UST",
	.package = "liblttng-ust-dev",
	.open = lttng_open,
	.line = lttng_line,
	.pump = lttng_pump,
	.close = lttng_close,
	.others_cpu_ns = lttng_others_cpu_ns,
	.own_thread = true,
};
LOGGER_REGISTER(logger_lttng);
