/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps that are not KVM_RUN, one small function each: the live twin of emu/vmm.py. */
#include "steps.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "dirty.h"
#include "guest.h"
#include "inject.h"
#include "limit.h"
#include "memory.h"
#include "nested.h"
#include "userfault.h"

#define REF_INDEX (OBJECTS - 1)
#define REF_PRESENT 8
#define V1 0x80
#define WRITES(size_word) ((size_word) >> 32 & 0xff)

/* MEMSLOTS */

static uint64_t extended(uint64_t offset)
{
	return (uint64_t)(int64_t)(int32_t)(uint32_t)offset;
}

static bool in_harness(unsigned __int128 first, unsigned __int128 end)
{
	return first < HARNESS_BASE + HARNESS_SIZE && end > HARNESS_BASE;
}

static struct base *name_base(struct vm *vm, uint32_t slot, uint64_t gpa)
{
	uint32_t i = 0;

	while (i < vm->named && vm->bases[i].slot != slot)
		i++;
	if (i == vm->named)
		vm->bases[vm->named++] = (struct base){ .slot = slot };
	vm->bases[i].gpa = gpa;
	return &vm->bases[i];
}

static struct kvm_userspace_memory_region2 region(const struct vm *vm, const struct record *step)
{
	const uint8_t mem = step->a & 0xf, gmem = step->a >> 4;
	const bool both = (mem & REF_PRESENT) && (gmem & REF_PRESENT);
	struct kvm_userspace_memory_region2 region = {
		.slot = step->word,
		.flags = step->b | (step->c & 0x7fU) << 8,
		.guest_phys_addr = step->x,
		.memory_size = step->y,
		.guest_memfd = ~0U,
	};

	if (mem & REF_PRESENT)
		region.userspace_addr =
			user_address(mem & REF_INDEX, both ? extended(step->z) : step->z);
	if (gmem & REF_PRESENT) {
		region.guest_memfd = (uint32_t)vm->gmems[gmem & REF_INDEX].fd;
		region.guest_memfd_offset = both ? extended(step->z >> 32) : step->z;
	}
	return region;
}

static int set_memslot(struct vm *vm, const struct record *step)
{
	struct kvm_userspace_memory_region2 wanted = region(vm, step);
	const bool v1 = step->c & V1; /* its struct is the start of the other's */
	struct base *base = name_base(vm, step->word, step->x);

	if (step->word == HARNESS_SLOT)
		return EINVAL;
	if (step->y && in_harness(step->x, (unsigned __int128)step->x + step->y))
		return EEXIST;
	if (ask(vm->fd, v1 ? KVM_SET_USER_MEMORY_REGION : KVM_SET_USER_MEMORY_REGION2, &wanted))
		return errno;
	base->size = step->y;
	base->first = step->x;
	base->user = wanted.flags & KVM_MEM_GUEST_MEMFD ? 0 : wanted.userspace_addr;
	return 0;
}

/* THE GUEST */

static bool is_vncr(uint8_t access)
{
	return access == ACCESS_VNCR_READ || access == ACCESS_VNCR_WRITE;
}

/* Where a step says that something of the guest's is, of which ``offset`` is one field. */
static uint64_t where(const struct vm *vm, const struct record *step, uint64_t offset)
{
	for (uint32_t i = 0; step->b && i < vm->named; i++) {
		if (vm->bases[i].slot == step->word)
			offset += vm->bases[i].gpa;
	}
	return offset;
}

static int add_access(struct vm *vm, uint32_t index, const struct record *step, enum owner owner)
{
	const uint64_t address = owner == OWNER_L2 ? step->x : where(vm, step, step->x);
	const struct span span = touched(step->a, address);

	if (in_harness(span.first, span.last + 1))
		return EINVAL; /* the guest does not meddle with its own code and tables */
	if (owner == OWNER_VNCR && !vm->nested)
		return EOPNOTSUPP;
	guest_add(vm, &(struct pending){ index, step->a, owner, address });
	return 0;
}

static int add_l2_access(struct vm *vm, uint32_t index, const struct record *step)
{
	if (!vm->nested || vm->played->page_size != 0x1000)
		return EOPNOTSUPP;
	if (is_vncr(step->a)) /* L2 has no guest of its own */
		return EINVAL;
	return add_access(vm, index, step, OWNER_L2);
}

static int answer_mmio(struct vm *vm, uint64_t value)
{
	if (vm->now->run->exit_reason == MMIO && !WRITES(vm->now->exits[2]))
		vm->now->exits[1] = value;
	return 0;
}

static int skip(struct vm *vm)
{
	if (vm->now->ready)
		guest_skip(vm);
	return 0;
}

static int add_ioeventfd(const struct vm *vm, uint64_t gpa, uint32_t size)
{
	struct kvm_ioeventfd event = { .addr = gpa, .len = size, .fd = vm->event };

	return ask(vm->fd, KVM_IOEVENTFD, &event) ? errno : 0;
}

static int do_memory(struct vm *vm, const struct record *step)
{
	switch (step->op) {
	case OP_CREATE_MEM:
		return create_mem(vm, step->a, step->x, step->b);
	case OP_MUNMAP:
		return unmap(step->a, step->x, step->y);
	case OP_MPROTECT:
		return protect(vm, step->a, step->x, step->y, step->b);
	case OP_TRUNCATE:
		return truncate_mem(vm, step->a, step->x);
	case OP_POISON_MEM:
		return poison_mem(step->a, step->x);
	case OP_CREATE_GMEM:
		return create_gmem(vm, step->a, step->x, step->y);
	case OP_PUNCH:
		return change_gmem(vm, step->a, step->x, step->y, FALLOC_FL_PUNCH_HOLE);
	case OP_ALLOCATE:
		return change_gmem(vm, step->a, step->x, step->y, 0);
	case OP_RELEASE:
		return release_gmem(vm, step->a);
	case OP_POISON_GMEM:
		return poison_gmem(vm, step->a, step->x);
	default:
		errno = ENOSYS; /* decode.c lets nothing else through */
		vm_failed(vm, "a step");
	}
}

int do_step(struct vm *vm, uint32_t index)
{
	const struct record *step = &vm->played->steps[index];

	switch (step->op) {
	case OP_GUEST:
		return add_access(vm, index, step, is_vncr(step->a) ? OWNER_VNCR : OWNER_L1);
	case OP_GUEST_L2:
		return add_l2_access(vm, index, step);
	case OP_L1_MAP:
		return nested_map(vm, step, where(vm, step, step->y));
	case OP_L1_TABLE:
		return nested_table(vm, step, where(vm, step, step->x));
	case OP_L1_VTCR:
		return nested_vtcr(vm, step);
	case OP_MEMSLOT:
		return set_memslot(vm, step);
	case OP_MEMORY_LIMIT:
		return limit_set(vm, step->a);
	case OP_MEMLOCK_LIMIT:
		return limit_lock(step->a);
	case OP_IOEVENTFD:
		return add_ioeventfd(vm, step->x, 1U << step->a);
	case OP_SKIP:
		return skip(vm);
	case OP_USERFAULT:
		return userfault(vm, step);
	case OP_DIRTY_LOG:
		return read_dirty_log(vm, index, step->word);
	case OP_MMIO_DATA:
		return answer_mmio(vm, step->x);
	case OP_FAIL:
		return inject_fail(vm, step);
	case OP_VCPU:
		vm->now = &vm->vcpus[step->a];
		return 0;
	default:
		return do_memory(vm, step);
	}
}
