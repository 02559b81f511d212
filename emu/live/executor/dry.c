/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In place of worker.c, host.c and init.c: decodes, plays nothing, runs on any host. */
#include <stdio.h>

#include "init.h"
#include "worker.h"

struct desk *worker_prepare(void)
{
	static struct desk desk;

	return &desk;
}

size_t describe_host(uint8_t *into, size_t room)
{
	return (size_t)snprintf((char *)into, room, "kernel=none\npage-size=4096\nzva=64\nkvm=0\n");
}

struct channel init_box(void)
{
	return (struct channel){ 0, 1 };
}

/* Reads every field that a step can have, so that a bad one would be noticed. */
void play(const struct channel *channel, uint32_t id, const struct guest_case *played,
	  enum kind kind)
{
	const uint32_t nothing = 0;
	unsigned __int128 sum = 0;

	for (uint32_t i = 0; i < played->count; i++) {
		if (played->steps[i].op == OP_GUEST)
			sum += touched(played->steps[i].a, played->steps[i].x).last;
	}
	if (kind == KIND_TRACED)
		send_frame(channel, KIND_REACHED, id, &nothing, sizeof(nothing));
	else
		send_frame(channel, KIND_OUTCOMES, id, &sum, 0);
}
