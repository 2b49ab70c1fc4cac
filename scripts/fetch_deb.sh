#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Fetch the newest version of a Debian package and unpack it; nothing is installed.
#
# usage: fetch_deb.sh SUITE PACKAGE DIRECTORY [FILE...]
#        fetch_deb.sh --list SUITE PATTERN [VERSION]
#
# SUITE is sid, trixie-backports, ...; what PACKAGE contains, or of it only the FILEs (tar's
# patterns for paths that begin with ./), is unpacked into DIRECTORY. Prints the version.
#
# --list fetches no package. A line for each package whose whole name matches PATTERN, an extended
# regular expression, and whose version is at least VERSION: its name, its version, and the names of
# what it depends on, the newest version first.
#
# Neither needs root nor changes the machine's package lists: apt-get works on a configuration of its
# own in ${XDG_CACHE_HOME:-$HOME/.cache}/bpf_stream/debian; a relative XDG_CACHE_HOME is ignored.
# Suites are looked at again after an hour. The mirror is that of the machine's own sources; apt's
# settings about proxies and signatures are kept.
#
# Exit status: 0 done, 1 it cannot be got (the last line on stderr says why), 2 usage.

set -u
export LC_ALL=C

die()
{
	echo "fetch_deb: $*" >&2
	exit 1
}

misused()
{
	echo 'usage: fetch_deb.sh SUITE PACKAGE DIRECTORY [FILE...]' >&2
	echo '       fetch_deb.sh --list SUITE PATTERN [VERSION]' >&2
	exit 2
}

# configure: the first mirror of the machine's sources that has the suite, and an apt-get for it.
configure()
{
	local codename mirrors mirror signed='' keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ ! -f $keyring ] || signed=" [signed-by=$keyring]"
	# shellcheck source=/dev/null
	codename=$(. /etc/os-release 2>/dev/null; echo "${VERSION_CODENAME:-none}")
	mirrors=$(apt-get indextargets --no-release-info --format "\$(REPO_URI) \$(RELEASE)" \
		'Created-By: Packages' 2>/dev/null |
		awk -v r="$codename" '$2 == r && !seen[$1]++ { print $1 }')
	[ -n "$mirrors" ] ||
		die "the sources of apt here name no mirror of $codename; run apt-get update"
	apt-config dump | grep -E '^(Acquire::|APT::Get::AllowUnauthenticated )' >apt.conf
	cat >>apt.conf <<-END
		Dir::State::Lists "$PWD/lists";
		Dir::State::status "$PWD/status";
		Dir::Cache "$PWD";
		Dir::Cache::pkgcache "";
		Dir::Cache::srcpkgcache "";
		Dir::Etc::Main "/dev/null";
		Dir::Etc::Parts "/dev/null";
		Dir::Etc::SourceList "$PWD/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::PDiffs "false";
		Acquire::Check-Valid-Until "false";
		Acquire::http::Timeout "20";
		Acquire::https::Timeout "20";
	END
	: >status
	export APT_CONFIG=$PWD/apt.conf
	[ -z "$(find updated -mmin -60 2>/dev/null)" ] || return 0
	for mirror in $mirrors; do
		echo "deb$signed $mirror $suite main" >sources.list
		apt-get -qq --error-on=any update >log 2>&1 && : >updated && return
	done
	die "cannot get the list of $suite: $(grep '^[EW]:' log | head -n 1)"
}

# print_list [VERSION]
print_list()
{
	local name version depends found
	found=$(apt-cache dumpavail | form="^($package)\$" awk '
		function line() { if (name ~ ENVIRON["form"]) print name, version, depends }
		/^Package: / { name = $2; depends = "" }
		/^Version: / { version = $2 }
		/^Depends: / {
			sub(/^Depends: /, "")
			gsub(/\([^)]*\)|[|,]|:[a-z]+/, " ")
			gsub(/  +/, " ")
			depends = $0
		}
		/^$/ { line(); name = "" }' | sort -r -V -k 2,2 |
		while read -r name version depends; do
			dpkg --compare-versions "$version" lt "${1:-0}" ||
				echo "$name $version${depends:+ $depends}"
		done)
	[ -n "$found" ] || die "$suite has no package $package${1:+ of version $1 or newer}"
	echo "$found"
}

# unpack DIRECTORY [FILE...]
unpack()
{
	local directory=$1 file
	shift
	(cd "$work" && apt-get -qq download "$package") >log 2>&1
	file=$(echo "$work"/*.deb)
	if [ ! -f "$file" ]; then
		rm -f updated	# a list may name what the mirror no longer has
		die "cannot get $package of $suite: $(grep '^[EW]:' log | head -n 1)"
	fi
	if [ $# -gt 0 ]; then
		dpkg-deb --fsys-tarfile "$file" | tar -x -C "$directory" --wildcards "$@"
	else
		dpkg-deb -x "$file" "$directory"
	fi || die "cannot unpack $package in $directory"
	dpkg-deb -f "$file" Version
}

action=unpack
case ${1-} in
--help | -h) sed -n '4,/^$/s/^# \{0,1\}//p' "$0" && exit ;;
--list) action=print_list && shift ;;
esac
[[ $# -ge 2 && $1 =~ ^[a-z0-9][a-z0-9.+-]*$ ]] || misused
suite=$1 package=$2
shift 2
if [ $action = unpack ]; then
	[[ $# -ge 1 && $package =~ ^[a-z0-9][a-z0-9.+-]*$ ]] || misused
	mkdir -p "$1" || die "cannot write to $1"
	set -- "$(cd "$1" && pwd)" "${@:2}"
fi
command -v apt-get >/dev/null || die 'there is no apt-get here'
cache=${HOME-}/.cache
[[ ${XDG_CACHE_HOME-} != /* ]] || cache=$XDG_CACHE_HOME
[[ $cache == /* && $cache != /.cache ]] || die 'neither XDG_CACHE_HOME nor HOME is an absolute path'
cache=$cache/bpf_stream/debian/$suite
mkdir -p "$cache/lists/partial" "$cache/archives/partial" || die "cannot write to $cache"
cd "$cache" || die "cannot enter $cache"
{ exec 9>lock && flock 9; } || die "cannot write to $cache"
configure
work=$(mktemp -d "$cache/work.XXXXXX") || die "cannot write to $cache"
trap 'rm -rf "$work"' EXIT
$action "$@"
