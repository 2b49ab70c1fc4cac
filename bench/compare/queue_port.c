/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A plain port to userspace of the algorithm of the kernel's streams as they
 * were in 6.17, written from a description of their behaviour: elements from
 * pages with a reference count that are filled from front to end, one page for
 * each CPU (here: for each thread), a try-lock against a writer that interrupts
 * the allocator, a capacity counter, a lock-free stack as the log, and a reader
 * with a mutex that detaches, reverses and copies. A message fits in a page.
 */
#include "measure.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PORT_PAGE = 4096, PORT_PAGES = 1 << 17 };

struct port_page {
	_Atomic(int) holders;		/* elements, and 1 while a thread fills it */
	unsigned int used;
	_Atomic(uint32_t) next_free;	/* index + 1 */
	char room[];
};

struct port_element {
	struct port_element *next;
	unsigned int total;
	unsigned int consumed;
	char text[];
};

struct port {
	_Alignas(64) _Atomic(struct port_element *) log;
	_Atomic(int) pending;
	int capacity;
	_Alignas(64) pthread_mutex_t lock;
	struct port_element *head;	/* the backlog, oldest first */
	struct port_element *tail;
};

/* ---- Pages: those given back, with a tag against ABA, and those never used --- */

static char *port_region;
static _Atomic(uint64_t) port_free;	/* tag, index + 1 */
static _Atomic(uint32_t) port_fresh;

static struct port_page *port_page_at(uint32_t index)
{
	return (struct port_page *)(void *)(port_region + (size_t)index * PORT_PAGE);
}

static struct port_page *port_page_get(void)
{
	uint64_t old = atomic_load_explicit(&port_free, memory_order_acquire);
	uint32_t fresh;

	while ((uint32_t)old) {
		struct port_page *page = port_page_at((uint32_t)old - 1);
		uint32_t next = atomic_load_explicit(&page->next_free, memory_order_relaxed);
		uint64_t new = ((old >> 32) + 1) << 32 | next;

		if (atomic_compare_exchange_weak_explicit(&port_free, &old, new,
							  memory_order_acquire,
							  memory_order_acquire))
			return page;
	}
	fresh = atomic_fetch_add_explicit(&port_fresh, 1, memory_order_relaxed);
	return fresh < PORT_PAGES ? port_page_at(fresh) : NULL;
}

static void port_page_put(struct port_page *page)
{
	uint32_t index = (uint32_t)((size_t)((char *)page - port_region) / PORT_PAGE);
	uint64_t old;
	uint64_t new;

	if (atomic_fetch_sub_explicit(&page->holders, 1, memory_order_acq_rel) != 1)
		return;
	old = atomic_load_explicit(&port_free, memory_order_relaxed);
	do {
		atomic_store_explicit(&page->next_free, (uint32_t)old, memory_order_relaxed);
		new = ((old >> 32) + 1) << 32 | (index + 1);
	} while (!atomic_compare_exchange_weak_explicit(&port_free, &old, new,
							memory_order_release,
							memory_order_relaxed));
}

/* ---- Elements ---------------------------------------------------------- */

struct port_cpu {
	atomic_bool busy;		/* no atomic read-modify-write: a CPU's own */
	struct port_page *page;
};

static _Thread_local struct port_cpu port_cpu;
static pthread_key_t port_key;
static pthread_once_t port_once = PTHREAD_ONCE_INIT;

/* A kernel's CPU keeps its page; a thread that ends does not. */
static void port_thread_ends(void *arg)
{
	struct port_cpu *cpu = arg;

	if (cpu->page)
		port_page_put(cpu->page);
	cpu->page = NULL;
}

static void port_once_init(void)
{
	pthread_key_create(&port_key, port_thread_ends);
	port_region = mmap(NULL, (size_t)PORT_PAGES * PORT_PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static struct port_element *port_element_get(size_t len)
{
	size_t bytes = (sizeof(struct port_element) + len + 7) & ~(size_t)7;
	size_t room = PORT_PAGE - sizeof(struct port_page);
	struct port_cpu *cpu = &port_cpu;
	struct port_element *element = NULL;
	struct port_page *page;

	if (bytes > room || atomic_load_explicit(&cpu->busy, memory_order_relaxed))
		return NULL;
	atomic_store_explicit(&cpu->busy, true, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	page = cpu->page;
	if (!page || page->used + bytes > room) {
		struct port_page *fresh = port_page_get();

		if (!fresh)
			goto out;
		if (page)
			port_page_put(page);
		else
			pthread_setspecific(port_key, cpu);
		page = fresh;
		page->used = 0;
		atomic_store_explicit(&page->holders, 1, memory_order_relaxed);
		cpu->page = page;
	}
	element = (struct port_element *)(void *)(page->room + page->used);
	page->used += (unsigned int)bytes;
	atomic_fetch_add_explicit(&page->holders, 1, memory_order_relaxed);
out:
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&cpu->busy, false, memory_order_relaxed);
	return element;
}

static void port_element_put(struct port_element *element)
{
	port_page_put((struct port_page *)(void *)
		      ((char *)element - (uintptr_t)element % PORT_PAGE));
}

/* ---- The stream ------------------------------------------------------- */

static void *port_open(const struct queue_need *need)
{
	struct port *p;

	pthread_once(&port_once, port_once_init);
	if (port_region == MAP_FAILED ||
	    sizeof(struct port_page) + sizeof(struct port_element) + need->bytes > PORT_PAGE)
		return NULL;
	p = aligned_alloc(64, sizeof(*p));
	if (!p)
		return NULL;
	memset(p, 0, sizeof(*p));
	p->capacity = (int)(need->messages * need->bytes);
	pthread_mutex_init(&p->lock, NULL);
	return p;
}

static bool port_push(void *queue, const void *data, size_t len)
{
	struct port *p = queue;
	struct port_element *element;
	struct port_element *newest;

	if (atomic_fetch_add_explicit(&p->pending, (int)len, memory_order_acq_rel) + (int)len >
	    p->capacity)
		goto full;
	element = port_element_get(len);
	if (!element)
		goto full;
	element->total = (unsigned int)len;
	element->consumed = 0;
	memcpy(element->text, data, len);
	newest = atomic_load_explicit(&p->log, memory_order_relaxed);
	do {
		element->next = newest;
	} while (!atomic_compare_exchange_weak_explicit(&p->log, &newest, element,
							memory_order_release,
							memory_order_relaxed));
	return true;
full:
	atomic_fetch_sub_explicit(&p->pending, (int)len, memory_order_relaxed);
	return false;
}

/* Oldest first, behind what is left. */
static void port_fill_backlog(struct port *p)
{
	struct port_element *at = atomic_exchange_explicit(&p->log, NULL, memory_order_acquire);
	struct port_element *newest = at;
	struct port_element *head = NULL;

	while (at) {
		struct port_element *next = at->next;

		at->next = head;
		head = at;
		at = next;
	}
	if (!head)
		return;
	if (p->tail)
		p->tail->next = head;
	else
		p->head = head;
	p->tail = newest;
}

static size_t port_drain(void *queue, char *to, size_t size)
{
	struct port *p = queue;
	size_t done = 0;

	pthread_mutex_lock(&p->lock);
	while (done < size) {
		struct port_element *element = p->head;
		size_t part;

		if (!element) {
			port_fill_backlog(p);
			element = p->head;
			if (!element)
				break;
		}
		part = element->total - element->consumed;
		if (part > size - done)
			part = size - done;
		memcpy(to + done, element->text + element->consumed, part);
		done += part;
		element->consumed += (unsigned int)part;
		if (element->consumed < element->total)
			break;
		p->head = element->next;
		if (!p->head)
			p->tail = NULL;
		atomic_fetch_sub_explicit(&p->pending, (int)element->total, memory_order_relaxed);
		port_element_put(element);
	}
	pthread_mutex_unlock(&p->lock);
	return done;
}

static void port_close(void *queue)
{
	struct port *p = queue;
	char dropped[4096];

	while (port_drain(p, dropped, sizeof(dropped)))
		;
	free(p);
}

/* A group is charged and spliced in one step. */
static bool port_push_group(void *queue, const void *data, size_t len, unsigned int count)
{
	struct port *p = queue;
	struct port_element *newest = NULL;
	struct port_element *oldest = NULL;
	struct port_element *log;
	unsigned int left;
	int total = (int)(len * count);

	for (left = count; left; left--) {
		struct port_element *element = port_element_get(len);

		if (!element)
			goto drop;
		element->total = (unsigned int)len;
		element->consumed = 0;
		memcpy(element->text, data, len);
		element->next = newest;
		newest = element;
		if (!oldest)
			oldest = element;
	}
	if (atomic_fetch_add_explicit(&p->pending, total, memory_order_acq_rel) + total >
	    p->capacity) {
		atomic_fetch_sub_explicit(&p->pending, total, memory_order_relaxed);
		goto drop;
	}
	log = atomic_load_explicit(&p->log, memory_order_relaxed);
	do {
		oldest->next = log;
	} while (!atomic_compare_exchange_weak_explicit(&p->log, &log, newest, memory_order_release,
							memory_order_relaxed));
	return true;
drop:
	while (newest) {
		struct port_element *next = newest->next;

		port_element_put(newest);
		newest = next;
	}
	return false;
}

static const struct queue queue_port = {
	.name = "port of the original",
	.open = port_open,
	.push = port_push,
	.drain = port_drain,
	.close = port_close,
	.push_group = port_push_group,
};
QUEUE_REGISTER(queue_port);
