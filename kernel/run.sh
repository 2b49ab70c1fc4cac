#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Run the kernel's tests; ./dev test kernel installs what they need and calls this.
#
# usage: kernel/run.sh [TIER...] [KERNEL...] [seconds=N] [nmis=N]
#
# TIER: compile, module (these two if none is named), dropin, debug; each is a script in
# kernel/tiers, and gets of the other words those that it knows. KERNEL: for compile and module see
# kernel_words in kernel/lib.sh, for dropin and debug 7.2 or 7.3. seconds and nmis, for module: how
# long the stress in each kernel runs. A line for each test, ok, FAIL or SKIP, and at the end
# `N passed, N failed, N skipped`. Exit status: 0, 1 failed, 77 all skipped, 2 usage.

here=$(cd "$(dirname "$0")" && pwd) || exit 1
tiers=() words=()
for word; do
	case $word in
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
	known=''
	for tier in "${tiers[@]}"; do
		! knows "$tier" "$word" || known=1
	done
	if [ -z "$known" ]; then
		echo "kernel/run.sh: unknown argument '$word' to ${tiers[*]}" >&2
		exit 2
	fi
done

sum=$(mktemp) || exit 1
trap 'rm -f "$sum"' EXIT
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
	: >"$sum"
	# Line by line: some awks would keep lines back.
	bash "${command[@]}" | while IFS= read -r line; do
		if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
			echo "${BASH_REMATCH[*]:1}" >"$sum"
		else
			printf '%s\n' "$line"
		fi
	done
	status=${PIPESTATUS[0]}
	p=0 f=0 s=0
	read -r p f s <"$sum" || true
	if [ "$status" -ne 0 ] && [ "$status" -ne 77 ] && [ "${f:-0}" -eq 0 ] || [ ! -s "$sum" ]; then
		echo "FAIL: $tier: it ended with status $status and no sum"
		f=$((${f:-0} + 1))
	fi
	passed=$((passed + ${p:-0})) failed=$((failed + ${f:-0})) skipped=$((skipped + ${s:-0}))
	echo "$tier took $((SECONDS - start)) s"
done
echo
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] || exit 1
[ $passed -gt 0 ] || exit 77
