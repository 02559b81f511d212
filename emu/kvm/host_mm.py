"""The VMM's own memory, as KVM's fault path and the MMU notifiers see it.

``__kvm_faultin_pfn`` is virt/kvm/kvm_main.c; the rest stands for mmap(), munmap(), mprotect(),
ftruncate() and a memory error (mm/), each with the notifier call that it makes.
"""

from typing import Final

from emu.abi import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, Errno
from emu.arena import ZERO_PFN
from emu.case import MemKind, Protection
from emu.injection import Site
from emu.kvm.guest_memfd import GuestMemfd
from emu.kvm.state import (
    USER_STRIDE_SHIFT,
    Kvm,
    UserMemory,
    Vma,
    user_address,
    user_object,
)

# An object may not reach the next one's addresses.
_OBJECT_LIMIT: Final = 1 << USER_STRIDE_SHIFT


class HostMm(GuestMemfd):
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
        if kvm.injections and (errno := kvm.inject(Site.KVM_FAULTIN_PFN)):
            return (-errno if errno == Errno.EHWPOISON else -Errno.EFAULT), False
        vma = self.vma_lookup(kvm, hva)
        if vma is None or not _permits(vma.protection, write=write):
            return -Errno.EFAULT, False
        index, offset = user_object(hva)
        may_write = vma.protection is Protection.READ_WRITE
        return self._handle_mm_fault(
            kvm, index, offset >> PAGE_SHIFT, write=write, may_write=may_write
        )

    def _handle_mm_fault(
        self, kvm: Kvm, index: int, page: int, *, write: bool, may_write: bool
    ) -> tuple[int, bool]:
        memory = kvm.memory[index]
        if memory.kind is MemKind.FILE and page << PAGE_SHIFT >= memory.file_size:
            return -Errno.EFAULT, False
        if page in memory.poisoned:
            return -Errno.EHWPOISON, False
        pfn = memory.pages.get(page)
        if pfn is None:
            if memory.kind is MemKind.ANONYMOUS and not write:
                # A first read shares the zero page, which costs nothing and is never writable.
                return ZERO_PFN, False
            pfn = kvm.charge_page()
            if pfn is None:
                return -Errno.EFAULT, False
            memory.pages[page] = pfn
            if write:  # the zero page, if anybody was shown it, is not this page any more
                self.mmu_notifier_invalidate_range(
                    kvm, index, page << PAGE_SHIFT, page + 1 << PAGE_SHIFT
                )
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
        end = (size + PAGE_SIZE - 1) & PAGE_MASK
        kvm.memory[index] = UserMemory(kind, size, [Vma(0, end, Protection.READ_WRITE)])
        return 0

    def munmap(self, kvm: Kvm, index: int, offset: int, size: int) -> int:
        """Unmap a range, clipped to the object. 0 or -errno."""
        if offset & ~PAGE_MASK or size == 0 or offset >= _OBJECT_LIMIT:
            return -Errno.EINVAL
        start, end = offset, min(offset + _page_align(size), _OBJECT_LIMIT)
        memory = kvm.memory.get(index)
        if memory is None:
            return 0
        memory.vmas = [piece for vma in memory.vmas for piece in _outside(vma, start, end)]
        self.mmu_notifier_invalidate_range(kvm, index, start, end)
        if memory.kind is MemKind.ANONYMOUS:
            self._drop_pages(kvm, memory, start, end)
        return 0

    def mprotect(self, kvm: Kvm, index: int, offset: int, size: int, protection: Protection) -> int:
        """Change a range's protection, clipped to the object. -ENOMEM where a part is not mapped,
        after the parts before it were changed.
        """
        if offset & ~PAGE_MASK:
            return -Errno.EINVAL
        if size == 0:
            return 0
        start, end = offset, min(offset + _page_align(size), _OBJECT_LIMIT)
        memory = kvm.memory.get(index)
        if memory is None:
            return -Errno.ENOMEM
        reached = _mapped_until(memory.vmas, start, end)
        memory.vmas = [
            piece for vma in memory.vmas for piece in _reprotected(vma, start, reached, protection)
        ]
        self.mmu_notifier_invalidate_range(kvm, index, start, reached)
        return 0 if reached >= end else -Errno.ENOMEM

    def ftruncate(self, kvm: Kvm, index: int, size: int) -> int:
        """Change the size of the file behind an object; pages past the end go. 0 or -errno."""
        memory = kvm.memory.get(index)
        if memory is None or memory.kind is not MemKind.FILE:
            return -Errno.EBADF
        if size > _OBJECT_LIMIT:
            return -Errno.EINVAL
        memory.file_size = size
        start = _page_align(size)
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
        page = offset >> PAGE_SHIFT
        write = vma.protection is Protection.READ_WRITE
        pfn, _ = self._handle_mm_fault(kvm, index, page, write=write, may_write=write)
        if pfn < 0:
            return pfn
        if pfn == ZERO_PFN:
            return -Errno.EBUSY
        memory.poisoned.add(page)
        self.mmu_notifier_invalidate_range(kvm, index, page << PAGE_SHIFT, page + 1 << PAGE_SHIFT)
        return 0

    def mmu_notifier_invalidate_range(self, kvm: Kvm, index: int, start: int, end: int) -> None:
        """Take a range of the VMM's addresses out of stage 2 wherever a slot shows it."""
        first, last = user_address(index, start), user_address(index, end)
        for slot in kvm.memslots:
            if slot.gmem is not None:
                continue  # a guest_memfd slot's faults never go through its userspace_addr
            low = max(first, slot.userspace_addr)
            high = min(last, slot.userspace_addr + slot.size)
            if low < high:
                offset = slot.base - slot.userspace_addr
                self.kvm_unmap_gfn_range(kvm, low + offset, high + offset)

    @staticmethod
    def _drop_pages(kvm: Kvm, memory: UserMemory, start: int, end: int) -> None:
        first, last = start >> PAGE_SHIFT, end >> PAGE_SHIFT
        for page in [page for page in memory.pages if first <= page < last]:
            pfn = memory.pages.pop(page)
            if page not in memory.poisoned:
                kvm.arena.free(pfn)
        memory.poisoned = {page for page in memory.poisoned if not first <= page < last}


def _permits(protection: Protection, *, write: bool) -> bool:
    if write:
        return protection is Protection.READ_WRITE
    return protection is not Protection.NONE


def _page_align(size: int) -> int:
    return (size + PAGE_SIZE - 1) & PAGE_MASK


def _outside(vma: Vma, start: int, end: int) -> list[Vma]:
    """What is left of a mapping when [start, end) is cut out of it."""
    if vma.end <= start or end <= vma.start:
        return [vma]
    left = Vma(vma.start, start, vma.protection)
    right = Vma(end, vma.end, vma.protection)
    return [piece for piece in (left, right) if piece.start < piece.end]


def _reprotected(vma: Vma, start: int, end: int, protection: Protection) -> list[Vma]:
    """A mapping with the protection of its part inside [start, end) changed."""
    low, high = max(vma.start, start), min(vma.end, end)
    if low >= high:
        return [vma]
    return sorted(
        [*_outside(vma, low, high), Vma(low, high, protection)], key=lambda piece: piece.start
    )


def _mapped_until(vmas: list[Vma], start: int, end: int) -> int:
    """How far from ``start`` the mappings go on without a gap, at most to ``end``."""
    reached = start
    for vma in vmas:
        if vma.start <= reached < vma.end:
            reached = vma.end
    return min(reached, end)
