// SPDX-License-Identifier: GPL-2.0-only
// exit_reason is not reset on entry.
// changes: arch/arm64/kvm/arm.c kvm_arch_vcpu_ioctl_run 1

@@
identifier run;
@@
 int kvm_arch_vcpu_ioctl_run(...) {
 <...
-run->exit_reason = KVM_EXIT_UNKNOWN;
 run->flags = 0;
 ...>
 }
