/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The implementation is C: the one C file that a C++ program needs; see cxx_user.cpp. */
#define BPF_STREAM_IMPLEMENTATION
#include "bpf_stream.h"
