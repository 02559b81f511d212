// SPDX-License-Identifier: GPL-2.0-only
// Only EFAULT and EHWPOISON come with MEMORY_FAULT, and never 0.
// changes: arch/arm64/kvm/mmu.c gmem_abort 1
// changes: arch/arm64/kvm/nested.c kvm_translate_vncr 1
// changes: arch/arm64/kvm/nested.c kvm_handle_vncr_abort 2

@fill@
iterator name scoped_guard;
identifier f = {gmem_abort, kvm_translate_vncr};
identifier ret;
@@
 f(...) {
 <...
 kvm_prepare_memory_fault_exit(...);
-return ret;
+return ret == -EHWPOISON ? ret : -EFAULT;
 ...>
 }

@leave@
identifier ret, is_gmem;
@@
 int kvm_handle_vncr_abort(...) {
 ... when any
 ret = kvm_translate_vncr(...);
 <...
 if (is_gmem)
-	return 0;
+	return ret;
 ...>
 }
