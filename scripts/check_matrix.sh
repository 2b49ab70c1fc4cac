#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Compile the header in every mode with every compiler and standard we promise.
#
# usage: check_matrix.sh [PROJECT_DIRECTORY]
#
# A cell is one compilation. Failing cells are printed with the compiler's first lines. The last line
# is `N passed, N failed, N skipped`; cells of a compiler that is not installed are skipped. Include
# orders, and what the header says to who got them wrong, are looked at by
# tests/languages/inclusion.sh. Exit status: 0 all passed, 1 a cell failed.

set -u
export LC_ALL=C
cd "${1:-$(dirname "$0")/..}" || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

common='-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Wcast-align -Werror -O2'
header='#include "bpf_stream.h"'
printf '%s\n' "$header" | tee "$work/declare.c" >"$work/declare.cc"
printf '#define BPF_STREAM_IMPLEMENTATION\n%s\n' "$header" >"$work/implement.c"
printf '#define BPF_STREAM_STATIC\n%s\n' "$header" >"$work/static.c"
printf '%s\n#define BPF_STREAM_STATIC\n%s\n' "$header" "$header" >"$work/late_static.c"

# cells COMPILERS STANDARDS FILES [FLAGS...]: one line for each.
cells()
{
	local compiler standard file flags
	for compiler in $1; do
		for standard in $2; do
			for file in $3; do
				for flags in "${@:4}"; do
					echo "$compiler $common -std=$standard $flags -c $work/$file"
				done
			done
		done
	done
}

# run_cell COMMAND: FILE late_static.c must be refused, the others must compile.
run_cell()
{
	local out want=0
	[[ $1 != *late_static.c ]] || want=1
	if ! command -v "${1%% *}" >/dev/null; then
		echo "SKIP: its cells: ${1%% *} is not installed"
	elif out=$($1 -Iinclude -o /dev/null 2>&1); [ $? -eq $want ] &&
		[[ $want = 0 || $out == *"before the file's first inclusion"* ]]; then
		echo ok
	else
		printf 'FAIL %s\n%s\n' "$1" "$(echo "$out" | head -n 12 | sed 's/^/     /')"
	fi
}
export -f run_cell

extras=('' -DBPF_STREAM_PROG -DBPF_STREAM_EXPORT)
{
	cells 'gcc-12 clang-14 clang-19' 'c11 c17' 'implement.c static.c declare.c' \
		"${extras[@]/%/ -Wstrict-prototypes}"
	cells 'gcc-12 clang-14 clang-19' 'c99 gnu99 c2x' declare.c "${extras[@]}"
	cells 'gcc-12 clang-14 clang-19' 'gnu11 c2x' 'implement.c static.c' ''
	cells 'gcc-12 clang-14 clang-19' 'c11 c17' late_static.c ''
	cells 'gcc-12 clang-14' c11 'implement.c static.c' -Os
	cells 'g++ clang++-14 clang++-19' 'c++11 c++14 c++17 c++20 c++2b' declare.cc "${extras[@]}"
} | tr '\n' '\0' | xargs -0 -n 1 -P "$(nproc)" bash -c 'run_cell "$0"' >"$work/results"
awk '!/^ok$/ && !(/^SKIP/ && told[$0]++)' "$work/results"
count()
{
	grep -c "^$1" "$work/results"
}
echo "$(count ok) passed, $(count FAIL) failed, $(count SKIP) skipped"
[ "$(count ok)" -gt 0 ] && [ "$(count FAIL)" -eq 0 ]
