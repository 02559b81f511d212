"""Walks that set an access flag, on a QEMU whose CPU does; and what of them is not played."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from emu import casefile, text
from emu.access import Access
from emu.expectation import expected_lines
from emu.kernels import KERNELS
from emu.live import box
from emu.live.machine import LiveMachine
from emu.live.needs import Needs
from emu.live.unsupported import Host, Unsupported, objection
from emu.model import Model
from emu.outcome import DirtyLog, Outcomes
from tests.live_boxes import cached_image, executor

CORPUS: Final = Path(__file__).parent.parent / "corpus" / "selftest" / "page_fault_test"
FILES: Final = sorted(CORPUS.glob("*/*-af.case"))
HOST: Final = Host("7.3.4", 0x1000, kvm=True, ipa_bits=48, zva=64, nested=True)
LOGGED: Final = (
    "create mem0 size=0x1000 anon; memslot 0 gpa=0x40000000 size=0x1000 mem0+0x0 flags=log-dirty;"
    " guest write64 slot0+0x0; run; dirty-log slot0;"
)

REFUSED: Final = [
    ("guest walk 0x50000010; guest walk-af 0x40000010; run", "another walk might find"),
    ("guest walk-af 0x40000010; guest at-walk 0x50001010; run", "another walk might find"),
    ("vm nested; guest walk-af 0x40000010; run", "L1's CPU"),
    (
        (
            "create mem0 size=0x1000 anon; userfault mem0+0x0 size=0x1000 write-protect;"
            " guest walk-af 0x40000010; run"
        ),
        "unseen",
    ),
]


@pytest.mark.parametrize(("case", "reason"), REFUSED)
def test_a_descriptor_that_could_show_is_refused(case: str, reason: str) -> None:
    loaded = text.load(case.replace("; ", "\n") + "\n")
    found = objection(loaded, HOST)
    assert found is not None
    assert reason in found.reason


@pytest.fixture(scope="module")
def machine() -> Iterator[LiveMachine]:
    with box.start(cached_image(nested=True).newer(), executor(), Needs()) as started:
        yield LiveMachine(started)


@pytest.mark.live
def test_the_selftests_walks_do_on_a_kernel_what_they_do_on_the_model(machine: LiveMachine) -> None:
    assert len(FILES) > 100
    for path in FILES:
        case = casefile.load(path.read_text(), path.name).case
        told, model = machine.run(case), Model().run(case, KERNELS["v7.3"])
        assert isinstance(told, Outcomes), f"{path}: {told}"
        assert expected_lines(told, {}) == expected_lines(model, {}), path


@pytest.mark.live
def test_the_update_of_an_access_flag_is_a_write(machine: LiveMachine) -> None:
    content = f"{LOGGED} guest walk-af slot0+0x8; run; dirty-log slot0;"
    for access, pages in (("walk-af", (0,)), ("walk", ())):
        case = text.load(content.replace("walk-af", access).replace(";", "\n"))
        told = machine.run(case)
        assert isinstance(told, Outcomes), str(told)
        assert told.logs == (DirtyLog(4, (0,)), DirtyLog(7, pages))


@pytest.mark.live
def test_a_walk_that_finds_no_descriptor_is_not_played_as_one_that_does(
    machine: LiveMachine,
) -> None:
    content = f"{LOGGED} guest write64 slot0+0x8; guest walk-af slot0+0x8; run"
    told = machine.run(text.load(content.replace(";", "\n") + "\n"))
    assert isinstance(told, Unsupported)
    assert "its descriptor cannot be" in told.reason


@pytest.mark.live
def test_a_cpu_that_is_known_not_to_set_them_is_not_asked() -> None:
    with box.start(cached_image(), executor(), Needs()) as started:
        older = not started.saved.image.qemu(nested=False).nests
        assert (Access.WALK_AF in LiveMachine(started).host.inert) == older
