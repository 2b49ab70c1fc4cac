#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Run the kernel's tests; ./dev test kernel installs what they need and calls this.
#
# usage: kernel/run.sh [TIER...] [KERNEL...] [seconds=N] [nmis=N]
#
# TIER: compile, module (these two if none is named), dropin, debug; each is a script in
# kernel/tiers, and gets of the other words those that it knows. KERNEL: for compile and module see
# kernel/lib.sh, for dropin and debug 7.2 or 7.3. seconds and nmis, for module: how long the stress
# in each kernel runs. A line for each test, ok, FAIL or SKIP, and at the end
# `N passed, N failed, N skipped`. Exit status: 0, 1 failed, 77 all skipped, 2 usage.
#
# A tier writes its sum into the file $kernel_sum, and has our output, maybe a terminal, as its own.

usage()
{
	cat <<'END'
usage: kernel/run.sh [TIER...] [KERNEL...] [seconds=N] [nmis=N]

TIER: compile, module (these two if none is named), dropin, debug. KERNEL: of
compile and module 6.1 6.12 previous newest rt, of dropin and debug 7.2 7.3.
seconds, nmis: how long module's stress in each kernel runs. ./dev help tells more.
END
}

here=$(cd "$(dirname "$0")" && pwd) || exit 1
tiers=() words=() check=''
for word; do
	case $word in
	--help | -h) usage && exit ;;
	--check) check=1 ;;	# of the words and the cache only
	compile | module | dropin | debug) tiers+=("$word") ;;
	*) words+=("$word") ;;
	esac
done
[ ${#tiers[@]} -gt 0 ] || tiers=(compile module)

# knows TIER WORD
knows()
{
	local number='^(seconds|nmis)=[1-9][0-9]{0,8}$'
	case $1 in
	compile | module) [[ $2 =~ ^(6\.1|6\.12|previous|newest|rt)$ ]] ||
		[[ $1 == module && $2 =~ $number ]] ;;
	*) [[ $2 =~ ^7\.[23]$ ]] ;;
	esac
}

for word in "${words[@]}"; do
	for tier in "${tiers[@]}"; do
		! knows "$tier" "$word" || continue 2
	done
	if knows module "$word" || knows dropin "$word"; then
		what="'$word' is nothing for ${tiers[*]}"
	elif [[ $word =~ ^(seconds|nmis)= ]]; then
		what="'$word': N is a number from 1 to 999999999"
	else
		what="'$word' is no tier, kernel or option"
	fi
	echo "kernel/run.sh: $what; see ./dev help" >&2
	exit 2
done

# What is wrong with the cache is said once, not by each tier.
# shellcheck source=SCRIPTDIR/lib.sh
(. "$here/lib.sh") || exit 1
[ -z "$check" ] || exit 0

kernel_sum=$(mktemp) || exit 1
export kernel_sum
trap 'rm -f "$kernel_sum"' EXIT
trap 'exit 130' HUP INT TERM

passed=0 failed=0 skipped=0
for tier in "${tiers[@]}"; do
	case $tier in
	debug) command=("$here/tiers/dropin.sh" debug) ;;
	*) command=("$here/tiers/$tier.sh") ;;
	esac
	echo
	echo "== kernel: $tier"
	for word in "${words[@]}"; do
		! knows "$tier" "$word" || command+=("$word")
	done
	start=$SECONDS
	: >"$kernel_sum"
	bash "${command[@]}" </dev/null
	status=$?
	p=0 f=0 s=0
	[ ! -s "$kernel_sum" ] || read -r p _ f _ s _ <"$kernel_sum"
	if [ ! -s "$kernel_sum" ] || { [ $status -ne 0 ] && [ $status -ne 77 ] && [ "$f" -eq 0 ]; }; then
		echo "FAIL: $tier: it ended with status $status and no sum"
		f=$((f + 1))
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	echo "$tier took $((SECONDS - start)) s"
done
echo
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] || exit 1
[ $passed -gt 0 ] || exit 77
