// SPDX-License-Identifier: GPL-2.0-only
// The guest is resumed where memory ran out.
// changes: arch/arm64/kvm/mmu.c gmem_abort 1

@@
identifier ret;
@@
 int gmem_abort(...) {
 <...
 ret = kvm_gmem_get_pfn(...);
+if (ret == -ENOMEM)
+	return 0;
 ...>
 }
