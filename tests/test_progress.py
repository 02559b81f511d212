"""The line that says how far a command is, on a terminal and elsewhere."""

import io
import sys

import pytest

from tests.command import finding
from triage.progress import Announcer, ProgressLine


class Terminal(io.StringIO):
    """What a terminal is told."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch, name: str = "xterm") -> io.StringIO:
    """Standard error from now on; a fixture's would be replaced before the test."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", name)
    return made


def file(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    made = io.StringIO()
    monkeypatch.setattr(sys, "stderr", made)
    return made


def test_a_terminal_has_one_line_that_is_rewritten_and_gone_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = terminal(monkeypatch)
    with ProgressLine() as line:
        line.update("1 of 2")
        line.update("2 of 2")
    assert told.getvalue() == "\r\x1b[K1 of 2\r\x1b[K2 of 2\r\x1b[K"


def test_the_line_is_never_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    told = terminal(monkeypatch)
    ProgressLine().update("x" * 100)
    assert told.getvalue() == "\r\x1b[K" + "x" * 19


def test_what_a_terminal_would_act_upon_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    told = terminal(monkeypatch)
    ProgressLine().update("a\x1b[2Jb")
    assert told.getvalue() == "\r\x1b[Ka\\x1b[2Jb"


def test_elsewhere_a_line_is_added_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    told = file(monkeypatch)
    line = ProgressLine(0.0)
    line.update("one")
    line.update("two")
    line.clear()
    assert told.getvalue() == "one\ntwo\n"


def test_elsewhere_no_line_comes_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    told = file(monkeypatch)
    for line in (ProgressLine(), ProgressLine(None)):
        line.update("too early")
        line.clear()
    assert told.getvalue() == ""


def test_a_terminal_that_cannot_rewrite_has_lines_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = terminal(monkeypatch, "dumb")
    ProgressLine(0.0).update("one")
    assert told.getvalue() == "one\n"


def test_a_finding_is_announced_once() -> None:
    out = io.StringIO()
    old, new = (finding(f"C{n}-gmem_abort-natural", "v7.3", 1.0) for n in (1, 2))
    announcer = Announcer(out, {old.name})
    for _ in range(2):
        announcer.say([old, new], ProgressLine())
    assert out.getvalue() == f"   1.0 s  C2-gmem_abort-natural on v7.3: {new.outcome}\n"
