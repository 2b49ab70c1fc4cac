/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The file of a program that has the bodies. */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"
