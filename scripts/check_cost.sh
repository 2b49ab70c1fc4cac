#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# usage: check_cost.sh COUNT_RMW PAGE
#
# Every row that COUNT_RMW prints stands in PAGE. Exit status: 0 so it is, 1 not
# so, 2 usage.

set -u
case ${1-} in
--help | -h)
	sed -n '4,/^$/s/^# \{0,1\}//p' "$0"
	exit
	;;
esac
[ $# -eq 2 ] || { echo 'usage: check_cost.sh COUNT_RMW PAGE' >&2; exit 2; }
passed=0
failed=0
while IFS= read -r row; do
	if grep -qxF -e "$row" "$2"; then
		passed=$((passed + 1))
	else
		echo "$2: this row is missing or other than measured: $row"
		failed=$((failed + 1))
	fi
done < <("$1")
[ $passed -gt 0 ] || { echo "$1 printed no row that stands in $2"; failed=$((failed + 1)); }
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
