"""include/linux/kvm_host.h: what every part of KVM uses."""

from typing import Final

from emu.abi import ExitReason
from emu.injection import Point
from emu.kvm.state import Kvm, MemorySlot, Vcpu
from emu.races import Races
from emu.steps import RunFlag

# Plain names, for the hot path: see emu.abi.
_WALK: Final = Point.WALK
_LOOKUP: Final = Point.LOOKUP
_MAP: Final = Point.MAP


class KvmHost:
    """The helpers at the bottom of the stack. Each module above adds one kernel file's."""

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """Fill kvm_run for KVM_EXIT_MEMORY_FAULT.

        Read, write and execute are not told (7.3.4), and nothing on arm64 is PRIVATE.
        """
        run = vcpu.run
        run.exit_reason = ExitReason.MEMORY_FAULT
        run.u0 = 0
        run.u1 = gpa
        run.u2 = size

    def prepare_gmem_fault_exit(self, vcpu: Vcpu, gpa: int, size: int, _ret: int) -> None:
        """What gmem_abort() and kvm_translate_vncr() do first when kvm_gmem_get_pfn() failed.

        Linux 7.3.4 does not ask with which errno.
        """
        self.kvm_prepare_memory_fault_exit(vcpu, gpa, size)

    def kvm_vm_bugged(self, kvm: Kvm) -> None:
        """The VM can no longer be trusted: every later ioctl on it answers EIO."""
        kvm.vm_dead = True
        if kvm.races is not None:
            for vcpu in kvm.races.vcpus:
                vcpu.requests |= RunFlag.VM_DEAD  # those that are in the run loop find it there

    def mmu_invalidate_retry(self, kvm: Kvm, seq: int) -> bool:
        """Whether memory was taken away since the count was ``seq``; asked under the fault lock,
        with the page in hand.
        """
        if kvm.races is not None:
            kvm.races.reach(_MAP)
        return kvm.mmu_invalidate_seq != seq

    def id_to_memslot(self, kvm: Kvm, number: int) -> MemorySlot | None:
        """The slot of that id."""
        for slot in kvm.memslots:
            if slot.id == number:
                return slot
        return None

    def gfn_to_memslot(self, kvm: Kvm, ipa: int) -> MemorySlot | None:
        """The slot that holds a guest-physical address (virt/kvm/kvm_main.c)."""
        for slot in kvm.memslots:
            if slot.base <= ipa < slot.base + slot.size:
                return slot
        return None

    def racing_gfn_to_memslot(self, kvm: Kvm, races: Races, ipa: int) -> MemorySlot | None:
        """The same in the fault path, where others may change the slots before and after."""
        races.reach(_WALK)
        slot = self.gfn_to_memslot(kvm, ipa)
        races.reach(_LOOKUP)
        return slot
