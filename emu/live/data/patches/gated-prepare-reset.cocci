// SPDX-License-Identifier: GPL-2.0-only
// As gated-prepare, and where it does not fill it says UNKNOWN. Goes after gated-prepare.
// changes: include/linux/kvm_host.h kvm_prepare_memory_fault_exit 2

@@
identifier vcpu;
expression e;
@@
 void kvm_prepare_memory_fault_exit(struct kvm_vcpu *vcpu, ...) {
-	if (e) return;
+	if (e) {
+		vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
+		return;
+	}
 ...
 }
