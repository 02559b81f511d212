"""The plain engine of a worker: a mutation loop of our own, where there is no libFuzzer.

It does with our mutator what libFuzzer does: draws an input that was kept, runs some mutants in a
row, each made from the one before, and keeps in the worker's shard what reached something new.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Final, NoReturn, Protocol

from fuzz.directory.shards import content, sha1
from fuzz.directory.store import Store
from fuzz.guidance.coverage import Mode
from fuzz.mutation.mutate import MAX_SIZE
from fuzz.processes import UNUSABLE, leave
from fuzz.search.kept import Input, Kept
from fuzz.search.search import Search

DEPTH: Final = 5  # mutants in a row
CROSSED: Final = 0.5
_SEED: Final = 0  # of libFuzzer's; the mutator has its own

# Told of an input that is kept, and of the one whose place it takes, or b"".
OnKept = Callable[[bytes, bytes], None]


class Driven(Protocol):
    """What a loop needs of a search."""

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        """The next input to run."""

    def cross_over(self, data: bytes, other: bytes, max_size: int, seed: int) -> bytes:
        """The next input to run, made from two."""

    def features(self, data: bytes) -> int:
        """What an input reaches, by running it."""


class Loop:
    """Draws, mutates, and keeps what is new, if the search is ``guided`` at all."""

    def __init__(self, search: Driven, rng: Random, on_kept: OnKept, *, guided: bool) -> None:
        self._search = search
        self._rng = rng
        self._on_kept = on_kept
        self._guided = guided
        self._kept = Kept()
        self._kept.add(b"", 0)

    def seed(self, data: bytes) -> None:
        """Run an input that somebody has kept already."""
        features = self._search.features(data)
        if self._kept.is_new(features):
            self._kept.add(data, features)

    def step(self) -> None:
        """Some mutants of one input."""
        parent = self._kept.draw(self._rng)
        data = parent.data
        for _ in range(DEPTH):
            data = self._mutant(data)
            features = self._search.features(data)
            if self._guided:
                self._weigh(data, features, parent)

    def _mutant(self, data: bytes) -> bytes:
        if self._rng.random() >= CROSSED:
            return self._search.mutate(data, MAX_SIZE, _SEED)
        other = self._kept.draw(self._rng).data
        return self._search.cross_over(data, other, MAX_SIZE, _SEED)

    def _weigh(self, data: bytes, features: int, parent: Input) -> None:
        """Keep what is new, or smaller than its parent and as good."""
        if self._kept.is_new(features):
            self._kept.add(data, features)
            self._on_kept(data, b"")
        elif self._kept.is_better(data, features, parent):
            self._on_kept(data, parent.data)
            self._kept.replace(parent, data)


class _Worker:
    """The search of a worker, as a loop needs it."""

    def __init__(self, search: Search) -> None:
        self._run = search.test_one_input
        self._feedback = search.feedback
        self.mutate = search.mutate
        self.cross_over = search.cross_over

    def features(self, data: bytes) -> int:
        """What an input reaches, by running it."""
        self._feedback.clear()
        self._run(data)
        return self._feedback.features()


def run(search: Search) -> NoReturn:
    """Searches; the search ends the process."""
    orders, store = search.orders, search.store
    shard = store.shard(orders.index)

    def keep(data: bytes, instead_of: bytes) -> None:
        try:
            # Torn by a kill, it does not fit its name.
            (shard / sha1(data)).write_bytes(data)
            if instead_of:
                (shard / sha1(instead_of)).unlink(missing_ok=True)
        except OSError as error:
            leave(UNUSABLE, f"{error.filename or shard}: {error.strerror}")

    guided = orders.coverage is not Mode.NONE
    rng = Random(orders.seed)  # noqa: S311 - nothing here is secret
    loop = Loop(_Worker(search), rng, keep, guided=guided)
    for data in _known(store):
        loop.seed(data)
    while True:
        loop.step()


def _known(store: Store) -> Iterator[bytes]:
    """The inputs of all shards, the smallest first, as libFuzzer takes them."""
    paths = (path for shard in store.shards() for path in shard.iterdir())
    found = {path.name: data for path in paths if (data := content(path)) is not None}
    yield from sorted(found.values(), key=lambda data: (len(data), data))
