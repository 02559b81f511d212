"""What may come of an access of a guest that is a hypervisor: its VNCR page, and its own guest's.

L1's stage 2 is what the case's ``l1-map`` lines made it. What L1 did not permit is L1's own fault,
and L1 has an exception; what L1 permits is an access to L1's memory, and what may come of that is
told in ``fuzz.expectation.effects``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from emu.abi import PAGE_MASK, PAGE_SIZE
from emu.access import ACCESS_FACTS, Access, Direction, touched
from emu.steps import L1Bit, L1Map, L1Table, L1Vtcr
from fuzz.expectation.effects import (
    EXCEPTION,
    FAULT,
    NO_MEMORY,
    OF_FILE,
    SERVED,
    Effects,
    of_the_cpu,
    page_effects,
)
from fuzz.expectation.premises import Page, Premises

L2_BITS: Final = 40
_BLOCK: Final = 2 << 20
_OUTPUT: Final = 1 << 48  # bytes; a descriptor has no room for addresses beyond
_READ: Final = L1Bit.READ
_NEEDED: Final = {
    Direction.READ: _READ,
    Direction.WRITE: L1Bit.WRITE,
    Direction.READ_WRITE: _READ | L1Bit.WRITE,
    Direction.FETCH: L1Bit.EXECUTE,
    Direction.MAINTENANCE: _READ,
}


class Leaf(NamedTuple):
    """A page or block of L1's stage 2: L2's address, its size in bytes, L1's address, what for, and
    whether it has no access flag.
    """

    ipa: int
    size: int
    output: int
    prot: int
    old: bool


@dataclass(slots=True)
class L1Tables:
    """L1's stage 2 as its own steps made it. ``displaced``: levels with tables that are empty or
    cannot be read. ``hardware_af``: VTCR_EL2.HA is set; ``had_hardware_af``: it was before.
    """

    leaves: list[Leaf] = field(default_factory=list)
    displaced: set[int] = field(default_factory=set)
    illegal: bool = False
    hardware_af: bool = False
    had_hardware_af: bool = False

    def map(self, step: L1Map, output: int) -> None:
        """A leaf more; ``output``: the address of L1's that the step names."""
        size = _BLOCK if step.block else PAGE_SIZE
        where = output % _OUTPUT & -size
        self.leaves.append(Leaf(step.ipa & -size, size, where, step.prot, step.old))

    def disturb(self, step: L1Table | L1Vtcr) -> None:
        """Something is wrong with them, or right again."""
        match step:
            case L1Table(level):
                self.displaced.add(level)
            case L1Vtcr(legal, hardware_af):
                self.illegal = not legal
                self.had_hardware_af |= self.hardware_af
                self.hardware_af = hardware_af

    def leaf(self, ipa: int) -> Leaf | None:
        """The leaf that maps an address of an L2 that runs; None: there is none."""
        found: Leaf | None = None
        for leaf in self.leaves:
            if leaf.ipa <= ipa < leaf.ipa + leaf.size:
                found = leaf
            elif found is not None and leaf.ipa & -found.size == found.ipa:
                found = None  # a table of pages took the block's place
        is_page = found is not None and found.size == PAGE_SIZE
        return None if is_page and 3 in self.displaced else found


def vncr_effects(worlds: Sequence[Premises], access: Access, address: int) -> Effects | None:
    """What may come of an access to an EL2 register that NV2 sends to memory; None: no opinion."""
    write = ACCESS_FACTS[access].direction is Direction.VNCR_WRITE
    found = Effects()
    for premises in worlds:
        one = _vncr(premises, address & PAGE_MASK, write=write)
        if one is None:
            return None
        found = found.alternatively(one)
    return found


def _vncr(premises: Premises, page: int, *, write: bool) -> Effects | None:
    if premises.failures:
        return None
    region = premises.region(page)
    if region is None or (write and region.readonly):
        return EXCEPTION
    state = premises.page(region, page, write=write)
    if state is None or (premises.limited and region.file is None):
        return None
    if region.file is None:
        if premises.may_sigbus(region, page):
            return SERVED.alternatively(EXCEPTION)
        return SERVED if state is Page.FINE else EXCEPTION
    found = OF_FILE[state]
    return found.or_exit(NO_MEMORY, FAULT) if premises.limited else found


def l2_effects(
    worlds: Sequence[Premises], tables: L1Tables, access: Access, address: int
) -> Effects | None:
    """What may come of an access of L2's at an address of its own; None: no opinion."""
    direction = ACCESS_FACTS[access].direction
    if direction is Direction.WALK or any(premises.failures for premises in worlds):
        return None
    if tables.illegal or tables.displaced & {1, 2}:
        return EXCEPTION  # its code cannot be fetched
    if direction is Direction.HINT:
        return SERVED
    first, last = touched(access, address)
    found = SERVED
    for page in range(first & PAGE_MASK, last + 1, PAGE_SIZE):
        one = _l2_page(worlds, tables, access, max(page, first))
        if one is None:
            return None
        found |= one
    return of_the_cpu(found, access, address)


def _l2_page(
    worlds: Sequence[Premises], tables: L1Tables, access: Access, ipa: int
) -> Effects | None:
    leaf = None if ipa >> L2_BITS else tables.leaf(ipa)
    if leaf is None:
        return EXCEPTION
    if leaf.old and not tables.hardware_af:
        # Without HA, but with a time when there was: the flag may have been set then.
        return None if tables.had_hardware_af else EXCEPTION
    direction = ACCESS_FACTS[access].direction
    if direction is Direction.MAINTENANCE and leaf.prot & (_READ | L1Bit.WRITE) == L1Bit.WRITE:
        return None  # the CPU's fault, which KVM takes for a write that L1 permits
    needed, address = _NEEDED[direction], leaf.output + ipa - leaf.ipa
    if address >> worlds[0].vm.ipa_bits:
        return None  # what L1 may name is a matter of VTCR_EL2.PS, which no case sets
    found = page_effects(worlds, access, address)
    if found is None or leaf.prot & needed == needed:
        return found
    # L1's permissions may be looked at when the page is there, and not before.
    nothing_there = any(premises.region(address) is None for premises in worlds)
    passed_over = direction is Direction.MAINTENANCE and nothing_there
    return found._replace(served=passed_over, exception=True)
