"""What a case and the refusals it met say of the VM at the moment of a KVM_RUN.

The judge's own book-keeping: slots that were accepted, files that are gone, pages with a memory
error. It follows the documented interface and shares nothing with the modelled kernel.
"""

from typing import Final, NamedTuple

from emu.abi import Errno, MemFlag
from emu.access import Access, touched
from emu.injection import Fail, ForceAbort, ForceExit, Site
from emu.steps import (
    Guest,
    GuestL2,
    L1Map,
    L1Table,
    L1Vtcr,
    MemoryLimit,
    Ref,
    SetMemslot,
    Step,
    effective_address,
)
from fuzz.oracle.backing import BACKING, Backing
from fuzz.oracle.files import FILES, FilePage, Files
from fuzz.oracle.reach import L1Stage2, Target


class Slot(NamedTuple):
    """A memslot as the VMM set it up. ``gmem``: the file's identity and the offset in it, in bytes;
    a file keeps its identity when its number is used again. ``mem``: the VMM's memory behind it.
    """

    id: int
    base: int
    size: int
    flags: int
    gmem: Ref | None
    mem: Ref | None

    @property
    def readonly(self) -> bool:
        """KVM_MEM_READONLY."""
        return bool(self.flags & MemFlag.READONLY)


# The steps that change what the VM is. Most do not, and most of those are Run.
CHANGES: Final = BACKING.union(
    FILES,
    (Guest, GuestL2, SetMemslot, Fail, ForceAbort, ForceExit, MemoryLimit, L1Map, L1Table, L1Vtcr),
)


class Scene:
    """The VM as far as the case and its refusals tell. Feed it the steps in order.

    ``forced_abort``, ``forced_exit``, ``memory_was_limited`` and ``injected`` are of the whole case
    so far: they never end, because from outside one cannot tell when they took effect.
    """

    __slots__ = (
        "_accesses",
        "_bases",
        "_page_size",
        "backing",
        "files",
        "forced_abort",
        "forced_exit",
        "injected",
        "l1",
        "memory_is_limited",
        "memory_was_limited",
        "slots",
    )

    def __init__(self, page_size: int) -> None:
        self.slots: dict[int, Slot] = {}
        self.files = Files(page_size)
        self.backing = Backing()
        self.l1 = L1Stage2()
        self.injected: set[tuple[Site, Errno]] = set()
        self.forced_abort = self.forced_exit = False
        self.memory_was_limited = self.memory_is_limited = False
        self._page_size = page_size
        self._accesses: dict[int, tuple[Access, int, bool]] = {}
        self._bases: dict[int, int] = {}

    def apply(self, index: int, step: Step, *, refused: bool) -> None:
        """Take the step at ``index`` into account; ``refused``: it was answered with an error."""
        if isinstance(step, Guest):
            self._accesses[index] = step.access, effective_address(step, self._bases), False
        elif isinstance(step, SetMemslot):
            self.name(step)
            if not refused:
                self._set_memslot(step)
        elif isinstance(step, FILES):
            self.files.apply(step, refused=refused)
        elif isinstance(step, Fail):
            self.injected.add((step.site, step.errno))
        elif type(step) in BACKING:
            self.backing.apply(step, refused=refused)
        elif not refused:
            self._apply_rare(index, step)

    def target(self, index: int) -> Target | None:
        """The access that the step at ``index`` asked for, or None if it is no such step."""
        found = self._accesses.get(index)
        if found is None:
            return None
        access, address, is_l2 = found
        first, last = touched(access, address)
        if is_l2:
            return self.l1.target(access, first, last, self._page_size)
        return Target(access, first, last, self._page_size)

    # STEPS

    def name(self, step: SetMemslot) -> None:
        """Accesses that name the slot are counted from here from now on."""
        self._bases[step.slot] = step.gpa

    def _set_memslot(self, step: SetMemslot) -> None:
        # A deletion leaves one of size 0, which holds no address.
        gmem = None
        if step.flags & MemFlag.GUEST_MEMFD and step.gmem is not None:
            gmem = Ref(self.files.identity(step.gmem), step.gmem.offset)
        self.slots[step.slot] = Slot(step.slot, step.gpa, step.size, step.flags, gmem, step.mem)

    def _apply_rare(self, index: int, step: Step) -> None:
        match step:
            case MemoryLimit(on):
                self.memory_was_limited |= on
                self.memory_is_limited = on
            case ForceAbort():
                self.forced_abort = True
            case ForceExit():
                self.forced_exit = True
            case GuestL2(access, address):
                self._accesses[index] = access, address, True
            case L1Map():
                output = effective_address(step, self._bases)
                self.l1.write(step.ipa, output, block=step.block)
            case L1Table():
                self.l1.is_sound = False
            case L1Vtcr():
                self.l1.is_sound &= step.legal
            case _:
                pass

    # QUESTIONS

    def slot_at(self, address: int) -> Slot | None:
        """The slot that holds a guest-physical address."""
        for slot in self.slots.values():
            if slot.base <= address < slot.base + slot.size:
                return slot
        return None

    def gmem_slot_at(self, address: int) -> Slot | None:
        """The slot that holds the address, if guest_memfd serves it."""
        slot = self.slot_at(address)
        return slot if slot is not None and slot.gmem is not None else None

    def gmem_fails_at(self, address: int) -> bool:
        """Whether the guest_memfd page there cannot be had: file released, or a memory error."""
        page = self.file_page_at(address)
        return page is not None and (self.files.is_released(page) or self.files.is_poisoned(page))

    def file_page_at(self, address: int) -> FilePage | None:
        """The page of a guest_memfd file that serves the address."""
        slot = self.gmem_slot_at(address)
        if slot is None or slot.gmem is None:
            return None
        return self.files.page(Ref(slot.gmem.index, slot.gmem.offset + address - slot.base))

    def can_be_had_at(self, page: int, *, write: bool) -> bool:
        """Whether the page there can be had for this access, beyond doubt."""
        slot = self.slot_at(page)
        if slot is None or (slot.readonly and write):
            return False
        file_page = self.file_page_at(page)
        if file_page is not None:
            # Without INIT_SHARED the memory is private: a kernel may come to refuse it.
            return self.files.is_shared(file_page) and self.files.is_sound(file_page)
        if slot.mem is None:
            return False
        byte = Ref(slot.mem.index, slot.mem.offset + page - slot.base)
        return self.backing.can_be_had(byte, self._page_size, write=write)
