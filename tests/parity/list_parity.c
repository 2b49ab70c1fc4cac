/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * list_parity - our list beside liburcu's stack and queue, on random scripts
 *
 * A script is made from its own seed and run in two ways.
 *
 * In one thread, on three lists of ours (section [8] and the log of [6d]) and
 * three pairs of liburcu's, a stack (cds_lfs) and a queue (cds_wfcq). Elements
 * are published, alone or as a chain, which the queue gets by one splice and
 * the stack one by one; refused for want of room; detached; held; and given
 * back. What we detach must be what the stack pops, number by number; reversed,
 * it must be what the queue gives. Pending must be the sum of what is in, and a
 * detach must tell it.
 *
 * In 2 to 8 threads, which publish chains beside a reader that detaches: with
 * ours, often with a capacity so small that chains are refused and offered
 * again; then the same script with the queue, and with the stack. Each number
 * must come out once, those of one thread in order, a chain's without others
 * between them (but on the stack). Ours yields now and then between a look at
 * the log and its compare-exchange, so that these fail in earnest.
 *
 * The threads of a failing script are scheduled anew when it is run again.
 *
 * Seen to fail with the header changed so that: reverse stops early; a chain
 * added to a chain is linked to its newest, or forgets the oldest; publish
 * refuses the last byte, accepts one too many, links only before its loop, or
 * leaves a refused chain linked; detach takes the pending bytes, too, tells
 * others, or is a load and a store; refund forgets a byte; and, under
 * ThreadSanitizer, so that publish or detach is relaxed.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
#include "../unit/selfcheck.h"
#include "../program.h"

#include <pthread.h>
#include <urcu/lfstack.h>
#include <urcu/wfcqueue.h>

#define LISTS 3u
#define STEPS 120u		/* in a script, at most */
#define GROUP 9u		/* elements in a chain, at most */
#define THREADS 8u
#define TEXT 64u		/* bytes in an element, at most */
#define SEQ_BITS 24		/* a number has its thread above, its place below */

/* ---- Elements --------------------------------------------------------- */

/* An element of liburcu's, on a stack and in a queue. */
struct node {
	struct cds_lfs_node stacked;
	struct cds_wfcq_node queued;
	uint32_t number;
};

struct queue {
	struct __cds_wfcq_head head;
	struct cds_wfcq_tail tail;
};

static void queue_init(struct queue *queue)
{
	__cds_wfcq_init(&queue->head, &queue->tail);
}

/* All of @from behind what is in @to. */
static enum cds_wfcq_ret queue_splice(struct queue *to, struct queue *from)
{
	return __cds_wfcq_splice_blocking(&to->head, &to->tail, &from->head, &from->tail);
}

static struct node *node_of_stacked(struct cds_lfs_node *stacked)
{
	return (struct node *)(void *)((char *)stacked - offsetof(struct node, stacked));
}

static struct node *node_of_queued(struct cds_wfcq_node *queued)
{
	return (struct node *)(void *)((char *)queued - offsetof(struct node, queued));
}

/* The number, then bytes that follow from it. */
static uint32_t text_of(uint32_t number, char text[TEXT])
{
	uint32_t len = 4 + number * 7 % (TEXT - 3);

	memset(text, (int)(number & 0xff), TEXT);
	memcpy(text, &number, sizeof(number));
	return len;
}

static int chain_add_number(struct bse_chain *chain, uint32_t number)
{
	char text[TEXT];
	uint32_t len = text_of(number, text);

	return bsi_elem_add(chain, BSE_MIXED, text, len, BSE_ELEM_ENDS);
}

/* As in a push: what is seen first may have changed when it is published. */
static int chain_publish(struct bpf_stream *s, const struct bse_chain *chain)
{
	return bsi_publish(s, bse_log_seen(s), chain);
}

static void stream_init(struct bpf_stream *s, size_t capacity)
{
	(void)bpf_stream_init(s, &(struct bpf_stream_options){ .capacity = capacity });
}

/* The stream goes on with another capacity; one that is 0 lets no element in. */
static void stream_set_capacity(struct bpf_stream *s, uint32_t capacity)
{
	s->options.capacity = capacity ? capacity : 1;
}

/* UINT32_MAX if the element is not as it was made. */
static uint32_t number_of(bse_link link)
{
	const struct bpf_stream_elem *elem = bse_elem_of(link);
	uint32_t number;
	char text[TEXT];

	memcpy(&number, elem->str, sizeof(number));
	if (text_of(number, text) != bse_elem_len(elem) ||
	    memcmp(text, elem->str, bse_elem_len(elem)))
		return UINT32_MAX;
	return number;
}

/* ---- One thread ------------------------------------------------------- */

enum kind { PUBLISH, REFUSE, DETACH, GIVE_BACK };

struct step {
	enum kind kind;
	unsigned int list;
	unsigned int elements;		/* in the chain */
	unsigned int part;		/* it is put together from chains of so many */
};

struct numbers {
	uint32_t n;
	uint32_t number[STEPS * GROUP + 1];
};

/* The same list three times, and what was detached last. */
struct lists {
	struct bpf_stream stream;
	struct __cds_lfs_stack stack;
	struct queue queue;
	uint32_t pending;
	bse_link held;			/* ours, reversed */
	struct queue held_queue;
};

static struct node nodes[STEPS * GROUP];
static uint32_t nodes_used;

static void make_script(uint64_t seed, struct step *step, uint32_t *steps)
{
	uint64_t random = seed;
	uint32_t often = 1 + program_below(&random, 8);		/* publishes to a detach */
	uint32_t i;

	*steps = 1 + program_below(&random, STEPS);
	for (i = 0; i < *steps; i++, step++) {
		uint32_t what = program_below(&random, often + 2);

		step->kind = what == 0 ? DETACH : what > 1 ? PUBLISH :
			     program_below(&random, 2) ? GIVE_BACK : REFUSE;
		step->list = program_below(&random, LISTS);
		step->elements = program_below(&random, 2) ? 1 :
				 1 + program_below(&random, GROUP);
		step->part = 1 + program_below(&random, step->elements);
	}
}

static void print_script(const struct step *step, uint32_t steps)
{
	uint32_t i;

	for (i = 0; i < steps; i++, step++) {
		printf("  %u: ", i);
		if (step->kind == PUBLISH || step->kind == REFUSE)
			printf("%s list %u: %u elements, from chains of %u\n",
			       step->kind == PUBLISH ? "publish to" : "refuse at",
			       step->list, step->elements, step->part);
		else
			printf("%s list %u\n",
			       step->kind == DETACH ? "detach" : "give back what is held of",
			       step->list);
	}
}

static void ours_to_numbers(bse_link link, struct numbers *numbers)
{
	for (numbers->n = 0; link && numbers->n <= STEPS * GROUP; link = bse_elem_next(bse_elem_of(link)))
		numbers->number[numbers->n++] = number_of(link);
}

static void stack_to_numbers(struct cds_lfs_head *head, struct numbers *numbers)
{
	struct cds_lfs_node *stacked;

	numbers->n = 0;
	if (head)
		cds_lfs_for_each(head, stacked)
			numbers->number[numbers->n++] = node_of_stacked(stacked)->number;
}

static void queue_to_numbers(struct queue *queue, struct numbers *numbers)
{
	struct cds_wfcq_node *queued;

	numbers->n = 0;
	__cds_wfcq_for_each_blocking(&queue->head, &queue->tail, queued)
		numbers->number[numbers->n++] = node_of_queued(queued)->number;
}

static void print_numbers(const char *whose, const struct numbers *numbers)
{
	uint32_t i;

	printf("  %s", whose);
	for (i = 0; i < numbers->n; i++)
		printf(" %" PRIu32, numbers->number[i]);
	printf("\n");
}

static bool same(const struct numbers *ours, const char *whose, const struct numbers *theirs)
{
	if (ours->n == theirs->n &&
	    !memcmp(ours->number, theirs->number, ours->n * sizeof(ours->number[0])))
		return true;
	print_numbers("ours:", ours);
	print_numbers(whose, theirs);
	return false;
}

static bool fails(const char *what)
{
	printf("  %s\n", what);
	return false;
}

/* A chain of ours and a queue with the same numbers. */
static bool make_chain(const struct step *step, uint32_t first, struct bse_chain *chain,
		       struct queue *queue)
{
	uint32_t i = 0;
	uint32_t n;

	*chain = (struct bse_chain){ 0 };
	queue_init(queue);
	while (i < step->elements) {
		struct bse_chain part = { 0 };

		for (n = 0; n < step->part && i < step->elements; n++, i++) {
			struct node *node = &nodes[first + i];

			if (chain_add_number(&part, first + i))
				return false;
			node->number = first + i;
			cds_lfs_node_init(&node->stacked);
			cds_wfcq_node_init(&node->queued);
			cds_wfcq_enqueue(&queue->head, &queue->tail, &node->queued);
		}
		bsi_chain_add(chain, part.newest, part.oldest, part.bytes);
	}
	return true;
}

static bool publish(const struct step *step, struct lists *lists)
{
	uint32_t first = nodes_used;
	struct bse_chain chain;
	struct queue queue;
	bse_link link;
	uint32_t i;

	if (!make_chain(step, first, &chain, &queue))
		return fails("no page for an element");
	link = chain.newest;
	if (step->kind == REFUSE) {
		stream_set_capacity(&lists->stream, lists->pending + chain.bytes - 1);
		if (chain_publish(&lists->stream, &chain) != -ENOSPC)
			return fails("accepted above the capacity");
		for (i = step->elements; i-- > 0; link = bse_elem_next(bse_elem_of(link)))
			if (!link || number_of(link) != first + i)
				return fails("a refused chain changed");
		if (link)
			return fails("a refused chain goes on into the log");
		bsi_list_release(chain.newest);
		return true;
	}
	nodes_used += step->elements;
	lists->pending += chain.bytes;
	stream_set_capacity(&lists->stream, lists->pending);
	if (chain_publish(&lists->stream, &chain))
		return fails("refused within the capacity");
	for (i = 0; i < step->elements; i++)
		cds_lfs_push(&lists->stack, &nodes[first + i].stacked);
	if (step->elements == 1) {
		queue_init(&queue);
		cds_wfcq_node_init(&nodes[first].queued);
		cds_wfcq_enqueue(&lists->queue.head, &lists->queue.tail, &nodes[first].queued);
	} else {
		(void)queue_splice(&lists->queue, &queue);
	}
	return true;
}

/* What was detached is still the same; it goes back to the pool. */
static bool give_back(struct lists *lists)
{
	static struct numbers ours;
	static struct numbers theirs;
	uint32_t bytes = 0;
	bse_link link;

	ours_to_numbers(lists->held, &ours);
	queue_to_numbers(&lists->held_queue, &theirs);
	if (!same(&ours, "queue's:", &theirs))
		return false;
	for (link = lists->held; link; link = bse_elem_next(bse_elem_of(link)))
		bytes += bse_elem_len(bse_elem_of(link));
	bsi_list_release(lists->held);
	bse_log_refund(&lists->stream, bytes);
	lists->pending -= bytes;
	lists->held = 0;
	queue_init(&lists->held_queue);
	return true;
}

static bool detach(struct lists *lists)
{
	static struct numbers ours;
	static struct numbers theirs;
	size_t pending;
	bse_link link;

	if (!give_back(lists))
		return false;
	link = bse_log_detach(&lists->stream, &pending);
	if (pending != lists->pending)
		return fails("a detach told another number of pending bytes");
	ours_to_numbers(link, &ours);
	stack_to_numbers(__cds_lfs_pop_all(&lists->stack), &theirs);
	if (!same(&ours, "stack's:", &theirs))
		return false;
	lists->held = bsi_list_reverse(link);
	(void)queue_splice(&lists->held_queue, &lists->queue);
	ours_to_numbers(lists->held, &ours);
	queue_to_numbers(&lists->held_queue, &theirs);
	return same(&ours, "queue's:", &theirs);
}

static bool run_step(const struct step *step, struct lists *lists)
{
	bool passed = step->kind == DETACH ? detach(lists) :
		      step->kind == GIVE_BACK ? give_back(lists) : publish(step, lists);

	if (passed && bse_log_pending(&lists->stream) != lists->pending)
		passed = fails("pending is not the sum of what is in");
	return passed;
}

/* Nothing is left in the pool. */
static bool pool_is_whole(void)
{
	const char *broken = bpf_stream_selfcheck(NULL);
	struct bpf_stream_pool_stats pool;

	bpf_stream_thread_release();
	bpf_stream_pool_get_stats(&pool);
	if (broken)
		return fails(broken);
	return !pool.in_use || fails("pages are in use at the end");
}

static bool run_in_one_thread(uint64_t seed)
{
	struct lists lists[LISTS];
	struct step step[STEPS];
	bool passed = true;
	uint32_t steps;
	uint32_t i;

	make_script(seed, step, &steps);
	nodes_used = 0;
	for (i = 0; i < LISTS; i++) {
		stream_init(&lists[i].stream, BPF_STREAM_CAPACITY_LIMIT);
		__cds_lfs_init(&lists[i].stack);
		queue_init(&lists[i].queue);
		queue_init(&lists[i].held_queue);
		lists[i].held = 0;
		lists[i].pending = 0;
	}
	for (i = 0; i < steps && passed; i++)
		passed = run_step(&step[i], &lists[step[i].list]);
	if (!passed) {
		printf("failed: in one thread, script of seed %" PRIu64 ", in its last step:\n",
		       seed);
		print_script(step, i);
		return false;
	}
	for (i = 0; i < LISTS && passed; i++)
		passed = detach(&lists[i]) && give_back(&lists[i]) &&
			 (!lists[i].pending || fails("pending at the end"));
	passed = passed && pool_is_whole();
	if (!passed) {
		printf("failed: in one thread, script of seed %" PRIu64 ", after its end:\n",
		       seed);
		print_script(step, steps);
	}
	return passed;
}

/* ---- Several threads --------------------------------------------------- */

struct writer {
	pthread_t thread;
	uint32_t id;
	uint64_t random;
	uint32_t groups;
	uint32_t group[STEPS];		/* how many elements each has */
	uint32_t elements;		/* in all */
	struct node node[STEPS * GROUP];
	const struct structure *structure;
};

/* A list under test, and how it is used. */
struct structure {
	const char *name;
	void (*init)(void);
	bool (*publish)(struct writer *w, uint32_t first, uint32_t n);
	bool (*collect)(void);		/* hands all that is in to see(); was there anything? */
	bool groups_stay;		/* contiguous */
};

static struct {
	struct bpf_stream stream;
	size_t capacity;
	struct __cds_lfs_stack stack;
	struct queue queue;
	pthread_barrier_t start;
	uint32_t done;			/* writers that have ended */
	uint32_t failed;		/* publishes that did what they must not */
} shared;

/* What the reader has seen. */
static struct {
	const struct structure *structure;
	const char *wrong;		/* the first thing that was; NULL: nothing */
	uint32_t number;		/* there */
	uint32_t next[THREADS];		/* the place that comes next in each thread */
	uint32_t group[THREADS];	/* the group it is in */
	uint32_t left[THREADS];		/* how many of this group are still to come */
	uint32_t inside;		/* 1 + the thread whose group began; 0: none */
	bse_link held;
	uint32_t held_bytes;
} reader;

static struct writer writer[THREADS];
static uint32_t writers;
static _Thread_local uint64_t *yield_random;

static void yield_sometimes(enum hook_point point)
{
	if (point == HOOK_PUBLISHING && !program_below(yield_random, 16))
		program_pause();
}

static void see_wrong(const char *what, uint32_t number)
{
	if (reader.wrong)
		return;
	reader.wrong = what;
	reader.number = number;
}

static void see(uint32_t number)
{
	uint32_t t = number >> SEQ_BITS;
	uint32_t place = number & ((1u << SEQ_BITS) - 1);

	if (number == UINT32_MAX || t >= writers || place >= writer[t].elements) {
		see_wrong("no element that was published", number);
		return;
	}
	if (place != reader.next[t])
		see_wrong("not the next of its thread", number);
	if (reader.structure->groups_stay && reader.inside && reader.inside != t + 1)
		see_wrong("in the middle of another thread's group", number);
	if (!reader.left[t])
		reader.left[t] = writer[t].group[reader.group[t]++ % STEPS];
	reader.left[t]--;
	reader.inside = reader.left[t] ? t + 1 : 0;
	reader.next[t] = place + 1;
}

static void see_end_of_batch(void)
{
	if (reader.structure->groups_stay && reader.inside)
		see_wrong("the last of a batch that ends within a group", 0);
}

static void ours_init(void)
{
	stream_init(&shared.stream, shared.capacity);
}

static bool ours_publish(struct writer *w, uint32_t first, uint32_t n)
{
	struct bse_chain chain = { 0 };
	uint32_t i;
	int err;

	for (i = 0; i < n; i++)
		if (chain_add_number(&chain, w->id << SEQ_BITS | (first + i)))
			return false;
	for (;;) {
		err = chain_publish(&shared.stream, &chain);
		if (err != -ENOSPC)
			return !err;
		if (bse_elem_next(bse_elem_of(chain.oldest)))
			return false;
		program_pause();
	}
}

/* The list of one call goes back to the pool in the next one. */
static bool ours_collect(void)
{
	bse_link link;

	bsi_list_release(reader.held);
	if (reader.held_bytes)
		bse_log_refund(&shared.stream, reader.held_bytes);
	reader.held_bytes = 0;
	if (bse_log_pending(&shared.stream) > shared.capacity)
		see_wrong("pending is above the capacity", 0);
	reader.held = bsi_list_reverse(bse_log_detach(&shared.stream, &(size_t){ 0 }));
	for (link = reader.held; link; link = bse_elem_next(bse_elem_of(link))) {
		see(number_of(link));
		reader.held_bytes += bse_elem_len(bse_elem_of(link));
	}
	return reader.held;
}

static void queue_init_shared(void)
{
	queue_init(&shared.queue);
}

static bool queue_publish(struct writer *w, uint32_t first, uint32_t n)
{
	struct queue chain;
	uint32_t i;

	if (n == 1) {
		cds_wfcq_enqueue(&shared.queue.head, &shared.queue.tail, &w->node[first].queued);
		return true;
	}
	queue_init(&chain);
	for (i = first; i < first + n; i++)
		cds_wfcq_enqueue(&chain.head, &chain.tail, &w->node[i].queued);
	(void)queue_splice(&shared.queue, &chain);
	return true;
}

static bool queue_collect(void)
{
	struct cds_wfcq_node *queued;
	struct queue batch;
	bool any = false;

	queue_init(&batch);
	(void)queue_splice(&batch, &shared.queue);
	__cds_wfcq_for_each_blocking(&batch.head, &batch.tail, queued) {
		see(node_of_queued(queued)->number);
		any = true;
	}
	return any;
}

static void stack_init_shared(void)
{
	__cds_lfs_init(&shared.stack);
}

static bool stack_publish(struct writer *w, uint32_t first, uint32_t n)
{
	uint32_t i;

	for (i = first; i < first + n; i++)
		cds_lfs_push(&shared.stack, &w->node[i].stacked);
	return true;
}

static bool stack_collect(void)
{
	static uint32_t number[THREADS * STEPS * GROUP];
	struct cds_lfs_head *head = __cds_lfs_pop_all(&shared.stack);
	struct cds_lfs_node *stacked;
	uint32_t n = 0;

	if (!head)
		return false;
	cds_lfs_for_each(head, stacked)
		number[n++] = node_of_stacked(stacked)->number;
	while (n)
		see(number[--n]);
	return true;
}

static const struct structure structures[] = {
	{ "ours", ours_init, ours_publish, ours_collect, true },
	{ "liburcu's queue", queue_init_shared, queue_publish, queue_collect, true },
	{ "liburcu's stack", stack_init_shared, stack_publish, stack_collect, false },
};

#define STRUCTURES (sizeof(structures) / sizeof(structures[0]))

static void *write_script(void *arg)
{
	struct writer *w = arg;
	uint32_t first = 0;
	uint32_t i;

	yield_random = &w->random;
	hook = yield_sometimes;
	pthread_barrier_wait(&shared.start);
	for (i = 0; i < w->groups; i++) {
		if (!w->structure->publish(w, first, w->group[i])) {
			__atomic_store_n(&shared.failed, 1, __ATOMIC_RELAXED);
			break;
		}
		first += w->group[i];
		if (!program_below(&w->random, 16))
			program_pause();
	}
	__atomic_fetch_add(&shared.done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void make_writers(uint64_t seed, uint32_t threads)
{
	uint64_t random = seed;
	uint32_t t;
	uint32_t i;

	writers = 2 + program_below(&random, THREADS - 1);
	if (threads)
		writers = threads;
	/* A group fits, and a little more; or all does. */
	shared.capacity = program_below(&random, 2) ? BPF_STREAM_CAPACITY_LIMIT :
			  GROUP * TEXT + program_below(&random, 4 * TEXT);
	for (t = 0; t < writers; t++) {
		struct writer *w = &writer[t];

		w->id = t;
		w->random = program_random(&random);
		w->groups = 1 + program_below(&w->random, STEPS);
		w->elements = 0;
		for (i = 0; i < w->groups; i++) {
			w->group[i] = program_below(&w->random, 2) ? 1 :
				      1 + program_below(&w->random, GROUP);
			w->elements += w->group[i];
		}
		for (i = 0; i < w->elements; i++) {
			w->node[i].number = t << SEQ_BITS | i;
			cds_lfs_node_init(&w->node[i].stacked);
			cds_wfcq_node_init(&w->node[i].queued);
		}
	}
}

static void print_writers(void)
{
	uint32_t t;
	uint32_t i;

	printf("  capacity %zu\n", shared.capacity);
	for (t = 0; t < writers; t++) {
		printf("  thread %u publishes", t);
		for (i = 0; i < writer[t].groups; i++)
			printf(" %u", writer[t].group[i]);
		printf("\n");
	}
}

static bool run_in_threads(uint64_t seed, uint32_t threads, const struct structure *structure)
{
	bool all_done;
	bool any;
	uint32_t t;

	make_writers(seed, threads);
	memset(&reader, 0, sizeof(reader));
	reader.structure = structure;
	structure->init();
	shared.done = 0;
	pthread_barrier_init(&shared.start, NULL, writers);
	for (t = 0; t < writers; t++) {
		writer[t].structure = structure;
		if (pthread_create(&writer[t].thread, NULL, write_script, &writer[t]))
			abort();
	}
	do {
		/* Acquire: what comes after this look is all there is. */
		all_done = __atomic_load_n(&shared.done, __ATOMIC_ACQUIRE) == writers;
		any = structure->collect();
		see_end_of_batch();
		if (!any)
			program_pause();
	} while (any || !all_done);
	for (t = 0; t < writers; t++)
		pthread_join(writer[t].thread, NULL);
	pthread_barrier_destroy(&shared.start);
	if (shared.failed)
		see_wrong("no page for an element, or a refused chain was left linked", 0);
	for (t = 0; t < writers; t++)
		if (reader.next[t] != writer[t].elements)
			see_wrong("the end, where some are missing",
				  t << SEQ_BITS | reader.next[t]);
	if (structure == &structures[0] && bse_log_pending(&shared.stream))
		see_wrong("pending at the end", (uint32_t)bse_log_pending(&shared.stream));
	if (structure == &structures[0] && !reader.wrong && !pool_is_whole())
		see_wrong("the pool is not whole at the end", 0);
	if (!reader.wrong)
		return true;
	printf("failed: %s, script of seed %" PRIu64 ": thread %u, element %u: %s\n",
	       structure->name, seed, reader.number >> SEQ_BITS,
	       reader.number & ((1u << SEQ_BITS) - 1), reader.wrong);
	print_writers();
	return false;
}

/* ---- The program ------------------------------------------------------- */

int main(int argc, char **argv)
{
	uint64_t seed;
	uint64_t scripts = program_number(1000, 10000);
	uint64_t threads = 0;
	const struct program_option options[] = {
		PROGRAM_SEED(&seed),
		PROGRAM_NUMBER("scripts", "how many; each has the next seed", &scripts,
			       1, UINT64_MAX),
		PROGRAM_NUMBER("threads", "that write; 0: 2 to 8, by the seed", &threads,
			       0, THREADS),
		PROGRAM_LAST
	};
	unsigned int passed = 0;
	unsigned int failed = 0;
	unsigned int skipped = 0;
	uint64_t i;
	size_t k;

	program_begin(argc, argv, "Run random scripts on our list, and on liburcu's queue and\n"
				  "stack: what comes out must be the same.", options);
	program_case = "in one thread";
	for (i = 0; i < scripts; i++) {
		program_turn = seed + i;
		if (!run_in_one_thread(seed + i))
			break;
	}
	printf("%" PRIu64 " scripts in one thread, on all three\n", i);
	*(i == scripts ? &passed : &failed) += 1;
	for (k = 0; k < STRUCTURES; k++) {
		if (PROGRAM_TSAN && k) {
			printf("SKIP: %s in threads: ThreadSanitizer does not see its atomics\n",
			       structures[k].name);
			skipped++;
			continue;
		}
		program_case = structures[k].name;
		for (i = 0; i < scripts; i++) {
			program_turn = seed + i;
			if (!run_in_threads(seed + i, (uint32_t)threads, &structures[k]))
				break;
		}
		printf("%" PRIu64 " scripts in threads, on %s\n", i, structures[k].name);
		*(i == scripts ? &passed : &failed) += 1;
	}
	return program_end(passed, failed, skipped);
}
