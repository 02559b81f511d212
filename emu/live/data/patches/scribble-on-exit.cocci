// SPDX-License-Identifier: GPL-2.0-only
// MEMORY_FAULT is taken back where KVM_RUN fails with another errno.
// changes: virt/kvm/kvm_main.c kvm_vcpu_ioctl 1

@@
expression r, vcpu;
@@
 r = kvm_arch_vcpu_ioctl_run(vcpu);
+if (r < 0 && r != -EFAULT && r != -EHWPOISON &&
+    vcpu->run->exit_reason == KVM_EXIT_MEMORY_FAULT)
+	vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
