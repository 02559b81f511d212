/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The descriptors in which the CPU sets the access flag. They lie in memory of the case, which is
 * all zero: the VMM writes them before a KVM_RUN where their page is there, and userfaultfd's handler
 * with the page. How a walk ends tells whether it found one: guest.c.
 */
#ifndef GFF_ACCESS_FLAG_H
#define GFF_ACCESS_FLAG_H

#include "vm.h"

#define TCR_HA (UINT64_C(1) << 39) /* hardware sets access flags */
#define GIB_SHIFT 30
#define WALKED_OFFSET (HARNESS_BASE & ((UINT64_C(1) << GIB_SHIFT) - 1)) /* what it translates */

void access_flag_prepare(const struct vm *vm);
void access_flag_place(const struct vm *vm); /* those of the accesses that are not done */

/* What a page of the VMM's is to hold; whether that is more than zeros. */
bool access_flag_fill(uint64_t start, uint64_t size, uint8_t *page);

#endif
