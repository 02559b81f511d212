"""The VMM's own memory as the case made it: which of its pages can certainly be had."""

from typing import Final

from emu.steps import (
    CreateMem,
    MemKind,
    PoisonMem,
    Protect,
    Protection,
    Ref,
    Step,
    Truncate,
    Unmap,
    Userfault,
)

# Memory whose pages are the host's to give at any time, if it has some.
_ORDINARY: Final = frozenset({MemKind.ANONYMOUS, MemKind.FILE, MemKind.SHARED, MemKind.THP})

# The steps that are told to a Backing.
BACKING: Final = frozenset({CreateMem, Unmap, Protect, Truncate, PoisonMem, Userfault})


class Backing:
    """The steps done to the VMM's memory, looked through when asked."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[tuple[Step, bool]] = []

    def apply(self, step: Step, *, refused: bool) -> None:
        """Take a step into account."""
        self._steps.append((step, refused))

    @property
    def has_poison(self) -> bool:
        """Whether a memory error was put into any of it."""
        return any(type(step) is PoisonMem for step, _ in self._steps)

    @property
    def has_userfaultfd(self) -> bool:
        """Whether a userfaultfd was asked to watch any of it."""
        return any(type(step) is Userfault for step, _ in self._steps)

    def can_be_had(self, byte: Ref, size: int, *, write: bool) -> bool:
        """Whether the page at ``byte`` can be had for this access, beyond doubt.

        Doubt: huge pages, device memory, memory errors, userfaultfd, a truncated file, an
        mprotect() that was refused and may have changed a part.
        """
        page = range(byte.offset, byte.offset + size)
        mapped, protection = False, Protection.READ_WRITE
        for step, refused in self._steps:
            match step:
                case CreateMem(index, length, kind) if index == byte.index:
                    mapped = not refused and kind in _ORDINARY and page.stop <= length
                    protection = Protection.READ_WRITE
                case Unmap(mem, length) if mem.index == byte.index:
                    mapped = mapped and not _meets(mem.offset, length, page)
                case Protect(mem, length, wanted) if mem.index == byte.index:
                    if refused:
                        return False
                    if _meets(mem.offset, length, page):
                        protection = wanted
                case PoisonMem(mem) | Userfault(mem) if mem.index == byte.index:
                    return False
                case Truncate(index) if index == byte.index and not refused:
                    return False
                case _:
                    pass
        enough = protection is Protection.READ_WRITE or (
            protection is Protection.READ and not write
        )
        return mapped and enough


def _meets(offset: int, length: int, page: range) -> bool:
    """Whether a range of bytes has a part in the page; the host rounds the range up to pages."""
    return length > 0 and offset < page.stop and page.start < offset + length
