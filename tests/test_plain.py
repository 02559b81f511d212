"""The plain engine: what it keeps, what it draws, and a campaign of it."""

import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from fuzz.directory.opening import open_store
from fuzz.directory.shards import content
from fuzz.search.kept import Kept
from fuzz.search.plain import DEPTH, Loop
from tests.command import Gff
from tests.test_cli import without
from triage.ending import Status


def chance(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - nothing here is secret


class Letters:
    """A search in which each letter of an input is a feature, and mutants are longer or shorter."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.ran: list[bytes] = []

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        letter = bytes([self._rng.randrange(26)])
        return (data[1:] if self._rng.random() < 0.4 else data + letter)[:max_size]

    def cross_over(self, data: bytes, other: bytes, max_size: int, seed: int) -> bytes:
        return (data[:1] + other)[:max_size]

    def features(self, data: bytes) -> int:
        self.ran.append(data)
        return sum(1 << 8 * letter for letter in set(data))


def nothing_is_kept(data: bytes, _instead_of: bytes) -> None:
    pytest.fail(f"{data!r} was kept")


@pytest.mark.parametrize("seed", range(5))
def test_every_feature_is_kept_and_its_smallest_input_at_last(seed: int) -> None:
    kept: dict[bytes, None] = {}

    def on_kept(data: bytes, instead_of: bytes) -> None:
        kept[data] = None
        if instead_of:
            del kept[instead_of]

    search = Letters(chance(seed))
    loop = Loop(search, chance(seed), on_kept, guided=True)
    for _ in range(4000):
        loop.step()
    assert len(search.ran) == 4000 * DEPTH
    assert set().union(*kept) == set().union(*search.ran)
    assert all(len(data) <= 3 for data in kept)


def test_unguided_nothing_is_kept() -> None:
    loop = Loop(Letters(chance(1)), chance(1), nothing_is_kept, guided=False)
    for _ in range(100):
        loop.step()


def test_what_is_known_is_run_once_and_not_written_again() -> None:
    search = Letters(chance(1))
    loop = Loop(search, chance(1), nothing_is_kept, guided=True)
    loop.seed(bytes(range(26)))
    assert search.ran == [bytes(range(26))]


def test_an_input_with_a_rare_feature_is_drawn_more_often() -> None:
    kept = Kept()
    kept.add(b"rare", 1 << 80)
    for number in range(40):
        kept.add(b"common%d" % number, 1 | 1 << 8 * (number % 8))
    rng = chance(1)
    drawn = Counter(kept.draw(rng).data for _ in range(4000))
    assert len(drawn) == 41
    assert drawn.most_common(1)[0][0] == b"rare"


def test_a_plain_campaign_finds_the_leak_and_keeps_inputs_that_a_later_run_begins_with(
    tmp_path: Path,
) -> None:
    words = ("fuzz", "--cases", "1500", "-j", "1", "--seed", "3", "--campaign", "c", "--json")
    ended = without("atheris", tmp_path, *words)
    assert ended.returncode == Status.FINDINGS, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["cases"] == 1500
    assert "C2-gmem_abort-natural" in {each["signature"] for each in told["findings"]}
    store = open_store(tmp_path / "c")
    shard = list(store.shard(0).iterdir())
    assert len(shard) > 50
    assert all(content(path) is not None for path in shard)
    again = without("atheris", tmp_path, *words)
    assert json.loads(again.stdout.splitlines()[-1])["cases"] == 3000
    (status,) = store.statuses().values()
    assert status.reread >= 50


def test_the_plain_engine_has_no_counters_of_atheris(call: Gff) -> None:
    ended = call("fuzz", "--engine", "plain", "--coverage", "atheris")
    assert ended.status is Status.USAGE
    assert ended.err == "gff: --engine plain: --coverage atheris needs the engine atheris\n"


def test_an_unknown_engine_is_refused(call: Gff) -> None:
    ended = call("fuzz", "--engine", "plane")
    assert ended.status is Status.USAGE
    assert "unknown engine 'plane', did you mean plain?" in ended.err
