"""What the judge's book-keeping makes of steps and refusals: whether a page can be had."""

from typing import Final

import pytest

from emu import text
from emu.access import Access
from fuzz.oracle.reach import Target
from fuzz.oracle.scene import Scene

GPA: Final = 0x4000_0000
GMEM: Final = """\
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
"""
OTHER: Final = "create gmem1 size=0x2000 flags=mmap,init-shared\n"
POISONED: Final = GMEM + "poison gmem0+0x8\n"
ANON: Final = """\
create mem0 size=0x2000 anon
memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0
"""

ROWS: Final = [
    #  the case, the step that was refused, the page; whether a write can have it, or surely not
    (GMEM, None, GPA, True, False),
    (ANON, None, GPA, True, False),
    (ANON + "memslot 0 delete\n", None, GPA, False, False),
    (ANON.replace("mem0+0x0\n", "mem0+0x0 flags=readonly\n"), None, GPA, False, False),
    # A refused step did nothing.
    (GMEM + "release gmem0\n", 2, GPA, True, False),
    (GMEM + "release gmem0\n", None, GPA, False, True),
    (POISONED + "punch gmem0+0x0 size=0x1000\n", 3, GPA, False, True),
    (GMEM, 0, GPA, False, False),
    # A poisoning that was refused may have been done.
    (POISONED, None, GPA, False, True),
    (POISONED, 2, GPA, False, False),
    # A hole has its own pages of its own file.
    (POISONED, None, GPA + 0x1000, True, False),
    (POISONED + "punch gmem0+0x0 size=0x1000\n", None, GPA, True, False),
    (GMEM + "poison gmem0+0x1000\npunch gmem0+0x1000 size=0x1000\n", None, GPA + 0x1000, True,
     False),
    (GMEM + "poison gmem0+0x1000\npunch gmem0+0x0 size=0x1000\n", None, GPA + 0x1000, False, True),
    (POISONED + OTHER + "punch gmem1+0x0 size=0x1000\n", None, GPA, False, True),
    # A file that is not there is none of those that are.
    (GMEM.replace("gmem0+0x0", "gmem2+0x0") + OTHER, None, GPA, False, False),
    (OTHER + GMEM.replace("gmem0+0x0", "gmem2+0x0"), None, GPA, False, False),
    (OTHER + OTHER.replace("gmem1", "gmem3") + GMEM.replace("gmem0+0x0", "gmem2+0x0"), None, GPA,
     False, False),
    # It is the flag that makes a slot one of guest_memfd.
    (GMEM.replace("gmem0+0x0 flags=guest-memfd", "gmem0+0x0"), None, GPA, False, False),
    (GMEM.replace("gmem0+0x0 flags", "flags"), None, GPA, False, False),
]  # fmt: skip


def scene_of(content: str, refused: int | None) -> Scene:
    case = text.load(content)
    scene = Scene(case.vm.page_size)
    for index, step in enumerate(case.steps):
        scene.apply(index, step, refused=index == refused)
    return scene


@pytest.mark.parametrize(("content", "refused", "page", "had", "fails"), ROWS)
def test_what_the_steps_and_refusals_say_of_a_page(
    content: str, refused: int | None, page: int, had: bool, fails: bool
) -> None:
    scene = scene_of(content, refused)
    assert scene.can_be_had_at(page, write=True) is had
    assert scene.gmem_fails_at(page) is fails


L2: Final = [
    #  the case, the step that was refused, whether it can be told where L2's access leads
    ("l1-map 0x5000 0x40000000 flags=read\nl2 read64 0x5000\n", None, True),
    ("l1-map 0x5000 0x40000000 flags=read\nl2 read64 0x5000\n", 0, False),
    ("l1-map 0x5000 0x40000000 flags=read\nl1-table 1 0x0\nl1-vtcr legal\nl2 read64 0x5000\n",
     None, False),
    ("l1-map 0x5000 0x40000000 flags=read\nl1-vtcr illegal\nl1-vtcr legal\nl2 read64 0x5000\n",
     None, False),
]  # fmt: skip


@pytest.mark.parametrize(("content", "refused", "known"), L2)
def test_where_an_access_of_l2_leads(content: str, refused: int | None, known: bool) -> None:
    scene = scene_of(f"vm nested\n{content}", refused)
    target = scene.target(content.count("\n") - 1)
    assert target is not None
    assert target.known is known


L2_PAGE: Final = 0x3000_0000
NAMED: Final = [
    #  L2's address, what it reaches, and the pages that name the access
    (L2_PAGE + 0xFF8, GPA + 0xFF8, {GPA, L2_PAGE}),
    (L2_PAGE + 0xFF9, GPA + 0xFF9, {GPA, GPA + 0x1000, L2_PAGE, L2_PAGE + 0x1000}),
    (L2_PAGE + 0xFFF, GPA + 0xFFF, {GPA, GPA + 0x1000, L2_PAGE, L2_PAGE + 0x1000}),
    (None, GPA + 0xFFF, {GPA, GPA + 0x1000}),
]


@pytest.mark.parametrize(("ipa", "first", "pages"), NAMED)
def test_an_access_is_named_by_its_pages_and_by_those_of_l2s_own_address(
    ipa: int | None, first: int, pages: set[int]
) -> None:
    target = Target(Access.READ64, first, first + 7, 0x1000, is_l2=ipa is not None, ipa=ipa)
    near = {
        0,
        *(base + offset for base in (GPA, L2_PAGE) for offset in range(-0x3000, 0x4000, 0x1000)),
    }
    assert {page for page in near if target.is_named_by(page)} == pages
