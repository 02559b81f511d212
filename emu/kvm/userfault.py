"""fs/userfaultfd.c: the faults that the VMM asked to hear of, and what its handler does.

The handler is another thread of the VMM. It answers a fault before anything else happens, so that a
fault blocks KVM_RUN for no time that a case could see: it is resolved, counted, and goes on.
"""

from typing import Final

from emu.abi import Errno
from emu.arena import HUGE_SHIFT, HUGE_SIZE
from emu.kvm.huge_pages import HugePages
from emu.kvm.state import (
    USER_STRIDE_SHIFT,
    USER_TOP,
    Kvm,
    Registration,
    UserMemory,
    user_address,
)
from emu.steps import MemKind, UserfaultMode

# Plain names, for the hot path: see emu.abi.
_HUGETLB: Final = MemKind.HUGETLB
_SIGBUS: Final = UserfaultMode.SIGBUS
_WRITE_PROTECT: Final = UserfaultMode.WRITE_PROTECT

# vma_can_userfault(); a file of the VMM's is a memfd, which is shmem.
_CAPABLE: Final = (MemKind.ANONYMOUS, MemKind.FILE, MemKind.SHARED, MemKind.THP, _HUGETLB)
_OBJECT_LIMIT: Final = 1 << USER_STRIDE_SHIFT


class Userfault(HugePages):
    """Registering a range, and a fault in it."""

    def userfaultfd_ctl(
        self, kvm: Kvm, index: int, offset: int, size: int, mode: UserfaultMode
    ) -> int:
        """UFFDIO_UNREGISTER of a range, clipped to the object, then UFFDIO_REGISTER in this mode.

        0, or EINVAL: not whole pages, past the VMM's addresses, nothing mapped there, or nothing
        that can be registered.
        Holes between mappings are no error.
        """
        memory = kvm.memory.get(index)
        if memory is None or memory.kind not in _CAPABLE:
            return -Errno.EINVAL
        unit = HUGE_SIZE if memory.kind is _HUGETLB else kvm.page_size
        end = min(offset + size, _OBJECT_LIMIT)
        if offset % unit or size % unit or offset >= end:
            return -Errno.EINVAL
        if user_address(index, offset) + size > USER_TOP:
            return -Errno.EINVAL
        if not any(vma.start < end and offset < vma.end for vma in memory.vmas):
            return -Errno.EINVAL
        self.split_huge_pages_at(kvm, index, offset, end)  # where it cuts a mapping
        self.userfaultfd_unregister(kvm, index, offset, end)
        if mode is not UserfaultMode.OFF:
            memory.userfaults.append(Registration(offset, end, mode, unit))
        if mode is _WRITE_PROTECT:  # UFFDIO_WRITEPROTECT, with UFFD_FEATURE_WP_UNPOPULATED
            self.mmu_notifier_invalidate_range(kvm, index, offset, end)
        return 0

    def userfaultfd_unregister(self, kvm: Kvm, index: int, start: int, end: int) -> None:
        """Watch a range no longer, because the VMM says so or it is unmapped."""
        memory = kvm.memory[index]
        for each in memory.userfaults:
            low, high = max(each.start, start), min(each.end, end)
            if each.mode is _WRITE_PROTECT and low < high:
                self.mmu_notifier_invalidate_range(kvm, index, low, high)
        memory.userfaults = [
            Registration(low, high, each.mode, each.unit, each.lifted)
            for each in memory.userfaults
            for low, high in _outside(each, start, end)
        ]

    def handle_userfault(self, kvm: Kvm, index: int, offset: int, *, write: bool) -> int:
        """A fault in an object of which a part is watched: 0, and it is resolved if it is of the
        kind that is watched for; or -EFAULT.
        """
        memory = kvm.memory[index]
        watched = _registration(memory, offset)
        if watched is None:
            return 0
        if watched.mode is _WRITE_PROTECT:
            if write and offset // watched.unit not in watched.lifted:
                # A page that is not there comes first; userfaultfd hears of it when it is.
                lacking = kvm.memory_limit and watched.unit != HUGE_SIZE
                if not lacking or _is_there(memory, offset, offset >> kvm.page_shift):
                    self.lift_protection(kvm, index, offset, watched)
            return 0
        if _is_there(memory, offset, offset >> kvm.page_shift):
            return 0
        if watched.mode is _SIGBUS:
            return -Errno.EFAULT
        self.place_zeroed_page(kvm, index, offset, watched.unit)
        return 0

    def lift_protection(self, kvm: Kvm, index: int, offset: int, watched: Registration) -> None:
        """The handler's UFFDIO_WRITEPROTECT of one page."""
        if watched.unit != HUGE_SIZE:
            self.split_huge_page(kvm, index, offset)
        watched.lifted.add(offset // watched.unit)
        kvm.userfaults += 1

    def place_zeroed_page(self, kvm: Kvm, index: int, offset: int, unit: int) -> None:
        """The handler's UFFDIO_COPY of one page. Where none can be charged it gives the page's
        addresses up, and the kernel does what it does without a handler.
        """
        memory = kvm.memory[index]
        if memory.huge is not None and unit == HUGE_SIZE:
            memory.huge.real.add(offset >> HUGE_SHIFT)
        elif (pfn := kvm.charge_page()) is not None:
            memory.pages[offset >> kvm.page_shift] = pfn
        else:
            self.userfaultfd_unregister(kvm, index, offset, offset + unit)
            return
        kvm.userfaults += 1


def write_protected(memory: UserMemory, offset: int) -> bool:
    """Whether userfaultfd wants to hear of a write to the page that starts there."""
    watched = _registration(memory, offset)
    if watched is None or watched.mode is not _WRITE_PROTECT:
        return False
    return offset // watched.unit not in watched.lifted


def _registration(memory: UserMemory, offset: int) -> Registration | None:
    for each in memory.userfaults:
        if each.start <= offset < each.end:
            return each
    return None


def _outside(each: Registration, start: int, end: int) -> list[tuple[int, int]]:
    """What is left of a registration's range when [start, end) is cut out of it."""
    left = (each.start, min(each.end, start))
    right = (max(each.start, end), each.end)
    return [piece for piece in (left, right) if piece[0] < piece[1]]


def _is_there(memory: UserMemory, offset: int, page: int) -> bool:
    """Whether the VMM's page tables, or the file's pages, have something for a page."""
    huge, number = memory.huge, offset >> HUGE_SHIFT
    if huge is not None and (number in huge.real or number in huge.zero):
        return True
    return page in memory.pages or page in memory.zeros
