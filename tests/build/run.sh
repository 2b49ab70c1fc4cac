#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Build, link and run the header the ways a program can include it, and look at
# what it exports.
#
# usage: run.sh [HEADER_DIRECTORY]
#
# The last line is `N passed, N failed, N skipped`. Exit status: 0 all passed,
# 1 something failed. To see it fail: give bpf_stream_push() another name in a
# copy of the header, or define a variable in it outside the guard.

set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd) || exit 2
include=$(cd "${1:-$here/../../include}" && pwd) || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
# Under a name without blanks, whatever the project's directory is called.
mkdir include && cp "$include/bpf_stream.h" include || exit 2

CFLAGS='-std=c11 -Wall -Wextra -Wpedantic -Werror -O2 -pthread -Iinclude'
passed=0 failed=0 skipped=0

# check NAME COMMAND...: the command must succeed.
check()
{
	local name=$1
	shift
	if "$@" >log 2>&1; then
		passed=$((passed + 1))
		echo "ok   $name"
	else
		failed=$((failed + 1))
		echo "FAIL $name"
		head -n 12 log | sed 's/^/     /'
	fi
}

build_and_run()
{
	rm -f prog
	$CC "$@" -o prog && ./prog
}

# The external symbols that an object defines, but for those that match $2.
exports_only()
{
	nm -g --defined-only "$1" >symbols || return 1
	! awk 'NF == 3 { print $3 }' symbols | grep -vE "$2"
}

CC="gcc $CFLAGS"
check 'two files' build_and_run "$here/two_main.c" "$here/two_impl.c"

if command -v g++ >/dev/null; then
	check 'two files: bodies in C' gcc $CFLAGS -c "$here/two_impl.c" -o impl.o
	CC="g++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -O2 -pthread -Iinclude"
	check 'two files: main in C++' build_and_run -x c++ "$here/two_main.c" -x none impl.o
	CC="gcc $CFLAGS"
else
	skipped=$((skipped + 2))
	echo 'SKIP: two files with main in C++: no g++'
fi

for header in '<stdio.h>' '<pthread.h>' '<signal.h>' '<linux/bpf.h>'; do
	check "declarations before $header" \
		build_and_run "-DLAST=$header" "$here/order.c" "$here/two_impl.c"
	check "declarations after $header" \
		build_and_run "-DFIRST=$header" "$here/order.c" "$here/two_impl.c"
	check "implementation before $header" \
		build_and_run -DBPF_STREAM_IMPLEMENTATION "-DLAST=$header" "$here/order.c"
	check "implementation after $header, with _DEFAULT_SOURCE" \
		build_and_run -D_DEFAULT_SOURCE -DBPF_STREAM_IMPLEMENTATION "-DFIRST=$header" \
		"$here/order.c"
done
check 'included twice' \
	build_and_run '-DLAST="bpf_stream.h"' -DBPF_STREAM_IMPLEMENTATION "$here/order.c"

check 'static copy a' gcc $CFLAGS -DNAME=copy_a -c "$here/static_copy.c" -o a.o
check 'static copy b' gcc $CFLAGS -DNAME=copy_b -c "$here/static_copy.c" -o b.o
check 'two static copies in one program' build_and_run "$here/static_main.c" a.o b.o
check 'a static copy exports nothing' exports_only a.o '^copy_a$'

for extra in '' -DBPF_STREAM_PROG -DBPF_STREAM_SELFCHECK=1; do
	check "implementation compiles $extra" gcc $CFLAGS $extra -c "$here/two_impl.c" -o impl.o
	check "implementation exports bpf_stream_* only $extra" exports_only impl.o '^bpf_stream_'
done

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
