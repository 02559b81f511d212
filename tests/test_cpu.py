"""The emulated CPU: the end of an access, the guest's registers, its harness, and no memory."""

from dataclasses import dataclass
from random import Random

import pytest

from emu.abi import DOORBELL, HARNESS_BASE, PAGE_SIZE, U64
from emu.access import Access
from emu.arena import CODE_SIZE, HARNESS_PFN
from emu.case import IPA_BITS
from emu.cpu import Cpu, Exit
from emu.stage2 import Prot
from emu.syndrome import FSC, S1PTW, WNR, exception_class
from tests.cpus import (
    ADDRESS,
    DABT,
    IABT,
    PAGE,
    PERMISSION,
    RW,
    RWX,
    RX,
    SECOND,
    TOUCHING,
    TRANSLATION,
    Abort,
    abort,
    empty_vm,
    map_new,
    new_page,
    read_page,
    read_word,
)


@pytest.fixture
def cpu() -> Cpu:
    return empty_vm()


# THE END OF AN ACCESS


@pytest.mark.parametrize("access", Access)
def test_the_last_access_rings_the_idle_doorbell_once_it_is_done(cpu: Cpu, access: Access) -> None:
    map_new(cpu, PAGE)
    cpu.load(access, ADDRESS, last=True)
    assert cpu.enter() is Exit.ABORT
    assert cpu.at_doorbell
    assert (cpu.esr, cpu.far, cpu.hpfar << 8) == (0x93DB_8046, DOORBELL, DOORBELL)
    assert cpu.register(27) == 0
    assert cpu.enter() is Exit.ABORT  # again, as long as nobody answers
    cpu.advance()
    assert cpu.enter() is Exit.DONE


@pytest.mark.parametrize("access", Access)
def test_another_access_follows_without_a_doorbell(cpu: Cpu, access: Access) -> None:
    map_new(cpu, PAGE)
    for _ in range(2):
        cpu.load(access, ADDRESS, last=False)
        assert not cpu.at_doorbell
        assert cpu.enter() is Exit.DONE
        assert not cpu.at_doorbell


def test_the_last_access_is_not_at_the_doorbell_while_it_faults(cpu: Cpu) -> None:
    cpu.load(Access.WRITE64, ADDRESS, last=True)
    assert abort(cpu).ipa == PAGE


def test_an_access_refused_for_its_address_still_rings_where_it_does_nothing(cpu: Cpu) -> None:
    cpu.load(Access.AT_WALK, 1 << 50, last=True)
    assert cpu.enter() is Exit.ABORT
    assert cpu.at_doorbell


def test_the_idle_guest_rings_the_idle_doorbell(cpu: Cpu) -> None:
    cpu.load_idle()
    assert cpu.enter() is Exit.ABORT
    assert (cpu.at_doorbell, cpu.far, cpu.register(27)) == (True, DOORBELL, 0)


@pytest.mark.parametrize("target", [0, 4, PAGE, PAGE + 0xFFC])
def test_a_fetch_from_any_page_of_zeros_is_done(cpu: Cpu, target: int) -> None:
    cpu.load(Access.FETCH, target, last=False)
    told = abort(cpu)
    assert (told.far, told.ipa, cpu.pc) == (target, target & -PAGE_SIZE, target)
    assert not cpu.moved
    map_new(cpu, target & -PAGE_SIZE)
    assert cpu.enter() is Exit.DONE


def test_a_fetch_that_finds_an_instruction_goes_on_from_there() -> None:
    cpu = Cpu()  # one that has not fetched zeros from this page: see Arena
    cpu.reset(40, warm=True)
    nop_then_zeros = b"\x1f\x20\x03\xd5"
    cpu.stage2.map(PAGE, new_page(cpu, nop_then_zeros), RX)
    cpu.load(Access.FETCH, PAGE, last=False)
    assert cpu.enter() is Exit.EXCEPTION
    assert (cpu.esr, cpu.pc) == (0x0200_0000, PAGE + 4)


def test_a_branch_to_itself_hangs_and_nothing_after_it_does(cpu: Cpu) -> None:
    cpu.load(Access.FETCH, ADDRESS, last=False)
    branch = cpu.pc
    abort(cpu)  # its code is translated now
    cpu.load(Access.FETCH, branch, last=False)
    assert cpu.enter() is Exit.HANG
    assert cpu.enter() is Exit.HANG
    cpu.load(Access.READ64, ADDRESS, last=False)
    assert abort(cpu).ipa == PAGE
    assert cpu._start is cpu._engine.start  # it counts no more, which would cost memory


# THE GUEST'S REGISTERS


def test_an_emulated_load_is_what_the_guest_goes_on_with(cpu: Cpu) -> None:
    cpu.load(Access.READ64, ADDRESS, last=True)
    abort(cpu)
    cpu.set_register(0, 0x1122_3344_5566_7788)
    assert (cpu.changed, cpu.moved) == (True, False)
    cpu.advance()
    assert cpu.moved
    assert cpu.enter() is Exit.ABORT
    assert cpu.at_doorbell
    assert cpu.register(0) == 0x1122_3344_5566_7788


def test_a_value_is_cut_to_the_registers_size(cpu: Cpu) -> None:
    cpu.set_register(3, -1)
    assert cpu.register(3) == U64


def test_registers_set_before_the_first_entry_are_used(cpu: Cpu) -> None:
    pfn = map_new(cpu, PAGE)
    cpu.load(Access.WRITE64, PAGE, last=False)
    cpu.set_register(0, 0x55)
    assert cpu.enter() is Exit.DONE
    assert cpu.arena.buffer[pfn << 12] == 0x55


def test_a_loaded_access_has_the_operands_of_a_new_guest(cpu: Cpu) -> None:
    pfn = new_page(cpu, b"\xaa" * PAGE_SIZE)
    cpu.stage2.map(PAGE, pfn, RWX)
    for access in (Access.READ64, Access.READ_PAIR, Access.READ_SIMD_MULTIPLE):
        cpu.load(access, PAGE, last=False)
        assert cpu.enter() is Exit.DONE
        assert cpu.changed
    for access in (Access.WRITE64, Access.WRITE_PAIR, Access.WRITE_SIMD_MULTIPLE):
        cpu.load(access, PAGE + 0x100, last=False)
        assert not cpu.changed
        assert cpu.enter() is Exit.DONE
    assert read_page(cpu, pfn)[0x100:0x120] == bytes(32)


@pytest.mark.parametrize("number", [*range(31)])
def test_a_change_of_any_register_shows_until_it_is_undone(cpu: Cpu, number: int) -> None:
    cpu.load(Access.WRITE64, ADDRESS, last=False)
    abort(cpu)
    before = cpu.register(number)
    cpu.set_register(number, before ^ 1)
    assert cpu.changed
    cpu.set_register(number, before)
    assert not cpu.changed


def test_a_change_of_a_flag_shows(cpu: Cpu) -> None:
    cpu.load(Access.WRITE64, ADDRESS, last=False)
    abort(cpu)
    cpu._registers.flags[0] ^= 1 << 31
    assert cpu.changed


def test_a_fetchs_target_is_no_place_for_the_next_access(cpu: Cpu) -> None:
    map_new(cpu, PAGE)
    cpu.load(Access.READ64, ADDRESS, last=False)
    assert cpu.enter() is Exit.DONE
    after = cpu.pc
    cpu.load(Access.FETCH, after, last=False)
    cpu.load(Access.READ64, ADDRESS, last=False)
    assert cpu.enter() is Exit.DONE
    assert (cpu.pc, cpu.moved) == (after, True)


def test_skipped_cache_maintenance_does_not_fault(cpu: Cpu) -> None:
    for access in (Access.DC_CVAC, Access.DC_CIVAC, Access.IC_IVAU):
        cpu.load(access, ADDRESS, last=False)
        abort(cpu)
        cpu.advance()
        assert cpu.enter() is Exit.DONE
        assert not cpu.changed


def test_an_exclusive_store_that_faults_is_repeated_from_its_load(cpu: Cpu) -> None:
    cpu.stage2.map(PAGE, new_page(cpu, b"\x77" * PAGE_SIZE), Prot.R)
    cpu.load(Access.WRITE_EXCLUSIVE, ADDRESS, last=False)
    load = cpu.pc + 4
    for _ in range(2):
        assert abort(cpu).esr & (FSC | WNR) == PERMISSION | 3 | WNR
        assert (cpu.pc, cpu.moved, cpu.changed) == (load + 4, False, False)
    cpu.stage2.unmap(PAGE)
    assert abort(cpu).esr & (FSC | WNR) == TRANSLATION | 3 - 2  # the load's, for the tables went
    assert cpu.pc == load


# THE HARNESS


def serve_cold(cpu: Cpu) -> list[tuple[int, int, bool]]:
    """Map each page of the harness as the guest asks for it: class, page, on a stage-1 walk."""
    asked = []
    while (ipa := abort(cpu).ipa) in range(HARNESS_BASE, HARNESS_BASE + CODE_SIZE):
        asked.append((exception_class(cpu.esr), ipa - HARNESS_BASE, bool(cpu.esr & S1PTW)))
        cpu.stage2.map(ipa, HARNESS_PFN + (ipa - HARNESS_BASE >> 12), RX)
    return asked


def test_a_cold_guest_asks_for_its_tables_and_its_code_first(cpu: Cpu) -> None:
    cpu.reset(40, warm=False)
    cpu.load(Access.READ64, 0x4000_0000, last=True)
    assert not cpu.moved
    asked = serve_cold(cpu)
    assert [(ec, walk) for ec, _, walk in asked] == [(IABT, True), (IABT, True), (IABT, False)]
    assert asked[-1][1] == 0  # the code page
    assert cpu.hpfar << 8 == 0x4000_0000
    map_new(cpu, 0x4000_0000)
    assert cpu.enter() is Exit.ABORT
    assert cpu.at_doorbell


def test_a_cold_guests_access_asks_for_its_own_table(cpu: Cpu) -> None:
    cpu.reset(40, warm=False)
    cpu.load(Access.READ64, 1 << 39, last=False)  # a table maps 512 GiB
    asked = serve_cold(cpu)
    assert [(ec, walk) for ec, _, walk in asked[3:]] == [(DABT, True)]
    assert cpu.esr & FSC == TRANSLATION | 1
    assert cpu.hpfar << 8 == 1 << 39


@pytest.mark.parametrize("access", TOUCHING)
def test_a_cold_vm_ends_where_a_warm_one_does(cpu: Cpu, access: Access) -> None:
    ends = []
    for warm in (False, True):
        cpu.reset(40, warm=warm)
        cpu.load(access, ADDRESS, last=True)
        serve_cold(cpu)
        told = Abort(cpu.esr, cpu.far, cpu.hpfar)
        map_new(cpu, PAGE)
        assert cpu.enter() is Exit.ABORT
        assert cpu.at_doorbell
        ends.append((told, tuple(cpu._registers.general)))
    assert ends[0] == ends[1]


def test_the_guest_may_read_and_run_its_harness_but_not_write_it(cpu: Cpu) -> None:
    assert read_word(cpu, HARNESS_BASE) != 0
    cpu.load(Access.WRITE64, HARNESS_BASE, last=False)
    assert abort(cpu).esr & (FSC | WNR) == PERMISSION | 2 | WNR
    cpu.load(Access.READ64, DOORBELL, last=False)
    assert abort(cpu) == Abort(0x93C0_8006, DOORBELL, DOORBELL >> 8)


def test_a_harness_that_the_guest_overwrote_is_whole_again_in_the_next_vm(cpu: Cpu) -> None:
    cpu.reset(40, warm=False)
    for page in range(64):
        cpu.stage2.map(HARNESS_BASE + (page << 12), HARNESS_PFN + page, RWX)
    cpu.load(Access.DC_ZVA, ADDRESS, last=False)
    code = cpu.pc
    cpu.load(Access.DC_ZVA, code, last=False)
    assert cpu.enter() is Exit.DONE
    cpu.load(Access.DC_ZVA, ADDRESS, last=False)
    assert cpu.enter() is Exit.EXCEPTION  # it is zeros now, UDF
    assert cpu.esr == 0x0200_0000
    cpu.reset(40, warm=True)
    assert read_word(cpu, code) != 0
    cpu.load(Access.DC_ZVA, ADDRESS, last=False)
    assert abort(cpu).ipa == PAGE


# NO MEMORY OF EARLIER CASES


@dataclass(frozen=True)
class Step:
    """One access of a random case, and what the host does to its page when it faults."""

    access: Access
    address: int
    prot: int


def steps(seed: int) -> list[Step]:
    rng = Random(seed)  # noqa: S311 - nothing here is secret
    pages = [0, PAGE, SECOND, 0x4000_0000, HARNESS_BASE, 1 << 40, 1 << 44]
    return [
        Step(
            rng.choice(list(Access)),
            rng.choice(pages) + rng.choice([0, 4, 0x340, 0xFFC]),
            rng.choice([Prot.R, RW, RX, RWX]),
        )
        for _ in range(6)
    ]


def trace(cpu: Cpu, case: list[Step], ipa_bits: int) -> list[tuple[object, ...]]:
    """All that can be seen of a case."""
    cpu.reset(ipa_bits, warm=True)
    seen: list[tuple[object, ...]] = []
    for number, step in enumerate(case):
        cpu.load(step.access, step.address, number == len(case) - 1)
        for _ in range(4):
            exit_ = cpu.enter()
            general, vectors = cpu._registers.general, cpu._registers.vectors
            seen.append((exit_, cpu.esr, cpu.far, cpu.hpfar, cpu.pc, cpu.at_doorbell))
            seen.append((cpu.moved, cpu.changed, tuple(general), bytes(vectors)))
            ipa = cpu.hpfar << 8
            if exit_ is not Exit.ABORT or cpu.at_doorbell or ipa >> ipa_bits or ipa >> 21 == 0x780:
                break
            cpu.stage2.map(ipa, new_page(cpu, b"\x5a" * 8), step.prot)
    return seen


@pytest.mark.parametrize("seed", range(12))
def test_a_case_is_the_same_on_a_used_and_on_a_new_cpu(cpu: Cpu, seed: int) -> None:
    for other in range(5):
        trace(cpu, steps(1000 * seed + other), IPA_BITS[other % 4])
    assert trace(cpu, steps(seed), 40) == trace(Cpu(), steps(seed), 40)


def resident_kib() -> int:
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - no file
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def test_memory_does_not_grow_with_the_number_of_entries(cpu: Cpu) -> None:
    def run(cases: int) -> None:
        for number in range(cases):
            trace(cpu, steps(number % 50), IPA_BITS[number % 4])

    run(100)
    before = resident_kib()
    run(600)  # more than 10,000 entries
    assert resident_kib() - before < 1024
