#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Includes the header in all the places where a program can: before and after other headers, twice,
# as private copies. Where it cannot be compiled, the user must read one error, that says what to
# do, and this must help.
#
# Seen to fail with copies of the header in which: bpf_stream_push() has another name; a private
# copy is extern; MAP_ANONYMOUS is looked for instead of MADV_DONTNEED (musl); no #include ends the
# compilation; the test for C90 is gone, or asks for C11; the knobs have their defaults in [2]; _DEFAULT_SOURCE is not defined.

# Lists of words; functions that check calls.
# shellcheck disable=SC2086,SC2317 source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh" "$@"

CC="gcc -std=c11 -O2 $warnings"

build_and_run()
{
	rm -f prog
	$CC "$@" -o prog && ./prog
}

for header in '<stdio.h>' '<pthread.h>' '<signal.h>' '<linux/bpf.h>'; do
	check "declarations before $header" build_and_run "-DLAST=$header" order.c bodies.c
	check "declarations after $header" build_and_run "-DFIRST=$header" order.c bodies.c
	check "implementation before $header" \
		build_and_run -DBPF_STREAM_IMPLEMENTATION "-DLAST=$header" order.c
	check "implementation after $header, with _DEFAULT_SOURCE" build_and_run \
		-D_DEFAULT_SOURCE -DBPF_STREAM_IMPLEMENTATION "-DFIRST=$header" order.c
done
check 'included twice' \
	build_and_run '-DLAST="bpf_stream.h"' -DBPF_STREAM_IMPLEMENTATION order.c

# One file that includes others: some have no bodies, and know no knobs.
printf '%s\n' '#include "bpf_stream.h"' 'void first(struct bpf_stream *s);' \
	'void first(struct bpf_stream *s) { (void)bpf_stream_push(s, "x", 1); }' >first.c
printf '%s\n' '#define BPF_STREAM_IMPLEMENTATION' '#define BPF_STREAM_DEFAULT_CAPACITY 100' \
	'#define BPF_STREAM_POOL_BYTES (1u << 20)' '#define BPF_STREAM_PAGE_SIZE 1024u' \
	'#define BPF_STREAM_LEVELS 2u' '#include "bpf_stream.h"' >second.c
printf '#include "%s.c"\n' first second order >unity.c
check 'one file of several, one of which has bodies and knobs' \
	build_and_run -D_DEFAULT_SOURCE unity.c
printf '%s\n' '#include "bpf_stream.h"' 'int push(struct bpf_stream *s);' \
	'int push(struct bpf_stream *s) { return bpf_stream_push(s, "x", 1); }' >declarations.c

for name in a b; do
	check "static copy $name" $CC -DNAME=copy_$name -c static_copy.c -o $name.o
done
check 'two static copies in one program' build_and_run static_main.c a.o b.o

# told WANT COMMAND...: it must stop, with one error that says WANT and nothing behind it.
told()
{
	local want=$1 error
	shift
	if "$@" >errors 2>&1; then
		echo "it compiles, but must stop with an #error that says $want"
		return 1
	fi
	error=$(grep -m 1 'error:' errors)
	[[ $error == *"#error"* || $error == *'error: "'* ]] && [[ $error == *"$want"* ]] &&
		[ "$(grep -c 'error:' errors)" -eq 2 ] &&
		grep 'fatal error:' errors | grep -q 'no more than this error' && return
	echo "not one error that says $want, but:"
	cat errors
	return 1
}

printf '#include <%s>\n' errno.h fcntl.h inttypes.h limits.h pthread.h sched.h signal.h stdio.h \
	stdlib.h string.h sys/mman.h sys/syscall.h sys/uio.h time.h unistd.h >system.h
cp bodies.c bodies.cc
printf '%s\n' '#define BPF_STREAM_STATIC' '#include "bpf_stream.h"' >copy.cc

for cc in gcc clang-14 clang-19 musl-gcc; do
	if ! have $cc; then
		skip 16 "what $cc tells" "$cc is not installed"
		continue
	fi
	late=(-DBPF_STREAM_IMPLEMENTATION '-DFIRST="system.h"' order.c)
	CC="$cc -std=c11 $warnings"
	check "$cc: after all system headers it advises" told -D_DEFAULT_SOURCE $CC -c "${late[@]}"
	check "$cc: which helps" build_and_run -D_DEFAULT_SOURCE "${late[@]}"
	check "$cc: so does its other advice, to include it before them" \
		build_and_run "${late[@]/FIRST/LAST}"
	check "$cc: with POSIX asked for it advises the same" \
		told -D_DEFAULT_SOURCE $CC -D_POSIX_C_SOURCE=200809L -c "${late[@]}"
	check "$cc: with GNU asked for it compiles" build_and_run -D_GNU_SOURCE "${late[@]}"
	CC="$cc -std=gnu11 $warnings" check "$cc: as GNU C it compiles" build_and_run "${late[@]}"
	for std in c90 gnu90 iso9899:199409; do
		check "$cc -std=$std: it advises -std=c99" \
			told -std=c99 $cc -std=$std -Iinclude -c order.c
		check "$cc -std=$std: also where the bodies are" \
			told -std=c99 $cc -std=$std -Iinclude -c bodies.c
	done
	for std in c99 gnu99; do
		check "$cc -std=$std: declarations are enough for who has no bodies" \
			$cc -std=$std $warnings -c declarations.c -o declarations.o
		check "$cc -std=$std: where the bodies are it advises -std=c11" \
			told -std=c11 $cc -std=$std -Iinclude -c bodies.c
	done
done
for cxx in g++ clang++-14 clang++-19; do
	if ! command -v $cxx >/dev/null; then
		skip 2 "what $cxx tells" "$cxx is not installed"
		continue
	fi
	for file in bodies.cc copy.cc; do
		check "$cxx: $file is for C, it advises" \
			told 'in a .c file' $cxx -Iinclude -c $file
	done
done
finish
