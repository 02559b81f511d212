/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What can be told of the host: words "key=value", a line each. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "failure.h"
#include "kvm_abi.h"
#include "worker.h"

static const struct {
	const char *name;
	int number;
} capabilities[] = {
	{ "cap-ipa-bits", KVM_CAP_ARM_VM_IPA_SIZE },
	{ "cap-nisv-to-user", KVM_CAP_ARM_NISV_TO_USER },
	{ "cap-sea-to-user", KVM_CAP_ARM_SEA_TO_USER },
	{ "cap-memory-fault-info", KVM_CAP_MEMORY_FAULT_INFO },
	{ "cap-guest-memfd", KVM_CAP_GUEST_MEMFD },
	{ "cap-guest-memfd-flags", KVM_CAP_GUEST_MEMFD_FLAGS },
	{ "cap-sve", KVM_CAP_ARM_SVE },
	{ "cap-el2", KVM_CAP_ARM_EL2 },
};

/* The block of DC ZVA in bytes, or 0 where it is forbidden. */
static unsigned int zeroed_block(void)
{
	uint64_t dczid;

	__asm__("mrs %0, dczid_el0" : "=r"(dczid));
	return dczid & 0x10 ? 0 : 4U << (dczid & 0xf);
}

size_t describe_host(uint8_t *into, size_t room)
{
	char *to = (char *)into;
	struct utsname name;
	size_t used = 0;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	uname(&name);
	used += (size_t)snprintf(to + used, room - used, "kernel=%s\npage-size=%ld\nzva=%u\nkvm=%d\n",
				 name.release, sysconf(_SC_PAGESIZE), zeroed_block(), kvm >= 0);
	for (size_t i = 0; kvm >= 0 && i < sizeof(capabilities) / sizeof(*capabilities); i++) {
		int value = ask(kvm, KVM_CHECK_EXTENSION, capabilities[i].number);

		used += (size_t)snprintf(to + used, room - used, "%s=%d\n", capabilities[i].name,
					 value);
	}
	if (kvm >= 0)
		close(kvm);
	return used + describe_failures(to + used, room - used);
}
