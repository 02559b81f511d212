/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VMM's memory objects and guest_memfds. Each call returns 0 or an errno, as emu/vmm.py does. */
#ifndef GFF_MEMORY_H
#define GFF_MEMORY_H

#include "vm.h"

#define HUGE_SIZE (UINT64_C(1) << 21)

uint64_t user_address(uint32_t object, uint64_t offset);
uint64_t clipped(uint64_t offset, uint64_t size);            /* 0 past the object's addresses */
uint64_t unit_at(const struct vm *vm, uint64_t address);     /* bytes of a page of that object */

int create_mem(struct vm *vm, uint32_t index, uint64_t size, uint8_t kind);
int unmap(uint32_t index, uint64_t offset, uint64_t size);
int protect(const struct vm *vm, uint32_t index, uint64_t offset, uint64_t size, uint8_t how);
int truncate_mem(const struct vm *vm, uint32_t index, uint64_t size);
int poison_mem(uint32_t index, uint64_t offset);

int create_gmem(struct vm *vm, uint32_t index, uint64_t size, uint64_t flags);
int change_gmem(const struct vm *vm, uint32_t index, uint64_t offset, uint64_t size, int mode);
int release_gmem(struct vm *vm, uint32_t index);
int poison_gmem(const struct vm *vm, uint32_t index, uint64_t offset);

#endif
