"""What may come of one access of the guest: told from layout and events, not from the model.

The VM is one of several, where a race decides which step came first (see ``possible``). Then
whatever may come of the access in one of them may come of it.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from emu.abi import PAGE_MASK, PAGE_SIZE, Errno, ExitReason, errno_name, reason_name
from emu.access import ACCESS_FACTS, Access, Direction, touched
from emu.injection import Fail, Site
from fuzz.expectation.premises import Page, Premises, Region


class Exit(NamedTuple):
    """A way to leave KVM_RUN. ``reason`` None: undefined, but no record was written."""

    ret: int
    errno: int
    reason: int | None

    def __str__(self) -> str:
        words = "0" if self.ret == 0 else f"-1 {errno_name(self.errno)}"
        return words if self.reason is None else f"{words} {reason_name(self.reason)}"


class Effects(NamedTuple):
    """What may come of an access: it is done or skipped, the guest gets an exception, an exit."""

    served: bool = False
    exception: bool = False
    exits: frozenset[Exit] = frozenset()

    def __or__(self, other: "Effects") -> "Effects":
        """For a second page: both must be served, either may end it."""
        return Effects(
            self.served and other.served,
            self.exception or other.exception,
            self.exits | other.exits,
        )

    def alternatively(self, other: "Effects") -> "Effects":
        """Whichever of the two."""
        return Effects(
            self.served or other.served,
            self.exception or other.exception,
            self.exits | other.exits,
        )

    def or_exit(self, *exits: Exit) -> "Effects":
        """These, and some more ways to leave."""
        return self._replace(exits=self.exits.union(exits))


SERVED: Final = Effects(served=True)
EXCEPTION: Final = Effects(exception=True)
MMIO: Final = Exit(0, 0, ExitReason.MMIO)
NISV: Final = Exit(0, 0, ExitReason.ARM_NISV)
NO_SYNDROME: Final = Exit(-1, Errno.ENOSYS, None)
NO_MEMORY: Final = Exit(-1, Errno.ENOMEM, None)
BAD_ADDRESS: Final = Exit(-1, Errno.EFAULT, None)
NOT_ANONYMOUS: Final = Exit(-1, Errno.EIO, None)
SIGBUS: Final = Exit(-1, Errno.EINTR, ExitReason.INTR)
FAULT: Final = Exit(-1, Errno.EFAULT, ExitReason.MEMORY_FAULT)
POISON: Final = Exit(-1, Errno.EHWPOISON, ExitReason.MEMORY_FAULT)

# api.rst, KVM_EXIT_MEMORY_FAULT and KVM_RUN; that a guest_memfd fault is told is the thread's.
OF_FILE: Final = {
    Page.FINE: SERVED,
    Page.GONE: Effects(exits=frozenset({FAULT})),
    Page.POISONED: Effects(exits=frozenset({POISON})),
}
OF_MEMORY: Final = {
    Page.FINE: SERVED,
    Page.DENIED: Effects(exits=frozenset({BAD_ADDRESS})),
    Page.POISONED: Effects(exits=frozenset({SIGBUS})),
}


def effects(worlds: Sequence[Premises], access: Access, address: int) -> Effects | None:
    """What may come of an access now; None: no opinion."""
    facts = ACCESS_FACTS[access]
    if facts.direction is Direction.HINT:
        return SERVED
    first, last = touched(access, address)
    found = SERVED
    for page in range(first & PAGE_MASK, last + 1, PAGE_SIZE):
        one = page_effects(worlds, access, max(page, first))
        if one is None:
            return None
        found |= one
    return of_the_cpu(found, access, address)


def of_the_cpu(found: Effects, access: Access, address: int) -> Effects:
    """An address that the CPU itself does not take comes to an exception; so does a failed AT, or
    to nothing, for it is PAR_EL1 that tells.
    """
    if address % ACCESS_FACTS[access].aligned:
        return found | Effects(found.served, exception=True)
    return Effects(True, True, found.exits) if access is Access.AT_WALK else found


def page_effects(worlds: Sequence[Premises], access: Access, gpa: int) -> Effects | None:
    """What may come of the access's part in one page, which begins at ``gpa``."""
    found = Effects()
    for premises in worlds:
        reading = _one_way(premises, access, gpa, write=False)
        writing = _one_way(premises, access, gpa, write=True)
        if reading is None or writing is None:
            return None
        found = found.alternatively(_both(access, reading, writing))
    return found


def _both(access: Access, reading: Effects, writing: Effects) -> Effects:
    """What an access of its direction takes of the effects of reading and of writing."""
    direction = ACCESS_FACTS[access].direction
    if direction is Direction.MAINTENANCE:
        # It needs no more than a read does; but where nothing is mapped yet, KVM sees a write.
        return writing._replace(served=reading.served)
    if direction is Direction.READ_WRITE or access is Access.WALK_AF:
        return reading | writing
    return writing if direction is Direction.WRITE else reading


def _one_way(premises: Premises, access: Access, gpa: int, *, write: bool) -> Effects | None:
    if gpa >> premises.vm.ipa_bits:
        return EXCEPTION
    region = premises.region(gpa)
    if region is None or (write and region.readonly):
        return _unserved(premises, access, gpa, region)
    # A protected VM's pages are pinned for writing.
    state = premises.page(region, gpa, write=write or premises.vm.protected)
    if state is None:
        return None
    if premises.vm.protected:
        found = _pinned(premises, region, state)
    elif region.file is None:
        found = OF_MEMORY[state]
        if premises.vm.mte and not premises.is_private(region):
            found = found.or_exit(BAD_ADDRESS)  # if it cannot hold tags
    else:
        found = OF_FILE[state]
    if premises.may_sigbus(region, gpa):
        found = found.or_exit(BAD_ADDRESS)  # if the page is not there yet
    if premises.limited:
        # Tables and pages are charged; what is there already need not be charged again.
        found = found.or_exit(NO_MEMORY, BAD_ADDRESS if region.file is None else FAULT)
    return _with_failures(found, premises.failures, region)


def _pinned(premises: Premises, region: Region, state: Page) -> Effects:
    """A protected VM's page: pinned at the first touch, and then the guest's own, whatever the VMM
    does to it. An error of the top-up is one of memory, whichever it was.
    """
    if state is not Page.FINE:
        found = Effects(True, exits=frozenset({SIGBUS if state is Page.POISONED else BAD_ADDRESS}))
    elif premises.is_private(region):
        found = SERVED
    else:
        found = Effects(exits=frozenset({NOT_ANONYMOUS, BAD_ADDRESS}), served=True)
    if premises.memlock_limited or premises.failures:
        found = found.or_exit(NO_MEMORY)
    return found


def _with_failures(found: Effects, failures: Sequence[Fail], region: Region) -> Effects:
    """An injected errno may strike here, or not: it leaves as it is, or as what a cure makes of it,
    or the access is tried again.
    """
    for failure in failures:
        if failure.site in (Site.KVM_GMEM_BIND, Site.KVM_ARCH_VCPU_RUN_PID_CHANGE):
            continue
        errno = failure.errno
        poisoned = SIGBUS if region.file is None else POISON
        found = found.or_exit(
            Exit(-1, errno, None),
            BAD_ADDRESS if region.file is None else FAULT,
            *((poisoned,) if errno == Errno.EHWPOISON else ()),
        )
        if errno == Errno.ENOEXEC:
            found = found._replace(exception=True)
    return found


def _unserved(premises: Premises, access: Access, gpa: int, region: Region | None) -> Effects:
    """api.rst, KVM_EXIT_MMIO, KVM_EXIT_ARM_NISV, and ENOSYS among KVM_RUN's errnos."""
    facts = ACCESS_FACTS[access]
    if facts.direction in (Direction.FETCH, Direction.WALK):
        return EXCEPTION
    if facts.direction is Direction.MAINTENANCE and region is None:
        return SERVED
    if not facts.syndrome:
        if premises.vm.protected:
            return EXCEPTION
        return Effects(exits=frozenset({NISV if premises.vm.nisv_to_user else NO_SYNDROME}))
    taken = facts.direction is Direction.WRITE and (gpa, facts.width) in premises.doorbells
    return Effects(served=taken, exits=frozenset({MMIO}))
