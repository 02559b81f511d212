/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guest.h"
#include "image.h"

#include <string.h>

#define PAGE 0x1000

#define EC(esr) ((esr) >> 26)
#define EC_UNKNOWN 0x00
#define EC_DATA_ABORT 0x25
#define STATUS(esr) ((esr) & 0x3f)
#define TRANSLATION_LEVEL1 0x05
#define NZCV 0xf0000000U
#define VECTOR 2

struct entry {
	uint64_t pc, x1, ttbr1, zero;
};

struct note {
	uint32_t entry, esr;
	uint64_t elr;
};

struct data {
	volatile uint64_t taken, queued, at, notes;
	uint64_t zero[4];
	volatile struct note note[NOTES];
};

static struct data *data(void)
{
	_Static_assert(offsetof(struct data, note) == DATA_NOTE, "as the guest has it");
	return (struct data *)(void *)(harness_memory + DATA_PAGE);
}

static struct entry *entries(void)
{
	return (struct entry *)(void *)(harness_memory + ENTRY_PAGES);
}

void guest_reset(void)
{
	memset(data(), 0, sizeof(struct data));
	data()->at = NO_ENTRY;
}

/* REGISTERS */

static uint64_t x_register(uint32_t number)
{
	return CORE_REGISTER(regs.regs[0]) + 2 * number;
}

static uint64_t pc(const struct vm *vm)
{
	return get_register(vm, CORE_REGISTER(regs.pc));
}

static void set_pc(const struct vm *vm, uint64_t value)
{
	set_register(vm, CORE_REGISTER(regs.pc), value);
}

void guest_start(const struct vm *vm)
{
	set_register(vm, x_register(28), DOORBELL);
	set_pc(vm, image_bell());
}

/* THE QUEUE */

static bool is_walk(uint8_t access)
{
	return access == ACCESS_WALK || access == ACCESS_AT_WALK;
}

static struct entry entry_for(uint8_t access, uint64_t address)
{
	struct entry entry = { .pc = image_code(access), .ttbr1 = STAGE1_TTBR1 };

	if (is_walk(access)) {
		entry.ttbr1 = address & ~(uint64_t)(PAGE - 1);
		entry.x1 = STAGE1_UPPER_HALF | (address & (PAGE - 1)) >> 3 << 30;
	} else {
		entry.x1 = address - accesses[access].bias;
	}
	return entry;
}

void guest_add(struct vm *vm, uint32_t step, uint8_t access, uint64_t address)
{
	vm->program[vm->queued] = (struct pending){ step, access, address };
	entries()[vm->queued] = entry_for(access, address);
	data()->queued = ++vm->queued;
}

void guest_touch(struct vm *vm, uint64_t address)
{
	guest_add(vm, 0, ACCESS_READ8, address);
}

void guest_forget(struct vm *vm)
{
	vm->queued = 0;
	guest_reset();
}

void guest_leave_bell(const struct vm *vm)
{
	const uint64_t next = data()->taken;

	if (next == vm->queued || pc(vm) != image_bell())
		return;
	data()->at = next;
	data()->taken = next + 1;
	set_register(vm, x_register(1), entries()[next].x1);
	set_register(vm, ARM64_SYS_REG(3, 0, 2, 0, 1), entries()[next].ttbr1);
	set_pc(vm, entries()[next].pc);
}

/* WHERE THE GUEST STANDS */

static bool stands(const struct pending *pending, uint64_t at)
{
	const uint64_t code = image_code(pending->access);

	if (pending->access == ACCESS_FETCH && at == pending->address)
		return true;
	/* A store-exclusive loops: its guest may stand before any of the first three. */
	return at == code ||
	       (pending->access == ACCESS_WRITE_EXCLUSIVE && (at == code + 4 || at == code + 8));
}

static bool in_code(uint64_t at, uint64_t from, uint64_t to)
{
	return at >= HARNESS_BASE + from && at < HARNESS_BASE + to;
}

static bool vectors_changed(const struct vm *vm)
{
	for (uint32_t i = 0; i < 32; i++) {
		unsigned __int128 value = 0;
		struct kvm_one_reg reg = {
			.id = KVM_REG_ARM64 | KVM_REG_SIZE_U128 | KVM_REG_ARM_CORE |
			      (KVM_REG_ARM_CORE_REG(fp_regs.vregs[0]) + 4 * i),
			.addr = (uintptr_t)&value,
		};

		if (ask(vm->vcpu, KVM_GET_ONE_REG, &reg))
			vm_failed(vm, "KVM_GET_ONE_REG of a vector");
		if (value)
			return true;
	}
	return false;
}

static bool changed(const struct vm *vm, uint64_t entry)
{
	const uint8_t access = vm->program[entry].access;

	for (uint32_t i = 0; i < 31; i++) {
		uint64_t expected = i == 1 ? entries()[entry].x1 : i == 28 ? DOORBELL : 0;

		if (get_register(vm, x_register(i)) != expected)
			return true;
	}
	return get_register(vm, CORE_REGISTER(sp_el1)) ||
	       (get_register(vm, CORE_REGISTER(regs.pstate)) & NZCV) ||
	       (accesses[access].played == VECTOR && vectors_changed(vm));
}

struct standing guest_standing(const struct vm *vm)
{
	const uint64_t entry = data()->at;
	struct standing standing = { .place = PLACE_IDLE, .step = IDLE };
	uint64_t at;

	if (!vm->ready || entry == NO_ENTRY)
		return standing;
	at = pc(vm);
	if (in_code(at, VECTORS, PAGE)) {
		standing.place = PLACE_HANDLER;
		standing.moved = true;
	} else if (stands(&vm->program[entry], at) || in_code(at, ACCESS_CODE, VECTORS)) {
		standing.place = PLACE_ACCESS;
		standing.moved = !stands(&vm->program[entry], at);
		standing.changed = changed(vm, entry);
	} else {
		return standing; /* between two accesses */
	}
	standing.step = (int32_t)vm->program[entry].step;
	return standing;
}

void guest_skip(struct vm *vm)
{
	if (vm->completing || guest_standing(vm).place != PLACE_ACCESS)
		return;
	data()->at = NO_ENTRY;
	set_pc(vm, image_next());
}

/* EXCEPTIONS */

/* A fetch or a walk that succeeds finds zeros, and so ends in an exception. */
static bool ends_so(const struct pending *pending, uint32_t esr, uint64_t elr)
{
	if (pending->access == ACCESS_FETCH)
		return EC(esr) == EC_UNKNOWN && elr == pending->address;
	return pending->access == ACCESS_WALK && EC(esr) == EC_DATA_ABORT &&
	       STATUS(esr) == TRANSLATION_LEVEL1;
}

static uint32_t add_exception(const struct vm *vm, uint64_t entry, uint32_t esr, uint64_t elr,
			      struct exception *into)
{
	if (entry >= vm->queued) { /* nobody's: an SError while the guest was idle */
		*into = (struct exception){ (uint32_t)IDLE, esr };
		return 1;
	}
	if (ends_so(&vm->program[entry], esr, elr))
		return 0;
	*into = (struct exception){ vm->program[entry].step, esr };
	return 1;
}

uint32_t guest_exceptions(struct vm *vm, const struct standing *standing, struct exception *into)
{
	uint32_t count = 0;
	const bool told = vm->noted && !data()->notes; /* its handler did not run since */

	for (uint64_t i = vm->noted; i < data()->notes; i++) {
		const volatile struct note *note = &data()->note[i];

		count += add_exception(vm, note->entry, note->esr, note->elr, into + count);
	}
	vm->noted = told;
	data()->notes = 0;
	if (standing->place == PLACE_HANDLER && !told) { /* the guest's own note comes later */
		uint32_t esr = (uint32_t)get_register(vm, ARM64_SYS_REG(3, 0, 5, 2, 0));

		count += add_exception(vm, data()->at, esr, 0, into + count);
		vm->noted = 1;
	}
	return count;
}
