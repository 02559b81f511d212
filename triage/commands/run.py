"""``gff run``: cases, every KVM_RUN of them explained."""

from typing import Annotated

import msgspec
import typer

from emu.model import Model
from triage.case_input import CaseInput, read_all, read_case
from triage.commands.options import Inject, Json, Kernels, OnLive, ReadingName
from triage.ending import Status, UserError
from triage.explain import explain
from triage.explained import explained, overview
from triage.explanation import Explanation
from triage.inputs import kernel_names, reading
from triage.observation import Injector, Observation, injector, live_machine, observe
from triage.observed import observed
from triage.replay import CORPUS_READING
from triage.screen import show, show_json

Files = Annotated[
    list[str], typer.Argument(metavar="FILE", help="A .case file, or a file of the fuzzer's bytes.")
]
Trace = Annotated[
    bool, typer.Option("--trace", help="Show every kernel function, not the short way through.")
]


class Explanations(msgspec.Struct, frozen=True):
    """What ``--json`` prints."""

    cases: tuple[Explanation, ...]


class Observations(msgspec.Struct, frozen=True):
    """What ``--live`` and ``--json`` print."""

    cases: tuple[Observation, ...]


def run(
    files: Files,
    kernel: Kernels = None,
    reading_name: ReadingName = "strict",
    live: OnLive = None,
    inject: Inject = None,
    trace: Trace = False,
    json: Json = False,
) -> Status:
    """Run cases and explain every KVM_RUN.

    For each: the steps before it, the memslots, the guest's access and its aborts, the kernel
    functions passed, what KVM_RUN handed back, and what each clause of the contract says of it.
    What a .case file expects of the kernel is compared. Exit status 1 where a clause is broken or
    an expectation differs. With --live a real kernel runs them, and its outcomes are shown; exit
    status 3 where a case is one that it cannot play.

    Example: gff run FILE.case --kernel v7.3 --kernel clean
    """
    kernels, asked = kernel_names(kernel), reading(reading_name)
    cases = read_all(files, read_case)
    if live is not None:
        if kernel or trace or asked is not CORPUS_READING:
            raise UserError("--live goes without --kernel, --trace and another reading")
        return _observe(cases, live, injector(inject), json=json)
    if inject is not None:
        raise UserError("--inject goes with --live: the model injects by itself")
    model = Model()
    told = tuple(explain(case, name, asked, model) for case in cases for name in kernels)
    if json:
        show_json(Explanations(told))
    else:
        for number, explanation in enumerate(told):
            show(*([""] if number else []), explained(explanation, trace=trace))
        if len(kernels) > 1:
            show("", overview(told))
    bad = any(explanation.broken or explanation.differences for explanation in told)
    return Status.FINDINGS if bad else Status.CLEAN


def _observe(cases: list[CaseInput], image: str, by: Injector, *, json: bool) -> Status:
    with live_machine(image, [each.case for each in cases], by) as machine:
        seen = tuple(observe(machine, image, case) for case in cases)
    if json:
        show_json(Observations(seen))
    else:
        for number, observation in enumerate(seen):
            show(*([""] if number else []), observed(observation))
    if any(each.broken or each.differences or each.complaints for each in seen):
        return Status.FINDINGS
    return Status.MISSING if any(each.unsupported for each in seen) else Status.CLEAN
