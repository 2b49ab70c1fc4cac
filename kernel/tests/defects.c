// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What the original's streams do wrong, seen from outside: a program for a
 * kernel of kernel/own.sh. Each case but one fails on the original of 7.2 and
 * 7.3, and all hold with the drop-in; the numbers are those of the table of
 * defects in docs/kernel-drop-in.md. The one, a fault at once, was seen to fail
 * with a drop-in that gives up what it offered when nothing could be copied.
 *
 * A BPF program is made here by hand. It prints one of a few formats to one of
 * its streams, as often as it is told, and returns the last result. Memory is
 * exhausted, and stages are printed, through bpf_stream_control in debugfs
 * (control.c), which such kernels have built in.
 *
 * A line "ok NAME" or "FAIL NAME: REASON" for each case; exit status 1 if one
 * failed.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/bpf.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>

#define CONTROL		"/sys/kernel/debug/bpf_stream_control"
#define CAPACITY	100000
#define MOST		1000		/* prints in one run of the program */
#define FORMAT_SIZE	16
#define LOG_SIZE	(1 << 20)

enum { OUT = 1, ERR = 2 };

/* All formats print a number, right-aligned: the length is the width. */
enum format { NOTHING, ONE, SIXTY_FOUR, THOUSAND, TOO_LONG, FORMATS };

static const char formats[FORMATS][FORMAT_SIZE] = {
	[NOTHING] = "", [ONE] = "%d", [SIXTY_FOUR] = "%64d", [THOUSAND] = "%1000d",
	[TOO_LONG] = "%2000d",
};

static const int lengths[FORMATS] = { 0, 1, 64, 1000, 2000 };

struct order {		/* what the program is told */
	uint32_t format;
	uint32_t stream;
	uint32_t times;
	int32_t value;
	int32_t result;
};

static int program = -1;
static char why[200];

static void die(const char *what)
{
	printf("FAIL defects: %s: %s\n", what, strerror(errno));
	exit(1);
}

static bool fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

static bool fail(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(why, sizeof(why), format, list);
	va_end(list);
	return false;
}

/* --- the program -------------------------------------------------------- */

static struct bpf_insn code[FORMATS * 20 + 20];
static int code_size;

static void emit(uint8_t op, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	code[code_size++] = (struct bpf_insn){
		.code = op, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm,
	};
}

static int make_formats(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_RDONLY_PROG);
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "formats", 4, sizeof(formats), 1, &options);
	uint32_t zero = 0;

	if (map < 0 || bpf_map_update_elem(map, &zero, formats, 0) ||
	    syscall(SYS_bpf, BPF_MAP_FREEZE, &(union bpf_attr){ .map_fd = map },
		    sizeof(union bpf_attr)))
		die("map of formats");
	return map;
}

static int find_print(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int id = btf ? btf__find_by_name_kind(btf, "bpf_stream_vprintk", BTF_KIND_FUNC) : -ENOENT;

	if (id < 0) {
		errno = -id;
		die("bpf_stream_vprintk");
	}
	btf__free(btf);
	return id;
}

/* r6: the order; r7: how often; r8: the last result; fp-8: the argument. */
static void write_code(int map, int print)
{
	enum { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FP };
	int i, loop;

	emit(BPF_ALU64 | BPF_MOV | BPF_X, R6, R1, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_K, R8, 0, 0, 0);
	emit(BPF_LDX | BPF_MEM | BPF_W, R1, R6, offsetof(struct order, value), 0);
	emit(BPF_STX | BPF_MEM | BPF_DW, FP, R1, -8, 0);
	for (i = 0; i < FORMATS; i++) {
		emit(BPF_LDX | BPF_MEM | BPF_W, R1, R6, offsetof(struct order, format), 0);
		emit(BPF_JMP | BPF_JNE | BPF_K, R1, 0, 13, i);
		emit(BPF_LDX | BPF_MEM | BPF_W, R7, R6, offsetof(struct order, times), 0);
		emit(BPF_JMP | BPF_JGT | BPF_K, R7, 0, 11, MOST);
		loop = code_size;
		emit(BPF_JMP | BPF_JEQ | BPF_K, R7, 0, 10, 0);
		emit(BPF_LDX | BPF_MEM | BPF_W, R1, R6, offsetof(struct order, stream), 0);
		emit(BPF_LD | BPF_IMM | BPF_DW, R2, BPF_PSEUDO_MAP_VALUE, 0, map);
		emit(0, 0, 0, 0, i * FORMAT_SIZE);
		emit(BPF_ALU64 | BPF_MOV | BPF_X, R3, FP, 0, 0);
		emit(BPF_ALU64 | BPF_ADD | BPF_K, R3, 0, 0, -8);
		emit(BPF_ALU64 | BPF_MOV | BPF_K, R4, 0, 0, 8);
		emit(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, print);
		emit(BPF_ALU64 | BPF_MOV | BPF_X, R8, R0, 0, 0);
		emit(BPF_ALU64 | BPF_SUB | BPF_K, R7, 0, 0, 1);
		emit(BPF_JMP | BPF_JA, 0, 0, loop - code_size - 1, 0);
	}
	emit(BPF_STX | BPF_MEM | BPF_W, R6, R8, offsetof(struct order, result), 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_K, R0, 0, 0, 0);
	emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void load(void)
{
	static char log[LOG_SIZE];
	LIBBPF_OPTS(bpf_prog_load_opts, options, .prog_flags = BPF_F_SLEEPABLE, .log_buf = log,
		    .log_size = sizeof(log));

	write_code(make_formats(), find_print());
	program = bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "defects", "Dual BSD/GPL", code, code_size,
				&options);
	if (program < 0) {
		fprintf(stderr, "%.2000s\n", log);
		die("loading the program");
	}
}

/* Prints, and returns the last result. */
static int print(int stream, enum format format, unsigned int times)
{
	struct order order = { .format = format, .stream = stream, .times = times, .value = 7 };
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &order,	/* comes back */
		    .ctx_size_in = sizeof(order));

	if (bpf_prog_test_run_opts(program, &options))
		die("running the program");
	return order.result;
}

/* --- reading ------------------------------------------------------------ */

static char text[1 << 18];

static int read_stream(int stream, void *buffer, uint32_t size)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_stream_read.stream_buf = (uintptr_t)buffer;
	attr.prog_stream_read.stream_buf_len = size;
	attr.prog_stream_read.stream_id = stream;
	attr.prog_stream_read.prog_fd = program;
	int ret = syscall(SYS_bpf, BPF_PROG_STREAM_READ_BY_FD, &attr, sizeof(attr));
	return ret < 0 ? -errno : ret;
}

/* Reads everything; returns how much it was. */
static int drain(int stream)
{
	int sum = 0, ret;

	while ((ret = read_stream(stream, text, sizeof(text))) > 0)
		sum += ret;
	return sum;
}

/*
 * An empty stream takes what its capacity says, or a byte less. (A page
 * allocator may refuse in between.)
 */
static bool holds_all(int stream)
{
	int count = 0, bytes;

	drain(stream);
	while (count < 2 * CAPACITY / 64 && !print(stream, SIXTY_FOUR, 1))
		count++;
	while (count < 2 * CAPACITY && !print(stream, ONE, 1))
		count++;
	bytes = drain(stream);
	if (bytes >= CAPACITY - 1 && bytes <= CAPACITY)
		return true;
	return fail("an empty stream takes %d bytes", bytes);
}

static void control(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void control(const char *format, ...)
{
	static int fd = -1;
	char line[64];
	va_list list;
	int size;

	if (fd < 0)
		fd = open(CONTROL, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		die(CONTROL);
	va_start(list, format);
	size = vsnprintf(line, sizeof(line), format, list);
	va_end(list);
	if (write(fd, line, size) < 0 && !strncmp(line, "hog", 3))
		die(line);
}

/* --- the cases ---------------------------------------------------------- */

static bool capacity_after_oversize(void)	/* defect 4 */
{
	int ret = print(OUT, TOO_LONG, 200);

	if (!ret)
		return fail("%d bytes are taken", lengths[TOO_LONG]);
	return holds_all(OUT);
}

static bool capacity_after_failed_allocation(void)	/* defect 1 */
{
	int i, now, ret = 0, full = 0, stored = 0;

	for (i = 0; i < 150 && !ret; i++) {	/* there may be spares */
		control("hog");
		ret = print(i < 60 ? ERR : OUT, THOUSAND, 1);
		stored += !ret && i < 60;
	}
	for (i = 0; i < 150 && !full; i++) {
		control("hog");
		now = print(ERR, THOUSAND, 1);
		stored += !now;
		full = now == -ENOSPC && (stored + 1) * 1000 < CAPACITY;
	}
	control("free");
	drain(OUT);
	if (!ret)
		return fail("no allocation failed");
	if (ret != -ENOMEM)
		return fail("a failed allocation gives %d", ret);
	if (full)
		return fail("what failed has filled the stream");
	return holds_all(ERR);
}

static bool capacity_after_failed_stage(void)	/* defect 2 */
{
	int i;

	do {
		control("hog");
	} while (!print(ERR, THOUSAND, 1));
	for (i = 0; i < 50; i++) {
		control("hog");
		control("stage %d 10 1000", program);
	}
	control("free");
	drain(ERR);
	return holds_all(OUT);
}

static long free_kib(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	long kib = -1, value;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemFree: %ld", &value) == 1)
			kib = value;
	}
	if (file)
		fclose(file);
	return kib;
}

static bool memory_of_empty_messages(void)	/* defect 5 */
{
	long before, after;
	int i, ret = 0;

	print(OUT, NOTHING, MOST);
	before = free_kib();
	for (i = 0; i < 500 && !ret; i++)
		ret = print(OUT, NOTHING, MOST);
	after = free_kib();
	drain(OUT);
	if (ret)
		return fail("an empty message gives %d", ret);
	if (before - after > 2048)
		return fail("500,000 empty messages take %ld KiB", before - after);
	return holds_all(OUT);
}

static bool fault_in_second_message(void)	/* defect 6 */
{
	long page = sysconf(_SC_PAGESIZE);
	char *area = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0);
	char got[129];
	int first, rest;

	if (area == MAP_FAILED || mprotect(area + page, page, PROT_NONE))
		die("mmap");
	drain(OUT);
	if (print(OUT, SIXTY_FOUR, 2))
		return fail("cannot print");
	first = read_stream(OUT, area + page - 96, 128);
	if (first > 0)
		memcpy(got, area + page - 96, first);
	rest = read_stream(OUT, got + (first > 0 ? first : 0), 128);
	munmap(area, 2 * page);
	if (first < 64 || first > 96)
		return fail("a read of 128 bytes into room for 96 gives %d, then %d", first, rest);
	got[first + rest] = 0;
	if (first + rest != 128 || got[63] != '7' || got[127] != '7' || strspn(got, " ") != 63)
		return fail("%d and %d bytes are not the two messages", first, rest);
	return holds_all(OUT);
}

static bool fault_at_once(void)		/* of the same kind: nothing may be lost */
{
	int ret;

	drain(OUT);
	print(OUT, SIXTY_FOUR, 2);
	ret = read_stream(OUT, NULL, 128);
	if (ret != -EFAULT)
		return fail("it gives %d", ret);
	ret = drain(OUT);
	return ret == 128 || fail("%d of 128 bytes are left", ret);
}

static bool length_above_int_max(void)		/* defect 7 */
{
	static char log[LOG_SIZE];
	int ret, size;

	klogctl(5 /* SYSLOG_ACTION_CLEAR */, NULL, 0);
	drain(OUT);
	print(OUT, SIXTY_FOUR, 1);
	ret = read_stream(OUT, text, 0x80000010u);
	size = klogctl(3 /* SYSLOG_ACTION_READ_ALL */, log, sizeof(log) - 1);
	log[size > 0 ? size : 0] = 0;
	if (strstr(log, "WARNING:") || strstr(log, "BUG:"))
		return fail("the kernel warns; the read gives %d", ret);
	if (ret != -EINVAL)
		return fail("it gives %d", ret);
	ret = drain(OUT);
	return ret == 64 || fail("%d of 64 bytes are left", ret);
}

/* The last one may make the kernel warn. */
static const struct {
	const char *name;
	bool (*holds)(void);
} cases[] = {
	{ "defect 4: the capacity is whole after oversize messages", capacity_after_oversize },
	{ "defect 1: the capacity is whole after failed allocations",
	  capacity_after_failed_allocation },
	{ "defect 2: the capacity is whole after stages that found no memory",
	  capacity_after_failed_stage },
	{ "defect 5: empty messages take no memory", memory_of_empty_messages },
	{ "defect 6: a fault in the second message loses nothing", fault_in_second_message },
	{ "defect 6: a fault at once loses nothing", fault_at_once },
	{ "defect 7: a length above INT_MAX is refused", length_above_int_max },
};

int main(void)
{
	cpu_set_t one;
	int failed = 0;

	setbuf(stdout, NULL);
	memset(text, 1, sizeof(text));
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_setaffinity(0, sizeof(one), &one) || mlockall(MCL_CURRENT | MCL_FUTURE))
		die("preparations");
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		load();			/* streams that nothing has been done to */
		if (cases[i].holds()) {
			printf("ok %s\n", cases[i].name);
		} else {
			printf("FAIL %s: %s\n", cases[i].name, why);
			failed = 1;
		}
		close(program);
		code_size = 0;
	}
	return failed;
}
