// SPDX-License-Identifier: GPL-2.0-only
// A released guest_memfd is told as EHWPOISON.
// changes: arch/arm64/kvm/mmu.c gmem_abort 1

@@
identifier ret;
@@
 int gmem_abort(...) {
 <...
 kvm_prepare_memory_fault_exit(...);
-return ret == -EHWPOISON ? ret : -EFAULT;
+return -EHWPOISON;
 ...>
 }
