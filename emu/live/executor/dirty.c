/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dirty.h"

#include <errno.h>
#include <string.h>

#define LONGEST 65536 /* pages of a slot */

/* Here from the start: under a memory limit there would be no room for them. */
static uint64_t bitmap[LONGEST / 64];
static uint32_t numbers[LOG_PAGES];

static uint64_t pages_of(const struct vm *vm, uint32_t slot)
{
	for (uint32_t i = 0; i < vm->named; i++) {
		if (vm->bases[i].slot == slot)
			return vm->bases[i].size / vm->played->page_size;
	}
	return 0;
}

static uint32_t count_dirty(const struct vm *vm, uint64_t pages)
{
	uint32_t count = 0;

	for (uint32_t page = 0; page < pages; page++) {
		if (!(bitmap[page / 64] >> page % 64 & 1))
			continue;
		if (count == LOG_PAGES)
			report_objection(vm->report, LOG_LONG, LOG_PAGES);
		numbers[count++] = page;
	}
	return count;
}

int read_dirty_log(const struct vm *vm, uint32_t index, uint32_t slot)
{
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bitmap };
	const uint64_t pages = pages_of(vm, slot);

	if (pages > LONGEST)
		report_objection(vm->report, LOG_LONG, LONGEST);
	memset(bitmap, 0, sizeof(bitmap));
	if (ask(vm->fd, KVM_GET_DIRTY_LOG, &log))
		return errno;
	report_log(vm->report, index, numbers, count_dirty(vm, pages));
	return 0;
}
