"""What steps and refusals make of a page, of doorbells, and of what is settled."""

from typing import Final

import pytest

from fuzz.expectation.premises import Page
from tests.premised import ANON, GMEM, premised

GPA: Final = 0x4000_0000
POISONED: Final = GMEM + "poison gmem0+0x8\n"

BOTH: Final = """\
create mem0 size=0x1000 anon
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x1000 mem0+0x0 gmem0+0x1000 flags=guest-memfd
poison gmem0+0x1000
"""

PAGES: Final = [
    #  the case, the step that was refused, the page; what stands in the way of a write
    (POISONED, None, GPA, Page.POISONED),
    # A refused step did nothing.
    (POISONED + "punch gmem0+0x0 size=0x1000\n", 3, GPA, Page.POISONED),
    (GMEM + "release gmem0\n", 2, GPA, Page.FINE),
    (GMEM.replace("gmem0+0x0 ", ""), None, GPA, Page.DENIED),
    # The faults of a protected VM are served by the VMM's own memory.
    (BOTH, None, GPA, Page.POISONED),
    ("vm protected\n" + BOTH, None, GPA, Page.FINE),
]


@pytest.mark.parametrize(("content", "refused", "gpa", "expected"), PAGES)
def test_what_stands_in_the_way_of_a_write(
    content: str, refused: int | None, gpa: int, expected: Page | None
) -> None:
    premises = premised(content, refused)
    region = premises.region(gpa)
    assert region is not None
    assert premises.page(region, gpa, write=True) is expected


UNSETTLED: Final = [
    #  the case, the step that was refused; whether nothing can be expected any more
    (ANON + "munmap mem0+0x0 size=0x1000\n", None, False),
    # A refused step that may have been done in part.
    (ANON + "munmap mem0+0x0 size=0x1000\n", 2, True),
    (ANON + "munmap mem0+0x0 size=0x1000\nmunmap mem0+0x0 size=0x1000\n", 2, True),
    (POISONED, 2, True),
    (POISONED + "poison gmem0+0x8\n", 2, True),
    # What is not there cannot be touched.
    ("munmap mem0+0x0 size=0x1000\n", 0, False),
    ("poison gmem0+0x0\n", 0, False),
]


@pytest.mark.parametrize(("content", "refused", "unsettled"), UNSETTLED)
def test_what_cannot_be_settled(content: str, refused: int | None, unsettled: bool) -> None:
    assert premised(content, refused).unsettled is unsettled


def test_a_refused_doorbell_is_none() -> None:
    bell = "ioeventfd gpa=0x9000000 size=4\n"
    assert premised(bell).doorbells
    assert not premised(bell, refused=0).doorbells
