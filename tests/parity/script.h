/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * script.h - scripts of calls: as text, and at random
 *
 * A script is a list of steps with numbers. Every list is a valid script: a
 * step on a stream that is not there does nothing, so that steps can be left
 * out. As text:
 *
 *	script
 *	original 8		# which switches of the model are on, if any
 *	pool 8			# pages of the region; 0: the library's own pool
 *	init stream=0 capacity=1
 *	push stream=0 length=1 times=1
 *	# step 2: what came of it, if it is known
 *	end
 *
 * Numbers at the end of a line that are 0 can be left out. Lines outside are skipped: a page of documentation can be replayed.
 */
#ifndef SCRIPT_H
#define SCRIPT_H

#include "model.h"
#include "../program.h"

#define STEPS_MAX 64u
#define ARGS_MAX 9u
#define LINE_MAX_BYTES 512

enum op {
	OP_INIT, OP_DESTROY, OP_PUSH, OP_PRINTF, OP_VPRINTF, OP_BPRINTF,
	OP_STAGE_INIT, OP_STAGE_FREE, OP_STAGE_PUSH, OP_STAGE_PRINTK, OP_COMMIT,
	OP_READ, OP_DRAIN, OP_DRAIN_FD, OP_RECORDS, OP_READ_RECORD, OP_CLOSE, OP_RELEASE, OP_TRIM, OP_REPORT, OPS
};

enum format { FORMAT_STRING, FORMAT_WIDTH, FORMAT_PLAIN, FORMAT_MIXED, FORMATS_GOOD };
#define FORMATS (FORMATS_GOOD + 6u)

/* What a drain's sink does once it has taken some calls wholly. */
enum sink { SINK_ALL, SINK_SHORT, SINK_NOTHING, SINK_FAIL, SINK_LIE, SINKS };

/* And before, each time: with stream other, and length. */
enum inner { INNER_NOTHING, INNER_PUSH, INNER_READ, INNERS };

/* Where a drain_fd writes; fill is what is in a pipe already. */
enum fd { FD_MEMORY, FD_PIPE, FD_BAD, FD_NO_READER, FD_FULL, FDS };

/* below: an argument is less; 0: any number. */
static const struct {
	const char *name;
	struct {
		const char *name;
		uint64_t below;
	} arg[ARGS_MAX];
} ops[OPS] = {
	[OP_INIT] = { "init", { { "stream", MODEL_STREAMS }, { "capacity", 0 }, { "group", 0 } } },
	[OP_DESTROY] = { "destroy", { { "stream", MODEL_STREAMS } } },
	[OP_PUSH] = { "push", { { "stream", MODEL_STREAMS }, { "length", 0 }, { "times", 0 } } },
	[OP_PRINTF] = { "printf", { { "stream", MODEL_STREAMS }, { "format", FORMATS },
				    { "length", 0 }, { "times", 0 } } },
	[OP_VPRINTF] = { "vprintf", { { "stream", MODEL_STREAMS }, { "format", FORMATS },
				      { "length", 0 }, { "times", 0 } } },
	[OP_BPRINTF] = { "bprintf", { { "stream", MODEL_STREAMS }, { "format", FORMATS },
				      { "length", 0 }, { "times", 0 } } },
	[OP_STAGE_INIT] = { "stage_init", { { "stage", MODEL_STAGES } } },
	[OP_STAGE_FREE] = { "stage_free", { { "stage", MODEL_STAGES } } },
	[OP_STAGE_PUSH] = { "stage_push", { { "stage", MODEL_STAGES }, { "length", 0 },
					    { "times", 0 } } },
	[OP_STAGE_PRINTK] = { "stage_printk", { { "stage", MODEL_STAGES }, { "format", FORMATS },
						{ "length", 0 }, { "times", 0 } } },
	[OP_COMMIT] = { "commit", { { "stage", MODEL_STAGES }, { "stream", MODEL_STREAMS } } },
	[OP_READ] = { "read", { { "stream", MODEL_STREAMS }, { "length", 0 }, { "try", 2 } } },
	[OP_DRAIN] = { "drain", { { "stream", MODEL_STREAMS }, { "max", 0 }, { "try", 2 },
				  { "whole", 0 }, { "sink", SINKS }, { "part", 0 },
				  { "inner", INNERS }, { "other", MODEL_STREAMS },
				  { "length", 0 } } },
	[OP_DRAIN_FD] = { "drain_fd", { { "stream", MODEL_STREAMS }, { "max", 0 }, { "fd", FDS },
					{ "fill", 0 } } },
	[OP_RECORDS] = { "records", { { "stream", MODEL_STREAMS }, { "max", 0 }, { "answer", 3 },
				      { "behind", 0 } } },
	[OP_READ_RECORD] = { "read_record", { { "stream", MODEL_STREAMS }, { "size", 0 } } },
	[OP_CLOSE] = { "close", { { "stream", MODEL_STREAMS } } },
	[OP_RELEASE] = { "release", { { NULL, 0 } } },
	[OP_TRIM] = { "trim", { { NULL, 0 } } },
	[OP_REPORT] = { "report", { { "times", 0 } } },
};

struct step {
	enum op op;
	uint64_t arg[ARGS_MAX];
};

struct script {
	unsigned int original;
	unsigned int pool;		/* pages */
	unsigned int steps;
	struct step step[STEPS_MAX];
};

/* The pools that are tried: the second one is the smallest that is allowed. */
static const unsigned int pools[] = { 0, 8, 64 };
#define POOLS (sizeof(pools) / sizeof(pools[0]))
#define POOL_PAGES_MAX 64u

static const struct {
	const char *name;
	unsigned int original;
	const char *does;
} originals[] = {
	{ "1", MODEL_KEEPS_CHARGE, "keeps capacity charged when there is no memory" },
	{ "2", MODEL_STAGE_COUNTS, "counts in a stage what it could not store" },
	{ "3", MODEL_STAGE_KEEPS, "does not reset a stage's length at commit" },
	{ "4", MODEL_LONG_LEAKS, "charges text above its buffer, and stores nothing" },
	{ "5", MODEL_STORES_EMPTY, "stores messages without text, free of charge" },
	{ "6", MODEL_FAULT_WINS, "forgets what was read before a fault" },
	{ "7", MODEL_NEGATIVE, "takes a read length above INT_MAX for a negative one" },
	{ "8", MODEL_NEVER_FULL, "never lets a stream become exactly full" },
	{ "10", MODEL_NO_BOUND, "bounds memory by capacity alone" },
	{ "13", MODEL_WRAPS, "prints reports again after 2^32" },
	{ "1024", MODEL_LAST_BYTE, "cuts the last byte off 1024 bytes of text" },
	{ "whole", MODEL_WHOLE, "refunds only what is wholly read" },
};
#define ORIGINALS (sizeof(originals) / sizeof(originals[0]))

/* ---- as text ------------------------------------------------------------ */

/* A switch by its name; 0: there is none. */
static inline unsigned int original_named(const char *name)
{
	for (size_t i = 0; i < ORIGINALS; i++)
		if (!strcmp(originals[i].name, name))
			return originals[i].original;
	return 0;
}

static inline void step_text(const struct step *step, char *text, size_t size)
{
	size_t len = (size_t)snprintf(text, size, "%s", ops[step->op].name);

	for (size_t i = 0; i < ARGS_MAX && ops[step->op].arg[i].name; i++)
		len += (size_t)snprintf(text + len, size - len, " %s=%" PRIu64,
					ops[step->op].arg[i].name, step->arg[i]);
}

static inline void script_print(const struct script *script, const char *outcome)
{
	char text[LINE_MAX_BYTES];

	printf("script\n");
	for (size_t i = 0; i < ORIGINALS; i++)
		if (script->original & originals[i].original)
			printf("original %s\n", originals[i].name);
	printf("pool %u\n", script->pool);
	for (unsigned int i = 0; i < script->steps; i++) {
		step_text(&script->step[i], text, sizeof(text));
		printf("%s\n", text);
	}
	printf("# %s\nend\n", outcome);
}

static inline bool step_parse(struct step *step, const char *op, char **rest)
{
	memset(step, 0, sizeof(*step));
	while (step->op < OPS && strcmp(ops[step->op].name, op))
		step->op++;
	if (step->op == OPS)
		return false;
	for (size_t i = 0; i < ARGS_MAX && ops[step->op].arg[i].name; i++) {
		const char *name = ops[step->op].arg[i].name;
		const char *word = strtok_r(NULL, " \t\n", rest);
		size_t len = strlen(name);

		if (!word)
			break;
		if (strncmp(word, name, len) || word[len] != '=' ||
		    !program_parse(word + len + 1, &step->arg[i]) ||
		    (ops[step->op].arg[i].below && step->arg[i] >= ops[step->op].arg[i].below))
			return false;
	}
	return true;
}

/*
 * The next script in a file. 1: there is one; 0: no more; -1: line *@line is
 * not understood. @outcome gets the last comment in it.
 */
static inline int script_parse(FILE *file, unsigned int *line, struct script *script,
			       char outcome[LINE_MAX_BYTES])
{
	char text[LINE_MAX_BYTES];
	bool inside = false;
	uint64_t n;

	memset(script, 0, sizeof(*script));
	outcome[0] = '\0';
	while (fgets(text, sizeof(text), file)) {
		char *rest = NULL;
		char *word;

		++*line;
		if (inside && !strncmp(text, "# ", 2)) {
			memcpy(outcome, text + 2, strcspn(text + 2, "\n") + 1);
			outcome[strcspn(outcome, "\n")] = '\0';
			continue;
		}
		word = strtok_r(text, " \t\n", &rest);
		if (!inside) {
			inside = word && !strcmp(word, "script") && !strtok_r(NULL, "\n", &rest);
			continue;
		}
		if (!word)
			continue;
		if (!strcmp(word, "end"))
			return 1;
		if (!strcmp(word, "original")) {
			word = strtok_r(NULL, " \t\n", &rest);
			if (!word || !original_named(word))
				return -1;
			script->original |= original_named(word);
		} else if (!strcmp(word, "pool")) {
			word = strtok_r(NULL, " \t\n", &rest);
			if (!word || !program_parse(word, &n) || (n && n < 8) || n > POOL_PAGES_MAX)
				return -1;
			script->pool = (unsigned int)n;
		} else if (script->steps == STEPS_MAX ||
			   !step_parse(&script->step[script->steps++], word, &rest)) {
			return -1;
		}
	}
	return inside ? -1 : 0;
}

/* ---- at random ---------------------------------------------------------- */

struct dice {
	uint64_t state;
	size_t capacity[MODEL_STREAMS];	/* as the last init asked for */
	size_t limit;			/* of most lengths in this script */
};

static inline uint64_t dice_below(struct dice *dice, uint64_t n)
{
	return program_random(&dice->state) % n;
}

/* @at, give or take two */
static inline uint64_t dice_about(struct dice *dice, uint64_t at)
{
	uint64_t n = at + dice_below(dice, 5);

	return n > 2 ? n - 2 : n;
}

static inline uint64_t dice_invalid(struct dice *dice)
{
	static const uint64_t at[] = { INT_MAX, (uint64_t)INT_MAX + 1, UINT32_MAX, SIZE_MAX };

	return at[dice_below(dice, 4)];
}

static inline uint64_t dice_length(struct dice *dice, uint64_t stream)
{
	size_t capacity = dice->capacity[stream];

	switch (dice_below(dice, 16)) {
	case 0:
		return dice_below(dice, 2);
	case 1:
		return dice_about(dice, capacity);
	case 2:
		return dice_below(dice, capacity < 200000 ? capacity + 1 : 200000);
	case 3:
		return dice_about(dice, 1024);
	case 4:
		/* The text that fits one page's element, or several */
		return dice_about(dice, 4032 * (1 + dice_below(dice, 3)));
	case 5:
		return dice_about(dice, 4096 * (1 + dice_below(dice, 3)));
	case 6:
		return dice_below(dice, 8) ? dice_below(dice, 20000) : dice_invalid(dice);
	default:
		return dice_below(dice, dice->limit);
	}
}

static inline uint64_t dice_print_length(struct dice *dice, uint64_t stream)
{
	uint64_t len = dice_below(dice, 4) ? dice_length(dice, stream) :
					     dice_about(dice, MODEL_PRINT_MAX);

	return len < 99999 ? len : 99999;
}

/* How often a message of @len bytes is repeated; a few megabytes at most. */
static inline uint64_t dice_times(struct dice *dice, uint64_t len)
{
	uint64_t most = 1 + (4u << 20) / (len | 1);
	uint64_t times = 1;

	switch (dice_below(dice, 32)) {
	case 0:
		times += dice_below(dice, 2000);
		break;
	case 1:
	case 2:
	case 3:
		times += dice_below(dice, 40);
		break;
	default:
		break;
	}
	return times < most ? times : most;
}

static inline uint64_t dice_capacity(struct dice *dice)
{
	switch (dice_below(dice, 12)) {
	case 0:
		return 1 + dice_below(dice, 3);
	case 1:
		return 1 + dice_below(dice, 100);
	case 2:
		return dice_about(dice, 1024);
	case 3:
		return dice_about(dice, 4096);
	case 4:
		return dice_below(dice, 4 * 4096);
	case 5:
	case 6:
		return 100000;
	case 7:
		return dice_about(dice, MODEL_CAPACITY_LIMIT);
	case 8:
		return dice_below(dice, 16) ? 1 + dice_below(dice, 2000) : dice_invalid(dice);
	default:
		return 0;
	}
}

static inline void dice_drain(struct dice *dice, struct step *step)
{
	step->arg[1] = dice_below(dice, 3) ? SIZE_MAX : dice_length(dice, step->arg[0]);
	step->arg[2] = dice_below(dice, 2);
	step->arg[3] = dice_below(dice, 2) ? 0 : dice_below(dice, 4);
	step->arg[4] = dice_below(dice, SINKS);
	step->arg[5] = dice_below(dice, 2) ? dice_below(dice, 40) : dice_below(dice, 5000);
	step->arg[6] = dice_below(dice, 2) ? INNER_NOTHING : dice_below(dice, INNERS);
	step->arg[7] = dice_below(dice, MODEL_STREAMS);
	step->arg[8] = dice_length(dice, step->arg[7]);
}

static inline void dice_step(struct dice *dice, struct step *step)
{
	/* More of what fills and empties streams */
	static const enum op often[] = {
		OP_INIT, OP_DESTROY, OP_PUSH, OP_PUSH, OP_PUSH, OP_PUSH, OP_PRINTF, OP_PRINTF,
		OP_VPRINTF, OP_BPRINTF, OP_STAGE_INIT, OP_STAGE_FREE, OP_STAGE_PUSH, OP_STAGE_PUSH,
		OP_STAGE_PUSH, OP_STAGE_PRINTK, OP_STAGE_PRINTK, OP_COMMIT, OP_COMMIT, OP_COMMIT,
		OP_READ, OP_READ, OP_READ, OP_DRAIN, OP_DRAIN, OP_DRAIN, OP_DRAIN_FD,
		OP_RECORDS, OP_RECORDS, OP_READ_RECORD, OP_CLOSE, OP_RELEASE, OP_TRIM, OP_REPORT,
	};
	uint64_t stream;

	memset(step, 0, sizeof(*step));
	step->op = often[dice_below(dice, sizeof(often) / sizeof(often[0]))];
	stream = dice_below(dice, MODEL_STREAMS);
	step->arg[0] = stream;
	switch (step->op) {
	case OP_INIT:
		step->arg[1] = dice_capacity(dice);
		dice->capacity[stream] = step->arg[1] && step->arg[1] < MODEL_DEFAULT_CAPACITY ?
						 (size_t)step->arg[1] : MODEL_DEFAULT_CAPACITY;
		step->arg[2] = dice_below(dice, 2) ? 0 : dice_below(dice, MODEL_GROUPS + 1);
		break;
	case OP_PUSH:
		step->arg[1] = dice_length(dice, stream);
		step->arg[2] = dice_times(dice, step->arg[1]);
		break;
	case OP_PRINTF:
	case OP_VPRINTF:
	case OP_BPRINTF:
	case OP_STAGE_PRINTK:
		step->arg[1] = dice_below(dice, dice_below(dice, 4) ? FORMATS_GOOD : FORMATS);
		step->arg[2] = dice_print_length(dice, stream);
		step->arg[3] = dice_times(dice, step->arg[2]);
		break;
	case OP_STAGE_PUSH:
		step->arg[1] = dice_length(dice, stream);
		step->arg[2] = dice_times(dice, step->arg[1]);
		break;
	case OP_COMMIT:
		step->arg[1] = stream;
		step->arg[0] = dice_below(dice, MODEL_STAGES);
		break;
	case OP_READ:
		step->arg[1] = dice_length(dice, stream);
		step->arg[2] = dice_below(dice, 2);
		break;
	case OP_DRAIN:
		dice_drain(dice, step);
		break;
	case OP_DRAIN_FD:
		step->arg[1] = dice_below(dice, 2) ? SIZE_MAX : dice_length(dice, stream);
		step->arg[2] = dice_below(dice, FDS);
		step->arg[3] = dice_below(dice, 2) ? 0 : dice_below(dice, 4097);
		break;
	case OP_RECORDS:
		step->arg[1] = dice_below(dice, 2) ? SIZE_MAX : dice_below(dice, 6);
		step->arg[2] = dice_below(dice, 3);
		step->arg[3] = dice_below(dice, 6);
		break;
	case OP_READ_RECORD:
		step->arg[1] = dice_below(dice, 2) ? dice_length(dice, stream) : SIZE_MAX;
		break;
	case OP_REPORT:
		step->arg[0] = dice_below(dice, 2) ? dice_below(dice, 600) :
			       dice_about(dice, UINT64_C(1) << 32);
		break;
	default:
		break;
	}
	for (size_t i = 0; i < ARGS_MAX; i++)
		if (ops[step->op].arg[i].below)
			step->arg[i] %= ops[step->op].arg[i].below;
}

/* The script that a seed makes; all but the switches. */
static inline void script_random(struct script *script, uint64_t seed)
{
	static const size_t limits[] = { 8, 100, 1500, 6000 };
	struct dice dice = { .state = seed };
	uint64_t steps;

	memset(script, 0, sizeof(*script));
	script->pool = pools[seed % POOLS];
	dice.limit = limits[dice_below(&dice, 4)];
	for (unsigned int i = 0; i < MODEL_STREAMS; i++)
		dice.capacity[i] = 1;
	steps = 3 + dice_below(&dice, dice_below(&dice, 4) ? 30 : STEPS_MAX - 3);
	while (script->steps < steps) {
		struct step *step = &script->step[script->steps];

		/* Streams first, most of the time */
		do
			dice_step(&dice, step);
		while (script->steps < 3 && step->op != OP_INIT && dice_below(&dice, 64));
		script->steps++;
	}
}

#endif
