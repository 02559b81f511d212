"""Which kernel breaks which clause: in the thread's own cases, and in the whole corpus."""

import inspect
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from emu import casefile, text
from emu.case import Case
from emu.kernels import CATALOGUE, KERNELS, Kind
from emu.model import Model
from emu.outcome import Outcomes
from emu.trace import Abort, run_traced
from fuzz.oracle.contract import CLAUSES, Reading
from fuzz.oracle.judge import judge
from fuzz.oracle.signature import signature
from fuzz.oracle.view import Timeline
from triage.corpus_files import case_files, corpus_dir

_GMEM = """
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
"""
_RUN = """
guest read64 slot0+0x10
run
"""

THREAD: Final = {
    "ENOMEM": _GMEM + "memory-limit on" + _RUN,
    "EFAULT": _GMEM + "release gmem0" + _RUN,
    "EHWPOISON": _GMEM + "poison gmem0+0x0" + _RUN,
}

OK: tuple[str, ...] = ()

# The thread's question, under the strict reading: which proposal cures what, and at which price.
MATRIX = [
    # kernel                 ENOMEM   EFAULT  EHWPOISON
    ("v6.18",                ("C2",), OK,     OK),
    ("v7.3",                 ("C2",), OK,     OK),
    ("rfc-align-errno",      OK,      OK,     OK),
    ("scribble-on-exit",     OK,      OK,     OK),
    ("scribble-as-posted",   OK,      OK,     ("C5",)),
    ("gated-prepare",        OK,      OK,     OK),
    ("gated-prepare-reset",  OK,      OK,     OK),
    ("clean",                OK,      OK,     OK),
    ("bad-scribble-sign",    OK,      OK,     ("C5",)),
    ("bad-raw-errno",        ("C2",), OK,     OK),
    # An ENOMEM that became an EFAULT without a report is what api.rst allows.
    ("bad-prepare-forgotten", OK,     ("C5",), ("C5",)),
    ("bad-return-zero",      ("C1",), ("C1",), ("C1",)),
    ("bad-size-zero",        ("C4",), ("C4",), ("C4",)),
]  # fmt: skip

# Something injected that is served without anybody seeing it: all that follows is not natural.
_INJECTED_BEFORE: Final = text.load("""
create mem7 size=0x10000 anon
memslot 7 gpa=0x70100000 size=0x10000 mem7+0x0
fail kvm_pgtable_stage2_map EAGAIN
guest read64 slot7+0x0
run
""").steps

_FOLDER: Final = corpus_dir()
CORPUS: Final = {
    str(path.relative_to(_FOLDER)): casefile.load(path.read_text(), str(path)).case
    for path in case_files(_FOLDER)
}
_READINGS: Final = (Reading.PARANOID, Reading.DOCUMENTED)

KNOWN_BAD: Final = [name for name, entry in CATALOGUE.items() if entry.kind is Kind.KNOWN_BAD]
RELEASES: Final = [name for name, entry in CATALOGUE.items() if entry.kind is Kind.RELEASE]
TWINS: Final = [name for name, entry in CATALOGUE.items() if entry.kind is Kind.TWIN]

Found = dict[str, dict[str, str]]  # kernel, signature, reason


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


@pytest.fixture(scope="module")
def found(model: Model) -> dict[Reading, Found]:
    """What each kernel breaks in the corpus, each case as it is and after an injection.

    The selftests' rows are many and alike: as they are will do.
    """
    total: dict[Reading, Found] = {each: {name: {} for name in KERNELS} for each in _READINGS}
    for source, as_it_is in CORPUS.items():
        injected = replace(as_it_is, steps=_INJECTED_BEFORE + as_it_is.steps)
        for case in (as_it_is,) if source.startswith("selftest/") else (as_it_is, injected):
            clean = model.run(case, KERNELS["clean"])
            for kernel, entry in CATALOGUE.items():
                outcomes = model.run(case, entry.kernel)
                if kernel != "clean" and outcomes == clean:
                    continue  # what is wrong then is wrong with clean
                for reading in _READINGS:
                    for name, reason in breaches(case, outcomes, reading).items():
                        total[reading][kernel].setdefault(name, f"{source}: {reason}")
    return total


def breaches(case: Case, outcomes: Outcomes, reading: Reading) -> dict[str, str]:
    """The signatures of what was broken in a case, and the reason of each."""
    timeline = Timeline(case, outcomes)
    return {
        str(signature(timeline, breach)): breach.reason for breach in judge(case, outcomes, reading)
    }


def cells() -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (kernel, error, broken)
        for kernel, *row in MATRIX
        for error, broken in zip(THREAD, row, strict=True)
    ]


@pytest.mark.parametrize(("kernel", "error", "broken"), cells())
def test_each_kernel_breaks_exactly_these_clauses(
    model: Model, kernel: str, error: str, broken: tuple[str, ...]
) -> None:
    case = text.load(THREAD[error])
    told = breaches(case, model.run(case, KERNELS[kernel]), Reading.STRICT)
    assert tuple(f"{clause}-gmem_abort-natural" for clause in broken) == tuple(told)


@pytest.mark.parametrize("kernel", CATALOGUE)
def test_the_catalogue_lists_all_that_a_kernel_breaks(
    found: dict[Reading, Found], kernel: str
) -> None:
    told = found[Reading.PARANOID][kernel]
    assert set(CATALOGUE[kernel].breaks) == set(told), told


@pytest.mark.parametrize("kernel", KNOWN_BAD)
def test_every_known_bad_kernel_has_a_case_that_condemns_it_and_clears_clean(
    model: Model, kernel: str
) -> None:
    case = CORPUS[f"bad/{kernel.removeprefix('bad-')}.case"]
    assert breaches(case, model.run(case, KERNELS[kernel]), Reading.PARANOID)
    assert not breaches(case, model.run(case, KERNELS["clean"]), Reading.PARANOID)


@pytest.mark.parametrize("twin", TWINS)
def test_every_twin_does_something_in_a_case_of_its_own_that_clean_does_not(
    model: Model, twin: str
) -> None:
    case = CORPUS[f"twin/{twin.removeprefix('twin-')}.case"]
    assert passed(model, case, twin) != passed(model, case, "clean")


def passed(model: Model, case: Case, kernel: str) -> tuple[Outcomes, list[list[Abort]]]:
    """The outcomes, and the guest's aborts: some twins only have more of them, or fewer."""
    outcomes, traces = run_traced(model, case, KERNELS[kernel])
    return outcomes, [trace.aborts for trace in traces]


@pytest.mark.parametrize(("newer", "older"), list(pairwise(RELEASES)))
def test_every_release_does_something_that_the_next_one_does_not(
    model: Model, newer: str, older: str
) -> None:
    cases = [case for name, case in CORPUS.items() if name.startswith("releases/")]
    assert any(model.run(case, KERNELS[newer]) != model.run(case, KERNELS[older]) for case in cases)


@pytest.mark.parametrize("twin", TWINS)
def test_every_twin_names_the_kernel_that_it_looks_like(twin: str) -> None:
    head = (inspect.getdoc(type(KERNELS[twin])) or "").partition(":")[0]
    assert head.startswith("Of ``")
    assert head.split("``")[1] in CATALOGUE


@pytest.mark.parametrize("kernel", KNOWN_BAD)
def test_every_known_bad_kernel_says_where_it_is_from(kernel: str) -> None:
    said = inspect.getdoc(type(KERNELS[kernel])) or ""
    assert "Source: " in said or "Synthetic" in said


@pytest.mark.parametrize("kernel", [k for k, e in CATALOGUE.items() if e.kind is Kind.PROPOSAL])
def test_no_proposal_leaks(found: dict[Reading, Found], kernel: str) -> None:
    told = found[Reading.PARANOID][kernel]
    assert not [name for name in told if name.startswith("C2-")]


@pytest.mark.parametrize("clause", [clause.id for clause in CLAUSES])
def test_every_clause_is_the_only_one_to_condemn_some_kernel(clause: str) -> None:
    condemned = [{name.split("-")[0] for name in CATALOGUE[kernel].breaks} for kernel in KNOWN_BAD]
    assert {clause} in condemned


@pytest.mark.parametrize("page", ["contract.md", "model.md"])
def test_the_docs_name_kernels_that_there_are(page: str) -> None:
    text_of_page = (_FOLDER.parent / "docs" / page).read_text()
    named = set(re.findall(r"`((?:bad|twin)-[a-z-]+|v\d\.\d+)`", text_of_page))
    assert named
    assert named <= set(KERNELS)


def test_the_contract_page_names_kernels_that_the_clause_alone_condemns() -> None:
    page = (_FOLDER.parent / "docs" / "contract.md").read_text()
    rows = re.findall(r"^\| (C\d+) \|.*\|([^|]*)\|$", page, re.MULTILINE)
    assert [clause for clause, _ in rows] == [clause.id for clause in CLAUSES]
    for clause, cell in rows:
        for kernel in set(re.findall(r"`([^`]+)`", cell)) & set(KNOWN_BAD):
            assert {name.split("-")[0] for name in CATALOGUE[kernel].breaks} == {clause}


def test_the_documented_reading_excuses_the_leak_and_nothing_that_is_documented(
    found: dict[Reading, Found],
) -> None:
    asked = {clause.id for clause in CLAUSES if Reading.DOCUMENTED in clause.readings}
    for kernel, entry in CATALOGUE.items():
        told = found[Reading.DOCUMENTED][kernel]
        assert {name for name in entry.breaks if name.split("-")[0] in asked} == set(told)
        assert not [name for name in told if name.startswith("C2-")]


def test_every_corpus_case_of_a_slip_or_a_twin_is_some_kernels() -> None:
    slips = {f"bad/{name.removeprefix('bad-')}" for name in KNOWN_BAD}
    twins = {f"twin/{name.removeprefix('twin-')}" for name in TWINS}
    kept = {str(Path(name).with_suffix("")) for name in CORPUS}
    assert kept >= slips | twins
    # What else a slip breaks is in files whose names begin with its own.
    others = {name for name in kept - slips - twins if name.startswith(("bad/", "twin/"))}
    begins = tuple(f"{slip}-" for slip in slips)
    assert [name for name in others if not name.startswith(begins)] == []
