/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Others come in between a look at the log and its change; nobody naps shortly. */
#ifndef WAITING_ENV_H
#define WAITING_ENV_H

#include "../exhaustion/yield_env.h"

static int (bse_sleep)(struct bpf_stream *s, bse_u32 *word, uint32_t key, uint32_t ms);

/* What is missed lasts for longer than the program may. */
static int waiting_sleep(struct bpf_stream *s, bse_u32 *word, uint32_t key, uint32_t ms)
{
	yield_now_and_then();
	return (bse_sleep)(s, word, key, ms < 1000 ? ms : 3600000);
}

#define bse_sleep(...) waiting_sleep(__VA_ARGS__)

#endif
