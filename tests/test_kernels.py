"""Which kernel breaks which clause, in the thread's own cases."""

import pytest

from emu import text
from emu.kernels import CATALOGUE, KERNELS, Kind
from emu.model import Model
from fuzz.contract import CLAUSES, Reading
from fuzz.judge import judge
from fuzz.signature import signature
from fuzz.view import Timeline

_GMEM = """
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
"""
_ANON = """
create mem0 size=0x1000 anon
memslot 1 gpa=0x50000000 size=0x1000 mem0+0x0
munmap mem0+0x0 size=0x1000
"""
_RUN = """
guest read64 slot0+0x10
run
"""

CASES = {
    "ENOMEM": _GMEM + "memory-limit on" + _RUN,
    "EFAULT": _GMEM + "release gmem0" + _RUN,
    "EHWPOISON": _GMEM + "poison gmem0+0x0" + _RUN,
    "EIO injected": _GMEM + "fail kvm_gmem_get_pfn EIO" + _RUN,
    "user EFAULT": _ANON + "guest read64 slot1+0x10\nrun\n",
    "kept, then user EFAULT": (
        _GMEM + _ANON + "release gmem0" + _RUN + "skip\nguest read64 slot1+0x10\nrun\n"
    ),
    "kept, then immediate_exit": _GMEM + "release gmem0" + _RUN + "run immediate-exit\n",
    "kept, then a bad argument": _GMEM + "release gmem0" + _RUN + "run bad-argument\n",
    "walk outside slots": "guest walk 0x60000010\nrun\n",
    "ENOEXEC injected, then ENOSYS": (
        _GMEM
        + "fail kvm_gmem_get_pfn ENOEXEC\n"
        + "guest read64 slot0+0x10\nguest read-pair 0x60000000\nrun\n"
    ),
    "ENOEXEC injected, then user EFAULT": (
        _GMEM
        + _ANON
        + "fail kvm_gmem_get_pfn ENOEXEC\n"
        + "guest read64 slot0+0x10\nguest read64 slot1+0x10\nrun\nrun\n"
    ),
}

OK: tuple[str, ...] = ()

# The thread's question, under the strict reading: which proposal cures what, and at which price.
MATRIX = [
    # kernel                 ENOMEM   EFAULT  EHWPOISON
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
_INJECTED_BEFORE = """
create mem7 size=0x1000 anon
memslot 7 gpa=0x70000000 size=0x1000 mem7+0x0
fail kvm_pgtable_stage2_map EAGAIN
guest read64 slot7+0x0
run
"""


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


def breaches(model: Model, source: str, kernel: str, reading: Reading) -> dict[str, str]:
    """The signatures of what a kernel breaks in a case, and the reason of each."""
    case = text.load(source)
    outcomes = model.run(case, KERNELS[kernel])
    timeline = Timeline(case, outcomes)
    return {
        str(signature(timeline, breach)): breach.reason for breach in judge(case, outcomes, reading)
    }


def all_breaches(model: Model, kernel: str, reading: Reading) -> dict[str, str]:
    """The same over all the cases, each once as it is and once after an injection."""
    return {
        name: reason
        for source in CASES.values()
        for before in ("", _INJECTED_BEFORE)
        for name, reason in breaches(model, before + source, kernel, reading).items()
    }


def cells() -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (kernel, error, broken)
        for kernel, *row in MATRIX
        for error, broken in zip(("ENOMEM", "EFAULT", "EHWPOISON"), row, strict=True)
    ]


@pytest.mark.parametrize(("kernel", "error", "broken"), cells())
def test_each_kernel_breaks_exactly_these_clauses(
    model: Model, kernel: str, error: str, broken: tuple[str, ...]
) -> None:
    found = breaches(model, CASES[error], kernel, Reading.STRICT)
    assert tuple(f"{clause}-gmem_abort-natural" for clause in broken) == tuple(found)


@pytest.mark.parametrize("kernel", CATALOGUE)
def test_the_catalogue_lists_all_that_a_kernel_breaks(model: Model, kernel: str) -> None:
    found = all_breaches(model, kernel, Reading.PARANOID)
    assert set(CATALOGUE[kernel].breaks) == set(found), found


@pytest.mark.parametrize("kernel", [k for k, e in CATALOGUE.items() if e.kind is Kind.PROPOSAL])
def test_no_proposal_leaks(model: Model, kernel: str) -> None:
    found = all_breaches(model, kernel, Reading.PARANOID)
    assert not [name for name in found if name.startswith("C2-")]


@pytest.mark.parametrize("clause", [clause.id for clause in CLAUSES])
def test_every_clause_is_the_only_one_to_condemn_some_kernel(clause: str) -> None:
    condemned = [
        {name.split("-")[0] for name in entry.breaks}
        for entry in CATALOGUE.values()
        if entry.kind is Kind.KNOWN_BAD
    ]
    assert {clause} in condemned


def test_the_documented_reading_excuses_the_leak_and_nothing_that_is_documented(
    model: Model,
) -> None:
    asked = {clause.id for clause in CLAUSES if Reading.DOCUMENTED in clause.readings}
    for kernel, entry in CATALOGUE.items():
        found = all_breaches(model, kernel, Reading.DOCUMENTED)
        assert {name for name in entry.breaks if name.split("-")[0] in asked} == set(found)
        assert not [name for name in found if name.startswith("C2-")]
