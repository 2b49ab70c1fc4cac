#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The drop-in in kernels of our own, beside the original: the kernel's selftests, the defects of
# the original, NMIs. With `debug` the same under KASAN, lockdep and more.
# kernel/run.sh calls it: dropin.sh [debug] [7.2] [7.3]
#
# Seen to fail with: the mistake of tests/sabotage.sed, and the original's defects (each run of the
# tier does both); a print refused for memory in an NMI; results that are missing, programs that end
# with another status, a guest that does not boot; refusals that are not counted, a capacity that is
# never reached, a CPU that goes and keeps its pages; and what nmi_stress.c and memory.c list.

debug='' nmis=200000
[ "${1-}" != debug ] || { debug=1 nmis=50000 && shift; }
all=("$@")
# shellcheck source=SCRIPTDIR/../lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=SCRIPTDIR/../own.sh
. "$kernel_top/kernel/own.sh"
# shellcheck source=SCRIPTDIR/../selftests.sh
. "$kernel_top/kernel/selftests.sh"
if [ ${#all[@]} -eq 0 ]; then
	all=(7.2 7.3)
	[ -z "$debug" ] || all=(7.3)
fi

# Parts of the guest's script. Each reports its results, and "status KIND N" at its end.
# shellcheck disable=SC2016 # for the guest
guest_defects='
/defects >/tmp/defects 2>&1
status=$?
while read -r line; do report "$line"; done </tmp/defects
report "status defect $status"
'
# shellcheck disable=SC2016
guest_figures='
figure() { awk -v name="$1" '\''$1 == name { print $2; n++ } END { exit !n }'\'' /sys/kernel/debug/bpf_stream; }
check() {
	local name="$1"
	shift
	if [ "$@" ]; then report "ok $name"; else report "FAIL $name: not $*"; fi
}
'
# After the defects, whose messages were refused for each of these reasons.
# shellcheck disable=SC2016
guest_counted='
for why in full memory size; do
	check "counted: refusals for $why" "$(figure refused_$why)" -gt 0
done
check "counted: pages that were denied" "$(figure denied)" -gt 0
report "status counted 0"
'
# After the defects, which used up spares: they must be filled up again.
guest_nmi="nmis=$nmis"
# shellcheck disable=SC2016
guest_nmi+='
sleep 1
full=$(figure refused_full)
echo "$nmis 500" >/sys/kernel/debug/bpf_stream_nmi
status=$?
# Two more ended the measurement of the capacity.
told=$(dmesg | sed -n "s/.*bpf_stream| writer .* refused: \([0-9]*\) full.*/\1/p" | awk "{ n += \$1 } END { print n + 2 }")
check "nmi: every message that the capacity refused is counted" "$(figure refused_full)" -eq $((full + told))
check "nmi: all pages are back but those that CPUs keep" "$(figure live_pages)" -eq "$(figure kept_pages)"
report "status nmi $status"
while read -r line; do report "$line"; done </sys/kernel/debug/bpf_stream
'
# After the NMIs: both CPUs have spares, and pages that they keep.
# shellcheck disable=SC2016
guest_offline='
online=/sys/devices/system/cpu/cpu1/online
taskset 2 /test_stream -t stream_syscall >/tmp/out 2>&1
kept=$(figure kept_pages)
spares=$(figure spare_pages)
echo 0 >$online
status=$?
left=$(figure spare_pages)
check "offline: its spares are given back" "$left" -lt "$spares"
check "offline: the pages that it kept are given back" "$(figure kept_pages)" -lt "$kept"
check "offline: no page is lost" "$(figure live_pages)" -eq "$(figure kept_pages)"
echo 1 >$online || status=1
check "offline: the spares are back with the CPU" "$(figure spare_pages)" -ge "$spares"
# A CPU that comes has all.
check "offline: those left were of one CPU" "$left" -le $(($(figure spare_pages) - left))
taskset 2 /test_stream -t stream_syscall >/tmp/out 2>&1
check "offline: a selftest runs on the CPU that came back" $? -eq 0
report "status offline $status"
'
# guest_memory LINE: see memory.c.
guest_memory()
{
	echo "echo \"$1\" >/sys/kernel/debug/bpf_stream_memory"
	# shellcheck disable=SC2016
	echo 'report "status memory $?"'
}

# selftests: how many results they have, as the original of this series said.
selftests()
{
	cat "$tools/selftests" 2>/dev/null || echo 'unknown'
}

# pass_on VARIANT KIND=COUNT...: what the guest said, as results; of each KIND there must be COUNT.
pass_on()
{
	local line kind variant=$1
	shift
	if [ ! -e "$log" ]; then
		fail "$series $variant" "$verdict: $reason"
		return
	fi
	while read -r line; do
		case $line in
		'ok '*) ok "$series $variant: ${line#ok }" ;;
		'FAIL '*) fail "$series $variant: ${line#FAIL }" "the log is $log" ;;
		'SKIP '*) skip "$series $variant: ${line#SKIP }" "it says so" ;;
		again | end | 'status '*) ;;
		*) echo "    $line" ;;
		esac
	done < <(results "$log")
	for kind; do
		complete "$variant" "${kind%=*}" "${kind#*=}" 0
	done
	if [ "$verdict" = clean ]; then
		ok "$series $variant: kernel log"
	else
		fail "$series $variant: kernel log" "$verdict: $reason" "$log"
	fi
}

# The original passes the selftests, and shows every defect, the last of which makes it warn.
test_stock()
{
	local line count
	boot_own "$series" stock 600 "$(guest_selftests)
$(guest_memory '10000 127 1')
$(guest_memory '90000 4 1000')" "$tools/test_stream"
	# Four tests, and 16 parts of them, were known when this was written.
	count=$(results "$log" | grep -cE '^(ok|FAIL) selftest ')
	[ "$count" -ge 20 ] || count='20 or more'
	echo "$count" >"$tools/selftests"
	pass_on stock "selftest=$count" memory=0
	[ "$(results "$log" | grep -c '^memory: ')" = 2 ] ||
		fail "$series stock: memory" 'not two figures'
	boot_own "$series" stock 300 "$guest_defects" "$tools/defects"
	if [ ! -e "$log" ]; then
		fail "$series stock: shows the defects" "$verdict: $reason"
		return
	fi
	while read -r line; do
		case $line in
		'FAIL defect '*) ok "$series stock: shows ${line#FAIL }" ;;
		'ok defect 6: a fault at once'*) ok "$series stock: ${line#ok }" ;;
		'ok '* | 'FAIL '*) fail "$series stock: shows the defects" "$line" "$log" ;;
		esac
	done < <(results "$log")
	complete stock defect 7 1
	case $verdict in
	clean | warning) results "$log" | grep -qx end ;;
	*) false ;;
	esac || fail "$series stock: shows the defects" "$verdict: $reason" "$log"
}

check_symbols()
{
	if check_functions "$own_kernel/stream.o"; then
		ok "$series: the ten global functions, and no other"
	else
		fail "$series: the ten global functions, and no other" "$reason"
	fi
}

# With all warnings of W=1, none of them from our files. Leaves the tree as build_own made it.
check_warnings()
{
	local flavour=tiny
	if ! step "w1-$series" "compiling stream.o with W=1" own_make "$series" $flavour W=1 \
		kernel/bpf/stream.o; then
		because 'it does not compile'
		fail "$series: no warning with W=1" "$reason" "$step_log"
	elif grep -qE 'kernel/bpf/(stream\.c|bpf_stream(_dropin)?\.h):[0-9]+.*(warning|error):' "$step_log"; then
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
	if ! step install "linking a tree" cp -al "$own/source-$series" "$tree"; then
		because 'a tree cannot be linked'
		fail "$series: install.sh" "$reason" "$step_log"
		rm -rf "$tree"
		return
	fi
	list_tree "$tree" >"$before"
	"$install" "$tree" >/dev/null || fail "$series: install.sh" 'it does not install'
	changed=$(diff "$before" <(list_tree "$tree") | grep '^[<>]' |
		grep -v ' kernel/bpf/\(stream\.c\|stream\.c\.kernel\|bpf_stream\(_dropin\)\?\.h\)\( 644\)\?$')
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
	build_own "$series" "$1"
	case $? in
	0) return ;;
	77) skip "$series $1" "$reason" ;;
	*) fail "$series $1: build" "$reason" "$step_log" ;;
	esac
	return 1
}

test_dropin()
{
	local header
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
	# shellcheck disable=SC2016 # for the guest
	boot_own "$series" dropin 1200 "$(guest_selftests)
$guest_figures
$guest_defects
$guest_counted
$guest_nmi
$guest_offline
$(guest_memory '100000 4 1000 $(figure page_cap)')" "$tools/test_stream" "$tools/defects"
	pass_on dropin "selftest=$(selftests)" nmi=9 offline=6 defect=7 counted=4 memory=4
	check_patch "$kernel_top/kernel/dropin/stream.c" LINUX_VERSION_CODE CONSTANT_COMPARISON
	for header in "$kernel_top"/{include/bpf_stream,kernel/dropin/bpf_stream_dropin}.h; do
		check_patch "$header" BLOCK_COMMENT_STYLE CAMELCASE COMPLEX_MACRO LINE_SPACING \
			MACRO_ARG_PRECEDENCE MACRO_ARG_REUSE MACRO_ARG_UNUSED NEW_TYPEDEFS ARRAY_SIZE \
			PREFER_DEFINED_ATTRIBUTE_MACRO PREFER_KERNEL_TYPES SPACING \
			UNCOMMENTED_DEFINITION VOLATILE
	done
	if built dropin-kmalloc; then
		boot_own "$series" dropin-kmalloc 300 "$(guest_selftests)" "$tools/test_stream"
		pass_on dropin-kmalloc "selftest=$(selftests)"
	fi
	built broken || return
	boot_own "$series" broken 300 "$(guest_selftests)" "$tools/test_stream"
	if [ ! -e "$log" ]; then
		fail "$series broken: the selftests notice" "$verdict: $reason"
	elif results "$log" | grep -q '^FAIL selftest '; then
		ok "$series broken: the selftests notice"
		complete broken selftest "$(selftests)" 1
	else
		fail "$series broken: the selftests notice" 'they do not' "$log"
	fi
}

test_debug()
{
	local count
	# The tools need the stock kernel's types.
	built stock || return
	if ! build_tools "$series"; then
		fail "$series: tools" "$reason" "$step_log"
		return
	fi
	built debug || return
	boot_own "$series" debug 1200 "$(guest_selftests)
$guest_figures
$guest_defects
$guest_counted
$guest_nmi
$guest_offline" "$tools/test_stream" "$tools/defects"
	# The original is not booted here: what it said before, or what was known.
	count=$(selftests)
	[ "$count" -gt 0 ] 2>/dev/null || count=$(results "$log" | grep -cE '^(ok|FAIL) selftest ')
	[ "$count" -ge 20 ] || count='20 or more'
	pass_on debug "selftest=$count" nmi=9 offline=6 defect=7 counted=4
}

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
