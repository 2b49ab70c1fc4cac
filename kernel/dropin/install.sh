#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Put the drop-in into a kernel's source tree, or take it out again; --help tells more.

set -u
export LC_ALL=C
name=install.sh
marker='#define BPF_STREAM_KERNEL_DROPIN'	# a line of our stream.c, and of no other

usage()
{
	cat <<'END'
usage: install.sh SOURCE_TREE                      put the drop-in in
       install.sh --remove [--force] SOURCE_TREE   take it out again

SOURCE_TREE is an unpacked Linux source, before or after a build. Two files are
put into its directory kernel/bpf/:

  stream.c       replaced; the original is kept as stream.c.kernel, a name that
                 make clean and make distclean leave alone
  bpf_stream.h   new

Nothing else is touched: the Makefile builds stream.o from stream.c as before.
--remove brings the original back, bit for bit. Files are replaced, never
written to, so trees that share theirs by hard links stay apart. Where only some
of the three files are ours, both ways are refused; but if only bpf_stream.h was
lost, --remove --force works.
What cannot be installed to the end is taken back. --remove drops a stream.c or
bpf_stream.h that differs from ours only with --force.

Built and tested with Linux 7.2 and 7.3. On 6.17 and 6.18 only the interface was
followed, nothing was booted: it installs there with a warning. Other versions
are refused; 7.4, because its streams can be read by a file descriptor, too, and
the drop-in does not have that yet.

Exit status: 0 done, 1 not done, and why, 2 usage.
END
}

die()
{
	echo "$name: $*" >&2
	exit 1
}

misused()
{
	echo "$name: $*; see $name --help" >&2
	exit 2
}

# Sets version to that of the Makefile, as 7.2.
read_version()
{
	local major minor
	major=$(sed -n 's/^VERSION = \([0-9]*\)$/\1/p' "$tree/Makefile" 2>/dev/null)
	minor=$(sed -n 's/^PATCHLEVEL = \([0-9]*\)$/\1/p' "$tree/Makefile" 2>/dev/null)
	version=$major.$minor
	if [ "$version" = . ] || [ ! -f "$tree/Kconfig" ] || [ ! -d "$bpf" ]; then
		die "$tree is not a Linux source tree"
	fi
}

check_version()
{
	case $version in
	7.2 | 7.3) ;;
	6.17 | 6.18)
		echo "$name: nothing was ever booted on Linux $version, see docs/kernel-drop-in.md" >&2
		;;
	7.4) die 'Linux 7.4 reads streams by a file descriptor, too, which the drop-in does not have' ;;
	*) die "Linux $version is not known; it works on 7.2 and 7.3" ;;
	esac
	if [ ! -f "$bpf/stream.c" ] ||
	   ! grep -qs 'struct bpf_stream_stage {' "$tree/include/linux/bpf.h"; then
		die "$tree has no BPF streams, though it calls itself $version"
	fi
}

# What this run made, or is taking out: if it does not come to its end, and our stream.c is not in
# place, it goes.
made=() unfinished=''
clean_up()
{
	[ -z "$unfinished" ] || rm -f "$unfinished"
	grep -qsxF "$marker" "$bpf/stream.c"
	[ $? -ne 1 ] || rm -f ${made+"${made[@]}"}
}

# replace FROM TO MODE OWNED: at once, and without writing to what TO was. By root, in somebody
# else's tree, it gets the owner of OWNED.
replace()
{
	unfinished=$(mktemp "$bpf/.bpf_stream.XXXXXX") || die "cannot write to $bpf"
	if ! cp "$1" "$unfinished" || ! chmod "$3" "$unfinished" ||
	   { [ "$(id -u)" -eq 0 ] && ! chown --reference="$4" "$unfinished"; } ||
	   ! mv "$unfinished" "$2"; then
		die "cannot write $2"
	fi
	unfinished=''
}

# Sets state to in, out, part (without our header), or mixed, and for these two says why.
look()
{
	local file ours='' more=() both=1
	for file in stream.c.kernel bpf_stream.h; do
		if [ -e "$bpf/$file" ] || [ -L "$bpf/$file" ]; then
			more+=("$bpf/$file")
		else
			both=''
		fi
	done
	! grep -qsxF "$marker" "$bpf/stream.c" || ours=1
	if [ "$ours" ] && [ "$both" ]; then
		state=in
	elif [ "$ours" ]; then
		state=mixed
		why="$bpf/stream.c is the drop-in, but there is no $bpf/stream.c.kernel; bring"
		why+=" the kernel's own stream.c back, from git or the archive it came from"
		if [ "${more-}" = "$bpf/stream.c.kernel" ]; then
			state=part
			why="$bpf/stream.c is the drop-in, but there is no $bpf/bpf_stream.h;"
			why+=" --remove --force brings the original back"
		fi
	elif [ ${#more[@]} -gt 0 ]; then
		state=mixed
		why="$bpf/stream.c is not the drop-in, so what is this: ${more[*]}? Move it away first"
	else
		state=out
	fi
}

put_in()
{
	case $state in
	in) die "it is in $tree already; --remove takes it out" ;;
	part | mixed) die "$why" ;;
	esac
	check_version
	for file in "$here/stream.c" "$top/include/bpf_stream.h"; do
		[ -r "$file" ] || die "there is no $file; this script belongs to its project's tree"
	done
	made=("$bpf/stream.c.kernel" "$bpf/bpf_stream.h")
	ln "$bpf/stream.c" "$bpf/stream.c.kernel" 2>/dev/null ||
		cp -pP "$bpf/stream.c" "$bpf/stream.c.kernel" || die "cannot write to $bpf"
	replace "$top/include/bpf_stream.h" "$bpf/bpf_stream.h" 644 "$bpf"
	replace "$here/stream.c" "$bpf/stream.c" 644 "$bpf"
	made=()
	echo "installed in $tree, Linux $version; build as usual"
}

take_out()
{
	case $state in
	out) die "it is not in $tree" ;;
	part) [ -n "$force" ] || die "$why" ;;
	mixed) die "$why" ;;
	esac
	for file in "$here/stream.c" "$top/include/bpf_stream.h"; do
		[ -z "$force" ] || break
		cmp -s "$file" "$bpf/${file##*/}" ||
			die "$bpf/${file##*/} is not $file: it was edited," \
				"or is of another version; save what you need, then --remove --force drops it"
	done
	made=("$bpf/stream.c.kernel" "$bpf/bpf_stream.h")
	# A copy, so that it is newer than what was built from ours; but a link stays one.
	if [ -L "$bpf/stream.c.kernel" ]; then
		mv "$bpf/stream.c.kernel" "$bpf/stream.c" || die "cannot write to $bpf"
	else
		replace "$bpf/stream.c.kernel" "$bpf/stream.c" \
			"$(stat -c %a "$bpf/stream.c.kernel")" "$bpf/stream.c.kernel"
	fi
	rm -f "${made[@]}" || die "cannot remove ${made[*]}"
	echo "taken out of $tree"
}

action=put_in force=''
while [ $# -gt 0 ]; do
	case $1 in
	--help | -h) usage && exit ;;
	--remove) action=take_out ;;
	--force) force=1 ;;
	-*) misused "what is $1?" ;;
	*) break ;;
	esac
	shift
done
if [ $# -ne 1 ] || [ -z "$1" ]; then
	misused 'one source tree is needed'
elif [ "$force" ] && [ $action = put_in ]; then
	misused '--force is for --remove'
fi
tree=$1
while [[ $tree == ?*/ ]]; do
	tree=${tree%/}
done
bpf=${tree%/}/kernel/bpf
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd) || exit 1
top=$(cd "$here/../.." && pwd) || exit 1
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
read_version
{ exec 9<"$bpf"; } 2>/dev/null || die "cannot read $bpf"
flock -n 9
case $? in
0) ;;
1) die "another $name is at work in $tree" ;;
*) die 'it needs flock, of util-linux, to be the only one at work' ;;
esac
look
$action
