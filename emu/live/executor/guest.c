/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guest.h"
#include "access_flag.h"
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
#define ASID_SHIFT 48
#define EC_SME 0x1d

/* HCR_EL2 for L2: VM, RW, E2H; with NV and NV2 where L2 is to have EL2 itself. */
#define HCR_L2 (UINT64_C(1) << 34 | UINT64_C(1) << 31 | 1)
#define HCR_L2_NV2 (HCR_L2 | UINT64_C(1) << 45 | UINT64_C(1) << 42)

#define TTBR1_EL1 ARM64_SYS_REG(3, 0, 2, 0, 1)
#define ESR_EL1 ARM64_SYS_REG(3, 0, 5, 2, 0)
#define SCTLR_EL1 ARM64_SYS_REG(3, 0, 1, 0, 0)
#define SCTLR_EL2 ARM64_SYS_REG(3, 4, 1, 0, 0)
#define TTBR1_EL2 ARM64_SYS_REG(3, 4, 2, 0, 1)
#define ESR_EL2 ARM64_SYS_REG(3, 4, 5, 2, 0)
#define TPIDR_EL1 ARM64_SYS_REG(3, 0, 13, 0, 4)

struct entry {
	uint64_t pc, x1;
	uint64_t ttbr1; /* VNCR_EL2 where L1 enters L2 for it */
	uint64_t hcr;   /* HCR_EL2 for that, or 0 */
};

struct note {
	uint32_t entry, esr;
	uint64_t elr;
};

struct data {
	volatile uint64_t taken, queued, at, notes;
	uint64_t unused[4];
	struct {
		struct entry entry;
		volatile struct note note;
	} record[ENTRIES];
};

static uint64_t data_page(const struct vm *vm)
{
	return DATA_PAGE + (uint64_t)vm_index(vm) * VCPU_STRIDE;
}

static struct data *data(const struct vm *vm)
{
	_Static_assert(offsetof(struct data, record[0].note) == DATA_NOTE, "as the guest has it");
	_Static_assert(offsetof(struct data, record[1].entry) == DATA_ENTRY + DATA_RECORD, "the same");
	_Static_assert(sizeof(struct data) <= VCPU_STRIDE, "it has room");
	return (struct data *)(void *)(harness_memory + data_page(vm));
}

static struct entry *entry_at(const struct vm *vm, uint64_t number)
{
	return &data(vm)->record[number].entry;
}

void guest_reset(const struct vm *vm)
{
	data(vm)->taken = data(vm)->queued = data(vm)->notes = 0;
	data(vm)->at = NO_ENTRY;
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
	set_register(vm, TPIDR_EL1, HARNESS_BASE + data_page(vm));
	set_pc(vm, image_bell());
}

void guest_touch_queues(const struct vm *vm)
{
	set_register(vm, vm->nested ? SCTLR_EL2 : SCTLR_EL1, SCTLR_MMU_ON & ~1U);
	set_register(vm, x_register(0), HARNESS_BASE + DATA_PAGE);
	set_register(vm, x_register(1), HARNESS_BASE + FORERUNNER_PAGE);
	set_pc(vm, HARNESS_BASE + FORERUNNER_PAGE);
}

/* THE QUEUE */

static bool is_walk(uint8_t access)
{
	return access == ACCESS_WALK || access == ACCESS_AT_WALK;
}

static uint64_t code_of(const struct pending *pending)
{
	switch (pending->owner) {
	case OWNER_L2:
		return image_code_l2(pending->access);
	case OWNER_VNCR:
		return image_code_vncr(pending->access == ACCESS_VNCR_WRITE);
	default:
		return image_code(pending->access);
	}
}

/* ``asid``: makes its TTBR1_EL1 another than the one before, so that the guest empties its TLB. */
static struct entry entry_for(const struct pending *pending, uint64_t asid)
{
	const uint64_t address = pending->address;
	struct entry entry = { .pc = code_of(pending), .ttbr1 = STAGE1_TTBR1 };

	if (pending->owner == OWNER_VNCR) {
		entry.ttbr1 = address & ~(uint64_t)(PAGE - 1);
		entry.hcr = HCR_L2_NV2;
	} else if (pending->access == ACCESS_WALK_AF) {
		entry.ttbr1 = (address & ~(uint64_t)(PAGE - 1)) | asid << ASID_SHIFT;
		entry.x1 = STAGE1_UPPER_HALF | (address & (PAGE - 1)) >> 3 << GIB_SHIFT |
			   WALKED_OFFSET;
	} else if (is_walk(pending->access)) {
		entry.ttbr1 = address & ~(uint64_t)(PAGE - 1);
		entry.x1 = STAGE1_UPPER_HALF | (address & (PAGE - 1)) >> 3 << 30;
	} else {
		entry.x1 = address - accesses[pending->access].bias;
		entry.hcr = pending->owner == OWNER_L2 ? HCR_L2 : 0;
	}
	return entry;
}

void guest_add(struct vm *vm, const struct pending *pending)
{
	vm->now->program[vm->now->queued] = *pending;
	*entry_at(vm, vm->now->queued) = entry_for(pending, vm->now->queued + 1);
	vm->l2_ran |= pending->owner != OWNER_L1;
	data(vm)->queued = ++vm->now->queued;
}

void guest_touch(struct vm *vm, uint64_t address)
{
	guest_add(vm, &(struct pending){ 0, ACCESS_READ8, OWNER_L1, address });
	if (vm->nested && vm->warms_l2)
		guest_add(vm, &(struct pending){ 0, ACCESS_READ8, OWNER_L2, address });
}

void guest_begin(const struct vm *vm)
{
	set_pc(vm, image_next());
}

void guest_forget(struct vm *vm)
{
	vm->now->queued = 0;
	vm->l2_ran = false;
	guest_reset(vm);
}

/* What L1 calls TTBR1_EL1, as its E2H is set. */
static uint64_t ttbr1_id(const struct vm *vm)
{
	return vm->nested ? TTBR1_EL2 : TTBR1_EL1;
}

/* Before the first access they are zero: by the reset, or by the resident code at the bell. */
static void start_access(const struct vm *vm, const struct entry *entry, bool first)
{
	for (uint32_t i = 0; i < (first ? 2 : 31); i++)
		set_register(vm, x_register(i), i == 1 ? entry->x1 : i == 28 ? DOORBELL : 0);
	set_register(vm, ttbr1_id(vm), entry->ttbr1);
	set_pc(vm, entry->pc);
}

bool guest_leave_bell(const struct vm *vm)
{
	const uint64_t next = data(vm)->taken, at = pc(vm);
	const struct entry *entry = entry_at(vm, next);

	if (next == vm->now->queued || (at != image_bell() && at != image_next()))
		return false;
	if (entry->hcr) { /* only L1 can enter L2; a cold guest is not to ring the bell before */
		set_pc(vm, image_next());
		return false;
	}
	if (at == image_next() && get_register(vm, ttbr1_id(vm)) != entry->ttbr1)
		return false; /* the TLB is the guest's to invalidate */
	data(vm)->at = next;
	data(vm)->taken = next + 1;
	start_access(vm, entry, next == 0);
	return true;
}

void guest_return_to_bell(const struct vm *vm)
{
	data(vm)->at = NO_ENTRY;
	data(vm)->taken = data(vm)->taken - 1;
	set_pc(vm, image_bell());
}

/* WHERE THE GUEST STANDS */

static bool stands(const struct pending *pending, uint64_t at)
{
	const uint64_t code = code_of(pending);

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

		if (ask(vm->now->fd, KVM_GET_ONE_REG, &reg))
			vm_failed(vm, "KVM_GET_ONE_REG of a vector");
		if (value)
			return true;
	}
	return false;
}

static bool changed(const struct vm *vm, uint64_t entry)
{
	const uint8_t access = vm->now->program[entry].access;

	for (uint32_t i = 0; i < 31; i++) {
		uint64_t expected = i == 1 ? entry_at(vm, entry)->x1 : i == 28 ? DOORBELL : 0;

		if (get_register(vm, x_register(i)) != expected)
			return true;
	}
	return get_register(vm, CORE_REGISTER(sp_el1)) ||
	       (get_register(vm, CORE_REGISTER(regs.pstate)) & NZCV) ||
	       (accesses[access].played == VECTOR && vectors_changed(vm));
}

struct standing guest_standing(const struct vm *vm)
{
	const uint64_t entry = data(vm)->at;
	struct standing standing = { .place = PLACE_IDLE, .step = IDLE };
	uint64_t at;

	if (!vm->now->ready)
		return standing;
	at = pc(vm);
	if (entry == NO_ENTRY) {
		if (vm->now->entered && at == image_next() &&
		    data(vm)->taken < vm->now->queued) {
			standing.place = PLACE_NEXT;
			standing.step = (int32_t)vm->now->program[data(vm)->taken].step;
		}
		return standing;
	}
	if (in_code(at, VECTORS, PAGE) || in_code(at, L2_PAGE, L2_PAGE + ACCESS_CODE_L2)) {
		standing.place = PLACE_HANDLER;
		standing.moved = true;
	} else if (stands(&vm->now->program[entry], at) || in_code(at, ACCESS_CODE, VECTORS) ||
		   in_code(at, L2_PAGE + ACCESS_CODE_L2, LEVEL1_PAGES)) {
		standing.place = PLACE_ACCESS;
		standing.moved = !stands(&vm->now->program[entry], at);
		standing.changed = changed(vm, entry);
	} else {
		return standing; /* between two accesses */
	}
	standing.step = (int32_t)vm->now->program[entry].step;
	return standing;
}

uint32_t guest_due(const struct vm *vm)
{
	const enum place place = guest_standing(vm).place;
	const bool done = place == PLACE_IDLE || place == PLACE_NEXT;

	return (uint32_t)(done ? data(vm)->taken : data(vm)->at);
}

/* Where the guest goes on; from L2 it has to go back to L1 first. */
static uint64_t after(const struct pending *pending)
{
	switch (pending->owner) {
	case OWNER_L2:
		return code_of(pending) + accesses[pending->access].words * 4U;
	case OWNER_VNCR:
		return code_of(pending) + 4;
	default:
		return image_next();
	}
}

void guest_skip(struct vm *vm)
{
	const enum place place = guest_standing(vm).place;
	uint64_t next;

	if (vm->now->completing)
		return;
	if (place == PLACE_NEXT)
		data(vm)->taken++;
	if (place == PLACE_NEXT || place == PLACE_ACCESS)
		vm->now->entered = false;
	if (place != PLACE_ACCESS)
		return;
	next = after(&vm->now->program[data(vm)->at]);
	data(vm)->at = NO_ENTRY;
	set_pc(vm, next);
}

/* EXCEPTIONS */

/*
 * A fetch or a walk that succeeds finds zeros, and so ends in an exception. A fetch may find a
 * descriptor of access_flag.c, which is no instruction, or one of SME; a walk that was to find one may
 * find zeros.
 */
static bool ends_so(const struct vm *vm, const struct pending *pending, uint32_t esr, uint64_t elr)
{
	const bool found_zeros = EC(esr) == EC_DATA_ABORT && STATUS(esr) == TRANSLATION_LEVEL1;

	if (pending->access == ACCESS_FETCH)
		return (EC(esr) == EC_UNKNOWN || EC(esr) == EC_SME) && elr == pending->address;
	if (pending->access == ACCESS_WALK_AF && found_zeros)
		report_objection(vm->report, ACCESS_FLAG, 0);
	return pending->access == ACCESS_WALK && found_zeros;
}

static uint32_t add_exception(const struct vm *vm, uint64_t entry, uint32_t esr, uint64_t elr,
			      struct exception *into)
{
	if (entry >= vm->now->queued) { /* nobody's: an SError while the guest was idle */
		*into = (struct exception){ (uint32_t)IDLE, esr };
		return 1;
	}
	if (ends_so(vm, &vm->now->program[entry], esr, elr))
		return 0;
	*into = (struct exception){ vm->now->program[entry].step, esr };
	return 1;
}

uint32_t guest_exceptions(struct vm *vm, const struct standing *standing, struct exception *into)
{
	uint32_t count = 0;
	const bool told = vm->now->noted && !data(vm)->notes; /* its handler did not run since */

	for (uint64_t i = vm->now->noted; i < data(vm)->notes; i++) {
		const volatile struct note *note = &data(vm)->record[i].note;

		count += add_exception(vm, note->entry, note->esr, note->elr, into + count);
	}
	vm->now->noted = told;
	data(vm)->notes = 0;
	if (standing->place == PLACE_HANDLER && !told) { /* the guest's own note comes later */
		const bool by_l1 = vm->nested && pc(vm) < HARNESS_BASE + PAGE;
		uint32_t esr = (uint32_t)get_register(vm, by_l1 ? ESR_EL2 : ESR_EL1);

		count += add_exception(vm, data(vm)->at, esr, 0, into + count);
		vm->now->noted = 1;
	}
	return count;
}
