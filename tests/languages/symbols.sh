#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Looks at symbols: a shared library exports bpf_stream_* if BPF_STREAM_EXPORT is defined, and else
# nothing, as a private copy does; an object has no other symbols for others; no function of the program layer is ever exported; nothing comes from
# libatomic or malloc; and everything.c calls every function and macro that the header has.
#
# Seen to fail with copies of the header in which: BSE_API is always hidden, or never; a variable is defined beside the bodies; a
# function of [19] is not static; bse_u64 is not aligned to 8, or 0 is added to a count of bytes
# (clang-14 -m32); there is one more function, or macro, that everything.c does not use.

# Lists of words; functions that check calls.
# shellcheck disable=SC2086,SC2317 source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh" "$@"

c='-std=c11 -Iinclude'
so='-fPIC -shared -pthread'

# exports FILE ALLOWED [FLAG]: all symbols that others can see match. The thunks, of gcc -m32, are
# hidden outside the object's library.
exports()
{
	nm -g --defined-only ${3:-} "$1" >symbols || return 1
	awk 'NF == 3 { print $3 }' symbols >names
	! grep -vE "$2|^__x86\.get_pc_thunk\." names
}

# calls_no_library FILE: neither libatomic nor malloc.
calls_no_library()
{
	nm -u "$1" >symbols || return 1
	! grep -E '__atomic|__sync|malloc|calloc|realloc|free$' symbols
}

# What the linker adds to shared libraries.
linker='_init|_fini'

objects()
{
	local cc=$1 machine=$2 flags name
	for flags in -O0 '-O0 -fPIC' '-O2 -DBPF_STREAM_PROG'; do
		name="$cc ${machine:+-m32 }$flags"
		check "$name: compiles" $cc $machine $flags $c -c bodies.c -o impl.o
		check "$name: exports bpf_stream_* only" exports impl.o '^bpf_stream_'
		check "$name: needs no libatomic, no malloc" calls_no_library impl.o
		check "$name: compiles as a private copy" \
			$cc $machine $flags $c -DNAME=copy -c static_copy.c -o copy.o
		check "$name: exports nothing of it" exports copy.o '^copy$'
	done
	for flags in -O0 '-O2 -flto'; do
		name="$cc ${machine:+-m32 }$flags shared library"
		check "$name: links" \
			$cc $machine $flags $so $c -DBPF_STREAM_PROG bodies.c -o lib.so
		check "$name: exports nothing" exports lib.so "^($linker)" -D
		check "$name: links, and exports" \
			$cc $machine $flags $so $c -DBPF_STREAM_EXPORT bodies.c -o lib.so
		check "$name: exports bpf_stream_* only" exports lib.so "^(bpf_stream_|$linker)" -D
		check "$name: exports them" grep -qx bpf_stream_push names
		check "$name: links as a private copy" \
			$cc $machine $flags $so $c -DNAME=copy static_copy.c -o lib.so
		check "$name: exports nothing of it" exports lib.so "^(copy$|$linker)" -D
	done
}

# Each function has a symbol in what calls it: undefined, or local where it is inline.
all_called()
{
	local name missing=0 functions macros
	functions=$(PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$root/scripts python3 -c '
import sys, check_header
for _, name, _ in check_header.Header(sys.argv[1]).declarations():
    print(name)' include/bpf_stream.h)
	macros=$(sed -n 's/^#define \(bpf_stream_[a-z_]*\)(.*/\1/p' include/bpf_stream.h)
	"$@" -O0 -Iinclude -c everything.c -o everything.o || return 1
	nm everything.o >symbols
	"$@" -E -Iinclude everything.c >declared || return 1
	for name in $functions; do
		grep -qw "$name" declared || continue	# in kernels only
		grep -qE " [Ut] $name\$" symbols && continue
		echo "everything.c does not call $name()"
		missing=1
	done
	for name in $macros; do
		grep -q "[^a-z_]$name(" everything.c && continue
		echo "everything.c does not use the macro $name()"
		missing=1
	done
	[ -n "$functions" ] && [ -n "$macros" ] && [ $missing -eq 0 ]
}

for cc in gcc-12 clang-14 clang-19 musl-gcc; do
	for machine in '' "$m32"; do
		[ "$cc$machine" != "musl-gcc$m32" ] || continue
		if have $cc "$machine"; then
			objects $cc "$machine"
		else
			skip 29 "$cc ${machine:+-m32}" \
				'not installed, or its programs do not run here'
		fi
	done
done
check 'C calls all' all_called gcc -std=c11
check 'a caller in C exports no function of the program layer' exports everything.o '^main$'
if command -v g++ >/dev/null; then
	check 'C++ calls all' all_called g++ -std=c++11 -x c++
	check 'a caller in C++ exports no function of the program layer' \
		exports everything.o '^main$'
else
	skip 2 'a caller in C++' 'g++ is not installed'
fi
finish
