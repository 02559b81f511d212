/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An interrupt controller. KVM wants one where the guest has EL2, and nobody uses it. */
#ifndef GFF_GIC_H
#define GFF_GIC_H

#include "vm.h"

void gic_make(const struct vm *vm); /* once its vCPUs are there */

#endif
