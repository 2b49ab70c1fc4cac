#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The drop-in in kernels of our own, beside the original: the kernel's selftests, the defects of
# the original, NMIs. With `debug` the same under KASAN, lockdep and more.
# usage: dropin.sh [debug] [7.2] [7.3]
#
# Seen to fail with: the mistake of tests/sabotage.sed, and the original's defects (each run of the
# tier does both); a print refused for memory in an NMI.

# shellcheck source=SCRIPTDIR/../lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=SCRIPTDIR/../own.sh
. "$kernel_top/kernel/own.sh"
# shellcheck source=SCRIPTDIR/../selftests.sh
. "$kernel_top/kernel/selftests.sh"

debug='' all=() nmis=200000
for word; do
	case $word in
	debug) debug=1 nmis=50000 ;;
	7.2 | 7.3) all+=("$word") ;;
	seconds=*) ;;
	esac
done
[ ${#all[@]} -gt 0 ] || all=(7.2 7.3)
if [ "$debug" ] && [ ${#all[@]} -gt 1 ]; then
	all=(7.3)	# the newest
fi

# shellcheck disable=SC2016 # for the guest
guest_defects='/defects 2>&1 | while read -r line; do report "$line"; done'
# Before the defects, which use up the spares.
guest_nmi="sum() { awk '/^live_pages/ { n = \$2 } /^spare_pages/ { n -= \$2 } END { print n + 0 }' /sys/kernel/debug/bpf_stream; }
echo $nmis 500 >/sys/kernel/debug/bpf_stream_nmi
if [ -e /sys/kernel/debug/bpf_stream ]; then
	# A CPU may keep a page that it fills, for each level of nesting.
	[ \$(sum) -le 8 ] && report 'ok nmi: the pages are back' ||
		report \"FAIL nmi: the pages are back: \$(sum) are in use\"
	while read -r line; do report \"\$line\"; done </sys/kernel/debug/bpf_stream
fi"

# pass_on VARIANT: what the guest said, as results.
pass_on()
{
	local line
	while read -r line; do
		case $line in
		'ok '*) ok "$series $1: ${line#ok }" ;;
		'FAIL '*) fail "$series $1: ${line#FAIL }" "the log is $log" ;;
		'SKIP '*) skip "$series $1: ${line#SKIP }" "it says so" ;;
		again | end) ;;
		*) echo "    $line" ;;
		esac
	done < <(results "$log")
	if [ "$verdict" = clean ]; then
		ok "$series $1: kernel log"
	else
		fail "$series $1: kernel log" "$verdict: $reason" "$log"
	fi
}

# The original passes the selftests, and shows every defect.
test_stock()
{
	local line
	boot_own "$series" stock 300 "$(guest_selftests)" "$tools/test_stream"
	pass_on stock
	boot_own "$series" stock 300 "$guest_defects" "$tools/defects"
	while read -r line; do
		case $line in
		'FAIL defect '*) ok "$series stock: shows ${line#FAIL }" ;;
		'ok defect 6: a fault at once'*) ok "$series stock: ${line#ok }" ;;
		'ok '* | 'FAIL '*) fail "$series stock: shows the defects" "$line" "$log" ;;
		esac
	done < <(results "$log")
	[ "$(results "$log" | grep -c '^FAIL defect ')" -ge 6 ] ||
		fail "$series stock: shows the defects" 'not all of them' "$log"
}

# Ten functions are global, and nothing else.
check_symbols()
{
	local wanted found
	wanted=$(printf '%s\n' bpf_prog_stream_{free,init,read} bpf_stream_{print_stack,vprintk} \
		bpf_stream_stage_{commit,dump_stack,free,init,printk} | sort)
	found=$(nm --defined-only --extern-only "$own_kernel/stream.o" | awk '{ print $3 }' |
		grep -v '^__pfx_\|^__SCK__\|^__kstrtab' | sort)
	if [ "$found" = "$wanted" ]; then
		ok "$series: the ten global functions, and no other"
	else
		fail "$series: the ten global functions, and no other" \
			"$(diff <(echo "$wanted") <(echo "$found") | grep '^[<>]' | tr '\n' ' ')"
	fi
}

# With all warnings of W=1, none of them from our files. Leaves the tree as build_own made it.
check_warnings()
{
	local flavour=tiny
	step "w1-$series" "compiling stream.o with W=1" own_make "$series" $flavour W=1 \
		kernel/bpf/stream.o
	if grep -E 'kernel/bpf/(stream\.c|bpf_stream\.h):[0-9]+.*(warning|error):' "$step_log" >/dev/null; then
		fail "$series: no warning with W=1" 'there are some' "$step_log"
	else
		ok "$series: no warning with W=1"
	fi
}

# check_patch FILE TYPE...: checkpatch.pl has nothing to say but the TYPEs, for which
# docs/kernel-drop-in.md gives reasons.
check_patch()
{
	local file=$1 ignored
	shift
	ignored=$(IFS=, && echo "$*")
	if step "checkpatch-${file##*/}" "checking ${file##*/}" \
		perl "$own/source-$series/scripts/checkpatch.pl" --root="$own/source-$series" --strict \
		--terse --show-types --no-summary --max-line-length=100 --ignore "$ignored" -f "$file"; then
		ok "$series: checkpatch.pl --strict: ${file##*/}"
	else
		step_log=$kernel_cache/log/checkpatch-${file##*/}.log
		fail "$series: checkpatch.pl --strict: ${file##*/}" \
			"$(grep -c . "$step_log") messages" "$step_log"
	fi
}

# list_tree: what a tree's kernel/bpf holds, and the names of everything else.
list_tree()
{
	(cd "$1" && find . -type f ! -path './kernel/bpf/*' -printf '%p %s\n' &&
		find kernel/bpf -type f -exec sha256sum {} + && find kernel/bpf -printf '%p %m\n') | sort
}

# The installer, on a tree of its own.
test_install()
{
	local tree=$own/tree-install before=$own/before install=$kernel_top/kernel/dropin/install.sh changed
	rm -rf "$tree"
	step install "linking a tree" cp -al "$own/source-$series" "$tree" || return
	list_tree "$tree" >"$before"
	"$install" "$tree" >/dev/null || fail "$series: install.sh" 'it does not install'
	changed=$(diff "$before" <(list_tree "$tree") | grep '^[<>]' |
		grep -v ' kernel/bpf/\(stream\.c\|stream\.c\.orig\|bpf_stream\.h\)\( 644\)\?$\|^[<>] kernel/bpf/[a-z_.]* 644$')
	! "$install" "$tree" >/dev/null 2>&1 || fail "$series: install.sh" 'it installs twice'
	"$install" --remove "$tree" >/dev/null || fail "$series: install.sh" 'it does not remove'
	if [ -z "$changed" ] && list_tree "$tree" | cmp -s - "$before" &&
	   list_tree "$own/source-$series" | cmp -s - "$before"; then
		ok "$series: install.sh leaves everything as it was"
	else
		fail "$series: install.sh leaves everything as it was" \
			"$changed $(diff "$before" <(list_tree "$tree") | head -n 3)"
	fi
	! "$install" --remove "$tree" >/dev/null 2>&1 || fail "$series: install.sh" 'it removes twice'
	rm -rf "$tree" "$before"
}

# built VARIANT: build it, or say why not.
built()
{
	build_own "$series" "$1" && return
	if [ -d "$own/source-$series" ]; then
		fail "$series $1: build" "$reason" "$step_log"
	else
		skip "$series $1" "$reason"
	fi
	return 1
}

test_dropin()
{
	built stock || return
	if ! build_tools "$series"; then
		fail "$series: tools" "$reason" "$step_log"
		return
	fi
	test_install
	test_stock
	built dropin || return
	check_symbols
	check_warnings
	boot_own "$series" dropin 900 "$(guest_selftests)
$guest_nmi
$guest_defects" "$tools/test_stream" "$tools/defects"
	pass_on dropin
	[ "$series" = "${all[0]}" ] || return
	check_patch "$kernel_top/kernel/dropin/stream.c" LINUX_VERSION_CODE CONSTANT_COMPARISON
	check_patch "$kernel_top/include/bpf_stream.h" BLOCK_COMMENT_STYLE CAMELCASE COMPLEX_MACRO \
		LINE_SPACING MACRO_ARG_PRECEDENCE MACRO_ARG_REUSE MACRO_ARG_UNUSED NEW_TYPEDEFS \
		PREFER_DEFINED_ATTRIBUTE_MACRO PREFER_KERNEL_TYPES SPACING UNCOMMENTED_DEFINITION VOLATILE
	if built dropin-kmalloc; then
		boot_own "$series" dropin-kmalloc 300 "$(guest_selftests)" "$tools/test_stream"
		pass_on dropin-kmalloc
	fi
	built broken || return
	boot_own "$series" broken 300 "$(guest_selftests)" "$tools/test_stream"
	if results "$log" | grep -q '^FAIL selftest'; then
		ok "$series broken: the selftests notice"
	else
		fail "$series broken: the selftests notice" 'they do not' "$log"
	fi
}

test_debug()
{
	# The tools need the stock kernel's types.
	built stock || return
	if ! build_tools "$series"; then
		fail "$series: tools" "$reason" "$step_log"
		return
	fi
	built debug || return
	boot_own "$series" debug 1200 "$(guest_selftests)
$guest_nmi
$guest_defects" "$tools/test_stream" "$tools/defects"
	pass_on debug
}

lock_own || exit 1
for series in "${all[@]}"; do
	if [ "$debug" ]; then
		test_debug
	else
		test_dropin
	fi
	[ ! -e "$own/source-$series.version" ] ||
		echo "linux-source-$series $(cat "$own/source-$series.version"), $(gcc --version | head -n 1), $(date -u +%F)"
done
finish
