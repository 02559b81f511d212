"""One finding: a signature on a kernel, what was seen of it, and its first and smallest case."""

from datetime import datetime
from enum import Enum, unique

import msgspec

from emu.access import Access


@unique
class Machine(Enum):
    """Where a finding was seen."""

    MODEL = "model"


@unique
class State(Enum):
    """How much stands behind a finding: the model alone, or a real kernel that printed it."""

    CLAIM = "claim"
    OBSERVED = "observed"


@unique
class Standing(Enum):
    """What a finding's smallest case shows now that judge or model have changed since."""

    THERE = "there"
    GONE = "gone"
    MOVED = "other signature"


@unique
class Backing(Enum):
    """What lies behind the address that the guest was at."""

    GUEST_MEMFD = "guest_memfd"
    USER_MEMORY = "user-memory"
    NOTHING = "nothing"


class Size(msgspec.Struct, frozen=True, order=True, array_like=True):
    """How large a case is; the smaller of two is the easier to read. See ``mutation.shrink``."""

    steps: int
    complexity: int
    disorder: int


class Confirmation(msgspec.Struct, frozen=True):
    """How often a real kernel, of this image and version, showed a finding, of ``played`` times."""

    image: str
    linux: str
    shown: int
    played: int


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What ``findings/KERNEL--SIGNATURE.json`` holds.

    ``errno``, ``exit_reason``, ``access``, ``backing``, ``outcome`` and ``reason`` are those of the
    breaching KVM_RUN of the smallest case; ``errno`` is "" where KVM_RUN did not fail. ``first``
    and ``smallest`` are cases as text. ``count`` is the number of cases that showed the finding,
    those that the shrinker tried not among them. ``now``: what ``smallest`` showed when it was
    judged again, which may be another signature, or none. ``shrunk``: the shrinker is done with
    ``smallest``.
    """

    signature: str
    clause: str
    title: str
    site: str
    natural: bool
    kernel: str
    machine: Machine
    state: State
    errno: str
    exit_reason: str
    access: Access | None
    backing: Backing | None
    outcome: str
    reason: str
    found_after_s: float
    found_at: datetime
    count: int
    size: Size
    first: str
    smallest: str
    confirmations: tuple[Confirmation, ...] = ()
    standing: Standing = Standing.THERE
    now: tuple[str, ...] = ()
    shrunk: bool = True

    @property
    def name(self) -> str:
        """What its files are called, and what makes it this finding and no other."""
        return f"{self.kernel}--{self.signature}"


def merged(known: Finding, new: Finding) -> Finding:
    """Both sightings in one: the earlier discovery, the smaller case, and all counts."""
    earlier, later = sorted((known, new), key=lambda finding: finding.found_after_s)
    # A case that shows it no more is no case of it, however small.
    smaller = new if new.size < known.size or known.standing is not Standing.THERE else known
    state = State.OBSERVED if State.OBSERVED in (known.state, new.state) else State.CLAIM
    return msgspec.structs.replace(
        smaller,
        state=state,
        shrunk=smaller.shrunk or (known.size == new.size and (known.shrunk or new.shrunk)),
        confirmations=_latest((*known.confirmations, *new.confirmations)),
        count=earlier.count + later.count,
        found_after_s=earlier.found_after_s,
        found_at=earlier.found_at,
        first=earlier.first,
    )


def confirmed(finding: Finding, confirmation: Confirmation, *, observed: bool) -> Finding:
    """With what a real kernel did. ``observed``: it is the finding's own, and showed it."""
    return msgspec.structs.replace(
        finding,
        state=State.OBSERVED if observed else finding.state,
        confirmations=_latest((*finding.confirmations, confirmation)),
    )


def _latest(confirmations: tuple[Confirmation, ...]) -> tuple[Confirmation, ...]:
    """The last of each kernel."""
    return tuple({(each.image, each.linux): each for each in confirmations}.values())
