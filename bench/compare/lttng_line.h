/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tracepoint of logger_lttng.c; LTTng-UST includes this several times. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER compare

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./lttng_line.h"

#if !defined(COMPARE_LTTNG_LINE_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define COMPARE_LTTNG_LINE_H

#include <lttng/tracepoint.h>

LTTNG_UST_TRACEPOINT_EVENT(
	compare, line,
	LTTNG_UST_TP_ARGS(int, writer, int, number, int, check, const char *, text),
	LTTNG_UST_TP_FIELDS(
		lttng_ust_field_integer(int, writer, writer)
		lttng_ust_field_integer(int, number, number)
		lttng_ust_field_integer(int, check, check)
		lttng_ust_field_string(text, text)
	)
)

#endif

#include <lttng/tracepoint-event.h>
