"""A kernel that keeps the contract: what the others are measured against."""

from emu.kernels.thread import RfcAlignErrno
from emu.kvm.state import Vcpu
from emu.syndrome import is_iabt


class Clean(RfcAlignErrno):
    """Linux 7.3.4 with ``rfc-align-errno`` and a cure for every other breach that is modelled.

    With the RFC's change an ENOEXEC no longer reaches the guest as an abort, and the VNCR path
    resumes after no error that left a record.
    """

    def memory_fault_gpa(self, _vcpu: Vcpu, ipa: int) -> int:
        """L1's address, which the VMM knows, and not L2's."""
        return ipa

    def prepare_gmem_fault_exit(self, vcpu: Vcpu, gpa: int, size: int, ret: int) -> None:
        """The host page that the address lies in."""
        super().prepare_gmem_fault_exit(vcpu, gpa & -size, size, ret)

    def walk_beyond_ipa_space(self, vcpu: Vcpu) -> int:
        """The guest has its abort, as it has for a table in no slot."""
        return self.kvm_inject_sea(vcpu, iabt=is_iabt(vcpu.fault.esr))

    def nested_walk_failed(self, _ret: int) -> int:
        """L1 has its fault; the VMM could do nothing about it."""
        return 1
