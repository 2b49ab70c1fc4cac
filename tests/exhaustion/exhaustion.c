/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * exhaustion - pools that are too small, and what comes after
 *
 * Each case runs in a process of its own, because a process has one pool: in a
 * static array, at an odd place of one, in a memfd, or the one that the library
 * makes. Texts tell their thread, number and length, and the rest follows from
 * these, so that a lost, torn, doubled or misplaced one is recognised.
 *
 *   a crowd       32 threads and 15 pages, and messages of which no two fit a
 *                 page. While nothing is read, exactly 15 of the
 *                 crowd are accepted, one each; when all is read, the threads
 *                 keep 3 pages, and the others are there again. Then traffic of
 *                 short ones until all of everybody's messages are through.
 *   single bytes  until -ENOMEM, then all is read, a hundred times: the same
 *                 number each time, whichever calls are used, by one thread or
 *                 by four at once.
 *   trimming      beside writers and a reader.
 *   eight pages   the least pool: all calls from four threads at once.
 *
 * At the end of each all pages are free, no thread's share of them is missing,
 * and the pool takes as many as when it was new.
 *
 * Seen to fail with the header changed so that: threads may keep all pages, or
 * none; a page that is left goes to no list; a release or a thread's end keeps its
 * page, or its share; a batch of returns loses an entry, or a page is given
 * back too early; a message that finds no page half-way keeps the other half; a
 * push that fails there is not counted; a free list's tag stays; cold pages are
 * forgotten; trim loses the page, wipes its neighbour, or wipes it when others
 * may have it already; a drain does not wait; a message larger than the pool is
 * tried; eight pages do not suffice; and, under ThreadSanitizer, the reader's
 * lock is relaxed.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_PROG
#define BPF_STREAM_ENV_HEADER "../tests/exhaustion/yield_env.h"
#include "bpf_stream.h"
#include "../unit/selfcheck.h"
#include "../program.h"

#include <pthread.h>
#include <sys/prctl.h>

#define PAGE BPF_STREAM_PAGE_SIZE
#define REGION_PAGES 64u		/* in the static array */
#define CROWD 32u			/* the most threads that write */

static uint64_t seed;
static uint64_t rounds = 100;
static uint64_t messages;		/* by all threads of a case, about */

/* What must hold, or the case has failed. */
#define WANT(condition)						\
	do {							\
		if (!(condition))				\
			fail(__LINE__, #condition, 0, 1);	\
	} while (0)

#define WANT_EQ(is, wanted)							\
	do {									\
		const int64_t is_ = (int64_t)(is);				\
		const int64_t wanted_ = (int64_t)(wanted);			\
										\
		if (is_ != wanted_)						\
			fail(__LINE__, #is " == " #wanted, is_, wanted_);	\
	} while (0)

static _Noreturn void fail(int line, const char *what, int64_t is, int64_t wanted)
{
	printf("  line %d: %s: %" PRId64 ", not %" PRId64 "\n", line, what, is, wanted);
	fflush(stdout);
	_exit(1);
}

/* ---- Texts ------------------------------------------------------------- */

#define HEAD 16u		/* bytes before the body: see text_make() */
#define BODY_MAX 0xfffffu

static char body_byte(uint32_t thread, uint32_t seq, uint32_t i)
{
	return (char)('!' + (thread * 31 + seq * 7 + i + i / 89) % 89);
}

/* Message @seq of @thread; @left more of its group follow. Its length. */
static size_t text_make(char *buf, uint32_t thread, uint32_t left, uint32_t seq, uint32_t body)
{
	uint32_t i;

	snprintf(buf, HEAD + 1, "%02x%x%08x%05x", thread & 0xff, left & 0xf, seq,
		 body & BODY_MAX);
	for (i = 0; i < body; i++)
		buf[HEAD + i] = body_byte(thread, seq, i);
	buf[HEAD + body] = '\0';
	return HEAD + body;
}

/* Reads texts again, in pieces of any size. */
struct parser {
	char head[HEAD + 1];
	uint32_t at;			/* bytes of the message so far */
	unsigned int thread;
	unsigned int left;
	uint32_t seq;
	uint32_t body;
	unsigned int inside;		/* 1 + the thread whose group began; 0: none */
	uint32_t next[CROWD];		/* number that comes next of each thread */
};

static void parse_head(struct parser *p)
{
	WANT_EQ(sscanf(p->head, "%2x%1x%8x%5x", &p->thread, &p->left, &p->seq, &p->body), 4);
	WANT(p->thread < CROWD);
	WANT_EQ(p->seq, p->next[p->thread]);
	WANT(!p->inside || p->inside == p->thread + 1);
	p->inside = p->left ? p->thread + 1 : 0;
	p->next[p->thread]++;
}

/* A sink. */
static int parse(void *ctx, const void *data, size_t len)
{
	struct parser *p = ctx;
	const char *c = data;
	size_t i;

	for (i = 0; i < len; i++) {
		if (p->at < HEAD)
			p->head[p->at] = c[i];
		else
			WANT_EQ(c[i], body_byte(p->thread, p->seq, p->at - HEAD));
		if (++p->at == HEAD)
			parse_head(p);
		if (p->at >= HEAD && p->at == HEAD + p->body)
			p->at = 0;
	}
	return (int)len;
}

static void want_parsed(const struct parser *p, uint32_t thread, uint32_t number)
{
	WANT_EQ(p->next[thread], number);
	WANT_EQ(p->at, 0);
	WANT_EQ(p->inside, 0);
}

/* ---- Regions and the pool ---------------------------------------------- */

enum place { OWN, ARRAY, ODD_ARRAY, MEMFD };

static _Alignas(4096) char array[REGION_PAGES * PAGE + 64];

static void use_region(enum place place, size_t pages)
{
	size_t bytes = pages * PAGE;
	void *region = array;
	unsigned int flags = 0;
	int fd;

	if (place == OWN)
		return;
	if (place == ODD_ARRAY)
		region = array + 64;
	if (place == MEMFD) {
		fd = (int)syscall(SYS_memfd_create, "pool", 0u);
		WANT(fd >= 0);
		WANT_EQ(ftruncate(fd, (off_t)bytes), 0);
		region = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		WANT(region != MAP_FAILED);
		flags = BPF_STREAM_POOL_SHARED;
	}
	WANT_EQ(bpf_stream_pool_use(region, bytes, flags), 0);
}

static struct bpf_stream_pool_stats pool_stats(void)
{
	struct bpf_stream_pool_stats stats;

	bpf_stream_pool_get_stats(&stats);
	return stats;
}

static struct bpf_stream_stats stream_stats(const struct bpf_stream *s)
{
	struct bpf_stream_stats stats;

	bpf_stream_get_stats(s, &stats);
	return stats;
}

/* How many pages threads may keep at the moment. */
static uint32_t kept(void)
{
	return bse_u32_load_relaxed(&bse_pool()->kept);
}

static void want_sound(struct bpf_stream *s)
{
	const char *broken = bpf_stream_selfcheck(s);

	if (broken) {
		printf("  %s\n", broken);
		WANT(!broken);
	}
}

/* All is read, no other thread is left: the pool is as good as new. */
static void want_recovered(struct bpf_stream *s)
{
	static char page[PAGE];
	size_t total = pool_stats().total;
	struct bpf_stream_count before;
	size_t n;

	bpf_stream_thread_release();
	want_sound(s);
	want_sound(NULL);
	WANT_EQ(stream_stats(s).pending, 0);
	WANT_EQ(pool_stats().in_use, 0);
	WANT_EQ(kept(), 0);
	before = stream_stats(s).delivered;
	for (n = 0; !bpf_stream_push(s, page, BSI_ELEM_MAX); n++)
		;
	WANT_EQ(n, total);
	WANT_EQ(pool_stats().in_use, total);
	while (bpf_stream_read(s, page, sizeof(page)))
		;
	WANT_EQ(stream_stats(s).delivered.messages - before.messages, total);
	WANT_EQ(stream_stats(s).delivered.bytes - before.bytes, total * BSI_ELEM_MAX);
	WANT_EQ(pool_stats().in_use, 0);
	want_sound(NULL);
}

static void make_stream(struct bpf_stream *s)
{
	struct bpf_stream_options options = { .capacity = BPF_STREAM_CAPACITY_LIMIT };

	WANT_EQ(bpf_stream_init(s, &options), 0);
}

/* ---- Threads ----------------------------------------------------------- */

struct worker {
	pthread_t thread;
	uint32_t id;
	uint64_t random;
	uint32_t seq;			/* messages accepted */
	uint64_t refused;		/* and not */
};

static struct bpf_stream stream;
static struct worker worker[CROWD];
static pthread_barrier_t barrier;	/* of all workers and main() */
static uint32_t done;			/* workers that have ended */

static void start_workers(uint32_t n, void *(*run)(void *))
{
	uint64_t random = seed;
	uint32_t i;

	done = 0;
	pthread_barrier_init(&barrier, NULL, n + 1);
	for (i = 0; i < n; i++) {
		worker[i] = (struct worker){ .id = i, .random = program_random(&random) };
		WANT_EQ(pthread_create(&worker[i].thread, NULL, run, &worker[i]), 0);
	}
}

static void join_workers(uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		WANT_EQ(pthread_join(worker[i].thread, NULL), 0);
	pthread_barrier_destroy(&barrier);
}

static void *worker_ends(void)
{
	__atomic_fetch_add(&done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static bool are_done(uint32_t n)
{
	return __atomic_load_n(&done, __ATOMIC_ACQUIRE) == n;
}

/* Reads until @n workers have ended and nothing is left. */
static void drain_beside(uint32_t n, struct parser *p)
{
	bool all;
	int taken;

	do {
		all = are_done(n);
		taken = bpf_stream_drain(&stream, parse, p, SIZE_MAX);
		WANT(taken >= 0);
		if (!taken)
			program_pause();
	} while (taken || !all);
}

/* ---- A crowd ----------------------------------------------------------- */

/* Bodies of which no two fit a page, and none has one for itself. */
#define BODY_ALONE (PAGE / 2)
#define BODY_MOST (PAGE - BSI_PAGE_START - BSI_PAGE_WORTH - BSI_ELEM_HEAD - HEAD)

static int push_one(struct worker *w, uint32_t least, uint32_t most)
{
	char text[HEAD + 4096 + 1];
	uint32_t body = least + program_below(&w->random, most - least + 1);
	size_t len = text_make(text, w->id, 0, w->seq, body);
	int err = bpf_stream_push(&stream, text, len);

	WANT(!err || err == -ENOMEM);
	if (err)
		w->refused++;
	else
		w->seq++;
	return err;
}

static void *one_of_the_crowd(void *arg)
{
	struct worker *w = arg;
	uint64_t i;

	for (i = 0; i < rounds; i++) {
		pthread_barrier_wait(&barrier);
		(void)push_one(w, BODY_ALONE, BODY_MOST);
		pthread_barrier_wait(&barrier);
	}
	pthread_barrier_wait(&barrier);
	for (i = 0; i < messages / CROWD; i++)
		while (push_one(w, 0, 600))
			program_pause();
	return worker_ends();
}

static void crowd_round(struct parser *p, uint64_t accepted_before)
{
	size_t total = pool_stats().total;
	uint64_t accepted = 0;
	uint32_t i;

	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	for (i = 0; i < CROWD; i++)
		accepted += worker[i].seq;
	WANT_EQ(accepted - accepted_before, total);
	WANT_EQ(pool_stats().in_use, total);
	WANT(bpf_stream_drain(&stream, parse, p, SIZE_MAX) > 0);
	/* Who found no page may keep one, and keeps none. */
	WANT(pool_stats().in_use <= total / 4);
	WANT_EQ(kept(), total / 4);
}

static void crowd(void)
{
	unsigned int times;
	uint64_t refused;
	uint64_t denied;
	uint64_t i;

	for (times = 0; times < 2; times++) {
		struct parser p = { .at = 0 };

		make_stream(&stream);
		denied = pool_stats().denied;
		start_workers(CROWD, one_of_the_crowd);
		for (i = 0; i < rounds; i++)
			crowd_round(&p, i * bse_pool_pages());
		pthread_barrier_wait(&barrier);
		drain_beside(CROWD, &p);
		join_workers(CROWD);
		for (i = 0, refused = 0; i < CROWD; i++) {
			want_parsed(&p, (uint32_t)i, worker[i].seq);
			refused += worker[i].refused;
		}
		WANT(refused >= rounds * (CROWD - bse_pool_pages()));
		WANT_EQ(stream_stats(&stream).refused[BPF_STREAM_REFUSED_POOL].messages, refused);
		WANT_EQ(pool_stats().denied - denied, refused);
		want_recovered(&stream);
	}
}

/* ---- Single bytes ------------------------------------------------------ */

static struct bpf_stream_stage stages[CROWD];
static uint64_t this_round;

static int print_byte(const char *fmt, ...)
{
	va_list ap;
	int err;

	va_start(ap, fmt);
	err = bpf_stream_vprintf(&stream, fmt, ap);
	va_end(ap);
	return err;
}

static int add_byte(struct worker *w, char byte)
{
	const uint64_t args[] = { (uint64_t)byte };

	switch ((this_round + w->id) % 6) {
	case 0:
		return bpf_stream_push(&stream, &byte, 1);
	case 1:
		return bpf_stream_printf(&stream, "%c", byte);
	case 2:
		return print_byte("%c", byte);
	case 3:
		return bpf_stream_bprintf(&stream, "%c", args, sizeof(args));
	case 4:
		return bpf_stream_stage_push(&stages[w->id], &byte, 1);
	default:
		return bpf_stream_stage_printk(&stages[w->id], "%c", byte);
	}
}

static void *fill_with_bytes(void *arg)
{
	struct worker *w = arg;
	uint64_t i;
	int err;

	for (i = 0; i < rounds; i++) {
		pthread_barrier_wait(&barrier);
		for (w->seq = 0; !(err = add_byte(w, (char)('a' + w->id))); w->seq++)
			;
		WANT_EQ(err, -ENOMEM);
		WANT_EQ(bpf_stream_stage_commit_to(&stages[w->id], &stream), 0);
		pthread_barrier_wait(&barrier);
	}
	return worker_ends();
}

static uint64_t letters[256];		/* how often each was read */

static int count_letters(void *ctx, const void *data, size_t len)
{
	const unsigned char *c = data;
	size_t i;

	(void)ctx;
	for (i = 0; i < len; i++)
		letters[c[i]]++;
	return (int)len;
}

static int read_letters(int way, int pipe_fd[2])
{
	static char buf[32768];
	int n = way == 0 ? bpf_stream_read(&stream, buf, sizeof(buf)) :
		way == 1 ? bpf_stream_try_read(&stream, buf, 777) :
		way == 2 ? bpf_stream_drain(&stream, count_letters, NULL, SIZE_MAX) :
		way == 3 ? bpf_stream_try_drain(&stream, count_letters, NULL, 777) :
			   bpf_stream_drain_fd(&stream, pipe_fd[1], sizeof(buf));

	WANT(n >= 0);
	if (way == 4 && n)
		WANT_EQ(read(pipe_fd[0], buf, sizeof(buf)), n);
	if (way < 2 || way == 4)
		(void)count_letters(NULL, buf, (size_t)n);
	return n;
}

/* A message tells of those that were refused: the next ones are as small as ever. */
static void tell_refusals(void)
{
	char byte;

	WANT_EQ(bpf_stream_push(&stream, "x", 1), 0);
	WANT_EQ(bpf_stream_read(&stream, &byte, 1), 1);
	bpf_stream_thread_release();
}

static void single_bytes(uint32_t threads)
{
	const size_t total = bse_pool_pages();
	const uint64_t fit = total * (PAGE / bsi_elem_size(1));
	uint64_t telling;
	uint64_t all = 0;
	int pipe_fd[2];
	uint32_t i;
	uint64_t n;

	make_stream(&stream);
	WANT_EQ(pipe(pipe_fd), 0);
	start_workers(threads, fill_with_bytes);
	for (this_round = 0; this_round < rounds;) {
		memset(letters, 0, sizeof(letters));
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		WANT_EQ(pool_stats().in_use, total);
		/*
		 * A group's first message is larger, by less than two others.
		 * So is the next one where another thread was refused.
		 */
		telling = threads > 1 ? threads * (threads + 2) : this_round % 6 >= 4 ? 2 : 0;
		WANT(stream_stats(&stream).pending <= fit);
		WANT(stream_stats(&stream).pending >= fit - telling);
		WANT_EQ(pool_stats().denied, (this_round + 1) * threads);
		while (read_letters((int)(this_round % 5), pipe_fd))
			;
		for (i = 0, n = 0; i < threads; i++) {
			WANT_EQ(letters['a' + i], worker[i].seq);
			n += worker[i].seq;
		}
		WANT(n <= fit && n >= fit - telling);
		all += n + 1;
		tell_refusals();
		/* Who found no page keeps none, but may keep the next one. */
		WANT_EQ(pool_stats().in_use, 0);
		WANT(kept() <= 2 * threads);	/* for the stream, and for its stage */
		if (this_round % 3 == 0)
			WANT_EQ(bpf_stream_pool_trim(), total);
		this_round++;
	}
	join_workers(threads);
	WANT_EQ(stream_stats(&stream).delivered.messages, all);
	want_recovered(&stream);
}

static void bytes_of_one(void)
{
	single_bytes(1);
}

static void bytes_of_four(void)
{
	single_bytes(4);
}

/* ---- Trimming ---------------------------------------------------------- */

enum { WRITERS = 3 };

/* A group of one to four messages, some longer than a page. */
static int push_group(struct worker *w)
{
	static _Thread_local char text[HEAD + 6000 + 1];
	uint32_t n = 1 + program_below(&w->random, 4);
	struct bpf_stream_stage ss;
	uint32_t i;
	int err = 0;

	bpf_stream_stage_init(&ss);
	for (i = 0; i < n && !err; i++) {
		size_t len = text_make(text, w->id, n - 1 - i, w->seq + i,
				       program_below(&w->random, i ? 200 : 6000));

		err = n == 1 ? bpf_stream_push(&stream, text, len) :
			       bpf_stream_stage_push(&ss, text, len);
	}
	if (!err)
		err = bpf_stream_stage_commit_to(&ss, &stream);
	bpf_stream_stage_free(&ss);
	WANT(!err || err == -ENOMEM);
	w->seq += err ? 0 : n;
	return err;
}

static void *write_groups(void *arg)
{
	struct worker *w = arg;

	while (w->seq < messages / WRITERS)
		while (push_group(w))
			program_pause();
	return worker_ends();
}

static void *trim_beside(void *trimmed)
{
	while (!are_done(WRITERS)) {
		*(size_t *)trimmed += bpf_stream_pool_trim();
		program_pause();
	}
	return NULL;
}

static void trimming(void)
{
	struct parser p = { .at = 0 };
	size_t trimmed = 0;
	pthread_t trimmer;
	uint32_t i;

	make_stream(&stream);
	start_workers(WRITERS, write_groups);
	WANT_EQ(pthread_create(&trimmer, NULL, trim_beside, &trimmed), 0);
	drain_beside(WRITERS, &p);
	join_workers(WRITERS);
	WANT_EQ(pthread_join(trimmer, NULL), 0);
	for (i = 0; i < WRITERS; i++)
		want_parsed(&p, i, worker[i].seq);
	/* All that was used is idle now, and trimmed once at least. */
	trimmed += bpf_stream_pool_trim();
	WANT(trimmed >= pool_stats().highest);
	WANT_EQ(bpf_stream_pool_trim(), 0);
	want_recovered(&stream);
}

/* ---- Eight pages ------------------------------------------------------- */
/*
 * Five streams: a common one that all threads drain, and one for each thread
 * to read; the last two are a program's.
 */
enum { USERS = 4, STREAMS = USERS + 1, PRINTED = 400 };

static struct bpf_stream common[STREAMS - 2];
static struct bpf_prog_aux aux;
static struct bpf_prog prog = { &aux };
static struct parser parsers[STREAMS];
static uint32_t sent[USERS][STREAMS];	/* accepted of each thread to each stream */
static int user_pipe[2];

static struct bpf_stream *stream_at(uint32_t k)
{
	return k < STREAMS - 2 ? &common[k] : &aux.stream[k - (STREAMS - 2)];
}

static enum bpf_stream_id id_at(uint32_t k)
{
	return k == STREAMS - 2 ? BPF_STDOUT : BPF_STDERR;
}

static int vprintf_to(struct bpf_stream *s, const char *fmt, ...)
{
	va_list ap;
	int err;

	va_start(ap, fmt);
	err = bpf_stream_vprintf(s, fmt, ap);
	va_end(ap);
	return err;
}

enum way { PUSH, LARGE, PRINTF, VPRINTF, BPRINTF, GROUP, DROPPED, WAYS };

static int commit(struct bpf_stream_stage *ss, uint32_t k)
{
	return k < STREAMS - 2 ? bpf_stream_stage_commit_to(ss, stream_at(k)) :
				 bpf_stream_stage_commit(ss, &prog, id_at(k));
}

static int send_group(struct worker *w, enum way way, uint32_t k, char *text, uint32_t n)
{
	struct bpf_stream_stage ss;
	uint32_t i;
	int err = 0;

	bpf_stream_stage_init(&ss);
	for (i = 0; i < n && !err; i++) {
		size_t len = text_make(text, w->id, n - 1 - i, sent[w->id][k] + i,
				       program_below(&w->random, PRINTED));

		err = i % 2 ? bpf_stream_stage_printk(&ss, "%s", text) :
			      bpf_stream_stage_push(&ss, text, len);
	}
	if (!err && way == GROUP)
		err = commit(&ss, k);
	bpf_stream_stage_free(&ss);
	return err;
}

static int send_one(struct worker *w, enum way way, uint32_t k, char *text)
{
	uint32_t body = program_below(&w->random, way == LARGE ? 3 * PAGE : PRINTED);
	size_t len = text_make(text, w->id, 0, sent[w->id][k], body);
	const uint64_t args[] = { (uint64_t)(uintptr_t)text };
	struct bpf_stream *s = stream_at(k);

	switch (way) {
	case PRINTF:
		return bpf_stream_printf(s, "%s", text);
	case VPRINTF:
		return vprintf_to(s, "%.*s", (int)len, text);
	case BPRINTF:
		if (k >= STREAMS - 2)
			return bpf_stream_vprintk((int)id_at(k), "%s", args, sizeof(args), &aux);
		return bpf_stream_bprintf(s, "%s", args, sizeof(args));
	default:
		return bpf_stream_push(s, text, len);
	}
}

static int send(struct worker *w, enum way way, uint32_t k)
{
	static _Thread_local char text[HEAD + 3 * PAGE + 1];
	uint32_t n = way == GROUP || way == DROPPED ? 2 + program_below(&w->random, 3) : 1;
	int err = n > 1 ? send_group(w, way, k, text, n) : send_one(w, way, k, text);

	WANT(!err || err == -ENOMEM);
	if (!err && way != DROPPED)
		sent[w->id][k] += n;
	return err;
}

/* Thread @t's own way to read its stream. */
static int read_own(uint32_t t, bool try)
{
	static _Thread_local char buf[5000];
	uint32_t k = t + 1;
	int n;

	if (k >= STREAMS - 2) {
		n = bpf_prog_stream_read(&prog, id_at(k), buf, sizeof(buf));
	} else if (t == 0) {
		n = try ? bpf_stream_try_read(stream_at(k), buf, sizeof(buf)) :
			  bpf_stream_read(stream_at(k), buf, sizeof(buf));
	} else {
		n = bpf_stream_drain_fd(stream_at(k), user_pipe[1], sizeof(buf));
		if (n > 0)
			WANT_EQ(read(user_pipe[0], buf, sizeof(buf)), n);
	}
	WANT(n >= 0);
	return parse(&parsers[k], buf, (size_t)n);
}

static void drain_common(struct worker *w)
{
	size_t most = program_below(&w->random, 2) ? SIZE_MAX : program_below(&w->random, 3000);
	int n;

	if (program_below(&w->random, 2)) {
		n = bpf_stream_drain(stream_at(0), parse, &parsers[0], most);
		WANT(n >= 0);
	} else {
		n = bpf_stream_try_drain(stream_at(0), parse, &parsers[0], most);
		WANT(n >= 0 || n == -EBUSY);
	}
}

/* A stream of one's own, given up with what is in it. */
static void come_and_go(void)
{
	struct bpf_stream s;

	WANT_EQ(bpf_stream_init(&s, NULL), 0);
	(void)bpf_stream_push(&s, "gone", 4);
	bpf_stream_destroy(&s);
}

static void look_around(struct worker *w)
{
	static const char too_large[7 * PAGE];

	switch (program_below(&w->random, 5)) {
	case 0:
		WANT(pool_stats().in_use <= 7);
		break;
	case 1:
		WANT(stream_stats(stream_at(0)).pending <= 7 * PAGE);
		break;
	case 2:
		(void)bpf_stream_pool_trim();
		break;
	case 3:
		bpf_stream_thread_release();
		break;
	default:
		WANT_EQ(bpf_stream_push(stream_at(1), too_large, sizeof(too_large)), -E2BIG);
		come_and_go();
		break;
	}
}

static void *use_all(void *arg)
{
	struct worker *w = arg;
	uint64_t i;

	for (i = 0; i < messages / USERS; i++) {
		switch (program_below(&w->random, 8)) {
		case 0:
			drain_common(w);
			break;
		case 1:
		case 2:
			(void)read_own(w->id, program_below(&w->random, 2));
			break;
		case 3:
			look_around(w);
			break;
		default:
			if (send(w, (enum way)program_below(&w->random, WAYS),
				 program_below(&w->random, STREAMS)))
				program_pause();
			break;
		}
	}
	return worker_ends();
}

static void read_everything(void)
{
	uint32_t t;

	while (bpf_stream_drain(stream_at(0), parse, &parsers[0], SIZE_MAX))
		;
	for (t = 0; t < USERS; t++)
		while (read_own(t, false))
			;
}

static void eight_pages(void)
{
	uint32_t t;
	uint32_t k;
	int way;

	for (k = 0; k < STREAMS - 2; k++)
		make_stream(&common[k]);
	bpf_prog_stream_init(&prog);
	WANT_EQ(pipe(user_pipe), 0);
	WANT_EQ(bse_pool_pages(), 7);
	start_workers(USERS, use_all);
	join_workers(USERS);
	read_everything();
	for (k = 0; k < STREAMS; k++)
		for (t = 0; t < USERS; t++)
			want_parsed(&parsers[k], t, sent[t][k]);
	/* With nobody else there all of it works. */
	for (way = 0; way < WAYS; way++) {
		for (k = 0; k < STREAMS; k++) {
			WANT_EQ(send(&worker[0], (enum way)way, k), 0);
			read_everything();
			want_parsed(&parsers[k], 0, sent[0][k]);
		}
	}
	for (k = 0; k < STREAMS; k++)
		want_recovered(stream_at(k));
	bpf_prog_stream_free(&prog);
}

/* ---- The program ------------------------------------------------------- */

struct test {
	const char *name;
	void (*run)(void);
	enum place place;
	size_t pages;
};

static const struct test tests[] = {
	{ "static_array__crowd_goes_on_and_all_recovers", crowd, ARRAY, 16 },
	{ "odd_array__crowd_goes_on_and_all_recovers", crowd, ODD_ARRAY, 16 },
	{ "memfd__crowd_goes_on_and_all_recovers", crowd, MEMFD, 16 },
	{ "static_array__bytes_of_one_thread_fit_as_often_each_time", bytes_of_one, ARRAY,
	  REGION_PAGES },
	{ "memfd__bytes_of_one_thread_fit_as_often_each_time", bytes_of_one, MEMFD,
	  REGION_PAGES },
	{ "own_pool__bytes_of_one_thread_fit_as_often_each_time", bytes_of_one, OWN, 0 },
	{ "static_array__bytes_of_four_threads_fit_as_often_each_time", bytes_of_four, ARRAY,
	  REGION_PAGES },
	{ "memfd__bytes_of_four_threads_fit_as_often_each_time", bytes_of_four, MEMFD,
	  REGION_PAGES },
	{ "static_array__trim_beside_traffic_harms_no_text", trimming, ARRAY, REGION_PAGES },
	{ "memfd__trim_beside_traffic_harms_no_text", trimming, MEMFD, REGION_PAGES },
	{ "static_array__eight_pages_serve_all_calls", eight_pages, ARRAY, 8 },
	{ "memfd__eight_pages_serve_all_calls", eight_pages, MEMFD, 8 },
};

#define TESTS (sizeof(tests) / sizeof(tests[0]))

static const char *case_name(unsigned int i)
{
	return i < TESTS ? tests[i].name : NULL;
}

static uint64_t own_rounds;

static bool run_in_child(const struct test *test)
{
	pid_t pid = program_fork();
	int status;

	if (!pid) {
		/* Who ends this program ends its case. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		use_region(test->place, test->pages);
		if (test->place == OWN)
			rounds = own_rounds;
		test->run();
		exit(0);
	}
	status = program_wait(pid);
	if (status)
		printf("  seed %" PRIu64 ": the case %s\n", seed, program_end_of(status));
	return !status;
}

int main(int argc, char **argv)
{
	const char *only = NULL;
	const struct program_option options[] = {
		PROGRAM_SEED(&seed),
		PROGRAM_NUMBER("rounds", "of filling and emptying", &rounds, 1, 1000000),
		PROGRAM_NUMBER("own-rounds", "of the library's own pool, which is large",
			       &own_rounds, 1, 1000000),
		PROGRAM_NUMBER("messages", "in traffic, about", &messages, 1, 1000000000),
		PROGRAM_WORD("case", "only this one:", &only, case_name),
		PROGRAM_LAST
	};
	unsigned int passed = 0;
	unsigned int failed = 0;
	unsigned int skipped = 0;
	size_t i;

	own_rounds = program_number(3, 100);
	messages = program_number(20000, 1000000);
	program_begin(argc, argv, "Use up the pool in many ways, and see that it comes back.",
		      options);
	for (i = 0; i < TESTS; i++) {
		bool ok;

		if (only && strcmp(only, tests[i].name))
			continue;
		if (PROGRAM_TSAN && tests[i].place == OWN) {
			printf("SKIP: %s: slow, and one thread races with nobody\n",
			       tests[i].name);
			skipped++;
			continue;
		}
		program_case = tests[i].name;
		ok = run_in_child(&tests[i]);
		*(ok ? &passed : &failed) += 1;
		printf("%s: %s\n", ok ? "passed" : "FAILED", tests[i].name);
	}
	return program_end(passed, failed, skipped);
}
