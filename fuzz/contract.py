"""The contract: what KVM on arm64 promises a VMM about a KVM_RUN, a row a clause.

The functions are in ``fuzz.clauses`` and ``fuzz.emulation``; docs/contract.md has the same table
for people. Sources: Linux 7.3.4, Documentation/virt/kvm/api.rst, sections on KVM_RUN,
KVM_EXIT_MEMORY_FAULT, KVM_EXIT_MMIO, KVM_EXIT_ARM_NISV; the May 2026 thread on linux-arm-kernel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from emu.abi import ExitReason
from emu.outcome import RunOutcome
from fuzz import clauses
from fuzz.emulation import emulation, emulation_is_for_holes
from fuzz.view import DOCUMENTED, View


@unique
class Reading(Enum):
    """Which clauses count. ``documented`` grants the sentence that lets exit_reason be stale for
    every errno but two; ``paranoid`` asks for what the thread would like to be true as well.
    """

    __hash__ = object.__hash__  # as emu.access.Access

    STRICT = "strict"
    DOCUMENTED = "documented"
    PARANOID = "paranoid"


@unique
class Basis(Enum):
    """What a clause rests on."""

    DOCUMENTED = "documented"
    SOURCE = "source"
    THREAD = "thread"
    LIST = "list"
    INFERRED = "inferred"


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause: its id and title, what it rests on, and which readings ask for it.

    ``when``: the outcomes that it is about, told by return value, errno, exit_reason, freshness and
    whether the doorbell rang; ``check`` is asked of no other.
    """

    id: str
    title: str
    basis: Basis
    readings: frozenset[Reading]
    when: Callable[[RunOutcome], bool]
    check: Callable[[View], str | None]

    def broken(self, view: View) -> str | None:
        """Why the clause is broken; None if it is not, or has nothing to say."""
        return self.check(view) if self.when(view.run) else None


def _is_fault(run: RunOutcome) -> bool:
    return run.exit_reason == ExitReason.MEMORY_FAULT


def _is_filled(run: RunOutcome) -> bool:
    return run.exit_reason == ExitReason.MEMORY_FAULT and run.fresh


def _is_documented(run: RunOutcome) -> bool:
    return run.ret < 0 and run.errno in DOCUMENTED


def _is_undocumented(run: RunOutcome) -> bool:
    return run.ret < 0 and run.errno not in DOCUMENTED


_ALL: Final = frozenset(Reading)
_ALL_BUT_DOCUMENTED: Final = frozenset({Reading.STRICT, Reading.PARANOID})
_PARANOID: Final = frozenset({Reading.PARANOID})

CLAUSES: Final[tuple[Clause, ...]] = (
    Clause(
        "C1",
        "a fresh MEMORY_FAULT comes with -1",
        Basis.DOCUMENTED,
        _ALL,
        _is_filled,
        clauses.returns_minus_one,
    ),
    Clause(
        "C2",
        "a fresh MEMORY_FAULT comes with EFAULT or EHWPOISON (the leak)",
        Basis.DOCUMENTED,
        _ALL_BUT_DOCUMENTED,
        lambda run: _is_filled(run) and run.ret < 0,
        clauses.documented_errno,
    ),
    Clause(
        "C3",
        "MEMORY_FAULT under those two was written for this fault",
        Basis.DOCUMENTED,
        _ALL,
        lambda run: _is_fault(run) and _is_documented(run),
        clauses.written_for_this_fault,
    ),
    Clause(
        "C4",
        "gpa and size are the host page of the fault",
        Basis.DOCUMENTED,
        _ALL,
        lambda run: _is_filled(run) and not _is_undocumented(run),
        clauses.names_the_page,
    ),
    Clause(
        "C5",
        "a guest_memfd lookup that failed with one of the two is reported",
        Basis.THREAD,
        _ALL,
        _is_documented,
        clauses.failed_lookup_is_told,
    ),
    Clause(
        "C6",
        "ret 0 has an exit_reason",
        Basis.INFERRED,
        _ALL_BUT_DOCUMENTED,
        lambda run: run.ret >= 0,
        clauses.success_has_a_reason,
    ),
    Clause(
        "C7",
        "another errno leaves no fresh record in the union",
        Basis.THREAD,
        _PARANOID,
        lambda run: _is_undocumented(run) and not _is_fault(run),
        clauses.nothing_is_left_behind,
    ),
    Clause(
        "C8",
        "immediate_exit and early errors add nothing to kvm_run",
        Basis.LIST,
        _ALL,
        lambda run: run.ret < 0 and run.errno in clauses.EARLY_ERRNOS,
        clauses.early_exit_adds_nothing,
    ),
    Clause(
        "C13",
        "MMIO, NISV and ENOSYS are for accesses that no slot serves",
        Basis.DOCUMENTED,
        _ALL,
        lambda run: emulation(run) is not None,
        emulation_is_for_holes,
    ),
)
