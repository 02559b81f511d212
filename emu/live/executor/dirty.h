/* SPDX-License-Identifier: GPL-2.0-or-later */
/* KVM_GET_DIRTY_LOG: emu/kvm/dirty_log.py. */
#ifndef GFF_DIRTY_H
#define GFF_DIRTY_H

#include "vm.h"

/* Reports the numbers of the slot's dirty pages; 0, or the errno with which it was refused. */
int read_dirty_log(const struct vm *vm, uint32_t index, uint32_t slot);

#endif
