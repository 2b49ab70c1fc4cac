/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * left_pages - threads come and go in a small pool, and fill each other's pages
 *
 * Four streams, one in each group, and stages. Eight threads live at a time.
 * Each sends up to 40 messages of 8 to 4000 bytes, alone or as groups, to any
 * of the streams; some release their pages on the way. So pages are left and
 * adopted all the time, while two readers give back what is in them, and for a
 * stretch one or two of the streams are left alone. The cases:
 *
 *   quarter       what is pending is never above a quarter of the pool, and
 *                 then no message may be refused
 *   trim_beside   the same, and a thread trims; then one may find no page while
 *                 the last one is being given back, and is sent again
 *
 * In pools of 63 and of 255 pages. Each message tells its thread, number and
 * length, and each thread's come out of a stream once, whole and in order. When
 * all is read, no page is in use, the invariants hold, no thread's share of the
 * pages is missing, and all pages can be filled at once.
 *
 * Seen to fail, with a copy of the header broken on purpose:
 *
 *   what is left goes to no list      a message was refused
 *   a list forgets room, or a count   a message's number
 *   no look at others' lists          pages that can be filled
 *   a page starts afresh with its     a message is damaged
 *     old count
 *   tags that do not change           killed
 *   a thread's end keeps its share    slots that may keep a page
 *   trim forgets what was left        trim_beside: a message was refused
 *
 * And, under ThreadSanitizer: a relaxed page_restart:A, page_give_back:A,
 * page_give_back:B or page_retire:A; a list_push:B without release.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "../tests/exhaustion/yield_env.h"
#include "bpf_stream.h"
#include "../unit/selfcheck.h"

#include "threads.h"

#define STREAMS BPF_STREAM_GROUPS
#define LIVE 8u				/* threads at a time */
#define STRETCH 64u			/* threads, with the same streams unread */
#define HEAD 8u
#define MESSAGE_MAX 4000u
#define GROUP 3u			/* messages in a stage */
#define READERS 2u
#define MOST_TAKEN 20000u		/* by a reader at a time */
#define REGION_PAGES 256u

static uint64_t seed;
static uint64_t threads;
static bool trims;

static void complain(const char *what, uint64_t is, uint64_t want)
{
	printf("FAIL: %s, seed %" PRIu64 ": %s: %" PRIu64 ", not %" PRIu64 "\n", program_case, seed,
	       what, is, want);
	fflush(stdout);
	_exit(1);
}

static void expect(bool ok, const char *what, uint64_t is, uint64_t want)
{
	if (!ok)
		complain(what, is, want);
}

/* ---- Messages ---------------------------------------------------------- */

struct head {
	uint16_t thread;
	uint16_t len;
	uint32_t seq;			/* among those of the thread to this stream */
};

/* Bytes of any message, from another place for each. */
static char filling[MESSAGE_MAX + 64];

static void make_filling(void)
{
	size_t i;

	for (i = 0; i < sizeof(filling); i++)
		filling[i] = (char)('a' + (i + i / 101) % 26);
}

static const char *body_of(struct head head)
{
	return filling + (head.thread + head.seq) % 64;
}

static void make(char *at, struct head head)
{
	memcpy(at, &head, HEAD);
	memcpy(at + HEAD, body_of(head), head.len - HEAD);
}

/* ---- Streams and readers ----------------------------------------------- */

struct lane {
	struct bpf_stream s;
	uint32_t is_read;		/* 0: readers leave it alone */
	/* The reader's. */
	struct head head;		/* of the message that is being read */
	size_t at;			/* bytes of it so far */
	uint32_t *next;			/* number that comes next, of each thread */
};

static struct lane lanes[STREAMS];
static uint32_t (*sent)[STREAMS];	/* by each thread, to each stream */
static uint64_t pending;		/* text of all streams and stages, or about to be */
static uint64_t bound;			/* of it */
static uint32_t over;			/* all threads have ended */

static void end_message(struct lane *lane)
{
	const struct head *head = &lane->head;

	expect(head->seq == lane->next[head->thread], "a message's number", head->seq,
	       lane->next[head->thread]);
	lane->next[head->thread]++;
	lane->at = 0;
}

/* A sink. */
static int check(void *ctx, const void *data, size_t len)
{
	struct lane *lane = ctx;
	const char *from = data;
	size_t left = len;

	while (left) {
		size_t part = lane->at < HEAD ? HEAD - lane->at : lane->head.len - lane->at;

		if (part > left)
			part = left;
		if (lane->at < HEAD)
			memcpy((char *)&lane->head + lane->at, from, part);
		else if (memcmp(from, body_of(lane->head) + lane->at - HEAD, part))
			complain("a message is damaged", lane->head.thread, lane->head.seq);
		lane->at += part;
		from += part;
		left -= part;
		if (lane->at == HEAD && (lane->head.len < HEAD || lane->head.len > MESSAGE_MAX ||
					 lane->head.thread >= threads))
			complain("no message begins here", lane->head.len, lane->head.thread);
		if (lane->at >= HEAD && lane->at == lane->head.len)
			end_message(lane);
	}
	return (int)len;
}

/* At most @most bytes, in one of two ways. */
static uint64_t take(struct lane *lane, size_t most)
{
	static _Thread_local char buf[MOST_TAKEN];
	int n;

	if (most % 2) {
		n = bpf_stream_drain(&lane->s, check, lane, most);
	} else {
		n = bpf_stream_read(&lane->s, buf, most);
		if (n > 0)
			(void)check(lane, buf, (size_t)n);
	}
	expect(n >= 0, "a reader's error", (uint64_t)-n, 0);
	__atomic_fetch_sub(&pending, (uint64_t)n, __ATOMIC_RELAXED);
	return (uint64_t)n;
}

/* So that the others can go on, what is left alone gets a quarter at most. */
static bool is_due(struct lane *lane)
{
	struct bpf_stream_stats stats;

	bpf_stream_get_stats(&lane->s, &stats);
	return __atomic_load_n(&lane->is_read, __ATOMIC_RELAXED) || stats.pending > bound / 4;
}

/* Each second stream, until all threads have ended and it is empty. */
static void *read_all(void *first)
{
	uint64_t state = seed + (uintptr_t)first;
	uint64_t taken;
	uintptr_t i;
	bool last;

	do {
		taken = 0;
		last = __atomic_load_n(&over, __ATOMIC_ACQUIRE);
		for (i = (uintptr_t)first; i < STREAMS; i += READERS)
			if (last || is_due(&lanes[i]))
				taken += take(&lanes[i], 1 + program_below(&state, MOST_TAKEN));
		if (!taken)
			program_pause();
	} while (taken || !last);
	return NULL;
}

static void *trim_all(void *ignored)
{
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		(void)bpf_stream_pool_trim();
		program_pause();
	}
	return ignored;
}

/* ---- Writers ----------------------------------------------------------- */

/* Waits until so much may be pending. Then it is, as far as others see. */
static void wait_for_budget(uint64_t bytes)
{
	uint64_t now = __atomic_load_n(&pending, __ATOMIC_RELAXED);

	for (;;) {
		if (now + bytes > bound) {
			program_pause();
			now = __atomic_load_n(&pending, __ATOMIC_RELAXED);
		} else if (__atomic_compare_exchange_n(&pending, &now, now + bytes, false,
						       __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
			return;
		}
	}
}

/* The message was refused, again; @times counts how often it was. */
static void note(int err, uint32_t *times)
{
	if (err != -ENOMEM || !trims || ++*times == 10000)
		complain("a message was refused; the error", (uint64_t)-err, 0);
	program_pause();
}

static void send_one(struct lane *lane, struct head head)
{
	char text[MESSAGE_MAX];
	uint32_t times = 0;
	int err;

	make(text, head);
	while ((err = bpf_stream_push(&lane->s, text, head.len)))
		note(err, &times);
}

static void send_group(struct lane *lane, const struct head *head)
{
	char text[MESSAGE_MAX];
	struct bpf_stream_stage ss;
	uint32_t times = 0;
	unsigned int i;
	int err;

	bpf_stream_stage_init(&ss);
	for (i = 0; i < GROUP; i++) {
		make(text, head[i]);
		while ((err = bpf_stream_stage_push(&ss, text, head[i].len)))
			note(err, &times);
	}
	err = bpf_stream_stage_commit_to(&ss, &lane->s);
	expect(!err, "a commit", (uint64_t)-err, 0);
}

static uint16_t random_length(uint64_t *state)
{
	uint32_t most = program_below(state, 4) ? 300 : MESSAGE_MAX;

	return (uint16_t)(HEAD + program_below(state, most - HEAD + 1));
}

static void *send_some(void *number)
{
	const uint16_t thread = (uint16_t)(uintptr_t)number;
	uint64_t state = seed * 65536 + thread;
	uint32_t times = 1 + program_below(&state, 40);

	while (times--) {
		struct lane *lane = &lanes[program_below(&state, STREAMS)];
		uint32_t *seq = &sent[thread][lane - lanes];
		uint32_t n = program_below(&state, 4) ? 1 : GROUP;
		struct head head[GROUP];
		uint64_t bytes = 0;
		uint32_t i;

		for (i = 0; i < n; i++) {
			head[i] = (struct head){ thread, random_length(&state), (*seq)++ };
			bytes += head[i].len;
		}
		wait_for_budget(bytes);
		if (n == 1)
			send_one(lane, head[0]);
		else
			send_group(lane, head);
		if (!program_below(&state, 8))
			bpf_stream_thread_release();
	}
	return NULL;
}

/* ---- Cases ------------------------------------------------------------- */

static struct bpf_stream_pool_stats pool_stats(void)
{
	struct bpf_stream_pool_stats stats;

	bpf_stream_pool_get_stats(&stats);
	return stats;
}

/* One or two are left unread from now on. */
static void choose_unread(uint64_t *state)
{
	const uint32_t unread = 1u << program_below(state, STREAMS) |
				1u << program_below(state, STREAMS);
	unsigned int i;

	for (i = 0; i < STREAMS; i++)
		__atomic_store_n(&lanes[i].is_read, !(unread >> i & 1), __ATOMIC_RELAXED);
}

static void run_threads(void)
{
	pthread_t live[LIVE];
	uint64_t state = seed;
	uintptr_t i;

	for (i = 0; i < threads + LIVE; i++) {
		if (i >= LIVE && i - LIVE < threads)
			pthread_join(live[i % LIVE], NULL);
		if (i >= threads)
			continue;
		if (i % STRETCH == 0)
			choose_unread(&state);
		if (pthread_create(&live[i % LIVE], NULL, send_some, (void *)i))
			complain("no thread", i, 0);
	}
}

/* All pages at once, on whatever list they are. */
static void fill_pool(void)
{
	static char page[BPF_STREAM_PAGE_SIZE];
	size_t n;

	for (n = 0; !bpf_stream_push(&lanes[0].s, page, BSI_ELEM_MAX); n++)
		;
	expect(n == pool_stats().total, "pages that can be filled", n, pool_stats().total);
	bpf_stream_destroy(&lanes[0].s);
	bpf_stream_thread_release();
	expect(!pool_stats().in_use, "pages in use", pool_stats().in_use, 0);
}

/* All was read, and no other thread is left. */
static void check_pool(void)
{
	const char *broken;
	size_t n;

	bpf_stream_thread_release();
	broken = bpf_stream_selfcheck(NULL);
	if (broken)
		complain(broken, 0, 0);
	expect(!pool_stats().in_use, "pages in use", pool_stats().in_use, 0);
	expect(!threads_pages_out(), "pages that did not come back", threads_pages_out(), 0);
	n = bse_u32_load_relaxed(&bse_pool_known()->kept);
	expect(!n, "slots that may keep a page", n, 0);
	fill_pool();
	(void)bpf_stream_pool_trim();
	fill_pool();
}

static void run_case(size_t pages)
{
	static _Alignas(4096) char region[REGION_PAGES * BPF_STREAM_PAGE_SIZE];
	pthread_t reader[READERS];
	pthread_t trimmer;
	uintptr_t i;
	uintptr_t t;

	expect(!bpf_stream_pool_use(region, pages * BPF_STREAM_PAGE_SIZE, 0), "pool_use", 1, 0);
	bound = pool_stats().total * BPF_STREAM_PAGE_SIZE / 4;
	sent = calloc(threads, sizeof(*sent));
	expect(sent, "memory", 0, 1);
	for (i = 0; i < STREAMS; i++) {
		const struct bpf_stream_options options = { .group = (unsigned int)i + 1 };

		expect(!bpf_stream_init(&lanes[i].s, &options), "init", 1, 0);
		lanes[i].next = calloc(threads, sizeof(*lanes[i].next));
		expect(lanes[i].next, "memory", 0, 1);
	}
	for (i = 0; i < READERS; i++)
		expect(!pthread_create(&reader[i], NULL, read_all, (void *)i), "thread", i, 0);
	if (trims)
		expect(!pthread_create(&trimmer, NULL, trim_all, NULL), "thread", 0, 0);
	run_threads();
	__atomic_store_n(&over, 1, __ATOMIC_RELEASE);
	for (i = 0; i < READERS; i++)
		pthread_join(reader[i], NULL);
	if (trims)
		pthread_join(trimmer, NULL);
	expect(!pending, "bytes that are pending", pending, 0);
	for (i = 0; i < STREAMS; i++)
		for (t = 0; t < threads; t++)
			expect(lanes[i].next[t] == sent[t][i], "messages of a thread",
			       lanes[i].next[t], sent[t][i]);
	check_pool();
	for (i = 0; i < STREAMS; i++)
		free(lanes[i].next);
	free(sent);
}

static const struct a_case {
	const char *name;
	bool trims;
	size_t pages;
} cases[] = {
	{ "quarter_of_63_pages", false, 64 },
	{ "quarter_of_255_pages", false, REGION_PAGES },
	{ "trim_beside_63_pages", true, 64 },
	{ "trim_beside_255_pages", true, REGION_PAGES },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static const char *case_name(unsigned int i)
{
	return i < CASES ? cases[i].name : NULL;
}

int main(int argc, char **argv)
{
	const char *only = NULL;
	const struct program_option options[] = {
		PROGRAM_SEED(&seed),
		PROGRAM_NUMBER("threads", "that each case has", &threads, 1, UINT16_MAX + 1),
		PROGRAM_WORD("case", "only this one:", &only, case_name),
		PROGRAM_LAST
	};
	unsigned int i;

	threads = program_number(PROGRAM_TSAN ? 1000 : 10000, 60000);
	program_begin(argc, argv, "Threads come and go, and fill pages that others left.", options);
	make_filling();
	for (i = 0; i < CASES; i++) {
		pid_t pid;

		if (only && strcmp(only, cases[i].name))
			continue;
		program_case = cases[i].name;
		pid = program_fork();
		if (pid == 0) {
			trims = cases[i].trims;
			run_case(cases[i].pages);
			exit(0);
		}
		threads_note(program_case, program_wait(pid));
	}
	return threads_summary();
}
