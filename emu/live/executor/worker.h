/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plays one case in a process of its own and sends what came of it. */
#ifndef GFF_WORKER_H
#define GFF_WORKER_H

#include "case.h"
#include "frame.h"

/* What comes in. */
struct desk {
	struct frame asked;
	struct guest_case played;
};

struct desk *worker_prepare(void);
/* The kind of the frame that asks for it, which says how. */
void play(const struct channel *channel, uint32_t id, const struct guest_case *played,
	  enum kind kind);

/* What can be told of the host: struct hello's body; its size. */
size_t describe_host(uint8_t *into, size_t room);

#endif
