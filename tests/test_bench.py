"""The bench measures what it says it measures."""

import pytest

from emu.cpu import Cpu, Exit
from emu.kernels import KERNELS
from emu.model import Model
from triage.speed import CASE, RUNS, entries, layers


def test_the_bare_emulator_makes_the_same_guest_entries_as_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, exits = Model(), list[Exit]()
    enter = Cpu.enter

    def watched(cpu: Cpu) -> Exit:
        exits.append(enter(cpu))
        return exits[-1]

    monkeypatch.setattr(Cpu, "enter", watched)
    outcomes = model.run(CASE, KERNELS["v7.3"])
    modelled = exits.copy()
    exits.clear()
    assert entries(model.cpu) == modelled
    assert len(outcomes.runs) == RUNS


def test_the_emulator_alone_costs_less_than_what_is_built_on_it() -> None:
    # The two upper layers are too close for a machine that is busy with other things.
    alone, modelled, whole = (layer.us_per_case for layer in layers(rounds=5, cases=100))
    assert 0 < alone < min(modelled, whole)
