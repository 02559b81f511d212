/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A process with another mm, forked before the case has memory: a fork would change it. */
#ifndef GFF_STRANGER_H
#define GFF_STRANGER_H

#include "vm.h"

void stranger_start(const struct vm *vm);
int stranger_run(const struct vm *vm, unsigned long argument); /* KVM_RUN by it: errno, or 0 */
void stranger_end(void);

#endif
