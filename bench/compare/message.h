/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Messages that describe themselves, so that one that is torn, lost, repeated
 * or out of order is found. Printable: some competitors take strings only.
 */
#ifndef COMPARE_MESSAGE_H
#define COMPARE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MESSAGE_HEAD = 10 };	/* hexadecimal: 2 digits of writer, 8 of number */

static inline char message_filler(uint32_t writer, uint32_t number, size_t at)
{
	return (char)('a' + (writer * 7 + number * 3 + at) % 26);
}

static inline void message_fill(char *to, size_t len, uint32_t writer, uint32_t number)
{
	uint64_t head = (uint64_t)writer << 32 | number;
	size_t at;

	for (at = 0; at < len; at++)
		if (len > MESSAGE_HEAD && at < MESSAGE_HEAD)
			to[at] = "0123456789abcdef"[head >> (4 * (MESSAGE_HEAD - 1 - at)) & 15];
		else
			to[at] = message_filler(writer, number, at);
}

/* Whether this is a whole message, and which; longer than its head. */
static inline bool message_check(const char *from, size_t len, uint32_t *writer, uint32_t *number)
{
	uint64_t head = 0;
	size_t at;

	for (at = 0; at < MESSAGE_HEAD; at++) {
		char c = from[at];

		if (c >= '0' && c <= '9')
			head = head << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			head = head << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	*writer = (uint32_t)(head >> 32);
	*number = (uint32_t)head;
	for (; at < len; at++)
		if (from[at] != message_filler(*writer, *number, at))
			return false;
	return true;
}

#endif
