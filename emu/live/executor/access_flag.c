/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "access_flag.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "guest.h"

/* A block of 1 GiB that has the harness, inner shareable, normal memory, not young. */
#define DESCRIPTOR ((HARNESS_BASE & ~((UINT64_C(1) << GIB_SHIFT) - 1)) | 3U << 8 | 1)

static int memory = -1; /* by which even what the VMM may only read can be written */
static uint64_t places[ENTRIES];
static uint32_t count;

void access_flag_prepare(const struct vm *vm)
{
	memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (memory < 0)
		vm_failed(vm, "/proc/self/mem");
}

/* The VMM's address of guest memory, or 0. */
static uint64_t user_of(const struct vm *vm, uint64_t gpa)
{
	for (uint32_t i = 0; i < vm->named; i++) {
		const struct base *base = &vm->bases[i];

		if (base->user && gpa >= base->first && gpa - base->first < base->size)
			return base->user + (gpa - base->first);
	}
	return 0;
}

static void write_descriptor(const struct vm *vm, uint64_t user)
{
	const uint64_t descriptor = DESCRIPTOR, page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t there = 0;
	unsigned char present = 0;

	if (mincore((void *)(uintptr_t)(user & -page), page, &present) || !(present & 1))
		return; /* it is not to come earlier than by the guest's access */
	if (pwrite(memory, &descriptor, sizeof(descriptor), (off_t)user) == sizeof(descriptor))
		return;
	/* One whose flag is set already must not be taken for this. */
	if (pread(memory, &there, sizeof(there), (off_t)user) == sizeof(there) && there)
		report_objection(vm->report, ACCESS_FLAG, 0);
}

void access_flag_place(const struct vm *vm)
{
	count = 0;
	for (uint32_t i = guest_due(vm); i < vm->now->queued; i++) {
		const struct pending *pending = &vm->now->program[i];
		uint64_t user;

		if (pending->access != ACCESS_WALK_AF)
			continue;
		user = user_of(vm, pending->address & ~UINT64_C(7));
		if (!user)
			continue;
		places[count++] = user;
		write_descriptor(vm, user);
	}
}

bool access_flag_fill(uint64_t start, uint64_t size, uint8_t *page)
{
	const uint64_t descriptor = DESCRIPTOR;
	bool filled = false;

	memset(page, 0, size);
	for (uint32_t i = 0; i < count; i++) {
		if (places[i] < start || places[i] >= start + size)
			continue;
		memcpy(page + (places[i] - start), &descriptor, sizeof(descriptor));
		filled = true;
	}
	return filled;
}
