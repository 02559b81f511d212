"""What may be true of the VM where steps wait for their points."""

from typing import Final

import pytest

from emu import text
from emu.injection import At
from emu.steps import Run
from fuzz.expectation.possible import Possible
from tests.premised import ANON

LIMIT: Final = "at map\nmemory-limit on\n"
NO_LIMIT: Final = "at map\nmemory-limit off\n"
DELETED: Final = "at map\nmemslot 0 delete\n"

ROWS: Final = [
    #  the case, the step that was refused; how many VMs are possible, and whether it is settled
    (ANON, None, 1, True),
    (LIMIT, None, 1, True),
    (LIMIT + "run\n", None, 2, True),
    # Two steps come in either order, one of them or none.
    (LIMIT + NO_LIMIT + "run\n", None, 5, True),
    # Each KVM_RUN may be the one in which it takes place, and it is given up after the eighth.
    (LIMIT + "run\n" * 7, None, 8, True),
    (LIMIT + "run\n" * 8, None, 9, False),
    (LIMIT + "run\n" * 8 + "memory-limit off\n", None, 9, False),
    (LIMIT * 4 + "run\n", None, 17, False),
    # A slot that is changed is away for a moment, if it is there.
    (ANON + DELETED, None, 2, True),
    (ANON + DELETED + "run\n", None, 3, True),
    (DELETED + "run\n", None, 2, True),
    # A refused step that may have been done in part, in one of the VMs or in all.
    (ANON + "munmap mem0+0x0 size=0x1000\n", 2, 1, False),
    (ANON + "at map\nmunmap mem0+0x0 size=0x1000\n", 3, 1, True),
    (ANON + "at map\nmunmap mem0+0x0 size=0x1000\nrun\n", 3, 2, False),
    ("at map\n" + ANON + "run\nmunmap mem0+0x0 size=0x1000\n", 4, 2, False),
]


@pytest.mark.parametrize(("content", "refused", "worlds", "settled"), ROWS)
def test_what_may_be_true_where_steps_wait(
    content: str, refused: int | None, worlds: int, settled: bool
) -> None:
    case = text.load(content)
    possible, waits = Possible(case.vm), False
    for index, step in enumerate(case.steps):
        if isinstance(step, Run):
            possible.pass_points()
        elif not isinstance(step, At):
            happen = possible.defer if waits else possible.apply
            happen(step, refused=index == refused)
        waits = isinstance(step, At)
    assert len(possible.premises) == worlds
    assert possible.unsettled is not settled


def test_nothing_settles_what_is_not_settled() -> None:
    possible = Possible(text.load("").vm)
    possible.unsettled = True
    possible.pass_points()
    possible.apply(text.load("memory-limit on\n").steps[0], refused=False)
    assert possible.unsettled
