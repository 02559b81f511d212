// SPDX-License-Identifier: GPL-2.0-only
// MEMORY_FAULT is filled for the VMM's own memory too.
// changes: arch/arm64/kvm/mmu.c kvm_handle_guest_abort 2

@@
identifier vcpu, ret;
expression e;
@@
 int kvm_handle_guest_abort(struct kvm_vcpu *vcpu) {
 <...
 if (e) ret = gmem_abort(...);
 else
+{
 ret = user_mem_abort(...);
+if (ret == -EFAULT)
+	kvm_prepare_memory_fault_exit(vcpu, gfn_to_gpa(gfn), PAGE_SIZE, write_fault,
+				      is_iabt, false);
+}
 ...>
 }
