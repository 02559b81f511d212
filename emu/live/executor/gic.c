/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gic.h"

#define FRAME 0x10000
#define DISTRIBUTOR (HARNESS_BASE + HARNESS_SIZE / 4 * 3)
#define REDISTRIBUTORS (DISTRIBUTOR + FRAME)

static void set(const struct vm *vm, int gic, uint32_t group, uint64_t which, uint64_t value)
{
	struct kvm_device_attr attribute = {
		.group = group,
		.attr = which,
		.addr = (uintptr_t)&value,
	};

	if (ask(gic, KVM_SET_DEVICE_ATTR, &attribute))
		vm_failed(vm, "KVM_SET_DEVICE_ATTR of the GIC");
}

void gic_make(const struct vm *vm)
{
	struct kvm_create_device create = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };
	int gic;

	if (ask(vm->fd, KVM_CREATE_DEVICE, &create))
		vm_failed(vm, "KVM_CREATE_DEVICE of the GIC");
	gic = (int)create.fd;
	set(vm, gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, DISTRIBUTOR);
	set(vm, gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, REDISTRIBUTORS);
	set(vm, gic, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0);
}
