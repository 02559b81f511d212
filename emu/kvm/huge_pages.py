"""mm/huge_memory.c and mm/hugetlb.c: 2 MiB of the VMM's memory as one page.

Only an object of kind THP or HUGETLB has ``huge``; a THP one has it on hosts with 4 KiB pages only,
as a huge page is 32 or 512 MiB elsewhere, and none of those is ever free. The pool of hugetlbfs
holds as many pages as are asked for, at no charge to the memory limit.
"""

from typing import Final

from emu.abi import PAGE_SHIFT, PAGE_SIZE, Errno
from emu.arena import HUGE_PFN, HUGE_SHIFT, HUGE_SIZE
from emu.injection import Site
from emu.kvm.mmu_notifier import MmuNotifier
from emu.kvm.state import Huge, Kvm, UserMemory, user_object
from emu.steps import MemKind

_POISONED: Final = -Errno.EHWPOISON
_HUGETLB: Final = MemKind.HUGETLB
_FRAMES: Final = HUGE_SIZE >> PAGE_SHIFT


class HugePages(MmuNotifier):
    """Faulting a huge page in, splitting one, and how KVM learns of it."""

    def huge_fault(
        self, kvm: Kvm, index: int, huge: Huge, offset: int, *, write: bool, may_write: bool
    ) -> tuple[int, bool] | None:
        """A fault in an object with huge pages: what kvm_faultin_pfn() returns, or None where a
        small page must do.
        """
        memory = kvm.memory[index]
        number = offset >> HUGE_SHIFT
        if number in huge.poisoned:
            return _POISONED, False
        pfn = HUGE_PFN + (offset & HUGE_SIZE - kvm.page_size) // PAGE_SIZE
        if number in huge.real:
            return pfn, may_write
        if memory.kind is _HUGETLB:
            huge.real.add(number)
            return pfn, may_write
        if not self._fits(memory, huge, number):
            huge.tables.add(number)
            return None
        if not write:
            # A first read shares the huge zero page, as one of a small page shares the small one.
            huge.zero.add(number)
            return pfn, False
        if kvm.memory_limit:  # not that a small page could be charged
            self.split_huge_page(kvm, index, offset)
            return None
        huge.real.add(number)
        if number in huge.zero:
            huge.zero.remove(number)
            self._invalidate(kvm, index, number)
        return pfn, True

    @staticmethod
    def _fits(memory: UserMemory, huge: Huge, number: int) -> bool:
        """Whether a huge page can come: one mapping around it, no page table, nobody who watches
        single pages.
        """
        start = number << HUGE_SHIFT
        vma = memory.vma(start)
        return (
            vma is not None
            and start + HUGE_SIZE <= vma.end
            and number not in huge.tables
            and not memory.userfaults
        )

    def split_huge_page(self, kvm: Kvm, index: int, offset: int) -> None:
        """Map the huge page at an offset, if there is one, by small pages (split_huge_pmd)."""
        memory = kvm.memory[index]
        huge = memory.huge
        number = offset >> HUGE_SHIFT
        if huge is None or (number not in huge.real and number not in huge.zero):
            return
        first = number << HUGE_SHIFT - PAGE_SHIFT
        if number in huge.zero:  # the small zero page stands for each of its parts
            memory.zeros.update(range(first, first + _FRAMES))
        if number in huge.real:
            memory.pages.update((first + frame, HUGE_PFN + frame) for frame in range(_FRAMES))
        huge.real.discard(number)
        huge.zero.discard(number)
        huge.tables.add(number)
        self._invalidate(kvm, index, number)

    def split_folio(self, kvm: Kvm, index: int, offset: int) -> None:
        """Take a huge page apart, for a memory error in the part at an offset. The others hold
        zeros, whatever the guest does, and become the zero page (mm/huge_memory.c, __folio_split;
        mm/migrate.c, try_to_map_unused_to_zeropage).
        """
        self.split_huge_page(kvm, index, offset)
        memory, number = kvm.memory[index], offset >> HUGE_SHIFT
        first, broken = number << HUGE_SHIFT - PAGE_SHIFT, {*memory.poisoned, offset >> PAGE_SHIFT}
        parts = [
            page
            for page in range(first, first + _FRAMES)
            if memory.pages.get(page) == HUGE_PFN + page - first and page not in broken
        ]
        for page in parts:
            del memory.pages[page]
        memory.zeros.update(parts)
        if parts:
            self._invalidate(kvm, index, number)

    def split_huge_pages_at(self, kvm: Kvm, index: int, *edges: int) -> int:
        """A mapping is to be cut at these offsets: 0, or -EINVAL inside a page of hugetlbfs."""
        memory = kvm.memory[index]
        cuts = [
            edge
            for edge in edges
            if edge & HUGE_SIZE - 1 and any(vma.start < edge < vma.end for vma in memory.vmas)
        ]
        if memory.kind is _HUGETLB:
            return -Errno.EINVAL if cuts else 0
        for edge in cuts:
            self.split_huge_page(kvm, index, edge)
        return 0

    def drop_huge_pages(self, memory: UserMemory, start: int, end: int) -> None:
        """Those that lie in [start, end) go, and so do page tables that nothing is left in."""
        if memory.huge is not None:
            inside = range(-(-start >> HUGE_SHIFT), end >> HUGE_SHIFT)
            for numbers in memory.huge:
                numbers.difference_update([number for number in numbers if number in inside])

    def get_user_mapping_size(self, kvm: Kvm, hva: int) -> int:
        """arch/arm64/kvm/mmu.c: the size of what maps an address in the VMM's page tables, or
        -errno.
        """
        if kvm.injections and (errno := kvm.inject(Site.GET_USER_MAPPING_SIZE)):
            return -errno
        index, offset = user_object(hva)
        huge = kvm.memory[index].huge
        number = offset >> HUGE_SHIFT
        if huge is not None and (number in huge.real or number in huge.zero):
            return HUGE_SIZE
        return kvm.page_size

    def _invalidate(self, kvm: Kvm, index: int, number: int) -> None:
        start = number << HUGE_SHIFT
        self.mmu_notifier_invalidate_range(kvm, index, start, start + HUGE_SIZE)
