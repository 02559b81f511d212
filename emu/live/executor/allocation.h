/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocations that fail in one function: Documentation/fault-injection/fault-injection.rst. */
#ifndef GFF_ALLOCATION_H
#define GFF_ALLOCATION_H

#include <stdbool.h>

#include "vm.h"

bool allocation_begin(void); /* whether the kernel can */
void allocation_set(const struct vm *vm, const struct record *step);
void allocation_end(const struct vm *vm); /* of the case */
uint32_t allocation_fired(const struct vm *vm); /* so far */
uint32_t allocation_fired_at(const struct vm *vm, uint32_t site);

#endif
