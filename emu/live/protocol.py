"""What is in the frames that this side and the executor exchange: executor/frame.h, report.h."""

import struct
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from emu.live.frames import framed
from emu.live.trouble import BoxError
from emu.live.unsupported import Host, Unsupported
from emu.outcome import DirtyLog, Outcomes, Refusal, RunOutcome

_HEAD: Final = struct.Struct("<B3xI")
_TAG: Final = struct.Struct("<I")
_RUN: Final = struct.Struct("<IiiIIi4Q8BII")
_PAIR: Final = struct.Struct("<II")
_EXCEPTION: Final = struct.Struct("<iI")  # the step may be IDLE
_OBJECTION: Final = struct.Struct("<III")

_AT: Final = "at-"  # before the name of a function
_FAIL: Final = "fail-"
_A_RUN: Final = 1
_A_REFUSAL: Final = 2
_A_LOG: Final = 3


@unique
class Kind(IntEnum):
    """What a frame is."""

    CASE = 1
    TRACED = 2  # a case; emu.live.tracing
    ALLOCATING = 3  # a case whose errors are allocations that fail
    HELLO = 0x80
    OUTCOMES = 0x81
    UNSUPPORTED = 0x82
    FAILED = 0x83
    ERROR = 0x84
    REACHED = 0x85  # outcomes, and what was reached of a traced case


@unique
class Why(IntEnum):
    """Why a case cannot be played, and in ``_WORDS`` what the value beside it is."""

    PLAYABLE = 0
    BAD_LENGTH = 1
    BAD_VERSION = 2
    NEW_VM = 3
    NEW_OP = 4
    NEW_FIELD = 5
    NEW_ACCESS = 6
    NEW_RUN_FLAG = 7
    TOO_MANY = 8
    HOST_PAGE = 9
    HOST_LACKS = 10
    HOST_IPA = 11
    HOST_CGROUP = 12
    HOST_SVE = 13
    LOG_LONG = 14
    HOST_USERFAULT = 15
    HOST_DEBUGGER = 16
    HOST_FUNCTION = 17
    L1_TABLES = 18
    HOST_KCOV = 19
    HOST_FAILURE = 20
    HOST_FAILURES = 21
    ACCESS_FLAG = 22
    HOST_ALLOCATION = 23
    HOST_DEVICE = 24


_WORDS: Final = {
    Why.BAD_VERSION: "the executor does not know version {} of the bytes",
    Why.NEW_VM: "the executor makes no VM of this kind, header {:#010x}",
    Why.NEW_OP: "the executor does not know operation {}",
    Why.NEW_FIELD: "the executor does not know a field of this operation {}",
    Why.NEW_ACCESS: "the executor does not know access {}",
    Why.NEW_RUN_FLAG: "no VMM can ask for the flags {:#x}",
    Why.TOO_MANY: "{} accesses are more than the guest's queue holds",
    Why.HOST_PAGE: "the host's pages have {} bytes",
    Why.HOST_LACKS: "the host has no KVM capability {}",
    Why.HOST_IPA: "the host's VMs have at most {} IPA bits",
    Why.HOST_CGROUP: "no cgroup can be limited here, errno {}",
    Why.LOG_LONG: "a dirty log of more than {} pages",
    Why.HOST_USERFAULT: "the host has not all of userfaultfd, errno {}",
    Why.HOST_DEBUGGER: "no debugger is there to inject errors",
    Why.HOST_FUNCTION: "the kernel has no function of its own for site {}",
    Why.L1_TABLES: "L1's tables would need more than {} pages",
    Why.HOST_KCOV: "the host's kernel does not tell what is reached, errno {}",
    Why.HOST_FAILURE: "the kernel's fault injection cannot be told what to do, errno {}",
    Why.HOST_FAILURES: "the kernel's fault injection holds no two such errors at once, site {}",
    Why.ACCESS_FLAG: "walk-af: its descriptor cannot be where the walk will look for it",
    Why.HOST_ALLOCATION: "nothing was allocated on behalf of site {}",
    Why.HOST_DEVICE: "the host has no device of {} bytes that may be written to",
    Why.HOST_SVE: "the host's CPU has no SVE, so that no vCPU is left unfinalized",
}


class ProtocolError(BoxError):
    """The executor sent what is no answer, or said that it was sent no question."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A case that the executor gave up: the harness' doing, and no finding."""

    reason: str
    step: int

    def __str__(self) -> str:
        """One line, with steps counted from 1."""
        return f"step {self.step + 1}: {self.reason}"


Answer = Outcomes | Unsupported | Failed


def frame(kind: int, number: int, body: bytes) -> bytes:
    """A frame, with its length."""
    return framed(unframed(kind, number, body))


def unframed(kind: int, number: int, body: bytes) -> bytes:
    """A frame without its length."""
    return _HEAD.pack(kind, number) + body


def opened(content: bytes) -> tuple[int, int, bytes]:
    """Kind, number and body of a frame without its length."""
    if len(content) < _HEAD.size:
        raise ProtocolError(f"a frame of {len(content)} bytes")
    kind, number = _HEAD.unpack_from(content)
    return kind, number, content[_HEAD.size :]


def greeting(content: bytes) -> Host:
    """What the executor tells of its host in its first frame: words ``key=value``, one a line."""
    kind, _, body = opened(content)
    if kind != Kind.HELLO:
        raise ProtocolError(f"a frame of kind {kind:#x}, expected {Kind.HELLO:#x}")
    try:
        told = dict(line.split("=", 1) for line in body.decode("ascii").splitlines())
        return Host(
            kernel=told["kernel"],
            page_size=int(told["page-size"]),
            kvm=told["kvm"] == "1",
            ipa_bits=int(told.get("cap-ipa-bits", "0")),
            nested=told.get("cap-el2", "0") == "1",
            zva=int(told["zva"]),
            functions={
                key.removeprefix(_AT): int(value, 16)
                for key, value in told.items()
                if key.startswith(_AT)
            },
            failing=frozenset(key.removeprefix(_FAIL) for key in told if key.startswith(_FAIL)),
        )
    except (ValueError, KeyError) as error:
        raise ProtocolError(f"the executor's greeting cannot be read: {error}") from error


def answer(kind: int, body: bytes) -> Answer:
    """What an answer says."""
    try:
        match kind:
            case Kind.OUTCOMES:
                return _outcomes(body)
            case Kind.UNSUPPORTED:
                why, step, value = _OBJECTION.unpack(body)
                return Unsupported(_WORDS[Why(why)].format(value), step)
            case Kind.FAILED:
                (step,) = _TAG.unpack_from(body)
                return Failed(body[_TAG.size :].decode("ascii"), step)
            case Kind.ERROR:
                raise ProtocolError(f"the executor says: {body.decode('ascii')}")
            case _:
                raise ProtocolError(f"an answer of kind {kind:#x}")
    except (struct.error, UnicodeDecodeError, KeyError, ValueError) as error:
        raise ProtocolError(f"an answer of kind {kind:#x} cannot be read: {error}") from error


def _outcomes(body: bytes) -> Outcomes:
    runs: list[RunOutcome] = []
    refusals: list[Refusal] = []
    logs: list[DirtyLog] = []
    place = 0
    while place < len(body):
        (tag,) = _TAG.unpack_from(body, place)
        place += _TAG.size
        if tag == _A_RUN:
            run, place = _run(body, place)
            runs.append(run)
        elif tag == _A_REFUSAL:
            refusals.append(Refusal(*_PAIR.unpack_from(body, place)))
            place += _PAIR.size
        elif tag == _A_LOG:
            step, count = _PAIR.unpack_from(body, place)
            logs.append(DirtyLog(step, struct.unpack_from(f"<{count}I", body, place + _PAIR.size)))
            place += _PAIR.size + count * _TAG.size
        else:
            raise ProtocolError(f"tag {tag} among the outcomes")
    return Outcomes(tuple(runs), tuple(refusals), tuple(logs))


def _run(body: bytes, place: int) -> tuple[RunOutcome, int]:
    fields = _RUN.unpack_from(body, place)
    step, ret, errno, exit_reason, before, access = fields[:6]
    fresh, moved, changed, stuck, sigbus, vcpu, others_changed, *rest = fields[10:]
    injected, count, userfaults = rest
    place += _RUN.size
    end = place + count * _EXCEPTION.size
    exceptions = tuple(_EXCEPTION.iter_unpack(body[place:end]))
    return RunOutcome(
        step=step,
        ret=ret,
        errno=errno,
        exit_reason=exit_reason,
        union=fields[6:10],
        before=before,
        fresh=bool(fresh),
        access=access,
        moved=bool(moved),
        changed=bool(changed),
        exceptions=exceptions,
        injected=bool(injected),
        stuck=bool(stuck),
        sigbus=bool(sigbus),
        vcpu=vcpu,
        userfaults=userfaults,
        others_changed=bool(others_changed),
    ), end
