# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of lib.sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Kernels of our own, from Debian's sources. To be sourced after lib.sh.
#
# A kernel is asked for by its series (7.2, 7.3) and a variant:
#   stock           the original stream.c
#   dropin          the drop-in, elements from pages
#   dropin-kmalloc  the drop-in, elements from kmalloc_nolock
#   broken          the drop-in with a mistake, to see that tests notice
#   debug           the drop-in, with KASAN, lockdep and more
# All of them have the programs of tests/ built in, which lie idle until they are asked for.
#
# Everything lies in $kernel_cache/own:
#   source-7.2/        as Debian has it, never written to; source-7.2.version tells which
#   tree-7.2/          the same files, by hard links; those that differ are replaced
#   build-7.2-FLAVOUR/ where it is built; FLAVOUR is tiny or debug
#   kernels/7.2-VARIANT/  image, config, BTF, stream.o; key tells what it was made of
#   pahole/            a newer pahole, and the libraries it needs
#   tools-7.2/         libbpf and bpftool, and the selftests' program
# A change of stream.c or of a test is built in seconds: one file is compiled, the kernel linked.

own=$kernel_cache/own
own_dir=$kernel_top/kernel

own_packages()
{
	cat <<-'END'
		bc=bc
		binutils=nm
		bison=bison
		busybox-static=busybox
		clang-19=clang-19
		cpio=cpio
		flex=flex
		gcc=gcc
		libelf-dev=/usr/include/libelf.h
		libssl-dev=/usr/include/openssl/ssl.h
		make=make
		perl=perl
		python3=python3
		python3-git=/usr/lib/python3/dist-packages/git/__init__.py
		python3-ply=/usr/lib/python3/dist-packages/ply/__init__.py
		qemu-system-x86=qemu-system-x86_64
		rsync=rsync
		xz-utils=xz
		zlib1g-dev=/usr/include/zlib.h
	END
}

# fetch_source SERIES DIRECTORY OLD: from the suite that has the newest; sets suite. The last line of
# the output is its version. It is not fetched if OLD is as new.
fetch_source()
{
	local item name version newest=''
	suite=sid
	for item in sid trixie-backports; do
		read -r name version _ < <(fetch_deb --list "$item" "linux-source-${1/./\\.}") || continue
		echo "$item has $name $version"
		[ -z "$newest" ] || dpkg --compare-versions "$version" gt "$newest" || continue
		newest=$version suite=$item
	done
	rm -rf "$2"
	if [ -n "$newest" ] && [ -n "$3" ] && dpkg --compare-versions "$newest" le "$3"; then
		echo "$newest"
	else
		fetch_deb "$suite" "linux-source-$1" "$2"
	fi
}

# Without the stamp, what an interrupt leaves is done again.
unpack_source()
{
	local series=$1 dir=$own/source-$1.new
	rm -rf "$own/source-$series.version" "$dir" "$own/source-$series" "$own/tree-$series" \
		"$own/build-$series-"* "$own/kernels/$series-"* "$own/tools-$series"
	mkdir "$dir" && tar -C "$dir" --strip-components=1 -xf "$2" || return 1
	mv "$dir" "$own/source-$series"
}

# get_source SERIES: unpacked, the newest that Debian has; without network, or if only an older one
# can be had, what is here has to do. Sets own_version. Returns 77 if it cannot be fetched.
get_source()
{
	local series=$1 suite deb=$own/deb-$1 stamp=$own/source-$1.version old=''
	mkdir -p "$own/kernels" || {
		reason="cannot write to $own"
		return 1
	}
	[ ! -d "$own/source-$series" ] || old=$(cat "$stamp" 2>/dev/null)
	if [ -n "$old" ] && [ -n "$(find "$stamp" -mmin -720)" ]; then
		own_version=$old
		return
	fi
	if ! step "source-$series" "fetching linux-source-$series" fetch_source "$series" "$deb" \
		"$old"; then
		because_log
		rm -rf "$deb"
		own_version=$old
		[ -n "$old" ] || return 77
		echo "using linux-source-$series $old, which is here already: $reason"
		return
	fi
	own_version=$(tail -n 1 "$step_log")
	if [ -z "$own_version" ]; then
		because "see $step_log"
		return 1
	fi
	if [ -n "$old" ] && dpkg --compare-versions "$own_version" lt "$old"; then
		echo "using linux-source-$series $old, which is here already: $suite has $own_version"
		own_version=$old
		return
	fi
	[ "$own_version" = "$old" ] || step "unpack-$series" \
		"unpacking linux-source-$series $own_version" unpack_source "$series" \
		"$deb/usr/src/linux-source-$series.tar.xz" || {
		because "unpacking failed; see $step_log"
		return 1
	}
	rm -rf "$deb"
	echo "$own_version" >"$stamp"
	record "source-$series" "$own_version" "$suite"
}

# pahole of Debian 12 is too old for 7.x; a newer one runs by the C library it was made for. Returns
# 77 if it cannot be fetched.
get_pahole()
{
	local dir=$own/pahole package lib
	pahole=$dir/run
	[ ! -x "$pahole" ] || return 0
	rm -rf "$dir"
	for package in libc6 libelf1t64 libdw1t64 zlib1g libzstd1 libbz2-1.0 liblzma5 libbpf1 pahole; do
		step pahole "fetching $package of trixie" \
			"$kernel_top/scripts/fetch_deb.sh" trixie "$package" "$dir" || {
			because_log
			return 77
		}
	done
	lib=$dir/usr/lib/x86_64-linux-gnu
	cat >"$pahole.new" <<-END
		#!/bin/sh
		exec $lib/ld-linux-x86-64.so.2 --library-path $lib $dir/usr/bin/pahole "\$@"
	END
	chmod +x "$pahole.new"
	if ! "$pahole.new" --version >/dev/null; then
		reason='pahole of trixie does not run here'
		return 1
	fi
	mv "$pahole.new" "$pahole"
	record pahole "$(tail -n 1 "$step_log")" trixie
}

# put FILE TARGET: a copy, unless it is there already; never written to what TARGET was.
put()
{
	cmp -s "$1" "$2" && return
	cp "$1" "$2.new" && mv "$2.new" "$2"
}

# sabotage FILE: the mistake of the broken variant; the file lists it.
sabotage()
{
	local before
	before=$(sha256sum <"$1")
	sed -E -i -f "$own_dir/tests/sabotage.sed" "$1"
	[ "$before" != "$(sha256sum <"$1")" ]
}

# Everything that tells the variants apart, as it is to be in the tree's kernel/bpf: in $1.
make_parts()
{
	local parts=$1 series=$2 variant=$3 option=''
	local source=$own/source-$series/kernel/bpf file
	rm -rf "$parts" "$parts.tree"
	mkdir -p "$parts" || return 1
	for file in nmi_stress=nmi bench=bench control=control memory=memory; do
		cp "$own_dir/tests/${file%=*}.c" "$parts/bpf_stream_${file#*=}.c" || return 1
	done
	cp "$own_dir/tests/own_program.h" "$parts" || return 1
	case $variant in
	stock) cp "$source/stream.c" "$parts/stream.c" || return 1 ;;
	*)
		# By the script that everybody uses.
		mkdir -p "$parts.tree/kernel/bpf" "$parts.tree/include/linux" &&
			cp "$own/source-$series"/{Makefile,Kconfig} "$parts.tree" &&
			cp "$own/source-$series/include/linux/bpf.h" "$parts.tree/include/linux" &&
			cp "$source/stream.c" "$parts.tree/kernel/bpf" &&
			"$own_dir/dropin/install.sh" "$parts.tree" >/dev/null &&
			cp "$parts.tree/kernel/bpf"/{stream.c,bpf_stream.h} "$parts" || return 1
		rm -rf "$parts.tree"
		;;
	esac
	case $variant in
	*-kmalloc) option=-DBPF_STREAM_KERNEL_KMALLOC=1 ;;
	broken) sabotage "$parts/bpf_stream.h" || return 1 ;;
	esac
	{
		cat "$source/Makefile"
		# shellcheck disable=SC2016 # for make
		echo 'obj-$(CONFIG_BPF_SYSCALL) += bpf_stream_nmi.o bpf_stream_bench.o bpf_stream_control.o \
			bpf_stream_memory.o'
		[ -z "$option" ] || echo "CFLAGS_stream.o += $option"
	} >"$parts/Makefile"
}

# own_make SERIES FLAVOUR TARGET...
own_make()
{
	local tree=$own/tree-$1 build=$own/build-$1-$2
	shift 2
	nice -n 5 make -s -j2 -C "$tree" O="$build" PAHOLE="$pahole" LOCALVERSION= \
		KBUILD_BUILD_USER=bpf_stream KBUILD_BUILD_HOST=bpf_stream "$@"
}

configure_own()
{
	local series=$1 flavour=$2 build=$own/build-$1-$2
	shift 2
	mkdir -p "$build" && rm -f "$build/fragments" &&
		own_make "$series" "$flavour" tinyconfig &&
		(cd "$build" && "$own/tree-$series/scripts/kconfig/merge_config.sh" -m -O "$build" \
			"$build/.config" "$@") &&	# 7.2's writes to where it is
		own_make "$series" "$flavour" olddefconfig &&
		cat "$@" >"$build/fragments"
}

# keep_own SERIES BUILD IMAGE: fill $own_kernel.
keep_own()
{
	mkdir -p "$own_kernel" && cp "$3" "$own_kernel/image" &&
		cp "$2/.config" "$own_kernel/config" &&
		cp "$2/kernel/bpf/stream.o" "$own_kernel/stream.o" &&
		objcopy --only-section=.BTF "$2/vmlinux" \
			"$own_kernel/btf" 2>/dev/null &&
		cp "$step_log" "$own_kernel/log" &&
		cp "$own/source-$1.version" "$own_kernel/version" &&
		mv "$2/key" "$own_kernel/key"
}

# lock_own: one run at a time builds there.
lock_own()
{
	mkdir -p "$own" && exec {own_lock}>>"$own/lock" || return 1
	lock "$own/lock" "$own_lock"
}

link_tree()
{
	rm -rf "$own/tree-$1.new"
	cp -al "$own/source-$1" "$own/tree-$1.new" && mv "$own/tree-$1.new" "$own/tree-$1"
}

# build_own SERIES VARIANT: sets own_kernel, a directory with image, config, stream.o, btf, version,
# and the log of its build. Returns 77 if something cannot be fetched.
build_own()
{
	local series=$1 variant=$2 flavour=tiny target=bzImage key file parts
	local tree=$own/tree-$1 build image fragments=("$own_dir/config/tiny.config")
	own_kernel=$own/kernels/$series-$variant
	case $variant in
	debug)
		flavour=debug target=vmlinux	# a compressed one takes long to unpack
		fragments+=("$own_dir/config/debug.config")
		;;
	esac
	build=$own/build-$series-$flavour
	image=$build/arch/x86/boot/bzImage
	[ $flavour = tiny ] || image=$build/vmlinux
	get_source "$series" && get_pahole || return
	[ -d "$tree" ] || step "tree-$series" "linking linux-$series" link_tree "$series" || {
		because ''
		return 1
	}
	parts=$own/parts
	step "parts-$series" "preparing $series-$variant" make_parts "$parts" "$series" "$variant" || {
		because "the $variant variant cannot be made; see $step_log"
		return 1
	}
	key=$(cat "$parts"/* "$own_dir"/config/*.config "$own/source-$series.version" | sha256sum)
	# Into the tree in any case: more than the kernel may be made of it.
	for file in "$tree"/kernel/bpf/bpf_stream* ; do
		[ -e "$parts/${file##*/}" ] || rm -f "$file"
	done
	for file in "$parts"/*; do
		put "$file" "$tree/kernel/bpf/${file##*/}" || {
			because "cannot write to $tree"
			return 1
		}
	done
	rm -rf "$parts"
	[ "$(cat "$own_kernel/key" 2>/dev/null)" != "$key" ] || return 0
	rm -rf "$own_kernel"
	if ! cat "${fragments[@]}" | cmp -s - "$build/fragments"; then
		step "config-$series-$flavour" "configuring $series-$flavour" \
			configure_own "$series" $flavour "${fragments[@]}" || {
			because "it cannot be configured; see $step_log"
			return 1
		}
	fi
	step "build-$series-$variant" "building $series-$variant" own_make "$series" $flavour $target || {
		because "it does not build; see $step_log"
		return 1
	}
	echo "$key" >"$build/key"
	keep_own "$series" "$build" "$image" || {
		rm -rf "$own_kernel"
		because "cannot write to $own_kernel"
		return 1
	}
}
