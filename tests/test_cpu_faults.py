"""What the CPU says of a fault is what the architecture says."""

from typing import Final

import pytest

from emu.abi import PAGE_SIZE, U64
from emu.access import ACCESS_FACTS, Access, Direction
from emu.case import IPA_BITS
from emu.cpu import SHADOW_IPA_BITS, Cpu, Exit
from emu.syndrome import CM, FSC, ISV, S1PTW, WNR, exception_class
from tests.cpus import (
    ADDRESS,
    DABT,
    IABT,
    PAGE,
    RWX,
    TOUCHING,
    TRANSLATION,
    Abort,
    abort,
    empty_vm,
    map_new,
    new_page,
    read_page,
)


@pytest.fixture
def cpu() -> Cpu:
    return empty_vm()


# WHAT A FAULT SAYS


def expected_ec(access: Access) -> int:
    return IABT if access is Access.FETCH else DABT


def is_write(access: Access) -> bool:
    """WnR of a fault that reading is enough for."""
    direction = ACCESS_FACTS[access].direction
    return direction in (Direction.WRITE, Direction.MAINTENANCE) or access is Access.AT_WALK


@pytest.mark.parametrize("access", TOUCHING)
@pytest.mark.parametrize("ipa_bits", IPA_BITS)
def test_an_access_to_an_unmapped_page_aborts_with_the_architectures_syndrome(
    cpu: Cpu, access: Access, ipa_bits: int
) -> None:
    cpu.reset(ipa_bits, warm=True)
    address = (1 << ipa_bits - 1) + 0x340
    cpu.load(access, address, last=False)
    told = abort(cpu)
    facts = ACCESS_FACTS[access]
    assert exception_class(told.esr) == expected_ec(access)
    assert told.esr & FSC == TRANSLATION | 4 - cpu.stage2.levels
    assert bool(told.esr & ISV) == facts.syndrome
    assert bool(told.esr & WNR) == is_write(access)
    assert bool(told.esr & S1PTW) == (facts.direction is Direction.WALK)
    assert bool(told.esr & CM) == (
        facts.direction is Direction.MAINTENANCE or access is Access.AT_WALK
    )
    assert told.ipa == address & -PAGE_SIZE
    assert facts.direction is Direction.WALK or told.far == address
    assert not cpu.moved
    assert not cpu.changed


# ESR where ISV is set: SAS, SSE, SRT, SF, AR as in the instruction.
SYNDROMES = [
    (Access.READ8, 0x9300_0005),
    (Access.READ16, 0x9340_0005),
    (Access.READ32, 0x9380_0005),
    (Access.READ64, 0x93C0_8005),
    (Access.READ_SIGNED8, 0x9320_8005),
    (Access.READ_SIGNED16, 0x9360_8005),
    (Access.READ_SIGNED32, 0x93A0_8005),
    (Access.READ_ACQUIRE, 0x93C0_C005),
    (Access.READ_RCPC, 0x93C0_C005),
    (Access.WRITE8, 0x9300_0045),
    (Access.WRITE16, 0x9340_0045),
    (Access.WRITE32, 0x9380_0045),
    (Access.WRITE64, 0x93C0_8045),
    (Access.WRITE_RELEASE, 0x93C0_C045),
    # and where it is not, nothing that goes with it
    (Access.READ_PRE_INDEX, 0x9200_0005),
    (Access.READ_POST_INDEX, 0x9200_0005),
    (Access.WRITE_PRE_INDEX, 0x9200_0045),
    (Access.WRITE_POST_INDEX, 0x9200_0045),
    (Access.CAS, 0x9200_0005),
    (Access.DC_ZVA, 0x9200_0045),
    (Access.DC_CIVAC, 0x9200_0145),
    (Access.IC_IVAU, 0x9200_0145),
    (Access.FETCH, 0x8200_0005),
    (Access.WALK, 0x9200_0085),
    (Access.AT_WALK, 0x9200_01C5),
    (Access.WALK_AF, 0x9200_0085),
]


@pytest.mark.parametrize(("access", "esr"), SYNDROMES)
def test_the_syndrome_is_this_number(cpu: Cpu, access: Access, esr: int) -> None:
    cpu.load(access, ADDRESS, last=False)
    assert abort(cpu) == Abort(esr, cpu.far, PAGE >> 8)


@pytest.mark.parametrize("access", [a for a in Access if ACCESS_FACTS[a].syndrome])
def test_every_valid_syndrome_is_in_the_table(access: Access) -> None:
    assert access in dict(SYNDROMES)


@pytest.mark.parametrize("ipa_bits", IPA_BITS)
@pytest.mark.parametrize("access", [Access.READ64, Access.WALK])
def test_the_level_is_that_of_the_first_missing_table(
    cpu: Cpu, access: Access, ipa_bits: int
) -> None:
    cpu.reset(ipa_bits, warm=True)
    map_new(cpu, 0x4000_0000)
    for page in (0x4000_1000, 0x4020_0000, 0x8000_0000, (1 << ipa_bits) - PAGE_SIZE):
        cpu.load(access, page + 8, last=False)
        assert abort(cpu).esr & FSC == cpu.stage2.fault_status(page)


@pytest.mark.parametrize("access", [a for a in TOUCHING if ACCESS_FACTS[a].aligned == 1])
@pytest.mark.parametrize("offset", [0, 1, 8, 0x7F8, 0xFC0])
def test_far_and_hpfar_name_the_byte_and_the_page(cpu: Cpu, access: Access, offset: int) -> None:
    cpu.load(access, PAGE + offset, last=False)
    told = abort(cpu)
    assert told.ipa == PAGE
    if ACCESS_FACTS[access].direction is Direction.WALK:
        assert told.far == 0xFFFF_FF80_0000_0000 | offset >> 3 << 30
    else:
        assert told.far == PAGE + offset


@pytest.mark.parametrize("access", TOUCHING)
@pytest.mark.parametrize("ipa_bits", IPA_BITS)
def test_an_address_beyond_the_ipa_space_is_a_translation_fault_at_level_0(
    cpu: Cpu, access: Access, ipa_bits: int
) -> None:
    cpu.reset(ipa_bits, warm=True)
    for page in {1 << ipa_bits, 1 << 43, (1 << 44) - PAGE_SIZE}:
        cpu.load(access, page, last=False)
        told = abort(cpu)
        assert told.esr & FSC == TRANSLATION
        assert told.ipa == page


BEYOND = {
    Access.PREFETCH: None,
    Access.AT_WALK: None,
    Access.WALK: 0x9600_0000,
    Access.WALK_AF: 0x9600_0000,
}


@pytest.mark.parametrize("access", Access)
@pytest.mark.parametrize("address", [1 << 44, 1 << 47, 1 << 52, 1 << 63])
def test_an_address_beyond_stage_1_is_an_exception_for_the_guest(
    cpu: Cpu, access: Access, address: int
) -> None:
    cpu.load(access, address, last=False)
    ec = 0x21 if access is Access.FETCH else 0x25
    esr = BEYOND.get(access, ec << 26 | 1 << 25 | TRANSLATION)
    if esr is None:
        assert cpu.enter() is Exit.DONE
    else:
        assert cpu.enter() is Exit.EXCEPTION
        assert cpu.esr & ~(WNR | CM) == esr


@pytest.mark.parametrize("address", [0xFFFF_FF80_0000_0000, U64 & -16])
def test_the_upper_half_translates_through_a_table_of_zeros(cpu: Cpu, address: int) -> None:
    cpu.load(Access.READ64, address, last=False)
    assert cpu.enter() is Exit.EXCEPTION
    assert cpu.esr == 0x9600_0005


# ALIGNMENT


MISALIGNED = {
    Access.READ_ACQUIRE: 0x9600_0021,
    Access.READ_RCPC: 0x9600_0021,
    Access.READ_EXCLUSIVE: 0x9600_0021,
    Access.WRITE_RELEASE: 0x9600_0061,
    Access.WRITE_EXCLUSIVE: 0x9600_0021,
    Access.CAS: 0x9600_0021,
    Access.CASP: 0x9600_0021,
    Access.SWP: 0x9600_0021,
    Access.LDADD: 0x9600_0021,
    Access.STADD: 0x9600_0021,
    Access.FETCH: 0x8A00_0000,
}


@pytest.mark.parametrize("access", Access)
def test_exactly_the_aligned_accesses_refuse_a_misaligned_address(cpu: Cpu, access: Access) -> None:
    alignment = ACCESS_FACTS[access].aligned
    assert (alignment > 1) == (access in MISALIGNED)
    for offset in {1, 2, 4, alignment >> 1} - {0}:
        cpu.load(access, ADDRESS + offset, last=True)
        if offset % alignment:
            assert cpu.enter() is Exit.EXCEPTION
            assert cpu.esr == MISALIGNED[access]
            assert not cpu.moved
            assert not cpu.changed
        else:
            assert cpu.enter() is Exit.ABORT


def test_an_alignment_fault_comes_before_the_page_is_looked_at(cpu: Cpu) -> None:
    pfn = new_page(cpu, b"\xff" * 64)
    cpu.stage2.map(PAGE, pfn, RWX)
    for access in (Access.WRITE_RELEASE, Access.CAS, Access.READ_ACQUIRE, Access.FETCH):
        cpu.load(access, PAGE + 2, last=False)
        assert cpu.enter() is Exit.EXCEPTION
    assert read_page(cpu, pfn)[:64] == b"\xff" * 64


# THE HOST'S OWN ACCESSES, AND L2

VNCR: Final = [
    # write, mapped, ESR_EL2
    (False, False, 0x9600_2007),
    (True, False, 0x9600_2047),
    (True, True, 0x9600_204F),
]


@pytest.mark.parametrize(("write", "mapped", "esr"), VNCR)
def test_an_access_at_the_vncr_page_aborts_at_the_hosts_own_level(
    cpu: Cpu, write: bool, mapped: bool, esr: int
) -> None:
    cpu.load_nothing()
    assert cpu.abort_vncr(ADDRESS, write=write, mapped=mapped) is Exit.ABORT
    assert (cpu.esr, cpu.far, cpu.hpfar) == (esr, ADDRESS, 0)
    assert (cpu.moved, cpu.changed, cpu.at_doorbell) == (False, False, False)


def test_l2_runs_under_the_shadow_and_l1_does_not(cpu: Cpu) -> None:
    cpu.shadow.reset(SHADOW_IPA_BITS, warm=True)
    cpu.stage2.map(PAGE, cpu.arena.allocate(), RWX)
    for l2, expected in ((False, Exit.DONE), (True, Exit.ABORT)) * 2:
        if l2 is not (cpu.stage2 is cpu.shadow):
            cpu.switch(l2)
        cpu.load(Access.READ64, ADDRESS, last=False)
        assert cpu.enter() is expected


def test_l2s_code_that_is_not_mapped_aborts_as_a_fetch(cpu: Cpu) -> None:
    cpu.shadow.reset(SHADOW_IPA_BITS, warm=False)
    cpu.switch(True)
    cpu.load(Access.READ64, ADDRESS, last=False)
    assert cpu.abort_fetch() is Exit.ABORT
    assert (cpu.esr, cpu.far, cpu.hpfar) == (0x8200_0005, cpu.pc, (cpu.pc & -PAGE_SIZE) >> 8)
