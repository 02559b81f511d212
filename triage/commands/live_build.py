"""``gff live build``: kernels from source, with the changes that the modelled ones have."""

import time
from typing import Annotated, Final

import typer

from emu.live import build_kernel, build_source
from emu.live.build_kernel import Recipe
from emu.live.build_source import Tree
from emu.live.build_variants import PATCHES, variant
from emu.live.fetch import Source
from triage.commands.live import Keyring, Mirror
from triage.commands.options import CORES, Jobs, Json
from triage.ending import Status
from triage.live import live_errors
from triage.live_views import BuiltView, BuiltViews, built_rows
from triage.progress import ProgressLine
from triage.screen import show, show_json

_PLAIN_EVERY: Final = 20.0  # seconds between two lines where there is no terminal

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="VARIANT",
        help="A kernel of `gff live list`, with -16k behind it for large pages, with -kcov for "
        "`gff live coverage`.  "
        "[default: v7.3, those of the thread, clean]",
    ),
]


def build_kernels(
    names: Names = None,
    jobs: Jobs = CORES,
    mirror: Mirror = None,
    keyring: Keyring = None,
    json: Json = False,
) -> Status:
    """Build arm64 kernels from Debian's source of Linux 7.3, each with a modelled kernel's change.

    Brings the source here as `gff live fetch` does, changes it by Coccinelle, and compiles it with
    a configuration of our own, which can inject errors. All of it is in the cache; what is there of
    the same source, changes, options and compiler is not built again.

    Example: gff live build v7.3 clean
    """
    start = time.monotonic()
    with live_errors(), ProgressLine(_PLAIN_EVERY) as line:
        recipes = [build_kernel.recipe(variant(name)) for name in dict.fromkeys(names or PATCHES)]
        tree = build_source.present() or build_source.fetch(
            Source(mirror, keyring),
            lambda percent, doing: line.update(f"source  {percent:3.0f} %  {doing}"),
        )
        built = tuple(_view(each, tree, jobs, line) for each in recipes)
    if json:
        show_json(BuiltViews(round(time.monotonic() - start, 1), built))
    else:
        show(built_rows(built))
    return Status.CLEAN


def _view(recipe: Recipe, tree: Tree, jobs: int, line: ProgressLine) -> BuiltView:
    start = time.monotonic()
    here = build_kernel.present(recipe, tree)
    record = here or build_kernel.build(recipe, tree, jobs, line.update)
    seconds = round(time.monotonic() - start, 1)
    if here:
        return BuiltView(record, seconds, "already here")
    return BuiltView(record, seconds, "" if record.pinned else "not of the pinned source")
