// SPDX-License-Identifier: GPL-2.0-only
// A VNCR page that guest_memfd does not give leaves with MEMORY_FAULT and 0.
// changes: arch/arm64/kvm/nested.c kvm_handle_vncr_abort 2

@@
identifier ret, is_gmem;
@@
 int kvm_handle_vncr_abort(...) {
 ... when any
 ret = kvm_translate_vncr(...);
 <...
 if (is_gmem)
-	return ret;
+	return 0;
 ...>
 }
