/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * streamcat - merge many inputs, and tear no line
 *
 *	streamcat --label app.log /run/events.fifo --command 'dmesg -w'
 *
 * One thread for each input cuts it into lines and pushes them into a stream;
 * one thread for each stream drains it into a file descriptor. The stream does
 * the hard part: a line is stored in one piece or not at all, and lines of one
 * input stay in order. So this file is about the edges: inputs that block,
 * outputs that fail, a full stream, and SIGINT.
 *
 * Top to bottom: bells, outputs, inputs, commands, signals, options, main.
 */
#define _GNU_SOURCE
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_INPUTS 256
#define MAX_CAPACITY (128u << 20)
#define CHUNK 65536		/* bytes in one read, and in one drain */
#define KICK_NSEC 5000000	/* between two tries to interrupt a blocked input */
#define KICKS_TO_KILL 400	/* after which a command is killed: two seconds */

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SIGNAL = 128 };

/* Tells a thread to look around: any number of rings wake it once. */
struct bell {
	atomic_bool rung;
	sem_t sem;
};

/* A number of lines, and of bytes in them. */
struct tally {
	_Atomic uint64_t lines;
	_Atomic uint64_t bytes;
};

/* A stream, and the thread that drains it. */
struct output {
	const char *name;
	int fd;
	bool used;			/* some input goes here */
	pthread_t thread;
	atomic_uint running;		/* 1 until the thread has finished */
	atomic_bool closing;		/* no more pushes will come */
	atomic_bool failed;		/* nothing can be written any more */
	struct bell work;		/* rung after a push */
	struct bell room;		/* rung after a drain */
	pthread_mutex_t turn;		/* of the one writer that waits for room */
	struct tally lost;		/* what writers gave up */
	struct tally too_large;		/* the part of it that was never offered */
	struct bpf_stream stream;
};

enum input_kind { INPUT_FILE, INPUT_STDIN, INPUT_COMMAND };

/* A source of lines, and the thread that reads it. */
struct input {
	enum input_kind kind;
	char *source;			/* path or command */
	char *name;			/* for labels and messages: one line */
	struct output *out;
	pthread_t thread;
	bool started;
	atomic_bool done;
	pid_t pid;			/* of the command, while there is one */
	unsigned int kicks;		/* how often that was to be ended */

	/* The line or group that is being collected. */
	char *text;
	size_t size;			/* of the memory at text */
	uint64_t len;			/* above the capacity: only counted, not kept */
	uint64_t whole;			/* the part of len that is whole lines */
	uint64_t lines;			/* whole lines */
	uint64_t line;			/* bytes of the unfinished line, without label */

	struct tally dropped;		/* because of --drop */
};

static struct {
	bool group;
	bool label;
	bool drop;
	bool stats;
	size_t capacity;
} opts = { .capacity = BPF_STREAM_DEFAULT_CAPACITY };

static struct output outputs[] = {
	{ .name = "stdout", .fd = STDOUT_FILENO, .turn = PTHREAD_MUTEX_INITIALIZER },
	{ .name = "stderr", .fd = STDERR_FILENO, .turn = PTHREAD_MUTEX_INITIALIZER },
};

#define OUTPUTS (sizeof(outputs) / sizeof(outputs[0]))

static struct input inputs[MAX_INPUTS];
static size_t input_count;
static atomic_uint inputs_left;		/* threads that have not finished */

static struct bell events;		/* a signal, the end of a thread, a failed output */
static atomic_int interrupted;		/* by which signal */
static atomic_bool any_failure;
static sigset_t mask_at_start;		/* commands get it back */
static pthread_mutex_t pids = PTHREAD_MUTEX_INITIALIZER;	/* the pid of every input */

/* ---- Bells ------------------------------------------------------------ */

static void bell_init(struct bell *b)
{
	atomic_init(&b->rung, false);
	sem_init(&b->sem, 0, 0);
}

/* From any context, after the change that is to be seen. */
static void bell_ring(struct bell *b)
{
	if (!atomic_exchange(&b->rung, true))
		sem_post(&b->sem);
}

/*
 * Afterwards look at everything: who finds the bell rung leaves it at that, and
 * then the exchange here reads from, and so comes after, the exchange there.
 */
static void bell_wait(struct bell *b)
{
	while (sem_wait(&b->sem))
		;
	atomic_exchange(&b->rung, false);
}

/* ---- Outputs: putting lines into a stream ------------------------------ */

static void tally_add(struct tally *t, uint64_t lines, uint64_t bytes)
{
	atomic_fetch_add(&t->lines, lines);
	atomic_fetch_add(&t->bytes, bytes);
}

static bool is_full(int err)
{
	return err == -ENOSPC || err == -ENOMEM;
}

/* True: the reader got something done, try again. The caller has the turn. */
static bool wait_for_room(struct output *out)
{
	if (atomic_load(&out->failed))
		return false;
	bell_wait(&out->room);
	return true;
}

/*
 * The first attempt asks nobody. A writer that finds no room takes its turn to
 * wait: so a long line meets fewer and fewer others that fill every gap with
 * short ones, and in the end it has the stream for itself.
 */
static int push_line(struct output *out, const char *text, size_t len, bool wait)
{
	int err;

	if (atomic_load(&out->failed))
		return -EPIPE;
	err = bpf_stream_push(&out->stream, text, len);
	if (is_full(err) && wait) {
		pthread_mutex_lock(&out->turn);
		do {
			err = bpf_stream_push(&out->stream, text, len);
		} while (is_full(err) && wait_for_room(out));
		pthread_mutex_unlock(&out->turn);
	}
	bell_ring(&out->work);
	return err;
}

/* Each line of @text becomes a message. On failure the stage is empty. */
static int stage_lines(struct bpf_stream_stage *stage, const char *text, size_t len)
{
	const char *end = text + len;
	const char *next;
	int err;

	for (; text < end; text = next) {
		next = (const char *)memchr(text, '\n', (size_t)(end - text)) + 1;
		err = bpf_stream_stage_push(stage, text, (size_t)(next - text));
		if (err) {
			bpf_stream_stage_free(stage);
			return err;
		}
	}
	return 0;
}

/*
 * With the turn from the beginning: of each output only one group at a time is
 * half made, so that such groups cannot fill the pool and wait for each other.
 */
static int push_group(struct output *out, const char *text, size_t len, bool wait)
{
	struct bpf_stream_stage stage;
	int err;

	if (atomic_load(&out->failed))
		return -EPIPE;
	bpf_stream_stage_init(&stage);
	pthread_mutex_lock(&out->turn);
	do {
		err = stage_lines(&stage, text, len);
	} while (is_full(err) && wait && wait_for_room(out));
	if (!err) {
		do {
			err = bpf_stream_stage_commit_to(&stage, &out->stream);
		} while (is_full(err) && wait && wait_for_room(out));
	}
	pthread_mutex_unlock(&out->turn);
	bpf_stream_stage_free(&stage);
	bell_ring(&out->work);
	return err;
}

/*
 * One line on standard error. If inputs go there too, it takes the same way,
 * so that it cannot come to stand in the middle of a line of theirs.
 */
__attribute__((__format__(__printf__, 1, 2)))
static void complain(const char *fmt, ...)
{
	struct output *out = &outputs[1];
	char text[8192] = "streamcat: ";
	size_t len = strlen(text);
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text + len, sizeof(text) - len, fmt, ap);
	va_end(ap);
	if (n > 0)
		len += (size_t)n < sizeof(text) - len ? (size_t)n : sizeof(text) - len - 1;
	text[len < sizeof(text) - 1 ? len++ : len - 1] = '\n';
	if (!atomic_load(&out->running) || push_line(out, text, len, true))
		fwrite(text, 1, len, stderr);
	atomic_store(&any_failure, true);
}

/* ---- Outputs: draining ------------------------------------------------ */

static void output_fail(struct output *out, int err)
{
	atomic_store(&out->failed, true);
	bell_ring(&out->room);
	complain("%s: cannot write: %s", out->name, strerror(err));
}

static void *drain_output(void *arg)
{
	struct output *out = arg;
	struct pollfd writable = { .fd = out->fd, .events = POLLOUT };
	bool last;
	int n;

	do {
		last = atomic_load(&out->closing);
		n = bpf_stream_drain_fd(&out->stream, out->fd, CHUNK);
		if (n > 0) {
			/* One pool: room here may be what the other needs. */
			for (size_t i = 0; i < OUTPUTS; i++)
				bell_ring(&outputs[i].room);
		} else if (n == -EAGAIN) {
			poll(&writable, 1, -1);
		} else if (n == 0 && !last) {
			bell_wait(&out->work);
		} else if (n < 0 && n != -EINTR) {
			output_fail(out, -n);
		}
	} while (!(n == 0 && last) && !atomic_load(&out->failed));

	atomic_store(&out->running, 0);
	bell_ring(&events);
	return NULL;
}

/* ---- Inputs: from bytes to lines and groups ---------------------------- */

static bool stopping(const struct input *in)
{
	return atomic_load(&interrupted) || atomic_load(&in->out->failed);
}

/* Add to what is being collected; false if there is no memory. */
static bool text_add(struct input *in, const char *data, size_t len)
{
	size_t size = in->size;
	char *text;

	in->len += len;
	if (in->len > opts.capacity)
		return true;
	while (size < in->len)
		size = size ? 2 * size : 256;
	if (size > in->size) {
		text = realloc(in->text, size);
		if (!text)
			return false;
		in->text = text;
		in->size = size;
	}
	memcpy(in->text + in->len - len, data, len);
	return true;
}

/* The user knows the size without labels, which count here, too. */
static void text_too_large(const struct input *in)
{
	const char *what = opts.group ? "group" : "line";
	char with_labels[64] = "";
	uint64_t labels = 0;

	if (opts.label) {
		labels = in->lines * (strlen(in->name) + 2);
		snprintf(with_labels, sizeof(with_labels), " (%" PRIu64 " with its label%s)",
			 in->len, opts.group ? "s" : "");
	}
	complain("%s: %s of %" PRIu64 " bytes%s: larger than the capacity of %zu bytes",
		 in->name, what, in->len - labels, with_labels, opts.capacity);
}

/* Store what was collected, or give it up and say so. */
static void text_deliver(struct input *in)
{
	struct output *out = in->out;
	int err = -E2BIG;

	if (in->len <= opts.capacity) {
		err = opts.group ? push_group(out, in->text, (size_t)in->len, !opts.drop) :
				   push_line(out, in->text, (size_t)in->len, !opts.drop);
		if (is_full(err) && opts.drop)
			tally_add(&in->dropped, in->lines, in->len);
		else if (err && !atomic_load(&out->failed))
			complain("%s: cannot store: %s", in->name, strerror(-err));
	} else {
		tally_add(&out->too_large, in->lines, in->len);
		text_too_large(in);
	}
	if (err)
		tally_add(&out->lost, in->lines, in->len);
	in->len = in->whole = in->lines = 0;
}

/* Take up to one line; returns how many bytes, 0 if there is no memory. */
static size_t text_take(struct input *in, const char *data, size_t len)
{
	const char *newline = memchr(data, '\n', len);
	bool blank;

	if (newline)
		len = (size_t)(newline - data) + 1;
	if (opts.label && in->line == 0 &&
	    !(text_add(in, in->name, strlen(in->name)) && text_add(in, ": ", 2)))
		return 0;
	if (!text_add(in, data, len))
		return 0;
	in->line += len;
	if (newline) {
		blank = in->line == 1;
		in->line = 0;
		in->lines++;
		in->whole = in->len;
		if (!opts.group || blank)
			text_deliver(in);
	}
	return len;
}

/* Returns bytes, 0 at the end, or a negative errno; -EINTR: stop perhaps. */
static ssize_t read_some(int fd, char *data, size_t size)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	ssize_t n = read(fd, data, size);

	if (n < 0 && errno == EAGAIN) {
		poll(&readable, 1, -1);
		return -EINTR;
	}
	return n < 0 ? -errno : n;
}

static void input_read(struct input *in, int fd)
{
	char data[CHUNK];
	ssize_t n = -EINTR;
	size_t at;
	size_t taken;

	while (!stopping(in) && (n > 0 || n == -EINTR)) {
		n = read_some(fd, data, sizeof(data));
		for (at = 0; n > 0 && at < (size_t)n; at += taken) {
			taken = text_take(in, data + at, (size_t)n - at);
			if (!taken)
				n = -ENOMEM;
		}
	}
	if (n < 0 && n != -EINTR)
		complain("%s: cannot read: %s", in->name, strerror((int)-n));

	/* An unfinished line gets its newline, unless more was to come. */
	if (n > 0 || n == -EINTR || n == -ENOMEM || (in->line && !text_take(in, "\n", 1)))
		in->len = in->whole;
	if (in->len)
		text_deliver(in);
}

/* ---- Inputs: commands -------------------------------------------------- */

/*
 * In a process group of its own: it can be ended together with its children,
 * and the terminal's ^C reaches only us. Nothing of ours is left ignored or
 * blocked. Returns what to read, or -1 with errno.
 */
static int command_start(struct input *in)
{
	char sh[] = "sh", c[] = "-c", dashes[] = "--";
	char *argv[] = { sh, c, dashes, in->source, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t defaults;
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
					POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &mask_at_start);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
	errno = posix_spawn(&pid, "/bin/sh", &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	close(ends[1]);
	if (errno) {
		close(ends[0]);
		return -1;
	}
	pthread_mutex_lock(&pids);
	in->pid = pid;
	pthread_mutex_unlock(&pids);
	return ends[0];
}

/* Wait for the end of a command, and tell if it was a bad one. */
static void command_finish(struct input *in)
{
	siginfo_t info;
	int status = 0;

	/* A zombie for now, so that input_kick() cannot miss. */
	while (waitid(P_PID, (id_t)in->pid, &info, WEXITED | WNOWAIT) && errno == EINTR)
		;
	pthread_mutex_lock(&pids);
	if (stopping(in))
		kill(-in->pid, SIGKILL);	/* children that survived their shell */
	waitpid(in->pid, &status, 0);
	in->pid = 0;
	pthread_mutex_unlock(&pids);

	if (stopping(in))
		return;
	if (WIFSIGNALED(status))
		complain("%s: command failed: killed by signal %d (%s)", in->name,
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		complain("%s: command failed: exit status %d", in->name, WEXITSTATUS(status));
}

/* ---- Inputs: threads --------------------------------------------------- */

static bool is_output(const struct input *in, int fd)
{
	struct stat a;
	struct stat b;

	return !fstat(fd, &a) && !fstat(in->out->fd, &b) && S_ISREG(a.st_mode) &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Returns a file descriptor, or -1 if there is nothing to read. */
static int input_open(struct input *in)
{
	const char *what = in->kind == INPUT_COMMAND ? "cannot start" : "cannot open";
	int fd;

	do {
		if (stopping(in))
			return -1;
		if (in->kind == INPUT_COMMAND)
			fd = command_start(in);
		else if (in->kind == INPUT_STDIN)
			fd = STDIN_FILENO;
		else
			fd = open(in->source, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		complain("%s: %s: %s", in->name, what, strerror(errno));
	else if (is_output(in, fd))
		complain("%s: cannot read: it is the output", in->name);
	else
		return fd;
	if (fd > STDERR_FILENO)
		close(fd);
	return -1;
}

static void *input_run(void *arg)
{
	struct input *in = arg;
	int fd = input_open(in);

	if (fd >= 0) {
		input_read(in, fd);
		if (fd != STDIN_FILENO)
			close(fd);
		if (in->kind == INPUT_COMMAND)
			command_finish(in);
	}
	if (in->dropped.lines)
		complain("%s: %" PRIu64 " lines of %" PRIu64 " bytes dropped: %s was full",
			 in->name, in->dropped.lines, in->dropped.bytes, in->out->name);
	free(in->text);
	atomic_store(&in->done, true);
	atomic_fetch_sub(&inputs_left, 1);
	bell_ring(&events);
	return NULL;
}

/*
 * If an input has to stop: interrupt the call it may be blocked in. A signal
 * that comes just before the call does nothing, so this is repeated until the
 * thread is done. True if it has to be.
 */
static bool input_kick(struct input *in)
{
	if (!stopping(in) || atomic_load(&in->done))
		return false;
	pthread_kill(in->thread, SIGUSR1);
	pthread_mutex_lock(&pids);
	if (in->pid) {
		if (in->kicks == 0)
			kill(-in->pid, SIGTERM);
		else if (in->kicks == KICKS_TO_KILL)
			kill(-in->pid, SIGKILL);
		in->kicks++;
	}
	pthread_mutex_unlock(&pids);
	return true;
}

/* Wait until a count of threads is 0; stop inputs that have to, meanwhile. */
static void wait_for(atomic_uint *left)
{
	const struct timespec step = { .tv_nsec = KICK_NSEC };
	bool kicked;

	while (atomic_load(left)) {
		kicked = false;
		for (size_t i = 0; i < input_count; i++)
			kicked |= input_kick(&inputs[i]);
		if (kicked)
			nanosleep(&step, NULL);
		else
			bell_wait(&events);
	}
}

/* ---- Signals ----------------------------------------------------------- */

static void on_kick(int sig)
{
	(void)sig;
}

/*
 * Stop the inputs, deliver the rest. The third signal ends all at once, for an
 * output that is stuck; not the second, because timeout(1) sends two.
 */
static void on_interrupt(int sig)
{
	static atomic_uint times;
	int saved = errno;

	if (atomic_fetch_add(&times, 1) >= 2) {
		signal(sig, SIG_DFL);
		raise(sig);
	}
	atomic_store(&interrupted, sig);
	bell_ring(&events);
	errno = saved;
}

/* Signals that interrupt are for the main thread: the others block them. */
static void signals_init(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction kick = { .sa_handler = on_kick };
	struct sigaction interrupt = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART };
	struct sigaction old;
	sigset_t set;

	sigemptyset(&set);
	sigaction(SIGUSR1, &kick, NULL);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaction(signals[i], NULL, &old);
		if (old.sa_handler == SIG_IGN)
			continue;	/* nohup, or a background job of a script */
		sigaction(signals[i], &interrupt, NULL);
		sigaddset(&set, signals[i]);
	}
	pthread_sigmask(SIG_BLOCK, &set, &mask_at_start);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- Options ----------------------------------------------------------- */

static const char help[] =
"usage: streamcat [OPTION | INPUT]...\n"
"Merge inputs onto standard output, whole line by whole line.\n"
"\n"
"An INPUT is a file, a FIFO, or - for standard input, which is also what is\n"
"read if there is no INPUT. At most 256; options and inputs may be mixed.\n"
"\n"
"  --command CMD  read the output of CMD (by /bin/sh -c, with /dev/null to read)\n"
"  --group        keep groups of lines together; an empty line ends its group\n"
"  --label        begin each line with the name of its input, as in \"NAME: \"\n"
"  --stdout       inputs that follow go to standard output, as at the beginning\n"
"  --stderr       inputs that follow go to standard error\n"
"  --capacity N   let each stream hold N bytes, 1 to 128m (4m if not given);\n"
"                 suffixes k (1024) and m (1048576)\n"
"  --drop         if a stream is full, drop and count instead of waiting\n"
"  --stats        show figures on standard error at the end\n"
"  --help         show this, and exit\n"
"  --version      show the version, and exit\n"
"  --             only inputs follow\n"
"\n"
"A line or group that is larger than the capacity is reported and left out.\n"
"\n"
"The figures of --stats: lines delivered, attempts refused, lines lost. A refused\n"
"attempt is not a loss: who waits for room tries again, often several times.\n"
"\n"
"SIGINT, SIGTERM and SIGHUP, unless ignored at the start, end the reading: whole\n"
"lines that had been read are delivered. A third such signal ends it at once.\n"
"\n"
"Exit status: 0 all well, 1 an input failed or something was dropped, 2 usage,\n"
"129, 130 or 143 interrupted by SIGHUP, SIGINT or SIGTERM.\n";

__attribute__((__noreturn__))
static void usage_hint(void)
{
	fputs("Try 'streamcat --help' for more information.\n", stderr);
	exit(EXIT_USAGE);
}

__attribute__((__noreturn__, __format__(__printf__, 1, 2)))
static void usage_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("streamcat: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	usage_hint();
}

__attribute__((__noreturn__))
static void show_and_exit(const char *text)
{
	if (fputs(text, stdout) >= 0 && fflush(stdout) == 0)
		exit(EXIT_SUCCESS);
	complain("stdout: cannot write: %s", strerror(errno));
	exit(EXIT_FAILED);
}

static size_t parse_capacity(const char *text)
{
	const char *unit = text + strspn(text, "0123456789");
	unsigned int shift = !strcasecmp(unit, "k") ? 10 : !strcasecmp(unit, "m") ? 20 : 0;
	unsigned long long n = strtoull(text, NULL, 10);

	if (unit == text || (*unit && !shift) || n < 1 || n > MAX_CAPACITY >> shift)
		usage_error("--capacity: '%s': not a number of bytes from 1 to 128m "
			    "with a suffix k (1024) or m (1048576) or none", text);
	return (size_t)n << shift;
}

static void add_input(enum input_kind kind, char *source, struct output *out)
{
	struct input *in = &inputs[input_count];

	for (size_t i = 0; i < input_count; i++)
		if (kind == INPUT_STDIN && inputs[i].kind == INPUT_STDIN)
			usage_error("-: standard input can be given only once");
	if (input_count == MAX_INPUTS)
		usage_error("at most %d inputs", MAX_INPUTS);
	in->kind = kind;
	in->source = source;
	in->name = strdup(kind == INPUT_STDIN ? "stdin" : *source ? source : "''");
	if (!in->name)
		usage_error("%s", strerror(ENOMEM));
	for (char *c = in->name; *c; c++)
		if (*c == '\n')
			*c = ' ';
	in->out = out;
	out->used = true;
	input_count++;
}

static void add_operand(char *text, struct output *out)
{
	add_input(strcmp(text, "-") ? INPUT_FILE : INPUT_STDIN, text, out);
}

static void parse_options(int argc, char **argv)
{
	enum { INPUT = 1, COMMAND, GROUP, LABEL, STDOUT, STDERR, CAPACITY, DROP, STATS, HELP,
	       VERSION };
	static const struct option options[] = {
		{ "command", required_argument, NULL, COMMAND },
		{ "group", no_argument, NULL, GROUP },
		{ "label", no_argument, NULL, LABEL },
		{ "stdout", no_argument, NULL, STDOUT },
		{ "stderr", no_argument, NULL, STDERR },
		{ "capacity", required_argument, NULL, CAPACITY },
		{ "drop", no_argument, NULL, DROP },
		{ "stats", no_argument, NULL, STATS },
		{ "help", no_argument, NULL, HELP },
		{ "version", no_argument, NULL, VERSION },
		{ NULL, 0, NULL, 0 },
	};
	static char name[] = "streamcat";	/* for the messages of getopt */
	struct output *out = &outputs[0];
	int c;

	argv[0] = name;
	/* "-": inputs come in their place among the options, as INPUT */
	while ((c = getopt_long(argc, argv, "-", options, NULL)) != -1) {
		switch (c) {
		case INPUT:	add_operand(optarg, out); break;
		case COMMAND:	add_input(INPUT_COMMAND, optarg, out); break;
		case GROUP:	opts.group = true; break;
		case LABEL:	opts.label = true; break;
		case STDOUT:	out = &outputs[0]; break;
		case STDERR:	out = &outputs[1]; break;
		case CAPACITY:	opts.capacity = parse_capacity(optarg); break;
		case DROP:	opts.drop = true; break;
		case STATS:	opts.stats = true; break;
		case HELP:	show_and_exit(help);
		case VERSION:	show_and_exit("streamcat " BPF_STREAM_VERSION "\n");
		default:	usage_hint();
		}
	}
	while (optind < argc)
		add_operand(argv[optind++], out);
	if (!input_count)
		add_input(INPUT_STDIN, NULL, out);
}

/* ---- Main -------------------------------------------------------------- */

/* What is opened later must not become a closed standard descriptor. */
static void hold_standard_fds(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/*
 * A pool in which full streams of the shortest lines find room, and beside each
 * a group: then neither output can take the memory that the other one needs.
 * This reserves addresses; memory is used only as far as there are lines.
 */
static bool pool_init(void)
{
	const uint64_t overhead = 32;	/* an empty line, its newline included */
	uint64_t streams = (uint64_t)outputs[0].used + outputs[1].used;
	uint64_t bytes = streams * (opts.group ? 2 : 1) * opts.capacity * overhead +
			 4u * MAX_INPUTS * BPF_STREAM_PAGE_SIZE;
	void *region;

	if (bytes > SIZE_MAX / 4)
		bytes = SIZE_MAX / 4;	/* 32 bits: as much as one can hope for */
	region = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (region != MAP_FAILED && !bpf_stream_pool_use(region, (size_t)bytes, 0))
		return true;
	complain("cannot reserve %" PRIu64 " bytes of address space", bytes);
	return false;
}

static bool output_start(struct output *out)
{
	const struct bpf_stream_options options = { .capacity = opts.capacity };
	int err;

	err = -bpf_stream_init(&out->stream, &options);
	atomic_store(&out->running, 1);
	if (!err)
		err = pthread_create(&out->thread, NULL, drain_output, out);
	if (!err)
		return true;
	atomic_store(&out->running, 0);
	complain("%s: cannot start: %s", out->name, strerror(err));
	return false;
}

static void output_finish(struct output *out)
{
	atomic_store(&out->closing, true);
	bell_ring(&out->work);
	wait_for(&out->running);
	pthread_join(out->thread, NULL);
}

static void inputs_run(void)
{
	int err;

	atomic_store(&inputs_left, (unsigned int)input_count);
	for (struct input *in = inputs; in < inputs + input_count; in++) {
		err = pthread_create(&in->thread, NULL, input_run, in);
		in->started = !err;
		if (err) {
			complain("%s: cannot start: %s", in->name, strerror(err));
			atomic_store(&in->done, true);
			atomic_fetch_sub(&inputs_left, 1);
		}
	}
	pthread_sigmask(SIG_SETMASK, &mask_at_start, NULL);
	wait_for(&inputs_left);
	for (struct input *in = inputs; in < inputs + input_count; in++)
		if (in->started)
			pthread_join(in->thread, NULL);
}

static void show_stats(struct output *out)
{
	static const char *const reasons[BPF_STREAM_REFUSALS] = {
		[BPF_STREAM_REFUSED_FULL] = "full", [BPF_STREAM_REFUSED_POOL] = "pool",
		[BPF_STREAM_REFUSED_SIZE] = "size", [BPF_STREAM_REFUSED_INVALID] = "invalid",
		[BPF_STREAM_REFUSED_FOREIGN] = "foreign",
	};
	struct bpf_stream_stats stats;

	bpf_stream_get_stats(&out->stream, &stats);
	stats.refused[BPF_STREAM_REFUSED_SIZE].messages += out->too_large.lines;
	stats.refused[BPF_STREAM_REFUSED_SIZE].bytes += out->too_large.bytes;
	fprintf(stderr, "streamcat: %s: delivered %" PRIu64 " lines, %" PRIu64 " bytes\n",
		out->name, stats.delivered.messages, stats.delivered.bytes);
	for (size_t i = 0; i < BPF_STREAM_REFUSALS; i++)
		if (stats.refused[i].messages)
			fprintf(stderr, "streamcat: %s: attempts refused (%s) %" PRIu64
				" lines, %" PRIu64 " bytes\n", out->name, reasons[i],
				stats.refused[i].messages, stats.refused[i].bytes);
	fprintf(stderr, "streamcat: %s: lost %" PRIu64 " lines, %" PRIu64 " bytes\n",
		out->name, out->lost.lines, out->lost.bytes);
	if (stats.pending)
		fprintf(stderr, "streamcat: %s: accepted and not delivered %zu bytes\n",
			out->name, stats.pending);
}

static void show_pool_stats(void)
{
	struct bpf_stream_pool_stats pool;

	bpf_stream_pool_get_stats(&pool);
	fprintf(stderr, "streamcat: pool: %zu pages of %zu bytes, in use %zu, highest %zu, "
		"denied %" PRIu64 "\n", pool.total, pool.page_size, pool.in_use, pool.highest,
		pool.denied);
}

int main(int argc, char **argv)
{
	int sig;

	hold_standard_fds();
	parse_options(argc, argv);
	bell_init(&events);
	for (size_t i = 0; i < OUTPUTS; i++) {
		bell_init(&outputs[i].work);
		bell_init(&outputs[i].room);
	}
	signals_init();
	if (!pool_init())
		return EXIT_FAILED;
	for (size_t i = 0; i < OUTPUTS; i++)
		if (outputs[i].used && !output_start(&outputs[i]))
			return EXIT_FAILED;

	inputs_run();
	/* stdout first: its messages may have to go through the other stream */
	for (size_t i = 0; i < OUTPUTS; i++)
		if (outputs[i].used)
			output_finish(&outputs[i]);

	for (size_t i = 0; i < OUTPUTS; i++) {
		if (!outputs[i].used)
			continue;
		if (opts.stats)
			show_stats(&outputs[i]);
		bpf_stream_destroy(&outputs[i].stream);
	}
	if (opts.stats)
		show_pool_stats();
	for (size_t i = 0; i < input_count; i++)
		free(inputs[i].name);
	sig = atomic_load(&interrupted);
	if (sig)
		return EXIT_SIGNAL + sig;
	return atomic_load(&any_failure) ? EXIT_FAILED : EXIT_SUCCESS;
}
