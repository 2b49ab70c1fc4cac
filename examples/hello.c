/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hello - put messages into a stream, and take them out again
 *
 *	cc -std=c11 -Iinclude examples/hello.c -o hello -pthread
 */
#define BPF_STREAM_IMPLEMENTATION	/* in exactly one C file of a program, ... */
#include "bpf_stream.h"			/* ... and there before any other header */

#include <stdio.h>
#include <string.h>

/*
 * All zero, as static memory is: a stream with the default options. Others are
 * given by BPF_STREAM_INIT(.capacity = 65536), or by bpf_stream_init().
 */
static struct bpf_stream s;

int main(void)
{
	int err;
	int n;

	/* A message is any number of bytes; newlines are yours to add. */
	err = bpf_stream_push(&s, "hello, world\n", 13);
	if (!err)
		err = bpf_stream_printf(&s, "%d + %d = %d\n", 1, 2, 1 + 2);
	if (err) {
		/* Errors are negative, as everywhere in this library. */
		fprintf(stderr, "hello: cannot store: %s\n", strerror(-err));
		return 1;
	}

	/* All that is pending, in the order of the pushes. */
	n = bpf_stream_drain_fd(&s, 1, SIZE_MAX);
	if (n < 0)
		fprintf(stderr, "hello: cannot write: %s\n", strerror(-n));
	return n < 0;
}
