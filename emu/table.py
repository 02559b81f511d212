"""A page of stage-2 descriptors in the arena."""

from emu.arena import WORDS_SHIFT


class Table:
    """A table below the root: its page, its first word's index, and how many entries it has."""

    __slots__ = ("pfn", "used", "word")

    def __init__(self, pfn: int, used: int = 0) -> None:
        self.pfn = pfn
        self.word = pfn << WORDS_SHIFT
        self.used = used
