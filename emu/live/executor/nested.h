/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest as a hypervisor: what L1 does to the tables of its own guest, L2. emu/l1.py. */
#ifndef GFF_NESTED_H
#define GFF_NESTED_H

#include "vm.h"

void nested_start(struct vm *vm); /* a vCPU's registers, for a guest that has EL2 */

/* Each does a step; 0, or the errno with which it is refused. ``where`` is L1's address. */
int nested_map(struct vm *vm, const struct record *step, uint64_t where);
int nested_table(struct vm *vm, const struct record *step, uint64_t where);
int nested_vtcr(struct vm *vm, const struct record *step);

#endif
