"""``python -m tests.mutants [MODULE...]``: what judges, changed in one place after the other.

A mutant that condemns and clears like its original is a hole in the tests, or is listed with its
reason in ``survivors.toml``. Results are kept in ``mutants/``; the same command goes on with them
as long as nothing changed that they rest on.
"""

import argparse
import gc
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from tests.mutants.mutant import Mutant, Place, mutants
from tests.mutants.part import Part, part_of
from tests.mutants.survivors import compare, listed
from tests.mutants.trial import Package, ended, tried, tried_as_it_is
from tests.mutants.verdict import Verdict
from tests.mutants.witnesses import ROOT, Recorded, record

MODULES: Final = tuple(module for part in Part for module in part.value)
KEPT: Final = ROOT / "mutants"

_EVERY: Final = 100  # mutants between two lines of progress


class Result(msgspec.Struct, frozen=True):
    """What became of a mutant."""

    place: Place
    verdict: Verdict


def main() -> int:
    """1 where a survivor is not explained, or an explanation explains nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", default=MODULES, help="of fuzz, without .py")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--survivors", action="store_true", help="only the last run's survivors")
    wanted = parser.parse_args()
    todo = [mutant for name in wanted.modules for mutant in _of(name)]
    if wanted.survivors:
        alive = set(_survived(_last()))
        todo = [mutant for mutant in todo if mutant.place in alive]
    results = list(_results(todo, wanted.jobs))
    return _told(results)


def _of(module: str) -> list[Mutant]:
    path = ROOT / "fuzz" / part_of(module).folder / f"{module}.py"
    return mutants(path.name, path.read_text())


def _results(todo: Sequence[Mutant], jobs: int) -> Iterator[Result]:
    """Of every mutant: what is known already, then what it takes to know the rest."""
    KEPT.mkdir(exist_ok=True)
    path = KEPT / f"{_digest()}.jsonl"
    known = {each.place: each for each in _read(path)}
    yield from (known[mutant.place] for mutant in todo if mutant.place in known)
    rest = [mutant for mutant in todo if mutant.place not in known]
    if rest:
        _say(f"{len(rest)} mutants to try, {len(todo) - len(rest)} known")
        with path.open("ab") as kept:
            for result in _run(rest, jobs):
                kept.write(msgspec.json.encode(result) + b"\n")
                kept.flush()
                yield result


def _run(todo: Sequence[Mutant], jobs: int) -> Iterator[Result]:
    package, recorded = Package.read(), record()
    gc.freeze()  # what is forked from here on shares it
    _check_baseline(package, recorded)
    running: dict[int, Place] = {}
    began, waiting = monotonic(), iter(todo)
    for number in range(len(todo)):
        while len(running) < jobs and (mutant := next(waiting, None)) is not None:
            running[tried(mutant, package, recorded)] = mutant.place
        child, verdict = ended()
        yield Result(running.pop(child), verdict)
        if number % _EVERY == _EVERY - 1:
            _say(f"{number + 1} of {len(todo)}, {monotonic() - began:.0f} s")


def _check_baseline(package: Package, recorded: list[Recorded]) -> None:
    for part in Part:
        tried_as_it_is(part, package, recorded)
        _, verdict = ended()
        if verdict is not Verdict.SURVIVED:
            sys.exit(f"{part.name.lower()} is not as expected without a mutation: {verdict.value}")


def _digest() -> str:
    """Of all that a result rests on."""
    digest = hashlib.sha256()
    tests = (ROOT / "tests").glob("*.py")
    sources = [*(ROOT / "emu").rglob("*.py"), *(ROOT / "fuzz").rglob("*.py")]
    own = Path(__file__).parent.glob("*.py")
    for path in sorted((*tests, *sources, *own, *(ROOT / "corpus").rglob("*.case"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _read(path: Path) -> list[Result]:
    """Without a last line that was cut off."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = (line for line in lines if line.endswith(b"\n"))
    return [msgspec.json.decode(line, type=Result) for line in whole]


def _last() -> list[Result]:
    """The newest results."""
    paths = sorted(KEPT.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
    return _read(paths[-1]) if paths else []


def _survived(results: Iterable[Result]) -> list[Place]:
    return [each.place for each in results if each.verdict is Verdict.SURVIVED]


def _told(results: list[Result]) -> int:
    odds = compare(_survived(results), (each.place for each in results), listed())
    rows = (
        ("not explained", odds.unexplained),
        ("killed after all", odds.killed),
        ("no such mutant", odds.unknown),
    )
    for what, places in rows:
        for place in places:
            sys.stdout.write(f"{what}: {place}\n")
    counts = Counter(each.verdict for each in results)
    killed = ", ".join(f"{counts[each]} by {each.value}" for each in Verdict if counts[each])
    sys.stdout.write(f"{len(results)} mutants: {killed}\n")
    return 1 if any(places for _, places in rows) else 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
