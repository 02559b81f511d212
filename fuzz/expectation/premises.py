"""What a case has done to the host by some step: all that an expectation may rest on.

Kept as the list of what happened to each object, in order; what is true of a page is found by going
through that list. This is the slow and obvious way, and shares nothing with the judge's scene or
with the modelled kernel, against which it is held. A fact that the case does not settle is None.
"""

from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Final

from emu.abi import U64, MemFlag
from emu.case import (
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
    VmConfig,
)
from emu.injection import CpuExit, Fail, ForceAbort, ForceExit


@unique
class Page(Enum):
    """What stands in the way of an access to a page."""

    FINE = "fine"  # nothing, if there is memory to be had
    GONE = "gone"  # its file was released
    POISONED = "poisoned"
    DENIED = "denied"  # not mapped, not permitted, past the end of its file


@dataclass(frozen=True, slots=True)
class Region:
    """A memslot. ``file``: the history of its guest_memfd; ``mem``: the number of its memory."""

    gpa: int
    size: int
    flags: int
    mem: int | None
    offset: int
    file: "list[Step] | None"

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
    _mems: dict[int, list[Step]] = field(default_factory=dict)
    _files: dict[int, list[Step]] = field(default_factory=dict)

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
                self._mems[index] = [step]
            case Unmap() | Protect() | PoisonMem():
                # A refused one may have been done in part.
                self.unsettled |= refused and step.mem.index in self._mems
                self._mems.get(step.mem.index, []).append(step)
            case Truncate(index) if not refused:
                self._mems.get(index, []).append(step)
            case Userfault(mem):
                self._mems.get(mem.index, []).append(step)
            case _:
                pass

    def _file_event(self, step: Step, *, refused: bool) -> None:
        match step:
            case CreateGmem(index):
                self._files.pop(index, [step]).append(ReleaseGmem(index))
                if not refused:
                    self._files[index] = [step]
            case ReleaseGmem(index) if not refused:
                self._files.pop(index, []).append(step)
            case PunchHole() | Allocate() if not refused:
                self._files.get(step.gmem.index, []).append(step)
            case PoisonGmem(gmem):
                self.unsettled |= refused and gmem.index in self._files
                self._files.get(gmem.index, []).append(step)
            case _:
                pass

    def _region(self, step: SetMemslot) -> None:
        if step.size == 0:
            self.regions.pop(step.slot, None)
            return
        file = None
        # To a protected VM's faults it is the VMM's own memory that counts.
        gmem = step.flags & MemFlag.GUEST_MEMFD and not self.vm.protected
        if gmem and step.gmem is not None:
            file = self._files.get(step.gmem.index)
        ref = step.gmem if gmem else step.mem
        self.regions[step.slot] = Region(
            step.gpa,
            step.size,
            step.flags,
            step.mem.index if step.mem is not None else None,
            ref.offset if ref is not None else 0,
            file,
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
            return self._file_page(region.file, offset)
        history = self._mems.get(region.mem) if region.mem is not None else None
        if history is None:
            return Page.DENIED
        return self._mem_page(history, offset, write=write)

    def file(self, index: int) -> CreateGmem | None:
        """How the guest_memfd of that number was made; None if there is none."""
        created = self._files.get(index, [None])[0]
        return created if isinstance(created, CreateGmem) else None

    def is_bound(self, gmem: Ref, size: int) -> bool:
        """Whether a slot has some of that range of a guest_memfd."""
        file = self._files.get(gmem.index)
        return any(
            region.file is file
            and region.offset < gmem.offset + size
            and gmem.offset < region.offset + region.size
            for region in self.regions.values()
            if region.file is not None
        )

    def kinds(self, mem: Ref | None) -> frozenset[MemKind]:
        """What sort of memory that is; nothing if there is none."""
        history = self._mems.get(mem.index, []) if mem is not None else []
        return frozenset(step.kind for step in history if isinstance(step, CreateMem))

    def is_private(self, region: Region) -> bool:
        """Whether the VMM's own memory there is nobody else's: no file, nothing shared."""
        history = self._mems.get(region.mem) if region.mem is not None else None
        created = history[0] if history else None
        return isinstance(created, CreateMem) and created.kind in _PRIVATE

    def may_sigbus(self, region: Region, gpa: int) -> bool:
        """Whether a userfaultfd without a handler may watch the page, and it may be missing."""
        offset = gpa - region.gpa + region.offset & U64
        history = self._mems.get(region.mem, []) if region.mem is not None else []
        return any(
            isinstance(step, Userfault)
            and step.mode is UserfaultMode.SIGBUS
            and step.mem.offset <= offset < step.mem.offset + self._aligned(step.size)
            for step in history
        )

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

    def _mem_page(self, history: list[Step], offset: int, *, write: bool) -> Page | None:
        created = history[0]
        if not isinstance(created, CreateMem) or created.kind not in _SIMPLE:
            return None
        mapped = offset < self._aligned(created.size)
        protection, poisoned, end = Protection.READ_WRITE, False, created.size
        for step in history[1:]:
            match step:
                case Unmap(mem, size) if mem.offset <= offset < mem.offset + self._aligned(size):
                    mapped, poisoned = False, poisoned and created.kind is MemKind.FILE
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


def _permits(protection: Protection, *, write: bool) -> bool:
    if write:
        return protection is Protection.READ_WRITE
    return protection is not Protection.NONE
