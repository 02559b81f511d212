/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VM of one case and what its VMM holds besides. */
#ifndef GFF_VM_H
#define GFF_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "case.h"
#include "kvm_abi.h"
#include "layout.h"
#include "report.h"

/* The guest's memory at HARNESS_BASE. Made once, shared by all workers, of which one runs. */
extern uint8_t *harness_memory;

enum owner { OWNER_L1, OWNER_L2, OWNER_VNCR };

struct pending {
	uint32_t step;
	uint8_t access;
	enum owner owner;
	uint64_t address;
};

struct object {
	bool made;
	uint8_t kind;
	int file; /* -1 where there is none */
};

struct gmem {
	int fd; /* -1 where there is none */
	uint64_t size;
};

struct base {
	uint32_t slot;
	uint64_t gpa;  /* as it was last asked for, even in vain */
	uint64_t size; /* as it is */
	uint64_t first, user; /* as they are; no user address where guest_memfd backs it */
};

/* One vCPU and its guest; its steps are played one after another. */
struct vcpu {
	int fd; /* -1 where the case does not name it */
	struct kvm_run *run;
	uint64_t *exits; /* kvm_run's exit union */
	bool ready;      /* it is initialised, so it has registers */
	bool completing; /* an MMIO exit waits for the next KVM_RUN */
	bool entered;    /* since the VMM sent it past an access */
	uint32_t noted;  /* exceptions that were told before their handler ran */
	struct pending *program;
	uint32_t queued;
};

/* A vCPU that no case numbers: it maps the queues of a cold VM, with page-table caches of its own. */
#define FORERUNNER VCPUS

struct vm {
	bool nested; /* the guest has EL2: it is L1 */
	bool sets_flags; /* its CPU does, in stage 1: ACCESS_WALK_AF */
	bool warms_l2; /* before the case: where it matters what is in L2's shadow */
	bool l2_ran; /* for the case, since its tables were last invalidated */
	const struct guest_case *played;
	struct report *report;
	int kvm, fd;
	int event; /* of every ioeventfd, where there is one */
	struct vcpu vcpus[VCPUS + 1];
	struct vcpu *now; /* whose steps are being done */
	struct object memory[OBJECTS];
	struct gmem gmems[OBJECTS];
	/* The rest is long, and little of it is used. */
	uint32_t named;
	struct base bases[MAX_STEPS];
	struct pending programs[VCPUS + 1][ENTRIES];
};

void harness_make(void);
void vm_make(struct vm *vm, int kvm);
uint32_t vm_index(const struct vm *vm); /* of the vCPU whose steps are being done */
_Noreturn void vm_failed(const struct vm *vm, const char *what);

uint64_t get_register(const struct vm *vm, uint64_t id);
void set_register(const struct vm *vm, uint64_t id, uint64_t value);

#define SCTLR_MMU_ON 0x34d0d805U /* M, C, I, DZE, UCT, UCI; not A */

#define CORE_REGISTER(field) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(field))

#endif
