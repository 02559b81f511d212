"""The table of the scope: its letters can be played, and stand for those that it leaves out."""

from dataclasses import replace
from typing import Final

import pytest

from emu.access import Access
from emu.case import Case
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import Outcomes
from emu.steps import CreateGmem, CreateMem, Guest, L1Map, SetMemslot, Step
from fuzz.exhaustive.enumeration import Enumeration, alphabet
from fuzz.exhaustive.footprint import footprint
from fuzz.exhaustive.scope import LAYOUTS, Layout

# docs/exhaust.md has the reasons.
STANDS_FOR: Final = {
    Access.READ64: (
        *(Access.READ8, Access.READ16, Access.READ32, Access.READ_SIGNED8, Access.READ_SIGNED16),
        *(Access.READ_SIGNED32, Access.READ_ACQUIRE, Access.READ_RCPC),
    ),
    Access.WRITE64: (Access.WRITE8, Access.WRITE16, Access.WRITE32, Access.WRITE_RELEASE),
    Access.READ_PAIR: (
        *(Access.READ_PRE_INDEX, Access.READ_POST_INDEX, Access.READ_EXCLUSIVE),
        *(Access.READ_SIMD, Access.READ_SIMD_MULTIPLE),
    ),
    Access.WRITE_PAIR: (
        *(Access.WRITE_PRE_INDEX, Access.WRITE_POST_INDEX, Access.WRITE_SIMD),
        *(Access.WRITE_SIMD_MULTIPLE, Access.DC_ZVA),
    ),
    Access.CAS: (Access.CASP, Access.SWP, Access.LDADD, Access.STADD, Access.WRITE_EXCLUSIVE),
    Access.DC_CIVAC: (Access.DC_CVAC, Access.IC_IVAU),
    Access.WALK: (Access.AT_WALK,),
}
MODEL: Final = Model()
by_layout: Final = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)


@by_layout
def test_an_access_goes_the_way_of_those_that_it_stands_for(layout: Layout) -> None:
    enumeration = Enumeration(layout, 3)
    for case in enumeration.cases(0, enumeration.size):
        for access in {step.access for step in case.steps if isinstance(step, Guest)}:
            mine = way(MODEL.run(case, KERNELS["v7.3"]))
            for other in STANDS_FOR.get(access, ()):
                another = with_another(case, access, other)
                assert way(MODEL.run(another, KERNELS["v7.3"])) == mine, (case, other)


def with_another(case: Case, access: Access, other: Access) -> Case:
    """The case with another access; in the middle of a page, where its width is no matter."""

    def changed(step: Step) -> Step:
        if isinstance(step, Guest) and step.access is access and step.address & 0xFFF == 8:
            address = step.address - 8 if other is Access.CASP else step.address
            return replace(step, access=other, address=address)
        return step

    return Case(case.vm, tuple(map(changed, case.steps)))


Way = tuple[tuple[int, int, int, int, bool, bool, tuple[int, ...]], ...]


def way(outcomes: Outcomes) -> Way:
    """What became of each KVM_RUN, without the width and the value of an MMIO."""
    return tuple(
        (
            *(run.ret, run.errno, run.exit_reason, run.access),
            *(run.moved, run.sigbus),
            tuple(step for step, _ in run.exceptions),
        )
        for run in outcomes.runs
    )


@by_layout
def test_a_layout_is_set_up_without_a_refusal(layout: Layout) -> None:
    letters = alphabet(layout)
    assert MODEL.run(Case(letters.vm, letters.setup), KERNELS["clean"]).refusals == ()


@by_layout
def test_letters_are_told_apart_and_runs_come_last(layout: Layout) -> None:
    letters = alphabet(layout).letters
    assert len(set(letters)) == len(layout.letters)
    observes = [footprint(step).observes for step in letters]
    assert observes == sorted(observes)


@by_layout
def test_slot_n_shows_object_n_which_footprints_take_for_granted(layout: Layout) -> None:
    for step in (*alphabet(layout).setup, *alphabet(layout).letters):
        if isinstance(step, SetMemslot) and step.size:
            assert {ref.index for ref in (step.mem, step.gmem) if ref} == {step.slot}


@by_layout
def test_an_object_is_one_of_the_two_kinds(layout: Layout) -> None:
    setup = alphabet(layout).setup
    gmems = {step.index for step in setup if isinstance(step, CreateGmem)}
    assert gmems.isdisjoint(step.index for step in setup if isinstance(step, CreateMem))


@by_layout
def test_no_address_moves_with_a_slot_which_footprints_take_for_granted(layout: Layout) -> None:
    for step in (*alphabet(layout).setup, *alphabet(layout).letters):
        if isinstance(step, Guest | L1Map):
            assert step.slot is None
