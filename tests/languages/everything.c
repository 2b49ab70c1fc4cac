/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Calls every public function as a user would, and checks what it returns and
 * what comes out. It has the declarations alone, is valid C11 and valid C++11,
 * and is linked with bodies.c by builds.sh, which runs it in every language,
 * with every compiler and on every machine, and looks at its symbols to see
 * that no function is left out.
 *
 * Each build must print the same. Exit status: 0 passed, 1 failed.
 *
 * Seen to fail with copies of the header in which: a push stores less than it
 * was given; BSE_DECLS_BEGIN is empty in C++; a function is declared, or a
 * macro defined, that is not used here; a number is negated as 0 - value, with
 * -fsanitize=integer in trap mode.
 */
#define BPF_STREAM_PROG
#include "bpf_stream.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REGION (64u * 4096u)

static struct bpf_stream s;
static char region[REGION] __attribute__((__aligned__(4096)));
static unsigned int passed;
static unsigned int failed;

static void check(const char *what, int line, long long got, long long want)
{
	if (got == want) {
		passed++;
	} else {
		failed++;
		printf("FAIL line %d: %s is %lld, not %lld\n", line, what, got, want);
	}
}

#define IS(what, want) check(#what, __LINE__, (long long)(what), (long long)(want))

/* What is pending in @t is the text @want and nothing else. */
static void check_text(struct bpf_stream *t, int line, const char *want)
{
	char got[256];
	int len = bpf_stream_read(t, got, sizeof(got));
	int same = len == (int)strlen(want) && !memcmp(got, want, (size_t)len);

	if (!same)
		printf("'%.*s' instead of '%s'\n", len < 0 ? 0 : len, got, want);
	check("the text", line, same, 1);
}

#define HOLDS(t, want) check_text(t, __LINE__, want)

/* A sink of C; in C++ it is wrapped as users do it. */
struct text {
	char bytes[64];
	size_t len;
};

static int keep(void *ctx, const void *data, size_t len)
{
	struct text *text = (struct text *)ctx;

	if (len > sizeof(text->bytes) - text->len)
		len = sizeof(text->bytes) - text->len;
	memcpy(text->bytes + text->len, data, len);
	text->len += len;
	return (int)len;
}

#ifdef __cplusplus
static bpf_stream_sink *const sink = [](void *ctx, const void *data, size_t len) {
	return keep(ctx, data, len);
};
#else
static bpf_stream_sink *const sink = keep;
#endif

__attribute__((__format__(__printf__, 1, 2))) static int print(const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = bpf_stream_vprintf(&s, fmt, ap);
	va_end(ap);
	return rc;
}

__attribute__((__format__(__printf__, 2, 3)))
static int stage_print(struct bpf_stream_stage *stage, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = bpf_stream_stage_vprintk(stage, fmt, ap);
	va_end(ap);
	return rc;
}

static void use_pool(void)
{
	struct bpf_stream_pool_stats pool;

	IS(bpf_stream_pool_use(NULL, REGION, 0), -EINVAL);
	IS(bpf_stream_pool_use(region, REGION, 2), -EINVAL);
	IS(bpf_stream_pool_use(region, REGION, 0), 0);
	IS(bpf_stream_pool_use(region, REGION, BPF_STREAM_POOL_SHARED), -EBUSY);
	bpf_stream_pool_get_stats(&pool);
	IS(pool.page_size, 4096);
	IS(pool.total > 32 && pool.total <= 64, 1);
	IS(pool.in_use, 0);
}

static void use_prints(void)
{
	const uint64_t args[] = { 42, (uint64_t)(uintptr_t)"text" };

	IS(bpf_stream_init(&s, NULL), 0);
	IS(bpf_stream_push(&s, "push;", 5), 0);
	IS(bpf_stream_push(&s, NULL, 0), 0);
	IS(bpf_stream_printf(&s, "%s %d %#llx;", "printf", -7, 0xffffffffffull), 0);
	IS(print("%c %zu %ld;", 'v', sizeof(uint64_t), LONG_MIN / LONG_MAX), 0);
	IS(bpf_stream_bprintf(&s, "%u %s;", args, sizeof(args)), 0);
	IS(bpf_stream_bprintf(&s, "%u %s;", args, 8), -EINVAL);
	HOLDS(&s, "push;printf -7 0xffffffffff;v 8 -1;42 text;");
	bpf_stream_destroy(&s);
}

/* The ends of the types, and whatever else the formatter counts and shifts. */
static void use_formats(void)
{
	static const unsigned char raw[16] = { 0x20, 1, 0xd, 0xb8, 255 };
	const uint64_t numbers[] = { UINT64_MAX - 1, 0x80000000, UINT64_MAX, (uint64_t)INT64_MIN,
				     0xff, 0xabc };
	const uint64_t pointers[] = { 0xabc, UINT64_MAX, UINT64_MAX, (uint64_t)(uintptr_t)raw,
				      (uint64_t)(uintptr_t)raw, (uint64_t)(uintptr_t)"text" };

	IS(bpf_stream_init(&s, NULL), 0);
	IS(bpf_stream_printf(&s, "%d %i %u %x;", INT_MIN, -1, UINT_MAX, UINT_MAX), 0);
	HOLDS(&s, "-2147483648 -1 4294967295 ffffffff;");
	IS(bpf_stream_printf(&s, "%hhd %hhu %hd %hu;", (signed char)SCHAR_MIN,
			     (unsigned char)UCHAR_MAX, (short)SHRT_MIN, (unsigned short)USHRT_MAX),
	   0);
	HOLDS(&s, "-128 255 -32768 65535;");
	IS(bpf_stream_printf(&s, "%lld %llu %#llo %jd;", LLONG_MIN, ULLONG_MAX, ULLONG_MAX,
			     (intmax_t)INTMAX_MIN), 0);
	HOLDS(&s, "-9223372036854775808 18446744073709551615 01777777777777777777777 "
	      "-9223372036854775808;");
	IS(bpf_stream_printf(&s, "%*d|%-+6.3d|%#06X|%.*s|% d|%5c|%.0d;", -4, -7, 7, 255, 2, "text",
			     0, 'c', 0), 0);
	HOLDS(&s, "-7  |+007  |0X00FF|te| 0|    c|;");
	IS(bpf_stream_printf(&s, "%td %zu %p;", (ptrdiff_t)-1, (size_t)1, (void *)0x1f), 0);
	HOLDS(&s, "-1 1 0x1f;");
	IS(bpf_stream_bprintf(&s, "%lld %d %u %lld %c %-6x;", numbers, sizeof(numbers)), 0);
	HOLDS(&s, "-2 -2147483648 4294967295 -9223372036854775808 \xff abc   ;");
	IS(bpf_stream_bprintf(&s, "%-px %pS %pB %pI4 %pi6 %pks;", pointers, sizeof(pointers)), 0);
	HOLDS(&s, "abc              0xffffffffffffffff 0xffffffffffffffff 32.1.13.184 "
	      "20010db8ff0000000000000000000000 text;");
	bpf_stream_destroy(&s);
}

static void use_capacity(void)
{
	struct bpf_stream_options opts = { BPF_STREAM_CAPACITY_LIMIT + (size_t)1, 0, NULL };
	struct bpf_stream_stats stats;

	IS(bpf_stream_init(&s, &opts), -EINVAL);
	opts.capacity = 8;
	opts.group = BPF_STREAM_GROUPS + 1;
	IS(bpf_stream_init(&s, &opts), -EINVAL);
	opts.group = BPF_STREAM_GROUPS;
	IS(bpf_stream_init(&s, &opts), 0);
	IS(bpf_stream_push(&s, "123456789", 9), -E2BIG);
	IS(bpf_stream_push(&s, "12345678", 8), 0);
	IS(bpf_stream_push(&s, "90", 2), -ENOSPC);
	IS(bpf_stream_printf(&s, "%d", 0), -ENOSPC);
	HOLDS(&s, "12345678");
	IS(bpf_stream_push(&s, "abc", 3), 0);
	bpf_stream_get_stats(&s, &stats);
	IS(stats.capacity, 8);
	IS(stats.pending, 3);
	IS(stats.delivered.messages, 1);
	IS(stats.delivered.bytes, 8);
	IS(stats.refused[BPF_STREAM_REFUSED_FULL].messages, 2);
	IS(stats.refused[BPF_STREAM_REFUSED_FULL].bytes, 3);
	IS(stats.refused[BPF_STREAM_REFUSED_SIZE].bytes, 9);
	bpf_stream_destroy(&s);
}

/*
 * Streams that nobody initialised. C++ names members of structs since C++20,
 * and there compilers warn of each that is not named.
 */
static struct bpf_stream zero;
#if !defined(__cplusplus) || __cplusplus >= 202002L
#ifdef __cplusplus
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif
static struct bpf_stream defined = BPF_STREAM_INIT(.capacity = 8, .group = 2);
#else
static struct bpf_stream defined;
#endif

static void use_definitions(void)
{
	struct bpf_stream_stats stats;
	size_t capacity = 8;

#if defined(__cplusplus) && __cplusplus < 202002L
	bpf_stream_get_stats(&zero, &stats);
	capacity = stats.capacity;
#endif
	bpf_stream_get_stats(&defined, &stats);
	IS(stats.capacity, capacity);
	IS(bpf_stream_push(&defined, "12345678", 8), 0);
	IS(bpf_stream_push(&zero, "0", 1), 0);
	HOLDS(&defined, "12345678");
	HOLDS(&zero, "0");
	bpf_stream_destroy(&defined);
	bpf_stream_destroy(&zero);
}

static void use_readers(void)
{
	struct text text = { { 0 }, 0 };
	char got[16];
	int ends[2];

	IS(bpf_stream_init(&s, NULL), 0);
	IS(bpf_stream_push(&s, "drain try_drain read try_read fd ", 33), 0);
	IS(bpf_stream_drain(&s, sink, &text, 6), 6);
	IS(bpf_stream_try_drain(&s, sink, &text, 10), 10);
	IS(text.len, 16);
	IS(memcmp(text.bytes, "drain try_drain ", 16), 0);
	IS(bpf_stream_read(&s, got, 5), 5);
	IS(bpf_stream_try_read(&s, got + 5, 9), 9);
	IS(memcmp(got, "read try_read ", 14), 0);
	IS(pipe(ends), 0);
	IS(bpf_stream_drain_fd(&s, ends[1], SIZE_MAX), 3);
	IS(read(ends[0], got, sizeof(got)), 3);
	IS(memcmp(got, "fd ", 3), 0);
	IS(bpf_stream_drain_fd(&s, ends[1], SIZE_MAX), 0);
	IS(close(ends[0]) | close(ends[1]), 0);
	IS(bpf_stream_push(&s, "x", 1), 0);
	IS(bpf_stream_drain_fd(&s, -1, 1), -EBADF);
	bpf_stream_destroy(&s);
}

static void use_stages(void)
{
	struct bpf_stream_stage stage;

	IS(bpf_stream_init(&s, NULL), 0);
	bpf_stream_stage_init(&stage);
	IS(bpf_stream_stage_push(&stage, "push ", 5), 0);
	IS(bpf_stream_stage_printk(&stage, "%s;", "printk"), 0);
	IS(stage_print(&stage, "%s %d;", "vprintk", -1), 0);
	IS(bpf_stream_push(&s, "before;", 7), 0);
	IS(bpf_stream_stage_commit_to(&stage, &s), 0);
	IS(bpf_stream_stage_push(&stage, "dropped", 7), 0);
	bpf_stream_stage_free(&stage);
	IS(bpf_stream_stage_commit_to(&stage, &s), 0);
	HOLDS(&s, "before;push printk;vprintk -1;");
	bpf_stream_destroy(&s);
}

__attribute__((__format__(__printf__, 2, 3))) static int log_it(int pri, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = bpf_stream_vlog(&s, pri, fmt, ap);
	va_end(ap);
	return rc;
}

/* The levels, tags and texts of records, one behind the other. */
static int keep_record(void *ctx, const struct bpf_stream_record *r)
{
	struct text *text = (struct text *)ctx;

	text->len += (size_t)snprintf(text->bytes + text->len, sizeof(text->bytes) - text->len,
				      "%d.%d%s%.*s ", r->level, r->tag, r->more ? "+" : ":",
				      (int)r->len, (const char *)r->data);
	return r->time == 0 || r->tid == 0 ? -EIO : 0;
}

#ifdef __cplusplus
static bpf_stream_record_fn *const record_fn = [](void *ctx, const struct bpf_stream_record *r) {
	return keep_record(ctx, r);
};
#else
static bpf_stream_record_fn *const record_fn = keep_record;
#endif

static void use_records(void)
{
	struct bpf_stream_options opts = { 100, 0, bpf_stream_clock_coarse };
	const uint64_t arg = 4;
	struct text text = { { 0 }, 0 };
	struct bpf_stream_record r;
	struct bpf_stream_stage stage;
	char got[16];

	IS(bpf_stream_init(&s, &opts), 0);
	IS(bpf_stream_set_level(&s, BPF_STREAM_NOTICE), 0);
	IS(bpf_stream_enabled(&s, BPF_STREAM_INFO), 0);
	IS(bpf_stream_log(&s, BPF_STREAM_INFO, "%d", 1), 0);
	IS(bpf_stream_log(&s, BPF_STREAM_TAG(255) | BPF_STREAM_ALERT, "%s", "a"), 0);
	IS(log_it(BPF_STREAM_EMERG, "%c", 'b'), 0);
	IS(bpf_stream_push_pri(&s, BPF_STREAM_TAG(3) | BPF_STREAM_CRIT, "c", 1), 0);
	IS(bpf_stream_bprintf_pri(&s, BPF_STREAM_WARNING, "%d", &arg, sizeof(arg)), 0);
	bpf_stream_stage_init(&stage);
	IS(bpf_stream_stage_log(&stage, BPF_STREAM_DEBUG, "%s", "d"), 0);
	IS(bpf_stream_stage_push(&stage, "e", 1), 0);
	IS(bpf_stream_stage_commit_tag(&stage, &s, 9), 0);
	IS(bpf_stream_drain_records(&s, record_fn, &text, SIZE_MAX), 6);
	IS(strcmp(text.bytes, "1.255:a 0.0:b 2.3:c 4.0:4 7.9+d 6.9:e "), 0);
	IS(bpf_stream_push(&s, got, 101), -E2BIG);
	IS(bpf_stream_push(&s, "last", 4), 0);
	IS(bpf_stream_read_record(&s, &r, got, 3), -EMSGSIZE);
	IS(bpf_stream_read_record(&s, &r, got, sizeof(got)), 1);
	IS(r.lost, 1);
	IS(r.seq, 7);
	IS(r.level, BPF_STREAM_INFO);
	IS(bpf_stream_clock_monotonic() >= r.time, 1);
	IS(bpf_stream_clock_realtime() > 1000000000000000000ull, 1);
	bpf_stream_destroy(&s);
}

static void use_waiting(void)
{
	struct bpf_stream_stats stats;
	char got[16];
	int fd;

	IS(bpf_stream_init(&s, NULL), 0);
	fd = bpf_stream_poll_fd(&s);
	IS(fd >= 0, 1);
	IS(bpf_stream_poll_fd(&s), fd);
	IS(bpf_stream_wait(&s, 0), 0);
	IS(bpf_stream_push_wait(&s, "wait", 4, -1), 0);
	IS(bpf_stream_wait(&s, -1), 1);
	bpf_stream_close(&s);
	IS(bpf_stream_push(&s, "x", 1), -EPIPE);
	IS(bpf_stream_read(&s, got, sizeof(got)), 4);
	IS(bpf_stream_wait(&s, -1), -ESHUTDOWN);
	IS(bpf_stream_read(&s, got, sizeof(got)), -ESHUTDOWN);
	bpf_stream_get_stats(&s, &stats);
	IS(stats.refused[BPF_STREAM_REFUSED_CLOSED].messages, 1);
	bpf_stream_destroy(&s);
}

static void on_signal(int sig)
{
	(void)sig;
	IS(bpf_stream_push(&s, "handler;", 8), 0);
}

static void *thread_main(void *arg)
{
	IS(bpf_stream_printf(&s, "%s;", (const char *)arg), 0);
	bpf_stream_thread_release();
	return NULL;
}

static void use_contexts(void)
{
	struct bpf_stream_pool_stats pool;
	char name[] = "thread";
	pthread_t thread;

	IS(bpf_stream_init(&s, NULL), 0);
	IS(signal(SIGUSR1, on_signal) == SIG_ERR, 0);
	IS(raise(SIGUSR1), 0);
	IS(pthread_create(&thread, NULL, thread_main, name), 0);
	IS(pthread_join(thread, NULL), 0);
	HOLDS(&s, "handler;thread;");
	bpf_stream_destroy(&s);
	bpf_stream_thread_release();
	bpf_stream_pool_get_stats(&pool);
	IS(pool.in_use, 0);
	IS(bpf_stream_pool_trim() > 0, 1);
}

static void use_program(void)
{
	static struct bpf_prog_aux aux;
	struct bpf_prog prog = { &aux };
	const uint64_t args[] = { 7 };
	struct text text = { { 0 }, 0 };
	struct bpf_stream_stage stage;
	char got[64];

	bpf_prog_stream_init(&prog);
	IS(bpf_stream_vprintk(BPF_STDOUT, "out %d", args, sizeof(args), &aux), 0);
	IS(bpf_stream_vprintk(3, "", NULL, 0, &aux), -ENOENT);
	bpf_stream_stage(stage, &prog, BPF_STDERR,
			 (void)bpf_stream_printk(stage, "err %d;", 8));
	bpf_stream_stage_init(&stage);
	IS(bpf_stream_printk(stage, "more"), 0);
	IS(bpf_stream_stage_commit(&stage, &prog, BPF_STDERR), 0);
	IS(bpf_prog_stream_read(&prog, BPF_STDOUT, got, sizeof(got)), 5);
	IS(memcmp(got, "out 7", 5), 0);
	IS(bpf_prog_stream_read(&prog, BPF_STDERR, got, sizeof(got)), 10);
	IS(memcmp(got, "err 8;more", 10), 0);
	IS(bpf_prog_stream_error_limit(&prog), 0);
	bpf_prog_stream_free(&prog);
	bpf_prog_stream_init_merged(&prog);
	IS(bpf_stream_vprintk(BPF_STDOUT, "out", NULL, 0, &aux), 0);
	IS(bpf_stream_vprintk(BPF_STDERR, "err", NULL, 0, &aux), 0);
	IS(bpf_prog_stream_drain_records(&prog, BPF_STDERR, record_fn, &text, 1), -EIO);
	IS(strcmp(text.bytes, "6.1:out "), 0);
	IS(bpf_prog_stream_read(&prog, BPF_STDOUT, got, sizeof(got)), 6);
	bpf_prog_stream_free(&prog);
}

int main(void)
{
	use_pool();
	use_prints();
	use_formats();
	use_capacity();
	use_definitions();
	use_readers();
	use_stages();
	use_records();
	use_waiting();
	use_contexts();
	use_program();
	printf("%s: %u passed, %u failed, 0 skipped\n", BPF_STREAM_VERSION, passed, failed);
	return failed != 0;
}
