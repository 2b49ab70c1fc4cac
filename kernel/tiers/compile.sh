#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The module and the drop-in, compiled with W=1 -Werror against Debian's header packages, and what
# symbols they have. kernel/run.sh calls it, with the words of lib.sh.
#
# Seen to fail with: a global function more in the module; one that no kernel has called by it; an
# unused variable; memory poisoned in a kernel as in userspace.

# shellcheck source=SCRIPTDIR/../lib.sh
. "$(dirname "$0")/../lib.sh"
words=("$@")
[ $# -gt 0 ] || words=(6.1 6.12 previous newest rt)

# globals FILE: the global names that it defines. __pfx_ is the room before a function.
globals()
{
	nm --defined-only -g "$1" | awk '$3 !~ /^__(pfx|cfi)_/ { print $3 }' | sort
}

# The module defines nothing but its ends, beside what the kernel's linker script adds, and wants
# nothing but what is exported.
check_module_symbols()
{
	local ko=$built/bpf_stream_test.ko more
	more=$(globals "$ko" | grep -vxE 'init_module|cleanup_module|__this_module|__(start|stop)_alloc_tags')
	if [ -n "$more" ]; then
		reason="global symbols: ${more//$'\n'/ }"
		return 1
	fi
	more=$(nm -u "$ko" | awk 'FNR == NR { known[$2] = 1; next } !known[$2] { print $2 }' \
		"$kdir/Module.symvers" -)
	if [ -n "$more" ]; then
		reason="undefined symbols: ${more//$'\n'/ }"
		return 1
	fi
}

check_dropin_symbols()
{
	check_functions "$built/stream.o" || return 1
	if grep -q -e ' -DMODULE' "$built/.stream.o.cmd"; then
		reason='it was compiled as a module'
		return 1
	fi
}

# make_sources NAME: sets dir, to an empty directory of that name.
make_sources()
{
	dir=$kernel_cache/work/$1 reason="cannot write to $kernel_cache/work"
	rm -rf "$kernel_cache/work"
	mkdir -p "$dir"
}

# The drop-in as a built-in object, beside a copy of the header, as in the kernel's source.
build_dropin()
{
	local dir
	make_sources dropin || return 1
	cp "$kernel_top"/kernel/dropin/{stream.c,bpf_stream_dropin.h} \
		"$kernel_top/include/bpf_stream.h" "$dir" || return 1
	printf '%s\n' '# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause' \
		'obj-y := stream.o' >"$dir/Kbuild"
	build_module "$word" "$dir" stream.o
}

# build_example [FLAG]: the module that docs/kernel-module.md shows, with the Kbuild that it shows;
# with a FLAG for the compiler only its object.
build_example()
{
	local dir page=$kernel_top/docs/kernel-module.md
	make_sources example || return 1
	sed -n '/^```c$/,/^```$/{/^```/!p}' "$page" >"$dir/events.c"
	sed -n '/^```make$/,/^```$/{/^```/!p}' "$page" >"$dir/Kbuild"
	[ $# -eq 0 ] || echo "ccflags-y += $1" >>"$dir/Kbuild"
	build_module "$word" "$dir" ${1+events.o}
}

# A kernel with KASAN compiles modules so; it has no functions for them that poison.
check_kasan()
{
	build_example -fsanitize=kernel-address || return 1
	if nm -u "$built/events.o" | grep -q poison; then
		reason='it calls functions that no kernel has'
		return 1
	fi
}

# result NAME STATUS: of what ended with STATUS; returns it.
result()
{
	if [ "$2" -eq 0 ]; then
		ok "$name: $1"
	else
		fail "$name: $1" "$reason" "$step_log"
	fi
	return "$2"
}

# A fixture has the declarations, written by hand, that the drop-in uses of a kernel that Debian
# has no headers of. It stands for all of <linux/...>, whose files are empty here.
check_fixtures()
{
	local dropin=$kernel_top/kernel/dropin dir=$kernel_cache/build/fixtures
	local fixture version file compiler=gcc-12
	command -v $compiler >/dev/null || compiler=gcc
	rm -rf "$dir"
	mkdir -p "$dir/linux"
	while read -r file; do
		: >"$dir/$file"
	done < <(sed -n 's,^#include <\(linux/.*\)>$,\1,p' "$dropin/stream.c" \
		"$dropin/bpf_stream_dropin.h" "$kernel_top/include/bpf_stream.h")
	for fixture in "$dropin"/fixtures/[0-9]*.h; do
		version=$(basename "$fixture" .h)
		name="compile $version"
		step "fixture-$version" "compiling for $version" \
			$compiler -std=gnu11 -O2 -ffreestanding -nostdinc -D__KERNEL__ -I "$dir" \
			-I "$dropin" -I "$kernel_top/include" -include "$fixture" -Wall -Wextra \
			-Wmissing-prototypes -Wno-unused-parameter -Werror -c "$dropin/stream.c" \
			-o "$dir/stream.o" || because 'it does not compile'
		result 'drop-in, against a fixture, untested' $?
	done
}

for word in "${words[@]}"; do
	if ! get_kernel "$word"; then
		skip "compile $word" "$reason"
		continue
	fi
	name="compile $word ($release)"
	build_module "$word" "$kernel_top/kernel/module"
	if result 'module' $?; then
		check_module_symbols
		result "module's symbols" $?
	fi
	build_example
	result 'example of docs/kernel-module.md' $?
	check_kasan
	result 'example, with KASAN' $?
	[[ $release != 6.* ]] || continue
	build_dropin
	if result 'drop-in' $?; then
		check_dropin_symbols
		result "drop-in's symbols" $?
	fi
done
check_fixtures
finish
