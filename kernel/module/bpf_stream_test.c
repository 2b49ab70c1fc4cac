// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bpf_stream in a kernel module: streams to write and read in debugfs, and
 * tests that run on request. docs/kernel-module.md tells what each test wants,
 * and how it was seen to fail.
 *
 * /sys/kernel/debug/bpf_stream_test/
 *   tests	names of the tests, one a line
 *   selftest	write a name, or "all": runs it; read: "ok NAME",
 *		"FAIL NAME: REASON" or "SKIP NAME: REASON", one a line; and
 *		lines "figures ...", which tell how much was done
 *   streams/0..3	write: one message; read: what is pending
 *   follow	the same, but a read waits until there is something; can be
 *		polled; "close" closes it, and ends its readers
 *   stats	the pool and the streams in figures
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "test_env.h"
#include "bpf_stream.h"
#include "selfcheck.h"

#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#ifdef CONFIG_X86_LOCAL_APIC
#include <asm/apic.h>
#include <asm/nmi.h>
#endif

static unsigned int seconds = 5;
module_param(seconds, uint, 0444);
MODULE_PARM_DESC(seconds, "how long the test contexts runs");

static unsigned int nmis;
module_param(nmis, uint, 0444);
MODULE_PARM_DESC(nmis, "the test contexts runs until so many NMIs came, up to 30 times as long");

static unsigned int pool_pages = 4096;
module_param(pool_pages, uint, 0444);
MODULE_PARM_DESC(pool_pages, "pages in the pool");

#define STREAMS 4
#define CAPACITY (256 * 1024)

static struct bpf_stream streams[STREAMS];
static struct bpf_stream results;
static struct bpf_stream follow;
static DEFINE_MUTEX(running);

/* ---- messages ----------------------------------------------------------- */

/* What each message of the traffic begins with. */
struct head {
	u16 magic;
	u16 more;	/* how many messages of its group follow */
	u16 writer;
	u16 len;	/* of the whole message */
	u32 number;	/* of this writer in this stream, without gaps */
};

#define MAGIC 0x5bf5
#define MESSAGE_MAX 600

static u8 pattern(u32 writer, u32 number, u32 i)
{
	return (u8)(writer * 31 + number * 7 + i);
}

static u32 message_make(char *to, u16 writer, u32 number, u16 more)
{
	/* Mostly short, some long. */
	u32 len = sizeof(struct head) + (number * 13 + writer) % (number % 16 ? 100 : 580);
	const struct head head = { MAGIC, more, writer, (u16)len, number };
	u32 i;

	memcpy(to, &head, sizeof(head));
	for (i = sizeof(head); i < len; i++)
		to[i] = (char)pattern(writer, number, i);
	return len;
}

/* ---- traffic ------------------------------------------------------------ */

enum context { IN_TASK, IN_SOFTIRQ, IN_HARDIRQ, IN_NMI, CONTEXTS };

/* Never interrupts itself, so that plain members do. */
struct writer {
	u16 id;
	u32 turn;
	u32 number[STREAMS];		/* the next one, for each stream */
	u64 accepted;
	u64 full;			/* refused with -ENOSPC */
	u64 failed;			/* with anything else */
	int error;			/* the last of these */
	char text[3][MESSAGE_MAX];
};

struct cpu_traffic {
	struct writer writer[CONTEXTS];
	struct task_struct *task;
	struct tasklet_struct tasklet;
	struct irq_work work;
	atomic_t nmi_asked;
	u64 nmis;
};

static struct cpu_traffic *traffic;	/* for each possible CPU */
static bool traffic_on;

static void note_refusal(struct writer *w, int err)
{
	if (err == -ENOSPC) {
		w->full++;
	} else {
		w->failed++;
		w->error = err;
	}
}

static void write_one(struct writer *w, struct bpf_stream *s, u32 *number)
{
	u32 len = message_make(w->text[0], w->id, *number, 0);
	int err = bpf_stream_push(s, w->text[0], len);

	if (err) {
		note_refusal(w, err);
		return;
	}
	(*number)++;
	w->accepted++;
}

static void write_group(struct writer *w, struct bpf_stream *s, u32 *number)
{
	struct bpf_stream_stage ss;
	int err = 0;
	u32 i;

	bpf_stream_stage_init(&ss);
	for (i = 0; i < 3 && !err; i++)
		err = bpf_stream_stage_push(&ss, w->text[i],
					    message_make(w->text[i], w->id, *number + i, 2 - i));
	if (!err)
		err = bpf_stream_stage_commit_to(&ss, s);
	bpf_stream_stage_free(&ss);
	if (err) {
		note_refusal(w, err);
		return;
	}
	*number += 3;
	w->accepted += 3;
}

static void write_some(struct writer *w)
{
	u32 stream = w->turn % STREAMS;

	if (w->turn++ % 5 == 4)
		write_group(w, &streams[stream], &w->number[stream]);
	else
		write_one(w, &streams[stream], &w->number[stream]);
}

static void tasklet_writer(struct tasklet_struct *tasklet)
{
	struct cpu_traffic *t = container_of(tasklet, struct cpu_traffic, tasklet);

	write_some(&t->writer[IN_SOFTIRQ]);
}

static void irq_writer(struct irq_work *work)
{
	struct cpu_traffic *t = container_of(work, struct cpu_traffic, work);

	write_some(&t->writer[IN_HARDIRQ]);
	tasklet_schedule(&t->tasklet);
}

#ifdef CONFIG_X86_LOCAL_APIC
static bool have_nmis;

static int nmi_writer(unsigned int type, struct pt_regs *regs)
{
	struct cpu_traffic *t = &traffic[raw_smp_processor_id()];

	if (!atomic_xchg(&t->nmi_asked, 0))
		return NMI_DONE;
	t->nmis++;
	write_some(&t->writer[IN_NMI]);
	/* Comes as soon as this is over, amid what was interrupted. */
	if (t->nmis % 2)
		irq_work_queue(&t->work);
	return NMI_HANDLED;
}

/* One at a time: two would become one. */
static void nmi_send(unsigned int cpu)
{
	if (have_nmis && cpu_online(cpu) && !atomic_xchg(&traffic[cpu].nmi_asked, 1))
		apic->send_IPI((int)cpu, NMI_VECTOR);
}

static void nmi_start(void)
{
	have_nmis = apic->send_IPI &&
		    !register_nmi_handler(NMI_LOCAL, nmi_writer, 0, KBUILD_MODNAME);
}

/* Those that are on their way would find nobody who knows them. */
static void nmi_stop(void)
{
	int tries;
	int cpu;

	for_each_online_cpu(cpu) {
		tries = have_nmis ? 100 : 0;
		while (tries-- > 0 && atomic_read(&traffic[cpu].nmi_asked))
			msleep(20);
	}
	if (have_nmis)
		unregister_nmi_handler(NMI_LOCAL, KBUILD_MODNAME);
	have_nmis = false;
}
#else
static const bool have_nmis;

static void nmi_send(unsigned int cpu)
{
}

static void nmi_start(void)
{
}

static void nmi_stop(void)
{
}
#endif

/* Writes all the time, and has itself and its neighbour interrupted. */
static int task_writer(void *data)
{
	unsigned int cpu = (unsigned int)(unsigned long)data;
	unsigned int next = cpumask_next(cpu, cpu_online_mask);
	struct cpu_traffic *t = &traffic[cpu];
	u32 i;

	if (next >= nr_cpu_ids)
		next = cpumask_first(cpu_online_mask);
	for (i = 0; !kthread_should_stop(); i++) {
		write_some(&t->writer[IN_TASK]);
		if (i % 4 == 0)
			irq_work_queue(&t->work);
		nmi_send(next);
		if (i % 64 == 0)
			usleep_range(50, 100);
		cond_resched();
	}
	return 0;
}

static void traffic_stop(void)
{
	int cpu;

	if (!traffic)
		return;
	for_each_possible_cpu(cpu) {
		if (!IS_ERR_OR_NULL(traffic[cpu].task))
			kthread_stop(traffic[cpu].task);
	}
	nmi_stop();
	for_each_possible_cpu(cpu) {
		irq_work_sync(&traffic[cpu].work);
		tasklet_kill(&traffic[cpu].tasklet);
	}
	traffic_on = false;
}

static int traffic_start(void)
{
	int cpu;
	u32 i;

	if (!traffic)
		traffic = kvcalloc(nr_cpu_ids, sizeof(*traffic), GFP_KERNEL);
	if (!traffic)
		return -ENOMEM;
	memset(traffic, 0, nr_cpu_ids * sizeof(*traffic));
	for_each_possible_cpu(cpu) {
		for (i = 0; i < CONTEXTS; i++)
			traffic[cpu].writer[i].id = (u16)(cpu * CONTEXTS + i);
		tasklet_setup(&traffic[cpu].tasklet, tasklet_writer);
		traffic[cpu].work = IRQ_WORK_INIT_HARD(irq_writer);
	}
	nmi_start();
	traffic_on = true;
	for_each_online_cpu(cpu) {
		traffic[cpu].task = kthread_create_on_node(task_writer, (void *)(unsigned long)cpu,
							   cpu_to_node(cpu), "bpf_stream/%d", cpu);
		if (IS_ERR(traffic[cpu].task)) {
			int err = PTR_ERR(traffic[cpu].task);

			traffic_stop();
			return err;
		}
		kthread_bind(traffic[cpu].task, cpu);
	}
	for_each_online_cpu(cpu)
		wake_up_process(traffic[cpu].task);
	return 0;
}

/* ---- a reader that checks ----------------------------------------------- */

struct reader {
	u32 *next;		/* number expected, for each writer */
	u32 writers;
	u16 group;		/* messages of a group that have to follow */
	u16 group_writer;
	u64 messages;
	size_t have;		/* bytes in text */
	char broken[96];	/* empty: nothing wrong so far */
	char text[16384];
};

/* Messages have any length: where one begins, nothing is aligned. */
static bool message_check(struct reader *r, const struct head *head, const char *text)
{
	u32 i;

	if (head->magic != MAGIC || head->writer >= r->writers) {
		snprintf(r->broken, sizeof(r->broken), "no message begins where one should");
		return false;
	}
	if (head->number != r->next[head->writer]) {
		snprintf(r->broken, sizeof(r->broken), "writer %u: number %u came, not %u",
			 head->writer, head->number, r->next[head->writer]);
		return false;
	}
	if (r->group && (head->writer != r->group_writer || head->more + 1 != r->group)) {
		snprintf(r->broken, sizeof(r->broken), "a group of writer %u is torn",
			 r->group_writer);
		return false;
	}
	for (i = sizeof(*head); i < head->len; i++) {
		if ((u8)text[i] != pattern(head->writer, head->number, i)) {
			snprintf(r->broken, sizeof(r->broken), "writer %u: byte %u of number %u",
				 head->writer, i, head->number);
			return false;
		}
	}
	r->group = head->more;
	r->group_writer = head->writer;
	r->next[head->writer]++;
	r->messages++;
	return true;
}

/* Reads and checks what is there; how many bytes, or a negative errno. */
static int reader_run(struct reader *r, struct bpf_stream *s)
{
	int got = bpf_stream_read(s, r->text + r->have, sizeof(r->text) - r->have);
	size_t at = 0;

	if (got <= 0 || *r->broken)
		return got;
	r->have += (size_t)got;
	while (r->have - at >= sizeof(struct head)) {
		struct head head;

		memcpy(&head, r->text + at, sizeof(head));
		if (head.len > MESSAGE_MAX || r->have - at < head.len)
			break;
		if (!message_check(r, &head, r->text + at))
			break;
		at += head.len;
	}
	memmove(r->text, r->text + at, r->have - at);
	r->have -= at;
	if (r->have > MESSAGE_MAX && !*r->broken)
		snprintf(r->broken, sizeof(r->broken), "a message has no end");
	return got;
}

static struct reader *reader_make(void)
{
	struct reader *r = kvzalloc(sizeof(*r), GFP_KERNEL);

	if (!r)
		return NULL;
	r->writers = nr_cpu_ids * CONTEXTS;
	r->next = kvcalloc(r->writers, sizeof(*r->next), GFP_KERNEL);
	if (r->next)
		return r;
	kvfree(r);
	return NULL;
}

static void reader_free(struct reader *r)
{
	if (!r)
		return;
	kvfree(r->next);
	kvfree(r);
}

/* ---- tests -------------------------------------------------------------- */

static char why[160];	/* reason of a failure or skip; set while running is held */

#define WANT(condition, ...)						\
	do {								\
		if (!(condition)) {					\
			snprintf(why, sizeof(why), __VA_ARGS__);	\
			return -EIO;					\
		}							\
	} while (0)

/* A stream that is drained and quiet holds nothing. */
static int want_empty(void)
{
	u32 i;

	for (i = 0; i < STREAMS; i++) {
		struct bpf_stream_stats stats;
		const char *broken = bpf_stream_selfcheck(&streams[i]);

		WANT(!broken, "stream %u: %s", i, broken);
		bpf_stream_get_stats(&streams[i], &stats);
		WANT(!stats.pending, "stream %u: %zu bytes pending", i, stats.pending);
	}
	return 0;
}

/* Pages in use, but for those that CPUs keep. */
static int want_no_pages(void)
{
	struct bpf_stream_pool_stats stats;
	const char *broken = bpf_stream_selfcheck(NULL);

	WANT(!broken, "%s", broken);
	bpf_stream_pool_get_stats(&stats);
	WANT(stats.in_use <= nr_cpu_ids * BSE_SLOTS, "%zu pages in use", stats.in_use);
	return want_empty();
}

static int test_basics(void)
{
	struct bpf_stream_stage ss;
	char unknown[] = "%f";
	char text[64];
	int got;

	WANT(!bpf_stream_push(&streams[0], "one ", 4), "push");
	WANT(!bpf_stream_printf(&streams[0], "%s %5d|%-4x|%llu ", "two", -3, 0xab, 1ULL << 40),
	     "printf");
	bpf_stream_stage_init(&ss);
	WANT(!bpf_stream_stage_printk(&ss, "%c", '4') && !bpf_stream_stage_push(&ss, "5", 1),
	     "stage");
	WANT(!bpf_stream_stage_commit_to(&ss, &streams[0]), "commit");
	bpf_stream_stage_free(&ss);
	got = bpf_stream_read(&streams[0], text, 2);
	WANT(got == 2 && !memcmp(text, "on", 2), "a part: %d", got);
	got = bpf_stream_read(&streams[0], text, sizeof(text));
	WANT(got == 33 && !memcmp(text, "e two    -3|ab  |1099511627776 45", 33), "read %d: %.*s",
	     got, max(got, 0), text);
	WANT(!bpf_stream_read(&streams[0], text, sizeof(text)), "empty");
	WANT(bpf_stream_printf(&streams[0], unknown) == -EINVAL, "an unknown format");
	return want_no_pages();
}

/* Pushed one by one and read at once: elements that overlap show. */
static int want_lengths(const u32 *len, u32 n, const char *out, char *in)
{
	u32 sum = 0;
	u32 i;
	int got;

	for (i = 0; i < n; i++) {
		int err = bpf_stream_push(&streams[1], out + sum, len[i]);

		WANT(!err, "%u bytes: %d", len[i], err);
		sum += len[i];
	}
	got = bpf_stream_read(&streams[1], in, CAPACITY);
	WANT(got == (int)sum, "%u bytes in %u messages: read %d", sum, n, got);
	for (i = 0; i < sum && in[i] == out[i]; i++)
		;
	WANT(i == sum, "%u bytes in %u messages: byte %u is wrong", sum, n, i);
	return 0;
}

static int test_sizes(void)
{
	/* The last one for itself, the others together, too. */
	static const u32 len[] = { 1, 7, 8, 63, 4000, 4080, 4084, 4085, 4096, 9000, CAPACITY };
	char *out = kvmalloc(CAPACITY, GFP_KERNEL);
	char *in = kvmalloc(CAPACITY, GFP_KERNEL);
	int err = out && in ? 0 : -ENOMEM;
	u32 i;

	for (i = 0; !err && i < CAPACITY; i++)
		out[i] = (char)pattern(0, i / 256, i);
	for (i = 0; !err && i < ARRAY_SIZE(len); i++)
		err = want_lengths(&len[i], 1, out, in);
	if (!err)
		err = want_lengths(len, ARRAY_SIZE(len) - 1, out, in);
	kvfree(out);
	kvfree(in);
	if (err)
		return err;
	WANT(!bpf_stream_push(&streams[1], "", 0), "no bytes");
	return want_no_pages();
}

static int test_capacity(void)
{
	static char text[1000];
	struct bpf_stream_stats stats;
	u32 round;
	u32 i;

	for (round = 0; round < 3; round++) {
		for (i = 0; !bpf_stream_push(&streams[2], text, sizeof(text)); i++)
			;
		WANT(i == CAPACITY / sizeof(text), "round %u: %u messages fit", round, i);
		WANT(bpf_stream_push(&streams[2], text, CAPACITY % sizeof(text)) == 0, "the rest");
		WANT(bpf_stream_push(&streams[2], text, 1) == -ENOSPC, "one byte more");
		while (bpf_stream_read(&streams[2], text, sizeof(text)) > 0)
			;
	}
	bpf_stream_get_stats(&streams[2], &stats);
	WANT(stats.refused[BPF_STREAM_REFUSED_FULL].messages >= 6, "refusals are not counted");
	return want_no_pages();
}

/* A user's memory that ends in the middle of what is read: nothing is lost. */
static int test_user_memory(void)
{
	unsigned long at = vm_mmap(NULL, 0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, 0);
	char text[32];
	int part;
	int away;
	int rest;

	WANT(!IS_ERR_VALUE(at), "no memory of a user: %ld", (long)at);
	vm_munmap(at + PAGE_SIZE, PAGE_SIZE);
	WANT(!bpf_stream_push(&streams[0], "one+", 4) && !bpf_stream_push(&streams[0], "two+", 4) &&
	     !bpf_stream_push(&streams[0], "three", 5), "push");
	part = bpf_stream_read_user(&streams[0], (void __user *)(at + PAGE_SIZE - 6), 100);
	away = bpf_stream_read_user(&streams[0], (void __user *)(at + PAGE_SIZE), 100);
	rest = bpf_stream_read(&streams[0], text, sizeof(text));
	WANT(part == 6 && away == -EFAULT, "6 bytes of room: %d, none: %d", part, away);
	WANT(rest == 7 && !memcmp(text, "o+three", 7), "left: %d bytes", rest);
	WANT(!copy_from_user(text, (void __user *)(at + PAGE_SIZE - 6), 6) &&
	     !memcmp(text, "one+tw", 6), "other bytes came");
	vm_munmap(at, PAGE_SIZE);
	WANT(!bpf_stream_read_user(&streams[0], NULL, 100), "an empty stream touches memory");
	WANT(bpf_stream_read_user(&streams[0], NULL, (size_t)INT_MAX + 1) == -EINVAL, "length");
	return want_no_pages();
}

/* The k-th page is denied, for every k that a message and a group reach. */
static int test_faults(void)
{
	static char text[9000];
	struct bpf_stream_stage ss;
	bool denied = true;
	int k;

	for (k = 1; denied; k++) {
		int err;

		preempt_disable();
		deny_page = k;
		err = bpf_stream_push(&streams[3], text, sizeof(text));
		bpf_stream_stage_init(&ss);
		if (!err)
			err = bpf_stream_stage_push(&ss, text, sizeof(text));
		if (!err)
			err = bpf_stream_stage_push(&ss, text, sizeof(text));
		if (!err)
			err = bpf_stream_stage_commit_to(&ss, &streams[3]);
		bpf_stream_stage_free(&ss);
		denied = !deny_page;
		deny_page = 0;
		preempt_enable();
		WANT(err == (denied ? -ENOMEM : 0), "page %d: %d", k, err);
		while (bpf_stream_read(&streams[3], text, sizeof(text)) > 0)
			;
		err = want_no_pages();
		if (err)
			return err;
	}
	WANT(k > 6, "only %d pages were asked for", k);
	return 0;
}

static int drain_checked(struct reader **r, bool *any)
{
	u32 i;

	*any = false;
	for (i = 0; i < STREAMS; i++) {
		int got = reader_run(r[i], &streams[i]);

		WANT(got >= 0, "stream %u: read says %d", i, got);
		WANT(!*r[i]->broken, "stream %u: %s", i, r[i]->broken);
		*any |= got > 0;
	}
	return 0;
}

static u64 nmis_so_far(void)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(traffic[cpu].nmis);
	return sum;
}

static int contexts_run(struct reader **r)
{
	bool until_nmis = nmis && IS_ENABLED(CONFIG_X86_LOCAL_APIC);
	unsigned long end = jiffies + seconds * (until_nmis ? 30 : 1) * HZ;
	u64 accepted[CONTEXTS] = { 0 };
	u64 messages = 0;
	u64 failed = 0;
	u64 full = 0;
	int error = 0;
	bool any;
	int err;
	int cpu;
	u32 i;

	err = traffic_start();
	WANT(!err, "traffic does not start: %d", err);
	do {
		err = drain_checked(r, &any);
		cond_resched();
	} while (!err && time_before(jiffies, end) && !(until_nmis && nmis_so_far() >= nmis));
	traffic_stop();
	do {
		if (!err)
			err = drain_checked(r, &any);
	} while (!err && any);
	if (err)
		return err;
	for_each_possible_cpu(cpu) {
		for (i = 0; i < CONTEXTS; i++) {
			struct writer *w = &traffic[cpu].writer[i];

			accepted[i] += w->accepted;
			full += w->full;
			failed += w->failed;
			error = w->error ?: error;
		}
	}
	for (i = 0; i < STREAMS; i++) {
		WANT(!r[i]->have, "stream %u: half a message is left", i);
		messages += r[i]->messages;
	}
	bpf_stream_printf(&results,
			  "figures contexts: %llu NMIs; messages: task %llu, softirq %llu, hardirq %llu, NMI %llu; %llu refused for the capacity, %llu otherwise\n",
			  nmis_so_far(), accepted[IN_TASK], accepted[IN_SOFTIRQ],
			  accepted[IN_HARDIRQ], accepted[IN_NMI], full, failed);
	WANT(!failed, "%llu writes failed, the last with %d", failed, error);
	WANT(!until_nmis || nmis_so_far() >= nmis, "%llu of %u NMIs in %u seconds", nmis_so_far(),
	     nmis, seconds * 30);
	for (i = 0; i < CONTEXTS; i++) {
		WANT(accepted[i] || (i == IN_NMI && !IS_ENABLED(CONFIG_X86_LOCAL_APIC)),
		     "context %u wrote nothing", i);
		messages -= accepted[i];
	}
	WANT(!messages, "%lld messages too many were read", (s64)messages);
	return want_no_pages();
}

static int test_contexts(void)
{
	struct reader *r[STREAMS] = { NULL };
	int err = 0;
	u32 i;

	for (i = 0; i < STREAMS; i++) {
		r[i] = reader_make();
		if (!r[i])
			err = -ENOMEM;
	}
	if (!err)
		err = contexts_run(r);
	for (i = 0; i < STREAMS; i++)
		reader_free(r[i]);
	return err;
}

/* What a CPU keeps goes back when the CPU goes away. */
static int test_cpu_offline(void)
{
	struct bpf_stream_pool_stats before;
	struct bpf_stream_pool_stats after;
	unsigned int cpu = cpumask_last(cpu_online_mask);
	char c;
	int err;

	if (!cpu) {
		strscpy(why, "there is one CPU", sizeof(why));
		return 1;
	}
	err = traffic_start();
	WANT(!err, "traffic does not start: %d", err);
	msleep(50);
	traffic_stop();
	while (bpf_stream_read(&streams[0], &c, 1) > 0 || bpf_stream_read(&streams[1], &c, 1) > 0 ||
	       bpf_stream_read(&streams[2], &c, 1) > 0 || bpf_stream_read(&streams[3], &c, 1) > 0)
		;
	bpf_stream_pool_get_stats(&before);
	err = remove_cpu(cpu);
	if (err) {
		snprintf(why, sizeof(why), "CPU %u cannot be taken away: %d", cpu, err);
		return 1;
	}
	bpf_stream_pool_get_stats(&after);
	err = add_cpu(cpu);
	WANT(!err, "CPU %u does not come back: %d", cpu, err);
	WANT(after.in_use < before.in_use, "%zu pages before, %zu after", before.in_use,
	     after.in_use);
	return want_no_pages();
}

/* ---- tests: records and waiting ----------------------------------------- */

/* Of the tests below. */
static struct bpf_stream tried;
static u32 tried_cpu;			/* where it was interrupted */

static void push_tried(void)
{
	tried_cpu = raw_smp_processor_id();
	bpf_stream_push(&tried, "x", 1);
}

static void push_in_irq(struct irq_work *work)
{
	push_tried();
}

static void push_by_irq(void)
{
	struct irq_work work;

	init_irq_work(&work, push_in_irq);
	irq_work_queue(&work);
	irq_work_sync(&work);
}

#ifdef CONFIG_X86_LOCAL_APIC
static int nmi_asked;

static int push_in_nmi(unsigned int type, struct pt_regs *regs)
{
	if (!xchg(&nmi_asked, 0))
		return NMI_DONE;
	push_tried();
	return NMI_HANDLED;
}

/* False: there are none here. */
static bool push_by_nmi(void)
{
	u32 tries = 1000;

	if (!apic->send_IPI || register_nmi_handler(NMI_LOCAL, push_in_nmi, 0, "bpf_stream_once"))
		return false;
	WRITE_ONCE(nmi_asked, 1);
	apic->send_IPI((int)cpumask_first(cpu_online_mask), NMI_VECTOR);
	while (READ_ONCE(nmi_asked) && tries--)
		msleep(1);
	unregister_nmi_handler(NMI_LOCAL, "bpf_stream_once");
	return !READ_ONCE(nmi_asked);
}
#else
static bool push_by_nmi(void)
{
	return false;
}
#endif

static int keep_record(void *ctx, const struct bpf_stream_record *r)
{
	*(struct bpf_stream_record *)ctx = *r;
	return 1;
}

/* The next record; false if there is none, or its text is not @text. */
static bool next_is(const char *text, struct bpf_stream_record *r)
{
	char bytes[16];

	return bpf_stream_read_record(&tried, r, bytes, sizeof(bytes)) == 1 &&
	       r->len == strlen(text) && !memcmp(bytes, text, r->len);
}

static int want_records(void)
{
	struct bpf_stream_record r;
	u64 before = ktime_get_mono_fast_ns();
	char long_text[300] = "";

	WANT(!bpf_stream_log(&tried, BPF_STREAM_TAG(7) | BPF_STREAM_ERR, "%d", 42), "log");
	push_by_irq();
	WANT(next_is("42", &r) && r.level == BPF_STREAM_ERR && r.tag == 7, "a level or tag");
	WANT(r.tid == (u32)current->pid, "a task's id is %u, not %d", r.tid, current->pid);
	WANT(r.time >= before && r.time <= ktime_get_mono_fast_ns(), "a time");
	before = r.time;
	WANT(next_is("x", &r) && r.level == BPF_STREAM_INFO, "a plain message");
	/* With PREEMPT_RT this irq_work is run by a task. */
	WANT(r.tid == 0x80000000u + tried_cpu || IS_ENABLED(CONFIG_PREEMPT_RT),
	     "an interrupt's id is %x", r.tid);
	WANT(r.time >= before, "time goes back");
	if (push_by_nmi())
		WANT(next_is("x", &r) && r.tid == 0x80000000u + tried_cpu, "an NMI's id is %x",
		     r.tid);
	WANT(bpf_stream_push(&tried, long_text, sizeof(long_text)) == -E2BIG, "no refusal");
	WANT(bpf_stream_push(&tried, long_text, sizeof(long_text)) == -E2BIG, "no refusal");
	push_by_irq();
	WANT(next_is("x", &r) && r.lost == 2, "%llu lost, not 2", r.lost);
	WANT(bpf_stream_push(&tried, long_text, sizeof(long_text)) == -E2BIG, "no refusal");
	WANT(bpf_stream_drain_records(&tried, keep_record, &r, 9) == 1 && !r.total && r.lost == 1,
	     "%llu lost at the end, not 1", r.lost);
	WANT(!bpf_stream_set_level(&tried, BPF_STREAM_NOTICE) &&
	     !bpf_stream_log(&tried, BPF_STREAM_INFO, "muted") &&
	     !bpf_stream_read_record(&tried, &r, NULL, 0), "what is muted is stored");
	return 0;
}

static int test_records(void)
{
	const struct bpf_stream_options opts = { .capacity = 200,
						 .clock = bpf_stream_clock_monotonic };
	int ret;

	bpf_stream_init(&tried, &opts);
	ret = want_records();
	bpf_stream_destroy(&tried);
	return ret ? ret : want_no_pages();
}

struct sleeper {
	struct completion ended;
	bool writes;
	int ret;
};

static int sleep_tried(void *data)
{
	struct sleeper *sleeper = data;

	sleeper->ret = sleeper->writes ? bpf_stream_push_wait(&tried, "abc", 3, -1) :
					 bpf_stream_wait(&tried, -1);
	complete(&sleeper->ended);
	return 0;
}

static bool is_full(void)
{
	char text[16];

	return bpf_stream_read(&tried, text, sizeof(text)) > 0;
}

static bool push_by_task(void)
{
	push_tried();
	return true;
}

static bool push_by_irq_work(void)
{
	push_by_irq();
	return true;
}

static bool close_tried(void)
{
	bpf_stream_close(&tried);
	return true;
}

/* Until a task sleeps, then @act; it must wake it. False from @act: not here. */
static int want_woken(bool writes, const char *by, bool (*act)(void), int want)
{
	const u64 flag = writes ? BSE_LOG_ROOM_WAITED : BSE_LOG_READER_WAITS;
	struct sleeper *sleeper = kzalloc(sizeof(*sleeper), GFP_KERNEL);
	struct task_struct *task;
	u32 tries = 5000;
	int ret;

	WANT(sleeper, "no memory");
	init_completion(&sleeper->ended);
	sleeper->writes = writes;
	task = kthread_run(sleep_tried, sleeper, "bpf_stream_wait");
	if (IS_ERR(task)) {
		kfree(sleeper);
		WANT(false, "no task");
	}
	while (!(bse_u64_load_relaxed(&tried.log) & flag) && tries--)
		msleep(1);
	msleep(20);	/* now it sleeps; if not, it must not sleep any more */
	if (!act())
		bpf_stream_close(&tried);
	if (!wait_for_completion_timeout(&sleeper->ended, 20 * HZ)) {
		/* It ends within a minute; what it uses stays until then. */
		WANT(false, "%s wakes no sleeper", by);
	}
	ret = sleeper->ret;
	kfree(sleeper);
	WANT(ret == want || bse_u64_load_relaxed(&tried.log) & BSE_LOG_CLOSED,
	     "woken by %s, a sleeper gets %d, not %d", by, ret, want);
	return 0;
}

static int want_waits(void)
{
	static char text[200];
	int err;

	WANT(!bpf_stream_wait(&tried, 20), "a time that does not end");
	WANT(!bpf_stream_poll(&tried, NULL, NULL), "readable, and empty");
	err = want_woken(false, "a task", push_by_task, 1);
	if (err)
		return err;
	WANT(bpf_stream_poll(&tried, NULL, NULL) == (EPOLLIN | EPOLLRDNORM), "not readable");
	WANT(is_full(), "nothing came");
	err = want_woken(false, "an interrupt", push_by_irq_work, 1);
	if (err)
		return err;
	WANT(is_full(), "nothing came");
	WANT(!bpf_stream_push(&tried, text, sizeof(text)), "a push");
	WANT(bpf_stream_push_wait(&tried, "abc", 3, 20) == -ENOSPC, "there is room");
	err = want_woken(true, "a read", is_full, 0);
	if (err)
		return err;
	while (is_full())
		;
	err = want_woken(false, "an NMI", push_by_nmi, 1);
	if (err)
		return err;
	while (is_full())
		;
	err = want_woken(false, "closing", close_tried, -ESHUTDOWN);
	if (err)
		return err;
	WANT(bpf_stream_poll(&tried, NULL, NULL) == EPOLLHUP, "no hang-up");
	WANT(bpf_stream_push(&tried, "x", 1) == -EPIPE, "a push to a closed stream");
	return 0;
}

static int test_waiting(void)
{
	const struct bpf_stream_options opts = { .capacity = 200 };
	int ret;

	bpf_stream_init(&tried, &opts);
	ret = want_waits();
	bpf_stream_destroy(&tried);
	return ret ? ret : want_no_pages();
}

/* Traffic that goes on until the module is unloaded. */
static int test_traffic(void)
{
	int err = traffic_start();

	WANT(!err, "traffic does not start: %d", err);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);	/* 0, 1: skipped, or a negative errno; with why */
	bool by_name;		/* not part of all */
} tests[] = {
	{ "basics", test_basics },
	{ "sizes", test_sizes },
	{ "capacity", test_capacity },
	{ "user_memory", test_user_memory },
	{ "faults", test_faults },
	{ "records", test_records },
	{ "waiting", test_waiting },
	{ "contexts", test_contexts },
	{ "cpu_offline", test_cpu_offline },
	{ "traffic", test_traffic, true },
};

static void run(u32 i)
{
	int ret;

	strscpy(why, "out of memory", sizeof(why));
	ret = tests[i].run();
	if (!ret)
		bpf_stream_printf(&results, "ok %s\n", tests[i].name);
	else
		bpf_stream_printf(&results, "%s %s: %s\n", ret > 0 ? "SKIP" : "FAIL",
				  tests[i].name, why);
}

/* ---- debugfs ------------------------------------------------------------ */

static ssize_t selftest_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	char name[32];
	bool found = false;
	u32 i;

	if (len >= sizeof(name))
		return -EINVAL;
	if (copy_from_user(name, buf, len))
		return -EFAULT;
	name[len] = '\0';
	if (mutex_lock_interruptible(&running))
		return -EINTR;
	if (traffic_on) {
		mutex_unlock(&running);
		return -EBUSY;
	}
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		if (!strcmp(strim(name), tests[i].name) ||
		    (!strcmp(strim(name), "all") && !tests[i].by_name)) {
			found = true;
			run(i);
		}
	}
	mutex_unlock(&running);
	return found ? (ssize_t)len : -ENOENT;
}

static ssize_t selftest_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	return bpf_stream_read_user(&results, buf, min_t(size_t, len, INT_MAX));
}

static const struct file_operations selftest_fops = {
	.owner = THIS_MODULE,
	.write = selftest_write,
	.read = selftest_read,
};

static int tests_show(struct seq_file *m, void *unused)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(tests); i++)
		seq_printf(m, "%s\n", tests[i].name);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(tests);

static ssize_t stream_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	char *text;
	int err;

	if (len > CAPACITY)
		return -E2BIG;
	text = kvmalloc(len, GFP_KERNEL);
	if (!text)
		return -ENOMEM;
	err = copy_from_user(text, buf, len) ? -EFAULT :
	      bpf_stream_push(file_inode(file)->i_private, text, len);
	kvfree(text);
	return err ? err : (ssize_t)len;
}

static ssize_t stream_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	return bpf_stream_read_user(file_inode(file)->i_private, buf, min_t(size_t, len, INT_MAX));
}

static const struct file_operations stream_fops = {
	.owner = THIS_MODULE,
	.write = stream_write,
	.read = stream_read,
};

static ssize_t follow_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	char text[64];
	size_t part = min(len, sizeof(text));
	int err;

	if (copy_from_user(text, buf, part))
		return -EFAULT;
	if (part >= 5 && !memcmp(text, "close", 5)) {
		bpf_stream_close(&follow);
		return (ssize_t)len;
	}
	err = bpf_stream_push(&follow, text, part);
	return err ? err : (ssize_t)part;
}

static ssize_t follow_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	int ret;

	do {
		ret = bpf_stream_wait(&follow, file->f_flags & O_NONBLOCK ? 0 : -1);
		if (ret == 1)
			ret = bpf_stream_read_user(&follow, buf, min_t(size_t, len, INT_MAX));
		else if (!ret)
			return -EAGAIN;
		/* Another reader may have been faster. */
	} while (!ret);
	return ret == -ESHUTDOWN ? 0 : ret;
}

static __poll_t follow_poll(struct file *file, struct poll_table_struct *wait)
{
	return bpf_stream_poll(&follow, file, wait) | EPOLLOUT | EPOLLWRNORM;
}

static const struct file_operations follow_fops = {
	.owner = THIS_MODULE,
	.write = follow_write,
	.read = follow_read,
	.poll = follow_poll,
};

static int stats_show(struct seq_file *m, void *unused)
{
	struct bpf_stream_pool_stats pool;
	u32 why;
	u32 i;

	bpf_stream_pool_get_stats(&pool);
	seq_printf(m, "pool: %zu pages of %zu bytes, %zu in use, %zu at most, %llu denied\n",
		   pool.total, pool.page_size, pool.in_use, pool.highest, pool.denied);
	for (i = 0; i < STREAMS; i++) {
		struct bpf_stream_stats stats;
		u64 refused = 0;

		bpf_stream_get_stats(&streams[i], &stats);
		for (why = 0; why < BPF_STREAM_REFUSALS; why++)
			refused += stats.refused[why].messages;
		seq_printf(m, "stream %u: %zu of %zu bytes pending, %llu messages of %llu bytes delivered, %llu refused\n",
			   i, stats.pending, stats.capacity, stats.delivered.messages,
			   stats.delivered.bytes, refused);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

/* ---- start and end ------------------------------------------------------ */

static struct dentry *root;

static void files_make(void)
{
	struct dentry *dir;
	char name[8];
	u32 i;

	root = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("tests", 0400, root, NULL, &tests_fops);
	debugfs_create_file("selftest", 0600, root, NULL, &selftest_fops);
	debugfs_create_file("stats", 0400, root, NULL, &stats_fops);
	debugfs_create_file("follow", 0600, root, NULL, &follow_fops);
	dir = debugfs_create_dir("streams", root);
	for (i = 0; i < STREAMS; i++) {
		snprintf(name, sizeof(name), "%u", i);
		debugfs_create_file(name, 0600, dir, &streams[i], &stream_fops);
	}
}

static int __init test_start(void)
{
	const struct bpf_stream_options opts = { .capacity = CAPACITY };
	int err = bpf_stream_pool_start((size_t)pool_pages * BPF_STREAM_PAGE_SIZE);
	u32 i;

	if (err)
		return err;
	for (i = 0; i < STREAMS; i++)
		bpf_stream_init(&streams[i], &opts);
	bpf_stream_init(&results, &opts);
	bpf_stream_init(&follow, &opts);
	files_make();
	return 0;
}

static void __exit test_end(void)
{
	size_t left;
	u32 i;

	debugfs_remove(root);
	if (traffic_on)
		traffic_stop();
	for (i = 0; i < STREAMS; i++)
		bpf_stream_destroy(&streams[i]);
	bpf_stream_destroy(&results);
	bpf_stream_destroy(&follow);
	left = bpf_stream_pool_stop();
	if (left)
		pr_err("FAIL unload: %zu pages still held messages\n", left);
	else
		pr_info("ok unload\n");
	kvfree(traffic);
}

module_init(test_start);
module_exit(test_end);

MODULE_DESCRIPTION("Streams of bpf_stream.h to write, read and test");
MODULE_LICENSE("Dual BSD/GPL");
