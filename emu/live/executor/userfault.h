/* SPDX-License-Identifier: GPL-2.0-or-later */
/* userfaultfd: ranges that are watched, and the VMM's thread that answers. emu/kvm/userfault.py. */
#ifndef GFF_USERFAULT_H
#define GFF_USERFAULT_H

#include "vm.h"

void userfault_prepare(const struct vm *vm);
int userfault(const struct vm *vm, const struct record *step);
uint32_t userfaults_resolved(void); /* so far */

#endif
