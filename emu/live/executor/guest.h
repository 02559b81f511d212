/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest seen from its VMM: its memory, its queue of accesses, and where it stands. */
#ifndef GFF_GUEST_H
#define GFF_GUEST_H

#include "vm.h"

#define NO_ENTRY (~UINT64_C(0))
#define IDLE (-1)

/* Where the PC is; PLACE_NEXT: behind an access, with the next one not taken. */
enum place { PLACE_ACCESS, PLACE_HANDLER, PLACE_NEXT, PLACE_IDLE };

struct standing {
	enum place place;
	int32_t step; /* the step whose access the guest is at, or IDLE */
	bool moved, changed;
};

void guest_reset(const struct vm *vm); /* an empty queue */
void guest_start(const struct vm *vm);
void guest_touch_queues(const struct vm *vm); /* for a vCPU that does nothing else */
void guest_touch(struct vm *vm, uint64_t address); /* an access of the harness's own */
void guest_begin(const struct vm *vm); /* the resident code takes them; no access has begun */
void guest_forget(struct vm *vm); /* the harness's own accesses are done */

void guest_add(struct vm *vm, const struct pending *pending);
/* For the next access, if the bell is not rung yet; a cold guest's first code may not be there. */
bool guest_leave_bell(const struct vm *vm); /* whether it did */
void guest_return_to_bell(const struct vm *vm); /* it was not entered after all */
void guest_skip(struct vm *vm);
struct standing guest_standing(const struct vm *vm);

uint32_t guest_due(const struct vm *vm); /* the first entry that is not done */

/* The exceptions since the last call that are not how an access of its kind ends; their count. */
uint32_t guest_exceptions(struct vm *vm, const struct standing *standing, struct exception *into);

#endif
