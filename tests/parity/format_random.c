/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * format_random - the formatter beside glibc's vsnprintf, on random formats
 *
 * Each call builds a format and arguments from its own seed, prints it with
 * both into a buffer of random size, and compares the length and every byte;
 * nothing may be written behind the buffer.
 *
 * The arguments must have the types that the format names. Most formats hold,
 * in this order, each with plain text around it:
 *
 *   1. one conversion of any kind: any letter, length and flags, width and
 *      precision in digits or as *;
 *   2. up to three conversions of fixed types: an int (with h or hh perhaps),
 *      a long long, a string.
 *
 * So all calls have one of few signatures: no, one or two int for the *, a
 * value of one of a dozen types, then int, long long and const char *. A switch
 * over the type and the number of * makes the call with the right one; what the
 * format does not use is left over, which C allows. The arguments reach beyond
 * those passed in registers.
 *
 * One in 32 is a line as programs log it, compared at every size up to its
 * length: an int, an unsigned int, a string, a long long, an int, a string. Most
 * are a letter alone, which has a short way of its own, mixed with some that are
 * not. The form with an array of arguments must print the same line.
 *
 * Not generated, because C or glibc leaves the answer open or answers -1: what
 * the formatter refuses, and lengths near INT_MAX. unit/test_format.c has them.
 * A difference names the seed that makes its call alone.
 *
 * Seen to fail, with the formatter broken on purpose:
 * the flag 0 kept beside a precision; blank winning over +; 0x before a zero;
 * #o adding a zero to a precision's; hh not narrowed; z fetched as an int;
 * "(null)" cut by a precision; + ignored by p; a negative * width not to the
 * left; one byte too many written; a number put where 8 bytes fit; the second
 * part of a short text copied from one byte further on; 1000 taken for a pair of
 * digits; a number negated without the 1; %x counted in tens; a byte without
 * room. Each was found within the first 200,000 calls.
 */
#define BPF_STREAM_STATIC
#include "bpf_stream.h"
#include "../program.h"

#include <sys/types.h>

#define MOST_FAILURES 5u	/* then it stops */
#define FORMAT_MAX 1024
#define STRING_MAX 64
#define TEXT_MAX 16384		/* longer than any text here */
#define CANARY 0x5a
#define LINES 32		/* one call in so many is a line */
#define SHORT_MOST 32		/* bytes behind a line that are looked at */

enum type {
	TYPE_INT,
	TYPE_LONG,
	TYPE_LLONG,
	TYPE_INTMAX,
	TYPE_SIZE,
	TYPE_PTRDIFF,
	TYPE_STRING,
	TYPE_POINTER,
};

/* One call: its format and what it may take from the argument list */
struct call {
	uint64_t seed;
	uint64_t state;			/* of the random numbers */
	char fmt[FORMAT_MAX];
	size_t fmt_len;
	unsigned int stars;		/* how many * the first conversion has */
	int star[2];
	enum type type;			/* of the first conversion's argument */
	bool is_signed;
	uint64_t value;			/* if it is a number or a pointer */
	char *string;			/* if it is a string; NULL sometimes */
	int tail_int;
	long long tail_llong;
	char *tail_string;
	size_t size;			/* of the buffer */
};

/* ---- random things ---------------------------------------------------- */

static unsigned int below(struct call *call, unsigned int n)
{
	return (unsigned int)(program_random(&call->state) % n);
}

static char one_of(struct call *call, const char *set)
{
	return set[below(call, (unsigned int)strlen(set))];
}

/* Zero, the ends of all types, and numbers of every length */
static uint64_t random_value(struct call *call)
{
	uint64_t bit = UINT64_C(1) << below(call, 64);

	switch (below(call, 6)) {
	case 0:
		return below(call, 3) ? 0 : UINT64_MAX;
	case 1:
		return bit;
	case 2:
		return bit - 1;
	case 3:
		return 0 - bit;
	default:
		return program_random(&call->state) >> below(call, 64);
	}
}

/* A width or a precision */
static int random_extent(struct call *call)
{
	switch (below(call, 32)) {
	case 0:
		return (int)below(call, 2000);
	case 1:
	case 2:
		return (int)below(call, 200);
	default:
		return (int)below(call, 24);
	}
}

/* In a block of its own, so that a sanitizer sees a read beyond it */
static char *random_string(struct call *call)
{
	size_t len = below(call, 4) ? below(call, 12) : below(call, STRING_MAX);
	char *s;

	if (!below(call, 8))
		return NULL;
	s = malloc(len + 1);
	if (!s)
		abort();
	for (size_t i = 0; i < len; i++)
		s[i] = (char)(1 + below(call, 255));
	s[len] = '\0';
	return s;
}

/* ---- building a format ------------------------------------------------ */

static void add_char(struct call *call, char c)
{
	if (call->fmt_len + 1 >= sizeof(call->fmt))
		abort();
	call->fmt[call->fmt_len++] = c;
	call->fmt[call->fmt_len] = '\0';
}

static void add_number(struct call *call, int n)
{
	char digits[16];

	snprintf(digits, sizeof(digits), "%d", n);
	for (const char *d = digits; *d; d++)
		add_char(call, *d);
}

static void add_plain(struct call *call)
{
	unsigned int n = below(call, 3) ? below(call, 4) : below(call, 24);

	while (n--) {
		char c = (char)(1 + below(call, 255));

		if (c == '%' || !below(call, 16)) {
			add_char(call, '%');
			c = '%';
		}
		add_char(call, c);
	}
}

/* The % and flags, with digits for width and precision, or * if allowed */
static void add_head(struct call *call, bool may_have_stars)
{
	add_char(call, '%');
	while (!below(call, 2))
		add_char(call, one_of(call, "-+ #0"));
	if (!below(call, 2)) {
		int width = random_extent(call);

		if (may_have_stars && !below(call, 3)) {
			add_char(call, '*');
			call->star[call->stars++] = below(call, 2) ? width : -width;
		} else if (width) {
			add_number(call, width);
		}
	}
	if (!below(call, 2)) {
		int precision = random_extent(call);

		add_char(call, '.');
		if (may_have_stars && !below(call, 3)) {
			add_char(call, '*');
			call->star[call->stars++] = below(call, 4) ? precision : -precision;
		} else if (below(call, 4)) {
			add_number(call, precision);
		}
	}
}

static void add_integer(struct call *call)
{
	static const struct {
		const char *letters;
		enum type type;
	} lengths[] = {
		{ "", TYPE_INT },	{ "hh", TYPE_INT },	{ "h", TYPE_INT },
		{ "l", TYPE_LONG },	{ "ll", TYPE_LLONG },	{ "j", TYPE_INTMAX },
		{ "z", TYPE_SIZE },	{ "t", TYPE_PTRDIFF },
	};
	unsigned int i = below(call, sizeof(lengths) / sizeof(lengths[0]));
	char letter = one_of(call, "diuoxX");

	call->type = lengths[i].type;
	call->is_signed = letter == 'd' || letter == 'i';
	call->value = random_value(call);
	for (const char *l = lengths[i].letters; *l; l++)
		add_char(call, *l);
	add_char(call, letter);
}

static void add_first_conversion(struct call *call)
{
	add_head(call, true);
	switch (below(call, 8)) {
	case 0:
		add_char(call, 'c');
		call->type = TYPE_INT;
		call->is_signed = true;
		call->value = random_value(call);
		break;
	case 1:
		add_char(call, 's');
		call->type = TYPE_STRING;
		call->string = random_string(call);
		break;
	case 2:
		add_char(call, 'p');
		call->type = TYPE_POINTER;
		call->value = random_value(call);
		break;
	default:
		add_integer(call);
		break;
	}
}

static void add_tail(struct call *call)
{
	unsigned int conversions = below(call, 4);

	call->tail_int = (int)random_value(call);
	call->tail_llong = (long long)random_value(call);
	call->tail_string = random_string(call);
	if (conversions > 0) {
		add_head(call, false);
		for (unsigned int h = below(call, 3); h; h--)
			add_char(call, 'h');
		/* c takes no length; the letters before it are the length's. */
		add_char(call, call->fmt[call->fmt_len - 1] == 'h' ? one_of(call, "diuoxX") :
								     one_of(call, "diuoxXc"));
		add_plain(call);
	}
	if (conversions > 1) {
		add_head(call, false);
		add_char(call, 'l');
		add_char(call, 'l');
		add_char(call, one_of(call, "diuoxX"));
		add_plain(call);
	}
	if (conversions > 2) {
		add_head(call, false);
		add_char(call, 's');
		add_plain(call);
	}
}

static void begin_call(struct call *call, uint64_t seed)
{
	memset(call, 0, sizeof(*call));
	call->seed = seed;
	call->state = seed;
}

static void build_call(struct call *call)
{
	add_plain(call);
	add_first_conversion(call);
	add_plain(call);
	add_tail(call);
	call->size = below(call, 2) ? TEXT_MAX - 1 : below(call, 80);
}

static void free_call(struct call *call)
{
	free(call->string);
	free(call->tail_string);
}

/* ---- comparing --------------------------------------------------------- */

static void show(const char *what, const char *s, size_t len)
{
	printf("  %s \"", what);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < ' ' || c > '~' || c == '\\' || c == '"')
			printf("\\x%02x", c);
		else
			putchar(c);
	}
	printf("\"\n");
}

static void show_string(const char *what, const char *s)
{
	if (s)
		show(what, s, strlen(s));
	else
		printf("  %s NULL\n", what);
}

static void report(const struct call *call, int ours, const char *our_text, int theirs,
		   const char *their_text, size_t shown)
{
	printf("DIFFERENT\n");
	show("format", call->fmt, call->fmt_len);
	for (unsigned int i = 0; i < call->stars; i++)
		printf("  * %d\n", call->star[i]);
	if (call->type == TYPE_STRING)
		show_string("string", call->string);
	else
		printf("  value 0x%" PRIx64 " (%" PRId64 "), type %d, %s\n", call->value,
		       (int64_t)call->value, (int)call->type,
		       call->is_signed ? "signed" : "unsigned");
	printf("  then %d, %lld\n", call->tail_int, call->tail_llong);
	show_string("then", call->tail_string);
	printf("  buffer of %zu\n", call->size);
	printf("  ours returned %d, glibc's %d\n", ours, theirs);
	show("ours   ", our_text, shown);
	show("glibc's", their_text, shown);
	printf("  replay: --seed %" PRIu64 " --calls 1\n", call->seed);
}

/* Print with both; true if they agree. */
static bool same(const struct call *call, ...)
{
	static char our_text[TEXT_MAX];
	static char their_text[TEXT_MAX];
	va_list ap;
	size_t shown = 0;
	bool is_same;
	int theirs;
	int ours;

	our_text[call->size] = CANARY;
	va_start(ap, call);
	ours = bsi_format_va(our_text, call->size, call->fmt, ap);
	va_end(ap);
	/* One byte more, for its NUL */
	va_start(ap, call);
	theirs = vsnprintf(their_text, call->size + 1, call->fmt, ap);
	va_end(ap);

	if (theirs < 0 || theirs >= TEXT_MAX)
		abort();
	shown = (size_t)theirs < call->size ? (size_t)theirs : call->size;
	is_same = ours == theirs && !memcmp(our_text, their_text, shown) &&
		  our_text[call->size] == CANARY;
	if (!is_same)
		report(call, ours, our_text, theirs, their_text, shown);
	return is_same;
}

#define LINE_ARGS(call)									\
	(int)(call)->value, (unsigned int)(call)->value, (const char *)(call)->string,	\
	(call)->tail_llong, (call)->tail_int, (const char *)(call)->tail_string
#define TAIL(call) (call)->tail_int, (call)->tail_llong, (call)->tail_string
#define SAME(call, value)									\
	((call)->stars == 0 ? same((call), (value), TAIL(call)) :				\
	 (call)->stars == 1 ? same((call), (call)->star[0], (value), TAIL(call)) :		\
			      same((call), (call)->star[0], (call)->star[1], (value), TAIL(call)))

static bool compare(const struct call *call)
{
	uint64_t value = call->value;

	switch (call->type) {
	case TYPE_INT:
		return call->is_signed ? SAME(call, (int)value) : SAME(call, (unsigned int)value);
	case TYPE_LONG:
		return call->is_signed ? SAME(call, (long)value) : SAME(call, (unsigned long)value);
	case TYPE_LLONG:
		return call->is_signed ? SAME(call, (long long)value) :
					 SAME(call, (unsigned long long)value);
	case TYPE_INTMAX:
		return call->is_signed ? SAME(call, (intmax_t)value) : SAME(call, (uintmax_t)value);
	case TYPE_SIZE:
		return call->is_signed ? SAME(call, (ssize_t)value) : SAME(call, (size_t)value);
	case TYPE_PTRDIFF:
		/* ptrdiff_t's unsigned twin has no name; it is size_t's. */
		return call->is_signed ? SAME(call, (ptrdiff_t)value) : SAME(call, (size_t)value);
	case TYPE_STRING:
		return SAME(call, (const char *)call->string);
	case TYPE_POINTER:
		return SAME(call, (void *)(uintptr_t)value);
	}
	abort();
}

/* ---- lines ------------------------------------------------------------- */

/* Text that both grammars take, also behind a string */
static void add_line_text(struct call *call)
{
	unsigned int n = below(call, 4) ? below(call, 8) : below(call, 40);

	add_char(call, one_of(call, " :,\t/"));
	while (n--) {
		if (!below(call, 24)) {
			add_char(call, '%');
			add_char(call, '%');
		} else if (!below(call, 16)) {
			add_char(call, (char)(0x80 + below(call, 128)));
		} else {
			add_char(call, (char)('a' + below(call, 26)));
		}
	}
}

/* In most cases the letters alone */
static void add_line_conversion(struct call *call, const char *length, const char *letters)
{
	if (below(call, 4))
		add_line_text(call);
	else if (call->fmt_len)
		add_char(call, ' ');	/* must follow a string */
	add_char(call, '%');
	if (!below(call, 4)) {
		if (!below(call, 2))
			add_char(call, '-');
		add_number(call, (int)(1 + below(call, 24)));
	}
	for (const char *l = length; *l; l++)
		add_char(call, *l);
	add_char(call, one_of(call, letters));
}

/* A line takes value as an int, the same as an unsigned int, then the rest. */
static void build_line(struct call *call)
{
	add_line_conversion(call, "", "ddic");
	add_line_conversion(call, "", "uuxxX");
	add_line_conversion(call, "", "s");
	add_line_conversion(call, "ll", "dux");
	add_line_conversion(call, "", "cd");
	add_line_conversion(call, "", "s");
	if (below(call, 2))
		add_line_text(call);
	call->value = random_value(call);
	call->string = random_string(call);
	call->tail_int = (int)random_value(call);
	call->tail_llong = (long long)random_value(call);
	call->tail_string = random_string(call);
}

/* Is @text the first @size bytes of glibc's, and nothing written behind it? */
static bool line_holds(const struct call *call, size_t size, int ours, const char *text,
		       int theirs, const char *their_text)
{
	size_t shown = (size_t)theirs < size ? (size_t)theirs : size;
	bool is_same = ours == theirs && !memcmp(text, their_text, shown);

	for (size_t i = shown; i < size + SHORT_MOST; i++)
		is_same &= text[i] == CANARY;
	if (!is_same) {
		report(call, ours, text, theirs, their_text, shown);
		printf("  as a line, size %zu\n", size);
	}
	return is_same;
}

static int print_va(char *text, size_t size, const char *fmt, ...)
{
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = bsi_format_va(text, size, fmt, ap);
	va_end(ap);
	return ret;
}

/* Both forms, at every size up to the line's length and one more */
static bool compare_line(const struct call *call)
{
	static char their_text[TEXT_MAX];
	static char text[TEXT_MAX];
	const uint64_t args[] = {
		call->value, call->value, (uintptr_t)call->string, (uint64_t)call->tail_llong,
		(uint64_t)call->tail_int, (uintptr_t)call->tail_string,
	};
	/* To the array's form, the string at no address is empty. */
	bool has_array = call->string && call->tail_string;
	int theirs = snprintf(their_text, sizeof(their_text), call->fmt, LINE_ARGS(call));

	if (theirs < 0 || theirs + SHORT_MOST + 1 >= TEXT_MAX)
		abort();
	for (size_t size = 0; size <= (size_t)theirs + 1; size++) {
		int ours;

		memset(text, CANARY, size + SHORT_MOST);
		ours = print_va(text, size, call->fmt, LINE_ARGS(call));
		if (!line_holds(call, size, ours, text, theirs, their_text))
			return false;
		if (!has_array)
			continue;
		memset(text, CANARY, size + SHORT_MOST);
		ours = bsi_format_array(text, size, call->fmt, args, sizeof(args));
		if (!line_holds(call, size, ours, text, theirs, their_text))
			return false;
	}
	return true;
}

/* ---- the program ------------------------------------------------------- */

int main(int argc, char **argv)
{
	uint64_t seed;
	uint64_t calls = program_number(1000000, 20000000);
	const struct program_option options[] = {
		PROGRAM_SEED(&seed),
		PROGRAM_NUMBER("calls", "how many; each has the next seed", &calls, 1, UINT64_MAX),
		PROGRAM_LAST
	};
	unsigned int failures = 0;
	uint64_t done;

	program_begin(argc, argv, "Compare the formatter with glibc's on random formats.", options);
#ifndef __GLIBC__
	printf("SKIP: format_random: this C library is not glibc\n");
	return program_end(0, 0, 1);
#endif
	/* Each call has the next seed, so that it can be made alone. */
	for (done = 0; done < calls && failures < MOST_FAILURES; done++) {
		struct call call;
		bool is_same;

		begin_call(&call, seed + done);
		if (below(&call, LINES)) {
			build_call(&call);
			is_same = compare(&call);
		} else {
			build_line(&call);
			is_same = compare_line(&call);
		}
		if (!is_same)
			failures++;
		free_call(&call);
	}
	printf("%" PRIu64 " calls compared, %u different\n", done, failures);
	return program_end(!failures, !!failures, 0);
}
