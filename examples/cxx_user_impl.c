/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The implementation is C, in the one C file that cxx_user.cpp needs. */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"
