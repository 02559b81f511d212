"""The guest_memfd files of a case: which are there, which are gone, which pages have an error."""

from typing import Final, NamedTuple

from emu.abi import GmemFlag
from emu.steps import CreateGmem, PoisonGmem, PunchHole, Ref, ReleaseGmem

NO_FILE: Final = -1

# The steps that are told to Files.
FILES: Final = (CreateGmem, ReleaseGmem, PoisonGmem, PunchHole)


class FilePage(NamedTuple):
    """A page of a file, by the file's identity and its number there."""

    file: int
    number: int


class Files:
    """A file keeps its identity when its number is used again."""

    __slots__ = (
        "_doubtful",
        "_ever_poisoned",
        "_files",
        "_flags",
        "_page_size",
        "_poisoned",
        "_released",
    )

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._files: dict[int, int] = {}
        self._flags: list[int] = []
        self._released: set[int] = set()
        self._poisoned: set[FilePage] = set()
        self._ever_poisoned: set[FilePage] = set()
        self._doubtful: set[FilePage] = set()

    def apply(
        self, step: CreateGmem | ReleaseGmem | PoisonGmem | PunchHole, *, refused: bool
    ) -> None:
        """Take a step into account."""
        match step:
            case CreateGmem(index, _, flags):
                self._release(index)
                if not refused:
                    self._files[index] = len(self._flags)
                    self._flags.append(flags)
            case ReleaseGmem(index):
                if not refused:
                    self._release(index)
            case PoisonGmem(gmem):
                page = self.page(Ref(self.identity(gmem), gmem.offset))
                self._ever_poisoned.add(page)
                # madvise() may say EBUSY and do it all the same.
                (self._doubtful if refused else self._poisoned).add(page)
            case PunchHole(gmem, size):
                if not refused:
                    self._punch(self.identity(gmem), gmem.offset, gmem.offset + size)

    def _release(self, index: int) -> None:
        file = self._files.pop(index, None)
        if file is not None:
            self._released.add(file)

    def _punch(self, file: int, start: int, end: int) -> None:
        hole = range(start // self._page_size, end // self._page_size)
        for pages in (self._poisoned, self._doubtful):
            pages -= {page for page in pages if page.file == file and page.number in hole}

    def identity(self, gmem: Ref) -> int:
        """The identity of the file behind a number; NO_FILE where a kernel accepts what is not
        there.
        """
        return self._files.get(gmem.index, NO_FILE)

    def page(self, byte: Ref) -> FilePage:
        """The page that holds a byte of a file, whose identity ``byte`` names."""
        return FilePage(byte.index, byte.offset // self._page_size)

    def is_released(self, page: FilePage) -> bool:
        """Whether its file is gone."""
        return page.file in self._released

    def is_poisoned(self, page: FilePage) -> bool:
        """Whether it has a memory error."""
        return page in self._poisoned

    def is_sound(self, page: FilePage) -> bool:
        """Whether it can be had, beyond doubt."""
        return not (self.is_released(page) or self.is_poisoned(page) or page in self._doubtful)

    def was_poisoned(self, page: FilePage) -> bool:
        """Whether it may ever have had one."""
        return page in self._ever_poisoned

    def is_shared(self, page: FilePage) -> bool:
        """Whether it is shared memory, by its file's INIT_SHARED; memory of another is private."""
        return page.file != NO_FILE and bool(self._flags[page.file] & GmemFlag.INIT_SHARED)
