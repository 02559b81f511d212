"""What of ``emu/kvm`` no corpus case reaches, against the list of what none can: ``make coverage``.

Each case is played on the kernels that every corpus file names. A line or a branch counts only
inside a function: the rest runs when a module is imported, whatever the corpus has.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from coverage import Coverage

import emu.kvm
from emu import casefile
from emu.case import Case
from emu.kernels import CATALOGUE, Kind
from emu.kvm.kvm_main import Kernel
from emu.model import Model
from triage.corpus_files import case_files, corpus_dir
from triage.screen import show
from triage.tables import Table

UNREACHED: Final = Path(__file__).with_name("unreached.toml")

_MEASURED: Final = Path(str(emu.kvm.__file__)).parent
_MADE_FROM_CLEAN: Final = (Kind.KNOWN_BAD, Kind.TWIN)
_LEAVES: Final = "(leaves)"


class Place(msgspec.Struct, frozen=True):
    """A line of a function by its text, or the branch from it to the line ``to``."""

    file: str
    function: str
    line: str
    to: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place that no case can reach, and why."""

    file: str
    function: str
    line: str
    to: str = ""
    reason: str

    @property
    def place(self) -> Place:
        """The place alone."""
        return Place(self.file, self.function, self.line, self.to)


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of what is not reached."""

    unreached: tuple[Entry, ...] = ()


class Region(msgspec.Struct, frozen=True):
    """What coverage's JSON report says of a function; a branch that leaves it goes below 0."""

    missing_lines: tuple[int, ...]
    missing_branches: tuple[tuple[int, int], ...]


class Measured(msgspec.Struct, frozen=True):
    """What it says of a file; the function without a name is all that is in none."""

    functions: Mapping[str, Region]


class Report(msgspec.Struct, frozen=True):
    """The report."""

    files: Mapping[str, Measured]


class Odds(msgspec.Struct, frozen=True):
    """What differs from the list: reached by nothing, and listed though something reaches it."""

    unlisted: tuple[Place, ...]
    reached: tuple[Place, ...]


def corpus() -> list[Case]:
    """Every case of the corpus; what its file expects is not looked at."""
    return [casefile.load(path.read_text(), str(path)).case for path in case_files(corpus_dir())]


def kernels() -> list[Kernel]:
    """Those that every corpus file names. One with a slip is no witness that an arm is of use."""
    return [entry.kernel for entry in CATALOGUE.values() if entry.kind not in _MADE_FROM_CLEAN]


def measure(cases: Iterable[Case], on: Sequence[Kernel]) -> Report:
    """Play the cases, and see what runs."""
    coverage = Coverage(
        data_file=None, config_file=False, branch=True, source_dirs=[str(_MEASURED)]
    )
    # It was imported before the measurement, on purpose: only functions count.
    coverage.set_option("run:disable_warnings", ["module-not-measured", "already-imported"])
    coverage.clear_exclude()  # a comment does not excuse a line, the list does
    model = Model()
    with coverage.collect():
        for case in cases:
            for kernel in on:
                model.run(case, kernel)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.json")
        coverage.json_report(outfile=str(path))
        return msgspec.json.decode(path.read_bytes(), type=Report)


def missed(report: Report) -> list[Place]:
    """The lines that nothing reached, and the branches that nothing took between the others."""
    return [
        place
        for name, measured in report.files.items()
        for function, region in measured.functions.items()
        if function
        for place in _missed(Path(name), function, region)
    ]


def compare(places: Iterable[Place], listed: Listed) -> Odds:
    """Text that a function has twice is listed twice."""
    found, known = Counter(places), Counter(entry.place for entry in listed.unreached)
    return Odds(tuple((found - known).elements()), tuple((known - found).elements()))


def _missed(path: Path, function: str, region: Region) -> Iterator[Place]:
    texts = [line.strip() for line in path.read_text().splitlines()]
    lines = region.missing_lines
    for line in lines:
        yield Place(path.name, function, texts[line - 1])
    for start, end in region.missing_branches:
        if start not in lines and end not in lines:
            to = texts[end - 1] if end > 0 else _LEAVES
            yield Place(path.name, function, texts[start - 1], to)


def main() -> int:
    """Print what differs; 1 where something does."""
    listed = msgspec.toml.decode(UNREACHED.read_bytes(), type=Listed)
    cases, on = corpus(), kernels()
    odds = compare(missed(measure(cases, on)), listed)
    table = Table(("what", "file", "function", "line"), wide="line")
    for what, places in (("not reached", odds.unlisted), ("reached after all", odds.reached)):
        for place in places:
            branch = f"{place.line} -> {place.to}" if place.to else place.line
            table.add_row(what, place.file, place.function, branch)
    if table.rows:
        show(table)
    count = len(listed.unreached)
    show(f"{len(cases)} cases on {len(on)} kernels; {count} places listed, {len(table.rows)} odd")
    return 1 if table.rows else 0


if __name__ == "__main__":
    sys.exit(main())
