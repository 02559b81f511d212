"""Differences between the model and a live machine that are explained, each as narrow as it goes.

They are counted and shown. ``docs/live.md`` has the same table.
"""

from collections.abc import Callable
from itertools import zip_longest
from typing import Final, NamedTuple

import msgspec

from emu.abi import U64, Errno, MemFlag
from emu.access import ACCESS_FACTS, Direction
from emu.case import Case
from emu.guest import SAME_ACCESS_LIMIT
from emu.injection import Fail
from emu.kvm.state import HOST_IPA_BITS, USER_TOP, user_address
from emu.outcome import Refusal, RunOutcome
from emu.steps import (
    CreateGmem,
    CreateMem,
    Guest,
    IoEventFd,
    L1Map,
    L1Table,
    MemKind,
    MemoryLimit,
    PoisonGmem,
    PoisonMem,
    Protect,
    SetMemslot,
    Unmap,
    Userfault,
    UserfaultMode,
    effective_address,
)
from triage.conform_divergence import Divergence


class Known(NamedTuple):
    """A name for people, the reason, and whether a divergence of a case is one of these."""

    name: str
    why: str
    fits: Callable[[Case, Divergence], bool]


def explanation(case: Case, found: Divergence) -> Known | None:
    """What explains a divergence; None where nothing does."""
    return next((each for each in KNOWN if each.fits(case, found)), None)


def limited(case: Case, step: int) -> bool:
    """Whether the memory limit is on at a step."""
    switched = [each.on for each in case.steps[:step] if isinstance(each, MemoryLimit)]
    return bool(switched) and switched[-1]


def _charged(case: Case, found: Divergence) -> bool:
    """The live machine refuses to make or split something, for want of memory."""
    if not isinstance(found.live, Refusal) or isinstance(found.model, RunOutcome):
        return False
    step, errno = case.steps[found.step], found.live.errno
    wanted = {Errno.ENOMEM} if isinstance(step, _ALLOCATING) else set()
    if isinstance(step, CreateMem):
        wanted |= _OF_KIND.get(step.kind, set())
    return errno in wanted and limited(case, found.step)


def _without_table(case: Case, found: Divergence) -> bool:
    """The live machine gives up an access that costs the model nothing."""
    model, live = found.model, found.live
    if not isinstance(model, RunOutcome) or not isinstance(live, RunOutcome):
        return False
    if live.ret >= 0 or live.errno != Errno.EFAULT or live.access < 0:
        return False
    if live.fresh and live.union != model.union:  # of its own, and not of an earlier fault
        return False
    return limited(case, found.step) and _costs_nothing(case, live.access, found.step)


def _costs_nothing(case: Case, access: int, run: int) -> bool:
    """Whether a Guest step is where a slot was given the VMM's own memory before the KVM_RUN, and
    reads it, or finds a page of hugetlbfs, of which none is charged.
    """
    step = case.steps[access]
    if not isinstance(step, Guest):
        return False
    reads = ACCESS_FACTS[step.access].direction is not Direction.WRITE
    address, steps = _address(case, access), case.steps[:run]
    kinds = {each.index: each.kind for each in steps if isinstance(each, CreateMem)}
    return any(
        each.gpa <= address < each.gpa + each.size
        and not each.flags & MemFlag.GUEST_MEMFD
        and each.mem is not None
        and (reads or kinds.get(each.mem.index) is MemKind.HUGETLB)
        for each in steps
        if isinstance(each, SetMemslot)
    )


def _past_limit(case: Case, found: Divergence) -> bool:
    """The guest gets another exception, past what the model's host could translate."""
    model, live = found.model, found.live
    if not isinstance(model, RunOutcome) or not isinstance(live, RunOutcome):
        return False
    if live == model or msgspec.structs.replace(live, exceptions=model.exceptions) != model:
        return False
    taken = list(zip_longest(model.exceptions, live.exceptions, fillvalue=(-1, 0)))
    return all(ours == its or _sized(case, ours, its) for ours, its in taken)


def _sized(case: Case, ours: tuple[int, int], its: tuple[int, int]) -> bool:
    """An address size fault on the model, an external abort on the live machine, else the same."""
    (index, model), (same, live) = ours, its
    if index != same or not _address(case, index) >> HOST_IPA_BITS:
        return False
    status = model & _FSC, live & _FSC
    return model ^ status[0] == live ^ status[1] and status[0] in _SIZE and status[1] in _EXTERNAL


def _past_limit_of_l1(case: Case, found: Divergence) -> bool:
    """L1's tables lead where the model's host could not go, and the model says so to L1."""
    model = found.model
    if not isinstance(model, RunOutcome) or not model.exceptions:
        return False
    bases: dict[int, int] = {}
    for step in case.steps[: found.step]:
        if isinstance(step, SetMemslot):
            bases[step.slot] = step.gpa
        elif isinstance(step, L1Map | L1Table) and effective_address(step, bases) >> HOST_IPA_BITS:
            return any(esr & _FSC in _SIZE for _, esr in model.exceptions)
    return False


def _address(case: Case, access: int) -> int:
    step = case.steps[access]
    bases = {each.slot: each.gpa for each in case.steps[:access] if isinstance(each, SetMemslot)}
    return effective_address(step, bases) if isinstance(step, Guest) else 0


def _unheard(case: Case, found: Divergence) -> bool:
    """Only the count of resolved faults differs, of a case that was under the limit before."""
    model, live = found.model, found.live
    if not isinstance(model, RunOutcome) or not isinstance(live, RunOutcome) or live == model:
        return False
    if msgspec.structs.replace(live, userfaults=model.userfaults) != model:
        return False
    watched = any(
        isinstance(step, Userfault) and step.mode is UserfaultMode.MISSING for step in case.steps
    )
    return watched and any(limited(case, step) for step in range(found.step))


def _past_addresses(case: Case, found: Divergence) -> bool:
    """A memslot is refused by the model and taken by the live machine, for its VMM's addresses."""
    step = case.steps[found.step]
    if not isinstance(step, SetMemslot) or step.mem is None or found.live is not None:
        return False
    if found.model != Refusal(found.step, Errno.EINVAL):
        return False
    return (user_address(step.mem.index, step.mem.offset) & U64) + step.size > USER_TOP


def _marked_before(case: Case, found: Divergence) -> bool:
    """The page to be poisoned is the zero page, and an earlier case of the box did it already."""
    return (
        isinstance(case.steps[found.step], PoisonMem)
        and found.model == Refusal(found.step, Errno.EBUSY)
        and found.live == Refusal(found.step, Errno.EHWPOISON)
    )


def _given_up(case: Case, found: Divergence) -> bool:
    """The model takes a fault for an endless one that errors were injected at for so long."""
    injected = sum(isinstance(step, Fail) for step in case.steps[: found.step])
    return (
        isinstance(found.model, RunOutcome)
        and isinstance(found.live, RunOutcome)
        and found.model.stuck
        and not found.live.stuck
        and injected >= SAME_ACCESS_LIMIT
    )


_FSC: Final = 0x3F
_SIZE: Final = (0x00, 0x01, 0x02, 0x03)
_EXTERNAL: Final = (0x10, 0x14, 0x15, 0x16, 0x17)
# What making a kind of memory is refused with, besides ENOMEM. hugetlbfs has a file behind every
# mapping; drivers/char/mem.c, mmap_mem: EAGAIN, whatever was wanting.
_OF_KIND: Final = {
    MemKind.FILE: {Errno.ENOSPC},
    MemKind.HUGETLB: {Errno.ENOSPC},
    MemKind.DEVICE: {Errno.EAGAIN},
}
_ALLOCATING: Final = (
    CreateGmem,
    CreateMem,
    IoEventFd,
    PoisonGmem,
    PoisonMem,
    Protect,
    SetMemslot,
    Unmap,
    Userfault,
)

KNOWN: Final = (
    Known(
        "charged-objects",
        "with memory.max 0 a kernel cannot allocate what describes a memslot, a guest_memfd, a"
        " mapping or a part of one and who watches it, a file or an ioeventfd; the model charges"
        " pages only",
        _charged,
    ),
    Known(
        "host-ipa-limit",
        f"past 2^{HOST_IPA_BITS} the guest of the model's host gets an address size fault, and that"
        " of a host with more bits an external abort",
        lambda case, found: _past_limit(case, found) or _past_limit_of_l1(case, found),
    ),
    Known(
        "charged-page-tables",
        "with memory.max 0 the VMM's own page table may be what cannot be allocated, so that even"
        " the zero page or a page of hugetlbfs is out of reach; the model has no such tables",
        lambda case, found: _without_table(case, found) or _unheard(case, found),
    ),
    Known(
        "zero-page",
        "a kernel has one zero page for all cases, which stays marked when one poisons it",
        _marked_before,
    ),
    Known(
        "given-up",
        f"the model takes a fault for endless after {SAME_ACCESS_LIMIT} times, a kernel goes on"
        " when no more errors are injected",
        _given_up,
    ),
    Known(
        "host-va-limit",
        "the VMM of the model's host has addresses of 48 bits, that of a host with FEAT_LVA 52",
        _past_addresses,
    ),
)
