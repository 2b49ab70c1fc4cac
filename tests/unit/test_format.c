/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Unit tests of section [12] FORMAT: both forms of the formatter, called
 * directly.
 *
 * The argument-array form is held against data/format_cases.tsv, which records
 * what a running kernel answered, row by row and cut to several buffer sizes.
 * Four rows cannot hold in a process, where kernel and user addresses are the
 * same thing; they are skipped by their number. The other tests are the edges
 * that table does not reach. The va_list form is held against literal texts
 * here, and against glibc itself in parity/format_random.c.
 *
 * Seen to fail, with the formatter broken on purpose:
 *
 *   array_write without alignment            numbers_are_aligned_in_the_area
 *   a string's NUL not counted in the area   the table and six others
 *   a string read to the last byte of room   a_string_is_never_read_beyond
 *   a cut text that leaves its room free     a_cut_text_leaves_room_for_nothing
 *   no raw bytes asked for an IP form        the table, without_room_for_its
 *   addresses up to 4096, or to 65535, low   below_4096, first_readable_address
 *   %pS keeping the flag 0                   sixteen_digits, one_rule
 *   %px with precision 16, not width 016     minus_wins, one_rule
 *   %ps taking + as a number does            one_rule
 *   a width kept for %pks                    one_rule, the table
 *   h accepted, # accepted, no end after %s  the table alone
 *   NULL arguments not refused               bad_arguments_are_EINVAL
 *   0x7f allowed in plain text               no_control_character, the table
 *   one byte too many written                truncated_text and seven others
 *   no saturation at INT_MAX                 saturates_at_INT_MAX
 *   a width's overflow not seen              above_INT_MAX_is_EINVAL, both
 *   %.3s looking for its NUL further on      a_precision_bounds_what_is_read
 *   "(null)" cut by a precision              a_null_string_prints_null_whole
 *   %lc, %ls, %hp taken for c, s, p          what_is_not_supported_is_EINVAL
 *   %zu fetched as an int                    long_size_and_ptrdiff
 *   up to 17 or from 3 bytes in two parts    of_every_length_at_every_size
 *   a second part from one byte further on   the same, the digits
 *   17 blanks from a string of 16            the same
 *   one byte of plain text without room      the same
 *   64 bits divided as 32, 1000 as a pair    numbers_have_the_digits
 *   %x counted in tens, 10 as one digit      numbers_have_the_digits
 *   %d's magnitude without the 1, %u signed  numbers_have_the_digits
 *   %d alone where 8 bytes fit               numbers_have_the_digits, the table
 *   %d alone without argument or area        leftmost_error, are_aligned
 *   %d alone without alignment, %c of 2      letters_alone_count
 *   %s alone in the array's form             the table and eight others
 */
#define BPF_STREAM_STATIC
#include "bpf_stream.h"

#include "unit.h"
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CANARY 0x5a
#define TEXT_MAX 4096		/* longer than any text here */
#define AREA 512		/* the argument area of the array form */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *error_name(int ret)
{
	return ret == -EINVAL ? "-EINVAL" : ret == -ENOSPC ? "-ENOSPC" : "a length";
}

/* ---- the va_list form ------------------------------------------------- */

static int print_va(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = bsi_format_va(buf, size, fmt, ap);
	va_end(ap);
	return ret;
}

#define EXPECT_VA(expected, ...)							\
	do {										\
		char text_[TEXT_MAX];							\
		int ret_ = print_va(text_, sizeof(text_) - 1, __VA_ARGS__);		\
											\
		text_[ret_ < 0 ? 0 : ret_] = '\0';					\
		cr_expect_eq(ret_, (int)strlen(expected), "length %d for \"%s\"",	\
			     ret_, expected);						\
		cr_expect_str_eq(text_, expected);					\
	} while (0)

#define EXPECT_VA_ERROR(...)								\
	do {										\
		char text_[TEXT_MAX];							\
		int ret_ = print_va(text_, sizeof(text_), __VA_ARGS__);			\
											\
		cr_expect_eq(ret_, -EINVAL, "returned %d", ret_);			\
	} while (0)

Test(format, va__every_conversion_prints_its_value)
{
	int object;
	char expected[64];

	EXPECT_VA("-7 -8 9 17 ff FF c text 100%", "%d %i %u %o %x %X %c %s 100%%",
		  -7, -8, 9u, 017u, 0xffu, 0xffu, 'c', "text");
	snprintf(expected, sizeof(expected), "0x%llx",
		 (unsigned long long)(uintptr_t)&object);
	EXPECT_VA(expected, "%p", (void *)&object);
	EXPECT_VA("", "");
	EXPECT_VA("%%", "%%%%");
	EXPECT_VA("-2147483648 2147483647", "%d %d", INT_MIN, INT_MAX);
	EXPECT_VA("-9223372036854775808 18446744073709551615", "%lld %llu", LLONG_MIN, ULLONG_MAX);
	EXPECT_VA("1777777777777777777777", "%llo", ULLONG_MAX);
}

Test(format, va__flags_width_and_precision_follow_C)
{
	static const struct {
		const char *fmt;
		int value;
		const char *expected;
	} rows[] = {
		{ "%5d|", 42, "   42|" },	{ "%-5d|", 42, "42   |" },
		{ "%05d|", -42, "-0042|" },	{ "%-05d|", 42, "42   |" },
		{ "%+d", 42, "+42" },		{ "% d", 42, " 42" },
		{ "%+ d", 42, "+42" },		{ "%+u", 42, "42" },
		{ "% x", 42, "2a" },		{ "%.5d", 42, "00042" },
		{ "%.5d", -42, "-00042" },	{ "%8.5d", -42, "  -00042" },
		{ "%-8.5d|", 42, "00042   |" },	{ "%08.5d", 42, "   00042" },
		{ "%.0d", 0, "" },		{ "%.d", 0, "" },
		{ "%+.0d", 0, "+" },		{ "% .0d", 0, " " },
		{ "%5.0d", 0, "     " },	{ "%.0d", 7, "7" },
		{ "%#x", 42, "0x2a" },		{ "%#X", 42, "0X2A" },
		{ "%#x", 0, "0" },		{ "%#.0x", 0, "" },
		{ "%#8x", 42, "    0x2a" },	{ "%#08x", 42, "0x00002a" },
		{ "%#8.4x", 42, "  0x002a" },	{ "%#o", 42, "052" },
		{ "%#o", 0, "0" },		{ "%#.0o", 0, "0" },
		{ "%.0o", 0, "" },		{ "%#.2o", 042, "042" },
		{ "%#.5o", 042, "00042" },	{ "%#05o", 042, "00042" },
		{ "%-+ #05d|", 42, "+42  |" },	{ "%--5d|", 42, "42   |" },
		{ "%#d", 42, "42" },		{ "%#u", 42, "42" },
		{ "%5c|", 'x', "    x|" },	{ "%-5c|", 'x', "x    |" },
		{ "%05c|", 'x', "    x|" },	{ "%.0c|", 'x', "x|" },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		EXPECT_VA(rows[i].expected, rows[i].fmt, rows[i].value);
}

Test(format, va__a_length_narrows_and_widens_its_argument)
{
	EXPECT_VA("-1 255", "%hhd %hhu", 0x1ff, 0x1ff);
	EXPECT_VA("-1 65535", "%hd %hu", 0x1ffff, 0x1ffff);
	EXPECT_VA("-128 80", "%hhi %hhx", 0x80, 0x180);
	EXPECT_VA("-1 4294967295", "%d %u", -1, UINT32_MAX);
	EXPECT_VA("-5 5", "%ld %lu", -5L, 5UL);
	EXPECT_VA("-1 ffffffffffffffff", "%lld %llx", -1LL, ULLONG_MAX);
	EXPECT_VA("-6 18446744073709551610", "%jd %ju", (intmax_t)-6, (uintmax_t)-6);
	EXPECT_VA("-7 7", "%zd %zu", (ptrdiff_t)-7, (size_t)7);
	EXPECT_VA("-8 8", "%td %tu", (ptrdiff_t)-8, (size_t)8);
	/* Each takes exactly its own argument: the last one is still right. */
	EXPECT_VA("1 2 3 4 5 6 7 8 end", "%hhd %hd %d %ld %lld %jd %zd %td %s", 1, 2, 3, 4L, 5LL,
		  (intmax_t)6, (ptrdiff_t)7, (ptrdiff_t)8, "end");
}

Test(format, va__long_size_and_ptrdiff_print_their_whole_width)
{
	char expected[128];

	snprintf(expected, sizeof(expected), "%llu %llu %llu", (unsigned long long)ULONG_MAX,
		 (unsigned long long)SIZE_MAX, (unsigned long long)UINTMAX_MAX);
	EXPECT_VA(expected, "%lu %zu %ju", ULONG_MAX, SIZE_MAX, UINTMAX_MAX);
	snprintf(expected, sizeof(expected), "%lld %lld %lld", (long long)LONG_MIN,
		 (long long)PTRDIFF_MIN, (long long)INTMAX_MIN);
	EXPECT_VA(expected, "%ld %td %jd", LONG_MIN, PTRDIFF_MIN, INTMAX_MIN);
	EXPECT_VA(expected, "%li %zd %ji", LONG_MIN, PTRDIFF_MIN, INTMAX_MIN);
}

Test(format, va__a_star_takes_width_and_precision_from_the_arguments)
{
	EXPECT_VA("   42", "%*d", 5, 42);
	EXPECT_VA("42   |", "%*d|", -5, 42);
	EXPECT_VA("42   |", "%0*d|", -5, 42);
	EXPECT_VA("00042", "%.*d", 5, 42);
	EXPECT_VA("42", "%.*d", -5, 42);
	EXPECT_VA("42", "%.*d", INT_MIN, 42);
	EXPECT_VA("00042", "%0*.*d", 5, -1, 42);
	EXPECT_VA("   ab|", "%*.*s|", 5, 2, "abc");
	EXPECT_VA("text", "%*.*s", 0, -1, "text");
	EXPECT_VA_ERROR("%*d", INT_MIN, 42);
}

Test(format, va__a_null_string_prints_null_whole_or_not_at_all)
{
	EXPECT_VA("(null)", "%s", (char *)NULL);
	EXPECT_VA("  (null)|", "%8s|", (char *)NULL);
	EXPECT_VA("(null)  |", "%-8s|", (char *)NULL);
	EXPECT_VA("(null)", "%.6s", (char *)NULL);
	EXPECT_VA("(null)", "%.*s", -1, (char *)NULL);
	EXPECT_VA("", "%.5s", (char *)NULL);
	EXPECT_VA("", "%.0s", (char *)NULL);
	EXPECT_VA("   |", "%3.5s|", (char *)NULL);
}

Test(format, va__pointers_take_flags_as_in_glibc)
{
	EXPECT_VA("(nil)", "%p", NULL);
	EXPECT_VA("     (nil)", "%10p", NULL);
	EXPECT_VA("     (nil)", "%+010.8p", NULL);
	EXPECT_VA("(nil)     |", "%-10p|", NULL);
	EXPECT_VA("0x1234", "%p", (void *)0x1234);
	EXPECT_VA("+0x1234", "%+p", (void *)0x1234);
	EXPECT_VA(" 0x1234", "% p", (void *)0x1234);
	EXPECT_VA("0x00001234", "%010p", (void *)0x1234);
	EXPECT_VA("    0x001234", "%012.6p", (void *)0x1234);
	EXPECT_VA("0x1234", "%.0p", (void *)0x1234);
	EXPECT_VA("0x1234    |", "%-10p|", (void *)0x1234);
}

Test(format, va__char_zero_stores_a_NUL_byte)
{
	char text[16];

	memset(text, CANARY, sizeof(text));
	unit_same_length(print_va(text, sizeof(text), "a%cb%2c", 0, 0), 5);
	unit_same_bytes(text, "a\0b \0", 5);
	cr_assert_eq(text[5], CANARY, "no NUL ends the text");
}

Test(format, va__plain_text_may_hold_any_byte)
{
	char every[256];

	for (int i = 0; i < 255; i++)
		every[i] = (char)(i + 1);
	every['%' - 1] = '_';
	every[255] = '\0';
	EXPECT_VA(every, every);
}

Test(format, va__what_is_not_supported_is_EINVAL)
{
	static const char *const bad[] = {
		"%n", "%hhn", "%f", "%F", "%e", "%E", "%g", "%G", "%a", "%A", "%Lf", "%lf",
		"%lc", "%ls", "%C", "%S", "%hs", "%hc", "%hhs", "%llp", "%lp", "%zs", "%jc",
		"%1$d", "%*1$d", "%$d", "%'d", "%Id", "%Ld", "%qd", "%Zd", "%m", "%b", "%w32d",
		"%", "abc%", "%5", "%-", "%.", "%.5", "%l", "%ll", "%h", "%hh", "%*", "%.*",
		"%-+ #0",
		"%5%", "%-%", "%.3%", "%l%", "% %",
		"%5-d", "%5 d", "%.-5d", "%..5d", "%5.5.5d", "%hhhd", "%llld", "%lhd", "%hld",
		"%zzd", "%jjd", "%ttd", "%**d", "%5*d", "%k", "%\n", "%\x80", "%\xff", "%!",
	};

	for (size_t i = 0; i < COUNT(bad); i++) {
		char text[64];
		int ret = print_va(text, sizeof(text), bad[i], 1, 1, 1, 1);

		cr_expect_eq(ret, -EINVAL, "%s returned %d", bad[i], ret);
	}
	EXPECT_VA_ERROR("good text and %d first, then %f", 1, 1.0);
}

Test(format, va__width_or_precision_above_INT_MAX_is_EINVAL)
{
	EXPECT_VA_ERROR("%2147483648d", 1);
	EXPECT_VA_ERROR("%4294967297d", 1);
	EXPECT_VA_ERROR("%99999999999999999999999d", 1);
	EXPECT_VA_ERROR("%.2147483648d", 1);
	EXPECT_VA_ERROR("%.99999999999s", "text");
	EXPECT_VA("text", "%.2147483647s", "text");
	EXPECT_VA("00001", "%0000000000000000000000005d", 1);
}

Test(format, va__a_huge_width_is_counted_and_not_written)
{
	char text[16];
	clock_t start = clock();

	memset(text, CANARY, sizeof(text));
	for (int i = 0; i < 1000; i++) {
		cr_assert_eq(print_va(text, 8, "ab%2000000000d", 1), 2000000002);
		cr_assert_eq(print_va(text, 8, "ab%02000000000d", 1), 2000000002);
		cr_assert_eq(print_va(text, 8, "ab%.2000000000d", 1), 2000000002);
		cr_assert_eq(print_va(text, 8, "ab%-2000000000d", 1), 2000000002);
		cr_assert_eq(print_va(text, 8, "ab%2000000000s", ""), 2000000002);
	}
	unit_same_bytes(text, "ab      ", 8);
	cr_assert_eq(text[8], CANARY);
	cr_assert_lt((double)(clock() - start) / CLOCKS_PER_SEC, 1.0);
}

Test(format, va__the_length_saturates_at_INT_MAX)
{
	char text[16];

	memset(text, CANARY, sizeof(text));
	cr_assert_eq(print_va(text, 8, "%2147483647d", 1), INT_MAX);
	cr_assert_eq(print_va(text, 8, "%2147483647dx", 1), INT_MAX);
	cr_assert_eq(print_va(text, 8, "%2147483647d%2147483647d%2147483647dxyz", 1, 2, 3),
		     INT_MAX);
	cr_assert_eq(print_va(text, 8, "%+#.2147483647llx%.2147483647d", 1LL, -1), INT_MAX);
	cr_assert_eq(text[8], CANARY);
}

/* @n bytes that end where nothing can be read or written any more. */
static char *bytes_before_a_hole(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);

	cr_assert_neq(map, MAP_FAILED);
	cr_assert_eq(mprotect(map + page, page, PROT_NONE), 0);
	return map + page - n;
}

Test(format, va__a_precision_bounds_what_is_read_of_a_string)
{
	char *three = bytes_before_a_hole(3);

	three[0] = three[1] = three[2] = 'x';
	EXPECT_VA("xxx|", "%.3s|", three);
	EXPECT_VA("xx|", "%.2s|", three);
	EXPECT_VA("|", "%.0s|", three + 3);
	EXPECT_VA("  xxx|", "%5.*s|", 3, three);
}

Test(format, va__truncated_text_begins_right_and_nothing_is_written_behind_it)
{
	static const char expected[] = "head  +0042 -7    0x00ff tail%\0end";
	const size_t len = sizeof(expected) - 1;

	for (size_t size = 0; size <= len + 3; size++) {
		size_t shown = size < len ? size : len;
		char *buf = bytes_before_a_hole(size);
		const char *differs;
		int ret;

		memset(buf, CANARY, size);
		ret = print_va(buf, size, "head%+7.4d %-5d %#.4x %s%%%cend", 42, -7, 0xff,
			       "tail", 0);
		cr_expect_eq(ret, (int)len, "size %zu: %d", size, ret);
		differs = unit_difference(buf, expected, shown);
		cr_expect_null(differs, "size %zu: %s", size, differs);
		for (size_t i = shown; i < size; i++)
			cr_expect_eq(buf[i], CANARY, "size %zu: wrote byte %zu", size, i);
	}
}

/*
 * A form prints @expected at every size, and touches nothing behind it. The
 * va_list form is given a string.
 */
static void expect_everywhere(const char *expected, const char *fmt, uint64_t value, bool is_va)
{
	static char *hole;
	const size_t len = strlen(expected);

	if (!hole)
		hole = bytes_before_a_hole(0);
	for (size_t size = 0; size <= len + 20; size++) {
		size_t shown = size < len ? size : len;
		char *buf = hole - size;
		int ret;

		memset(buf, CANARY, size);
		ret = is_va ? print_va(buf, size, fmt, (const char *)(uintptr_t)value) :
			      bsi_format_array(buf, size, fmt, &value, sizeof(value));
		cr_assert_eq(ret, (int)len, "\"%s\", size %zu: %d", fmt, size, ret);
		cr_assert(!memcmp(buf, expected, shown), "\"%s\", size %zu: \"%.*s\"", fmt, size,
			  (int)shown, buf);
		for (size_t i = shown; i < size; i++)
			cr_assert_eq(buf[i], CANARY, "\"%s\", size %zu: wrote byte %zu", fmt,
				     size, i);
	}
}

/* What is short is copied in another way than what is long, number by number. */
Test(format, plain_text_strings_and_blanks_of_every_length_at_every_size)
{
	for (size_t len = 0; len <= 40; len++) {
		char text[64];
		char blanks[64];
		char fmt[80];

		for (size_t i = 0; i < len; i++)
			text[i] = (char)('A' + i % 26);
		text[len] = '\0';
		for (int is_va = 0; is_va < 2; is_va++) {
			expect_everywhere(text, text, 0, is_va);
			expect_everywhere(text, "%s", (uintptr_t)text, is_va);
			snprintf(fmt, sizeof(fmt), "%%%zus", len);
			snprintf(blanks, sizeof(blanks), "%*s", (int)len, "");
			expect_everywhere(blanks, fmt, (uintptr_t)"", is_va);
			snprintf(fmt, sizeof(fmt), "%s%%s", text);
			expect_everywhere(text, fmt, (uintptr_t)"", is_va);
		}
	}
}

/* The digits of @value, from the last on: slow and obvious */
static char *digits_model(char *end, uint64_t value, unsigned int base)
{
	*--end = '\0';
	do {
		*--end = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	return end;
}

static void expect_number(uint64_t value, unsigned int base)
{
	static const char *const fmt[2][2] = { { "%u", "%llu" }, { "%x", "%llx" } };
	const char *number32 = fmt[base == 16][0];
	const char *number64 = fmt[base == 16][1];
	char model[72];
	char text[72];
	int ret;

	ret = print_va(text, sizeof(text) - 1, number64, (unsigned long long)value);
	text[ret < 0 ? 0 : ret] = '\0';
	cr_expect_str_eq(text, digits_model(model + sizeof(model), value, base));
	if (value <= UINT32_MAX)
		expect_everywhere(digits_model(model + sizeof(model), value, base), number32,
				  value, false);
	ret = print_va(text, sizeof(text) - 1, number32, (unsigned int)value);
	text[ret < 0 ? 0 : ret] = '\0';
	cr_expect_str_eq(text, digits_model(model + sizeof(model), (uint32_t)value, base));
}

Test(format, numbers_have_the_digits_that_division_finds)
{
	for (unsigned int base = 10; base <= 16; base += 6) {
		uint64_t power = 1;

		for (uint64_t value = 0; value < 100000; value += value < 2000 ? 1 : 97)
			expect_number(value, base);
		while (power <= UINT64_MAX / base) {
			power *= base;
			for (uint64_t value = power - 2; value < power + 3; value++)
				expect_number(value, base);
			expect_number(power / 2 * 3 + 7, base);
		}
		expect_number(UINT32_MAX, base);
		expect_number(UINT32_MAX + UINT64_C(1), base);
		expect_number(UINT64_MAX, base);
	}
	EXPECT_VA("-1 -9 -10 -2147483648 2147483647", "%d %d %d %d %d", -1, -9, -10, INT_MIN,
		  INT_MAX);
}

Test(format, va__no_buffer_is_needed_for_the_length_alone)
{
	cr_assert_eq(print_va(NULL, 0, "%5d %s %%", 1, "text"), 12);
	cr_assert_eq(print_va(NULL, 0, ""), 0);
}

/* A va_list that is a parameter of the caller, too, and already begun */
static int print_rest(char *buf, size_t size, const char *fmt, va_list ap)
{
	return va_arg(ap, int) ? bsi_format_va(buf, size, fmt, ap) : -1;
}

static int print_behind_first(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = print_rest(buf, size, fmt, ap);
	va_end(ap);
	return ret;
}

Test(format, va__a_va_list_may_be_passed_on_and_begun)
{
	char text[64];

	unit_same_length(print_behind_first(text, sizeof(text), "%d %s %ld %*d %d %x %u", 7, 1,
					    "two", 3L, 3, 4, 5, 6u, 7u), 17);
	unit_same_bytes(text, "1 two 3   4 5 6 7", 17);
}

/* ---- the array form: the table ---------------------------------------- */

#define TABLE_ROWS 514		/* rows that are not comments */
#define TABLE_SKIPPED 4

/* Rows that tell user memory from kernel memory, or read a wild address. */
static const int skipped_ids[TABLE_SKIPPED] = { 521, 542, 554, 721 };

struct row {
	int id;
	char *fmt;
	uint64_t args[16];	/* at least 13 may be read */
	char *strings[16];	/* the strings among them */
	uint32_t len;
	int ret;		/* as in the table: 0 or a negative errno */
	char *text;
	size_t text_len;
};

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef";
	const char *at = c ? strchr(digits, c) : NULL;

	cr_assert_not_null(at, "not a hexadecimal digit: %c", c);
	return (int)(at - digits);
}

/*
 * Undo \xHH in @len bytes. The result is a block of its own, as long as the
 * string and its NUL, so that a sanitizer sees a read beyond it.
 */
static char *unescape(const char *s, size_t len, size_t *out_len)
{
	char *out = malloc(len + 1);
	size_t n = 0;

	cr_assert_not_null(out);
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\\' && len - i >= 4 && s[i + 1] == 'x') {
			out[n++] = (char)(hex_digit(s[i + 2]) * 16 + hex_digit(s[i + 3]));
			i += 3;
		} else {
			out[n++] = s[i];
		}
	}
	out[n] = '\0';
	if (out_len)
		*out_len = n;
	return realloc(out, n + 1);
}

/* A column; "-" is an empty one. */
static char *parse_column(const char *s, size_t *out_len)
{
	return strcmp(s, "-") ? unescape(s, strlen(s), out_len) : unescape("", 0, out_len);
}

static void parse_args(struct row *row, const char *s)
{
	size_t count = 0;

	row->len = UINT32_MAX;
	while (*s && strcmp(s, "-")) {
		char *end;

		if (*s == ' ') {
			s++;
		} else if (!strncmp(s, "len=", 4)) {
			row->len = (uint32_t)strtoul(s + 4, &end, 10);
			s = end;
		} else if ((*s == 'k' || *s == 'u') && s[1] == '"') {
			const char *quote = strchr(s + 2, '"');

			cr_assert_not_null(quote, "row %d: open string", row->id);
			cr_assert_lt(count, COUNT(row->args));
			row->strings[count] = unescape(s + 2, (size_t)(quote - s - 2), NULL);
			row->args[count] = (uintptr_t)row->strings[count];
			count++;
			s = quote + 1;
		} else {
			cr_assert_lt(count, COUNT(row->args));
			row->args[count++] = strtoull(s, &end, 16);
			cr_assert_neq(s, end, "row %d: argument %s", row->id, s);
			s = end;
		}
	}
	if (row->len == UINT32_MAX)
		row->len = (uint32_t)(count * sizeof(row->args[0]));
}

static void parse_row(struct row *row, char *line)
{
	char *column[5];

	memset(row, 0, sizeof(*row));
	line[strcspn(line, "\n")] = '\0';
	for (size_t i = 0; i < COUNT(column); i++) {
		cr_assert_not_null(line, "five columns in: %s", column[0]);
		column[i] = line;
		line = strchr(line, '\t');
		if (line)
			*line++ = '\0';
	}
	cr_assert_null(line, "only five columns in row %s", column[0]);
	row->id = atoi(column[0]);
	row->fmt = parse_column(column[1], NULL);
	parse_args(row, column[2]);
	if (!strcmp(column[3], "-EINVAL"))
		row->ret = -EINVAL;
	else if (!strcmp(column[3], "-ENOSPC"))
		row->ret = -ENOSPC;
	else
		cr_assert_str_eq(column[3], "0", "row %s: return %s", column[0], column[3]);
	row->text = parse_column(column[4], &row->text_len);
}

static void free_row(struct row *row)
{
	for (size_t i = 0; i < COUNT(row->strings); i++)
		free(row->strings[i]);
	free(row->fmt);
	free(row->text);
}

/* Does the row hold with a buffer of @size bytes? */
static bool row_holds(const struct row *row, size_t size)
{
	char buf[TEXT_MAX];
	int expected = row->ret ? row->ret : (int)row->text_len;
	size_t shown = row->text_len < size ? row->text_len : size;
	int ret;

	memset(buf, CANARY, sizeof(buf));
	ret = bsi_format_array(buf, size, row->fmt, row->args, row->len);
	if (ret != expected) {
		cr_log_error("row %d, size %zu: \"%s\" returned %d (%s), not %d (%s)", row->id,
			     size, row->fmt, ret, error_name(ret), expected, error_name(expected));
		return false;
	}
	for (size_t i = size; i < sizeof(buf); i++) {
		if (buf[i] != CANARY) {
			cr_log_error("row %d, size %zu: wrote byte %zu", row->id, size, i);
			return false;
		}
	}
	if (!row->ret && memcmp(buf, row->text, shown)) {
		cr_log_error("row %d, size %zu: \"%s\" gave \"%.*s\", not \"%.*s\"", row->id, size,
			     row->fmt, (int)shown, buf, (int)shown, row->text);
		return false;
	}
	return true;
}

static bool is_skipped(int id)
{
	for (size_t i = 0; i < COUNT(skipped_ids); i++) {
		if (skipped_ids[i] == id)
			return true;
	}
	return false;
}

Test(format, array__every_row_of_the_kernels_table_holds)
{
	FILE *table = fopen(BPF_STREAM_TEST_DATA "/format_cases.tsv", "r");
	static char line[16384];
	size_t ran = 0;
	size_t skipped = 0;
	size_t failed = 0;

	cr_assert_not_null(table, "cannot open %s/format_cases.tsv", BPF_STREAM_TEST_DATA);
	while (fgets(line, sizeof(line), table)) {
		struct row row;
		bool holds = true;

		cr_assert_not_null(strchr(line, '\n'), "a line is too long: %.20s", line);
		if (line[0] == '#')
			continue;
		parse_row(&row, line);
		if (is_skipped(row.id)) {
			skipped++;
			free_row(&row);
			continue;
		}
		ran++;
		/* The size of a print, then every kind of truncation. */
		holds &= row_holds(&row, 1023);
		holds &= row_holds(&row, row.text_len);
		holds &= row_holds(&row, row.text_len + 1);
		holds &= row_holds(&row, row.text_len ? row.text_len - 1 : 0);
		holds &= row_holds(&row, row.text_len / 2);
		holds &= row_holds(&row, 0);
		if (!holds)
			failed++;
		free_row(&row);
	}
	fclose(table);
	cr_expect_eq(failed, 0, "%zu rows failed", failed);
	cr_expect_eq(skipped, TABLE_SKIPPED, "%zu rows were skipped", skipped);
	cr_expect_eq(ran, TABLE_ROWS - TABLE_SKIPPED, "%zu rows ran", ran);
}

/* ---- the array form: edges --------------------------------------------- */

/* The argument that points to @s */
#define STR(s) ((uint64_t)(uintptr_t)(s))

static void expect_array_args(const char *expected, const char *fmt, const uint64_t *args,
			      size_t count)
{
	char text[TEXT_MAX];
	int ret = bsi_format_array(text, sizeof(text) - 1, fmt, args,
				   (uint32_t)(count * sizeof(*args)));

	text[ret < 0 ? 0 : ret] = '\0';
	cr_expect_eq(ret, (int)strlen(expected), "\"%s\" returned %d", fmt, ret);
	cr_expect_str_eq(text, expected);
}

static void expect_array_error(int expected, const char *fmt, const uint64_t *args, size_t count)
{
	char text[TEXT_MAX];
	int ret = bsi_format_array(text, sizeof(text), fmt, args,
				   (uint32_t)(count * sizeof(*args)));

	cr_expect_eq(ret, expected, "\"%s\" returned %d (%s)", fmt, ret, error_name(ret));
}

#define EXPECT_ARRAY(expected, fmt, ...)						\
	expect_array_args(expected, fmt, (const uint64_t[]){ __VA_ARGS__ },		\
			  COUNT(((const uint64_t[]){ __VA_ARGS__ })))
#define EXPECT_ARRAY_ERROR(expected, fmt, ...)						\
	expect_array_error(expected, fmt, (const uint64_t[]){ __VA_ARGS__ },		\
			   COUNT(((const uint64_t[]){ __VA_ARGS__ })))

/* A string that takes @n bytes of the area with its NUL */
static const char *filler(size_t n)
{
	static char fill[AREA];

	memset(fill, 'z', n - 1);
	fill[n - 1] = '\0';
	return fill;
}

static void expect_length(int expected, const char *fmt, size_t fill, uint64_t second,
			  uint64_t third)
{
	const uint64_t args[] = { STR(filler(fill)), second, third };
	char text[TEXT_MAX];
	int ret = bsi_format_array(text, sizeof(text), fmt, args, sizeof(args));

	cr_expect_eq(ret, expected, "\"%s\" behind %zu bytes returned %d", fmt, fill, ret);
}

Test(format, array__unknown_conversion_is_EINVAL)
{
	for (int c = 0; c < 256; c++) {
		const char plain[] = { '%', (char)c, '\0' };
		const char wide[] = { '%', 'l', (char)c, '\0' };
		const char pointer[] = { '%', 'p', (char)c, '\0' };
		const uint64_t args[] = { STR("text") };
		char text[64];

		if (!c || !strchr("diuxXcsp%", c))
			cr_expect_eq(bsi_format_array(text, sizeof(text), plain, args, 8), -EINVAL,
				     "%%\\x%02x", c);
		if (!c || !strchr("diuxX", c))
			cr_expect_eq(bsi_format_array(text, sizeof(text), wide, args, 8), -EINVAL,
				     "%%l\\x%02x", c);
		/* After %p few letters may stand, but any punctuation. */
		if ((isalnum(c) || c >= 0x80) && !strchr("KxsSB", c))
			cr_expect_eq(bsi_format_array(text, sizeof(text), pointer, args, 8),
				     -EINVAL, "%%p\\x%02x", c);
	}
}

Test(format, array__bad_arguments_are_EINVAL_whatever_the_format)
{
	const uint64_t args[13] = { 1 };
	char text[64];

	cr_expect_eq(bsi_format_array(text, sizeof(text), "x", NULL, 8), -EINVAL);
	cr_expect_eq(bsi_format_array(text, sizeof(text), "x", NULL, 1), -EINVAL);
	cr_expect_eq(bsi_format_array(text, sizeof(text), "x", args, 97), -EINVAL);
	cr_expect_eq(bsi_format_array(text, sizeof(text), "x", args, 104), -EINVAL);
	cr_expect_eq(bsi_format_array(text, sizeof(text), "x", args, UINT32_MAX - 7), -EINVAL);
	for (uint32_t len = 1; len < 96; len++)
		cr_expect_eq(bsi_format_array(text, sizeof(text), "x", args, len),
			     len % 8 ? -EINVAL : 1, "length %u", len);
}

Test(format, array__no_arguments_need_no_array)
{
	char text[64];

	unit_same_length(bsi_format_array(text, sizeof(text), "100%%", NULL, 0), 4);
	unit_same_bytes(text, "100%", 4);
	cr_expect_eq(bsi_format_array(text, sizeof(text), "", NULL, 0), 0);
	cr_expect_eq(bsi_format_array(text, sizeof(text), "%d", NULL, 0), -EINVAL);
	cr_expect_eq(bsi_format_array(NULL, 0, "text", NULL, 0), 4);
}

Test(format, array__plain_text_may_hold_no_control_character)
{
	for (int c = 1; c < 256; c++) {
		const char fmt[] = { 'a', (char)c, 'b', '\0' };
		bool is_space = c == ' ' || (c >= '\t' && c <= '\r');
		bool is_bad = (c < ' ' && !is_space) || c == 0x7f;
		char text[8];

		if (c != '%')
			cr_expect_eq(bsi_format_array(text, sizeof(text), fmt, NULL, 0),
				     is_bad ? -EINVAL : 3, "\\x%02x", c);
	}
	EXPECT_ARRAY_ERROR(-EINVAL, "%d\x01", 1);
	EXPECT_ARRAY_ERROR(-EINVAL, "%%\x7f", 1);
	EXPECT_ARRAY("\xff" "1\xc3\xa9", "\xff%d\xc3\xa9", 1);
}

Test(format, array__addresses_below_4096_read_as_empty)
{
	EXPECT_ARRAY("[]", "[%s]", 0);
	EXPECT_ARRAY("[   ]", "[%3s]", 4095);
	EXPECT_ARRAY("[][]", "[%pks][%pus]", 1, 4095);
	EXPECT_ARRAY("0.0.0.0 000.000.000.000", "%pI4 %pi4", 4095, 0);
	EXPECT_ARRAY("00000000000000000000000000000000", "%pi6", 4095);
}

Test(format, array__first_readable_address_is_read)
{
	char *low = mmap((void *)4096, 4096, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (low != (char *)4096)
		cr_skip_test("nothing can be mapped at 4096 here");
	memcpy(low, "low", 4);
	EXPECT_ARRAY("low", "%s", 4096);
	EXPECT_ARRAY("108.111.119.0", "%pI4", 4096);
}

Test(format, array__a_string_is_never_read_beyond_what_the_area_holds)
{
	char *most = bytes_before_a_hole(AREA - 1);
	char *three = bytes_before_a_hole(3);
	char text[TEXT_MAX];

	/* Neither ends with a NUL. */
	memset(most, 'm', AREA - 1);
	memset(three, 't', 3);
	cr_expect_eq(bsi_format_array(text, sizeof(text), "%s", (uint64_t[]){ STR(most) }, 8), 511);
	cr_expect_eq(bsi_format_array(text, sizeof(text), "%pus", (uint64_t[]){ STR(most) }, 8),
		     511);
	/* A byte less than the room is text, the last one is its NUL. */
	expect_length(507 + 3, "%s%s", AREA - 4, STR(three), 0);
	expect_length(509 + 1, "%s%s", AREA - 2, STR(three + 2), 0);
	expect_length(510, "%s%s", AREA - 1, STR(three + 3), 0);
	expect_length(-ENOSPC, "%s%s", AREA, STR(three + 3), 0);
}

Test(format, array__numbers_are_aligned_in_the_area)
{
	expect_length(-ENOSPC, "%s%d", 509, 1, 0);
	expect_length(507 + 1, "%s%d", 508, 1, 0);
	expect_length(-ENOSPC, "%s%ld", 505, 1, 0);
	expect_length(503 + 1, "%s%ld", 504, 1, 0);
	expect_length(-ENOSPC, "%s%px", 505, 1, 0);
	expect_length(503 + 3, "%s%pS", 504, 1, 0);
	expect_length(-ENOSPC, "%s%ps", 505, 1, 0);
	expect_length(510 + 1, "%s%c", 511, 'c', 0);
	expect_length(-ENOSPC, "%s%c", 512, 'c', 0);
	/* What the alignment cost is missing behind the number. */
	expect_length(500 + 1 + 3, "%s%d%s", 501, 1, STR("longer text"));
	expect_length(488 + 1 + 7, "%s%ld%s", 489, 1, STR("longer text"));
	expect_length(-ENOSPC, "%s%ld%c", 497, 1, 'c');
	expect_length(503 + 2, "%s%c%d", 504, 'c', 1);
	expect_length(-ENOSPC, "%s%c%ld", 504, 'c', 1);
	expect_length(502 + 2, "%s%c%ld", 503, 'c', 1);
	expect_length(-ENOSPC, "%s%d%d", 505, 1, 1);
	expect_length(503 + 2, "%s%d%d", 504, 1, 1);
}

Test(format, array__letters_alone_count_in_the_area_as_all_others_do)
{
	static char longer[600];
	char text[TEXT_MAX];
	const uint64_t args[] = { 'a', 1, 'b', STR(longer), 2 };

	/* 1 byte, 3 to align, 4, 1, and the NUL: 502 are left for the text. */
	memset(longer, 'l', sizeof(longer) - 1);
	cr_expect_eq(bsi_format_array(text, sizeof(text), "%c%d%c%s", args, sizeof(args)), 505);
	cr_expect_eq(bsi_format_array(text, sizeof(text), "%c%u%c%s", args, sizeof(args)), 505);
	cr_expect_eq(bsi_format_array(text, sizeof(text), "%c%x%c%s%c", args, sizeof(args)),
		     -ENOSPC);
}

Test(format, array__a_cut_text_leaves_room_for_nothing)
{
	expect_length(507 + 3, "%s%pi4", 508, STR("\1\2\3\4"), 0);
	expect_length(-ENOSPC, "%s%pi4%c", 508, STR("\1\2\3\4"), 'c');
	expect_length(-ENOSPC, "%s%pi4%s", 508, STR("\1\2\3\4"), STR(""));
	expect_length(505 + 5, "%s%pB", 506, 0x123456, 0);
	expect_length(-ENOSPC, "%s%pB%s", 506, 0x123456, STR(""));
	expect_length(-ENOSPC, "%s%s%s", 506, STR("longer"), STR(""));
	/* Not cut: 0x1234 and its NUL are 7 bytes, 1.2.3.4 and its are 8. */
	expect_length(503 + 6 + 1, "%s%pB%c", 504, 0x1234, 'c');
	expect_length(502 + 7 + 1, "%s%pI4%c", 503, STR("\1\2\3\4"), 'c');
	/* Full to the last byte, but not cut */
	expect_length(504 + 6, "%s%pB", 505, 0x1234, 0);
	expect_length(-ENOSPC, "%s%pB%pB", 505, 0x1234, 0);
}

Test(format, array__an_address_without_room_for_its_raw_bytes_is_ENOSPC)
{
	static const char raw[16] = { 0 };

	expect_length(-ENOSPC, "%s%pi4", 509, STR(raw), 0);
	expect_length(-ENOSPC, "%s%pI4", 509, 0, 0);
	expect_length(507 + 3, "%s%pI4", 508, 0, 0);
	expect_length(-ENOSPC, "%s%pi6", 497, STR(raw), 0);
	expect_length(-ENOSPC, "%s%pI6", 497, 0, 0);
	expect_length(495 + 15, "%s%pi6", 496, STR(raw), 0);
	expect_length(495 + 15, "%s%pI6", 496, 0, 0);
	expect_length(-ENOSPC, "%s%pB", 512, 1, 0);
	expect_length(510, "%s%pB", 511, 1, 0);
}

Test(format, array__the_leftmost_error_counts)
{
	expect_length(-ENOSPC, "%s%c%f", 512, 'c', 0);
	expect_length(-EINVAL, "%s%f%c", 512, 'c', 0);
	expect_length(-EINVAL, "%s%d%c%c", 8, 1, 1);
	expect_length(-ENOSPC, "%s%c\x01", 512, 'c', 0);
	expect_length(-EINVAL, "%s\x01%c", 512, 'c', 0);
}

Test(format, array__width_above_INT_MAX_is_EINVAL)
{
	char text[8];
	const uint64_t one = 1;

	cr_expect_eq(bsi_format_array(text, sizeof(text), "%2147483648d", &one, 8), -EINVAL);
	cr_expect_eq(bsi_format_array(text, sizeof(text), "%99999999999d", &one, 8), -EINVAL);
	cr_expect_eq(bsi_format_array(text, sizeof(text), "%2147483647dx", &one, 8), INT_MAX);
	unit_same_length(bsi_format_array(text, sizeof(text), "%-2000000000d", &one, 8), 2000000000);
	unit_same_bytes(text, "1       ", 8);
}

Test(format, array__a_text_cut_behind_a_huge_width_is_still_accounted)
{
	expect_length(-ENOSPC, "%2000000000s%2000000000d%pB", 505, 1, 1);
	expect_length(INT_MAX, "%2147483647s%pB%c", 300, 0x1234, 'c');
	expect_length(-ENOSPC, "%2147483647s%pB%c", 508, 0x1234, 'c');
}

Test(format, array__numbers_without_a_length_are_32_bits_wide)
{
	EXPECT_ARRAY("-1 -9 -10 -2147483648 2147483647", "%d %d %d %d %d", UINT64_MAX,
		     (uint32_t)-9, (uint32_t)-10, 0x80000000u, UINT64_C(0x17fffffff));
	EXPECT_ARRAY("4294967295 ffffffff -1 c", "%u %x %i %c", UINT64_MAX, UINT64_MAX, UINT64_MAX,
		     UINT64_C(0xffffff00) + 'c');
}

Test(format, array__l_and_ll_are_64_bits_wide)
{
	EXPECT_ARRAY("-1 -1 18446744073709551615", "%ld %lld %lu", UINT64_MAX, UINT64_MAX,
		     UINT64_MAX);
	EXPECT_ARRAY("4294967296 0", "%lu %u", UINT64_C(1) << 32, UINT64_C(1) << 32);
}

Test(format, array__pointers_fill_sixteen_digits_unless_a_width_is_given)
{
	EXPECT_ARRAY("0000000000000abc", "%px", 0xabc);
	EXPECT_ARRAY("0000000000000abc", "%0pK", 0xabc);
	EXPECT_ARRAY("abc       |", "%-10px|", 0xabc);
	EXPECT_ARRAY("0000000abc|", "%010p|", 0xabc);
	EXPECT_ARRAY("  0x0|0x0  |", "%5pS|%-05ps|", 0, 0);
	EXPECT_ARRAY("   0x1|0x1", "%+06pS|%20pB", 1, 1);
}

Test(format, array__minus_wins_over_the_zeros_of_a_pointer)
{
	static const char *const forms[] = { "p", "px", "pK" };
	/* As a running 7.2.13 printed them */
	static const struct {
		const char *flags;
		const char *expected;
	} rows[] = {
		{ "-", "abc             |" },	{ "--", "abc             |" },
		{ "0-", "abc             |" },	{ " -", "abc             |" },
		{ "-4", "abc |" },		{ "+", "0000000000000abc|" },
		{ " ", "0000000000000abc|" },
	};

	for (size_t i = 0; i < COUNT(forms) * COUNT(rows); i++) {
		char fmt[16];

		snprintf(fmt, sizeof(fmt), "%%%s%s|", rows[i / COUNT(forms)].flags,
			 forms[i % COUNT(forms)]);
		EXPECT_ARRAY(rows[i / COUNT(forms)].expected, fmt, 0xabc);
	}
}

/* What flags and width do to a pointer */
enum pointer_rule {
	ADDRESS,	/* pad; zeros before it if 0 says so or no width is given */
	CODE,		/* pad with blanks */
	FIXED,		/* nothing */
};

struct pointer_form {
	const char *letters;
	enum pointer_rule rule;
	const char *body;	/* the text if it is not the number in hexadecimal */
};

/* The rule: - puts blanks behind, else zeros or blanks go before. */
static void pointer_model(char *text, const struct pointer_form *form, const char *flags,
			  size_t width, const char *body)
{
	bool is_left = strchr(flags, '-') != NULL;
	bool has_zeros = form->rule == ADDRESS && (strchr(flags, '0') || !width);
	size_t len = strlen(body);
	size_t pad;

	if (form->rule == ADDRESS && !width)
		width = 16;
	pad = form->rule == FIXED || width < len ? 0 : width - len;
	memset(text, is_left || !has_zeros ? ' ' : '0', pad + len);
	memcpy(is_left ? text : text + pad, body, len);
	strcpy(text + pad + len, "|");
}

static void expect_pointer(const struct pointer_form *form, const char *flags, size_t width,
			   uint64_t value)
{
	char digits[24];
	char fmt[32];
	char expected[128];
	char text[128];
	int ret;

	snprintf(digits, sizeof(digits), form->rule == ADDRESS ? "%llx" : "0x%llx",
		 (unsigned long long)value);
	snprintf(fmt, sizeof(fmt), width ? "%%%s%zu%s|" : "%%%s%.0zu%s|", flags, width,
		 form->letters);
	pointer_model(expected, form, flags, width, form->body ? form->body : digits);
	ret = bsi_format_array(text, sizeof(text) - 1, fmt, &value, sizeof(value));
	text[ret < 0 ? 0 : ret] = '\0';
	cr_assert(!strcmp(text, expected), "%s of 0x%llx returned %d: \"%s\", not \"%s\"", fmt,
		  (unsigned long long)value, ret, text, expected);
}

/* Every sequence of up to four flags, so all of them in every order */
Test(format, array__flags_and_width_of_every_pointer_follow_one_rule)
{
	static const unsigned char raw[16] = { 1, 2, 30, 255 };
	static const uint64_t values[] = { 0, 1, 0xabc, UINT64_C(0xdeadbeefcafe), UINT64_MAX };
	static const struct pointer_form forms[] = {
		{ "p", ADDRESS, NULL }, { "px", ADDRESS, NULL }, { "pK", ADDRESS, NULL },
		{ "pxz9", ADDRESS, NULL }, { "ps", CODE, NULL }, { "pS", CODE, NULL },
		{ "pB", FIXED, NULL }, { "pi4", FIXED, "001.002.030.255" },
		{ "pI4", FIXED, "1.2.30.255" },
		{ "pi6", FIXED, "01021eff000000000000000000000000" },
		{ "pI6", FIXED, "0102:1eff:0000:0000:0000:0000:0000:0000" },
		{ "pks", FIXED, "\1\2\36\377" }, { "pus", FIXED, "\1\2\36\377" },
	};

	for (unsigned int n = 0; n < 5 * 5 * 5 * 5; n++) {
		char flags[5];
		size_t len = 0;

		for (unsigned int rest = n; rest; rest /= 5) {
			if (rest % 5)
				flags[len++] = "-+ 0"[rest % 5 - 1];
		}
		flags[len] = '\0';
		for (size_t width = 0; width <= 24; width++) {
			for (size_t f = 0; f < COUNT(forms); f++) {
				for (size_t v = 0; v < (forms[f].body ? 1 : COUNT(values)); v++)
					expect_pointer(&forms[f], flags, width,
						       forms[f].body ? STR(raw) : values[v]);
			}
		}
	}
}

Test(format, array__twelve_arguments_and_surplus_ones)
{
	EXPECT_ARRAY("1 2 3 4 5 6 7 8 9 10 11 12", "%d %d %d %d %d %d %d %d %d %d %d %d",
		     1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
	EXPECT_ARRAY("1", "%d", 1, 2, 3);
	EXPECT_ARRAY_ERROR(-EINVAL, "%d %d", 1);
}
