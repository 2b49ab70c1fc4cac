#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The compiler for Debian's header packages, which are configured for newer ones than we have: an
# option that it does not know is dropped and remembered in the file dropped beside this script,
# but not in the trials that ask which options there are.

dropped=${0%/*}/dropped
compiler=gcc-12
command -v gcc-12 >/dev/null || compiler=gcc

exec 3>&1
while :; do
	known=()
	[ ! -f "$dropped" ] || mapfile -t known <"$dropped"
	args=()
	for arg; do
		case " ${known[*]} " in
		*" $arg "*) ;;
		*) args+=("$arg") ;;
		esac
	done
	case " $* " in
	*' /dev/null '* | *' - '* | *' --version '*) exec $compiler "${args[@]}" ;;
	esac
	errors=$(LC_ALL=C $compiler "${args[@]}" 2>&1 >&3)
	status=$?
	new=$(sed -n "s/^.*: error: unrecognized command-line option '\([^']*\)'.*/\1/p" <<<"$errors")
	[ -n "$new" ] || break
	echo "$new" >>"$dropped"
done
[ -z "$errors" ] || printf '%s\n' "$errors" >&2
exit "$status"
