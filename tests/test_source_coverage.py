"""Which lines of a kernel cases reach: what a box tells, the sum, and how it is shown."""

import struct
from pathlib import Path

import msgspec
import pytest

from emu.live import cache
from emu.live.fleet import Lost as NoOutcome
from emu.live.images import RECORD, Record
from emu.live.protocol import Kind, ProtocolError, Why
from emu.live.source_lines import Function, Place
from emu.live.tracing import Reached, traced
from emu.live.unsupported import Unsupported
from tests.command import Gff
from triage.conform_report import Count, Lost
from triage.screen import show
from triage.source_coverage import Said, SourceCoverage, Sum
from triage.source_coverage_text import markdown, screen, spans

REFUSED = struct.pack("<III", 2, 0, 22)  # a part of outcomes, as report.c puts it
FUNCTIONS = (
    Function("arch/arm64/kvm/mmu.c", "gmem_abort", (Place(8, 10), Place(16, 10), Place(24, 12))),
    Function("arch/arm64/kvm/mmu.c", "user_mem_abort", (Place(32, 20), Place(40, 21))),
    Function("virt/kvm/guest_memfd.c", "kvm_gmem_release", (Place(48, 5),)),
)


def told(*words: int) -> bytes:
    return REFUSED + struct.pack(f"<{len(words)}I", *words)


# What a box tells


def test_the_places_are_behind_the_outcomes_and_then_their_count() -> None:
    assert traced(Kind.REACHED, told(8, 24, 2)) == Reached(frozenset({8, 24}), cut=False)
    assert traced(Kind.REACHED, told(8, 1 << 31 | 1)) == Reached(frozenset({8}), cut=True)
    assert traced(Kind.REACHED, told(0)) == Reached(frozenset(), cut=False)


@pytest.mark.parametrize("body", [b"", b"\0\0\0", told(9), told(8, 24, 1), told(8, 1 << 31)])
def test_a_count_that_does_not_fit_is_an_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        traced(Kind.REACHED, body)


def test_a_case_that_was_not_played_or_given_up_reached_nothing() -> None:
    refused = traced(Kind.UNSUPPORTED, struct.pack("<III", Why.HOST_KCOV, 1, 2))
    assert refused == Unsupported("the host's kernel does not tell what is reached, errno 2", 1)
    assert traced(Kind.FAILED, b"\0\0\0\0no") == NoOutcome("step 1: no")


def test_an_executor_that_does_not_tell_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="does not tell"):
        traced(Kind.OUTCOMES, REFUSED)


# The sum


def summed(*pcs: int) -> Sum:
    made = Sum(FUNCTIONS)
    made.add(Reached(frozenset(pcs), cut=False))
    return made


def test_a_line_is_reached_where_any_of_its_places_is() -> None:
    mmu, gmem = summed(16).files()
    assert (mmu.lines, mmu.reached, mmu.untouched) == (4, 1, ("user_mem_abort",))
    (function,) = mmu.functions
    assert (function.name, function.unreached) == ("gmem_abort", (12,))
    assert (gmem.functions, gmem.untouched) == ((), ("kvm_gmem_release",))


def test_what_is_not_kvms_does_not_count_and_nothing_counts_twice() -> None:
    made = summed(8, 99)
    assert made.places == (1, 6)
    assert made.add(Reached(frozenset({8, 24, 99}), cut=False)) == 1


# How it is shown


def found(*pcs: int) -> SourceCoverage:
    return SourceCoverage(
        image="gff-v7.3-kcov",
        linux="7.3.4",
        seconds=1.5,
        cases=4,
        played=2,
        files=summed(*pcs).files(),
        cut=("long.case",),
        lost=(Lost("a.case", "the machine ended"),),
        complaints=(Said("b.case", "WARN: \x1b[2J"),),
        unsupported=(Count("no KVM", 1),),
    )


@pytest.mark.parametrize(
    ("lines", "shown"), [((), ""), ((3,), "3"), ((3, 4, 5, 7, 9, 10), "3-5, 7, 9-10")]
)
def test_neighbouring_lines_are_joined(lines: tuple[int, ...], shown: str) -> None:
    assert spans(lines) == shown


def test_the_screen_names_the_lines_that_no_case_reaches(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(screen(found(8, 32)))
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["gmem_abort", "1", "2", "50", "12"] in rows
    assert ["arch/arm64/kvm/mmu.c", "2", "4", "50", "2", "0"] in rows
    assert ["virt/kvm/guest_memfd.c", "0", "1", "0", "0", "1"] in rows
    assert "1 case unsupported: no KVM" in out
    assert "long.case: reached more than could be told" in out
    assert "a.case: no outcome: the machine ended" in out
    assert "b.case: console: WARN: \\x1b[2J" in out
    assert " ".join(out.split()).endswith(
        "2 of 5 lines reached, 2 of 4 cases played on gff-v7.3-kcov, Linux 7.3.4, in 1.5 s"
    )


def test_the_page_of_markdown_names_the_functions_that_no_case_calls() -> None:
    page = markdown(found(8, 24))
    assert "| `arch/arm64/kvm/mmu.c` | 2 | 4 | 50 |" in page
    assert "| `gmem_abort` | 2 | 2 | 100 |  |" in page
    assert "Never called: `kvm_gmem_release`." in page


def test_whatever_has_to_be_looked_into_is_not_clean() -> None:
    assert not found().clean


def test_an_image_that_cannot_tell_is_missing_something(
    call: Gff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache.images() / "debian-9.8"
    folder.mkdir(parents=True)
    record = Record("debian-9.8", "9.8.7", "", "", "", "", pinned=False)
    (folder / RECORD).write_bytes(msgspec.json.encode(record))
    done = call("live", "coverage", "debian-9.8")
    assert (done.status, done.out) == (3, "")
    assert done.err == "gff: debian-9.8 does not tell what is reached: gff live build v7.3-kcov\n"
