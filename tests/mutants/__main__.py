"""Change what judges in one place after the other, and ask the tests whether they see it.

A mutant that judges like its original is a hole in the tests, or stands with its reason in
tests/mutants/survivors.toml. Results are kept in mutants/: the same command goes on with them
as long as nothing changed that they rest on.
"""

import argparse
import gc
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from time import monotonic
from typing import Final

from emu.kernels import KERNELS
from tests.mutants.kept import Kept, Result, newest
from tests.mutants.mutant import Mutant, Place, mutants
from tests.mutants.part import Part, part_of
from tests.mutants.survivors import compare, listed
from tests.mutants.trial import Package, ended, tried, tried_as_it_is
from tests.mutants.verdict import Verdict
from tests.mutants.witnesses import ROOT, Recorded, record

_MODULES: Final = "\n".join(f"  fuzz/{part.folder}: {' '.join(part.value)}" for part in Part)
_EXAMPLES: Final = f"""\
examples:
  python -m tests.mutants                  everything; some 20 minutes on two processors
  python -m tests.mutants judge race       the mutants of two modules
  python -m tests.mutants --survivors      after a new test: the last run's survivors again

modules:
{_MODULES}

exit status:
  0 every survivor is explained, 1 one is not or an explanation explains nothing, 2 bad usage
"""
_EVERY: Final = 50  # mutants between two lines of progress


def main() -> int:
    """1 where a survivor is not explained, or an explanation explains nothing."""
    wanted = _wanted()
    every = [mutant for name in wanted.modules for mutant in _of(name)]
    todo = every
    if wanted.survivors:
        alive = {place for part in Part for place in _survived(newest(part))}
        todo = [mutant for mutant in every if mutant.place in alive]
    try:
        results = [
            result
            for part in Part
            for result in _results(
                part, [each for each in todo if part_of(each.place.file) is part], wanted.jobs
            )
        ]
    except KeyboardInterrupt:
        _say("stopped; the same command goes on from here")
        return 130
    return _told(results, [mutant.place for mutant in every])


def _wanted() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    every = [module for part in Part for module in part.value]
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="of those below; default: all")
    jobs = os.cpu_count() or 1
    parser.add_argument(
        "--jobs", type=int, default=jobs, metavar="N", help=f"processes at once; default: {jobs}"
    )
    parser.add_argument(
        "--survivors", action="store_true", help="only those that survived the last run"
    )
    wanted = parser.parse_args()
    for name in wanted.modules:
        if name not in every:
            parser.error(f"no module '{name}': one of {', '.join(every)}")
    if wanted.jobs < 1:
        parser.error("--jobs: at least 1")
    wanted.modules = wanted.modules or every
    return wanted


def _of(module: str) -> list[Mutant]:
    path = ROOT / "fuzz" / part_of(module).folder / f"{module}.py"
    return mutants(path.name, path.read_text())


def _results(part: Part, todo: Sequence[Mutant], jobs: int) -> Iterator[Result]:
    """Of every mutant: what is known already, then what it takes to know the rest."""
    kept = Kept(part)
    known = kept.known()
    yield from (known[mutant.place] for mutant in todo if mutant.place in known)
    rest = [mutant for mutant in todo if mutant.place not in known]
    if rest:
        _say(f"{part.folder}: {len(rest)} mutants to try, {len(todo) - len(rest)} known")
        for result in _run(part, rest, jobs):
            kept.add(result)
            yield result


def _run(part: Part, todo: Sequence[Mutant], jobs: int) -> Iterator[Result]:
    kernels = {name: KERNELS[name] for name in part.kernels}
    _say(f"{part.folder}: the corpus is played first, on {len(kernels)} kernels")
    package, recorded = Package.read(), record(kernels)
    gc.freeze()  # what is forked from here on shares it
    _check_baseline(part, package, recorded)
    explained = {entry.place for entry in listed().survivor}
    running: dict[int, Place] = {}
    began, waiting = monotonic(), iter(todo)
    for number in range(1, len(todo) + 1):
        while len(running) < jobs and (mutant := next(waiting, None)) is not None:
            running[tried(mutant, package, recorded)] = mutant.place
        child, verdict = ended()
        result = Result(running.pop(child), verdict)
        if verdict is Verdict.SURVIVED and result.place not in explained:
            _say(f"survived: {result.place}")
        yield result
        if number % _EVERY == 0:
            left = (monotonic() - began) / number * (len(todo) - number)
            _say(f"{part.folder}: {number} of {len(todo)}, {left / 60:.0f} min left")


def _check_baseline(part: Part, package: Package, recorded: list[Recorded]) -> None:
    tried_as_it_is(part, package, recorded)
    _, verdict = ended()
    if verdict is not Verdict.SURVIVED:
        sys.exit(f"{part.folder} is not as expected without a mutation: {verdict.value}")


def _survived(results: Iterable[Result]) -> list[Place]:
    return [each.place for each in results if each.verdict is Verdict.SURVIVED]


def _told(results: list[Result], every: Sequence[Place]) -> int:
    survived = _survived(results)
    odds = compare(survived, (each.place for each in results), every, listed())
    rows = (
        ("not explained", odds.unexplained),
        ("killed after all", odds.killed),
        ("no such mutant", odds.unknown),
    )
    for what, places in rows:
        for place in places:
            sys.stdout.write(f"{what}: {place}\n")
    counts = Counter(each.verdict for each in results)
    del counts[Verdict.SURVIVED]
    by = [f"{counts[each]} by {each.value}" for each in Verdict if counts[each]]
    sys.stdout.write(
        f"{len(results)} mutants: {len(results) - len(survived)} killed ({', '.join(by)}), "
        f"{len(survived)} survived, {len(odds.unexplained)} of them not explained\n"
    )
    return 1 if any(places for _, places in rows) else 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
