"""``gff corpus``: the corpus against the model, and its expectations rewritten."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from emu import casefile
from emu.kernels import KERNELS
from emu.model import Model
from triage.case_input import read_all, read_case, read_case_file
from triage.commands.options import Inject, Json, OnLive, OnlyKernels
from triage.corpus import Blessing, Mismatch, Replay, bless, check, files_below
from triage.corpus_live import check_live, live_report
from triage.durations import counted
from triage.ending import Status, UserError
from triage.explained import diff
from triage.inputs import kernel_names
from triage.observation import Injector, injector, live_machine
from triage.replay import replay
from triage.screen import printable, show, show_json
from triage.written import write

Places = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE|DIR", help="Case files, and folders of them; else the corpus."),
]
Files = Annotated[list[str], typer.Argument(metavar="FILE", help="The .case files to rewrite.")]


class Checked(msgspec.Struct, frozen=True):
    """What ``check --json`` prints. ``silent``: the files that expect nothing of these kernels."""

    files: int
    replays: int
    mismatches: tuple[Mismatch, ...]
    silent: tuple[str, ...]


class Blessed(msgspec.Struct, frozen=True):
    """What ``bless --json`` prints."""

    files: tuple[Blessing, ...]


def check_corpus(
    places: Places = None,
    kernel: OnlyKernels = None,
    live: OnLive = None,
    inject: Inject = None,
    json: Json = False,
) -> Status:
    """Replay cases on every kernel that their expectations name, and compare.

    Without arguments: the corpus that came with gff. With --live a real kernel plays what it can,
    against what is expected of its version. Exit status 1 where something differs, or the kernel
    complained on its console.

    Example: gff corpus check --kernel v7.3
    """
    kernels = kernel_names(kernel) if kernel else tuple(KERNELS)
    names = files_below(places)
    if live is not None:
        if kernel:
            raise UserError("--live goes without --kernel: the image says which it is")
        return _check_live(names, live, injector(inject), json=json)
    if inject is not None:
        raise UserError("--inject goes with --live: the model injects by itself")
    files = dict(zip(names, read_all(names, read_case_file), strict=True))
    counts = {
        name: sum(each in kernels for group in file.expectations for each in group.kernels)
        for name, file in files.items()
    }
    replays = sum(counts.values())
    if not replays:
        raise UserError(_nothing_expected(names, kernels))
    model = _replay()
    found = [
        each
        for name, file in files.items()
        for each in check(printable(name), file, kernels, model)
    ]
    silent = tuple(printable(name) for name, count in counts.items() if not count)
    checked = Checked(len(files), replays, tuple(found), silent)
    if json:
        show_json(checked)
    else:
        show(report(checked))
    return Status.FINDINGS if found else Status.CLEAN


def _check_live(names: Sequence[str], image: str, by: Injector, *, json: bool) -> Status:
    given = read_all(names, read_case)
    with live_machine(image, [each.case for each in given], by) as machine:
        checked = check_live(machine, image, given)
    if json:
        show_json(checked)
    else:
        show(live_report(checked))
    return Status.CLEAN if checked.clean else Status.FINDINGS


def bless_corpus(files: Files, json: Json = False) -> Status:
    """Rewrite the expectations of case files to what the model gives.

    Kernels that a file does not name yet are added as claims. A group marked observed is a real
    kernel's word: where the model gives another outcome, the file is left as it is, the difference
    is shown, and the exit status is 1.

    Example: gff corpus bless FILE.case
    """
    given = dict(zip(files, read_all(files, read_case_file), strict=True))
    model, done = _replay(), []
    for name, file in given.items():
        blessing, new = bless(printable(name), file, model)
        if blessing.changed:
            write(name, casefile.dump(new))
        done.append(blessing)
    if json:
        show_json(Blessed(tuple(done)))
    else:
        show(*map(told, done))
    return Status.FINDINGS if any(each.refused for each in done) else Status.CLEAN


def _nothing_expected(names: Sequence[str], kernels: Sequence[str]) -> str:
    """Why nothing was checked."""
    what = names[0] if len(names) == 1 else counted(len(names), "file")
    whom = "any kernel" if len(kernels) == len(KERNELS) else ", ".join(kernels)
    return f"{what}: nothing is expected of {whom}, so nothing was checked"


def report(checked: Checked) -> RenderableType:
    """The mismatches, then the count."""
    parts: list[RenderableType] = [_mismatch(each) for each in checked.mismatches]
    parts += [Text(f"{name}: expects nothing of these kernels") for name in checked.silent]
    wrong = len(checked.mismatches)
    found = f"{wrong} not as expected" if wrong else "all as expected"
    done = f"{counted(checked.files, 'file')}, {counted(checked.replays, 'replay')}"
    return Group(*parts, Text(f"{done}: {found}", style="bold red" if wrong else "green"))


def told(blessing: Blessing) -> RenderableType:
    """What became of a file."""
    if blessing.refused:
        why = Text(f"{blessing.file}: left as it is, the model differs from what was observed")
        return Group(*map(_mismatch, blessing.refused), why)
    words = [
        f"{counted(len(names), 'kernel')} {what}"
        for what, names in (("added", blessing.added), ("rewritten", blessing.rewritten))
        if names
    ]
    same = "rearranged" if blessing.changed else "unchanged"
    return Text(f"{blessing.file}: {', '.join(words) or same}")


def _mismatch(mismatch: Mismatch) -> RenderableType:
    head = Text(f"{mismatch.file} on {mismatch.kernel} ({mismatch.basis.value})", style="bold")
    return Group(head, diff(mismatch.differences))


def _replay() -> Replay:
    model = Model()
    return lambda case, kernel: replay(model, case, kernel)
