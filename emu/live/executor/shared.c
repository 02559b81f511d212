/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "shared.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

void *shared_memory(size_t size, size_t alignment)
{
	uint8_t *room = mmap(NULL, size + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const size_t before = -(uintptr_t)room & (alignment - 1);

	if (room == MAP_FAILED)
		abort();
	if (mmap(room + before, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED,
		 -1, 0) == MAP_FAILED)
		abort();
	/* A fork takes the longer the more mappings there are. */
	if (before)
		munmap(room, before);
	munmap(room + before + size, alignment - before);
	return room + before;
}
