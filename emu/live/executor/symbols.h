/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the kernel's functions are that errors can be forced on. */
#ifndef GFF_SYMBOLS_H
#define GFF_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

#include "tables.h"

/* Words "at-NAME=ADDRESS", a line each, for the functions that there are; their size. */
size_t describe_symbols(uint8_t *into, size_t room);

struct code {
	uint64_t start, end; /* 0 where there is no such function of its own */
};

void symbols_of_sites(struct code sites[SITES]);

#endif
