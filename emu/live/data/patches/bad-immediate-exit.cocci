// SPDX-License-Identifier: GPL-2.0-only
// immediate_exit says INTR.
// changes: arch/arm64/kvm/arm.c kvm_arch_vcpu_ioctl_run 1

@@
expression vcpu;
identifier ret;
@@
 int kvm_arch_vcpu_ioctl_run(...) {
 <...
 if (!vcpu->wants_to_run) {
+	vcpu->run->exit_reason = KVM_EXIT_INTR;
 	ret = -EINTR;
 	...
 }
 ...>
 }
