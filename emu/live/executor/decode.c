/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From bytes to a case. Unlike emu.wire.decode this reduces nothing: what has no meaning here may
 * have one in a newer case language, so the case is refused.
 */
#include <string.h>

#include "case.h"
#include "layout.h"

/* The largest value of each byte, and which of the other fields an operation has. */
struct shape {
	uint8_t known, a, b, c;
	uint8_t word, x, y, z;
};

#define INDEX (OBJECTS - 1)
#define RUN_FLAGS (RUN_IMMEDIATE_EXIT | RUN_BAD_ARGUMENT | RUN_OTHER_MM | RUN_SIGNAL)

static const struct shape shapes[256] = {
	[OP_RUN] = { 1, 0, 0, 0, 1, 0, 0, 0 },
	[OP_GUEST] = { 1, 0xff, 1, 0, 1, 1, 0, 0 },
	[OP_MEMSLOT] = { 1, 0xff, 0xff, 0xff, 1, 1, 1, 1 },
	[OP_CREATE_GMEM] = { 1, INDEX, 0, 0, 0, 1, 1, 0 },
	[OP_CREATE_MEM] = { 1, INDEX, MEM_DEVICE, 0, 0, 1, 0, 0 },
	[OP_PUNCH] = { 1, INDEX, 0, 0, 0, 1, 1, 0 },
	[OP_ALLOCATE] = { 1, INDEX, 0, 0, 0, 1, 1, 0 },
	[OP_RELEASE] = { 1, INDEX, 0, 0, 0, 0, 0, 0 },
	[OP_POISON_GMEM] = { 1, INDEX, 0, 0, 0, 1, 0, 0 },
	[OP_POISON_MEM] = { 1, INDEX, 0, 0, 0, 1, 0, 0 },
	[OP_MUNMAP] = { 1, INDEX, 0, 0, 0, 1, 1, 0 },
	[OP_MPROTECT] = { 1, INDEX, PROTECTION_READ_WRITE, 0, 0, 1, 1, 0 },
	[OP_TRUNCATE] = { 1, INDEX, 0, 0, 0, 1, 0, 0 },
	[OP_MEMORY_LIMIT] = { 1, 1, 0, 0, 0, 0, 0, 0 },
	[OP_IOEVENTFD] = { 1, 3, 0, 0, 0, 1, 0, 0 },
	[OP_L1_MAP] = { 1, 7 | L1_BLOCK | L1_OLD, 1, 0, 1, 1, 1, 0 },
	[OP_L1_TABLE] = { 1, 2, 1, 0, 1, 1, 0, 0 },
	[OP_L1_VTCR] = { 1, L1_LEGAL | L1_HARDWARE_AF, 0, 0, 0, 0, 0, 0 },
	[OP_GUEST_L2] = { 1, 0xff, 0, 0, 0, 1, 0, 0 },
	[OP_FAIL] = { 1, SITES - 1, ERRNOS - 1, 0xfe, 0, 0, 0, 0 },
	[OP_SKIP] = { 1, 0, 0, 0, 0, 0, 0, 0 },
	[OP_USERFAULT] = { 1, INDEX, USERFAULT_OFF, 0, 0, 1, 1, 0 },
	[OP_DIRTY_LOG] = { 1, 0, 0, 0, 1, 0, 0, 0 },
	[OP_MMIO_DATA] = { 1, 0, 0, 0, 0, 1, 0, 0 },
	[OP_MEMLOCK_LIMIT] = { 1, 1, 0, 0, 0, 0, 0, 0 },
	[OP_VCPU] = { 1, VCPUS - 1, 0, 0, 0, 0, 0, 0 },
};

static struct objection objection(enum why why, uint32_t step, uint32_t value)
{
	return (struct objection){ (uint32_t)why, step, value };
}

static bool fits(const struct record *step, const struct shape *shape)
{
	return step->a <= shape->a && step->b <= shape->b && step->c <= shape->c &&
	       (shape->word || !step->word) && (shape->x || !step->x) && (shape->y || !step->y) &&
	       (shape->z || !step->z);
}

static bool is_access(uint8_t op)
{
	return op == OP_GUEST || op == OP_GUEST_L2;
}

static struct objection check_step(const struct record *step, uint32_t index)
{
	const struct shape *shape = &shapes[step->op];

	if (!shape->known)
		return objection(NEW_OP, index, step->op);
	if (!fits(step, shape))
		return objection(NEW_FIELD, index, step->op);
	if (step->op == OP_RUN && (step->word & ~(uint32_t)RUN_FLAGS))
		return objection(NEW_RUN_FLAG, index, step->word & ~(uint32_t)RUN_FLAGS);
	if (is_access(step->op) && (step->a >= ACCESSES || !accesses[step->a].played))
		return objection(NEW_ACCESS, index, step->a);
	return objection(PLAYABLE, index, 0);
}

static struct objection check_header(const uint8_t *data, struct guest_case *into)
{
	const uint8_t vm_flags = VM_NISV | VM_SEA | VM_COLD | VM_NESTED;
	uint32_t all;

	memcpy(&all, data, sizeof(all));
	if (data[0] != PROTOCOL_VERSION)
		return objection(BAD_VERSION, into->count, data[0]);
	into->flags = data[2];
	into->vcpu = data[3];
	if (into->flags & ~vm_flags)
		return objection(NEW_VM, into->count, all);
	if (into->vcpu != VCPU_READY && into->vcpu != VCPU_UNINITIALIZED &&
	    into->vcpu != VCPU_UNFINALIZED)
		return objection(NEW_VM, into->count, all);
	for (size_t i = 0; i < sizeof(vm_sizes) / sizeof(*vm_sizes); i++) {
		if (vm_sizes[i].code == data[1]) {
			into->ipa_bits = vm_sizes[i].ipa_bits;
			into->page_size = vm_sizes[i].page_size;
			return objection(PLAYABLE, 0, 0);
		}
	}
	return objection(NEW_VM, into->count, all);
}

struct objection decode(const uint8_t *data, size_t size, struct guest_case *into)
{
	uint32_t guests = 0;
	struct objection found;

	memset(into, 0, sizeof(*into));
	if (size < PROTOCOL_HEADER || (size - PROTOCOL_HEADER) % PROTOCOL_RECORD ||
	    (size - PROTOCOL_HEADER) / PROTOCOL_RECORD > MAX_STEPS)
		return objection(BAD_LENGTH, 0, (uint32_t)size);
	into->count = (uint32_t)((size - PROTOCOL_HEADER) / PROTOCOL_RECORD);
	found = check_header(data, into);
	if (found.why != PLAYABLE)
		return found;
	_Static_assert(sizeof(struct record) == PROTOCOL_RECORD, "a record has no padding");
	memcpy(into->steps, data + PROTOCOL_HEADER, size - PROTOCOL_HEADER);
	for (uint32_t i = 0; i < into->count; i++) {
		found = check_step(&into->steps[i], i);
		if (found.why != PLAYABLE)
			return found;
		guests += is_access(into->steps[i].op);
	}
	return guests > ENTRIES ? objection(TOO_MANY, into->count, guests)
				: objection(PLAYABLE, 0, 0);
}

struct span touched(uint8_t access, uint64_t address)
{
	const struct access *facts = &accesses[access];
	unsigned __int128 first = address & ~((uint64_t)facts->block - 1);

	return (struct span){ first, first + (facts->width ? facts->width : 1U) - 1 };
}
