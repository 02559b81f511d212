"""Slips in what a MEMORY_FAULT says: gpa, size, flags, and whether there is one at all."""

from emu.abi import MEMORY_EXIT_FLAG_PRIVATE, PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, Errno, ExitReason
from emu.kernels.clean import Clean
from emu.kernels.thread import REPORTED, ScribbleAsPosted
from emu.kvm.state import MemorySlot, Vcpu
from emu.syndrome import WNR, is_iabt


class BadScribbleSign(ScribbleAsPosted, Clean):
    """The line posted in the thread, without its minus: EHWPOISON's report is wiped.

    Source: zoo C11; linux-arm-kernel, 2026-May, message 1126903. Here on top of ``clean``, so that
    this is the only thing wrong.
    """


class BadReturnZero(Clean):
    """MEMORY_FAULT is filled and KVM_RUN returns 0.

    Source: zoo C4; patch 21 of 43 of the CCA series, v4, had it until its review in September 2024.
    """

    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        """An exit like any other, it seems."""
        ret = super().kvm_handle_guest_abort(vcpu)
        return 0 if ret < 0 and vcpu.run.exit_reason == ExitReason.MEMORY_FAULT else ret


class BadGpaUnaligned(Clean):
    """memory_fault.gpa is the faulting byte, not its page. Synthetic."""

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """FAR's low bits are added, as an MMIO exit would have them."""
        offset = vcpu.fault.far & PAGE_SIZE - 1
        super().kvm_prepare_memory_fault_exit(vcpu, gpa | offset, size)


class BadGpaAsGfn(Clean):
    """memory_fault.gpa is a frame number. Synthetic: x86's callers pass it shifted, arm64's not."""

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """A gfn where a gpa belongs."""
        super().kvm_prepare_memory_fault_exit(vcpu, gpa >> PAGE_SHIFT, size)


class BadGpaSlotBase(Clean):
    """memory_fault.gpa is where the slot begins, whichever of its pages failed. Synthetic."""

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """The slot's base_gfn where the fault's gfn belongs."""
        slot = self.gfn_to_memslot(vcpu.kvm, gpa)
        super().kvm_prepare_memory_fault_exit(vcpu, slot.base if slot else gpa, size)


class BadGpaNextPage(Clean):
    """memory_fault.gpa is rounded up to a page boundary, not down. Synthetic."""

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """Right only for the first byte of a page."""
        up = (gpa | vcpu.fault.far & PAGE_SIZE - 1) + PAGE_SIZE - 1 & PAGE_MASK
        super().kvm_prepare_memory_fault_exit(vcpu, up, size)


class BadSizeZero(Clean):
    """memory_fault.size is 0. Synthetic."""

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """The size is lost on the way."""
        super().kvm_prepare_memory_fault_exit(vcpu, gpa, size - size)


class BadSizeSlot(Clean):
    """memory_fault.size is the slot's. Synthetic."""

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """A VMM that repairs the range repairs, or gives up, far too much."""
        slot = self.gfn_to_memslot(vcpu.kvm, gpa)
        super().kvm_prepare_memory_fault_exit(vcpu, gpa, slot.size if slot else size)


class BadFlagsUndefined(Clean):
    """memory_fault.flags tells read, write and execute in bits that api.rst does not define.

    Synthetic: the helper is given all three, and proposals to hand them on were never merged.
    """

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """Bits 0 to 2."""
        super().kvm_prepare_memory_fault_exit(vcpu, gpa, size)
        esr = vcpu.fault.esr
        vcpu.run.u0 = 4 if is_iabt(esr) else 2 if esr & WNR else 1


class BadFlagsPrivate(Clean):
    """memory_fault.flags always says PRIVATE, where every access is a shared one.

    Synthetic; x86 got its private and shared checks wrong more than once (zoo C8, 44f42ef37deb,
    bde9f9d27e2b, 5bd74f6eecd5).
    """

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """guest_memfd is taken for private memory."""
        super().kvm_prepare_memory_fault_exit(vcpu, gpa, size)
        vcpu.run.u0 = MEMORY_EXIT_FLAG_PRIVATE


class BadPrepareForgotten(Clean):
    """gmem_abort() returns a documented errno and fills nothing. Synthetic."""

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """Fills nothing."""


class BadPreparedEarly(Clean):
    """MEMORY_FAULT is filled before the lookup's result is known, and not taken back. Synthetic.

    A page that can be had leaves a record which a later error of the same KVM_RUN passes for its
    own.
    """

    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """Speculatively, as the escape clause of api.rst seems to allow."""
        self.prepare_gmem_fault_exit(vcpu, ipa, vcpu.kvm.page_size, 0)
        return super().gmem_abort(vcpu, ipa, slot)


class BadAddressLeft(Clean):
    """Another errno comes without MEMORY_FAULT, but the fault's gpa and size stay in the union.

    Synthetic; ``scribble-on-exit`` does it too. Only the paranoid reading condemns it.
    """

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """Fill, and take back the reason alone."""
        super().gmem_abort_without_pfn(vcpu, ipa, ret)
        if ret not in REPORTED:
            vcpu.run.exit_reason = ExitReason.UNKNOWN
        return ret


class BadUserMemoryFault(Clean):
    """user_mem_abort() fills MEMORY_FAULT for its EFAULT as well. Synthetic.

    The VMM's own memory has nothing that the exit tells of: on arm64 it speaks of guest_memfd.
    """

    def user_mem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """The one exit that both kinds of memory seem to share."""
        ret = super().user_mem_abort(vcpu, ipa, slot)
        if ret == -Errno.EFAULT:
            self.prepare_gmem_fault_exit(vcpu, ipa, vcpu.kvm.page_size, ret)
        return ret


class BadHostPage(Clean):
    """On a host with large pages, memory_fault.gpa is the 4 KiB page of the access.

    Source: suspected bug S2, observed on a 7.3.4 built with 16 KiB pages: the range is misaligned
    and runs past the slot's end.
    """

    def prepare_gmem_fault_exit(self, vcpu: Vcpu, gpa: int, size: int, _ret: int) -> None:
        """HPFAR_EL2 counts in 4 KiB, whatever the host's page is."""
        self.kvm_prepare_memory_fault_exit(vcpu, gpa, size)


class BadOtherVcpu(Clean):
    """MEMORY_FAULT is written into the kvm_run of every vCPU. Synthetic."""

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """Only one of them is in KVM_RUN, or in this fault."""
        races = vcpu.kvm.races
        for each in races.vcpus if races is not None else [vcpu]:
            super().kvm_prepare_memory_fault_exit(each, gpa, size)


class BadProtectedReport(Clean):
    """A protected VM's EFAULT is told as MEMORY_FAULT. Synthetic."""

    def pkvm_mem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """What gmem_abort() would do."""
        ret = super().pkvm_mem_abort(vcpu, ipa, slot)
        if ret == -Errno.EFAULT:
            self.kvm_prepare_memory_fault_exit(vcpu, ipa, vcpu.kvm.page_size)
        return ret
