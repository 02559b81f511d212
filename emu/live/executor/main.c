/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The executor: takes cases, plays each on this host's KVM, tells what came of it. In a box it is
 * the first process and speaks through a virtio port; else through its standard input and output.
 */
#include <string.h>
#include <unistd.h>

#include "case.h"
#include "frame.h"
#include "init.h"
#include "symbols.h"
#include "worker.h"

static void answer(const struct channel *channel, struct desk *desk)
{
	const struct frame *asked = &desk->asked;
	struct objection found;

	if (asked->kind < KIND_CASE || asked->kind > KIND_ALLOCATING) {
		send_words(channel, KIND_ERROR, asked->id, "unknown kind of frame");
		return;
	}
	found = decode(asked->body, asked->size, &desk->played);
	if (found.why == BAD_LENGTH)
		send_words(channel, KIND_ERROR, asked->id, "not a header and whole records");
	else if (found.why != PLAYABLE)
		send_frame(channel, KIND_UNSUPPORTED, asked->id, &found, sizeof(found));
	else
		play(channel, asked->id, &desk->played, (enum kind)asked->kind);
}

int main(int count, char *words[])
{
	static uint8_t host[4096];
	const struct channel channel =
		getpid() == 1 ? init_box() : (struct channel){ STDIN_FILENO, STDOUT_FILENO };
	enum received received;
	struct desk *desk = worker_prepare();
	size_t size;

	size = describe_host(host, sizeof(host));
	if (count > 1 && !strcmp(words[1], TELL_FUNCTIONS))
		size += describe_symbols(host + size, sizeof(host) - size);
	send_frame(&channel, KIND_HELLO, 0, host, size);
	while ((received = receive(&channel, &desk->asked)) != NO_MORE) {
		if (received == FRAME)
			answer(&channel, desk);
	}
	return 0;
}
