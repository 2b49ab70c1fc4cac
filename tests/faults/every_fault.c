/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * every_fault - everything that can fail fails, once at each place
 *
 * Each scenario runs once undisturbed, to count its page requests, sink calls,
 * compare-exchanges and system calls; then once for every kind of fault and
 * every place, with that fault there. Rivals are real: they push, fill the
 * stream, or change a list of pages between a look and its compare-exchange,
 * which then must fail. A denied page is denied by an empty pool. After that,
 * rounds in which each place may fail, and threads that use the pool first at
 * the same time, with mmap failing for some.
 *
 * A model keeps the books: every byte that comes out is compared, every error
 * must have its reason, and at the end of each run pending, delivered and
 * refused must agree with it, the self-check is clean, no page is in use, all
 * pages can be filled at once, and one pool is mapped.
 *
 * Seen to fail with the header changed so that: a split, a refused publish, a
 * freed stage or destroy keeps elements; a refused publish keeps its link to
 * the log, or links only once; a failed turn keeps its slot; a page that is
 * left is counted wrong, or comes back with all its room; one with too little
 * room is dropped; other groups are not asked before -ENOMEM; trim drops what
 * was left; a thread keeps its share of pages; tags of free lists do not
 * change; the link of a freed page is set once; fresh pages are taken without
 * a retry, or beyond the end; the pool that came second stays mapped, or is
 * gone on with; a failed mmap changes errno, or hides a pool that is there; a
 * failed exit hook is believed; a failed madvise counts, or costs the page;
 * what fills a page gives it to the slot, or is counted as if it were alone, or
 * not at all; refusals are not counted, or with other figures; a commit forgets
 * its stage; a failed stage_push adds a length; a sink's claim of too much is
 * believed, its short count goes on, its error is told after progress, or keeps
 * the lock; consumed lengths start over.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_PROG
#define BPF_STREAM_POOL_BYTES (64u * 4096u)
#define BPF_STREAM_ENV_HEADER "../tests/faults/every_fault_env.h"
#include "bpf_stream.h"
#include "../unit/selfcheck.h"
#include "../program.h"


#define CAPACITY 40000u
#define STREAMS 3u
#define CROWD 6u

/* ---- What can fail, and where ------------------------------------------ */

enum place {
	AT_PAGE,		/* a page is asked for */
	AT_MMAP,
	AT_MADVISE,
	AT_KEY,			/* the exit hook is set */
	AT_SINK,		/* a sink is called, the user's or one of ours */
	AT_LOG,			/* compare-exchange of a stream's log */
	AT_LIST,		/* compare-exchange of a list of pages */
	AT_FRESH,		/* compare-exchange of the number of used pages */
	AT_POOL,		/* compare-exchange of the pool's address */
	PLACES
};

enum fault {
	NONE,
	PAGE_DENIED,
	MMAP_FAILED,
	MMAP_RIVAL,
	MADVISE_FAILED,
	KEY_FAILED,
	SINK_ERROR,
	SINK_NOTHING,
	SINK_ONE,
	SINK_LESS,
	SINK_TOO_MUCH,
	LOG_RIVAL,
	LOG_FILLED,
	LIST_STOLEN,
	LIST_SWAPPED,
	FRESH_STOLEN,
	POOL_RIVAL,
	FAULTS
};

static const struct {
	const char *name;
	enum place at;
} faults[FAULTS] = {
	[NONE] = { "none", PLACES },
	[PAGE_DENIED] = { "page-denied", AT_PAGE },
	[MMAP_FAILED] = { "mmap-failed", AT_MMAP },
	[MMAP_RIVAL] = { "mmap-rival", AT_MMAP },		/* fails; a handler had luck */
	[MADVISE_FAILED] = { "madvise-failed", AT_MADVISE },
	[KEY_FAILED] = { "key-failed", AT_KEY },
	[SINK_ERROR] = { "sink-error", AT_SINK },
	[SINK_NOTHING] = { "sink-nothing", AT_SINK },
	[SINK_ONE] = { "sink-one", AT_SINK },			/* takes one byte */
	[SINK_LESS] = { "sink-less", AT_SINK },			/* all but one byte */
	[SINK_TOO_MUCH] = { "sink-too-much", AT_SINK },		/* claims one more */
	[LOG_RIVAL] = { "log-rival", AT_LOG },			/* publishes first */
	[LOG_FILLED] = { "log-filled", AT_LOG },		/* and leaves no room */
	[LIST_STOLEN] = { "list-stolen", AT_LIST },		/* takes the first page */
	[LIST_SWAPPED] = { "list-swapped", AT_LIST },		/* the second; the first is back */
	[FRESH_STOLEN] = { "fresh-stolen", AT_FRESH },
	[POOL_RIVAL] = { "pool-rival", AT_POOL },
};

static enum fault planned;		/* happens at that of its places: program_turn */
static uint64_t places[PLACES];		/* passed so far in this run */
static uint64_t happened[FAULTS];
static unsigned int sheltered;		/* above 0: nothing fails */
static uint64_t chance;			/* not 0: every place fails with 1 : chance */
static uint64_t seed;
static uint64_t drawn;			/* at random so far, from this seed */
static uint64_t passed;

/* Threads that all find no pool, and what befalls their calls of mmap. */
static struct {
	unsigned int threads;		/* 0: no crowd */
	unsigned int fails;		/* this call; CROWD + 1: the first of each thread */
	unsigned int calls;
} crowd;

static void report(int line, const char *what)
{
	printf("FAIL %s %s %" PRIu64 ", seed %" PRIu64 ": line %d: %s\n", program_case,
	       chance ? "random" : faults[planned].name, program_turn, seed, line, what);
	_exit(program_end(passed, 1, 0));
}

static void check_sound(int line, struct bpf_stream *s)
{
	const char *broken = bpf_stream_selfcheck(s);

	if (broken)
		report(line, broken);
}

/* 0 to @below - 1. */
static uint64_t draw(uint64_t below)
{
	return program_random(&drawn) % below;
}

/* The fault that happens here and now. */
static enum fault due(enum place at)
{
	enum fault fault = NONE;

	if (sheltered)
		return NONE;
	places[at]++;
	if (!chance && planned && faults[planned].at == at && places[at] == program_turn)
		fault = planned;
	if (chance && !draw(chance))
		do
			fault = 1 + (enum fault)draw(FAULTS - 1);
		while (faults[fault].at != at);
	happened[fault]++;
	return fault;
}

/* ---- The model --------------------------------------------------------- */

struct book {
	struct bpf_stream *s;
	size_t capacity;
	char text[1u << 20];			/* all that was accepted */
	size_t accepted;
	size_t taken;
	uint64_t messages;
	struct bpf_stream_count refused[BPF_STREAM_REFUSALS];
};

static struct book book[STREAMS];
static struct bpf_stream other;			/* book[0]'s; the next two are the program's */
static struct bpf_prog_aux aux;
static struct bpf_prog prog = { &aux };
static uint64_t denied;			/* page requests that found none */
static uint64_t no_memory;		/* of these, and of mmap */
static unsigned int mapped;		/* pools that are mapped now */
static uint64_t trimmed;
static size_t call_taken;		/* by the sink, in this drain */
static int call_error;			/* and its last error */
static bool call_ended;			/* it took less than it was offered */

static void open_book(struct book *b, size_t capacity)
{
	struct bpf_stream_options opts = { .capacity = capacity };

	b->s = b == book ? &other : &aux.stream[b - book - 1];
	b->capacity = capacity;
	b->accepted = 0;
	b->taken = 0;
	b->messages = 0;
	memset(b->refused, 0, sizeof(b->refused));
	CHECK(!bpf_stream_init(b->s, &opts));
}

static void accept_text(struct book *b, const char *text, size_t len, uint64_t messages)
{
	CHECK(b->accepted + len <= sizeof(b->text));
	memcpy(b->text + b->accepted, text, len);
	b->accepted += len;
	b->messages += messages;
}

/* What a push, print or commit of @len bytes said, which began at @memory. */
static void note(struct book *b, int err, uint64_t memory, const char *text, size_t len,
		 uint64_t messages)
{
	enum bpf_stream_refusal why = BPF_STREAM_REFUSED_INVALID;

	CHECK(errno == EXDEV);
	if (!err) {
		accept_text(b, text, len, messages);
		return;
	}
	if (err == -ENOMEM) {
		CHECK(no_memory > memory);
		why = BPF_STREAM_REFUSED_POOL;
	} else if (err == -ENOSPC) {
		CHECK(b->accepted - b->taken + len > b->capacity);
		why = BPF_STREAM_REFUSED_FULL;
	} else if (err == -E2BIG) {
		CHECK(len > b->capacity || len > BPF_STREAM_PRINT_MAX);
		why = BPF_STREAM_REFUSED_SIZE;
	} else {
		CHECK(err == -EINVAL && !len);
	}
	b->refused[why].messages += messages;
	b->refused[why].bytes += len;
}

/* A text unlike every other one. */
static void make(char *text, size_t len)
{
	static uint32_t last;
	uint32_t x = ++last * 2654435761u;
	size_t i;

	for (i = 0; i < len; i++) {
		text[i] = (char)(x >> 24);
		x = x * 1664525u + 1013904223u;
	}
}

static int push(struct book *b, size_t len)
{
	char text[CAPACITY + 1];
	uint64_t memory = no_memory;
	int err;

	CHECK(len <= sizeof(text));
	make(text, len);
	errno = EXDEV;
	err = bpf_stream_push(b->s, text, len);
	note(b, err, memory, text, len, len ? 1 : 0);
	return err;
}

/* @n bytes came out of @b. */
static void compare(struct book *b, const char *data, size_t n)
{
	CHECK(n <= b->accepted - b->taken);
	CHECK(!memcmp(data, b->text + b->taken, n));
	b->taken += n;
}

/* What a sink that is offered @len bytes answers; not more: it takes them. */
static int answer(size_t len)
{
	int ret = (int)len;

	CHECK(!call_ended);
	switch (due(AT_SINK)) {
	case SINK_ERROR:
		ret = -EIO;
		break;
	case SINK_NOTHING:
		ret = 0;
		break;
	case SINK_ONE:
		ret = 1;
		break;
	case SINK_LESS:
		ret = (int)len - 1;
		break;
	case SINK_TOO_MUCH:
		ret = (int)len + 1;
		break;
	default:
		break;
	}
	if (ret < 0 || (size_t)ret > len)
		call_error = ret < 0 ? ret : -EINVAL;
	else
		call_taken += (size_t)ret;
	call_ended = ret != (int)len;
	return ret;
}

static struct book *sink_pushes;	/* where a sink pushes to, or NULL */

static int sink(void *ctx, const void *data, size_t len)
{
	int ret = answer(len);

	/* First: what this call takes is not refunded yet. */
	if (sink_pushes)
		(void)push(sink_pushes, 9);
	if (ret > 0 && (size_t)ret <= len)
		compare(ctx, data, (size_t)ret);
	return ret;
}

static void begin_call(void)
{
	call_taken = 0;
	call_error = 0;
	call_ended = false;
	errno = EXDEV;
}

/* A drain or read returned @ret. */
static void end_call(struct book *b, int ret)
{
	struct bpf_stream_stats stats;

	CHECK(errno == EXDEV);
	CHECK(ret == (call_taken ? (int)call_taken : call_error));
	bpf_stream_get_stats(b->s, &stats);
	CHECK(stats.pending == b->accepted - b->taken);
	check_sound(__LINE__, b->s);
}

/* As end_call(); what comes in one pass is not offered to a sink. */
static void end_read(struct book *b, int ret, size_t before, size_t len)
{
	size_t all = b->accepted - before;

	if (!call_ended)
		call_taken = all < len ? all : len;
	end_call(b, ret);
}

static void drain(struct book *b, size_t max)
{
	int ret;

	begin_call();
	ret = max % 2 ? bpf_stream_drain(b->s, sink, b, max) :
			bpf_stream_try_drain(b->s, sink, b, max);
	end_call(b, ret);
}

static void read_bytes(struct book *b, size_t len)
{
	static char buf[1u << 20];
	size_t before = b->taken;
	int ret;

	CHECK(len <= sizeof(buf));
	begin_call();
	ret = len % 2 ? bpf_stream_read(b->s, buf, len) : bpf_stream_try_read(b->s, buf, len);
	if (ret > 0)
		compare(b, buf, (size_t)ret);
	end_read(b, ret, before, len);
}

static void drain_file(struct book *b, int fd, size_t max)
{
	char buf[CAPACITY];
	int ret;

	CHECK(!ftruncate(fd, 0) && !lseek(fd, 0, SEEK_SET));
	begin_call();
	ret = bpf_stream_drain_fd(b->s, fd, max);
	if (ret > 0) {
		CHECK(pread(fd, buf, sizeof(buf), 0) == ret);
		compare(b, buf, (size_t)ret);
	}
	end_call(b, ret);
}

/* A stage, and the text in it. */
struct group {
	struct bpf_stream_stage ss;
	char text[2 * CAPACITY];
	size_t len;
	uint64_t messages;
};

static void group_add(struct group *g, size_t len)
{
	uint64_t memory = no_memory;
	int err;

	CHECK(len <= sizeof(g->text) - g->len);
	make(g->text + g->len, len);
	errno = EXDEV;
	err = bpf_stream_stage_push(&g->ss, g->text + g->len, len);
	CHECK(errno == EXDEV);
	CHECK(!err || (err == -ENOMEM && no_memory > memory));
	if (err)
		return;
	g->len += len;
	g->messages++;
}

static int group_commit(struct group *g, struct book *b)
{
	int err;

	errno = EXDEV;
	err = bpf_stream_stage_commit_to(&g->ss, b->s);
	note(b, err, no_memory, g->text, g->len, g->messages);
	if (!err) {
		g->len = 0;
		g->messages = 0;
	}
	CHECK(g->ss.len == g->len);
	return err;
}

static void trim(void)
{
	uint64_t before = trimmed;
	size_t ret;

	errno = EXDEV;
	ret = bpf_stream_pool_trim();
	CHECK(errno == EXDEV);
	CHECK(ret == trimmed - before);
}

/* ---- Rivals and failing words ------------------------------------------ */

static struct {
	uint32_t list;			/* of partial pages; BSE_LISTS: a free page */
	struct bse_space space;
} stolen[BPF_STREAM_POOL_BYTES / BPF_STREAM_PAGE_SIZE];
static unsigned int stolen_count;
static unsigned int handlers;		/* how many may still come in */

/* Somebody else comes in: nothing fails for him. */
static int rival_push(struct book *b, size_t len)
{
	int saved = errno;
	int err;

	sheltered++;
	err = push(b, len);
	sheltered--;
	errno = saved;
	return err;
}

/* A handler; to it, everything can happen, too. */
static void interrupt(void)
{
	int saved = errno;

	if (sheltered || !handlers)
		return;
	handlers--;
	(void)push(&book[1], 1500);
	errno = saved;
}

/* Which list of pages this is; BSE_COLD + 1: none. */
static uint32_t list_of(const bse_u64 *list)
{
	uint32_t i = 0;

	while (i <= BSE_COLD && list != &bse_pool_known()->list[i].head)
		i++;
	return i;
}

/* Of a list, or one that was never used if it is NULL. */
static bse_page steal(bse_u64 *list, struct bse_space *space)
{
	struct bse_pool *pool = bse_pool_known();
	uint32_t from = list_of(list);

	*space = (struct bse_space){ .room = BSE_PAGE_ROOM };
	if (from < BSE_LISTS)
		(void)(bse_partial_get)(from, space);
	else
		space->page = list ? bse_list_pop(pool, from) : bse_page_fresh(pool);
	return space->page;
}

/* A partial page has held something. */
static void put_on(bse_u64 *list, struct bse_space *space)
{
	uint32_t to = list_of(list);

	if (to >= BSE_LISTS) {
		bse_list_push(bse_pool_known(), to, space->page);
		return;
	}
	if (!space->given) {
		space->given++;
		space->room -= 16;
		bsi_page_give_back(space->page, 1);
	}
	(void)(bse_partial_put)(to, space);
}

static void keep_stolen(const bse_u64 *list, const struct bse_space *space)
{
	stolen[stolen_count].list = list_of(list);
	stolen[stolen_count++].space = *space;
}

/* True if the list, or the number of used pages if NULL, is not as it was. */
static bool rob(enum fault fault, bse_u64 *list)
{
	struct bse_space first;
	struct bse_space second;
	bool robbed;

	sheltered++;
	robbed = steal(list, &first);
	if (robbed && fault == LIST_SWAPPED) {
		if (steal(list, &second))
			keep_stolen(list, &second);
		put_on(list, &first);
	} else if (robbed) {
		keep_stolen(list, &first);
	} else if (list && steal(NULL, &first)) {
		/* To an empty list, something comes. */
		put_on(list, &first);
		robbed = true;
	}
	sheltered--;
	return robbed;
}

static void give_back_stolen(void)
{
	while (stolen_count--) {
		if (stolen[stolen_count].list < BSE_LISTS)
			(void)(bse_partial_put)(stolen[stolen_count].list,
						&stolen[stolen_count].space);
		else
			(bse_page_put)(stolen[stolen_count].space.page);
	}
	stolen_count = 0;
}

/* In a reservation that found no free page: lists of partial pages without one. */
static _Thread_local unsigned int looked;
static _Thread_local bool searches;

static void fault_leave(uint32_t depth)
{
	searches = false;
	(bse_leave)(depth);
}

/* Denied because there is none: somebody has them all for this moment. */
static int fault_page_get(bse_page *page)
{
	bse_page all[BPF_STREAM_POOL_BYTES / BPF_STREAM_PAGE_SIZE];
	unsigned int n = 0;
	int err;

	interrupt();
	if (due(AT_PAGE)) {
		sheltered++;
		do
			err = (bse_page_get)(&all[n++]);
		while (!err);
		for (n--; n; n--)
			(bse_page_put)(all[n - 1]);
		sheltered--;
	} else {
		err = (bse_page_get)(page);
	}
	looked = 0;
	searches = err && !crowd.threads;
	return err;
}

/* A request is denied when the last list has no page, either. */
static bool fault_partial_get(uint32_t list, struct bse_space *space)
{
	if ((bse_partial_get)(list, space))
		return true;
	if (searches && ++looked == BSE_LISTS) {
		no_memory++;
		denied += bse_pool_found() ? 1 : 0;
	}
	return false;
}

static bool fault_list_cas(bool cas(bse_u64 *, uint64_t *, uint64_t), bse_u64 *list,
			   uint64_t *old, uint64_t v)
{
	enum fault fault = due(AT_LIST);
	bool beaten = fault && rob(fault, list);
	bool done = cas(list, old, v);

	CHECK(!beaten || !done);
	return done;
}

static bool fault_u64_cas_acquire(bse_u64 *p, uint64_t *old, uint64_t v)
{
	return fault_list_cas((bse_u64_cas_acquire), p, old, v);
}

static bool fault_u64_cas_release(bse_u64 *p, uint64_t *old, uint64_t v)
{
	return fault_list_cas((bse_u64_cas_release), p, old, v);
}

static bool fault_u64_cas_acq_rel(bse_u64 *p, uint64_t *old, uint64_t v)
{
	struct book *b = book;
	enum fault fault;
	bool beaten;
	bool done;

	interrupt();
	while (&b->s->log != p)
		b++;
	fault = due(AT_LOG);
	beaten = fault && !rival_push(b, fault == LOG_FILLED ? b->capacity -
				      (b->accepted - b->taken) : 5);
	done = (bse_u64_cas_acq_rel)(p, old, v);
	CHECK(!beaten || !done);
	return done;
}

static bool fault_u32_cas_relaxed(bse_u32 *p, uint32_t *old, uint32_t v)
{
	struct bse_pool *pool = bse_pool_known();
	enum fault fault = pool && p == &pool->fresh ? due(AT_FRESH) : NONE;
	bool beaten = fault && rob(fault, NULL);
	bool done = (bse_u32_cas_relaxed)(p, old, v);

	CHECK(!beaten || !done);
	return done;
}

static bool fault_ptr_cas_release(bse_ptr *p, void **old, void *v)
{
	bool beaten = due(AT_POOL) && !rival_push(&book[0], 3);
	bool done = (bse_ptr_cas_release)(p, old, v);

	CHECK(!beaten || !done);
	return done;
}

/* As much of the pieces as the answer says. */
static int fault_take(bse_take *take, void *ctx, const struct bse_piece *piece, unsigned int n)
{
	struct bse_piece part[BSE_PIECES];
	size_t len = 0;
	size_t left;
	unsigned int i;
	int ret;

	for (i = 0; i < n; i++)
		len += piece[i].iov_len;
	ret = answer(len);
	left = ret < 0 || (size_t)ret > len ? 0 : (size_t)ret;
	for (i = 0; left; i++) {
		part[i] = piece[i];
		if (part[i].iov_len > left)
			part[i].iov_len = left;
		left -= part[i].iov_len;
	}
	if (i)
		(void)take(ctx, part, i);
	return ret;
}

/* The test's own sink asks for itself. */
static int fault_sink_call(bse_mutex *lock, bse_take *take, void *ctx,
			   const struct bse_piece *piece, unsigned int n)
{
	if (take == bse_take_fd || take == bse_take_memory)
		return fault_take(take, ctx, piece, n);
	return (bse_sink_call)(lock, take, ctx, piece, n);
}

/* ---- Failing system calls ---------------------------------------------- */

static bool crowd_mmap_fails(void)
{
	unsigned int call = __atomic_add_fetch(&crowd.calls, 1, __ATOMIC_ACQ_REL);

	if (call > crowd.threads)
		return false;
	while (__atomic_load_n(&crowd.calls, __ATOMIC_ACQUIRE) < crowd.threads)
		program_pause();
	return crowd.fails > CROWD || call == crowd.fails;
}

static void *fault_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	enum fault fault = crowd.threads ? NONE : due(AT_MMAP);

	if (fault || (crowd.threads && crowd_mmap_fails())) {
		if (fault == MMAP_RIVAL)
			(void)rival_push(&book[0], 3);
		else if (fault)
			no_memory++;
		errno = ENOMEM;
		return MAP_FAILED;
	}
	__atomic_add_fetch(&mapped, 1, __ATOMIC_RELAXED);
	return (mmap)(at, bytes, prot, flags, fd, offset);
}

static int fault_munmap(void *at, size_t bytes)
{
	__atomic_sub_fetch(&mapped, 1, __ATOMIC_RELAXED);
	return (munmap)(at, bytes);
}

static int fault_madvise(void *at, size_t bytes, int advice)
{
	if (due(AT_MADVISE)) {
		errno = EINVAL;
		return -1;
	}
	trimmed++;
	return (madvise)(at, bytes, advice);
}

static int fault_setspecific(pthread_key_t key, const void *value)
{
	return !crowd.threads && due(AT_KEY) ? ENOMEM : (pthread_setspecific)(key, value);
}

/* ---- Scenarios --------------------------------------------------------- */

static void push_small(void)
{
	size_t len;

	for (len = 1; len < 4000; len = len * 3 + 1)
		(void)push(&book[0], len);
	(void)push(&book[0], 0);
	(void)push(&book[0], CAPACITY + 1);
}

static void push_large(void)
{
	static const size_t size[] = { BSI_ELEM_MAX, BSI_ELEM_MAX + 1, 2 * BSI_ELEM_MAX,
				       2 * BSI_ELEM_MAX + 1, 15000, 20000, 1, 30000 };
	unsigned int i;

	for (i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
		(void)push(&book[0], size[i]);
		if (i % 2)
			read_bytes(&book[0], size[i] - 100);
	}
}

/* The ways to print: to a stream, or to one of the program's. */
enum { PRINTF, VPRINTF, BPRINTF, VPRINTK };

static int vprintf_to(struct bpf_stream *s, const char *format, ...)
{
	va_list ap;
	int err;

	va_start(ap, format);
	err = bpf_stream_vprintf(s, format, ap);
	va_end(ap);
	return err;
}

static void print_once(unsigned int how, unsigned int to, int width)
{
	const uint64_t args[] = { 42, (uintptr_t)"text" };
	struct bpf_stream *s = book[to].s;
	uint64_t memory = no_memory;
	char format[24];
	char text[2048];
	int len = snprintf(text, sizeof(text), "%*d %s", width, 42, "text");
	int err;

	snprintf(format, sizeof(format), "%%%dd %%s", width);
	errno = EXDEV;
	err = how == PRINTF ? bpf_stream_printf(s, "%*d %s", width, 42, "text") :
	      how == VPRINTF ? vprintf_to(s, "%*d %s", width, 42, "text") :
	      how == BPRINTF ? bpf_stream_bprintf(s, format, args, sizeof(args)) :
			       bpf_stream_vprintk((int)to, format, args, sizeof(args), &aux);
	note(&book[to], err, memory, text, (size_t)len, 1);
}

static void print(void)
{
	unsigned int how;
	int width;

	for (how = 0; how < VPRINTK; how++)
		for (width = 1; width < 1100; width += 340)
			print_once(how, 0, width);
	errno = EXDEV;
	CHECK(bpf_stream_bprintf(book[0].s, "%n", NULL, 0) == -EINVAL);
	note(&book[0], -EINVAL, no_memory, "", 0, 1);
}

static void stage(void)
{
	struct group g = { .len = 0 };
	unsigned int round;

	bpf_stream_stage_init(&g.ss);
	for (round = 0; round < 5; round++) {
		group_add(&g, 10);
		group_add(&g, 9000);
		group_add(&g, 1);
		(void)push(&book[0], 50);
		if (group_commit(&g, &book[0]) && group_commit(&g, &book[1]))
			drain(&book[0], SIZE_MAX);
	}
	(void)group_commit(&g, &book[2]);
	group_add(&g, 5000);
	group_add(&g, 5);
	bpf_stream_stage_free(&g.ss);
}

static void print_into(struct group *g, int width)
{
	uint64_t memory = no_memory;
	int len = snprintf(g->text + g->len, sizeof(g->text) - g->len, "%*d", width, 42);
	int err;

	errno = EXDEV;
	err = bpf_stream_stage_printk(&g->ss, "%*d", width, 42);
	CHECK(errno == EXDEV);
	CHECK(!err || (err == -ENOMEM && no_memory > memory));
	g->len += err ? 0 : (size_t)len;
	g->messages += err ? 0 : 1;
}

static void read_of_program(enum bpf_stream_id id, int len)
{
	size_t before = book[id].taken;
	char buf[4000];
	int ret;

	CHECK((size_t)len <= sizeof(buf));
	begin_call();
	ret = bpf_prog_stream_read(&prog, id, buf, len);
	if (ret > 0)
		compare(&book[id], buf, (size_t)ret);
	end_read(&book[id], ret, before, (size_t)len);
}

/* The calls that take a program and one of its streams. */
static void program(void)
{
	const enum bpf_stream_id ids[] = { BPF_STDOUT, BPF_STDERR };
	struct group g = { .len = 0 };
	unsigned int round;
	char byte;

	for (round = 0; round < 6; round++) {
		enum bpf_stream_id id = ids[round % 2];
		uint64_t memory;
		int err;

		print_once(VPRINTK, id, 1 + 200 * (int)round);
		bpf_stream_stage_init(&g.ss);
		print_into(&g, 3);
		print_into(&g, 1000);
		print_into(&g, 10);
		memory = no_memory;
		errno = EXDEV;
		err = bpf_stream_stage_commit(&g.ss, &prog, id);
		note(&book[id], err, memory, g.text, g.len, g.messages);
		bpf_stream_stage_free(&g.ss);
		g.len = 0;
		g.messages = 0;
		read_of_program(id, 700 * (int)round);
	}
	CHECK(bpf_prog_stream_read(&prog, (enum bpf_stream_id)0, &byte, 1) == -ENOENT);
	CHECK(bpf_stream_vprintk(3, "x", NULL, 0, &aux) == -ENOENT);
	bpf_prog_stream_free(&prog);
	open_book(&book[BPF_STDOUT], CAPACITY);
	open_book(&book[BPF_STDERR], CAPACITY);
}

static void nested(void)
{
	unsigned int i;

	for (i = 0; i < 6; i++) {
		handlers = i;
		(void)push(&book[0], 3000 * i + 1);
	}
	/* Deeper than there are levels. */
	handlers = BPF_STREAM_LEVELS + 2;
	(void)push(&book[0], 2000);
	handlers = 0;
}

static void several_streams(void)
{
	unsigned int i;

	for (i = 0; i < 30; i++) {
		(void)push(&book[i % STREAMS], 100 + 60 * i);
		if (i % 7 == 6)
			drain(&book[i / 7 % STREAMS], 501 * i);
	}
}

static void readers(void)
{
	int fd = (int)syscall(SYS_memfd_create, "drained", 0u);
	unsigned int i;

	CHECK(fd >= 0);
	for (i = 0; i < 12; i++) {
		(void)push(&book[0], 1 + 700 * i);
		(void)push(&book[0], 30);
		sink_pushes = &book[i % 2];
		drain(&book[0], 1000 + i);
		sink_pushes = NULL;
		read_bytes(&book[0], 900 + i);
		drain_file(&book[0], fd, 1000);
	}
	for (i = 0; i < 200; i++)
		(void)push(&book[0], 1 + i % 70);
	drain_file(&book[0], fd, SIZE_MAX);
	drain(&book[0], SIZE_MAX);
	close(fd);
}

static void destroy(void)
{
	unsigned int i;

	for (i = 0; i < 10; i++)
		(void)push(&book[0], 1500);
	(void)push(&book[1], 1500);
	read_bytes(&book[0], 2000);
	(void)push(&book[0], 10000);
	bpf_stream_destroy(book[0].s);
	open_book(&book[0], CAPACITY);
	(void)push(&book[0], 20000);
}

static void *push_and_end(void *release)
{
	(void)push(&book[0], 20);
	(void)push(&book[2], 5000);
	if (release) {
		bpf_stream_thread_release();
		(void)push(&book[0], 30);
		bpf_stream_thread_release();
	}
	return NULL;
}

static void in_thread(void *run(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	/* For our texts musl's default is too small. */
	CHECK(!pthread_attr_init(&attr));
	CHECK(!pthread_attr_setstacksize(&attr, 1u << 20));
	CHECK(!pthread_create(&thread, &attr, run, arg));
	CHECK(!pthread_attr_destroy(&attr));
	CHECK(!pthread_join(thread, NULL));
}

static void threads(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++) {
		(void)push(&book[0], 10);
		in_thread(push_and_end, i % 2 ? &book : NULL);
		read_bytes(&book[0], 35);
	}
	bpf_stream_thread_release();
	(void)push(&book[0], 10);
}

static void trims(void)
{
	unsigned int i;

	trim();
	for (i = 0; i < 3; i++) {
		(void)push(&book[0], 20000);
		(void)push(&book[1], 100);
		read_bytes(&book[0], 15000);
		trim();
		(void)push(&book[0], 3000);
		trim();
	}
}

static unsigned int exhausted;

/* A short message keeps each page from the others. */
static void exhaust(void)
{
	struct group kept = { .len = 0 };
	struct group gone;
	unsigned int round;
	unsigned int i;

	bpf_stream_stage_init(&kept.ss);
	for (round = 0; round < 2; round++) {
		(void)push(&book[1], 2000);
		for (i = 0; i < 70; i++) {
			gone.len = 0;
			bpf_stream_stage_init(&gone.ss);
			group_add(&gone, 3700);
			group_add(&kept, 10);
			bpf_stream_stage_free(&gone.ss);
		}
		exhausted += no_memory ? 1 : 0;
		(void)push(&book[2], 10000);
		if (group_commit(&kept, &book[0])) {
			bpf_stream_stage_free(&kept.ss);
			kept.len = 0;
			kept.messages = 0;
		}
		read_bytes(&book[0], 100);
		(void)push(&book[0], 10000);
		drain(&book[0], SIZE_MAX);
		drain(&book[1], 5);
	}
}

/* Short threads share pages; a page with too little room is given up. */
static void share(void)
{
	unsigned int i;

	for (i = 0; i < 12; i++) {
		(void)push(&book[i % STREAMS], 100 + 300 * i);
		bpf_stream_thread_release();
		if (i % 4 == 3)
			read_bytes(&book[i % STREAMS], 400);
	}
}

static void *push_ten(void *b)
{
	(void)push(b, 10);
	return NULL;
}

/* What fills a page; there is one at hand, or one that was left, or both. */
static void fill(void)
{
	unsigned int i;

	for (i = 0; i < 18; i++) {
		struct book *b = &book[i / 6];

		if (i % 3)
			(void)push(b, 500);
		if (i % 3 == 2)
			in_thread(push_ten, b);
		if (i % 3 == 0) {
			bpf_stream_thread_release();
			in_thread(push_ten, b);
		}
		/* By turns, with room left that is worth it, and without. */
		(void)push(b, i % 2 ? BSI_ELEM_MAX - i : BSI_ELEM_MAX - BSI_PAGE_WORTH + 1);
		if (i % 6 == 5)
			read_bytes(b, BSI_ELEM_MAX);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} scenarios[] = {
	{ "push-small", push_small },
	{ "push-large", push_large },
	{ "print", print },
	{ "stage", stage },
	{ "program", program },
	{ "nested", nested },
	{ "several-streams", several_streams },
	{ "readers", readers },
	{ "destroy", destroy },
	{ "threads", threads },
	{ "trims", trims },
	{ "exhaust", exhaust },
	{ "share", share },
	{ "fill", fill },
};

#define SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

/* ---- Runs -------------------------------------------------------------- */

static void check_pool(size_t in_use)
{
	struct bpf_stream_pool_stats pool;

	bpf_stream_pool_get_stats(&pool);
	CHECK(pool.in_use == in_use);
	CHECK(pool.denied == denied);
	check_sound(__LINE__, NULL);
}

static void check_no_page_in_use(void)
{
	check_pool(0);
	CHECK(!bse_pool_known() || !(bse_u32_load_relaxed)(&bse_pool_known()->kept));
}

static void check_book(struct book *b)
{
	struct bpf_stream_stats stats;
	unsigned int i;

	check_sound(__LINE__, b->s);
	bpf_stream_get_stats(b->s, &stats);
	CHECK(stats.pending == b->accepted - b->taken);
	CHECK(stats.delivered.bytes == b->taken);
	CHECK(b->taken < b->accepted || stats.delivered.messages == b->messages);
	for (i = 0; i < BPF_STREAM_REFUSALS; i++) {
		CHECK(stats.refused[i].messages == b->refused[i].messages);
		CHECK(stats.refused[i].bytes == b->refused[i].bytes);
	}
}

/* All pages at once, to the last byte. */
static void check_whole_pool(void)
{
	static char text[BPF_STREAM_POOL_BYTES];
	struct book *b = &book[0];
	size_t len = bse_pool_pages() * BSI_ELEM_MAX;

	open_book(b, sizeof(text));
	make(text, len);
	errno = EXDEV;
	note(b, bpf_stream_push(b->s, text, len), no_memory, text, len, 1);
	CHECK(b->accepted == len);
	(void)push(b, 1);
	CHECK(b->refused[BPF_STREAM_REFUSED_POOL].messages == 1);
	check_pool(bse_pool_pages());
	read_bytes(b, sizeof(text));
	CHECK(b->taken == len);
	check_book(b);
}

/* What came before left nothing behind, and all goes on. */
static void check_all_is_well(void)
{
	unsigned int i;

	give_back_stolen();
	for (i = 0; i < STREAMS; i++) {
		check_book(&book[i]);
		read_bytes(&book[i], sizeof(book[i].text));
		CHECK(!push(&book[i], 100));
		read_bytes(&book[i], 100);
		CHECK(book[i].taken == book[i].accepted);
		check_book(&book[i]);
	}
	bpf_stream_thread_release();
	check_no_page_in_use();
	check_whole_pool();
	for (i = 0; i < STREAMS; i++) {
		CHECK(!push(&book[i], 5000));
		bpf_stream_destroy(book[i].s);
	}
}

static void *run_in_thread(void *list)
{
	const unsigned int *i = list;
	unsigned int n;

	for (n = 0; n < STREAMS; n++)
		open_book(&book[n], CAPACITY);
	sheltered--;
	for (n = 0; n < (chance ? 3 : 1); n++)
		scenarios[i[n]].run();
	sheltered++;
	check_all_is_well();
	return NULL;
}

/* As in a process that has just begun. */
static void forget_pool(void)
{
	void *pool = bse_pool_known();

	CHECK(mapped == 1);
	bse_unpoison(pool, BPF_STREAM_POOL_BYTES);
	CHECK(!fault_munmap(pool, BPF_STREAM_POOL_BYTES));
	(bse_ptr_store_relaxed)(&bse_process.pool, NULL);
	denied = 0;
}

/* In a thread of its own, whose end must give back the last page. */
static void run(const unsigned int *list)
{
	memset(places, 0, sizeof(places));
	no_memory = 0;
	in_thread(run_in_thread, (void *)(uintptr_t)list);
	check_no_page_in_use();
	forget_pool();
	passed++;
}

static void run_each(unsigned int i, enum fault fault)
{
	program_case = scenarios[i].name;
	planned = fault;
	for (program_turn = 1; ; program_turn++) {
		run(&i);
		if (places[faults[fault].at] < program_turn)
			break;
	}
	/* The last run was one without a fault. */
	if (program_turn > 1)
		printf(" %s %" PRIu64, faults[fault].name, program_turn - 1);
}

static void run_rounds(uint64_t rounds)
{
	unsigned int list[3];

	for (; rounds; rounds--, seed++) {
		drawn = seed;
		program_turn = seed;
		chance = 2 + draw(30);
		list[0] = (unsigned int)draw(SCENARIOS);
		list[1] = (unsigned int)draw(SCENARIOS);
		list[2] = (unsigned int)draw(SCENARIOS);
		program_case = scenarios[list[0]].name;
		run(list);
	}
	chance = 0;
}

/* ---- First use by many at once ----------------------------------------- */

static void *push_until_accepted(void *ctx)
{
	unsigned int *refused = ctx;
	int err;

	for (*refused = 0; *refused < 2; ++*refused) {
		err = bpf_stream_push(book[0].s, "a crowd", 7);
		CHECK(!err || err == -ENOMEM);
		if (!err)
			break;
	}
	return NULL;
}

static void run_crowd(unsigned int n, unsigned int fails)
{
	unsigned int refused[CROWD];
	unsigned int sum = 0;
	pthread_t thread[CROWD];
	struct bpf_stream_pool_stats pool;
	struct bpf_stream_stats stats;
	char buf[8 * CROWD];
	unsigned int i;

	program_case = "crowd";
	planned = NONE;
	program_turn = fails;
	open_book(&book[0], CAPACITY);
	memset(&crowd, 0, sizeof(crowd));
	crowd.threads = n;
	crowd.fails = fails;
	for (i = 0; i < n; i++)
		CHECK(!pthread_create(&thread[i], NULL, push_until_accepted, &refused[i]));
	for (i = 0; i < n; i++) {
		CHECK(!pthread_join(thread[i], NULL));
		CHECK(refused[i] < 2);
		sum += refused[i];
	}
	crowd.threads = 0;
	CHECK(sum <= (fails > CROWD ? n : 1));
	bpf_stream_get_stats(book[0].s, &stats);
	CHECK(stats.refused[BPF_STREAM_REFUSED_POOL].messages == sum);
	CHECK(bpf_stream_read(book[0].s, buf, sizeof(buf)) == (int)(7 * n));
	for (i = 0; i < n; i++)
		CHECK(!memcmp(buf + 7 * i, "a crowd", 7));
	/* Who was refused is counted if others have the pool by then. */
	bpf_stream_pool_get_stats(&pool);
	CHECK(pool.denied <= sum);
	denied = pool.denied;
	check_no_page_in_use();
	check_whole_pool();
	bpf_stream_thread_release();
	check_no_page_in_use();
	forget_pool();
	passed++;
}

/* ---- The program ------------------------------------------------------- */

int main(int argc, char **argv)
{
	/* One thread shows nothing more under ThreadSanitizer: slow. */
	uint64_t rounds = program_number(500, PROGRAM_TSAN ? 2000 : 20000);
	const struct program_option options[] = {
		PROGRAM_SEED(&seed),
		PROGRAM_NUMBER("rounds", "each with the next seed, which its report tells", &rounds,
			       1, UINT64_MAX),
		PROGRAM_LAST
	};
	unsigned int i;

	program_begin(argc, argv, "Every fault at every place of every scenario; then rounds in "
		      "which\neach place may fail.", options);
	sheltered = 1;
	for (i = 0; i < SCENARIOS; i++) {
		enum fault fault;

		printf("%s:", scenarios[i].name);
		for (fault = NONE + 1; fault < FAULTS; fault++)
			run_each(i, fault);
		printf("\n");
	}
	for (i = 1; i < FAULTS; i++)
		CHECK(happened[i] >= 5);
	CHECK(exhausted >= 100);
	run_rounds(rounds);
	for (i = 2; i <= CROWD; i++) {
		unsigned int fails;

		for (fails = 0; fails <= i; fails++)
			run_crowd(i, fails);
		run_crowd(i, CROWD + 1);
	}
	return program_end(passed, 0, 0);
}
