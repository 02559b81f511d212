"""Released kernels. A release is the class of the one before it with what changed."""

from emu.kvm.kvm_main import Kernel


class V73(Kernel):
    """Linux 7.3.4, the reference that all others are told apart from.

    gmem_abort() fills MEMORY_FAULT for any errno that kvm_gmem_get_pfn() returns, and returns it
    as it is. Leaves: the leak (C2), natural with ENOMEM under a memory limit, and with any errno
    that is injected there; and with an injected ENOEXEC, which the guest gets as an abort, a record
    that a later error in the same KVM_RUN shows as its own (C3; C2 under ENOSYS).
    The VNCR path returns 0 with MEMORY_FAULT (C1), and resumes after any other injected errno with
    a record left (C3), at the worst for ever (C11). L2's faults are reported with an address of
    L2's (C4), and one that KVM could not even look up is both L1's and the VMM's (C10).
    """
