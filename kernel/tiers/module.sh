#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The module in Debian's own kernels: its self-tests, and what the kernel complained of.
# kernel/run.sh calls it, with the words of lib.sh, and seconds=N and nmis=N.
#
# The stress from all contexts runs for so many seconds, or until so many NMIs came, then 30 times
# as long at most.
#
# Seen to fail with: a self-test that is left out, says FAIL, says nothing, calls WARN_ON, BUG, or
# never ends; a module that cannot be loaded, or not be taken out.

# shellcheck source=SCRIPTDIR/../lib.sh
. "$(dirname "$0")/../lib.sh"
words=() seconds=2 nmis=0
for word; do
	case $word in
	seconds=*) seconds=${word#*=} ;;
	nmis=*) nmis=${word#*=} ;;
	*) words+=("$word") ;;
	esac
done
[ ${#words[@]} -gt 0 ] || words=(6.1 6.12 previous newest rt)

# What the guest said, as results; its last begin without an end is for the caller.
pass_on_results()
{
	local line
	while read -r line; do
		case $line in
		'ok '*) ok "$name: ${line#ok }" ;;
		'FAIL '*) line=${line#FAIL } && fail "$name: ${line%%: *}" "${line#*: }" ;;
		'SKIP '*) line=${line#SKIP } && skip "$name: ${line%%: *}" "${line#*: }" ;;
		'figures '*) echo "    ${line#figures }" ;;
		esac
	done < <(results "$1")
}

# What is not said by anybody is a failure, too.
check_complete()
{
	local test missing='' tests
	tests=$(sed -n '/^} tests\[\] = {$/,/^};$/s/^\t{ "\([^"]*\)", [^,]* },$/\1/p' \
		"$built/bpf_stream_test.c")
	[ -n "$tests" ] || missing=' (its source names no tests)'
	for test in load $tests follow unload_under_traffic unload; do
		results "$1" | grep -qE "^(ok|FAIL|SKIP) $test(:|\$)" || missing+=" $test"
	done
	[ -z "$missing" ] || fail "$name: all results" "there is none of:$missing; the log is $1"
}

for word in "${words[@]}"; do
	if ! get_kernel "$word"; then
		skip "module $word" "$reason"
		continue
	fi
	name="module $word ($release)"
	if ! build_module "$word" "$kernel_top/kernel/module"; then
		fail "$name: build" "$reason" "$step_log"
		continue
	fi
	if ! get_image; then
		skip "$name" "$reason"
		continue
	fi
	echo "seconds=$seconds nmis=$nmis" >"$built/parameters"
	if ! make_initramfs "$built/initramfs.gz" "$built/bpf_stream_test.ko" "$built/parameters" \
		"$kernel_top/kernel/tests/module_guest.sh=run"; then
		fail "$name: initramfs" "$reason"
		continue
	fi
	log=$kernel_cache/log/boot-$word.log
	step "qemu-$word" "booting $release" boot "$image" "$built/initramfs.gz" "$log" \
		$((seconds * 50 + 240))
	pass_on_results "$log"
	check_complete "$log"
	if [ "$verdict" = clean ]; then
		ok "$name: kernel log"
	else
		fail_boot "$name: kernel log" "$log"
	fi
done
finish
