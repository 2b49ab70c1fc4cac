/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The environment of the drop-in for kernel/bpf/stream.c, which names this file
 * as BPF_STREAM_ENVIRONMENT: what bpf_stream.h has in its sections [3], [4] and
 * [6c] to [6f] for userspace and modules. bpf_stream.h includes it twice, for
 * the types and for the bodies.
 *
 * Streams, stages and elements are the kernel's own structs, capacity and
 * formatter are the kernel's own, and elements lie in the kernel's pages.
 *
 * Knobs:
 *
 * BPF_STREAM_MAX_PAGES		the most pages for all streams together
 * BPF_STREAM_SPARES		how many more each CPU has ready for each
 *				nesting level: 1 to 64
 * BPF_STREAM_KERNEL_KMALLOC	1: elements come from kmalloc_nolock() and not
 *				from pages, to compare the two
 */
#ifndef BPF_STREAM_DROPIN_H
#define BPF_STREAM_DROPIN_H

/* ---- TYPES ------------------------------------------------------------ */

#include <linux/irq_work.h>
#include <linux/kernel.h>
#include <linux/llist.h>
#include <linux/workqueue.h>

#ifndef BPF_STREAM_STATIC
#error "bpf_stream_dropin.h: define BPF_STREAM_STATIC, as kernel/dropin/stream.c does"
#endif

#ifndef BPF_STREAM_MAX_PAGES
#define BPF_STREAM_MAX_PAGES ((64 << 20) / PAGE_SIZE)
#endif
#ifndef BPF_STREAM_SPARES
#define BPF_STREAM_SPARES (PAGE_SIZE > 16384 ? 1 : 4)
#endif
#ifndef BPF_STREAM_KERNEL_KMALLOC
#define BPF_STREAM_KERNEL_KMALLOC 0
#endif

/* An enumerator of <linux/bpf.h>. */
#undef BPF_STREAM_DEFAULT_CAPACITY
#define BPF_STREAM_DEFAULT_CAPACITY BPF_STREAM_MAX_CAPACITY

/* The functions on stages that <linux/bpf.h> declares are global. */
#define BSE_API_STAGE

/* An element is its node, and a page begins with its head; NULL: none. */
typedef struct llist_node *bse_link;
typedef struct bse_page_head *bse_page;
typedef struct mutex bse_mutex;

/* Slots at each CPU beside those of deeper levels; see [6a]. */
#define BSE_LISTS 1u

#elif defined(BPF_STREAM_BODIES)

/* ---- BODIES ------------------------------------------------------------ */

/*
 * A page of the kernel begins with its reference count. It comes from the
 * spares of this CPU and level; if there are none, from the allocator that
 * waits for no lock. That one fails in some contexts: in an NMI that came in
 * the middle of it, and with PREEMPT_RT in hard interrupts. So the spares are
 * filled up in better contexts, as soon as half of them are gone. Of two who
 * want the same spare, one gets it, by xchg(). Spares have no order, so there is
 * no ABA.
 */
struct bse_page_head {
	bse_u32 refs;		/* I4 of bpf_stream.h */
} __aligned(8);

#define BSE_PAGE_HEAD ((u32)sizeof(struct bse_page_head))
#define BSE_PAGE_ROOM ((u32)(PAGE_SIZE - sizeof(struct bse_page_head)))

/* In total_len: the last element of its message. */
#define BSE_ELEM_ENDS 0x40000000

/* What a CPU has beside its slots. */
struct bse_store {
	bse_page spare[BPF_STREAM_LEVELS * BPF_STREAM_SPARES];	/* by level; NULL: none */
	struct irq_work refill;
	bse_figure denied;	/* requests that found no memory */
	bse_figure refused[BPF_STREAM_REFUSALS][2];	/* messages, bytes */
};

static void bse_refill_irq(struct irq_work *work);
static DEFINE_PER_CPU(struct bse_store, bse_stores) = { .refill = IRQ_WORK_INIT(bse_refill_irq) };

#ifndef BSE_ALLOC_PAGE
#define BSE_ALLOC_PAGE() alloc_pages_nolock(0, NUMA_NO_NODE, 0)
#endif

_Static_assert(BPF_STREAM_MAX_PAGES >= 8 && BPF_STREAM_MAX_PAGES <= INT_MAX / 2,
	       "BPF_STREAM_MAX_PAGES: use at least 8");
_Static_assert(BPF_STREAM_SPARES >= 1 && BPF_STREAM_SPARES <= 64,
	       "BPF_STREAM_SPARES: use 1 to 64");

/* Pages that hold elements, or that a CPU is filling; not the spares. */
static atomic_t bse_live_pages;
static atomic_t bse_kept;		/* slots that may keep a page (I7) */

static inline int bse_access(void)
{
	return 0;
}

/* Nothing jumps out of a push here, so the count is exact. */
static inline bool bse_may_keep(struct bse_slot *slot)
{
	if (!slot->keeps && atomic_add_unless(&bse_kept, 1, (int)(BPF_STREAM_MAX_PAGES) / 4))
		slot->keeps = 1;
	return slot->keeps;
}

static inline void bse_unkeep(struct bse_slot *slot)
{
	if (slot->keeps)
		atomic_dec(&bse_kept);
	slot->keeps = 0;
}

static inline size_t bse_pool_pages(void)
{
	return BPF_STREAM_MAX_PAGES;
}

static inline bse_u32 *bse_page_ref(bse_page page)
{
	return &page->refs;
}

static inline bse_link bse_link_at(bse_page page, u32 offset)
{
	return (bse_link)((char *)(page + 1) + offset);
}

static inline bse_page bse_page_of(bse_link link)
{
	return (bse_page)((unsigned long)link & PAGE_MASK);
}

static inline struct bpf_stream_elem *bse_elem_of(bse_link link)
{
	return container_of(link, struct bpf_stream_elem, node);
}

static inline bse_link bse_elem_next(const struct bpf_stream_elem *elem)
{
	return elem->node.next;
}

static inline void bse_set_next(bse_link link, bse_link next)
{
	link->next = next;
}

/* The kernel's element has no room for level, tag, time and losses. */
#define BSE_ELEM_PLAIN 0
#define BSE_ELEM_GOES_ON 0
#define BSE_ELEM_GROUP 0
#define bse_prefix_bytes(info) 0u
#define bse_place_reset(s) ((void)(s))

struct bse_news {
	u32 flags;
};

static inline void bse_news_get(struct bpf_stream *s, struct bse_news *news)
{
	news->flags = 0;
}

#define bse_news_write(s, news, elem) ((void)(news))
#define bse_news_told(s, news) ((void)(news))

static inline void bse_elem_set(struct bpf_stream_elem *elem, u32 len, u32 flags)
{
	elem->total_len = (int)(len | flags);
	elem->consumed_len = 0;
}

static inline u32 bse_elem_len(const struct bpf_stream_elem *elem)
{
	return (u32)(elem->total_len & ~BSE_ELEM_ENDS);
}

static inline bool bse_elem_ends(const struct bpf_stream_elem *elem)
{
	return elem->total_len & BSE_ELEM_ENDS;
}

static inline const char *bse_elem_text(const struct bpf_stream_elem *elem)
{
	return elem->str;
}

/* Of the backlog's head: the kernel's stream has no word for it. */
static inline u32 bse_consumed_get(const struct bpf_stream *s)
{
	return (u32)bse_elem_of(s->backlog_head)->consumed_len;
}

static inline void bse_consumed_set(struct bpf_stream *s, u32 bytes)
{
	if (s->backlog_head)
		bse_elem_of(s->backlog_head)->consumed_len = (int)bytes;
}

static inline void bse_poison(const void *p, size_t size)
{
}

static inline void bse_unpoison(const void *p, size_t size)
{
}

/* Spares are no reason to kill a process for memory, nor to use reserves. */
#define BSE_GFP_SPARE (GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)
#define BSE_GFP_IRQ (GFP_NOWAIT | __GFP_NOMEMALLOC | __GFP_NOWARN)

/* From any context. */
static void bse_page_drop(bse_page page)
{
	free_pages_nolock(virt_to_page(page), 0);
}

/* Fills the places that are empty; false if there is no memory for that. */
static bool bse_spares_fill(struct bse_store *store, gfp_t gfp, int node)
{
	struct page *page;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(store->spare); i++) {
		if (READ_ONCE(store->spare[i]))
			continue;
		page = alloc_pages_node(node, gfp, 0);
		if (!page)
			return false;
		if (cmpxchg(&store->spare[i], NULL, (bse_page)page_address(page)))
			bse_page_drop(page_address(page));
	}
	return true;
}

/* Of a CPU that is gone. */
static void bse_spares_drop(struct bse_store *store)
{
	bse_page page;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(store->spare); i++) {
		page = xchg(&store->spare[i], NULL);
		if (page)
			bse_page_drop(page);
	}
}

/* Stops at the first failure: memory is short. */
static void bse_refill_work(struct work_struct *work)
{
	int cpu;

	cpus_read_lock();
	for_each_online_cpu(cpu) {
		if (!bse_spares_fill(per_cpu_ptr(&bse_stores, cpu), BSE_GFP_SPARE,
				     cpu_to_node(cpu)))
			break;
	}
	cpus_read_unlock();
}

static DECLARE_DELAYED_WORK(bse_refill, bse_refill_work);

/* At most one round of work for each tick. */
static void bse_refill_irq(struct irq_work *work)
{
	if (!bse_spares_fill(container_of(work, struct bse_store, refill), BSE_GFP_IRQ,
			     NUMA_NO_NODE))
		schedule_delayed_work(&bse_refill, 1);
}

/* Pinned. One of the spares of a level, or NULL. */
static bse_page bse_spare_take(struct bse_store *store, u32 level)
{
	bse_page *spare = &store->spare[level * BPF_STREAM_SPARES];
	bse_page page = NULL;
	u32 i = BPF_STREAM_SPARES;

	while (!page && i > 0) {
		i--;
		if (READ_ONCE(spare[i]))
			page = xchg(&spare[i], NULL);
	}
	if (i <= BPF_STREAM_SPARES / 2 || !READ_ONCE(spare[0]))
		irq_work_queue(&store->refill);
	return page;
}

/*
 * Pinned. A spare of this level; or a new page; or, as interrupts cannot do
 * what tasks can, which is to try again, any spare for them.
 */
static bse_page bse_page_find(void)
{
	struct bse_store *store = this_cpu_ptr(&bse_stores);
	u32 level = bse_own_get(&bse_here()->depth) - 1;
	bse_page page = bse_spare_take(store, min(level, BPF_STREAM_LEVELS - 1));
	struct page *fresh;

	if (page)
		return page;
	fresh = BSE_ALLOC_PAGE();
	if (fresh || in_task())
		return fresh ? page_address(fresh) : NULL;
	for (level = 0; !page && level < BPF_STREAM_LEVELS; level++)
		page = bse_spare_take(store, level);
	return page;
}

static int bse_denied(void)
{
	bse_figure_add(&raw_cpu_ptr(&bse_stores)->denied, 1);
	return -ENOMEM;
}

/* Pinned. */
static int bse_page_get(bse_page *page)
{
	if (!atomic_add_unless(&bse_live_pages, 1, (int)(BPF_STREAM_MAX_PAGES)))
		return -ENOMEM;
	*page = bse_page_find();
	if (!*page) {
		atomic_dec(&bse_live_pages);
		return -ENOMEM;
	}
	/* Relaxed: private until an element of it is published. */
	bse_u32_store_relaxed(&(*page)->refs, 0);
	return 0;
}

/* Pinned meanwhile, so that a CPU that is gone gets no spares. */
static void bse_page_put(bse_page page)
{
	struct bse_store *store;
	u32 i;

	bse_pin();
	store = this_cpu_ptr(&bse_stores);
	atomic_dec(&bse_live_pages);
	/* The deeper a level, the less its contexts can do without. */
	for (i = ARRAY_SIZE(store->spare); page && i > 0; i--) {
		if (!READ_ONCE(store->spare[i - 1]) && !cmpxchg(&store->spare[i - 1], NULL, page))
			page = NULL;
	}
	bse_unpin();
	if (page)
		bse_page_drop(page);
}

/* Pages are not handed from CPU to CPU before they are full. */
static inline bool bse_partial_get(u32 list, struct bse_space *space)
{
	return false;
}

static inline bool bse_partial_put(u32 list, const struct bse_space *space)
{
	return false;
}

#if BPF_STREAM_KERNEL_KMALLOC
static inline int bse_kmalloc(u32 list, u32 size, bool at_hand, bse_link *at)
{
	*at = kmalloc_nolock(size, 0, NUMA_NO_NODE);
	if (*at)
		return 0;
	/* Asked again then, and counted. */
	return at_hand ? -EBUSY : bse_denied();
}

#undef bse_reserve
#define bse_reserve bse_kmalloc
#undef bse_release
#define bse_release(link, returns) ((void)(returns), kfree_nolock(link))
#endif

#undef bse_format
#define bse_format bse_vsnprintf

BSE_API int bpf_stream_init(struct bpf_stream *s, const struct bpf_stream_options *opts)
{
	if (opts)
		return -EINVAL;
	atomic_set(&s->capacity, 0);
	init_llist_head(&s->log);
	mutex_init(&s->lock);
	s->backlog_head = NULL;
	s->backlog_tail = NULL;		/* not used */
	return 0;
}

static inline size_t bse_capacity(const struct bpf_stream *s)
{
	return BPF_STREAM_DEFAULT_CAPACITY;
}

static inline size_t bse_log_pending(const struct bpf_stream *s)
{
	return atomic_read(&s->capacity);
}

/* One list of slots: a page serves all programs. */
static inline u32 bse_group(const struct bpf_stream *s)
{
	return 0;
}

/* What a writer saw of a stream: what is charged. */
typedef int bse_seen;

static inline bse_seen bse_log_seen(const struct bpf_stream *s)
{
	return atomic_read(&s->capacity);
}

static inline bool bse_log_has_room(const struct bpf_stream *s, bse_seen seen, u32 bytes)
{
	return bytes + (u64)seen <= BPF_STREAM_DEFAULT_CAPACITY;
}

static inline int bse_log_room(const struct bpf_stream *s, bse_seen seen, u32 bytes)
{
	return bse_log_has_room(s, seen, bytes) ? 0 : -ENOSPC;
}

/* Nobody sleeps, and nothing is closed. */
#define bse_published(s, seen) ((void)(seen))
#define bse_reader_done(s, ret) (ret)

/* Charged first: a reader never refunds what is not charged yet (I3). */
static inline bool bse_log_try_publish(struct bpf_stream *s, bse_seen *seen, bse_link newest,
				       struct bpf_stream_elem *oldest, u32 bytes, bool straight)
{
	if (!atomic_try_cmpxchg_relaxed(&s->capacity, seen, *seen + (int)bytes))
		return false;
	/* Stands for publish:A. */
	llist_add_batch(newest, &oldest->node, &s->log);
	return true;
}

/* Stands for detach:B. How much the list holds is not known. */
static inline bse_link bse_log_detach(struct bpf_stream *s, size_t *pending)
{
	*pending = SIZE_MAX;
	return llist_empty(&s->log) ? NULL : llist_del_all(&s->log);
}

static inline void bse_log_refund(struct bpf_stream *s, u32 bytes)
{
	atomic_sub((int)bytes, &s->capacity);
}

static inline void bse_stream_reset(struct bpf_stream *s)
{
	bse_log_refund(s, (u32)bse_log_pending(s));
}

/* Without its oldest element and its number of messages. */
static inline struct bse_chain bse_stage_load(const struct bpf_stream_stage *ss)
{
	return (struct bse_chain){ .newest = ss->log.first, .bytes = (u32)ss->len };
}

static inline void bse_stage_store(struct bpf_stream_stage *ss, const struct bse_chain *chain)
{
	ss->log.first = chain->newest;
	ss->len = (int)chain->bytes;
}

/* Linear: each of its messages is one element. */
static struct bse_chain bse_stage_whole(const struct bpf_stream_stage *ss)
{
	struct bse_chain chain = bse_stage_load(ss);
	bse_link link;

	for (link = chain.newest; link; link = link->next) {
		chain.oldest = link;
		chain.messages++;
	}
	return chain;
}

/* Sinks of the drop-in read nothing, so no task has its lock already. */
static int bse_lock(bse_mutex *lock, bool wait)
{
	if (wait)
		mutex_lock(lock);
	else if (!mutex_trylock(lock))
		return -EBUSY;
	return 0;
}

static void bse_unlock(bse_mutex *lock)
{
	mutex_unlock(lock);
}

#define bse_sink_call(lock, take, ctx, piece, n) (take)(ctx, piece, n)

struct bse_scratch {
	struct bpf_bprintf_buffers *buffers;
};

/* NULL where calls are nested more deeply than the kernel has buffers. */
static inline char *bse_scratch_get(struct bse_scratch *scratch)
{
	if (!bpf_try_get_buffers(&scratch->buffers))
		return scratch->buffers->buf;
	scratch->buffers = NULL;
	bse_denied();
	return NULL;
}

static inline void bse_scratch_put(struct bse_scratch *scratch)
{
	if (scratch->buffers)
		bpf_put_buffers();
}

/* The buffer has room for the NUL, too. */
BSE_PRINTF(3, 0) static inline int bse_vsnprintf(char *buf, size_t size, const char *fmt,
						 va_list ap)
{
	BUILD_BUG_ON(BPF_STREAM_PRINT_MAX >= MAX_BPRINTF_BUF);
	return vsnprintf(buf, size + 1, fmt, ap);
}

/* For all streams together: the kernel's struct has no room. */
static inline void bse_note_refusal(struct bpf_stream *s, enum bpf_stream_refusal why,
				    u64 messages, u64 bytes)
{
	bse_figure *to = raw_cpu_ptr(&bse_stores)->refused[why];

	bse_figure_add(&to[0], messages);
	bse_figure_add(&to[1], bytes);
}

static inline void bse_note_delivered(struct bpf_stream *s, u64 messages, u64 bytes)
{
}

static inline void bse_note_lost(struct bpf_stream *s, u64 bytes)
{
}

static void bse_get_counts(const struct bpf_stream *s, struct bpf_stream_stats *stats)
{
	unsigned int why;
	int cpu;

	memset(stats->refused, 0, sizeof(stats->refused));
	memset(&stats->delivered, 0, sizeof(stats->delivered));
	stats->lost = 0;
	stats->capacity = BPF_STREAM_DEFAULT_CAPACITY;
	for_each_possible_cpu(cpu) {
		for (why = 0; why < BPF_STREAM_REFUSALS; why++) {
			const bse_figure *from = per_cpu_ptr(&bse_stores, cpu)->refused[why];

			stats->refused[why].messages += bse_figure_get(&from[0]);
			stats->refused[why].bytes += bse_figure_get(&from[1]);
		}
	}
}

/* What the drop-in holds, and could not have. */
struct bse_figures {
	u32 live_pages;
	u32 kept_pages;		/* of these, what CPUs are filling */
	u32 spare_pages;
	u64 denied;		/* also for stages, which no stream has refused */
};

/* Linear in the CPUs, like get_counts. */
static void bse_get_figures(struct bse_figures *figures)
{
	int cpu;
	u32 i;

	*figures = (struct bse_figures){ .live_pages = (u32)atomic_read(&bse_live_pages) };
	for_each_possible_cpu(cpu) {
		const struct bse_store *store = per_cpu_ptr(&bse_stores, cpu);
		const struct bse_line *line = per_cpu_ptr(&bse_self, cpu);

		figures->denied += bse_figure_get(&store->denied);
		for (i = 0; i < ARRAY_SIZE(store->spare); i++)
			figures->spare_pages += READ_ONCE(store->spare[i]) ? 1 : 0;
		for (i = 0; i < BSE_SLOTS; i++) {
			/* Maybe of another CPU: one word, not followed. */
			figures->kept_pages += data_race(line->slot[i].space.page) ? 1 : 0;
		}
	}
}

#endif /* BPF_STREAM_BODIES */
