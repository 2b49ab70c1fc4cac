/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Losses, told in place: by the message behind them, never twice, never before
 * a message that came before them; and by the reader that empties the stream.
 *
 * Seen to fail with: a gate that a refusal does not shut, or that is opened
 * before the message is published, or though another refusal came meanwhile; a
 * counter that is read before the gate; a message that fails and opens the
 * gate; a told counter that is raised by an offer that was not taken, or not
 * raised; a reader that looks at the log before the counter; a stage that does
 * not tell; losses that a second part tells again; a seq without them.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "../tests/unit/hooks.h"
#include "bpf_stream.h"
#include "unit.h"
#include <setjmp.h>

enum { MOST = 64, CAPACITY = 30 };

static struct bpf_stream s;

/* The reader's view: texts, and [N] for N that are lost. */
static char view[4096];
static uint64_t seq;			/* that the next message must have */
static bool refuse_one;

static int take(void *ctx, const struct bpf_stream_record *r)
{
	size_t at = strlen(view);

	(void)ctx;
	if (refuse_one) {
		refuse_one = false;
		return -EAGAIN;
	}
	if (r->lost && !r->offset)
		at += (size_t)snprintf(view + at, sizeof(view) - at, "[%" PRIu64 "]", r->lost);
	cr_assert(!r->lost || !r->offset);
	seq += r->lost;
	cr_assert_eq(r->seq, seq, "seq is %" PRIu64 ", expected %" PRIu64, r->seq, seq);
	seq += r->total && r->offset + r->len == r->total;
	memcpy(view + at, r->data, r->len < 8 ? r->len : 8);
	view[at + (r->len < 8 ? r->len : 8)] = '\0';
	return 0;
}

static void check(const char *want)
{
	view[0] = '\0';
	bpf_stream_drain_records(&s, take, NULL, SIZE_MAX);
	cr_assert_str_eq(view, want);
	unit_assert_sound(&s);
}

static void refused(int n)
{
	while (n--)
		cr_assert_eq(bpf_stream_push(&s, "0123456789012345678901234567890", 31), -E2BIG);
}

static void push(const char *text)
{
	cr_assert_eq(bpf_stream_push(&s, text, strlen(text)), 0);
}

static void set_up(void)
{
	unit_make_stream(&s, CAPACITY);
}

TestSuite(loss, .init = set_up);

Test(loss, told__in_its_place)
{
	push("a");
	refused(2);
	push("b");
	push("c");
	refused(1);
	refused(1);
	push("d");
	check("a[2]bc[2]d");
	check("");
}

Test(loss, told__before_the_first_message)
{
	refused(3);
	push("a");
	check("[3]a");
}

Test(loss, told__behind_the_last_message)
{
	push("a");
	refused(1);
	check("a[1]");
	check("");
	refused(2);
	check("[2]");
	check("");
	push("b");
	check("b");
}

/* By each kind of push, and for each reason. */
Test(loss, told__by_every_way_in)
{
	const char *volatile not_valid = "%";
	struct bpf_stream_stage ss = { 0 };

	refused(1);
	cr_assert_eq(bpf_stream_printf(&s, "%d", 1), 0);
	cr_assert_eq(bpf_stream_printf(&s, not_valid), -EINVAL);
	cr_assert_eq(bpf_stream_log(&s, 3, "2"), 0);
	cr_assert_eq(bpf_stream_bprintf(&s, "%d", NULL, 1), -EINVAL);
	cr_assert_eq(bpf_stream_bprintf(&s, "3", NULL, 0), 0);
	cr_assert_eq(bpf_stream_push_pri(&s, -1, "x", 1), -EINVAL);
	cr_assert_eq(bpf_stream_push_pri(&s, 5, "4", 1), 0);
	check("[1]1[1]2[1]3[1]4");
	cr_assert_eq(bpf_stream_stage_push(&ss, "g", 1), 0);
	cr_assert_eq(bpf_stream_stage_push(&ss, "h", 1), 0);
	push("123456789012345678901234567");
	cr_assert_eq(bpf_stream_stage_push(&ss, "ij", 2), 0);
	/* A group counts as many as it has. */
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), -ENOSPC);
	check("12345678[3]");
	refused(2);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
	push("k");
	check("[2]ghijk");
}

Test(loss, told__once_by_a_message_of_parts)
{
	static char text[3 * BSI_ELEM_MAX];

	bpf_stream_destroy(&s);
	unit_make_stream(&s, sizeof(text));
	memset(text, 'p', sizeof(text));
	cr_assert_eq(bpf_stream_push(&s, text, sizeof(text) + 1), -E2BIG);
	cr_assert_eq(bpf_stream_push(&s, text, sizeof(text)), 0);
	/* Eight of each of four parts: the first one has no room for all. */
	check("[1]pppppppppppppppppppppppppppppppp");
}

Test(loss, told__again_if_the_record_was_not_taken)
{
	refused(1);
	push("a");
	refused(1);
	refuse_one = true;
	check("");
	refuse_one = true;
	check("");
	check("[1]a[1]");
	refused(1);
	refuse_one = true;
	check("");
	check("[1]");
}

/* Bytes have no place for it; the next record tells. */
Test(loss, told__later_if_bytes_were_read)
{
	char buf[CAPACITY];

	refused(1);
	push("a");
	push("b");
	cr_assert_eq(bpf_stream_read(&s, buf, sizeof(buf)), 2);
	seq = 2;
	push("c");
	check("c[1]");
	refused(1);
	push("d");
	refused(1);
	cr_assert_eq(bpf_stream_read(&s, buf, 1), 1);
	seq++;
	push("e");
	check("[2]e");
}

/* A limit of records is no end of the stream. */
Test(loss, told__only_where_the_stream_is_empty)
{
	push("a");
	refused(1);
	view[0] = '\0';
	cr_assert_eq(bpf_stream_drain_records(&s, take, NULL, 1), 1);
	cr_assert_str_eq(view, "a");
	cr_assert_eq(bpf_stream_drain_records(&s, take, NULL, 1), 1);
	cr_assert_str_eq(view, "a[1]");
	cr_assert_eq(bpf_stream_drain_records(&s, take, NULL, 1), 0);
}

static int push_then_refuse(void *ctx, const struct bpf_stream_record *r)
{
	push("c");
	refused(1);
	return take(ctx, r);
}

/* What was pushed meanwhile is left to the next call, and comes first. */
Test(loss, told__not_before_what_came_meanwhile)
{
	push("a");
	view[0] = '\0';
	cr_assert_eq(bpf_stream_drain_records(&s, push_then_refuse, NULL, SIZE_MAX), 1);
	cr_assert_str_eq(view, "a");
	check("c[1]");
}

Test(loss, read_record__tells_with_no_bytes)
{
	struct bpf_stream_record r;
	char buf[CAPACITY];

	refused(2);
	cr_assert_eq(bpf_stream_read_record(&s, &r, buf, sizeof(buf)), 1);
	cr_assert_eq(r.lost, 2u);
	cr_assert_eq(r.seq, 2u);
	cr_assert_eq(r.total, 0u);
	cr_assert_eq(r.len, 0u);
	cr_assert_eq(bpf_stream_read_record(&s, &r, buf, sizeof(buf)), 0);
	refused(1);
	push("abc");
	cr_assert_eq(bpf_stream_read_record(&s, &r, buf, 2), -EMSGSIZE);
	cr_assert_eq(r.lost, 1u);
	cr_assert_eq(bpf_stream_read_record(&s, &r, buf, 3), 1);
	cr_assert_eq(r.lost, 1u);
}

Test(loss, closed__is_told_then_the_end)
{
	push("a");
	bpf_stream_close(&s);
	cr_assert_eq(bpf_stream_push(&s, "x", 1), -EPIPE);
	check("a[1]");
	cr_assert_eq(bpf_stream_drain_records(&s, take, NULL, SIZE_MAX), -ESHUTDOWN);
}

Test(loss, clocked__tells_as_well)
{
	const struct bpf_stream_options opts = { .capacity = CAPACITY,
						 .clock = bpf_stream_clock_monotonic };

	cr_assert_eq(bpf_stream_init(&s, &opts), 0);
	push("a");
	refused(1);
	push("b");
	push("c");
	refused(2);
	check("a[1]bc[2]");
}

/* Another is refused, or stored, between a message's making and its publish. */
static void in_between(enum hook_point point)
{
	if (point != HOOK_PUBLISHING)
		return;
	hook = NULL;
	refused(1);
}

Test(loss, told__later_if_it_came_in_the_middle)
{
	push("a");
	hook = in_between;
	push("b");
	push("c");
	check("ab[1]c");
	refused(1);
	hook = in_between;
	push("d");
	push("e");
	check("[1]d[1]e");
}

static void push_in_between(enum hook_point point)
{
	if (point != HOOK_PUBLISHING)
		return;
	hook = NULL;
	refused(1);
	push("h");
}

/* The one behind carries a smaller count than the one before: nothing is new. */
Test(loss, told__once_by_two_that_overtake)
{
	refused(1);
	hook = push_in_between;
	push("a");
	push("b");
	check("[2]hab");
}

static sigjmp_buf out;

static void jump(enum hook_point point)
{
	if (point != HOOK_PUBLISHING)
		return;
	hook = NULL;
	siglongjmp(out, 1);
}

Test(loss, told__though_a_jump_cut_off_who_would)
{
	refused(2);
	if (!sigsetjmp(out, 1)) {
		hook = jump;
		push("a");
	}
	push("b");
	check("[2]b");
}

/* A message that tells, and that is refused itself, tells nothing. */
Test(loss, told__by_the_next_if_this_one_fails)
{
	push("12345678901234567890123456");
	refused(1);
	cr_assert_eq(bpf_stream_push(&s, "12345", 5), -ENOSPC);
	push("1234");
	check("12345678[2]1234");
}
