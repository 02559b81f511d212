"""A campaign's report: whole, well formed, alone, and only text where the text is another's."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import msgspec

from fuzz.directory.finding import Confirmation, Finding, Size, Standing, State
from tests.campaigns import Past, lived
from tests.command import Gff, campaign, finding
from triage.overview import overview
from triage.report import report
from triage.report_page import page

LEAK: Final = "C2-gmem_abort-natural"
VOID: Final = {"meta", "br", "link", "img", "input", "hr"}
EVIL: Final = '<script>alert("1")</script> & "quotes"'


class Checked(HTMLParser):
    """A page whose tags must match; keeps its ids, its links, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.pieces: list[str] = []
        self._open: list[str] = []
        self.feed(content)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in ("href", "src", "xlink:href", "action"):
                self.links.append(value or "")
            elif name in ("aria-labelledby", "aria-describedby"):
                self.references += (value or "").split()
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.pieces.append(data)


def made(root: Path, past: Past, *findings: Finding) -> str:
    """The page of a campaign with that past."""
    lived(root, past, *findings)
    return page(report(overview(str(root))))


def leak() -> Finding:
    return finding(LEAK, "v7.3", 30.0)


def words(content: str) -> str:
    return " ".join(" ".join(Checked(content).pieces).split())


def test_the_page_is_well_formed_and_needs_nothing_else(tmp_path: Path) -> None:
    content = made(tmp_path / "some", Past(), leak())
    checked = Checked(content)
    assert len(set(checked.ids)) == len(checked.ids)
    assert {link.removeprefix("#") for link in checked.links} <= set(checked.ids)
    assert all(link.startswith("#") for link in checked.links)
    assert set(checked.references) <= set(checked.ids)
    assert "script" not in checked.tags
    assert not re.search(r"https?:|//|@import|url\(", content.replace("<!doctype", ""))


def test_the_page_tells_what_the_campaign_found(tmp_path: Path) -> None:
    told = Confirmation("debian-7.3", "7.3.4", 9, 10)
    observed = msgspec.structs.replace(
        finding("C4-gmem_abort-injected", "v7.2", 60.0),
        state=State.OBSERVED,
        confirmations=(told,),
    )
    text = words(made(tmp_path / "some", Past(restarts=2), leak(), observed))
    for each in [
        "Campaign on v7.3",
        "ended; strict reading",
        "time 1:00:00 all runs together",
        "7,200,000",
        "0 of 3,600 run again differed",
        "crashed cases; 2 restarts, 0 denied inputs, 0 questions",
        "C2-gmem_abort-natural on v7.3 natural claim (model)",
        "after an injected error observed",
        "9 of 10 times on debian-7.3, Linux 7.3.4",
        "MEMORY_FAULT was filled under ENOMEM",
        "KVM_RUN 1 ESR_EL2 0x93c08005: data abort, lower level; translation fault",
        "C2: MEMORY_FAULT was filled under ENOMEM",
        "memory-limit on guest read64 slot0+0x0 run",
        "findings/v7.3--C2-gmem_abort-natural.case --kernel v7.3",
        "Never put to the test: C3",
        "kernel C1 C2 C3 C4 ",
        "v7.3 . x - .",
        "v7.2 . . - i",
        "Cases a second, all workers together",
        "seed 1",
    ]:
        assert each in text, each


def test_what_several_kernels_share_is_told_once(tmp_path: Path) -> None:
    small = msgspec.structs.replace(
        finding(LEAK, "v7.2", 50.0, count=4), size=Size(3, 0, 0), state=State.OBSERVED
    )
    # A smaller one that shows it no more is not what is shown.
    gone = msgspec.structs.replace(
        finding(LEAK, "v7.1", 9.0), size=Size(1, 0, 0), standing=Standing.GONE
    )
    text = words(made(tmp_path / "some", Past(seconds=60.0), leak(), small, gone))
    for each in [
        "findings 3 3 natural",
        "The 3 findings have 1 signature;",
        "v7.2, v7.3, v7.1 ENOMEM MEMORY_FAULT natural observed 9.0 s 6",
        f"{LEAK} on v7.2 and 2 more natural observed",
        "On each of 3 kernels",
        "claim, gone 9.0 s 1 1",
        "findings/v7.2--C2-gmem_abort-natural.case --kernel v7.2",
    ]:
        assert each in text, each
    assert text.count("KVM_RUN 1 ESR_EL2") == 1


def test_every_plot_has_a_title_units_and_a_text_for_those_who_do_not_see_it(
    tmp_path: Path,
) -> None:
    content = made(tmp_path / "some", Past(), leak())
    plots = re.findall(r"<figure>.*?</figure>", content, re.DOTALL)
    assert len(plots) == 5
    for each in plots:
        assert re.search(r"<figcaption id=.*>\S.*</figcaption>", each)
        assert re.search(r"<desc id=.*>.* over time in min\..* at the end\.</desc>", each)
        assert "time in min" in each


def test_two_curves_differ_in_more_than_colour() -> None:
    style = (Path(__file__).parents[1] / "triage/templates/report.css").read_text()
    assert re.search(r"\.c2 \{[^}]*stroke-dasharray", style)


def test_text_of_a_campaign_is_never_markup(tmp_path: Path) -> None:
    evil = msgspec.structs.replace(leak(), outcome=EVIL, reason=EVIL, title=EVIL, smallest=EVIL)
    root = tmp_path / "<b>"
    lived(root, Past(seconds=10.0), evil)
    (root / "questions" / "<i>.case").write_text(EVIL)
    (root / "harness" / "x.txt").write_bytes(EVIL.encode() + b"\xff\x00")
    content = page(report(overview(str(root))))
    checked = Checked(content)
    assert {"script", "i"} & set(checked.tags) == set()
    assert "".join(checked.pieces).count(EVIL) == 6
    assert "<i>.case" in checked.pieces


def test_a_finding_of_another_version_is_shown_without_its_runs(tmp_path: Path) -> None:
    gone = finding("C99-gmem_abort-natural", "v99", 1.0)
    other = msgspec.structs.replace(leak(), smallest="no step that we know\n")
    text = words(made(tmp_path / "some", Past(seconds=10.0), gone, other))
    assert "C99-gmem_abort-natural on v99" in text
    assert "KVM_RUN 1 ESR_EL2" not in text


def test_a_campaign_that_is_empty_has_a_page(tmp_path: Path) -> None:
    campaign(tmp_path / "new")
    text = words(page(report(overview(str(tmp_path / "new")))))
    for each in ("no samples", "Findings None.", "Nothing is known of it", "Questions None."):
        assert each in text


def test_a_quiet_campaign_is_told_what_would_widen_it(tmp_path: Path) -> None:
    quiet = Past(last_new_s=600.0)
    assert "Nothing new for 50:00" in words(made(tmp_path / "some", quiet))
    assert "Nothing new" not in words(made(tmp_path / "other", Past()))


def test_the_report_is_beside_the_findings_or_where_it_is_wanted(call: Gff, tmp_path: Path) -> None:
    lived(tmp_path / "some", Past(seconds=10.0), leak())
    ended = call("report", "some")
    assert (ended.status, ended.out, ended.err) == (1, "some/report.html: 1 finding\n", "")
    assert call("report", "some", "--out", "page.html").status == 1
    assert Path("page.html").read_text().startswith("<!doctype html>")
    ended = call("report", "some", "--out", "absent/page.html")
    assert (ended.status, ended.err) == (2, "gff: absent/page.html: No such file or directory\n")
    before = sorted(tmp_path.iterdir())
    assert call("report", "some", "--out", "some").status == 2
    assert sorted(tmp_path.iterdir()) == before
    os.mkfifo("pipe")
    ended = call("report", "some", "--out", "pipe")
    assert (ended.status, ended.err) == (2, "gff: pipe: not a plain file\n")
    assert Path("pipe").is_fifo()


def test_a_directory_may_have_any_name(call: Gff, tmp_path: Path) -> None:
    name = "caf\udce9"  # one byte of Latin-1
    lived(tmp_path / name, Past(seconds=10.0))
    assert call("report", name).status == 0
    assert "caf\\udce9" in (tmp_path / name / "report.html").read_text()


def test_a_reading_that_is_not_known_is_one_line(call: Gff, tmp_path: Path) -> None:
    store = lived(tmp_path / "some", Past(seconds=10.0), leak())
    store.configure(msgspec.structs.replace(store.configuration(), reading="lenient"))
    ended = call("report", "some")
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)


def test_only_the_first_of_many_troubles_are_shown(tmp_path: Path) -> None:
    root = tmp_path / "some"
    lived(root, Past(seconds=10.0))
    for number in range(30):
        (root / "questions" / f"q{number:02}.case").write_text("x" * 5000)
    text = words(page(report(overview(str(root)))))
    assert "30 kept, the first 20 shown" in text
    assert "1,000 characters more" in text
    assert "q20.case" not in text
