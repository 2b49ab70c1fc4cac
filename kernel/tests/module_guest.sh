# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# In the guest: load the module, run its self-tests one by one, take it out while it is used.
# kernel/lib.sh's init runs this; /parameters has the module's parameters.

module=/bpf_stream_test.ko
directory=/sys/kernel/debug/bpf_stream_test
parameters=$(cat /parameters)

run_test()
{
	report "begin $1"
	if ! echo "$1" >$directory/selftest 2>/tmp/errors; then
		report "FAIL $1: cannot be started: $(cat /tmp/errors)"
		return
	fi
	cat $directory/selftest >/tmp/result 2>&1
	grep -qE '^(ok|FAIL|SKIP) ' /tmp/result || report "FAIL $1: no result: $(head -n 1 /tmp/result)"
	while read -r line; do
		report "$line"
	done </tmp/result
}

# A process that reads waits for what another one writes, and ends when the stream is closed.
follow()
{
	report 'begin follow'
	cat $directory/follow >/tmp/followed &
	reader=$!
	for i in 1 2 3; do
		usleep 50000
		echo "line $i" >$directory/follow
	done
	tries=0
	until [ "$(cat /tmp/followed)" = "$(printf 'line 1\nline 2\nline 3')" ]; do
		tries=$((tries + 1))
		if [ $tries -ge 200 ]; then
			report "FAIL follow: the reader has: $(cat /tmp/followed)"
			break
		fi
		usleep 50000
	done
	if [ $tries -lt 200 ]; then
		kill -0 $reader || report 'FAIL follow: the reader did not wait'
		echo close >$directory/follow
		wait $reader && report 'ok follow'
	fi
}

# Two processes write and one reads, beside the module's own traffic from all contexts. When it is
# gone, it must have said that all pages came back.
unload_under_traffic()
{
	report 'begin unload_under_traffic'
	for round in 1 2 3; do
		dmesg -c >/dev/null
		echo traffic >$directory/selftest
		for i in 0 1; do
			while echo "round $round writer $i" >$directory/streams/$i; do
				usleep 500
			done 2>/dev/null &
		done
		while cat $directory/streams/0 >/dev/null; do
			usleep 500
		done 2>/dev/null &
		sleep 1
		tries=0
		until rmmod bpf_stream_test 2>/tmp/errors; do
			tries=$((tries + 1))
			if [ $tries -ge 500 ]; then
				report "FAIL unload_under_traffic: $(cat /tmp/errors)"
				return
			fi
			usleep 1000
		done
		wait
		if ! dmesg | grep -q 'bpf_stream_test: ok unload'; then
			report "FAIL unload_under_traffic: $(dmesg | grep 'bpf_stream_test: FAIL')"
			return
		fi
		# shellcheck disable=SC2086 # a list of words
		insmod $module $parameters || {
			report 'FAIL unload_under_traffic: it cannot be loaded again'
			return
		}
	done
	report 'ok unload_under_traffic'
}

# shellcheck disable=SC2086 # a list of words
if ! insmod $module $parameters 2>/tmp/errors; then
	report "FAIL load: $(cat /tmp/errors)"
elif [ ! -e $directory/selftest ]; then
	report "FAIL load: there is no $directory/selftest"
else
	report 'ok load'
	cp $directory/tests /tmp/tests
	while read -r name; do
		[ "$name" = traffic ] || run_test "$name"
	done </tmp/tests
	follow
	unload_under_traffic
	if rmmod bpf_stream_test 2>/tmp/errors; then
		report 'ok unload'
	else
		report "FAIL unload: $(cat /tmp/errors)"
	fi
fi
