#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The module and the drop-in, compiled with W=1 -Werror against Debian's header packages, and what
# symbols they have. usage: compile.sh [KERNEL...]
#
# Seen to fail with: a global function more in the module; one that no kernel has called by it; an
# unused variable; memory poisoned in a kernel as in userspace.

usage='usage: compile.sh [6.1|6.12|previous|newest|rt]...'
words=()
for word; do
	case $word in
	--help | -h) echo "$usage" && exit ;;
	6.1 | 6.12 | previous | newest | rt) words+=("$word") ;;
	*) echo "compile.sh: unknown argument '$word'; $usage" >&2 && exit 2 ;;
	esac
done
# shellcheck source=SCRIPTDIR/../lib.sh
. "$(dirname "$0")/../lib.sh"
[ ${#words[@]} -gt 0 ] || words=(6.1 6.12 previous newest rt)

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

# The drop-in as a built-in object, beside a copy of the header, as in the kernel's source.
build_dropin()
{
	local dir directory status
	make_temporary && dir=$directory && mkdir "$dir/dropin" || {
		because "cannot write to ${TMPDIR:-/tmp}"
		return 1
	}
	cp "$kernel_top/kernel/dropin/stream.c" "$kernel_top/include/bpf_stream.h" "$dir/dropin"
	printf '%s\n' '# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause' \
		'obj-y := stream.o' >"$dir/dropin/Kbuild"
	build_module "$word" "$dir/dropin" stream.o
	status=$?
	rm -rf "$dir"
	return $status
}

# build_example [FLAG]: the module that docs/kernel-module.md shows, with the Kbuild that it shows;
# with a FLAG for the compiler only its object.
build_example()
{
	local dir directory status page=$kernel_top/docs/kernel-module.md
	make_temporary && dir=$directory/example && mkdir "$dir" || {
		because "cannot write to ${TMPDIR:-/tmp}"
		return 1
	}
	sed -n '/^```c$/,/^```$/{/^```/!p}' "$page" >"$dir/events.c"
	sed -n '/^```make$/,/^```$/{/^```/!p}' "$page" >"$dir/Kbuild"
	[ $# -eq 0 ] || echo "ccflags-y += $1" >>"$dir/Kbuild"
	build_module "$word" "$dir" ${1+events.o}
	status=$?
	rm -rf "$directory"
	return $status
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
		"$kernel_top/include/bpf_stream.h")
	for fixture in "$dropin"/fixtures/[0-9]*.h; do
		version=$(basename "$fixture" .h)
		name="compile $version: drop-in, against a fixture, untested"
		step_log=$kernel_cache/log/fixture-$version.log
		if $compiler -std=gnu11 -O2 -ffreestanding -nostdinc -D__KERNEL__ -I "$dir" \
			-I "$kernel_top/include" -include "$fixture" -Wall -Wextra -Wmissing-prototypes \
			-Wno-unused-parameter -Werror -c "$dropin/stream.c" -o "$dir/stream.o" \
			>"$step_log" 2>&1; then
			ok "$name"
		else
			because 'it does not compile'
			fail "$name" "$reason" "$step_log"
		fi
	done
}

for word in "${words[@]}"; do
	if ! get_kernel "$word"; then
		skip "compile $word" "$reason"
		continue
	fi
	name="compile $word ($release)"
	if ! build_module "$word" "$kernel_top/kernel/module"; then
		fail "$name: module" "$reason" "$step_log"
	else
		ok "$name: module"
		if check_module_symbols; then
			ok "$name: module's symbols"
		else
			fail "$name: module's symbols" "$reason"
		fi
	fi
	if build_example; then
		ok "$name: example of docs/kernel-module.md"
	else
		fail "$name: example of docs/kernel-module.md" "$reason" "$step_log"
	fi
	if check_kasan; then
		ok "$name: example, with KASAN"
	else
		fail "$name: example, with KASAN" "$reason" "$step_log"
	fi
	case $release in
	6.*) continue ;;
	esac
	if [ ! -e "$kernel_top/kernel/dropin/stream.c" ]; then
		skip "$name: drop-in" 'kernel/dropin/stream.c is not there'
	elif ! build_dropin; then
		fail "$name: drop-in" "$reason" "$step_log"
	else
		ok "$name: drop-in"
		if check_dropin_symbols; then
			ok "$name: drop-in's symbols"
		else
			fail "$name: drop-in's symbols" "$reason"
		fi
	fi
done
check_fixtures
finish
