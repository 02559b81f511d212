"""What a machine reports of a case: one outcome for each KVM_RUN, and the steps it refused.

Both kinds of machine fill these in the same way; the judge reads nothing else of a machine.
The records are msgspec structs because a campaign makes tens of thousands of them a second and
stores some of them.
"""

from typing import Final

import msgspec

from emu.abi import (
    DOORBELL,
    ExitReason,
    errno_name,
    reason_name,
)

IDLE: Final = -1
_U32: Final = 0xFFFF_FFFF


class RunOutcome(msgspec.Struct, frozen=True, gc=False):
    """One KVM_RUN as its caller saw it.

    ``step`` is the index of its Run step. ``access`` is the index of the Guest step that the guest
    was at when KVM_RUN returned, or IDLE. ``union`` is four u64 words of kvm_run's exit union, at
    offsets 32, 40, 48 and 56. ``before`` is exit_reason before the call. ``fresh``:
    memory_fault.gpa no longer holds the stamp; after an MMIO exit, which is not stamped over, gpa
    or size (words 1 and 2) is no longer what it was. ``moved``: the guest's PC is not that of the
    access. ``changed``: another register of the guest is not what it was when the access began.
    ``exceptions`` are those that the guest took during the call: the Guest step whose access took
    it, and ESR_EL1. Its handler gives the access up and the guest goes on. ``injected``: an error
    was injected in this call or before it. ``stuck``: the guest took the same fault again and again
    without an end, and the machine gave up. ``sigbus``: the VMM got SIGBUS for memory that the
    guest touched. ``vcpu``: whose KVM_RUN it was. ``userfaults``: faults that the VMM's userfaultfd
    handler resolved in this call. ``others_changed``: another vCPU's kvm_run is not what it was.
    """

    step: int
    ret: int
    errno: int
    exit_reason: int
    union: tuple[int, int, int, int]
    before: int
    fresh: bool
    access: int
    moved: bool
    changed: bool
    exceptions: tuple[tuple[int, int], ...]
    injected: bool
    stuck: bool
    sigbus: bool
    vcpu: int = 0
    userfaults: int = 0
    others_changed: bool = False


class DirtyLog(msgspec.Struct, frozen=True, gc=False):
    """What KVM_GET_DIRTY_LOG answered: the slot's dirty pages, by their number in the slot."""

    step: int
    pages: tuple[int, ...]


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A step other than KVM_RUN that the kernel answered with an error."""

    step: int
    errno: int


class Outcomes(msgspec.Struct, frozen=True, gc=False):
    """All that a machine reports of one case, in the order of its steps."""

    runs: tuple[RunOutcome, ...]
    refusals: tuple[Refusal, ...]
    logs: tuple[DirtyLog, ...] = ()


def describe(run: RunOutcome) -> str:
    """One KVM_RUN on one line: what the corpus stores and what people compare.

    The form is fixed: result, exit reason, the union as that reason reads it, then the marks.
    """
    words = ["hang" if run.stuck else str(run.ret)]
    if run.ret < 0:
        words.append(errno_name(run.errno))
    words.append(reason_name(run.exit_reason))
    words += _union(run)
    words += [f"exception={esr:#010x}" for _, esr in run.exceptions]
    words += [
        mark
        for mark, present in (
            ("moved", run.moved),
            ("changed", run.changed),
            ("sigbus", run.sigbus),
            (f"userfaults={run.userfaults}", bool(run.userfaults)),
            ("others-changed", run.others_changed),
            ("injected", run.injected),
        )
        if present
    ]
    return " ".join(words)


def _union(run: RunOutcome) -> list[str]:
    """The exit union as ``exit_reason`` reads it; for a reason without one, what was left in it."""
    flags, gpa, size, last = run.union
    match run.exit_reason:
        case ExitReason.MEMORY_FAULT if not run.fresh:
            return ["kept"]
        case ExitReason.MEMORY_FAULT:
            return [f"gpa={gpa:#x}", f"size={size:#x}", f"flags={flags:#x}"]
        case ExitReason.MMIO if flags == DOORBELL:
            return ["doorbell"]
        case ExitReason.MMIO:
            length = size & _U32
            if size >> 32 & 0xFF:
                return [f"gpa={flags:#x}", f"len={length}", f"write={gpa:#x}"]
            return [f"gpa={flags:#x}", f"len={length}", "read"]
        case ExitReason.ARM_NISV | ExitReason.ARM_LDST64B:
            return [f"iss={flags:#x}", f"ipa={gpa:#x}"]
        case ExitReason.ARM_SEA:
            return [f"flags={flags:#x}", f"esr={gpa:#x}", f"gva={size:#x}", f"gpa={last:#x}"]
        case ExitReason.SYSTEM_EVENT:
            return [f"type={flags & _U32}"]
        case ExitReason.UNKNOWN | ExitReason.INTR if run.fresh:
            return [f"left-gpa={gpa:#x}", f"left-size={size:#x}"]
        case _:
            return []
