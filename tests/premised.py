"""What a case has done to the VM and the host, for the tests of the expectation."""

from typing import Final

from emu import text
from fuzz.expectation.premises import Premises

GMEM: Final = """\
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
"""
ANON: Final = """\
create mem0 size=0x2000 anon
memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0
"""


def premised(content: str, refused: int | None = None) -> Premises:
    """After all steps of the text, of which that one was refused."""
    case = text.load(content)
    made = Premises(case.vm)
    for index, step in enumerate(case.steps):
        made.apply(step, refused=index == refused)
    return made
