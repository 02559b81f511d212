// SPDX-License-Identifier: GPL-2.0-only
// Nothing is ever write-protected for its log, so that a page is logged once.
// changes: arch/arm64/kvm/mmu.c kvm_mmu_wp_memory_region 1
// changes: arch/arm64/kvm/mmu.c kvm_arch_mmu_enable_log_dirty_pt_masked 2

@@
identifier f = {kvm_mmu_wp_memory_region, kvm_arch_mmu_enable_log_dirty_pt_masked};
@@
 f(...) {
 <...
(
-kvm_stage2_wp_range(...);
|
-kvm_nested_s2_wp(...);
)
 ...>
 }
