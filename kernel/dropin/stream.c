// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The streams of BPF programs, in place of the kernel's kernel/bpf/stream.c:
 * bpf_stream.h does the work, this file gives it the kernel's functions. All
 * that depends on the kernel's version stands here.
 */
#include <linux/bpf.h>
#include <linux/cred.h>
#include <linux/debugfs.h>
#include <linux/filter.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)
#define BSE_ALLOC_PAGE() alloc_pages_nolock(NUMA_NO_NODE, 0)
#endif

#define BPF_STREAM_ENVIRONMENT "bpf_stream_dropin.h"
#define BPF_STREAM_STATIC
#include "bpf_stream.h"

/* The last parameter of the kfunc, which the verifier knows by its name. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
#define STREAM_AUX struct bpf_prog_aux *aux
#define stream_aux aux
#else
#define STREAM_AUX void *aux__prog
#define stream_aux aux__prog
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
#define bpf_stream_vprintk bpf_stream_vprintk_impl
#endif
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 4, 0)
#define STREAM(aux, i) ((aux)->stream[i])
#define STREAM_LEN u32

int bpf_prog_stream_init(struct bpf_prog *prog, gfp_t gfp)
{
	struct bpf_stream *both = kcalloc(2, sizeof(*both), gfp);
	int i;

	for (i = 0; both && i < 2; i++) {
		prog->aux->stream[i] = &both[i];
		bpf_stream_init(&both[i], NULL);
	}
	return both ? 0 : -ENOMEM;
}

void bpf_prog_stream_free(struct bpf_prog *prog)
{
	struct bpf_stream *both = prog->aux->stream[0];

	if (!both)
		return;
	bpf_stream_destroy(&both[0]);
	bpf_stream_destroy(&both[1]);
	kfree(both);
}

#else /* before 7.4 */
#define STREAM(aux, i) (&(aux)->stream[i])
#define STREAM_LEN int

void bpf_prog_stream_init(struct bpf_prog *prog)
{
	bpf_stream_init(&prog->aux->stream[0], NULL);
	bpf_stream_init(&prog->aux->stream[1], NULL);
}

void bpf_prog_stream_free(struct bpf_prog *prog)
{
	bpf_stream_destroy(&prog->aux->stream[0]);
	bpf_stream_destroy(&prog->aux->stream[1]);
}
#endif

static struct bpf_stream *stream_of(struct bpf_prog_aux *aux, int stream_id)
{
	if (stream_id != BPF_STDOUT && stream_id != BPF_STDERR)
		return NULL;
	return STREAM(aux, stream_id - BPF_STDOUT);
}

/* A negative length becomes one above INT_MAX, and is refused like that. */
int bpf_prog_stream_read(struct bpf_prog *prog, enum bpf_stream_id stream_id,
			 void __user *buf, STREAM_LEN len)
{
	struct bpf_stream *s = stream_of(prog->aux, stream_id);

	return s ? bpf_stream_read_user(s, buf, (size_t)len) : -ENOENT;
}

int bpf_stream_stage_commit(struct bpf_stream_stage *ss, struct bpf_prog *prog,
			    enum bpf_stream_id stream_id)
{
	struct bpf_stream *s = stream_of(prog->aux, stream_id);

	return s ? bpf_stream_stage_commit_to(ss, s) : -EINVAL;
}

struct stream_dump {
	struct bpf_stream_stage *ss;
	int err;
};

static bool stream_dump_frame(void *cookie, u64 ip, u64 sp, u64 bp)
{
	struct stream_dump *dump = cookie;
	struct bpf_prog *prog;
	const char *file;
	const char *text;
	int line;

	dump->err = bpf_stream_stage_printk(dump->ss, "%pS\n", (void *)(unsigned long)ip);
	/* So that the program stays until its line is printed. */
	rcu_read_lock();
	prog = bpf_prog_ksym_find(ip);
	if (!dump->err && prog && bpf_prog_get_file_line(prog, ip, &file, &text, &line) >= 0)
		dump->err = bpf_stream_stage_printk(dump->ss, "  %s @ %s:%d\n", text, file, line);
	rcu_read_unlock();
	return !dump->err;
}

int bpf_stream_stage_dump_stack(struct bpf_stream_stage *ss)
{
	struct stream_dump dump = { .ss = ss };

	dump.err = bpf_stream_stage_printk(ss, "CPU: %d UID: %d PID: %d Comm: %s\nCall trace:\n",
					   raw_smp_processor_id(),
					   from_kuid_munged(&init_user_ns, current_euid()),
					   current->pid, current->comm);
	if (!dump.err)
		arch_bpf_stack_walk(stream_dump_frame, &dump);
	if (!dump.err)
		dump.err = bpf_stream_stage_printk(ss, "\n");
	return dump.err;
}

__bpf_kfunc_start_defs();

__bpf_kfunc int bpf_stream_vprintk(int stream_id, const char *fmt__str, const void *args,
				   u32 len__sz, STREAM_AUX)
{
	struct bpf_bprintf_data data = { .get_bin_args = true, .get_buf = true };
	struct bpf_stream *s = stream_of(stream_aux, stream_id);
	int ret = -EINVAL;

	if (!s)
		return -ENOENT;
	/* The format's end is found by itself: no size is told. */
	if (len__sz % sizeof(u64) == 0 && len__sz <= MAX_BPRINTF_VARARGS * sizeof(u64) &&
	    (args || !len__sz))
		ret = bpf_bprintf_prepare(fmt__str, U32_MAX, args, len__sz / sizeof(u64), &data);
	if (ret < 0)
		return bsi_stream_print(s, BSE_ELEM_PLAIN, NULL, ret);
	ret = bstr_printf(data.buf, MAX_BPRINTF_BUF, fmt__str, data.bin_args);
	ret = bsi_stream_print(s, BSE_ELEM_PLAIN, data.buf, ret);
	bpf_bprintf_cleanup(&data);
	return ret;
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
__bpf_kfunc int bpf_stream_print_stack(int stream_id, struct bpf_prog_aux *aux)
{
	struct bpf_stream *s = stream_of(aux, stream_id);
	struct bpf_stream_stage ss;
	int ret;

	if (!s)
		return -ENOENT;
	bpf_stream_stage_init(&ss);
	ret = bpf_stream_stage_dump_stack(&ss);
	if (!ret)
		ret = bpf_stream_stage_commit_to(&ss, s);
	bpf_stream_stage_free(&ss);
	return ret;
}
#endif

__bpf_kfunc_end_defs();

/* What is refused, and what memory is held: for all streams together. */
static int stream_figures_show(struct seq_file *m, void *unused)
{
	/* By enum bpf_stream_refusal. */
	static const char * const name[] = { "full", "memory", "size", "invalid" };
	struct bpf_stream_stats stats;
	struct bse_figures figures;
	u32 i;

	bse_get_figures(&figures);
	seq_printf(m, "live_pages %u\nkept_pages %u\nspare_pages %u\npage_cap %lu\ndenied %llu\n",
		   figures.live_pages, figures.kept_pages, figures.spare_pages,
		   (unsigned long)BPF_STREAM_MAX_PAGES, figures.denied);
	bse_get_counts(NULL, &stats);
	for (i = 0; i < ARRAY_SIZE(name); i++)
		seq_printf(m, "refused_%s %llu messages %llu bytes\n", name[i],
			   stats.refused[i].messages, stats.refused[i].bytes);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stream_figures);

static int __init stream_figures_start(void)
{
	debugfs_create_file("bpf_stream", 0400, NULL, NULL, &stream_figures_fops);
	return 0;
}
late_initcall(stream_figures_start);

/* Before the first writer on @cpu. */
static int stream_cpu_ready(unsigned int cpu)
{
	if (!BPF_STREAM_KERNEL_KMALLOC)
		bse_spares_fill(per_cpu_ptr(&bse_stores, cpu), BSE_GFP_SPARE, cpu_to_node(cpu));
	return 0;
}

static int stream_cpu_gone(unsigned int cpu)
{
	bsi_line_dead(cpu);
	bse_spares_drop(per_cpu_ptr(&bse_stores, cpu));
	return 0;
}

static int __init stream_start(void)
{
	int state = cpuhp_setup_state(CPUHP_BP_PREPARE_DYN, "bpf_stream:prepare",
				      stream_cpu_ready, stream_cpu_gone);

	return state < 0 ? state : 0;
}
core_initcall(stream_start);
