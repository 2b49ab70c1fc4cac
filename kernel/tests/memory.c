// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What unread messages can pin at worst: of every page that is filled, one
 * byte stays unread in a stream, and the rest is read in another one.
 *
 * kernel/own.sh puts this file into its copy of kernel/bpf/ under the name
 * bpf_stream_memory.c. Writing "MESSAGES FILLERS LENGTH [CAP]" to
 * /sys/kernel/debug/bpf_stream_memory prints so many messages of one byte to
 * the standard output, after each of them FILLERS of LENGTH bytes to the
 * standard error, which it reads at once. With pages of ours four fillers of
 * 1000 bytes fill a page, with an allocator of objects 127 of one byte the slab
 * of the message (which it fills again when they are read). A line in the log
 * tells what it came to; if CAP pages are said to be the most that may be
 * pinned, result lines follow, behind "bpf_stream| ".
 *
 * Seen to fail with
 *	a cap that is not checked: "stays under the cap", "is refused"
 *	a cap twice as high: "stays under the cap"
 *	page_put that does not free what is no spare: "are back"
 *	page_give_back that returns no page: "are back", "room again"
 *	page_put that leaves the page charged to the cap: "room again"
 */

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>
#include "own_program.h"

#define SAY "bpf_stream| "
#define SLACK 256	/* pages that others may have taken meanwhile */

void drain_all_pages(struct zone *zone);	/* 7.3 has it in mm/page_alloc.h */

static DEFINE_MUTEX(one_run);

static int print_one(struct bpf_prog *prog, enum bpf_stream_id id, int len)
{
	static char text[1024];
	struct bpf_stream_stage ss;
	int ret;

	memset(text, 'm', len);
	text[len] = '\0';
	bpf_stream_stage_init(&ss);
	ret = bpf_stream_stage_printk(&ss, "%s", text);
	if (!ret)
		ret = bpf_stream_stage_commit(&ss, prog, id);
	bpf_stream_stage_free(&ss);
	return ret;
}

static void read_all(struct bpf_prog *prog, enum bpf_stream_id id, void __user *buffer)
{
	while (bpf_prog_stream_read(prog, id, buffer, PAGE_SIZE) > 0)
		cond_resched();
}

/* With those that CPUs keep for themselves, and what others give back late. */
static long free_pages_now(void)
{
	msleep(500);
	drain_all_pages(NULL);
	return (long)global_zone_page_state(NR_FREE_PAGES);
}

static bool say(bool good, const char *name)
{
	pr_info(SAY "%s memory: %s\n", good ? "ok" : "FAIL", name);
	return good;
}

static int pin(struct bpf_prog *prog, void __user *buffer, u32 messages, u32 fillers, int len,
	       u32 cap)
{
	long before = free_pages_now();
	bool good;
	u32 accepted = 0, refused = 0;
	long pinned, left;
	u32 i, k;

	for (i = 0; i < messages; i++) {
		int ret = print_one(prog, BPF_STDOUT, 1);

		if (ret && ret != -ENOMEM)
			return ret;
		accepted += !ret;
		refused += !!ret;
		for (k = 0; k < fillers && !ret; k++)
			print_one(prog, BPF_STDERR, len);
		read_all(prog, BPF_STDERR, buffer);
	}
	pinned = before - free_pages_now();
	read_all(prog, BPF_STDOUT, buffer);
	left = before - free_pages_now();
	pr_info(SAY "memory: %u unread bytes pin %ld pages of %ld KiB, %u refused; after reading them %ld\n",
		accepted, pinned, PAGE_SIZE / 1024, refused, left);
	if (!cap)
		return 0;
	good = say(pinned <= (long)cap + SLACK, "what is pinned stays under the cap");
	good &= say(refused, "what is beyond is refused");
	good &= say(left <= SLACK, "the pages are back after reading");
	good &= say(!print_one(prog, BPF_STDOUT, 1), "there is room again after reading");
	return good ? 0 : -EIO;
}

static ssize_t start(struct file *file, const char __user *text, size_t len, loff_t *pos)
{
	u32 messages, fillers, size, cap = 0;
	struct own_program own;
	char line[64] = "";
	int ret;

	if (len >= sizeof(line) || copy_from_user(line, text, len) ||
	    sscanf(line, "%u %u %u %u", &messages, &fillers, &size, &cap) < 3 || !size ||
	    size > 1000)
		return -EINVAL;
	mutex_lock(&one_run);
	ret = own_program_make(&own, PAGE_SIZE);
	if (!ret) {
		ret = pin(own.prog, own.buffer, messages, fillers, (int)size, cap);
		own_program_free(&own);
	}
	mutex_unlock(&one_run);
	return ret ? ret : len;
}

static const struct file_operations start_fops = {
	.open = simple_open,
	.write = start,
};

static int __init bpf_stream_memory_init(void)
{
	debugfs_create_file("bpf_stream_memory", 0200, NULL, NULL, &start_fops);
	return 0;
}
late_initcall(bpf_stream_memory_init);
