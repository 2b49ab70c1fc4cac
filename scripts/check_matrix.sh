#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Compile the header in every mode with every compiler and standard we promise.
#
# usage: check_matrix.sh [PROJECT_DIRECTORY]
#
# A cell is one compilation. Failing cells are printed, the first ten with the compiler's first
# lines. The last line is `N passed, N failed, N skipped`; cells of a compiler that is not installed
# are skipped. Include orders, and what the header says to who got them wrong, are looked at by
# tests/languages/inclusion.sh.
# Exit status: 0 all passed, 1 a cell failed, 2 usage, 77 no compiler at all.

set -u
export LC_ALL=C
case ${1-} in
--help | -h)
	sed -n '4,/^$/s/^# \{0,1\}//p' "$0"
	exit
	;;
-*)
	echo 'usage: check_matrix.sh [PROJECT_DIRECTORY]' >&2
	exit 2
	;;
esac
root=${1:-$(dirname "$0")/..}
if [ ! -f "$root/include/bpf_stream.h" ]; then
	echo "check_matrix.sh: there is no include/bpf_stream.h in $root" >&2
	exit 2
fi
root=$(cd "$root" && pwd) || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

common='-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Wcast-align -Werror -O2'
header='#include "bpf_stream.h"'

# add COMPILER WANT NAME FLAGS FILE: WANT is what must be found: a zero exit ("ok") or a message.
cells=0 skipped=0 missing=''
add()
{
	if ! command -v "$1" >/dev/null; then
		skipped=$((skipped + 1))
		case " $missing " in *" $1 "*) ;; *) missing="$missing $1" ;; esac
		return
	fi
	cells=$((cells + 1))
	printf '%s\n' "$2" "$1 $4" "$5" "$3" >"$work/$(printf '%04d' $cells).cell"
}

# One cell, in a process of its own: writes NNNN.ok or NNNN.bad.
run_cell()
{
	local base=${1%.cell} want command file name
	{ read -r want; read -r command; read -r file; read -r name; } <"$1"
	if $command -I"$root/include" -c "$work/$file" -o "$base.o" >"$base.log" 2>&1; then
		[ "$want" = ok ] && { : >"$base.ok"; return; }
		echo "it compiles, but must stop with an #error that says $want" >"$base.log"
	elif [ "$want" != ok ]; then
		grep -e 'error' "$base.log" | grep -qF -e "$want" && { : >"$base.ok"; return; }
		echo "it stops, but not with an #error that says $want" >>"$base.log"
	fi
	{
		echo "FAIL $name"
		echo "     $command $file"
		head -n 12 "$base.log" | sed 's/^/     /'
	} >"$base.bad"
}

printf '%s\n' "$header" >"$work/declare.c"
printf '%s\n' "$header" >"$work/declare.cc"
printf '#define BPF_STREAM_IMPLEMENTATION\n%s\n' "$header" >"$work/implement.c"
printf '#define BPF_STREAM_STATIC\n%s\n' "$header" >"$work/static.c"
printf '%s\n#define BPF_STREAM_STATIC\n%s\n' "$header" "$header" >"$work/late_static.c"

for cc in gcc-12 clang-14 clang-19; do
	for std in c11 c17; do
		for mode in implement static declare; do
			for extra in '' -DBPF_STREAM_PROG -DBPF_STREAM_SELFCHECK=1; do
				add $cc ok "$cc $std $mode $extra" \
					"-std=$std $common -Wstrict-prototypes $extra" $mode.c
			done
		done
		add $cc "before the file's first inclusion" \
			"$cc $std: static copy after declarations" "-std=$std" late_static.c
		for value in 2 -1; do
			add $cc BPF_STREAM_SELFCHECK "$cc $std: -DBPF_STREAM_SELFCHECK=$value" \
				"-std=$std -DBPF_STREAM_SELFCHECK=$value" implement.c
		done
	done
done
for cc in gcc-12 clang-14; do
	for mode in implement static; do
		add $cc ok "$cc c11 $mode -Os" "-std=c11 $common -Os" $mode.c
	done
done
for cxx in g++ clang++-14 clang++-19; do
	for std in c++11 c++14 c++17 c++20; do
		for extra in '' -DBPF_STREAM_PROG -DBPF_STREAM_SELFCHECK=1; do
			add $cxx ok "$cxx $std declare $extra" "-std=$std $common $extra" declare.cc
		done
	done
done

for missing in $missing; do
	echo "SKIP: its cells: $missing is not installed"
done
if [ $cells -eq 0 ]; then
	echo "0 passed, 0 failed, $skipped skipped"
	exit 77
fi
export -f run_cell
export work root
printf '%s\0' "$work"/*.cell | xargs -0 -n 1 -P "$(nproc)" bash -c 'run_cell "$0"'
find "$work" -name '*.bad' | sort | head -n 10 | xargs -r cat
find "$work" -name '*.bad' | sort | tail -n +11 | xargs -r -n 1 head -n 1
passed=$(find "$work" -name '*.ok' | wc -l)
failed=$((cells - passed))
echo "$cells cells: modes, extras, standards and compilers"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
