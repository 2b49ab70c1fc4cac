// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Placeholder of the test module: the interface without the streams. */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

static int seconds = 2;
module_param(seconds, int, 0644);
MODULE_PARM_DESC(seconds, "how long the stress runs");

static struct dentry *top;
static char chosen[64];
static char stored[4][4096];
static size_t lengths[4];

static int tests_show(struct seq_file *m, void *unused)
{
	seq_puts(m, "nothing\nseconds\n");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(tests);

static int selftest_show(struct seq_file *m, void *unused)
{
	if (!strcmp(chosen, "nothing") || !strcmp(chosen, "all"))
		seq_puts(m, "ok nothing\n");
	if (!strcmp(chosen, "seconds") || !strcmp(chosen, "all"))
		seq_printf(m, "SKIP seconds: %d\n", seconds);
	return 0;
}

static int selftest_open(struct inode *inode, struct file *file)
{
	return single_open(file, selftest_show, inode->i_private);
}

static ssize_t selftest_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	if (len >= sizeof(chosen))
		return -EINVAL;
	if (copy_from_user(chosen, from, len))
		return -EFAULT;
	chosen[len] = '\0';
	strim(chosen);
	return len;
}

static const struct file_operations selftest_fops = {
	.owner = THIS_MODULE,
	.open = selftest_open,
	.read = seq_read,
	.write = selftest_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static ssize_t stream_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	long i = (long)file_inode(file)->i_private;

	len = min_t(size_t, len, sizeof(stored[i]));
	if (copy_from_user(stored[i], from, len))
		return -EFAULT;
	lengths[i] = len;
	return len;
}

static ssize_t stream_read(struct file *file, char __user *to, size_t len, loff_t *pos)
{
	long i = (long)file_inode(file)->i_private;

	len = min(len, lengths[i]);
	if (copy_to_user(to, stored[i], len))
		return -EFAULT;
	lengths[i] = 0;
	return len;
}

static const struct file_operations stream_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = stream_read,
	.write = stream_write,
};

static int stats_show(struct seq_file *m, void *unused)
{
	seq_puts(m, "pages 0\n");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

static int __init bpf_stream_test_init(void)
{
	struct dentry *streams;
	char name[2] = "0";
	long i;

	top = debugfs_create_dir("bpf_stream_test", NULL);
	debugfs_create_file("tests", 0400, top, NULL, &tests_fops);
	debugfs_create_file("selftest", 0600, top, NULL, &selftest_fops);
	debugfs_create_file("stats", 0400, top, NULL, &stats_fops);
	streams = debugfs_create_dir("streams", top);
	for (i = 0; i < 4; i++, name[0]++)
		debugfs_create_file(name, 0600, streams, (void *)i, &stream_fops);
	return 0;
}

static void __exit bpf_stream_test_exit(void)
{
	debugfs_remove_recursive(top);
}

module_init(bpf_stream_test_init);
module_exit(bpf_stream_test_exit);
MODULE_DESCRIPTION("Tests of bpf_stream in a kernel");
MODULE_LICENSE("Dual BSD/GPL");
