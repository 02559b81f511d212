/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef GFF_STEPS_H
#define GFF_STEPS_H

#include "vm.h"

/* Does a step that is not KVM_RUN; 0, or the errno with which it was refused. */
int do_step(struct vm *vm, uint32_t index);

#endif
