// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * NMIs against a CPU that prints all the time, built into a kernel.
 *
 * kernel/own.sh puts this file into its copy of kernel/bpf/ under the name
 * bpf_stream_nmi.c; stream.c exports nothing to modules. It is run by
 *
 *	echo NMIS [SECONDS] >/sys/kernel/debug/bpf_stream_nmi
 *
 * and prints through stages, and by the kfunc, to the stream of a program made
 * for it, and reads it as bpf(2) does. What it wants at the end, a stream that
 * is filled to its last byte, the original has not.
 *
 *	CPU 0	a thread prints without a pause (writer "task"); an NMI handler
 *		prints as well (writer "nmi"), mostly in the middle of a print
 *	CPU 1	sends the NMIs, prints (writer "other"), and reads
 *
 * A message tells its writer, its number among those accepted of this writer,
 * and its length, and is filled with what follows from these: one that is lost,
 * repeated, torn or out of order is recognised. Where the stream is half full,
 * all print by stages only, and give these back unprinted: elements come and go
 * all the same.
 *
 * Result lines go to the kernel's log, behind "bpf_stream| ".
 *
 * Seen to fail with
 *	a detach by a load and a store, a publish that forgets the older list:
 *	messages are lost
 *	consumed lengths that are forgotten, a text cut at 500 bytes, newest
 *	first: "whole and in order"
 *	a charge by a load and a store: the reader stops before the end
 *	a refund left out: "the handler's prints", "the capacity"
 *	a depth that is not counted, so that the NMI shares the slot: messages
 *	are lost, and the kernel dies
 *	a publish by a load and a store, elements that are not counted: the
 *	kernel dies
 *	elements that overlap, as each takes 8 bytes of its page: the run breaks
 *	off
 *	groups that lose their older messages: it never ends
 * and, as kernel/tiers/dropin.sh counts the pages, with a stage's free that
 * gives nothing back, page_give_back that returns no page, and page_put that
 * leaves a page charged to the cap.
 *
 * Not noticed in 10,000 to 20,000 NMIs: spares that nobody fills up (where a
 * level has none, the allocator or other levels' spares do); a spare taken, or
 * put back, by a load and a store (a level seldom needs another one's); pages
 * that are given back to nobody, which memory.c notices.
 */

#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/apic.h>
#include <asm/nmi.h>
#include "own_program.h"

#define SAY		"bpf_stream| "
#define TEXT_MAX	900			/* the longest filling */
#define BUFFER_SIZE	(64 * 1024)
#define HALF_FULL	(BPF_STREAM_MAX_CAPACITY / 2)

enum who { WHO_TASK, WHO_NMI, WHO_OTHER, WHO_COUNT };

static const char *const who_name[WHO_COUNT] = { "task", "nmi", "other" };

struct writer {
	u32 number;		/* of the next message to be accepted */
	u32 state;		/* of its random numbers */
	u64 accepted;
	u64 refused_full;	/* messages that the capacity refused */
	u64 refused_memory;	/* prints that found no memory */
	u64 refused_other;
	u64 given_back;		/* stages released unprinted */
	char text[256];		/* for the kfunc */
};

struct reader {
	char *text;		/* what was read and not checked yet */
	size_t fill;
	u32 expected[WHO_COUNT];
	u64 messages;
	u64 wrong;
};

static struct {
	struct own_program own;
	char filling[TEXT_MAX + 32];
	struct writer writer[WHO_COUNT];
	struct reader reader;
	atomic_long_t outstanding;	/* bytes accepted and not read */
	atomic_t armed;			/* an NMI is on its way */
	bool inside;			/* CPU 0 is in a print; that CPU's own */
	u64 nmis;			/* the handler's own */
	u64 nmis_inside;
	u64 capacity_end;
} run;

static DEFINE_MUTEX(one_run);

static u32 next_random(struct writer *w)
{
	w->state = w->state * 1664525 + 1013904223;
	return w->state >> 8;
}

static int text_length(u32 random)
{
	return random % 16 ? random / 16 % 120 : random / 16 % TEXT_MAX;
}

/* Of @count messages: all of them are accepted, or none. */
static void note_result(struct writer *w, int ret, int count, int bytes)
{
	if (!ret) {
		w->number += count;
		w->accepted += count;
		return;
	}
	atomic_long_sub(bytes, &run.outstanding);
	if (ret == -ENOSPC)
		w->refused_full += count;
	else if (ret == -ENOMEM)
		w->refused_memory++;
	else
		w->refused_other++;
}

/* One message, by the kfunc that programs call. */
static void print_one(enum who who)
{
	struct writer *w = &run.writer[who];
	u64 arg = (unsigned long)w->text;
	int len = next_random(w) % 120;
	int bytes = scnprintf(w->text, sizeof(w->text), "<%d %u %d %.*s>\n", who, w->number, len,
			      len, run.filling + w->number % 26);

	/* before the print: a reader may be quicker than what follows it */
	atomic_long_add(bytes, &run.outstanding);
	note_result(w, bpf_stream_vprintk(BPF_STDOUT, "%s", &arg, sizeof(arg), run.own.prog->aux),
		    1, bytes);
}

/* One stage of one to three messages. */
static void print_stage(enum who who, bool give_back)
{
	struct writer *w = &run.writer[who];
	int count = 1 + (next_random(w) % 4 == 0) * (next_random(w) % 3);
	struct bpf_stream_stage ss;
	int bytes = 0, i, len, ret;

	bpf_stream_stage_init(&ss);
	for (i = 0; i < count; i++) {
		u32 number = w->number + i;
		char head[40];

		len = text_length(next_random(w));
		bytes += scnprintf(head, sizeof(head), "<%d %u %d ", who, number, len) + len + 2;
		ret = bpf_stream_stage_printk(&ss, "%s%.*s>\n", head, len,
					      run.filling + number % 26);
		if (ret == -ENOMEM) {
			w->refused_memory++;
			goto out;
		}
		if (ret) {
			w->refused_other++;
			goto out;
		}
	}
	if (give_back) {
		w->given_back++;
		goto out;
	}
	/* Before the commit, as print_one does. */
	atomic_long_add(bytes, &run.outstanding);
	ret = bpf_stream_stage_commit(&ss, run.own.prog, BPF_STDOUT);
	note_result(w, ret, count, bytes);
out:
	bpf_stream_stage_free(&ss);
}

static void print_some(enum who who)
{
	bool half_full = atomic_long_read(&run.outstanding) > HALF_FULL;

	if (!half_full && next_random(&run.writer[who]) % 3 == 0)
		print_one(who);
	else
		print_stage(who, half_full);
}

static int nmi_arrives(unsigned int type, struct pt_regs *regs)
{
	if (smp_processor_id() != 0 || atomic_read(&run.armed) != 1)
		return NMI_DONE;
	run.nmis++;
	run.nmis_inside += READ_ONCE(run.inside);
	print_some(WHO_NMI);
	atomic_set_release(&run.armed, 0);
	return NMI_HANDLED;
}

/* On CPU 1. One at a time: two would become one. */
static void send_nmi(void)
{
	if (atomic_read_acquire(&run.armed))
		return;
	atomic_set(&run.armed, 1);
	__apic_send_IPI(0, NMI_VECTOR);
}

static int print_always(void *unused)
{
	while (!kthread_should_stop()) {
		int i;

		for (i = 0; i < 200; i++) {
			WRITE_ONCE(run.inside, true);
			barrier();
			print_some(WHO_TASK);
			barrier();
			WRITE_ONCE(run.inside, false);
		}
		cond_resched();
	}
	return 0;
}

/* Says what is wrong with the message at @at, or NULL; sets its length. */
static const char *check_message(struct reader *r, const char *at, const char *end, size_t *size)
{
	unsigned int who, number, len;
	int head = 0;

	if (sscanf(at, "<%u %u %u %n", &who, &number, &len, &head) != 3 || who >= WHO_COUNT ||
	    len >= TEXT_MAX || at[head - 1] != ' ')
		return "no message begins here";
	/* sscanf skips any blanks; there is one, and the filling has none */
	*size = head + len + 2;
	if (at + *size > end)
		return "it ends too early";
	if (memcmp(at + head, run.filling + number % 26, len) || at[head + len] != '>')
		return "it is torn";
	if (number != r->expected[who])
		return number > r->expected[who] ? "one before it is lost" : "it came before";
	return NULL;
}

/* Checks all whole messages and keeps the rest. */
static void check_text(struct reader *r)
{
	char *at = r->text, *end = r->text + r->fill, *newline;

	while ((newline = memchr(at, '\n', end - at))) {
		size_t size = 0;
		const char *wrong;

		send_nmi();
		*newline = '\0';
		wrong = check_message(r, at, newline + 1, &size);
		if (!wrong && at + size != newline + 1)
			wrong = "its length is wrong";
		if (wrong && r->wrong++ < 5)
			pr_err(SAY "%s: \"%.60s\"\n", wrong, at);
		if (!wrong)
			r->expected[at[1] - '0']++;
		r->messages++;
		at = newline + 1;
	}
	r->fill = end - at;
	memmove(r->text, at, r->fill);
}

/* Returns what bpf_prog_stream_read does. */
static int read_some(int size)
{
	struct reader *r = &run.reader;
	int ret = bpf_prog_stream_read(run.own.prog, BPF_STDOUT, run.own.buffer, size);

	if (ret <= 0)
		return ret;
	atomic_long_sub(ret, &run.outstanding);
	if (copy_from_user(r->text + r->fill, run.own.buffer, ret))
		return -EFAULT;
	r->fill += ret;
	check_text(r);
	if (r->fill > 4096) {
		if (r->wrong++ < 5)
			pr_err(SAY "no end of a message: \"%.60s\"\n", r->text);
		r->fill = 0;
	}
	return ret;
}

/* Prints until it is full, and reads everything: what an empty stream holds. */
static u64 measure_capacity(void)
{
	struct bpf_stream_stage ss;
	u64 bytes = 0;
	int ret, size;

	for (size = 64; size; size = size == 64 ? 1 : 0) {
		do {
			bpf_stream_stage_init(&ss);
			bpf_stream_stage_printk(&ss, "%.*s", size, run.filling);
			ret = bpf_stream_stage_commit(&ss, run.own.prog, BPF_STDOUT);
			bpf_stream_stage_free(&ss);
			bytes += ret ? 0 : size;
			cond_resched();
		} while (!ret);
	}
	while (bpf_prog_stream_read(run.own.prog, BPF_STDOUT, run.own.buffer, BUFFER_SIZE) > 0)
		;
	return bytes;
}

static bool say(bool good, const char *name)
{
	pr_info(SAY "%s %s\n", good ? "ok" : "FAIL", name);
	return good;
}

static int judge(u64 wanted)
{
	u64 accepted = 0, memory = 0, other = 0;
	bool good;
	int i;

	for (i = 0; i < WHO_COUNT; i++) {
		struct writer *w = &run.writer[i];

		pr_info(SAY "writer %s: %llu accepted, %llu given back; refused: %llu full, %llu no memory, %llu other\n",
			who_name[i], w->accepted, w->given_back, w->refused_full,
			w->refused_memory, w->refused_other);
		accepted += w->accepted;
		memory += w->refused_memory;
		other += w->refused_other;
	}
	pr_info(SAY "%llu NMIs, %llu of them inside a print; %llu messages read, %llu bytes at the end\n",
		run.nmis, run.nmis_inside, run.reader.messages, run.capacity_end);
	good = say(run.nmis >= wanted, "nmi: as many NMIs as asked for");
	good &= say(run.nmis_inside > run.nmis / 2, "nmi: most of them interrupt a print");
	good &= say(run.writer[WHO_NMI].accepted > wanted / 20,
		    "nmi: the handler's prints are accepted");
	good &= say(!run.reader.wrong && !run.reader.fill,
		    "nmi: every message is whole and in order");
	good &= say(run.reader.messages == accepted, "nmi: every accepted message is read");
	good &= say(!memory && !other, "nmi: nothing is refused but by the capacity");
	good &= say(run.capacity_end == BPF_STREAM_MAX_CAPACITY,
		    "nmi: the capacity is whole again, to its last byte");
	return good ? 0 : -EIO;
}

static int stress(u64 wanted, unsigned long seconds)
{
	unsigned long end = jiffies + seconds * HZ;
	struct task_struct *task;
	cpumask_var_t before;
	int sizes = 0, ret, i;

	if (!alloc_cpumask_var(&before, GFP_KERNEL))
		return -ENOMEM;
	cpumask_copy(before, current->cpus_ptr);
	ret = set_cpus_allowed_ptr(current, cpumask_of(1));
	if (ret)
		goto out;
	ret = register_nmi_handler(NMI_LOCAL, nmi_arrives, 0, "bpf_stream");
	if (ret)
		goto out;
	task = kthread_create_on_cpu(print_always, NULL, 0, "bpf_stream/%u");
	if (IS_ERR(task)) {
		ret = PTR_ERR(task);
		goto out_nmi;
	}
	wake_up_process(task);
	while (READ_ONCE(run.nmis) < wanted && time_before(jiffies, end)) {
		send_nmi();
		print_some(WHO_OTHER);
		/* a reader of all manners: bytes, pieces, everything */
		sizes = (sizes + 1) % 64;
		ret = read_some(sizes == 0 ? 7 : sizes < 8 ? 300 : BUFFER_SIZE / 2);
		if (ret < 0)
			break;
		cond_resched();
	}
	kthread_stop(task);
	for (i = 0; i < 100 && atomic_read(&run.armed); i++)
		msleep(20);		/* the last one, if it is late */
	atomic_set(&run.armed, 2);	/* no more */
	while (ret >= 0 && (ret = read_some(BUFFER_SIZE / 2)) > 0)
		;
	if (ret >= 0) {
		run.capacity_end = measure_capacity();
		ret = judge(wanted);
	}
out_nmi:
	unregister_nmi_handler(NMI_LOCAL, "bpf_stream");
out:
	set_cpus_allowed_ptr(current, before);
	free_cpumask_var(before);
	return ret;
}

static int stress_alone(u64 wanted, unsigned long seconds)
{
	int i, ret;

	if (num_online_cpus() < 2)
		return -ENODEV;
	memset(&run, 0, sizeof(run));
	for (i = 0; i < TEXT_MAX + 26; i++)
		run.filling[i] = 'a' + i % 26;
	for (i = 0; i < WHO_COUNT; i++)
		run.writer[i].state = 12345 + i;
	ret = own_program_make(&run.own, BUFFER_SIZE);
	if (ret)
		return ret;
	run.reader.text = kvmalloc(BUFFER_SIZE + 8192, GFP_KERNEL);
	ret = run.reader.text ? stress(wanted, seconds) : -ENOMEM;
	kvfree(run.reader.text);
	own_program_free(&run.own);
	return ret;
}

static ssize_t start(struct file *file, const char __user *text, size_t len, loff_t *pos)
{
	unsigned long seconds = 600;
	unsigned long long wanted;
	char line[64] = "";
	int ret;

	if (len >= sizeof(line) || copy_from_user(line, text, len) ||
	    sscanf(line, "%llu %lu", &wanted, &seconds) < 1)
		return -EINVAL;
	mutex_lock(&one_run);
	ret = stress_alone(wanted, seconds);
	mutex_unlock(&one_run);
	return ret ? ret : len;
}

static const struct file_operations start_fops = {
	.open = simple_open,
	.write = start,
};

static int __init bpf_stream_nmi_init(void)
{
	debugfs_create_file("bpf_stream_nmi", 0200, NULL, NULL, &start_fops);
	return 0;
}
late_initcall(bpf_stream_nmi_init);
