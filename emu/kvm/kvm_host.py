"""include/linux/kvm_host.h: what every part of KVM uses."""

from emu.abi import ExitReason
from emu.kvm.state import Kvm, MemorySlot, Vcpu


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

    def kvm_vm_bugged(self, kvm: Kvm) -> None:
        """The VM can no longer be trusted: every later ioctl on it answers EIO."""
        kvm.vm_dead = True

    def gfn_to_memslot(self, kvm: Kvm, ipa: int) -> MemorySlot | None:
        """The slot that holds a guest-physical address (virt/kvm/kvm_main.c)."""
        for slot in kvm.memslots:
            if slot.base <= ipa < slot.base + slot.size:
                return slot
        return None
