/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * stress - many writers, their signal handlers, one reader; every byte checked
 *
 * Each writer thread pushes messages and commits groups, and is interrupted by
 * timers whose handlers do the same and interrupt each other. The reader, too,
 * is interrupted, and its sink pushes. Writer and nesting level together are a
 * lane: (writer, 0) is the thread, (writer, 1) a handler that interrupted it,
 * (writer, 2) one that interrupted that one. Each lane numbers its messages. A
 * refused message keeps its number and is offered again, so that every number
 * must come out once and in order.
 *
 * The reader sees bytes without boundaries. The first byte of a message tells
 * what it is:
 *
 *   MAGIC      a record of 24 bytes or more: struct head, from STAMPED bytes on
 *              the lanes' counts when it was made, then filling. It has a
 *              checksum.
 *   0 to 239   a small message of 1 to 23 bytes. The byte is the lane's number
 *              times the lane's alphabet, plus the message's number modulo the
 *              alphabet; the length and the other bytes follow from seed, lane
 *              and number alone, so the reader makes them again and compares.
 *
 * What the numbers of one lane do not show, the stamps do: a push that returned
 * before another one of the same thread began, at whatever level, comes first.
 *
 * Exit: 0 clean, 1 a check failed, or no message was accepted, 2 usage, 77 no timers here.
 *
 * With BPF_STREAM_STRESS_PLANT there is --plant, which damages a run on
 * purpose, to show that each check works.
 */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define MAGIC 0xf5u
#define SMALL_LEADS 240u		/* first bytes of small messages: below this */
#define SMALL_LETTERS 3u		/* the least alphabet: before, expected, after */
#define SIGNALS 6u			/* each blocks only itself: nesting up to 6 */
#define LEVELS 8u			/* thread, 6 handlers, and one for --plant split */
#define GROUP_EVERY 48u			/* one message in so many begins a group */
#define GROUP_MAX 9u			/* messages in a group, at most */
#define MISSING 16u			/* numbers that a lane skipped: how many we remember */
#define STACK_BYTES (1u << 20)
#define GOLDEN 0x9e3779b97f4a7c15u

struct head {
	uint8_t magic;
	uint8_t writer;
	uint8_t level;
	uint8_t group;			/* place * 16 + members; 0: no group */
	uint32_t length;
	uint64_t seq;			/* the message's number in its lane */
	uint64_t sum;			/* of all but itself */
};

#define HEAD ((uint32_t)sizeof(struct head))
#define STAMPED (HEAD + LEVELS * 4u)

_Static_assert(sizeof(struct head) == 24, "the least record has 24 bytes");

/* ---- options --------------------------------------------------------- */

enum {
	SEED, THREADS, SECONDS, SIGNALS_ON, SIGNAL_INTERVAL, MAX_SMALL, MAX_LARGE, LARGE_EVERY,
	CAPACITY, POOL, OPTIONS
};

enum kind { NUMBER, SIZE, TIME, SWITCH };

struct option {
	const char *name;
	const char *arg;
	const char *help;
	enum kind kind;
	bool or_zero;			/* 0 is allowed beside min to max */
	uint64_t min;
	uint64_t max;
	uint64_t value;			/* TIME: microseconds */
};

static struct option options[OPTIONS] = {
	[SEED] = { "seed", "N", "what the messages are made from; 0: the clock",
		   NUMBER, false, 0, UINT64_MAX, 0 },
	[THREADS] = { "threads", "N", "writer threads", NUMBER, false, 1, 64, 8 },
	[SECONDS] = { "seconds", "N", "how long; fractions allowed",
		      TIME, false, 100000, 604800000000, 10000000 },
	[SIGNALS_ON] = { "signals", "on|off", "interrupt the threads with timers",
			 SWITCH, false, 0, 1, 1 },
	[SIGNAL_INTERVAL] = { "signal-interval", "USEC", "about the time between two of one timer",
			      NUMBER, false, 20, 1000000, 500 },
	[MAX_SMALL] = { "max-small", "BYTES", "size of most messages, at most",
			SIZE, false, 1, 4096, 128 },
	[MAX_LARGE] = { "max-large", "BYTES",
			"size of the others; capacity and a quarter of the pool bound both",
			SIZE, false, HEAD, 1u << 20, 65536 },
	[LARGE_EVERY] = { "large-every", "N", "one large message in so many; 0: none",
			  NUMBER, false, 0, 1000000000, 1000 },
	[CAPACITY] = { "capacity", "BYTES", "the stream's capacity",
		       SIZE, false, HEAD, BPF_STREAM_CAPACITY_LIMIT,
		       BPF_STREAM_DEFAULT_CAPACITY },
	[POOL] = { "pool", "BYTES", "give the library a pool of this size; 0: its own",
		   SIZE, true, 8u * BPF_STREAM_PAGE_SIZE,
		   SIZE_MAX < (uint64_t)32 << 30 ? SIZE_MAX : (uint64_t)32 << 30, 0 },
};

static bool quiet;

/* ---- what is planted ------------------------------------------------- */

enum plant { NOTHING, TORN, LOST, DOUBLED, REORDERED, OVERTAKEN, SPLIT, LEAKED, PENDING, PLANTS };

#ifdef BPF_STREAM_STRESS_PLANT
static const char *const plant_names[PLANTS] = {
	"nothing", "torn", "lost", "doubled", "reordered", "overtaken", "split", "leaked", "pending"
};
static enum plant plant;
#else
static const enum plant plant = NOTHING;
#endif

/* ---- writers --------------------------------------------------------- */

/*
 * Counters are written by one context at a time and read by others: by main()
 * for the progress line, and by handlers of the same thread.
 */
typedef _Atomic uint64_t counter;

static uint64_t get(counter *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static void add(counter *c, uint64_t n)
{
	atomic_store_explicit(c, get(c) + n, memory_order_relaxed);
}

struct lane {
	counter seq;			/* numbers used up: messages accepted, as we mean it */
	counter messages;		/* messages accepted, as the library said */
	counter bytes;
	counter groups;
	counter refusals[BPF_STREAM_REFUSALS];		/* messages that the stream refused */
	counter refused_bytes[BPF_STREAM_REFUSALS];
	counter stage_denied;		/* the pool was empty for a stage */
	unsigned char *buf;
};

struct writer {
	struct lane lane[LEVELS];
	unsigned int id;
	volatile unsigned int level;	/* changed by handlers, which put it back */
	volatile bool silent;		/* handlers do nothing */
	counter deepest;
	counter signals;
	timer_t timer[SIGNALS];
	pthread_t thread;
	char apart[128];
};

static struct bpf_stream stream;
static struct writer *writers;		/* the threads, then the reader */
static unsigned int writer_count;
static uint64_t seed;
static uint32_t max_small;
static uint32_t max_large;
static unsigned int small_levels;	/* levels that have small messages */
static unsigned int letters;		/* a lane's alphabet */
static atomic_bool writers_stop;
static atomic_bool reader_stop;
static atomic_bool no_timers;
static _Atomic uint64_t unexpected;	/* results that the contract does not allow */
static _Atomic int unexpected_code;
static _Thread_local struct writer *self;

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	return x ^ (x >> 32);
}

/* 0 to below - 1, from the lower half of @x. */
static uint32_t scale(uint64_t x, uint32_t below)
{
	return (uint32_t)(((x & UINT32_MAX) * below) >> 32);
}

static void surprise(int code)
{
	atomic_fetch_add_explicit(&unexpected, 1, memory_order_relaxed);
	atomic_store_explicit(&unexpected_code, code, memory_order_relaxed);
}

static uint64_t essence(unsigned int writer, unsigned int level, uint64_t seq)
{
	return mix(seed ^ ((uint64_t)(writer * LEVELS + level + 1) << 48) ^ (seq * GOLDEN));
}

/* How long message @seq of a lane is. */
static uint32_t size_of(unsigned int level, uint64_t h)
{
	uint32_t every = (uint32_t)options[LARGE_EVERY].value;
	uint32_t size = 1 + scale(h, max_small);

	if (every && max_large > max_small && scale(h >> 32, every) == 0)
		size = max_small + 1 + scale(h, max_large - max_small);
	if (size < HEAD && level >= small_levels)
		size = HEAD;
	return size;
}

/* How many messages the group has that begins with message @seq; 0: none. */
static unsigned int group_of(unsigned int writer, unsigned int level, uint64_t seq)
{
	uint64_t h = essence(writer, level, seq);
	uint64_t bytes = size_of(level, h);
	uint64_t room = options[CAPACITY].value < max_large ? options[CAPACITY].value : max_large;
	unsigned int most;
	unsigned int n;

	h *= GOLDEN;
	if (bytes < HEAD || scale(h >> 32, GROUP_EVERY))
		return 0;
	most = 2 + (unsigned int)(h >> 16) % (GROUP_MAX - 1);
	for (n = 1; n < most; n++) {
		bytes += size_of(level, essence(writer, level, seq + n));
		if (bytes > room)
			break;
	}
	return n < 2 ? 0 : n;
}

static void make_small(unsigned char *buf, unsigned int writer, unsigned int level, uint64_t seq,
		       uint64_t h)
{
	uint64_t word[3];
	unsigned int i;

	for (i = 0; i < 3; i++)
		word[i] = h += GOLDEN;
	memcpy(buf, word, sizeof(word));
	buf[0] = (unsigned char)((writer * small_levels + level) * letters + seq % letters);
}

static uint64_t sum_step(uint64_t sum, uint64_t word)
{
	sum ^= word;
	return ((sum << 29) | (sum >> 35)) * GOLDEN;
}

static uint64_t sum_of(const unsigned char *data, size_t len)
{
	uint64_t word[2];
	uint64_t sum;
	uint64_t last = 0;
	size_t i;

	memcpy(word, data, 16);
	sum = sum_step(sum_step(seed, word[0]), word[1]);
	for (i = HEAD; i + 8 <= len; i += 8) {
		memcpy(word, data + i, 8);
		sum = sum_step(sum, word[0]);
	}
	memcpy(&last, data + i, len - i);
	return sum_step(sum, last);
}

/* Make message @seq of a lane in its buffer, and return its length. */
static uint32_t make(struct writer *w, unsigned int level, uint64_t seq, unsigned int group)
{
	unsigned char *buf = w->lane[level].buf;
	uint64_t h = essence(w->id, level, seq);
	struct head head = {
		MAGIC, (uint8_t)w->id, (uint8_t)level, (uint8_t)group, size_of(level, h), seq, 0
	};
	uint32_t stamp[LEVELS];
	uint32_t at = HEAD;
	unsigned int i;

	if (head.length < HEAD) {
		make_small(buf, w->id, level, seq, h);
		return head.length;
	}
	memcpy(buf, &head, sizeof(head));
	if (head.length >= STAMPED) {
		for (i = 0; i < LEVELS; i++)
			stamp[i] = (uint32_t)get(&w->lane[i].seq);
		memcpy(buf + at, stamp, sizeof(stamp));
		at = STAMPED;
	}
	for (; at < head.length; at += 8) {	/* the buffer has room for the last word */
		h += GOLDEN;
		memcpy(buf + at, &h, 8);
	}
	head.sum = sum_of(buf, head.length);
	memcpy(buf + offsetof(struct head, sum), &head.sum, 8);
	return head.length;
}

static int reason_of(int rc)
{
	return rc == -ENOSPC ? BPF_STREAM_REFUSED_FULL :
	       rc == -ENOMEM ? BPF_STREAM_REFUSED_POOL : -1;
}

/* Take down what a push or commit said. */
static void note(struct lane *lane, int rc, uint64_t messages, uint64_t bytes)
{
	int reason = reason_of(rc);

	if (errno != EXDEV)
		surprise(errno);
	if (!rc) {
		add(&lane->messages, messages);
		add(&lane->bytes, bytes);
	} else if (reason >= 0) {
		add(&lane->refusals[reason], messages);
		add(&lane->refused_bytes[reason], bytes);
	} else {
		surprise(rc);
	}
}

static int offer(struct lane *lane, uint32_t len)
{
	int rc;

	errno = EXDEV;			/* any value: a push keeps it */
	rc = bpf_stream_push(&stream, lane->buf, len);
	note(lane, rc, 1, len);
	return rc;
}

/* Get out of the reader's way. */
static void rest(unsigned int tries)
{
	struct timespec nap = { 0, 100000 };

	if (tries < 3)
		sched_yield();
	else
		nanosleep(&nap, NULL);
}

static bool stopped(void)
{
	return atomic_load_explicit(&writers_stop, memory_order_relaxed);
}

static int write_group(struct writer *w, unsigned int level, uint64_t seq, unsigned int members)
{
	struct lane *lane = &w->lane[level];
	/* A handler, or the reader in its sink, had better not wait. */
	bool patient = !level && w->id + 1 < writer_count;
	unsigned int attempts = patient ? 50 : 2;
	struct bpf_stream_stage stage;
	uint64_t bytes = 0;
	uint32_t len;
	unsigned int i;
	int rc = 0;

	bpf_stream_stage_init(&stage);
	for (i = 0; i < members && !rc; i++) {
		len = make(w, level, seq + i, i << 4 | members);
		bytes += len;
		rc = bpf_stream_stage_push(&stage, lane->buf, len);
	}
	if (rc) {
		if (rc == -ENOMEM)
			add(&lane->stage_denied, 1);
		else
			surprise(rc);
		goto out;
	}
	for (i = 0; i < attempts; i++) {
		errno = EXDEV;
		rc = bpf_stream_stage_commit_to(&stage, &stream);
		note(lane, rc, members, bytes);
		if (!rc || stopped())
			break;
		if (patient)
			rest(i);
	}
	if (!rc) {
		add(&lane->groups, 1);
		add(&lane->seq, members);
	}
out:
	bpf_stream_stage_free(&stage);
	return rc;
}

/* Write the next message or group of a lane. */
static int write_next(struct writer *w, unsigned int level)
{
	struct lane *lane = &w->lane[level];
	uint64_t seq = get(&lane->seq);
	unsigned int members = group_of(w->id, level, seq);
	int rc;

	if (members)
		return write_group(w, level, seq, members);
	rc = offer(lane, make(w, level, seq, 0));
	if (!rc)
		add(&lane->seq, 1);
	return rc;
}

static int take_nothing(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	(void)len;
	return -EAGAIN;
}

static void on_signal(int sig)
{
	struct writer *w = self;
	unsigned int next = (unsigned int)(sig - SIGRTMIN) + 1;
	struct itimerspec soon = { { 0, 0 }, { 0, 0 } };
	int keep = errno;
	unsigned int level;
	unsigned int burst;
	uint64_t h;
	int rc;

	if (!w || w->silent)
		return;
	level = w->level + 1;
	w->level = level;
	if (level > get(&w->deepest))
		atomic_store_explicit(&w->deepest, level, memory_order_relaxed);
	add(&w->signals, 1);
	h = mix(get(&w->signals) ^ seed);
	if (next < SIGNALS && (h & 3)) {	/* interrupt this handler, or what comes after */
		soon.it_value.tv_nsec = 1 + (long)(h >> 50);
		timer_settime(w->timer[next], 0, &soon, NULL);
	}
	for (burst = 1 + (h >> 8 & 7); burst; burst--)
		if (write_next(w, level))
			break;
	if (!(h & 0x7c)) {
		rc = bpf_stream_try_drain(&stream, take_nothing, NULL, SIZE_MAX);
		if (rc && rc != -EAGAIN && rc != -EBUSY && rc != -EDEADLK)
			surprise(rc);
	}
	w->level = level - 1;
	errno = keep;
}

/*
 * Interrupt the calling thread from now on. Only the first timer is periodic;
 * the handlers start the others.
 */
static bool start_timers(struct writer *w)
{
	uint64_t interval = options[SIGNAL_INTERVAL].value * 1000;
	struct itimerspec when;
	struct sigevent event;
	unsigned int i;

	for (i = 0; i < SIGNALS; i++) {
		memset(&event, 0, sizeof(event));
		event.sigev_notify = SIGEV_THREAD_ID;
		event.sigev_signo = SIGRTMIN + (int)i;
		event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
		if (timer_create(CLOCK_MONOTONIC, &event, &w->timer[i]))
			return false;
	}
	when.it_interval.tv_sec = (time_t)(interval / 1000000000);
	when.it_interval.tv_nsec = (long)(interval % 1000000000);
	when.it_value = when.it_interval;
	return !timer_settime(w->timer[0], 0, &when, NULL);
}

/* ---- planted bugs ---------------------------------------------------- */

static void must_offer(struct lane *lane, uint32_t len)
{
	unsigned int tries = 0;

	while (offer(lane, len))
		rest(tries++);
}

/*
 * Once, in the middle of the first thread's messages: do the wrong thing
 * instead of the next message.
 */
static bool write_wrong(struct writer *w)
{
	static bool done;
	struct lane *lane = &w->lane[0];
	struct lane *outsider = &w->lane[LEVELS - 1];
	struct bpf_stream_stage stage;
	uint64_t seq = get(&lane->seq);
	unsigned int members;
	uint32_t next;
	uint32_t len;
	unsigned int i;

	if (plant == NOTHING || plant == PENDING || w->id || done || seq < 500)
		return false;
	members = group_of(0, 0, seq);
	len = size_of(0, essence(0, 0, seq));
	next = size_of(0, essence(0, 0, seq + 1));
	if (len < STAMPED + 8 || next < HEAD || !members != (plant != SPLIT))
		return false;
	done = true;
	if (plant == REORDERED) {
		next = make(w, 0, seq + 1, 0);
		must_offer(lane, next);
	}
	len = make(w, 0, seq, 0);
	if (plant == TORN)
		lane->buf[len - 1] ^= 1;
	if (plant == OVERTAKEN) {
		uint32_t claim = (uint32_t)seq + 2;
		uint64_t sum;

		memcpy(lane->buf + HEAD, &claim, 4);
		sum = sum_of(lane->buf, len);
		memcpy(lane->buf + offsetof(struct head, sum), &sum, 8);
	}
	if (plant == LEAKED) {
		bpf_stream_stage_init(&stage);
		while (bpf_stream_stage_push(&stage, lane->buf, len))
			rest(3);
	}
	if (plant == DOUBLED)
		must_offer(lane, len);
	for (i = 0; i < members; i++) {
		must_offer(lane, make(w, 0, seq + i, i << 4 | members));
		must_offer(outsider, make(w, LEVELS - 1, get(&outsider->seq), 0));
		add(&outsider->seq, 1);
	}
	if (plant != LOST && !members)
		must_offer(lane, len);
	add(&lane->seq, members ? members : plant == REORDERED ? 2 : 1);
	return true;
}

static void *write_all(void *arg)
{
	struct writer *w = arg;
	unsigned int tries = 0;

	self = w;
	if (options[SIGNALS_ON].value && !start_timers(w))
		atomic_store(&no_timers, true);
	while (!stopped()) {
		if (write_wrong(w))
			continue;
		if (!write_next(w, 0)) {
			if (tries || !(get(&w->lane[0].seq) & 0xffff))
				bpf_stream_thread_release();
			tries = 0;
			continue;
		}
		rest(tries++);
		/* Else all that wait for pages would wait for each other. */
		if (tries % 16 == 0)
			bpf_stream_thread_release();
	}
	return NULL;
}

/* ---- the reader's checks --------------------------------------------- */

struct follow {				/* one for each lane */
	uint64_t next;			/* the number that must come now */
	uint64_t due;			/* a stamp promised all below this one */
	uint64_t split;			/* 1 + first number of the last split group; 0: none */
	uint64_t missing[MISSING];
	unsigned int missing_count;
};

static struct {
	struct follow (*lane)[LEVELS];
	uint64_t torn;
	uint64_t lost;
	uint64_t doubled;
	uint64_t reordered;
	uint64_t split;
	bool adrift;			/* does not know where messages begin */
	uint64_t drift_at;
	uint64_t messages;
	uint64_t bytes;
	counter shown_messages;		/* copies for the progress line */
	counter shown_bytes;
	unsigned int group_left;	/* messages of a group that must come now */
	unsigned int group_writer;
	unsigned int group_level;
	uint64_t group_first;
	unsigned char *carry;		/* the beginning of a message, its end to come */
	size_t carry_len;
	uint64_t random;
} check;

static uint32_t random_below(uint32_t below)
{
	check.random += GOLDEN;
	return scale(mix(check.random), below);
}

static void set_adrift(void)
{
	check.adrift = true;
	check.drift_at = check.bytes;
	check.torn++;
}

static bool is_small(unsigned int writer, unsigned int level, uint64_t seq)
{
	return size_of(level, essence(writer, level, seq)) < HEAD;
}

/*
 * Which number a small message has: the one that must come now, or else one
 * that was skipped, the last one again, or a later one.
 */
static bool find_small(unsigned int lead, unsigned int *writer, unsigned int *level, uint64_t *seq)
{
	struct follow *f;
	unsigned int lane = lead / letters;
	unsigned int ahead;
	unsigned int i;

	*writer = lane / small_levels;
	*level = lane % small_levels;
	if (*writer >= writer_count)
		return false;
	f = &check.lane[*writer][*level];
	ahead = (unsigned int)((lead + letters - f->next % letters - lane * letters) % letters);
	*seq = f->next + ahead;
	if (!ahead && is_small(*writer, *level, *seq))
		return true;
	for (i = 0; i < f->missing_count; i++) {
		*seq = f->missing[i];
		if (*seq % letters == lead % letters && is_small(*writer, *level, *seq))
			return true;
	}
	*seq = f->next - 1;
	if (f->next && ahead == letters - 1 && is_small(*writer, *level, *seq))
		return true;
	for (*seq = f->next + ahead; *seq < f->next + 8 * letters; *seq += letters)
		if (is_small(*writer, *level, *seq))
			return true;
	return false;
}

/* The length of the message that begins here; 0: @have does not tell. */
static size_t message_size(const unsigned char *data, size_t have)
{
	unsigned int writer;
	unsigned int level;
	struct head head;
	uint64_t seq;

	if (data[0] < SMALL_LEADS) {
		if (find_small(data[0], &writer, &level, &seq))
			return size_of(level, essence(writer, level, seq));
		set_adrift();
		return 0;
	}
	if (data[0] != MAGIC) {
		set_adrift();
		return 0;
	}
	if (have < HEAD)
		return 0;
	memcpy(&head, data, HEAD);
	if (head.writer >= writer_count || head.level >= LEVELS || head.length < HEAD ||
	    head.length > (max_large > max_small ? max_large : max_small)) {
		set_adrift();
		return 0;
	}
	return head.length;
}

/* Message @seq of a lane came out. */
static void follow_number(struct follow *f, uint64_t seq)
{
	unsigned int i;

	if (seq < f->due && seq >= f->next)
		check.reordered++;
	if (seq == f->next) {
		f->next++;
		return;
	}
	if (seq > f->next) {
		check.lost += seq - f->next;
		for (; f->next < seq; f->next++)
			if (f->missing_count < MISSING)
				f->missing[f->missing_count++] = f->next;
		f->next = seq + 1;
		return;
	}
	for (i = 0; i < f->missing_count; i++) {
		if (f->missing[i] == seq) {
			f->missing[i] = f->missing[--f->missing_count];
			check.lost--;
			check.reordered++;
			return;
		}
	}
	check.doubled++;
}

/* A message came out; @group as in struct head. */
static void follow_group(unsigned int writer, unsigned int level, uint64_t seq, unsigned int group)
{
	unsigned int place = group >> 4;
	uint64_t first = seq - place;
	struct follow *f;

	if (check.group_left) {
		if (writer == check.group_writer && level == check.group_level) {
			check.group_left--;
			return;
		}
		check.group_left = 0;
		check.split++;
		check.lane[check.group_writer][check.group_level].split = check.group_first + 1;
	}
	if (!group)
		return;
	if (place) {			/* in the middle; counted already, or not */
		f = &check.lane[writer][level];
		check.split += f->split != first + 1;
		f->split = first + 1;
		return;
	}
	check.group_left = (group & 15u) - 1;
	check.group_writer = writer;
	check.group_level = level;
	check.group_first = first;
}

static void check_stamp(const unsigned char *data, unsigned int writer)
{
	uint32_t stamp[LEVELS];
	unsigned int i;

	memcpy(stamp, data + HEAD, sizeof(stamp));
	for (i = 0; i < LEVELS; i++) {
		struct follow *f = &check.lane[writer][i];
		int32_t ahead = (int32_t)(stamp[i] - (uint32_t)f->next);

		if (ahead > 0 && f->next + (uint32_t)ahead > f->due)
			f->due = f->next + (uint32_t)ahead;
	}
}

static void check_message(const unsigned char *data, size_t size)
{
	unsigned char expected[HEAD];
	unsigned int writer;
	unsigned int level;
	struct head head;
	uint64_t seq;
	bool whole;

	check.messages++;
	if (size < HEAD) {
		find_small(data[0], &writer, &level, &seq);
		make_small(expected, writer, level, seq, essence(writer, level, seq));
		if (memcmp(data, expected, size)) {
			set_adrift();
			return;
		}
		follow_group(writer, level, seq, 0);
		follow_number(&check.lane[writer][level], seq);
		return;
	}
	memcpy(&head, data, HEAD);
	whole = head.sum == sum_of(data, size);
	check.torn += !whole;
	/* What a torn record says is used only if it must come now. */
	if (!whole && head.seq != check.lane[head.writer][head.level].next)
		return;
	follow_group(head.writer, head.level, head.seq, head.group);
	follow_number(&check.lane[head.writer][head.level], head.seq);
	if (whole && size >= STAMPED)
		check_stamp(data, head.writer);
}

/* The next bytes of the stream. */
static void check_bytes(const unsigned char *data, size_t len)
{
	while (len && !check.adrift) {
		bool whole = !check.carry_len;
		const unsigned char *at = whole ? data : check.carry;
		size_t size = message_size(at, whole ? len : check.carry_len);
		size_t take;

		if (check.adrift)
			break;
		if (whole && size && size <= len) {
			check_message(data, size);
			take = size;
		} else {
			take = (size ? size : HEAD) - check.carry_len;
			if (take > len)
				take = len;
			memcpy(check.carry + check.carry_len, data, take);
			check.carry_len += take;
			if (check.carry_len == size) {
				check_message(check.carry, size);
				check.carry_len = 0;
			}
		}
		check.bytes += take;
		data += take;
		len -= take;
	}
	check.bytes += len;
}

/* ---- the reader ------------------------------------------------------ */

struct sink {
	size_t taken;
	bool fussy;			/* takes short counts, and sometimes nothing */
	bool pushes;
	int error;
};

static int take(void *ctx, const void *data, size_t len)
{
	struct sink *sink = ctx;

	if (sink->fussy) {
		uint32_t whim = random_below(16);

		if (whim == 0)
			sink->error = -EAGAIN;
		if (whim <= 1)
			return sink->error;
		if (whim <= 8)
			len = random_below((uint32_t)len) + 1u;
	}
	check_bytes(data, len);
	sink->taken += len;
	if (sink->pushes && random_below(64) == 0)
		write_next(self, 0);
	return (int)len;
}

/* One call that reads, of whatever kind. Tells how many bytes came. */
static size_t read_some(bool pushes)
{
	static unsigned char buf[16384];
	struct sink sink = { 0, false, pushes, 0 };
	uint32_t kind = random_below(32);
	bool wait = random_below(2);
	size_t max = SIZE_MAX;
	int rc;

	if (kind < 6) {
		max = kind ? random_below(sizeof(buf) - 1) : random_below(40);
		buf[max] = 0xa5;
		rc = wait ? bpf_stream_read(&stream, buf, max) :
			    bpf_stream_try_read(&stream, buf, max);
		if (rc > 0 && (size_t)rc <= max)
			check_bytes(buf, (size_t)rc);
		else if (rc > 0 || (rc < 0 && (wait || rc != -EBUSY)))
			surprise(rc);
		if (buf[max] != 0xa5)
			surprise(EOVERFLOW);
		return rc > 0 ? (size_t)rc : 0;
	}
	if (kind < 10)
		max = random_below(5000);
	sink.fussy = kind >= 8 && kind < 12;
	rc = wait ? bpf_stream_drain(&stream, take, &sink, max) :
		    bpf_stream_try_drain(&stream, take, &sink, max);
	if (sink.taken ? (size_t)rc != sink.taken :
	    rc != sink.error && (wait || rc != -EBUSY))
		surprise(rc);
	if (sink.taken > max)
		surprise(EOVERFLOW);
	return sink.taken;
}

static void *read_all(void *arg)
{
	struct sink rest_of_it = { 0 };
	struct bpf_stream_stats stats;
	struct writer *w = arg;
	uint64_t rounds = 0;

	self = w;
	if (options[SIGNALS_ON].value && !start_timers(w))
		atomic_store(&no_timers, true);
	while (!atomic_load(&reader_stop)) {
		if (!read_some(true))
			rest(random_below(6));
		if (++rounds % 20000 == 0)
			bpf_stream_pool_trim();
		bpf_stream_get_stats(&stream, &stats);
		if (stats.pending > stats.capacity)
			surprise(-EDQUOT);
		atomic_store_explicit(&check.shown_messages, check.messages, memory_order_relaxed);
		atomic_store_explicit(&check.shown_bytes, check.bytes, memory_order_relaxed);
	}
	w->silent = true;
	while (plant != PENDING && bpf_stream_drain(&stream, take, &rest_of_it, SIZE_MAX) > 0)
		;
	return NULL;
}

/* ---- what is shown --------------------------------------------------- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, int error)
{
	fprintf(stderr, "stress: %s: %s\n", what, strerror(error));
	exit(1);
}

/* A run of which nobody can see the verdict is a failed one. */
static void flush_output(void)
{
	if (fflush(stdout))
		die("stdout: cannot write", errno);
}

static void show_progress(double elapsed, bool live)
{
	struct bpf_stream_pool_stats pool;
	struct bpf_stream_stats stats;
	uint64_t messages = get(&check.shown_messages);
	uint64_t refused = 0;
	unsigned int i;

	bpf_stream_pool_get_stats(&pool);
	bpf_stream_get_stats(&stream, &stats);
	for (i = 0; i < BPF_STREAM_REFUSALS; i++)
		refused += stats.refused[i].messages;
	printf("%s%7.1f s  %" PRIu64 " messages  %.1f MB  %.2f million/s  pending %zu  pages %zu  "
	       "refused %" PRIu64 "%s", live ? "\r" : "", elapsed, messages,
	       (double)get(&check.shown_bytes) / 1e6, (double)messages / elapsed / 1e6,
	       stats.pending, pool.in_use, refused, live ? "   " : "\n");
	flush_output();
}

/* Wait until the time is over. */
static void watch(double begin)
{
	double end = begin + (double)options[SECONDS].value / 1e6;
	bool live = isatty(STDOUT_FILENO);
	double every = live ? 0.2 : 2;
	double shown = begin;
	double t;

	for (t = begin; t < end && !atomic_load(&no_timers); t = now()) {
		double left = end - t < 0.1 ? end - t : 0.1;
		struct timespec nap = { 0, (long)(left * 1e9) };

		if (!quiet && t - shown >= every) {
			show_progress(t - begin, live);
			shown = t;
		}
		nanosleep(&nap, NULL);
	}
	if (!quiet && live)
		printf("\n");
}

struct totals {
	uint64_t seq;
	uint64_t messages;
	uint64_t bytes;
	uint64_t groups;
	uint64_t from_handlers;
	uint64_t stage_denied;
	uint64_t signals;
	uint64_t deepest;
	uint64_t refusals[BPF_STREAM_REFUSALS];
	uint64_t refused_bytes[BPF_STREAM_REFUSALS];
};

static void sum_up(struct totals *t)
{
	unsigned int i;
	unsigned int k;
	unsigned int r;

	memset(t, 0, sizeof(*t));
	for (i = 0; i < writer_count; i++) {
		struct writer *w = &writers[i];

		t->signals += get(&w->signals);
		if (get(&w->deepest) > t->deepest)
			t->deepest = get(&w->deepest);
		for (k = 0; k < LEVELS; k++) {
			struct lane *lane = &w->lane[k];

			t->messages += get(&lane->messages);
			t->bytes += get(&lane->bytes);
			t->groups += get(&lane->groups);
			t->stage_denied += get(&lane->stage_denied);
			if (k)
				t->from_handlers += get(&lane->messages);
			for (r = 0; r < BPF_STREAM_REFUSALS; r++) {
				t->refusals[r] += get(&lane->refusals[r]);
				t->refused_bytes[r] += get(&lane->refused_bytes[r]);
			}
		}
	}
}

static void show_table(const struct totals *t, const struct bpf_stream_stats *stats,
		       const struct bpf_stream_pool_stats *pool, double elapsed)
{
	static const char *const reasons[BPF_STREAM_REFUSALS] = {
		"stream full", "pool empty", "size", "invalid", "foreign"
	};
	unsigned int i;
	unsigned int k;

	printf("\n%-24s %14" PRIu64 "\n", "messages", check.messages);
	printf("%-24s %14.0f\n", "messages per second", (double)check.messages / elapsed);
	printf("%-24s %14" PRIu64 "\n", "bytes", check.bytes);
	printf("%-24s %14" PRIu64 "\n", "groups", t->groups);
	printf("%-24s %14" PRIu64 "\n", "signals", t->signals);
	printf("%-24s %14" PRIu64 "\n", "deepest nesting", t->deepest);
	for (k = 0; k < LEVELS; k++) {
		uint64_t n = 0;

		for (i = 0; i < writer_count; i++)
			n += get(&writers[i].lane[k].messages);
		if (n)
			printf("%s %-18u %14" PRIu64 "\n", "level", k, n);
	}
	for (i = 0; i < BPF_STREAM_REFUSALS; i++)
		printf("refused: %-15s %14" PRIu64 "\n", reasons[i], stats->refused[i].messages);
	printf("%-24s %14" PRIu64 "\n", "stages denied by pool", t->stage_denied);
	printf("%-24s %14zu\n", "pool pages", pool->total);
	printf("%-24s %14zu\n", "pool pages in use", pool->in_use);
	printf("%-24s %14zu\n\n", "pool pages, highest", pool->highest);
}

static bool show_verdict(const char *what, uint64_t n)
{
	printf("%-24s %14" PRIu64 "%s\n", what, n, n ? "  <-- WRONG" : "");
	return n != 0;
}

/* The library's figures that differ from ours. */
static uint64_t count_wrong_figures(const struct totals *t, const struct bpf_stream_stats *stats)
{
	uint64_t wrong = 0;
	unsigned int i;

	if (stats->delivered.bytes + stats->pending != t->bytes ||
	    stats->delivered.bytes != check.bytes)
		wrong++;
	if (!stats->pending && stats->delivered.messages != t->messages)
		wrong++;
	for (i = 0; i < BPF_STREAM_REFUSALS; i++)
		if (stats->refused[i].messages != t->refusals[i] ||
		    stats->refused[i].bytes != t->refused_bytes[i])
			wrong++;
	return wrong;
}

static int show_result(double elapsed)
{
	struct bpf_stream_pool_stats pool;
	struct bpf_stream_stats stats;
	struct totals totals;
	bool bad = false;
	unsigned int i;
	unsigned int k;

	bpf_stream_get_stats(&stream, &stats);
	bpf_stream_pool_get_stats(&pool);
	sum_up(&totals);
	/* What is pending, or behind where we lost track, is not lost. */
	for (i = 0; i < writer_count && !check.adrift && !stats.pending; i++)
		for (k = 0; k < LEVELS; k++)
			if (get(&writers[i].lane[k].seq) > check.lane[i][k].next)
				check.lost += get(&writers[i].lane[k].seq) - check.lane[i][k].next;
	if (check.carry_len && !check.adrift && !stats.pending)
		check.torn++;
	show_table(&totals, &stats, &pool, elapsed);
	bad |= show_verdict("torn", check.torn);
	bad |= show_verdict("lost", check.lost);
	bad |= show_verdict("doubled", check.doubled);
	bad |= show_verdict("reordered", check.reordered);
	bad |= show_verdict("group split", check.split);
	bad |= show_verdict("pending left", stats.pending);
	bad |= show_verdict("leaked pages", stats.pending ? 0 : pool.in_use);
	bad |= show_verdict("figures wrong", count_wrong_figures(&totals, &stats));
	bad |= show_verdict("unexpected results", atomic_load(&unexpected));
	if (check.adrift)
		printf("not checked from byte %" PRIu64 " on: no message begins there\n",
		       check.drift_at);
	if (atomic_load(&unexpected))
		printf("the last unexpected result was %d\n", atomic_load(&unexpected_code));
	if (!totals.messages) {		/* then nothing was checked */
		printf("no message was accepted%s\n",
		       pool.total ? "" : ": the pool could not be mapped; see ulimit -v");
		bad = true;
	}
	printf("verdict: %s\n", bad ? "FAILED" : "clean");
	return bad ? 1 : 0;
}

/* ---- the run --------------------------------------------------------- */

static void *obtain(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p)
		die("memory", ENOMEM);
	return p;
}

/* The stream, the pool, and how long messages can be. */
static void set_up(void)
{
	struct bpf_stream_options opts = { .capacity = (size_t)options[CAPACITY].value };
	uint64_t bound = options[CAPACITY].value;
	size_t bytes = (size_t)options[POOL].value;
	void *region;
	int rc;

	if (bytes) {
		struct bpf_stream_pool_stats pool;

		region = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (region == MAP_FAILED)
			die("--pool", errno);
		rc = bpf_stream_pool_use(region, bytes, 0);
		if (rc)
			die("--pool", -rc);
		bpf_stream_pool_get_stats(&pool);
		if (pool.total * pool.page_size / 4 < bound)
			bound = pool.total * pool.page_size / 4;
	}
	rc = bpf_stream_init(&stream, &opts);
	if (rc)
		die("--capacity", -rc);
	if (options[MAX_SMALL].value > bound)
		options[MAX_SMALL].value = bound;
	if (options[MAX_LARGE].value > bound)
		options[MAX_LARGE].value = bound;
	max_small = (uint32_t)options[MAX_SMALL].value;
	max_large = (uint32_t)options[MAX_LARGE].value;
}

static void set_up_writers(void)
{
	size_t room = (max_large > max_small ? max_large : max_small) + HEAD;
	unsigned int i;
	unsigned int k;

	writer_count = (unsigned int)options[THREADS].value + 1;
	small_levels = SMALL_LEADS / SMALL_LETTERS / writer_count;
	if (small_levels > LEVELS - 1)
		small_levels = LEVELS - 1;
	letters = SMALL_LEADS / (writer_count * small_levels);
	writers = obtain(writer_count, sizeof(*writers));
	check.lane = obtain(writer_count, sizeof(*check.lane));
	check.carry = obtain(1, room);
	check.random = seed;
	for (i = 0; i < writer_count; i++) {
		writers[i].id = i;
		for (k = 0; k < LEVELS; k++)
			writers[i].lane[k].buf = obtain(1, room);
	}
}

static void set_up_handlers(void)
{
	struct sigaction act;
	unsigned int i;

	memset(&act, 0, sizeof(act));
	act.sa_handler = on_signal;
	act.sa_flags = SA_RESTART;
	sigemptyset(&act.sa_mask);
	for (i = 0; i < SIGNALS; i++)
		if (sigaction(SIGRTMIN + (int)i, &act, NULL))
			die("sigaction", errno);
}

static void join(struct writer *w)
{
	unsigned int i;

	pthread_join(w->thread, NULL);
	for (i = 0; i < SIGNALS && options[SIGNALS_ON].value && !atomic_load(&no_timers); i++)
		timer_delete(w->timer[i]);
}

static int run(void)
{
	struct writer *reader = &writers[writer_count - 1];
	struct bpf_stream_stats stats = { 0 };
	double begin = now();
	pthread_attr_t attr;
	unsigned int i;
	int rc;

	/* Nobody may wait forever: then SIGALRM ends us. */
	alarm((unsigned int)(options[SECONDS].value / 1000000) + 60);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (i = 0; i < writer_count; i++) {
		rc = pthread_create(&writers[i].thread, &attr,
				    &writers[i] == reader ? read_all : write_all, &writers[i]);
		if (rc)
			die("threads", rc);
	}
	pthread_attr_destroy(&attr);
	watch(begin);
	if (plant == PENDING) {		/* the reader ends first, and the writers do not */
		atomic_store(&reader_stop, true);
		join(reader);
		while (!stats.pending)
			bpf_stream_get_stats(&stream, &stats);
	}
	atomic_store(&writers_stop, true);
	for (i = 0; i + 1 < writer_count; i++)
		join(&writers[i]);
	atomic_store(&reader_stop, true);
	if (plant != PENDING)
		join(reader);
	if (atomic_load(&no_timers)) {
		printf("skipped: no timers that signal a thread here; try --signals off\n");
		return 77;
	}
	return show_result(now() - begin);
}

static void tear_down(void)
{
	unsigned int i;
	unsigned int k;

	bpf_stream_destroy(&stream);
	for (i = 0; i < writer_count; i++)
		for (k = 0; k < LEVELS; k++)
			free(writers[i].lane[k].buf);
	free(writers);
	free(check.lane);
	free(check.carry);
}

/* ---- arguments ------------------------------------------------------- */

static void print_value(FILE *f, const struct option *o, uint64_t value)
{
	if (o->kind == SWITCH)
		fprintf(f, "%s", value ? "on" : "off");
	else if (o->kind == TIME && value % 1000000)
		fprintf(f, "%.*g", 12, (double)value / 1e6);
	else if (o->kind == TIME)
		fprintf(f, "%" PRIu64, value / 1000000);
	else
		fprintf(f, "%" PRIu64, value);
}

static void help(void)
{
	char text[64];
	unsigned int i;

	printf("Usage: stress [OPTION]...\n"
	       "Write to one stream from threads and signal handlers; check all that comes out.\n"
	       "\n");
	for (i = 0; i < OPTIONS; i++) {
		snprintf(text, sizeof(text), "--%s %s", options[i].name, options[i].arg);
		printf("  %-24s %s (", text, options[i].help);
		print_value(stdout, &options[i], options[i].value);
		printf(")\n");
	}
	printf("  %-24s %s\n  %-24s %s\n  %-24s %s\n", "--quiet", "no progress lines",
	       "-h, --help", "this text", "-V, --version", "the library's version");
#ifdef BPF_STREAM_STRESS_PLANT
	printf("  %-24s ", "--plant BUG");
	for (i = TORN; i < PLANTS; i++)
		printf("%s%s", plant_names[i], i + 1 < PLANTS ? ", " : "\n");
#endif
	printf("\nDefaults, shown in parentheses, also come from the environment:\n"
	       "BPF_STREAM_STRESS_THREADS for --threads, and so on. BYTES may end in k (1024)\n"
	       "or m (1048576).\n"
	       "\n"
	       "The first line of output repeats the run's options and can be given again. In\n"
	       "the table at the end,\n"
	       "  groups                   are messages that were committed together, as one\n"
	       "  deepest nesting          is the most handlers at a time on one thread\n"
	       "  level N                  counts the messages from the threads (0), from\n"
	       "                           handlers that interrupted them (1), from those inside\n"
	       "                           these (2)\n"
	       "  refused: ...             counts attempts; the message is offered again\n"
	       "  stages denied by pool    are groups put off, because no page was free\n"
	       "  pending left             are bytes that stayed in the stream\n"
	       "  leaked pages             are pages in use after everything was read\n"
	       "  figures wrong            are the library's figures that differ from our count\n"
	       "  unexpected results       are return values that the header does not allow\n"
	       "From torn on, each must be 0.\n"
	       "\n"
	       "Exit: 0 clean, 1 a check failed, or no message was accepted, 2 usage, 77 no\n"
	       "timers here.\n");
}

static bool parse_number(const struct option *o, const char *text, uint64_t *value)
{
	char *end = NULL;

	if (o->kind == SWITCH) {
		*value = !strcmp(text, "on");
		return *value || !strcmp(text, "off");
	}
	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	if (o->kind == TIME) {
		double d = strtod(text, &end) * 1e6 + 0.5;

		if (*end || !(d >= (double)o->min && d <= (double)o->max))
			return false;
		*value = (uint64_t)d;
		return true;
	}
	*value = strtoull(text, &end, 10);
	if (o->kind == SIZE && *end && !end[1]) {
		unsigned int shift = *end == 'k' || *end == 'K' ? 10 :
				     *end == 'm' || *end == 'M' ? 20 : 0;

		if (!shift || *value > UINT64_MAX >> shift)
			return false;
		*value <<= shift;
		end++;
	}
	return !errno && !*end &&
	       ((*value >= o->min && *value <= o->max) || (o->or_zero && !*value));
}

/* Set @o from @text, which came from @where. */
static void set_option(struct option *o, const char *where, char between, const char *text)
{
	uint64_t value;

	if (parse_number(o, text, &value)) {
		o->value = value;
		return;
	}
	fprintf(stderr, "stress: %s%c%s: must be ", where, between, *text ? text : "''");
	if (o->kind == SWITCH) {
		fprintf(stderr, "on or off\n");
	} else {
		fprintf(stderr, "%s", o->or_zero ? "0, or " : "");
		print_value(stderr, o, o->min);
		fprintf(stderr, " to ");
		print_value(stderr, o, o->max);
		fprintf(stderr, "\n");
	}
	exit(2);
}

/* If not @strict, a bad value leaves the default. */
static void read_environment(bool strict)
{
	char name[64];
	uint64_t value;
	const char *text;
	unsigned int i;
	char *c;

	for (i = 0; i < OPTIONS; i++) {
		snprintf(name, sizeof(name), "BPF_STREAM_STRESS_%s", options[i].name);
		for (c = name; *c; c++)
			*c = *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
		text = getenv(name);
		if (text && (strict || parse_number(&options[i], text, &value)))
			set_option(&options[i], name, '=', text);
	}
}

#ifdef BPF_STREAM_STRESS_PLANT
static void set_plant(const char *text)
{
	unsigned int i;

	for (i = TORN; i < PLANTS; i++)
		if (!strcmp(text, plant_names[i]))
			plant = (enum plant)i;
	if (plant)
		return;
	fprintf(stderr, "stress: --plant %s: there is no such bug; see --help\n", text);
	exit(2);
}
#endif

/* The option that @arg names, as "--name" or "--name=value". */
static struct option *find_option(const char *arg, size_t len)
{
	unsigned int i;

	for (i = 0; i < OPTIONS; i++)
		if (!strncmp(arg, "--", 2) && strlen(options[i].name) == len - 2 &&
		    !memcmp(arg + 2, options[i].name, len - 2))
			return &options[i];
	return NULL;
}

static bool asks_for_help(const char *arg)
{
	return !strcmp(arg, "--help") || !strcmp(arg, "-h");
}

/* Whether @arg is one of the options that only show something. */
static bool is_question(const char *arg)
{
	return asks_for_help(arg) || !strcmp(arg, "--version") || !strcmp(arg, "-V");
}

static void read_arguments(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		size_t len = strcspn(argv[i], "=");
		bool joined = argv[i][len] == '=';
		struct option *o = find_option(argv[i], len);
		bool planted = false;
		char name[32];

		snprintf(name, sizeof(name), "%.*s", (int)len, argv[i]);
		if (joined && (is_question(name) || !strcmp(name, "--quiet"))) {
			fprintf(stderr, "stress: %s: takes no value\n", name);
			exit(2);
		}
		if (is_question(argv[i])) {
			if (asks_for_help(argv[i]))
				help();
			else
				printf("stress " BPF_STREAM_VERSION "\n");
			flush_output();
			exit(0);
		}
		if (!strcmp(argv[i], "--quiet")) {
			quiet = true;
			continue;
		}
#ifdef BPF_STREAM_STRESS_PLANT
		planted = !strcmp(argv[i], "--plant");
#endif
		if (!o && !planted) {
			fprintf(stderr, "stress: %s: there is no such option; see --help\n",
				argv[i]);
			exit(2);
		}
		if (!joined && i + 1 == argc) {
			fprintf(stderr, "stress: %s: needs a value\n", argv[i]);
			exit(2);
		}
		if (!joined)
			i++;
#ifdef BPF_STREAM_STRESS_PLANT
		if (planted) {
			set_plant(argv[i]);
			continue;
		}
#endif
		set_option(o, name, ' ', joined ? argv[i] + len + 1 : argv[i]);
	}
}

int main(int argc, char **argv)
{
	bool asked = false;
	unsigned int i;
	int arg;
	int rc;

	for (arg = 1; arg < argc; arg++)
		asked |= is_question(argv[arg]);
	read_environment(!asked);
	read_arguments(argc, argv);
	if (!options[SEED].value)
		options[SEED].value =
			1 + (mix((uint64_t)time(NULL) << 32 ^ (uint64_t)getpid()) >> 32);
	seed = mix(options[SEED].value);
	set_up();
	printf("stress");
	for (i = 0; i < OPTIONS; i++) {
		printf(" --%s ", options[i].name);
		print_value(stdout, &options[i], options[i].value);
	}
	printf("\n");
	flush_output();
	set_up_writers();
	set_up_handlers();
	rc = run();
	flush_output();
	tear_down();
	return rc;
}
