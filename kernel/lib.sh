# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Kernels for tests: fetch Debian's, build modules for them, boot them. To be sourced, by bash.
#
# A kernel is asked for by a word, and what Debian has for it now is looked up: see kernel_words.
# Everything lies in $kernel_cache, one tree for each word, so that it does not grow:
#   debian/WORD/     headers (and the image) of the word's kernel, unpacked; file release names it
#   libc/            a newer C library, for the programs of the header packages
#   lists/SUITE      what kernels a suite has; looked up again after 12 hours; SUITE.failed is why
#                    that could not be done
#   build/WORD/      where modules are built
#   bin/             the compiler's wrapper
#   log/             a log for each step
#   resolved         which kernel each word meant when it was last used
#   *.lock           kept by who is at work there
#
# Functions that can fail say why in $reason and return 1.

# kernel_words: the words, and what they mean.
kernel_words()
{
	cat <<-'END'
		6.1       of bookworm, for clouds
		6.12      of trixie, for clouds
		previous  of sid or trixie-backports, for clouds: the series before the newest
		newest    of sid or trixie-backports, for clouds
		rt        of sid or trixie-backports, PREEMPT_RT
	END
}

kernel_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 1
reason='' step_log='' temporary=()

# make_temporary [PARENT]: sets directory, to a new one that is removed when the shell ends.
make_temporary()
{
	directory=$(mktemp -d ${1+"$1/XXXXXX"}) && temporary+=("$directory")
}

# What runs in the foreground has ended when this is called: an interrupt from the terminal goes to
# all, and kernel/run.sh ends all, too. So timeout must be --foreground here.
interrupted()
{
	trap '' HUP INT TERM
	exit 130
}
trap 'rm -rf ${temporary+"${temporary[@]}"}' EXIT
trap interrupted HUP INT TERM

# Kernels cannot be built in a directory with blanks or colons in its name. A relative
# XDG_CACHE_HOME is ignored, as the XDG Base Directory Specification has it.
choose_kernel_cache()
{
	local base=${HOME-}/.cache directory
	[[ ${XDG_CACHE_HOME-} != /* ]] || base=$XDG_CACHE_HOME
	if [[ $base != /* || $base == /.cache ]]; then
		echo 'kernel: neither XDG_CACHE_HOME nor HOME is an absolute path;' \
			'kernels are kept there' >&2
		return 1
	fi
	kernel_cache=$base/bpf_stream/kernel
	if [[ $kernel_cache == *[[:space:]:]* ]]; then
		base=/var/tmp/bpf_stream-$UID
		kernel_cache=$base/kernel
		mkdir -m 700 "$base" 2>/dev/null
		if [ ! -O "$base" ] || [ -L "$base" ]; then
			echo "kernel: cannot use $base" >&2
			return 1
		fi
	fi
	for directory in "$kernel_cache"/{debian,lists,build,log,bin}; do
		mkdir -p "$directory" 2>/dev/null && [ -w "$directory" ] && continue
		echo "kernel: cannot write to $directory, where kernels are kept;" \
			'XDG_CACHE_HOME can name another place than ~/.cache' >&2
		return 1
	done
}
choose_kernel_cache || exit 1

# show_progress TEXT: how long it has taken, each second, and how much of a file is there.
show_progress()
{
	local text=$1 start=$SECONDS form='^fetch_deb: .*, ([0-9]+) KiB to (.*)$' far size
	while sleep 1; do
		far=''
		if [[ $(tail -n 1 "$step_log") =~ $form ]]; then
			size=$(du -k "${BASH_REMATCH[2]}" 2>/dev/null)
			size=${size%%[!0-9]*}
			far=", $((${size:-0} / 1024)) of $((BASH_REMATCH[1] / 1024)) MiB"
		fi
		printf '\r%s ... %d s%s\e[K' "$text" $((SECONDS - start)) "$far"
	done
}

# step LOGNAME TEXT COMMAND...: run it with its output in $step_log; a line with its duration
# if it took a second.
step()
{
	local text=$2 start=$EPOCHREALTIME status tenths progress=''
	step_log=$kernel_cache/log/$1.log
	shift 2
	: >"$step_log"
	if [ -t 1 ]; then
		printf '%s ... ' "$text"
		show_progress "$text" &
		progress=$!
	fi
	"$@" >"$step_log" 2>&1 </dev/null
	status=$?
	[ -z "$progress" ] || { kill "$progress" && wait "$progress"; } 2>/dev/null
	tenths=$((10#${EPOCHREALTIME/[.,]/} / 100000 - 10#${start/[.,]/} / 100000))
	[ ! -t 1 ] || printf '\r\e[K'
	if [ $tenths -ge 10 ] || [ $status -ne 0 ]; then
		printf '%s: %d.%d s%s\n' "$text" $((tenths / 10)) $((tenths % 10)) \
			"$([ $status -eq 0 ] || echo ', failed')"
	fi
	return $status
}

# is_full DIRECTORY: less than 1 MiB is free there.
is_full()
{
	local free
	free=$(df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print $4 }')
	[ -n "$free" ] && [ "$free" -lt 1024 ]
}

# because TEXT: why a step failed. Sets reason to TEXT, or to where the log is if that is empty; but
# to a full disk if it may have been that, which often leaves no text at all.
because()
{
	local directory
	for directory in "$kernel_cache" "${TMPDIR:-/tmp}"; do
		if is_full "$directory"; then
			reason="no space left in $directory"
			return
		fi
	done
	reason=$(grep -a -m 1 'No space left on device' "$step_log" 2>/dev/null)
	reason=${reason:-${1:-see $step_log}}
}

# because_log: why a step failed, as the last line of its log tells.
because_log()
{
	because "$(tail -n 1 "$step_log" 2>/dev/null)"
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

# lock FILE FD: wait until no other process has FILE, which is open as FD; it says who has it.
lock()
{
	if ! flock -n "$2"; then
		echo "waiting for process $(cat "$1"), which has $1"
		flock "$2" || return
	fi
	echo $$ 2>/dev/null >"$1" || true
}

# --- fetching ---------------------------------------------------------------------------------

fetch_deb()
{
	"$kernel_top/scripts/fetch_deb.sh" "$@"
}

# What failed before this run is tried again; run.sh sets it for its tiers.
: "${kernel_start:=${EPOCHREALTIME/,/.}}"

# list_suite SUITE: bring lists/SUITE up to date; an old one has to do if that fails, and stays old.
# A failure is remembered for two minutes, and not longer than the run.
list_suite()
{
	local list=$kernel_cache/lists/$1 old='fetch_deb: an old list'
	[ -z "$(find "$list" -mmin -720 2>/dev/null)" ] || return 0
	if [ -n "$(find "$list.failed" -mmin -2 -newermt "@$kernel_start" 2>/dev/null)" ]; then
		reason="$(<"$list.failed") (tried $(($(date +%s) - $(stat -c %Y "$list.failed"))) s ago)"
	elif ! step "list-$1" "looking up the kernels of $1" fetch_deb --list "$1" \
		'linux-(image|headers)-[0-9][0-9.]*[+-][a-z0-9]+-(cloud|rt)-amd64' 6.1; then
		because_log
		echo "$reason" 2>/dev/null >"$list.failed"
	elif reason=$(grep -m 1 "^$old" "$step_log"); then
		echo "$reason" >"$list.failed"
		[ -s "$list" ] || grep '^linux-' "$step_log" >"$list"
		touch -d @0 "$list"
	else
		reason=''
		grep '^linux-' "$step_log" >"$list.new" && mv "$list.new" "$list" && return
		because "cannot write to $list"
	fi
	[ -s "$list" ] || return 1
	echo "using an old list of $1: $reason"
	reason=''
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
	newest | previous) ;;
	*) reason="there is no kernel called $word" && return 1 ;;
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
	if [ ! -e "$dir/complete" ]; then
		rm -rf "$dir"
		step libc 'fetching a newer C library' fetch_deb --once trixie libc6 "$dir" \
			'./usr/lib/x86_64-linux-gnu/*.so*' || {
			because_log
			return 1
		}
		tail -n 1 "$step_log" >"$dir/complete" || return 1
	fi
	libc=$dir/usr/lib/x86_64-linux-gnu
}

# adapt_programs TREE PLACE: the programs of a header package that do not run here are run by a
# newer C library. TREE will be moved to PLACE.
adapt_programs()
{
	local program
	while read -r program; do
		ldd "$program" 2>&1 | grep -q 'GLIBC_.* not found' || continue
		newer_libc || return 1
		mv "$program" "$program.real" && cat >"$program" <<-END || return 1
			#!/bin/sh
			exec "$libc/ld-linux-x86-64.so.2" --library-path "$libc:/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu" "$2${program#"$1"}.real" "\$@"
		END
		chmod +x "$program" || return 1
	done < <(find "$1/usr/lib" -type f -perm /100 -exec sh -c \
		'for f; do case $(head -c 4 "$f" | tr -d "\177") in ELF) echo "$f" ;; esac; done' sh {} +)
}

# relocate TREE PLACE: what is absolute in the header packages points to /usr, and is to point into
# PLACE, to which TREE will be moved.
relocate()
{
	local link target
	find "$1/usr/src" -maxdepth 2 -name Makefile -type f -exec sed -i \
		"s,\([= ]\)/usr/src/,\1$2/usr/src/,g" {} + || return 1
	while read -r link; do
		target=$(readlink "$link")
		case $target in
		/usr/*) ln -sfn "$2$target" "$link" || return 1 ;;
		esac
	done < <(find "$1" -type l)
	# With vmlinux there, modules get BTF, by a pahole newer than we have.
	rm -f "$1"/usr/src/*/vmlinux
}

# fetch_tree WORD PLACE: fetch the headers of $release of $suite, for PLACE, which they replace when
# they are complete. What failed leaves PLACE as it was; after an interrupt, the packages that are
# there already are kept, and named in the file fetched.
fetch_tree()
{
	local word=$1 place=$2 new=$2.new headers=linux-headers-$release package of
	rm -rf "$place.old"
	of=$(awk -v package="$headers" '$1 == package { print $1, $2; exit }' \
		"$kernel_cache/lists/$suite")
	[ "$(head -n 1 "$new/fetched" 2>/dev/null)" = "$of" ] || rm -rf "$new"
	mkdir -p "$new" && [ -s "$new/fetched" ] || echo "$of" >"$new/fetched"
	for package in "$headers" "$(depend "$headers" 'linux-headers-.*-common.*')" \
		"$(depend "$headers" 'linux-kbuild-.*')"; do
		! grep -qxF "$package" "$new/fetched" || continue
		if ! step "fetch-$word" "fetching $package" fetch_deb --once "$suite" "$package" \
			"$new"; then
			because_log
			rm -rf "$new"
			return 1
		fi
		echo "$package" >>"$new/fetched"
	done
	reason=''
	rm -f "$new/fetched"
	if ! relocate "$new" "$place" || ! adapt_programs "$new" "$place" ||
	   ! echo "$release $suite" >"$new/release"; then
		[ -n "$reason" ] || because "cannot write to $new"
		rm -rf "$new"
		return 1
	fi
	# What is being removed must not look complete.
	[ ! -e "$place" ] || mv "$place" "$place.old"
	if ! mv "$new" "$place"; then
		because "cannot write to $place"
		[ ! -e "$place.old" ] || mv "$place.old" "$place"
		return 1
	fi
	rm -rf "$place.old"
}

# get_kernel WORD: sets release, suite, kernel_tree and kdir, the directory to build modules for.
# Without network an older one has to do. Until the next get_kernel, or the shell's end, other
# shells that ask for the same WORD wait.
get_kernel()
{
	local word=$1 old=''
	reason=''
	kernel_tree=$kernel_cache/debian/$word
	exec 8>>"$kernel_tree.lock"
	lock "$kernel_tree.lock" 8
	# An interrupt came between the new tree and the old one.
	[ -e "$kernel_tree" ] || [ ! -e "$kernel_tree.old" ] || mv "$kernel_tree.old" "$kernel_tree"
	[ ! -e "$kernel_tree/release" ] || read -r old suite <"$kernel_tree/release"
	if find_kernel "$word" && [ "$release" != "$old" ] && fetch_tree "$word" "$kernel_tree"; then
		old=$release
	fi
	if [ -z "$old" ]; then
		[ -n "$reason" ] || because 'unpacking failed'
		return 1
	fi
	[ -z "$reason" ] || echo "using $old, which is here already: $reason"
	reason=''
	read -r release suite <"$kernel_tree/release"
	kdir=$kernel_tree/usr/src/linux-headers-$release
	record "$word" "$release" "$suite"
}

# record WORD RELEASE SUITE: what WORD means now, in resolved. Others may do the same.
record()
{
	local file=$kernel_cache/resolved
	(
		flock 7
		{
			grep -v "^${1//./\\.} " "$file" 2>/dev/null
			echo "$1 $2 $3 $(date -u +%F)"
		} | sort -V >"$file.$$" || { rm -f "$file.$$"; exit 0; }
		mv "$file.$$" "$file"
	) 7>>"$file.lock"
}

# get_image: sets image, the bootable file of the kernel that get_kernel found.
get_image()
{
	local package
	image=$kernel_tree/vmlinuz-$release
	[ ! -e "$image" ] || return 0
	package=$(depend "linux-image-$release" "linux-binary-.*")
	package=${package:-linux-image-$release}
	rm -rf "$kernel_tree/image"
	step "image-$release" "fetching $package" fetch_deb --once "$suite" "$package" \
		"$kernel_tree/image" '*/vmlinuz*' || {
		because_log
		return 1
	}
	if ! mv "$(find "$kernel_tree/image" -name 'vmlinuz*' -type f | head -n 1)" "$image"; then
		because "there is no kernel in $package"
		return 1
	fi
	rm -rf "$kernel_tree/image"
}

# --- building ---------------------------------------------------------------------------------

# make_compiler: sets compiler, to a path without blanks.
make_compiler()
{
	compiler=$kernel_cache/bin/cc.sh
	cmp -s "$kernel_top/kernel/cc.sh" "$compiler" && return
	rm -f "$kernel_cache"/bin/*
	cp "$kernel_top/kernel/cc.sh" "$compiler" || {
		because "cannot write to $kernel_cache/bin"
		return 1
	}
}

# copy_sources WORD DIRECTORY...: copies of the header and of DIRECTORYs, which lie in kernel/, to
# where things are built. Sets built, the copy of the last one.
copy_sources()
{
	local top=$kernel_cache/build/$1 directory
	shift
	rm -rf "$top"
	mkdir -p "$top/kernel" && cp -R "$kernel_top/include" "$top/include" || return 1
	for directory; do
		built=$top/kernel/$(basename "$directory")
		cp -R "$directory" "$built" || return 1
	done
}

# build_module WORD DIRECTORY [TARGET]: build a copy of DIRECTORY, all its modules or only TARGET,
# for the kernel that get_kernel found for WORD. Sets built, where the results are; the log is
# $step_log. Every warning of the compiler, modpost and objtool is a failure.
build_module()
{
	local word=$1 flags=-Werror
	make_compiler || return 1
	copy_sources "$word" "$2" || {
		because "cannot write to $kernel_cache/build"
		return 1
	}
	# Attributes that only newer compilers know would be warned of in the kernel's headers.
	grep -q '^CONFIG_GCC_VERSION=12' "$kdir/.config" || flags="$flags -Wno-attributes"
	step "build-$(basename "$2")-$word" "building $(basename "$2") for $release" \
		make -C "$kdir" -j2 M="$built" CC="$compiler" HOSTCC="$compiler" W=1 KCFLAGS="$flags" \
		"${3-modules}" || {
		because "it does not build; see $step_log"
		return 1
	}
	! grep -E 'warning:|WARNING:' "$step_log" | grep -v 'version differs\|compiler differs' | grep -q . || {
		reason="there are warnings; see $step_log"
		return 1
	}
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
	local out=$1 dir directory item busybox
	shift
	busybox=$(command -v busybox) || {
		reason='there is no busybox'
		return 1
	}
	make_temporary "$kernel_cache" || {
		because "cannot write to $kernel_cache"
		return 1
	}
	dir=$directory
	mkdir "$dir"/{bin,dev,proc,sys,tmp}
	cp "$busybox" "$dir/bin/busybox"
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
		cp "${item%=*}" "$dir/$(basename "${item##*=}")" || {
			because "cannot copy ${item%=*}"
			rm -rf "$dir"
			return 1
		}
	done
	if ! (set -o pipefail && cd "$dir" && find . | cpio --quiet -o -H newc | gzip -1) >"$out"; then
		because "cannot write $out"
		rm -rf "$dir"
		return 1
	fi
	rm -rf "$dir"
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
			[ -n "$reason" ] || because "nothing is in $log"
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
