"""The VMM's own memory, as KVM's fault path and the MMU notifiers see it.

``__kvm_faultin_pfn`` is virt/kvm/kvm_main.c; the rest stands for mmap(), munmap(), mprotect(),
ftruncate() and a memory error (mm/), each with the notifier call that it makes.
"""

from typing import Final

from emu.abi import PAGE_SIZE, Errno
from emu.arena import HUGE_SHIFT, HUGE_SIZE, ZERO_PFN
from emu.injection import Point, Site
from emu.kvm.state import (
    USER_STRIDE_SHIFT,
    Huge,
    Kvm,
    UserMemory,
    Vma,
    user_object,
)
from emu.kvm.userfault import Userfault, write_protected
from emu.steps import MemKind, Protection

# An object may not reach the next one's addresses.
_OBJECT_LIMIT: Final = 1 << USER_STRIDE_SHIFT

# Plain names, for the hot path: see emu.abi.
_ANONYMOUS: Final = MemKind.ANONYMOUS
_FILE: Final = MemKind.FILE
_THP: Final = MemKind.THP
_HUGETLB: Final = MemKind.HUGETLB
_PIN: Final = Point.PIN
_READ_WRITE: Final = Protection.READ_WRITE
_NONE: Final = Protection.NONE
_NOT_CHARGED: Final = frozenset({MemKind.DEVICE, MemKind.PFNMAP})  # no pages of the system's


class HostMm(Userfault):
    """Faulting a page in, and taking it away."""

    def vma_lookup(self, kvm: Kvm, hva: int) -> Vma | None:
        """The VMM's mapping at an address, if there is one (mm/)."""
        index, offset = user_object(hva)
        memory = kvm.memory.get(index)
        return memory.vma(offset) if memory is not None else None

    def kvm_faultin_pfn(self, kvm: Kvm, hva: int, *, write: bool) -> tuple[int, bool]:
        """__kvm_faultin_pfn: (pfn, whether it may be mapped writable), or (-errno, False).

        -EHWPOISON: a memory error. Every other reason is -EFAULT, as KVM's own error pfn has no
        errno: no mapping, no permission, past the end of a file, out of memory.
        """
        if kvm.races is not None:
            kvm.races.reach(_PIN)
        if kvm.injections and (errno := kvm.inject(Site.KVM_FAULTIN_PFN)):
            return (-errno if errno == Errno.EHWPOISON else -Errno.EFAULT), False
        vma = self.vma_lookup(kvm, hva)
        if vma is None or not _permits(vma, write=write):
            return -Errno.EFAULT, False
        index, offset = user_object(hva)
        may_write = vma.protection is _READ_WRITE
        return self._handle_mm_fault(
            kvm, index, offset >> kvm.page_shift, write=write, may_write=may_write
        )

    def _handle_mm_fault(
        self, kvm: Kvm, index: int, page: int, *, write: bool, may_write: bool
    ) -> tuple[int, bool]:
        memory = kvm.memory[index]
        kind, offset = memory.kind, page << kvm.page_shift
        if kind is _FILE and offset >= memory.file_size:
            return -Errno.EFAULT, False
        if page in memory.poisoned:
            return -Errno.EHWPOISON, False
        if memory.userfaults:
            if errno := self.handle_userfault(kvm, index, offset, write=write):
                return errno, False
            may_write = may_write and not write_protected(memory, offset)
        huge = memory.huge
        if huge is not None and (
            found := self.huge_fault(kvm, index, huge, offset, write=write, may_write=may_write)
        ):
            return found
        pfn = memory.pages.get(page)
        if pfn is None:
            if (kind is _ANONYMOUS or kind is _THP) and not write:
                # A first read shares the zero page, which costs nothing and is never writable.
                memory.zeros.add(page)
                return ZERO_PFN, False
            pfn = kvm.arena.allocate() if kind in _NOT_CHARGED else kvm.charge_page()
            if pfn is None:
                return -Errno.EFAULT, False
            memory.pages[page] = pfn
            if page in memory.zeros:  # the zero page is not this page any more
                self.mmu_notifier_invalidate_range(kvm, index, offset, offset + kvm.page_size)
        return pfn, may_write

    # SYSTEM CALLS OF THE VMM

    def mmap(self, kvm: Kvm, index: int, size: int, kind: MemKind) -> int:
        """Map memory object ``index``; what was there before goes. 0 or -errno."""
        if size == 0:
            return -Errno.EINVAL
        if size > _OBJECT_LIMIT:
            return -Errno.ENOMEM
        if index in kvm.memory:
            self.munmap(kvm, index, 0, _OBJECT_LIMIT)
        end = size + -size % (HUGE_SIZE if kind is _HUGETLB else kvm.page_size)
        memory = UserMemory(kind, size, [Vma(0, end, _READ_WRITE, kind)])
        if kind is _HUGETLB or (kind is _THP and kvm.page_size == PAGE_SIZE):
            memory.huge = Huge(set(), set(), set(), set())
        kvm.memory[index] = memory
        return 0

    def munmap(self, kvm: Kvm, index: int, offset: int, size: int) -> int:
        """Unmap a range, clipped to the object. 0 or -errno."""
        if offset % kvm.page_size or size == 0 or offset >= _OBJECT_LIMIT:
            return -Errno.EINVAL
        start, end = offset, min(offset + _page_align(kvm, size), _OBJECT_LIMIT)
        memory = kvm.memory.get(index)
        if memory is None:
            return 0
        if memory.huge is not None and (ret := self.split_huge_pages_at(kvm, index, start, end)):
            return ret
        memory.vmas = [piece for vma in memory.vmas for piece in _outside(vma, start, end)]
        if memory.userfaults:
            self.userfaultfd_unregister(kvm, index, start, end)
        self.mmu_notifier_invalidate_range(kvm, index, start, end)
        if memory.kind is not _FILE:
            self._drop_pages(kvm, memory, start, end)
        return 0

    def mprotect(self, kvm: Kvm, index: int, offset: int, size: int, protection: Protection) -> int:
        """Change a range's protection, clipped to the object. -ENOMEM where a part is not mapped,
        after the parts before it were changed.
        """
        if offset % kvm.page_size:
            return -Errno.EINVAL
        if size == 0:
            return 0
        start, end = offset, min(offset + _page_align(kvm, size), _OBJECT_LIMIT)
        memory = kvm.memory.get(index)
        if memory is None or start > end:  # past all that the object may reach
            return -Errno.ENOMEM
        reached = _mapped_until(memory.vmas, start, end)
        ret = self._mprotect_fixup(kvm, index, start, reached, protection)
        memory.vmas = _merged(memory.vmas)
        return ret if ret or reached >= end else -Errno.ENOMEM

    def _mprotect_fixup(
        self, kvm: Kvm, index: int, start: int, end: int, protection: Protection
    ) -> int:
        """Mapping by mapping; one that has the protection is not cut, whatever its pages' size."""
        memory = kvm.memory[index]
        for vma in memory.vmas:
            low, high = max(vma.start, start), min(vma.end, end)
            if low >= high or vma.protection is protection:
                continue
            if memory.huge is not None and (ret := self.split_huge_pages_at(kvm, index, low, high)):
                return ret
            memory.vmas = [
                piece for each in memory.vmas for piece in _reprotected(each, low, high, protection)
            ]
            self.mmu_notifier_invalidate_range(kvm, index, low, high)
        return 0

    def ftruncate(self, kvm: Kvm, index: int, size: int) -> int:
        """Change the size of the file behind an object; pages past the end go. 0 or -errno."""
        memory = kvm.memory.get(index)
        if memory is None or memory.kind is not _FILE:
            return -Errno.EBADF
        if size > _OBJECT_LIMIT:
            return -Errno.EINVAL
        memory.file_size = size
        start = _page_align(kvm, size)
        self.mmu_notifier_invalidate_range(kvm, index, start, _OBJECT_LIMIT)
        self._drop_pages(kvm, memory, start, _OBJECT_LIMIT)
        return 0

    def memory_failure(self, kvm: Kvm, index: int, offset: int) -> int:
        """madvise(MADV_HWPOISON): bring the page in, mark it, take it away. 0 or -errno."""
        memory = kvm.memory.get(index)
        vma = memory.vma(offset) if memory is not None else None
        if memory is None or vma is None:
            return -Errno.ENOMEM
        if vma.protection is Protection.NONE:
            return -Errno.EFAULT
        if memory.kind in _NOT_CHARGED:
            return -Errno.EFAULT
        page = offset >> kvm.page_shift
        write = vma.protection is _READ_WRITE
        pfn, _ = self._handle_mm_fault(kvm, index, page, write=write, may_write=write)
        if pfn < 0:
            return pfn
        huge, number = memory.huge, offset >> HUGE_SHIFT
        if pfn == ZERO_PFN or (huge is not None and number in huge.zero):
            return -Errno.EBUSY
        if huge is not None and memory.kind is _HUGETLB:
            huge.poisoned.add(number)
            start, end = number << HUGE_SHIFT, number + 1 << HUGE_SHIFT
        else:
            if huge is not None:
                self.split_folio(kvm, index, offset)
            memory.poisoned.add(page)
            start, end = page << kvm.page_shift, page + 1 << kvm.page_shift
        self.mmu_notifier_invalidate_range(kvm, index, start, end)
        return 0

    def _drop_pages(self, kvm: Kvm, memory: UserMemory, start: int, end: int) -> None:
        self.drop_huge_pages(memory, start, end)
        first, last = start >> kvm.page_shift, end >> kvm.page_shift
        for page in [page for page in memory.pages if first <= page < last]:
            pfn = memory.pages.pop(page)
            if page not in memory.poisoned and not kvm.config.protected:  # which pins its pages
                kvm.arena.free(pfn)
        memory.poisoned = {page for page in memory.poisoned if not first <= page < last}
        memory.zeros = {page for page in memory.zeros if not first <= page < last}


def _permits(vma: Vma, *, write: bool) -> bool:
    if write:
        return vma.protection is _READ_WRITE
    # follow_pfnmap_start() in mm/memory.c asks whether there is an entry, and PROT_NONE has one.
    return vma.protection is not _NONE or vma.kind in _NOT_CHARGED


def _page_align(kvm: Kvm, size: int) -> int:
    return size + -size % kvm.page_size


def _outside(vma: Vma, start: int, end: int) -> list[Vma]:
    """What is left of a mapping when [start, end) is cut out of it."""
    if vma.end <= start or end <= vma.start:
        return [vma]
    left = Vma(vma.start, start, vma.protection, vma.kind)
    right = Vma(end, vma.end, vma.protection, vma.kind)
    return [piece for piece in (left, right) if piece.start < piece.end]


def _reprotected(vma: Vma, start: int, end: int, protection: Protection) -> list[Vma]:
    """A mapping with the protection of its part inside [start, end) changed."""
    low, high = max(vma.start, start), min(vma.end, end)
    if low >= high:
        return [vma]
    return sorted(
        [*_outside(vma, low, high), Vma(low, high, protection, vma.kind)],
        key=lambda piece: piece.start,
    )


def _merged(vmas: list[Vma]) -> list[Vma]:
    """The mappings, neighbours with one protection as one."""
    merged: list[Vma] = []
    for vma in vmas:
        last = merged[-1] if merged else None
        if last is not None and (last.end, last.protection) == (vma.start, vma.protection):
            merged[-1] = Vma(last.start, vma.end, vma.protection, vma.kind)
        else:
            merged.append(vma)
    return merged


def _mapped_until(vmas: list[Vma], start: int, end: int) -> int:
    """How far from ``start`` the mappings go on without a gap, at most to ``end``."""
    reached = start
    for vma in vmas:
        if vma.start <= reached < vma.end:
            reached = vma.end
    return min(reached, end)
