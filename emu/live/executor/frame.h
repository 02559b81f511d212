/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames: a u32 length of what follows, a kind, three bytes of 0, a u32 id, a body. */
#ifndef GFF_FRAME_H
#define GFF_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "tables.h"

#define FRAME_HEAD 8 /* kind, zeros, id: what the length counts besides the body */
#define REQUEST_MAX (1U << 16)
#define REPLY_MAX (1U << 16)

/* enum kind is emu.live.protocol.Kind: KIND_UNSUPPORTED has a struct objection, KIND_FAILED a u32
 * step and words, KIND_ERROR words. */

struct channel {
	int in, out;
};

struct frame {
	uint8_t kind;
	uint32_t id;
	uint32_t size; /* of the body */
	uint8_t body[REQUEST_MAX];
};

enum received { FRAME, BAD_FRAME, NO_MORE };

/* BAD_FRAME: it was said what is wrong, and the next frame may follow. */
enum received receive(const struct channel *channel, struct frame *into);
void send_frame(const struct channel *channel, enum kind kind, uint32_t id, const void *body,
		size_t size);
void send_words(const struct channel *channel, enum kind kind, uint32_t id, const char *words);

#endif
