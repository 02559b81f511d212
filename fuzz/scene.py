"""What a case and the refusals it met say of the VM at the moment of a KVM_RUN.

The judge's own book-keeping: slots that were accepted, files that are gone, pages with a memory
error. It follows the documented interface and shares nothing with the modelled kernel.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from emu.abi import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, Errno, MemFlag
from emu.access import ACCESS_FACTS, Access, Direction, touched
from emu.case import (
    CreateGmem,
    Guest,
    MemoryLimit,
    PoisonGmem,
    PunchHole,
    Ref,
    ReleaseGmem,
    SetMemslot,
    Step,
    effective_address,
)
from emu.injection import Fail, ForceAbort, Site


@dataclass(frozen=True, slots=True)
class Slot:
    """A memslot as the VMM set it up. ``gmem``: the file's identity and the offset in it, in bytes;
    a file keeps its identity when its number is used again.
    """

    id: int
    base: int
    size: int
    flags: int
    gmem: Ref | None

    @property
    def readonly(self) -> bool:
        """KVM_MEM_READONLY."""
        return bool(self.flags & MemFlag.READONLY)


class Target(NamedTuple):
    """An access of the guest's program: what, and the first and last byte that it touches."""

    access: Access
    first: int
    last: int

    @property
    def pages(self) -> range:
        """The pages that it touches, by address."""
        return range(self.first & PAGE_MASK, self.last + 1, PAGE_SIZE)

    @property
    def syndrome(self) -> bool:
        """Whether an abort of it comes with a valid instruction syndrome."""
        return ACCESS_FACTS[self.access].syndrome

    @property
    def writes(self) -> bool:
        """Whether it asks for more than a read-only page gives. Cache maintenance does."""
        return ACCESS_FACTS[self.access].direction in _WRITING

    @property
    def direction(self) -> Direction:
        """What it does to memory."""
        return ACCESS_FACTS[self.access].direction


NO_FILE: Final = -1
_WRITING: Final = frozenset({Direction.WRITE, Direction.READ_WRITE, Direction.MAINTENANCE})


# The steps that change the scene. Most do not, and most of those are Run.
CHANGES: Final = frozenset(
    {
        Guest,
        SetMemslot,
        CreateGmem,
        ReleaseGmem,
        PoisonGmem,
        PunchHole,
        Fail,
        ForceAbort,
        MemoryLimit,
    }
)


@dataclass(slots=True)
class Scene:
    """The VM as far as the case and its refusals tell. Feed it the steps in order.

    ``forced_abort``, ``memory_was_limited`` and ``injected`` are of the whole case so far: they
    never end, because from outside one cannot tell when they took effect.
    """

    slots: dict[int, Slot] = field(default_factory=dict)
    forced_abort: bool = False
    memory_was_limited: bool = False
    injected: set[tuple[Site, Errno]] = field(default_factory=set)
    _accesses: dict[int, tuple[Access, int]] = field(default_factory=dict)
    _bases: dict[int, int] = field(default_factory=dict)
    _files: dict[int, int] = field(default_factory=dict)
    _released: set[int] = field(default_factory=set)
    _poisoned: set[tuple[int, int]] = field(default_factory=set)
    _file_count: int = 0

    def apply(self, index: int, step: Step, *, refused: bool) -> None:
        """Take the step at ``index`` into account; ``refused``: it was answered with an error."""
        if isinstance(step, Guest):
            self._accesses[index] = step.access, effective_address(step, self._bases)
        elif isinstance(step, SetMemslot):
            self._bases[step.slot] = step.gpa
            if not refused:
                self._set_memslot(step)
        elif isinstance(step, CreateGmem):
            self._release(step.index)
            if not refused:
                self._files[step.index] = self._file_count
                self._file_count += 1
        elif isinstance(step, Fail):
            self.injected.add((step.site, step.errno))
        elif isinstance(step, ForceAbort):
            self.forced_abort = True
        elif isinstance(step, MemoryLimit):
            self.memory_was_limited |= step.on
        elif not refused and isinstance(step, ReleaseGmem | PoisonGmem | PunchHole):
            self._gmem_event(step)

    def target(self, index: int) -> Target | None:
        """The access that the step at ``index`` asked for, or None if it is no such step."""
        if index not in self._accesses:
            return None
        access, address = self._accesses[index]
        return Target(access, *touched(access, address))

    def _set_memslot(self, step: SetMemslot) -> None:
        if step.size == 0:
            self.slots.pop(step.slot, None)
            return
        gmem = None
        if step.flags & MemFlag.GUEST_MEMFD and step.gmem is not None:
            gmem = Ref(self._file(step.gmem), step.gmem.offset)
        self.slots[step.slot] = Slot(step.slot, step.gpa, step.size, step.flags, gmem)

    def _gmem_event(self, step: ReleaseGmem | PoisonGmem | PunchHole) -> None:
        match step:
            case ReleaseGmem(index):
                self._release(index)
            case PoisonGmem(gmem):
                self._poisoned.add((self._file(gmem), gmem.offset >> PAGE_SHIFT))
            case PunchHole(gmem, size):
                file = self._file(gmem)
                start, end = gmem.offset >> PAGE_SHIFT, gmem.offset + size >> PAGE_SHIFT
                self._poisoned = {
                    (other, page)
                    for other, page in self._poisoned
                    if other != file or not start <= page < end
                }

    def _file(self, gmem: Ref) -> int:
        """The identity of the file behind a number; NO_FILE where a kernel accepts what is not
        there.
        """
        return self._files.get(gmem.index, NO_FILE)

    def _release(self, index: int) -> None:
        file = self._files.pop(index, None)
        if file is not None:
            self._released.add(file)

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
        slot = self.gmem_slot_at(address)
        if slot is None or slot.gmem is None:
            return False
        page = address - slot.base + slot.gmem.offset >> PAGE_SHIFT
        return slot.gmem.index in self._released or (slot.gmem.index, page) in self._poisoned
