"""What a comparison of the model with a live machine came to; ``gff live conform --json``."""

from enum import Enum

import msgspec


class Ended(Enum):
    """Why no more cases were played."""

    COMPLETE = "complete"
    TIME_OVER = "time over"
    INTERRUPTED = "interrupted"


class Unexplained(msgspec.Struct, frozen=True):
    """A class of differences, and the smallest case of it, as text, with both machines' lines.

    ``where``, ``model`` and ``live`` say what parts them first.
    """

    where: str
    model: str
    live: str
    count: int
    case: str
    model_lines: tuple[str, ...]
    live_lines: tuple[str, ...]


class Explained(msgspec.Struct, frozen=True):
    """Differences of a known cause, and the smallest case that showed one."""

    name: str
    why: str
    count: int
    case: str


class Undetermined(msgspec.Struct, frozen=True):
    """A case whose outcome on the live machine was not the same each time it was played."""

    case: str
    model_lines: tuple[str, ...]
    live_lines: tuple[tuple[str, ...], ...]


class Lost(msgspec.Struct, frozen=True):
    """A case without an outcome, and why."""

    case: str
    reason: str


class Complained(msgspec.Struct, frozen=True):
    """A line of the console in which the kernel complains, and the case that was answered then."""

    complaint: str
    line: str
    case: str


class Count(msgspec.Struct, frozen=True):
    """How often something was in the way."""

    reason: str
    count: int


class Conformed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything.

    ``linux`` is the live kernel's version, ``kernel`` the modelled one. ``nested`` and ``inject``
    are the options. ``planned`` is how many cases there were to be, None for as many as there is
    time for, and ``corpus`` how many of them come first. ``unsupported`` counts cases that the live
    machine did not play, ``left_out`` what was taken out of random ones.
    """

    image: str
    linux: str
    kernel: str
    seed: int
    boxes: int
    nested: bool
    inject: bool
    ended: Ended
    planned: int | None
    corpus: int
    seconds: float
    restarts: int
    cases: int
    same: int
    unexplained: tuple[Unexplained, ...]
    explained: tuple[Explained, ...]
    undetermined: tuple[Undetermined, ...]
    lost: tuple[Lost, ...]
    complaints: tuple[Complained, ...]
    unsupported: tuple[Count, ...]
    left_out: tuple[Count, ...]

    @property
    def clean(self) -> bool:
        """Whether there is nothing to look into."""
        return not (self.unexplained or self.lost or self.complaints)

    @property
    def corpus_left(self) -> int:
        """How many cases of the corpus it did not come to."""
        return max(self.corpus - self.cases, 0)
