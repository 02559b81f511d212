"""``gff kernels``: the modelled kernels, and what each still breaks."""

import inspect

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table

from emu.kernels import CATALOGUE, Entry
from triage.commands.options import Json
from triage.ending import Status
from triage.screen import show, show_json
from triage.tables import columns


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


def kernels(json: Json = False) -> Status:
    """List the kernels that a case can be run on.

    For each: its name for --kernel, its kind, what it is, and what it leaves broken.

    Example: gff kernels
    """
    found = tuple(view(name, entry) for name, entry in CATALOGUE.items())
    if json:
        show_json(Kernels(found))
    else:
        show(listing(found))
    return Status.CLEAN


def view(name: str, entry: Entry) -> KernelView:
    """What the catalogue and the class's docstring say of a kernel."""
    text = (inspect.getdoc(type(entry.kernel)) or "").replace("``", "")
    summary = text.partition("\n")[0]
    _, _, leaves = " ".join(text.split()).partition(" Leaves: ")
    return KernelView(name, entry.kind.value, summary, leaves, entry.breaks)


def listing(found: tuple[KernelView, ...]) -> Table:
    """The kernels below one another."""
    table = columns("kernel", "kind", "what it is", wide="what it is")
    for kernel in found:
        table.add_row(kernel.name, kernel.kind, _text(kernel))
    return table


def _text(kernel: KernelView) -> RenderableType:
    broken = f"Breaks: {', '.join(kernel.breaks)}." if kernel.breaks else ""
    leaves = f"Leaves: {kernel.leaves}" if kernel.leaves else ""
    return Group(*(line for line in (kernel.summary, leaves, broken) if line))
