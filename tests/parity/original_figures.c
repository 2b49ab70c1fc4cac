/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * original_figures - the model, playing the original, gives its figures
 *
 * What is known of the streams in the kernel, from descriptions of their
 * defects and from running ones, is a number of small stories with figures in
 * them. Each is told here to the model with the switches on that it needs, and
 * to the model as it is, which must tell it otherwise. The library takes no
 * part: this is what makes the switches of docs/differences.md believable.
 *
 * Seen to fail, with one switch after the other made to do nothing in model.h;
 * with `>` for `>=` at the capacity, 1023 for the length that loses its byte,
 * and a refund of what is left of an element instead of all of it.
 */
#define _GNU_SOURCE
#include "model.h"
#include "../program.h"

#define PAGE 4096u
#define CAPACITY 100000u		/* of the original since 6.17 */

static struct model m;
static bool good;
static char text[CAPACITY];
static unsigned char got[CAPACITY];

#define FIGURE(got, want) check(#got, (long long)(got), (long long)(want))

static void check(const char *what, long long is, long long want)
{
	if (is == want)
		return;
	printf("  %s is %lld, not %lld\n", what, is, want);
	good = false;
}

/* An empty stream 0, and a pool of @pages. */
static void begin(unsigned int original, size_t pages, size_t capacity)
{
	model_stop(&m);
	model_start(&m, original, PAGE, pages);
	model_init(&m, 0, capacity, 0);
	memset(text, 'x', sizeof(text));
}

/* Prints messages of @len bytes until one is refused; how many were stored. */
static unsigned int fill(unsigned int stream, int len)
{
	unsigned int n = 0;

	while (!model_print(&m, stream, text, len))
		n++;
	return n;
}

/* One message of @len bytes. */
static int print(int len)
{
	return model_print(&m, 0, text, len);
}

static int read_into(unsigned int stream, size_t len)
{
	int n = model_read(&m, stream, len);

	if (n > 0) {
		model_peek(&m.stream[stream], got, (size_t)n);
		model_take(&m, &m.stream[stream], (size_t)n);
	}
	return n;
}

/* A stream holds nothing, and takes nothing. */
static void is_full_for_ever(bool is)
{
	FIGURE(read_into(0, sizeof(got)), 0);
	FIGURE(print(1), is ? -ENOSPC : 0);
}

/* 8, and as observed: 54-byte messages stop at 99,954. */
static void full_stream_holds_99999(unsigned int original)
{
	begin(original & MODEL_NEVER_FULL, 100, CAPACITY);
	FIGURE(fill(0, 64), 1562);
	FIGURE(fill(0, 1), original ? 31 : 32);
	FIGURE(m.stream[0].pending, original ? 99999 : 100000);
	begin(original & MODEL_NEVER_FULL, 100, CAPACITY);
	FIGURE(fill(0, 54), 1851);
	FIGURE(m.stream[0].pending, 99954);
}

/* 4: one "%99999d". */
static void one_long_print_fills_an_empty_stream(unsigned int original)
{
	begin(original & (MODEL_LONG_LEAKS | MODEL_NEVER_FULL), 100, CAPACITY);
	FIGURE(print(99999), original ? -ENOMEM : -E2BIG);
	is_full_for_ever(original);
}

/* 4, on both sides of the scratch buffer's end. */
static void text_of_1025_bytes_leaks_its_length(unsigned int original)
{
	begin(original & MODEL_LONG_LEAKS, 100, CAPACITY);
	FIGURE(print(1023), 0);
	FIGURE(print(1025), original ? -ENOMEM : -E2BIG);
	FIGURE(read_into(0, sizeof(got)), 1023);
	FIGURE(m.stream[0].pending, original ? 1025 : 0);
}

static void text_of_1024_bytes_loses_its_last(unsigned int original)
{
	begin(original & MODEL_LAST_BYTE, 100, CAPACITY);
	FIGURE(print(1023), 0);
	FIGURE(read_into(0, sizeof(got)), 1023);
	FIGURE(got[1022], 'x');
	FIGURE(print(1024), original ? 0 : -E2BIG);
	if (!original)
		return;
	FIGURE(read_into(0, sizeof(got)), 1024);
	FIGURE(got[1022], 'x');
	FIGURE(got[1023], '\0');
}

/* 1: the pool is full of another stream's text. */
static void denied_memory_fills_an_empty_stream(unsigned int original)
{
	begin(original & MODEL_KEEPS_CHARGE, 7, 1000);
	model_init(&m, 1, CAPACITY, 0);
	fill(1, 1000);
	fill(1, 1);
	for (unsigned int i = 0; i < 10; i++)
		FIGURE(print(100), -ENOMEM);
	read_into(1, sizeof(got));
	is_full_for_ever(original);
}

/* 2: the same, and a stage is what wants memory. */
static void commit_charges_what_was_not_stored(unsigned int original)
{
	begin(original & MODEL_STAGE_COUNTS, 7, CAPACITY);
	FIGURE(model_stage_printk(&m, 0, text, 10), 0);
	model_init(&m, 1, CAPACITY, 0);
	/* The stage's page, too. */
	for (unsigned int i = 0; i < 4; i++)
		FIGURE(model_stage_printk(&m, 1, text, 990), 0);
	fill(1, 1000);
	fill(1, 1);
	FIGURE(model_stage_printk(&m, 0, text, 1000), -ENOMEM);
	FIGURE(model_commit(&m, 0, 0), 0);
	FIGURE(m.stream[0].pending, original ? 1010 : 10);
	FIGURE(read_into(0, sizeof(got)), 10);
	FIGURE(m.stream[0].pending, original ? 1000 : 0);
}

/* 3: the stage is empty, its length is not. */
static void empty_stage_charges_once_more(unsigned int original)
{
	begin(original & MODEL_STAGE_KEEPS, 7, 1000);
	FIGURE(model_stage_printk(&m, 0, text, 500), 0);
	FIGURE(model_commit(&m, 0, 0), 0);
	FIGURE(read_into(0, sizeof(got)), 500);
	FIGURE(model_commit(&m, 0, 0), 0);
	FIGURE(model_commit(&m, 0, 0), 0);
	FIGURE(m.stream[0].pending, original ? 1000 : 0);
	is_full_for_ever(original);
}

/* 5: memory without bound. */
static void empty_messages_take_memory_for_nothing(unsigned int original)
{
	begin(original & (MODEL_STORES_EMPTY | MODEL_NO_BOUND), 7, CAPACITY);
	for (unsigned int i = 0; i < 512 * 1000; i++)
		FIGURE(print(0), 0);
	FIGURE(m.stream[0].pending, 0);
	FIGURE(model_pages(&m, true), original ? 1000 : 0);
}

/* 6: a fault in the second of two messages loses the first one. */
static void fault_loses_what_was_read_before(unsigned int original)
{
	begin(original & MODEL_FAULT_WINS, 7, CAPACITY);
	FIGURE(print(30), 0);
	FIGURE(print(40), 0);
	model_take(&m, &m.stream[0], 30);
	FIGURE(model_answer(&m, 30, -EFAULT), original ? -EFAULT : 30);
	FIGURE(read_into(0, sizeof(got)), 40);
}

/* 7: a length as bpf(2) has it, of 32 bits without a sign. */
static void read_length_turns_negative(unsigned int original)
{
	begin(original & MODEL_NEGATIVE, 7, CAPACITY);
	FIGURE(model_read(&m, 0, INT_MAX), 0);
	FIGURE(model_read(&m, 0, (size_t)INT_MAX + 1), original ? MODEL_GOES_ON : -EINVAL);
	FIGURE(model_read(&m, 0, UINT32_MAX), original ? MODEL_GOES_ON : -EINVAL);
}

/*
 * 10: 4 MiB in messages of one byte. An element's head has 16 bytes there (a
 * link and two lengths, 64-bit), a page begins with a count and an offset of 4
 * bytes each. The figure is known as "over 100 MiB"; by this it is 96.4 MiB,
 * which is over 100 million bytes.
 */
static void small_messages_take_100_million_bytes(unsigned int original)
{
	begin(original & MODEL_NO_BOUND, 1024, 4u << 20);
	m.pool.elem_head = 16;
	m.pool.page_head = 8;
	FIGURE(fill(0, 1), original ? 4u << 20 : 1024 * 170);
	FIGURE(model_pages(&m, true), original ? 24673 : 1024);
	FIGURE(model_pages(&m, true) * PAGE > 100000000, !!original);
}

/* In the page that is being filled for both streams. */
static size_t room_left(void)
{
	return m.pool.filled[0] == SIZE_MAX ? 0 : m.pool.page[m.pool.filled[0]].room;
}

/* 10: so it is with the library, but there the pages have a bound. */
static void one_unread_byte_pins_a_page(unsigned int original)
{
	begin(original & MODEL_NO_BOUND, 7, CAPACITY);
	model_init(&m, 1, CAPACITY, 0);
	for (unsigned int i = 0; i < 8; i++) {
		int err = model_print(&m, 1, text, 1);

		FIGURE(err, i < 7 || original ? 0 : -ENOMEM);
		while (room_left())
			FIGURE(print((int)(room_left() < 1000 ? room_left() - 8 : 988)), 0);
		read_into(0, sizeof(got));
		if (err)
			break;
	}
	FIGURE(m.stream[1].pending, original ? 8 : 7);
	FIGURE(model_pages(&m, true), original ? 8 : 7);
}

/* 13: v3 counts on, and begins anew after 2^32 reports. */
static void reports_are_printed_again_after_the_wrap(unsigned int original)
{
	begin(original & MODEL_WRAPS, 7, CAPACITY);
	FIGURE(model_report(&m, 512), 512);
	FIGURE(model_report(&m, (UINT64_C(1) << 32) - 512), 0);
	FIGURE(model_report(&m, 513), original ? 512 : 0);
}

/* Refunds come when an element is wholly consumed, and all at once. */
static void refund_waits_for_the_last_byte(unsigned int original)
{
	begin(original & MODEL_WHOLE, 7, 100);
	FIGURE(print(100), 0);
	FIGURE(read_into(0, 99), 99);
	FIGURE(m.stream[0].pending, original ? 100 : 1);
	FIGURE(print(1), original ? -ENOSPC : 0);
	FIGURE(read_into(0, 1), 1);
	FIGURE(m.stream[0].pending, original ? 0 : 1);
}

/* What is the same in both: reading nothing, and reading across messages. */
static void reads_cross_messages_in_order(unsigned int original)
{
	begin(original, 7, CAPACITY);
	FIGURE(read_into(0, 0), 0);
	FIGURE(read_into(0, 100), 0);
	memset(text, 'a', 10);
	FIGURE(print(10), 0);
	memset(text, 'b', 10);
	FIGURE(print(10), 0);
	FIGURE(read_into(0, 5), 5);
	memset(text, 'c', 10);
	FIGURE(print(10), 0);
	FIGURE(read_into(0, 100), 25);
	FIGURE(memcmp(got, "aaaaabbbbbbbbbbcccccccccc", 25), 0);
}

#define STORY(name) { #name, name }
static const struct {
	const char *name;
	void (*tell)(unsigned int original);
} stories[] = {
	STORY(full_stream_holds_99999),
	STORY(one_long_print_fills_an_empty_stream),
	STORY(text_of_1025_bytes_leaks_its_length),
	STORY(text_of_1024_bytes_loses_its_last),
	STORY(denied_memory_fills_an_empty_stream),
	STORY(commit_charges_what_was_not_stored),
	STORY(empty_stage_charges_once_more),
	STORY(empty_messages_take_memory_for_nothing),
	STORY(fault_loses_what_was_read_before),
	STORY(read_length_turns_negative),
	STORY(small_messages_take_100_million_bytes),
	STORY(one_unread_byte_pins_a_page),
	STORY(reports_are_printed_again_after_the_wrap),
	STORY(refund_waits_for_the_last_byte),
	STORY(reads_cross_messages_in_order),
};
#define STORIES ((unsigned int)(sizeof(stories) / sizeof(stories[0])))

int main(int argc, char **argv)
{
	const struct program_option none[] = { PROGRAM_LAST };
	unsigned int failed = 0;

	program_begin(argc, argv, "Tell the model stories of the original.", none);
	model_start(&m, 0, PAGE, 0);
	for (unsigned int i = 0; i < STORIES; i++) {
		good = true;
		stories[i].tell(MODEL_ORIGINAL);
		stories[i].tell(0);
		printf("%-4s %s\n", good ? "ok" : "FAIL", stories[i].name);
		failed += !good;
	}
	model_stop(&m);
	return program_end(STORIES - failed, failed, 0);
}
