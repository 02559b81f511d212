"""Numbers that KVM's userspace interface fixes: errnos, exit reasons, flags, the kvm_run union.

Source: Linux 7.3.4, include/uapi/linux/kvm.h and include/uapi/asm-generic/errno.h.
Nothing here depends on the modelled kernel; the judge reads this module too. To look up a member of
an enum costs ten times a global, so modules on the hot path give those they need plain names.
"""

from enum import IntEnum
from typing import Final

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
PAGE_MASK: Final = ~(PAGE_SIZE - 1)
U64: Final = (1 << 64) - 1


class Errno(IntEnum):
    """The errnos that the fault path, its causes or an injection can name."""

    EPERM = 1
    ENOENT = 2
    EINTR = 4
    EIO = 5
    E2BIG = 7
    ENOEXEC = 8
    EBADF = 9
    EAGAIN = 11
    ENOMEM = 12
    EACCES = 13
    EFAULT = 14
    EBUSY = 16
    EEXIST = 17
    ENODEV = 19
    EINVAL = 22
    ENOSPC = 28
    ERANGE = 34
    ENOSYS = 38
    EOPNOTSUPP = 95
    EHWPOISON = 133


class ExitReason(IntEnum):
    """``kvm_run.exit_reason``."""

    UNKNOWN = 0
    HYPERCALL = 3
    DEBUG = 4
    MMIO = 6
    SHUTDOWN = 8
    FAIL_ENTRY = 9
    INTR = 10
    INTERNAL_ERROR = 17
    SYSTEM_EVENT = 24
    ARM_NISV = 28
    DIRTY_RING_FULL = 31
    MEMORY_FAULT = 39
    ARM_SEA = 41
    ARM_LDST64B = 42


class MemFlag(IntEnum):
    """``kvm_userspace_memory_region2.flags``."""

    LOG_DIRTY_PAGES = 1
    READONLY = 2
    GUEST_MEMFD = 4


class GmemFlag(IntEnum):
    """``kvm_create_guest_memfd.flags``."""

    MMAP = 1
    INIT_SHARED = 2


MEMORY_EXIT_FLAG_PRIVATE: Final = 1 << 3
USER_MEM_SLOTS: Final = 32767
MEM_MAX_NR_PAGES: Final = (1 << 31) - 1

# Written over memory_fault.gpa and .size before a KVM_RUN, so that a fresh record can be told from
# a kept one. Neither value is page-aligned, so neither can be mistaken for a kernel's.
STAMP_GPA: Final = 0x5A5A_5A5A_5A5A_5A5B
STAMP_SIZE: Final = 0x5A5A_5A5A_5A5A_5A5D

# Guest-physical addresses that belong to the harness on both machines: the guest's code and stage-1
# tables, and the doorbell by which it tells its VMM that it is done. Below 4 GiB, so that the
# smallest IPA space holds them.
HARNESS_BASE: Final = 0xF000_0000
HARNESS_SIZE: Final = 0x0040_0000
HARNESS_SLOT: Final = 32766
DOORBELL: Final = 0xF020_0000


_ERRNO_NAMES: Final = {int(each): each.name for each in Errno}
_REASON_NAMES: Final = {int(each): each.name for each in ExitReason}


def errno_name(number: int) -> str:
    """The errno's symbol, or its number where this module has none."""
    return _ERRNO_NAMES.get(number) or str(number)


def reason_name(number: int) -> str:
    """The exit reason's symbol without KVM_EXIT_, or its number where this module has none."""
    return _REASON_NAMES.get(number) or str(number)
