// SPDX-License-Identifier: GPL-2.0-only
// For an access of L2's, gpa is L2's address.
// changes: arch/arm64/kvm/mmu.c gmem_abort 1

@@
identifier s2fd;
@@
 int gmem_abort(const struct kvm_s2_fault_desc *s2fd) {
 <...
 kvm_prepare_memory_fault_exit(s2fd->vcpu,
-	gfn_to_gpa(gfn),
+	s2fd->fault_ipa & PAGE_MASK,
	PAGE_SIZE, ...);
 ...>
 }
