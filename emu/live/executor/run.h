/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One KVM_RUN and what its caller sees. */
#ifndef GFF_RUN_H
#define GFF_RUN_H

#include "vm.h"

void run_prepare(void); /* once for each worker */
void run_warm_up(struct vm *vm);
void run_forerunner(struct vm *vm); /* in a cold VM, instead */
void run_once(struct vm *vm, uint32_t index);

void forget_sigbus(void); /* of a step that is not KVM_RUN */

#endif
