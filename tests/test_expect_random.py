"""How often the expectation says what of random cases: a rule that is lost or loosened shows."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Final

import msgspec

from emu import text, wire
from emu.abi import Errno, ExitReason, errno_name
from emu.access import Access
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import IDLE, Refusal, RunOutcome
from emu.steps import L1Map, L1Table, L1Vtcr, Run, effective_address
from fuzz.expectation.answers import answers
from fuzz.expectation.effects import Effects, effects
from fuzz.expectation.effects_nested import L1Tables, l2_effects, vncr_effects
from fuzz.expectation.expect import questions
from fuzz.mutation.mutate import Mutator
from tests.random_cases import (
    ADDRESSES,
    BASE,
    EVENTS,
    GUEST,
    L1_MAPS,
    L1_TABLES,
    L2_ADDRESSES,
    REQUESTS,
    random_cases,
    settings,
)

Ending = Callable[[RunOutcome, int], RunOutcome]


def ended(ret: int, errno: int, reason: int, *, fresh: bool = False) -> Ending:
    """A KVM_RUN that ended so, where it did or at another step."""
    return lambda run, step: msgspec.structs.replace(
        run,
        ret=ret,
        errno=errno,
        exit_reason=reason,
        fresh=fresh,
        access=run.access if run.access != IDLE else step,
    )


ENDINGS: Final[dict[str, Ending]] = {
    "-1 EFAULT": ended(-1, Errno.EFAULT, 0),
    "-1 EFAULT MEMORY_FAULT kept": ended(-1, Errno.EFAULT, ExitReason.MEMORY_FAULT),
    "-1 EFAULT MEMORY_FAULT": ended(-1, Errno.EFAULT, ExitReason.MEMORY_FAULT, fresh=True),
    "-1 EHWPOISON MEMORY_FAULT": ended(-1, Errno.EHWPOISON, ExitReason.MEMORY_FAULT, fresh=True),
    "-1 ENOMEM": ended(-1, Errno.ENOMEM, 0),
    "-1 EIO": ended(-1, Errno.EIO, 0),
    "-1 EPERM": ended(-1, Errno.EPERM, 0),
    "-1 EINVAL": ended(-1, Errno.EINVAL, 0),
    "-1 EINVAL FAIL_ENTRY": ended(-1, Errno.EINVAL, ExitReason.FAIL_ENTRY),
    "-1 ENOSYS": ended(-1, Errno.ENOSYS, 0),
    "-1 EINTR": ended(-1, Errno.EINTR, 0),
    "-1 EINTR INTR": ended(-1, Errno.EINTR, ExitReason.INTR),
    "0 MMIO": ended(0, 0, ExitReason.MMIO),
    "0 ARM_NISV": ended(0, 0, ExitReason.ARM_NISV),
    "0 FAIL_ENTRY": ended(0, 0, ExitReason.FAIL_ENTRY),
    "0 INTERNAL_ERROR": ended(0, 0, ExitReason.INTERNAL_ERROR),
    "0 SYSTEM_EVENT": ended(0, 0, ExitReason.SYSTEM_EVENT),
    "at another step": lambda run, step: msgspec.structs.replace(run, access=step),
    "at the end": lambda run, _: msgspec.structs.replace(run, access=IDLE),
    "no doorbell": lambda run, _: msgspec.structs.replace(run, union=(0, 0, 0, 0)),
    "for ever": lambda run, _: msgspec.structs.replace(run, stuck=True),
    "no exception": lambda run, _: msgspec.structs.replace(run, exceptions=()),
    "an exception": lambda run, step: msgspec.structs.replace(
        run, exceptions=((step, 0x9600_0010),)
    ),
    "an exception of the access": lambda run, _: msgspec.structs.replace(
        run, exceptions=((run.access, 0x9600_0010),)
    ),
}


_BASES: Final = {0: 0x4000_0000, 1: 0x4000_2000, 2: 0x4000_5000}
_VNCR: Final = (Access.VNCR_READ, Access.VNCR_WRITE)

OF_ACCESSES: Final[dict[str, int]] = {
    "-1 EFAULT": 3086,
    "-1 EFAULT MEMORY_FAULT": 394,
    "-1 EHWPOISON": 472,
    "-1 EHWPOISON MEMORY_FAULT": 163,
    "-1 EINTR INTR": 539,
    "-1 EIO": 1021,
    "-1 ENOEXEC": 416,
    "-1 ENOMEM": 831,
    "-1 ENOSYS": 1666,
    "0 ARM_NISV": 361,
    "0 MMIO": 1986,
    "an exception": 2319,
    "done": 5894,
    "no opinion": 16,
    "only done": 3301,
}
OF_VNCR: Final[dict[str, int]] = {
    "-1 EFAULT MEMORY_FAULT": 24,
    "-1 EHWPOISON MEMORY_FAULT": 12,
    "-1 ENOMEM": 5,
    "an exception": 876,
    "done": 590,
    "no opinion": 524,
    "only done": 565,
}
OF_L2: Final[dict[str, int]] = {
    "-1 EFAULT": 789,
    "-1 EFAULT MEMORY_FAULT": 135,
    "-1 EHWPOISON MEMORY_FAULT": 51,
    "-1 EINTR INTR": 40,
    "-1 EIO": 141,
    "-1 ENOMEM": 156,
    "-1 ENOSYS": 228,
    "0 ARM_NISV": 44,
    "0 MMIO": 248,
    "an exception": 9051,
    "done": 1239,
    "no opinion": 4491,
    "only done": 882,
}
OF_REQUESTS: Final[dict[str, int]] = {
    "EBADF": 959,
    "EEXIST": 181,
    "EEXIST or EINVAL": 163,
    "EEXIST or EINVAL or ENOSPC": 3,
    "EFAULT": 212,
    "EFAULT or EINVAL": 85,
    "EINVAL": 3732,
    "EINVAL or ENOMEM or done": 3,
    "EINVAL or ENOSPC": 6,
    "EINVAL or EPERM or done": 17,
    "EINVAL or done": 113,
    "ENOENT": 307,
    "ENOMEM or ENOSPC or done": 1,
    "ENOMEM or EPERM or done": 11,
    "ENOMEM or done": 124,
    "ENOSPC or done": 5,
    "EPERM": 93,
    "EPERM or done": 108,
    "done": 2626,
    "no opinion": 3251,
}
OF_ENDINGS: Final[dict[str, int]] = {
    "-1 EFAULT": 124,
    "-1 EFAULT MEMORY_FAULT": 133,
    "-1 EFAULT MEMORY_FAULT kept": 124,
    "-1 EHWPOISON MEMORY_FAULT": 143,
    "-1 EINTR": 124,
    "-1 EINTR INTR": 110,
    "-1 EINVAL": 153,
    "-1 EINVAL FAIL_ENTRY": 135,
    "-1 EIO": 119,
    "-1 ENOMEM": 130,
    "-1 ENOSYS": 141,
    "-1 EPERM": 131,
    "0 ARM_NISV": 142,
    "0 FAIL_ENTRY": 135,
    "0 INTERNAL_ERROR": 129,
    "0 MMIO": 126,
    "0 SYSTEM_EVENT": 117,
    "an exception": 19,
    "an exception of the access": 12,
    "at another step": 76,
    "at the end": 49,
    "for ever": 80,
    "no doorbell": 46,
    "no exception": 11,
}
OF_ANSWERS: Final[dict[str, int]] = {
    "Allocate": 17,
    "At": 0,
    "CreateGmem": 51,
    "CreateMem": 0,
    "Fail": 7,
    "ForceAbort": 6,
    "ForceExit": 16,
    "GetDirtyLog": 32,
    "Guest": 133,
    "GuestL2": 0,
    "IoEventFd": 33,
    "L1Map": 0,
    "L1Table": 0,
    "L1Vtcr": 0,
    "MemlockLimit": 0,
    "MemoryLimit": 0,
    "MmioData": 0,
    "PoisonGmem": 0,
    "PoisonMem": 0,
    "Protect": 0,
    "PunchHole": 34,
    "ReleaseGmem": 10,
    "SelectVcpu": 5,
    "SetMemslot": 262,
    "Skip": 0,
    "Truncate": 0,
    "Unmap": 0,
    "Userfault": 0,
}


def tally(found: Sequence[Effects | None]) -> dict[str, int]:
    counts = Counter("no opinion" for each in found if each is None)
    for each in found:
        if each is not None:
            counts.update(map(str, each.exits))
            counts.update({"done": each.served, "an exception": each.exception})
            counts["only done"] += each == Effects(served=True)
    return dict(sorted(counts.items()))


def test_what_may_come_of_random_accesses() -> None:
    accesses = [each for each in Access if each not in _VNCR]
    found = [
        effects([made], access, rng.choice(ADDRESSES))
        for rng, made in settings(1500)
        for access in rng.choices(accesses, k=8)
    ]
    assert tally(found) == OF_ACCESSES


def test_what_may_come_of_random_accesses_to_a_vncr_page() -> None:
    found = [
        vncr_effects([made], access, rng.choice(ADDRESSES))
        for rng, made in settings(1000)
        for access in _VNCR
    ]
    assert tally(found) == OF_VNCR


def test_what_may_come_of_random_accesses_of_l2() -> None:
    found = []
    for rng, made in settings(2000):
        tables = L1Tables()
        rare = rng.choices(L1_TABLES, k=rng.choice((0, 0, 0, 1, 2)))
        for step in (*rng.choices(L1_MAPS, k=rng.randrange(8)), *rare, *rng.choices(L1_MAPS)):
            assert isinstance(step, L1Map | L1Table | L1Vtcr)
            if isinstance(step, L1Map):
                tables.map(step, effective_address(step, _BASES))
            else:
                tables.disturb(step)
        for access in rng.choices(list(Access), k=8):
            if access not in _VNCR:
                address = rng.choice(L2_ADDRESSES)
                found.append(l2_effects([made], tables, access, address))
    assert tally(found) == OF_L2


def test_how_random_requests_may_be_answered() -> None:
    counts = Counter[str]()
    for rng, made in settings(1500):
        for step in rng.choices((*REQUESTS, *EVENTS), k=8):
            found = answers([made], step)
            if found is None:
                counts["no opinion"] += 1
            else:
                names = sorted(errno_name(each) if each else "done" for each in found)
                counts[" or ".join(names)] += 1
    assert dict(sorted(counts.items())) == OF_REQUESTS


def test_how_many_random_cases_come_to_a_question_where_a_kvm_run_ends_in_another_way() -> None:
    model, counts = Model(), Counter[str]()
    for rng, case in random_cases(600):
        outcomes = model.run(case, KERNELS["clean"])
        assert questions(case, outcomes) == (), text.dump(case)
        at = rng.randrange(len(outcomes.runs))
        steps = [each.step for each in outcomes.runs] + list(range(len(BASE), len(case.steps)))
        for name in rng.sample(list(ENDINGS), 6):
            run = ENDINGS[name](outcomes.runs[at], rng.choice(steps))
            runs = (*outcomes.runs[:at], run, *outcomes.runs[at + 1 :])
            counts[name] += len(questions(case, msgspec.structs.replace(outcomes, runs=runs)))
    assert dict(sorted(counts.items())) == OF_ENDINGS


def test_how_many_random_cases_come_to_a_question_where_a_step_is_answered_in_another_way() -> None:
    model, counts = Model(), Counter[str]()
    for rng, shorter in random_cases(400):
        steps = (*shorter.steps[:-1], *rng.choices(REQUESTS, k=2), *rng.choices(GUEST), Run(0))
        case = replace(shorter, steps=steps)
        outcomes = model.run(case, KERNELS["clean"])
        assert questions(case, outcomes) == (), text.dump(case)
        refused = {each.step: each for each in outcomes.refusals}
        for at in rng.sample(range(len(BASE), len(steps)), 5):
            if not isinstance(step := steps[at], Run):
                others = {**refused, at: Refusal(at, Errno.EINVAL)}
                if at in refused:
                    del others[at]
                other = tuple(others[each] for each in sorted(others))
                found = questions(case, msgspec.structs.replace(outcomes, refusals=other))
                counts[type(step).__name__] += len(found)
    assert dict(sorted(counts.items())) == OF_ANSWERS


def test_the_model_of_a_correct_kernel_does_what_is_expected() -> None:
    rng = Random(7)  # noqa: S311 - nothing here is secret
    model, mutator, pool = Model(), Mutator(rng), [b"\x01\0\0\0"]
    for _ in range(3000):
        data = mutator.mutate(rng.choice(pool))
        case = wire.decode(data)
        assert questions(case, model.run(case, KERNELS["clean"])) == (), text.dump(case)
        if len(pool) < 500:
            pool.append(data)
