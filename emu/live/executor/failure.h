/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors forced by the kernel itself: Documentation/fault-injection/fault-injection.rst. */
#ifndef GFF_FAILURE_H
#define GFF_FAILURE_H

#include <stdbool.h>
#include <stddef.h>

#include "vm.h"

/* Words "fail-NAME=1", a line each, for the sites that the kernel lets fail; their size. */
size_t describe_failures(char *into, size_t room);

bool failure_begin(const struct vm *vm); /* whether the kernel can */
void failure_set(const struct vm *vm, const struct record *step);
uint32_t failure_fired(const struct vm *vm); /* so far */
uint32_t failure_fired_at(const struct vm *vm, uint32_t site);
void failure_forget(void);

#endif
