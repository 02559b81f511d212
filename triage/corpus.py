"""Corpus files against the model: what differs from their expectations, and new expectations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from emu.case import Case
from emu.casefile import CaseFile
from emu.expectation import Basis, Expectation, ExpectedLine, ExpectedRun, arrange
from emu.kernels import CATALOGUE, KERNELS, Kind
from triage.corpus_files import case_files, corpus_dir
from triage.ending import MissingError, UserError
from triage.replay import Difference, differences

Replay = Callable[[Case, str], tuple[ExpectedLine, ...]]
Lines = Mapping[str, tuple[ExpectedLine, ...]]

_CLEAN: Final = "clean"
_CHANGES: Final = (Kind.KNOWN_BAD, Kind.TWIN)


class Mismatch(msgspec.Struct, frozen=True):
    """A kernel that does something else with a file's case than the file says."""

    file: str
    kernel: str
    basis: Basis
    differences: tuple[Difference, ...]


class Blessing(msgspec.Struct, frozen=True):
    """What blessing makes of a file. With anything in ``refused``, the file stays as it is."""

    file: str
    changed: bool
    added: tuple[str, ...]
    rewritten: tuple[str, ...]
    refused: tuple[Mismatch, ...]


def files_below(names: Sequence[str] | None) -> list[str]:
    """The files of these names, and the ``.case`` files in and below those that are folders; where
    none is named, those of the corpus that came with gff.
    """
    found: list[str] = []
    for name in names or [_corpus()]:
        if not Path(name).is_dir():
            found.append(name)
        elif inside := case_files(Path(name)):
            found += map(str, inside)
        else:
            raise UserError(f"{name}: no .case file in it or below it")
    return found


def _corpus() -> str:
    folder = corpus_dir()
    if not folder.is_dir():
        raise MissingError(f"{folder}: the corpus is not there")
    return str(folder)


def check(name: str, file: CaseFile, kernels: Sequence[str], replay: Replay) -> list[Mismatch]:
    """The mismatches of a file on those of ``kernels`` that it names."""
    compared = (
        (kernel, group.basis, differences(group.lines, replay(file.case, kernel)))
        for group in file.expectations
        for kernel in group.kernels
        if kernel in kernels
    )
    return [Mismatch(name, *each) for each in compared if each[-1]]


def bless(name: str, file: CaseFile, replay: Replay) -> tuple[Blessing, CaseFile]:
    """The file with the model's outcomes for every kernel, and what that changed.

    Kernels that it does not name yet are added as claims; of the known-bad ones and the twins,
    those that differ from ``clean`` here. An observed outcome is not the model's to change: only
    the clauses that condemn it are ours.
    """
    actual = _telling({kernel: replay(file.case, kernel) for kernel in KERNELS})
    groups = {kernel: file.expected_of(kernel) for kernel in actual}
    basis = {kernel: _basis(group, actual[kernel]) for kernel, group in groups.items()}
    refused = tuple(
        Mismatch(name, kernel, group.basis, differences(group.lines, actual[kernel]))
        for kernel, group in groups.items()
        if group is not None and group.basis is Basis.OBSERVED and _unlike(group, actual[kernel])
    )
    if refused:
        return Blessing(name, changed=False, added=(), rewritten=(), refused=refused), file
    new = replace(file, expectations=arrange(actual, basis))
    known = {kernel: group.lines for kernel, group in groups.items() if group is not None}
    blessing = Blessing(
        file=name,
        changed=new != file,
        added=tuple(kernel for kernel in actual if kernel not in known),
        rewritten=tuple(kernel for kernel in known if known[kernel] != actual[kernel]),
        refused=(),
    )
    return blessing, new


def _telling(actual: Lines) -> Lines:
    """Without the kernels made from ``clean`` by one change, where that change does not show."""
    clean = actual[_CLEAN]
    return {
        kernel: lines
        for kernel, lines in actual.items()
        if CATALOGUE[kernel].kind not in _CHANGES or lines != clean
    }


def _basis(group: Expectation | None, actual: Sequence[ExpectedLine]) -> Basis:
    """Read in the source stays so only for what was read."""
    if group is None or (group.basis is Basis.INFERRED and _unlike(group, actual)):
        return Basis.CLAIM
    return group.basis


def _unlike(group: Expectation, actual: Sequence[ExpectedLine]) -> bool:
    """Whether an outcome differs; which clauses condemn it is no part of it."""
    return _outcomes(group.lines) != _outcomes(actual)


def _outcomes(lines: Sequence[ExpectedLine]) -> list[ExpectedLine]:
    return [replace(line, clauses=()) if isinstance(line, ExpectedRun) else line for line in lines]
