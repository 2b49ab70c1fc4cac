#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# usage: demo.sh BUILD_DIRECTORY [FILE...]
#
# The library at work on real text: the lines of this machine's licence texts, its dpkg log and the
# FILEs are dealt over eight inputs. streamcat merges them, one writer thread for each, onto one
# stream; what comes out is compared with what went in. Then stress does the same with signal
# handlers. Exit status: 0 all verified, 1 not so, or a tool failed.
set -u -o pipefail
export LC_ALL=C

stop()
{
	echo "demo: stopped: $*" >&2
	exit 1
}

build=$(cd "${1:?usage: demo.sh BUILD_DIRECTORY [FILE...]}" && pwd) || exit 1
shift
writers=8
least=$((32 << 20))		# bytes of text in a round, at least
most=$((128 << 20))		# the largest capacity that streamcat takes
label=9				# bytes of "writerN: "
work=$(mktemp -d "$build/demo.XXXXXX") || stop "no directory can be made in $build"
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work		# sort's

commas() { sed ':a; s/\B[0-9]\{3\}\b/,&/; ta' <<<"$1"; }

same_lines()
{
	sed 's/^writer[1-8]: //' "$work/merged" | sort >"$work/again" || stop 'sort failed'
	cmp -s "$work/again" "$work/sorted"
}

order_kept()
{
	local i
	for ((i = 1; i <= writers; i++)); do
		sed -n "s/^writer$i: //p" "$work/merged" | cmp -s - "$work/writer$i" || return 1
	done
}

# Every line begins with a label, and there is nothing else but lines.
none_torn()
{
	[ "$(grep -ac '^writer[1-8]: ' "$work/merged")" -eq "$lines" ] &&
		[ "$(wc -l <"$work/merged")" -eq "$lines" ] &&
		[ "$(wc -c <"$work/merged")" -eq $((bytes + lines * label)) ]
}

for file in /usr/share/common-licenses/* /var/log/dpkg.log "$@"; do
	[ -f "$file" ] && [ ! -L "$file" ] && [ -s "$file" ] || [[ " $* " == *" $file "* ]] || continue
	cat "$file" || stop "$file cannot be read"
	[ -z "$(tail -c 1 "$file" | tr '\0' x)" ] || echo
done >"$work/text"
[ -s "$work/text" ] || stop 'no text found; name a file that has some'
bytes=$(wc -c <"$work/text")
lines=$(wc -l <"$work/text")
# wc -L counts columns, and awk may stop at a NUL; meson has brought Python.
longest=$(python3 -c 'import sys; print(max(map(len, sys.stdin.buffer)))' <"$work/text") || exit 1
[ $((longest + label)) -le $most ] ||
	stop "a line of $(commas "$longest") bytes is too long for streamcat:" \
		"at most $(commas $((most - label))), its newline included"
printf 'bpf_stream: many writers, one stream, real text\n\n'
echo "  text      $(commas "$lines") lines, $(commas "$bytes") bytes: the licences and the dpkg log of" \
	"this machine${1+, and what you named}"
times=$(((least + bytes - 1) / bytes))
for ((i = 0; i < times; i++)); do
	cat "$work/text" || stop "the text cannot be written to $build"
done >"$work/all"
bytes=$((bytes * times)) lines=$((lines * times))
split -n r/$writers -a 1 --numeric-suffixes=1 "$work/all" "$work/writer" || stop 'split failed'
sort "$work/all" >"$work/sorted" || stop 'sort failed'
cat <<END
  dealt     line by line over $writers inputs, repeated to $(commas $lines) lines, $(commas $bytes) bytes
  merged    streamcat --label: $writers writer threads push lines to one stream, one reader writes them
  check     taken apart by label, each input must come back byte by byte

END

failed=0 verified=0
printf '%11s %11s %13s %8s %10s  %-10s %-10s %s\n' capacity lines bytes seconds switches \
	'same lines' 'order kept' 'none torn'
for capacity in $((4 << 20)) $((1 << 20)) $((256 << 10)) $((64 << 10)) $((16 << 10)); do
	[ "$capacity" -gt $((longest * 4 + 64)) ] || capacity=$((longest * 4 + 64))
	[ "$capacity" -le $most ] || capacity=$most
	start=${EPOCHREALTIME/./}
	(cd "$work" && "$build/streamcat" --label --capacity $capacity writer[1-8] >merged)
	status=$?
	took=$((${EPOCHREALTIME/./} - start))
	same=yes order=yes whole=yes
	same_lines || same=NO
	order_kept || order=NO
	none_torn || whole=NO
	printf '%11s %11s %13s %8s %10s  %-10s %-10s %s\n' "$(commas $capacity)" \
		"$(commas "$(wc -l <"$work/merged")")" "$(commas "$(wc -c <"$work/merged")")" \
		$((took / 1000000)).$((took / 100000 % 10)) \
		"$(commas "$(cut -d : -f 1 "$work/merged" | uniq | wc -l)")" "$same" "$order" "$whole"
	[ $status -eq 0 ] || echo "streamcat ended with status $status"
	[ "$status$same$order$whole" = 0yesyesyes ] || failed=1
	[ $failed -ne 0 ] || verified=$((verified + lines))
done
cat <<END

  switches  how often the next line in the output is of another writer
  verified  $(commas $verified) lines came out as they went in

Now with signal handlers that interrupt the writers and write, too:

END
"$build/stress" --threads $writers --seconds 10 || failed=1
echo
[ $failed -eq 0 ] || stop 'FAILED, see above'
echo 'demo: all of it verified'
