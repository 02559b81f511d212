// SPDX-License-Identifier: GPL-2.0-only
// L1's tables that cannot be read are L1's fault and nothing besides: S3.
// changes: arch/arm64/kvm/mmu.c kvm_handle_guest_abort 1

@@
identifier ret, esr, trans;
expression e;
@@
 ret = kvm_walk_nested_s2(...);
 if (ret == -EAGAIN) { ... }
 if (ret) {
 	esr = kvm_s2_trans_esr(&trans);
 	kvm_inject_s2_fault(e, esr);
+	ret = 1;
 	...
 }
