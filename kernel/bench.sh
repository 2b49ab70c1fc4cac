#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# What a message of 64 bytes costs in kernels of our own: the drop-in with pages, with
# kmalloc_nolock, and the original.
# usage: bench.sh [7.2|7.3] [BOOTS]
#
# QEMU counts instructions (-icount shift=0): the guest's time stamp counter then advances by one
# for each that is executed, so that the load of this machine does not matter. The kernels are
# booted in turns, BOOTS times each (3); a boot gives 9 rounds of 1000 messages. The figures are
# medians over all rounds; then their ratios to the original's. One CPU: a second would be counted
# by the same clock.

# shellcheck source=SCRIPTDIR/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=SCRIPTDIR/own.sh
. "$kernel_top/kernel/own.sh"

# boot_counting IMAGE: the time stamp counter counts instructions, as if each took a nanosecond.
boot_counting()
{
	timeout --foreground -k 5 300 qemu-system-x86_64 -accel tcg,thread=single -icount shift=0 \
		-cpu max -smp 1 -m 512 -nodefaults -display none -serial stdio -no-reboot -kernel "$1" \
		-initrd "$dir/initramfs.gz" \
		-append 'console=ttyS0 panic=-1 printk.devkmsg=on tsc_early_khz=1000000 tsc=reliable'
}

series=7.2 boots=3
for word; do
	case $word in
	7.[23]) series=$word ;;
	[1-9] | [1-9][0-9]) boots=$word ;;
	*)
		echo 'usage: bench.sh [7.2|7.3] [BOOTS]' >&2
		exit 2
		;;
	esac
done
variants=(stock dropin dropin-kmalloc)
dir=$own/bench
rm -rf "$dir"
mkdir -p "$dir" || exit 1
echo 'echo 9 >/sys/kernel/debug/bpf_stream_bench || report "FAIL bench"' >"$dir/run"
make_initramfs "$dir/initramfs.gz" "$dir/run" || {
	echo "bench.sh: $reason" >&2
	exit 1
}
for variant in "${variants[@]}"; do
	build_own "$series" "$variant" || {
		echo "bench.sh: $variant: $reason" >&2
		exit 1
	}
	cp "$own_kernel/image" "$dir/$variant.image" || exit 1
done
for ((i = 1; i <= boots; i++)); do
	for variant in "${variants[@]}"; do
		step "bench-$variant" "$variant, boot $i of $boots" boot_counting \
			"$dir/$variant.image"
		log=$step_log
		if ! results "$log" | grep -qx 'ok bench'; then
			echo "bench.sh: $variant: $(tail -n 1 "$log"); see $log" >&2
			exit 1
		fi
		results "$log" | sed -n 's/^format /format /p' >>"$dir/$variant"
	done
done
echo "linux-source-$series $(cat "$own/source-$series.version"), $(gcc --version | head -n 1)"
python3 - "$dir" "${variants[@]}" <<'END'
import statistics
import sys

directory, variants = sys.argv[1], sys.argv[2:]
medians = {}
for variant in variants:
    columns = {}
    with open(f"{directory}/{variant}", encoding="ascii") as rounds:
        for line in rounds:
            words = line.split()
            for name, value in zip(words[::2], words[1::2]):
                columns.setdefault(name, []).append(int(value) / 100)
    medians[variant] = {name: statistics.median(found) for name, found in columns.items()}
    for name, found in columns.items():
        print(f"  {variant} {name}: {len(found)} rounds, {min(found):.0f} to {max(found):.0f}")

rows = {name: {v: medians[v][name] for v in variants} for name in medians[variants[0]]}
rows["print without formatting"] = {v: medians[v]["print"] - medians[v]["array"] for v in variants}
rows["stage without formatting"] = {v: medians[v]["stage"] - medians[v]["format"] for v in variants}
rows["print and read"] = {v: medians[v]["print"] + medians[v]["read"] for v in variants}
rows["print and read without formatting"] = {
    v: medians[v]["print"] - medians[v]["array"] + medians[v]["read"] for v in variants}
print("instructions for a message of 64 bytes, and in relation to the original")
print(f"{'':36}" + "".join(f"{v:>22}" for v in variants))
for name, row in rows.items():
    print(f"{name:36}" + "".join(f"{row[v]:>15.0f} {row[v] / row[variants[0]]:>6.2f}" for v in variants))
END
rm -rf "$dir"
