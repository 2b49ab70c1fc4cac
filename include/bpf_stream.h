/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bpf_stream.h - message streams that can be written from every context
 *
 * Threads and signal handlers push messages; one reader at a time takes them
 * out in push order. A push never locks, never blocks and never calls malloc;
 * memory has a hard bound; every message that a stream refuses is counted.
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
 *   [6]  ENVIRONMENT BODIES - threads, CPUs, pool, log, lock, sinks, drop-in
 *   [7]  PROOF - invariants and ordering pairs
 *   [8]  LIST - links, chains, publish, detach, reverse
 *   [9]  PAGE - reserving in pages, retiring and returning them
 *   [10] ELEMENT - elements and messages
 *   [11] CAPACITY - fit, charge, refund, refusals
 *   [12] FORMAT - the formatter
 *   [13] STREAM - push and print
 *   [14] STAGE - groups
 *   [15] READER - drain and read
 *   [16] LIFECYCLE - init, destroy
 *   [17] PROGRAM - the two streams of a program
 *   [18] SELFCHECK - the invariants as code
 */

#ifndef BPF_STREAM_H
#define BPF_STREAM_H

/* ====================================================================== *
 * [1] CONTRACT
 * ====================================================================== */
/*
 * Words used here:
 *
 * - A *message* is what one push or print stores. A *group* is what a stage
 *   collects; it is committed as a whole. Reading gives bytes: the text of
 *   messages in the order in which they were published, without separators.
 * - *Any context*: a thread, or a signal handler that interrupted anything,
 *   this library and malloc included.
 * - *Pending* bytes are accepted and not yet taken by a reader. They are what
 *   a stream's capacity bounds.
 * - *Refused* means that a call returned an error and nothing was stored. The
 *   stream counts it. A message is lost only when its writer gives up.
 *
 * What may run beside what, on the same object:
 *
 *                    push  stage  drain  try_  get_   init/
 *                    print commit read   drain stats  destroy
 *   push, print       yes   yes   yes    yes   yes    NO
 *   stage_commit_to   yes   yes   yes    yes   yes    NO
 *   drain, read,check yes   yes   waits  busy  yes    NO
 *   try_drain/_read   yes   yes   busy   busy  yes    NO
 *   get_stats         yes   yes   yes    yes   yes    NO
 *   init, destroy     NO    NO    NO     NO    NO     NO
 *
 *   waits: one after the other.  busy: the try variant returns -EBUSY.
 *   A stage is the caller's own: one user at a time, no handler beside it.
 *   pool_use, pool_trim, pool_get_stats and thread_release run beside all. The
 *   self-check of the pool runs beside nothing.
 *
 * From where:
 *
 *   any context:      push, printf, vprintf, bprintf, stage_*, try_drain,
 *                     try_read, get_stats, pool_get_stats, pool_trim
 *   threads only:     drain, read, drain_fd, init, destroy, pool_use,
 *                     thread_release, selfcheck
 *   inside a sink:    any push, also to the stream being drained; draining
 *                     other streams, where sinks of theirs drain none back
 *                     (two would wait for each other for ever), or by the try
 *                     variants. Draining the same one: -EDEADLK. Never
 *                     longjmp, throw or exit the thread out of a sink.
 *
 * Order: messages of one thread come out in the order in which their pushes
 * began to be published, those of a handler included; a push that returned
 * before another one began comes out first. A group is contiguous.
 *
 * Jumping out of a handler, or cancelling a thread, in the middle of a push or
 * a stage call loses its message with its pages; at most one page more; and, in
 * a process's first push, the pool that is being set up. Until the thread ends
 * or releases, it also costs one of its BPF_STREAM_LEVELS, with the page kept
 * there. Later pushes work. Such a stage may only be initialised again. Never
 * jump out of a sink, of try_drain, or of what interrupted a drain, read,
 * destroy, pool_use, trim or release, nor out of a fault's handler in a push. A
 * thread that is cancelled asynchronously may end with its signals blocked.
 *
 * Threads keep pages only where an exit hook can be set. glibc cannot do so in
 * a push if 32 pthread keys were made before this library's, at its load: then
 * each message takes a page until it is read. A thread whose first push comes
 * in the last round of destructors, or a handler then, leaves its page behind.
 *
 * Libraries: a stream or stage is used by one copy of the bodies, the one that
 * made it. Shared libraries should hide theirs: with BPF_STREAM_STATIC, or with
 * -fvisibility=hidden. If two export them, the loader picks one for both, and
 * what a compiler inlined of the other one corrupts the streams.
 *
 * dlopen: needs initial-exec TLS, which glibc has and musl has not. dlclose is
 * allowed when no call is under way, nor a fork, nor the end of a thread that
 * pushed. The pool stays mapped (trim it first), and glibc loses the TLS of a
 * library not loaded last. If linked with -z nodelete, it just stays.
 *
 * fork: with the pool that is set up by itself, or with a private region,
 * both processes go on, each with its own copy of what was pending. Pages that
 * other threads kept are lost to the child. A stream whose reader was another
 * thread in that moment answers -EBUSY to readers in the child until
 * bpf_stream_destroy() and bpf_stream_init(); one whose own sink forked, until
 * its drain ends. With a region marked BPF_STREAM_POOL_SHARED the child is
 * refused with -EPERM; if a handler or sink forked, it must not return there. A
 * child made without the C library's fork() (bare clone, _Fork) must not use
 * streams, nor may handlers of pthread_atfork() registered before this library
 * was loaded; these, and what they start, run with all signals but faults
 * blocked, and a mask that they set does not last.
 *
 * Kernels: a line of execution is a CPU. A push stays there while it reserves
 * memory: preemption is off for that long, interrupts are never. Any context is
 * a task, and soft, hard and non-maskable interrupts, also with PREEMPT_RT.
 * Streams are read, made and destroyed by tasks, which alone may call [5d];
 * nothing runs beside pool_start, and nothing begins beside pool_stop.
 * "Threads" means tasks that may sleep, a signal handler is an interrupt, and
 * nothing jumps. A module has streams and a pool of its own, from
 * bpf_stream_pool_start() on; its copy of the bodies goes with it. In the
 * drop-in all streams share the kernel's pages.
 */

/* ====================================================================== *
 * [2] CONFIGURATION
 * ====================================================================== */
/*
 * BPF_STREAM_IMPLEMENTATION	this file gets the bodies, once in a program
 * BPF_STREAM_STATIC		this file gets a private copy of everything
 * BPF_STREAM_PROG		also the program layer, see [17]
 * BPF_STREAM_SELFCHECK		1: also bpf_stream_selfcheck(); default 0
 * BPF_STREAM_ENV_HEADER	"file": may replace any word of the vocabulary,
 *				see [6a]; for tests
 * BPF_STREAM_KERNEL_DROPIN	in a kernel: in place of kernel/bpf/stream.c
 *
 * These are for each file that includes the header, the knobs below for the one
 * that has the bodies.
 */
#define BPF_STREAM_VERSION_MAJOR 0
#define BPF_STREAM_VERSION_MINOR 1
#define BPF_STREAM_VERSION_PATCH 0
#define BPF_STREAM_VERSION "0.1.0"

/* Capacity of a stream that asks for none, in bytes of text. */
#ifndef BPF_STREAM_DEFAULT_CAPACITY
#define BPF_STREAM_DEFAULT_CAPACITY (4u << 20)
#endif

/* Bytes that the process's pool reserves, unless it is given a region. */
#ifndef BPF_STREAM_POOL_BYTES
#define BPF_STREAM_POOL_BYTES (64u << 20)
#endif

/* Bytes in a page of the pool: a power of two, 1024 to 65536. */
#ifndef BPF_STREAM_PAGE_SIZE
#define BPF_STREAM_PAGE_SIZE 4096u
#endif

/* How deep handlers may nest and still keep a page of their own: 1 to 8. */
#ifndef BPF_STREAM_LEVELS
#define BPF_STREAM_LEVELS 4u
#endif

/*
 * In the drop-in: the most pages of the kernel for all streams together, and
 * how many more each CPU has ready for each nesting level. With
 * BPF_STREAM_KERNEL_KMALLOC 1, elements come from kmalloc_nolock() and not from
 * pages, to compare the two.
 */
#ifndef BPF_STREAM_MAX_PAGES
#define BPF_STREAM_MAX_PAGES ((64 << 20) / PAGE_SIZE)
#endif
#ifndef BPF_STREAM_SPARES
#define BPF_STREAM_SPARES (PAGE_SIZE > 16384 ? 1 : 4)
#endif
#ifndef BPF_STREAM_KERNEL_KMALLOC
#define BPF_STREAM_KERNEL_KMALLOC 0
#endif

#ifndef BPF_STREAM_SELFCHECK
#define BPF_STREAM_SELFCHECK 0
#endif
#if BPF_STREAM_SELFCHECK != 0 && BPF_STREAM_SELFCHECK != 1
#error "BPF_STREAM_SELFCHECK: use 0 or 1"
#endif

/* The longest text that a print stores, in bytes; not a knob. */
#define BPF_STREAM_PRINT_MAX 1023u

/* The most reports that a program makes; see bpf_prog_stream_error_limit(). */
#define BPF_STREAM_MAX_REPORTS 512u

/* Flag of bpf_stream_pool_use(): the region is shared with other processes. */
#define BPF_STREAM_POOL_SHARED 1u

/* ====================================================================== *
 * [3] ENVIRONMENT
 * ====================================================================== */

/*
 * What the rest asks about its environment, each defined or not:
 *
 *   BSE_OWN_TYPES	streams, stages and elements are those of [4] and [6a]
 *   BSE_OWN_FORMATTER	texts are formatted by [12]
 *   BSE_HAS_POOL	pages are numbered, in one pool: figures, self-check
 *   BSE_HAS_THREADS	it is userspace: threads come and go, processes fork
 *   BSE_HAS_USER	there is memory of users, BSE_USER, which may be away
 *   BSE_GATHER		bytes of several messages that a sink is offered at once
 */
#ifndef __KERNEL__

/* ---- [3a] USERSPACE -------------------------------------------------- */

#if !defined(__GNUC__) || (defined(__cplusplus) && __cplusplus < 201103L) || \
	(!defined(__cplusplus) && !(defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L))
#error "bpf_stream.h: needs GCC or Clang, and C11 or C++11: -std=c11 or newer"
#include "no more than this error"	/* it is not there: compilers stop */
#elif defined(__cplusplus) && (defined(BPF_STREAM_IMPLEMENTATION) || defined(BPF_STREAM_STATIC))
#error "bpf_stream.h: the bodies are C: define BPF_STREAM_IMPLEMENTATION in a .c file"
#include "no more than this error"	/* as above */
#endif

/* For names that strict ISO mode hides; [6] checks that it came in time. */
#if (defined(BPF_STREAM_IMPLEMENTATION) || defined(BPF_STREAM_STATIC)) && !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE 1
#endif

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BSE_OWN_TYPES
#define BSE_OWN_FORMATTER
#define BSE_HAS_POOL
#define BSE_HAS_THREADS
#define BSE_GATHER 2048u

#ifdef __cplusplus
#define BSE_DECLS_BEGIN extern "C" {
#define BSE_DECLS_END }
#else
#define BSE_DECLS_BEGIN
#define BSE_DECLS_END
#endif

#ifdef BPF_STREAM_STATIC
#define BSE_API static __attribute__((__unused__))
#define BSE_API_IS_STATIC
#else
#define BSE_API extern
#endif

#define BSE_API_STAGE BSE_API

/* Errors that the inline functions of [17] return; <errno.h> is for [6]. */
#define BSE_ENOENT 2
#define BSE_EINVAL 22
#define BSE_PRINTF(fmt, args) __attribute__((__format__(__printf__, fmt, args)))
#define BSE_INLINE inline __attribute__((__always_inline__))
#define BSE_NOINLINE __attribute__((__noinline__))

/* Compiler barrier. */
#define BSE_BARRIER() __atomic_signal_fence(__ATOMIC_SEQ_CST)

#else /* __KERNEL__ */

/* ---- [3b] KERNEL ----------------------------------------------------- */

#include <linux/atomic.h>
#include <linux/bpf.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/llist.h>
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

#define BSE_HAS_USER
#define BSE_USER __user
#define BSE_GATHER 512u
#define BSE_DECLS_BEGIN
#define BSE_DECLS_END
#define BSE_PRINTF(fmt, args) __printf(fmt, args)
#define BSE_INLINE __always_inline
#define BSE_NOINLINE noinline
#define BSE_BARRIER() barrier()

#ifndef UINT32_C
#define UINT32_C(c) c##U
#define UINT64_C(c) c##ULL
#endif

#ifdef BPF_STREAM_KERNEL_DROPIN
/*
 * Types, capacity and the three functions on stages that kernel/bpf/stream.c
 * shares with us are the kernel's own, formatting is, too.
 */
#ifdef BPF_STREAM_IMPLEMENTATION
#error "bpf_stream.h: for the drop-in define BPF_STREAM_STATIC, as kernel/dropin/stream.c does"
#endif
#if BPF_STREAM_SELFCHECK
#error "bpf_stream.h: the drop-in has no self-check"
#endif
#define BSE_API static __maybe_unused
#define BSE_API_STAGE
#define BSE_API_IS_STATIC
#undef BPF_STREAM_DEFAULT_CAPACITY
#define BPF_STREAM_DEFAULT_CAPACITY BPF_STREAM_MAX_CAPACITY
#else /* !BPF_STREAM_KERNEL_DROPIN */
#define BSE_OWN_TYPES
#define BSE_OWN_FORMATTER
#define BSE_HAS_POOL
#ifdef BPF_STREAM_STATIC
#define BSE_API static __maybe_unused
#define BSE_API_IS_STATIC
#else
#define BSE_API
#endif
#define BSE_API_STAGE BSE_API

/*
 * Kernels from 6.17 on declare streams of their own in <linux/bpf.h>. Whoever
 * includes this file gets ours under the same names, which the compiler and
 * the linker know by these.
 */
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
#endif /* !BPF_STREAM_KERNEL_DROPIN */

#endif /* __KERNEL__ */

/* ---- [3c] TYPES OF SHARED WORDS -------------------------------------- */
/*
 * One-member structs: only an environment word reaches the value, so an
 * access without a stated order does not compile.
 */
#ifdef __KERNEL__
typedef struct { atomic_t bse_v; } bse_u32;
typedef struct { atomic64_t bse_v; } bse_u64;
typedef struct { void *bse_v; } bse_ptr;
#else
typedef struct { uint32_t bse_v; } bse_u32;
typedef struct { uint64_t bse_v __attribute__((__aligned__(8))); } bse_u64;
typedef struct { void *bse_v; } bse_ptr;
#endif

#ifdef BPF_STREAM_KERNEL_DROPIN
/* An element is its node, and a page begins with its head; NULL: none. */
typedef struct llist_node *bse_link;
typedef struct bse_page_head *bse_page;
typedef struct mutex bse_mutex;
#else
/* An element's place in the pool, in 8 bytes from its base; 0: none. */
typedef uint32_t bse_link;

/* A page's index in the pool; 0: none. */
typedef uint32_t bse_page;

/* A stream's log: newest element in the upper half, pending bytes below. */
typedef bse_u64 bse_log;

/* The reader's lock; see [6e]. */
#ifdef __KERNEL__
typedef struct {
	struct mutex mutex;
	bse_ptr owner;
} bse_mutex;
#else
typedef struct {
	bse_u32 word;
	bse_ptr owner;
	int cancel;
} bse_mutex;
#endif
#endif /* !BPF_STREAM_KERNEL_DROPIN */

/* ---- [3d] ATOMICS ---------------------------------------------------- */
/*
 * bse_base_<kind>_<what>_<order>() promises what its name says and no more.
 * All but load and store return the value before. A cas tells whether *p was
 * *old and is v now; if not, *old is what was found, and nothing is ordered.
 */
#ifndef __KERNEL__

#if __GCC_ATOMIC_LLONG_LOCK_FREE != 2 && !defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_8)
#error "bpf_stream.h: needs a lock-free 64-bit compare-exchange (32-bit x86: -march=i586)"
#endif

#define BSE_LOAD(kind, type, order, ORDER)						\
static inline type bse_base_##kind##_load_##order(const bse_##kind *p)			\
{											\
	return __atomic_load_n(&p->bse_v, __ATOMIC_##ORDER);				\
}
#define BSE_STORE(kind, type, order, ORDER)						\
static inline void bse_base_##kind##_store_##order(bse_##kind *p, type v)		\
{											\
	__atomic_store_n(&p->bse_v, v, __ATOMIC_##ORDER);				\
}
#define BSE_RMW(kind, type, what, builtin, order, ORDER)				\
static inline type bse_base_##kind##_##what##_##order(bse_##kind *p, type v)		\
{											\
	return __atomic_##builtin(&p->bse_v, v, __ATOMIC_##ORDER);			\
}
#define BSE_CAS(kind, type, order, ORDER)						\
static inline bool bse_base_##kind##_cas_##order(bse_##kind *p, type *old, type v)	\
{											\
	return __atomic_compare_exchange_n(&p->bse_v, old, v, false,			\
					   __ATOMIC_##ORDER, __ATOMIC_RELAXED);		\
}

BSE_LOAD(u32, uint32_t, relaxed, RELAXED)
BSE_LOAD(u32, uint32_t, acquire, ACQUIRE)
BSE_STORE(u32, uint32_t, relaxed, RELAXED)
BSE_RMW(u32, uint32_t, fetch_add, fetch_add, relaxed, RELAXED)
BSE_RMW(u32, uint32_t, fetch_sub, fetch_sub, relaxed, RELAXED)
BSE_RMW(u32, uint32_t, fetch_add, fetch_add, acq_rel, ACQ_REL)
BSE_RMW(u32, uint32_t, fetch_sub, fetch_sub, acq_rel, ACQ_REL)
BSE_RMW(u32, uint32_t, xchg, exchange_n, release, RELEASE)
BSE_CAS(u32, uint32_t, relaxed, RELAXED)
BSE_CAS(u32, uint32_t, acquire, ACQUIRE)
BSE_LOAD(u64, uint64_t, relaxed, RELAXED)
BSE_LOAD(u64, uint64_t, acquire, ACQUIRE)
BSE_STORE(u64, uint64_t, relaxed, RELAXED)
BSE_RMW(u64, uint64_t, fetch_add, fetch_add, relaxed, RELAXED)
BSE_RMW(u64, uint64_t, fetch_sub, fetch_sub, relaxed, RELAXED)
BSE_RMW(u64, uint64_t, fetch_and, fetch_and, acquire, ACQUIRE)
BSE_CAS(u64, uint64_t, acquire, ACQUIRE)
BSE_CAS(u64, uint64_t, release, RELEASE)
BSE_LOAD(ptr, void *, relaxed, RELAXED)
BSE_LOAD(ptr, void *, acquire, ACQUIRE)
BSE_STORE(ptr, void *, relaxed, RELAXED)
BSE_CAS(ptr, void *, release, RELEASE)

#else /* __KERNEL__ */

/* On the kernel's atomic_t and atomic64_t, whose values are signed. */
#define BSE_LOAD(kind, type, order, atomic_load)					\
static inline type bse_base_##kind##_load_##order(const bse_##kind *p)			\
{											\
	return (type)atomic_load(&p->bse_v);						\
}
#define BSE_STORE(kind, type, order, atomic_store)					\
static inline void bse_base_##kind##_store_##order(bse_##kind *p, type v)		\
{											\
	atomic_store(&p->bse_v, v);							\
}
#define BSE_RMW(kind, type, what, order, atomic_rmw)					\
static inline type bse_base_##kind##_##what##_##order(bse_##kind *p, type v)		\
{											\
	return (type)atomic_rmw(v, &p->bse_v);						\
}
#define BSE_CAS(kind, type, order, signed_type, atomic_cas)				\
static inline bool bse_base_##kind##_cas_##order(bse_##kind *p, type *old, type v)	\
{											\
	return atomic_cas(&p->bse_v, (signed_type *)old, v);				\
}
#define BSE_XCHG(v, p) atomic_xchg_release(p, v)
#define BSE_READ(p) READ_ONCE(*(p))
#define BSE_WRITE(p, v) WRITE_ONCE(*(p), v)

BSE_LOAD(u32, u32, relaxed, atomic_read)
BSE_LOAD(u32, u32, acquire, atomic_read_acquire)
BSE_STORE(u32, u32, relaxed, atomic_set)
BSE_RMW(u32, u32, fetch_add, relaxed, atomic_fetch_add_relaxed)
BSE_RMW(u32, u32, fetch_sub, relaxed, atomic_fetch_sub_relaxed)
BSE_RMW(u32, u32, fetch_add, acq_rel, atomic_fetch_add)
BSE_RMW(u32, u32, fetch_sub, acq_rel, atomic_fetch_sub)
BSE_RMW(u32, u32, xchg, release, BSE_XCHG)
BSE_CAS(u32, u32, relaxed, int, atomic_try_cmpxchg_relaxed)
BSE_CAS(u32, u32, acquire, int, atomic_try_cmpxchg_acquire)
BSE_LOAD(u64, u64, relaxed, atomic64_read)
BSE_LOAD(u64, u64, acquire, atomic64_read_acquire)
BSE_STORE(u64, u64, relaxed, atomic64_set)
BSE_RMW(u64, u64, fetch_add, relaxed, atomic64_fetch_add_relaxed)
BSE_RMW(u64, u64, fetch_sub, relaxed, atomic64_fetch_sub_relaxed)
BSE_RMW(u64, u64, fetch_and, acquire, atomic64_fetch_and_acquire)
BSE_CAS(u64, u64, acquire, s64, atomic64_try_cmpxchg_acquire)
BSE_CAS(u64, u64, release, s64, atomic64_try_cmpxchg_release)
BSE_LOAD(ptr, void *, relaxed, BSE_READ)
BSE_LOAD(ptr, void *, acquire, smp_load_acquire)
BSE_STORE(ptr, void *, relaxed, BSE_WRITE)
BSE_CAS(ptr, void *, release, void *, try_cmpxchg_release)

#endif /* __KERNEL__ */

/* ====================================================================== *
 * [4] TYPES
 * ====================================================================== */

#ifdef BSE_OWN_TYPES
/* The two streams of a program; see [17]. */
enum bpf_stream_id {
	BPF_STDOUT = 1,
	BPF_STDERR = 2,
};
#endif

/* Why a message was refused; the error that goes with it. */
enum bpf_stream_refusal {
	BPF_STREAM_REFUSED_FULL,	/* -ENOSPC: the stream's capacity is used up */
	BPF_STREAM_REFUSED_POOL,	/* -ENOMEM: no page, no pool, or no buffer to format in */
	BPF_STREAM_REFUSED_SIZE,	/* -E2BIG: can never fit, or printed text too long */
	BPF_STREAM_REFUSED_INVALID,	/* the format, its arguments or a length is not valid */
	BPF_STREAM_REFUSED_FOREIGN,	/* -EPERM: child of a process with a shared pool */
	BPF_STREAM_REFUSALS		/* how many reasons there are */
};

/**
 * struct bpf_stream_options - what a stream is made of
 * @capacity: the most bytes that may be pending; 0: the default
 */
struct bpf_stream_options {
	size_t capacity;
};

/**
 * struct bpf_stream_count - a number of messages, and of bytes in them
 * @messages: messages
 * @bytes:    bytes
 */
struct bpf_stream_count {
	uint64_t messages;
	uint64_t bytes;
};

/**
 * struct bpf_stream_stats - a stream in figures
 * @capacity:  the most bytes that may be pending
 * @pending:   bytes accepted and not yet taken by a reader
 * @delivered: what readers took; a message counts when its last byte is taken
 * @refused:   what was refused, by enum bpf_stream_refusal; what is not valid
 *             counts with 0 bytes
 */
struct bpf_stream_stats {
	size_t capacity;
	size_t pending;
	struct bpf_stream_count delivered;
	struct bpf_stream_count refused[BPF_STREAM_REFUSALS];
};

#ifdef BSE_HAS_POOL
/**
 * struct bpf_stream_pool_stats - the process's pool in figures
 * @page_size: bytes in a page
 * @total:     pages that can hold messages
 * @in_use:    pages that hold messages, or that a thread keeps for its next;
 *             added up page by page, so off by what moves meanwhile
 * @highest:   the most pages that were ever in use, or a few more
 * @denied:    how often a page was asked for and none was left
 *
 * All are 0 while there is no pool.
 */
struct bpf_stream_pool_stats {
	size_t page_size;
	size_t total;
	size_t in_use;
	size_t highest;
	uint64_t denied;
};
#endif

#ifdef BSE_OWN_TYPES
/* Refusals of one reason. */
struct bsi_tally {
	bse_u64 messages;
	bse_u64 bytes;
};

/**
 * struct bpf_stream - a stream; its members are private
 *
 * Writers use the first part, the reader the second, in other cache lines.
 */
struct bpf_stream {
	bse_log log;				/* newest element and pending bytes */
	uint32_t capacity;			/* frozen since init */
	struct bsi_tally refused[BPF_STREAM_REFUSALS];
	char apart[128 - 16 - 16 * BPF_STREAM_REFUSALS];

	bse_mutex lock;				/* one reader at a time */
	bse_link backlog_head;			/* oldest detached element; lock held */
	bse_u64 delivered_messages;		/* written with the lock held */
	bse_u64 delivered_bytes;
};

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
#endif

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

/* ====================================================================== *
 * [5] API
 * ====================================================================== */
BSE_DECLS_BEGIN

/* ---- [5a] STREAMS ---------------------------------------------------- */

/**
 * bpf_stream_init() - make a stream
 * @s:    memory for it, of any content
 * @opts: what it is made of, or NULL for the defaults
 *
 * Context:   Threads. Nobody else may use @s meanwhile.
 * Progress:  Wait-free; allocates nothing.
 * Ordering:  None. Hand @s to other threads in the usual ways.
 * Ownership: @s belongs to the library until bpf_stream_destroy(); it must
 *            not be moved. @opts is read and not kept.
 * Return:    0, or -EINVAL if the capacity is above INT_MAX.
 */
BSE_API int bpf_stream_init(struct bpf_stream *s, const struct bpf_stream_options *opts);

/**
 * bpf_stream_destroy() - give back all that a stream holds
 * @s: the stream; what is pending in it is dropped
 *
 * Context:   Threads. No writer or reader of @s may be left.
 * Progress:  Linear in the number of pending messages.
 * Ordering:  None: the caller has made sure that all others are finished.
 * Ownership: The memory of @s is the caller's again. In the child of a fork
 *            that cut off a reader, the part that this reader had already
 *            detached stays behind in the pool.
 * Return:    none.
 */
BSE_API void bpf_stream_destroy(struct bpf_stream *s);

/**
 * bpf_stream_push() - store one message
 * @s:    the stream
 * @data: the bytes; may be anything, NULs included
 * @len:  how many, up to the capacity; 0 stores nothing and succeeds
 *
 * Context:   Any. Keeps errno. At most 512 bytes of stack of its own, without
 *            the C library's (if optimised).
 * Progress:  Lock-free: retries only when another writer or the reader got
 *            something done. The first push of a process may map memory.
 * Ordering:  Release: who reads the message sees what the writer did before.
 * Ownership: @data is copied.
 * Return:    0; -ENOSPC if the capacity would be exceeded, -ENOMEM if the pool
 *            has no page left (both may succeed after a read) or cannot be
 *            mapped (see bpf_stream_pool_use()); -E2BIG if the message is
 *            larger than the capacity or the pool; -EINVAL if @len is above
 *            INT_MAX; -EPERM in the child of a shared pool. On failure nothing
 *            is stored and the refusal is counted.
 */
BSE_API int bpf_stream_push(struct bpf_stream *s, const void *data, size_t len);

/**
 * bpf_stream_printf() - format one message and store it
 * @s:   the stream
 * @fmt: d i u o x X c s p %% with flags - + space # 0, width, precision, *
 *       and hh h l ll j z t; with the results of the C library
 * @...: its arguments
 *
 * Context:   Any. Keeps errno. At most 2 KiB of stack. No locale, no malloc.
 * Progress:  As bpf_stream_push().
 * Ordering:  As bpf_stream_push().
 * Ownership: The text and what the arguments point to are copied.
 * Return:    As bpf_stream_push(); -E2BIG also if the text is longer than
 *            BPF_STREAM_PRINT_MAX bytes; -EINVAL if @fmt holds anything else.
 */
BSE_API int bpf_stream_printf(struct bpf_stream *s, const char *fmt, ...) BSE_PRINTF(2, 3);

/**
 * bpf_stream_vprintf() - bpf_stream_printf() with a va_list
 * @s:   the stream
 * @fmt: as there
 * @ap:  the arguments; undefined afterwards, as with vprintf()
 *
 * Context:   Any. Keeps errno. At most 2 KiB of stack.
 * Progress:  As bpf_stream_push().
 * Ordering:  As bpf_stream_push().
 * Ownership: As bpf_stream_printf().
 * Return:    As bpf_stream_printf().
 */
BSE_API int bpf_stream_vprintf(struct bpf_stream *s, const char *fmt, va_list ap) BSE_PRINTF(2, 0);

#ifdef BSE_OWN_FORMATTER
/**
 * bpf_stream_bprintf() - format one message from an array of arguments
 * @s:    the stream
 * @fmt:  d i u x X (with l, ll) c s p, px pK ps pS pB pi4 pI4 pi6 pI6 pks pus
 *        and %%, flags - + space 0 and width: the grammar of BPF programs
 * @args: one 64-bit word for each conversion; strings by address
 * @len:  the size of @args in bytes: a multiple of 8, at most 96
 *
 * Context:   Any. Keeps errno. At most 2 KiB of stack.
 * Progress:  As bpf_stream_push().
 * Ordering:  As bpf_stream_push().
 * Ownership: The text and what the arguments point to are copied.
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
 * Context:   Threads. @sink may push, here too; it may not read this stream.
 * Progress:  Blocking: waits for another reader. Never makes writers wait.
 *            Cancellation is off while it runs.
 * Ordering:  Acquire: the sink sees what the writers did before they pushed.
 * Ownership: What @sink took is gone; what it did not take stays.
 * Return:    Bytes taken, 0 if nothing is pending or @max is 0. If nothing was
 *            taken: the error of @sink (-EINVAL if it claims more than it was
 *            given), -EDEADLK if this thread is reading it already (from a
 *            sink or handler), -EBUSY if the reader was lost in a fork,
 *            -EPERM in the child of a shared pool.
 */
BSE_API int bpf_stream_drain(struct bpf_stream *s, bpf_stream_sink *sink, void *ctx, size_t max);

/**
 * bpf_stream_try_drain() - bpf_stream_drain() that does not wait
 * @s:    the stream
 * @sink: as there
 * @ctx:  as there
 * @max:  as there
 *
 * Context:   Any, if @sink may be called there. Up to 4 KiB of stack.
 * Progress:  Never waits. Bounded by what is pending.
 * Ordering:  As bpf_stream_drain().
 * Ownership: As bpf_stream_drain().
 * Return:    As bpf_stream_drain(); -EBUSY also if another reader is at work.
 */
BSE_API int bpf_stream_try_drain(struct bpf_stream *s, bpf_stream_sink *sink, void *ctx,
				 size_t max);

/**
 * bpf_stream_read() - take out bytes into memory
 * @s:   the stream
 * @buf: where to
 * @len: the most bytes to take; with 0, @buf may be NULL
 *
 * Context:   Threads.
 * Progress:  As bpf_stream_drain().
 * Ordering:  As bpf_stream_drain().
 * Ownership: What was copied is gone from the stream.
 * Return:    Bytes copied, 0 if nothing is pending or @len is 0; -EINVAL if
 *            @len is above INT_MAX, -EDEADLK, -EBUSY, -EPERM as
 *            bpf_stream_drain().
 */
BSE_API int bpf_stream_read(struct bpf_stream *s, void *buf, size_t len);

/**
 * bpf_stream_try_read() - bpf_stream_read() that does not wait
 * @s:   the stream
 * @buf: where to
 * @len: the most bytes to take
 *
 * Context:   Any.
 * Progress:  Never waits. Linear in what was pushed since the last read.
 * Ordering:  As bpf_stream_drain().
 * Ownership: As bpf_stream_read().
 * Return:    As bpf_stream_read(); -EBUSY also if another reader is at work.
 */
BSE_API int bpf_stream_try_read(struct bpf_stream *s, void *buf, size_t len);

#ifdef BSE_HAS_THREADS
/**
 * bpf_stream_drain_fd() - take out bytes into a file descriptor
 * @s:   the stream
 * @fd:  where to, with writev()
 * @max: the most bytes to take; SIZE_MAX: all
 *
 * Context:   Threads. May block as the descriptor does; SIGPIPE as write().
 * Progress:  As bpf_stream_drain(). Writers go on while it blocks.
 * Ordering:  As bpf_stream_drain().
 * Ownership: What was written is gone from the stream; the rest stays.
 * Return:    Bytes written; if none, the error of writev() (-EAGAIN and -EINTR
 *            among them), or as bpf_stream_drain(). Keeps errno.
 */
BSE_API int bpf_stream_drain_fd(struct bpf_stream *s, int fd, size_t max);
#endif

/**
 * bpf_stream_get_stats() - a stream in figures
 * @s:     the stream
 * @stats: filled in
 *
 * Context:   Any.
 * Progress:  Wait-free.
 * Ordering:  None: each figure is right by itself, at some moment of the call.
 * Ownership: @stats stays the caller's.
 * Return:    none.
 */
BSE_API void bpf_stream_get_stats(const struct bpf_stream *s, struct bpf_stream_stats *stats);

/* ---- [5b] STAGES ----------------------------------------------------- */

/**
 * bpf_stream_stage_init() - begin a group
 * @ss: memory for the stage, of any content; for example on the stack
 *
 * Context:   Any. A stage has one user at a time.
 * Progress:  Wait-free; allocates nothing.
 * Ordering:  None.
 * Ownership: @ss holds nothing yet. End with commit or bpf_stream_stage_free().
 * Return:    none.
 */
BSE_API_STAGE void bpf_stream_stage_init(struct bpf_stream_stage *ss);

/**
 * bpf_stream_stage_free() - drop what was collected and not committed
 * @ss: the stage; empty and usable afterwards
 *
 * Context:   Any.
 * Progress:  Lock-free; linear in the number of messages.
 * Ordering:  None.
 * Ownership: The messages go back to the pool.
 * Return:    none.
 */
BSE_API_STAGE void bpf_stream_stage_free(struct bpf_stream_stage *ss);

/**
 * bpf_stream_stage_push() - add one message to a group
 * @ss:   the stage
 * @data: the bytes
 * @len:  how many; 0 adds nothing and succeeds
 *
 * Context:   Any. Keeps errno.
 * Progress:  Lock-free.
 * Ordering:  None.
 * Ownership: @data is copied.
 * Return:    0; -ENOMEM as bpf_stream_push(); -E2BIG if the pool can never hold
 *            it, or the group would pass INT_MAX bytes; -EINVAL if @len is
 *            above INT_MAX; -EPERM in the child of a shared pool. On failure
 *            @ss is as before. No stream is known yet to count it in; the pool
 *            counts the pages that it denied.
 */
BSE_API int bpf_stream_stage_push(struct bpf_stream_stage *ss, const void *data, size_t len);

/**
 * bpf_stream_stage_printk() - format one message and add it to a group
 * @ss:  the stage
 * @fmt: as bpf_stream_printf()
 * @...: its arguments
 *
 * Context:   Any. Keeps errno. At most 2 KiB of stack.
 * Progress:  Lock-free.
 * Ordering:  None.
 * Ownership: The text and what the arguments point to are copied.
 * Return:    As bpf_stream_stage_push(); -EINVAL also for @fmt. A text above
 *            BPF_STREAM_PRINT_MAX bytes is cut there, and that is a success.
 */
BSE_API_STAGE int bpf_stream_stage_printk(struct bpf_stream_stage *ss, const char *fmt, ...)
	BSE_PRINTF(2, 3);

/**
 * bpf_stream_stage_vprintk() - bpf_stream_stage_printk() with a va_list
 * @ss:  the stage
 * @fmt: as there
 * @ap:  the arguments; undefined afterwards, as with vprintf()
 *
 * Context:   Any. Keeps errno. At most 2 KiB of stack.
 * Progress:  Lock-free.
 * Ordering:  None.
 * Ownership: As bpf_stream_stage_printk().
 * Return:    As bpf_stream_stage_printk().
 */
BSE_API int bpf_stream_stage_vprintk(struct bpf_stream_stage *ss, const char *fmt, va_list ap)
	BSE_PRINTF(2, 0);

/**
 * bpf_stream_stage_commit_to() - store a group, in one step
 * @ss: the stage
 * @s:  the stream
 *
 * Context:   Any. Keeps errno.
 * Progress:  Lock-free; constant, in the drop-in linear in the messages.
 * Ordering:  As bpf_stream_push(). The group is contiguous for the reader.
 * Ownership: On success the messages belong to @s and @ss is empty. On
 *            failure @ss is as before.
 * Return:    0, also for an empty stage; -ENOSPC if the capacity would be
 *            exceeded; -E2BIG if the group is larger than the capacity; -EPERM
 *            in the child of a shared pool. Failures are counted in @s.
 */
BSE_API int bpf_stream_stage_commit_to(struct bpf_stream_stage *ss, struct bpf_stream *s);

/* ---- [5c] POOL AND THREADS ------------------------------------------- */

#ifdef BSE_HAS_THREADS
/**
 * bpf_stream_pool_use() - give the process's pool a region to live in
 * @region: memory, aligned to 64 bytes (to a system page, for trimming); zeroed
 *          or not
 * @bytes:  its size: at least 8 pages, at most 32 GiB; the hard bound of all
 *          streams together
 * @flags:  0, or BPF_STREAM_POOL_SHARED if other processes have it mapped too
 *
 * Without this call the first push reserves BPF_STREAM_POOL_BYTES.
 *
 * Context:   Threads; before the first push.
 * Progress:  Wait-free.
 * Ordering:  Release, to every later push.
 * Ownership: @region is the library's until the process ends.
 * Return:    0; -EBUSY if there is a pool already; -EINVAL if @region is NULL
 *            or misaligned, @bytes too small or too large, or a flag unknown.
 */
BSE_API int bpf_stream_pool_use(void *region, size_t bytes, unsigned int flags);

/**
 * bpf_stream_pool_trim() - give the memory of idle pages back to the system
 *
 * Context:   Any. Keeps errno. Beside it a push may find no page, if the last
 *            free one is being given back: -ENOMEM.
 * Progress:  Lock-free. One system call for each idle page.
 * Ordering:  None.
 * Ownership: The pages stay in the pool; only their memory goes.
 * Return:    How many pages were given back; 0 if BPF_STREAM_PAGE_SIZE is no
 *            multiple of the system's pages, or the region not aligned to them.
 */
BSE_API size_t bpf_stream_pool_trim(void);

/**
 * bpf_stream_thread_release() - give back the pages that this thread keeps
 *
 * For a thread that will not push for long. It may push again at any time. A
 * thread that ends does this by itself.
 *
 * Context:   Threads.
 * Progress:  Lock-free. Signals are blocked meanwhile.
 * Ordering:  None.
 * Ownership: The pages go back to the pool as soon as their messages are read.
 * Return:    none.
 */
BSE_API void bpf_stream_thread_release(void);
#endif /* BSE_HAS_THREADS */

#ifdef BSE_HAS_POOL
/**
 * bpf_stream_pool_get_stats() - the pool in figures
 * @stats: filled in
 *
 * Context:   Any.
 * Progress:  Wait-free; linear in the pages that were ever used.
 * Ordering:  None: each figure is right by itself, at some moment of the call.
 * Ownership: @stats stays the caller's.
 * Return:    none.
 */
BSE_API void bpf_stream_pool_get_stats(struct bpf_stream_pool_stats *stats);
#endif

#if BPF_STREAM_SELFCHECK
/**
 * bpf_stream_selfcheck() - verify invariants of [7]
 * @s: a stream, or NULL for the pool
 *
 * Context:   Threads. A stream may be in use; the pool must be quiet, and no
 *            jump or fork in the middle of a call have cost it a page (I4).
 * Progress:  Blocking: waits for a reader. Linear in what is pending.
 * Ordering:  None.
 * Ownership: Changes nothing.
 * Return:    NULL if all hold that it sees (of a stream I1, I3, I9, of the pool
 *            I4, I6, I7); else a text that begins with the number of one that
 *            does not, or says why it could not look.
 */
BSE_API const char *bpf_stream_selfcheck(struct bpf_stream *s);
#endif

/* ---- [5d] IN KERNELS ------------------------------------------------- */

#ifdef BSE_HAS_USER
/**
 * bpf_stream_read_user() - bpf_stream_read() into a user's memory
 * @s:   the stream
 * @buf: where to; may turn out to be away
 * @len: the most bytes to take; with 0, or if nothing is pending, @buf may be
 *       anything
 *
 * Context:   Tasks; may sleep.
 * Progress:  As bpf_stream_drain().
 * Ordering:  As bpf_stream_drain().
 * Ownership: What was copied is gone from the stream; the rest stays.
 * Return:    Bytes copied, also if the rest of @buf is away; -EFAULT if it is
 *            from its first byte on; else as bpf_stream_read().
 */
BSE_API int bpf_stream_read_user(struct bpf_stream *s, void BSE_USER *buf, size_t len);

#ifdef BSE_HAS_POOL
/**
 * bpf_stream_pool_start() - make the pool that all streams of a module share
 * @bytes: its size: the hard bound; 0: BPF_STREAM_POOL_BYTES
 *
 * Until then a push is refused: -ENOMEM.
 *
 * Context:   Tasks; may sleep. At the module's start.
 * Progress:  Maps and clears @bytes.
 * Ordering:  Release, to every later push.
 * Ownership: The pool is the library's until bpf_stream_pool_stop().
 * Return:    0; -EBUSY if there is a pool; -ENOMEM; -EINVAL if @bytes are under
 *            8 pages or above 32 GiB; an error of cpuhp_setup_state().
 */
BSE_API int bpf_stream_pool_start(size_t bytes);

/**
 * bpf_stream_pool_stop() - wait for the last writers, and unmap the pool
 *
 * First see to it that no new call begins: stop tasks, timers and work, take
 * handlers back. Calls that are under way in interrupts and NMIs are waited
 * for, but with PREEMPT_RT what irq_work runs: irq_work_sync() does. A stream
 * that these write is destroyed before, and after a synchronize_rcu() of the
 * module's own. Afterwards no stream may be used, nor destroyed.
 *
 * Context:   Tasks; may sleep. At the module's end.
 * Progress:  Waits for a grace period of RCU.
 * Ordering:  Comes after all that those writers did.
 * Ownership: All memory goes back to the kernel.
 * Return:    How many pages still held messages: 0 if all streams had been
 *            destroyed and all stages freed.
 */
BSE_API size_t bpf_stream_pool_stop(void);
#endif
#endif /* BSE_HAS_USER */

BSE_DECLS_END

#endif /* BPF_STREAM_H */

#if (defined(BPF_STREAM_IMPLEMENTATION) || defined(BPF_STREAM_STATIC)) && \
	!defined(BPF_STREAM_BODIES)
#define BPF_STREAM_BODIES

/* ====================================================================== *
 * [6] ENVIRONMENT BODIES
 * ====================================================================== */

#if defined(BPF_STREAM_STATIC) && !defined(BSE_API_IS_STATIC)
#error "bpf_stream.h: define BPF_STREAM_STATIC before the file's first inclusion of it"
#include "no more than this error"	/* as above */
#endif

#ifdef __KERNEL__
#include <linux/cpu.h>
#include <linux/irq_work.h>
#include <linux/kernel.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#else
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_DONTNEED
#error "bpf_stream.h: include it before any other header here, or compile with -D_DEFAULT_SOURCE"
#include "no more than this error"	/* as above */
#endif
#endif /* !__KERNEL__ */

#if BPF_STREAM_PAGE_SIZE < 1024 || BPF_STREAM_PAGE_SIZE > 65536 || \
	(BPF_STREAM_PAGE_SIZE & (BPF_STREAM_PAGE_SIZE - 1)) != 0
#error "BPF_STREAM_PAGE_SIZE: use a power of two from 1024 to 65536"
#endif
#if BPF_STREAM_LEVELS < 1 || BPF_STREAM_LEVELS > 8
#error "BPF_STREAM_LEVELS: use 1 to 8"
#endif
_Static_assert(BPF_STREAM_DEFAULT_CAPACITY >= 1 && BPF_STREAM_DEFAULT_CAPACITY <= INT_MAX,
	       "BPF_STREAM_DEFAULT_CAPACITY: use 1 to INT_MAX");

/* ---- [6a] VOCABULARY ------------------------------------------------- */
/*
 * Every word that the algorithm may use. The built-in meaning of bse_x is
 * bse_base_x, in [3d] and in the rest of [6]. BPF_STREAM_ENV_HEADER may
 * undefine bse_x and define it as something else, which may call bse_base_x. It
 * comes first, so atomics of [6] are replaced, too, and declares what it calls.
 *
 *   enter, leave        bracket a reservation; enter gives the slot of this
 *                       nesting level, or NULL where no page can be kept, and
 *                       the depth that leave goes back to
 *   slot_set            change a slot; something may jump out in the middle
 *   may_keep, unkeep    may this slot keep a page (I7); one does no longer
 *   usable              0, or the error with which this process is refused
 *   page_get, page_put  a page that nobody else uses; give it back
 *   page_ref            the count that the holders of a page share
 *   pool_pages          how many pages can hold elements
 *   link_at, page_of    a place in a page as a link; the page of a link
 *   elem_of             the element of a link
 *   next_of, set_next   what an element's own link says
 *   reserve, release    memory for an element; it is not used any more
 *   stream_init         make a stream of a capacity, or -EINVAL
 *   capacity            what it was made with
 *   log_*               see [6d]
 *   stage_load, _store  a stage as a chain, and a chain as a stage
 *   stage_whole         as stage_load; that may not know oldest and messages
 *   format              as vsnprintf(), but with @size bytes and no NUL
 *   lock, trylock, unlock	the reader's lock
 *   scratch_get, _put   memory to format in, or NULL; NULL may be given back
 *   take_memory, take_fd, take_user	hand pieces to memory, to a
 *                       descriptor, to memory of a user
 *   note_refusal, note_delivered	count
 *   get_counts          the figures of a stream, but for what is pending
 *   poison, unpoison    for the address sanitizer
 */
struct bse_slot;
struct bsi_returns;

#ifdef BSE_OWN_TYPES
/* A part of a stream's text, in one page. */
struct bpf_stream_elem {
	bse_link node;			/* first: see next_of */
	uint32_t total_len;		/* bytes, and BSI_ELEM_ENDS; written until publish:B */
	uint32_t consumed_len;		/* of these, taken; reader's lock held (I9) */
	char str[];
};
#endif

/* Elements that nobody else can reach, linked from newest to oldest (I8). */
struct bse_chain {
	bse_link newest;		/* 0: none */
	bse_link oldest;
	uint32_t bytes;
	uint32_t messages;		/* of a stage */
};

/* Of a slot that may keep a page (I7), and has none at the moment. */
#define BSE_PAGE_TO_COME ((bse_page)-1)

/* Bytes for elements in a page. */
#ifdef BPF_STREAM_KERNEL_DROPIN
#define BSE_PAGE_ROOM ((u32)(PAGE_SIZE - sizeof(struct bse_page_head)))
#else
#define BSE_PAGE_ROOM BPF_STREAM_PAGE_SIZE
#endif

/* A part of a stream's text on its way into a sink. */
struct bse_piece {
	const void *data;
	size_t len;
};

/* The most pieces that a sink is offered at a time. */
#ifdef __KERNEL__
#define BSE_PIECES 16u
#else
#define BSE_PIECES 64u
#endif

/* Words in the other direction, defined in [9] and [12]. */
static void bsi_slot_release(struct bse_slot *slot);
static inline int bsi_page_reserve(uint32_t size, bse_link *at);
static inline void bsi_returns_add(struct bsi_returns *returns, bse_page page);
#ifdef BSE_OWN_FORMATTER
static int bsi_format_va(char *buf, size_t size, const char *fmt, va_list ap);
#endif

#define bse_u32_load_relaxed bse_base_u32_load_relaxed
#define bse_u32_load_acquire bse_base_u32_load_acquire
#define bse_u32_store_relaxed bse_base_u32_store_relaxed
#define bse_u32_fetch_add_relaxed bse_base_u32_fetch_add_relaxed
#define bse_u32_fetch_sub_relaxed bse_base_u32_fetch_sub_relaxed
#define bse_u32_fetch_add_acq_rel bse_base_u32_fetch_add_acq_rel
#define bse_u32_fetch_sub_acq_rel bse_base_u32_fetch_sub_acq_rel
#define bse_u32_xchg_release bse_base_u32_xchg_release
#define bse_u32_cas_relaxed bse_base_u32_cas_relaxed
#define bse_u32_cas_acquire bse_base_u32_cas_acquire
#define bse_u64_load_relaxed bse_base_u64_load_relaxed
#define bse_u64_load_acquire bse_base_u64_load_acquire
#define bse_u64_store_relaxed bse_base_u64_store_relaxed
#define bse_u64_fetch_add_relaxed bse_base_u64_fetch_add_relaxed
#define bse_u64_fetch_and_acquire bse_base_u64_fetch_and_acquire
#define bse_u64_fetch_sub_relaxed bse_base_u64_fetch_sub_relaxed
#define bse_u64_cas_acquire bse_base_u64_cas_acquire
#define bse_u64_cas_release bse_base_u64_cas_release
#define bse_ptr_load_relaxed bse_base_ptr_load_relaxed
#define bse_ptr_load_acquire bse_base_ptr_load_acquire
#define bse_ptr_store_relaxed bse_base_ptr_store_relaxed
#define bse_ptr_cas_release bse_base_ptr_cas_release
#define bse_enter bse_base_enter
#define bse_leave bse_base_leave
#define bse_may_keep bse_base_may_keep
#define bse_unkeep bse_base_unkeep
#define bse_slot_set bse_base_slot_set
#define bse_usable bse_base_usable
#define bse_page_get bse_base_page_get
#define bse_page_put bse_base_page_put
#define bse_page_ref bse_base_page_ref
#define bse_pool_pages bse_base_pool_pages
#define bse_link_at bse_base_link_at
#define bse_page_of bse_base_page_of
#define bse_elem_of bse_base_elem_of
#define bse_next_of bse_base_next_of
#define bse_set_next bse_base_set_next
#define bse_reserve bse_base_reserve
#define bse_release bse_base_release
#define bse_stream_init bse_base_stream_init
#define bse_capacity bse_base_capacity
#define bse_log_pending bse_base_log_pending
#define bse_log_fits bse_base_log_fits
#define bse_log_publish bse_base_log_publish
#define bse_log_detach bse_base_log_detach
#define bse_log_peek bse_base_log_peek
#define bse_log_refund bse_base_log_refund
#define bse_stage_load bse_base_stage_load
#define bse_stage_store bse_base_stage_store
#define bse_stage_whole bse_base_stage_whole
#define bse_lock bse_base_lock
#define bse_trylock bse_base_trylock
#define bse_unlock bse_base_unlock
#define bse_scratch_get bse_base_scratch_get
#define bse_scratch_put bse_base_scratch_put
#define bse_format bse_base_format
#define bse_take_memory bse_base_take_memory
#define bse_take_fd bse_base_take_fd
#define bse_take_user bse_base_take_user
#define bse_note_refusal bse_base_note_refusal
#define bse_note_delivered bse_base_note_delivered
#define bse_get_counts bse_base_get_counts
#define bse_poison bse_base_poison
#define bse_unpoison bse_base_unpoison

#ifdef BPF_STREAM_ENV_HEADER
#include BPF_STREAM_ENV_HEADER
#endif

/* ---- [6b] THREADS AND CPUS ------------------------------------------- */

/*
 * The page that one nesting level of a line of execution, a thread or a CPU,
 * is filling. Only that level touches it, and levels nest last-in first-out,
 * so plain members do.
 */
struct bse_slot {
	bse_page page;		/* 0: none; or BSE_PAGE_TO_COME */
	uint32_t room;		/* bytes left at its end */
	uint32_t given;		/* elements handed out of it */
};

#ifdef __KERNEL__

/* A CPU. */
struct bse_line {
	struct bse_slot slot[BPF_STREAM_LEVELS];
	bse_u32 depth;		/* reservations under way, nested in each other */
#ifdef BPF_STREAM_KERNEL_DROPIN
	bse_page spare[BPF_STREAM_LEVELS * BPF_STREAM_SPARES];	/* by level; NULL: none */
	struct irq_work refill;
	bse_u64 denied;		/* requests that found no memory */
	bse_u64 refused[BPF_STREAM_REFUSALS][2];	/* messages, bytes */
#endif
};

#ifdef BPF_STREAM_KERNEL_DROPIN
static void bse_refill_irq(struct irq_work *work);
static DEFINE_PER_CPU(struct bse_line, bse_self) = { .refill = IRQ_WORK_INIT(bse_refill_irq) };
#else
static DEFINE_PER_CPU(struct bse_line, bse_self);
#endif

#ifdef BSE_HAS_POOL
static struct {
	bse_ptr pool;		/* struct bse_pool *, NULL: not started, or stopped */
} bse_process;
#endif

/* Pinned only: this line. */
static inline struct bse_line *bse_here(void)
{
	return this_cpu_ptr(&bse_self);
}

/* Interrupts stay on. Without traces, because tracers push, too. */
static inline struct bse_line *bse_pin(void)
{
	preempt_disable_notrace();
	return bse_here();
}

static inline void bse_unpin(void)
{
	preempt_enable_notrace();
}

#else /* !__KERNEL__ */

enum bse_attachment {
	BSE_NEW,		/* no exit hook yet */
	BSE_ATTACHED,		/* the exit hook will release the slots */
	BSE_CLOSED		/* the exit hook has run: keep nothing */
};

/* A thread. */
struct bse_line {
	struct bse_slot slot[BPF_STREAM_LEVELS];
	bse_u32 depth;		/* reservations under way, nested in each other */
	bse_u32 attachment;	/* enum bse_attachment */
	uint32_t forking;	/* forks under way, nested in hooks */
	char mask[_NSIG / 8];	/* the signal mask before them, as Linux has it */
};

/* initial-exec: a first access that allocates would not be signal-safe. */
static _Thread_local struct bse_line bse_self
	__attribute__((__tls_model__("initial-exec")));

_Static_assert(sizeof(struct bse_line) < 256, "static TLS of dlopen'ed libraries is scarce");

/* What a fork or an unload changes for the process. */
static struct {
	bse_ptr pool;		/* struct bse_pool *, NULL before first use */
	bse_u32 adopting;	/* 1: a region is, or is about to become, the pool */
	bse_u32 forks;		/* how many forks up from this process */
	bse_u32 foreign;	/* 1: the pool belongs to the parent */
	bse_u32 hooked;		/* 1: exit_key is valid */
	pthread_key_t exit_key;	/* frozen while hooked */
	sigset_t signals;	/* all but faults; frozen while hooked */
} bse_process;

static inline struct bse_line *bse_here(void)
{
	return &bse_self;
}

static inline struct bse_line *bse_pin(void)
{
	return bse_here();
}

static inline void bse_unpin(void)
{
}

#endif /* !__KERNEL__ */

static inline struct bse_slot *bse_base_enter(uint32_t *depth)
{
	struct bse_line *self = bse_pin();

	/*
	 * Relaxed: shared only with what interrupts this line, and what each
	 * of these leaves behind, leave:A sets right.
	 */
	*depth = bse_u32_load_relaxed(&self->depth);			/* ORD(enter:A) */
	bse_u32_store_relaxed(&self->depth, *depth + 1);		/* ORD(enter:B) */
	/* The slot is used after the depth says so (I2). */
	BSE_BARRIER();
	return *depth < BPF_STREAM_LEVELS ? &self->slot[*depth] : NULL;
}

static inline void bse_base_leave(uint32_t depth)
{
	/* The slot is used before the depth changes (I2). */
	BSE_BARRIER();
	/* Relaxed: as enter:A. What a jump out of a handler left is undone. */
	bse_u32_store_relaxed(&bse_here()->depth, depth);		/* ORD(leave:A) */
	bse_unpin();
}

/*
 * Usable after every instruction, whatever jumps out here (I2): no room while
 * it changes, and never a page with too small a count. Barriers as in enter.
 */
static inline void bse_base_slot_set(struct bse_slot *slot, bse_page page, uint32_t room,
				     uint32_t given)
{
	slot->room = 0;
	BSE_BARRIER();
	slot->page = page;
	BSE_BARRIER();
	slot->given = given;
	BSE_BARRIER();
	slot->room = room;
}

#ifdef __KERNEL__

/* Nothing jumps here, nor forks. */
struct bse_held {
};

static inline void bse_thread_hold(struct bse_held *held)
{
}

static inline void bse_thread_let_go(const struct bse_held *held)
{
}

static inline bool bse_thread_attach(void)
{
	return true;
}

/* On another CPU: this one has come to its end. */
static int bse_line_dead(unsigned int cpu)
{
	struct bse_line *line = per_cpu_ptr(&bse_self, cpu);
	u32 i;

	for (i = 0; i < BPF_STREAM_LEVELS; i++)
		bsi_slot_release(&line->slot[i]);
	return 0;
}

#else /* !__KERNEL__ */

struct bse_held {
	sigset_t signals;
	int cancel;
};

/* No handler but a fault's comes in, no cancellation. For attached threads. */
static void bse_thread_hold(struct bse_held *held)
{
	/* Signals first: a handler in between might jump out. */
	pthread_sigmask(SIG_BLOCK, &bse_process.signals, &held->signals);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &held->cancel);
}

static void bse_thread_let_go(const struct bse_held *held)
{
	pthread_setcancelstate(held->cancel, NULL);
	pthread_sigmask(SIG_SETMASK, &held->signals, NULL);
}

/*
 * Gives back the slots that no reservation on this thread is in the middle of.
 * Signals are blocked meanwhile: a handler that pushed in between would use
 * and retire the same slots.
 */
static void bse_thread_give_back(uint32_t attachment)
{
	struct bse_held held;
	uint32_t i;

	bse_thread_hold(&held);
	/* Relaxed: this thread's own, and no handler can run (enter:A). */
	i = bse_u32_load_relaxed(&bse_self.depth);			/* ORD(give_back:A) */
	for (; i < BPF_STREAM_LEVELS; i++)
		bsi_slot_release(&bse_self.slot[i]);
	bse_u32_store_relaxed(&bse_self.attachment, attachment);	/* ORD(give_back:B) */
	bse_thread_let_go(&held);
}

static void bse_thread_exit(void *self)
{
	(void)self;
	/* Relaxed: as enter:A. A cancelled reservation does not go on. */
	bse_u32_store_relaxed(&bse_self.depth, 0);			/* ORD(exit:A) */
	bse_thread_give_back(BSE_CLOSED);
}

BSE_API void bpf_stream_thread_release(void)
{
	/* Relaxed: this thread's own; a handler beside it changes it once. */
	uint32_t state = bse_u32_load_relaxed(&bse_self.attachment);	/* ORD(release:A) */

	/* Relaxed: as exit:A. No reservation is under way; undoes jumps. */
	bse_u32_store_relaxed(&bse_self.depth, 0);			/* ORD(release:B) */
	if (state != BSE_NEW)
		bse_thread_give_back(state);
}

/*
 * The hook that empties the slots when the thread ends. It may have to be set
 * in a handler that interrupted malloc; glibc allocates for keys from 32 on.
 */
static bool bse_thread_attach(void)
{
#ifdef __GLIBC__
	const pthread_key_t settable = 32;
#else
	const pthread_key_t settable = PTHREAD_KEYS_MAX;
#endif
	/* Relaxed: this thread's own. */
	uint32_t state = bse_u32_load_relaxed(&bse_self.attachment);	/* ORD(attach:A) */

	if (state != BSE_NEW)
		return state == BSE_ATTACHED;
	/* Acquire, with load:A: key and signals are valid. */
	if (!bse_u32_load_acquire(&bse_process.hooked))			/* ORD(attach:B) */
		return false;
	if (bse_process.exit_key >= settable)
		return false;
	if (pthread_setspecific(bse_process.exit_key, &bse_self))
		return false;
	/* Relaxed: as attach:A. */
	bse_u32_store_relaxed(&bse_self.attachment, BSE_ATTACHED);	/* ORD(attach:C) */
	return true;
}

#endif /* !__KERNEL__ */

/* ---- [6c] POOL ------------------------------------------------------- */
#ifdef BSE_HAS_POOL
/*
 * A region holds, from its base: this struct, the table of pages, and from the
 * next page boundary on the pages that hold elements. Page numbers count from
 * the base, so that a link is an offset; page 0 is never one for elements.
 */
struct bse_page_info {
	bse_u32 next;		/* BSE_PAGE_IN_USE, or the next free page, 0: none */
	bse_u32 holders;	/* see I4; 0 while free */
};

struct bse_pool {
	uint32_t pages;		/* frozen since format: one past the last page */
	uint32_t first;		/* frozen: the first page for elements */
	uint32_t flags;		/* frozen */
	char apart0[64 - 3 * sizeof(uint32_t)];
	bse_u64 hot;		/* free pages: tag and first; last in, first out */
	char apart1[64 - sizeof(bse_u64)];
	bse_u64 cold;		/* free pages whose memory the system has back */
	char apart2[64 - sizeof(bse_u64)];
	bse_u32 fresh;		/* pages from here on have never been used */
	bse_u32 kept;		/* slots that may keep a page, in all threads */
	bse_u64 denied;		/* requests that found no page */
	char apart3[64 - 2 * sizeof(bse_u32) - sizeof(bse_u64)];
	struct bse_page_info page[];
};

/* A free list's head: page number below, tag above (I6). */
#define BSE_PAGE_BITS 26
#define BSE_PAGE_MASK ((UINT64_C(1) << BSE_PAGE_BITS) - 1)
#define BSE_PAGE_IN_USE ((bse_page)BSE_PAGE_MASK)	/* above every page number */

#define BSE_POOL_MIN_PAGES 8u

/* Links are 32 bits, in units of 8 bytes. */
#define BSE_POOL_MAX_BYTES (UINT64_C(8) << 32)

_Static_assert(BPF_STREAM_POOL_BYTES / BPF_STREAM_PAGE_SIZE >= BSE_POOL_MIN_PAGES,
	       "BPF_STREAM_POOL_BYTES: use at least 8 pages");
_Static_assert(BPF_STREAM_POOL_BYTES <= BSE_POOL_MAX_BYTES,
	       "BPF_STREAM_POOL_BYTES: use at most 32 GiB");
_Static_assert(BPF_STREAM_POOL_BYTES <= SIZE_MAX,
	       "BPF_STREAM_POOL_BYTES: use less than 4 GiB on 32 bits");

static int bse_base_usable(void)
{
#ifdef __KERNEL__
	return 0;
#else
	/* Relaxed: set in the child before fork returns there. */
	return bse_u32_load_relaxed(&bse_process.foreign) ? -EPERM : 0;	/* ORD(usable:A) */
#endif
}

/*
 * Relaxed: for those who hold a link or a page. Whoever made it read the
 * pointer at pool_found:A, and handed it on by a pair that is listed in [7].
 */
static inline struct bse_pool *bse_pool_known(void)
{
	return bse_ptr_load_relaxed(&bse_process.pool);			/* ORD(pool_known:A) */
}

static inline bse_link bse_base_link_at(bse_page page, uint32_t offset)
{
	return page * (bse_link)(BPF_STREAM_PAGE_SIZE / 8) + offset / 8;
}

static inline bse_page bse_base_page_of(bse_link link)
{
	return link / (bse_link)(BPF_STREAM_PAGE_SIZE / 8);
}

static inline void *bse_pool_at(bse_link link)
{
	return (char *)bse_pool_known() + (size_t)link * 8;
}

static inline struct bpf_stream_elem *bse_base_elem_of(bse_link link)
{
	return bse_pool_at(link);
}

/* An element begins with its link. */
static inline bse_link bse_base_next_of(bse_link link)
{
	return *(const bse_link *)bse_pool_at(link);
}

static inline void bse_base_set_next(bse_link link, bse_link next)
{
	*(bse_link *)bse_pool_at(link) = next;
}

static inline bse_u32 *bse_base_page_ref(bse_page page)
{
	return &bse_pool_known()->page[page].holders;
}

/* The kernel's sanitizer has no such functions for modules. */
#if defined(__SANITIZE_ADDRESS__) && !defined(__KERNEL__)
#define BSE_ASAN 1
#elif defined(__has_feature) && !defined(__KERNEL__)
#if __has_feature(address_sanitizer)
#define BSE_ASAN 1
#endif
#endif

#ifdef BSE_ASAN
void __asan_poison_memory_region(void const volatile *p, size_t size);
void __asan_unpoison_memory_region(void const volatile *p, size_t size);
#define BSE_POISON(what, p, size) __asan_##what##_memory_region(p, size)
#else
#define BSE_POISON(what, p, size) ((void)(p), (void)(size))
#endif

static inline void bse_base_poison(const void *p, size_t size)
{
	BSE_POISON(poison, p, size);
}

static inline void bse_base_unpoison(const void *p, size_t size)
{
	BSE_POISON(unpoison, p, size);
}

/* NULL before first use. Acquire, with pool_publish:A: its layout is there. */
static struct bse_pool *bse_pool_found(void)
{
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
	/* Relaxed: the region is private until pool_publish:A. */
	bse_u32_store_relaxed(&pool->fresh, first);			/* ORD(format:A) */
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

/* Linear in the pages that were ever used: those in use carry a mark. */
static uint32_t bse_pool_in_use(const struct bse_pool *pool)
{
	/* Relaxed, both: figures for people. */
	bse_page page = bse_u32_load_relaxed(&pool->fresh);		/* ORD(in_use:A) */
	uint32_t in_use = 0;

	while (page-- > pool->first)
		in_use += bse_u32_load_relaxed(&pool->page[page].next) == /* ORD(in_use:B) */
			  BSE_PAGE_IN_USE;
	return in_use;
}

#ifdef __KERNEL__

static struct bse_pool *bse_pool(void)
{
	return bse_pool_found();
}

static enum cpuhp_state bse_cpuhp;	/* written by pool_start, before the pool is published */

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
					  bse_line_dead);
	if (state < 0) {
		vfree(region);
		return state;
	}
	bse_cpuhp = state;
	bse_pool_format(region, bytes, 0);
	bse_pool_publish(region);
	return 0;
}

BSE_API size_t bpf_stream_pool_stop(void)
{
	struct bse_pool *pool = bse_pool_found();
	size_t left;
	int cpu;

	if (!pool)
		return 0;
	synchronize_rcu();
	cpuhp_remove_state_nocalls(bse_cpuhp);
	for_each_possible_cpu(cpu)
		bse_line_dead(cpu);
	left = bse_pool_in_use(pool);
	/* Relaxed: no call runs beside this one. */
	bse_ptr_store_relaxed(&bse_process.pool, NULL);			/* ORD(pool_stop:A) */
	vfree(pool);
	return left;
}

#else /* !__KERNEL__ */

/* The pool, set up if this is the first use; NULL if memory is short. */
static struct bse_pool *bse_pool(void)
{
	void *pool = bse_pool_found();
	int saved = errno;
	void *mine;

	if (pool)
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
	uint32_t nobody = 0;

	if (!region || (uintptr_t)region % 64 || flags & ~BPF_STREAM_POOL_SHARED ||
	    size < BSE_POOL_MIN_PAGES * BPF_STREAM_PAGE_SIZE || size > BSE_POOL_MAX_BYTES)
		return -EINVAL;
	/*
	 * Relaxed, both: nothing is reached through these. One call at a time
	 * lays out, because another one's region may be the same.
	 */
	if (bse_ptr_load_relaxed(&bse_process.pool) ||			/* ORD(pool_use:A) */
	    !bse_u32_cas_relaxed(&bse_process.adopting, &nobody, 1))	/* ORD(pool_use:B) */
		return -EBUSY;
	memset(region, 0, sizeof(struct bse_pool) +
	       bytes / BPF_STREAM_PAGE_SIZE * sizeof(struct bse_page_info));
	bse_pool_format(region, size, flags);
	if (bse_pool_publish(region) == region)
		return 0;
	bse_unpoison(region, bytes);
	return -EBUSY;
}

#endif /* !__KERNEL__ */

static size_t bse_base_pool_pages(void)
{
	const struct bse_pool *pool = bse_pool();

	return pool ? pool->pages - pool->first : 0;
}

static bse_page bse_free_pop(struct bse_pool *pool, bse_u64 *list)
{
	uint64_t head;
	uint64_t next;
	bse_page page;

	do {
		/* Acquire, with free_push:B: the page's link is there. */
		head = bse_u64_load_acquire(list);			/* ORD(free_pop:A) */
		page = (bse_page)(head & BSE_PAGE_MASK);
		if (!page)
			return 0;
		/*
		 * Relaxed: if another thread took the page meanwhile, this is
		 * a stale number, and the tag makes free_pop:C fail (I6).
		 */
		next = bse_u32_load_relaxed(&pool->page[page].next);	/* ORD(free_pop:B) */
		next |= (head & ~BSE_PAGE_MASK) + BSE_PAGE_MASK + 1;
		/* Acquire, with free_push:B: all holders were finished. */
	} while (!bse_u64_cas_acquire(list, &head, next));		/* ORD(free_pop:C) */
	return page;
}

static void bse_free_push(struct bse_pool *pool, bse_u64 *list, bse_page page)
{
	/* Relaxed: the old head is copied; free_push:B proves it current. */
	uint64_t head = bse_u64_load_relaxed(list);			/* ORD(free_push:A) */
	uint64_t next;

	do {
		next = (head & ~BSE_PAGE_MASK) + BSE_PAGE_MASK + 1;
		next |= page;
		/* Relaxed: published by free_push:B. */
		bse_u32_store_relaxed(&pool->page[page].next,		/* ORD(free_push:C) */
				      (bse_page)(head & BSE_PAGE_MASK));
		/* Release: this page's link and last use come before. */
	} while (!bse_u64_cas_release(list, &head, next));		/* ORD(free_push:B) */
}

static bse_page bse_page_fresh(struct bse_pool *pool)
{
	/*
	 * Relaxed: a number that only grows. What lies in the page was written
	 * before the pool was published, and by nobody since.
	 */
	uint32_t page = bse_u32_load_relaxed(&pool->fresh);		/* ORD(fresh:A) */

	do {
		if (page >= pool->pages)
			return 0;
	} while (!bse_u32_cas_relaxed(&pool->fresh, &page, page + 1));	/* ORD(fresh:B) */
	return page;
}

static int bse_base_page_get(bse_page *page)
{
	struct bse_pool *pool;
	int err = bse_usable();

	if (err)
		return err;
	pool = bse_pool();
	if (!pool)
		return -ENOMEM;
	*page = bse_free_pop(pool, &pool->hot);
	if (!*page)
		*page = bse_free_pop(pool, &pool->cold);
	if (!*page)
		*page = bse_page_fresh(pool);
	/* Relaxed, both: figures; and free_pop:B may read anything. */
	if (!*page) {
		bse_u64_fetch_add_relaxed(&pool->denied, 1);		/* ORD(page_get:A) */
		return -ENOMEM;
	}
	bse_u32_store_relaxed(&pool->page[*page].next,			/* ORD(page_get:B) */
			      BSE_PAGE_IN_USE);
	return 0;
}

static void bse_base_page_put(bse_page page)
{
	bse_free_push(bse_pool_known(), &bse_pool_known()->hot, page);
}

static void bse_base_unkeep(void)
{
	/* Relaxed: as keep:B. */
	bse_u32_fetch_sub_relaxed(&bse_pool_known()->kept, 1);		/* ORD(unkeep:A) */
}

/*
 * Half of the pages may be kept by threads. The others go from push to push,
 * so that more threads than pages still get on. Held for one step: what is
 * counted stands in a slot, whatever jumps out or forks (I7). Seldom called.
 */
static BSE_NOINLINE bool bse_base_may_keep(struct bse_slot *slot)
{
	struct bse_pool *pool = bse_pool_known();
	const uint32_t most = (pool->pages - pool->first) / 2;
	struct bse_held held;
	/* Relaxed, both: a quota; nothing is reached through it. */
	uint32_t kept = bse_u32_load_relaxed(&pool->kept);		/* ORD(keep:A) */

	if (kept >= most || !bse_thread_attach())
		return false;
	bse_thread_hold(&held);
	while (kept < most && !slot->page)
		if (bse_u32_cas_relaxed(&pool->kept, &kept, kept + 1))	/* ORD(keep:B) */
			bse_slot_set(slot, BSE_PAGE_TO_COME, 0, 0);
	bse_thread_let_go(&held);
	return slot->page;
}

#ifdef BSE_HAS_THREADS
/* One page at a time is out of the lists, so that a push finds the others. */
BSE_API size_t bpf_stream_pool_trim(void)
{
	struct bse_pool *pool = bse_pool_found();
	int saved = errno;
	size_t unit = (size_t)sysconf(_SC_PAGESIZE);
	size_t given_back = 0;
	bse_page page;
	uint32_t left;
	int advice;
	char *at;

	if (!pool || bse_usable() || BPF_STREAM_PAGE_SIZE % unit)
		return 0;
	advice = pool->flags & BPF_STREAM_POOL_SHARED ? MADV_REMOVE : MADV_DONTNEED;
	/* Bounded: beside busy writers pages come back all the time. */
	for (left = pool->pages; left > 0; left--) {
		page = bse_free_pop(pool, &pool->hot);
		if (!page)
			break;
		at = bse_pool_at(bse_link_at(page, 0));
		if ((uintptr_t)at % unit == 0 &&
		    !madvise(at, BPF_STREAM_PAGE_SIZE, advice))
			given_back++;
		bse_free_push(pool, &pool->cold, page);
	}
	errno = saved;
	return given_back;
}
#endif

BSE_API void bpf_stream_pool_get_stats(struct bpf_stream_pool_stats *stats)
{
	struct bse_pool *pool = bse_pool_found();

	memset(stats, 0, sizeof(*stats));
	if (!pool)
		return;
	stats->page_size = BPF_STREAM_PAGE_SIZE;
	stats->total = pool->pages - pool->first;
	stats->in_use = bse_pool_in_use(pool);
	/* Relaxed: figures. Fresh pages are taken last: a high mark. */
	stats->highest = bse_u32_load_relaxed(&pool->fresh) - pool->first; /* ORD(pool_stats:B) */
	stats->denied = bse_u64_load_relaxed(&pool->denied);		/* ORD(pool_stats:C) */
}

#ifdef BSE_HAS_THREADS

/* Before bse_process_forked() handlers would take the child for its parent. */
static void bse_process_forks(void)
{
	sigset_t before;

	pthread_sigmask(SIG_BLOCK, &bse_process.signals, &before);
	if (!bse_self.forking++)
		memcpy(bse_self.mask, &before, sizeof(bse_self.mask));
}

static void bse_process_goes_on(void)
{
	sigset_t before;

	sigemptyset(&before);
	memcpy(&before, bse_self.mask, sizeof(bse_self.mask));
	/* 0: loaded amid a fork, we see its end only. */
	if (bse_self.forking && !--bse_self.forking)
		pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* In the child: no other thread exists. */
static void bse_process_forked(void)
{
	struct bse_pool *pool = bse_pool_known();
	uint32_t kept = 0;
	uint32_t i;

	/* Relaxed, all: the child has one thread. */
	bse_u32_fetch_add_relaxed(&bse_process.forks, 1);		/* ORD(forked:A) */
	bse_u32_store_relaxed(&bse_process.adopting, pool ? 1 : 0);	/* ORD(forked:D) */
	if (pool && pool->flags & BPF_STREAM_POOL_SHARED) {
		bse_u32_store_relaxed(&bse_process.foreign, 1);		/* ORD(forked:B) */
		memset(bse_self.slot, 0, sizeof(bse_self.slot));
	} else if (pool) {
		/* Slots of other threads are gone, their pages with them. */
		for (i = 0; i < BPF_STREAM_LEVELS; i++)
			kept += bse_self.slot[i].page ? 1 : 0;
		bse_u32_store_relaxed(&pool->kept, kept);		/* ORD(forked:C) */
	}
	bse_process_goes_on();
}

__attribute__((__constructor__)) static void bse_process_load(void)
{
	/* A fault of a thread that blocks its signal kills. */
	const int fault[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
	unsigned int i;

	sigfillset(&bse_process.signals);
	for (i = 0; i < sizeof(fault) / sizeof(fault[0]); i++)
		sigdelset(&bse_process.signals, fault[i]);
	if (pthread_atfork(bse_process_forks, bse_process_goes_on, bse_process_forked) ||
	    pthread_key_create(&bse_process.exit_key, bse_thread_exit))
		return;
	/* Release, with attach:B: a thread may run already, and push. */
	bse_u32_xchg_release(&bse_process.hooked, 1);			/* ORD(load:A) */
}

/* Without this, a thread that outlives a dlclose would call into nowhere. */
__attribute__((__destructor__)) static void bse_process_unload(void)
{
	/* Relaxed: nobody may push beside an unload; exit() is fine. */
	if (!bse_u32_load_relaxed(&bse_process.hooked))			/* ORD(unload:A) */
		return;
	bse_u32_store_relaxed(&bse_process.hooked, 0);			/* ORD(unload:B) */
	pthread_key_delete(bse_process.exit_key);
}

#endif /* BSE_HAS_THREADS */

#if BPF_STREAM_SELFCHECK

/* Linear. A free list, with nobody beside; adds up its pages (I4, I6). */
static const char *bse_free_check(struct bse_pool *pool, const bse_u64 *list, uint32_t *pages)
{
	/* Relaxed, all: the pool is quiet. */
	bse_page page = (bse_page)(bse_u64_load_relaxed(list) & BSE_PAGE_MASK);	/* ORD(check:A) */
	uint32_t fresh = bse_u32_load_relaxed(&pool->fresh);		/* ORD(check:B) */

	while (page) {
		if (page < pool->first || page >= fresh)
			return "I6: a free list holds what is no used page";
		if (bse_u32_load_relaxed(&pool->page[page].holders))	/* ORD(check:C) */
			return "I4: a free page has holders";
		if (++*pages > pool->pages)
			return "I6: a free list goes round in circles";
		page = bse_u32_load_relaxed(&pool->page[page].next);	/* ORD(check:D) */
	}
	return NULL;
}

static const char *bse_pool_check(void)
{
	struct bse_pool *pool = bse_pool_found();
	const char *broken;
	uint32_t pages = 0;

	if (!pool)
		return NULL;
	broken = bse_free_check(pool, &pool->hot, &pages);
	if (!broken)
		broken = bse_free_check(pool, &pool->cold, &pages);
	if (broken)
		return broken;
	pages += bse_pool_in_use(pool);
	/* Relaxed, both: the pool is quiet. */
	if (pages != bse_u32_load_relaxed(&pool->fresh) - pool->first)	/* ORD(pool_check:B) */
		return "I4: pages in use and free pages are not all pages";
	if (bse_u32_load_relaxed(&pool->kept) >				/* ORD(pool_check:C) */
	    (pool->pages - pool->first) / 2)
		return "I7: slots hold too many pages";
	return NULL;
}

#endif /* BPF_STREAM_SELFCHECK */
#endif /* BSE_HAS_POOL */

/* ---- [6d] THE ONE-WORD LOG ------------------------------------------- */
#ifdef BSE_OWN_TYPES
/*
 * Newest element above, pending bytes below. Publishing and charging are
 * one compare-exchange, detaching one update, refunding one update. Pending
 * is what was published and not refunded, detached elements included.
 */
#define BSE_LOG_PENDING UINT64_C(0xffffffff)
#define BSE_LOG_SHIFT 32

static inline size_t bse_base_capacity(const struct bpf_stream *s)
{
	return s->capacity;
}

static inline size_t bse_base_log_pending(const struct bpf_stream *s)
{
	/* Relaxed: a figure. A stale one makes a reader stop early at most. */
	return (size_t)(bse_u64_load_relaxed(&s->log) & BSE_LOG_PENDING); /* ORD(log_pending:A) */
}

/* A hint, before anything is allocated; log_publish decides. */
static inline bool bse_base_log_fits(const struct bpf_stream *s, size_t bytes)
{
	return bytes <= s->capacity && bse_log_pending(s) <= s->capacity - bytes;
}

/*
 * Makes a chain the newest part of the log, and charges it. Returns 1 if the
 * log was empty, 0 if not, or -ENOSPC: then nothing changed.
 */
static inline int bse_base_log_publish(struct bpf_stream *s, const struct bse_chain *chain)
{
	/* Relaxed: only a guess for the compare-exchange. */
	uint64_t old = bse_u64_load_relaxed(&s->log);			/* ORD(publish:A) */
	uint64_t pending;

	do {
		pending = (old & BSE_LOG_PENDING) + chain->bytes;
		if (pending > s->capacity) {
			/* An earlier try may have linked it to the log. */
			bse_set_next(chain->oldest, 0);
			return -ENOSPC;
		}
		/* Private until publish:B. */
		bse_set_next(chain->oldest, (bse_link)(old >> BSE_LOG_SHIFT));
		/*
		 * Release, with detach:B: if a reader detaches this chain, the
		 * texts and links in it are written. That the head may have
		 * gone and come back does no harm: only its number counts, and
		 * it is the head now. Litmus: planned
		 */
	} while (!bse_u64_cas_release(&s->log, &old,		/* ORD(publish:B) */
				      (uint64_t)chain->newest << BSE_LOG_SHIFT | pending));
	return !(old >> BSE_LOG_SHIFT);
}

/* Takes the whole list out, newest first; pending stays. 0: it was empty. */
static inline bse_link bse_base_log_detach(struct bpf_stream *s)
{
	/* Relaxed: a hint. A stale "empty" delays to the next call. */
	if (!(bse_u64_load_relaxed(&s->log) >> BSE_LOG_SHIFT))		/* ORD(detach:A) */
		return 0;
	/*
	 * Acquire, with publish:B of every chain in the list: all updates of
	 * the word are read-modify-writes, so that each release goes on
	 * through those after it.
	 */
	return (bse_link)(bse_u64_fetch_and_acquire(&s->log,		/* ORD(detach:B) */
						    BSE_LOG_PENDING) >> BSE_LOG_SHIFT);
}

/* The list and what is pending, at one moment; changes nothing. */
static inline bse_link bse_base_log_peek(const struct bpf_stream *s, uint64_t *pending)
{
	/* Acquire, with publish:B, as detach:B. */
	uint64_t word = bse_u64_load_acquire(&s->log);			/* ORD(peek:A) */

	*pending = word & BSE_LOG_PENDING;
	return (bse_link)(word >> BSE_LOG_SHIFT);
}

static inline void bse_base_log_refund(struct bpf_stream *s, uint32_t bytes)
{
	/*
	 * Relaxed: makes room in a number. The memory of the elements goes
	 * back by the pages' counts, which have their own order. Never below
	 * zero (I3), so the upper half stays as it is.
	 */
	bse_u64_fetch_sub_relaxed(&s->log, bytes);			/* ORD(refund:A) */
}

/* ---- [6e] LOCK ------------------------------------------------------- */
#ifdef __KERNEL__

/* A mutex that knows its holder. Interrupts cannot have it. */
static int bse_lock_enter(bse_mutex *lock, bool wait)
{
	/* Relaxed: as lock:C. */
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

static void bse_base_unlock(bse_mutex *lock)
{
	/* Relaxed: as mutex:B. */
	bse_ptr_store_relaxed(&lock->owner, NULL);			/* ORD(mutex:C) */
	mutex_unlock(&lock->mutex);
}

#else /* !__KERNEL__ */

/*
 * The word is 0, or twice the number of forks up to the holder's process plus
 * 2, plus 1 if somebody may be waiting. A holder that a fork left behind in
 * the parent is known by its number.
 */
enum {
	BSE_FUTEX_WAIT_PRIVATE = 128,
	BSE_FUTEX_WAKE_PRIVATE = 129
};

static inline uint32_t bse_lock_mine(void)
{
	/* Relaxed: a fork changes it, perhaps in a handler here. */
	return 2 * bse_u32_load_relaxed(&bse_process.forks) + 2;	/* ORD(lock:A) */
}

static int bse_lock_take(bse_mutex *lock, bool wait)
{
	/* As the system call has it, also on 32 bits: a second. */
	const struct {
		long s;
		long ns;
	} nap = { 1, 0 };
	uint32_t waiting = 0;
	uint32_t mine;
	uint32_t word;

	for (;;) {
		mine = bse_lock_mine();
		word = 0;
		/* Acquire, with unlock:B: all is as the last reader left it. */
		if (bse_u32_cas_acquire(&lock->word, &word, mine | waiting)) { /* ORD(lock:B) */
			/* Relaxed: forked since; in the child nobody waits. */
			while (mine != bse_lock_mine()) {
				mine = bse_lock_mine();
				bse_u32_store_relaxed(&lock->word, mine); /* ORD(lock:F) */
			}
			return 0;
		}
		if ((word | 1) != (mine | 1))
			return -EBUSY;
		/*
		 * Relaxed: it reads as this thread only if this thread wrote
		 * it and has not cleared it since.
		 */
		if (bse_ptr_load_relaxed(&lock->owner) == &bse_self)	/* ORD(lock:C) */
			return -EDEADLK;
		if (!wait)
			return -EBUSY;
		/* Relaxed: only asks the holder to wake somebody. */
		if (!(word & 1) &&
		    !bse_u32_cas_relaxed(&lock->word, &word, word | 1))	/* ORD(lock:D) */
			continue;
		/* Not for ever: a handler may have forked since lock:A. */
		syscall(SYS_futex, &lock->word, BSE_FUTEX_WAIT_PRIVATE, mine | 1, &nap);
		waiting = 1;
	}
}

/* Cancellation off first: a thread that is cancelled must not hold the lock. */
static int bse_lock_enter(bse_mutex *lock, bool wait)
{
	int saved = errno;
	int cancel;
	int err;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	err = bse_lock_take(lock, wait);
	errno = saved;
	if (err) {
		pthread_setcancelstate(cancel, NULL);
		return err;
	}
	/* Relaxed: for lock:C on this thread. */
	bse_ptr_store_relaxed(&lock->owner, &bse_self);			/* ORD(lock:E) */
	lock->cancel = cancel;
	return 0;
}

static void bse_base_unlock(bse_mutex *lock)
{
	int saved = errno;
	int cancel = lock->cancel;

	/* Relaxed: as lock:C. */
	bse_ptr_store_relaxed(&lock->owner, NULL);			/* ORD(unlock:A) */
	/* Release, with lock:B. */
	if (bse_u32_xchg_release(&lock->word, 0) & 1)			/* ORD(unlock:B) */
		syscall(SYS_futex, &lock->word, BSE_FUTEX_WAKE_PRIVATE, 1);
	pthread_setcancelstate(cancel, NULL);
	errno = saved;
}

#endif /* !__KERNEL__ */

static int bse_base_lock(bse_mutex *lock)
{
	return bse_lock_enter(lock, true);
}

static int bse_base_trylock(bse_mutex *lock)
{
	return bse_lock_enter(lock, false);
}

#endif /* BSE_OWN_TYPES */

/* ---- [6f] STREAMS, SINKS AND COUNTS ---------------------------------- */

/* Takes all; @ctx is a pointer to where the next byte goes. */
static int bse_base_take_memory(void *ctx, const struct bse_piece *piece, unsigned int n)
{
	char **at = ctx;
	size_t bytes = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		memcpy(*at + bytes, piece[i].data, piece[i].len);
		bytes += piece[i].len;
	}
	*at += bytes;
	return (int)bytes;
}

#ifdef BSE_HAS_USER
/* As take_memory, until a byte cannot be written there. */
static int bse_base_take_user(void *ctx, const struct bse_piece *piece, unsigned int n)
{
	char __user **at = ctx;
	size_t bytes = 0;
	size_t left = 0;
	unsigned int i;

	for (i = 0; i < n && !left; i++) {
		left = copy_to_user(*at + bytes, piece[i].data, piece[i].len);
		bytes += piece[i].len - left;
	}
	*at += bytes;
	return bytes ? (int)bytes : -EFAULT;
}
#endif

#ifdef BSE_OWN_FORMATTER
BSE_PRINTF(3, 0) static inline int bse_base_format(char *buf, size_t size, const char *fmt,
						   va_list ap)
{
	return bsi_format_va(buf, size, fmt, ap);
}
#endif

#ifdef BSE_OWN_TYPES

static int bse_base_stream_init(struct bpf_stream *s, size_t capacity)
{
	/* Private until the stream is handed on. */
	*s = (struct bpf_stream){ .capacity = (uint32_t)capacity };
#ifdef __KERNEL__
	mutex_init(&s->lock.mutex);
#endif
	return 0;
}

static inline struct bse_chain bse_base_stage_load(const struct bpf_stream_stage *ss)
{
	return (struct bse_chain){ ss->log, ss->tail, ss->len, ss->messages };
}

static inline struct bse_chain bse_base_stage_whole(const struct bpf_stream_stage *ss)
{
	return bse_base_stage_load(ss);
}

static inline void bse_base_stage_store(struct bpf_stream_stage *ss, const struct bse_chain *chain)
{
	*ss = (struct bpf_stream_stage){ chain->newest, chain->oldest, chain->bytes,
					 chain->messages };
}

struct bse_scratch {
	char text[BPF_STREAM_PRINT_MAX];
};

static inline char *bse_base_scratch_get(struct bse_scratch *scratch)
{
	return scratch->text;
}

static inline void bse_base_scratch_put(struct bse_scratch *scratch)
{
	(void)scratch;
}

#ifdef BSE_HAS_THREADS
static int bse_base_take_fd(void *ctx, const struct bse_piece *piece, unsigned int n)
{
	const int *fd = ctx;
	int saved = errno;
	struct iovec iov[BSE_PIECES];
	ssize_t taken;
	unsigned int i;
	int err;

	for (i = 0; i < n; i++) {
		/* writev() only reads through it. */
		iov[i].iov_base = (void *)(uintptr_t)piece[i].data;
		iov[i].iov_len = piece[i].len;
	}
	taken = writev(*fd, iov, (int)n);
	err = errno;
	errno = saved;
	return taken < 0 ? -err : (int)taken;
}
#endif

static inline void bse_base_note_refusal(struct bpf_stream *s, enum bpf_stream_refusal why,
					 uint64_t messages, uint64_t bytes)
{
	/* Relaxed, both: figures for people. */
	bse_u64_fetch_add_relaxed(&s->refused[why].messages, messages);	/* ORD(refusal:A) */
	if (bytes)	/* adding a constant 0, Clang 14 would call libatomic on 32-bit x86 */
		bse_u64_fetch_add_relaxed(&s->refused[why].bytes, bytes); /* ORD(refusal:B) */
}

static inline void bse_base_note_delivered(struct bpf_stream *s, uint64_t messages, uint64_t bytes)
{
	/* Relaxed, all: written only with the reader's lock held. */
	bse_u64_store_relaxed(&s->delivered_messages,			/* ORD(delivered:A) */
		bse_u64_load_relaxed(&s->delivered_messages) + messages); /* ORD(delivered:B) */
	bse_u64_store_relaxed(&s->delivered_bytes,			/* ORD(delivered:C) */
		bse_u64_load_relaxed(&s->delivered_bytes) + bytes);	/* ORD(delivered:D) */
}

static void bse_base_get_counts(const struct bpf_stream *s, struct bpf_stream_stats *stats)
{
	unsigned int i;

	stats->capacity = s->capacity;
	/* Relaxed, all: figures for people. */
	stats->delivered.messages = bse_u64_load_relaxed(&s->delivered_messages); /* ORD(stats:A) */
	stats->delivered.bytes = bse_u64_load_relaxed(&s->delivered_bytes);	/* ORD(stats:B) */
	for (i = 0; i < BPF_STREAM_REFUSALS; i++) {
		const struct bsi_tally *from = &s->refused[i];
		struct bpf_stream_count *to = &stats->refused[i];

		to->messages = bse_u64_load_relaxed(&from->messages);	/* ORD(stats:C) */
		to->bytes = bse_u64_load_relaxed(&from->bytes);		/* ORD(stats:D) */
	}
}

#endif /* BSE_OWN_TYPES */

/* ---- [6g] DROP-IN ---------------------------------------------------- */
#ifdef BPF_STREAM_KERNEL_DROPIN
/*
 * A page of the kernel begins with its count of holders. It comes from the
 * spares of this CPU and level, or if there is none from the allocator that
 * waits for no lock. That one fails in some contexts: in an NMI that came in
 * the middle of it, and with PREEMPT_RT in hard interrupts. So spares are
 * filled up in better ones, as soon as half of them are gone. Of two who want
 * the same spare, one has it, by xchg(); spares have no order, so nothing can
 * come back unnoticed.
 */
struct bse_page_head {
	bse_u32 holders;	/* see I4 */
} __aligned(8);

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

static int bse_base_usable(void)
{
	return 0;
}

static inline bool bse_base_may_keep(struct bse_slot *slot)
{
	if (!atomic_add_unless(&bse_kept, 1, (int)(BPF_STREAM_MAX_PAGES) / 2))
		return false;
	slot->page = BSE_PAGE_TO_COME;
	return true;
}

static inline void bse_base_unkeep(void)
{
	atomic_dec(&bse_kept);
}

static inline size_t bse_base_pool_pages(void)
{
	return BPF_STREAM_MAX_PAGES;
}

static inline bse_u32 *bse_base_page_ref(bse_page page)
{
	return &page->holders;
}

static inline bse_link bse_base_link_at(bse_page page, u32 offset)
{
	return (bse_link)((char *)(page + 1) + offset);
}

static inline bse_page bse_base_page_of(bse_link link)
{
	return (bse_page)((unsigned long)link & PAGE_MASK);
}

static inline struct bpf_stream_elem *bse_base_elem_of(bse_link link)
{
	return container_of(link, struct bpf_stream_elem, node);
}

static inline bse_link bse_base_next_of(bse_link link)
{
	return link->next;
}

static inline void bse_base_set_next(bse_link link, bse_link next)
{
	link->next = next;
}

static inline void bse_base_poison(const void *p, size_t size)
{
}

static inline void bse_base_unpoison(const void *p, size_t size)
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
static bool bse_spares_fill(struct bse_line *line, gfp_t gfp, int node)
{
	struct page *page;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(line->spare); i++) {
		if (READ_ONCE(line->spare[i]))
			continue;
		page = alloc_pages_node(node, gfp, 0);
		if (!page)
			return false;
		if (cmpxchg(&line->spare[i], NULL, (bse_page)page_address(page)))
			bse_page_drop(page_address(page));
	}
	return true;
}

/* Where memory is short, the others would get none, either. */
static void bse_refill_work(struct work_struct *work)
{
	int cpu;

	cpus_read_lock();
	for_each_online_cpu(cpu) {
		if (!bse_spares_fill(per_cpu_ptr(&bse_self, cpu), BSE_GFP_SPARE, cpu_to_node(cpu)))
			break;
	}
	cpus_read_unlock();
}

static DECLARE_DELAYED_WORK(bse_refill, bse_refill_work);

/* At most one round of work for each tick. */
static void bse_refill_irq(struct irq_work *work)
{
	if (!bse_spares_fill(container_of(work, struct bse_line, refill), BSE_GFP_IRQ,
			     NUMA_NO_NODE))
		schedule_delayed_work(&bse_refill, 1);
}

/* Pinned. One of the spares of a level, or NULL. */
static bse_page bse_spare_take(struct bse_line *line, u32 level)
{
	bse_page *spare = &line->spare[level * BPF_STREAM_SPARES];
	bse_page page = NULL;
	u32 i = BPF_STREAM_SPARES;

	while (!page && i > 0) {
		i--;
		if (READ_ONCE(spare[i]))
			page = xchg(&spare[i], NULL);
	}
	if (i <= BPF_STREAM_SPARES / 2 || !READ_ONCE(spare[0]))
		irq_work_queue(&line->refill);
	return page;
}

/*
 * Pinned. A spare of this level; or a new page; or, as interrupts cannot do
 * what tasks can, which is to try again, any spare for them.
 */
static bse_page bse_page_find(void)
{
	struct bse_line *line = bse_here();
	/* Relaxed: as enter:A. */
	u32 level = bse_u32_load_relaxed(&line->depth) - 1;		/* ORD(spare:A) */
	bse_page page = bse_spare_take(line, min(level, BPF_STREAM_LEVELS - 1));
	struct page *fresh;

	if (page)
		return page;
	fresh = BSE_ALLOC_PAGE();
	if (fresh || in_task())
		return fresh ? page_address(fresh) : NULL;
	for (level = 0; !page && level < BPF_STREAM_LEVELS; level++)
		page = bse_spare_take(line, level);
	return page;
}

static int bse_denied(void)
{
	/* Relaxed: a figure for people. */
	bse_u64_fetch_add_relaxed(&raw_cpu_ptr(&bse_self)->denied, 1);	/* ORD(denied:A) */
	return -ENOMEM;
}

/* Pinned. */
static int bse_base_page_get(bse_page *page)
{
	if (!atomic_add_unless(&bse_live_pages, 1, (int)(BPF_STREAM_MAX_PAGES)))
		return bse_denied();
	*page = bse_page_find();
	if (!*page) {
		atomic_dec(&bse_live_pages);
		return bse_denied();
	}
	/* Relaxed: private until an element of it is published. */
	bse_u32_store_relaxed(&(*page)->holders, 0);			/* ORD(spare:B) */
	return 0;
}

/* Pinned meanwhile, so that a CPU that is gone gets no spares. */
static void bse_base_page_put(bse_page page)
{
	struct bse_line *line = bse_pin();
	u32 i = ARRAY_SIZE(line->spare);

	atomic_dec(&bse_live_pages);
	/* The deeper a level, the less its contexts can do without. */
	while (page && i-- > 0) {
		if (!READ_ONCE(line->spare[i]) && !cmpxchg(&line->spare[i], NULL, page))
			page = NULL;
	}
	bse_unpin();
	if (page)
		bse_page_drop(page);
}

#if BPF_STREAM_KERNEL_KMALLOC
static inline int bse_base_reserve(u32 size, bse_link *at)
{
	*at = kmalloc_nolock(size, 0, NUMA_NO_NODE);
	return *at ? 0 : bse_denied();
}

static inline void bse_base_release(bse_link link, struct bsi_returns *returns)
{
	kfree_nolock(link);
}
#endif

/* Before the first writer on @cpu. Whoever has no spares asks for them. */
static int bse_line_ready(unsigned int cpu)
{
	if (!BPF_STREAM_KERNEL_KMALLOC)
		bse_spares_fill(per_cpu_ptr(&bse_self, cpu), BSE_GFP_SPARE, cpu_to_node(cpu));
	return 0;
}

static int bse_line_gone(unsigned int cpu)
{
	struct bse_line *line = per_cpu_ptr(&bse_self, cpu);
	bse_page page;
	u32 i;

	bse_line_dead(cpu);
	for (i = 0; i < ARRAY_SIZE(line->spare); i++) {
		page = xchg(&line->spare[i], NULL);
		if (page)
			bse_page_drop(page);
	}
	return 0;
}

static int __init bse_start(void)
{
	int state = cpuhp_setup_state(CPUHP_BP_PREPARE_DYN, "bpf_stream:prepare",
				      bse_line_ready, bse_line_gone);

	return state < 0 ? state : 0;
}
core_initcall(bse_start);

static int bse_base_stream_init(struct bpf_stream *s, size_t capacity)
{
	if (capacity != BPF_STREAM_DEFAULT_CAPACITY)
		return -EINVAL;
	atomic_set(&s->capacity, 0);
	init_llist_head(&s->log);
	mutex_init(&s->lock);
	s->backlog_head = NULL;
	s->backlog_tail = NULL;		/* not used */
	return 0;
}

static inline size_t bse_base_capacity(const struct bpf_stream *s)
{
	return BPF_STREAM_DEFAULT_CAPACITY;
}

static inline size_t bse_base_log_pending(const struct bpf_stream *s)
{
	return atomic_read(&s->capacity);
}

static inline bool bse_base_log_fits(const struct bpf_stream *s, size_t bytes)
{
	return bytes + bse_log_pending(s) <= BPF_STREAM_DEFAULT_CAPACITY;
}

/* Charged first: a reader never refunds what is not charged yet (I3). */
static inline int bse_base_log_publish(struct bpf_stream *s, const struct bse_chain *chain)
{
	int old = atomic_read(&s->capacity);

	do {
		if ((u64)old + chain->bytes > BPF_STREAM_DEFAULT_CAPACITY)
			return -ENOSPC;
	} while (!atomic_try_cmpxchg_relaxed(&s->capacity, &old, old + (int)chain->bytes));
	/* Stands for publish:B. */
	return llist_add_batch(chain->newest, chain->oldest, &s->log);
}

/* Stands for detach:B. */
static inline bse_link bse_base_log_detach(struct bpf_stream *s)
{
	return llist_empty(&s->log) ? NULL : llist_del_all(&s->log);
}

static inline void bse_base_log_refund(struct bpf_stream *s, u32 bytes)
{
	atomic_sub((int)bytes, &s->capacity);
}

/* Without its oldest element and its number of messages. */
static inline struct bse_chain bse_base_stage_load(const struct bpf_stream_stage *ss)
{
	return (struct bse_chain){ .newest = ss->log.first, .bytes = (u32)ss->len };
}

static inline void bse_base_stage_store(struct bpf_stream_stage *ss, const struct bse_chain *chain)
{
	ss->log.first = chain->newest;
	ss->len = (int)chain->bytes;
}

/* Linear: each of its messages is one element. */
static struct bse_chain bse_base_stage_whole(const struct bpf_stream_stage *ss)
{
	struct bse_chain chain = bse_base_stage_load(ss);
	bse_link link;

	for (link = chain.newest; link; link = bse_next_of(link)) {
		chain.oldest = link;
		chain.messages++;
	}
	return chain;
}

static int bse_base_lock(bse_mutex *lock)
{
	mutex_lock(lock);
	return 0;
}

static int bse_base_trylock(bse_mutex *lock)
{
	return mutex_trylock(lock) ? 0 : -EBUSY;
}

static void bse_base_unlock(bse_mutex *lock)
{
	mutex_unlock(lock);
}

struct bse_scratch {
	struct bpf_bprintf_buffers *buffers;
};

/* NULL where calls are nested more deeply than the kernel has buffers. */
static inline char *bse_base_scratch_get(struct bse_scratch *scratch)
{
	if (!bpf_try_get_buffers(&scratch->buffers))
		return scratch->buffers->buf;
	scratch->buffers = NULL;
	bse_denied();
	return NULL;
}

static inline void bse_base_scratch_put(struct bse_scratch *scratch)
{
	if (scratch->buffers)
		bpf_put_buffers();
}

/* The buffer has room for the NUL, too. */
BSE_PRINTF(3, 0) static inline int bse_base_format(char *buf, size_t size, const char *fmt,
						   va_list ap)
{
	BUILD_BUG_ON(BPF_STREAM_PRINT_MAX >= MAX_BPRINTF_BUF);
	return vsnprintf(buf, size + 1, fmt, ap);
}

/* For all streams together: the kernel's struct has no room. */
static inline void bse_base_note_refusal(struct bpf_stream *s, enum bpf_stream_refusal why,
					 u64 messages, u64 bytes)
{
	bse_u64 *to = raw_cpu_ptr(&bse_self)->refused[why];

	/* Relaxed, both: figures for people. */
	bse_u64_fetch_add_relaxed(&to[0], messages);			/* ORD(denied:B) */
	bse_u64_fetch_add_relaxed(&to[1], bytes);			/* ORD(denied:C) */
}

static inline void bse_base_note_delivered(struct bpf_stream *s, u64 messages, u64 bytes)
{
}

static void bse_base_get_counts(const struct bpf_stream *s, struct bpf_stream_stats *stats)
{
	unsigned int why;
	int cpu;

	memset(stats->refused, 0, sizeof(stats->refused));
	memset(&stats->delivered, 0, sizeof(stats->delivered));
	stats->capacity = BPF_STREAM_DEFAULT_CAPACITY;
	for_each_possible_cpu(cpu) {
		for (why = 0; why < BPF_STREAM_REFUSALS; why++) {
			const bse_u64 *from = per_cpu_ptr(&bse_self, cpu)->refused[why];
			struct bpf_stream_count *to = &stats->refused[why];

			/* Relaxed, both: figures for people. */
			to->messages += bse_u64_load_relaxed(&from[0]);	/* ORD(denied:D) */
			to->bytes += bse_u64_load_relaxed(&from[1]);	/* ORD(denied:E) */
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
		const struct bse_line *line = per_cpu_ptr(&bse_self, cpu);

		/* Relaxed: a figure for people. */
		figures->denied += bse_u64_load_relaxed(&line->denied);	/* ORD(denied:F) */
		for (i = 0; i < ARRAY_SIZE(line->spare); i++)
			figures->spare_pages += READ_ONCE(line->spare[i]) ? 1 : 0;
		for (i = 0; i < BPF_STREAM_LEVELS; i++) {
			/* Maybe of another CPU: one word, not followed. */
			bse_page page = READ_ONCE(line->slot[i].page);

			figures->kept_pages += page && page != BSE_PAGE_TO_COME ? 1 : 0;
		}
	}
}

#endif /* BPF_STREAM_KERNEL_DROPIN */

/* ---- [6h] MEMORY OF ELEMENTS ----------------------------------------- */
#if !BPF_STREAM_KERNEL_KMALLOC
static inline int bse_base_reserve(uint32_t size, bse_link *at)
{
	return bsi_page_reserve(size, at);
}

static inline void bse_base_release(bse_link link, struct bsi_returns *returns)
{
	bsi_returns_add(returns, bse_page_of(link));
}
#endif

/* ====================================================================== *
 * [7] PROOF
 * ====================================================================== */
/*
 * Invariants. "Quiet" means that nobody is in the middle of a call.
 *
 *   I1  An element is reachable from one place only: the chain of the call or
 *       stage that made it, then one log, then that log's backlog, then the
 *       call of the reader that gives it back. It is written until it is
 *       published and, but for its link and consumed length, never after;
 *       these two belong to who holds the reader's lock.
 *   I2  A slot is touched only by its thread, between enter and leave, at the
 *       nesting level that has its number; or with signals blocked, when no
 *       reservation of that level is under way. In kernels: by its CPU, which
 *       nothing leaves there (figures look at its page); or when that CPU is
 *       dead, or no writer is left. What interrupts a reservation finds a
 *       deeper level, and has left it before the reservation goes on, or was
 *       jumped out of and never goes on. After every instruction a slot is
 *       usable: it counts at least the reachable elements of its page, and has
 *       no room unless it has a page that is not retired.
 *   I3  Pending is the sum of what all published and not wholly refunded
 *       elements have left, plus what a reader took and has not yet refunded.
 *       A reader refunds what it took, once. When a stream is drained and
 *       quiet, pending is 0.
 *   I4  A page's count of holders is, modulo 2^32: the elements handed out of
 *       it if the page is retired, else 0, minus the elements given back. It
 *       is 0 for a free page, below 0 or 0 while a slot holds the page, and
 *       reaches 0 by a change exactly once: then whoever changed it owns it.
 *   I5  An element is handed out (counted in its slot) before it can be
 *       published, so no page is free while an element of it is reachable.
 *   I6  A free list's tag changes with every change of the list, and comes
 *       round after 2^38 of them; a page's next is frozen while it is listed.
 *       The drop-in has no free lists.
 *   I7  At most half as many slots as the pool has pages may keep one. Counted
 *       are those that have a page or BSE_PAGE_TO_COME, until the release.
 *       In the drop-in: as the cap has pages.
 *   I8  Links in a chain go from newest to oldest; in a backlog from oldest
 *       to newest. The elements of one message or group are neighbours.
 *   I9  An element holds at least one byte, and consumed is less than its
 *       length as long as it is reachable.
 *
 * Ordering pairs: what each guarantees, and its litmus test.
 *
 *   publish:B / detach:B - whoever detaches an element sees its text, its
 *       length and the links of its chain, for all chains in the list, as the
 *       word changes by read-modify-writes only - planned
 *   page_retire:A / page_give_back:A - whoever brings a page's count to 0 comes
 *       after every access that earlier holders made to the page, and so
 *       may hand it out again; each pairs with itself, too - planned
 *   free_push:B / free_pop:A - who looks at a page at the top of a free list
 *       sees its next - planned
 *   free_push:B / free_pop:C - who takes a page comes after the end of its
 *       former life - planned
 *   publish:B / peek:A - as publish:B / detach:B, for the self-check - planned
 *   pool_publish:A / pool_found:A - who sees the pool's address sees it laid
 *       out - planned
 *   load:A / attach:B - who finds the hook set up has key and signals - planned
 *   unlock:B / lock:B - a reader finds backlog and counts as the reader before
 *       it left them - planned
 *
 * In the drop-in llist_add_batch() and llist_del_all() stand for publish:B
 * and detach:B, mutex_unlock() and mutex_lock() for unlock:B and lock:B. Pages
 * go round by xchg(), cmpxchg() and the kernel's allocator, which order all.
 *
 * Relaxed accesses, and why each needs no more.
 *
 *   publish:A / free_push:A - relaxed: guesses, proved or replaced by publish:B
 *       and free_push:B - planned
 *   detach:A - relaxed: a hint; a stale "empty" delays a call - planned
 *   refund:A / keep:A / keep:B / unkeep:A - relaxed: numbers only - planned
 *   prog_init:A / format:A / spare:B - relaxed: private until the stream is
 *       handed on, pool_publish:A, or llist_add_batch() - planned
 *   enter:A / enter:B / leave:A / exit:A / spare:A - relaxed: one thread or
 *       CPU, and what interrupts it - planned
 *   give_back:A / give_back:B / attach:A / attach:C / release:A / release:B -
 *       relaxed: one thread; a handler beside it does the same - planned
 *   unload:A / unload:B / pool_stop:A - relaxed: no call runs beside - planned
 *   lock:A / usable:A / forked:A / forked:B / forked:C / forked:D - relaxed:
 *       written while the process has one thread - planned
 *   lock:C / lock:E / unlock:A / mutex:A / mutex:B / mutex:C - relaxed: one
 *       thread, or task, looks for its own value - planned
 *   lock:D - relaxed: asks for a wake-up; unlock:B reads the same
 *       word - planned
 *   lock:F - relaxed: the holder's word, where no other thread of its process
 *       sees the one before as its own - planned
 *   pool_known:A - relaxed: the caller holds a link or page, so pool_found:A,
 *       or a pair that handed it over, comes before - planned
 *   pool_use:A / pool_use:B - relaxed: nothing is reached by them - planned
 *   free_pop:B / free_push:C - relaxed: a stale value makes free_pop:C fail
 *       (I6); a current one came with free_push:B - planned
 *   fresh:A / fresh:B - relaxed: a number that only grows - planned
 *   log_pending:A / page_get:A / page_get:B / in_use:A / in_use:B /
 *       pool_stats:B / pool_stats:C / refusal:A / refusal:B / delivered:A /
 *       delivered:B / delivered:C / delivered:D / stats:A / stats:B /
 *       stats:C / stats:D / prog_limit:A / prog_limit:B / denied:A / denied:B /
 *       denied:C / denied:D / denied:E / denied:F - relaxed: figures - planned
 *   check:A / check:B / check:C / check:D / pool_check:B / pool_check:C -
 *       relaxed: the pool is quiet - planned
 */

/* ====================================================================== *
 * [8] LIST
 * ====================================================================== */

/* Puts one element, or a whole chain, on the newer end. */
static inline void bsi_chain_add(struct bse_chain *chain, bse_link newest, bse_link oldest,
				 uint32_t bytes)
{
	/* Private until publish:B. */
	bse_set_next(oldest, chain->newest);
	if (!chain->newest)
		chain->oldest = oldest;
	chain->newest = newest;
	chain->bytes += bytes;
}

/* From newest first to oldest first; the list is the caller's. */
static bse_link bsi_list_reverse(bse_link newest)
{
	bse_link oldest = 0;
	bse_link next;

	while (newest) {
		next = bse_next_of(newest);
		bse_set_next(newest, oldest);
		oldest = newest;
		newest = next;
	}
	return oldest;
}

/* ====================================================================== *
 * [9] PAGE
 * ====================================================================== */

/*
 * The page gets no more elements; @given were handed out of it. True if all of
 * them came back already: then the page is the caller's.
 */
static bool bsi_page_retire(bse_page page, uint32_t given)
{
	bse_u32 *holders = bse_page_ref(page);

	/*
	 * Release: this owner is finished with the page. Acquire: if the count
	 * comes to 0, all readers of it are finished, too (I4).
	 * Pairs with page_give_back:A. Litmus: planned
	 */
	return bse_u32_fetch_add_acq_rel(holders, given) + given == 0;	/* ORD(page_retire:A) */
}

/* @count elements of the page are not used any more. */
static void bsi_page_give_back(bse_page page, uint32_t count)
{
	bse_u32 *holders = bse_page_ref(page);

	/*
	 * Release: this reader is finished with these elements. Acquire: if
	 * the count comes to 0, so are all others, and the owner (I4).
	 * Pairs with page_retire:A and with itself in other readers.
	 * Litmus: planned
	 */
	if (bse_u32_fetch_sub_acq_rel(holders, count) == count)		/* ORD(page_give_back:A) */
		bse_page_put(page);
}

/* The slot of a level that is not in use (I2). */
static void bsi_slot_release(struct bse_slot *slot)
{
	bse_page page = slot->page;
	uint32_t given = slot->given;

	if (!page)
		return;
	bse_slot_set(slot, 0, 0, 0);
	if (page != BSE_PAGE_TO_COME && bsi_page_retire(page, given))
		bse_page_put(page);
	bse_unkeep();
}

/*
 * Between enter and leave: room for @size bytes in a new page, as a link.
 * The old page is retired first, and is the new one if all came back. A page
 * that may not be kept serves this once and is retired at once. Seldom called.
 */
static BSE_NOINLINE int bsi_page_turn(struct bse_slot *slot, uint32_t size, bse_link *at)
{
	bse_page page = slot ? slot->page : 0;
	uint32_t given;
	int err;

	if (page) {
		given = slot->given;
		/* It may keep the next one, also if this never goes on. */
		bse_slot_set(slot, BSE_PAGE_TO_COME, 0, 0);
		if (page == BSE_PAGE_TO_COME || !bsi_page_retire(page, given))
			page = 0;
	}
	if (!page) {
		err = bse_page_get(&page);
		if (err)
			return err;
	}
	if (slot && (slot->page || bse_may_keep(slot)))
		bse_slot_set(slot, page, BSE_PAGE_ROOM - size, 1);
	else
		bsi_page_retire(page, 1);
	*at = bse_link_at(page, 0);
	return 0;
}

/*
 * Room for @size bytes, a multiple of 8 and at most a page. Only this is
 * bracketed; what is written there comes later, and so may what interrupts.
 */
static inline int bsi_page_reserve(uint32_t size, bse_link *at)
{
	uint32_t depth;
	struct bse_slot *slot = bse_enter(&depth);
	int err = 0;

	if (slot && slot->room >= size) {
		/* Counted before it can be published (I5). */
		slot->given++;
		*at = bse_link_at(slot->page, BSE_PAGE_ROOM - slot->room);
		slot->room -= size;
	} else {
		err = bsi_page_turn(slot, size, at);
	}
	bse_leave(depth);
	return err;
}

/*
 * Elements on their way back, counted by page, so that a page's shared count
 * is touched once for many of them.
 */
#define BSI_RETURNS 16u

struct bsi_returns {
	struct {
		bse_page page;
		uint32_t count;
	} entry[BSI_RETURNS];		/* not worth clearing */
	unsigned int used;		/* entries from the first on */
	unsigned int last;		/* of them, the one used last */
};

static void bsi_returns_flush(struct bsi_returns *returns)
{
	unsigned int i;

	for (i = 0; i < returns->used; i++)
		bsi_page_give_back(returns->entry[i].page, returns->entry[i].count);
	returns->used = 0;
}

/* Makes the entry of @page the last one, with a count that may be 0. */
static BSE_NOINLINE void bsi_returns_find(struct bsi_returns *returns, bse_page page)
{
	unsigned int i = 0;

	while (i < returns->used && returns->entry[i].page != page)
		i++;
	if (i == BSI_RETURNS) {
		/* All are taken by other pages: the next one goes. */
		i = (returns->last + 1) % BSI_RETURNS;
		bsi_page_give_back(returns->entry[i].page, returns->entry[i].count);
		returns->entry[i].count = 0;
	} else if (i == returns->used) {
		returns->entry[i].count = 0;
		returns->used++;
	}
	returns->entry[i].page = page;
	returns->last = i;
}

static inline void bsi_returns_add(struct bsi_returns *returns, bse_page page)
{
	if (!returns->used || returns->entry[returns->last].page != page)
		bsi_returns_find(returns, page);
	returns->entry[returns->last].count++;
}

/* ====================================================================== *
 * [10] ELEMENT
 * ====================================================================== */

/* In total_len: the last element of its message. */
#define BSI_ELEM_ENDS UINT32_C(0x80000000)

#define BSI_ELEM_HEAD ((uint32_t)offsetof(struct bpf_stream_elem, str))
#define BSI_ELEM_MAX (BSE_PAGE_ROOM - BSI_ELEM_HEAD)

/* What an element of @len bytes takes in its page. */
static inline uint32_t bsi_elem_size(uint32_t len)
{
	return (BSI_ELEM_HEAD + len + 7) & ~UINT32_C(7);
}

static inline uint32_t bsi_elem_len(const struct bpf_stream_elem *elem)
{
	return elem->total_len & ~BSI_ELEM_ENDS;
}

/* The element is not used any more; its page is told later, with others. */
static inline void bsi_elem_release(bse_link link, struct bsi_returns *returns)
{
	const struct bpf_stream_elem *elem = bse_elem_of(link);

	bse_poison(elem, bsi_elem_size(bsi_elem_len(elem)));
	bse_release(link, returns);
}

/* Gives back a list that nobody else can reach. */
static void bsi_list_release(bse_link link)
{
	struct bsi_returns returns;
	bse_link next;

	returns.used = 0;
	while (link) {
		next = bse_next_of(link);
		bsi_elem_release(link, &returns);
		link = next;
	}
	bsi_returns_flush(&returns);
}

/* One element with @len bytes of text, 1 to BSI_ELEM_MAX, onto the chain. */
static BSE_INLINE int bsi_elem_add(struct bse_chain *chain, const void *data, uint32_t len,
				   uint32_t flags)
{
	struct bpf_stream_elem *elem;
	bse_link link = 0;
	int err = bse_reserve(bsi_elem_size(len), &link);

	if (err)
		return err;
	/* Private until publish:B (I1). */
	elem = bse_elem_of(link);
	bse_unpoison(elem, BSI_ELEM_HEAD + len);
	elem->total_len = len | flags;
	elem->consumed_len = 0;
	memcpy(elem->str, data, len);
	bsi_chain_add(chain, link, link, len);
	return 0;
}

/*
 * A message that does not fit one element, as a chain of several; or nothing
 * at all. @chain is empty.
 */
static int bsi_message_split(struct bse_chain *chain, const char *data, size_t len)
{
	size_t pages = bse_pool_pages();
	int err = bse_usable();

	if (!err && len > pages * BSI_ELEM_MAX)
		err = pages ? -E2BIG : -ENOMEM;
	while (!err && len > BSI_ELEM_MAX) {
		err = bsi_elem_add(chain, data, BSI_ELEM_MAX, 0);
		data += BSI_ELEM_MAX;
		len -= BSI_ELEM_MAX;
	}
	if (!err)
		err = bsi_elem_add(chain, data, (uint32_t)len, BSI_ELEM_ENDS);
	if (err) {
		bsi_list_release(chain->newest);
		*chain = (struct bse_chain){ 0 };
	}
	return err;
}

/* One message, 1 to INT_MAX bytes, in an empty chain; or nothing at all. */
static inline int bsi_message_make(struct bse_chain *chain, const void *data, size_t len)
{
	*chain = (struct bse_chain){ 0 };
	if (len <= BSI_ELEM_MAX)
		return bsi_elem_add(chain, data, (uint32_t)len, BSI_ELEM_ENDS);
	return bsi_message_split(chain, data, len);
}

/* ====================================================================== *
 * [11] CAPACITY
 * ====================================================================== */

/* Counts a refusal, and passes its error on. */
static int bsi_refuse(struct bpf_stream *s, int err, uint64_t messages, uint64_t bytes)
{
	enum bpf_stream_refusal why = err == -ENOSPC ? BPF_STREAM_REFUSED_FULL :
				      err == -ENOMEM ? BPF_STREAM_REFUSED_POOL :
				      err == -E2BIG ? BPF_STREAM_REFUSED_SIZE :
				      err == -EPERM ? BPF_STREAM_REFUSED_FOREIGN :
				      BPF_STREAM_REFUSED_INVALID;

	/* A length that is not valid says nothing. */
	bse_note_refusal(s, why, messages, why == BPF_STREAM_REFUSED_INVALID ? 0 : bytes);
	return err;
}

/* Before anything is allocated: can it fit, and does it look as if it did? */
static inline int bsi_capacity_check(const struct bpf_stream *s, size_t bytes)
{
	int err;

	if (bse_log_fits(s, bytes))
		return 0;
	err = bse_usable();
	if (err)
		return err;
	if (bytes > bse_capacity(s))
		return bytes > INT_MAX ? -EINVAL : -E2BIG;
	return -ENOSPC;
}

/* ====================================================================== *
 * [12] FORMAT
 * ====================================================================== */
#ifdef BSE_OWN_FORMATTER
/*
 * An async-signal-safe formatter. Of the C library it calls memcpy, memset and
 * strnlen. It knows no locale, does not recurse, and needs a few hundred bytes
 * of stack.
 *
 * There are two grammars: C's for a va_list, and the kernel's for an array of
 * u64. Both write at most @size bytes and no NUL at the end. Both return the
 * length of the whole text, which may be larger than @size; above INT_MAX they
 * return INT_MAX. A format they refuse is a negative errno, and so is a width
 * or precision above INT_MAX. After an error the content of @buf is undefined.
 */

/* ---- [12a] OUTPUT ---------------------------------------------------- */

struct bsi_fmt_out {
	char *buf;		/* where the text goes; unused while size is 0 */
	size_t size;		/* bytes that fit there */
	uint64_t len;		/* length of the text so far */
};

/* A conversion adds less than 2^32 bytes, so that @len does not wrap. */
static int bsi_fmt_out_length(const struct bsi_fmt_out *out)
{
	return out->len < INT_MAX ? (int)out->len : INT_MAX;
}

/*
 * Write @n bytes of @s or, if it is NULL, @n times @c. All are counted, but
 * only what fits is touched: a huge width costs no more than a full buffer.
 */
static void bsi_fmt_out_put(struct bsi_fmt_out *out, const char *s, char c, size_t n)
{
	uint64_t room = out->len < out->size ? out->size - out->len : 0;
	size_t fits = n < room ? n : (size_t)room;

	if (fits && s)
		memcpy(out->buf + out->len, s, fits);
	else if (fits)
		memset(out->buf + out->len, c, fits);
	out->len += n;
}

/* ---- [12b] FIELDS ---------------------------------------------------- */

/* The bit of a flag is its character's distance from the blank. */
enum {
	BSI_FMT_SPACE = 1 << 0,
	BSI_FMT_ALT   = 1 << ('#' - ' '),
	BSI_FMT_PLUS  = 1 << ('+' - ' '),
	BSI_FMT_LEFT  = 1 << ('-' - ' '),
	BSI_FMT_ZERO  = 1 << ('0' - ' '),
};

/* One conversion, from behind its % to its letter */
struct bsi_fmt_spec {
	unsigned int flags;	/* BSI_FMT_LEFT, ... */
	int width;		/* 0: none */
	int precision;		/* negative: none */
	char length;		/* h l j z t, H for hh, L for ll, 0: none */
	char conv;		/* the conversion's letter */
};

static bool bsi_fmt_is_signed(const struct bsi_fmt_spec *spec)
{
	return spec->conv == 'd' || spec->conv == 'i';
}

/*
 * Pad @len bytes with blanks. This is called before the text with @side 0, and
 * after it with BSI_FMT_LEFT; one of the two writes the blanks.
 */
static void bsi_fmt_blanks_write(struct bsi_fmt_out *out, const struct bsi_fmt_spec *spec,
				 size_t len, unsigned int side)
{
	if ((spec->flags & BSI_FMT_LEFT) == side && (size_t)spec->width > len)
		bsi_fmt_out_put(out, NULL, ' ', (size_t)spec->width - len);
}

static void bsi_fmt_text_write(struct bsi_fmt_out *out, const struct bsi_fmt_spec *spec,
			       const char *s, size_t n)
{
	bsi_fmt_blanks_write(out, spec, n, 0);
	bsi_fmt_out_put(out, s, 0, n);
	bsi_fmt_blanks_write(out, spec, n, BSI_FMT_LEFT);
}

/* Write the digits of @value from the last, just below @end, to the first. */
static char *bsi_fmt_digits(char *end, uint64_t value, char conv)
{
	const char *letters = conv == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	unsigned int shift = conv == 'o' ? 3 : 4;

	if (conv == 'd' || conv == 'i' || conv == 'u') {
		do {
			*--end = letters[value % 10];
			value /= 10;
		} while (value);
	} else {
		do {
			*--end = letters[value & ((1u << shift) - 1)];
			value >>= shift;
		} while (value);
	}
	return end;
}

/*
 * Write what goes before a number, its sign and 0x; returns the length. As in
 * glibc, a pointer takes the flags of a signed number but is never negative.
 */
static size_t bsi_fmt_prefix(char prefix[3], const struct bsi_fmt_spec *spec, uint64_t value,
			     bool is_negative)
{
	bool takes_sign = bsi_fmt_is_signed(spec) || spec->conv == 'p';
	bool is_hex = spec->conv == 'x' || spec->conv == 'X';
	size_t n = 0;

	if (is_negative)
		prefix[n++] = '-';
	else if (takes_sign && (spec->flags & BSI_FMT_PLUS))
		prefix[n++] = '+';
	else if (takes_sign && (spec->flags & BSI_FMT_SPACE))
		prefix[n++] = ' ';
	if (spec->conv == 'p' || (is_hex && value && (spec->flags & BSI_FMT_ALT))) {
		prefix[n++] = '0';
		prefix[n++] = spec->conv == 'X' ? 'X' : 'x';
	}
	return n;
}

/* d i u o x X and p. A signed @value comes sign-extended to 64 bits. */
static void bsi_fmt_number_write(struct bsi_fmt_out *out, const struct bsi_fmt_spec *spec,
				 uint64_t value)
{
	char prefix[3];		/* +0x */
	char digits[22];	/* 64 bits in octal */
	char *end = digits + sizeof(digits);
	char *first = end;
	bool is_negative = bsi_fmt_is_signed(spec) && value >> 63;
	size_t prefix_len;
	size_t count;		/* of digits */
	size_t zeros = 0;	/* between prefix and digits */
	size_t len;		/* of all three */

	if (is_negative)
		value = ~value + 1;	/* its magnitude */
	prefix_len = bsi_fmt_prefix(prefix, spec, value, is_negative);
	/* Zero with precision 0 has no digit at all. */
	if (value || spec->precision)
		first = bsi_fmt_digits(end, value, spec->conv);
	count = (size_t)(end - first);
	if (spec->precision > 0 && (size_t)spec->precision > count)
		zeros = (size_t)spec->precision - count;
	/* # makes the first digit of an octal number a zero. */
	else if (spec->conv == 'o' && (spec->flags & BSI_FMT_ALT) && (value || !count))
		zeros = 1;
	/* - and a precision both switch the flag 0 off. */
	len = prefix_len + zeros + count;
	if ((spec->flags & BSI_FMT_ZERO) && !(spec->flags & BSI_FMT_LEFT) &&
	    spec->precision < 0 && (size_t)spec->width > len) {
		zeros += (size_t)spec->width - len;
		len = (size_t)spec->width;
	}

	bsi_fmt_blanks_write(out, spec, len, 0);
	bsi_fmt_out_put(out, prefix, 0, prefix_len);
	bsi_fmt_out_put(out, NULL, '0', zeros);
	bsi_fmt_out_put(out, first, 0, count);
	bsi_fmt_blanks_write(out, spec, len, BSI_FMT_LEFT);
}

/* ---- [12c] GRAMMAR --------------------------------------------------- */
/* What both grammars have in common. */

static bool bsi_fmt_is_one_of(char c, const char *set)
{
	while (*set && *set != c)
		set++;
	return *set;
}

static bool bsi_fmt_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool bsi_fmt_is_alnum(char c)
{
	return bsi_fmt_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Neither white space nor a byte from 0x80 on is a control character. */
static bool bsi_fmt_is_control(char c)
{
	unsigned char u = (unsigned char)c;

	return (u < ' ' && !(u >= '\t' && u <= '\r')) || u == 0x7f;
}

/*
 * Copy plain text and %% up to the next conversion or the end. If @strict, a
 * control character ends it, too.
 */
static const char *bsi_fmt_plain_write(struct bsi_fmt_out *out, const char *fmt, bool strict)
{
	for (;;) {
		const char *start = fmt;

		while (*fmt && *fmt != '%' && !(strict && bsi_fmt_is_control(*fmt)))
			fmt++;
		bsi_fmt_out_put(out, start, 0, (size_t)(fmt - start));
		if (fmt[0] != '%' || fmt[1] != '%')
			return fmt;
		bsi_fmt_out_put(out, fmt, 0, 1);
		fmt += 2;
	}
}

/* Read a number, 0 if there is none; returns what follows, NULL if too big. */
static const char *bsi_fmt_number_parse(const char *fmt, int *number)
{
	int n = 0;

	while (bsi_fmt_is_digit(*fmt)) {
		int digit = *fmt++ - '0';

		if (n > (INT_MAX - digit) / 10)
			return NULL;
		n = n * 10 + digit;
	}
	*number = n;
	return fmt;
}

static const char *bsi_fmt_flags_parse(const char *fmt, unsigned int *flags)
{
	for (*flags = 0; bsi_fmt_is_one_of(*fmt, "-+ #0"); fmt++)
		*flags |= 1u << (*fmt - ' ');
	return fmt;
}

/* Read h hh l ll j z t or nothing; hh becomes H and ll becomes L. */
static const char *bsi_fmt_length_parse(const char *fmt, char *length)
{
	*length = 0;
	if (bsi_fmt_is_one_of(*fmt, "hljzt"))
		*length = *fmt++;
	if (*length == *fmt && bsi_fmt_is_one_of(*fmt, "hl"))
		*length = *fmt++ == 'h' ? 'H' : 'L';
	return fmt;
}

/* ---- [12d] VARIABLE ARGUMENTS ---------------------------------------- */

/* As a parameter a va_list may decay to a pointer; in a struct it does not. */
struct bsi_fmt_va {
	va_list ap;
};

/* Read a width or a precision: digits, or * for the next argument. */
static const char *bsi_fmt_va_extent(const char *fmt, struct bsi_fmt_va *src, int *extent)
{
	if (*fmt != '*')
		return bsi_fmt_number_parse(fmt, extent);
	*extent = va_arg(src->ap, int);
	return fmt + 1;
}

/* Read a conversion from behind its %; returns what follows, NULL if bad. */
static const char *bsi_fmt_va_parse(const char *fmt, struct bsi_fmt_va *src,
				    struct bsi_fmt_spec *spec)
{
	fmt = bsi_fmt_flags_parse(fmt, &spec->flags);
	fmt = bsi_fmt_va_extent(fmt, src, &spec->width);
	if (!fmt || spec->width == INT_MIN)
		return NULL;
	if (spec->width < 0) {
		spec->flags |= BSI_FMT_LEFT;
		spec->width = -spec->width;
	}
	spec->precision = -1;
	if (*fmt == '.')
		fmt = bsi_fmt_va_extent(fmt + 1, src, &spec->precision);
	if (!fmt)
		return NULL;
	fmt = bsi_fmt_length_parse(fmt, &spec->length);
	spec->conv = *fmt++;
	/* Wide characters are refused; p takes no length. */
	return bsi_fmt_is_one_of(spec->conv, spec->length ? "diuoxX" : "diuoxXcsp") ? fmt : NULL;
}

/* The next integer. The signed form of size_t is taken to be ptrdiff_t. */
static uint64_t bsi_fmt_va_integer(struct bsi_fmt_va *src, const struct bsi_fmt_spec *spec)
{
	bool is_signed = bsi_fmt_is_signed(spec);

	switch (spec->length) {
	case 'H':
		return is_signed ? (uint64_t)(signed char)va_arg(src->ap, int) :
				   (unsigned char)va_arg(src->ap, unsigned int);
	case 'h':
		return is_signed ? (uint64_t)(short)va_arg(src->ap, int) :
				   (unsigned short)va_arg(src->ap, unsigned int);
	case 'l':
		return is_signed ? (uint64_t)va_arg(src->ap, long) :
				   va_arg(src->ap, unsigned long);
	case 'L':
		return is_signed ? (uint64_t)va_arg(src->ap, long long) :
				   va_arg(src->ap, unsigned long long);
	case 'j':
		return is_signed ? (uint64_t)va_arg(src->ap, intmax_t) :
				   va_arg(src->ap, uintmax_t);
	case 'z':
	case 't':
		return is_signed ? (uint64_t)va_arg(src->ap, ptrdiff_t) :
				   va_arg(src->ap, size_t);
	default:
		return is_signed ? (uint64_t)va_arg(src->ap, int) :
				   va_arg(src->ap, unsigned int);
	}
}

static void bsi_fmt_va_write(struct bsi_fmt_out *out, const struct bsi_fmt_spec *spec,
			     struct bsi_fmt_va *src)
{
	size_t max = spec->precision < 0 ? INT_MAX : (size_t)spec->precision;
	const char *s;
	size_t n;
	char c;

	switch (spec->conv) {
	case 'c':
		c = (char)va_arg(src->ap, int);
		s = &c;
		n = 1;
		break;
	case 's':
		s = va_arg(src->ap, const char *);
		/* As in glibc: all of "(null)" or nothing of it. */
		if (!s)
			s = max < sizeof("(null)") - 1 ? "" : "(null)";
		/* Without a NUL, only the precision bounds what may be read. */
		n = strnlen(s, max);
		break;
	case 'p':
		s = va_arg(src->ap, const void *);
		if (s) {
			bsi_fmt_number_write(out, spec, (uintptr_t)s);
			return;
		}
		s = "(nil)";
		n = sizeof("(nil)") - 1;
		break;
	default:
		bsi_fmt_number_write(out, spec, bsi_fmt_va_integer(src, spec));
		return;
	}
	bsi_fmt_text_write(out, spec, s, n);
}

/* Format for bpf_stream_printf(). */
static int bsi_format_va(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct bsi_fmt_out out = { .buf = buf, .size = size };
	struct bsi_fmt_spec spec;
	struct bsi_fmt_va src;
	int ret = -EINVAL;

	va_copy(src.ap, ap);
	while (fmt) {
		fmt = bsi_fmt_plain_write(&out, fmt, false);
		if (!*fmt) {
			ret = bsi_fmt_out_length(&out);
			break;
		}
		fmt = bsi_fmt_va_parse(fmt + 1, &src, &spec);
		if (fmt)
			bsi_fmt_va_write(&out, &spec, &src);
	}
	va_end(src.ap);
	return ret;
}

/* ---- [12e] ARGUMENT ARRAY -------------------------------------------- */
/*
 * The kernel first copies all arguments into an area of 512 bytes. What finds
 * no room there is cut or refused. We keep count of the area, without having
 * it, and cut and refuse the same.
 */
#define BSI_FMT_AREA_BYTES	512u
#define BSI_FMT_ARGS_BYTES	96u	/* twelve arguments */
#define BSI_FMT_LOW_ADDRESS	4096u	/* nothing below is readable */

#define BSI_FMT_CONV_TEXT	'B'	/* spec->conv for %pB %pi4 %pI4 %pi6 %pI6 */

struct bsi_fmt_array {
	const uint64_t *args;	/* the next argument */
	size_t left;		/* arguments from there on */
	size_t used;		/* bytes of the area that are taken */
	const char *letters;	/* what tells BSI_FMT_CONV_TEXT's apart */
};

/* The pointer in an argument; NULL if it cannot be read. */
static const char *bsi_fmt_array_pointer(uint64_t value)
{
	uintptr_t address = (uintptr_t)value;

	return address < BSI_FMT_LOW_ADDRESS ? NULL : (const char *)address;
}

/* A string is silently cut to the room, and not read beyond. */
static int bsi_fmt_array_string(struct bsi_fmt_out *out, const struct bsi_fmt_spec *spec,
				struct bsi_fmt_array *src, const char *s)
{
	size_t room = BSI_FMT_AREA_BYTES - src->used;
	size_t len;

	if (!room)
		return -ENOSPC;
	if (!s)
		s = "";
	len = strnlen(s, room - 1);
	src->used += len + 1;
	bsi_fmt_text_write(out, spec, s, len);
	return 0;
}

/* %pi4 001.002.003.004, %pI4 1.2.3.4, %pi6 32 digits, %pI6 eight groups. */
static void bsi_fmt_ip_write(struct bsi_fmt_out *out, const char *letters, const char *raw)
{
	bool is_v4 = letters[1] == '4';
	bool is_lower = letters[0] == 'i';
	struct bsi_fmt_spec byte = { .conv = is_v4 ? 'u' : 'x' };
	size_t group = is_v4 ? 1 : 2;	/* bytes between two separators */

	byte.precision = !is_v4 ? 2 : is_lower ? 3 : -1;
	for (size_t i = 0; i < (is_v4 ? 4 : 16); i++) {
		if (i && i % group == 0 && (is_v4 || !is_lower))
			bsi_fmt_out_put(out, NULL, is_v4 ? '.' : ':', 1);
		bsi_fmt_number_write(out, &byte, raw ? (unsigned char)raw[i] : 0);
	}
}

/*
 * The area holds %pB and the IP addresses as text with a NUL. We write the text
 * and then cut it to the room. A text that was cut fills the area, so that the
 * next conversion is refused.
 */
static int bsi_fmt_array_text(struct bsi_fmt_out *out, struct bsi_fmt_array *src,
			      uint64_t value)
{
	static const struct bsi_fmt_spec code = { .precision = -1, .conv = 'p' };
	size_t room = BSI_FMT_AREA_BYTES - src->used;
	const char *letters = src->letters;
	uint64_t start = out->len;

	if (room < (letters[0] == 'B' ? 1 : letters[1] == '4' ? 4 : 16))
		return -ENOSPC;
	if (letters[0] == 'B')
		bsi_fmt_number_write(out, &code, value);
	else
		bsi_fmt_ip_write(out, letters, bsi_fmt_array_pointer(value));
	if (out->len - start >= room)
		out->len = start + room - 1;
	src->used += (size_t)(out->len - start) + 1;
	return 0;
}

/* Numbers and characters take 8, 4 or 1 bytes, aligned to their size. */
static int bsi_fmt_array_scalar(struct bsi_fmt_out *out, const struct bsi_fmt_spec *spec,
				struct bsi_fmt_array *src, uint64_t value)
{
	size_t bytes = spec->conv == 'c' ? 1 : spec->length ? 8 : 4;
	size_t end = ((src->used + bytes - 1) & ~(bytes - 1)) + bytes;
	char c = (char)(unsigned char)value;

	if (end > BSI_FMT_AREA_BYTES)
		return -ENOSPC;
	src->used = end;
	if (bytes == 4)
		value = bsi_fmt_is_signed(spec) ? (uint64_t)(int32_t)(uint32_t)value :
						  (uint32_t)value;
	if (spec->conv == 'c')
		bsi_fmt_text_write(out, spec, &c, 1);
	else
		bsi_fmt_number_write(out, spec, value);
	return 0;
}

static int bsi_fmt_array_write(struct bsi_fmt_out *out, const struct bsi_fmt_spec *spec,
			       struct bsi_fmt_array *src)
{
	uint64_t value;

	if (!src->left)
		return -EINVAL;
	value = *src->args++;
	src->left--;
	if (spec->conv == 's')
		return bsi_fmt_array_string(out, spec, src, bsi_fmt_array_pointer(value));
	if (spec->conv == BSI_FMT_CONV_TEXT)
		return bsi_fmt_array_text(out, src, value);
	return bsi_fmt_array_scalar(out, spec, src, value);
}

/* May this follow a string or %p? The end, white space and punctuation may. */
static bool bsi_fmt_is_boundary(char c)
{
	return !c || ((unsigned char)c < 0x80 && !bsi_fmt_is_alnum(c) && !bsi_fmt_is_control(c));
}

/* Read a conversion from behind its %p; returns what follows, NULL if bad. */
static const char *bsi_fmt_pointer_parse(const char *fmt, struct bsi_fmt_array *src,
					 struct bsi_fmt_spec *spec)
{
	src->letters = fmt;
	switch (*fmt) {
	case 'k':
	case 'u':
		spec->conv = 's';
		spec->width = 0;
		return fmt[1] == 's' && bsi_fmt_is_boundary(fmt[2]) ? fmt + 2 : NULL;
	case 'i':
	case 'I':
	case 'B':
		spec->conv = BSI_FMT_CONV_TEXT;
		if (*fmt != 'B' && fmt[1] != '4' && fmt[1] != '6')
			return NULL;
		break;
	case 's':
	case 'S':
		/* Padded as the symbol's name would be: with blanks only. */
		spec->conv = 'p';
		spec->length = 'L';
		spec->flags &= BSI_FMT_LEFT;
		break;
	default:
		/* No width means %016. */
		spec->conv = 'x';
		spec->length = 'L';
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

/* Read a conversion from behind its %; returns what follows, NULL if bad. */
static const char *bsi_fmt_array_parse(const char *fmt, struct bsi_fmt_array *src,
				       struct bsi_fmt_spec *spec)
{
	spec->precision = -1;
	fmt = bsi_fmt_flags_parse(fmt, &spec->flags);
	fmt = bsi_fmt_number_parse(fmt, &spec->width);
	if (!fmt || (spec->flags & BSI_FMT_ALT))
		return NULL;
	fmt = bsi_fmt_length_parse(fmt, &spec->length);
	spec->conv = *fmt++;
	if (bsi_fmt_is_one_of(spec->conv, "diuxX"))
		return spec->length && !bsi_fmt_is_one_of(spec->length, "lL") ? NULL : fmt;
	if (spec->length)
		return NULL;
	if (spec->conv == 'p')
		return bsi_fmt_pointer_parse(fmt, src, spec);
	if (spec->conv == 's')
		return bsi_fmt_is_boundary(*fmt) ? fmt : NULL;
	return spec->conv == 'c' ? fmt : NULL;
}

/*
 * Format for bpf_stream_bprintf(). l, ll and p are 64 bits on every target. Of
 * several errors the leftmost is returned.
 */
static int bsi_format_array(char *buf, size_t size, const char *fmt, const uint64_t *args,
			    uint32_t len)
{
	struct bsi_fmt_array src = { .args = args, .left = len / sizeof(*args) };
	struct bsi_fmt_out out = { .buf = buf, .size = size };
	struct bsi_fmt_spec spec;
	int err;

	if (!fmt || (len && !args) || len % sizeof(*args) || len > BSI_FMT_ARGS_BYTES)
		return -EINVAL;
	for (;;) {
		fmt = bsi_fmt_plain_write(&out, fmt, true);
		if (!*fmt)
			return bsi_fmt_out_length(&out);
		if (*fmt != '%')
			return -EINVAL;
		fmt = bsi_fmt_array_parse(fmt + 1, &src, &spec);
		if (!fmt)
			return -EINVAL;
		err = bsi_fmt_array_write(&out, &spec, &src);
		if (err)
			return err;
	}
}

#endif /* BSE_OWN_FORMATTER */

/* ====================================================================== *
 * [13] STREAM
 * ====================================================================== */

BSE_API int bpf_stream_push(struct bpf_stream *s, const void *data, size_t len)
{
	struct bse_chain chain;
	int err;

	if (!len)
		return 0;
	err = bsi_capacity_check(s, len);
	if (err)
		return bsi_refuse(s, err, 1, len);
	err = bsi_message_make(&chain, data, len);
	if (err)
		return bsi_refuse(s, err, 1, len);
	err = bse_log_publish(s, &chain);
	if (err < 0) {
		bsi_list_release(chain.newest);
		return bsi_refuse(s, err, 1, len);
	}
	return 0;
}

/* Stores what a formatter wrote, or counts why not; @len is its answer. */
static int bsi_stream_print(struct bpf_stream *s, const char *text, int len)
{
	if (len < 0) {
		/* Busy: no buffer to format in. */
		bse_note_refusal(s, len == -ENOMEM || len == -EBUSY ?
				 BPF_STREAM_REFUSED_POOL : BPF_STREAM_REFUSED_INVALID, 1, 0);
		return len;
	}
	if ((unsigned int)len > BPF_STREAM_PRINT_MAX)
		return bsi_refuse(s, -E2BIG, 1, (unsigned int)len);
	return bpf_stream_push(s, text, (size_t)len);
}

BSE_API int bpf_stream_vprintf(struct bpf_stream *s, const char *fmt, va_list ap)
{
	struct bse_scratch scratch;
	char *text = bse_scratch_get(&scratch);
	int ret = text ? bse_format(text, BPF_STREAM_PRINT_MAX, fmt, ap) : -ENOMEM;

	ret = bsi_stream_print(s, text, ret);
	bse_scratch_put(&scratch);
	return ret;
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

#ifdef BSE_OWN_FORMATTER
BSE_API int bpf_stream_bprintf(struct bpf_stream *s, const char *fmt, const uint64_t *args,
			       uint32_t len)
{
	struct bse_scratch scratch;
	char *text = bse_scratch_get(&scratch);
	int ret = text ? bsi_format_array(text, BPF_STREAM_PRINT_MAX, fmt, args, len) : -ENOMEM;

	ret = bsi_stream_print(s, text, ret);
	bse_scratch_put(&scratch);
	return ret;
}
#endif

BSE_API void bpf_stream_get_stats(const struct bpf_stream *s, struct bpf_stream_stats *stats)
{
	stats->pending = bse_log_pending(s);
	bse_get_counts(s, stats);
}

/* ====================================================================== *
 * [14] STAGE
 * ====================================================================== */

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
	if (group.newest && !bse_usable())
		bsi_list_release(group.newest);
}

BSE_API int bpf_stream_stage_push(struct bpf_stream_stage *ss, const void *data, size_t len)
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
	err = bsi_message_make(&chain, data, len);
	if (err)
		return err;
	bsi_chain_add(&group, chain.newest, chain.oldest, chain.bytes);
	group.messages++;
	bse_stage_store(ss, &group);
	return 0;
}

BSE_API int bpf_stream_stage_vprintk(struct bpf_stream_stage *ss, const char *fmt, va_list ap)
{
	struct bse_scratch scratch;
	char *text = bse_scratch_get(&scratch);
	int ret = text ? bse_format(text, BPF_STREAM_PRINT_MAX, fmt, ap) : -ENOMEM;

	if (ret > (int)BPF_STREAM_PRINT_MAX)
		ret = (int)BPF_STREAM_PRINT_MAX;
	if (ret > 0)
		ret = bpf_stream_stage_push(ss, text, (size_t)ret);
	bse_scratch_put(&scratch);
	return ret;
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
	int err;

	if (!group.newest)
		return 0;
	err = bse_usable();
	if (!err)
		err = bsi_capacity_check(s, group.bytes);
	if (!err) {
		/* First: what jumps out after the publish must not free it. */
		bpf_stream_stage_init(ss);
		err = bse_log_publish(s, &group);
		if (err < 0)
			bse_stage_store(ss, &group);
	}
	return err < 0 ? bsi_refuse(s, err, group.messages, group.bytes) : 0;
}

/* ====================================================================== *
 * [15] READER
 * ====================================================================== */

/* Takes the pieces, or a first part: how many bytes, or a negative errno. */
typedef int bsi_take(void *ctx, const struct bse_piece *piece, unsigned int n);

struct bsi_sink {
	bsi_take *take;
	void *ctx;
	size_t most;			/* bytes in more than one piece */
};

/* One call of a reader; the lock is held. */
struct bsi_reader {
	struct bpf_stream *s;
	size_t left;			/* bytes that this call may still take */
	uint32_t refund;		/* taken, not yet refunded */
	uint32_t messages;		/* ended since the last flush */
	struct bsi_returns returns;
};

/*
 * Writers get their room and pages back. Before every call of a sink, because
 * a sink may block for long, and before the reader returns.
 */
static void bsi_reader_flush(struct bsi_reader *reader)
{
	if (!reader->refund)
		return;
	bsi_returns_flush(&reader->returns);
	bse_note_delivered(reader->s, reader->messages, reader->refund);
	bse_log_refund(reader->s, reader->refund);
	reader->refund = 0;
	reader->messages = 0;
}

/* Points at what the sink is offered next; tells how many bytes these are. */
static size_t bsi_reader_collect(const struct bsi_reader *reader, const struct bsi_sink *sink,
				 struct bse_piece *piece, unsigned int *n)
{
	bse_link link = reader->s->backlog_head;
	size_t bytes = 0;

	for (*n = 0; link && *n < BSE_PIECES && bytes < reader->left; link = bse_next_of(link)) {
		struct bpf_stream_elem *elem = bse_elem_of(link);
		size_t len = bsi_elem_len(elem) - elem->consumed_len;

		if (len > reader->left - bytes)
			len = reader->left - bytes;
		if (*n && bytes + len > sink->most)
			break;
		piece[*n].data = elem->str + elem->consumed_len;
		piece[*n].len = len;
		bytes += len;
		++*n;
	}
	return bytes;
}

/* The sink took @bytes from the head of the backlog. */
static void bsi_reader_consume(struct bsi_reader *reader, uint32_t bytes)
{
	struct bpf_stream *s = reader->s;
	struct bpf_stream_elem *elem;
	bse_link link;
	uint32_t rest;

	reader->left -= bytes;
	reader->refund += bytes;
	while (bytes) {
		link = s->backlog_head;
		elem = bse_elem_of(link);
		rest = bsi_elem_len(elem) - elem->consumed_len;
		if (bytes < rest) {
			elem->consumed_len += bytes;
			return;
		}
		bytes -= rest;
		s->backlog_head = bse_next_of(link);
		reader->messages += elem->total_len & BSI_ELEM_ENDS ? 1 : 0;
		bsi_elem_release(link, &reader->returns);
	}
}

/* Bytes taken; or the sink's error if there were none. */
static int bsi_reader_run(struct bsi_reader *reader, const struct bsi_sink *sink)
{
	struct bpf_stream *s = reader->s;
	struct bse_piece piece[BSE_PIECES];
	size_t begin = reader->left;
	size_t offered;
	unsigned int n;
	int taken = 0;
	int err;

	while (reader->left) {
		if (!s->backlog_head)
			s->backlog_head = bsi_list_reverse(bse_log_detach(s));
		offered = bsi_reader_collect(reader, sink, piece, &n);
		if (!offered)
			break;
		bsi_reader_flush(reader);
		taken = sink->take(sink->ctx, piece, n);
		/* In a child that it forked, all this is the parent's. */
		err = bse_usable();
		if (err)
			return err;
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

static int bsi_drain(struct bpf_stream *s, const struct bsi_sink *sink, size_t max, bool wait)
{
	struct bsi_reader reader;
	int ret = bse_usable();

	if (ret || !max)
		return ret;
	ret = wait ? bse_lock(&s->lock) : bse_trylock(&s->lock);
	if (ret)
		return ret;
	reader.s = s;
	reader.refund = 0;
	reader.messages = 0;
	reader.returns.used = 0;
	/* What is pending now, and no more: the sink may push. */
	reader.left = bse_log_pending(s);
	if (reader.left > max)
		reader.left = max;
	ret = bsi_reader_run(&reader, sink);
	bse_unlock(&s->lock);
	return ret;
}

/* A user's sink, which takes one piece at a time. */
struct bsi_user {
	bpf_stream_sink *sink;
	void *ctx;
};

/* Several pieces are small, and gathered: one call, one refund. */
static int bsi_take_user(void *ctx, const struct bse_piece *piece, unsigned int n)
{
	const struct bsi_user *user = ctx;
	char gathered[BSE_GATHER];
	size_t len = 0;
	unsigned int i;

	if (n == 1)
		return user->sink(user->ctx, piece->data, piece->len);
	for (i = 0; i < n; i++) {
		memcpy(gathered + len, piece[i].data, piece[i].len);
		len += piece[i].len;
	}
	return user->sink(user->ctx, gathered, len);
}

static int bsi_drain_user(struct bpf_stream *s, bpf_stream_sink *sink, void *ctx, size_t max,
			  bool wait)
{
	struct bsi_user user = { sink, ctx };
	struct bsi_sink all = { bsi_take_user, &user, BSE_GATHER };

	return bsi_drain(s, &all, max, wait);
}

BSE_API int bpf_stream_drain(struct bpf_stream *s, bpf_stream_sink *sink, void *ctx, size_t max)
{
	return bsi_drain_user(s, sink, ctx, max, true);
}

BSE_API int bpf_stream_try_drain(struct bpf_stream *s, bpf_stream_sink *sink, void *ctx,
				 size_t max)
{
	return bsi_drain_user(s, sink, ctx, max, false);
}

static int bsi_read(struct bpf_stream *s, void *buf, size_t len, bool wait)
{
	char *at = buf;
	struct bsi_sink sink = { bse_take_memory, &at, SIZE_MAX };

	if (len > INT_MAX)
		return -EINVAL;
	return bsi_drain(s, &sink, len, wait);
}

BSE_API int bpf_stream_read(struct bpf_stream *s, void *buf, size_t len)
{
	return bsi_read(s, buf, len, true);
}

BSE_API int bpf_stream_try_read(struct bpf_stream *s, void *buf, size_t len)
{
	return bsi_read(s, buf, len, false);
}

#ifdef BSE_HAS_THREADS
BSE_API int bpf_stream_drain_fd(struct bpf_stream *s, int fd, size_t max)
{
	struct bsi_sink sink = { bse_take_fd, &fd, SIZE_MAX };

	return bsi_drain(s, &sink, max, true);
}
#endif

#ifdef BSE_HAS_USER
BSE_API int bpf_stream_read_user(struct bpf_stream *s, void BSE_USER *buf, size_t len)
{
	char BSE_USER *at = buf;
	struct bsi_sink sink = { bse_take_user, &at, SIZE_MAX };

	if (len > INT_MAX)
		return -EINVAL;
	return bsi_drain(s, &sink, len, true);
}
#endif

/* ====================================================================== *
 * [16] LIFECYCLE
 * ====================================================================== */

BSE_API int bpf_stream_init(struct bpf_stream *s, const struct bpf_stream_options *opts)
{
	size_t capacity = opts && opts->capacity ? opts->capacity : BPF_STREAM_DEFAULT_CAPACITY;

	if (capacity > INT_MAX)
		return -EINVAL;
	return bse_stream_init(s, capacity);
}

BSE_API void bpf_stream_destroy(struct bpf_stream *s)
{
	if (bse_usable())
		return;
	bsi_list_release(bse_log_detach(s));
	/* Held here means by a reader that a fork cut off: its part is lost. */
	if (bse_trylock(&s->lock))
		return;
	bsi_list_release(s->backlog_head);
	s->backlog_head = 0;
	bse_unlock(&s->lock);
}

#endif /* BPF_STREAM_BODIES */

/* ====================================================================== *
 * [17] PROGRAM
 * ====================================================================== */
/*
 * The kernel's names and signatures for the two streams of a program. Inline,
 * never symbols; and not beside <bpf/bpf.h>, whose names partly are the same.
 */
#if defined(BPF_STREAM_PROG) && !defined(BPF_STREAM_PROG_H)
#define BPF_STREAM_PROG_H

BSE_DECLS_BEGIN

/**
 * struct bpf_prog_aux - what belongs to a program
 * @stream:           its streams; BPF_STDOUT is stream[0]
 * @stream_error_cnt: reports made so far
 */
struct bpf_prog_aux {
	struct bpf_stream stream[2];
	bse_u32 stream_error_cnt;
};

/**
 * struct bpf_prog - a program
 * @aux: what belongs to it
 */
struct bpf_prog {
	struct bpf_prog_aux *aux;
};

/* NULL if there is no such stream. */
static inline struct bpf_stream *bsi_prog_stream(struct bpf_prog_aux *aux, int stream_id)
{
	if (stream_id != BPF_STDOUT && stream_id != BPF_STDERR)
		return NULL;
	return &aux->stream[stream_id - BPF_STDOUT];
}

/**
 * bpf_prog_stream_init() - make the two streams of a program
 * @prog: the program; its aux points to memory of any content
 *
 * Context:   As bpf_stream_init().
 * Progress:  As bpf_stream_init().
 * Ordering:  As bpf_stream_init().
 * Ownership: As bpf_stream_init().
 * Return:    none.
 */
static inline void bpf_prog_stream_init(struct bpf_prog *prog)
{
	(void)bpf_stream_init(&prog->aux->stream[0], NULL);
	(void)bpf_stream_init(&prog->aux->stream[1], NULL);
	/* Relaxed: private until the program is handed on. */
	bse_base_u32_store_relaxed(&prog->aux->stream_error_cnt, 0);	/* ORD(prog_init:A) */
}

/**
 * bpf_prog_stream_free() - destroy the two streams of a program
 * @prog: the program
 *
 * Context:   As bpf_stream_destroy().
 * Progress:  As bpf_stream_destroy().
 * Ordering:  As bpf_stream_destroy().
 * Ownership: As bpf_stream_destroy().
 * Return:    none.
 */
static inline void bpf_prog_stream_free(struct bpf_prog *prog)
{
	bpf_stream_destroy(&prog->aux->stream[0]);
	bpf_stream_destroy(&prog->aux->stream[1]);
}

/**
 * bpf_prog_stream_read() - take out bytes of one of a program's streams
 * @prog:      the program
 * @stream_id: BPF_STDOUT or BPF_STDERR
 * @buf:       where to
 * @len:       the most bytes to take
 *
 * Context:   As bpf_stream_read().
 * Progress:  As bpf_stream_read().
 * Ordering:  As bpf_stream_read().
 * Ownership: As bpf_stream_read().
 * Return:    -ENOENT if there is no such stream, whatever else is wrong;
 *            -EINVAL if @len is negative; else as bpf_stream_read().
 */
static inline int bpf_prog_stream_read(struct bpf_prog *prog, enum bpf_stream_id stream_id,
				       void *buf, int len)
{
	struct bpf_stream *s = bsi_prog_stream(prog->aux, (int)stream_id);

	/* A negative length becomes one above INT_MAX. */
	return s ? bpf_stream_read(s, buf, (size_t)len) : -BSE_ENOENT;
}

/**
 * bpf_stream_stage_commit() - commit a stage to one of a program's streams
 * @ss:        the stage
 * @prog:      the program
 * @stream_id: BPF_STDOUT or BPF_STDERR
 *
 * Context:   As bpf_stream_stage_commit_to().
 * Progress:  As bpf_stream_stage_commit_to().
 * Ordering:  As bpf_stream_stage_commit_to().
 * Ownership: As bpf_stream_stage_commit_to().
 * Return:    -EINVAL: no such stream; else as bpf_stream_stage_commit_to().
 */
static inline int bpf_stream_stage_commit(struct bpf_stream_stage *ss, struct bpf_prog *prog,
					  enum bpf_stream_id stream_id)
{
	struct bpf_stream *s = bsi_prog_stream(prog->aux, (int)stream_id);

	return s ? bpf_stream_stage_commit_to(ss, s) : -BSE_EINVAL;
}

/**
 * bpf_stream_vprintk() - print from an array of arguments
 * @stream_id: BPF_STDOUT or BPF_STDERR
 * @fmt:       as bpf_stream_bprintf()
 * @args:      as bpf_stream_bprintf(); aligned to 8
 * @len:       as bpf_stream_bprintf()
 * @aux:       what belongs to the program
 *
 * Context:   As bpf_stream_bprintf().
 * Progress:  As bpf_stream_bprintf().
 * Ordering:  As bpf_stream_bprintf().
 * Ownership: As bpf_stream_bprintf().
 * Return:    -ENOENT if there is no such stream, whatever else is wrong;
 *            else as bpf_stream_bprintf().
 */
static inline int bpf_stream_vprintk(int stream_id, const char *fmt, const void *args,
				     uint32_t len, struct bpf_prog_aux *aux)
{
	struct bpf_stream *s = bsi_prog_stream(aux, stream_id);

	return s ? bpf_stream_bprintf(s, fmt, (const uint64_t *)args, len) : -BSE_ENOENT;
}

/**
 * bpf_prog_stream_error_limit() - count a report; is it one too many?
 * @prog: the program
 *
 * Context:   Any.
 * Progress:  Wait-free.
 * Ordering:  None.
 * Ownership: Changes only the program's counter, which stops at the limit.
 * Return:    true if BPF_STREAM_MAX_REPORTS reports were counted before.
 */
static inline bool bpf_prog_stream_error_limit(struct bpf_prog *prog)
{
	bse_u32 *count = &prog->aux->stream_error_cnt;

	/*
	 * Relaxed, both: a figure. It stops at the limit, give or take those
	 * who are between the two accesses.
	 */
	if (bse_base_u32_load_relaxed(count) >= BPF_STREAM_MAX_REPORTS)	/* ORD(prog_limit:A) */
		return true;
	return bse_base_u32_fetch_add_relaxed(count, 1) >=		/* ORD(prog_limit:B) */
	       BPF_STREAM_MAX_REPORTS;
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

/* ====================================================================== *
 * [18] SELFCHECK
 * ====================================================================== */
#if BPF_STREAM_SELFCHECK && defined(BPF_STREAM_BODIES) && !defined(BPF_STREAM_CHECKS)
#define BPF_STREAM_CHECKS

/* Linear in the list: lengths that are in range (I9); adds up what is left. */
static const char *bsi_list_check(bse_link link, uint64_t *bytes)
{
	for (; link; link = bse_next_of(link)) {
		const struct bpf_stream_elem *elem = bse_elem_of(link);
		uint32_t len = bsi_elem_len(elem);

		if (len > BSI_ELEM_MAX || elem->consumed_len >= len)
			return "I9: an element has no bytes left";
		*bytes += len - elem->consumed_len;
		if (*bytes > INT_MAX)
			return "I1: a list goes round in circles";
	}
	return NULL;
}

/*
 * Linear. Beside writers: with the lock held nobody detaches or refunds, and
 * what one read of the word shows below its head does not change.
 */
static const char *bsi_stream_check(struct bpf_stream *s)
{
	uint64_t bytes = 0;
	uint64_t pending;
	bse_link head;
	const char *broken;

	if (bse_lock(&s->lock))
		return "the stream's lock cannot be taken";
	head = bse_log_peek(s, &pending);
	broken = bsi_list_check(s->backlog_head, &bytes);
	if (!broken)
		broken = bsi_list_check(head, &bytes);
	if (!broken && bytes != pending)
		broken = "I3: pending is not the sum of what is left";
	if (!broken && pending > bse_capacity(s))
		broken = "I3: pending is above the capacity";
	bse_unlock(&s->lock);
	return broken;
}

BSE_API const char *bpf_stream_selfcheck(struct bpf_stream *s)
{
	if (bse_usable())
		return "the pool belongs to another process";
	return s ? bsi_stream_check(s) : bse_pool_check();
}

#endif /* BPF_STREAM_SELFCHECK */
