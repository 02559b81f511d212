"""Twins of slips: changes to ``clean`` that look wrong and that no document forbids.

The judge must clear every one of them: the next kernel may well do the same.
"""

from typing import Final

from emu.abi import MEMORY_EXIT_FLAG_PRIVATE, PAGE_SIZE, Errno, ExitReason, GmemFlag
from emu.kernels.clean import Clean
from emu.kernels.entry import Entry, twin
from emu.kernels.thread import REPORTED
from emu.kvm.state import MemorySlot, Vcpu
from emu.stage2 import Prot
from emu.steps import MemKind
from emu.syndrome import CM, S1PTW, is_iabt


class TwinRawErrno(Clean):
    """Of ``bad-raw-errno``: the lookup's own errno, but nothing is filled for it.

    Legal: api.rst promises MEMORY_FAULT for no errno, and other errnos without it mean what they
    mean everywhere.
    """

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """MEMORY_FAULT for the two, the bare errno else."""
        return super().gmem_abort_without_pfn(vcpu, ipa, ret) if ret in REPORTED else ret


class TwinReasonUnknown(Clean):
    """Of ``bad-immediate-exit``: errors before the guest runs write UNKNOWN over an old reason.

    Legal: api.rst calls exit_reason undefined for every errno but the two.
    """

    def kvm_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        """As the scribble of the thread would, put around the whole ioctl."""
        ret = super().kvm_vcpu_ioctl_run(vcpu)
        if ret < 0 and ret not in REPORTED and vcpu.run.exit_reason == ExitReason.MEMORY_FAULT:
            vcpu.run.exit_reason = ExitReason.UNKNOWN
        return ret


class TwinScribbleBefore(Clean):
    """Of ``scribble-on-exit``: the line stands before the architecture's KVM_RUN, not behind it.

    Legal, and useless: zoo C12. An old MEMORY_FAULT is wiped, whatever the call goes on to say.
    """

    def kvm_arch_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        """What the run loop does to exit_reason a moment later anyway."""
        if vcpu.run.exit_reason == ExitReason.MEMORY_FAULT:
            vcpu.run.exit_reason = ExitReason.UNKNOWN
        return super().kvm_arch_vcpu_ioctl_run(vcpu)


class TwinUnionCleared(Clean):
    """Of ``bad-immediate-record``: the exit union is zeroed as exit_reason is reset.

    Legal: the old exit is over, and no exit without a record has one.
    """

    def reset_exit_reason(self, vcpu: Vcpu) -> None:
        """The union goes too."""
        super().reset_exit_reason(vcpu)
        run = vcpu.run
        run.u0 = run.u1 = run.u2 = run.u3 = 0


class TwinRecordCleared(Clean):
    """Of ``bad-address-left``: errnos other than the two leave zeros in the exit union.

    Legal: nothing is left behind that names a page.
    """

    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        """On the way out of the abort."""
        ret = super().kvm_handle_guest_abort(vcpu)
        if ret < 0 and ret not in REPORTED:
            run = vcpu.run
            run.u0 = run.u1 = run.u2 = 0
        return ret


class TwinSignalUnknown(Clean):
    """Of ``bad-unknown-exit``: a signal ends KVM_RUN with EINTR, and no exit_reason of its own.

    Legal: api.rst documents the errno, and calls exit_reason stale under it.
    """

    def before_guest_entry(self, vcpu: Vcpu) -> int:
        """INTR is not written."""
        return -Errno.EINTR if vcpu.signal_pending else super().before_guest_entry(vcpu)


class TwinUserPoisonFault(Clean):
    """Of ``bad-poison-as-fault``: a memory error in the VMM's own memory is EFAULT, and no SIGBUS.

    Legal: no document promises the signal, nor EHWPOISON for memory that is not guest_memfd's.
    """

    def user_mem_abort_without_pfn(self, _vcpu: Vcpu, _ret: int) -> int:
        """Like every other page that cannot be had."""
        return -Errno.EFAULT


class TwinUserPoisonErrno(Clean):
    """Of ``bad-fault-as-poison``: a memory error in the VMM's own memory is EHWPOISON.

    Legal: it is what happened; MEMORY_FAULT is not filled, and 8.44 asks for both.
    """

    def user_mem_abort_without_pfn(self, _vcpu: Vcpu, ret: int) -> int:
        """The errno is returned, and no signal sent."""
        return ret


class TwinMemoryErrno(Clean):
    """Of ``bad-raw-errno``: the VMM's own memory that cannot be charged is ENOMEM, not EFAULT.

    Legal: it says more than today's EFAULT, and MEMORY_FAULT is not filled.
    """

    def user_mem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """Whoever fails under a memory limit fails for want of memory."""
        ret = super().user_mem_abort(vcpu, ipa, slot)
        return -Errno.ENOMEM if ret == -Errno.EFAULT and vcpu.kvm.memory_limit else ret


class TwinMappedOld(Clean):
    """Of ``bad-access-flag-lost``: every page is mapped old.

    Legal: a fault more is nobody's business, as long as there is an end to them.
    """

    def kvm_pgtable_stage2_map(self, vcpu: Vcpu, ipa: int, pfn: int, prot: int) -> int:
        """Without the access flag."""
        ret = super().kvm_pgtable_stage2_map(vcpu, ipa, pfn, prot)
        if not ret:
            vcpu.hw_mmu.age(ipa)
        return ret


class TwinMappedReadOnly(Clean):
    """Of ``bad-permission-map``: every page is mapped read-only, and relaxed when it is written.

    Legal, as above.
    """

    def kvm_pgtable_stage2_map(self, vcpu: Vcpu, ipa: int, pfn: int, prot: int) -> int:
        """Without W; the store's second fault is a permission fault. pKVM knows no relaxing."""
        if not vcpu.kvm.config.protected:
            prot &= ~Prot.W
        return super().kvm_pgtable_stage2_map(vcpu, ipa, pfn, prot)


class TwinExecuteAtOnce(Clean):
    """Of ``bad-execute-forgotten``: every page is mapped executable at once.

    Legal: KVM does so itself where the instruction cache needs no maintenance.
    """

    def kvm_pgtable_stage2_map(self, vcpu: Vcpu, ipa: int, pfn: int, prot: int) -> int:
        """As if CTR_EL0.DIC were set."""
        return super().kvm_pgtable_stage2_map(vcpu, ipa, pfn, prot | Prot.X)


class TwinCacheFilledAlways(Clean):
    """Of ``bad-permission-map``: the page-table cache is filled for permission faults as well.

    Legal: Linux 6.18 did; ENOMEM comes a little more often.
    """

    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """Before anything is looked at."""
        return self.kvm_mmu_topup_memory_cache(vcpu) or super().gmem_abort(vcpu, ipa, slot)


class TwinMmioCleared(Clean):
    """Of ``bad-mmio-length``: an MMIO exit zeroes what it does not use of mmio.data.

    Legal: bytes past ``len`` mean nothing.
    """

    def io_mem_abort(self, vcpu: Vcpu, fault_ipa: int) -> int:
        """A fresh union for a fresh exit."""
        vcpu.run.u1 = vcpu.run.u2 = 0
        return super().io_mem_abort(vcpu, fault_ipa)


class TwinMaintenanceTold(Clean):
    """Of ``bad-nisv-unasked``: cache maintenance outside the slots is told, and not skipped.

    Legal: it is a data abort outside the slots without a syndrome, which is what ENOSYS and NISV
    are for.
    """

    def abort_outside_slots(self, vcpu: Vcpu, slot: MemorySlot | None, ipa: int) -> int:
        """Branch A12 is missing."""
        if vcpu.fault.esr & (CM | S1PTW) == CM and not is_iabt(vcpu.fault.esr):
            return self.io_mem_abort(vcpu, ipa | vcpu.fault.far & PAGE_SIZE - 1)
        return super().abort_outside_slots(vcpu, slot, ipa)


class TwinMmioAdvanced(Clean):
    """Of ``bad-nisv-advanced``: the guest is behind its access at an MMIO exit; L2 is not.

    Legal: the VMM has all that it needs, and who moves the PC, and when, is KVM's business.
    """

    def io_mem_abort(self, vcpu: Vcpu, fault_ipa: int) -> int:
        """The PC moves on when the exit is made."""
        ret = super().io_mem_abort(vcpu, fault_ipa)
        if not ret and vcpu.run.exit_reason == ExitReason.MMIO and not vcpu.guest.in_l2:
            vcpu.guest.advance()
        return ret

    def kvm_incr_pc(self, vcpu: Vcpu) -> None:
        """And not when it is completed."""
        if vcpu.run.exit_reason != ExitReason.MMIO or vcpu.guest.in_l2:
            super().kvm_incr_pc(vcpu)


class TwinDeviceFetch(Clean):
    """Of ``bad-map-exists``: a fetch from device memory is ENOEXEC for the VMM.

    Legal: api.rst still lists it among KVM_RUN's errnos, though today the guest gets an abort.
    """

    def abort_in_slot(self, vcpu: Vcpu, slot: MemorySlot, ipa: int) -> int:
        """Branch A18 is missing."""
        vma = self.vma_lookup(vcpu.kvm, slot.userspace_addr + (ipa - slot.base))
        if vma is not None and vma.kind is MemKind.DEVICE and is_iabt(vcpu.fault.esr):
            return -Errno.ENOEXEC
        return super().abort_in_slot(vcpu, slot, ipa)


class TwinPagesOnly(Clean):
    """Of ``bad-dirty-block``: nothing is ever mapped in blocks.

    Legal: how memory is mapped is nobody's business.
    """

    def stage2_mapping_size(self, vcpu: Vcpu, _slot: MemorySlot, _hva: int, _kind: MemKind) -> int:
        """A page."""
        return vcpu.kvm.page_size


class TwinDirtyReads(Clean):
    """Of ``bad-dirty-once``: pages that were only read are on the log too.

    Legal: a page too many is copied once more; only one too few is lost.
    """

    def user_mem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """Whatever was served counts."""
        ret = super().user_mem_abort(vcpu, ipa, slot)
        if not ret:
            self.mark_page_dirty_in_slot(vcpu.kvm, slot, ipa)
        return ret


class TwinFlagsPrivate(Clean):
    """Of ``bad-flags-private``: memory_fault.flags says PRIVATE of a file without INIT_SHARED.

    Legal: api.rst defines the flag, and memory that the VMM may not touch is private.
    """

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """The file is asked."""
        super().kvm_prepare_memory_fault_exit(vcpu, gpa, size)
        slot = self.gfn_to_memslot(vcpu.kvm, gpa)
        if slot and slot.gmem and not slot.gmem.flags & GmemFlag.INIT_SHARED:
            vcpu.run.u0 = MEMORY_EXIT_FLAG_PRIVATE


class TwinHpfarTranslated(Clean):
    """Of ``bad-hpfar-ignored``: an abort whose HPFAR_EL2 is not valid is served all the same.

    Legal: the address can be had by translating FAR_EL2 again, which is how KVM once did it.
    """

    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        """As if the register had been valid; the model knows what it would have held."""
        vcpu.fault.hpfar_valid = True
        return super().kvm_handle_guest_abort(vcpu)


TWINS: Final[dict[str, Entry]] = {
    "twin-raw-errno": twin(TwinRawErrno()),
    "twin-reason-unknown": twin(TwinReasonUnknown()),
    "twin-scribble-before": twin(TwinScribbleBefore()),
    "twin-union-cleared": twin(TwinUnionCleared()),
    "twin-record-cleared": twin(TwinRecordCleared()),
    "twin-signal-unknown": twin(TwinSignalUnknown()),
    "twin-user-poison-fault": twin(TwinUserPoisonFault()),
    "twin-user-poison-errno": twin(TwinUserPoisonErrno()),
    "twin-memory-errno": twin(TwinMemoryErrno()),
    "twin-mapped-old": twin(TwinMappedOld()),
    "twin-mapped-readonly": twin(TwinMappedReadOnly()),
    "twin-execute-at-once": twin(TwinExecuteAtOnce()),
    "twin-cache-filled-always": twin(TwinCacheFilledAlways()),
    "twin-mmio-cleared": twin(TwinMmioCleared()),
    "twin-maintenance-told": twin(TwinMaintenanceTold()),
    "twin-mmio-advanced": twin(TwinMmioAdvanced()),
    "twin-device-fetch": twin(TwinDeviceFetch()),
    "twin-pages-only": twin(TwinPagesOnly()),
    "twin-dirty-reads": twin(TwinDirtyReads()),
    "twin-flags-private": twin(TwinFlagsPrivate()),
    "twin-hpfar-translated": twin(TwinHpfarTranslated()),
}
