"""``gff kernels``: the modelled kernels, and what each still breaks."""

import inspect
import re
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from emu.kernels import CATALOGUE, Entry, Kind
from fuzz.oracle.contract import CLAUSES, Reading
from triage.commands.options import Json
from triage.ending import Status, UserError
from triage.inputs import kernel_names, unknown
from triage.screen import show, show_json
from triage.tables import Table, columns

# A docstring may name another kernel's class.
_CLASSES: Final = {type(entry.kernel).__name__: name for name, entry in CATALOGUE.items()}
_NAMES: Final = re.compile(rf"\b(?:{'|'.join(_CLASSES)})\b")
_PARANOID_ONLY: Final = {each.id for each in CLAUSES if each.readings == {Reading.PARANOID}}
_KINDS: Final = {
    **{kind.value: kind for kind in Kind},
    "thread": Kind.PROPOSAL,
    "bad": Kind.KNOWN_BAD,
}
Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Only these kernels; else all.")
]
OfKinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="Only these: release, thread, clean, twin or bad; may be repeated.",
    ),
]


class KernelView(msgspec.Struct, frozen=True):
    """A kernel as it is listed. ``breaks`` are the signatures of the paranoid reading."""

    name: str
    kind: str
    summary: str
    leaves: str
    breaks: tuple[str, ...]


class Kernels(msgspec.Struct, frozen=True):
    """What ``--json`` prints."""

    kernels: tuple[KernelView, ...]


def kernels(name: Names = None, kind: OfKinds = None, json: Json = False) -> Status:
    """List the kernels that a case can be run on.

    For each: its name for --kernel, its kind, what it is, and what it leaves broken.

    Example: gff kernels --kind release
    """
    kinds = _kinds(kind)
    wanted = kernel_names(name) if name else CATALOGUE
    found = tuple(
        view(each, entry)
        for each, entry in CATALOGUE.items()
        if each in wanted and entry.kind in kinds
    )
    if json:
        show_json(Kernels(found))
    else:
        show(listing(found))
    return Status.CLEAN


def _kinds(names: Sequence[str] | None) -> set[Kind]:
    for name in names or ():
        if name not in _KINDS:
            raise UserError(unknown("kind", name, _KINDS))
    return {_KINDS[name] for name in names or _KINDS}


def view(name: str, entry: Entry) -> KernelView:
    """What the catalogue and the class's docstring say of a kernel."""
    text = _NAMES.sub(lambda named: _CLASSES[named[0]], inspect.getdoc(type(entry.kernel)) or "")
    first, _, _ = text.replace("``", "").partition("\n\n")
    summary, _, _ = " ".join(first.split()).partition(" Leaves: ")
    _, _, leaves = " ".join(text.replace("``", "").split()).partition(" Leaves: ")
    return KernelView(name, entry.kind.value, summary, leaves, entry.breaks)


def listing(found: tuple[KernelView, ...]) -> Table:
    """The kernels below one another. A release that breaks what one above it does only says so."""
    table = columns("kernel", "kind", "what it is", wide="what it is")
    told: dict[tuple[str, ...], str] = {}
    for kernel in found:
        alike = told.get(kernel.breaks)
        broken = f"Breaks what {alike} breaks." if alike else _broken(kernel.breaks)
        table.add_row(kernel.name, kernel.kind, _text(kernel, broken))
        if kernel.kind == Kind.RELEASE.value:
            told.setdefault(kernel.breaks, kernel.name)
    return table


def _text(kernel: KernelView, broken: str) -> RenderableType:
    leaves = f"Leaves: {kernel.leaves}" if kernel.leaves else ""
    lines = (kernel.summary, leaves, broken)
    return Group(*(Text(line) for line in lines if line))


def _broken(signatures: Sequence[str]) -> str:
    paranoid = [each for each in signatures if each.partition("-")[0] in _PARANOID_ONLY]
    others = [each for each in signatures if each not in paranoid]
    parts = [", ".join(others)] if others else []
    parts += [f"{', '.join(paranoid)} (paranoid reading only)"] if paranoid else []
    return f"Breaks: {'; '.join(parts)}." if parts else ""
