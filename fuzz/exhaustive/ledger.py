"""What an exhaustive search keeps beside its findings: what it is a search of, and what is done.

    plan.json           kernels, reading, scope, and fingerprints of what gives the answers
    chunks/L-FIRST.json the chunk of layout L from case FIRST on: all of its cases were run

Both are in a campaign directory; the supervisor alone writes them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from fuzz.directory import durable
from fuzz.directory.configuration import CONFIGURATION
from fuzz.directory.fingerprint import Fingerprints
from fuzz.directory.opening import open_store
from fuzz.directory.store import StoreError
from fuzz.oracle.contract import Reading

COVERAGE: Final = "exhaust"  # in place of what guides a campaign: nothing has to
PLAN: Final = "plan.json"
CHUNKS: Final = "chunks"
CHUNK: Final = 4096  # cases; some seconds with a dozen kernels
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Extent(msgspec.Struct, frozen=True):
    """A layout of the scope, and how many cases it has."""

    layout: str
    cases: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched. Two plans that are not equal have nothing to say to each other."""

    kernels: tuple[str, ...]
    reading: Reading
    steps: int
    extents: tuple[Extent, ...]
    fingerprints: Fingerprints

    @property
    def cases(self) -> int:
        """All of the scope."""
        return sum(extent.cases for extent in self.extents)


class Chunk(NamedTuple):
    """Cases of one layout, from number ``first`` to before ``end``."""

    layout: int
    first: int
    end: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that was run. ``crashes``: cases on which we went wrong, so that nothing is known of
    them. ``seen``: how many cases showed a finding, by its name.
    """

    chunk: Chunk
    cases: int
    crashes: int
    seconds: float
    seen: dict[str, int]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The part of a campaign directory that is an exhaustive search's own."""

    root: Path

    def plan(self) -> Plan | None:
        """The plan, if there is one already."""
        path = self.root / PLAN
        return _read(path, Plan) if path.exists() else None

    def begin(self, plan: Plan) -> None:
        """Makes ``plan`` that of a directory without one, and makes ready for chunks."""
        if self.plan() is None:
            durable.write(self.root / PLAN, msgspec.json.format(msgspec.json.encode(plan)))
        (self.root / CHUNKS).mkdir(exist_ok=True)
        durable.sweep(self.root / CHUNKS)

    def results(self) -> list[Result]:
        """Every chunk that is done."""
        files = sorted((self.root / CHUNKS).glob("[0-9]*.json"))
        return [_read(path, Result) for path in files]

    def record(self, result: Result) -> None:
        """Notes that a chunk is done."""
        layout, first, _ = result.chunk
        path = self.root / CHUNKS / f"{layout}-{first}.json"
        durable.write(path, msgspec.json.encode(result))


def chunks(plan: Plan) -> list[Chunk]:
    """All of the scope, in order."""
    return [
        Chunk(layout, first, min(first + CHUNK, extent.cases))
        for layout, extent in enumerate(plan.extents)
        for first in range(0, extent.cases, CHUNK)
    ]


def check(root: Path, plan: Plan) -> None:
    """StoreError if the directory holds something else than a search by this plan."""
    is_begun = (root / CONFIGURATION).exists()
    if is_begun and open_store(root).configuration().coverage != COVERAGE:
        raise StoreError(f"{root}: a campaign of random cases, not an exhaustive search")
    known = Ledger(root).plan()
    if known is not None and (difference := _difference(known, plan)):
        raise StoreError(f"{root}: begun with {difference}: take another directory")


def _difference(known: Plan, plan: Plan) -> str:
    if known.kernels != plan.kernels:
        return f"--kernel {' --kernel '.join(known.kernels)}"
    if known.reading is not plan.reading:
        return f"--reading {known.reading.value}"
    if known.steps != plan.steps:
        return f"--steps {known.steps}"
    changed = known.fingerprints.changed(plan.fingerprints)
    if changed:
        return f"another {' and another '.join(changed)}, whose answers are no longer ours"
    return "" if known == plan else "a scope of another size"


def _read(path: Path, kind: type[_Struct]) -> _Struct:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: damaged: {error}") from error
