/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bpf_stream as a program has it: the bodies in one file, calls from others. */
#ifndef COMPARE_OURS_H
#define COMPARE_OURS_H

#include "bpf_stream.h"

/* Gives the pool a region that is large enough for every question. */
bool ours_pool(void);

#endif
