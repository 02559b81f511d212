/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A case as it came over the wire, checked: docs/case-format.md, "Bytes". */
#ifndef GFF_CASE_H
#define GFF_CASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tables.h"

struct record {
	uint8_t op, a, b, c;
	uint32_t word;
	uint64_t x, y, z;
};

struct guest_case {
	uint8_t flags; /* VM_* */
	uint8_t vcpu;  /* VCPU_* */
	uint8_t ipa_bits;
	uint32_t page_size;
	uint32_t count;
	struct record steps[MAX_STEPS];
};

/*
 * Why a case cannot be played: emu.live.protocol.Why, which also says what the value is. The step
 * counts from 0, and is the count of steps where it is the VM.
 */
struct objection {
	uint32_t why, step, value;
};

struct objection decode(const uint8_t *data, size_t size, struct guest_case *into);

/* First and last byte that an access touches; wider than an address, so that nothing wraps. */
struct span {
	unsigned __int128 first, last;
};
struct span touched(uint8_t access, uint64_t address);

#endif
