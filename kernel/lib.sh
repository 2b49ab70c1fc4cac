# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Kernels for tests: fetch Debian's, build modules for them, boot them. To be sourced, by bash.
#
# A kernel is asked for by a word, and what Debian has for it now is looked up:
#   6.1       of bookworm, for clouds
#   6.12      of trixie, for clouds
#   previous  of sid or trixie-backports, for clouds: the series before the newest
#   newest    of sid or trixie-backports, for clouds
#   rt        of sid or trixie-backports, PREEMPT_RT
# Everything lies in $kernel_cache, one tree for each word, so that it does not grow:
#   debian/WORD/     headers (and the image) of the word's kernel, unpacked; file release names it
#   libc/            a newer C library, for the programs of the header packages
#   lists/SUITE      what kernels a suite has; looked up again after an hour
#   build/WORD/      where modules are built
#   work/            what is made on the way
#   bin/             the compiler's wrapper
#   log/             a log for each step
#   lock             kept by who is at work
# What is made in several steps gets its stamp (release, complete, version, key) last; what has none
# is made anew.
#
# Functions that can fail say why in $reason and return 1.

kernel_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 1
reason='' step_log=''

# A relative XDG_CACHE_HOME is ignored, as the XDG Base Directory Specification has it.
choose_kernel_cache()
{
	local base=${HOME-}/.cache
	[[ ${XDG_CACHE_HOME-} != /* ]] || base=$XDG_CACHE_HOME
	kernel_cache=$base/bpf_stream/kernel
	if [[ $base != /* || $base == /.cache ]]; then
		echo 'kernel: neither XDG_CACHE_HOME nor HOME is an absolute path; kernels are kept there' >&2
	elif [[ $kernel_cache == *[[:space:]:]* ]]; then
		echo "kernel: kernels cannot be built in $kernel_cache, for its blanks or colons;" \
			'XDG_CACHE_HOME can name another place' >&2
	elif ! { mkdir -p "$kernel_cache"/{debian,lists,build,log,bin} &&
		exec 8>>"$kernel_cache/lock"; } 2>/dev/null; then
		echo "kernel: cannot write to $kernel_cache, where kernels are kept;" \
			'XDG_CACHE_HOME can name another place than ~/.cache' >&2
	elif ! flock -n 8; then
		echo "kernel: another run is at work in $kernel_cache" >&2
	else
		return
	fi
	exit 1
}
choose_kernel_cache
trap 'exit 130' HUP INT TERM

# step LOGNAME TEXT COMMAND...: run it with its output in $step_log; a line with its duration
# if it took a second.
step()
{
	local text=$2 start=$SECONDS status end=''
	step_log=$kernel_cache/log/$1.log
	shift 2
	[ ! -t 1 ] || printf '%s ... ' "$text"
	"$@" >"$step_log" 2>&1 </dev/null
	status=$?
	[ ! -t 1 ] || printf '\r\e[K'
	[ $status -eq 0 ] || end=', failed'
	[ $((SECONDS - start)) -eq 0 ] && [ -z "$end" ] || echo "$text: $((SECONDS - start)) s$end"
	return $status
}

# because [TEXT]: why a step failed: TEXT, or the last line of its log. But a full disk, which what
# failed often does not tell in its last words. Returns 1.
because()
{
	reason=$(grep -a -m 1 'No space left on device' "$step_log" 2>/dev/null)
	[ -n "$reason" ] || reason=${1-$(tail -n 1 "$step_log" 2>/dev/null)}
	[ -n "$reason" ] || reason="see $step_log"
	return 1
}

# --- results ----------------------------------------------------------------------------------

passed=0 failed=0 skipped=0

ok()
{
	passed=$((passed + 1))
	echo "ok: $1"
}

# fail NAME REASON [LOG]: with a log its last lines are shown.
fail()
{
	failed=$((failed + 1))
	echo "FAIL: $1: $2"
	[ -z "${3-}" ] || { grep -v "^make\W" "$3" | tail -n 25 | sed 's/^/    /'; echo "    the whole log is $3"; }
}

skip()
{
	skipped=$((skipped + 1))
	echo "SKIP: $1: $2"
}

# finish: the closing line of a tier, and its exit status.
finish()
{
	echo "$passed passed, $failed failed, $skipped skipped" >"${kernel_sum:-/dev/stdout}"
	[ $failed -eq 0 ] || exit 1
	[ $passed -gt 0 ] || exit 77
	exit 0
}

# --- fetching ---------------------------------------------------------------------------------

fetch_deb()
{
	"$kernel_top/scripts/fetch_deb.sh" "$@"
}

# list_suite SUITE: bring lists/SUITE up to date.
list_suite()
{
	local list=$kernel_cache/lists/$1
	[ -z "$(find "$list" -mmin -60 2>/dev/null)" ] || return 0
	step "list-$1" "looking up the kernels of $1" fetch_deb --list "$1" \
		'linux-((image|headers)-[0-9.]+[+-][a-z0-9]+-(cloud|rt)-amd64|source-[0-9.]+)' 6.1 &&
		mv "$step_log" "$list" || because
}

# The releases of lists/SUITE... that have an image and headers, of flavour $1, the newest first.
releases()
{
	local flavour=$1 suite
	shift
	for suite; do
		awk -v flavour="-$flavour-amd64" -v suite="$suite" '
			{ release = $1; sub(/^linux-(image|headers)-/, "", release) }
			substr(release, length(release) - length(flavour) + 1) == flavour &&
				++seen[release] == 2 { print release, suite }' "$kernel_cache/lists/$suite"
	done | sort -rV -k 1,1
}

# find_kernel WORD: sets release and suite. All suites of a word must be known.
find_kernel()
{
	local word=$1 suites=(sid trixie-backports) flavour=cloud item found=() newest
	case $word in
	6.1) suites=(bookworm) ;;
	6.12) suites=(trixie) ;;
	rt) flavour=rt ;;
	esac
	for item in "${suites[@]}"; do
		list_suite "$item" || return 1
	done
	mapfile -t found < <(releases $flavour "${suites[@]}")
	newest=${found[0]-none}
	for item in "${found[@]}"; do
		case $word in
		6.*) [[ $item == "$word".* ]] || continue ;;
		previous) [[ $item != "${newest%%.*}.$(cut -d . -f 2 <<<"$newest")".* ]] || continue ;;
		esac
		read -r release suite <<<"$item"
		return
	done
	reason="${suites[*]} has no kernel $word"
	return 1
}

# depend PACKAGE REGEX: the first package of that form that PACKAGE of $suite depends on.
depend()
{
	awk -v package="$1" -v form="^($2)\$" \
		'$1 == package { for (i = 3; i <= NF; i++) if ($i ~ form) { print $i; exit } }' \
		"$kernel_cache/lists/$suite"
}

# newer_libc: sets libc to a directory with a newer C library.
newer_libc()
{
	local dir=$kernel_cache/libc
	libc=$dir/usr/lib/x86_64-linux-gnu
	[ ! -e "$dir/complete" ] || return 0
	rm -rf "$dir"
	step libc 'fetching a newer C library' fetch_deb trixie libc6 "$dir" \
		'./usr/lib/x86_64-linux-gnu/*.so*' && touch "$dir/complete" || because
}

# adapt_programs: the programs of a header package that do not run here are run by a newer C
# library.
adapt_programs()
{
	local program
	while read -r program; do
		ldd "$program" 2>&1 | grep -q 'GLIBC_.* not found' || continue
		newer_libc || return 1
		mv "$program" "$program.real" && cat >"$program" <<-END || return 1
			#!/bin/sh
			exec "$libc/ld-linux-x86-64.so.2" --library-path "$libc:/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu" "$program.real" "\$@"
		END
		chmod +x "$program" || return 1
	done < <(find "$kernel_tree/usr/lib" -type f -perm /100 -exec sh -c \
		'for f; do case $(head -c 4 "$f" | tr -d "\177") in ELF) echo "$f" ;; esac; done' sh {} +)
}

# relocate: what is absolute in the header packages points to /usr, and is to point into
# $kernel_tree.
relocate()
{
	local link target
	find "$kernel_tree/usr/src" -maxdepth 2 -name Makefile -type f -exec sed -i \
		"s,\([= ]\)/usr/src/,\1$kernel_tree/usr/src/,g" {} + || return 1
	while read -r link; do
		target=$(readlink "$link")
		case $target in
		/usr/*) ln -sfn "$kernel_tree$target" "$link" || return 1 ;;
		esac
	done < <(find "$kernel_tree" -type l)
	# With vmlinux there, modules get BTF, by a pahole newer than we have.
	rm -f "$kernel_tree"/usr/src/*/vmlinux
}

# get_kernel WORD: sets release, suite, kernel_tree and kdir, the directory to build modules for.
get_kernel()
{
	local headers package
	kernel_tree=$kernel_cache/debian/$1
	find_kernel "$1" || return 1
	headers=linux-headers-$release
	kdir=$kernel_tree/usr/src/$headers
	[ "$(cat "$kernel_tree/release" 2>/dev/null)" != "$release $suite" ] || return 0
	rm -rf "$kernel_tree"
	for package in "$headers" "$(depend "$headers" 'linux-headers-.*-common.*')" \
		"$(depend "$headers" 'linux-kbuild-.*')"; do
		step "fetch-$1" "fetching $package" fetch_deb "$suite" "$package" "$kernel_tree" ||
			because || return
	done
	reason=''
	relocate && adapt_programs && echo "$release $suite" >"$kernel_tree/release" && return
	[ -n "$reason" ] || reason="cannot write to $kernel_tree"
	return 1
}

# get_image: sets image, the bootable file of the kernel that get_kernel found.
get_image()
{
	local package work=$kernel_cache/work
	image=$kernel_tree/vmlinuz-$release
	[ ! -e "$image" ] || return 0
	package=$(depend "linux-image-$release" "linux-binary-.*")
	package=${package:-linux-image-$release}
	rm -rf "$work"
	step "image-$release" "fetching $package" fetch_deb "$suite" "$package" "$work" \
		'*/vmlinuz*' || because || return
	reason="cannot keep the kernel of $package"
	mv "$(find "$work" -name 'vmlinuz*' -type f | head -n 1)" "$image"
}

# --- building ---------------------------------------------------------------------------------

# build_module WORD DIRECTORY [TARGET]: build a copy of DIRECTORY, beside one of include/, all its
# modules or only TARGET, for the kernel that get_kernel found for WORD. Sets built, where the
# results are; the log is $step_log. Every warning of the compiler, modpost and objtool is a failure.
build_module()
{
	local top=$kernel_cache/build/$1 flags=-Werror compiler=$kernel_cache/bin/cc.sh name
	name=$(basename "$2")
	built=$top/kernel/$name
	rm -rf "$top"
	if ! mkdir -p "$top/kernel" "$top/tests/unit" || ! cp -R "$kernel_top/include" "$top" ||
	   ! cp "$kernel_top/tests/unit/selfcheck.h" "$top/tests/unit" || ! cp -R "$2" "$built" ||
	   ! cp "$kernel_top/kernel/cc.sh" "$compiler"; then	# a path without blanks
		reason="cannot write to $kernel_cache"
		return 1
	fi
	# Attributes that only newer compilers know would be warned of in the kernel's headers.
	grep -q '^CONFIG_GCC_VERSION=12' "$kdir/.config" || flags="$flags -Wno-attributes"
	step "build-$name-$1" "building $name for $release" \
		make -C "$kdir" -j2 M="$built" CC="$compiler" HOSTCC="$compiler" W=1 KCFLAGS="$flags" \
		"${3-modules}" || because "it does not build; see $step_log" || return
	if grep -E 'warning:|WARNING:' "$step_log" | grep -qv 'version differs\|compiler differs'; then
		reason="there are warnings; see $step_log"
		return 1
	fi
}

# check_functions OBJECT: it has the drop-in's ten global functions, by the names of 7.0 and newer,
# and nothing else that is global but what the compiler and linker put around them.
check_functions()
{
	local wanted found
	wanted=$(printf '%s\n' bpf_prog_stream_{init,free,read} \
		bpf_stream_stage_{init,free,printk,commit,dump_stack} \
		bpf_stream_vprintk bpf_stream_print_stack | sort)
	found=$(nm --defined-only -g "$1" |
		awk '$3 !~ /^__(pfx|cfi|SCK|kstrtab)_/ { print $3 }' | sort)
	if [ "$found" != "$wanted" ]; then
		reason="global symbols: $(comm -3 <(echo "$wanted") <(echo "$found") |
			tr -s '\n\t' ' ')"
		return 1
	fi
}

# --- booting ----------------------------------------------------------------------------------

# make_initramfs OUT FILE...: busybox, an init, and each FILE at the top, also as FILE=NAME. init
# mounts what is usual and runs /run (one FILE should have that name) with the function
# report LINE, whose lines results prints on the host.
make_initramfs()
{
	local out=$1 dir=$kernel_cache/work item
	shift
	reason="cannot copy files to $dir"
	rm -rf "$dir"
	mkdir -p "$dir"/{bin,dev,proc,sys,tmp} && cp "$(command -v busybox)" "$dir/bin" || return 1
	cat >"$dir/init" <<-'END'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		export PATH=/bin
		mount -t devtmpfs dev /dev 2>/dev/null
		mount -t proc proc /proc
		mount -t sysfs sys /sys
		mount -t debugfs debugfs /sys/kernel/debug
		mount -t tmpfs tmp /tmp
		for cpu in /sys/devices/system/cpu/cpu[1-9]/online; do echo 1 >$cpu; done
		report() { printf 'bpf_stream| %s\n' "$1" >/dev/kmsg; }
		cd /
		. /run
		report end
		sleep 0.2
		reboot -f
	END
	chmod +x "$dir/init"
	for item; do
		cp "${item%=*}" "$dir/$(basename "${item##*=}")" || return 1
	done
	reason="cannot write $out"
	(set -o pipefail && cd "$dir" && find . | cpio --quiet -o -H newc | gzip -1) >"$out"
}

# boot IMAGE INITRAMFS LOG SECONDS [QEMU_ARGUMENT...]: 0 if the guest ran to its end and the kernel
# complained of nothing. Sets verdict to clean, panic, oops, warning, hang, or ended early, and
# reason to the line that tells. $kernel_args is added to the kernel's arguments, $kernel_cpu is the
# processor.
#
# What QEMU 7.2 does wrong is kept away. An interrupt right behind a cmpxchg16b may see wrong flags;
# kernels that use it, from 6.12 on, die of a double fault: so there is none. Code that one
# processor changes and another translates at that moment may be translated as it was, which shows
# as an int3 that nobody knows of: so the others are started by init, when the kernel has changed
# most. A guest that dies of either all the same is started again, the log kept as LOG.1.
boot()
{
	local tries
	for tries in 1 2 3; do
		boot_once "$@" && return
		[[ $reason == *'Oops: int3'* || $reason == *'Oops: double fault'* ]] || return 1
		cp "$3" "$3.$tries"
	done
	return 1
}

boot_once()
{
	local image=$1 initramfs=$2 log=$3 seconds=$4 status
	shift 4
	timeout --foreground -k 5 "$seconds" qemu-system-x86_64 -accel tcg,thread=multi \
		-cpu "${kernel_cpu-max,-cx16}" -smp 2,sockets=2 -m 512 -nodefaults -display none \
		-serial stdio -no-reboot -kernel "$image" -initrd "$initramfs" \
		-append "console=ttyS0 panic=-1 oops=panic printk.devkmsg=on maxcpus=1 \
tsc_early_khz=2596000 tsc=reliable ${kernel_args-}" "$@" </dev/null >"$log" 2>&1
	status=$?
	verdict=clean reason=''
	if ! find_complaint "$log"; then
		if [ $status -ge 124 ]; then
			verdict=hang
			reason="no end within $seconds s; $(results "$log" | tail -n 1)"
		elif ! results "$log" | grep -qx end; then
			verdict='ended early'
			reason=$(tail -n 1 "$log" | tr -d '\r')
		fi
	fi
	[ "$verdict" = clean ]
}

# find_complaint LOG: the first line in which the kernel complains is the reason; its kind is the
# verdict.
find_complaint()
{
	local panic='Kernel panic'
	local oops='BUG: |Oops|general protection fault|kernel BUG at|KASAN: |UBSAN: '
	local warning='WARNING: |INFO: (possible|rcu|task|inconsistent|suspicious)|soft lockup'
	warning="$warning|rcu_.* (stall|detected)|workqueue lockup|scheduling while atomic|Call Trace:"
	reason=$(grep -a -m 1 -E "$panic|$oops|$warning" "$1" | tr -d '\r')
	if [[ -z $reason ]]; then
		return 1
	elif [[ $reason =~ $panic ]]; then
		verdict=panic
	elif [[ $reason =~ $oops ]]; then
		verdict=oops
	else
		verdict=warning
	fi
}

# fail_boot NAME LOG: the failure that boot found, with the part of the log that tells.
fail_boot()
{
	fail "$1" "$verdict: $reason"
	case $verdict in
	panic | oops | warning) grep -a -m 1 -F -B 3 -A 25 -e "$reason" "$2" ;;
	*) tail -n 25 "$2" ;;
	esac | tr -d '\r' | sed 's/^/    /'
	echo "    the whole log is $2"
}

# results LOG: the lines that the guest reported.
results()
{
	[ -e "$1" ] || return 0
	tr -d '\r' <"$1" | sed -n 's/^\[[^|]*\] bpf_stream| //p'
}
