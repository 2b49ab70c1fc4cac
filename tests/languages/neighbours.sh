#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The header next to the kernel's and libbpf's headers, before and after them, in C and C++: those
# that are installed, and those of Debian's sid, which know BPF streams themselves and use some of
# the names. The program layer has such names on purpose: beside <bpf/bpf.h> a compiler must say so.
#
# Sid's packages come with fetch_deb.sh and are not installed; without a network they are skipped.
#
# Seen to fail with copies of the header in which: an enumerator is called BPF_STREAM_STDOUT; there
# is a macro bpf_prog_stream_read; the program layer is always there; there is a struct
# bpf_prog_stream_read_opts; the layer's bpf_prog_stream_read() has another name.

# Lists of words; functions that check calls.
# shellcheck disable=SC2086,SC2317 source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh" "$@"

c="gcc -std=c11 -O2 $warnings"
cxx="g++ -std=c++11 -O2 $warnings -x c++"

build_and_run()
{
	rm -f prog
	"$@" -o prog && ./prog
}

# beside WHOSE FLAGS HEADER...: together with each of them, where FLAGS find them.
beside()
{
	local whose=$1 flags=$2 header place
	shift 2
	for header; do
		for place in LAST FIRST; do
			name="$whose $header, ${place,,}"
			check "$name: declarations" \
				build_and_run $c $flags "-D$place=$header" order.c bodies.o
			check "$name: implementation" build_and_run $c $flags -D_DEFAULT_SOURCE \
				-DBPF_STREAM_IMPLEMENTATION "-D$place=$header" order.c
			[ -z "$have_cxx" ] || check "$name: C++" build_and_run \
				$cxx $flags "-D$place=$header" order.c -x none bodies.o
			[ "$header" != '<bpf/bpf.h>' ] || continue
			check "$name: program layer" build_and_run $c $flags -DBPF_STREAM_PROG \
				"-D$place=$header" order.c bodies.o
		done
	done
}

# A compiler has to name the function and both headers.
collides()
{
	! "$@" 2>errors || return
	grep -q 'error:.*bpf_prog_stream_read' errors && grep -q 'bpf/bpf\.h:[0-9]' errors &&
		grep -q 'bpf_stream\.h:[0-9]' errors &&
		[ "$(grep -c 'error:' errors)" -eq 1 ] && return
	cat errors
	return 1
}

have_cxx=$(command -v g++)
[ -n "$have_cxx" ] || echo 'SKIP: C++: g++ is not installed'
check 'bodies' $c -c bodies.c -o bodies.o

headers=('<linux/bpf.h>')
if [ -f /usr/include/bpf/libbpf.h ]; then
	headers+=('<bpf/libbpf.h>' '<bpf/bpf.h>')
else
	skip 14 "installed <bpf/libbpf.h>, <bpf/bpf.h>" 'libbpf-dev is not installed'
fi
beside installed '' "${headers[@]}"

for package in linux-libc-dev libbpf-dev; do
	if version=$(timeout 300 "$root/scripts/fetch_deb.sh" sid $package sid 2>fetch.log); then
		echo "sid has $package $version"
	else
		skip 32 "sid's headers" "$(tail -n 1 fetch.log)"
		finish
	fi
done
sid=sid/usr/include
check "sid's headers have the kernel's names" grep -q 'BPF_STREAM_STDOUT' $sid/linux/bpf.h
check "sid's headers have libbpf's" grep -q 'bpf_prog_stream_read(' $sid/bpf/bpf.h
flags="-isystem $sid/$(gcc -print-multiarch) -isystem $sid"
beside "sid's" "$flags" '<linux/bpf.h>' '<bpf/libbpf.h>' '<bpf/bpf.h>'
for compiler in gcc clang-14 clang-19 'g++ -x c++'; do
	if ! command -v ${compiler%% *} >/dev/null; then
		skip 2 "what $compiler says" 'it is not installed'
		continue
	fi
	for place in FIRST LAST; do
		check "$compiler: program layer, sid's <bpf/bpf.h> ${place,,}: a clear message" \
			collides $compiler -Iinclude $flags -DBPF_STREAM_PROG \
			"-D$place=<bpf/bpf.h>" -c order.c -o order.o
	done
done
finish
