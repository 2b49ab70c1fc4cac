# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables of lib.sh and own.sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Programs for our own kernels: the kernel's own stream selftests, and ours. To be sourced after
# own.sh.
#
# The selftests are compiled from the kernel's source as they are, into one static program: the
# file with the stream tests, the two BPF programs it loads, and what runs tests. Around them there
# are, generated: the list of tests, of those in that one file; vmlinux.h, from which three
# declarations are left out that the selftests' headers have with an address space, which pahole
# does not write yet; a certificate, empty; and an add_key(2) that always succeeds, for which our
# kernels have no keys.

# build_tools SERIES: sets tools, a directory with test_stream and defects. The stock kernel of
# SERIES must have been built.
build_tools()
{
	local series=$1 key
	tools=$own/tools-$series
	key=$(cat "$own/source-$series.version" "$own_dir/tests/defects.c" "$own_dir/selftests.sh" |
		sha256sum)
	if [ "$(cat "$tools/key" 2>/dev/null)" = "$key" ]; then
		return
	fi
	rm -f "$tools/key" "$tools/selftests"
	mkdir -p "$tools/bpftool" "$tools/work/prog_tests" || {
		because "cannot write to $tools"
		return 1
	}
	if ! step "tools-$series" "building bpftool and libbpf of $series" build_bpftool "$series" ||
	   ! step "selftests-$series" "building the stream selftests of $series" \
		build_selftests "$series" ||
	   ! step "defects-$series" "building defects" build_defects "$series"; then
		because "it does not build; see $step_log"
		return 1
	fi
	echo "$key" >"$tools/key"
}

build_bpftool()
{
	nice -n 5 make -s -j2 -C "$own/source-$1/tools/bpf/bpftool" OUTPUT="$tools/bpftool/" \
		CLANG=clang-19 LLVM_STRIP=true bootstrap
}

build_selftests()
{
	local source=$own/source-$1 work=$tools/work name helper sources=()
	local tests=$source/tools/testing/selftests/bpf
	local bpftool=$tools/bpftool/bootstrap/bpftool libbpf=$tools/bpftool/bootstrap/libbpf

	"$bpftool" btf dump file "$own/kernels/$1-stock/btf" format c |
		sed '/^extern .*[ *]bpf_arena_\(alloc\|reserve\|free\)_pages(/d' >"$work/vmlinux.h"
	sed -n 's/^void \(serial_\)\?test_\([a-z0-9_]*\)(void)$/DEFINE_TEST(\2)/p' \
		"$tests/prog_tests/stream.c" >"$work/prog_tests/tests.h"
	grep -q DEFINE_TEST "$work/prog_tests/tests.h" || return 1
	cat >"$work/verification_cert.h" <<-'END'
		unsigned char test_progs_verification_cert[] = { 0 };
		unsigned int test_progs_verification_cert_len = 1;
	END
	cat >"$work/add_key.c" <<-'END'
		#include <stdarg.h>
		#include <sys/syscall.h>
		long __real_syscall(long number, ...);
		long __wrap_syscall(long number, ...);
		long __wrap_syscall(long number, ...)
		{
			long a[6];
			va_list list;
			va_start(list, number);
			for (int i = 0; i < 6; i++)
				a[i] = va_arg(list, long);
			va_end(list);
			if (number == SYS_add_key)
				return 1;
			return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
		}
	END
	for name in stream stream_fail; do
		clang-19 --target=bpf -mcpu=v3 -g -O2 -std=gnu11 -fno-strict-aliasing \
			-fms-extensions -Wno-microsoft-anon-tag -Wno-compare-distinct-pointer-types \
			-Wno-initializer-overrides -D__TARGET_ARCH_x86 -DENABLE_ATOMICS_TESTS \
			-I"$work" -I"$libbpf/include" -I"$tests" -I"$tests/libarena/include" \
			-I"$source/tools/include/uapi" -I"$source/tools/include" \
			-idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include \
			-c "$tests/progs/$name.c" -o "$work/$name.bpf.o" &&
			"$bpftool" gen object "$work/$name.linked.o" "$work/$name.bpf.o" &&
			"$bpftool" gen skeleton "$work/$name.linked.o" name $name \
				>"$work/$name.skel.h" || return 1
	done
	for helper in prog_tests/stream test_progs test_loader testing_helpers cgroup_helpers \
		network_helpers netlink_helpers trace_helpers btf_helpers cap_helpers \
		unpriv_helpers sysctl_helpers jit_disasm_helpers disasm_helpers io_helpers xsk; do
		sources+=("$tests/$helper.c")
	done
	gcc -w -O1 -std=gnu11 -fno-strict-aliasing -static -D_GNU_SOURCE -I"$work" \
		-I"$work/prog_tests" -I"$libbpf/include" -I"$tests" -I"$tests/libarena/include" \
		-I"$source/tools/lib" -I"$source/tools/include" -I"$source/tools/arch/x86/include" \
		-I"$source/tools/include/uapi" -I"$source/tools/bpf/bpftool" -I"$source/kernel/bpf" \
		"${sources[@]}" "$source/kernel/bpf/disasm.c" "$source/tools/bpf/bpftool/json_writer.c" \
		"$work/add_key.c" -Wl,--wrap=syscall -o "$tools/test_stream" "$libbpf/libbpf.a" \
		-lelf -lz -lrt -lpthread -lm
}

build_defects()
{
	local libbpf=$tools/bpftool/bootstrap/libbpf
	gcc -O1 -g -std=gnu11 -Wall -Wextra -Werror -static -I"$libbpf/include" \
		-I"$own/source-$1/tools/include/uapi" "$own_dir/tests/defects.c" -o "$tools/defects" \
		"$libbpf/libbpf.a" -lelf -lz
}

# guest_selftests: a part of a guest's script that runs them and reports a line for each, and the
# status. The flaky one, in which a timer races with the read, may have three goes.
guest_selftests()
{
	cat <<-'END'
		show() {
			sed -n 's,^#[0-9/]* *\([a-z_/0-9]*\):\(OK\|FAIL\|SKIP\).*,\2 selftest \1,p' /tmp/out |
				sed 's/^OK/ok/' | awk '!seen[$0]++' | while read -r line; do report "$line"; done
		}
		mkdir -p /tmp/x && cd /tmp/x
		/test_stream -t stream >/tmp/out 2>&1
		status=$?
		flaky=stream_success/stream_arena_callback_fault
		if grep -q "$flaky:FAIL" /tmp/out; then
			mv /tmp/out /tmp/all
			for again in 2 3; do
				/test_stream -t $flaky >/tmp/out 2>&1
				report "$flaky: run $again"
				grep -q "$flaky:FAIL" /tmp/out || break
			done
			grep -q "$flaky:FAIL" /tmp/out || {
				sed -i "s,$flaky:FAIL,$flaky:OK," /tmp/all
				grep -q '^#.*stream_success/.*:FAIL' /tmp/all ||
					sed -i 's,stream_success:FAIL,stream_success:OK,' /tmp/all
				# 1 is what it ends with if a test failed.
				[ $status != 1 ] || grep -q '^#.*:FAIL' /tmp/all || status=0
			}
			mv /tmp/all /tmp/out
		fi
		show
		report "status selftest $status"
		grep ':FAIL' /tmp/out | head -n 20 | while read -r line; do report "$line"; done
		cd /
	END
}

# boot_own SERIES VARIANT SECONDS SCRIPT FILE...: boot it with a script, lines that are put into
# the guest's, and FILEs. As boot; sets log, too, which is not there if it could not be booted.
# Where the machine is busy, QEMU's timers may fail the kernel's check, which then has none that can
# fire at once: such a boot is given up and begun again, as the selftests need them. The processor
# has cmpxchg16b, without which kmalloc_nolock() gives nothing.
boot_own()
{
	local series=$1 variant=$2 seconds=$3 script=$4 again image dir=$own/guest
	log=$kernel_cache/log/boot-$series-$variant.log
	image=$own/kernels/$series-$variant/image
	verdict='not booted' reason="cannot write to $own"
	shift 4
	rm -rf "$log" "$dir"
	mkdir -p "$dir" || return 1
	{
		cat <<-'END'
			if [ ! -e /busy ] && dmesg | grep -q 'APIC timer disabled'; then
				report again
				return
			fi
		END
		echo "$script"
	} >"$dir/run"
	for again in 1 2 3 4 5 6 7 8; do
		[ $again != 8 ] || sed -i "s/-e .busy/-e \/run/" "$dir/run"
		make_initramfs "$dir/initramfs.gz" "$dir/run" "$@" || return 1
		kernel_cpu=max kernel_args=maxcpus=2 \
			step "qemu-$series-$variant" "booting $series-$variant" boot "$image" \
			"$dir/initramfs.gz" "$log" "$seconds"
		results "$log" | grep -qx again || break
	done
	rm -rf "$dir"
	[ "$verdict" = clean ]
}

# complete VARIANT KIND COUNT STATUS: what makes the results of a KIND has made COUNT of them, and
# ended with STATUS; only what is not so becomes a result here.
complete()
{
	local count status
	count=$(results "$log" | grep -cE "^(ok|FAIL) $2[: ]")
	[ "$count" = "$3" ] || fail "$series $1: $2" "$count results, not $3; the log is $log"
	status=$(results "$log" | sed -n "s/^status $2 //p" | sort -u)
	[ "$status" = "$4" ] ||
		fail "$series $1: $2" "status '${status//$'\n'/ }', not $4; the log is $log"
}
