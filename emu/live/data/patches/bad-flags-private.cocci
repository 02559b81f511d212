// SPDX-License-Identifier: GPL-2.0-only
// flags always says PRIVATE.
// changes: include/linux/kvm_host.h kvm_prepare_memory_fault_exit 1

@@
identifier vcpu, gpa, size;
@@
 void kvm_prepare_memory_fault_exit(struct kvm_vcpu *vcpu, gpa_t gpa, gpa_t size, ...) {
 <...
-vcpu->run->memory_fault.flags = 0;
+vcpu->run->memory_fault.flags = KVM_MEMORY_EXIT_FLAG_PRIVATE;
 ...>
 }
