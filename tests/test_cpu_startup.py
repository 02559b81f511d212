"""An emulator that is not what this project knows is refused at once, and named."""

import pytest

from emu import layout, registers, selftest
from emu.access import ACCESS_FACTS, Access, AccessFacts, Direction
from emu.cpu import Cpu
from emu.engine import EmulatorError
from tests.cpus import empty_vm


@pytest.fixture
def cpu() -> Cpu:
    return empty_vm()


def test_the_selftest_names_an_access_whose_fault_is_not_as_expected(
    cpu: Cpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = AccessFacts(Direction.READ, 8, syndrome=True)
    monkeypatch.setitem(ACCESS_FACTS, Access.READ_PAIR, wrong)
    with pytest.raises(EmulatorError, match=r"^Unicorn: read-pair at 0x.*ESR 0x92000005"):
        selftest.check(cpu)


def test_the_selftest_names_an_access_that_does_not_fault(
    cpu: Cpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = AccessFacts(Direction.READ, 8, syndrome=True)
    monkeypatch.setitem(ACCESS_FACTS, Access.PREFETCH, wrong)
    with pytest.raises(EmulatorError, match=r"^Unicorn: prefetch at 0x.*: DONE"):
        selftest.check(cpu)


def test_an_emulator_with_another_syndrome_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layout, "_ABORTED_READ", 0x93C0_8006)
    with pytest.raises(EmulatorError, match="holds the syndrome in 0 places"):
        Cpu()


def test_an_emulator_whose_cpu_is_not_found_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registers, "_REACH", 4096)
    with pytest.raises(EmulatorError, match="has its registers in 0 places"):
        Cpu()


def test_a_machine_that_does_not_let_us_look_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registers, "_MEMORY", "/nonexistent")
    with pytest.raises(EmulatorError, match="cannot look for the emulated CPU's state: "):
        Cpu()
