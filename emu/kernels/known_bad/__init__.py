"""Kernels that a judge must condemn: ``clean`` with one slip each.

A class a slip, a method a hunk; ``super()`` is the unchanged context. Each says where it is from:
the bug zoo (an id, a commit or a suspected bug), or "Synthetic".
"""

from typing import Final

from emu.kernels.entry import Entry, bad
from emu.kernels.known_bad import (
    dirty_log,
    emulation,
    errnos,
    faults,
    guest_memfd,
    memslots,
    nested,
    report,
    run_loop,
)

KNOWN_BAD: Final[dict[str, Entry]] = {
    # report
    "bad-scribble-sign": bad(report.BadScribbleSign(), "C5-gmem_abort", "C5-kvm_translate_vncr"),
    "bad-return-zero": bad(report.BadReturnZero(), "C1-gmem_abort"),
    "bad-gpa-unaligned": bad(
        report.BadGpaUnaligned(), "C4-gmem_abort", "C4-gmem_abort_l2", "C4-kvm_translate_vncr"
    ),
    "bad-gpa-as-gfn": bad(
        report.BadGpaAsGfn(), "C4-gmem_abort", "C4-gmem_abort_l2", "C4-kvm_translate_vncr"
    ),
    "bad-gpa-slot-base": bad(
        report.BadGpaSlotBase(),
        "C3-earlier-fault",
        "C4-gmem_abort",
        "C4-gmem_abort_l2",
        "C4-kvm_translate_vncr",
    ),
    "bad-gpa-next-page": bad(
        report.BadGpaNextPage(),
        "C3-earlier-fault",
        "C4-gmem_abort",
        "C4-gmem_abort_l2",
        "C4-kvm_translate_vncr",
    ),
    "bad-size-zero": bad(
        report.BadSizeZero(), "C4-gmem_abort", "C4-gmem_abort_l2", "C4-kvm_translate_vncr"
    ),
    "bad-size-slot": bad(
        report.BadSizeSlot(), "C4-gmem_abort", "C4-gmem_abort_l2", "C4-kvm_translate_vncr"
    ),
    "bad-flags-undefined": bad(
        report.BadFlagsUndefined(), "C4-gmem_abort", "C4-gmem_abort_l2", "C4-kvm_translate_vncr"
    ),
    "bad-flags-private": bad(
        report.BadFlagsPrivate(), "C4-gmem_abort", "C4-gmem_abort_l2", "C4-kvm_translate_vncr"
    ),
    "bad-prepare-forgotten": bad(
        report.BadPrepareForgotten(), "C5-gmem_abort", "C5-kvm_translate_vncr"
    ),
    "bad-prepared-early": bad(
        report.BadPreparedEarly(),
        "C2-earlier-fault",
        "C2-gmem_abort",
        "C3-earlier-fault",
        "C7-earlier-fault",
        "C7-gmem_abort",
    ),
    "bad-address-left": bad(report.BadAddressLeft(), "C7-earlier-fault-injected", "C7-gmem_abort"),
    "bad-user-memory-fault": bad(report.BadUserMemoryFault(), "C3-earlier-fault", "C4-gmem_abort"),
    "bad-host-page": bad(report.BadHostPage(), "C4-gmem_abort"),
    "bad-other-vcpu": bad(report.BadOtherVcpu(), "C17-other-vcpu"),
    "bad-protected-report": bad(report.BadProtectedReport(), "C3-earlier-fault", "C4-gmem_abort"),
    # errnos
    "bad-raw-errno": bad(errnos.BadRawErrno(), "C2-gmem_abort"),
    "bad-raw-io": bad(errnos.BadRawIo(), "C2-gmem_abort-injected"),
    "bad-lookup-without-create": bad(
        errnos.BadLookupWithoutCreate(),
        "C9-gmem_abort-natural",
        "C9-io_mem_abort-natural",
        "C9-kvm_inject_sea-natural",
        "C9-kvm_walk_nested_s2-natural",
        "C9-user_mem_abort-natural",
    ),
    "bad-map-exists": bad(
        errnos.BadMapExists(),
        "C9-gmem_abort-natural",
        "C9-io_mem_abort-natural",
        "C9-kvm_inject_sea-natural",
        "C9-no-access-natural",
        "C9-user_mem_abort-natural",
    ),
    "bad-access-flag-again": bad(
        errnos.BadAccessFlagAgain(), "C9-gmem_abort-natural", "C9-user_mem_abort-natural"
    ),
    "bad-poison-as-fault": bad(errnos.BadPoisonAsFault(), "C16-gmem_abort-natural"),
    "bad-fault-as-poison": bad(
        errnos.BadFaultAsPoison(), "C15-gmem_abort", "C15-io_mem_abort", "C15-kvm_inject_sea"
    ),
    "bad-unknown-exit": bad(errnos.BadUnknownExit(), "C6-run-loop"),
    "bad-race-again": bad(errnos.BadRaceAgain(), "C9-gmem_abort-natural"),
    # run loop
    "bad-reason-kept": bad(run_loop.BadReasonKept(), "C3-earlier-run"),
    "bad-scribble-any": bad(run_loop.BadScribbleAny(), "C6-kvm_translate_vncr", "C6-run-loop"),
    "bad-immediate-exit": bad(run_loop.BadImmediateExit(), "C8-before-loop"),
    "bad-immediate-record": bad(run_loop.BadImmediateRecord(), "C2-before-loop", "C8-before-loop"),
    "bad-argument-reason": bad(run_loop.BadArgumentReason(), "C8-before-loop"),
    "bad-signal-lost": bad(
        run_loop.BadSignalLost(),
        "C11-gmem_abort-natural",
        "C11-kvm_walk_nested_s2-natural",
        "C11-pkvm_mem_abort-natural",
        "C11-user_mem_abort-natural",
    ),
    "bad-dead-vm-runs": bad(run_loop.BadDeadVmRuns(), "C18-before-loop"),
    "bad-pc-advanced": bad(
        run_loop.BadPcAdvanced(),
        "C12-gmem_abort",
        "C12-io_mem_abort",
        "C12-kvm_inject_sea",
        "C12-kvm_walk_nested_s2",
        "C12-pkvm_mem_abort",
        "C12-user_mem_abort",
    ),
    "bad-register-clobbered": bad(
        run_loop.BadRegisterClobbered(),
        "C12-gmem_abort",
        "C12-io_mem_abort",
        "C12-kvm_walk_nested_s2",
        "C12-pkvm_mem_abort",
        "C12-user_mem_abort",
    ),
    # emulation
    "bad-walk-mmio": bad(emulation.BadWalkMmio(), "C13-io_mem_abort"),
    "bad-fetch-mmio": bad(emulation.BadFetchMmio(), "C13-io_mem_abort"),
    "bad-readonly-mmio": bad(emulation.BadReadOnlyMmio(), "C13-io_mem_abort"),
    "bad-released-mmio": bad(
        emulation.BadReleasedMmio(), "C5-gmem_abort-natural", "C13-io_mem_abort"
    ),
    "bad-mmio-offset": bad(emulation.BadMmioOffset(), "C13-io_mem_abort"),
    "bad-mmio-length": bad(emulation.BadMmioLength(), "C13-io_mem_abort"),
    "bad-mmio-direction": bad(emulation.BadMmioDirection(), "C13-io_mem_abort"),
    "bad-mmio-without-syndrome": bad(emulation.BadMmioWithoutSyndrome(), "C13-io_mem_abort"),
    "bad-nisv-unasked": bad(emulation.BadNisvUnasked(), "C13-io_mem_abort"),
    "bad-nisv-refused": bad(emulation.BadNisvRefused(), "C13-io_mem_abort"),
    "bad-nisv-offset": bad(emulation.BadNisvOffset(), "C13-io_mem_abort"),
    "bad-nisv-advanced": bad(emulation.BadNisvAdvanced(), "C12-io_mem_abort"),
    "bad-enosys-mmio": bad(emulation.BadEnosysMmio(), "C13-io_mem_abort"),
    # faults
    "bad-permission-map": bad(faults.BadPermissionMap(), "C11-gmem_abort-natural"),
    "bad-execute-forgotten": bad(
        faults.BadExecuteForgotten(),
        "C11-gmem_abort-natural",
        "C11-io_mem_abort-natural",
        "C11-kvm_inject_sea-natural",
        "C11-no-access-natural",
        "C11-user_mem_abort-natural",
    ),
    "bad-access-flag-lost": bad(
        faults.BadAccessFlagLost(), "C11-gmem_abort-natural", "C11-user_mem_abort-natural"
    ),
    "bad-memory-retry": bad(faults.BadMemoryRetry(), "C11-gmem_abort-natural"),
    "bad-cache-retry": bad(
        faults.BadCacheRetry(),
        "C11-gmem_abort-natural",
        "C11-io_mem_abort-natural",
        "C11-kvm_inject_sea-natural",
        "C11-kvm_walk_nested_s2-natural",
        "C11-no-access-natural",
        "C11-user_mem_abort-natural",
    ),
    "bad-report-and-abort": bad(
        faults.BadReportAndAbort(),
        "C10-gmem_abort",
        "C10-io_mem_abort",
        "C10-kvm_inject_sea",
        "C10-kvm_walk_nested_s2",
    ),
    "bad-user-fault-and-abort": bad(
        faults.BadUserFaultAndAbort(),
        "C10-gmem_abort",
        "C10-io_mem_abort",
        "C10-kvm_inject_sea",
        "C10-kvm_walk_nested_s2",
        "C10-user_mem_abort",
    ),
    "bad-every-error-aborts": bad(
        faults.BadEveryErrorAborts(),
        "C2-earlier-fault",
        "C2-gmem_abort",
        "C3-earlier-fault",
        "C5-gmem_abort-natural",
        "C7-earlier-fault",
    ),
    "bad-enoexec-record": bad(
        faults.BadNotExecutableRecord(), "C2-earlier-fault-injected", "C3-earlier-fault-injected"
    ),
    "bad-walk-never-writes": bad(faults.BadWalkNeverWrites(), "C11-user_mem_abort-natural"),
    "bad-walk-always-writes": bad(faults.BadWalkAlwaysWrites(), "C12-user_mem_abort-natural"),
    "bad-walk-beyond": bad(faults.BadWalkBeyond(), "C11-kvm_inject_sea-natural"),
    "bad-hpfar-ignored": bad(faults.BadHpfarIgnored(), "C3-earlier-fault", "C4-gmem_abort"),
    # guest_memfd
    "bad-bind-partial": bad(
        guest_memfd.BadBindPartial(),
        "C4-gmem_abort-natural",
        "C12-gmem_abort-natural",
        "C16-gmem_abort-natural",
        "C16-kvm_translate_vncr-natural",
    ),
    "bad-unbind-all": bad(guest_memfd.BadUnbindAll(), "C12-gmem_abort-natural"),
    "bad-offset-forgotten": bad(guest_memfd.BadOffsetForgotten(), "C12-gmem_abort-natural"),
    "bad-poison-sticks": bad(guest_memfd.BadPoisonSticks(), "C12-gmem_abort-natural"),
    "bad-poison-neighbour": bad(
        guest_memfd.BadPoisonNeighbour(), "C15-gmem_abort", "C15-kvm_translate_vncr"
    ),
    # memory slots
    "bad-slot-end": bad(memslots.BadSlotEnd(), "C5-gmem_abort-natural", "C13-io_mem_abort"),
    "bad-slot-past-end": bad(memslots.BadSlotPastEnd(), "C3-earlier-fault", "C4-gmem_abort"),
    "bad-flag-toggled": bad(
        memslots.BadFlagToggled(),
        "C3-earlier-fault",
        "C12-gmem_abort-natural",
        "C12-user_mem_abort-natural",
        "C13-io_mem_abort",
        "C15-kvm_translate_vncr",
        "C15-user_mem_abort",
        "C16-gmem_abort-natural",
    ),
    # dirty logging
    "bad-dirty-first-write": bad(dirty_log.BadDirtyFirstWrite(), "C14-mark_page_dirty"),
    "bad-dirty-once": bad(dirty_log.BadDirtyOnce(), "C14-mark_page_dirty"),
    "bad-dirty-block": bad(dirty_log.BadDirtyBlock(), "C14-mark_page_dirty"),
    # nested
    "bad-nested-gpa": bad(nested.BadNestedGpa(), "C4-gmem_abort_l2"),
    "bad-nested-lookup": bad(
        nested.BadNestedLookup(),
        "C3-earlier-fault",
        "C4-gmem_abort_l2",
        "C13-io_mem_abort",
        "C15-io_mem_abort",
    ),
    "bad-nested-walk-twice": bad(nested.BadNestedWalkTwice(), "C10-kvm_walk_nested_s2"),
    "bad-nested-walk-again": bad(
        nested.BadNestedWalkAgain(),
        "C9-gmem_abort-natural",
        "C9-io_mem_abort-natural",
        "C9-kvm_walk_nested_s2-natural",
    ),
    "bad-nested-swap-address": bad(nested.BadNestedSwapAddress(), "C11-gmem_abort-natural"),
    "bad-vncr-return-zero": bad(nested.BadVncrReturnZero(), "C1-kvm_translate_vncr"),
    "bad-vncr-stale": bad(
        nested.BadVncrStale(),
        "C2-earlier-fault-injected",
        "C2-gmem_abort-injected",
        "C3-earlier-fault-injected",
    ),
    "bad-vncr-unresolved": bad(nested.BadVncrUnresolved(), "C11-kvm_translate_vncr-natural"),
    "bad-vncr-not-gmem": bad(
        nested.BadVncrNotGmem(), "C2-earlier-fault", "C2-gmem_abort", "C3-earlier-fault"
    ),
}
