/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors forced by a debugger outside, emu/live/injector.py; where there is none by the kernel:
 * failure.h. allocating: by nothing but allocations, allocation.h.
 */
#ifndef GFF_INJECT_H
#define GFF_INJECT_H

#include "vm.h"

void inject_begin(const struct vm *vm, bool allocating); /* once in a case that injects */
int inject_fail(const struct vm *vm, const struct record *step);
void inject_end(const struct vm *vm);
uint32_t inject_fired(const struct vm *vm); /* so far */
uint32_t inject_fired_at(const struct vm *vm, uint32_t site);
void inject_forget(void); /* by the supervisor, once the worker is gone */

#endif
