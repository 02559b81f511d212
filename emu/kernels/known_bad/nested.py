"""Slips that take a nested guest: L2's aborts, and L1's VNCR page."""

from emu.abi import Errno
from emu.guest import VncrTlb
from emu.kernels.clean import Clean
from emu.kvm.nested_state import L1Stage2, Nested
from emu.kvm.state import Kvm, MemorySlot, Vcpu
from emu.syndrome import FSC_SEA, fault_ipa


class BadNestedGpa(Clean):
    """For an access of L2's, memory_fault.gpa is L2's address, which tells the VMM nothing.

    Source: suspected bug S1, observed on 7.3.4.
    """

    def memory_fault_gpa(self, vcpu: Vcpu, ipa: int) -> int:
        """What HPFAR_EL2 holds."""
        return (
            fault_ipa(vcpu.fault.hpfar) if vcpu.guest.in_l2 else super().memory_fault_gpa(vcpu, ipa)
        )


class BadNestedLookup(Clean):
    """L2's address, and not L1's, is looked up in the memory slots. Synthetic.

    It is what a fault path does that forgets to go on with the result of its walk.
    """

    def kvm_nested_guest_abort(self, vcpu: Vcpu, nested: Nested, ipa: int) -> int:
        """The walk succeeds, and its output goes nowhere."""
        ret = super().kvm_nested_guest_abort(vcpu, nested, ipa)
        if vcpu.s2_trans is not None:
            vcpu.s2_trans = vcpu.s2_trans._replace(output=ipa)
        return ret


class BadNestedWalkTwice(Clean):
    """Tables of L1's that cannot be read are a fault for L1, and an error for the VMM too.

    Source: suspected bug S3, observed on 7.3.4: L1 can make its own VM's KVM_RUN fail.
    """

    def nested_walk_failed(self, ret: int) -> int:
        """The negative value goes on its way."""
        return ret


class BadNestedWalkAgain(Clean):
    """L1 changes a descriptor while it is being walked, and the VMM is told so. Synthetic.

    It is row A6 without its way back to the guest.
    """

    def nested_walk_raced(self) -> int:
        """The walk's own errno."""
        return -Errno.EAGAIN


class BadNestedSwapAddress(Clean):
    """The access flag is set eight times as far into L1's table as its descriptor is: what is
    there is taken never to be what was read, so the walk begins again for ever.

    Source: zoo F12, CVE-2026-31553, fixed by 0496acc42fb5, in 7.0. 6.19 had it, but no HA for L1.
    """

    def swap_guest_s2_desc(self, kvm: Kvm, l1: L1Stage2, ipa: int, level: int) -> int:
        """Only the first of a table is where it is looked for."""
        if l1.index(ipa, level):
            return -Errno.EAGAIN
        return super().swap_guest_s2_desc(kvm, l1, ipa, level)


class BadVncrReturnZero(Clean):
    """A VNCR page that guest_memfd does not give leaves with MEMORY_FAULT and 0.

    Source: zoo C2, f4e740309ee2, observed on 7.3.4.
    """

    def vncr_gmem_exit(self, _ret: int) -> int:
        """A userspace exit, it seems."""
        return 0


class BadVncrStale(Clean):
    """A VNCR page whose lookup says EAGAIN leaves its record behind, and the guest resumes.

    Source: suspected bug S5, observed on 7.3.4 by injection: a later EFAULT in the same KVM_RUN is
    taken for the VNCR page's.
    """

    def translate_vncr_without_pfn(self, vcpu: Vcpu, page: int, ret: int) -> int:
        """Filled first, and not taken back."""
        aligned = super().translate_vncr_without_pfn(vcpu, page, ret)
        return ret if ret == -Errno.EAGAIN else aligned


class BadVncrUnresolved(Clean):
    """A VNCR page that was not found is taken for one that is mapped, and is asked for again.

    Source: zoo F10, 9f3e83345a56.
    """

    def kvm_translate_vncr(
        self, vcpu: Vcpu, tlb: VncrTlb, slot: MemorySlot | None, page: int
    ) -> int:
        """The pfn is not looked at."""
        ret = super().kvm_translate_vncr(vcpu, tlb, slot, page)
        own = slot is None or slot.gmem is None
        return -Errno.EAGAIN if own and ret == -Errno.EFAULT else ret


class BadVncrNotGmem(Clean):
    """A VNCR page of guest_memfd is taken for the VMM's own: L1 gets an abort, and a record stays.

    Source: zoo F10; the second version of 4bd7dbe0b224 told the two apart by a variable that nobody
    had set.
    """

    def kvm_handle_vncr_abort(self, vcpu: Vcpu, tlb: VncrTlb) -> int:
        """What is not reported is injected."""
        ret = super().kvm_handle_vncr_abort(vcpu, tlb)
        return self.inject_vncr(vcpu, FSC_SEA) if ret < 0 else ret
