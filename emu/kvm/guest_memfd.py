"""virt/kvm/guest_memfd.c: memory that only the guest, and whom the file lets in, can reach.

Every access on arm64 is a shared one: memory attributes are not built there, so PRIVATE plays no
part. Folios are pages here; they are charged to the VMM's cgroup when first asked for.
"""

from typing import Final

from emu.abi import Errno, GmemFlag
from emu.injection import Point, Site
from emu.kvm.inject_fault import InjectFault
from emu.kvm.state import Gmem, Kvm, MemorySlot

_PIN: Final = Point.PIN  # a plain name, for the hot path
_KNOWN_FLAGS: Final = GmemFlag.MMAP | GmemFlag.INIT_SHARED


class GuestMemfd(InjectFault):
    """Create, allocate, punch, poison and release; bind and unbind; the lookup of a fault."""

    def kvm_gmem_create(self, kvm: Kvm, size: int, flags: int) -> Gmem | int:
        """KVM_CREATE_GUEST_MEMFD: the new file, or -errno."""
        if kvm.vm_dead:
            return -Errno.EIO
        if flags & ~_KNOWN_FLAGS:
            return -Errno.EINVAL
        if size == 0 or size >> 63 or size % kvm.page_size:
            return -Errno.EINVAL
        return Gmem(size, flags)

    # LOOK UP

    def kvm_gmem_get_pfn(self, kvm: Kvm, slot: MemorySlot, ipa: int) -> int:
        """The pfn behind a guest-physical address of a guest_memfd slot, or -errno.

        EFAULT: the file was released. EIO: the binding is another slot's. ENOMEM: the page cannot
        be charged. EHWPOISON: the page had a memory error. Checked in this order.
        """
        if kvm.races is not None:
            kvm.races.reach(_PIN)
        if kvm.injections and (errno := kvm.inject(Site.KVM_GMEM_GET_PFN)):
            return -errno
        gmem = slot.gmem
        if gmem is None or gmem.released:
            return -Errno.EFAULT
        index = (ipa - slot.base >> kvm.page_shift) + slot.gmem_index
        if self._bound_slot(gmem, index) is not slot:
            return -Errno.EIO
        pfn = self.kvm_gmem_get_folio(kvm, gmem, index)
        if pfn < 0:
            return pfn
        if index in gmem.poisoned:
            return -Errno.EHWPOISON
        return pfn

    def kvm_gmem_get_folio(self, kvm: Kvm, gmem: Gmem, index: int) -> int:
        """The folio at an index, allocated where there is none; pfn or -errno."""
        pfn = gmem.folios.get(index)
        if pfn is None:
            pfn = kvm.arena.allocate() if gmem.is_allocated(index) else kvm.charge_page()
            if pfn is None:
                return -Errno.ENOMEM
            gmem.folios[index] = pfn
        return pfn

    @staticmethod
    def _bound_slot(gmem: Gmem, index: int) -> MemorySlot | None:
        for start, end, slot in gmem.bindings:
            if start <= index < end:
                return slot
        return None

    # BIND

    def kvm_gmem_prepare_bind(self, kvm: Kvm, fd: int, offset: int, size: int) -> Gmem | int:
        """Find the file that a new slot names and check the range; the file, or -errno."""
        gmem = kvm.gmems.get(fd)
        if gmem is None:
            return -Errno.EBADF
        if offset % kvm.page_size or offset + size > gmem.size:
            return -Errno.EINVAL
        return gmem

    def kvm_gmem_bind(self, kvm: Kvm, gmem: Gmem, slot: MemorySlot) -> int:
        """Give the file's range to a slot that is otherwise ready; 0 or -EEXIST."""
        if kvm.injections and (errno := kvm.inject(Site.KVM_GMEM_BIND)):
            return -errno
        start, end = slot.gmem_index, slot.gmem_index + (slot.size >> kvm.page_shift)
        if any(start < bound[1] and bound[0] < end for bound in gmem.bindings):
            return -Errno.EEXIST
        gmem.bindings.append((start, end, slot))
        return 0

    def kvm_gmem_unbind(self, slot: MemorySlot) -> None:
        """Take a deleted slot's range back."""
        gmem = slot.gmem
        if gmem is not None:
            gmem.bindings[:] = [binding for binding in gmem.bindings if binding[2] is not slot]

    # FILE OPERATIONS

    def kvm_gmem_punch_hole(self, kvm: Kvm, gmem: Gmem, offset: int, size: int) -> int:
        """fallocate(PUNCH_HOLE): zap stage 2, free the folios, forget their memory errors."""
        if (offset | size) % kvm.page_size or size == 0 or offset + size >> 63:
            return -Errno.EINVAL
        start, end = offset >> kvm.page_shift, offset + size >> kvm.page_shift
        self.kvm_gmem_invalidate(kvm, gmem, start, end)
        for index in [index for index in gmem.folios if start <= index < end]:
            self._drop_folio(kvm, gmem, index)
        gmem.allocated = [
            piece
            for first, last in gmem.allocated
            for piece in ((first, min(last, start)), (max(first, end), last))
            if piece[0] < piece[1]
        ]
        return 0

    def kvm_gmem_allocate(self, kvm: Kvm, gmem: Gmem, offset: int, size: int) -> int:
        """fallocate() of a range inside the file: its pages are paid for from here on.

        Under a memory limit the call fails, whatever of the range is there already.
        """
        if (offset | size) % kvm.page_size or size == 0 or offset + size > gmem.size:
            return -Errno.EINVAL
        if kvm.memory_limit:
            return -Errno.ENOMEM
        gmem.allocated.append((offset >> kvm.page_shift, offset + size >> kvm.page_shift))
        return 0

    def kvm_gmem_release(self, kvm: Kvm, gmem: Gmem) -> None:
        """The file's last reference is gone: its pages leave stage 2, its slots stay."""
        gmem.released = True
        self.kvm_gmem_invalidate(kvm, gmem, 0, gmem.size >> kvm.page_shift)
        for index in list(gmem.folios):
            self._drop_folio(kvm, gmem, index)

    def kvm_gmem_error_folio(self, kvm: Kvm, gmem: Gmem, offset: int) -> int:
        """A memory error reported through the file's mapping, which brings the page in first.

        ENODEV: the file cannot be mapped. EFAULT: the VMM may not touch this page (no INIT_SHARED,
        past the end, or one with a memory error already). ENOMEM: the page cannot be charged.
        """
        if not gmem.flags & GmemFlag.MMAP:
            return -Errno.ENODEV
        if not gmem.flags & GmemFlag.INIT_SHARED or offset >= gmem.size:
            return -Errno.EFAULT
        index = offset >> kvm.page_shift
        pfn = self.kvm_gmem_get_folio(kvm, gmem, index)
        if pfn < 0:
            return pfn
        if index in gmem.poisoned:
            return -Errno.EFAULT
        gmem.poisoned.add(index)
        self.kvm_gmem_invalidate(kvm, gmem, index, index + 1)
        return 0

    def kvm_gmem_invalidate(self, kvm: Kvm, gmem: Gmem, start: int, end: int) -> None:
        """Take indices [start, end) out of stage 2 wherever a slot shows them."""
        for bound_start, bound_end, slot in gmem.bindings:
            first, last = max(start, bound_start), min(end, bound_end)
            if first < last:
                kvm.mmu_invalidate_seq += 1
                base = slot.base + (first - slot.gmem_index) * kvm.page_size
                self.kvm_unmap_gfn_range(kvm, base, base + (last - first) * kvm.page_size)

    @staticmethod
    def _drop_folio(kvm: Kvm, gmem: Gmem, index: int) -> None:
        pfn = gmem.folios.pop(index)
        if index in gmem.poisoned:
            gmem.poisoned.discard(index)  # a page with a memory error never goes back to the pool
        else:
            kvm.arena.free(pfn)
