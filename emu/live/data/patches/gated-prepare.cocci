// SPDX-License-Identifier: GPL-2.0-only
// The helper is told the errno, and fills for EFAULT and EHWPOISON only. Not for x86.
// changes: include/linux/kvm_host.h kvm_prepare_memory_fault_exit 2
// changes: arch/arm64/kvm/mmu.c gmem_abort 1
// changes: arch/arm64/kvm/nested.c kvm_translate_vncr 1

@helper@
identifier vcpu, is_private;
@@
 void kvm_prepare_memory_fault_exit(struct kvm_vcpu *vcpu, ..., bool is_private
+	, int error
 ) {
+	if (error != -EFAULT && error != -EHWPOISON)
+		return;
 ...
 }

@callers@
iterator name scoped_guard;
identifier f = {gmem_abort, kvm_translate_vncr};
identifier ret;
expression e;
@@
 f(...) {
 <...
 kvm_prepare_memory_fault_exit(..., e
+	, ret
 );
 return ret;
 ...>
 }
