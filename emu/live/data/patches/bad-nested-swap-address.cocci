// SPDX-License-Identifier: GPL-2.0-only
// An access flag is set eight times as far into the table as its descriptor is.
// changes: arch/arm64/kvm/at.c __kvm_at_swap_desc 1

@@
identifier ptep, offset;
expression base;
@@
 int __kvm_at_swap_desc(...) {
 <...
 ptep = base + offset
+	* sizeof(*ptep)
 ;
 ...>
 }
