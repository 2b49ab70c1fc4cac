#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Fetch the newest version of a Debian package and unpack it; nothing is installed.
#
# usage: fetch_deb.sh [--once] SUITE PACKAGE DIRECTORY [FILE...]
#        fetch_deb.sh --list SUITE PATTERN [VERSION]
#
# SUITE is sid, trixie-backports, ...; what PACKAGE contains, or of it only the FILEs (tar's
# patterns for paths that begin with ./), is unpacked into DIRECTORY. Prints the version. Neither
# needs root nor changes the machine's package lists: apt-get works on a configuration of its own in
# ${XDG_CACHE_HOME:-$HOME/.cache}/bpf_stream/debian, where one version of each package is kept, too,
# but not with --once; a relative XDG_CACHE_HOME is ignored. Suites are looked at again after 12
# hours. The mirror is that of the machine's own sources; apt's settings about proxies are kept.
# What was interrupted goes on where it was.
#
# --list fetches no package. A line for each package whose whole name matches PATTERN, an extended
# regular expression, and whose version is at least VERSION: its name, its version, and the names of
# what it depends on, the newest version first.
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
	cat >&2 <<-END
		usage: fetch_deb.sh [--once] SUITE PACKAGE DIRECTORY [FILE...]
		       fetch_deb.sh --list SUITE PATTERN [VERSION]
	END
	exit 2
}

once=false list=false
case ${1-} in
--once) once=true ;;
--list) list=true ;;
--help | -h)
	sed -n '4,/^$/s/^# \{0,1\}//p' "$0"
	exit
	;;
-*) misused ;;
*) set -- '' "$@" ;;
esac
shift
[[ $# -ge 2 && $1 != *[!a-z0-9.+-]* && $1 != -* ]] || misused
suite=$1 package=$2
shift 2
if $list; then
	[ $# -le 1 ] || misused
	least=${1:-0}
else
	[[ $# -ge 1 && $package != *[!a-z0-9.+-]* ]] || misused
	destination=$1
	shift
fi
command -v apt-get >/dev/null || die 'there is no apt-get here'
if ! $list; then
	mkdir -p "$destination" || die "cannot write to $destination"
	directory=$(cd "$destination" && pwd) || die "cannot enter $destination"
fi
cache=${HOME-}/.cache
[[ ${XDG_CACHE_HOME-} != /* ]] || cache=$XDG_CACHE_HOME
[[ $cache == /* && $cache != /.cache ]] || die 'neither XDG_CACHE_HOME nor HOME is an absolute path'
cache=$cache/bpf_stream/debian/$suite
mkdir -p "$cache/lists/partial" "$cache/archives/partial" "$cache/debs" ||
	die "cannot write to $cache"
cd "$cache" || die "cannot enter $cache"
{ exec 9>lock; } 2>/dev/null || die "cannot write to $cache"
flock 9

# Writes a line for each mirror that may have the suite.
list_mirrors()
{
	local codename
	# shellcheck source=/dev/null
	codename=$(. /etc/os-release 2>/dev/null; echo "${VERSION_CODENAME:-none}")
	apt-get indextargets --no-release-info \
		--format "\$(REPO_URI) \$(RELEASE)" 'Created-By: Packages' 2>/dev/null |
		awk -v r="$codename" '$2 == r && !seen[$1]++ { print $1 }' >mirrors
	[ -s mirrors ] ||
		die "the sources of apt here name no mirror of $codename; run apt-get update"
}

configure()
{
	local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	list_mirrors
	apt-config dump | grep "^Acquire::" >apt.conf
	cat >>apt.conf <<-END
		Dir::State::Lists "$PWD/lists";
		Dir::State::status "$PWD/status";
		Dir::Cache "$PWD";
		Dir::Cache::Archives "$PWD/archives";
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
		Acquire::GzipIndexes "true";
		Acquire::PDiffs "false";
		Acquire::Check-Valid-Until "false";
		Acquire::http::Timeout "20";
		Acquire::https::Timeout "20";
	END
	: >status
	signed=''
	[ ! -f $keyring ] || signed=" [signed-by=$keyring]"
	export APT_CONFIG=$PWD/apt.conf
}

# update_lists [again]: from the first mirror that has it; without any, what is known already has to
# do. What is known from the last 12 hours will do, but for again.
update_lists()
{
	local mirror
	[ "${1-}" = again ] || [ -z "$(find updated -mmin -720 2>/dev/null)" ] || return 0
	while read -r mirror; do
		echo "deb$signed $mirror $suite main" >sources.list
		if apt-get -qq --error-on=any update >update.log 2>&1; then
			cp sources.list updated
			return
		fi
	done <mirrors
	if cp updated sources.list 2>/dev/null; then
		echo "fetch_deb: an old list of $suite, of $(date -u -r updated +'%F %R'), has to do:" \
			"$(grep '^[EW]:' update.log | head -n 1)" >&2
		return
	fi
	die "cannot get the list of $suite: $(grep '^[EW]:' update.log | head -n 1)"
}

# Sets url, file, bytes and sum of the newest version. apt-get download would begin anew each time,
# apt-helper goes on with a file that is there in part.
resolve()
{
	local found
	found=$(apt-get --print-uris download "$package" 2>/dev/null | grep "^'") ||
		die "$suite has no package $package"
	read -r url file bytes sum <<<"$found"
	url=${url//\'/} file=debs/$package/$file sum=${sum#SHA256:}
}

is_here()
{
	[ -f "$file" ] && echo "$sum  $file" | sha256sum --check --status
}

download()
{
	local quiet=-qq
	# kernel/lib.sh tells by it how far this is.
	echo "fetch_deb: $url, $(((bytes + 1023) / 1024)) KiB to $PWD/$file" >&2
	[ ! -t 2 ] || quiet=-q=0
	/usr/lib/apt/apt-helper $quiet download-file "$url" "$file" "SHA256:$sum" >&2 2>download.log
	is_here && return
	cat download.log >&2
	return 1
}

# Lines NAME VERSION DEPENDENCY... of all versions of all packages that match.
match()
{
	local names
	names=$(apt-cache search --names-only "^($package)\$" | cut -d ' ' -f 1) || return
	[ -n "$names" ] || return 0
	# shellcheck disable=SC2086 # a list of words
	apt-cache show $names | awk '
		function line() { if (name) print name, version, depends; name = depends = "" }
		/^$/ { line() }
		/^Package: / { line(); name = $2 }
		/^Version: / { version = $2 }
		/^Depends: / {
			sub(/^Depends: /, "")
			gsub(/\([^)]*\)|[|,]|:[a-z]+/, " ")
			gsub(/  +/, " ")
			depends = $0
		}
		END { line() }'
}

print_list()
{
	local name version depends versions=() lines=() i
	while read -r name version depends; do
		dpkg --compare-versions "$version" ge "$least" || continue
		for ((i = ${#versions[@]}; i > 0; i--)); do	# sorted by insertion: the lists are short
			dpkg --compare-versions "$version" gt "${versions[i - 1]}" || break
			versions[i]=${versions[i - 1]} lines[i]=${lines[i - 1]}
		done
		versions[i]=$version lines[i]="$name $version${depends:+ ${depends% }}"
	done < <(match)
	[ ${#lines[@]} -gt 0 ] ||
		die "$suite has no package $package${1:+ of version $1 or newer}"
	printf '%s\n' "${lines[@]}"
}

configure
update_lists
if $list; then
	print_list "$@"
	exit
fi
resolve
mkdir -p "debs/$package" || die "cannot write to $cache"
if ! is_here && ! download; then	# a list may name what the mirror no longer has
	update_lists again
	resolve
	is_here || download ||
		die "cannot get $package of $suite: $(grep '^[EW]:' download.log | head -n 1)"
fi
find "debs/$package" -type f ! -path "$file" -delete
if [ $# -gt 0 ]; then
	dpkg-deb --fsys-tarfile "$file" | tar -x -C "$directory" --wildcards "$@"
else
	dpkg-deb -x "$file" "$directory"
fi || die "cannot unpack $file in $directory"
dpkg-deb -f "$file" Version
! $once || rm -r "debs/$package"
