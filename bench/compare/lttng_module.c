/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * LTTng-UST's tracepoint, in a shared object that logger_lttng.c opens: what is
 * linked with it starts threads in every process, also of other competitors.
 */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "lttng_line.h"

void compare_lttng_line(int writer, int number, int check, const char *text);

__attribute__((visibility("default")))
void compare_lttng_line(int writer, int number, int check, const char *text)
{
	lttng_ust_tracepoint(compare, line, writer, number, check, text);
}
