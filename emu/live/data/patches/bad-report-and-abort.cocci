// SPDX-License-Identifier: GPL-2.0-only
// A fault that is reported is an external abort for the guest as well.
// changes: arch/arm64/kvm/mmu.c gmem_abort 1

@@
expression vcpu;
@@
 int gmem_abort(...) {
 <...
 kvm_prepare_memory_fault_exit(vcpu, ...);
+kvm_inject_sea(vcpu, kvm_vcpu_trap_is_iabt(vcpu), kvm_vcpu_get_hfar(vcpu));
 ...>
 }
