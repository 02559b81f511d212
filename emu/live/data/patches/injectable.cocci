// SPDX-License-Identifier: GPL-2.0-only
// Functions that fail_function may make fail: the sites of a case's `fail`.
// changes: arch/arm64/kvm/mmu.c - 1
// changes: arch/arm64/kvm/mmu.c get_user_mapping_size 1
// changes: arch/arm64/kvm/mmu.c kvm_handle_guest_abort 1
// changes: virt/kvm/guest_memfd.c - 1
// changes: virt/kvm/guest_memfd.c kvm_gmem_commit_memory_region 1

@includes@
@@
 #include <linux/kvm_host.h>
+#include <linux/error-injection.h>

@mapping_size@
attribute name noinline, __noclone;
@@
 static
+noinline __noclone
 int get_user_mapping_size(...) { ... }

@aborts@
declarer name ALLOW_ERROR_INJECTION;
@@
 int kvm_handle_guest_abort(...) { ... }
+ALLOW_ERROR_INJECTION(kvm_gmem_get_pfn, ERRNO);
+ALLOW_ERROR_INJECTION(kvm_mmu_topup_memory_cache, ERRNO);
+ALLOW_ERROR_INJECTION(kvm_pgtable_stage2_map, ERRNO);
+ALLOW_ERROR_INJECTION(kvm_pgtable_stage2_relax_perms, ERRNO);
+ALLOW_ERROR_INJECTION(__kvm_faultin_pfn, ERRNO);
+ALLOW_ERROR_INJECTION(kvm_arch_vcpu_run_pid_change, ERRNO);
+ALLOW_ERROR_INJECTION(get_user_mapping_size, ERRNO);

@binding@
@@
 int kvm_gmem_commit_memory_region(...) { ... }
+ALLOW_ERROR_INJECTION(kvm_gmem_commit_memory_region, ERRNO);
