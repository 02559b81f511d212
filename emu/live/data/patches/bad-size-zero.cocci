// SPDX-License-Identifier: GPL-2.0-only
// size is 0.
// changes: include/linux/kvm_host.h kvm_prepare_memory_fault_exit 1

@@
identifier vcpu, gpa, size;
@@
 void kvm_prepare_memory_fault_exit(struct kvm_vcpu *vcpu, gpa_t gpa, gpa_t size, ...) {
 <...
-vcpu->run->memory_fault.size = size;
+vcpu->run->memory_fault.size = 0;
 ...>
 }
