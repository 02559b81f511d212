"""The executor's workers killed inside their boxes while cases are played: only theirs have no
outcome, and nothing of them is left.
"""

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import pytest

from emu import text
from emu.case import Case
from emu.live import build
from emu.live.fleet import LIMIT, Fleet, Lost
from emu.live.needs import Needs
from emu.live.pool import Pool
from emu.outcome import Outcomes
from tests.live_boxes import cached_image, executor

pytestmark = pytest.mark.live

KILLER: Final = Path(__file__).with_name("live_killer.c")
CASES: Final = 300
MEM: Final = "create mem0 size=0x2000 anon; memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0"
GMEM: Final = (
    "create gmem0 size=0x4000 flags=mmap;"
    " memslot 0 gpa=0x40000000 size=0x4000 gmem0+0x0 flags=guest-memfd"
)
KINDS: Final = (
    f"{GMEM}; release gmem0; guest read64 slot0+0x0; run",
    # With a process of another mm, a thread for userfaultfd, a cgroup, and more than one vCPU.
    "guest read64 0x50000000; run; run other-mm; run",
    f"{MEM}; userfault mem0+0x0 size=0x2000 missing; guest write64 slot0+0x0; run",
    f"{GMEM}; memory-limit on; guest read64 slot0+0x0; run; memory-limit off; run",
    f"{MEM}; guest read64 slot0+0x0; vcpu 1; guest write64 slot0+0x1000; run; vcpu 0; run",
)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    executor()
    folder = tmp_path_factory.mktemp("killer")
    program = build.executor(folder, {KILLER.name: KILLER.read_text()})
    with Pool(cached_image(), program, Needs(), boxes=2, limit=LIMIT) as pool:
        yield Fleet(pool)


def cases() -> list[Case]:
    return [text.load(each.replace("; ", "\n") + "\n") for each in islice(cycle(KINDS), CASES)]


def test_a_killed_worker_takes_only_its_own_case_with_it(fleet: Fleet) -> None:
    played = sorted(fleet.play(cases()), key=lambda each: each.number)
    assert [each.number for each in played] == list(range(CASES))
    killed = [each.result for each in played if isinstance(each.result, Lost)]
    assert CASES / 20 < len(killed) < CASES / 2
    assert all("the worker was ended by signal 9" in each.reason for each in killed)
    for kind in range(len(KINDS)):
        told = [each.result for each in played[kind :: len(KINDS)]]
        assert len({str(each) for each in told if isinstance(each, Outcomes)}) == 1
    assert not any(each.complaints for each in played)
    assert fleet.restarts == 0
