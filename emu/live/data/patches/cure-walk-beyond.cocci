// SPDX-License-Identifier: GPL-2.0-only
// A stage-1 table that the VM does not have is an abort, not one to be met for ever: the level is
// looked for by the address that the guest accessed.
// changes: arch/arm64/kvm/mmu.c kvm_handle_guest_abort 2

@@
expression vcpu, e1, e2;
identifier fault_ipa, is_iabt;
@@
 int kvm_handle_guest_abort(...) {
 <...
 if (fault_ipa >= BIT_ULL(e1)) {
+	if (kvm_vcpu_abt_iss1tw(vcpu))
+		return kvm_inject_sea(vcpu, is_iabt, kvm_vcpu_get_hfar(vcpu));
 	kvm_inject_size_fault(vcpu);
 	...
 }
 if (fault_ipa >= BIT_ULL(e2)) {
+	if (kvm_vcpu_abt_iss1tw(vcpu))
+		return kvm_inject_sea(vcpu, is_iabt, kvm_vcpu_get_hfar(vcpu));
 	fault_ipa |= FAR_TO_FIPA_OFFSET(...);
 	return kvm_inject_sea(vcpu, is_iabt, fault_ipa);
 }
 ...>
 }
