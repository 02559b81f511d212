// SPDX-License-Identifier: GPL-2.0-only
// MEMORY_FAULT comes with 0.
// changes: arch/arm64/kvm/mmu.c kvm_handle_guest_abort 1

@@
identifier vcpu, idx, ret;
@@
 int kvm_handle_guest_abort(struct kvm_vcpu *vcpu) {
 ... when any
+if (ret < 0 && vcpu->run->exit_reason == KVM_EXIT_MEMORY_FAULT)
+	ret = 0;
 srcu_read_unlock(&vcpu->kvm->srcu, idx);
 return ret;
 }
