/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the address sanitizer is told: nothing behind a message's last byte may
 * be touched, and nothing of it after it was read.
 *
 * Seen to fail: with elements unpoisoned up to the next multiple of 8, so that
 * reading up to 7 bytes past a message was not reported; and with only the text
 * poisoned when an element comes back.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "poison_env.h"
#include "bpf_stream.h"

#include "unit.h"

Test(poison, push__lets_just_the_element_be_touched)
{
	static const char text[64];
	struct bpf_stream s;
	size_t len;

	bpf_stream_init(&s, NULL);
	for (len = 1; len <= sizeof(text); len++) {
		cr_assert_eq(bpf_stream_push(&s, text, len), 0);
		cr_assert_eq(unpoisoned.size, BSI_ELEM_HEAD + len);
	}
	bpf_stream_destroy(&s);
}

Test(poison, read__lets_nothing_of_the_element_be_touched)
{
	struct bpf_stream s;
	const char *element;
	char buf[8];

	bpf_stream_init(&s, NULL);
	cr_assert_eq(bpf_stream_push(&s, "12345", 5), 0);
	element = unpoisoned.begin;
	poisoned.begin = NULL;
	cr_assert_eq(bpf_stream_read(&s, buf, 2), 2);
	cr_assert_null(poisoned.begin);
	cr_assert_eq(bpf_stream_read(&s, buf, sizeof(buf)), 3);
	cr_assert_eq((const void *)poisoned.begin, (const void *)element);
	cr_assert_eq(poisoned.size, bsi_elem_size(5));
}
