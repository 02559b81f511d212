/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "frame.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A virtio port reads as empty while nobody listens at its other end, and does not block then. */
static bool wait_for_other_end(int fd)
{
	struct pollfd end = { .fd = fd, .events = POLLIN };
	const struct timespec pause = { .tv_nsec = 2000000 };

	if (getpid() != 1)
		return false;
	poll(&end, 1, 10);
	if (end.revents & POLLHUP)
		nanosleep(&pause, NULL);
	return true;
}

static bool take(int fd, uint8_t *into, size_t size)
{
	while (size) {
		ssize_t got = read(fd, into, size);

		if (got > 0) {
			into += got;
			size -= (size_t)got;
		} else if (got < 0 && errno != EINTR) {
			return false;
		} else if (got == 0 && !wait_for_other_end(fd)) {
			return false;
		}
	}
	return true;
}

static bool drop(int fd, size_t size)
{
	uint8_t nowhere[4096];

	while (size) {
		size_t part = size < sizeof(nowhere) ? size : sizeof(nowhere);

		if (!take(fd, nowhere, part))
			return false;
		size -= part;
	}
	return true;
}

enum received receive(const struct channel *channel, struct frame *into)
{
	uint32_t length;
	uint8_t head[FRAME_HEAD];

	if (!take(channel->in, (uint8_t *)&length, sizeof(length)))
		return NO_MORE;
	if (length < FRAME_HEAD || length - FRAME_HEAD > REQUEST_MAX) {
		send_words(channel, KIND_ERROR, 0,
			   length < FRAME_HEAD ? "truncated frame" : "oversized frame");
		return drop(channel->in, length) ? BAD_FRAME : NO_MORE;
	}
	if (!take(channel->in, head, sizeof(head)))
		return NO_MORE;
	into->kind = head[0];
	memcpy(&into->id, head + 4, sizeof(into->id));
	into->size = length - FRAME_HEAD;
	return take(channel->in, into->body, into->size) ? FRAME : NO_MORE;
}

static void put(int fd, const uint8_t *from, size_t size)
{
	while (size) {
		ssize_t done = write(fd, from, size);

		if (done > 0) {
			from += done;
			size -= (size_t)done;
		} else if (done < 0 && errno != EINTR && errno != EAGAIN) {
			return; /* nobody is there to be told */
		}
	}
}

void send_frame(const struct channel *channel, enum kind kind, uint32_t id, const void *body,
		size_t size)
{
	static uint8_t whole[sizeof(uint32_t) + FRAME_HEAD + REPLY_MAX];
	const uint32_t length = (uint32_t)(FRAME_HEAD + size);

	memset(whole, 0, sizeof(uint32_t) + FRAME_HEAD);
	memcpy(whole, &length, sizeof(length));
	whole[4] = (uint8_t)kind;
	memcpy(whole + 8, &id, sizeof(id));
	memcpy(whole + 12, body, size);
	put(channel->out, whole, 12 + size); /* one write: a port takes it as it is */
}

void send_words(const struct channel *channel, enum kind kind, uint32_t id, const char *words)
{
	send_frame(channel, kind, id, words, strlen(words));
}
