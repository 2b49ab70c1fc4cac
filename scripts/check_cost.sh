#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# usage: check_cost.sh COUNT_RMW PAGE
#
# Every row that COUNT_RMW prints stands in PAGE. Exit status: 0 so it is, 1 not so.

passed=0 failed=0
while IFS= read -r row; do
	if grep -qxF -e "$row" "$2"; then
		passed=$((passed + 1))
	else
		echo "FAIL $2: this row is missing or other than measured: $row"
		failed=$((failed + 1))
	fi
done < <("$1")
echo "$passed passed, $failed failed, 0 skipped"
[ $passed -gt 0 ] && [ $failed -eq 0 ]
