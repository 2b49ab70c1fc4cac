#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Put the drop-in into a kernel's source tree, or take it out again; --help tells more.

usage()
{
	cat <<'END'
usage: install.sh SOURCE_TREE            put the drop-in in
       install.sh --remove SOURCE_TREE   take it out again

SOURCE_TREE is an unpacked Linux source, before or after a build. Three files
are put into its directory kernel/bpf/:

  stream.c              replaced; the original is kept as stream.c.kernel, a
                        name that make clean and make distclean leave alone
  bpf_stream.h          new
  bpf_stream_dropin.h   new

Nothing else is touched: the Makefile builds stream.o from stream.c as before.
--remove brings the original back, bit for bit, and drops the three files, with
whatever was edited in them. Files are replaced by renaming and never written
to, so trees that share theirs by hard links stay apart.

Built and tested with Linux 7.2 and 7.3. On 6.17 and 6.18 only the interface was
followed, nothing was booted: it installs there with a warning. Other versions
are refused; 7.4, because its streams can be read by a file descriptor, too, and
the drop-in does not have that yet.

Exit status: 0 done, 1 not done, and why, 2 usage.
END
}

die()
{
	echo "install.sh: $*" >&2
	exit 1
}

# replace FROM TO: by a copy that gets its name when it is whole.
replace()
{
	cp --preserve=mode "$1" "$bpf/.bpf_stream.new" && mv "$bpf/.bpf_stream.new" "$2" && return
	[ $action = take_out ] || rm -f "${more[@]}"
	rm -f "$bpf/.bpf_stream.new"
	die "cannot write to $bpf; it is as it was"
}

put_in()
{
	case $version in
	7.2 | 7.3) ;;
	6.17 | 6.18)
		echo "install.sh: nothing was ever booted on Linux $version; see docs/kernel-drop-in.md" >&2
		;;
	7.4) die 'Linux 7.4 reads streams by a file descriptor, too, which the drop-in does not have' ;;
	*) die "Linux $version is not known; it works on 7.2 and 7.3" ;;
	esac
	grep -qs 'struct bpf_stream_stage {' "$tree/include/linux/bpf.h" ||
		die "$tree has no BPF streams, though it calls itself $version"
	[ -z "$installed" ] || die "it is in $tree already; --remove takes it out"
	for file in "${more[@]}"; do
		[ ! -e "$file" ] || die "$file is there, but the drop-in is not; move it away first"
	done
	replace "$bpf/stream.c" "$bpf/stream.c.kernel"
	replace "$here/../../include/bpf_stream.h" "$bpf/bpf_stream.h"
	replace "$here/bpf_stream_dropin.h" "$bpf/bpf_stream_dropin.h"
	replace "$here/stream.c" "$bpf/stream.c"
	echo "installed in $tree, Linux $version; build as usual"
}

take_out()
{
	[ -n "$installed" ] || die "it is not in $tree"
	[ -f "$bpf/stream.c.kernel" ] || die "there is no $bpf/stream.c.kernel;" \
		"bring the kernel's own stream.c back from where the tree came from"
	# A copy: newer than what was built from ours, or make would leave that.
	replace "$bpf/stream.c.kernel" "$bpf/stream.c"
	rm -f "${more[@]}" || die "cannot remove ${more[*]}"
	echo "taken out of $tree"
}

action=put_in
case ${1-} in
--help | -h) usage && exit ;;
--remove) action=take_out && shift ;;
esac
if [ $# -ne 1 ] || [[ $1 == -* || -z $1 ]]; then
	echo 'install.sh: one source tree is needed; see install.sh --help' >&2
	exit 2
fi
here=$(dirname "$(readlink -f "$0")") tree=$1 bpf=$1/kernel/bpf
more=("$bpf"/{stream.c.kernel,bpf_stream.h,bpf_stream_dropin.h})
version=$(sed -n 's/^VERSION = //p' "$tree/Makefile" 2>/dev/null).$(
	sed -n 's/^PATCHLEVEL = //p' "$tree/Makefile" 2>/dev/null)
[ "$version" != . ] || die "$tree is not a Linux source tree"
[ -f "$bpf/stream.c" ] || die "$tree has no BPF streams"
installed=$(grep -F '#include "bpf_stream.h"' "$bpf/stream.c")
$action
