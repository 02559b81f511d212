"""The contract: what KVM on arm64 promises a VMM about a KVM_RUN, a row a clause.

The functions are in ``clauses``, ``consequences``, ``recovery``, ``emulation`` and
``logged``; docs/contract.md has the same table for people. Sources: Linux 7.3.4,
Documentation/virt/kvm/api.rst, sections on KVM_RUN, KVM_EXIT_MEMORY_FAULT, KVM_EXIT_MMIO,
KVM_EXIT_ARM_NISV, KVM_GET_DIRTY_LOG; the May 2026 thread on linux-arm-kernel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from emu.abi import Errno, ExitReason
from emu.outcome import RunOutcome
from fuzz.oracle import clauses, consequences, recovery
from fuzz.oracle.emulation import emulation, emulation_is_for_holes
from fuzz.oracle.logged import writes_are_logged
from fuzz.oracle.view import DOCUMENTED, View


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

    ``when``: the outcomes that it is about, told by what ``fuzz.oracle.judge`` remembers them by;
    ``check`` is asked of no other. ``scene``: it needs to know what the VM was, which after a race
    may be one of several; then it is broken only if it is in each of them. ``hangs``: it is about
    calls that hang, and only those. ``logs``: it is about cases in which a dirty log was read.
    """

    id: str
    title: str
    basis: Basis
    readings: frozenset[Reading]
    when: Callable[[RunOutcome], bool]
    check: Callable[[View], str | None]
    scene: bool = True
    hangs: bool = False
    logs: bool = False

    def asks(self, run: RunOutcome, *, logs: bool) -> bool:
        """Whether the clause is about this outcome; ``logs``: whether the case read a dirty log."""
        return run.stuck is self.hangs and (logs or not self.logs) and self.when(run)

    def broken(self, view: View) -> str | None:
        """Why an outcome that the clause is about breaks it; None if it does not, or if the clause
        has nothing to say.
        """
        reason = self.check(view)
        if reason is None or not self.scene or not view.timeline.has_race:
            return reason
        everywhere = view.is_certain and all(map(self.check, view.elsewhere))
        return reason if everywhere else None


def _is_fault(run: RunOutcome) -> bool:
    return run.exit_reason == ExitReason.MEMORY_FAULT


def _is_filled(run: RunOutcome) -> bool:
    return run.exit_reason == ExitReason.MEMORY_FAULT and run.fresh


def _is_documented(run: RunOutcome) -> bool:
    return run.ret < 0 and run.errno in DOCUMENTED


def _is_undocumented(run: RunOutcome) -> bool:
    return run.ret < 0 and run.errno not in DOCUMENTED


def _is_disturbed(run: RunOutcome) -> bool:
    return run.moved or run.changed or run.exceptions != ()


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
        scene=False,
    ),
    Clause(
        "C2",
        "a fresh MEMORY_FAULT comes with EFAULT or EHWPOISON (the leak)",
        Basis.DOCUMENTED,
        _ALL_BUT_DOCUMENTED,
        lambda run: _is_filled(run) and run.ret < 0,
        clauses.documented_errno,
        scene=False,
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
        lambda run: _is_documented(run) or clauses.took_external_abort(run),
        clauses.failed_lookup_is_told,
    ),
    Clause(
        "C6",
        "ret 0 has an exit_reason",
        Basis.INFERRED,
        _ALL_BUT_DOCUMENTED,
        lambda run: run.ret >= 0,
        clauses.success_has_a_reason,
        scene=False,
    ),
    Clause(
        "C7",
        "another errno leaves no fresh record in the union",
        Basis.THREAD,
        _PARANOID,
        lambda run: run.fresh and _is_undocumented(run) and not _is_fault(run),
        clauses.nothing_is_left_behind,
    ),
    Clause(
        "C8",
        "immediate_exit and early errors add nothing to kvm_run",
        Basis.LIST,
        _ALL,
        lambda run: run.ret < 0 and run.errno in clauses.EARLY_ERRNOS,
        clauses.early_exit_adds_nothing,
        scene=False,
    ),
    Clause(
        "C9",
        "no errno leaves KVM_RUN that it cannot mean",
        Basis.SOURCE,
        _ALL,
        lambda run: run.ret < 0 and run.errno in consequences.MEANINGLESS,
        consequences.errno_has_a_meaning,
        scene=False,
    ),
    Clause(
        "C10",
        "an access ends in an exception or in an exit, not in both",
        Basis.SOURCE,
        _ALL,
        lambda run: _is_disturbed(run) and consequences.is_consequence(run),
        consequences.fault_has_one_consequence,
    ),
    Clause(
        "C11",
        "a fault is served or leaves",
        Basis.LIST,
        _ALL,
        lambda _: True,
        consequences.fault_ends,
        hangs=True,
    ),
    Clause(
        "C12",
        "after a fault exit the guest is as before, and what can be served is",
        Basis.DOCUMENTED,
        _ALL,
        lambda run: (
            recovery.is_unserved(run) or (_is_disturbed(run) and recovery.is_undecoded(run))
        ),
        recovery.can_be_retried,
    ),
    Clause(
        "C13",
        "MMIO, NISV and ENOSYS are for accesses that no slot serves",
        Basis.DOCUMENTED,
        _ALL,
        lambda run: emulation(run) is not None,
        emulation_is_for_holes,
    ),
    Clause(
        "C14",
        "what the guest wrote in a logged slot is in its next dirty log",
        Basis.DOCUMENTED,
        _ALL,
        lambda _: True,
        writes_are_logged,
        logs=True,
    ),
    Clause(
        "C15",
        "EHWPOISON is told of a page with a memory error",
        Basis.DOCUMENTED,
        _ALL,
        lambda run: run.ret < 0 and run.errno == Errno.EHWPOISON,
        recovery.poison_has_a_page,
    ),
    Clause(
        "C16",
        "a guest_memfd page with a memory error is told by EHWPOISON",
        Basis.THREAD,
        _PARANOID,
        lambda run: _is_filled(run) and run.ret < 0 and run.errno == Errno.EFAULT,
        recovery.poison_is_told,
    ),
    Clause(
        "C17",
        "KVM_RUN writes no other vCPU's kvm_run",
        Basis.INFERRED,
        _ALL_BUT_DOCUMENTED,
        lambda run: run.others_changed,
        consequences.others_are_left_alone,
    ),
    Clause(
        "C18",
        "a dead VM stays dead",
        Basis.SOURCE,
        _ALL_BUT_DOCUMENTED,
        lambda run: run.ret < 0 and run.errno == Errno.EIO,
        consequences.dead_vm_stays_dead,
    ),
)
