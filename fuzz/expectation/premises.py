"""What a case has done to the host by some step: all that an expectation may rest on.

Kept as the list of what happened to each object, in order; what is true of a page is found by going
through that list. This is the slow and obvious way, and shares nothing with the judge's scene or
with the modelled kernel, against which it is held. A fact that the case does not settle is None.
"""

from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Final, NamedTuple

from emu.abi import U64, MemFlag
from emu.case import VmConfig
from emu.injection import CpuExit, Fail, ForceAbort, ForceExit
from emu.steps import (
    Allocate,
    CreateGmem,
    CreateMem,
    IoEventFd,
    MemKind,
    MemlockLimit,
    MemoryLimit,
    PoisonGmem,
    PoisonMem,
    Protect,
    Protection,
    PunchHole,
    Ref,
    ReleaseGmem,
    SetMemslot,
    Step,
    Truncate,
    Unmap,
    Userfault,
    UserfaultMode,
)


@unique
class Page(Enum):
    """What stands in the way of an access to a page."""

    FINE = "fine"  # nothing, if there is memory to be had
    GONE = "gone"  # its file was released
    POISONED = "poisoned"
    DENIED = "denied"  # not mapped, not permitted, past the end of its file


class Memory(NamedTuple):
    """Memory of the VMM's: how it was made, and what happened to it since."""

    created: CreateMem
    history: list[Step]


class File(NamedTuple):
    """A guest_memfd: how it was made, and what happened to it since."""

    created: CreateGmem
    history: list[Step]


@dataclass(frozen=True, slots=True)
class Region:
    """A memslot. ``file``: the guest_memfd that serves its faults; ``mem``: the number of its
    memory; ``offset``: in what serves them. ``bound``: the guest_memfd that it holds, from the
    offset ``bound_at``.
    """

    gpa: int
    size: int
    flags: int
    mem: int | None
    offset: int
    file: File | None
    bound: File | None
    bound_at: int

    @property
    def readonly(self) -> bool:
        """KVM_MEM_READONLY."""
        return bool(self.flags & MemFlag.READONLY)

    @property
    def logged(self) -> bool:
        """KVM_MEM_LOG_DIRTY_PAGES."""
        return bool(self.flags & MemFlag.LOG_DIRTY_PAGES)


# Memory whose pages come and go as the case says, one page at a time.
_SIMPLE: Final = frozenset({MemKind.ANONYMOUS, MemKind.FILE, MemKind.SHARED, MemKind.THP})
_PRIVATE: Final = frozenset({MemKind.ANONYMOUS, MemKind.THP})


@dataclass(slots=True)
class Premises:
    """Feed it every step in order, with whether it was refused.

    ``unsettled``: something happened whose time or effect the case does not tell, so that nothing
    can be expected any more.
    """

    vm: VmConfig
    regions: dict[int, Region] = field(default_factory=dict)
    limited: bool = False
    memlock_limited: bool = False
    unsettled: bool = False
    doorbells: set[tuple[int, int]] = field(default_factory=set)
    failures: list[Fail] = field(default_factory=list)
    exits: set[CpuExit] = field(default_factory=set)
    _mems: dict[int, Memory] = field(default_factory=dict)
    _files: dict[int, File] = field(default_factory=dict)

    def apply(self, step: Step, *, refused: bool) -> None:
        """Take a step into account."""
        match step:
            case Fail() | ForceAbort() | ForceExit():
                self._force(step)
            case MemoryLimit(on):
                self.limited = on
            case MemlockLimit(on):
                self.memlock_limited = on
            case IoEventFd(gpa, size) if not refused:
                self.doorbells.add((gpa, size))
            case SetMemslot() if not refused:
                self._region(step)
            case CreateMem() | Unmap() | Protect() | PoisonMem() | Truncate() | Userfault():
                self._mem_event(step, refused=refused)
            case _:
                self._file_event(step, refused=refused)

    def _force(self, step: Fail | ForceAbort | ForceExit) -> None:
        match step:
            case Fail():
                self.failures.append(step)
            case ForceExit(exit_):
                self.exits.add(exit_)
            case ForceAbort():
                self.unsettled = True

    def _mem_event(
        self,
        step: CreateMem | Unmap | Protect | PoisonMem | Truncate | Userfault,
        *,
        refused: bool,
    ) -> None:
        match step:
            case CreateMem(index) if not refused:
                self._mems[index] = Memory(step, [])
            case Truncate(index) if not refused:
                _happen(self._mems.get(index), step)
            case Userfault(mem):
                _happen(self._mems.get(mem.index), step)
            case Unmap() | Protect() | PoisonMem():
                self._happen_in_part(self._mems.get(step.mem.index), step, refused=refused)
            case _:
                pass

    def _file_event(self, step: Step, *, refused: bool) -> None:
        match step:
            case CreateGmem(index):
                _happen(self._files.pop(index, None), ReleaseGmem(index))
                if not refused:
                    self._files[index] = File(step, [])
            case ReleaseGmem(index) if not refused:
                _happen(self._files.pop(index, None), step)
            case PunchHole() | Allocate() if not refused:
                _happen(self._files.get(step.gmem.index), step)
            case PoisonGmem(gmem):
                self._happen_in_part(self._files.get(gmem.index), step, refused=refused)
            case _:
                pass

    def _happen_in_part(self, to: Memory | File | None, step: Step, *, refused: bool) -> None:
        """A refused one may have been done in part."""
        self.unsettled |= refused and to is not None
        _happen(to, step)

    def _region(self, step: SetMemslot) -> None:
        if step.size == 0:
            self.regions.pop(step.slot, None)
            return
        gmem = step.gmem if step.flags & MemFlag.GUEST_MEMFD else None
        bound = None if gmem is None else self._files.get(gmem.index)
        # To a protected VM's faults it is the VMM's own memory that counts.
        serving = step.mem if gmem is None or self.vm.protected else gmem
        self.regions[step.slot] = Region(
            step.gpa,
            step.size,
            step.flags,
            None if step.mem is None else step.mem.index,
            0 if serving is None else serving.offset,
            None if self.vm.protected else bound,
            bound,
            0 if gmem is None else gmem.offset,
        )

    # WHAT IS TRUE OF AN ADDRESS

    def region(self, gpa: int) -> Region | None:
        """The slot that holds a guest-physical address."""
        for region in self.regions.values():
            if region.gpa <= gpa < region.gpa + region.size:
                return region
        return None

    def page(self, region: Region, gpa: int, *, write: bool) -> Page | None:
        """What stands in the way of an access; None: the case does not settle it."""
        offset = gpa - region.gpa + region.offset & U64
        if region.file is not None:
            return self._file_page(region.file.history, offset)
        memory = self._memory(region.mem)
        return Page.DENIED if memory is None else self._mem_page(memory, offset, write=write)

    def file(self, index: int) -> CreateGmem | None:
        """How the guest_memfd of that number was made; None if there is none."""
        file = self._files.get(index)
        return None if file is None else file.created

    def is_bound(self, gmem: Ref, size: int) -> bool:
        """Whether a slot has some of that range of a guest_memfd that is there."""
        file = self._files[gmem.index]
        return any(
            region.bound is file
            and region.bound_at < gmem.offset + size
            and gmem.offset < region.bound_at + region.size
            for region in self.regions.values()
        )

    def kind(self, mem: int | None) -> MemKind | None:
        """What sort of memory that is; None if there is none."""
        memory = self._memory(mem)
        return None if memory is None else memory.created.kind

    def is_private(self, region: Region) -> bool:
        """Whether the VMM's own memory there is nobody else's: no file, nothing shared."""
        return self.kind(region.mem) in _PRIVATE

    def may_sigbus(self, region: Region, gpa: int) -> bool:
        """Whether a userfaultfd without a handler may watch the page, and it may be missing."""
        memory = self._memory(region.mem)
        offset = gpa - region.gpa + region.offset & U64
        return memory is not None and any(
            isinstance(step, Userfault)
            and step.mode is UserfaultMode.SIGBUS
            and step.mem.offset <= offset < step.mem.offset + self._aligned(step.size)
            for step in memory.history
        )

    def _memory(self, mem: int | None) -> Memory | None:
        return None if mem is None else self._mems.get(mem)

    def _file_page(self, history: list[Step], offset: int) -> Page:
        state = Page.FINE
        for step in history:
            match step:
                case ReleaseGmem():
                    return Page.GONE
                case PoisonGmem(gmem) if self._same_page(gmem.offset, offset):
                    state = Page.POISONED
                case PunchHole(gmem, size) if gmem.offset <= offset < gmem.offset + size:
                    state = Page.FINE
                case _:
                    pass
        return state

    def _mem_page(self, memory: Memory, offset: int, *, write: bool) -> Page | None:
        created = memory.created
        if created.kind not in _SIMPLE:
            return None
        mapped = offset < self._aligned(created.size)
        protection, poisoned, end = Protection.READ_WRITE, False, created.size
        for step in memory.history:
            match step:
                case Unmap(mem, size) if mem.offset <= offset < mem.offset + self._aligned(size):
                    mapped = False
                case Protect(mem, size, to) if (
                    mem.offset <= offset < mem.offset + self._aligned(size)
                ):
                    protection = to
                case PoisonMem(mem) if self._same_page(mem.offset, offset):
                    poisoned = True
                case Truncate(_, size):
                    end = size
                    poisoned = poisoned and offset < self._aligned(size)
                case _:
                    pass
        past_end = created.kind is MemKind.FILE and offset >= self._aligned(end)
        if not mapped or past_end or not _permits(protection, write=write):
            return Page.DENIED
        return Page.POISONED if poisoned else Page.FINE

    def _aligned(self, size: int) -> int:
        return -(-size // self.vm.page_size) * self.vm.page_size

    def _same_page(self, one: int, other: int) -> bool:
        return one // self.vm.page_size == other // self.vm.page_size


def _happen(to: Memory | File | None, step: Step) -> None:
    if to is not None:
        to.history.append(step)


def _permits(protection: Protection, *, write: bool) -> bool:
    if write:
        return protection is Protection.READ_WRITE
    return protection is not Protection.NONE
