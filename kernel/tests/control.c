// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What kernel/tests/defects.c cannot do from outside, built into a kernel.
 *
 * kernel/own.sh puts this file into its copy of kernel/bpf/ under the name
 * bpf_stream_control.c. /sys/kernel/debug/bpf_stream_control takes commands:
 *
 *	hog			take all memory that can be had without
 *				waiting, so that what must not sleep gets none;
 *				again and again, as others give some back
 *	free			give it back
 *	stage FD COUNT LEN	print COUNT messages of LEN bytes to one stage
 *				and commit it to the standard output of program
 *				FD; the write fails with what the commit
 *				returned
 *
 * While memory is hogged, the caller's CPU must do nothing but the test.
 */

#include <linux/bpf.h>
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

void drain_all_pages(struct zone *zone);	/* 7.3 has it in mm/page_alloc.h */

static LIST_HEAD(hogged_pages);
static void *hogged_objects;	/* each begins with the address of the next */
static DEFINE_MUTEX(lock);

/* Pages, and objects as messages of a thousand bytes would take. */
static bool hog_some(void)
{
	bool some = false;
	size_t size;
	struct page *page;
	void **object;

	while ((page = alloc_pages_nolock(0, NUMA_NO_NODE, 0))) {
		list_add(&page->lru, &hogged_pages);
		some = true;
	}
	for (size = 2048; size >= 1024; size /= 2) {
		while ((object = kmalloc_nolock(size, 0, NUMA_NO_NODE))) {
			*object = hogged_objects;
			hogged_objects = object;
		}
	}
	return some;
}

/* What other CPUs keep for themselves would come back amid the test. */
static void hog(void)
{
	do {
		drain_all_pages(NULL);
	} while (hog_some());
}

static void free_hogged(void)
{
	struct page *page, *next;

	while (hogged_objects) {
		void *object = hogged_objects;

		hogged_objects = *(void **)object;
		kfree_nolock(object);
	}
	list_for_each_entry_safe(page, next, &hogged_pages, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
}

static int print_stage(int fd, int count, int len)
{
	struct bpf_prog *prog = bpf_prog_get(fd);
	struct bpf_stream_stage ss;
	int ret;

	if (IS_ERR(prog))
		return PTR_ERR(prog);
	bpf_stream_stage_init(&ss);
	while (count-- > 0)
		bpf_stream_stage_printk(&ss, "%*d", len, count);
	ret = bpf_stream_stage_commit(&ss, prog, BPF_STDOUT);
	bpf_stream_stage_free(&ss);
	bpf_prog_put(prog);
	return ret;
}

static ssize_t command(struct file *file, const char __user *text, size_t size, loff_t *pos)
{
	char line[64] = "";
	int fd, count, len, ret = 0;

	if (size >= sizeof(line) || copy_from_user(line, text, size))
		return -EINVAL;
	mutex_lock(&lock);
	if (!strncmp(line, "hog", 3))
		hog();
	else if (!strncmp(line, "free", 4))
		free_hogged();
	else if (sscanf(line, "stage %d %d %d", &fd, &count, &len) == 3)
		ret = print_stage(fd, count, len);
	else
		ret = -EINVAL;
	mutex_unlock(&lock);
	return ret ? ret : size;
}

static const struct file_operations command_fops = {
	.open = simple_open,
	.write = command,
};

static int __init bpf_stream_control_init(void)
{
	debugfs_create_file("bpf_stream_control", 0200, NULL, NULL, &command_fops);
	return 0;
}
late_initcall(bpf_stream_control_init);
