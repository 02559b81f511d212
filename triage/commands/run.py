"""``gff run``: cases, every KVM_RUN of them explained."""

from typing import Annotated

import msgspec
import typer

from emu.model import Model
from triage.case_input import read_case
from triage.commands.options import Json, Kernels, ReadingName
from triage.ending import Status
from triage.explain import explain
from triage.explained import explained, overview
from triage.explanation import Explanation
from triage.inputs import kernel_names, reading
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


def run(
    files: Files,
    kernel: Kernels = None,
    reading_name: ReadingName = "strict",
    trace: Trace = False,
    json: Json = False,
) -> Status:
    """Run cases and explain every KVM_RUN.

    For each: the steps before it, the memslots, the guest's access and its aborts, the kernel
    functions passed, what KVM_RUN handed back, and what each clause of the contract says of it.
    What a .case file expects of the kernel is compared. Exit status 1 where a clause is broken or
    an expectation differs.

    Example: gff run FILE.case --kernel v7.3 --kernel clean
    """
    kernels, asked = kernel_names(kernel), reading(reading_name)
    cases = [read_case(name) for name in files]
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
