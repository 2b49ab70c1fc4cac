/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * stream_parity - streams beside a slow, obvious model, in random scripts
 *
 * A script makes up to three streams with capacities from one byte to the
 * largest, and two stages. It pushes, prints in every way (formats that are not
 * valid, too), stages, commits, reads and drains into memory, descriptors and sinks
 * that take less, nothing, too much, that fail, and that push and read
 * themselves; all in pools of 7 and 63 pages and in the library's own. After
 * each call its return code and errno, every byte that came out, the figures of
 * all streams and of the pool are compared with those of model.h. That is
 * exact: -ENOMEM is right only where the model has no page left, either. At
 * the end of a script the invariants are checked, and all pages are back.
 *
 * A script that differs is shrunk: steps are left out and numbers made smaller
 * for as long as it still differs, each try in a process of its own, so that
 * crashes shrink as well. The rest is printed; --replay runs it again.
 *
 * Seen to fail, each with a script of one to four steps, with the header
 * broken so that: the capacity is never reached; every element ends a message;
 * consumed lengths do not add up; the backlog is not reversed; commit keeps
 * the stage; a half made message, a freed stage, a destroyed backlog or a
 * released thread's page is not given back; a sink is believed to have taken
 * more than it was offered; nothing is refunded at the end, or before a sink
 * is called; a drain goes on with what its sink pushes; an error wins over
 * progress; trim loses pages; 1023 bytes are refused, or a stage's text is cut
 * at 1022; elements are rounded to 16; the bound of the pool is off by one
 * page; pages that were left go to no list, are not asked for before
 * -ENOMEM, or stay when trimmed; streams have one group; all pages may be
 * kept, or a released thread's share is; a refused group counts as one
 * message; push changes errno; lengths that are not valid count bytes;
 * gathering leaves out the 63rd piece; -EDEADLK is -EBUSY; an error of writev
 * is lost; empty messages are stored; the limit of reports counts on; a
 * negative read length is taken. With no steps left out in shrinking, seven of
 * the twelve differences of --differences are too large.
 * For "every element ends a message" it printed:
 *
 *	FAIL: script 101 (--seed 102 --scripts 1): step 45: drain: delivered
 *	messages of stream 1 are 1, the model says 0
 *	its 49 steps were shrunk to 3 in 236 tries:
 *	script
 *	pool 0
 *	init stream=0 capacity=0 group=0
 *	push stream=0 length=4089 times=1
 *	drain stream=0 max=4088 try=0 whole=0 sink=0 part=0 inner=0 ...
 *	# step 3: drain: delivered messages of stream 0 are 1, the model says 0
 *	end
 */
#define _GNU_SOURCE
#define BPF_STREAM_STATIC
#define BPF_STREAM_PROG
#include "bpf_stream.h"
#include "../unit/selfcheck.h"
#include "script.h"

#include <fcntl.h>
#include <poll.h>

#define QUICK_SCRIPTS 2000u
#define MOST_SCRIPTS 100000u
/* One thread shows nothing more under ThreadSanitizer, which is slow. */
#define FULL_SCRIPTS (PROGRAM_TSAN ? MOST_SCRIPTS / 10 : MOST_SCRIPTS)
#define MOST_FAILURES 3u		/* then it stops */
#define DATA_MAX ((size_t)5 << 20)	/* bytes that a call passes, at most */
#define TEXT_MAX 100200			/* longer than any text that is printed */
#define ERRNO_MARK 4321			/* what calls have to keep */
#define CANARY 0x5a

/* What became of a script; the program and its children share one. */
struct verdict {
	uint64_t script;		/* its number in the run */
	uint32_t step;			/* the one at work, from 0 */
	bool differs;
	char outcome[256];
};

/* A script at work */
struct run {
	struct model m;
	struct bpf_stream stream[MODEL_STREAMS];
	struct bpf_stream_stage stage[MODEL_STAGES];
	struct bpf_prog_aux aux;
	const char *at;			/* the step's name */
	unsigned int message;		/* no two in a row have the same bytes */
};

static struct verdict *verdict;

/* Beside what a call uses there is a canary. */
static unsigned char data[DATA_MAX + 1];
static unsigned char got[DATA_MAX + 1];
static unsigned char expected[DATA_MAX + 1];
static char text[TEXT_MAX];
static char format[TEXT_MAX];
static _Alignas(4096) char region[POOL_PAGES_MAX * BPF_STREAM_PAGE_SIZE];

/* ---- comparing --------------------------------------------------------- */

/* The first difference is kept. Always false. */
__attribute__((format(printf, 2, 3)))
static bool differs(const struct run *r, const char *fmt, ...)
{
	int len;
	va_list ap;

	if (verdict->differs)
		return false;
	verdict->differs = true;
	len = snprintf(verdict->outcome, sizeof(verdict->outcome), "step %" PRIu32 ": %s: ",
		       verdict->step + 1, r->at);
	va_start(ap, fmt);
	vsnprintf(verdict->outcome + len, sizeof(verdict->outcome) - (size_t)len, fmt, ap);
	va_end(ap);
	return false;
}

static bool same_number(const struct run *r, const char *what, uint64_t ours, uint64_t model)
{
	return ours == model || differs(r, "%s %" PRIu64 ", the model says %" PRIu64, what, ours,
					model);
}

/* What a call returned, and that it kept errno. */
static bool same_return(const struct run *r, int ours, int model)
{
	if (ours != model && model == MODEL_GOES_ON)
		return differs(r, "returned %d, the model goes on", ours);
	if (ours != model)
		return differs(r, "returned %d, the model says %d", ours, model);
	return errno == ERRNO_MARK || differs(r, "changed errno to %d", errno);
}

#define OURS(call) (errno = ERRNO_MARK, (call))

/* @len bytes came out; are they the next ones? They are not taken yet. */
static bool same_bytes(const struct run *r, unsigned int stream, const void *bytes, size_t len)
{
	const unsigned char *at = bytes;

	model_peek(&r->m.stream[stream], expected, len);
	for (size_t i = 0; i < len; i++)
		if (at[i] != expected[i])
			return differs(r, "byte %zu of %zu is 0x%02x, the model says 0x%02x", i,
				       len, at[i], expected[i]);
	return true;
}

static bool same_count(const struct run *r, const char *what, unsigned int stream,
		       const struct bpf_stream_count *ours, const struct model_count *model)
{
	char name[80];

	snprintf(name, sizeof(name), "%s messages of stream %u are", what, stream);
	if (!same_number(r, name, ours->messages, model->messages))
		return false;
	snprintf(name, sizeof(name), "%s bytes of stream %u are", what, stream);
	return same_number(r, name, ours->bytes, model->bytes);
}

static bool same_stream(const struct run *r, unsigned int stream)
{
	static const char *const refused[] = {
		[BPF_STREAM_REFUSED_FULL] = "refused (full)",
		[BPF_STREAM_REFUSED_POOL] = "refused (pool)",
		[BPF_STREAM_REFUSED_SIZE] = "refused (size)",
		[BPF_STREAM_REFUSED_INVALID] = "refused (invalid)",
		[BPF_STREAM_REFUSED_FOREIGN] = "refused (foreign)",
		[BPF_STREAM_REFUSED_CLOSED] = "refused (closed)",
	};
	const struct model_stream *model = &r->m.stream[stream];
	struct bpf_stream_stats ours;
	char name[80];

	if (!model->live)
		return true;
	bpf_stream_get_stats(&r->stream[stream], &ours);
	snprintf(name, sizeof(name), "pending of stream %u is", stream);
	if (!same_number(r, name, ours.pending, model->pending))
		return false;
	snprintf(name, sizeof(name), "capacity of stream %u is", stream);
	if (!same_number(r, name, ours.capacity, model->capacity))
		return false;
	for (unsigned int i = 0; i < BPF_STREAM_REFUSALS; i++)
		if (!same_count(r, refused[i], stream, &ours.refused[i], &model->refused[i]))
			return false;
	return same_count(r, "delivered", stream, &ours.delivered, &model->delivered);
}

/* All that can be seen from outside without changing anything */
static bool same_figures(const struct run *r)
{
	const struct model_pool *model = &r->m.pool;
	struct bpf_stream_pool_stats ours;

	for (unsigned int i = 0; i < MODEL_STREAMS; i++)
		if (!same_stream(r, i))
			return false;
	bpf_stream_pool_get_stats(&ours);
	return same_number(r, "pages in use are", ours.in_use, model_pages(&r->m, true)) &&
	       same_number(r, "pages left by writers are", ours.partial,
			   model_pages(&r->m, false)) &&
	       same_number(r, "most pages in use were", ours.highest, model->used) &&
	       same_number(r, "denied pages are", ours.denied, model->denied) &&
	       same_number(r, "pages in all are", ours.total, model->total);
}

/* ---- writing ----------------------------------------------------------- */

/* Bytes of any kind for a new message, unlike those of the one before */
static void make_data(struct run *r, size_t len)
{
	r->message++;
	for (size_t i = 0; i < len; i++)
		data[i] = (unsigned char)(r->message * 37 + i * 7 + i / 251);
}

/* Lengths of which bytes may be read: what no pool can hold is not. */
static size_t data_length(const struct run *r, uint64_t len)
{
	size_t bytes = len < SIZE_MAX ? (size_t)len : SIZE_MAX;

	if (bytes > DATA_MAX && bytes <= r->m.pool.total * r->m.pool.page_size)
		bytes = DATA_MAX;
	return bytes;
}

static bool push_once(struct run *r, unsigned int stream, uint64_t length)
{
	size_t len = data_length(r, length);
	int model;

	make_data(r, len <= DATA_MAX ? len : 0);
	model = model_push(&r->m, stream, data, len);
	return same_return(r, OURS(bpf_stream_push(&r->stream[stream], data, len)), model);
}

static bool stage_push_once(struct run *r, unsigned int stage, uint64_t length)
{
	size_t len = data_length(r, length);
	int model;

	make_data(r, len <= DATA_MAX ? len : 0);
	model = model_stage_push(&r->m, stage, data, len);
	return same_return(r, OURS(bpf_stream_stage_push(&r->stage[stage], data, len)), model);
}

/* The two arguments that every format is given */
struct print {
	const char *fmt;
	int number;
	const char *string;
	int len;			/* of the text, which the C library made; -1: not valid */
};

/*
 * A format, its arguments and, in text, what they give. For the array form an
 * argument area of 512 bytes cuts strings, and the number comes first in it.
 */
static void make_print(struct run *r, struct print *print, enum op op, unsigned int kind,
		       uint64_t length)
{
	static const char *const bad[] = {
		"no%", "no%y", "no%n", "no%.3f", "no%ls", "no%5",
	};
	static char string[TEXT_MAX];
	size_t len = length < 99999 ? (size_t)length : 99999;
	size_t area = 511;

	r->message++;
	memset(print, 0, sizeof(*print));
	print->number = (int)(r->message * 2654435761u);
	print->string = string;
	print->fmt = format;
	for (size_t i = 0; i < len; i++)
		string[i] = (char)('0' + (r->message * 37 + i * 7 + i / 61) % 64);
	string[len] = '\0';
	if (kind >= FORMATS_GOOD) {
		print->fmt = bad[kind - FORMATS_GOOD];
		print->len = -1;
		return;
	}
	switch (kind) {
	case FORMAT_STRING:
		strcpy(format, "%s");
		break;
	case FORMAT_WIDTH:
		snprintf(format, sizeof(format), "%%%zud", len);
		break;
	case FORMAT_PLAIN:
		strcpy(format, string);
		break;
	default:
		strcpy(format, "<%d:%s>");
		area = 507;
		break;
	}
	if (op == OP_BPRINTF && len > area)
		string[area] = '\0';
	if (kind == FORMAT_STRING)
		print->len = snprintf(text, sizeof(text), format, string);
	else
		print->len = snprintf(text, sizeof(text), format, print->number, string);
	/* Cut for the expectation only */
	if (op == OP_BPRINTF && len > area)
		string[area] = '0';
}

static int call_vprintf(struct bpf_stream *s, const char *fmt, ...)
{
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = bpf_stream_vprintf(s, fmt, ap);
	va_end(ap);
	return ret;
}

/* As an array; not valid ones are so in other ways, too. */
static int call_bprintf(struct bpf_stream *s, const struct print *print, unsigned int kind)
{
	uint64_t args[2] = { (uint64_t)print->number, (uintptr_t)print->string };

	switch (kind) {
	case FORMAT_STRING:
		return bpf_stream_bprintf(s, print->fmt, &args[1], 8);
	case FORMATS_GOOD:
		return bpf_stream_bprintf(s, "no%d", args, 0);
	case FORMATS_GOOD + 1:
		return bpf_stream_bprintf(s, "no%d", args, 7);
	case FORMATS_GOOD + 2:
		return bpf_stream_bprintf(s, "no%d", NULL, 8);
	case FORMATS_GOOD + 3:
		return bpf_stream_bprintf(s, "no", args, 104);
	default:
		return bpf_stream_bprintf(s, print->fmt, args, sizeof(args));
	}
}

static bool print_once(struct run *r, enum op op, unsigned int to, unsigned int kind,
		       uint64_t length)
{
	struct bpf_stream_stage *ss = &r->stage[to % MODEL_STAGES];
	struct bpf_stream *s = &r->stream[to];
	struct print print;
	const char *fmt;
	int ours;
	int model;

	make_print(r, &print, op, kind, length);
	fmt = print.fmt;
	errno = ERRNO_MARK;
	if (op == OP_BPRINTF)
		ours = call_bprintf(s, &print, kind);
	else if (op == OP_PRINTF && kind == FORMAT_STRING)
		ours = bpf_stream_printf(s, fmt, print.string);
	else if (op == OP_PRINTF)
		ours = bpf_stream_printf(s, fmt, print.number, print.string);
	else if (op == OP_VPRINTF && kind == FORMAT_STRING)
		ours = call_vprintf(s, fmt, print.string);
	else if (op == OP_VPRINTF)
		ours = call_vprintf(s, fmt, print.number, print.string);
	else if (kind == FORMAT_STRING)
		ours = bpf_stream_stage_printk(ss, fmt, print.string);
	else
		ours = bpf_stream_stage_printk(ss, fmt, print.number, print.string);
	model = op == OP_STAGE_PRINTK ? model_stage_printk(&r->m, to, text, print.len) :
					model_print(&r->m, to, text, print.len);
	return same_return(r, ours, model);
}

/* ---- reading ----------------------------------------------------------- */

static bool read_once(struct run *r, unsigned int stream, uint64_t length, bool try)
{
	struct bpf_stream *s = &r->stream[stream];
	size_t len = length > INT_MAX ? data_length(r, length) :
		     length < DATA_MAX ? (size_t)length : DATA_MAX;
	int model = model_read(&r->m, stream, len);
	/* Where nothing comes, nothing is touched. */
	void *to = model > 0 ? got : NULL;
	int ours;

	if (model > 0)
		got[model] = CANARY;
	errno = ERRNO_MARK;
	ours = try ? bpf_stream_try_read(s, to, len) : bpf_stream_read(s, to, len);
	if (!same_return(r, ours, model))
		return false;
	if (ours < 0)
		return true;
	if (ours > 0 && got[ours] != CANARY)
		return differs(r, "wrote behind the %d bytes that it returned", ours);
	if (!same_bytes(r, stream, got, (size_t)ours))
		return false;
	if (len)
		model_take(&r->m, &r->m.stream[stream], (size_t)ours);
	return true;
}

/* A drain at work, as its sink sees it */
struct offer {
	struct run *r;
	const struct step *step;
	size_t left;			/* that it may still be given */
	size_t taken;
	uint64_t calls;
	int err;			/* with which it ended */
	bool ended;
};

static bool sink_acts_inside(struct run *r, const struct step *step)
{
	unsigned int other = (unsigned int)step->arg[7];

	if (!r->m.stream[other].live)
		return true;
	if (step->arg[6] == INNER_PUSH)
		return push_once(r, other, step->arg[8]);
	if (step->arg[6] == INNER_READ)
		return read_once(r, other, step->arg[8], step->arg[2]);
	return true;
}

/*
 * How the bytes are cut into calls is the library's to choose: each is taken
 * as it comes. What was taken before it has to be accounted for already.
 */
static int sink(void *ctx, const void *bytes, size_t len)
{
	struct offer *offer = ctx;
	struct run *r = offer->r;
	unsigned int stream = (unsigned int)offer->step->arg[0];
	uint64_t part = offer->step->arg[5];
	size_t take = len;

	if (offer->ended)
		differs(r, "the sink was called again after it had ended the drain");
	else if (!len || len > offer->left)
		differs(r, "the sink is offered %zu bytes of %zu", len, offer->left);
	else if (same_bytes(r, stream, bytes, len) && same_figures(r))
		sink_acts_inside(r, offer->step);
	if (verdict->differs)
		return -ECANCELED;
	errno = ERRNO_MARK;
	if (offer->calls++ >= offer->step->arg[3]) {
		switch ((enum sink)offer->step->arg[4]) {
		case SINK_SHORT:
			take = part < len ? (size_t)part : len;
			break;
		case SINK_NOTHING:
			take = 0;
			break;
		case SINK_FAIL:
			offer->err = -1 - (int)(part % 4095);
			offer->ended = true;
			return offer->err;
		case SINK_LIE:
			offer->err = -EINVAL;
			offer->ended = true;
			return part < INT_MAX - len ? (int)(len + part + 1) : INT_MAX;
		default:
			break;
		}
	}
	offer->ended = take < len;
	offer->left -= take;
	offer->taken += take;
	model_take(&r->m, &r->m.stream[stream], take);
	return (int)take;
}

static bool drain_once(struct run *r, const struct step *step)
{
	unsigned int stream = (unsigned int)step->arg[0];
	struct bpf_stream *s = &r->stream[stream];
	struct model_stream *model = &r->m.stream[stream];
	size_t max = step->arg[1] < SIZE_MAX ? (size_t)step->arg[1] : SIZE_MAX;
	int begin = model_begin(&r->m, stream, max);
	struct offer offer = { .r = r, .step = step, .left = begin < 0 ? 0 : (size_t)begin,
			       .err = begin < 0 ? begin : 0 };
	int ours;

	model->drained = max;
	errno = ERRNO_MARK;
	ours = step->arg[2] ? bpf_stream_try_drain(s, sink, &offer, max) :
			      bpf_stream_drain(s, sink, &offer, max);
	model->drained = false;
	if (verdict->differs)
		return false;
	if (!offer.ended && offer.left)
		return differs(r, "left out %zu bytes of %d", offer.left, begin);
	if (max)
		model_take(&r->m, model, 0);
	return same_return(r, ours, model_answer(&r->m, offer.taken, offer.err));
}

/* ---- descriptors ------------------------------------------------------- */

struct target {
	int to;				/* write here */
	int from;			/* and find it here, or -1 */
	size_t fill;			/* bytes that were there before */
	int err;			/* what a write that takes nothing returns */
};

static void target_open(struct target *target, enum fd kind, uint64_t fill)
{
	int ends[2];

	*target = (struct target){ -1, -1, 0, -EBADF };
	switch (kind) {
	case FD_MEMORY:
		target->to = target->from = memfd_create("parity", MFD_CLOEXEC);
		break;
	case FD_PIPE:
	case FD_NO_READER:
		if (pipe2(ends, O_NONBLOCK | O_CLOEXEC))
			abort();
		target->to = ends[1];
		if (kind == FD_NO_READER) {
			close(ends[0]);
			target->err = -EPIPE;
			break;
		}
		target->from = ends[0];
		target->err = -EAGAIN;
		/* Perhaps it stays larger; then less is short. */
		fcntl(target->to, F_SETPIPE_SZ, 4096);
		while (target->fill < fill && target->fill < 4096 && write(target->to, "", 1) == 1)
			target->fill++;
		break;
	case FD_FULL:
		target->to = open("/dev/full", O_WRONLY | O_CLOEXEC);
		target->err = target->to < 0 ? -EBADF : -ENOSPC;
		break;
	default:
		break;
	}
}

/* Reads into got what arrived, after what was there before. */
static size_t target_arrived(const struct target *target)
{
	size_t len = 0;
	ssize_t n;

	if (target->from < 0)
		return 0;
	if (target->from == target->to)
		lseek(target->from, 0, SEEK_SET);
	for (size_t i = 0; i < target->fill; i++)
		if (read(target->from, got, 1) != 1)
			abort();
	while ((n = read(target->from, got + len, DATA_MAX - len)) > 0)
		len += (size_t)n;
	return len;
}

static bool drain_fd_once(struct run *r, const struct step *step)
{
	unsigned int stream = (unsigned int)step->arg[0];
	size_t max = step->arg[1] < DATA_MAX ? (size_t)step->arg[1] : DATA_MAX;
	int begin = model_begin(&r->m, stream, max);
	int none = begin < 0 ? begin : 0;
	struct target target;
	struct pollfd room;
	size_t arrived;
	int ours;
	bool kept;

	if (none)
		begin = 0;
	target_open(&target, (enum fd)step->arg[2], step->arg[3]);
	ours = OURS(bpf_stream_drain_fd(&r->stream[stream], target.to, max));
	kept = errno == ERRNO_MARK;
	room = (struct pollfd){ .fd = target.to, .events = POLLOUT };
	if (step->arg[2] == FD_PIPE)
		poll(&room, 1, 0);
	arrived = target_arrived(&target);
	if (target.from >= 0 && target.from != target.to)
		close(target.from);
	if (target.to >= 0)
		close(target.to);
	if (arrived > (size_t)begin)
		return differs(r, "%zu bytes arrived, but there were %d", arrived, begin);
	if (!same_bytes(r, stream, got, arrived))
		return false;
	if (arrived < (size_t)begin && (step->arg[2] == FD_MEMORY || room.revents & POLLOUT))
		return differs(r, "%zu bytes arrived of %d, and there was room", arrived, begin);
	if (max)
		model_take(&r->m, &r->m.stream[stream], arrived);
	errno = kept ? ERRNO_MARK : 0;
	return same_return(r, ours, !begin ? none : arrived ? (int)arrived : target.err);
}

/* ---- records ------------------------------------------------------------ */

/* How records are taken: all, or some and then no more, or not the next one. */
enum { ANSWER_ALL, ANSWER_STOP, ANSWER_NOT };

struct taking {
	struct run *r;
	unsigned int stream;
	uint64_t answer;
	uint64_t behind;		/* so many records */
	size_t left;			/* bytes that were pending */
	uint64_t taken;
	bool good;
};

/* A record as the model says, and its bytes at @data. */
static bool same_record(struct run *r, unsigned int stream, const struct bpf_stream_record *ours,
			const struct model_record *model)
{
	if (ours->len != model->len || ours->offset != model->offset || ours->total != model->total)
		return differs(r, "record %zu+%zu of %zu, the model says %zu+%zu of %zu",
			       ours->offset, ours->len, ours->total, model->offset, model->len,
			       model->total);
	if (ours->lost != model->lost || ours->seq != model->seq || ours->more != model->more)
		return differs(r, "record %" PRIu64 ", %" PRIu64 " lost, more %d; the model says %"
			       PRIu64 ", %" PRIu64 ", %d", ours->seq, ours->lost, ours->more,
			       model->seq, model->lost, model->more);
	if (ours->level != (ours->total ? BPF_STREAM_INFO : 0) || ours->tag || ours->time ||
	    ours->tid)
		return differs(r, "a record has a level, tag, time or thread");
	return same_bytes(r, stream, ours->data, ours->len);
}

static int take_record(void *ctx, const struct bpf_stream_record *ours)
{
	struct taking *t = ctx;
	struct model_stream *s = &t->r->m.stream[t->stream];
	const struct model_record model = model_record(s);

	t->good = t->good && same_record(t->r, t->stream, ours, &model);
	if (!t->good || (t->answer == ANSWER_NOT && t->taken == t->behind))
		return -ENODATA;
	if (ours->len > t->left)
		t->good = differs(t->r, "more records than were pending");
	t->left -= ours->len;
	model_take_record(&t->r->m, s, &model);
	t->taken++;
	return t->answer == ANSWER_STOP && t->taken > t->behind;
}

static bool records_once(struct run *r, const struct step *step)
{
	const unsigned int stream = (unsigned int)step->arg[0];
	const size_t max = (size_t)step->arg[1];
	struct model_stream *s = &r->m.stream[stream];
	struct taking t = { r, stream, step->arg[2], step->arg[3], model_bytes(s), 0, true };
	int ours;
	bool refused;

	errno = ERRNO_MARK;
	ours = bpf_stream_drain_records(&r->stream[stream], take_record, &t, max);
	if (!t.good)
		return false;
	/* What was there is taken, and told, unless something made it stop before. */
	refused = t.answer == ANSWER_NOT && t.taken == t.behind;
	if (t.taken < max && !refused && !(t.answer == ANSWER_STOP && t.taken > t.behind) &&
	    (model_bytes(s) || s->told < s->refusals))
		return differs(r, "%zu bytes are left", model_bytes(s));
	return same_return(r, ours, t.taken ? (int)t.taken : !max ? 0 :
			   refused && (model_bytes(s) || s->told < s->refusals) ? -ENODATA :
			   s->closed ? -ESHUTDOWN : 0);
}

static bool read_record_once(struct run *r, unsigned int stream, uint64_t size)
{
	struct model_stream *s = &r->m.stream[stream];
	struct model_record model = model_record(s);
	const size_t most = size < DATA_MAX ? (size_t)size : DATA_MAX;
	const size_t whole = model.total - model.offset;
	struct bpf_stream_record record;
	int ours;

	errno = ERRNO_MARK;
	ours = bpf_stream_read_record(&r->stream[stream], &record, got, most);
	if (!same_return(r, ours, !model.total && !model.lost ? (s->closed ? -ESHUTDOWN : 0) :
			 whole > most ? -EMSGSIZE : 1))
		return false;
	if (ours < 1)
		return true;
	model.len = whole;
	if (!same_record(r, stream, &record, &model))
		return false;
	model_take_record(&r->m, s, &model);
	return true;
}

/* ---- the other steps ---------------------------------------------------- */

/* A stream that names no group has one by its address, which is ours to choose. */
static bool init_once(struct run *r, unsigned int stream, uint64_t capacity, uint64_t group)
{
	struct bpf_stream_options options = {
		.capacity = (size_t)capacity,
		.group = (unsigned int)group,
	};
	/* Every second default is asked for without options. */
	bool plain = !capacity && !group && r->message++ % 2;
	int ours = OURS(bpf_stream_init(&r->stream[stream], plain ? NULL : &options));
	int model = model_init(&r->m, stream, options.capacity,
			       group ? options.group - 1 : bse_group(&r->stream[stream]));

	return same_return(r, ours, model);
}

static bool stage_once(struct run *r, enum op op, unsigned int stage)
{
	if (op == OP_STAGE_FREE)
		bpf_stream_stage_free(&r->stage[stage]);
	else if (r->m.stage[stage].list.end)
		return true;		/* it may not be forgotten */
	else
		bpf_stream_stage_init(&r->stage[stage]);
	model_stage_free(&r->m, stage);
	return true;
}

static bool commit_once(struct run *r, unsigned int stage, unsigned int stream)
{
	int model = model_commit(&r->m, stage, stream);

	return same_return(r, OURS(bpf_stream_stage_commit_to(&r->stage[stage],
							      &r->stream[stream])), model);
}

static bool trim_once(struct run *r)
{
	/* Pages of the pool that are no pages of the system stay. */
	bool can = BPF_STREAM_PAGE_SIZE % (size_t)sysconf(_SC_PAGESIZE) == 0;
	size_t model = model_trim(&r->m);

	return same_number(r, "pages given back are", bpf_stream_pool_trim(), can ? model : 0);
}

/* The counter stops at the limit; once a report leaves it, so do all others. */
static bool report_times(struct run *r, uint64_t times)
{
	struct bpf_prog prog = { .aux = &r->aux };
	uint64_t printed = 0;

	for (uint64_t i = 0; i < times; i++) {
		uint64_t before = bse_figure_get(&r->aux.stream_error_cnt);

		if (bpf_prog_stream_error_limit(&prog)) {
			if (bse_figure_get(&r->aux.stream_error_cnt) != before)
				return differs(r, "counted on behind the limit");
			break;
		}
		printed++;
	}
	return same_number(r, "reports printed are", printed, model_report(&r->m, times));
}

static bool write_times(struct run *r, const struct step *step)
{
	unsigned int to = (unsigned int)step->arg[0];
	unsigned int kind = (unsigned int)step->arg[1];
	bool prints = step->op != OP_PUSH && step->op != OP_STAGE_PUSH;

	for (uint64_t times = step->arg[prints ? 3 : 2]; times; times--)
		if (!(step->op == OP_PUSH ? push_once(r, to, step->arg[1]) :
		      step->op == OP_STAGE_PUSH ? stage_push_once(r, to, step->arg[1]) :
		      print_once(r, step->op, to, kind, step->arg[2])))
			return false;
	return true;
}

/* Which stream must be there, and which one must not? */
static bool step_applies(const struct run *r, const struct step *step)
{
	switch (step->op) {
	case OP_INIT:
		return !r->m.stream[step->arg[0]].live;
	case OP_COMMIT:
		return r->m.stream[step->arg[1]].live;
	case OP_DESTROY:
	case OP_PUSH:
	case OP_PRINTF:
	case OP_VPRINTF:
	case OP_BPRINTF:
	case OP_READ:
	case OP_DRAIN:
	case OP_DRAIN_FD:
	case OP_RECORDS:
	case OP_READ_RECORD:
	case OP_CLOSE:
		return r->m.stream[step->arg[0]].live;
	default:
		return true;
	}
}

static bool step_once(struct run *r, const struct step *step)
{
	unsigned int first = (unsigned int)step->arg[0];

	switch (step->op) {
	case OP_INIT:
		return init_once(r, first, step->arg[1], step->arg[2]);
	case OP_DESTROY:
		bpf_stream_destroy(&r->stream[first]);
		model_destroy(&r->m, first);
		return true;
	case OP_STAGE_INIT:
	case OP_STAGE_FREE:
		return stage_once(r, step->op, first);
	case OP_COMMIT:
		return commit_once(r, first, (unsigned int)step->arg[1]);
	case OP_READ:
		return read_once(r, first, step->arg[1], step->arg[2]);
	case OP_DRAIN:
		return drain_once(r, step);
	case OP_DRAIN_FD:
		return drain_fd_once(r, step);
	case OP_RECORDS:
		return records_once(r, step);
	case OP_READ_RECORD:
		return read_record_once(r, first, step->arg[1]);
	case OP_CLOSE:
		bpf_stream_close(&r->stream[first]);
		r->m.stream[first].closed = true;
		return true;
	case OP_RELEASE:
		bpf_stream_thread_release();
		model_release_thread(&r->m);
		return true;
	case OP_TRIM:
		return trim_once(r);
	case OP_REPORT:
		return report_times(r, step->arg[0]);
	default:
		return write_times(r, step);
	}
}

/* ---- one script --------------------------------------------------------- */

static bool sound(const struct run *r, struct bpf_stream *s)
{
	const char *broken = bpf_stream_selfcheck(s);

	return !broken || differs(r, "%s", broken);
}

/* Without streams every page is back. The next script begins with none idle. */
static bool quiet(struct run *r)
{
	r->at = "the end";
	for (unsigned int i = 0; i < MODEL_STREAMS; i++)
		if (r->m.stream[i].live && !sound(r, &r->stream[i]))
			return false;
	for (unsigned int i = 0; i < MODEL_STREAMS; i++)
		if (r->m.stream[i].live)
			bpf_stream_destroy(&r->stream[i]);
	for (unsigned int i = 0; i < MODEL_STAGES; i++)
		bpf_stream_stage_free(&r->stage[i]);
	bpf_stream_thread_release();
	model_quiet(&r->m);
	return same_number(r, "pages that the model keeps are", 0, model_pages(&r->m, true)) &&
	       same_figures(r) && trim_once(r) && sound(r, NULL);
}

static bool script_run(const struct script *script)
{
	static struct run r;
	struct bpf_stream_pool_stats pool;
	bool good = true;

	memset(&r, 0, sizeof(r));
	bpf_stream_pool_get_stats(&pool);
	model_start(&r.m, script->original, pool.page_size, pool.total);
	r.m.pool.denied = pool.denied;
	model_used_before(&r.m, pool.highest);
	for (uint32_t i = 0; i < script->steps && good; i++) {
		verdict->step = i;
		r.at = ops[script->step[i].op].name;
		if (step_applies(&r, &script->step[i]))
			good = step_once(&r, &script->step[i]) && same_figures(&r);
	}
	good = good && quiet(&r);
	model_stop(&r.m);
	return good;
}

/* The process's pool, set up before the first script. */
static void pool_begin(unsigned int pages)
{
	struct bpf_stream s;

	signal(SIGPIPE, SIG_IGN);
	if (pages && bpf_stream_pool_use(region, pages * BPF_STREAM_PAGE_SIZE, 0))
		abort();
	bpf_stream_init(&s, NULL);
	bpf_stream_push(&s, "first", 5);
	bpf_stream_destroy(&s);
	bpf_stream_thread_release();
	bpf_stream_pool_trim();
}

/*
 * Runs @work in a child, so that every pool is new and a crash is only one more
 * difference. True if there was none.
 */
static bool in_child(bool (*work)(void *), void *arg)
{
	int status;
	pid_t pid;

	verdict->differs = false;
	pid = program_fork();
	if (!pid)
		_exit(work(arg) ? 0 : 1);
	status = program_wait(pid);
	if (status == -1) {
		perror("stream_parity");
		exit(2);
	}
	if (!verdict->differs && status) {
		verdict->differs = true;
		snprintf(verdict->outcome, sizeof(verdict->outcome),
			 "step %" PRIu32 ": the process %s", verdict->step + 1,
			 program_end_of(status));
	}
	return !verdict->differs;
}

static bool work_alone(void *arg)
{
	const struct script *script = arg;

	pool_begin(script->pool);
	return script_run(script);
}

/* The same script in a process of its own */
static bool script_agrees(struct script *script)
{
	return in_child(work_alone, script);
}

/* ---- shrinking ---------------------------------------------------------- */

static unsigned int tries;		/* of smaller scripts */

/* Takes @smaller if it still differs. */
static bool shrink_to(struct script *script, struct script *smaller)
{
	tries++;
	if (script_agrees(smaller))
		return false;
	*script = *smaller;
	/* What comes after the difference does not matter. */
	if (verdict->step + 1 < script->steps)
		script->steps = verdict->step + 1;
	return true;
}

/* Leaves out runs of steps: long ones first, then single ones. */
static bool shrink_steps(struct script *script)
{
	bool shrunk = false;

	for (unsigned int run = script->steps; run; run /= 2)
		for (unsigned int at = 0; at + run <= script->steps;) {
			struct script smaller = *script;

			smaller.steps -= run;
			memmove(&smaller.step[at], &smaller.step[at + run],
				(smaller.steps - at) * sizeof(smaller.step[0]));
			if (smaller.steps && shrink_to(script, &smaller))
				shrunk = true;
			else
				at++;
		}
	return shrunk;
}

/* Takes @less from a number, and from all that are equal if @together. */
static void reduce(struct script *script, unsigned int step, unsigned int arg, uint64_t less,
		   bool together)
{
	uint64_t value = script->step[step].arg[arg];

	for (unsigned int i = 0; i < script->steps; i++)
		for (unsigned int j = 0; j < ARGS_MAX; j++)
			if ((i == step && j == arg) ||
			    (together && script->step[i].arg[j] == value))
				script->step[i].arg[j] -= less;
}

/* Makes a number smaller: 0, then less by a half, by a quarter, ..., by 1. */
static bool shrink_number(struct script *script, unsigned int step, unsigned int arg, bool together)
{
	bool shrunk = false;
	uint64_t less = script->step[step].arg[arg];

	while (less && step < script->steps) {
		struct script smaller = *script;

		reduce(&smaller, step, arg, less, together);
		if (shrink_to(script, &smaller)) {
			shrunk = true;
			if (less > script->step[step].arg[arg])
				less = script->step[step].arg[arg];
		} else {
			less /= 2;
		}
	}
	return shrunk;
}

static bool shrink_numbers(struct script *script)
{
	bool shrunk = false;

	for (unsigned int step = 0; step < script->steps; step++)
		for (unsigned int arg = 0; arg < ARGS_MAX; arg++)
			for (unsigned int together = 0; together < 2; together++)
				if (shrink_number(script, step, arg, together))
					shrunk = true;
	return shrunk;
}

/* One stream, or stage, in the place of another one: two become one. */
static bool rename_all(struct script *script, const char *what, uint64_t from, uint64_t to)
{
	bool renamed = false;

	for (unsigned int i = 0; i < script->steps; i++)
		for (unsigned int j = 0; j < ARGS_MAX; j++) {
			const char *name = ops[script->step[i].op].arg[j].name;

			if (name && script->step[i].arg[j] == from &&
			    (!strcmp(name, what) ||
			     (!strcmp(name, "other") && !strcmp(what, "stream")))) {
				script->step[i].arg[j] = to;
				renamed = true;
			}
		}
	return renamed;
}

static bool shrink_names(struct script *script)
{
	static const char *const names[] = { "stream", "stage" };
	bool shrunk = false;

	for (unsigned int i = 0; i < 2; i++)
		for (uint64_t from = 1; from < MODEL_STREAMS; from++)
			for (uint64_t to = 0; to < from; to++) {
				struct script smaller = *script;

				if (rename_all(&smaller, names[i], from, to) &&
				    shrink_to(script, &smaller))
					shrunk = true;
			}
	return shrunk;
}

/* Until nothing more can be left out. False if it does not differ alone. */
static bool script_shrink(struct script *script)
{
	struct script same = *script;
	bool shrunk;

	tries = 0;
	if (!shrink_to(script, &same))
		return false;
	do {
		shrunk = shrink_steps(script);
		shrunk = shrink_names(script) || shrunk;
		shrunk = shrink_numbers(script) || shrunk;
	} while (shrunk);
	/* Once more, for the verdict */
	return !script_agrees(script);
}

/* ---- many scripts ------------------------------------------------------- */

struct search {
	uint64_t seed;
	uint64_t begin;			/* the first script */
	uint64_t end;			/* behind the last one */
	unsigned int original;
	unsigned int pool;
};

/* The scripts for one pool, in one process */
static bool work_search(void *arg)
{
	const struct search *search = arg;
	struct script script;

	pool_begin(pools[search->pool]);
	for (uint64_t i = search->begin; i < search->end; i++) {
		if ((search->seed + i) % POOLS != search->pool)
			continue;
		verdict->script = i;
		program_case = "seed";
		program_turn = search->seed + i;
		script_random(&script, search->seed + i);
		script.original = search->original;
		if (!script_run(&script))
			return false;
	}
	return true;
}

/*
 * Shrinks and prints what was found: to how many steps? 0: it takes the scripts
 * before it, too.
 */
static unsigned int search_report(const struct search *search)
{
	uint64_t seed = search->seed + verdict->script;
	/* A difference of an original is what was looked for. */
	const char *fail = search->original ? "" : "FAIL: ";
	struct script script;
	unsigned int steps;
	char first[sizeof(verdict->outcome)];

	strcpy(first, verdict->outcome);
	script_random(&script, seed);
	script.original = search->original;
	steps = script.steps;
	if (!script_shrink(&script)) {
		printf("%sscript %" PRIu64 " (--seed %" PRIu64 " --scripts %" PRIu64
		       "; alone it agrees): %s\n", fail, verdict->script,
		       search->seed + search->begin, verdict->script + 1 - search->begin, first);
		return 0;
	}
	printf("%sscript %" PRIu64 " (--seed %" PRIu64 " --scripts 1): %s\n"
	       "its %u steps were shrunk to %u in %u tries:\n", fail, verdict->script, seed, first,
	       steps, script.steps, tries);
	script_print(&script, verdict->outcome);
	return script.steps;
}

static unsigned int compare_random(uint64_t seed, uint64_t scripts)
{
	unsigned int failures = 0;

	for (unsigned int pool = 0; pool < POOLS; pool++) {
		struct search search = { seed, 0, scripts, 0, pool };

		while (failures < MOST_FAILURES && !in_child(work_search, &search)) {
			failures++;
			search_report(&search);
			search.begin = verdict->script + 1;
		}
	}
	printf("%" PRIu64 " scripts compared, %u different\n", scripts, failures);
	return failures;
}

/* ---- the original ------------------------------------------------------- */

#define CHUNK 300u			/* scripts in a process */
#define SHRUNK_MAX 16u			/* steps; or the shrinking does not work */

/* Finds a small script that tells the library from the original; else false. */
static bool find_difference(unsigned int original, uint64_t seed, uint64_t scripts)
{
	for (uint64_t begin = 0; begin < scripts; begin += CHUNK)
		for (unsigned int pool = 0; pool < POOLS; pool++) {
			struct search search = { seed, begin, begin + CHUNK, original, pool };
			unsigned int steps;

			if (search.end > scripts)
				search.end = scripts;
			if (in_child(work_search, &search))
				continue;
			steps = search_report(&search);
			if (steps && steps <= SHRUNK_MAX)
				return true;
			printf("FAIL: original %u: a script was not shrunk to %u steps\n",
			       original, SHRUNK_MAX);
			return false;
		}
	printf("FAIL: original %u: no difference in %" PRIu64 " scripts\n", original, scripts);
	return false;
}

static unsigned int find_all(uint64_t seed, uint64_t scripts)
{
	unsigned int failures = 0;

	for (size_t i = 0; i < ORIGINALS; i++) {
		printf("\nThe original %s.\n", originals[i].does);
		if (!find_difference(originals[i].original, seed, scripts))
			failures++;
	}
	return failures;
}

/* ---- replay ------------------------------------------------------------- */

/* One script of a file: does it agree? */
static int replay_one(const char *where, struct script *script)
{
	bool agrees = script_agrees(script);

	printf("%s%s: %s\n", agrees ? "" : "FAIL: ", where, agrees ? "same" : verdict->outcome);
	return !agrees;
}

/*
 * One script of a documentation page: it shows a difference of the original,
 * with the outcome that is printed beside it; with nothing switched on there is
 * none.
 */
static int check_shown(const char *where, struct script *script, const char *outcome)
{
	int failures = 0;

	if (script_agrees(script) || strcmp(verdict->outcome, outcome)) {
		printf("FAIL: %s: not what the script gives: %s\n", where,
		       verdict->differs ? verdict->outcome : "same");
		failures++;
	}
	script->original = 0;
	if (!script_agrees(script)) {
		printf("FAIL: %s: with nothing switched on: %s\n", where, verdict->outcome);
		failures++;
	}
	return failures;
}

/* All scripts in a file. Number of failures; -1: not read or not understood. */
static int replay(const char *name, bool is_page)
{
	char where[LINE_MAX_BYTES];
	char outcome[LINE_MAX_BYTES];
	struct script script;
	unsigned int shown = 0;
	unsigned int line = 0;
	unsigned int scripts = 0;
	int failures = 0;
	int found;
	FILE *file = fopen(name, "re");

	if (!file) {
		perror(name);
		return -1;
	}
	while ((found = script_parse(file, &line, &script, outcome)) > 0) {
		snprintf(where, sizeof(where), "%s:%u", name, line);
		shown |= script.original;
		scripts++;
		failures += is_page ? check_shown(where, &script, outcome) :
				      replay_one(where, &script);
	}
	fclose(file);
	if (found < 0 || !scripts) {
		fprintf(stderr, "%s:%u: %s\n", name, line,
			found ? "not understood" : "no script up to here");
		return -1;
	}
	for (size_t i = 0; i < ORIGINALS && is_page; i++)
		if (!(shown & originals[i].original)) {
			printf("FAIL: %s: no script for %s\n", name, originals[i].name);
			failures++;
		}
	return failures;
}

/* ---- the program -------------------------------------------------------- */

static const char *original_name(unsigned int i)
{
	return i < ORIGINALS ? originals[i].name : NULL;
}

static int summary(unsigned int cases, int failures)
{
	if (failures < 0)
		return 2;
	if (cases < (unsigned int)failures)
		cases = (unsigned int)failures;
	return program_end(cases - (unsigned int)failures, (unsigned int)failures, 0);
}

int main(int argc, char **argv)
{
	uint64_t seed;
	uint64_t scripts = 0;
	const char *original = NULL;
	const char *page = NULL;
	const char *file = NULL;
	const struct program_option options[] = {
		PROGRAM_SEED(&seed),
		PROGRAM_NUMBER("scripts", "each has the next seed; 0: 2000, or 100000 if in full "
			       "and to find one", &scripts, 0, UINT64_MAX),
		PROGRAM_WORD("original", "find and shrink a script that tells the library from\n"
			     "                this one of docs/differences.md:",
			     &original, original_name),
		PROGRAM_WORD("differences", "do so for all; then check the scripts in this page",
			     &page, NULL),
		PROGRAM_WORD("replay", "run the scripts in this file, as they were printed",
			     &file, NULL),
		PROGRAM_LAST
	};
	int checked;

	program_options(argc, argv, "Compare streams with a slow, obvious model.", options);
	if (!!original + !!page + !!file > 1)
		program_misused("--original, --differences, --replay: only one of them");
	/* A search ends when it has found something. */
	if (!scripts)
		scripts = original || page ? MOST_SCRIPTS :
			  program_number(QUICK_SCRIPTS, FULL_SCRIPTS);
	program_show(options);
	verdict = mmap(NULL, sizeof(*verdict), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (verdict == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	if (file)
		return summary(1, replay(file, false));
	if (original)
		return summary(1, !find_difference(original_named(original), seed, scripts));
	if (page) {
		checked = replay(page, true);
		if (checked >= 0)
			checked += (int)find_all(seed, scripts);
		return summary((unsigned int)ORIGINALS + 1, checked);
	}
	return summary(POOLS, (int)compare_random(seed, scripts));
}
