"""``gff live conform`` as a command, with a modelled kernel in place of the real one."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

import msgspec
import pytest

from emu.case import Case
from emu.kernels import KERNELS
from emu.live.fleet import Played
from emu.live.unsupported import Host
from emu.model import Model
from tests.command import Gff
from triage.commands import conform as command
from triage.comparison import Comparison
from triage.conform_report import Conformed, Ended
from triage.corpus_files import case_files, corpus_dir

INTERRUPTED_AT = 20


class StandIn:
    """A fleet of Linux 7.3, which may be interrupted."""

    def __init__(self, kernel: str = "v7.3", *, interrupted: bool = False) -> None:
        self.host = Host("7.3.4", 0x1000, kvm=True, ipa_bits=48, zva=64)
        self.restarts = 0
        self._model = Model()
        self._kernel = KERNELS[kernel]
        self._interrupted = interrupted

    def play(self, cases: Iterable[Case]) -> Iterator[Played]:
        for number, case in enumerate(cases):
            if self._interrupted and number == INTERRUPTED_AT:
                os.kill(os.getpid(), signal.SIGINT)
            yield Played(number, case, self._model.run(case, self._kernel))

    def one(self, case: Case) -> Played:
        (played,) = self.play([case])
        return played


def conformed(call: Gff, *options: str, status: int = 0) -> Conformed:
    ended = call("live", "conform", "--json", *options)
    assert ended.status == status, ended.err
    return msgspec.json.decode(ended.out, type=Conformed)


def test_the_corpus_comes_first_and_then_as_many_as_were_asked_for(
    call: Gff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "live_fleet", lambda *_: nullcontext(StandIn()))
    report = conformed(call, "--cases", "50")
    assert report.cases == report.same == report.planned == len(case_files(corpus_dir())) + 50
    assert (report.ended, report.corpus_left) == (Ended.COMPLETE, 0)


def test_ctrl_c_ends_it_with_what_came_of_the_cases_so_far(
    call: Gff, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = StandIn(interrupted=True)
    monkeypatch.setattr(command, "live_fleet", lambda *_: nullcontext(stand_in))
    report = conformed(call, status=130)
    assert (report.cases, report.ended) == (INTERRUPTED_AT + 1, Ended.INTERRUPTED)
    assert report.corpus_left == report.corpus - report.cases > 0


def test_ctrl_c_does_not_hide_what_differs(call: Gff, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = StandIn("clean", interrupted=True)
    monkeypatch.setattr(command, "live_fleet", lambda *_: nullcontext(stand_in))
    assert conformed(call, status=1).ended is Ended.INTERRUPTED


def test_ctrl_c_before_the_first_case_and_after_the_last_is_told_in_a_line(
    call: Gff, monkeypatch: pytest.MonkeyPatch
) -> None:
    def booting(*_: object) -> AbstractContextManager[StandIn]:
        raise KeyboardInterrupt

    def settling(_: object) -> Conformed:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "live_fleet", booting)
    ended = call("live", "conform")
    assert ended == (130, "", "gff: interrupted before a case was played\n")
    monkeypatch.setattr(command, "live_fleet", lambda *_: nullcontext(StandIn()))
    monkeypatch.setattr(Comparison, "report", settling)
    ended = call("live", "conform", "--cases", "0")
    assert (ended.status, ended.out) == (130, "")
    assert ended.err == "gff: interrupted while the differences were played again: no report\n"


def test_it_ends_when_its_time_is_over(call: Gff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "live_fleet", lambda *_: nullcontext(StandIn()))
    monkeypatch.setattr(command, "case_files", lambda _: [])
    report = conformed(call, "--for", "0.5s")
    assert report.cases > 0
    assert 0.5 <= report.seconds < 10
    assert (report.ended, report.planned) == (Ended.TIME_OVER, None)
    assert "--for 'x'" in call("live", "conform", "--for", "x").err
