/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bpf_stream as a program has it: the bodies in one file, calls from others. */
#ifndef COMPARE_OURS_H
#define COMPARE_OURS_H

#include "bpf_stream.h"

/* Gives the pool a region of ours_pool_bytes, once. */
bool ours_pool(void);
extern size_t ours_pool_bytes;	/* enough for every question */

#endif
