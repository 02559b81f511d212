// SPDX-License-Identifier: GPL-2.0-only
// gpa is L1's address and the host page's, not what HPFAR_EL2 holds: S1 and S2.
// changes: arch/arm64/kvm/mmu.c gmem_abort 1
// changes: arch/arm64/kvm/nested.c kvm_translate_vncr 1

@@
iterator name scoped_guard;
identifier f = {gmem_abort, kvm_translate_vncr};
expression vcpu, gpa;
@@
 f(...) {
 <...
 kvm_prepare_memory_fault_exit(vcpu,
-	gpa,
+	gfn_to_gpa(gfn),
	PAGE_SIZE, ...);
 ...>
 }
