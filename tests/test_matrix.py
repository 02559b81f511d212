import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from emu.case import Case
from emu.casefile import load
from emu.kernels import KERNELS
from emu.model import Model
from fuzz.oracle.contract import Reading
from tests.command import Gff
from triage.ending import Status
from triage.matrix import Matrix, matrix
from triage.matrix_page import page
from triage.matrix_text import markdown

NATURAL = """\
create gmem0 size=0x1000 flags=mmap
memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd
memory-limit on
guest read64 slot0+0x0
run
"""
INJECTED = """\
create gmem0 size=0x1000 flags=mmap
memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd
fail kvm_gmem_get_pfn EIO
guest read64 slot0+0x0
run
"""
LONGER = NATURAL.replace("run\n", "run\nrun\n")


def made(*texts: str, kernels: tuple[str, ...] = ("v7.3", "clean")) -> Matrix:
    cases: list[tuple[str, Case]] = [
        (f"dir/{number}.case", load(text, "case").case) for number, text in enumerate(texts)
    ]
    model = Model()
    return matrix(cases, kernels, lambda case, name: model.run(case, KERNELS[name]), Reading.STRICT)


def test_a_cell_counts_its_cases_and_names_the_smallest() -> None:
    broken, kept = made(LONGER, NATURAL).rows
    cell = broken.cell("C2")
    assert cell is not None
    assert (cell.cases, cell.natural, cell.witness) == (2, True, "dir/1.case")
    assert cell.sites == ("gmem_abort",)
    assert kept.cells == ()


def test_a_natural_witness_stands_before_a_shorter_injected_one() -> None:
    cell = made(INJECTED, LONGER).rows[0].cell("C2")
    assert cell is not None
    assert (cell.natural, cell.witness) == (True, "dir/1.case")
    alone = made(INJECTED).rows[0].cell("C2")
    assert alone is not None
    assert not alone.natural


def test_the_reading_decides_which_clauses_there_are() -> None:
    assert "C7" not in made(NATURAL).clauses
    assert "C2" in made(NATURAL).clauses


def test_coverage_tells_what_was_asked_where_and_under_which_errno() -> None:
    coverage = made(NATURAL, INJECTED, kernels=("v7.3",)).coverage
    asked = {(each.clause, each.site, each.errno, each.backing) for each in coverage.tested}
    assert ("C2", "gmem_abort", "ENOMEM", "guest_memfd") in asked
    assert ("C2", "gmem_abort", "EIO", "guest_memfd") in asked
    assert "C13" in coverage.unasked


def test_a_gap_is_a_site_and_an_errno_that_were_met_apart() -> None:
    hole = "guest read-pair 0x9000000\nrun\n"
    coverage = made(NATURAL, hole, kernels=("v7.3", "bad-address-left")).coverage
    tested = {(each.clause, each.site, each.errno) for each in coverage.tested}
    for gap in coverage.gaps:
        assert (gap.clause, gap.site, gap.errno) not in tested
        assert any(gap.clause == clause and gap.site == site for clause, site, _ in tested)
        assert any(gap.clause == clause and gap.errno == errno for clause, _, errno in tested)


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.outside += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_page_needs_nothing_else_and_takes_names_for_text() -> None:
    name = "<script>alert(1)</script>.case"
    model = Model()
    cases = [(name, load(NATURAL, "case").case)]
    found = matrix(cases, ("v7.3",), lambda case, k: model.run(case, KERNELS[k]), Reading.STRICT)
    reader = Page()
    reader.feed(page(found))
    assert reader.outside == []
    assert "script" not in reader.tags
    assert "link" not in reader.tags


def test_markdown_has_a_row_for_each_kernel() -> None:
    text = markdown(made(NATURAL))
    rows = re.findall(r"^\| (\S+) \|( [xi.] \|)+$", text, re.MULTILINE)
    assert [row[0] for row in rows] == ["v7.3", "clean"]


def test_the_command_shows_writes_and_prints(call: Gff, tmp_path: Path) -> None:
    (tmp_path / "leak.case").write_text(NATURAL)
    ended = call("matrix", "leak.case", "-k", "v7.3", "-k", "clean", "--html", "matrix.html")
    assert ended.status is Status.CLEAN
    assert "leak.case" in ended.out
    assert "v7.3" in (tmp_path / "matrix.html").read_text()
    found = json.loads(call("matrix", "leak.case", "-k", "v7.3", "--json").out)
    assert found["rows"][0]["cells"][0]["clause"] == "C2"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nowhere.case",), "nowhere.case"),
        (("leak.case", "--html", "no/where.html"), "no/where.html"),
        (("leak.case", "--reading", "lax"), "unknown reading 'lax'"),
        (("leak.case", "-k", "v0.1"), "unknown kernel 'v0.1'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(
    call: Gff, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "leak.case").write_text(NATURAL)
    ended = call("matrix", *arguments)
    assert ended.status is Status.USAGE
    assert reason in ended.err
    assert ended.err.count("\n") == 1
