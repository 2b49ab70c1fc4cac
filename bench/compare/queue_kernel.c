/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Through the kernel: a pipe; a pair of datagram sockets, as syslog(3) and
 * journald have them. Neither waits: if there is no room, the push fails. What
 * the system allows is less than other competitors get: a pipe has 1 MiB.
 */
#include "measure.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

struct ends {
	int in;
	int out;
	size_t longest;
};

static void *pipe_open(const struct queue_need *need)
{
	struct ends *e = calloc(1, sizeof(*e));
	int fds[2];

	if (!e || pipe2(fds, O_NONBLOCK | O_CLOEXEC))
		return NULL;
	e->out = fds[0];
	e->in = fds[1];
	e->longest = need->bytes;
	(void)fcntl(e->in, F_SETPIPE_SZ, 1 << 20);
	return e;
}

/* A write of up to PIPE_BUF bytes is whole or not at all; a longer one may be cut. */
static bool pipe_push(void *queue, const void *data, size_t len)
{
	struct ends *e = queue;

	return write(e->in, data, len) == (ssize_t)len;
}

/* A write of up to PIPE_BUF bytes is not divided. */
static bool pipe_push_group(void *queue, const void *data, size_t len, unsigned int count)
{
	struct ends *e = queue;
	struct iovec parts[64];
	unsigned int i;

	for (i = 0; i < count && i < 64; i++)
		parts[i] = (struct iovec){ (void *)(uintptr_t)data, len };
	return count == i && writev(e->in, parts, (int)count) == (ssize_t)(count * len);
}

static size_t pipe_drain(void *queue, char *to, size_t size)
{
	struct ends *e = queue;
	ssize_t len = read(e->out, to, size);

	return len > 0 ? (size_t)len : 0;
}

static void ends_close(void *queue)
{
	struct ends *e = queue;

	close(e->in);
	close(e->out);
	free(e);
}

static void *datagram_open(const struct queue_need *need)
{
	struct ends *e = calloc(1, sizeof(*e));
	int room = 1 << 28;
	int fds[2];

	if (!e || socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds))
		return NULL;
	e->in = fds[0];
	e->out = fds[1];
	e->longest = need->bytes;
	if (setsockopt(e->in, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)))
		(void)setsockopt(e->in, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return e;
}

static bool datagram_push(void *queue, const void *data, size_t len)
{
	struct ends *e = queue;

	return send(e->in, data, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static size_t datagram_drain(void *queue, char *to, size_t size)
{
	struct ends *e = queue;
	size_t done = 0;

	while (size - done >= e->longest) {
		ssize_t len = recv(e->out, to + done, size - done, 0);

		if (len <= 0)
			break;
		done += (size_t)len;
	}
	return done;
}

static const struct queue queue_pipe = {
	.name = "pipe",
	.open = pipe_open,
	.push = pipe_push,
	.drain = pipe_drain,
	.close = ends_close,
	.push_group = pipe_push_group,
};
QUEUE_REGISTER(queue_pipe);

static const struct queue queue_datagram = {
	.name = "datagram socket",
	.open = datagram_open,
	.push = datagram_push,
	.drain = datagram_drain,
	.close = ends_close,
};
QUEUE_REGISTER(queue_datagram);
