"""KVM's selftest arm64/page_fault_test as a table: what 65 guests do, and what each must show.

Every guest has a page of data, in slot 0, and a page of stage-1 tables, in slot 1. It makes one
access, for which the CPU walks the tables first; with FEAT_HAFDBS (``AF``) the walk also sets the
access flag, which writes the table. What a row expects is the selftest's own word: the events that
its handlers counted, and the pages that its dirty logs had.
Left out: its guest modes, because stage 1 is the harness's here and always has 4 KiB pages.
Source: tools/testing/selftests/kvm/arm64/page_fault_test.c, as of Linux 7.3.4.
"""

from enum import Enum, unique
from typing import Final, NamedTuple

from emu.access import Access


@unique
class Hole(Enum):
    """Which of the two pages are not there when the guest comes."""

    NONE = "none"
    DATA = "data"
    BOTH = "data and tables"


@unique
class End(Enum):
    """How the guest's KVM_RUN ends."""

    DONE = "done"
    MMIO = "an MMIO write at the address, which the VMM completes"
    ENOSYS = "-1 with ENOSYS"


AF: Final = True
NO_AF: Final = False

# What the selftest's guest does to its data, by the selftest's name. What it writes it reads back.
# AT walks the tables, and no more.
ACCESSES: Final[dict[str, tuple[Access, ...]]] = {
    "read64": (Access.READ64,),
    "write64": (Access.WRITE64, Access.READ64),
    "cas": (Access.CAS, Access.READ64),
    "ld_preidx": (Access.READ_PRE_INDEX,),
    "st_preidx": (Access.WRITE_PRE_INDEX, Access.READ64),
    "dc_zva": (Access.DC_ZVA, Access.READ64),
    "exec": (Access.FETCH,),
    "at": (),
}


class Row(NamedTuple):
    """One guest. ``faults``: those that userfaultfd reports. ``dirty``: the data page is logged."""

    access: str
    af: bool
    faults: int = 0
    end: End = End.DONE
    dirty: bool = False


class Group(NamedTuple):
    """Guests whose memory is set up in one way. ``userfault``: both slots' memory is watched.

    Where the flags have log-dirty, the page of tables is logged if, and only if, the row has AF.
    """

    name: str
    rule: str
    hole: Hole
    userfault: bool
    flags: str
    rows: tuple[Row, ...]


MMIO: Final = End.MMIO
ENOSYS: Final = End.ENOSYS

GROUPS: Final = (
    Group(
        "access",
        "Memory that is there: nothing for the VMM to see.",
        Hole.NONE,
        userfault=False,
        flags="",
        rows=(
            Row("read64", AF),
            Row("ld_preidx", AF),
            Row("cas", AF),
            Row("write64", AF),
            Row("st_preidx", AF),
            Row("dc_zva", AF),
            Row("exec", AF),
        ),
    ),
    Group(
        "hole",
        "A hole in the data, which the host fills: nothing for the VMM to see.",
        Hole.DATA,
        userfault=False,
        flags="",
        rows=(
            Row("read64", NO_AF),
            Row("cas", NO_AF),
            Row("ld_preidx", NO_AF),
            Row("write64", NO_AF),
            Row("st_preidx", NO_AF),
            Row("at", NO_AF),
            Row("dc_zva", NO_AF),
        ),
    ),
    Group(
        "uffd",
        "Holes that userfaultfd watches: one fault for the tables, one for the data.",
        Hole.BOTH,
        userfault=True,
        flags="",
        rows=(
            Row("read64", AF, faults=2),
            Row("read64", NO_AF, faults=2),
            Row("cas", AF, faults=2),
            Row("at", NO_AF, faults=1),
            Row("ld_preidx", AF, faults=2),
            Row("write64", AF, faults=2),
            Row("dc_zva", AF, faults=2),
            Row("st_preidx", AF, faults=2),
            Row("exec", AF, faults=2),
        ),
    ),
    Group(
        "dirty-log",
        "Dirty logging: a write logs its page, and the update of an access flag logs the tables.",
        Hole.NONE,
        userfault=False,
        flags="log-dirty",
        rows=(
            Row("read64", AF),
            Row("read64", NO_AF),
            Row("ld_preidx", AF),
            Row("at", NO_AF),
            Row("exec", AF),
            Row("write64", AF, dirty=True),
            Row("cas", AF, dirty=True),
            Row("dc_zva", AF, dirty=True),
            Row("st_preidx", AF, dirty=True),
        ),
    ),
    Group(
        "uffd-dirty-log",
        "Both: what userfaultfd fills is not logged, what the guest writes is.",
        Hole.BOTH,
        userfault=True,
        flags="log-dirty",
        rows=(
            Row("read64", AF, faults=2),
            Row("read64", NO_AF, faults=2),
            Row("ld_preidx", AF, faults=2),
            Row("at", AF, faults=1),
            Row("exec", AF, faults=2),
            Row("write64", AF, faults=2, dirty=True),
            Row("cas", AF, faults=2, dirty=True),
            Row("dc_zva", AF, faults=2, dirty=True),
            Row("st_preidx", AF, faults=2, dirty=True),
        ),
    ),
    Group(
        "readonly",
        "Read-only slots: a write with a syndrome is MMIO.",
        Hole.NONE,
        userfault=False,
        flags="readonly",
        rows=(
            Row("read64", NO_AF),
            Row("ld_preidx", NO_AF),
            Row("at", NO_AF),
            Row("exec", NO_AF),
            Row("write64", NO_AF, end=MMIO),
        ),
    ),
    Group(
        "readonly-no-syndrome",
        "Read-only slots: a write without a syndrome fails the run.",
        Hole.NONE,
        userfault=False,
        flags="readonly",
        rows=(
            Row("dc_zva", NO_AF, end=ENOSYS),
            Row("cas", NO_AF, end=ENOSYS),
            Row("st_preidx", NO_AF, end=ENOSYS),
        ),
    ),
    Group(
        "readonly-dirty-log",
        "Read-only slots with dirty logging: the same, and nothing is ever logged.",
        Hole.NONE,
        userfault=False,
        flags="log-dirty,readonly",
        rows=(
            Row("read64", NO_AF),
            Row("ld_preidx", NO_AF),
            Row("at", NO_AF),
            Row("exec", NO_AF),
            Row("write64", NO_AF, end=MMIO),
        ),
    ),
    Group(
        "readonly-dirty-log-no-syndrome",
        "Read-only slots with dirty logging: a write without a syndrome fails the run.",
        Hole.NONE,
        userfault=False,
        flags="log-dirty,readonly",
        rows=(
            Row("dc_zva", NO_AF, end=ENOSYS),
            Row("cas", NO_AF, end=ENOSYS),
            Row("st_preidx", NO_AF, end=ENOSYS),
        ),
    ),
    Group(
        "readonly-uffd",
        "Read-only slots with holes that userfaultfd watches: a fault for each, and MMIO as ever.",
        Hole.BOTH,
        userfault=True,
        flags="readonly",
        rows=(
            Row("read64", NO_AF, faults=2),
            Row("ld_preidx", NO_AF, faults=2),
            Row("at", NO_AF, faults=1),
            Row("exec", NO_AF, faults=2),
            Row("write64", NO_AF, faults=2, end=MMIO),
        ),
    ),
    Group(
        "readonly-uffd-no-syndrome",
        "The same without a syndrome: only CAS reads first, and so reaches the hole in the data.",
        Hole.BOTH,
        userfault=True,
        flags="readonly",
        rows=(
            Row("cas", NO_AF, faults=2, end=ENOSYS),
            Row("dc_zva", NO_AF, faults=1, end=ENOSYS),
            Row("st_preidx", NO_AF, faults=1, end=ENOSYS),
        ),
    ),
)
