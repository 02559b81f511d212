"""What of the contract a campaign puts to the test: noted of a sample, and added up."""

from pathlib import Path
from typing import Final

import msgspec
import pytest

from emu import text, wire
from emu.kernels import KERNELS
from fuzz.guidance.coverage import Arms
from fuzz.guidance.feedback import Feedback
from fuzz.oracle.asked import Asked
from fuzz.oracle.contract import CLAUSES, Reading
from fuzz.oracle.contract_coverage import Combination
from fuzz.search.target import Target
from tests.command import LEAK, campaign

ONE: Final = Combination("C2", "gmem_abort", "ENOMEM", "guest_memfd", 3, "a.case")


def noted(root: Path, feedback: Feedback) -> list[tuple[str, str, str, str, int]]:
    """What a search that runs the leak once notes on two kernels."""
    kernels = {name: KERNELS[name] for name in ("v7.3", "clean")}
    target = Target(campaign(root), kernels, Reading.STRICT, feedback, lambda: 0.0)
    target.run(wire.encode(text.load(LEAK)))
    tested = target.asked.coverage().tested
    return [(each.clause, each.site, each.errno, each.backing, each.runs) for each in tested]


def test_a_sampled_case_counts_on_every_kernel_and_leaves_no_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled, other = Feedback(Arms()), Feedback(Arms())
    monkeypatch.setattr("fuzz.search.target.NOTE_EVERY", 1)
    found = noted(tmp_path / "sampled", sampled)
    assert ("C2", "gmem_abort", "ENOMEM", "guest_memfd", 1) in found
    assert all(runs <= 2 for *_, runs in found)
    monkeypatch.setattr("fuzz.search.target.NOTE_EVERY", 1000)
    assert noted(tmp_path / "other", other) == []
    assert sampled.outcomes == other.outcomes


def test_what_several_have_gathered_adds_up_and_the_first_witness_stays() -> None:
    asked = Asked()
    asked.add([ONE])
    asked.add([msgspec.structs.replace(ONE, runs=4, witness="b.case")])
    assert asked.coverage().tested == (msgspec.structs.replace(ONE, runs=7),)
    assert set(asked.coverage().unasked) == {clause.id for clause in CLAUSES} - {"C2"}


def test_a_clause_that_is_gone_is_left_out() -> None:
    asked = Asked()
    asked.add([Combination("C99", "gmem_abort", "ENOMEM", "guest_memfd", 1, "")])
    assert asked.coverage().tested == ()


def test_pairs_of_site_and_errno_that_never_met_are_gaps() -> None:
    asked = Asked()
    asked.add([ONE, Combination("C2", "user_mem_abort", "EFAULT", "memory", 1, "")])
    gaps = {(gap.clause, gap.site, gap.errno) for gap in asked.coverage().gaps}
    assert gaps == {("C2", "gmem_abort", "EFAULT"), ("C2", "user_mem_abort", "ENOMEM")}
