// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a message of 64 bytes costs, built into a kernel.
 *
 * kernel/own.sh puts this file into its copy of kernel/bpf/ under the name
 * bpf_stream_bench.c; kernel/bench.sh runs it by
 *
 *	echo ROUNDS >/sys/kernel/debug/bpf_stream_bench
 *
 * on one CPU of a machine whose time stamp counter counts executed
 * instructions (QEMU's -icount shift=0). It prints for each round how much a
 * message took, in hundredths of a tick, in these parts:
 *
 *	format	formatting alone, as a stage does it
 *	array	formatting alone, as the kfunc does it: arguments checked and
 *		laid out, then formatted
 *	print	the kfunc that programs call: format, charge, allocate, push
 *	stage	a stage with one message, and its commit
 *	unwind	a stage with one message that is given back uncommitted
 *	read	reading, all of what fits at once
 *
 * Interrupts stay on: what they do for the streams is part of the cost.
 */

#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/sched.h>
#include <linux/uaccess.h>
#include <asm/msr.h>
#include "own_program.h"

#define MESSAGES	1000
#define BUFFER_SIZE	(64 * 1024)
#define FORMAT		"%63d\n"

static u64 print_all(struct bpf_prog *prog, int *failed)
{
	u64 start = rdtsc_ordered(), arg = 12345678;
	int i;

	for (i = 0; i < MESSAGES; i++)
		*failed |= bpf_stream_vprintk(BPF_STDOUT, FORMAT, &arg, sizeof(arg), prog->aux) < 0;
	return rdtsc_ordered() - start;
}

/* Committed, or given back uncommitted: no branch is left when compiled. */
static __always_inline u64 stage_all(struct bpf_prog *prog, bool commit, int *failed)
{
	u64 start = rdtsc_ordered();
	struct bpf_stream_stage ss;
	int i;

	for (i = 0; i < MESSAGES; i++) {
		bpf_stream_stage_init(&ss);
		*failed |= bpf_stream_stage_printk(&ss, FORMAT, 12345678);
		if (commit)
			*failed |= bpf_stream_stage_commit(&ss, prog, BPF_STDOUT);
		bpf_stream_stage_free(&ss);
	}
	return rdtsc_ordered() - start;
}

/* As the kfunc formats. */
static u64 array_all(int *failed)
{
	u64 start = rdtsc_ordered(), arg = 12345678;
	int i;

	for (i = 0; i < MESSAGES && !*failed; i++) {
		struct bpf_bprintf_data data = { .get_bin_args = true, .get_buf = true };

		if (bpf_bprintf_prepare(FORMAT, sizeof(FORMAT), &arg, 1, &data)) {
			*failed = 1;
			break;
		}
		bstr_printf(data.buf, MAX_BPRINTF_BUF, FORMAT, data.bin_args);
		bpf_bprintf_cleanup(&data);
	}
	return rdtsc_ordered() - start;
}

/* As a stage does. */
static u64 format_all(int *failed)
{
	u64 start = rdtsc_ordered();
	struct bpf_bprintf_buffers *buf;
	int i;

	for (i = 0; i < MESSAGES; i++) {
		if (bpf_try_get_buffers(&buf)) {
			*failed = 1;
			break;
		}
		scnprintf(buf->buf, sizeof(buf->buf), FORMAT, 12345678);
		bpf_put_buffers();
	}
	return rdtsc_ordered() - start;
}

static u64 read_all(struct bpf_prog *prog, void __user *buffer, int *failed)
{
	u64 start = rdtsc_ordered(), sum = 0;
	int ret;

	while ((ret = bpf_prog_stream_read(prog, BPF_STDOUT, buffer, BUFFER_SIZE)) > 0)
		sum += ret;
	*failed |= sum != 64 * MESSAGES;
	return rdtsc_ordered() - start;
}

static int measure(struct bpf_prog *prog, void __user *buffer, unsigned int rounds)
{
	int failed = 0;
	unsigned int i;

	if (clear_user(buffer, BUFFER_SIZE))
		return -EFAULT;
	for (i = 0; i < rounds && !failed; i++) {
		u64 format = format_all(&failed);
		u64 array = array_all(&failed);
		u64 print = print_all(prog, &failed);
		u64 read = read_all(prog, buffer, &failed);
		u64 stage = stage_all(prog, true, &failed);
		u64 read2 = read_all(prog, buffer, &failed);
		u64 unwind = stage_all(prog, false, &failed);

		pr_info("bpf_stream| format %llu array %llu print %llu stage %llu unwind %llu read %llu\n",
			format / 10, array / 10, print / 10, stage / 10, unwind / 10,
			(read + read2) / 20);
		cond_resched();
	}
	pr_info("bpf_stream| %s bench\n", failed ? "FAIL" : "ok");
	return failed ? -EIO : 0;
}

static ssize_t start(struct file *file, const char __user *text, size_t len, loff_t *pos)
{
	struct own_program own;
	unsigned int rounds;
	int ret;

	ret = kstrtouint_from_user(text, len, 0, &rounds);
	if (!ret)
		ret = own_program_make(&own, BUFFER_SIZE);
	if (ret)
		return ret;
	ret = measure(own.prog, own.buffer, rounds);
	own_program_free(&own);
	return ret ? ret : len;
}

static const struct file_operations start_fops = {
	.open = simple_open,
	.write = start,
};

static int __init bpf_stream_bench_init(void)
{
	debugfs_create_file("bpf_stream_bench", 0200, NULL, NULL, &start_fops);
	return 0;
}
late_initcall(bpf_stream_bench_init);
