"""What is taken out of stage 2 is gone for the CPU, and what is added is there."""

import pytest

from emu.abi import PAGE_SIZE
from emu.access import Access
from emu.cpu import Cpu, Exit
from emu.stage2 import Prot
from emu.syndrome import FSC, S1PTW, WNR
from tests.cpus import (
    ACCESS_FLAG,
    ADDRESS,
    PAGE,
    PERMISSION,
    RW,
    SECOND,
    abort,
    empty_vm,
    map_new,
    new_page,
    read_word,
)


@pytest.fixture
def cpu() -> Cpu:
    return empty_vm()


def test_a_removed_page_is_gone(cpu: Cpu) -> None:
    map_new(cpu, PAGE)
    assert read_word(cpu, ADDRESS) == 0
    cpu.stage2.unmap(PAGE)
    cpu.load(Access.READ64, ADDRESS, last=False)
    assert abort(cpu).ipa == PAGE


def test_a_write_protected_page_faults(cpu: Cpu) -> None:
    map_new(cpu, PAGE)
    cpu.load(Access.WRITE64, ADDRESS, last=False)
    assert cpu.enter() is Exit.DONE
    cpu.stage2.protect(PAGE, Prot.R)
    cpu.load(Access.WRITE64, ADDRESS, last=False)
    assert abort(cpu).esr & FSC == PERMISSION | 3
    assert read_word(cpu, ADDRESS) == 0


def test_a_page_mapped_elsewhere_shows_the_other_page(cpu: Cpu) -> None:
    map_new(cpu, PAGE)
    assert read_word(cpu, ADDRESS) == 0
    cpu.stage2.map(PAGE, new_page(cpu, b"\x11" * PAGE_SIZE), RW)
    assert read_word(cpu, ADDRESS) == 0x1111_1111_1111_1111


def test_an_aged_page_faults(cpu: Cpu) -> None:
    map_new(cpu, PAGE)
    assert read_word(cpu, ADDRESS) == 0
    cpu.stage2.age(PAGE)
    cpu.load(Access.READ64, ADDRESS, last=False)
    assert abort(cpu).esr & FSC == ACCESS_FLAG | 3


def test_a_page_that_may_no_longer_be_executed_faults(cpu: Cpu) -> None:
    map_new(cpu, PAGE)
    cpu.load(Access.FETCH, ADDRESS, last=False)
    assert cpu.enter() is Exit.DONE
    cpu.stage2.protect(PAGE, RW)
    cpu.load(Access.FETCH, ADDRESS, last=False)
    assert abort(cpu).esr & FSC == PERMISSION | 3


def test_the_last_vms_pages_are_gone(cpu: Cpu) -> None:
    map_new(cpu, PAGE)
    assert read_word(cpu, ADDRESS) == 0
    cpu.reset(40, warm=True)
    cpu.load(Access.READ64, ADDRESS, last=False)
    assert abort(cpu).ipa == PAGE


def test_additions_and_upgrades_are_seen_without_a_flush(cpu: Cpu) -> None:
    cpu.load(Access.WRITE64, ADDRESS, last=False)
    abort(cpu)
    assert not cpu.stage2.stale
    map_new(cpu, PAGE, prot=0)
    assert abort(cpu).esr & (FSC | WNR) == PERMISSION | 3 | WNR
    cpu.stage2.relax(PAGE, Prot.R)
    assert read_word(cpu, ADDRESS) == 0  # the TLB has it now, for reading
    cpu.stage2.relax(PAGE, Prot.W)
    cpu.load(Access.WRITE64, ADDRESS, last=False)
    assert cpu.enter() is Exit.DONE
    cpu.load(Access.FETCH, ADDRESS, last=False)
    assert abort(cpu).esr & FSC == PERMISSION | 3
    cpu.stage2.relax(PAGE, Prot.X)
    assert cpu.enter() is Exit.DONE
    cpu.stage2.age(PAGE)
    cpu.stage2.mkyoung(PAGE)
    assert cpu.stage2.stale  # once told of, whatever came after


def test_each_walk_reads_its_own_table(cpu: Cpu) -> None:
    block = (1 << 10 | 3 << 8 | 1).to_bytes(8, "little")  # the first 1 GiB
    tables = [new_page(cpu, block), new_page(cpu)]
    for page, pfn in zip((PAGE, SECOND), tables, strict=True):
        cpu.stage2.map(page, pfn, RW)
    pfn = map_new(cpu, 0)
    cpu.load(Access.WALK, PAGE, last=False)
    assert cpu.enter() is Exit.DONE  # the load went through to the page at 0
    cpu.arena.buffer[pfn << 12] = 7
    assert cpu.register(0) == 0
    cpu.load(Access.WALK, PAGE, last=False)
    assert cpu.enter() is Exit.DONE
    assert cpu.register(0) == 7
    cpu.load(Access.WALK, SECOND, last=False)  # the same VA
    assert cpu.enter() is Exit.DONE
    assert cpu.register(0) == 0  # the entry is invalid: nothing was loaded


def test_a_walk_that_leads_to_an_unmapped_page_faults_there(cpu: Cpu) -> None:
    table = new_page(cpu, (0x4000_0000 | 1 << 10 | 3 << 8 | 1).to_bytes(8, "little"))
    cpu.stage2.map(PAGE, table, RW)
    cpu.load(Access.WALK, PAGE, last=False)
    told = abort(cpu)
    assert (told.ipa, told.esr & S1PTW) == (0x4000_0000, 0)


def test_a_walk_that_finds_an_old_entry_is_an_exception_for_the_guest(cpu: Cpu) -> None:
    old = (3 << 8 | 1).to_bytes(8, "little")
    cpu.stage2.map(PAGE, new_page(cpu, old), RW)
    cpu.load(Access.WALK, PAGE, last=False)
    assert cpu.enter() is Exit.EXCEPTION
    assert cpu.esr == 0x9600_0009
