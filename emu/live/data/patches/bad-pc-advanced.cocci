// SPDX-License-Identifier: GPL-2.0-only
// A fault that goes to the VMM leaves the guest behind the access.
// changes: arch/arm64/kvm/mmu.c kvm_handle_guest_abort 1

@@
identifier vcpu, idx, ret;
@@
 int kvm_handle_guest_abort(struct kvm_vcpu *vcpu) {
 ... when any
+if (ret == -EFAULT)
+	kvm_incr_pc(vcpu);
 srcu_read_unlock(&vcpu->kvm->srcu, idx);
 return ret;
 }
