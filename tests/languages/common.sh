# shellcheck shell=bash disable=SC2034 # variables for those who source it
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# For the scripts of this directory, which source it with their arguments. They are called as
#
#	SCRIPT [HEADER_DIRECTORY]
#
# and work in a directory of their own, without blanks in its name, that has copies of the header,
# in include/, and of the sources here. Each ends with finish: the closing line and the status: 0
# passed, 1 something failed, 2 usage, 77 all skipped.

set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd) || exit 2
root=$here/../..
if [[ ${1:-} == -* ]]; then
	sed -n '3,/^$/s/^# \{0,1\}//p' "$0"
	echo "usage: $(basename "$0") [HEADER_DIRECTORY]"
	[ "$1" = --help ] || [ "$1" = -h ] || exit 2
	exit 0
fi
header_directory=${1:-$root/include}
if [ ! -f "$header_directory/bpf_stream.h" ]; then
	echo "$(basename "$0"): there is no bpf_stream.h in $header_directory; see --help" >&2
	exit 2
fi
header_directory=$(cd "$header_directory" && pwd) || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
mkdir include && cp "$header_directory/bpf_stream.h" include || exit 2
cp "$here"/*.c "$root/bench/stress.c" . || exit 2

passed=0 failed=0 skipped=0
warnings='-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Wcast-align -Werror -pthread
	-Iinclude'

# check NAME COMMAND...: the command must succeed; with 77 it is skipped.
check()
{
	local name=$1 status
	shift
	"$@" >log 2>&1
	status=$?
	if [ $status -eq 0 ]; then
		passed=$((passed + 1))
		echo "ok   $name"
	elif [ $status -eq 77 ]; then
		skip 1 "$name" "$(tail -n 1 log)"
	else
		failed=$((failed + 1))
		echo "FAIL $name"
		head -n 12 log | sed 's/^/     /'
	fi
}

# skip NUMBER WHAT REASON: so many checks are not made.
skip()
{
	local checks=''
	[ "$1" -eq 1 ] || checks="$1 checks: "
	skipped=$((skipped + $1))
	echo "SKIP: $checks$2: $3"
}

# Arguments of a 32-bit program. The headers in asm/ are found only with gcc-multilib otherwise,
# which keeps cross compilers off the machine.
m32="-m32 -idirafter /usr/include/$(gcc -print-multiarch 2>/dev/null)"

# have COMPILER [FLAGS]: it is there, and what it makes runs.
have()
{
	printf 'int main(void) { return 0; }\n' >probe.c
	# shellcheck disable=SC2086 # several words
	command -v "$1" >/dev/null && "$1" ${2:-} probe.c -o probe 2>/dev/null && ./probe
}

finish()
{
	echo "$passed passed, $failed failed, $skipped skipped"
	[ $failed -eq 0 ] || exit 1
	[ $passed -gt 0 ] || exit 77
	exit 0
}
