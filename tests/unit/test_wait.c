/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * [17] WAIT: sleeping until something is pending, or there is room; the
 * descriptor; closing. A wake-up that is missed shows as a test that hangs: a
 * nap lasts a minute here, unless the test is of naps.
 *
 * Seen to fail with: a key that is taken behind the look; a flag that is set
 * whatever the log holds; a publish in one element, in parts or of a stage that
 * does not wake; a refund that does not; a waker that leaves the word as it is,
 * or wakes one of two; a close that wakes no reader, no writer, or not the
 * descriptor; a descriptor that is cleared behind the flag, or though the stream
 * is closed, or not set when the flag cannot be; a child that uses the parent's
 * descriptor; a nap without end; a wait for memory without naps; refusals that
 * are counted at each try; errno that is changed.
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_POOL_BYTES (64u * 4096u)
#define BPF_STREAM_ENV_HEADER "../tests/unit/wait_env.h"
#include "bpf_stream.h"
#include "unit.h"
#include <poll.h>
#include <setjmp.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum { CAPACITY = 100 };

static struct bpf_stream s;
static char text[20000];
static char got[sizeof(text)];

static void set_up(void)
{
	unit_make_stream(&s, CAPACITY);
	errno = 77;
}

/* At the end of a test: no call has changed errno, and the stream is whole. */
static void check(void)
{
	cr_assert_eq(errno, 77);
	unit_assert_sound(&s);
}

TestSuite(wait, .init = set_up);

static void push_one(void)
{
	cr_assert_eq(bpf_stream_push(&s, "x", 1), 0);
}

static void fill(void)
{
	cr_assert_eq(bpf_stream_push(&s, text, CAPACITY), 0);
}

static void read_all(void)
{
	cr_assert_eq(bpf_stream_read(&s, got, sizeof(got)), CAPACITY);
}

static void close_it(void)
{
	bpf_stream_close(&s);
}

/* ---- Sleeping readers -------------------------------------------------- */

static void *wait_long(void *ret)
{
	*(int *)ret = bpf_stream_wait(&s, -1);
	return NULL;
}

/* Until a thread has asked to be woken, and is about to sleep. */
static void until_asleep(uint32_t flag, uint32_t sleepers)
{
	while (!((bse_u64_load_relaxed)(&s.log) & flag) ||
	       __atomic_load_n(&naps, __ATOMIC_RELAXED) < sleepers)
		program_pause();
}

Test(wait, wait__looks_before_it_sleeps)
{
	cr_assert_eq(bpf_stream_wait(&s, 0), 0);
	push_one();
	cr_assert_eq(bpf_stream_wait(&s, 0), 1);
	cr_assert_eq(bpf_stream_wait(&s, -1), 1);
	bpf_stream_close(&s);
	cr_assert_eq(bpf_stream_wait(&s, -1), 1);
	cr_assert_eq(bpf_stream_read(&s, got, 1), 1);
	cr_assert_eq(bpf_stream_wait(&s, -1), -ESHUTDOWN);
	cr_assert_eq(naps, 0u);
	check();
}

/* Detached, and not all of it read. */
Test(wait, wait__a_backlog_is_pending)
{
	cr_assert_eq(bpf_stream_push(&s, "abc", 3), 0);
	cr_assert_eq(bpf_stream_read(&s, got, 1), 1);
	cr_assert_eq(bpf_stream_wait(&s, -1), 1);
	cr_assert_eq(naps, 0u);
	check();
}

Test(wait, wait__ends_with_its_time)
{
	cr_assert_eq(bpf_stream_wait(&s, 30), 0);
	cr_assert_eq(naps, 1u);
	cr_assert_leq(longest_nap, 30u);
	check();
}

static void woken_by(void (*push)(void))
{
	pthread_t thread;
	int ret = 0;

	naps = 0;
	unit_start(&thread, wait_long, &ret);
	until_asleep(BSE_LOG_READER_WAITS, 1);
	push();
	unit_join(thread);
	cr_assert_eq(ret, 1);
	bpf_stream_read(&s, got, sizeof(got));
}

static void push_parts(void)
{
	cr_assert_eq(bpf_stream_push(&s, text, sizeof(text)), 0);
}

static void push_group(void)
{
	struct bpf_stream_stage ss = { 0 };

	cr_assert_eq(bpf_stream_stage_push(&ss, "g", 1), 0);
	cr_assert_eq(bpf_stream_stage_commit_to(&ss, &s), 0);
}

static void push_middle(void)
{
	cr_assert_eq(bpf_stream_push(&s, text, 500), 0);
}

static void log_one(void)
{
	cr_assert_eq(bpf_stream_log(&s, 3, "%d", 1), 0);
}

Test(wait, wait__is_woken_by_every_way_in)
{
	unit_make_stream(&s, sizeof(text));
	woken_by(push_one);
	woken_by(push_middle);
	woken_by(push_parts);
	woken_by(push_group);
	woken_by(log_one);
	check();
}

Test(wait, wait__publish_before_the_flag_is_set)
{
	before_arm = push_one;
	cr_assert_eq(bpf_stream_wait(&s, -1), 1);
	cr_assert_eq(naps, 0u);
	check();
}

Test(wait, wait__publish_behind_the_flag)
{
	after_arm = push_one;
	cr_assert_eq(bpf_stream_wait(&s, -1), 1);
	cr_assert_eq(naps, 1u);
	check();
}

Test(wait, wait__publish_before_it_sleeps)
{
	before_sleep = push_one;
	cr_assert_eq(bpf_stream_wait(&s, -1), 1);
	cr_assert_eq(naps, 1u);
	check();
}

Test(wait, wait__two_of_which_one_leaves)
{
	pthread_t thread;
	int ret = 0;

	unit_start(&thread, wait_long, &ret);
	until_asleep(BSE_LOG_READER_WAITS, 1);
	cr_assert_eq(bpf_stream_wait(&s, 20), 0);
	push_one();
	unit_join(thread);
	cr_assert_eq(ret, 1);
	check();
}

Test(wait, wait__all_are_woken)
{
	pthread_t thread[3];
	int ret[3] = { 0 };
	int i;

	for (i = 0; i < 3; i++)
		unit_start(&thread[i], wait_long, &ret[i]);
	until_asleep(BSE_LOG_READER_WAITS, 3);
	push_one();
	for (i = 0; i < 3; i++) {
		unit_join(thread[i]);
		cr_assert_eq(ret[i], 1);
	}
	check();
}

static void nothing(int sig)
{
	(void)sig;
}

Test(wait, wait__ends_with_a_signal)
{
	struct sigaction action = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	pthread_t thread;
	int ret = 0;

	sigaction(SIGUSR1, &action, NULL);
	unit_start(&thread, wait_long, &ret);
	until_asleep(BSE_LOG_READER_WAITS, 1);
	while (!__atomic_load_n(&ret, __ATOMIC_RELAXED)) {
		pthread_kill(thread, SIGUSR1);
		program_pause();
	}
	unit_join(thread);
	cr_assert_eq(ret, -EINTR);
	check();
}

/* Its wake-up never comes; the sleeper looks again by itself. */
Test(wait, wait__writer_is_killed_before_it_wakes)
{
	pthread_t thread;
	int ret = 0;

	nap_ms = 50;
	no_wake = true;
	unit_start(&thread, wait_long, &ret);
	until_asleep(BSE_LOG_READER_WAITS, 1);
	push_one();
	unit_join(thread);
	cr_assert_eq(ret, 1);
	cr_assert_leq(longest_nap, BSE_NAP_MS);
	check();
}

static sigjmp_buf out;

static void jump(void)
{
	siglongjmp(out, 1);
}

Test(wait, wait__writer_jumps_before_it_wakes)
{
	pthread_t thread;
	int ret = 0;

	nap_ms = 50;
	unit_start(&thread, wait_long, &ret);
	until_asleep(BSE_LOG_READER_WAITS, 1);
	before_wake = jump;
	if (!sigsetjmp(out, 1))
		push_one();
	unit_join(thread);
	cr_assert_eq(ret, 1);
	check();
}

/* ---- Sleeping writers -------------------------------------------------- */

static void *push_wait_long(void *ret)
{
	*(int *)ret = bpf_stream_push_wait(&s, "abc", 3, -1);
	return NULL;
}

static uint64_t refused(enum bpf_stream_refusal why)
{
	return unit_stats(&s).refused[why].messages;
}

Test(wait, push_wait__has_room_at_once)
{
	cr_assert_eq(bpf_stream_push_wait(&s, "abc", 3, -1), 0);
	cr_assert_eq(bpf_stream_push_wait(&s, NULL, 0, -1), 0);
	cr_assert_eq(naps, 0u);
	unit_assert_reads(&s, "abc");
	check();
}

Test(wait, push_wait__what_can_never_fit)
{
	cr_assert_eq(bpf_stream_push_wait(&s, text, CAPACITY + 1, -1), -E2BIG);
	cr_assert_eq(bpf_stream_push_wait(&s, text, (size_t)INT_MAX + 1, -1), -EINVAL);
	cr_assert_eq(refused(BPF_STREAM_REFUSED_SIZE), 1u);
	cr_assert_eq(refused(BPF_STREAM_REFUSED_INVALID), 1u);
	cr_assert_eq(naps, 0u);
	check();
}

Test(wait, push_wait__is_woken_by_a_read)
{
	pthread_t thread;
	int ret = 1;

	fill();
	unit_start(&thread, push_wait_long, &ret);
	until_asleep(BSE_LOG_ROOM_WAITED, 1);
	read_all();
	unit_join(thread);
	cr_assert_eq(ret, 0);
	unit_assert_reads(&s, "abc");
	cr_assert_eq(refused(BPF_STREAM_REFUSED_FULL), 0u);
	check();
}

Test(wait, push_wait__read_before_the_flag_is_set_or_it_sleeps)
{
	fill();
	before_arm = read_all;
	cr_assert_eq(bpf_stream_push_wait(&s, "abc", 3, -1), 0);
	cr_assert_eq(naps, 0u);
	unit_assert_reads(&s, "abc");
	fill();
	before_sleep = read_all;
	cr_assert_eq(bpf_stream_push_wait(&s, "abc", 3, -1), 0);
	unit_assert_reads(&s, "abc");
	check();
}

Test(wait, push_wait__counts_one_refusal_when_its_time_is_over)
{
	fill();
	nap_ms = 5;
	cr_assert_eq(bpf_stream_push_wait(&s, "abc", 3, 0), -ENOSPC);
	cr_assert_eq(refused(BPF_STREAM_REFUSED_FULL), 1u);
	cr_assert_eq(bpf_stream_push_wait(&s, "abc", 3, 1100), -ENOSPC);
	cr_assert_gt(naps, 2u);
	cr_assert_eq(refused(BPF_STREAM_REFUSED_FULL), 2u);
	check();
}

Test(wait, push_wait__ends_with_a_signal)
{
	struct sigaction action = { .sa_handler = nothing };
	pthread_t thread;
	int ret = 1;

	sigaction(SIGUSR1, &action, NULL);
	fill();
	unit_start(&thread, push_wait_long, &ret);
	until_asleep(BSE_LOG_ROOM_WAITED, 1);
	while (__atomic_load_n(&ret, __ATOMIC_RELAXED) == 1) {
		pthread_kill(thread, SIGUSR1);
		program_pause();
	}
	unit_join(thread);
	cr_assert_eq(ret, -EINTR);
	cr_assert_eq(refused(BPF_STREAM_REFUSED_FULL), 1u);
	check();
}

static struct bpf_stream other;
static int more_naps;

/* After some naps there are pages again. */
static void drain_other(void)
{
	if (more_naps-- > 0)
		before_sleep = drain_other;
	else
		bpf_stream_destroy(&other);
}

Test(wait, push_wait__naps_while_the_pool_is_exhausted)
{
	unit_make_stream(&other, 64u * 4096u);
	while (!bpf_stream_push(&other, text, 4000))
		;
	while (!bpf_stream_push(&other, text, 1))
		;
	bpf_stream_thread_release();
	unit_make_stream(&s, sizeof(text));
	cr_assert_eq(bpf_stream_push_wait(&s, text, 12000, 9), -ENOMEM);
	cr_assert_geq(naps, 2u);
	cr_assert_leq(longest_nap, 4u);
	cr_assert_eq(refused(BPF_STREAM_REFUSED_POOL), 1u);
	more_naps = 5;
	before_sleep = drain_other;
	naps = 0;
	cr_assert_eq(bpf_stream_push_wait(&s, text, 12000, -1), 0);
	cr_assert_eq(naps, 6u);
	cr_assert_eq(refused(BPF_STREAM_REFUSED_POOL), 1u);
	check();
}

/* ---- Closing ------------------------------------------------------------ */

Test(wait, close__wakes_readers_and_writers)
{
	pthread_t reader;
	pthread_t writer;
	int ret[2] = { 1, 1 };

	unit_start(&reader, wait_long, &ret[0]);
	until_asleep(BSE_LOG_READER_WAITS, 1);
	bpf_stream_close(&s);
	unit_join(reader);
	cr_assert_eq(ret[0], -ESHUTDOWN);
	bpf_stream_destroy(&s);
	naps = 0;
	fill();
	unit_start(&writer, push_wait_long, &ret[1]);
	until_asleep(BSE_LOG_ROOM_WAITED, 1);
	bpf_stream_close(&s);
	unit_join(writer);
	cr_assert_eq(ret[1], -EPIPE);
	cr_assert_eq(refused(BPF_STREAM_REFUSED_CLOSED), 1u);
	cr_assert_eq(bpf_stream_wait(&s, 0), 1);
	read_all();
	check();
}

Test(wait, close__before_they_sleep)
{
	before_arm = close_it;
	cr_assert_eq(bpf_stream_wait(&s, -1), -ESHUTDOWN);
	bpf_stream_destroy(&s);
	before_sleep = close_it;
	cr_assert_eq(bpf_stream_wait(&s, -1), -ESHUTDOWN);
	bpf_stream_destroy(&s);
	fill();
	before_sleep = close_it;
	cr_assert_eq(bpf_stream_push_wait(&s, "abc", 3, -1), -EPIPE);
	check();
}

static void close_in_handler(int sig)
{
	(void)sig;
	bpf_stream_close(&s);
}

static void raise_it(void)
{
	raise(SIGUSR1);
}

Test(wait, close__in_a_handler)
{
	signal(SIGUSR1, close_in_handler);
	before_sleep = raise_it;
	cr_assert_eq(bpf_stream_wait(&s, -1), -ESHUTDOWN);
	check();
}

/* ---- The descriptor ----------------------------------------------------- */

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int saved = errno;
	int n = poll(&p, 1, 0);

	errno = saved;
	cr_assert_geq(n, 0);
	return n == 1 && p.revents == POLLIN;
}

static int make_fd(void)
{
	int fd = bpf_stream_poll_fd(&s);

	cr_assert_geq(fd, 0);
	cr_assert_eq(bpf_stream_poll_fd(&s), fd);
	return fd;
}

static int take_nothing(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	(void)len;
	return 0;
}

Test(wait, poll_fd__is_readable_while_something_is_pending)
{
	int fd = make_fd();
	int i;

	cr_assert(!readable(fd));
	for (i = 0; i < 3; i++) {
		push_one();
		push_one();
		cr_assert(readable(fd));
		cr_assert_eq(bpf_stream_drain(&s, take_nothing, NULL, SIZE_MAX), 0);
		cr_assert(readable(fd));
		cr_assert_eq(bpf_stream_read(&s, got, 1), 1);
		cr_assert(readable(fd));
		cr_assert_eq(bpf_stream_read(&s, got, 9), 1);
		cr_assert(!readable(fd));
		cr_assert_eq(bpf_stream_read(&s, got, 9), 0);
		cr_assert(!readable(fd));
	}
	check();
}

Test(wait, poll_fd__made_when_something_is_pending)
{
	push_one();
	cr_assert(readable(make_fd()));
	check();
}

Test(wait, poll_fd__publish_between_clear_and_flag)
{
	int fd = make_fd();

	push_one();
	before_arm = push_one;
	cr_assert_eq(bpf_stream_read(&s, got, 1), 1);
	cr_assert(readable(fd));
	cr_assert_eq(bpf_stream_read(&s, got, 1), 1);
	cr_assert(!readable(fd));
	check();
}

/* The sleeper leaves, and the descriptor is still watched. */
Test(wait, poll_fd__beside_a_sleeper)
{
	int fd = make_fd();

	cr_assert_eq(bpf_stream_wait(&s, 10), 0);
	push_one();
	cr_assert(readable(fd));
	cr_assert_eq(bpf_stream_read(&s, got, 9), 1);
	woken_by(push_one);
	cr_assert(!readable(fd));
	check();
}

Test(wait, poll_fd__stays_readable_when_closed)
{
	int fd = make_fd();

	bpf_stream_close(&s);
	cr_assert(readable(fd));
	cr_assert_eq(bpf_stream_read(&s, got, 1), -ESHUTDOWN);
	cr_assert(readable(fd));
	bpf_stream_destroy(&s);
	bpf_stream_close(&s);
	cr_assert(readable(make_fd()));
	check();
}

Test(wait, poll_fd__closed_between_clear_and_flag)
{
	int fd = make_fd();

	push_one();
	before_arm = close_it;
	cr_assert_eq(bpf_stream_read(&s, got, 9), 1);
	cr_assert(readable(fd));
	check();
}

Test(wait, poll_fd__with_epoll_by_level_and_by_edge)
{
	struct epoll_event event = { .events = EPOLLIN };
	int level = epoll_create1(EPOLL_CLOEXEC);
	int edge = epoll_create1(EPOLL_CLOEXEC);
	int fd = make_fd();
	int i;

	cr_assert_eq(epoll_ctl(level, EPOLL_CTL_ADD, fd, &event), 0);
	event.events = EPOLLIN | EPOLLET;
	cr_assert_eq(epoll_ctl(edge, EPOLL_CTL_ADD, fd, &event), 0);
	for (i = 0; i < 3; i++) {
		cr_assert_eq(epoll_wait(level, &event, 1, 0), 0);
		cr_assert_eq(epoll_wait(edge, &event, 1, 0), 0);
		push_one();
		push_one();
		cr_assert_eq(epoll_wait(level, &event, 1, -1), 1);
		cr_assert_eq(epoll_wait(level, &event, 1, -1), 1);
		cr_assert_eq(epoll_wait(edge, &event, 1, -1), 1);
		cr_assert_eq(epoll_wait(edge, &event, 1, 0), 0);
		cr_assert_eq(bpf_stream_read(&s, got, 9), 2);
	}
	close(level);
	close(edge);
	check();
}

static int parents;

static void child(void *arg)
{
	int fd;

	(void)arg;
	UNIT_CHILD_WANTS(!bpf_stream_push(&s, "x", 1));
	UNIT_CHILD_WANTS(!readable(parents));
	UNIT_CHILD_WANTS(bpf_stream_read(&s, got, 9) == 1);
	fd = bpf_stream_poll_fd(&s);
	UNIT_CHILD_WANTS(fd >= 0 && fd != parents && !readable(fd));
	UNIT_CHILD_WANTS(!bpf_stream_push(&s, "x", 1));
	UNIT_CHILD_WANTS(readable(fd) && !readable(parents));
	bpf_stream_destroy(&s);
	UNIT_CHILD_WANTS(fcntl(fd, F_GETFD) < 0 && fcntl(parents, F_GETFD) >= 0);
}

Test(wait, poll_fd__the_child_asks_for_its_own)
{
	parents = make_fd();
	unit_in_child(child, NULL);
	cr_assert(!readable(parents));
	push_one();
	cr_assert(readable(parents));
	check();
}

Test(wait, poll_fd__there_is_none_left)
{
	struct rlimit before;
	struct rlimit none;
	int fd;

	getrlimit(RLIMIT_NOFILE, &before);
	none = (struct rlimit){ 0, before.rlim_max };
	setrlimit(RLIMIT_NOFILE, &none);
	fd = bpf_stream_poll_fd(&s);
	setrlimit(RLIMIT_NOFILE, &before);
	cr_assert_eq(fd, -EMFILE);
	check();
}
