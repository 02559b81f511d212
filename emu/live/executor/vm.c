/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "access_flag.h"
#include "gic.h"
#include "guest.h"
#include "image.h"
#include "nested.h"
#include "shared.h"

#define SYSTEM_REGISTER(op1, crn, crm, op2) ARM64_SYS_REG(3, op1, crn, crm, op2)
#define PSTATE_EL1H 0x2c5 /* D, I and F are masked, SError is not */
#define KERNEL_SIGSET 8

static const struct {
	uint64_t id, value;
} start[] = {
	{ SYSTEM_REGISTER(0, 2, 0, 0), STAGE1_TTBR0 },
	{ SYSTEM_REGISTER(0, 2, 0, 1), STAGE1_TTBR1 },
	{ SYSTEM_REGISTER(0, 2, 0, 2), STAGE1_TCR },
	{ SYSTEM_REGISTER(0, 10, 2, 0), STAGE1_MAIR },
	{ SYSTEM_REGISTER(0, 12, 0, 0), HARNESS_BASE + VECTORS },
	{ SYSTEM_REGISTER(0, 1, 0, 2), 3 << 20 },   /* CPACR_EL1: vector registers do not trap */
	{ SYSTEM_REGISTER(0, 1, 0, 0), SCTLR_MMU_ON },
};

uint8_t *harness_memory;

void vm_failed(const struct vm *vm, const char *what)
{
	report_failure(vm->report, what, errno);
}

void harness_make(void)
{
	const size_t slot = HARNESS_SIZE / 2;

	/* To guest and VMM alike it could be a block: whether it is, KVM has to look up. */
	harness_memory = shared_memory(slot, slot);
	image_write();
}

uint64_t get_register(const struct vm *vm, uint64_t id)
{
	uint64_t value = 0;
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	if (ask(vm->now->fd, KVM_GET_ONE_REG, &reg))
		vm_failed(vm, "KVM_GET_ONE_REG");
	return value;
}

void set_register(const struct vm *vm, uint64_t id, uint64_t value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	if (ask(vm->now->fd, KVM_SET_ONE_REG, &reg))
		vm_failed(vm, "KVM_SET_ONE_REG");
}

static void need(const struct vm *vm, uint32_t capability)
{
	struct kvm_enable_cap enable = { .cap = capability };

	if (ask(vm->fd, KVM_ENABLE_CAP, &enable))
		report_objection(vm->report, HOST_LACKS, capability);
}

/* What ends a KVM_RUN is let in there and nowhere else: outside it stays pending. */
static void open_signals(const struct vm *vm)
{
	const int wanted[] = { SIGUSR1, SIGALRM, SIGBUS };
	struct { /* struct kvm_signal_mask */
		uint32_t length;
		uint8_t set[KERNEL_SIGSET];
	} mask = { .length = KERNEL_SIGSET };
	uint64_t blocked = ~UINT64_C(0);

	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		blocked &= ~(UINT64_C(1) << (wanted[i] - 1));
	memcpy(mask.set, &blocked, sizeof(blocked));
	if (ask(vm->now->fd, KVM_SET_SIGNAL_MASK, &mask))
		vm_failed(vm, "KVM_SET_SIGNAL_MASK");
}

uint32_t vm_index(const struct vm *vm)
{
	return (uint32_t)(vm->now - vm->vcpus);
}

static void init_vcpu(struct vm *vm)
{
	struct kvm_vcpu_init init;

	if (vm->played->vcpu == VCPU_UNINITIALIZED)
		return;
	memset(&init, 0, sizeof(init));
	if (ask(vm->fd, KVM_ARM_PREFERRED_TARGET, &init))
		vm_failed(vm, "KVM_ARM_PREFERRED_TARGET");
	if (vm->nested)
		init.features[0] |= 1U << KVM_ARM_VCPU_HAS_EL2;
	if (vm->played->vcpu == VCPU_UNFINALIZED) {
		if (ask(vm->kvm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_SVE) <= 0)
			report_objection(vm->report, HOST_SVE, 0);
		init.features[0] |= 1U << KVM_ARM_VCPU_SVE;
	}
	if (ask(vm->now->fd, KVM_ARM_VCPU_INIT, &init))
		vm_failed(vm, "KVM_ARM_VCPU_INIT");
	vm->now->ready = vm->played->vcpu == VCPU_READY;
}

static void set_registers(struct vm *vm)
{
	if (!vm->now->ready)
		return;
	for (size_t i = 0; i < sizeof(start) / sizeof(*start); i++)
		set_register(vm, start[i].id, start[i].value);
	if (vm->sets_flags)
		set_register(vm, SYSTEM_REGISTER(0, 2, 0, 2), STAGE1_TCR | TCR_HA);
	set_register(vm, CORE_REGISTER(regs.pstate), PSTATE_EL1H);
	if (vm->nested)
		nested_start(vm);
	guest_start(vm);
}

static void make_vcpu(struct vm *vm)
{
	const int size = ask(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	vm->now->fd = ask(vm->fd, KVM_CREATE_VCPU, vm_index(vm));
	if (vm->now->fd < 0)
		vm_failed(vm, "KVM_CREATE_VCPU");
	vm->now->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->now->fd, 0);
	if (vm->now->run == MAP_FAILED)
		vm_failed(vm, "mmap of kvm_run");
	vm->now->exits = (uint64_t *)(void *)((uint8_t *)vm->now->run + 32);
	open_signals(vm);
	init_vcpu(vm);
	guest_reset(vm);
	set_registers(vm);
}

/* All at the start: under a memory limit none could be made. */
static void make_vcpus(struct vm *vm)
{
	const struct guest_case *played = vm->played;

	for (uint32_t i = 0; i <= FORERUNNER; i++)
		vm->vcpus[i] = (struct vcpu){ .fd = -1, .program = vm->programs[i] };
	vm->now = &vm->vcpus[0];
	make_vcpu(vm);
	for (uint32_t i = 0; i < played->count; i++) {
		vm->now = &vm->vcpus[played->steps[i].a % VCPUS];
		if (played->steps[i].op == OP_VCPU && vm->now->fd < 0)
			make_vcpu(vm);
	}
	if (played->flags & VM_COLD) {
		vm->now = &vm->vcpus[FORERUNNER];
		make_vcpu(vm);
	}
	vm->now = &vm->vcpus[0];
}

static void add_harness(const struct vm *vm)
{
	struct kvm_userspace_memory_region region = {
		.slot = HARNESS_SLOT,
		.guest_phys_addr = HARNESS_BASE,
		.memory_size = HARNESS_SIZE / 2,
		.userspace_addr = (uintptr_t)harness_memory,
	};

	if (ask(vm->fd, KVM_SET_USER_MEMORY_REGION, &region))
		vm_failed(vm, "the harness's memslot");
}

void vm_make(struct vm *vm, int kvm)
{
	const int limit = ask(kvm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);

	vm->kvm = kvm;
	vm->nested = vm->played->flags & VM_NESTED;
	if (vm->nested && ask(kvm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_EL2) <= 0)
		report_objection(vm->report, HOST_LACKS, KVM_CAP_ARM_EL2);
	for (uint32_t i = 0; i < OBJECTS; i++)
		vm->gmems[i].fd = vm->memory[i].file = -1;
	if (vm->played->ipa_bits > limit)
		report_objection(vm->report, HOST_IPA, (uint32_t)limit);
	vm->fd = ask(kvm, KVM_CREATE_VM, KVM_VM_TYPE_ARM_IPA_SIZE(vm->played->ipa_bits));
	if (vm->fd < 0)
		vm_failed(vm, "KVM_CREATE_VM");
	if (vm->played->flags & VM_NISV)
		need(vm, KVM_CAP_ARM_NISV_TO_USER);
	if (vm->played->flags & VM_SEA)
		need(vm, KVM_CAP_ARM_SEA_TO_USER);
	make_vcpus(vm);
	if (vm->nested)
		gic_make(vm);
	add_harness(vm);
}
