/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bpf_stream.h - message streams that can be written from every context
 *
 * Threads and signal handlers push messages. One reader at a time takes them
 * out, in the order in which they were pushed: as bytes, or as records with
 * level, time and losses. A push takes no lock, never blocks and never calls
 * malloc. Memory has a hard bound. A message that a stream refuses is counted.
 *
 * Use: include this file wherever streams are used. In exactly one C file,
 * before any other include:
 *
 *	#define BPF_STREAM_IMPLEMENTATION
 *	#include "bpf_stream.h"
 *
 * Contents; search for the number with its brackets:
 *
 *   [1]  CONTRACT - who may call what, from where, beside what
 *   [2]  CONFIGURATION - the knobs, all set before inclusion
 *   [3]  ENVIRONMENT - compiler, types of shared words, atomics
 *   [4]  TYPES - streams, stages, statistics
 *   [5]  API - every public function, with its promises
 *   [6]  ENVIRONMENT BODIES - threads, CPUs, pool, log, lock, sleep
 *   [7]  PROOF - invariants and ordering pairs
 *   [8]  LIST - chains of elements, reversal
 *   [9]  PAGE - reserving in pages, retiring and returning them
 *   [10] ELEMENT - elements and messages
 *   [11] CAPACITY - fit and refusals
 *   [12] FORMAT - the formatter
 *   [13] STREAM - push and print
 *   [14] STAGE - groups
 *   [15] READER - drain and read
 *   [16] RECORDS - messages one by one, with level, time and losses
 *   [17] WAIT - sleeping, waking and closing
 *   [18] LIFECYCLE - streams, threads, processes, modules
 *   [19] PROGRAM - the two streams of a program
 */

#ifndef BPF_STREAM_H
#define BPF_STREAM_H

/* ==== [1] CONTRACT ===================================================== */
/*
 * Terms:
 *
 * - A *message* is what one push or print stores. A *group* is what a stage
 *   collects; it is committed as a whole. A reader gets bytes: the texts of the
 *   messages in push order, with nothing between them. Or it gets *records*:
 *   each text by itself, with what is known of it.
 * - *Any context* is a thread, or a signal handler, whatever it interrupted:
 *   malloc and this library included.
 * - *Pending* bytes are stored and not yet read; the capacity bounds them.
 * - *Refused* means that a call returned an error and stored nothing. The
 *   stream counts it. A message is lost only if its writer then gives up.
 *
 * What may run beside what, on the same object:
 *
 *                    push  stage  drain  try_  get_   init/
 *                    print commit read   drain stats  destroy
 *   push, print       yes   yes   yes    yes   yes    NO
 *   stage_commit      yes   yes   yes    yes   yes    NO
 *   log, close, wait  yes   yes   yes    yes   yes    NO
 *   drain, read       yes   yes   waits  busy  yes    NO
 *   try_drain/_read   yes   yes   busy   busy  yes    NO
 *   get_stats         yes   yes   yes    yes   yes    NO
 *   init, destroy     NO    NO    NO     NO    NO     NO
 *
 *   waits: one after the other.  busy: the try variant returns -EBUSY.
 *   A stage has one user at a time; a handler beside it is a second one.
 *   pool_use, pool_trim, pool_get_stats and thread_release run beside all.
 *
 * From where:
 *
 *   any context:      push, printf, vprintf, bprintf, log, stage_*, close,
 *                     try_drain, try_read, get_stats, set_level, enabled,
 *                     clock_*, pool_get_stats, pool_trim
 *   threads only:     drain, read, drain_fd, drain_records, read_record, wait,
 *                     push_wait, poll_fd, init, destroy, pool_use,
 *                     thread_release
 *   inside a sink:    any push, also to the stream that is being drained.
 *                     Draining that gives -EDEADLK. Draining another stream,
 *                     if no sink of that one drains this one, or by the try
 *                     variants: else two could wait for each other for ever.
 *                     A sink returns: no longjmp(), exception, exit or fork.
 *
 * Order: the messages of one thread, with those of handlers that interrupt it,
 * come out in the order in which their publishing began. A push that returned
 * before another one began comes out first. A group is contiguous.
 *
 * siglongjmp() out of a handler that interrupted a push, or cancellation in the
 * middle of one, loses that message. It can also lose the message's pages, a
 * page that was being taken or left, and in the first push of a process the
 * pool that was being mapped. The thread has one nesting level less, as said at
 * BPF_STREAM_LEVELS, until it ends or calls bpf_stream_thread_release(). A
 * stage whose call was cut off may only be initialised again. Not allowed:
 * siglongjmp() out of a sink, out of a handler that interrupted a drain, a
 * read, destroy, pool_use, trim or release, or out of one for a fault inside a
 * push.
 *
 * A thread keeps the pages that it fills, and leaves them to others at its end.
 * If 32 pthread keys exist when this library is loaded, or in destructors that
 * run after its own, it keeps none, and each push costs two compare-exchanges
 * more. If it first pushes in the last round of destructors, it loses its page.
 *
 * Libraries: the symbols are hidden, so each program and shared library has its
 * own copy and pool. A stream or stage is used only by the copy that made it.
 * BPF_STREAM_EXPORT is for one library of a process: the loader would mix two.
 *
 * dlopen() needs initial-exec TLS, which glibc has and musl has not. dlclose()
 * is allowed when no call is under way, no fork, and no thread that pushed is
 * ending. The pool stays mapped: trim it first. A library linked with
 * -z nodelete just stays loaded.
 *
 * fork(): with a private pool, parent and child go on, each with its copy of
 * what was pending. Drain before the fork, or destroy in the child, if that
 * must come out once. What the parent's other threads held is lost to the
 * child: the pages that they kept, and, if one of them was reading a stream,
 * what had been detached from it. The next reader in the child sees that this
 * thread is gone and goes on behind it; the bytes are counted as lost, and
 * other figures may lack them. If that thread was in its sink, nothing is lost,
 * and the sink's bytes come again. With a region marked BPF_STREAM_POOL_SHARED,
 * what stores or reads in the child gives -EPERM, until bpf_stream_pool_use()
 * gives it a region of its own; then streams and stages must be initialised
 * again. Before fork() returns in the child, no other thread may use a stream
 * there, and with a shared region nothing may push: block signals around the
 * fork, if handlers push. Not supported: fork() in a handler or a sink; streams
 * in a child made without the C library's fork(), as by vfork() or clone().
 *
 * Kernels: what is said of a thread holds for a CPU. Any context is a task, or
 * a soft, hard or non-maskable interrupt, with PREEMPT_RT too. A push disables
 * preemption while it reserves memory, and never interrupts. "Threads" are
 * tasks that may sleep; they alone read, make and destroy streams, and call
 * [5f]. Nothing runs beside pool_start, and no call may begin beside pool_stop.
 */

/* ==== [2] CONFIGURATION ================================================ */
/*
 * For each file that includes this one:
 *
 * BPF_STREAM_IMPLEMENTATION	this file gets the bodies, once in a program
 * BPF_STREAM_STATIC		this file gets a private copy of everything
 * BPF_STREAM_EXPORT		visible symbols; in users' files, too; see [1]
 * BPF_STREAM_PROG		also the program layer, see [19]
 * BPF_STREAM_ENVIRONMENT	in kernels: "file" with types, memory, log, ...
 *				as kernel/dropin/bpf_stream_dropin.h has them
 *
 * For the file that has the bodies, which has the defaults, see [6]:
 *
 * BPF_STREAM_DEFAULT_CAPACITY	bytes in a stream that asks for none: 4 MiB
 * BPF_STREAM_POOL_BYTES	bytes that the pool reserves by itself: 64 MiB
 * BPF_STREAM_PAGE_SIZE		bytes in a page of the pool: a power of two from
 *				1024 to 65536; 4096
 * BPF_STREAM_LEVELS		how many pushes, nested by handlers, may each
 *				keep a page: 1 to 8; 4
 * BPF_STREAM_ENV_HEADER	"file" with macros for words of [6a]; for tests
 */
#define BPF_STREAM_VERSION_MAJOR 0
#define BPF_STREAM_VERSION_MINOR 1
#define BPF_STREAM_VERSION_PATCH 0
#define BPF_STREAM_VERSION "0.1.0"

/* Not knobs: longest printed text, largest capacity, and groups of streams. */
#define BPF_STREAM_PRINT_MAX 1023u		/* bytes */
#define BPF_STREAM_CAPACITY_LIMIT 0x1fffffffu	/* bytes */
#define BPF_STREAM_GROUPS 4u			/* see struct bpf_stream_options */

/* The most reports that a program makes; see bpf_prog_stream_error_limit(). */
#define BPF_STREAM_MAX_REPORTS 512u

/* Flag of bpf_stream_pool_use(): the region is shared with other processes. */
#define BPF_STREAM_POOL_SHARED 1u

/* ==== [3] ENVIRONMENT ================================================== */

/*
 * What the rest asks about its environment, each defined or not:
 *
 *   BSE_STANDALONE	types, pool and formatter are those of this file
 *   BSE_HAS_THREADS	it is userspace: threads come and go, processes fork
 *   BSE_USER		the mark of pointers to a user's memory, which may fault
 *   BSE_GATHER		bytes of several messages that a sink is offered at once
 *   BSE_PIECES		parts of a text that a file is offered at once
 */
#ifndef __KERNEL__

/* ---- [3a] USERSPACE -------------------------------------------------- */

#if !defined(__GNUC__) || (defined(__cplusplus) ? __cplusplus < 201103L : \
	!defined(__STDC_VERSION__) || __STDC_VERSION__ < 199901L)
#error "bpf_stream.h: needs GCC or Clang, and C99 or C++11: -std=c99 or newer"
#include "no more than this error"	/* it is not there: compilers stop */
#endif

/* For names that strict ISO mode hides; [6] checks that it came in time. */
#if (defined(BPF_STREAM_IMPLEMENTATION) || defined(BPF_STREAM_STATIC)) && !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE 1
#endif

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BSE_STANDALONE
#define BSE_HAS_THREADS
#define BSE_GATHER 2048u
#define BSE_PIECES 64u
#define bse_piece iovec

/* The builtins, because checking variants may be bound late, see [18]. */
#define bse_copy(to, from, n) __builtin_memcpy(to, from, n)
#define bse_fill(to, c, n) __builtin_memset(to, c, n)

typedef uint32_t bse_v32;
typedef uint64_t bse_v64 __attribute__((__aligned__(8)));
#define BSE_U32(v) ((bse_u32){ v })	/* where nobody else looks */

#ifdef __cplusplus
#define BSE_DECLS_BEGIN extern "C" {
#define BSE_DECLS_END }
#define BSE_CAST(type, value) static_cast<type>(value)
#else
#define BSE_DECLS_BEGIN
#define BSE_DECLS_END
#define BSE_CAST(type, value) ((type)(value))
#endif

#ifdef BPF_STREAM_STATIC
#define BSE_API static __attribute__((__unused__))
#define BSE_API_IS_STATIC
#elif defined(BPF_STREAM_EXPORT)
#define BSE_API extern __attribute__((__visibility__("default")))
#else
#define BSE_API extern __attribute__((__visibility__("hidden")))
#endif
#define BSE_API_STAGE BSE_API

/* Errors that the inline functions of [19] return; <errno.h> is for [6]. */
#define BSE_ENOENT 2
#define BSE_EINVAL 22
#define BSE_PRINTF(fmt, args) __attribute__((__format__(__printf__, fmt, args)))
#define BSE_INLINE inline __attribute__((__always_inline__))
#define BSE_NOINLINE __attribute__((__noinline__))
#define BSE_CONSTRUCTOR __attribute__((__constructor__))
#define BSE_DESTRUCTOR __attribute__((__destructor__))
#define BSE_BARRIER() __atomic_signal_fence(__ATOMIC_SEQ_CST)	/* the compiler's */
#define BSE_HIDE(v) __asm__("" : "+r"(v))	/* what the compiler knows of a value */
#else /* __KERNEL__ */

/* ---- [3b] KERNEL ----------------------------------------------------- */

#include <linux/atomic.h>
#include <linux/bpf.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/mutex.h>
#include <linux/stdarg.h>
#include <linux/stddef.h>
#include <linux/types.h>

#ifndef CONFIG_64BIT
#error "bpf_stream.h: in kernels it needs 64 bits"
#endif
#ifdef BPF_STREAM_PROG
#error "bpf_stream.h: BPF_STREAM_PROG is for userspace; kernels have kernel/dropin/stream.c"
#endif

#define BSE_USER __user
#define BSE_CAST(type, value) ((type)(value))
#define BSE_GATHER 512u
#define BSE_PIECES 16u
#define bse_piece kvec
#define bse_copy(to, from, n) memcpy(to, from, n)
#define bse_fill(to, c, n) memset(to, c, n)
#define BSE_DECLS_BEGIN
#define BSE_DECLS_END
#define BSE_PRINTF(fmt, args) __printf(fmt, args)
#define BSE_INLINE __always_inline
#define BSE_NOINLINE noinline
#define BSE_BARRIER() barrier()
#define BSE_HIDE(v) OPTIMIZER_HIDE_VAR(v)

#ifdef BPF_STREAM_STATIC
#define BSE_API static __maybe_unused
#define BSE_API_IS_STATIC
#else
#define BSE_API
#endif

typedef atomic_t bse_v32;
typedef atomic64_t bse_v64;
#define BSE_U32(v) ((bse_u32){ ATOMIC_INIT(v) })

#ifdef BPF_STREAM_ENVIRONMENT
#include BPF_STREAM_ENVIRONMENT
#else /* !BPF_STREAM_ENVIRONMENT: a module */
#include <linux/irq_work.h>
#include <linux/poll.h>
#include <linux/wait.h>

#define BSE_STANDALONE
#define BSE_API_STAGE BSE_API

/* Kernels from 6.17 on declare streams, too: such names keep ours apart. */
#undef bpf_stream_stage
#undef bpf_stream_printk
#undef bpf_stream_dump_stack
#define bpf_stream		bpf_stream_own
#define bpf_stream_elem		bpf_stream_own_elem
#define bpf_stream_stage	bpf_stream_own_stage
#define bpf_stream_id		bpf_stream_own_id
#define BPF_STDOUT		BPF_STREAM_OWN_STDOUT
#define BPF_STDERR		BPF_STREAM_OWN_STDERR
#define bpf_stream_stage_init	bpf_stream_own_stage_init
#define bpf_stream_stage_free	bpf_stream_own_stage_free
#define bpf_stream_stage_printk	bpf_stream_own_stage_printk

/* The formatter's %jd. */
typedef __INTMAX_TYPE__ intmax_t;
typedef __UINTMAX_TYPE__ uintmax_t;

typedef __poll_t bse_poll_mask;
#endif /* !BPF_STREAM_ENVIRONMENT */
#endif /* __KERNEL__ */

#define BSE_LIKELY(x) __builtin_expect(!!(x), 1)	/* what is true nearly always */

/* ---- [3c] TYPES OF SHARED WORDS -------------------------------------- */
/*
 * One-member structs: an access by anything but a word does not compile.
 *
 *   bse_u32, bse_u64, bse_ptr	order something, or race
 *   bse_figure			a number for people; any thread may change it
 *   bse_own			of one thread, and of handlers that interrupt it
 */
typedef struct { bse_v32 bse_v; } bse_u32;
typedef struct { bse_v64 bse_v; } bse_u64;
typedef struct { void *bse_v; } bse_ptr;
typedef struct { bse_v64 bse_v; } bse_figure;
typedef struct { bse_v32 bse_v; } bse_own;

#ifdef BSE_STANDALONE
/* An element's place in the pool, in 8 bytes from its base; 0: none. */
typedef uint32_t bse_link;

/* A page's index in the pool; 0: none. */
typedef uint32_t bse_page;

/* A stream's log: newest element, three flags, pending bytes; see [6d]. */
typedef bse_u64 bse_log;

/* Where a reader of records is: as in struct bpf_stream_record. */
struct bse_place {
	uint64_t told;		/* refusals that records have told */
	uint64_t time;		/* of this message or group */
	uint32_t tid;
	uint32_t offset;	/* bytes of the message that were taken as parts */
};

/* The reader's lock; see [6e]. */
#ifdef __KERNEL__
typedef struct {
	struct mutex mutex;
	bse_ptr owner;
} bse_mutex;
typedef struct {
	wait_queue_head_t queue;
	struct irq_work work;
} bse_doorbell;
#else
typedef char bse_doorbell[56];	/* none; an aligned array's next is in another line */
typedef struct {
	bse_u32 word;
	bse_u32 in_sink;	/* 1: the holder is in its sink */
	int cancel;		/* the holder's cancellation state before; lock held */
} bse_mutex;
#endif
#endif /* BSE_STANDALONE */

/* ---- [3d] ATOMICS ---------------------------------------------------- */
/*
 * A word promises the order in its name, and no more. All but load and store
 * return the value before. A cas tells whether *p was *old and is v now; if
 * not, *old is what was found, and nothing is ordered. A row of the table is a
 * type, an operation, its order, and what it is in userspace and in kernels.
 */
#ifndef __KERNEL__
#if __GCC_ATOMIC_LLONG_LOCK_FREE != 2 && !defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_8)
#error "bpf_stream.h: needs a lock-free 64-bit compare-exchange (32-bit x86: -march=i586)"
#endif

#define BSE_DO_LOAD(p, ORDER, in_kernel) __atomic_load_n(p, __ATOMIC_##ORDER)
#define BSE_DO_STORE(p, v, ORDER, in_kernel) __atomic_store_n(p, v, __ATOMIC_##ORDER)
#define BSE_DO_RMW(p, v, builtin, ORDER, in_kernel) __atomic_##builtin(p, v, __ATOMIC_##ORDER)
#define BSE_DO_CAS(p, old, v, ORDER, in_kernel, signed_type) \
	__atomic_compare_exchange_n(p, old, v, false, __ATOMIC_##ORDER, __ATOMIC_RELAXED)
#else /* __KERNEL__ */
/* atomic_t and atomic64_t have signed values. */
#define BSE_DO_LOAD(p, ORDER, in_kernel) in_kernel(p)
#define BSE_DO_STORE(p, v, ORDER, in_kernel) in_kernel(p, v)
#define BSE_DO_RMW(p, v, builtin, ORDER, in_kernel) in_kernel(v, p)
#define BSE_DO_CAS(p, old, v, ORDER, in_kernel, signed_type) in_kernel(p, (signed_type *)old, v)
#define BSE_XCHG(v, p) atomic_xchg_release(p, v)
#define BSE_READ(p) READ_ONCE(*(p))
#define BSE_WRITE(p, v) WRITE_ONCE(*(p), v)
#endif /* __KERNEL__ */

#define BSE_LOAD(kind, type, name, ORDER, in_kernel)					\
static inline type bse_##kind##_##name(const bse_##kind *p)				\
{ return BSE_CAST(type, BSE_DO_LOAD(&p->bse_v, ORDER, in_kernel)); }
#define BSE_STORE(kind, type, name, ORDER, in_kernel)					\
static inline void bse_##kind##_##name(bse_##kind *p, type v)				\
{ BSE_DO_STORE(&p->bse_v, v, ORDER, in_kernel); }
#define BSE_RMW(kind, type, name, builtin, ORDER, in_kernel)				\
static inline type bse_##kind##_##name(bse_##kind *p, type v)				\
{ return BSE_CAST(type, BSE_DO_RMW(&p->bse_v, v, builtin, ORDER, in_kernel)); }
#define BSE_CAS(kind, type, name, ORDER, in_kernel, signed_type)			\
static inline bool bse_##kind##_##name(bse_##kind *p, type *old, type v)		\
{ return BSE_DO_CAS(&p->bse_v, old, v, ORDER, in_kernel, signed_type); }

BSE_LOAD(u32, uint32_t, load_relaxed, RELAXED, atomic_read)
BSE_LOAD(u32, uint32_t, load_acquire, ACQUIRE, atomic_read_acquire)
BSE_STORE(u32, uint32_t, store_relaxed, RELAXED, atomic_set)
BSE_RMW(u32, uint32_t, fetch_add_acq_rel, fetch_add, ACQ_REL, atomic_fetch_add)
BSE_RMW(u32, uint32_t, fetch_sub_acq_rel, fetch_sub, ACQ_REL, atomic_fetch_sub)
BSE_STORE(u32, uint32_t, store_release, RELEASE, atomic_set_release)
BSE_RMW(u32, uint32_t, fetch_or_acq_rel, fetch_or, ACQ_REL, atomic_fetch_or)
BSE_RMW(u32, uint32_t, xchg_release, exchange_n, RELEASE, BSE_XCHG)
BSE_CAS(u32, uint32_t, cas_relaxed, RELAXED, atomic_try_cmpxchg_relaxed, int)
BSE_CAS(u32, uint32_t, cas_acquire, ACQUIRE, atomic_try_cmpxchg_acquire, int)
BSE_CAS(u32, uint32_t, cas_acq_rel, ACQ_REL, atomic_try_cmpxchg, int)
BSE_LOAD(u64, uint64_t, load_relaxed, RELAXED, atomic64_read)
BSE_LOAD(u64, uint64_t, load_acquire, ACQUIRE, atomic64_read_acquire)
BSE_RMW(u64, uint64_t, fetch_add_release, fetch_add, RELEASE, atomic64_fetch_add_release)
BSE_RMW(u64, uint64_t, fetch_sub_relaxed, fetch_sub, RELAXED, atomic64_fetch_sub_relaxed)
BSE_RMW(u64, uint64_t, fetch_and_acquire, fetch_and, ACQUIRE, atomic64_fetch_and_acquire)
BSE_RMW(u64, uint64_t, fetch_or_acq_rel, fetch_or, ACQ_REL, atomic64_fetch_or)
BSE_CAS(u64, uint64_t, cas_acquire, ACQUIRE, atomic64_try_cmpxchg_acquire, s64)
BSE_CAS(u64, uint64_t, cas_release, RELEASE, atomic64_try_cmpxchg_release, s64)
BSE_CAS(u64, uint64_t, cas_acq_rel, ACQ_REL, atomic64_try_cmpxchg, s64)
BSE_LOAD(ptr, void *, load_relaxed, RELAXED, BSE_READ)
BSE_LOAD(ptr, void *, load_acquire, ACQUIRE, smp_load_acquire)
BSE_STORE(ptr, void *, store_relaxed, RELAXED, BSE_WRITE)
BSE_CAS(ptr, void *, cas_release, RELEASE, try_cmpxchg_release, void *)

/* Figures are for people, and a thread's own words are in order for itself. */
BSE_LOAD(figure, uint64_t, get, RELAXED, atomic64_read)
BSE_STORE(figure, uint64_t, set, RELAXED, atomic64_set)
BSE_RMW(figure, uint64_t, add, fetch_add, RELAXED, atomic64_fetch_add_relaxed)
BSE_LOAD(own, uint32_t, get, RELAXED, atomic_read)
BSE_STORE(own, uint32_t, set, RELAXED, atomic_set)

/* ==== [4] TYPES ======================================================== */

#ifdef BSE_STANDALONE
/* The two streams of a program; see [19]. */
enum bpf_stream_id { BPF_STDOUT = 1, BPF_STDERR = 2 };
#endif

/* Why a message was refused; the error that goes with it. */
enum bpf_stream_refusal {
	BPF_STREAM_REFUSED_FULL,	/* -ENOSPC: the stream's capacity is used up */
	BPF_STREAM_REFUSED_POOL,	/* -ENOMEM: no page, no pool, or no buffer to format in */
	BPF_STREAM_REFUSED_SIZE,	/* -E2BIG: can never fit, or printed text too long */
	BPF_STREAM_REFUSED_INVALID,	/* -EINVAL and others: format, arguments or length */
	BPF_STREAM_REFUSED_FOREIGN,	/* -EPERM: child of a process with a shared pool */
	BPF_STREAM_REFUSED_CLOSED,	/* -EPIPE: bpf_stream_close() was called */
	BPF_STREAM_REFUSALS		/* how many reasons there are */
};

/* How much a message matters: the numbers of syslog(3), which has LOG_ERR. */
enum bpf_stream_level {
	BPF_STREAM_EMERG,
	BPF_STREAM_ALERT,
	BPF_STREAM_CRIT,
	BPF_STREAM_ERR,
	BPF_STREAM_WARNING,
	BPF_STREAM_NOTICE,
	BPF_STREAM_INFO,		/* what is pushed or printed without a level */
	BPF_STREAM_DEBUG
};

/* A tag, 0 to 255, beside a level: BPF_STREAM_TAG(3) | LOG_ERR. */
#define BPF_STREAM_TAG(tag) ((tag) << 3)

/**
 * struct bpf_stream_options - what a stream is made of
 * @capacity: the most bytes that may be pending, at most
 *            BPF_STREAM_CAPACITY_LIMIT; 0: the default
 * @group:    1 to BPF_STREAM_GROUPS; 0: one that its address gives, another one
 *            for each of two neighbours. While pages are free, groups share
 *            none, so a stream that is not read keeps back no page of another
 *            group. Stages, and handlers inside a push, have pages for all
 * @clock:    asked when a message is stored: its time is then in its record,
 *            beside the thread that stored it. It must be fit for any context
 *            that pushes; bpf_stream_clock_monotonic() is. NULL: none of both
 */
struct bpf_stream_options {
	size_t capacity;
	unsigned int group;
	uint64_t (*clock)(void);
};

/* A number of messages, and of bytes in them. */
struct bpf_stream_count {
	uint64_t messages;
	uint64_t bytes;
};

/**
 * struct bpf_stream_stats - a stream in figures
 * @capacity:  the most bytes that may be pending
 * @pending:   bytes stored and not yet taken by a reader
 * @lost:      bytes that a reader in the parent of fork() was taking out, and
 *             may have handed on, and that the child cannot have; see [1]
 * @delivered: what readers took; a message counts when its last byte is taken
 * @refused:   what was refused, by enum bpf_stream_refusal; what is not valid
 *             counts with 0 bytes
 */
struct bpf_stream_stats {
	size_t capacity;
	size_t pending;
	uint64_t lost;
	struct bpf_stream_count delivered;
	struct bpf_stream_count refused[BPF_STREAM_REFUSALS];
};

#ifdef BSE_STANDALONE
/**
 * struct bpf_stream_pool_stats - the process's pool in figures
 * @page_size: bytes in a page; 0, as all here, while there is no pool
 * @total:     pages that can hold messages
 * @in_use:    pages that hold messages, or that a thread keeps for its next;
 *             added up page by page, so off by what moves meanwhile
 * @partial:   of these, pages that no thread keeps, and that have room left
 * @highest:   the most pages that were ever in use, or a few more
 * @denied:    how often a page was asked for and none was left
 */
struct bpf_stream_pool_stats {
	size_t page_size;
	size_t total;
	size_t in_use;
	size_t partial;
	size_t highest;
	uint64_t denied;
};

/**
 * struct bpf_stream_record - a message or a part of it, and what is known of it
 * @data:   its bytes, valid during the call
 * @len:    how many
 * @offset: where they begin in the message
 * @total:  bytes of the message; 0: there is none, only @lost is told
 * @seq:    messages that came before, delivered or lost
 * @lost:   messages that the stream refused before this one, and after the one
 *          before it; in the first part only
 * @time:   when it was stored, by the stream's clock; of a group, when it was
 *          committed. 0: no clock, or its beginning was taken as bytes
 * @tid:    thread that stored it, as gettid(); in kernels the task's id, or
 *          0x80000000 + CPU in an interrupt. 0 if @time is
 * @level:  enum bpf_stream_level
 * @tag:    of BPF_STREAM_TAG()
 * @more:   the next record's message is of the same group
 *
 * After a read of bytes that ended in a message, its rest is a record.
 */
struct bpf_stream_record {
	const void *data;
	size_t len;
	size_t offset;
	size_t total;
	uint64_t seq;
	uint64_t lost;
	uint64_t time;
	uint32_t tid;
	uint8_t level;
	uint8_t tag;
	bool more;
};

/**
 * struct bpf_stream - a stream; its members are private
 *
 * In userspace one that is all zero is a stream with the default options, and
 * BPF_STREAM_INIT() gives others: both can be used before main().
 *
 * Writers use the first part, the reader the second, in other cache lines.
 */
struct bpf_stream {
	bse_log log;				/* newest element, flags, pending bytes */
	bse_u32 gate;				/* the capacity; 0 or less: look closer */
	bse_u32 group;				/* as the options say: 0 to BPF_STREAM_GROUPS - 1 */
	bse_u32 muted;				/* levels, from the last one on */
	bse_u32 readers;			/* sleeping readers; see [6b] */
	bse_u32 writers;			/* sleeping writers */
	bse_u64 event;				/* eventfd + 1; above it, its process */
	bse_u64 refusals;			/* messages; only grows */
	struct bpf_stream_options options;	/* frozen */
	bse_figure refused[BPF_STREAM_REFUSALS][2];	/* messages, bytes */
	char apart0[192 - 48 - 16 * BPF_STREAM_REFUSALS - sizeof(struct bpf_stream_options)];

	bse_mutex lock;				/* one reader at a time */
	bse_link backlog_head;			/* oldest detached element; lock held */
	uint32_t consumed;			/* bytes of it that were taken; lock held */
	bse_figure delivered_messages;		/* written with the lock held */
	bse_figure delivered_bytes;		/* as well */
	bse_figure lost;			/* as well */
	struct bse_place place;			/* of records; lock held */
	bse_doorbell bell;			/* in kernels: what wakes sleepers */
};

#ifdef BSE_HAS_THREADS
/* Defines a stream with options, one at least, as in (.capacity = 1 << 20). */
#define BPF_STREAM_INIT(...) { .options = { __VA_ARGS__ } }
#endif

/**
 * struct bpf_stream_stage - a group that is being put together; private
 *
 * All zero is an empty stage.
 */
struct bpf_stream_stage {
	bse_link log;				/* newest element */
	bse_link tail;				/* oldest element */
	uint32_t len;				/* bytes in all */
	uint32_t messages;
};
#endif /* BSE_STANDALONE */

/**
 * typedef bpf_stream_sink - takes bytes out of a stream for a drain
 * @ctx:  what the drain was given
 * @data: bytes, valid during the call
 * @len:  how many, at least 1
 *
 * A call may carry several messages, or a part of one.
 *
 * Return: how many bytes were taken, 0 to @len; fewer than @len ends the
 * drain, and the rest stays in the stream. Or a negative errno.
 */
typedef int bpf_stream_sink(void *ctx, const void *data, size_t len);

#ifdef BSE_STANDALONE
/**
 * typedef bpf_stream_record_fn - takes a record out of a stream
 * @ctx: what the drain was given
 * @r:   the record, valid during the call
 *
 * Return: 0: taken, go on; 1: taken, stop. Negative: not taken, stop; it stays.
 */
typedef int bpf_stream_record_fn(void *ctx, const struct bpf_stream_record *r);
#endif

/* ==== [5] API ========================================================== */
/*
 * All calls keep errno if their sinks do, call no malloc, keep no pointer but
 * pool_use's region, and order nothing beyond what is said. Where no context is
 * told they are for any; then they are lock-free: they retry only when another
 * call got something done. With -O2 a push takes at most 512 bytes of stack, a
 * print 2 KiB, a drain or read 4 KiB and what its sink takes.
 */
BSE_DECLS_BEGIN

/* ---- [5a] STREAMS ---------------------------------------------------- */

/**
 * bpf_stream_init() - make a stream
 * @s:    memory for it, of any content
 * @opts: what it is made of, or NULL for the defaults
 *
 * Context:   Threads. Nobody else may use @s meanwhile; hand it to other
 *            threads in the usual ways.
 * Ownership: @s is the library's until bpf_stream_destroy(), and must stay
 *            where it is.
 * Return:    0, or -EINVAL if the capacity is above BPF_STREAM_CAPACITY_LIMIT,
 *            or the group above BPF_STREAM_GROUPS. So do pushes to a stream
 *            that BPF_STREAM_INIT() gave such options.
 */
BSE_API int bpf_stream_init(struct bpf_stream *s, const struct bpf_stream_options *opts);

/**
 * bpf_stream_destroy() - drop what is pending, and give its memory back
 * @s: the stream; in userspace it is then an empty one with the same options
 *
 * Context:   Threads. No writer or reader of @s may be left.
 * Progress:  Linear in the number of pending messages.
 */
BSE_API void bpf_stream_destroy(struct bpf_stream *s);

/**
 * bpf_stream_push() - store one message
 * @s:    the stream
 * @data: the bytes; may be anything, NULs included
 * @len:  how many, up to the capacity; 0 stores nothing and succeeds
 *
 * Progress:  Lock-free. The first push of a process maps memory.
 * Ordering:  Release: who reads the message sees what the writer did before.
 * Return:    0; -ENOSPC if the capacity would be exceeded, -ENOMEM if the pool
 *            has no page left (both may succeed after a read) or cannot be
 *            mapped (see bpf_stream_pool_use()); -E2BIG if the message is
 *            larger than the capacity or the pool; -EINVAL if @len is above
 *            INT_MAX; -EPIPE if @s is closed; -EPERM in the child of a shared
 *            pool. On failure nothing is stored and the refusal is counted.
 */
BSE_API int bpf_stream_push(struct bpf_stream *s, const void *data, size_t len);

/**
 * bpf_stream_printf() - format one message and store it
 * @s:   the stream
 * @fmt: d i u o x X c s p %% with flags - + space # 0, width, precision, *
 *       and hh h l ll j z t; the text is that of the C library
 * @...: its arguments
 *
 * As bpf_stream_push(). Knows no locale.
 *
 * Return:    As bpf_stream_push(); -E2BIG also if the text is longer than
 *            BPF_STREAM_PRINT_MAX bytes; -EINVAL if @fmt holds anything else,
 *            such as %f, %e, %g, %a, %m, %n, %ls, %lc, %Lf, %1$d or %'d.
 */
BSE_API int bpf_stream_printf(struct bpf_stream *s, const char *fmt, ...) BSE_PRINTF(2, 3);

/**
 * bpf_stream_vprintf() - bpf_stream_printf() with a va_list
 *
 * As bpf_stream_printf(); @ap is undefined afterwards, as with vprintf().
 */
BSE_API int bpf_stream_vprintf(struct bpf_stream *s, const char *fmt, va_list ap) BSE_PRINTF(2, 0);

#ifdef BSE_STANDALONE
/**
 * bpf_stream_bprintf() - format one message from an array of arguments
 * @s:    the stream
 * @fmt:  d i u x X (with l, ll) c s p, px pK ps pS pB pi4 pI4 pi6 pI6 pks pus
 *        and %%, flags - + space 0 and width: the grammar of BPF programs
 * @args: one 64-bit word for each conversion; strings by address
 * @len:  the size of @args in bytes: a multiple of 8, at most 96
 *
 * As bpf_stream_printf(), but for what is returned.
 *
 * Return:    As bpf_stream_printf(); -EINVAL also if @len is not valid, @args
 *            is NULL with a @len, or arguments are missing; -ENOSPC also if one
 *            finds no room in the 512 bytes for all; strings are cut to these.
 */
BSE_API int bpf_stream_bprintf(struct bpf_stream *s, const char *fmt,
			       const uint64_t *args, uint32_t len);
#endif

/**
 * bpf_stream_drain() - take out what is pending, and hand it to a sink
 * @s:    the stream
 * @sink: takes the bytes; see bpf_stream_sink
 * @ctx:  handed on to @sink
 * @max:  the most bytes to take; SIZE_MAX: all
 *
 * Takes at most what was pending when it began, so that it ends even if
 * writers are faster than @sink.
 *
 * Context:   Threads. What @sink may do is said in [1].
 * Progress:  Blocking: waits for another reader, but never makes writers wait.
 *            Cancellation is off while it runs.
 * Ordering:  Acquire: the sink sees what the writers did before they pushed.
 * Ownership: What @sink took is gone; what it did not take stays.
 * Return:    Bytes taken; 0 if nothing is pending, @max is 0, or @sink took 0.
 *            If nothing was taken: -ESHUTDOWN if @s is closed and nothing is
 *            pending, the error of @sink (-EINVAL if it claims
 *            more than it was given), -EDEADLK if this thread is reading it
 *            already (from a sink or handler), -EPERM in the child of a shared
 *            pool, or if the system refuses gettid().
 */
BSE_API int bpf_stream_drain(struct bpf_stream *s, bpf_stream_sink *sink, void *ctx, size_t max);

/**
 * bpf_stream_try_drain() - bpf_stream_drain() that does not wait
 *
 * As bpf_stream_drain(), but -EBUSY beside another reader; linear in pending.
 *
 * Context:   Any, if @sink may be called there.
 */
BSE_API int bpf_stream_try_drain(struct bpf_stream *s, bpf_stream_sink *sink, void *ctx,
				 size_t max);

/**
 * bpf_stream_read() - take out bytes into memory
 * @s:   the stream
 * @buf: where to
 * @len: the most bytes to take; with 0, @buf may be NULL
 *
 * As bpf_stream_drain(), with @buf as the sink. While that has room, it also
 * takes what was pushed meanwhile.
 *
 * Context:   Threads.
 * Return:    Bytes copied, 0 if nothing is pending or @len is 0; -EINVAL if
 *            @len is above INT_MAX; -ESHUTDOWN, -EDEADLK and -EPERM as
 *            bpf_stream_drain().
 */
BSE_API int bpf_stream_read(struct bpf_stream *s, void *buf, size_t len);

/**
 * bpf_stream_try_read() - bpf_stream_read() that does not wait
 *
 * As bpf_stream_read(), but -EBUSY beside another reader; linear in pending.
 *
 * Context:   Any.
 */
BSE_API int bpf_stream_try_read(struct bpf_stream *s, void *buf, size_t len);

#ifdef BSE_HAS_THREADS
/**
 * bpf_stream_drain_fd() - take out bytes into a file descriptor
 * @s:   the stream
 * @fd:  where to, with writev()
 * @max: the most bytes to take; SIZE_MAX: all
 *
 * As bpf_stream_drain(), with the descriptor as the sink. Messages are not kept
 * apart: a datagram may carry several, or a part of one.
 *
 * Context:   Threads. Blocks as the descriptor does; SIGPIPE as with write().
 *            Writers go on meanwhile.
 * Return:    Bytes written; if none, the error of writev() (-EAGAIN and -EINTR
 *            among them), or as bpf_stream_drain().
 */
BSE_API int bpf_stream_drain_fd(struct bpf_stream *s, int fd, size_t max);
#endif

/**
 * bpf_stream_get_stats() - a stream in figures
 * @s:     the stream
 * @stats: filled in
 *
 * Progress:  Wait-free.
 * Ordering:  None: each figure is right by itself, at some moment of the call.
 */
BSE_API void bpf_stream_get_stats(const struct bpf_stream *s, struct bpf_stream_stats *stats);

/* ---- [5b] RECORDS AND LEVELS ----------------------------------------- */

#ifdef BSE_STANDALONE
/**
 * bpf_stream_drain_records() - take out messages one by one, with what is known
 * @s:   the stream
 * @fn:  takes them; see bpf_stream_record_fn
 * @ctx: handed on to @fn
 * @max: the most calls of @fn
 *
 * As bpf_stream_drain(), with @fn as the sink, in its own memory: no text is
 * copied. A message that does not fit a page comes in parts. What was refused
 * is told by the record that came next, once; by one with a @total of 0 if the
 * stream was emptied and none came.
 *
 * Return:    Records taken; if none, 0, a negative answer of @fn, or as
 *            bpf_stream_drain().
 */
BSE_API int bpf_stream_drain_records(struct bpf_stream *s, bpf_stream_record_fn *fn, void *ctx,
				     size_t max);

/**
 * bpf_stream_read_record() - take out one message into memory
 * @s:    the stream
 * @r:    filled in; its data points to @buf
 * @buf:  where to
 * @size: its size
 *
 * As bpf_stream_drain_records(), but in one part.
 *
 * Return:    1; 0 if nothing is pending; -EMSGSIZE if @size is too small: the
 *            message stays, and @r tells all else; or as bpf_stream_drain().
 */
BSE_API int bpf_stream_read_record(struct bpf_stream *s, struct bpf_stream_record *r, void *buf,
				   size_t size);

/**
 * bpf_stream_log() - format one message with a level, and store it
 * @s:   the stream
 * @pri: enum bpf_stream_level or its like of <syslog.h>, with BPF_STREAM_TAG()
 * @fmt: as bpf_stream_printf()
 * @...: its arguments
 *
 * As bpf_stream_printf(). What bpf_stream_set_level() mutes is not formatted,
 * not stored and not counted: that is a success.
 *
 * Return:    As bpf_stream_printf(); -EINVAL also for what is no @pri.
 */
BSE_API int bpf_stream_log(struct bpf_stream *s, int pri, const char *fmt, ...) BSE_PRINTF(3, 4);

/**
 * bpf_stream_vlog() - bpf_stream_log() with a va_list
 *
 * As bpf_stream_log(); @ap as with bpf_stream_vprintf().
 */
BSE_API int bpf_stream_vlog(struct bpf_stream *s, int pri, const char *fmt, va_list ap)
	BSE_PRINTF(3, 0);

/**
 * bpf_stream_push_pri() - bpf_stream_push() with a level
 *
 * As bpf_stream_push(), with @pri as bpf_stream_log().
 */
BSE_API int bpf_stream_push_pri(struct bpf_stream *s, int pri, const void *data, size_t len);

/**
 * bpf_stream_bprintf_pri() - bpf_stream_bprintf() with a level
 *
 * As bpf_stream_bprintf(), with @pri as bpf_stream_log().
 */
BSE_API int bpf_stream_bprintf_pri(struct bpf_stream *s, int pri, const char *fmt,
				   const uint64_t *args, uint32_t len);

/**
 * bpf_stream_set_level() - mute what matters less than a level
 * @s:     the stream; all zero or initialised, it keeps all
 * @level: the last one that is kept; -1: none
 *
 * What is pushed or printed without a level is always kept.
 *
 * Ordering:  None: calls beside it may still use the level before.
 * Return:    0, or -EINVAL if there is no such level.
 */
BSE_API int bpf_stream_set_level(struct bpf_stream *s, int level);

/**
 * bpf_stream_enabled() - would bpf_stream_log() keep it?
 * @s:   the stream
 * @pri: as bpf_stream_log()
 *
 * Return:    true, or false if it is muted.
 */
BSE_API bool bpf_stream_enabled(const struct bpf_stream *s, int pri);

/**
 * bpf_stream_clock_monotonic() - a clock for a stream's options
 *
 * Return:    Nanoseconds of CLOCK_MONOTONIC; or of ktime_get_mono_fast_ns().
 */
BSE_API uint64_t bpf_stream_clock_monotonic(void);

/**
 * bpf_stream_clock_realtime() - a clock for a stream's options
 *
 * Return:    Nanoseconds since 1970; in kernels of ktime_get_real_fast_ns().
 */
BSE_API uint64_t bpf_stream_clock_realtime(void);

#ifdef BSE_HAS_THREADS
/**
 * bpf_stream_clock_coarse() - a clock for a stream's options
 *
 * Return:    Nanoseconds of CLOCK_MONOTONIC_COARSE: cheaper, in larger steps.
 */
BSE_API uint64_t bpf_stream_clock_coarse(void);
#endif

/* ---- [5c] WAITING AND CLOSING ---------------------------------------- */

/**
 * bpf_stream_wait() - sleep until something is pending
 * @s:          the stream
 * @timeout_ms: milliseconds; 0: only look; negative: for ever
 *
 * Context:   Threads, any number of them. No cancellation point.
 * Progress:  Blocking; writers never wait for it. It looks again each second,
 *            as a writer can be killed before it wakes others.
 * Return:    1 if something is pending (another reader may be faster), 0 after
 *            the time, -ESHUTDOWN if @s is closed and nothing is pending,
 *            -EINTR after a signal handler, -EPERM as bpf_stream_drain().
 */
BSE_API int bpf_stream_wait(struct bpf_stream *s, int timeout_ms);

/**
 * bpf_stream_push_wait() - bpf_stream_push() that waits for room
 * @s:          the stream
 * @data:       the bytes
 * @len:        how many
 * @timeout_ms: as bpf_stream_wait()
 *
 * As bpf_stream_push(), but where that gives -ENOSPC it sleeps and tries again;
 * where it gives -ENOMEM it tries again every few milliseconds.
 *
 * Context:   Threads, but no sink of @s: that would wait for itself.
 * Progress:  Blocking. Others that push meanwhile may be faster.
 * Return:    As bpf_stream_push(), after the time or, at once, for what can
 *            never fit; -EINTR after a signal handler. One refusal is counted.
 */
BSE_API int bpf_stream_push_wait(struct bpf_stream *s, const void *data, size_t len,
				 int timeout_ms);

/**
 * bpf_stream_close() - let nothing more in
 * @s: the stream; bpf_stream_destroy() and bpf_stream_init() open it again
 *
 * Writers get -EPIPE. Readers get what is pending, then -ESHUTDOWN. Who sleeps
 * is woken.
 */
BSE_API void bpf_stream_close(struct bpf_stream *s);

#ifdef BSE_HAS_THREADS
/**
 * bpf_stream_poll_fd() - a file descriptor for poll() and epoll
 * @s: the stream
 *
 * Readable while something may be pending, or @s is closed; only to be polled.
 * A drain that empties @s makes it unreadable. A writer can be killed before it
 * makes it readable: poll for a second at most.
 *
 * Context:   Threads.
 * Ownership: It is the stream's, closed by bpf_stream_destroy(). The child of
 *            fork() asks for its own; the parent's stays right.
 * Return:    The descriptor, the same one each time; or an error of eventfd(),
 *            or -EPERM as bpf_stream_drain().
 */
BSE_API int bpf_stream_poll_fd(struct bpf_stream *s);
#endif
#endif /* BSE_STANDALONE */

/* ---- [5d] STAGES ----------------------------------------------------- */

/**
 * bpf_stream_stage_init() - begin a group
 * @ss: memory for the stage, of any content; for example on the stack
 *
 * Context:   Any. A stage has one user at a time.
 * Ownership: @ss holds nothing yet. End with commit or bpf_stream_stage_free().
 */
BSE_API_STAGE void bpf_stream_stage_init(struct bpf_stream_stage *ss);

/**
 * bpf_stream_stage_free() - drop what was collected and not committed
 * @ss: the stage; empty and usable afterwards
 *
 * Progress:  Linear in the number of messages.
 */
BSE_API_STAGE void bpf_stream_stage_free(struct bpf_stream_stage *ss);

/**
 * bpf_stream_stage_push() - add one message to a group
 * @ss:   the stage
 * @data: the bytes
 * @len:  how many; 0 adds nothing and succeeds
 *
 * Return:    0; -ENOMEM, -EPERM and -EINVAL as bpf_stream_push(); -E2BIG if the
 *            pool can never hold it, or the group would pass INT_MAX bytes. On
 *            failure @ss is as before, and no stream counts it.
 */
BSE_API int bpf_stream_stage_push(struct bpf_stream_stage *ss, const void *data, size_t len);

/**
 * bpf_stream_stage_printk() - format one message and add it to a group
 * @ss:  the stage
 * @fmt: as bpf_stream_printf()
 * @...: its arguments
 *
 * Return:    As bpf_stream_stage_push(); -EINVAL also for @fmt. A text above
 *            BPF_STREAM_PRINT_MAX bytes is cut there, and that is a success.
 */
BSE_API_STAGE int bpf_stream_stage_printk(struct bpf_stream_stage *ss, const char *fmt, ...)
	BSE_PRINTF(2, 3);

/**
 * bpf_stream_stage_vprintk() - bpf_stream_stage_printk() with a va_list
 *
 * As bpf_stream_stage_printk(). For wrappers, which may add a prefix.
 */
BSE_API int bpf_stream_stage_vprintk(struct bpf_stream_stage *ss, const char *fmt, va_list ap)
	BSE_PRINTF(2, 0);

#ifdef BSE_STANDALONE
/**
 * bpf_stream_stage_log() - bpf_stream_stage_printk() with a level
 *
 * As bpf_stream_stage_printk(), with @pri as bpf_stream_log(). Nothing is
 * muted, as no stream is known.
 */
BSE_API int bpf_stream_stage_log(struct bpf_stream_stage *ss, int pri, const char *fmt, ...)
	BSE_PRINTF(3, 4);
#endif

/**
 * bpf_stream_stage_commit_to() - store a group, in one step
 * @ss: the stage
 * @s:  the stream
 *
 * Progress:  Constant; in the drop-in linear in the messages.
 * Ordering:  As bpf_stream_push(). The group is contiguous for the reader.
 * Ownership: On success the messages belong to @s and @ss is empty. On
 *            failure @ss is as before.
 * Return:    0, also for an empty stage; -ENOSPC if the capacity would be
 *            exceeded; -E2BIG if the group is larger than the capacity; -EPIPE
 *            if @s is closed; -EPERM in the child of a shared pool. Failures
 *            are counted in @s.
 */
BSE_API int bpf_stream_stage_commit_to(struct bpf_stream_stage *ss, struct bpf_stream *s);

#ifdef BSE_STANDALONE
/**
 * bpf_stream_stage_commit_tag() - bpf_stream_stage_commit_to() with a tag
 *
 * As bpf_stream_stage_commit_to(); messages without a tag get @tag, 0 to 255.
 *
 * Progress:  Linear in the messages.
 */
BSE_API int bpf_stream_stage_commit_tag(struct bpf_stream_stage *ss, struct bpf_stream *s,
					uint8_t tag);
#endif

/* ---- [5e] POOL AND THREADS ------------------------------------------- */

#ifdef BSE_HAS_THREADS
/**
 * bpf_stream_pool_use() - give the process's pool a region to live in
 * @region: memory for this call alone, zeroed or not; aligned to 64 bytes (to a
 *          system page, for trimming)
 * @bytes:  its size: at least 8 pages, at most 32 GiB; the hard bound of all
 *          streams together
 * @flags:  0, or BPF_STREAM_POOL_SHARED if other processes have it mapped too
 *
 * Without this call the first push maps BPF_STREAM_POOL_BYTES.
 *
 * Context:   Threads; before the first push. Or in the child of a process with
 *            a shared pool, which has none: its streams and stages must be
 *            initialised again afterwards.
 * Ordering:  Release, to every later push.
 * Ownership: @region is the library's until the process ends.
 * Return:    0; -EBUSY if there is a pool already; -EINVAL if @region is NULL
 *            or misaligned, @bytes too small or too large, or a flag unknown.
 */
BSE_API int bpf_stream_pool_use(void *region, size_t bytes, unsigned int flags);

/**
 * bpf_stream_pool_trim() - give the memory of idle pages back to the system
 *
 * The pages stay in the pool; only their memory goes. The room in pages that no
 * thread keeps is given up until they are read.
 *
 * Context:   Any. Beside it a push may find no page, if the last free one is
 *            being given back: -ENOMEM.
 * Progress:  One system call for each idle page.
 * Return:    How many pages were given back; 0 if BPF_STREAM_PAGE_SIZE is no
 *            multiple of the system's pages, or the region not aligned to them.
 */
BSE_API size_t bpf_stream_pool_trim(void);

/**
 * bpf_stream_thread_release() - give back the pages that this thread keeps
 *
 * For a thread that will not push for long; one that ends does this by itself.
 * Others fill a page that has room left. A full one goes back to the pool as
 * soon as its messages are read.
 *
 * Context:   Threads.
 */
BSE_API void bpf_stream_thread_release(void);
#endif /* BSE_HAS_THREADS */

#ifdef BSE_STANDALONE
/**
 * bpf_stream_pool_get_stats() - the pool in figures
 * @stats: filled in
 *
 * As bpf_stream_get_stats(); linear in the pages that were ever used.
 */
BSE_API void bpf_stream_pool_get_stats(struct bpf_stream_pool_stats *stats);
#endif

/* ---- [5f] IN KERNELS ------------------------------------------------- */

#ifdef BSE_USER
/**
 * bpf_stream_read_user() - bpf_stream_read() into a user's memory
 *
 * As bpf_stream_read(), but @buf may fault; if nothing is pending it is not
 * touched.
 *
 * Context:   Tasks; may sleep.
 * Return:    Bytes copied, also if the rest of @buf faults; -EFAULT if its
 *            first byte does; else as bpf_stream_read().
 */
BSE_API int bpf_stream_read_user(struct bpf_stream *s, void BSE_USER *buf, size_t len);

#ifdef BSE_STANDALONE
/**
 * bpf_stream_poll() - for the poll of a module's file_operations
 * @s:    the stream
 * @file: the file
 * @wait: as the kernel hands it on
 *
 * Context:   Tasks; may sleep.
 * Return:    EPOLLIN | EPOLLRDNORM if something is pending, EPOLLHUP if not and
 *            @s is closed, else 0.
 */
BSE_API bse_poll_mask bpf_stream_poll(struct bpf_stream *s, struct file *file,
				      struct poll_table_struct *wait);

/**
 * bpf_stream_pool_start() - make the pool that all streams of a module share
 * @bytes: its size: the hard bound; 0: BPF_STREAM_POOL_BYTES
 *
 * Until then a push is refused: -ENOMEM.
 *
 * Context:   Tasks; may sleep. At the module's start.
 * Ordering:  Release, to every later push.
 * Return:    0; -EBUSY if there is a pool; -ENOMEM; -EINVAL if @bytes are under
 *            8 pages or above 32 GiB; an error of cpuhp_setup_state().
 */
BSE_API int bpf_stream_pool_start(size_t bytes);

/**
 * bpf_stream_pool_stop() - wait for the last writers, and unmap the pool
 *
 * First see to it that no new call begins: stop tasks, timers and work, take
 * handlers back. Calls under way in interrupts and NMIs are waited for; for
 * irq_work with PREEMPT_RT, irq_work_sync() waits. A stream that these write is
 * destroyed before, and after a synchronize_rcu() of the module's own.
 * Afterwards no stream may be used, nor destroyed.
 *
 * Context:   Tasks; may sleep. At the module's end.
 * Progress:  Waits for a grace period of RCU.
 * Return:    How many pages still held messages: 0 if all streams had been
 *            destroyed and all stages freed.
 */
BSE_API size_t bpf_stream_pool_stop(void);
#endif
#endif /* BSE_USER */

BSE_DECLS_END
#endif /* BPF_STREAM_H */

#if (defined(BPF_STREAM_IMPLEMENTATION) || defined(BPF_STREAM_STATIC)) && \
	!defined(BPF_STREAM_BODIES)
#define BPF_STREAM_BODIES

/* ==== [6] ENVIRONMENT BODIES =========================================== */

#ifdef __cplusplus
#error "bpf_stream.h: the bodies are C: define BPF_STREAM_IMPLEMENTATION in a .c file"
#include "no more than this error"	/* as above */
#elif !defined(__KERNEL__) && __STDC_VERSION__ < 201112L
#error "bpf_stream.h: the bodies need C11: compile this file with -std=c11 or newer"
#include "no more than this error"	/* as above */
#elif defined(BPF_STREAM_STATIC) && !defined(BSE_API_IS_STATIC)
#error "bpf_stream.h: define BPF_STREAM_STATIC before the file's first inclusion of it"
#include "no more than this error"	/* as above */
#endif

#ifdef __KERNEL__
#include <linux/cpu.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/vmalloc.h>
#else
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_DONTNEED
#error "bpf_stream.h: include it before any other header here, or compile with -D_DEFAULT_SOURCE"
#include "no more than this error"	/* as above */
#endif
#endif /* !__KERNEL__ */

/* The knobs of [2], here so that files without bodies do not set them. */
#ifndef BPF_STREAM_DEFAULT_CAPACITY
#define BPF_STREAM_DEFAULT_CAPACITY (4u << 20)
#endif
#ifndef BPF_STREAM_POOL_BYTES
#define BPF_STREAM_POOL_BYTES (64u << 20)
#endif
#ifndef BPF_STREAM_PAGE_SIZE
#define BPF_STREAM_PAGE_SIZE 4096u
#endif
#ifndef BPF_STREAM_LEVELS
#define BPF_STREAM_LEVELS 4u
#endif

#if BPF_STREAM_PAGE_SIZE < 1024 || BPF_STREAM_PAGE_SIZE > 65536 || \
	(BPF_STREAM_PAGE_SIZE & (BPF_STREAM_PAGE_SIZE - 1)) != 0
#error "BPF_STREAM_PAGE_SIZE: use a power of two from 1024 to 65536"
#endif
#if BPF_STREAM_LEVELS < 1 || BPF_STREAM_LEVELS > 8
#error "BPF_STREAM_LEVELS: use 1 to 8"
#endif
_Static_assert(BPF_STREAM_DEFAULT_CAPACITY >= 1 &&
	       BPF_STREAM_DEFAULT_CAPACITY <= BPF_STREAM_CAPACITY_LIMIT,
	       "BPF_STREAM_DEFAULT_CAPACITY: use 1 to BPF_STREAM_CAPACITY_LIMIT");

/* ---- [6a] VOCABULARY ------------------------------------------------- */
/*
 * [8] to [17] use bse_ words alone, which docs/porting.md lists. The file
 * BPF_STREAM_ENV_HEADER may replace one by a macro with arguments of that name,
 * and reach the function behind it as (bse_x)(...): C expands no such macro. So
 * a word that tests replace is defined with its name in parentheses.
 */

#ifdef BSE_STANDALONE
/* A part of a stream's text, in one page. */
struct bpf_stream_elem {
	bse_link node;			/* the next one in its list; 0: none */
	uint32_t info;			/* length and flags, see [6d]; written until publish:A */
	char str[];			/* what the flags tell, and the text */
};

/* Bytes before the elements in a page, and for them. */
#define BSE_PAGE_HEAD 0u
#define BSE_PAGE_ROOM BPF_STREAM_PAGE_SIZE

/* Lists of partial pages: one for each group, and MIXED. */
#define BSE_LISTS (BPF_STREAM_GROUPS + 1)
#endif

/* For stages, which know no stream, and for handlers in a reservation. */
#define BSE_MIXED (BSE_LISTS - 1)

/* Elements that nobody else can reach, linked from newest to oldest (I8). */
struct bse_chain {
	bse_link newest;		/* 0: none */
	bse_link oldest;
	uint32_t bytes;
	uint32_t messages;		/* of a stage */
};

/* A page, for the one who reserves memory in it. */
struct bse_space {
	bse_page page;			/* 0: none */
	uint32_t room;			/* bytes left at its end */
	uint32_t given;			/* elements handed out of it */
};

/*
 * What a thread or CPU has of it between two reservations: a slot for each list
 * while no reservation is under way, and one for each deeper nesting level.
 * Levels nest last-in first-out, and only one touches a slot: plain members.
 */
struct bse_slot {
	struct bse_space space;
	uint32_t keeps;			/* 1: it may keep a page (I7) */
};

#define BSE_SLOTS (BSE_LISTS + BPF_STREAM_LEVELS - 1)

/* Takes the pieces, or a first part: how many bytes, or a negative errno. */
typedef int bse_take(void *ctx, const struct bse_piece *piece, unsigned int n);

/* Of [9] and [12], unless another environment has its own. */
#define bse_reserve bsi_page_reserve
#define bse_release(link, returns) bsi_returns_add(returns, bse_page_of(link))
#define bse_format bsi_format_va

#ifdef BPF_STREAM_ENV_HEADER
#include BPF_STREAM_ENV_HEADER
#endif

/* ---- [6b] THREADS AND CPUS ------------------------------------------- */

/* A thread's exit hook, which releases its slots: none yet, set, or has run. */
enum bse_attachment { BSE_NEW, BSE_ATTACHED, BSE_CLOSED };

/* A thread or CPU. */
struct bse_line {
	struct bse_slot slot[BSE_SLOTS];
	bse_own depth;		/* reservations under way, nested in each other */
#ifdef BSE_HAS_THREADS
	bse_own attachment;	/* enum bse_attachment */
	bse_own id;		/* see bse_thread_id() */
#endif
};

#ifdef __KERNEL__
static DEFINE_PER_CPU(struct bse_line, bse_self);

/* Interrupts stay on. Not traced, because tracers push, too. */
#define bse_here() this_cpu_ptr(&bse_self)
#define bse_pin() preempt_disable_notrace()
#define bse_unpin() preempt_enable_notrace()
#define bse_thread_attach() true
#else /* !__KERNEL__ */
/* initial-exec: a first access that allocates would not be signal-safe. */
static _Thread_local struct bse_line bse_self __attribute__((__tls_model__("initial-exec")));

_Static_assert(sizeof(struct bse_line) < 256, "static TLS of dlopen'ed libraries is scarce");

#define BSE_TID 0x3fffff	/* no thread's id is larger */
#define bse_here() (&bse_self)
#define bse_pin() ((void)0)
#define bse_unpin() ((void)0)
#endif /* !__KERNEL__ */

#ifdef BSE_STANDALONE
static struct {
	bse_ptr pool;		/* struct bse_pool *; NULL: none */
#ifdef BSE_HAS_THREADS
	bse_u32 foreign;	/* 1: the parent had a shared pool */
	bse_u32 hooked;		/* 1: exit_key is valid */
	pthread_key_t exit_key;	/* frozen while hooked */
	uint32_t generation;	/* forks up to here, in the 9 bits above BSE_TID */
#endif
} bse_process;
#endif

/*
 * Enter and leave bracket a reservation. Enter gives the slot for a list, or of
 * this nesting level, or NULL where no page can be kept; and what leave wants.
 */
static inline struct bse_slot *(bse_enter)(uint32_t list, uint32_t *depth)
{
	struct bse_line *self;

	bse_pin();
	self = bse_here();
	/* A handler in between changes it back, or jumps: a level is lost. */
	*depth = bse_own_get(&self->depth);
	if (BSE_LIKELY(!*depth)) {
		bse_own_set(&self->depth, 1);
		/* The slot is used after the depth says so (I2). */
		BSE_BARRIER();
		return &self->slot[list];
	}
	bse_own_set(&self->depth, *depth + 1);
	BSE_BARRIER();
	return *depth < BPF_STREAM_LEVELS ? &self->slot[BSE_MIXED + *depth] : NULL;
}

static inline void (bse_leave)(uint32_t depth)
{
	/* The slot is used before the depth changes (I2). */
	BSE_BARRIER();
	/* Not one less: what siglongjmp() out of a handler left is undone. */
	bse_own_set(&bse_here()->depth, depth);
	bse_unpin();
}

/*
 * Whatever jumps out between two stores, the slot stays usable (I2): it has
 * room only while it has the page, and never the page with too small a count,
 * with which it would be freed under elements.
 */
static inline void bse_slot_take(struct bse_slot *slot, const struct bse_space *space)
{
	slot->space.given = space->given;
	BSE_BARRIER();
	slot->space.page = space->page;
	BSE_BARRIER();
	slot->space.room = space->room;
}

static inline struct bse_space bse_slot_leave(struct bse_slot *slot)
{
	const struct bse_space space = slot->space;

	slot->space.room = 0;
	BSE_BARRIER();
	slot->space.page = 0;
	BSE_BARRIER();
	slot->space.given = 0;
	return space;
}

#ifndef __KERNEL__
/* For the hook at a thread's end. For keys from 32 on glibc allocates. */
static bool bse_thread_attach(void)
{
	uint32_t state = bse_own_get(&bse_self.attachment);

	if (state != BSE_NEW)
		return state == BSE_ATTACHED;
	/* Acquire, with load:A: the key is valid. */
	if (!bse_u32_load_acquire(&bse_process.hooked))			/* ORD(attach:A) */
		return false;
	if (bse_process.exit_key >= 32 || pthread_setspecific(bse_process.exit_key, &bse_self))
		return false;
	/* A handler in between did the same. */
	bse_own_set(&bse_self.attachment, BSE_ATTACHED);
	return true;
}

/* This thread's id, with the process's generation above it; 0: refused. */
static uint32_t bse_thread_id(void)
{
	uint32_t id = bse_own_get(&bse_self.id);
	long tid = id ? 0 : syscall(SYS_gettid);

	if (tid > 0 && tid <= BSE_TID) {
		id = bse_process.generation | (uint32_t)tid;
		/* Relaxed: kept once a child's hook would drop it. */
		if (bse_u32_load_relaxed(&bse_process.hooked))		/* ORD(thread_id:A) */
			bse_own_set(&bse_self.id, id);
	}
	return id;
}

/* After fork() the parent's threads are gone; of others the system is asked. */
static bool bse_thread_is_gone(uint32_t id, bool ask)
{
	return (id & ~(uint32_t)BSE_TID) != bse_process.generation ||
	       (ask && syscall(SYS_tgkill, getpid(), id & BSE_TID, 0) && errno == ESRCH);
}
#endif /* !__KERNEL__ */

#ifdef BSE_STANDALONE
/*
 * A sleeper's word counts how often others were woken, in steps of 2; bit 0:
 * somebody may sleep. A sleeper takes the word as its key, then looks at the
 * log, sets a flag there, and sleeps while the word is the key. Who takes the
 * flag away changes the word, and wakes all. So a change between the look and
 * the sleep is not missed, whatever came first. Nobody sleeps for longer than a
 * nap: a writer may be killed, or jump, between the two.
 */
#define BSE_NAP_MS 1000u

static inline uint32_t bse_sleep_key(bse_u32 *word)
{
	/*
	 * Acquire, with wake:A: if the word was changed, so is the log. Release
	 * by log_arm:A: who takes the flag away sees that somebody sleeps.
	 */
	return bse_u32_fetch_or_acq_rel(word, 1) | 1;			/* ORD(sleep_key:A) */
}

#ifdef __KERNEL__
/* 0, or -EINTR; for at most @ms. */
static int (bse_sleep)(struct bpf_stream *s, bse_u32 *word, uint32_t key, uint32_t ms)
{
	/* Relaxed: the log is looked at again. */
	long left = wait_event_interruptible_timeout(s->bell.queue,
			bse_u32_load_relaxed(word) != key,		/* ORD(sleep:A) */
			msecs_to_jiffies(ms));

	return left < 0 ? -EINTR : 0;
}

static void bse_bell_ring(struct irq_work *work)
{
	wake_up_all(&container_of(work, bse_doorbell, work)->queue);
}

/* Not from here: it could be in the middle of the queue's lock, or an NMI. */
#define bse_rouse(s, word) ((void)irq_work_queue(&(s)->bell.work))
#else /* !__KERNEL__ */
enum { BSE_FUTEX_WAIT_PRIVATE = 128, BSE_FUTEX_WAKE_PRIVATE = 129 };

#define bse_futex(word, op, v, time) syscall(SYS_futex, word, op, v, time)

/* Sleeps while the word is @key; 0 if it is not, ETIMEDOUT or EINTR. */
static int bse_nap(bse_u32 *word, uint32_t key, uint32_t ms)
{
	/* Seconds and nanoseconds, as the system call has them on 32 bits. */
	const long nap[2] = { (long)(ms / 1000), (long)(ms % 1000) * 1000000 };

	return bse_futex(word, BSE_FUTEX_WAIT_PRIVATE, key, nap) && errno != EAGAIN ? errno : 0;
}

static int (bse_sleep)(struct bpf_stream *s, bse_u32 *word, uint32_t key, uint32_t ms)
{
	int saved = errno;
	int err = bse_nap(word, key, ms);

	(void)s;
	errno = saved;
	return err == EINTR ? -EINTR : 0;
}

static void bse_rouse(struct bpf_stream *s, bse_u32 *word)
{
	int saved = errno;

	(void)s;
	bse_futex(word, BSE_FUTEX_WAKE_PRIVATE, INT_MAX, NULL);
	errno = saved;
}
#endif /* !__KERNEL__ */

static BSE_NOINLINE void (bse_wake)(struct bpf_stream *s, bse_u32 *word)
{
	/* Relaxed: a guess, which wake:A proves current. */
	uint32_t seen = bse_u32_load_relaxed(word);			/* ORD(wake:B) */

	/* Release, with sleep_key:A: who has the new key sees the new log. */
	while (!bse_u32_cas_acq_rel(word, &seen,			/* ORD(wake:A) */
				    (uint32_t)((uint64_t)(seen | 1) + 1)))
		;
	if (seen & 1)
		bse_rouse(s, word);
}
#endif /* BSE_STANDALONE */

/* ---- [6c] POOL ------------------------------------------------------- */
#ifdef BSE_STANDALONE
/*
 * A region holds, from its base: this struct, the table of pages, and from the
 * next page boundary on the pages that hold elements. Page numbers count from
 * the base, so that a link is an offset; page 0 is never one for elements.
 */
struct bse_page_info {
	bse_u32 next;		/* BSE_PAGE_IN_USE, or its list's next one; see below */
	bse_u32 refs;		/* see I4; 0 while free */
	bse_u32 given;		/* while partial: elements handed out of it */
	uint32_t room;		/* while partial: bytes left at its end */
};

struct bse_pool {
	uint32_t pages;		/* frozen since format: one past the last page */
	uint32_t first;		/* frozen: the first page for elements */
	uint32_t flags;		/* frozen */
	char apart0[64 - 3 * sizeof(uint32_t)];
	struct {
		bse_u64 head;	/* tag and first page; last in, first out */
		char apart[64 - sizeof(bse_u64)];
	} list[BSE_LISTS + 2];	/* partial pages; then those of BSE_HOT and BSE_COLD */
	bse_u32 fresh;		/* pages from here on have never been used */
	bse_u32 kept;		/* slots that may keep a page, in all threads (I7) */
	bse_figure denied;	/* requests that found no page */
	char apart1[64 - 2 * sizeof(bse_u32) - sizeof(bse_figure)];
	struct bse_page_info page[];
};

#define BSE_HOT BSE_LISTS		/* free pages */
#define BSE_COLD (BSE_LISTS + 1)	/* free pages whose memory the system has back */

/* A list's head: page number below, tag above (I6). */
#define BSE_PAGE_BITS 26
#define BSE_PAGE_MASK (((uint64_t)1 << BSE_PAGE_BITS) - 1)
#define BSE_PAGE_IN_USE ((bse_page)BSE_PAGE_MASK)	/* above every page number */

/* In a page's next: the list is one of partial pages. */
#define BSE_PAGE_PARTIAL 0x80000000u

/* For a free list whose first page was @head: @page comes first. */
static inline uint64_t bse_list_head(uint64_t head, bse_page page)
{
	return ((head >> BSE_PAGE_BITS) + 1) << BSE_PAGE_BITS | page;
}

#define BSE_POOL_MIN_PAGES 8u

/* Links are 32 bits, in units of 8 bytes. */
#define BSE_POOL_MAX_BYTES ((uint64_t)8 << 32)

_Static_assert(BPF_STREAM_POOL_BYTES / BPF_STREAM_PAGE_SIZE >= BSE_POOL_MIN_PAGES,
	       "BPF_STREAM_POOL_BYTES: use at least 8 pages");
_Static_assert(BPF_STREAM_POOL_BYTES <= BSE_POOL_MAX_BYTES && BPF_STREAM_POOL_BYTES <= SIZE_MAX,
	       "BPF_STREAM_POOL_BYTES: use at most 32 GiB, less than 4 GiB on 32 bits");

static inline int bse_access(void)
{
#ifdef __KERNEL__
	return 0;
#else
	/* Relaxed, both: set before fork() returns. */
	return bse_u32_load_relaxed(&bse_process.foreign) &&		/* ORD(access:A) */
	       !bse_ptr_load_relaxed(&bse_process.pool) ? -EPERM : 0;	/* ORD(access:B) */
#endif
}

static inline struct bse_pool *bse_pool_known(void)
{
	/* Relaxed: the caller has a link or a page, by a pair of [7]. */
	return bse_ptr_load_relaxed(&bse_process.pool);			/* ORD(pool_known:A) */
}

static inline bse_link (bse_link_at)(bse_page page, uint32_t offset)
{
	return page * (bse_link)(BPF_STREAM_PAGE_SIZE / 8) + offset / 8;
}

static inline bse_page bse_page_of(bse_link link)
{
	return link / (bse_link)(BPF_STREAM_PAGE_SIZE / 8);
}

static inline void *bse_pool_at(bse_link link)
{
	return (char *)bse_pool_known() + (size_t)link * 8;
}

static inline struct bpf_stream_elem *bse_elem_of(bse_link link)
{
	return bse_pool_at(link);
}

#define bse_set_next(link, next) ((void)(bse_elem_of(link)->node = (next)))

static inline bse_u32 *(bse_page_ref)(bse_page page)
{
	return &bse_pool_known()->page[page].refs;
}

/* The kernel's sanitizer has no such functions for modules. */
#if defined(__SANITIZE_ADDRESS__) && !defined(__KERNEL__)
#define BSE_ASAN
#elif defined(__has_feature) && !defined(__KERNEL__)
#if __has_feature(address_sanitizer)
#define BSE_ASAN
#endif
#endif

#ifdef BSE_ASAN
void __asan_poison_memory_region(void const volatile *p, size_t size);
void __asan_unpoison_memory_region(void const volatile *p, size_t size);
#define BSE_POISON(what, p, size) __asan_##what##_memory_region(p, size)
#else
#define BSE_POISON(what, p, size) ((void)(p), (void)(size))
#endif

static inline void (bse_poison)(const void *p, size_t size)
{
	BSE_POISON(poison, p, size);
}

static inline void (bse_unpoison)(const void *p, size_t size)
{
	BSE_POISON(unpoison, p, size);
}

/* NULL: there is none yet. */
static struct bse_pool *bse_pool_found(void)
{
	/* Acquire, with pool_publish:A: its layout is there. */
	return bse_ptr_load_acquire(&bse_process.pool);			/* ORD(pool_found:A) */
}

/* Lays out a region that nobody else knows yet. Its size has been checked. */
static struct bse_pool *bse_pool_format(void *region, uint64_t bytes, unsigned int flags)
{
	struct bse_pool *pool = region;
	uint32_t pages = (uint32_t)(bytes / BPF_STREAM_PAGE_SIZE);
	uint64_t head = sizeof(*pool) + (uint64_t)pages * sizeof(pool->page[0]);
	uint32_t first = (uint32_t)((head + BPF_STREAM_PAGE_SIZE - 1) / BPF_STREAM_PAGE_SIZE);

	pool->pages = pages;
	pool->first = first;
	pool->flags = flags;
	pool->fresh = BSE_U32(first);	/* private until pool_publish:A */
	bse_poison((char *)region + (size_t)first * BPF_STREAM_PAGE_SIZE,
		   (size_t)(pages - first) * BPF_STREAM_PAGE_SIZE);
	return pool;
}

/* Makes a region the pool, unless there is one; returns the pool. */
static void *bse_pool_publish(void *mine)
{
	void *pool = NULL;

	/* Release: the layout is there before the address. */
	if (bse_ptr_cas_release(&bse_process.pool, &pool, mine))	/* ORD(pool_publish:A) */
		return mine;
	return bse_pool_found();
}

/* Linear in the pages ever used. A partial one counts if elements are out. */
static uint32_t bse_pool_in_use(const struct bse_pool *pool, uint32_t *partial)
{
	/* Relaxed, all: figures for people. */
	bse_page page = bse_u32_load_relaxed(&pool->fresh);		/* ORD(in_use:A) */
	uint32_t kept = 0;

	*partial = 0;
	while (page-- > pool->first) {
		const struct bse_page_info *info = &pool->page[page];
		uint32_t next = bse_u32_load_relaxed(&info->next);	/* ORD(in_use:B) */

		kept += next == BSE_PAGE_IN_USE;
		*partial += next & BSE_PAGE_PARTIAL &&
			    (uint32_t)((uint64_t)
				bse_u32_load_relaxed(&info->given) +	/* ORD(in_use:C) */
				bse_u32_load_relaxed(&info->refs));	/* ORD(in_use:D) */
	}
	return kept + *partial;
}

#ifdef __KERNEL__
#define bse_pool() bse_pool_found()
#else /* !__KERNEL__ */
/* The pool, set up if this is the first use; NULL: no memory, or not usable. */
static struct bse_pool *bse_pool(void)
{
	void *pool = bse_pool_found();
	int saved = errno;
	void *mine;

	if (pool || bse_access())
		return pool;
	mine = mmap(NULL, BPF_STREAM_POOL_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mine == MAP_FAILED) {
		errno = saved;
		/* Another thread may have had more luck. */
		return bse_pool_found();
	}
	bse_pool_format(mine, BPF_STREAM_POOL_BYTES, 0);
	pool = bse_pool_publish(mine);
	if (pool != mine) {
		bse_unpoison(mine, BPF_STREAM_POOL_BYTES);
		munmap(mine, BPF_STREAM_POOL_BYTES);
	}
	errno = saved;
	return pool;
}

BSE_API int bpf_stream_pool_use(void *region, size_t bytes, unsigned int flags)
{
	const uint64_t size = bytes;

	if (!region || (uintptr_t)region % 64 || flags & ~BPF_STREAM_POOL_SHARED ||
	    size < BSE_POOL_MIN_PAGES * BPF_STREAM_PAGE_SIZE || size > BSE_POOL_MAX_BYTES)
		return -EINVAL;
	/* Relaxed: nothing is reached through it. */
	if (bse_ptr_load_relaxed(&bse_process.pool))			/* ORD(pool_use:A) */
		return -EBUSY;
	bse_fill(region, 0, sizeof(struct bse_pool) +
	       bytes / BPF_STREAM_PAGE_SIZE * sizeof(struct bse_page_info));
	bse_pool_format(region, size, flags);
	if (bse_pool_publish(region) == region)
		return 0;
	bse_unpoison(region, bytes);
	return -EBUSY;
}
#endif /* !__KERNEL__ */

static size_t bse_pool_pages(void)
{
	const struct bse_pool *pool = bse_pool();

	return pool ? pool->pages - pool->first : 0;
}

static bse_page bse_list_pop(struct bse_pool *pool, uint32_t from)
{
	bse_u64 *list = &pool->list[from].head;
	uint64_t head;
	bse_page page;
	bse_page next;

	do {
		/* Acquire, with list_push:B: the page's next is there. */
		head = bse_u64_load_acquire(list);			/* ORD(list_pop:A) */
		page = (bse_page)(head & BSE_PAGE_MASK);
		if (!page)
			return 0;
		/*
		 * Relaxed: stale if another thread took the page meanwhile.
		 * Then the tag has changed, and list_pop:C fails (I6).
		 */
		next = bse_u32_load_relaxed(&pool->page[page].next);	/* ORD(list_pop:B) */
		/* Acquire, with list_push:B: what came before, and its room. */
	} while (!bse_u64_cas_acquire(list, &head,			/* ORD(list_pop:C) */
				      bse_list_head(head, next & (bse_page)BSE_PAGE_MASK)));
	/* Relaxed: a figure; and list_pop:B may read anything. */
	bse_u32_store_relaxed(&pool->page[page].next, BSE_PAGE_IN_USE);	/* ORD(list_pop:D) */
	return page;
}

static void bse_list_push(struct bse_pool *pool, uint32_t to, bse_page page)
{
	const uint32_t mark = to < BSE_LISTS ? BSE_PAGE_PARTIAL : 0;
	bse_u64 *list = &pool->list[to].head;
	/* Relaxed: a guess, which list_push:B proves current. */
	uint64_t head = bse_u64_load_relaxed(list);			/* ORD(list_push:A) */

	do {
		/* Relaxed: published by list_push:B. */
		bse_u32_store_relaxed(&pool->page[page].next,		/* ORD(list_push:C) */
				      (bse_page)(head & BSE_PAGE_MASK) | mark);
		/* Release: its next and room, and its last use, come before. */
	} while (!bse_u64_cas_release(list, &head,			/* ORD(list_push:B) */
				      bse_list_head(head, page)));
}

static bse_page bse_page_fresh(struct bse_pool *pool)
{
	/* Relaxed: a number that only grows; in the page nobody wrote yet. */
	uint32_t page = bse_u32_load_relaxed(&pool->fresh);		/* ORD(fresh:A) */

	do {
		if (page >= pool->pages)
			return 0;
	} while (!bse_u32_cas_relaxed(&pool->fresh, &page, page + 1));	/* ORD(fresh:B) */
	/* Relaxed: as list_pop:D. */
	bse_u32_store_relaxed(&pool->page[page].next, BSE_PAGE_IN_USE);	/* ORD(fresh:C) */
	return page;
}

static int (bse_page_get)(bse_page *page)
{
	struct bse_pool *pool;
	int err = bse_access();

	if (err)
		return err;
	pool = bse_pool();
	if (!pool)
		return -ENOMEM;
	*page = bse_list_pop(pool, BSE_HOT);
	if (!*page)
		*page = bse_list_pop(pool, BSE_COLD);
	if (!*page)
		*page = bse_page_fresh(pool);
	return *page ? 0 : -ENOMEM;
}

static void (bse_page_put)(bse_page page)
{
	bse_list_push(bse_pool_known(), BSE_HOT, page);
}

/* A partial page, which is then the caller's; false: the list is empty. */
static bool (bse_partial_get)(uint32_t list, struct bse_space *space)
{
	struct bse_pool *pool = bse_pool_found();

	space->page = pool ? bse_list_pop(pool, list) : 0;
	if (!space->page)
		return false;
	space->room = pool->page[space->page].room;
	/* Relaxed: it came with list_pop:C. */
	space->given =
		bse_u32_load_relaxed(&pool->page[space->page].given);	/* ORD(partial_get:A) */
	return true;
}

/* The page is the next one's that wants one of this list; false: no lists. */
static bool (bse_partial_put)(uint32_t list, const struct bse_space *space)
{
	struct bse_pool *pool = bse_pool_known();

	pool->page[space->page].room = space->room;
	/* Relaxed: published by list_push:B. */
	bse_u32_store_relaxed(&pool->page[space->page].given,		/* ORD(partial_put:A) */
			      space->given);
	bse_list_push(pool, list, space->page);
	return true;
}

/* A page was asked for, and none was left. */
static int bse_denied(void)
{
	struct bse_pool *pool = bse_pool_found();

	if (pool)
		bse_figure_add(&pool->denied, 1);
	return -ENOMEM;
}

/*
 * A quarter of the pages may be kept: more threads than pages still get on. A
 * jump out between mark and count lets one slot more keep a page (I7).
 */
static BSE_NOINLINE bool bse_may_keep(struct bse_slot *slot)
{
	struct bse_pool *pool = bse_pool_known();
	const uint32_t most = (pool->pages - pool->first) / 4;
	/* Relaxed, both: a quota; nothing is reached through it. */
	uint32_t kept = bse_u32_load_relaxed(&pool->kept);		/* ORD(keep:A) */

	if (slot->keeps)
		return true;
	if (!bse_thread_attach())
		return false;
	slot->keeps = 1;
	BSE_BARRIER();
	while (kept < most)
		if (bse_u32_cas_relaxed(&pool->kept, &kept, kept + 1))	/* ORD(keep:B) */
			return true;
	slot->keeps = 0;
	return false;
}

/* Of a slot that is not in use: its thread ends, or releases. */
static void bse_unkeep(struct bse_slot *slot)
{
	struct bse_pool *pool = bse_pool_known();
	uint32_t kept;

	if (!slot->keeps)
		return;
	/* Relaxed, both: as keep:B. Never below 0: see bse_may_keep(). */
	kept = bse_u32_load_relaxed(&pool->kept);			/* ORD(unkeep:A) */
	while (kept && !bse_u32_cas_relaxed(&pool->kept, &kept, kept - 1)) /* ORD(unkeep:B) */
		;
	slot->keeps = 0;
}

BSE_API void bpf_stream_pool_get_stats(struct bpf_stream_pool_stats *stats)
{
	struct bse_pool *pool = bse_pool_found();
	uint32_t partial;

	bse_fill(stats, 0, sizeof(*stats));
	if (!pool)
		return;
	stats->page_size = BPF_STREAM_PAGE_SIZE;
	stats->total = pool->pages - pool->first;
	stats->in_use = bse_pool_in_use(pool, &partial);
	stats->partial = partial;
	/* Relaxed: a figure. Fresh pages are taken last: a high mark. */
	stats->highest = bse_u32_load_relaxed(&pool->fresh) - pool->first; /* ORD(pool_stats:A) */
	stats->denied = bse_figure_get(&pool->denied);
}
#endif /* BSE_STANDALONE */

/* ---- [6d] THE ONE-WORD LOG AND ITS ELEMENTS -------------------------- */
#ifdef BSE_STANDALONE
/*
 * The log: the newest element's link in bits 32 to 63, pending bytes in 0 to
 * 28: what was published and not refunded. Above are three flags, which all
 * changes keep but for those that are told here. Publishing and charging are
 * one compare-exchange.
 *
 *   READER_WAITS	who publishes takes it away, and wakes readers
 *   ROOM_WAITED	who refunds takes it away, and wakes writers
 *   CLOSED		nothing more is published
 */
#define BSE_LOG_PENDING BPF_STREAM_CAPACITY_LIMIT
#define BSE_LOG_READER_WAITS 0x20000000u
#define BSE_LOG_ROOM_WAITED 0x40000000u
#define BSE_LOG_CLOSED 0x80000000u
#define BSE_LOG_SHIFT 32
#define BSE_LOG_LOWER (((uint64_t)1 << BSE_LOG_SHIFT) - 1)

/*
 * What an element says of itself: bits 0 to 16 are the length of its text, 17
 * to 24 a tag, 25 to 27 a level. Before the text come as many units of 8 bytes
 * as bits 30 and 31 say as a number: time and thread, then refusals so far.
 */
#define BSE_ELEM_LEN 0x1ffffu
#define BSE_ELEM_TAG_SHIFT 17
#define BSE_ELEM_LEVEL_SHIFT 25
#define BSE_ELEM_ENDS 0x10000000u	/* bit 28: the last one of its message */
#define BSE_ELEM_GOES_ON 0x20000000u	/* bit 29: of the same group as the one before */
#define BSE_ELEM_LOST 0x40000000u	/* bit 30: 8 bytes */
#define BSE_ELEM_STAMP 0x80000000u	/* bit 31: 16 bytes */
#define BSE_ELEM_SHIFT 30
#define BSE_ELEM_PLAIN ((uint32_t)BPF_STREAM_INFO << BSE_ELEM_LEVEL_SHIFT)
#define BSE_ELEM_TAG (0xffu << BSE_ELEM_TAG_SHIFT)

/* The first message of a group has both, as its stream is not known yet. */
#define BSE_ELEM_GROUP (BSE_ELEM_STAMP | BSE_ELEM_LOST)

#define bse_prefix_bytes(info) (((info) >> BSE_ELEM_SHIFT) * 8)
#define bse_elem_next(elem) ((elem)->node)
#define bse_elem_set(elem, len, flags) ((void)((elem)->info = (len) | (flags)))
#define bse_elem_len(elem) ((elem)->info & BSE_ELEM_LEN)
#define bse_elem_ends(elem) (((elem)->info & BSE_ELEM_ENDS) != 0)
#define bse_elem_text(elem) ((elem)->str + bse_prefix_bytes((elem)->info))
#define bse_consumed_get(s) ((s)->consumed)
#define bse_consumed_set(s, bytes) ((void)((s)->consumed = (bytes)))

/* The capacity that the options give, and the group; 0: they are not valid. */
static uint32_t bse_options_of(const struct bpf_stream *s, size_t *group)
{
	const size_t capacity = s->options.capacity;

	*group = s->options.group;
	/* Another one for each of two neighbours. */
	if (!*group)
		*group = (uintptr_t)s / sizeof(*s) % BPF_STREAM_GROUPS + 1;
	if (capacity > BPF_STREAM_CAPACITY_LIMIT || *group > BPF_STREAM_GROUPS)
		return 0;
	return capacity ? (uint32_t)capacity : BPF_STREAM_DEFAULT_CAPACITY;
}

static uint32_t bse_capacity(struct bpf_stream *s)
{
	size_t group;
	const uint32_t capacity = bse_options_of(s, &group);

	/* Relaxed: all store the same. With an old group, all works as well. */
	if (capacity)
		bse_u32_store_relaxed(&s->group, (uint32_t)group - 1);	/* ORD(capacity:A) */
	return capacity;
}

static inline uint32_t bse_group(const struct bpf_stream *s)
{
	/* Relaxed: see capacity:A. */
	return bse_u32_load_relaxed(&s->group);				/* ORD(group:A) */
}

static inline size_t (bse_log_pending)(const struct bpf_stream *s)
{
	/* Relaxed: a figure. A stale one makes a reader stop early at most. */
	return (size_t)(bse_u64_load_relaxed(&s->log) & BSE_LOG_PENDING); /* ORD(log_pending:A) */
}

/* What a writer saw of a stream: its log. */
typedef uint64_t bse_seen;

static inline bse_seen bse_log_seen(const struct bpf_stream *s)
{
	/* Relaxed: only a guess for the compare-exchange. */
	return bse_u64_load_relaxed(&s->log);				/* ORD(log_seen:A) */
}

/*
 * May a writer go straight on, with what it saw? Not where a flag tells it what
 * else is to be done, nor while the gate is shut.
 */
static inline bool bse_log_has_room(const struct bpf_stream *s, bse_seen seen, uint32_t bytes)
{
	/*
	 * Acquire, with news_told:A: the message that tells what was refused
	 * before is in the log, and so before this one.
	 */
	const int64_t gate =
		(int32_t)bse_u32_load_acquire(&s->gate);		/* ORD(log_has_room:A) */

	return (int64_t)((uint32_t)seen & ~BSE_LOG_ROOM_WAITED) + bytes <= gate;
}

/* 0 if there is room in what was seen; else why not. */
static inline int bse_log_room(struct bpf_stream *s, bse_seen seen, uint32_t bytes)
{
	return seen & BSE_LOG_CLOSED ? -EPIPE :
	       bytes + ((uint32_t)seen & BSE_LOG_PENDING) > bse_capacity(s) ? -ENOSPC : 0;
}

/*
 * Makes a chain that fits what was seen the newest part of the log, and charges
 * it. False if the log changed: then it did nothing, and has seen the new log.
 * @straight: bse_log_has_room() said so, thus no flag is to be taken away.
 */
static inline bool (bse_log_try_publish)(struct bpf_stream *s, bse_seen *seen, bse_link newest,
					 struct bpf_stream_elem *oldest, uint32_t bytes,
					 bool straight)
{
	const uint32_t flags = straight ? 0 : BSE_LOG_READER_WAITS;

	/* Private until publish:A. */
	oldest->node = (bse_link)(*seen >> BSE_LOG_SHIFT);
	/*
	 * Release, with detach:B: who detaches this chain sees its texts and
	 * links. That the head may have gone and come back (ABA) does no harm:
	 * the link is its number, nothing more. Acquire, with log_arm:A: who
	 * takes READER_WAITS away finds the sleeper's word and descriptor.
	 */
	return bse_u64_cas_acq_rel(&s->log, seen,			/* ORD(publish:A) */
				   (uint64_t)newest << BSE_LOG_SHIFT |
				   (((uint32_t)*seen & ~flags) + bytes));
}

/* Takes all, newest first; 0: none. @pending is what was pending, and stays. */
static inline bse_link bse_log_detach(struct bpf_stream *s, size_t *pending)
{
	/* Relaxed: a hint. A stale "empty" is seen by the next call. */
	uint64_t word = bse_u64_load_relaxed(&s->log);			/* ORD(detach:A) */

	/* Acquire, with publish:A of all: an RMW passes a release on. */
	if (word >> BSE_LOG_SHIFT)
		word = bse_u64_fetch_and_acquire(&s->log, BSE_LOG_LOWER); /* ORD(detach:B) */
	*pending = (size_t)(word & BSE_LOG_PENDING);
	return (bse_link)(word >> BSE_LOG_SHIFT);
}

static inline void bse_log_refund(struct bpf_stream *s, uint32_t bytes)
{
	/* Relaxed: a number. Never below 0 (I3), so it borrows no bit. */
	const uint64_t word = bse_u64_fetch_sub_relaxed(&s->log, bytes); /* ORD(refund:A) */

	if (BSE_LIKELY(!(word & BSE_LOG_ROOM_WAITED)))
		return;
	/* Acquire, with log_arm:A: the word says that somebody sleeps. */
	bse_u64_fetch_and_acquire(&s->log, ~(uint64_t)BSE_LOG_ROOM_WAITED); /* ORD(refund:B) */
	bse_wake(s, &s->writers);
}

/*
 * Asks whoever publishes, or refunds, to wake others: @flag. With READER_WAITS
 * it must find nothing pending, else no room for @bytes. 0; 1 if it finds
 * something, or room; -ESHUTDOWN if neither, and the stream is closed.
 */
static int (bse_log_arm)(struct bpf_stream *s, uint32_t flag, uint32_t bytes)
{
	const uint32_t most = flag == BSE_LOG_READER_WAITS ? 0 : bse_capacity(s);
	/* Relaxed: a guess, which log_arm:A proves current. */
	uint64_t word = bse_u64_load_relaxed(&s->log);			/* ORD(log_arm:B) */

	do {
		if (flag == BSE_LOG_READER_WAITS ? (word & BSE_LOG_PENDING) != 0 :
		    ((uint32_t)word & BSE_LOG_PENDING) + bytes <= most)
			return 1;
		if (word & BSE_LOG_CLOSED)
			return -ESHUTDOWN;
		/*
		 * Also if the flag is there. Release, with publish:A, refund:B
		 * and close:A: the sleeper's word, or the descriptor, is there.
		 */
	} while (!bse_u64_cas_acq_rel(&s->log, &word, word | flag));	/* ORD(log_arm:A) */
	return 0;
}

/* ---- [6e] LOCK ------------------------------------------------------- */
/*
 * bse_lock() gives 0; 1 if the holder before is gone and has left the reader's
 * part of the stream in the middle of a change; -EDEADLK if this thread has the
 * lock; -EBUSY if it shall not wait; or -EPERM if gettid() is refused.
 */
#ifdef __KERNEL__
/* A mutex that knows its holder. Interrupts cannot have it. */
static int (bse_lock)(bse_mutex *lock, bool wait)
{
	/* Relaxed: this task's own address is there only if it put it there. */
	if (bse_ptr_load_relaxed(&lock->owner) == current)		/* ORD(mutex:A) */
		return -EDEADLK;
	if (wait)
		mutex_lock(&lock->mutex);
	else if (!in_task() || !mutex_trylock(&lock->mutex))
		return -EBUSY;
	/* Relaxed: for mutex:A in this task. */
	bse_ptr_store_relaxed(&lock->owner, current);			/* ORD(mutex:B) */
	return 0;
}

static void bse_unlock(bse_mutex *lock)
{
	/* Relaxed: as mutex:B. */
	bse_ptr_store_relaxed(&lock->owner, NULL);			/* ORD(mutex:C) */
	mutex_unlock(&lock->mutex);
}

/* A task that has a mutex does not go away. */
#define bse_sink_call(lock, take, ctx, piece, n) (take)(ctx, piece, n)
#else /* !__KERNEL__ */
/* 0, or the holder's id and a flag: so a reader knows itself, and who lives. */
#define BSE_LOCK_WAITED 0x80000000u	/* somebody may be waiting */

static int bse_lock_take(bse_mutex *lock, bool wait)
{
	const uint32_t mine = bse_thread_id();
	uint32_t waited = 0;	/* after a nap others may be waiting as well */
	uint32_t alive = 0;	/* the holder that was found alive since */
	uint32_t holder;
	uint32_t word;

	while (mine) {
		word = 0;
		/* Acquire, with unlock:A: all is as the last reader left it. */
		if (bse_u32_cas_acquire(&lock->word, &word, mine | waited)) /* ORD(lock:A) */
			return 0;
		holder = word & ~BSE_LOCK_WAITED;
		if (holder == mine)
			return -EDEADLK;
		if (bse_thread_is_gone(holder, wait && holder != alive)) {
			/* Acquire, as lock:A. Of several, one has it. */
			if (!bse_u32_cas_acquire(&lock->word, &word,	/* ORD(lock:B) */
						 mine | waited | (word & BSE_LOCK_WAITED)))
				continue;
			/* Relaxed, both: who wrote it is gone. */
			word = bse_u32_load_relaxed(&lock->in_sink);	/* ORD(lock:D) */
			bse_u32_store_relaxed(&lock->in_sink, 0);	/* ORD(lock:E) */
			BSE_BARRIER();	/* before the backlog changes */
			return !word;
		}
		if (!wait)
			return -EBUSY;
		/* Relaxed: only asks the holder to wake somebody. */
		if (!(word & BSE_LOCK_WAITED) &&
		    !bse_u32_cas_relaxed(&lock->word, &word,		/* ORD(lock:C) */
					 word | BSE_LOCK_WAITED))
			continue;
		/* Not for ever: the holder may end before it wakes others. */
		alive = bse_nap(&lock->word, word | BSE_LOCK_WAITED, BSE_NAP_MS) ? 0 : holder;
		waited = BSE_LOCK_WAITED;
	}
	return -EPERM;
}

/* Cancellation off first: a thread that is cancelled must not hold the lock. */
static int (bse_lock)(bse_mutex *lock, bool wait)
{
	int saved = errno;
	int cancel;
	int ret;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	ret = bse_lock_take(lock, wait);
	errno = saved;
	if (ret < 0)
		pthread_setcancelstate(cancel, NULL);
	else
		lock->cancel = cancel;
	return ret;
}

static void bse_unlock(bse_mutex *lock)
{
	int saved = errno;
	int cancel = lock->cancel;

	/* Release, with lock:A. */
	if (bse_u32_xchg_release(&lock->word, 0) & BSE_LOCK_WAITED)	/* ORD(unlock:A) */
		bse_futex(&lock->word, BSE_FUTEX_WAKE_PRIVATE, 1, NULL);
	pthread_setcancelstate(cancel, NULL);
	errno = saved;
}

static inline int (bse_sink_call)(bse_mutex *lock, bse_take *take, void *ctx,
				  const struct bse_piece *piece, unsigned int n)
{
	int taken;

	/* Relaxed, both: read when this thread is gone, so in its order. */
	BSE_BARRIER();
	bse_u32_store_relaxed(&lock->in_sink, 1);			/* ORD(sink_call:A) */
	BSE_BARRIER();
	taken = take(ctx, piece, n);
	BSE_BARRIER();
	bse_u32_store_relaxed(&lock->in_sink, 0);			/* ORD(sink_call:B) */
	BSE_BARRIER();
	return taken;
}
#endif /* !__KERNEL__ */
#endif /* BSE_STANDALONE */

/* ---- [6f] NEWS AND WAKING -------------------------------------------- */
#ifdef BSE_STANDALONE
#ifdef __KERNEL__
BSE_API uint64_t bpf_stream_clock_monotonic(void)
{
	return ktime_get_mono_fast_ns();
}

BSE_API uint64_t bpf_stream_clock_realtime(void)
{
	return ktime_get_real_fast_ns();
}

#define bse_writer_id() (in_task() ? (uint32_t)task_pid_nr(current) : \
			 0x80000000u + (uint32_t)raw_smp_processor_id())
#else /* !__KERNEL__ */
static uint64_t bse_clock(clockid_t id)
{
	struct timespec now = { 0 };

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

BSE_API uint64_t bpf_stream_clock_monotonic(void)
{
	return bse_clock(CLOCK_MONOTONIC);
}

BSE_API uint64_t bpf_stream_clock_realtime(void)
{
	return bse_clock(CLOCK_REALTIME);
}

BSE_API uint64_t bpf_stream_clock_coarse(void)
{
	return bse_clock(CLOCK_MONOTONIC_COARSE);
}

#define bse_writer_id() (bse_thread_id() & BSE_TID)
#endif /* !__KERNEL__ */

/*
 * Refused messages are told by the next one that is stored: it carries how many
 * there were up to then. A refusal shuts the gate, so that writers take the way
 * that looks at the counter. Who has told opens the gate, if it is as it was
 * found. What jumps out, or fails, in between has told nothing, and has
 * opened nothing. The gate is the capacity; or 0, if nobody has opened it yet,
 * and always with a clock; or it has this bit, and the counter's lower ones.
 */
#define BSE_GATE_SHUT 0x80000000u

struct bse_news {
	uint64_t lost;		/* refusals so far; 0: not told */
	uint32_t flags;		/* of the element that has it */
	uint32_t gate;		/* as it was found */
};

static inline void bse_note_refusal(struct bpf_stream *s, enum bpf_stream_refusal why,
				    uint64_t messages, uint64_t bytes)
{
	bse_figure_add(&s->refused[why][0], messages);
	if (bytes)	/* adding a constant 0, Clang 14 would call libatomic on 32-bit x86 */
		bse_figure_add(&s->refused[why][1], bytes);
	/*
	 * Release, with news_get:B and records_end:A: who has counted this one
	 * sees what this thread stored before.
	 */
	messages += bse_u64_fetch_add_release(&s->refusals, messages);	/* ORD(note_refusal:A) */
	/* Release, with news_get:A: the counter has it. */
	bse_u32_store_release(&s->gate,					/* ORD(note_refusal:B) */
			      BSE_GATE_SHUT | (uint32_t)messages);
}

static inline void bse_news_get(struct bpf_stream *s, struct bse_news *news)
{
	/* Acquire, with note_refusal:B: all that was refused is counted. */
	news->gate = bse_u32_load_acquire(&s->gate);			/* ORD(news_get:A) */
	/* Acquire, with note_refusal:A: it is told behind what came before. */
	news->lost = news->gate & BSE_GATE_SHUT ?
		     bse_u64_load_acquire(&s->refusals) : 0;		/* ORD(news_get:B) */
	news->flags = (news->lost ? BSE_ELEM_LOST : 0) | (s->options.clock ? BSE_ELEM_STAMP : 0);
}

/* Private until publish:A. */
static inline void bse_news_write(const struct bpf_stream *s, const struct bse_news *news,
				  struct bpf_stream_elem *elem)
{
	char *at = elem->str;
	uint64_t time = 0;
	uint32_t tid = 0;

	if (elem->info & BSE_ELEM_STAMP) {
		if (s->options.clock) {
			time = s->options.clock();
			tid = bse_writer_id();
		}
		bse_copy(at, &time, sizeof(time));
		bse_copy(at + 8, &tid, sizeof(tid));
		at += 16;
	}
	if (elem->info & BSE_ELEM_LOST)
		bse_copy(at, &news->lost, sizeof(news->lost));
}

/*
 * The message is published. The gate stays shut if another refusal came since:
 * that one has changed it. Of two that come in the other order as counted, the
 * gate has the smaller number: it is shut, and the counter is right.
 */
static inline void bse_news_told(struct bpf_stream *s, const struct bse_news *news)
{
	const uint32_t open = s->options.clock ? 0 : bse_capacity(s);
	uint32_t gate = news->gate;

	/* Release, with log_has_room:A: the message is in the log. */
	if (gate != open)
		bse_u32_cas_acq_rel(&s->gate, &gate, open);		/* ORD(news_told:A) */
}

/* What the backlog's head tells of its time, and of refusals before it. */
static inline uint64_t bse_news_read(const struct bpf_stream_elem *elem, struct bse_place *place)
{
	const char *at = elem->str;
	uint64_t lost = 0;

	if (elem->info & BSE_ELEM_STAMP) {
		bse_copy(&place->time, at, sizeof(place->time));
		bse_copy(&place->tid, at + 8, sizeof(place->tid));
		at += 16;
	}
	if (elem->info & BSE_ELEM_LOST)
		bse_copy(&lost, at, sizeof(lost));
	return lost;
}

#ifdef BSE_HAS_THREADS
/* ---- the descriptor ---- */
/* -1: none, or the parent's. */
static inline int bse_event_fd(const struct bpf_stream *s)
{
	/* Acquire, with poll_fd:B: the descriptor is made. */
	const uint64_t event = bse_u64_load_acquire(&s->event);		/* ORD(event_fd:A) */

	return event >> 32 == bse_process.generation ? (int)((int64_t)(uint32_t)event - 1) : -1;
}

static void bse_event_set(struct bpf_stream *s)
{
	const int fd = bse_event_fd(s);
	const uint64_t one = 1;
	int saved = errno;

	/* It fails where it is readable as far as can be. */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		errno = saved;
}

/* False: there is none. */
static bool bse_event_clear(struct bpf_stream *s)
{
	const int fd = bse_event_fd(s);
	uint64_t count;
	int saved = errno;

	if (fd >= 0 && read(fd, &count, sizeof(count)) < 0)
		errno = saved;
	return fd >= 0;
}
#else
#define bse_event_set(s) ((void)(s))
#define bse_event_clear(s) ((void)(s), false)
#endif

static BSE_NOINLINE void bse_wake_readers(struct bpf_stream *s)
{
	bse_wake(s, &s->readers);
	bse_event_set(s);
}

/* A chain was published: @seen is what it was put on. */
static inline void bse_published(struct bpf_stream *s, bse_seen seen)
{
	if (seen & BSE_LOG_READER_WAITS)
		bse_wake_readers(s);
}

/*
 * With the lock held, at a reader's end. If nothing is pending, the descriptor
 * is cleared first and watched then: what is published in between makes the
 * arming fail, and what is published later sets it.
 */
static inline int bse_reader_done(struct bpf_stream *s, int ret)
{
	/* Relaxed: what came later sets the descriptor itself. */
	const uint64_t word = bse_u64_load_relaxed(&s->log);		/* ORD(reader_done:A) */

	if (word & BSE_LOG_PENDING)
		return ret;
	if (word & BSE_LOG_CLOSED)
		return ret ? ret : -ESHUTDOWN;
	if (bse_event_clear(s) && bse_log_arm(s, BSE_LOG_READER_WAITS, 0))
		bse_event_set(s);
	return ret;
}
#endif /* BSE_STANDALONE */

/* ---- [6g] STREAMS, SINKS AND COUNTS ---------------------------------- */

/* Gathered in memory, it needs no more; @ctx is where the next byte goes. */
static int bse_take_memory(void *ctx, const struct bse_piece *piece, unsigned int n)
{
	char **at = ctx;

	(void)n;	/* one */
	*at += piece->iov_len;
	return (int)piece->iov_len;
}

#ifdef BSE_USER
/* As take_memory, until a byte cannot be written there. */
static int bse_take_user(void *ctx, const struct bse_piece *piece, unsigned int n)
{
	void BSE_USER **at = ctx;
	size_t bytes = 0;
	size_t left = 0;
	unsigned int i;

	for (i = 0; i < n && !left; i++) {
		left = copy_to_user(*at + bytes, piece[i].iov_base, piece[i].iov_len);
		bytes += piece[i].iov_len - left;
	}
	*at += bytes;
	return bytes ? (int)bytes : -EFAULT;
}
#endif

#ifdef BSE_STANDALONE
BSE_API int bpf_stream_init(struct bpf_stream *s, const struct bpf_stream_options *opts)
{
	*s = (struct bpf_stream){ .options = opts ? *opts : (struct bpf_stream_options){ 0 } };
#ifdef __KERNEL__
	mutex_init(&s->lock.mutex);
	init_waitqueue_head(&s->bell.queue);
	init_irq_work(&s->bell.work, bse_bell_ring);
#endif
	bse_news_told(s, &(struct bse_news){ 0 });
	return bse_capacity(s) ? 0 : -EINVAL;
}

/* Nobody is beside; all elements are gone. */
static void bse_stream_reset(struct bpf_stream *s)
{
#ifdef __KERNEL__
	irq_work_sync(&s->bell.work);
#else
	const int fd = bse_event_fd(s);

	if (fd >= 0)
		close(fd);
#endif
	s->event = (bse_u64){ 0 };
	s->log = (bse_u64){ 0 };
	s->place.offset = 0;
}

/* Bytes were taken: what comes next has the time of none before it. */
static inline void bse_place_reset(struct bpf_stream *s)
{
	s->place.offset = 0;
	s->place.time = 0;
	s->place.tid = 0;
}

static inline struct bse_chain bse_stage_load(const struct bpf_stream_stage *ss)
{
	return (struct bse_chain){ ss->log, ss->tail, ss->len, ss->messages };
}

#define bse_stage_whole(ss) bse_stage_load(ss)

static inline void bse_stage_store(struct bpf_stream_stage *ss, const struct bse_chain *chain)
{
	*ss = (struct bpf_stream_stage){ chain->newest, chain->oldest, chain->bytes,
					 chain->messages };
}

struct bse_scratch {
	char text[BPF_STREAM_PRINT_MAX];
};

#define bse_scratch_get(scratch) ((scratch)->text)
#define bse_scratch_put(scratch) ((void)0)

#ifdef BSE_HAS_THREADS
static int bse_take_fd(void *ctx, const struct bse_piece *piece, unsigned int n)
{
	int saved = errno;
	ssize_t taken = writev(*(const int *)ctx, piece, (int)n);
	int err = errno;

	errno = saved;
	return taken < 0 ? -err : (int)taken;
}
#endif

/* Written only with the reader's lock held, so there is no need to add. */
static inline void bse_note_delivered(struct bpf_stream *s, uint64_t messages, uint64_t bytes)
{
	bse_figure_set(&s->delivered_messages, bse_figure_get(&s->delivered_messages) + messages);
	bse_figure_set(&s->delivered_bytes, bse_figure_get(&s->delivered_bytes) + bytes);
}

static inline void bse_note_lost(struct bpf_stream *s, uint64_t bytes)
{
	bse_figure_set(&s->lost, bse_figure_get(&s->lost) + bytes);
}

static void bse_get_counts(const struct bpf_stream *s, struct bpf_stream_stats *stats)
{
	size_t group;
	unsigned int i;

	stats->capacity = bse_options_of(s, &group);
	stats->lost = bse_figure_get(&s->lost);
	stats->delivered.messages = bse_figure_get(&s->delivered_messages);
	stats->delivered.bytes = bse_figure_get(&s->delivered_bytes);
	for (i = 0; i < BPF_STREAM_REFUSALS; i++) {
		stats->refused[i].messages = bse_figure_get(&s->refused[i][0]);
		stats->refused[i].bytes = bse_figure_get(&s->refused[i][1]);
	}
}
#endif /* BSE_STANDALONE */

#ifdef BPF_STREAM_ENVIRONMENT
#include BPF_STREAM_ENVIRONMENT
#endif

/* ==== [7] PROOF ======================================================== */
/*
 * Invariants. "Quiet" means that no call is under way.
 *
 *   I1  An element is reachable from one place only: the chain of the call or
 *       stage that made it, then one log, then the backlog of that stream, then
 *       the call of the reader that gives it back. Once it is published, only
 *       its link changes, by the holder of the reader's lock.
 *   I2  A slot is touched only by its own thread, between enter and leave, at
 *       the nesting level that it is for; or with no reservation under way, and
 *       the depth so high that no handler uses a slot, or signals blocked in
 *       the child of a fork. In kernels: by its CPU, which the task cannot
 *       leave meanwhile; or when that CPU is dead, or no writer is left. What
 *       interrupts a reservation finds a deeper level, and leaves it before the
 *       reservation goes on, or jumps out, and it never goes on. After every
 *       instruction a slot is usable: it counts at least the elements of its
 *       page that are reachable, and has room only while it has a page. A page
 *       that a slot has is neither retired nor listed.
 *   I3  Pending is the sum of what all published and not wholly refunded
 *       elements have left, plus what a reader took and has not yet refunded.
 *       A reader refunds what it took, once. When a stream is drained and
 *       quiet, pending is 0.
 *   I4  A page that is not free has one owner: a slot, a call, or a list of
 *       partial pages; or none, if it is retired. Its reference count is,
 *       modulo 2^32: the elements handed out of it if it is retired, else 0,
 *       minus those given back. If it is retired, one change makes it 0, and
 *       whoever made that owns the page; before, no reader does. An owner that
 *       finds all elements given back may start it afresh, with a count of 0.
 *   I5  An element is counted, in slot, table or reference count, before it is
 *       published: no page is free while an element of it is reachable.
 *   I6  A page is on one list at most. A list's tag changes with every change
 *       of the list, and comes round after 2^38 of them; what the table says of
 *       a page is frozen while it is listed, but for its reference count.
 *   I7  At most a quarter as many slots as the pool has pages may keep one, and
 *       one more for each jump out between a slot's mark and its count. The
 *       count is at most the number of marks.
 *   I8  Links in a chain go from newest to oldest; in a backlog from oldest
 *       to newest. The elements of one message or group are neighbours.
 *   I9  An element holds at least one byte, and consumed is less than its
 *       length as long as it is reachable.
 *   I10 If the lock's holder is gone, the backlog is whole if the lock says
 *       that it was in its sink; else the backlog is not looked at any more.
 *   I11 What records have told as lost is at most what was refused. Who finds
 *       the gate open comes behind a message that tells of all refusals that
 *       happened before.
 *   I12 While somebody sleeps, either the flag for that is set in the log, or
 *       whoever took it away has not yet changed the sleepers' word, or is gone
 *       and the nap ends. As well, the descriptor: it is readable, or the flag
 *       is set, or a writer or reader is about to set it.
 *
 * Ordering pairs: what each guarantees, and its litmus test. An access in no
 * pair is relaxed, and says at its line why that is enough.
 *
 *   publish:A / detach:B - who detaches an element sees its text, length and
 *       links, as only read-modify-writes change the word - planned
 *   page_retire:A / page_give_back:A - who brings a page's count to 0 comes
 *       after all earlier owners and readers of the page, and so may hand it
 *       out again; each pairs with itself, too - planned
 *   page_give_back:A / page_give_back:B - so does a reader that finds that only
 *       its own elements are left - planned
 *   page_retire:A / page_give_back:B - so, too, if the owner was last - planned
 *   list_push:B / list_pop:A - who looks at a page at the top of a free list
 *       sees its next - planned
 *   list_push:B / list_pop:C - who takes a page comes after the end of its
 *       former life and, if it is partial, has its room and count - planned
 *   page_give_back:A / page_restart:A - an owner that finds all elements given
 *       back comes after every reader of the page's former life - planned
 *   pool_publish:A / pool_found:A - who sees the pool's address sees it laid
 *       out - planned
 *   load:A / attach:A - who finds the hook set up has its key - planned
 *   unlock:A / lock:A - a reader finds backlog and counts as the reader before
 *       it left them - planned
 *   unlock:A / lock:B - so does one that takes over: the word of the holder
 *       that is gone passes the release on - planned
 *   note_refusal:B / news_get:A - who finds the gate shut finds counted what
 *       shut it - planned
 *   note_refusal:A / news_get:B - a message that tells of a refusal comes
 *       behind what the refused thread had stored before - planned
 *   note_refusal:A / records_end:A - a reader that tells of a refusal has taken
 *       what the refused thread had stored before, or finds it - planned
 *   news_told:A / log_has_room:A - who finds the gate open comes behind the
 *       message that told - planned
 *   log_arm:A / publish:A - who takes READER_WAITS away sees that a reader
 *       sleeps, and its descriptor - planned
 *   log_arm:A / refund:B - so does who takes ROOM_WAITED away - planned
 *   log_arm:A / close:A - and so who closes - planned
 *   poll_fd:B / event_fd:A - who has the descriptor's number comes after it was
 *       made - planned
 *   wake:A / sleep_key:A - who has the changed word as its key sees the log as
 *       it was before the change - planned
 *
 * In the drop-in llist_add_batch() and llist_del_all() stand for publish:A and
 * detach:B, and its mutex for unlock:A and lock:A. Pages go round by xchg() and
 * cmpxchg(), which order all.
 */

/* ==== [8] LIST ========================================================= */
/*
 * The log of a stream is a Treiber stack that is only ever taken as a whole: so
 * there is no pop, and no ABA. A chain is such a list before it is published;
 * its oldest element's link is still free to point at the log's head.
 */

/* Puts one element, or a whole chain, on the newer end. */
static inline void bsi_chain_add(struct bse_chain *chain, bse_link newest, bse_link oldest,
				 uint32_t bytes)
{
	/* Private until publish:A, so plain stores will do. */
	bse_set_next(oldest, chain->newest);
	if (!chain->newest)
		chain->oldest = oldest;
	chain->newest = newest;
	chain->bytes += bytes;
}

/* ==== [9] PAGE ========================================================= */
/*
 * Memory is reserved by moving a mark up in a page of the thread, without a
 * read-modify-write: `given` in its slot counts what went out. The page's own
 * count, which readers share, goes down from 0 by what comes back. The owner
 * adds `given` when it retires the page, and whoever then makes the count 0
 * knows that nobody else is left (I4).
 *
 * An owner that stops before the page is full leaves it to others, with its
 * room and `given`, on a list of its group. Nothing makes that page free but
 * the one who takes it from there, and finds all elements back.
 */

/* ---- [9a] PAGES AND SLOTS -------------------------------------------- */

/* A page with less room is not worth to be left to others. */
#define BSI_PAGE_WORTH 256u

/*
 * Where a large first element is put: its text begins at a multiple of 64. From
 * the start of a page to just behind the start of another, a copy reads where,
 * by the lower bits of the address, it has just written: that is slow.
 */
#define BSI_PAGE_LARGE 2048u
#define BSI_PAGE_START (64u - BSE_PAGE_HEAD - (uint32_t)offsetof(struct bpf_stream_elem, str))

static inline void bsi_page_empty(struct bse_space *space)
{
	space->room = BSE_PAGE_ROOM;
	space->given = 0;
}

/* Were @given elements given back? @refs is 0 minus those that were (I4). */
static inline bool bsi_page_is_back(uint32_t refs, uint32_t given)
{
	return !(uint32_t)((uint64_t)refs + given);
}

/* The page gets no more elements, and is free when all have come back. */
static void bsi_page_retire(const struct bse_space *space)
{
	bse_u32 *refs = bse_page_ref(space->page);

	/*
	 * Release: this owner is finished with the page. If it were relaxed, a
	 * reader could hand it out with texts still on their way. Acquire: at 0
	 * all readers are finished (I4). If it were relaxed, the next text
	 * could be written before they have read theirs.
	 */
	if (bsi_page_is_back(bse_u32_fetch_add_acq_rel(refs, space->given), /* ORD(page_retire:A) */
			     space->given))
		bse_page_put(space->page);
}

/* @count elements of the page are not used any more. */
static void bsi_page_give_back(bse_page page, uint32_t count)
{
	bse_u32 *refs = bse_page_ref(page);

	/*
	 * Acquire, with page_retire:A and page_give_back:A: if these are the
	 * last ones, all others are finished, and nobody else changes the
	 * count. With an owner it lacks `given`, and no change makes it 0 (I5).
	 */
	if (bse_u32_load_acquire(refs) == count)			/* ORD(page_give_back:B) */
		/* Relaxed: published with the page, which is free. */
		bse_u32_store_relaxed(refs, 0);				/* ORD(page_give_back:C) */
	/*
	 * Release: this reader is finished with these elements. Acquire: at 0
	 * so are all others, and the owner (I4). If it were relaxed, the page
	 * could have a new life before another reader's last look.
	 */
	else if (bse_u32_fetch_sub_acq_rel(refs, count) != count)	/* ORD(page_give_back:A) */
		return;
	bse_page_put(page);
}

/*
 * The caller's page starts afresh if all its elements came back. A reader that
 * gives the last one back now does not see 0, as `given` is not added yet: it
 * leaves the page alone. The caller that looked too early just goes on with it.
 */
static bool bsi_page_restart(struct bse_space *space)
{
	bse_u32 *refs = bse_page_ref(space->page);

	/* Acquire, with page_give_back:A: no reader is left in the page. */
	if (!bsi_page_is_back(bse_u32_load_acquire(refs), space->given)) /* ORD(page_restart:A) */
		return false;
	/* Relaxed: nobody else has anything of this page. */
	bse_u32_store_relaxed(refs, 0);					/* ORD(page_restart:B) */
	BSE_BARRIER();	/* what jumps out here leaves too large a count, not too small (I2) */
	bsi_page_empty(space);
	return true;
}

/* The caller's page, with what is left of it, is for others. */
static void bsi_page_leave(struct bse_space *space, uint32_t list)
{
	if (bsi_page_restart(space) || space->room < BSI_PAGE_WORTH ||
	    !bse_partial_put(list, space))
		bsi_page_retire(space);
}

/* Takes pages that others left until one has room; the others are retired. */
static bool bsi_page_adopt(struct bse_space *space, uint32_t list, uint32_t size, uint32_t tries)
{
	for (; tries && bse_partial_get(list, space); tries--) {
		if (bsi_page_restart(space) || space->room >= size)
			return true;
		bsi_page_retire(space);
	}
	return false;
}

/* A page with room. What fills a page leaves the first partial one as it is. */
static int bsi_page_find(struct bse_space *space, uint32_t list, uint32_t size, bool fills)
{
	uint32_t i;
	int err;

	if (!fills && bsi_page_adopt(space, list, size, 1))
		return 0;
	err = bse_page_get(&space->page);
	bsi_page_empty(space);
	for (i = 0; err == -ENOMEM && i < BSE_LISTS; i++) {
		if (bsi_page_adopt(space, (list + i) % BSE_LISTS, size, INT_MAX))
			err = 0;
	}
	return err == -ENOMEM ? bse_denied() : err;
}

/* Of a thread or CPU that uses no slot (I2): it ends, or releases. */
static void bsi_slots_release(struct bse_slot *slot)
{
	struct bse_space space;
	uint32_t i;

	for (i = 0; i < BSE_SLOTS; i++, slot++) {
		/* Emptied first: see bsi_page_turn(). */
		space = bse_slot_leave(slot);
		if (space.page)
			bsi_page_leave(&space, i < BSE_LISTS ? i : BSE_MIXED);
		bse_unkeep(slot);
	}
}

/* Between enter and leave: room in another page. Who keeps none leaves it. */
static BSE_NOINLINE int bsi_page_turn(struct bse_slot *slot, uint32_t list, uint32_t size,
				      bse_link *at)
{
	/* Full at once: what the slot has is left alone, unless it is empty. */
	const bool fills = size > BSE_PAGE_ROOM - BSI_PAGE_START - BSI_PAGE_WORTH;
	struct bse_space space = { .room = 0 };
	int err;

	/* Emptied first: else a jump could leave it a page that is free. */
	if (slot && (!fills || (slot->space.page && bsi_page_restart(&slot->space))))
		space = bse_slot_leave(slot);
	if (!space.page || !bsi_page_restart(&space)) {
		if (space.page)
			bsi_page_retire(&space);
		err = bsi_page_find(&space, list, size, fills);
		if (err)
			return err;
	}
	if (size >= BSI_PAGE_LARGE && space.room == BSE_PAGE_ROOM)
		space.room -= BSI_PAGE_START;
	*at = bse_link_at(space.page, BSE_PAGE_ROOM - space.room);
	space.room -= size;
	space.given++;
	/* Retired by a store: before publish:A nobody else knows it (I4). */
	if (fills && space.given == 1)
		bse_u32_store_relaxed(bse_page_ref(space.page), 1);	/* ORD(page_turn:A) */
	else if (slot && !fills && (slot->keeps || bse_may_keep(slot)))
		bse_slot_take(slot, &space);
	else
		bsi_page_leave(&space, list);
	return 0;
}

/*
 * Counted before it can be published (I5): else the page could become free
 * under it. A handler that jumps out behind this costs the page.
 */
static inline bse_link bsi_slot_reserve(struct bse_slot *slot, uint32_t size)
{
	struct bse_space *space = &slot->space;
	const uint32_t room = space->room;

	space->given++;
	space->room = room - size;
	return bse_link_at(space->page, BSE_PAGE_ROOM - room);
}

/* @at_hand: only in the slot of depth 0; -EBUSY: it has not the room. */
static BSE_INLINE int bsi_page_reserve(uint32_t list, uint32_t size, bool at_hand, bse_link *at)
{
	uint32_t depth;
	struct bse_slot *slot = bse_enter(list, &depth);
	int err = 0;

	if (slot && slot->space.room >= size && !(at_hand && depth))
		*at = bsi_slot_reserve(slot, size);
	else if (at_hand)
		err = -EBUSY;
	else
		err = bsi_page_turn(slot, depth ? BSE_MIXED : list, size, at);
	bse_leave(depth);
	return err;
}

/* ---- [9b] WHAT COMES BACK -------------------------------------------- */

/* Elements on their way back, by page: its count is touched once for many. */
#define BSI_RETURNS 16u

struct bsi_returned {
	bse_page page;
	uint32_t count;
};

struct bsi_returns {
	struct bsi_returned entry[BSI_RETURNS];	/* not worth clearing */
	struct bsi_returned *last;		/* the one used last */
	unsigned int used;			/* entries from the first on */
};

static inline void bsi_returns_init(struct bsi_returns *returns)
{
	returns->used = 0;
	returns->last = returns->entry;
	*returns->last = (struct bsi_returned){ .count = 0 };
}

static void bsi_returns_flush(struct bsi_returns *returns)
{
	unsigned int i;

	for (i = 0; i < returns->used; i++)
		bsi_page_give_back(returns->entry[i].page, returns->entry[i].count);
	bsi_returns_init(returns);
}

/* Makes the entry of @page the last one, with a count that may be 0. */
static BSE_NOINLINE void bsi_returns_find(struct bsi_returns *returns, bse_page page)
{
	struct bsi_returned *entry = returns->entry;
	struct bsi_returned *const end = entry + returns->used;

	while (entry < end && entry->page != page)
		entry++;
	if (entry == returns->entry + BSI_RETURNS) {
		/* All are taken: the one behind the last used goes. */
		entry = returns->last + 1 < entry ? returns->last + 1 : returns->entry;
		bsi_page_give_back(entry->page, entry->count);
		entry->count = 0;
	} else if (entry == end) {
		entry->count = 0;
		returns->used++;
	}
	entry->page = page;
	returns->last = entry;
}

static inline void bsi_returns_add(struct bsi_returns *returns, bse_page page)
{
	if (returns->last->page != page)
		bsi_returns_find(returns, page);
	returns->last->count++;
}

/* ==== [10] ELEMENT ===================================================== */
/*
 * A message that fits into a page is one element, a longer one is several of
 * them in a row, of which the last is marked. They are chained and published
 * together, so a reader never sees a part of a message without the rest.
 */

#define BSI_ELEM_HEAD ((uint32_t)offsetof(struct bpf_stream_elem, str))
#define BSI_ELEM_MAX (BSE_PAGE_ROOM - BSI_PAGE_START - BSI_ELEM_HEAD)

/* Texts up to here are copied without a call. */
#define BSI_SHORT 128u

/* What an element of @len bytes takes in its page. */
static inline uint32_t bsi_elem_size(size_t len)
{
	return ((uint32_t)len + BSI_ELEM_HEAD + 7) & ~7u;
}

/* Copies the first and the last @part of @n bytes: all, if they meet. */
static BSE_INLINE void bsi_copy_ends(char *to, const char *from, size_t n, size_t part)
{
	bse_copy(to, from, part);
	bse_copy(to + n - part, from + n - part, part);
}

/* By a call: knowing a bound, GCC would use rep movsq, which is much slower. */
static inline void bsi_copy_long(char *to, const char *from, size_t n)
{
	BSE_HIDE(n);
	bse_copy(to, from, n);
}

/* Copies @n bytes, at least 1. Of a constant size, a copy is a few moves. */
static BSE_INLINE void bsi_copy(char *to, const char *from, size_t n)
{
	if (n > BSI_SHORT)
		bsi_copy_long(to, from, n);
	else if (n > 64)
		bsi_copy_ends(to, from, n, 64);
	else if (n > 32)
		bsi_copy_ends(to, from, n, 32);
	else if (n > 16)
		bsi_copy_ends(to, from, n, 16);
	else if (n > 8)
		bsi_copy_ends(to, from, n, 8);
	else if (n >= 4)
		bsi_copy_ends(to, from, n, 4);
	else if (n >= 2)
		bsi_copy_ends(to, from, n, 2);
	else
		*to = *from;
}

/* Private until publish:A (I1): a handler that pushes gets other memory. */
static BSE_INLINE void bsi_elem_write(struct bpf_stream_elem *elem, const void *data, size_t len,
				      uint32_t info)
{
	const uint32_t prefix = bse_prefix_bytes(info);

	bse_unpoison(elem, BSI_ELEM_HEAD + prefix + len);
	bse_elem_set(elem, (uint32_t)len, info);
	BSE_HIDE(data);		/* else GCC warns of a short text at the copies for long ones */
	bsi_copy(elem->str + prefix, data, len);
}

/* The element is not used any more; its page is told later, with others. */
static inline void bsi_elem_release(const struct bpf_stream_elem *elem, bse_link link,
				    struct bsi_returns *returns)
{
	const char *end = bse_elem_text(elem) + bse_elem_len(elem);

	bse_poison(elem, ((size_t)(end - (const char *)elem) + 7) & ~(size_t)7);
	bse_release(link, returns);
}

/* Gives back a list that nobody else can reach. */
static void bsi_list_release(bse_link link)
{
	const struct bpf_stream_elem *elem;
	struct bsi_returns returns;
	bse_link next;

	bsi_returns_init(&returns);
	for (; link; link = next) {
		elem = bse_elem_of(link);
		/* Read first: a released element may be gone. */
		next = bse_elem_next(elem);
		bsi_elem_release(elem, link, &returns);
	}
	bsi_returns_flush(&returns);
}

/* One element with @len bytes of text, 1 to BSI_ELEM_MAX, onto the chain. */
static BSE_INLINE int bsi_elem_add(struct bse_chain *chain, uint32_t list, const void *data,
				   uint32_t len, uint32_t info)
{
	bse_link link = 0;
	int err = bse_reserve(list, bsi_elem_size(len + bse_prefix_bytes(info)), false, &link);

	if (err)
		return err;
	bsi_elem_write(bse_elem_of(link), data, len, info);
	bsi_chain_add(chain, link, link, len);
	return 0;
}

/*
 * A message of 1 to INT_MAX bytes, in an empty chain; or nothing at all. The
 * short part comes first: it lies beside others, and the rest fills pages. All
 * parts have @info, the first one also @first.
 */
static BSE_INLINE int bsi_message_make(struct bse_chain *chain, uint32_t list, const char *data,
				       size_t len, uint32_t info, uint32_t first)
{
	uint32_t part = (uint32_t)len;
	size_t pages;
	int err = 0;

	*chain = (struct bse_chain){ .bytes = 0 };
	if (len > BSI_ELEM_MAX) {
		part = (uint32_t)((len - 1) % BSI_ELEM_MAX) + 1;
		pages = bse_pool_pages();
		err = bse_access();
		/* Without pages there is no pool, which may come later. */
		if (!err && len > pages * BSI_ELEM_MAX)
			err = pages ? -E2BIG : -ENOMEM;
	}
	/* Where a prefix has no room, two parts are short. */
	if (part > BSI_ELEM_MAX - bse_prefix_bytes(first))
		part -= bse_prefix_bytes(first);
	while (!err && len) {
		err = bsi_elem_add(chain, list, data, part,
				   info | first | (part == len ? BSE_ELEM_ENDS : 0));
		first = 0;
		data += part;
		len -= part;
		part = (uint32_t)((len + BSI_ELEM_MAX - 1) % BSI_ELEM_MAX) + 1;
	}
	if (err) {
		/* All or nothing: what was got goes back. */
		bsi_list_release(chain->newest);
		*chain = (struct bse_chain){ .bytes = 0 };
	}
	return err;
}

/* ==== [11] CAPACITY ==================================================== */
/*
 * Capacity is charged where a message is published, in the same step. What is
 * asked before is a hint: another writer may be faster.
 */

/* Counts a refusal, and passes its error on. */
static int bsi_refuse(struct bpf_stream *s, int err, uint64_t messages, uint64_t bytes)
{
	enum bpf_stream_refusal why = err == -ENOSPC ? BPF_STREAM_REFUSED_FULL :
				      err == -ENOMEM ? BPF_STREAM_REFUSED_POOL :
				      err == -E2BIG ? BPF_STREAM_REFUSED_SIZE :
				      err == -EPERM ? BPF_STREAM_REFUSED_FOREIGN :
				      err == -EPIPE ? BPF_STREAM_REFUSED_CLOSED :
				      BPF_STREAM_REFUSED_INVALID;

	/* A length that is not valid says nothing. */
	bse_note_refusal(s, why, messages, why == BPF_STREAM_REFUSED_INVALID ? 0 : bytes);
	return err;
}

/* Before anything is allocated: can it fit, and does it look as if it did? */
static int bsi_capacity_check(struct bpf_stream *s, size_t bytes, bse_seen *seen)
{
	size_t capacity;
	int err;

	*seen = bse_log_seen(s);
	if (bytes <= BPF_STREAM_CAPACITY_LIMIT && bse_log_has_room(s, *seen, (uint32_t)bytes))
		return 0;
	/* In the child of a shared pool nothing else would be true. */
	err = bse_access();
	if (err)
		return err;
	capacity = bse_capacity(s);
	if (bytes > capacity)
		return bytes > INT_MAX || !capacity ? -EINVAL : -E2BIG;
	return bse_log_room(s, *seen, (uint32_t)bytes);
}

/* Stores a chain; or -ENOSPC, -EPIPE: others have filled or closed @s. */
static int bsi_publish(struct bpf_stream *s, bse_seen seen, const struct bse_chain *chain)
{
	int err;

	do {
		err = bse_log_room(s, seen, chain->bytes);
		if (err) {
			/* It may have been linked to the log. */
			bse_set_next(chain->oldest, 0);
			return err;
		}
	} while (!bse_log_try_publish(s, &seen, chain->newest, bse_elem_of(chain->oldest),
				      chain->bytes, false));
	bse_published(s, seen);
	return 0;
}

/* Stores a chain that has room for @news, and tells them with it. */
static int bsi_publish_news(struct bpf_stream *s, bse_seen seen, const struct bse_chain *chain,
			    const struct bse_news *news)
{
	int err;

	bse_news_write(s, news, bse_elem_of(chain->oldest));
	err = bsi_publish(s, seen, chain);
	if (!err)
		bse_news_told(s, news);
	return err;
}

/* ==== [12] FORMAT ====================================================== */
#ifdef BSE_STANDALONE
/*
 * An async-signal-safe formatter. Of the C library it calls memcpy, memset and
 * strnlen. It knows no locale, and takes a few hundred bytes of stack. It has
 * two grammars: C's for a va_list, and the kernel's for an array of u64. Both
 * write up to @size bytes and no NUL, and return the length of the whole text,
 * INT_MAX at most. For a format that they refuse, or a width or precision above
 * INT_MAX, it is a negative errno; then the content of @buf is undefined.
 */

/* ---- [12a] OUTPUT ---------------------------------------------------- */

/* One text: where it goes, and the arguments that are left */
struct bsi_fmt {
	char *buf;		/* unused while size is 0 */
	size_t size;		/* bytes that fit there */
	uint64_t len;		/* of the text; each part adds less than 2^32 */
	va_list *ap;		/* the caller's: to copy what was just stored is slow */
	bool is_array;		/* arguments and grammar are not C's, but the kernel's */
	const uint64_t *next;	/* argument in the array */
	size_t left;		/* arguments from there on */
	size_t used;		/* bytes taken in the area of [12d] */
};

#define BSI_FMT_SHORT	16u	/* bytes; a number of 32 bits has at most 11 */

/* @n bytes of @s, or @n times @c. All is counted, only what fits is touched. */
static BSE_INLINE void bsi_fmt_put(struct bsi_fmt *f, const char *s, char c, size_t n)
{
	size_t room = f->len < f->size ? f->size - (size_t)f->len : 0;
	size_t fits = n < room ? n : room;

	if (!s && fits <= BSI_FMT_SHORT)
		s = c == '0' ? "0000000000000000" : "                ";
	BSE_HIDE(s);		/* see bsi_elem_write() */
	if (s && fits > BSI_FMT_SHORT)
		bse_copy(f->buf + f->len, s, fits);
	else if (s && fits)
		bsi_copy(f->buf + f->len, s, fits);
	else if (fits)
		bse_fill(f->buf + f->len, c, fits);
	f->len += n;
}

/* ---- [12b] FIELDS ---------------------------------------------------- */

/* The bit of a flag is its character's distance from the blank. */
enum {
	BSI_FMT_SPACE = 1 << 0, BSI_FMT_ALT = 1 << ('#' - ' '), BSI_FMT_PLUS = 1 << ('+' - ' '),
	BSI_FMT_LEFT = 1 << ('-' - ' '), BSI_FMT_ZERO = 1 << ('0' - ' '),
};

/* One conversion, from behind its % to its letter */
struct bsi_fmt_spec {
	unsigned int flags;	/* BSI_FMT_LEFT, ... */
	int width;		/* 0: none */
	int precision;		/* negative: none */
	char length;		/* h l j z t, H for hh, L for ll, 0: none */
	char conv;		/* the conversion's letter */
	unsigned char count;	/* numbers of a text as %pI4 is one, else 0 */
	unsigned char group;	/* numbers between two separators */
	char separator;
};

static bool bsi_fmt_is_signed(const struct bsi_fmt_spec *spec)
{
	return spec->conv == 'd' || spec->conv == 'i';
}

/* A field: @n bytes of @s, with @zeros behind @head of them, and blanks. */
static inline void bsi_fmt_field_write(struct bsi_fmt *f, const struct bsi_fmt_spec *spec,
				       const char *s, size_t n, size_t head, size_t zeros)
{
	size_t width = (size_t)spec->width;
	size_t blanks = width > n + zeros ? width - n - zeros : 0;

	if (blanks && !(spec->flags & BSI_FMT_LEFT))
		bsi_fmt_put(f, NULL, ' ', blanks);
	if (zeros) {
		bsi_fmt_put(f, s, 0, head);
		bsi_fmt_put(f, NULL, '0', zeros);
		s += head;
		n -= head;
	}
	bsi_fmt_put(f, s, 0, n);
	if (blanks && (spec->flags & BSI_FMT_LEFT))
		bsi_fmt_put(f, NULL, ' ', blanks);
}

#define BSI_FMT_TEN(d) d "0" d "1" d "2" d "3" d "4" d "5" d "6" d "7" d "8" d "9"

/* Write the digits of @value from the last, just below @end, to the first. */
static inline char *bsi_fmt_digits(char *end, uint64_t value, char conv)
{
	static const char pairs[] = BSI_FMT_TEN("0") BSI_FMT_TEN("1") BSI_FMT_TEN("2")
		BSI_FMT_TEN("3") BSI_FMT_TEN("4") BSI_FMT_TEN("5") BSI_FMT_TEN("6")
		BSI_FMT_TEN("7") BSI_FMT_TEN("8") BSI_FMT_TEN("9");
	const char *letters = conv == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	uint64_t rest;	/* of 32 bits if they do: a division of 64 may be slow */

	if (conv == 'd' || conv == 'i' || conv == 'u') {
		for (; value > 99; value = rest) {
			rest = value >> 32 ? value / 100 : (uint32_t)value / 100;
			end -= 2;
			bse_copy(end, pairs + 2 * (size_t)(value - 100 * rest), 2);
		}
		*--end = pairs[2 * value + 1];
		if (value > 9)
			*--end = pairs[2 * value];
		return end;
	}
	do {
		*--end = letters[value & (conv == 'o' ? 7 : 15)];
		value >>= conv == 'o' ? 3 : 4;
	} while (value);
	return end;
}

/* d i u o x X and p. Signed ones come sign-extended; a p is never negative. */
static void bsi_fmt_number_write(struct bsi_fmt *f, const struct bsi_fmt_spec *spec, uint64_t value)
{
	bool is_negative = bsi_fmt_is_signed(spec) && value >> 63;
	char text[3 + 22];	/* +0x, and 64 bits in octal */
	char *end = text + sizeof(text);
	char *first = end;	/* digit */
	char *start;
	size_t zeros = 0;	/* between prefix and digits */
	size_t count;		/* of digits */
	size_t len;

	value = is_negative ? ~value + 1 : value;	/* its magnitude */
	/* Zero with precision 0 has no digit at all. */
	if (value || spec->precision)
		first = bsi_fmt_digits(end, value, spec->conv);
	start = first;
	if (spec->conv == 'p' || ((spec->flags & BSI_FMT_ALT) && value &&
				  (spec->conv == 'x' || spec->conv == 'X'))) {
		*--start = spec->conv == 'X' ? 'X' : 'x';
		*--start = '0';
	}
	if (is_negative || ((spec->flags & (BSI_FMT_PLUS | BSI_FMT_SPACE)) &&
			    (bsi_fmt_is_signed(spec) || spec->conv == 'p')))
		*--start = is_negative ? '-' : spec->flags & BSI_FMT_PLUS ? '+' : ' ';
	count = (size_t)(end - first);
	len = (size_t)(end - start);
	if (spec->precision > 0 && (size_t)spec->precision > count)
		zeros = (size_t)spec->precision - count;
	/* # makes the first digit of an octal number a zero. */
	else if ((spec->flags & BSI_FMT_ALT) && spec->conv == 'o' && (value || !count))
		zeros = 1;
	/* - and a precision both switch the flag 0 off. */
	if ((spec->flags & (BSI_FMT_ZERO | BSI_FMT_LEFT)) == BSI_FMT_ZERO &&
	    spec->precision < 0 && (size_t)spec->width > len + zeros)
		zeros = (size_t)spec->width - len;
	bsi_fmt_field_write(f, spec, start, len, len - count, zeros);
}

/* ---- [12c] GRAMMAR --------------------------------------------------- */

static bool bsi_fmt_is_one_of(char c, const char *set)
{
	while (*set && *set != c)
		set++;
	return *set;
}

static bool bsi_fmt_is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Neither white space nor a byte from 0x80 on is a control character. */
static bool bsi_fmt_is_control(char c)
{
	unsigned char u = (unsigned char)c;

	return (u < ' ' && !(u >= '\t' && u <= '\r')) || u == 0x7f;
}

/* May this follow a string or %p? The end, white space and punctuation may. */
static bool bsi_fmt_is_boundary(char c)
{
	return !c || ((unsigned char)c < 0x80 && !bsi_fmt_is_alnum(c) && !bsi_fmt_is_control(c));
}

/* Is this plain text? To the kernel's grammar, no control character is. */
static inline bool bsi_fmt_is_plain(char c, bool is_array)
{
	return c && c != '%' && !(is_array && bsi_fmt_is_control(c));
}

/* Each reads a part of a conversion: what follows it is returned, NULL: bad. */

/* A width or a precision: digits, none for 0, or * for the next argument */
static const char *bsi_fmt_extent_parse(const char *fmt, struct bsi_fmt *f, int *extent)
{
	if (*fmt == '*' && !f->is_array) {
		*extent = va_arg(*f->ap, int);
		return fmt + 1;
	}
	for (*extent = 0; *fmt >= '0' && *fmt <= '9'; fmt++) {
		int digit = *fmt - '0';

		if (*extent > (INT_MAX - digit) / 10)
			return NULL;
		*extent = *extent * 10 + digit;
	}
	return fmt;
}

/* The length, if there is one, and the letter */
static const char *bsi_fmt_letters_parse(const char *fmt, struct bsi_fmt_spec *spec)
{
	if (bsi_fmt_is_one_of(*fmt, "hljzt"))
		spec->length = *fmt++;
	if (spec->length == *fmt && bsi_fmt_is_one_of(*fmt, "hl"))
		spec->length = *fmt++ == 'h' ? 'H' : 'L';
	spec->conv = *fmt++;
	if (bsi_fmt_is_one_of(spec->conv, "diuoxX"))
		return fmt;
	/* Wide characters are refused; p takes no length. */
	return bsi_fmt_is_one_of(spec->conv, "csp") && !spec->length ? fmt : NULL;
}

/* %pi4 001.002.003.004, %pI4 1.2.3.4, %pi6 32 digits, %pI6 eight groups. */
static const struct bsi_fmt_spec bsi_fmt_ip[2][2] = {
	{ { .precision = 3,  .conv = 'u', .count = 4, .group = 1, .separator = '.' },
	  { .precision = -1, .conv = 'u', .count = 4, .group = 1, .separator = '.' } },
	{ { .precision = 2,  .conv = 'x', .count = 16, .group = 16 },
	  { .precision = 2,  .conv = 'x', .count = 16, .group = 2, .separator = ':' } },
};

/* What follows the kernel's %p */
static const char *bsi_fmt_pointer_parse(const char *fmt, struct bsi_fmt_spec *spec)
{
	spec->length = 'L';
	switch (*fmt) {
	case 'k':
	case 'u':
		spec->conv = 's';
		spec->width = 0;
		return fmt[1] == 's' && bsi_fmt_is_boundary(fmt[2]) ? fmt + 2 : NULL;
	case 'i':
	case 'I':
		if (fmt[1] != '4' && fmt[1] != '6')
			return NULL;
		*spec = bsi_fmt_ip[fmt[1] == '6'][fmt[0] == 'I'];
		break;
	case 'B':
		*spec = (struct bsi_fmt_spec){ .precision = -1, .conv = 'p', .count = 1 };
		break;
	case 's':
	case 'S':
		/* Padded as the symbol's name would be: with blanks only. */
		spec->flags &= BSI_FMT_LEFT;
		break;
	default:
		/* No width means %016. */
		spec->conv = 'x';
		if (!spec->width) {
			spec->width = 16;
			spec->flags |= BSI_FMT_ZERO;
		}
		if (*fmt != 'K' && *fmt != 'x')
			return bsi_fmt_is_boundary(*fmt) ? fmt : NULL;
		break;
	}
	/* As in the kernel, further letters and digits are skipped. */
	while (bsi_fmt_is_alnum(*fmt))
		fmt++;
	return fmt;
}

/* A whole conversion, from behind its % */
static const char *bsi_fmt_parse(const char *fmt, struct bsi_fmt *f, struct bsi_fmt_spec *spec)
{
	*spec = (struct bsi_fmt_spec){ .precision = -1 };
	/* Most often a letter follows, which is above all flags. */
	for (; *fmt <= '0' && bsi_fmt_is_one_of(*fmt, "-+ #0"); fmt++)
		spec->flags |= 1u << ((*fmt - ' ') & 31);
	fmt = bsi_fmt_extent_parse(fmt, f, &spec->width);
	if (!fmt || spec->width == INT_MIN)
		return NULL;
	if (spec->width < 0) {
		spec->flags |= BSI_FMT_LEFT;
		spec->width = -spec->width;
	}
	if (*fmt == '.' && !f->is_array)
		fmt = bsi_fmt_extent_parse(fmt + 1, f, &spec->precision);
	if (fmt)
		fmt = bsi_fmt_letters_parse(fmt, spec);
	if (!fmt || !f->is_array)
		return fmt;
	if ((spec->flags & BSI_FMT_ALT) || spec->conv == 'o' ||
	    (spec->length && !bsi_fmt_is_one_of(spec->length, "lL")))
		return NULL;
	if (spec->conv == 'p')
		return bsi_fmt_pointer_parse(fmt, spec);
	return spec->conv != 's' || bsi_fmt_is_boundary(*fmt) ? fmt : NULL;
}

/* ---- [12d] FORMS ----------------------------------------------------- */

/* The next argument: va_arg() must name the type that it was passed as. */
#define BSI_FMT_VA_ARG(type, as, unsigned_type, unsigned_as) \
	(bsi_fmt_is_signed(spec) ? (uint64_t)(as)va_arg(*f->ap, type) : \
				   (unsigned_as)va_arg(*f->ap, unsigned_type))

/* The signed form of size_t is taken to be ptrdiff_t. */
static uint64_t bsi_fmt_va_value(struct bsi_fmt *f, const struct bsi_fmt_spec *spec)
{
	switch (spec->conv) {
	case 'c':
		return (unsigned char)va_arg(*f->ap, int);
	case 's':
	case 'p':
		return (uintptr_t)va_arg(*f->ap, const void *);
	default:
		break;
	}
	switch (spec->length) {
	case 'H':
		return BSI_FMT_VA_ARG(int, signed char, unsigned int, unsigned char);
	case 'h':
		return BSI_FMT_VA_ARG(int, short, unsigned int, unsigned short);
	case 'l':
		return BSI_FMT_VA_ARG(long, long, unsigned long, unsigned long);
	case 'L':
		return BSI_FMT_VA_ARG(long long, long long, unsigned long long, unsigned long long);
	case 'j':
		return BSI_FMT_VA_ARG(intmax_t, intmax_t, uintmax_t, uintmax_t);
	case 'z':
	case 't':
		return BSI_FMT_VA_ARG(ptrdiff_t, ptrdiff_t, size_t, size_t);
	default:
		return BSI_FMT_VA_ARG(int, int, unsigned int, unsigned int);
	}
}

/*
 * The kernel first copies all arguments into an area of 512 bytes. We count
 * what it takes, without having it, and cut or refuse what finds no room.
 */
#define BSI_FMT_AREA_BYTES	512u
#define BSI_FMT_ARGS_BYTES	96u	/* twelve arguments */
#define BSI_FMT_LOW_ADDRESS	4096u	/* nothing below is readable */

/* The next argument, of which the area takes @bytes, aligned to @align */
static inline uint64_t bsi_fmt_array_next(struct bsi_fmt *f, size_t bytes, size_t align)
{
	f->used = ((f->used + align - 1) & ~(align - 1)) + bytes;
	f->left--;
	return *f->next++;
}

static int bsi_fmt_array_value(struct bsi_fmt *f, struct bsi_fmt_spec *spec, uint64_t *value)
{
	static const char none[16] = "";	/* what an address that cannot be read holds */
	/* Numbers are aligned to their size; of a string, this is the NUL. */
	size_t bytes = spec->conv == 'c' || spec->conv == 's' ? 1 : spec->length ? 8 : 4;

	if (!f->left)
		return -EINVAL;
	*value = spec->count ? bsi_fmt_array_next(f, spec->count, 1) :
			       bsi_fmt_array_next(f, bytes, bytes);
	if (f->used > BSI_FMT_AREA_BYTES)
		return -ENOSPC;
	if ((spec->conv == 's' || spec->count > 1) && (uintptr_t)*value < BSI_FMT_LOW_ADDRESS)
		*value = (uintptr_t)none;
	/* Silently cut to the room, and not read beyond */
	if (spec->conv == 's')
		spec->precision = (int)(BSI_FMT_AREA_BYTES - f->used);
	else if (bytes == 4 && !spec->count)
		*value = bsi_fmt_is_signed(spec) ? (uint64_t)(int32_t)(uint32_t)*value :
						   (uint32_t)*value;
	return 0;
}

/*
 * The area holds %pB and IP addresses as text with a NUL: we write it, and cut
 * it to the room. What was cut fills the area, so that the next is refused.
 */
static void bsi_fmt_array_text(struct bsi_fmt *f, const struct bsi_fmt_spec *spec, uint64_t value)
{
	const unsigned char *raw = (const unsigned char *)(uintptr_t)value;
	size_t room = BSI_FMT_AREA_BYTES - (f->used - spec->count);
	uint64_t start = f->len;

	for (size_t i = 0; i < spec->count; i++) {
		if (i && i % spec->group == 0)
			bsi_fmt_put(f, &spec->separator, 0, 1);
		bsi_fmt_number_write(f, spec, spec->count > 1 ? raw[i] : value);
	}
	if (f->len - start >= room)
		f->len = start + room - 1;
	f->used += (size_t)(f->len - start) + 1 - spec->count;
}

/* Write an argument: of c the character, of s the address, else the number. */
static void bsi_fmt_value_write(struct bsi_fmt *f, const struct bsi_fmt_spec *spec, uint64_t value)
{
	const char *s = (const char *)(uintptr_t)value;
	char c = (char)(unsigned char)value;
	size_t n;

	switch (spec->conv) {
	case 'c':
		bsi_fmt_field_write(f, spec, &c, 1, 0, 0);
		break;
	case 's':
		/* As in glibc: all of "(null)" or nothing of it. */
		if (!s)
			s = (unsigned int)spec->precision < 6 ? "" : "(null)";
		/* Without a NUL, only the precision bounds what may be read. */
		n = strnlen(s, spec->precision < 0 ? INT_MAX : (size_t)spec->precision);
		f->used += n;
		bsi_fmt_field_write(f, spec, s, n, 0, 0);
		break;
	default:
		if (spec->count)
			bsi_fmt_array_text(f, spec, value);
		else if (spec->conv == 'p' && !value && !f->is_array)
			bsi_fmt_field_write(f, spec, "(nil)", sizeof("(nil)") - 1, 0, 0);
		else
			bsi_fmt_number_write(f, spec, value);
	}
}

/* The short way for the most frequent letters; false: nothing was taken. */
static BSE_INLINE bool bsi_fmt_letter_write(struct bsi_fmt *f, char conv, bool is_array)
{
	uint64_t limit = conv == 'x' ? 16 : 10;
	uint32_t value;
	const char *s;
	char *to;

	if (f->len + BSI_FMT_SHORT > f->size ||
	    (is_array && (!f->left || f->used + BSI_FMT_SHORT > BSI_FMT_AREA_BYTES)))
		return false;
	to = f->buf + f->len;
	switch (conv) {
	case 'd':
	case 'u':
	case 'x':
		value = is_array ? (uint32_t)bsi_fmt_array_next(f, 4, 4) :
			conv == 'd' ? (uint32_t)va_arg(*f->ap, int) : va_arg(*f->ap, unsigned int);
		if (conv == 'd' && value >> 31) {
			*to++ = '-';
			value = ~value + 1;
		}
		/* To the end of its digits */
		for (to++; value >= limit; limit *= conv == 'x' ? 16u : 10u)
			to++;
		bsi_fmt_digits(to, value, conv);
		f->len = (size_t)(to - f->buf);
		return true;
	case 'c':
		f->buf[f->len++] = is_array ? (char)(unsigned char)bsi_fmt_array_next(f, 1, 1) :
					      (char)va_arg(*f->ap, int);
		return true;
	case 's':
		if (is_array)
			return false;
		s = va_arg(*f->ap, const char *);
		if (!s)
			s = "(null)";
		bsi_fmt_put(f, s, 0, strnlen(s, INT_MAX));
		return true;
	default:
		return false;
	}
}

/* Writes up to the end, or a conversion that does not go the short way. */
static BSE_INLINE const char *bsi_fmt_short_write(struct bsi_fmt *f, const char *fmt, bool is_array)
{
	for (;;) {
		const char *start = fmt;

		while (bsi_fmt_is_plain(fmt[0], is_array) && bsi_fmt_is_plain(fmt[1], is_array))
			fmt += 2;
		if (bsi_fmt_is_plain(*fmt, is_array))
			fmt++;
		if (fmt - start == 1 && f->len < f->size)
			f->buf[f->len++] = *start;
		else if (fmt != start)
			bsi_fmt_put(f, start, 0, (size_t)(fmt - start));
		if (*fmt != '%')
			return fmt;
		if (fmt[1] == '%')
			bsi_fmt_put(f, fmt, 0, 1);
		else if (!bsi_fmt_letter_write(f, fmt[1], is_array))
			return fmt;
		fmt += 2;
	}
}

/* Of several errors the leftmost is returned. */
static int bsi_fmt_run(struct bsi_fmt *f, const char *fmt)
{
	struct bsi_fmt_spec spec;
	uint64_t value;
	int err = 0;

	while (!err) {
		fmt = f->is_array ? bsi_fmt_short_write(f, fmt, true) :
				    bsi_fmt_short_write(f, fmt, false);
		if (!*fmt)
			return f->len < INT_MAX ? (int)f->len : INT_MAX;
		fmt = *fmt == '%' ? bsi_fmt_parse(fmt + 1, f, &spec) : NULL;
		if (!fmt)
			return -EINVAL;
		if (f->is_array)
			err = bsi_fmt_array_value(f, &spec, &value);
		else
			value = bsi_fmt_va_value(f, &spec);
		if (!err)
			bsi_fmt_value_write(f, &spec, value);
	}
	return err;
}

/* Format for bpf_stream_printf(). As after vsnprintf(), @ap is undefined. */
static int bsi_format_va(char *buf, size_t size, const char *fmt, va_list ap)
{
	/* Where va_list is an array, the parameter is its address already. */
	void *list = _Generic(&ap, va_list *: &ap, default: ap);
	struct bsi_fmt f = { .buf = buf, .size = size, .ap = list };

	return bsi_fmt_run(&f, fmt);
}

/* Format for bpf_stream_bprintf(). l, ll and p are 64 bits on every target. */
static int bsi_format_array(char *buf, size_t size, const char *fmt, const uint64_t *args,
			    uint32_t len)
{
	struct bsi_fmt f = { .buf = buf, .size = size, .is_array = true, .next = args,
			     .left = len / sizeof(*args) };

	if ((len && !args) || len % sizeof(*args) || len > BSI_FMT_ARGS_BYTES)
		return -EINVAL;
	return bsi_fmt_run(&f, fmt);
}
#endif /* BSE_STANDALONE */

/* ==== [13] STREAM ====================================================== */
/*
 * A push has three steps, and only the last one is seen by others: reserve and
 * fill an element, then publish it together with its charge. Whatever comes in
 * between, another writer, a handler that pushes to the same stream, or one
 * that jumps out and never comes back, finds a stream that is whole. What fails
 * before the publish gives back what it reserved.
 */

/*
 * Counts a refusal; what was reserved goes back. Nobody has seen it. First the
 * memory: who looks at the figures then finds it there.
 */
static BSE_NOINLINE int bsi_push_fail(struct bpf_stream *s, bse_link newest, size_t len, int err)
{
	bsi_list_release(newest);
	return bsi_refuse(s, err, 1, len);
}

/*
 * For a text that lies there already: another writer, or a handler, has changed
 * the log since it was seen. Tries again while there is room.
 */
static BSE_NOINLINE int bsi_push_again(struct bpf_stream *s, bse_link link, size_t len)
{
	const struct bse_chain chain = { link, link, (uint32_t)len, 1 };
	int err = bsi_publish(s, bse_log_seen(s), &chain);

	return err ? bsi_push_fail(s, link, len, err) : 0;
}

/*
 * Any message that is not empty; counts nothing. It may carry news (I11), and
 * these are looked at before memory is reserved, as they take some. If another
 * message is published with the same news meanwhile, both tell of them, and the
 * reader knows: what it has told is a number. If this one fails, or is jumped
 * out of, the gate is as shut as before, and the next one tells.
 */
static int bsi_push_try(struct bpf_stream *s, uint32_t info, const void *data, size_t len)
{
	struct bse_chain chain = { .newest = 0 };
	struct bse_news news;
	bse_seen seen;
	int err = bsi_capacity_check(s, len, &seen);

	if (err)
		return err;
	/* What is refused from here on is told by a later one. */
	bse_news_get(s, &news);
	err = bsi_message_make(&chain, bse_group(s), data, len, info, news.flags);
	if (!err)
		err = bsi_publish_news(s, seen, &chain, &news);
	/* From here on it is the reader's, or still ours, to give back. */
	if (err)
		bsi_list_release(chain.newest);
	return err;
}

/* What cannot go straight: nothing, which succeeds; with news; in parts. */
static BSE_NOINLINE int bsi_push_any(struct bpf_stream *s, uint32_t info, const void *data,
				     size_t len)
{
	/* It would take memory and charge none. */
	int err = len ? bsi_push_try(s, info, data, len) : 0;

	return err ? bsi_refuse(s, err, 1, len) : 0;
}

/* Writes the text where @link is, and publishes it. */
static BSE_INLINE int bsi_push_store(struct bpf_stream *s, bse_seen seen, uint32_t info,
				     const void *data, size_t len, bse_link link, bool straight)
{
	struct bpf_stream_elem *elem = bse_elem_of(link);

	bsi_elem_write(elem, data, len, info | BSE_ELEM_ENDS);
	if (BSE_LIKELY(straight &&
		       bse_log_try_publish(s, &seen, link, elem, (uint32_t)len, true)))
		return 0;
	return bsi_push_again(s, link, len);
}

/*
 * What one element can hold, in the page at hand or in another one. A refusal,
 * or a sleeper, that comes meanwhile is the next one's to tell, or push_again's
 * to wake.
 */
static BSE_NOINLINE int bsi_push_one(struct bpf_stream *s, uint32_t info, const void *data,
				     size_t len)
{
	bse_seen seen;
	bse_link link;
	int err = bsi_capacity_check(s, len, &seen);

	if (!err)
		err = bse_reserve(bse_group(s), bsi_elem_size(len), false, &link);
	/* Nothing was reserved. */
	if (err)
		return bsi_push_fail(s, 0, len, err);
	return bsi_push_store(s, seen, info, data, len, link,
			      bse_log_has_room(s, seen, (uint32_t)len));
}

static BSE_NOINLINE int bsi_push_slow(struct bpf_stream *s, uint32_t info, const void *data,
				      size_t len)
{
	return len && len <= BSI_ELEM_MAX && bse_log_has_room(s, bse_log_seen(s), (uint32_t)len) ?
	       bsi_push_one(s, info, data, len) : bsi_push_any(s, info, data, len);
}

/*
 * The straight way, for a short text, a stream with room and nothing to tell,
 * and room in the page at hand. It writes nothing but the element and a few
 * words of its thread. All else it leaves to a call that it ends with: so it
 * need not save registers.
 */
static BSE_INLINE int bsi_push(struct bpf_stream *s, uint32_t info, const void *data, size_t len)
{
	const bse_seen seen = bse_log_seen(s);
	bse_link link;

	if (!len || len > BSI_SHORT || !bse_log_has_room(s, seen, (uint32_t)len) ||
	    bse_reserve(bse_group(s), bsi_elem_size(len), true, &link))
		return bsi_push_slow(s, info, data, len);
	return bsi_push_store(s, seen, info, data, len, link, true);
}

BSE_API int bpf_stream_push(struct bpf_stream *s, const void *data, size_t len)
{
	return bsi_push(s, BSE_ELEM_PLAIN, data, len);
}

/* Stores what a formatter wrote, or counts why not; @len is its answer. */
static int bsi_stream_print(struct bpf_stream *s, uint32_t info, const char *text, int len)
{
	if (len < 0) {
		/* In kernels -ENOMEM or -EBUSY: no buffer to format in. */
		bse_note_refusal(s, len == -ENOMEM || len == -EBUSY ?
				 BPF_STREAM_REFUSED_POOL : BPF_STREAM_REFUSED_INVALID, 1, 0);
		return len;
	}
	if ((unsigned int)len > BPF_STREAM_PRINT_MAX)
		return bsi_refuse(s, -E2BIG, 1, (unsigned int)len);
	return bsi_push(s, info, text, (size_t)len);
}

/*
 * The text is made on the stack and then copied: memory is reserved by length,
 * and cannot be given back in part, as a handler may have reserved behind it.
 */
BSE_PRINTF(3, 0) static int bsi_stream_vprint(struct bpf_stream *s, uint32_t info,
					      const char *fmt, va_list ap)
{
	struct bse_scratch scratch;
	char *text = bse_scratch_get(&scratch);
	int ret = text ? bse_format(text, BPF_STREAM_PRINT_MAX, fmt, ap) : -ENOMEM;

	ret = bsi_stream_print(s, info, text, ret);
	bse_scratch_put(&scratch);
	return ret;
}

BSE_API int bpf_stream_vprintf(struct bpf_stream *s, const char *fmt, va_list ap)
{
	return bsi_stream_vprint(s, BSE_ELEM_PLAIN, fmt, ap);
}

BSE_API int bpf_stream_printf(struct bpf_stream *s, const char *fmt, ...)
{
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = bpf_stream_vprintf(s, fmt, ap);
	va_end(ap);
	return ret;
}

#ifdef BSE_STANDALONE
static int bsi_stream_bprint(struct bpf_stream *s, uint32_t info, const char *fmt,
			     const uint64_t *args, uint32_t len)
{
	char text[BPF_STREAM_PRINT_MAX];

	return bsi_stream_print(s, info, text,
				bsi_format_array(text, sizeof(text), fmt, args, len));
}

BSE_API int bpf_stream_bprintf(struct bpf_stream *s, const char *fmt, const uint64_t *args,
			       uint32_t len)
{
	return bsi_stream_bprint(s, BSE_ELEM_PLAIN, fmt, args, len);
}
#endif

BSE_API void bpf_stream_get_stats(const struct bpf_stream *s, struct bpf_stream_stats *stats)
{
	stats->pending = bse_log_pending(s);
	bse_get_counts(s, stats);
}

/* ==== [14] STAGE ======================================================= */
/*
 * A stage is a chain that its owner keeps between calls. It has one user, so
 * nothing in it is shared, but a handler may jump out of a call. The stage then
 * either does not hold an element yet, or holds it no more: an element that two
 * places hold would be given back twice (I1). The price is a lost message.
 */

BSE_API_STAGE void bpf_stream_stage_init(struct bpf_stream_stage *ss)
{
	*ss = (struct bpf_stream_stage){ 0 };
}

BSE_API_STAGE void bpf_stream_stage_free(struct bpf_stream_stage *ss)
{
	const struct bse_chain group = bse_stage_load(ss);

	/* First: what jumps out of the rest must not free it once more. */
	bpf_stream_stage_init(ss);
	/* The pages of a foreign pool are the parent's to count. */
	if (group.newest && !bse_access())
		bsi_list_release(group.newest);
}

/*
 * No stream is known yet: nothing is charged, no refusal is counted, and the
 * pages are of the list MIXED, which pushes use in handlers only.
 */
static int bsi_stage_add(struct bpf_stream_stage *ss, uint32_t info, const void *data, size_t len)
{
	struct bse_chain chain;
	struct bse_chain group = bse_stage_load(ss);
	int err;

	if (!len)
		return 0;
	if (len > INT_MAX)
		return -EINVAL;
	if (len > (size_t)INT_MAX - group.bytes)
		return -E2BIG;
	err = bsi_message_make(&chain, BSE_MIXED, data, len, info,
			       group.newest ? BSE_ELEM_GOES_ON : BSE_ELEM_GROUP);
	if (err)
		return err;
	/* On a copy: a handler that jumps out finds the stage as before. */
	bsi_chain_add(&group, chain.newest, chain.oldest, chain.bytes);
	group.messages++;
	bse_stage_store(ss, &group);
	return 0;
}

BSE_API int bpf_stream_stage_push(struct bpf_stream_stage *ss, const void *data, size_t len)
{
	return bsi_stage_add(ss, BSE_ELEM_PLAIN, data, len);
}

/* As bsi_stream_vprint(), but no stream is there to count a refusal. */
BSE_PRINTF(3, 0) static int bsi_stage_vprint(struct bpf_stream_stage *ss, uint32_t info,
					     const char *fmt, va_list ap)
{
	struct bse_scratch scratch;
	char *text = bse_scratch_get(&scratch);
	int ret = text ? bse_format(text, BPF_STREAM_PRINT_MAX, fmt, ap) : -ENOMEM;

	/* A report that is cut says more than none. */
	if (ret > (int)BPF_STREAM_PRINT_MAX)
		ret = (int)BPF_STREAM_PRINT_MAX;
	if (ret > 0)
		ret = bsi_stage_add(ss, info, text, (size_t)ret);
	bse_scratch_put(&scratch);
	return ret;
}

BSE_API int bpf_stream_stage_vprintk(struct bpf_stream_stage *ss, const char *fmt, va_list ap)
{
	return bsi_stage_vprint(ss, BSE_ELEM_PLAIN, fmt, ap);
}

BSE_API_STAGE int bpf_stream_stage_printk(struct bpf_stream_stage *ss, const char *fmt, ...)
{
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = bpf_stream_stage_vprintk(ss, fmt, ap);
	va_end(ap);
	return ret;
}

BSE_API int bpf_stream_stage_commit_to(struct bpf_stream_stage *ss, struct bpf_stream *s)
{
	const struct bse_chain group = bse_stage_whole(ss);
	struct bse_news news;
	bse_seen seen;
	int err;

	if (!group.newest)
		return 0;
	/* Asked first: what the group holds would be the parent's memory. */
	err = bse_access();
	if (!err)
		err = bsi_capacity_check(s, group.bytes, &seen);
	if (!err) {
		bse_news_get(s, &news);
		/*
		 * Emptied before the publish. A handler that jumps out behind
		 * the publish would otherwise leave a full stage, and freeing
		 * that would free what is pending in the stream.
		 */
		bpf_stream_stage_init(ss);
		err = bsi_publish_news(s, seen, &group, &news);
		/* Full: the group stays the caller's, to be tried later. */
		if (err)
			bse_stage_store(ss, &group);
	}
	return err ? bsi_refuse(s, err, group.messages, group.bytes) : 0;
}

/* ==== [15] READER ====================================================== */
/*
 * One reader at a time has the lock. It detaches the log, turns it round into
 * the backlog, and offers the backlog's head to a sink, over and over. While
 * the sink runs, the reader holds nothing but the lock: every byte is in the
 * backlog or gone, and the room and pages of what is gone are given back. So a
 * sink may block for long without harm to writers, and a reader that never
 * returns from it can be replaced (I10).
 */

/* ---- [15a] BACKLOG --------------------------------------------------- */

/*
 * From newest first to oldest first. Detached, so no writer can reach it: one
 * that read its head before has a number that is not the log's head any more.
 */
static bse_link bsi_list_reverse(bse_link newest)
{
	bse_link oldest = 0;
	bse_link next;

	while (newest) {
		next = bse_elem_next(bse_elem_of(newest));
		bse_set_next(newest, oldest);
		oldest = newest;
		newest = next;
	}
	return oldest;
}

/* Where the bytes of a reader go. */
struct bsi_target {
	bse_take *take;
	void *ctx;
	char **gather;		/* where several pieces become one; NULL: they do not */
	size_t room;		/* for as much of them; SIZE_MAX: for all, they stay there */
	int (*end)(void *ctx, int ret);	/* one piece at a time, then this; NULL: bytes */
};

/* One call of a reader; the lock is held. */
struct bsi_reader {
	struct bpf_stream *s;
	const struct bsi_target *target;
	size_t left;			/* bytes that this call may still take */
	uint32_t refund;		/* taken, not yet refunded (I3) */
	uint32_t messages;		/* ended since the last flush */
	struct bsi_returns *returns;
};

/*
 * 0, or an error of bse_lock(). The backlog of a reader that is gone may be in
 * the middle of a change: its elements are not looked at any more, and their
 * pages stay in use. What is lost is what is pending beside the log's own
 * elements, both seen in one moment by the detach: it includes bytes which that
 * reader had taken and not refunded. If this reader ends here as well, the next
 * one does the same.
 */
static int bsi_reader_lock(struct bpf_stream *s, bool wait)
{
	int ret = bse_lock(&s->lock, wait);
	size_t lost;
	bse_link link;

	if (ret <= 0)
		return ret;
	s->backlog_head = 0;
	bse_consumed_set(s, 0);
	bse_place_reset(s);
	s->backlog_head = bsi_list_reverse(bse_log_detach(s, &lost));
	for (link = s->backlog_head; link; link = bse_elem_next(bse_elem_of(link)))
		lost -= bse_elem_len(bse_elem_of(link));
	bse_log_refund(s, (uint32_t)lost);
	bse_note_lost(s, lost);
	return 0;
}

/*
 * Writers get their room and pages back. Before every call of a sink, because
 * a sink may block for long, and before the reader returns. Pages go first: a
 * writer that finds room in the stream should find a page as well.
 */
static void bsi_reader_flush(struct bsi_reader *reader)
{
	if (!reader->refund)
		return;
	bsi_returns_flush(reader->returns);
	bse_log_refund(reader->s, reader->refund);
	bse_note_delivered(reader->s, reader->messages, reader->refund);
	reader->refund = 0;
	reader->messages = 0;
}

/*
 * Points at what the sink is offered next; tells how many bytes these are.
 * Nothing changes: a sink that takes a part, or fails, finds the rest again. A
 * user's sink gets one piece at a time: one text of any size, or several that
 * fit its buffer. The copy costs less than the calls, and refunds.
 */
static size_t bsi_reader_collect(const struct bsi_reader *reader, struct bse_piece *piece,
				 unsigned int *n)
{
	const struct bsi_target *target = reader->target;
	const unsigned int most = target->end ? 1 : BSE_PIECES;
	bse_link link = reader->s->backlog_head;
	size_t consumed = link ? bse_consumed_get(reader->s) : 0;
	size_t bytes = 0;

	for (*n = 0; link && *n < most && bytes < reader->left;) {
		const struct bpf_stream_elem *elem = bse_elem_of(link);
		const char *text = bse_elem_text(elem) + consumed;
		size_t len = bse_elem_len(elem) - consumed;

		if (len > reader->left - bytes)
			len = reader->left - bytes;
		if (target->gather && bytes && bytes + len > target->room)
			break;
		if (target->gather && len <= target->room) {
			bsi_copy(*target->gather + bytes, text, len);
			piece[0] = (struct bse_piece){ *target->gather, bytes + len };
			*n = 1;
		} else {
			/* Who takes it only reads. */
			piece[(*n)++] = (struct bse_piece){ (void *)(uintptr_t)text, len };
		}
		bytes += len;
		consumed = 0;
		link = bse_elem_next(elem);
	}
	return bytes;
}

/*
 * The sink took @bytes from the head of the backlog. Plain accesses will do:
 * the lock is held, and no writer reaches what is detached (I1).
 */
static void bsi_reader_consume(struct bsi_reader *reader, uint32_t bytes)
{
	struct bpf_stream *s = reader->s;
	struct bsi_returns *returns = reader->returns;	/* loaded once for all */
	const struct bpf_stream_elem *elem;
	uint32_t consumed = bse_consumed_get(s);
	bse_link link;
	uint32_t rest;

	reader->left -= bytes;
	reader->refund += bytes;
	while (bytes) {
		link = s->backlog_head;
		elem = bse_elem_of(link);
		rest = bse_elem_len(elem) - consumed;
		if (bytes < rest) {
			/* The next read begins in the middle of it (I9). */
			bse_consumed_set(s, consumed + bytes);
			return;
		}
		bytes -= rest;
		if (consumed)
			bse_consumed_set(s, 0);
		consumed = 0;
		/* Popped before it is released: then it may be anybody's. */
		s->backlog_head = bse_elem_next(elem);
		reader->messages += bse_elem_ends(elem);
		bsi_elem_release(elem, link, returns);
	}
}

/* After so many bytes a read in one pass refunds: writers wait for room. */
#define BSI_REFUND (16u << 10)

/*
 * A detached list, @bytes of text, goes to memory in one pass: the newest text
 * first, downwards from the end. The list is never turned round, and what an
 * element holds is touched once. Meanwhile only this call reaches the list.
 */
static BSE_NOINLINE void bsi_reader_take_list(struct bsi_reader *reader, bse_link link,
					      size_t bytes)
{
	const struct bpf_stream_elem *elem = link ? bse_elem_of(link) : NULL;
	char *memory = *reader->target->gather;
	size_t room = bytes;	/* below what was copied */
	size_t i;

	while (link && bse_elem_len(elem) <= room) {
		const size_t before = room;
		const size_t stop = room > BSI_REFUND ? room - BSI_REFUND : 0;
		uint32_t messages = 0;

		do {
			const bse_link next = bse_elem_next(elem);

			room -= bse_elem_len(elem);
			messages += bse_elem_ends(elem);
			bsi_copy(memory + room, bse_elem_text(elem), bse_elem_len(elem));
			bsi_elem_release(elem, link, reader->returns);
			link = next;
			elem = bse_elem_of(link);
		} while (link && bse_elem_len(elem) <= room && room > stop);
		reader->refund = (uint32_t)(before - room);
		reader->messages = messages;
		bsi_reader_flush(reader);
	}
	/*
	 * What is pending is what the list holds (I3). If it were not, memory
	 * would not be overrun, and nothing lost.
	 */
	for (i = room; i > 0 && i < bytes; i++)
		memory[i - room] = memory[i];
	if (link)
		reader->s->backlog_head = bsi_list_reverse(link);
	reader->left -= bytes - room;
	*reader->target->gather = memory + (bytes - room);
}

/*
 * Takes the log over as the backlog. Only when that is used up: its elements
 * are older than all in the log, and come out first. Memory that has room for
 * all gets it at once, and there is no backlog.
 */
static void bsi_reader_refill(struct bsi_reader *reader)
{
	size_t pending;
	bse_link link;

	/* First: what is pending is then what the list holds. */
	bsi_reader_flush(reader);
	link = bse_log_detach(reader->s, &pending);
	if (reader->target->room == SIZE_MAX && pending <= reader->left)
		bsi_reader_take_list(reader, link, pending);
	else
		reader->s->backlog_head = bsi_list_reverse(link);
}

/* Bytes taken; or the sink's error if there were none. */
static int bsi_reader_run(struct bsi_reader *reader)
{
	const struct bsi_target *target = reader->target;
	struct bpf_stream *s = reader->s;
	struct bse_piece piece[BSE_PIECES];
	size_t begin = reader->left;
	size_t offered;
	unsigned int n;
	int taken = 0;

	while (reader->left) {
		if (!s->backlog_head)
			bsi_reader_refill(reader);
		offered = bsi_reader_collect(reader, piece, &n);
		if (!offered)
			break;
		bsi_reader_flush(reader);
		/*
		 * Writers go on. So do handlers and the sink, which may push to
		 * this stream: that goes to the log, never to the backlog.
		 */
		taken = bse_sink_call(&s->lock, target->take, target->ctx, piece, n);
		/* A sink that claims too much: what it took is not known. */
		if (taken > 0 && (size_t)taken > offered)
			taken = -EINVAL;
		if (taken > 0)
			bsi_reader_consume(reader, (uint32_t)taken);
		if (taken < 0 || (size_t)taken < offered)
			break;
	}
	bsi_reader_flush(reader);
	return taken < 0 && reader->left == begin ? taken : (int)(begin - reader->left);
}

/* A whole call of a reader, for any target: the bytes taken, or an error. */
static int bsi_drain(struct bpf_stream *s, const struct bsi_target *target, size_t max, bool wait)
{
	struct bsi_returns returns;
	struct bsi_reader reader = { s, target, max, 0, 0, &returns };
	size_t pending;
	int ret = bse_access();

	if (ret || !max)
		return ret;
	ret = bsi_reader_lock(s, wait);
	if (ret)
		return ret;
	bsi_returns_init(&returns);
	/*
	 * What is pending now, and no more: a sink may push, and writers may be
	 * faster than it. A figure that is a little old ends the call a little
	 * early. Memory needs no such end: it is full some time.
	 */
	pending = bse_log_pending(s);
	if (target->room < SIZE_MAX && max > pending)
		reader.left = pending;
	ret = bsi_reader_run(&reader);
	if (target->end)
		ret = target->end(target->ctx, ret);
	else if (ret > 0)
		bse_place_reset(s);
	ret = bse_reader_done(s, ret);
	/* The backlog stays for the next reader, which need not be this one. */
	bse_unlock(&s->lock);
	return ret;
}

/* ---- [15b] SINKS ----------------------------------------------------- */

/* A user's. */
struct bsi_sink {
	bpf_stream_sink *sink;
	void *ctx;
};

static int bsi_take_sink(void *ctx, const struct bse_piece *piece, unsigned int n)
{
	const struct bsi_sink *user = ctx;

	(void)n;	/* one, as there is a buffer */
	return user->sink(user->ctx, piece->iov_base, piece->iov_len);
}

static int bsi_drain_sink(struct bpf_stream *s, bpf_stream_sink *sink, void *ctx, size_t max,
			  bool wait)
{
	char buffer[BSE_GATHER];
	char *gather = buffer;
	struct bsi_sink user = { sink, ctx };
	const struct bsi_target target = { bsi_take_sink, &user, &gather, sizeof(buffer), NULL };

	return bsi_drain(s, &target, max, wait);
}

BSE_API int bpf_stream_drain(struct bpf_stream *s, bpf_stream_sink *sink, void *ctx, size_t max)
{
	return bsi_drain_sink(s, sink, ctx, max, true);
}

BSE_API int bpf_stream_try_drain(struct bpf_stream *s, bpf_stream_sink *sink, void *ctx, size_t max)
{
	return bsi_drain_sink(s, sink, ctx, max, false);
}

/* Memory takes all that it is offered; lengths stay an int. */
static int bsi_drain_memory(struct bpf_stream *s, void *buf, size_t len, bool wait)
{
	char *at = buf;
	const struct bsi_target target = { bse_take_memory, &at, &at, SIZE_MAX, NULL };

	return len > INT_MAX ? -EINVAL : bsi_drain(s, &target, len, wait);
}

BSE_API int bpf_stream_read(struct bpf_stream *s, void *buf, size_t len)
{
	return bsi_drain_memory(s, buf, len, true);
}

BSE_API int bpf_stream_try_read(struct bpf_stream *s, void *buf, size_t len)
{
	return bsi_drain_memory(s, buf, len, false);
}

#ifdef BSE_HAS_THREADS
/* A file takes many pieces at once, as they lie in their pages. */
BSE_API int bpf_stream_drain_fd(struct bpf_stream *s, int fd, size_t max)
{
	return bsi_drain(s, &(struct bsi_target){ .take = bse_take_fd, .ctx = &fd }, max, true);
}
#endif

#ifdef BSE_USER
/* Where a byte faults the call ends as with a sink that takes a part. */
BSE_API int bpf_stream_read_user(struct bpf_stream *s, void BSE_USER *buf, size_t len)
{
	const struct bsi_target target = { .take = bse_take_user, .ctx = &buf };

	return len > INT_MAX ? -EINVAL : bsi_drain(s, &target, len, true);
}
#endif

/* ==== [16] RECORDS ===================================================== */
#ifdef BSE_STANDALONE

/* ---- [16a] LEVELS AND TAGS ------------------------------------------- */

/* The most of @pri that is not valid as a level and a tag. */
#define BSI_PRI_LIMIT 0x800

static inline uint32_t bsi_info_of(int pri)
{
	return (uint32_t)(pri & 7) << BSE_ELEM_LEVEL_SHIFT |
	       (uint32_t)(pri >> 3) << BSE_ELEM_TAG_SHIFT;
}

/* Is it to be stored? 1; 0 if it is muted; or -EINVAL, counted. */
static inline int bsi_level_check(struct bpf_stream *s, int pri)
{
	if (!bpf_stream_enabled(s, pri))
		return 0;
	return pri >= 0 && pri < BSI_PRI_LIMIT ? 1 : bsi_refuse(s, -EINVAL, 1, 0);
}

BSE_API bool bpf_stream_enabled(const struct bpf_stream *s, int pri)
{
	/* Relaxed: nothing is reached through it. */
	return (pri & 7) + (int)bse_u32_load_relaxed(&s->muted) < 8;	/* ORD(enabled:A) */
}

BSE_API int bpf_stream_set_level(struct bpf_stream *s, int level)
{
	if (level < -1 || level > BPF_STREAM_DEBUG)
		return -EINVAL;
	/* Relaxed: as enabled:A. */
	bse_u32_store_relaxed(&s->muted, (uint32_t)(BPF_STREAM_DEBUG - level)); /* ORD(level:A) */
	return 0;
}

BSE_API int bpf_stream_push_pri(struct bpf_stream *s, int pri, const void *data, size_t len)
{
	const int ret = bsi_level_check(s, pri);

	return ret <= 0 ? ret : bsi_push(s, bsi_info_of(pri), data, len);
}

BSE_API int bpf_stream_vlog(struct bpf_stream *s, int pri, const char *fmt, va_list ap)
{
	const int ret = bsi_level_check(s, pri);

	return ret <= 0 ? ret : bsi_stream_vprint(s, bsi_info_of(pri), fmt, ap);
}

BSE_API int bpf_stream_log(struct bpf_stream *s, int pri, const char *fmt, ...)
{
	va_list ap;
	int ret;

	if (!bpf_stream_enabled(s, pri))
		return 0;
	va_start(ap, fmt);
	ret = bpf_stream_vlog(s, pri, fmt, ap);
	va_end(ap);
	return ret;
}

BSE_API int bpf_stream_bprintf_pri(struct bpf_stream *s, int pri, const char *fmt,
				   const uint64_t *args, uint32_t len)
{
	const int ret = bsi_level_check(s, pri);

	return ret <= 0 ? ret : bsi_stream_bprint(s, bsi_info_of(pri), fmt, args, len);
}

BSE_API int bpf_stream_stage_log(struct bpf_stream_stage *ss, int pri, const char *fmt, ...)
{
	va_list ap;
	int ret;

	if (pri < 0 || pri >= BSI_PRI_LIMIT)
		return -EINVAL;
	va_start(ap, fmt);
	ret = bsi_stage_vprint(ss, bsi_info_of(pri), fmt, ap);
	va_end(ap);
	return ret;
}

/* Before the commit, as others read them then. */
BSE_API int bpf_stream_stage_commit_tag(struct bpf_stream_stage *ss, struct bpf_stream *s,
					uint8_t tag)
{
	bse_link link = bse_access() ? 0 : bse_stage_load(ss).newest;

	for (; link; link = bse_elem_next(bse_elem_of(link)))
		if (!(bse_elem_of(link)->info & BSE_ELEM_TAG))
			bse_elem_of(link)->info |= (uint32_t)tag << BSE_ELEM_TAG_SHIFT;
	return bpf_stream_stage_commit_to(ss, s);
}

/* ---- [16b] TAKING RECORDS -------------------------------------------- */

/*
 * A reader of records is a reader whose sink is offered one element at a time,
 * and looks at its head as well. The reader's part of the stream says how far
 * into the message it is, and what was told of losses: both change when a
 * record was taken, so one that was not is offered again as it was.
 */
struct bsi_records {
	struct bpf_stream *s;
	bpf_stream_record_fn *fn;
	void *ctx;
	size_t left;		/* records that this call may still take */
	int taken;
};

/* What the backlog's head, of which @piece is left, is a record of. */
static struct bpf_stream_record bsi_record_get(struct bpf_stream *s, const struct bse_piece *piece)
{
	const struct bpf_stream_elem *const head = bse_elem_of(s->backlog_head);
	const struct bpf_stream_elem *elem = head;
	struct bse_place *place = &s->place;
	struct bpf_stream_record r = { .data = piece->iov_base, .len = piece->iov_len };
	uint64_t refusals;

	/* All of the message is there: it was published in one step. */
	r.total = place->offset + r.len;
	while (!bse_elem_ends(elem)) {
		elem = bse_elem_of(bse_elem_next(elem));
		r.total += bse_elem_len(elem);
	}
	/* As was its group. */
	r.more = bse_elem_next(elem) &&
		 bse_elem_of(bse_elem_next(elem))->info & BSE_ELEM_GOES_ON;
	if (!place->offset && !(head->info & BSE_ELEM_GOES_ON)) {
		place->time = 0;
		place->tid = 0;
	}
	refusals = bse_news_read(head, place);
	/* Two that carry the counter may be stored in another order. */
	if (refusals > place->told)
		r.lost = refusals - place->told;
	r.offset = place->offset;
	r.seq = bse_figure_get(&s->delivered_messages) + place->told + r.lost;
	r.time = place->time;
	r.tid = place->tid;
	r.level = head->info >> BSE_ELEM_LEVEL_SHIFT & 7;
	r.tag = head->info >> BSE_ELEM_TAG_SHIFT & 0xff;
	return r;
}

/* Its answer; what was told is told when the record is taken. */
static int bsi_record_offer(struct bsi_records *records, const struct bpf_stream_record *r)
{
	const int ret = records->fn(records->ctx, r);

	if (ret < 0)
		return ret;
	records->s->place.told += r->lost;
	records->taken++;
	records->left = ret ? 0 : records->left - 1;
	return 0;
}

static int bsi_take_record(void *ctx, const struct bse_piece *piece, unsigned int n)
{
	struct bsi_records *records = ctx;
	struct bse_place *place = &records->s->place;
	struct bpf_stream_record r;
	int err;

	(void)n;	/* one */
	if (!records->left)
		return 0;
	r = bsi_record_get(records->s, piece);
	err = bsi_record_offer(records, &r);
	if (err)
		return err;
	place->offset = r.offset + r.len < r.total ? (uint32_t)(r.offset + r.len) : 0;
	return (int)r.len;
}

/* What was lost behind the last message is told if there is none left. */
static int bsi_records_end(void *ctx, int ret)
{
	struct bsi_records *records = ctx;
	struct bpf_stream *s = records->s;
	struct bpf_stream_record r = { .data = "" };
	/*
	 * First. Acquire, with note_refusal:A: what came before these refusals
	 * is then seen in the log, or was taken out.
	 */
	const uint64_t refusals = bse_u64_load_acquire(&s->refusals);	/* ORD(records_end:A) */
	int err = ret < 0 ? ret : 0;

	if (!err && records->left && !s->backlog_head && !bse_log_pending(s) &&
	    refusals > s->place.told) {
		r.lost = refusals - s->place.told;
		r.seq = bse_figure_get(&s->delivered_messages) + refusals;
		err = bsi_record_offer(records, &r);
	}
	return records->taken ? records->taken : err;
}

BSE_API int bpf_stream_drain_records(struct bpf_stream *s, bpf_stream_record_fn *fn, void *ctx,
				     size_t max)
{
	struct bsi_records records = { s, fn, ctx, max < INT_MAX ? max : INT_MAX, 0 };
	const struct bsi_target target = { .take = bsi_take_record, .ctx = &records,
					   .end = bsi_records_end };

	return bsi_drain(s, &target, max ? SIZE_MAX : 0, true);
}

/* Where a whole message goes. */
struct bsi_copied {
	struct bpf_stream_record *r;
	char *buf;
	size_t size;
};

static int bsi_record_copy(void *ctx, const struct bpf_stream_record *part)
{
	struct bsi_copied *to = ctx;
	struct bpf_stream_record *r = to->r;

	/* The first part, or what others have left of it. */
	if (!r->data) {
		*r = *part;
		r->data = to->buf;
		r->len = part->total - part->offset;
		if (r->len > to->size)
			return -EMSGSIZE;
	}
	if (part->len)
		bsi_copy(to->buf + (part->offset - r->offset), part->data, part->len);
	return part->offset + part->len == part->total;
}

BSE_API int bpf_stream_read_record(struct bpf_stream *s, struct bpf_stream_record *r, void *buf,
				   size_t size)
{
	static char nowhere[1];
	struct bsi_copied to = { r, buf ? buf : nowhere, size };
	int ret;

	*r = (struct bpf_stream_record){ .data = NULL };
	ret = bpf_stream_drain_records(s, bsi_record_copy, &to, SIZE_MAX);
	return ret > 0 ? 1 : ret;
}
#endif

/* ==== [17] WAIT ======================================================== */
#ifdef BSE_STANDALONE
/*
 * Nobody who writes waits for those who sleep, and nobody sleeps unseen: [6b]
 * says why. A publish takes READER_WAITS away in the same step that makes the
 * message visible, so of many only one wakes.
 */

static uint64_t bsi_now_ms(void)
{
	return bpf_stream_clock_monotonic() / 1000000;
}

static uint64_t bsi_wait_until(int timeout_ms)
{
	return timeout_ms < 0 ? ~(uint64_t)0 : bsi_now_ms() + (uint32_t)timeout_ms;
}

/* Sleeps at @word for a nap, not behind @until. 0, -EINTR, or -ETIMEDOUT. */
static int bsi_wait_nap(struct bpf_stream *s, bse_u32 *word, uint32_t key, uint32_t nap,
			uint64_t until)
{
	const uint64_t now = bsi_now_ms();

	if (now >= until)
		return -ETIMEDOUT;
	return bse_sleep(s, word, key, until - now < nap ? (uint32_t)(until - now) : nap);
}

BSE_API int bpf_stream_wait(struct bpf_stream *s, int timeout_ms)
{
	const uint64_t until = bsi_wait_until(timeout_ms);
	int ret = bse_access();

	while (!ret) {
		/* Before the log is looked at. */
		const uint32_t key = bse_sleep_key(&s->readers);

		ret = bse_log_arm(s, BSE_LOG_READER_WAITS, 0);
		if (!ret)
			ret = bsi_wait_nap(s, &s->readers, key, BSE_NAP_MS, until);
	}
	return ret == -ETIMEDOUT ? 0 : ret;
}

/* While the pool has no page: nobody says when it has one. */
#define BSI_POOL_NAP_MS 4u

BSE_API int bpf_stream_push_wait(struct bpf_stream *s, const void *data, size_t len, int timeout_ms)
{
	const uint64_t until = bsi_wait_until(timeout_ms);
	int ended = 0;
	int err;

	do {
		const uint32_t key = bse_sleep_key(&s->writers);

		err = len ? bsi_push_try(s, BSE_ELEM_PLAIN, data, len) : 0;
		if (err == -ENOMEM)
			ended = bsi_wait_nap(s, &s->writers, key, BSI_POOL_NAP_MS, until);
		else if (err == -ENOSPC &&
			 !bse_log_arm(s, BSE_LOG_ROOM_WAITED, (uint32_t)len))
			ended = bsi_wait_nap(s, &s->writers, key, BSE_NAP_MS, until);
	} while ((err == -ENOMEM || err == -ENOSPC) && !ended);
	if (err)
		bsi_refuse(s, err, 1, len);
	return err && ended == -EINTR ? -EINTR : err;
}

BSE_API void bpf_stream_close(struct bpf_stream *s)
{
	/*
	 * Acquire, with log_arm:A: as publish:A. Release: who finds the flag
	 * sees what this thread did before.
	 */
	bse_u64_fetch_or_acq_rel(&s->log, BSE_LOG_CLOSED);		/* ORD(close:A) */
	bse_wake_readers(s);
	bse_wake(s, &s->writers);
}

#ifdef BSE_HAS_THREADS
BSE_API int bpf_stream_poll_fd(struct bpf_stream *s)
{
	/* Relaxed: a guess, for poll_fd:B. First: later it could be our own. */
	uint64_t event = bse_u64_load_relaxed(&s->event);		/* ORD(poll_fd:A) */
	int fd = bse_access();
	int saved = errno;

	if (fd)
		return fd;
	fd = bse_event_fd(s);
	if (fd < 0) {
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fd < 0) {
			fd = -errno;
			errno = saved;
			return fd;
		}
		/* Release, with event_fd:A. */
		if (!bse_u64_cas_release(&s->event, &event,		/* ORD(poll_fd:B) */
					 (uint64_t)bse_process.generation << 32 |
					 ((uint32_t)fd + 1))) {
			/* Another thread was faster. */
			close(fd);
			fd = bse_event_fd(s);
		}
	}
	if (bse_log_arm(s, BSE_LOG_READER_WAITS, 0))
		bse_event_set(s);
	return fd;
}
#else
BSE_API bse_poll_mask bpf_stream_poll(struct bpf_stream *s, struct file *file,
				      struct poll_table_struct *wait)
{
	int ret;

	/* Before the log is looked at. */
	poll_wait(file, &s->bell.queue, wait);
	bse_sleep_key(&s->readers);
	ret = bse_log_arm(s, BSE_LOG_READER_WAITS, 0);
	return !ret ? 0 : ret < 0 ? EPOLLHUP : EPOLLIN | EPOLLRDNORM;
}
#endif
#endif

/* ==== [18] LIFECYCLE =================================================== */

BSE_API void bpf_stream_destroy(struct bpf_stream *s)
{
	size_t pending;

	if (bse_access() || bsi_reader_lock(s, true))
		return;
	bsi_list_release(bse_log_detach(s, &pending));
	bsi_list_release(s->backlog_head);
	bse_consumed_set(s, 0);
	s->backlog_head = 0;
	bse_stream_reset(s);
	bse_unlock(&s->lock);
}

/* ---- [18a] MODULES --------------------------------------------------- */
#ifndef BSE_HAS_THREADS
/* Releases a dead CPU's slots; runs on another one. */
static int bsi_line_dead(unsigned int cpu)
{
	bsi_slots_release(per_cpu_ptr(&bse_self, cpu)->slot);
	return 0;
}

#ifdef BSE_STANDALONE
static enum cpuhp_state bsi_cpuhp;	/* written before the pool is published */

BSE_API int bpf_stream_pool_start(size_t bytes)
{
	void *region;
	int state;

	bytes = bytes ? bytes : BPF_STREAM_POOL_BYTES;
	if (bytes < BSE_POOL_MIN_PAGES * BPF_STREAM_PAGE_SIZE || bytes > BSE_POOL_MAX_BYTES)
		return -EINVAL;
	if (bse_pool_found())
		return -EBUSY;
	region = vzalloc(bytes);
	if (!region)
		return -ENOMEM;
	state = cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "bpf_stream:dead", NULL,
					  bsi_line_dead);
	if (state < 0) {
		vfree(region);
		return state;
	}
	bsi_cpuhp = state;
	bse_pool_format(region, bytes, 0);
	bse_pool_publish(region);
	return 0;
}

BSE_API size_t bpf_stream_pool_stop(void)
{
	struct bse_pool *pool = bse_pool_found();
	uint32_t partial;
	size_t left;
	int cpu;

	if (!pool)
		return 0;
	synchronize_rcu();
	cpuhp_remove_state_nocalls(bsi_cpuhp);
	for_each_possible_cpu(cpu)
		bsi_line_dead(cpu);
	left = bse_pool_in_use(pool, &partial);
	bse_process.pool = (bse_ptr){ NULL };	/* no call runs beside this one */
	vfree(pool);
	return left;
}
#endif /* BSE_STANDALONE */
#else /* BSE_HAS_THREADS */

/* ---- [18b] THREADS --------------------------------------------------- */

/*
 * No reservation is under way, or it was cancelled. The depth is so high that a
 * handler finds no slot: with one it would fill or retire the same page.
 */
static void bsi_thread_give_back(uint32_t attachment)
{
	bse_own_set(&bse_self.depth, BPF_STREAM_LEVELS);
	BSE_BARRIER();
	bsi_slots_release(bse_self.slot);
	BSE_BARRIER();
	bse_own_set(&bse_self.attachment, attachment);
	bse_own_set(&bse_self.depth, 0);
}

static void bsi_thread_exit(void *self)
{
	(void)self;
	bsi_thread_give_back(BSE_CLOSED);
}

/* No reservation is under way: this also undoes what siglongjmp() left. */
BSE_API void bpf_stream_thread_release(void)
{
	bsi_thread_give_back(bse_own_get(&bse_self.attachment));
}

/*
 * First what nobody keeps becomes free, at once or when it is read. Then one
 * page at a time is out of the lists: a push finds the others. Both are
 * bounded.
 */
BSE_API size_t bpf_stream_pool_trim(void)
{
	struct bse_pool *pool = bse_pool_found();
	struct bse_space space;
	int saved = errno;
	size_t unit = (size_t)sysconf(_SC_PAGESIZE);
	size_t given_back = 0;
	uint32_t left;
	uint32_t i;
	int advice;
	char *at;

	if (!pool || bse_access())
		return 0;
	advice = pool->flags & BPF_STREAM_POOL_SHARED ? MADV_REMOVE : MADV_DONTNEED;
	left = pool->pages;
	for (i = 0; i < BSE_LISTS; i++) {
		for (; left > 0 && bse_partial_get(i, &space); left--)
			bsi_page_retire(&space);
	}
	for (left = BPF_STREAM_PAGE_SIZE % unit ? 0 : pool->pages; left > 0; left--) {
		space.page = bse_list_pop(pool, BSE_HOT);
		if (!space.page)
			break;
		at = bse_pool_at(bse_link_at(space.page, 0));
		if ((uintptr_t)at % unit == 0 && !madvise(at, BPF_STREAM_PAGE_SIZE, advice))
			given_back++;
		bse_list_push(pool, BSE_COLD, space.page);
	}
	errno = saved;
	return given_back;
}

/* ---- [18c] PROCESSES ------------------------------------------------- */

/* In the child, which has one thread. Handlers would find half of this done. */
static void bsi_process_forked(void)
{
	struct bse_pool *pool = bse_pool_known();
	uint32_t kept = 0;
	sigset_t before;
	sigset_t all;
	uint32_t i;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	bse_own_set(&bse_self.id, 0);
	bse_process.generation = (bse_process.generation + BSE_TID + 1) & ~BSE_LOCK_WAITED;
	/* Plain stores, as no other thread is there. */
	if (pool && pool->flags & BPF_STREAM_POOL_SHARED) {
		bse_fill(bse_self.slot, 0, sizeof(bse_self.slot));
		bse_process.foreign = BSE_U32(1);
		bse_process.pool = (bse_ptr){ NULL };
	} else if (pool) {
		/* Slots of other threads are gone, their pages with them. */
		for (i = 0; i < BSE_SLOTS; i++)
			kept += bse_self.slot[i].keeps;
		pool->kept = BSE_U32(kept);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/*
 * A function of another library may be bound at its first call, by code that
 * takes kilobytes of stack. What is called where stack may be short is called
 * here first, in ways that change nothing.
 */
static void bsi_process_bind(void)
{
	/* Volatile: else compilers know that there is nothing to do. */
	char *volatile from = (char *)&bse_self;
	char *volatile to = (char *)&bse_process;
	volatile size_t none = 0;
	int saved = errno;
	int cancel;

	bse_fill(to, 0, none);
	bse_copy(to, from, none);
	none = strnlen(from, none);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	pthread_setcancelstate(cancel, NULL);
	/* Without a length both are refused, and this thread is not gone. */
	if (mmap(NULL, none, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ||
	    !munmap(from, none) || bse_thread_is_gone(bse_thread_id(), true) ||
	    write(-1, from, none) >= 0 || read(-1, to, none) >= 0 ||
	    !bpf_stream_clock_monotonic())
		none = 1;
	errno = saved;
}

BSE_CONSTRUCTOR static void bsi_process_load(void)
{
	bsi_process_bind();
	if (pthread_atfork(NULL, NULL, bsi_process_forked) ||
	    pthread_key_create(&bse_process.exit_key, bsi_thread_exit))
		return;
	pthread_setspecific(bse_process.exit_key, NULL);	/* bound, too */
	/* Release, with attach:A: a thread may run already, and push. */
	bse_u32_xchg_release(&bse_process.hooked, 1);			/* ORD(load:A) */
}

/* Without this, a thread that outlives a dlclose would call into nowhere. */
BSE_DESTRUCTOR static void bsi_process_unload(void)
{
	/* Relaxed: nobody may push beside an unload; exit() is fine. */
	if (!bse_u32_load_relaxed(&bse_process.hooked))			/* ORD(unload:A) */
		return;
	bse_u32_store_relaxed(&bse_process.hooked, 0);			/* ORD(unload:B) */
	pthread_key_delete(bse_process.exit_key);
}
#endif /* BSE_HAS_THREADS */
#endif /* BPF_STREAM_BODIES */

/* ==== [19] PROGRAM ===================================================== */
/*
 * The kernel's names and signatures for the two streams of a program, inline
 * and so no symbols. <bpf/bpf.h> in the same file would have the same names.
 */
#if defined(BPF_STREAM_PROG) && !defined(BPF_STREAM_PROG_H)
#define BPF_STREAM_PROG_H

BSE_DECLS_BEGIN

/* A program, and what belongs to it. */
struct bpf_prog_aux {
	struct bpf_stream stream[2];		/* BPF_STDOUT, BPF_STDERR */
	bse_figure stream_error_cnt;		/* reports made so far */
	bool merged;				/* both ids are the first one */
};

struct bpf_prog {
	struct bpf_prog_aux *aux;
};

/* NULL if there is no such stream. */
static inline struct bpf_stream *bsi_prog_stream(struct bpf_prog_aux *aux, int stream_id)
{
	if (stream_id != BPF_STDOUT && stream_id != BPF_STDERR)
		return NULL;
	return &aux->stream[aux->merged ? 0 : stream_id - BPF_STDOUT];
}

/* As bpf_stream_init(); prog->aux points to memory of any content. */
static inline void bpf_prog_stream_init(struct bpf_prog *prog)
{
	(void)bpf_stream_init(&prog->aux->stream[0], NULL);
	(void)bpf_stream_init(&prog->aux->stream[1], NULL);
	bse_figure_set(&prog->aux->stream_error_cnt, 0);
	prog->aux->merged = false;
}

/* As bpf_prog_stream_init(), but both ids are one stream; tags tell which. */
static inline void bpf_prog_stream_init_merged(struct bpf_prog *prog)
{
	bpf_prog_stream_init(prog);
	prog->aux->merged = true;
}

/* As bpf_stream_destroy(). */
static inline void bpf_prog_stream_free(struct bpf_prog *prog)
{
	bpf_stream_destroy(&prog->aux->stream[0]);
	bpf_stream_destroy(&prog->aux->stream[1]);
}

/* As bpf_stream_read(), but before all else -ENOENT for no such stream. */
static inline int bpf_prog_stream_read(struct bpf_prog *prog, enum bpf_stream_id stream_id,
				       void *buf, int len)
{
	struct bpf_stream *s = bsi_prog_stream(prog->aux, BSE_CAST(int, stream_id));

	/* A negative length becomes one above INT_MAX. */
	return s ? bpf_stream_read(s, buf, BSE_CAST(size_t, len)) : -BSE_ENOENT;
}

/* As bpf_stream_drain_records(), but first -ENOENT for no such stream. */
static inline int bpf_prog_stream_drain_records(struct bpf_prog *prog, enum bpf_stream_id stream_id,
						bpf_stream_record_fn *fn, void *ctx, size_t max)
{
	struct bpf_stream *s = bsi_prog_stream(prog->aux, BSE_CAST(int, stream_id));

	return s ? bpf_stream_drain_records(s, fn, ctx, max) : -BSE_ENOENT;
}

/* As bpf_stream_stage_commit_tag(), but -EINVAL if there is no such stream. */
static inline int bpf_stream_stage_commit(struct bpf_stream_stage *ss, struct bpf_prog *prog,
					  enum bpf_stream_id stream_id)
{
	struct bpf_stream *s = bsi_prog_stream(prog->aux, BSE_CAST(int, stream_id));

	return s ? bpf_stream_stage_commit_tag(ss, s, BSE_CAST(uint8_t, stream_id)) : -BSE_EINVAL;
}

/* As bpf_stream_bprintf_pri(), but first -ENOENT for no such stream. */
static inline int bpf_stream_vprintk(int stream_id, const char *fmt, const void *args,
				     uint32_t len, struct bpf_prog_aux *aux)
{
	struct bpf_stream *s = bsi_prog_stream(aux, stream_id);

	return s ? bpf_stream_bprintf_pri(s, BPF_STREAM_TAG(stream_id) | BPF_STREAM_INFO, fmt,
					  BSE_CAST(const uint64_t *, args), len) : -BSE_ENOENT;
}

/* Counts a report; true if BPF_STREAM_MAX_REPORTS were counted before. */
static inline bool bpf_prog_stream_error_limit(struct bpf_prog *prog)
{
	bse_figure *count = &prog->aux->stream_error_cnt;

	/* It stops at the limit, give or take those who are between the two. */
	return bse_figure_get(count) >= BPF_STREAM_MAX_REPORTS ||
	       bse_figure_add(count, 1) >= BPF_STREAM_MAX_REPORTS;
}

#define bpf_stream_printk(ss, ...) bpf_stream_stage_printk(&(ss), __VA_ARGS__)

/* One report: @expr prints into the stage @ss, which is then committed. */
#define bpf_stream_stage(ss, prog, stream_id, expr)				\
	do {									\
		if (!bpf_prog_stream_error_limit(prog)) {			\
			bpf_stream_stage_init(&(ss));				\
			expr;							\
			(void)bpf_stream_stage_commit(&(ss), prog, stream_id);	\
			bpf_stream_stage_free(&(ss));				\
		}								\
	} while (0)

BSE_DECLS_END
#endif /* BPF_STREAM_PROG */
