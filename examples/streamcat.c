/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * streamcat - merge many inputs, and tear no line
 *
 *	cc -std=c11 -Iinclude examples/streamcat.c -o streamcat -pthread
 *	./streamcat --label app.log /run/events.fifo --command 'dmesg -w'
 *
 * One thread for each input cuts it into lines and pushes them into a stream.
 * One thread for each stream drains it into a file descriptor. The stream does
 * the hard part: a line is stored in one piece or not at all, and lines of one
 * input stay in order. So this file is about the edges: threads that wait for
 * each other, outputs that fail, lines that are too large, and signals.
 *
 * Top to bottom: bells, pushing, messages, outputs, inputs, commands, signals,
 * options, main.
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
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_INPUTS 256
#define MAX_CAPACITY (128u << 20)
#define CHUNK 65536		/* bytes in one read, and in one drain */
#define GRACE_MSEC 2000		/* from a command's SIGTERM to its SIGKILL */

enum { GO_ON, EXIT_FAILED, EXIT_USAGE };

/* Tells a thread to look around: any number of rings wake it once. */
struct bell {
	atomic_bool rung;
	sem_t sem;
};

/* A stream, and the thread that drains it. */
struct output {
	const char *name;
	int fd;
	int stop;			/* an eventfd: if readable, its inputs are to end */
	bool used;			/* some input goes here */
	pthread_t thread;
	atomic_bool open;		/* pushes may come */
	atomic_bool failed;		/* nothing can be written any more */
	struct bell work;		/* rung after a push */
	struct bell room;		/* rung after a drain */
	pthread_mutex_t turn;		/* of the one writer that waits for room */
	_Atomic uint64_t lost;		/* lines or groups */
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

	char *text;			/* the line or group that is being collected */
	uint64_t len;			/* what exceeds the capacity is only counted */
	uint64_t whole;			/* the part of len that is whole lines */
	uint64_t line;			/* bytes of the unfinished line, without label */

	uint64_t dropped;		/* lines or groups, because of --drop */
	uint64_t too_large;		/* lines or groups */
	uint64_t largest;		/* bytes in the largest of them */
};

static struct {
	int group;
	int label;
	int drop;
	int stats;
	size_t capacity;
} opts = { .capacity = BPF_STREAM_DEFAULT_CAPACITY };

static struct output outputs[] = {
	{ .name = "stdout", .fd = STDOUT_FILENO, .turn = PTHREAD_MUTEX_INITIALIZER },
	{ .name = "stderr", .fd = STDERR_FILENO, .turn = PTHREAD_MUTEX_INITIALIZER },
};

static struct output *const outputs_end = outputs + sizeof(outputs) / sizeof(outputs[0]);

static struct input inputs[MAX_INPUTS];
static struct input *inputs_end = inputs;
static const char *next_name;		/* from --name, for the next input */
static atomic_int ended_by;		/* a signal */
static atomic_bool any_failure;

/* ---- Bells ------------------------------------------------------------ */

/* From any context, after the change that is to be seen. */
static void bell_ring(struct bell *b)
{
	if (!atomic_exchange(&b->rung, true))
		sem_post(&b->sem);
}

/*
 * Afterwards look at everything. Nothing is missed: who finds the bell rung
 * leaves it at that, and then the exchange here reads from the exchange there,
 * so that the change happens before the look.
 */
static void bell_wait(struct bell *b)
{
	while (sem_wait(&b->sem))
		;
	atomic_exchange(&b->rung, false);
}

/* ---- Pushing a line or a group ----------------------------------------- */

/* These may succeed once the reader has taken something out. */
static bool is_full(int err)
{
	return err == -ENOSPC || err == -ENOMEM;
}

/* A group goes through a stage: each line is a message, all go in or none. */
static int try_push(struct output *out, const char *text, size_t len)
{
	const char *end = text + len;
	const char *next;
	struct bpf_stream_stage stage;
	int err = 0;

	if (!opts.group)
		return bpf_stream_push(&out->stream, text, len);
	bpf_stream_stage_init(&stage);
	for (; !err && text < end; text = next) {
		next = (const char *)memchr(text, '\n', (size_t)(end - text)) + 1;
		err = bpf_stream_stage_push(&stage, text, (size_t)(next - text));
	}
	if (!err)
		err = bpf_stream_stage_commit_to(&stage, &out->stream);
	bpf_stream_stage_free(&stage);
	return err;
}

/*
 * The first attempt at a line asks nobody. A writer that finds no room takes
 * its turn to wait: so a long line meets fewer and fewer others that fill every
 * gap with short ones, and in the end it has the stream for itself.
 *
 * Groups have the turn from the beginning: of each output only one at a time is
 * half made, so that such groups cannot fill the pool and wait for each other.
 */
static int push_text(struct output *out, const char *text, size_t len, bool wait)
{
	int err = -ENOSPC;

	if (atomic_load(&out->failed))
		return -EPIPE;
	if (!opts.group)
		err = try_push(out, text, len);
	if (is_full(err) && (wait || opts.group)) {
		pthread_mutex_lock(&out->turn);
		while (is_full(err = try_push(out, text, len)) && wait) {
			if (atomic_load(&out->failed)) {
				err = -EPIPE;
				break;
			}
			bell_wait(&out->room);
		}
		pthread_mutex_unlock(&out->turn);
	}
	bell_ring(&out->work);
	return err;
}

/* ---- Messages ---------------------------------------------------------- */

__attribute__((__noreturn__))
static void usage_hint(void)
{
	fputs("Try 'streamcat --help' for more information.\n", stderr);
	exit(EXIT_USAGE);
}

/*
 * One line on standard error, and the end unless we GO_ON. If inputs go there,
 * too, it takes the same way, so as not to stand in the middle of their lines.
 */
__attribute__((__format__(__printf__, 2, 3)))
static void complain(int status, const char *fmt, ...)
{
	struct output *out = &outputs[1];
	char text[8192] = "streamcat: ";
	size_t len = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + len, sizeof(text) - len - 1, fmt, ap);
	va_end(ap);
	len = strlen(text);
	text[len++] = '\n';
	if (!atomic_load(&out->open) || push_text(out, text, len, true))
		fwrite(text, 1, len, stderr);
	atomic_store(&any_failure, true);
	if (status == EXIT_USAGE)
		usage_hint();
	if (status)
		exit(status);
}

/* ---- Outputs ----------------------------------------------------------- */

/* A reader that goes away, as head does, has what it wanted: no message. */
static void output_fail(struct output *out, int err)
{
	atomic_store(&out->failed, true);
	atomic_store(&any_failure, true);
	eventfd_write(out->stop, 1);
	bell_ring(&out->room);
	if (err != EPIPE)
		complain(GO_ON, "%s: cannot write: %s", out->name, strerror(err));
}

static void *output_run(void *arg)
{
	struct output *out = arg;
	struct pollfd writable = { .fd = out->fd, .events = POLLOUT };
	bool last;
	int n;

	do {
		last = !atomic_load(&out->open);
		n = bpf_stream_drain_fd(&out->stream, out->fd, CHUNK);
		if (n > 0) {
			/* One pool: room here may be what the other needs. */
			for (struct output *o = outputs; o < outputs_end; o++)
				bell_ring(&o->room);
		} else if (n == -EAGAIN) {
			poll(&writable, 1, -1);
		} else if (n == 0 && !last) {
			bell_wait(&out->work);
		} else if (n < 0 && n != -EINTR) {
			output_fail(out, -n);
		}
	} while (!(n == 0 && last) && !atomic_load(&out->failed));
	return NULL;
}

static void output_start(struct output *out)
{
	const struct bpf_stream_options options = { .capacity = opts.capacity };
	int err = -bpf_stream_init(&out->stream, &options);

	atomic_store(&out->open, true);
	if (!err)
		err = pthread_create(&out->thread, NULL, output_run, out);
	if (!err)
		return;
	atomic_store(&out->open, false);
	complain(EXIT_FAILED, "%s: cannot start: %s", out->name, strerror(err));
}

/* Once nobody pushes any more. */
static void output_finish(struct output *out)
{
	atomic_store(&out->open, false);
	bell_ring(&out->work);
	pthread_join(out->thread, NULL);
}

/* ---- Inputs: from bytes to lines and groups ---------------------------- */

/* Store what was collected, or count what is lost. */
static void text_deliver(struct input *in)
{
	int err = -E2BIG;

	if (in->len <= opts.capacity) {
		err = push_text(in->out, in->text, (size_t)in->len, !opts.drop);
		if (is_full(err))
			in->dropped++;
		else if (err && err != -EPIPE)
			complain(GO_ON, "%s: cannot store: %s", in->name, strerror(-err));
	} else {
		in->too_large++;
		if (in->len > in->largest)
			in->largest = in->len;
	}
	if (err)
		atomic_fetch_add(&in->out->lost, 1);
	in->len = in->whole = 0;
}

static void text_add(struct input *in, const char *data, size_t len)
{
	if (in->len + len <= opts.capacity)
		memcpy(in->text + in->len, data, len);
	in->len += len;
}

/* Take up to one line; returns how many bytes. */
static size_t text_take(struct input *in, const char *data, size_t len)
{
	const char *newline = memchr(data, '\n', len);
	bool blank;

	if (newline)
		len = (size_t)(newline - data) + 1;
	if (opts.label && in->line == 0) {
		text_add(in, in->name, strlen(in->name));
		text_add(in, ": ", 2);
	}
	text_add(in, data, len);
	in->line += len;
	if (newline) {
		blank = in->line == 1;
		in->line = 0;
		in->whole = in->len;
		if (!opts.group || blank)
			text_deliver(in);
	}
	return len;
}

/* Until there is something to read; false if the input has to stop. */
static bool input_wait(const struct input *in, int fd)
{
	struct pollfd fds[] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = in->out->stop, .events = POLLIN },
	};

	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	return !fds[1].revents;
}

/* False if the input had to stop before its end. */
static bool input_read(struct input *in, int fd)
{
	char data[CHUNK];
	ssize_t n = 0;
	bool go_on;

	do {
		go_on = input_wait(in, fd);
		if (!go_on)
			break;
		n = read(fd, data, sizeof(data));
		for (ssize_t at = 0; at < n; )
			at += (ssize_t)text_take(in, data + at, (size_t)(n - at));
	} while (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)));
	if (go_on && n < 0)
		complain(GO_ON, "%s: cannot read: %s", in->name, strerror(errno));

	/* An unfinished line gets its newline, unless more was to come. */
	if (!go_on)
		in->len = in->whole;
	else if (in->line)
		text_take(in, "\n", 1);
	if (in->len)
		text_deliver(in);
	return go_on;
}

/* Loss is told once for each input, with its size. */
static void input_report(const struct input *in)
{
	const char *what = opts.group ? "groups" : "lines";

	if (in->too_large)
		complain(GO_ON, "%s: %s left out: %" PRIu64 ", larger than the capacity of %zu "
			 "bytes, the largest %" PRIu64 "%s; see --capacity", in->name, what,
			 in->too_large, opts.capacity, in->largest,
			 opts.label ? " with labels" : "");
	if (in->dropped)
		complain(GO_ON, "%s: %s dropped: %" PRIu64 ", %s was full", in->name, what,
			 in->dropped, in->out->name);
}

/* ---- Inputs: commands -------------------------------------------------- */

/*
 * In a process group of its own: it can be ended together with its children,
 * and a terminal's ^C reaches only us. Returns what to read, or -1 with errno.
 */
static int command_start(const struct input *in, pid_t *pid)
{
	char sh[] = "sh", c[] = "-c", dashes[] = "--";
	char *argv[] = { sh, c, dashes, in->source, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
	errno = posix_spawn(pid, "/bin/sh", &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	close(ends[1]);
	if (!errno)
		return ends[0];
	close(ends[0]);
	return -1;
}

/* After the end of its output wait for its own; tell if it was a bad one. */
static void command_finish(const struct input *in, int fd, pid_t pid, bool go_on)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd closed = { .fd = fd };	/* POLLHUP comes unasked */
	int status = 0;

	if (go_on && pidfd >= 0)
		go_on = input_wait(in, pidfd);
	if (!go_on) {
		kill(-pid, SIGTERM);
		while (poll(&closed, 1, GRACE_MSEC) < 0 && errno == EINTR)
			;
		kill(-pid, SIGKILL);
	}
	close(pidfd);
	waitpid(pid, &status, 0);
	if (!go_on)
		return;
	if (WIFSIGNALED(status))
		complain(GO_ON, "%s: command failed: killed by signal %d (%s)", in->name,
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		complain(GO_ON, "%s: command failed: exit status %d", in->name,
			 WEXITSTATUS(status));
}

/* ---- Inputs: threads --------------------------------------------------- */

static bool is_output(const struct input *in, int fd)
{
	struct stat a;
	struct stat b;

	return !fstat(fd, &a) && !fstat(in->out->fd, &b) && S_ISREG(a.st_mode) &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static void *input_run(void *arg)
{
	struct input *in = arg;
	pid_t pid = 0;
	int fd = STDIN_FILENO;
	bool go_on;

	if (in->kind == INPUT_COMMAND)
		fd = command_start(in, &pid);
	else if (in->kind == INPUT_FILE)	/* input_wait() waits for its writer */
		fd = open(in->source, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		complain(GO_ON, "%s: cannot %s: %s", in->name,
			 in->kind == INPUT_COMMAND ? "start" : "open", strerror(errno));
	} else if (is_output(in, fd)) {
		complain(GO_ON, "%s: cannot read: it is the output", in->name);
	} else {
		go_on = input_read(in, fd);
		if (in->kind == INPUT_COMMAND)
			command_finish(in, fd, pid, go_on);
	}
	if (fd > STDERR_FILENO)
		close(fd);
	input_report(in);
	return NULL;
}

static bool input_start(struct input *in)
{
	int err = ENOMEM;

	in->text = malloc(opts.capacity);
	if (in->text)
		err = pthread_create(&in->thread, NULL, input_run, in);
	if (err)
		complain(GO_ON, "%s: cannot start: %s", in->name, strerror(err));
	return !err;
}

/* ---- Signals ----------------------------------------------------------- */

/*
 * Stop the inputs, deliver the rest. The third signal ends all at once, for an
 * output that is stuck; not the second, because timeout(1) sends two.
 */
static void on_signal(int sig)
{
	static atomic_uint times;
	int saved = errno;

	if (atomic_fetch_add(&times, 1) >= 2) {
		signal(sig, SIG_DFL);
		raise(sig);
	}
	atomic_store(&ended_by, sig);
	for (struct output *out = outputs; out < outputs_end; out++)
		eventfd_write(out->stop, 1);
	errno = saved;
}

/* What is ignored stays so: nohup, or a background job of a script. */
static void signals_init(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct sigaction old;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaction(signals[i], NULL, &old);
		if (old.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
	}
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
"  --name NAME    the next input or command is called NAME in labels and messages;\n"
"                 so is standard input, if no input is named\n"
"  --group        keep groups of lines together; an empty line ends its group\n"
"  --label        begin each line with the name of its input, as in \"NAME: \"\n"
"  --stdout       inputs that follow go to standard output, as at the beginning\n"
"  --stderr       inputs that follow go to standard error\n"
"  --capacity N   let each stream hold N bytes, 1 to 128m (4m if not given);\n"
"                 suffixes k (1024) and m (1048576)\n"
"  --drop         if a stream is full, drop and count instead of waiting\n"
"  --stats        show figures on standard error at the end\n"
"  -h, --help     show this, and exit\n"
"  -V, --version  show the version, and exit\n"
"  --             only inputs follow\n"
"\n"
"Order: lines come out as they arrive. Those of one input keep their order; those\n"
"of different inputs come in the order in which they were read, not by any time\n"
"in them. If an input does not end with a newline, one is added.\n"
"\n"
"A line or group larger than the capacity, labels included, is left out; how many\n"
"there were is told at the end of the input.\n"
"\n"
"SIGINT, SIGTERM and SIGHUP end the reading; whole lines that had been read are\n"
"delivered. The third one ends it at once. After | head it ends without a message.\n"
"\n"
"Exit status: 0 all well, 1 an input or output failed or something was lost,\n"
"2 usage; else the signal that ended it: in a shell 129 SIGHUP, 130 SIGINT,\n"
"141 SIGPIPE (nobody reads the output), 143 SIGTERM.\n";

__attribute__((__noreturn__))
static void show_and_exit(const char *text)
{
	if (fputs(text, stdout) < 0 || fflush(stdout))
		complain(EXIT_FAILED, "stdout: cannot write: %s", strerror(errno));
	exit(EXIT_SUCCESS);
}

static size_t parse_capacity(const char *text)
{
	const char *unit = text + strspn(text, "0123456789");
	unsigned int shift = !strcasecmp(unit, "k") ? 10 : !strcasecmp(unit, "m") ? 20 : 0;
	unsigned long long n = strtoull(text, NULL, 10);

	if (unit == text || (*unit && !shift) || n < 1 || n > MAX_CAPACITY >> shift)
		complain(EXIT_USAGE, "--capacity %s: must be 1 to 128m bytes; k stands for 1024, "
			 "m for 1048576", *text ? text : "''");
	return (size_t)n << shift;
}

static void set_next_name(const char *name)
{
	if (next_name)
		complain(EXIT_USAGE, "--name %s: no input or command follows it", next_name);
	next_name = name;
}

static void add_input(enum input_kind kind, char *source, struct output *out)
{
	const char *name = next_name;

	next_name = NULL;
	if (kind == INPUT_FILE && !strcmp(source, "-"))
		kind = INPUT_STDIN;
	for (struct input *in = inputs; in < inputs_end; in++)
		if (kind == INPUT_STDIN && in->kind == INPUT_STDIN)
			complain(EXIT_USAGE, "-: standard input can be given only once");
	if (inputs_end == inputs + MAX_INPUTS)
		complain(EXIT_USAGE, "more than %d inputs: let a part of them be one "
			 "--command 'streamcat ...'", MAX_INPUTS);
	if (!name)
		name = kind == INPUT_STDIN ? "stdin" : *source ? source : "''";
	inputs_end->kind = kind;
	inputs_end->source = source;
	inputs_end->name = strndup(name, strcspn(name, "\n"));
	inputs_end->out = out;
	if (!inputs_end->name)
		complain(EXIT_FAILED, "%s", strerror(ENOMEM));
	out->used = true;
	inputs_end++;
}

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "command", required_argument, NULL, 'c' },
		{ "name", required_argument, NULL, 'n' },
		{ "group", no_argument, &opts.group, 1 },
		{ "label", no_argument, &opts.label, 1 },
		{ "stdout", no_argument, NULL, 'o' },
		{ "stderr", no_argument, NULL, 'e' },
		{ "capacity", required_argument, NULL, 'm' },
		{ "drop", no_argument, &opts.drop, 1 },
		{ "stats", no_argument, &opts.stats, 1 },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	static char self[] = "streamcat";	/* for the messages of getopt */
	struct output *out = &outputs[0];
	int c;

	argv[0] = self;
	/* "-": inputs come in their place among the options, as 1 */
	while ((c = getopt_long(argc, argv, "-hV", options, NULL)) != -1) {
		switch (c) {
		case 0:		break;	/* a flag was set */
		case 1:		add_input(INPUT_FILE, optarg, out); break;
		case 'c':	add_input(INPUT_COMMAND, optarg, out); break;
		case 'n':	set_next_name(optarg); break;
		case 'o':	out = &outputs[0]; break;
		case 'e':	out = &outputs[1]; break;
		case 'm':	opts.capacity = parse_capacity(optarg); break;
		case 'h':	show_and_exit(help);
		case 'V':	show_and_exit("streamcat " BPF_STREAM_VERSION "\n");
		default:	usage_hint();
		}
	}
	while (optind < argc)
		add_input(INPUT_FILE, argv[optind++], out);
	if (inputs_end == inputs)
		add_input(INPUT_STDIN, NULL, out);
	set_next_name(NULL);
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
static void pool_init(void)
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
	if (region == MAP_FAILED || bpf_stream_pool_use(region, (size_t)bytes, 0))
		complain(EXIT_FAILED, "cannot reserve %" PRIu64 " bytes of address space for a "
			 "capacity of %zu: see ulimit -v", bytes, opts.capacity);
}

/* Refusals are no loss as long as the writer tries again. */
static void show_stats(struct output *out)
{
	struct bpf_stream_stats stats;

	bpf_stream_get_stats(&out->stream, &stats);
	fprintf(stderr, "streamcat: %s: delivered %" PRIu64 " lines, %" PRIu64 " bytes; accepted "
		"and not delivered %zu bytes; lost %" PRIu64 " %s; attempts refused %" PRIu64 "\n",
		out->name, stats.delivered.messages, stats.delivered.bytes, stats.pending,
		atomic_load(&out->lost), opts.group ? "groups" : "lines",
		stats.refused[BPF_STREAM_REFUSED_FULL].messages);
}

int main(int argc, char **argv)
{
	struct input *started = inputs;
	int sig;

	hold_standard_fds();
	parse_options(argc, argv);
	pool_init();
	for (struct output *out = outputs; out < outputs_end; out++) {
		sem_init(&out->work.sem, 0, 0);
		sem_init(&out->room.sem, 0, 0);
		out->stop = eventfd(0, EFD_CLOEXEC);
		if (out->stop < 0)
			complain(EXIT_FAILED, "cannot start: %s", strerror(errno));
	}
	signals_init();
	for (struct output *out = outputs; out < outputs_end; out++)
		if (out->used)
			output_start(out);
	while (started < inputs_end && input_start(started))
		started++;

	for (struct input *in = inputs; in < started; in++)
		pthread_join(in->thread, NULL);
	/* stdout first: its messages may have to go through the other stream */
	for (struct output *out = outputs; out < outputs_end; out++)
		if (out->used)
			output_finish(out);
	for (struct output *out = outputs; out < outputs_end; out++)
		if (out->used && opts.stats)
			show_stats(out);

	/* Who waits for us, a shell for example, is to know of the signal. */
	sig = atomic_load(&ended_by);
	if (sig) {
		signal(sig, SIG_DFL);
		raise(sig);
	}
	return atomic_load(&any_failure) ? EXIT_FAILED : EXIT_SUCCESS;
}
