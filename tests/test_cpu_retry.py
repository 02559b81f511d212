"""A fault that is repaired and retried leaves no trace."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

import pytest

from emu.abi import PAGE_SIZE
from emu.access import ACCESS_FACTS, Access, Direction, touched
from emu.cpu import Cpu, Exit
from emu.stage2 import Prot
from emu.syndrome import FSC, S1PTW, WNR
from tests.cpus import (
    ACCESS_FLAG,
    ADDRESS,
    PAGE,
    PERMISSION,
    RW,
    RWX,
    RX,
    SECOND,
    STAGE2,
    Abort,
    empty_vm,
    new_page,
    read_page,
)


@pytest.fixture
def cpu() -> Cpu:
    return empty_vm()


WRITING: Final = (Direction.WRITE, Direction.READ_WRITE)
CROSSING: Final = tuple(
    access
    for access, facts in ACCESS_FACTS.items()
    if facts.width > 1 and facts.aligned == facts.block == 1
)


@dataclass(frozen=True)
class State:
    """Registers and memory when an access is done."""

    general: tuple[int, ...]
    vectors: bytes
    flags: bytes
    memory: tuple[bytes, ...]


def fill(cpu: Cpu) -> None:
    """Operands that show where they went; the address register is left alone."""
    for number in (0, 2, 3, 4, 5, 9):
        cpu.set_register(number, 0x0101_0101_0101_0101 * (0x10 + number))
    vectors = cpu._registers.vectors
    for word in range(len(vectors)):
        vectors[word] = 0x0123_4567_89AB_CDEF ^ word * 0x1_0001


def contents(access: Access, seed: int) -> bytes:
    """A page of noise, but zeros for what is fetched or walked."""
    if ACCESS_FACTS[access].direction in (Direction.FETCH, Direction.WALK):
        return bytes(PAGE_SIZE)
    return Random(seed).randbytes(PAGE_SIZE)  # noqa: S311 - noise, no secret


@dataclass(frozen=True)
class Scene:
    """Two neighbouring pages of noise, one access at the first or across both."""

    access: Access
    address: int

    def begin(self, cpu: Cpu) -> tuple[int, int]:
        cpu.reset(40, warm=True)
        pages = (
            new_page(cpu, contents(self.access, 1)),
            new_page(cpu, contents(self.access, 2)),
        )
        cpu.load(self.access, self.address, last=False)
        fill(cpu)
        return pages

    def state(self, cpu: Cpu, pages: tuple[int, int]) -> State:
        registers = cpu._registers
        return State(
            tuple(registers.general),
            bytes(registers.vectors),
            bytes(registers.flags),
            tuple(read_page(cpu, pfn) for pfn in pages),
        )

    def undisturbed(self, cpu: Cpu) -> State:
        """The state at the end of a run that never faults."""
        pages = self.begin(cpu)
        cpu.stage2.map(PAGE, pages[0], RWX)
        cpu.stage2.map(SECOND, pages[1], RWX)
        assert cpu.enter() is Exit.DONE
        return self.state(cpu, pages)

    def disturbed(
        self, cpu: Cpu, prepare: Callable[[Cpu, int, int], None], repair: Callable[[Cpu, int], None]
    ) -> tuple[list[Abort], State]:
        """Its aborts, each repaired and retried, and the state at the end of such a run."""
        pages = self.begin(cpu)
        for ipa, pfn in zip((PAGE, SECOND), pages, strict=True):
            prepare(cpu, ipa, pfn)
        aborts = []
        while (exit_ := cpu.enter()) is Exit.ABORT:
            assert not cpu.moved
            aborts.append(Abort(cpu.esr, cpu.far, cpu.hpfar))
            assert len(aborts) < 6
            before = self.state(cpu, pages)
            for _ in range(2):  # without a repair, the same again, and still no trace
                assert cpu.enter() is Exit.ABORT
                # An aborted atomic store reads first next time: the direction may differ.
                assert (cpu.far, cpu.hpfar) == (aborts[-1].far, aborts[-1].hpfar)
                assert self.state(cpu, pages) == before
            assert before.general == tuple(cpu._registers.general)
            repair(cpu, pages[aborts[-1].ipa == SECOND])
        assert exit_ is Exit.DONE
        return aborts, self.state(cpu, pages)


def scenes() -> Iterator[Scene]:
    for access in STAGE2:
        yield Scene(access, ADDRESS)
    for access in CROSSING:
        width = ACCESS_FACTS[access].width
        for before in {1, width >> 1, width - 1}:
            yield Scene(access, SECOND - before)


SCENES = tuple(scenes())
SCENE_NAMES = [f"{scene.access.value}@{scene.address:#x}" for scene in SCENES]
each_scene = pytest.mark.parametrize("scene", SCENES, ids=SCENE_NAMES)


def touched_pages(scene: Scene) -> list[int]:
    first, last = touched(scene.access, scene.address)
    return sorted({first & -PAGE_SIZE, last & -PAGE_SIZE})


def map_page(cpu: Cpu, pfn: int) -> None:
    cpu.stage2.map(cpu.hpfar << 8, pfn, RWX)


def map_whole(cpu: Cpu, ipa: int, pfn: int) -> None:
    cpu.stage2.map(ipa, pfn, RWX)


def nothing(cpu: Cpu, ipa: int, pfn: int) -> None:
    """Leave the page unmapped."""


@each_scene
def test_an_unmapped_page_leaves_no_trace_once_it_is_mapped(cpu: Cpu, scene: Scene) -> None:
    expected = scene.undisturbed(cpu)
    aborts, state = scene.disturbed(cpu, nothing, map_page)
    assert state == expected
    pages = [] if scene.access is Access.PREFETCH else touched_pages(scene)
    assert sorted(told.ipa for told in aborts) == pages


@pytest.mark.parametrize("missing", [PAGE, SECOND])
@pytest.mark.parametrize("scene", [s for s in SCENES if s.address != ADDRESS], ids=str)
def test_half_of_an_access_that_crosses_pages_leaves_no_trace(
    cpu: Cpu, scene: Scene, missing: int
) -> None:
    def map_one(cpu: Cpu, ipa: int, pfn: int) -> None:
        if ipa != missing:
            cpu.stage2.map(ipa, pfn, RWX)

    expected = scene.undisturbed(cpu)
    aborts, state = scene.disturbed(cpu, map_one, map_page)
    assert state == expected
    assert [told.ipa for told in aborts] == [missing]


@each_scene
def test_a_write_to_a_read_only_page_is_a_permission_fault_and_leaves_no_trace(
    cpu: Cpu, scene: Scene
) -> None:
    def map_read_only(cpu: Cpu, ipa: int, pfn: int) -> None:
        cpu.stage2.map(ipa, pfn, RX)

    def allow(cpu: Cpu, _pfn: int) -> None:
        cpu.stage2.relax(cpu.hpfar << 8, Prot.W)
        assert not cpu.stage2.stale

    expected = scene.undisturbed(cpu)
    aborts, state = scene.disturbed(cpu, map_read_only, allow)
    assert state == expected
    sets_flag = scene.access is Access.WALK_AF  # of which the abort only says that it was a walk's
    writing = sets_flag or ACCESS_FACTS[scene.access].direction in WRITING
    assert sorted(told.ipa for told in aborts) == (touched_pages(scene) if writing else [])
    for told in aborts:
        told_of_write = told.esr & (WNR | S1PTW) == (S1PTW if sets_flag else WNR)
        assert (told.esr & FSC, told_of_write) == (PERMISSION | 3, True)


@each_scene
def test_a_forbidden_page_is_a_permission_fault_and_leaves_no_trace(cpu: Cpu, scene: Scene) -> None:
    def map_forbidden(cpu: Cpu, ipa: int, pfn: int) -> None:
        cpu.stage2.map(ipa, pfn, RW if scene.access is Access.FETCH else Prot.X)

    def allow(cpu: Cpu, _pfn: int) -> None:
        cpu.stage2.relax(cpu.hpfar << 8, RWX)

    expected = scene.undisturbed(cpu)
    aborts, state = scene.disturbed(cpu, map_forbidden, allow)
    assert state == expected
    assert {told.esr & FSC for told in aborts} <= {PERMISSION | 3}
    assert bool(aborts) == (scene.access is not Access.PREFETCH)


@each_scene
def test_an_old_page_is_an_access_flag_fault_and_leaves_no_trace(cpu: Cpu, scene: Scene) -> None:
    def map_old(cpu: Cpu, ipa: int, pfn: int) -> None:
        cpu.stage2.map(ipa, pfn, RWX)
        cpu.stage2.age(ipa)

    def make_young(cpu: Cpu, _pfn: int) -> None:
        cpu.stage2.mkyoung(cpu.hpfar << 8)
        assert not cpu.stage2.stale

    expected = scene.undisturbed(cpu)
    aborts, state = scene.disturbed(cpu, map_old, make_young)
    assert state == expected
    assert {told.esr & FSC for told in aborts} <= {ACCESS_FLAG | 3}
    assert bool(aborts) == (scene.access is not Access.PREFETCH)


@pytest.mark.parametrize("access", [a for a in Access if ACCESS_FACTS[a].direction in WRITING])
def test_what_is_stored_by_default_is_zeros(cpu: Cpu, access: Access) -> None:
    pfn = new_page(cpu, bytes(range(1, 65)) * 64 if access is Access.DC_ZVA else b"")
    cpu.stage2.map(PAGE, pfn, RWX)
    cpu.load(access, ADDRESS, last=False)
    assert cpu.enter() is Exit.DONE
    first, last = touched(access, ADDRESS)
    assert not any(read_page(cpu, pfn)[first & 0xFFF : (last & 0xFFF) + 1])
