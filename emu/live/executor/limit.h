/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memory.max of a cgroup that the case has for itself. */
#ifndef GFF_LIMIT_H
#define GFF_LIMIT_H

#include "vm.h"

void limit_prepare(const struct vm *vm); /* before the VM's memory is there */
int limit_set(const struct vm *vm, bool on);
int limit_lock(bool on); /* RLIMIT_MEMLOCK, which only a protected VM's pages count for */
void limit_forget(void); /* by the supervisor, once the worker is gone */

#endif
