/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the kernel's functions are that errors can be forced on. */
#ifndef GFF_SYMBOLS_H
#define GFF_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

/* Words "at-NAME=ADDRESS", a line each, for the functions that there are; their size. */
size_t describe_symbols(uint8_t *into, size_t room);

#endif
