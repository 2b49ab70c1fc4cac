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

# get_source SERIES: unpacked, the newest that Debian has, or that is here. Sets own_version. Returns
# 77 if it cannot be fetched.
get_source()
{
	local series=$1 item version newest='' deb=$own/deb stamp=$own/source-$1.version
	own_version=$(cat "$stamp" 2>/dev/null)
	for item in sid trixie-backports; do
		list_suite "$item" || return 77
		version=$(awk -v package="linux-source-$series" '$1 == package { print $2; exit }' \
			"$kernel_cache/lists/$item")
		dpkg --compare-versions "$version" gt "$own_version" || continue
		own_version=$version newest=$item
	done
	if [ -z "$own_version" ]; then
		reason="neither sid nor trixie-backports has linux-source-$series"
		return 77
	fi
	[ -n "$newest" ] || return 0
	rm -rf "$deb" "$stamp" "$own/"{source,tree,tools}-"$series" "$own/build-$series-"* \
		"$own/kernels/$series-"*
	if ! step "source-$series" "fetching linux-source-$series $own_version" \
		fetch_deb "$newest" "linux-source-$series" "$deb"; then
		because
		return 77
	fi
	mkdir "$own/source-$series" &&
		step "unpack-$series" "unpacking linux-source-$series $own_version" \
			tar -C "$own/source-$series" --strip-components=1 -xf \
			"$deb/usr/src/linux-source-$series.tar.xz" ||
		because "unpacking failed; see $step_log" || return
	rm -rf "$deb"
	echo "$own_version" >"$stamp"
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
		if ! step pahole "fetching $package of trixie" fetch_deb trixie "$package" "$dir"; then
			because
			return 77
		fi
	done
	lib=$dir/usr/lib/x86_64-linux-gnu
	cat >"$pahole" <<-END
		#!/bin/sh
		exec $lib/ld-linux-x86-64.so.2 --library-path $lib $dir/usr/bin/pahole "\$@"
	END
	chmod +x "$pahole"
	"$pahole" --version >/dev/null && return
	rm -f "$pahole"
	because 'pahole of trixie does not run here'
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
			cp "$parts.tree/kernel/bpf"/{stream.c,bpf_stream{,_dropin}.h} "$parts" || return 1
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
	[ -d "$tree" ] || step "tree-$series" "linking linux-$series" link_tree "$series" ||
		because || return
	parts=$own/parts
	step "parts-$series" "preparing $series-$variant" make_parts "$parts" "$series" "$variant" ||
		because "the $variant variant cannot be made; see $step_log" || return
	key=$(cat "$parts"/* "$own_dir"/config/*.config "$own/source-$series.version" | sha256sum)
	# Into the tree in any case: more than the kernel may be made of it.
	for file in "$tree"/kernel/bpf/bpf_stream* ; do
		[ -e "$parts/${file##*/}" ] || rm -f "$file"
	done
	for file in "$parts"/*; do
		put "$file" "$tree/kernel/bpf/${file##*/}" || because "cannot write to $tree" || return
	done
	rm -rf "$parts"
	[ "$(cat "$own_kernel/key" 2>/dev/null)" != "$key" ] || return 0
	rm -rf "$own_kernel"
	if ! cat "${fragments[@]}" | cmp -s - "$build/fragments"; then
		step "config-$series-$flavour" "configuring $series-$flavour" \
			configure_own "$series" $flavour "${fragments[@]}" ||
			because "it cannot be configured; see $step_log" || return
	fi
	step "build-$series-$variant" "building $series-$variant" own_make "$series" $flavour $target ||
		because "it does not build; see $step_log" || return
	echo "$key" >"$build/key"
	keep_own "$series" "$build" "$image" || because "cannot write to $own_kernel"
}
