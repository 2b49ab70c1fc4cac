#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Builds and runs everything.c, which calls every function, and the stress program: in C and C++,
# with every compiler and level of optimisation, as 32-bit programs, with musl. Nothing may be
# warned of, nor found by GCC's analyzer, and everything.c must print the same each time. It must do
# so where an integer that wraps around or loses bits would end it, too: with -fsanitize=integer in
# trap mode. In 32 bits and with musl the programs for models, faults, exhaustion, processes and
# threads run, too, with small numbers.
#
# With BPF_STREAM_FULL set each run of stress takes 10 seconds, else half a second. All that is
# random is from one seed, BPF_STREAM_SEED if it is set.
#
# Seen to fail with copies of the header in which: the #error about 64-bit atomics looks at
# __GCC_ATOMIC_LLONG_LOCK_FREE alone (clang-14 -m32); 0 is added to a count of bytes (the same, when
# linked); only links bound a pool (gcc-12 -m32); BSE_DECLS_BEGIN is empty in C++ (linking C++); a
# void pointer is converted silently in [19] (C++); a push stores less than it was given (all); a
# number is negated as 0 - value (-fsanitize=integer); the shift of a format's flag has no mask
# (-fanalyzer). And the programs, when every_fault.c had an initializer that is constant in 64 bits
# only, and texts too large for the stacks of musl.

# Lists of words; functions that check calls.
# shellcheck disable=SC2086,SC2317 source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh" "$@"

[ "${BPF_STREAM_FULL:-0}" = 0 ] && seconds=0.5 || seconds=10
seed=${BPF_STREAM_SEED:-$((RANDOM * 32768 + RANDOM + 1))}
echo "builds.sh: seed $seed; stress: --seconds $seconds"
c="-std=c11 $warnings -Wstrict-prototypes -Wstrict-aliasing=2"
bodies='bodies.c'
programs=(
	'parity/stream_parity --scripts 200'
	'faults/every_fault --rounds 50'
	'exhaustion/exhaustion --rounds 3 --messages 2000'
	'processes/processes --rounds 16 private'
	'processes/processes --rounds 16 shared'
	'processes/processes --rounds 16 exec'
	'threads/short_lived --threads 200'
)
mkdir tests && cp -R "$here"/../{program.h,unit,parity,faults,exhaustion,processes,threads} tests ||
	exit 2

# same COMMAND...: builds with it, runs, and compares the output with that of the first call.
same()
{
	rm -f prog
	"$@" -o prog && ./prog >output
	local status=$?
	cat output
	[ -f first_output ] || cp output first_output
	[ $status -eq 0 ] && cmp output first_output
}

stress()
{
	rm -f prog
	"$@" stress.c -o prog && ./prog --quiet --threads 4 --seconds $seconds --seed $seed
}

# program PATH ARGUMENTS COMMAND...: builds it with the command, and runs it.
program()
{
	local path=$1 arguments=$2
	shift 2
	rm -f prog
	"$@" tests/$path.c -o prog || return
	./prog --seed $seed $arguments >output
	local status=$?
	tail -n 10 output
	return $status
}

all_programs()
{
	local what=$1 entry
	shift
	for entry in "${programs[@]}"; do
		check "$what: ${entry#*/}" program ${entry%% *} "${entry#* }" "$@" $c -O2
	done
}

refuses_large_pool()
{
	! gcc-12 $m32 -std=c11 -Iinclude -fsyntax-only \
		'-DBPF_STREAM_POOL_BYTES=(UINT64_C(1) << 32)' $bodies 2>refused &&
		grep 'less than 4 GiB on 32 bits' refused
}

in_c()
{
	local cc=$1 machine level
	for machine in '' "$m32"; do
		if ! have $cc "$machine"; then
			skip 9 "$cc ${machine:+-m32}" \
				'not installed, or its programs do not run here'
			continue
		fi
		for level in -O0 -O1 -O2 -O3 -Os '-O2 -flto'; do
			check "$cc ${machine:+-m32 }$level: everything" \
				same $cc $machine $level $c everything.c $bodies
		done
		for level in -O0 -O3 '-O2 -flto'; do
			check "$cc ${machine:+-m32 }$level: stress" stress $cc $machine $level $c
		done
	done
}

in_trap_mode()
{
	local cc=$1 machine
	for machine in '' "$m32"; do
		if ! have $cc "$machine"; then
			skip 1 "$cc ${machine:+-m32 }-fsanitize=integer" \
				'not installed, or its programs do not run here'
			continue
		fi
		check "$cc ${machine:+-m32 }-fsanitize=integer: everything" \
			same $cc $machine -O2 -fsanitize=integer -fsanitize-trap=integer \
			$c everything.c $bodies
	done
	# A page that is left after siglongjmp() may have handed out nothing.
	check "$cc -fsanitize=integer: single_step --op page_turn" \
		program threads/single_step '--op page_turn --stride 1' $cc -O1 \
		-fsanitize=integer -fsanitize-trap=integer $c
}

# The bodies alone, and calls that the analyzer follows into them with a format that it knows.
analyzed()
{
	cat >analyzed.c <<-'END'
		#define BPF_STREAM_STATIC
		#include "bpf_stream.h"
		int main(int argc, char **argv)
		{
			static struct bpf_stream s;
			static struct bpf_stream_stage ss;
			bpf_stream_init(&s, NULL);
			bpf_stream_printf(&s, "%s %d\n", argv[0], argc);
			bpf_stream_stage_printk(&ss, "%-8s %#lx\n", argv[0], 1ul);
			bpf_stream_stage_commit_to(&ss, &s);
			return bpf_stream_drain_fd(&s, 1, SIZE_MAX) < 0;
		}
	END
	"$@" -fanalyzer -c $bodies -o /dev/null && "$@" -fanalyzer -c analyzed.c -o /dev/null
}

in_cxx()
{
	local cxx=$1 std
	if ! command -v $cxx >/dev/null; then
		skip 5 "$cxx" 'not installed'
		return
	fi
	for std in c++11 c++14 c++17 c++20 c++2b; do
		check "$cxx $std: everything" \
			same $cxx -std=$std $warnings -O2 -x c++ everything.c -x none bodies.o
	done
}

# In C++, linked in C: the 32-bit library of C++ is in a package of its own.
same_cxx32()
{
	g++ $m32 -std=$1 $warnings -O2 -x c++ -c everything.c -o everything.o &&
		same gcc-12 $m32 $c -O2 everything.o $bodies
}

in_32_bits()
{
	local std
	if ! have gcc-12 "$m32"; then
		skip $((5 + ${#programs[@]})) 'gcc-12 -m32' 'not installed, or its programs do not run here'
		return
	fi
	all_programs 'gcc-12 -m32' gcc-12 $m32
	if ! command -v g++ >/dev/null; then
		skip 5 'g++ -m32' 'not installed'
		return
	fi
	for std in c++11 c++14 c++17 c++20 c++2b; do
		check "g++ -m32 $std: everything" same_cxx32 $std
	done
}

with_musl()
{
	local link
	if ! have musl-gcc; then
		skip $((4 + 2 * ${#programs[@]})) musl-gcc 'not installed'
		return
	fi
	for link in '' -static; do
		check "musl-gcc $link: everything" same musl-gcc $link $c -O2 everything.c $bodies
		check "musl-gcc $link: stress" stress musl-gcc $link $c -O2
		all_programs "musl-gcc $link" musl-gcc $link
	done
}

for compiler in gcc-12 clang-14 clang-19; do
	in_c $compiler
done
for compiler in clang-14 clang-19; do
	in_trap_mode $compiler
done
for level in -O0 -O2; do
	if have gcc-12; then
		check "gcc-12 -fanalyzer $level" analyzed gcc-12 $level $c
	else
		skip 1 "gcc-12 -fanalyzer $level" 'not installed'
	fi
done
check 'bodies for C++' gcc $c -O2 -c $bodies -o bodies.o
for compiler in g++ clang++-14 clang++-19; do
	in_cxx $compiler
done
in_32_bits
with_musl
if have gcc-12 "$m32"; then
	check 'gcc-12 -m32: a pool larger than all addresses is refused' refuses_large_pool
else
	skip 1 'gcc-12 -m32' 'not installed, or its programs do not run here'
fi
finish
