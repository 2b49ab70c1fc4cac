/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One half of a program of two files: this one only has the declarations, the
 * bodies are in two_impl.c. Compiled as C, and as C++ where there is one.
 */
#include "bpf_stream.h"

#include <stdio.h>
#include <string.h>

int main(void)
{
	static struct bpf_stream s;
	char buf[32];
	int n;

	if (bpf_stream_init(&s, NULL))
		return 1;
	if (bpf_stream_push(&s, "two ", 4) || bpf_stream_printf(&s, "%s", "files"))
		return 1;
	n = bpf_stream_read(&s, buf, sizeof(buf));
	bpf_stream_destroy(&s);
	if (n != 9 || memcmp(buf, "two files", 9))
		return 1;
	return puts("two files") < 0;
}
