/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [19] PROGRAM: the kernel's names, used as a kernel developer would, and
 * which error wins.
 *
 * Seen to fail with the header changed so that: an unknown id is -EINVAL in a
 * print or -ENOENT in a commit; a read looks at its length first, or not at
 * all; id 0 is a stream; both ids are one stream; free forgets a stream; the
 * limit is 511; the macro is not one statement, does not free, or ignores the
 * limit.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_PROG
#include "bpf_stream.h"
#include "unit.h"

static struct bpf_prog_aux aux;
static struct bpf_prog prog = { &aux };
static char got[10000];

static void assert_reads(enum bpf_stream_id id, const char *want)
{
	int len = bpf_prog_stream_read(&prog, id, got, sizeof(got));

	cr_assert_eq(len, (int)strlen(want), "%d bytes instead of '%s'", len, want);
	cr_assert_arr_eq(got, want, strlen(want), "'%.*s' instead of '%s'", len, got, want);
}

/* Ids that there are none of; 0 and 3 lie next to the two that there are. */
static const int unknown[] = { 0, 3, -1, INT_MAX, INT_MIN };

#define UNKNOWN (sizeof(unknown) / sizeof(unknown[0]))

Test(program, init__memory_may_hold_anything)
{
	memset(&aux, 0xff, sizeof(aux));
	bpf_prog_stream_init(&prog);
	assert_reads(BPF_STDOUT, "");
	assert_reads(BPF_STDERR, "");
	cr_expect_not(bpf_prog_stream_error_limit(&prog));
	cr_expect_eq(bpf_stream_vprintk(BPF_STDOUT, "a", NULL, 0, &aux), 0);
	assert_reads(BPF_STDOUT, "a");
}

Test(program, streams__are_two_and_do_not_mix)
{
	const uint64_t args[2] = { 1, (uintptr_t)"two" };

	bpf_prog_stream_init(&prog);
	cr_expect_eq(bpf_stream_vprintk(BPF_STDOUT, "out %d %s;", args, 16, &aux), 0);
	cr_expect_eq(bpf_stream_vprintk(BPF_STDERR, "err %d %s;", args, 16, &aux), 0);
	cr_expect_eq(bpf_stream_vprintk(BPF_STDOUT, "more", NULL, 0, &aux), 0);
	assert_reads(BPF_STDERR, "err 1 two;");
	assert_reads(BPF_STDOUT, "out 1 two;more");
	cr_expect_eq((int)BPF_STDOUT, 1);
	cr_expect_eq((int)BPF_STDERR, 2);
}

Test(program, free__gives_the_pages_back)
{
	int i;

	bpf_prog_stream_init(&prog);
	for (i = 0; i < 1000; i++)
		cr_assert_eq(bpf_stream_vprintk(1 + i % 2, "some text or other", NULL, 0, &aux), 0);
	cr_assert_eq(bpf_prog_stream_read(&prog, BPF_STDERR, got, 10), 10);
	cr_assert_gt(unit_pages_in_use(), 2);
	bpf_prog_stream_free(&prog);
	/* The two that this thread keeps: neighbours have different groups. */
	cr_expect_leq(unit_pages_in_use(), 2);
}

Test(program, vprintk__unknown_id_wins_over_every_other_error)
{
	const uint64_t args[13] = { 0 };
	size_t i;

	bpf_prog_stream_init(&prog);
	for (i = 0; i < UNKNOWN; i++) {
		cr_expect_eq(bpf_stream_vprintk(unknown[i], "fine", NULL, 0, &aux), -ENOENT);
		cr_expect_eq(bpf_stream_vprintk(unknown[i], "%n", args, 8, &aux), -ENOENT);
		cr_expect_eq(bpf_stream_vprintk(unknown[i], "%d", NULL, 8, &aux), -ENOENT);
		cr_expect_eq(bpf_stream_vprintk(unknown[i], "%d", args, 7, &aux), -ENOENT);
		cr_expect_eq(bpf_stream_vprintk(unknown[i], "%1024d", args, 8, &aux), -ENOENT);
	}
	assert_reads(BPF_STDOUT, "");
	assert_reads(BPF_STDERR, "");
}

Test(program, vprintk__errors_of_a_known_id)
{
	const uint64_t args[13] = { 0 };

	bpf_prog_stream_init(&prog);
	cr_expect_eq(bpf_stream_vprintk(BPF_STDERR, "%n", args, 8, &aux), -EINVAL);
	cr_expect_eq(bpf_stream_vprintk(BPF_STDERR, "%d", NULL, 8, &aux), -EINVAL);
	cr_expect_eq(bpf_stream_vprintk(BPF_STDERR, "%d", args, 7, &aux), -EINVAL);
	cr_expect_eq(bpf_stream_vprintk(BPF_STDERR, "%d", args, 104, &aux), -EINVAL);
	cr_expect_eq(bpf_stream_vprintk(BPF_STDERR, "%1024d", args, 8, &aux), -E2BIG);
	assert_reads(BPF_STDERR, "");
	cr_expect_eq(bpf_stream_vprintk(BPF_STDERR, "%d", args, 96, &aux), 0);
	assert_reads(BPF_STDERR, "0");
}

Test(program, read__unknown_id_wins_over_every_other_error)
{
	size_t i;

	bpf_prog_stream_init(&prog);
	for (i = 0; i < UNKNOWN; i++) {
		cr_expect_eq(bpf_prog_stream_read(&prog, (enum bpf_stream_id)unknown[i],
						  got, 1), -ENOENT);
		cr_expect_eq(bpf_prog_stream_read(&prog, (enum bpf_stream_id)unknown[i],
						  NULL, 0), -ENOENT);
		cr_expect_eq(bpf_prog_stream_read(&prog, (enum bpf_stream_id)unknown[i],
						  NULL, -1), -ENOENT);
	}
}

Test(program, read__negative_length_is_invalid)
{
	bpf_prog_stream_init(&prog);
	cr_assert_eq(bpf_stream_vprintk(BPF_STDOUT, "abc", NULL, 0, &aux), 0);
	cr_expect_eq(bpf_prog_stream_read(&prog, BPF_STDOUT, got, -1), -EINVAL);
	cr_expect_eq(bpf_prog_stream_read(&prog, BPF_STDERR, got, INT_MIN), -EINVAL);
	cr_expect_eq(bpf_prog_stream_read(&prog, BPF_STDOUT, NULL, 0), 0);
	cr_expect_eq(bpf_prog_stream_read(&prog, BPF_STDOUT, got, INT_MAX), 3);
}

Test(program, commit__unknown_id_is_invalid_and_keeps_the_stage)
{
	struct bpf_stream_stage ss;
	size_t i;

	bpf_prog_stream_init(&prog);
	bpf_stream_stage_init(&ss);
	for (i = 0; i < UNKNOWN; i++)
		cr_expect_eq(bpf_stream_stage_commit(&ss, &prog, (enum bpf_stream_id)unknown[i]),
			     -EINVAL);
	cr_assert_eq(bpf_stream_stage_printk(&ss, "%s", "kept"), 0);
	for (i = 0; i < UNKNOWN; i++)
		cr_expect_eq(bpf_stream_stage_commit(&ss, &prog, (enum bpf_stream_id)unknown[i]),
			     -EINVAL);
	cr_expect_eq(bpf_stream_stage_commit(&ss, &prog, BPF_STDERR), 0);
	assert_reads(BPF_STDOUT, "");
	assert_reads(BPF_STDERR, "kept");
	bpf_stream_stage_free(&ss);
}

Test(program, stage__macros_print_and_commit_one_report)
{
	struct bpf_stream_stage ss;

	bpf_prog_stream_init(&prog);
	bpf_stream_stage(ss, &prog, BPF_STDERR, {
		bpf_stream_printk(ss, "ERROR: %s\n", "timeout");
		bpf_stream_printk(ss, "CPU: %d\n", 3);
	});
	assert_reads(BPF_STDERR, "ERROR: timeout\nCPU: 3\n");
	assert_reads(BPF_STDOUT, "");
	cr_expect_eq(bse_figure_get(&aux.stream_error_cnt), 1);
}

/* As one statement it leaves the else to the if that it belongs to. */
static void report_if(bool wanted, struct bpf_stream_stage *ss)
{
	if (wanted)
		bpf_stream_stage(*ss, &prog, BPF_STDOUT, bpf_stream_printk(*ss, "yes;"));
	else
		bpf_stream_stage(*ss, &prog, BPF_STDOUT, bpf_stream_printk(*ss, "no;"));
}

Test(program, stage__macro_is_one_statement)
{
	struct bpf_stream_stage ss;

	bpf_prog_stream_init(&prog);
	report_if(true, &ss);
	report_if(false, &ss);
	report_if(false, &ss);
	assert_reads(BPF_STDOUT, "yes;no;no;");
}

Test(program, stage__refused_report_leaves_nothing_behind)
{
	struct bpf_stream_stage ss;
	int i;

	bpf_prog_stream_init(&prog);
	for (i = 0; i < 100; i++)
		bpf_stream_stage(ss, &prog, (enum bpf_stream_id)3,
				 bpf_stream_printk(ss, "%900d", i));
	cr_expect_leq(unit_pages_in_use(), 1);
	assert_reads(BPF_STDOUT, "");
	assert_reads(BPF_STDERR, "");
}

Test(program, stage__reports_end_at_the_limit)
{
	struct bpf_stream_stage ss;
	unsigned int evaluated = 0;
	unsigned int i;

	bpf_prog_stream_init(&prog);
	for (i = 0; i < 600; i++)
		bpf_stream_stage(ss, &prog, BPF_STDERR, {
			evaluated++;
			bpf_stream_printk(ss, "%05u;", i);
		});
	cr_expect_eq(evaluated, 512);
	unit_same_length(bpf_prog_stream_read(&prog, BPF_STDERR, got, sizeof(got)), 512 * 6);
	unit_same_bytes(got, "00000;", 6);
	unit_same_bytes(got + 511 * 6, "00511;", 6);
	/* Only reports are limited. */
	cr_expect_eq(bpf_stream_vprintk(BPF_STDERR, "print", NULL, 0, &aux), 0);
	assert_reads(BPF_STDERR, "print");
}

Test(program, limit__counts_each_program_by_itself)
{
	struct bpf_prog_aux second_aux;
	struct bpf_prog second = { &second_aux };
	unsigned int i;

	bpf_prog_stream_init(&prog);
	bpf_prog_stream_init(&second);
	for (i = 0; i < 512; i++)
		cr_assert_not(bpf_prog_stream_error_limit(&prog));
	cr_expect(bpf_prog_stream_error_limit(&prog));
	cr_expect_not(bpf_prog_stream_error_limit(&second));
	bpf_prog_stream_init(&prog);
	cr_expect_not(bpf_prog_stream_error_limit(&prog));
}

/* The kernel's names and types; a difference does not compile. */
Test(program, names__have_the_signatures_of_the_kernel)
{
	void (*init)(struct bpf_prog *) = bpf_prog_stream_init;
	void (*release)(struct bpf_prog *) = bpf_prog_stream_free;
	int (*get)(struct bpf_prog *, enum bpf_stream_id, void *, int) = bpf_prog_stream_read;
	bool (*limit)(struct bpf_prog *) = bpf_prog_stream_error_limit;
	void (*begin)(struct bpf_stream_stage *) = bpf_stream_stage_init;
	void (*end)(struct bpf_stream_stage *) = bpf_stream_stage_free;
	int (*print)(struct bpf_stream_stage *, const char *, ...) = bpf_stream_stage_printk;
	int (*commit)(struct bpf_stream_stage *, struct bpf_prog *, enum bpf_stream_id) =
		bpf_stream_stage_commit;
	int (*vprintk)(int, const char *, const void *, uint32_t, struct bpf_prog_aux *) =
		bpf_stream_vprintk;
	struct bpf_stream_stage ss;

	init(&prog);
	cr_expect_not(limit(&prog));
	begin(&ss);
	cr_expect_eq(print(&ss, "%d", 1), 0);
	cr_expect_eq(commit(&ss, &prog, BPF_STDOUT), 0);
	end(&ss);
	cr_expect_eq(vprintk(BPF_STDOUT, "2", NULL, 0, &aux), 0);
	cr_expect_eq(get(&prog, BPF_STDOUT, got, sizeof(got)), 2);
	unit_same_bytes(got, "12", 2);
	release(&prog);
}
