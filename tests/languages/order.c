/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The header between two others, named by FIRST and LAST on the command line;
 * linked with bodies.c, or complete with -DBPF_STREAM_IMPLEMENTATION.
 */
#ifdef FIRST
#include FIRST
#endif
#include "bpf_stream.h"
#ifdef LAST
#include LAST
#endif

int main(void)
{
	static struct bpf_stream s;
	char buf[8];

	if (bpf_stream_init(&s, 0) || bpf_stream_push(&s, "order", 5))
		return 1;
	return bpf_stream_read(&s, buf, sizeof(buf)) != 5;
}
