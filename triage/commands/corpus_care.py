"""``gff corpus merge``, ``prune``, ``import`` and ``export``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from fuzz.search.reduction import Limit
from triage.commands.options import Json
from triage.corpora import Bad, Kind
from triage.corpus_care import (
    Brought,
    OnProgress,
    Pruned,
    copy,
    merge,
    prune,
    target_of_export,
    target_of_import,
)
from triage.durations import counted
from triage.ending import Status, UserError
from triage.inputs import kernel_names, unknown, whole_number
from triage.progress import ProgressLine
from triage.screen import printable, show, show_json

_NAMED: Final = 20  # bad files that are shown
_MOST: Final = 10**15

Folders = Annotated[
    list[str],
    typer.Argument(metavar="DIR... INTO", help="Directories of cases; the last is written to."),
]
Folder = Annotated[str, typer.Argument(metavar="DIR", help="A directory of cases.")]
As = Annotated[
    str | None,
    typer.Option("--as", metavar="KIND", help="What a new INTO becomes: libfuzzer, afl or case."),
]
ExportAs = Annotated[str, typer.Option("--as", metavar="KIND", help="libfuzzer, afl or case.")]
Kernels = Annotated[
    list[str] | None,
    typer.Option(
        "--kernel",
        "-k",
        metavar="NAME",
        help="Whose ways count; may be repeated.  [default: the campaign's, else v7.3]",
    ),
]
MaxCases = Annotated[
    int | None,
    typer.Option("--max-cases", metavar="N", parser=whole_number("--max-cases", 1, _MOST)),
]
MaxBytes = Annotated[
    int | None,
    typer.Option("--max-bytes", metavar="N", parser=whole_number("--max-bytes", 1, _MOST)),
]
Dry = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]


def merge_corpora(
    folders: Folders, kernel: Kernels = None, kind: As = None, json: Json = False
) -> Status:
    """Add to a corpus the fewest cases of others that reach what it does not.

    What counts are branches of the model, kinds of outcome, and findings, on the kernels named. The
    smallest cases are taken first, so that the result does not depend on the order. DIR and INTO
    may be a campaign, a folder of .case files, or a corpus of libFuzzer's or AFL's. A file that is
    no case is named and left out; the exit status is then 2.

    Example: gff corpus merge campaign1 campaign2 small
    """
    sources, into = _places(folders)
    names = kernel_names(kernel) if kernel else ()
    with ProgressLine() as line:
        done = merge(sources, into, _kind(kind), names, _progress(line))
    return _told(done, json=json)


def prune_corpus(
    folder: Folder,
    kernel: Kernels = None,
    max_cases: MaxCases = None,
    max_bytes: MaxBytes = None,
    dry_run: Dry = False,
    json: Json = False,
) -> Status:
    """Remove the cases that reach nothing more than those that stay.

    Under a limit, those stay that reach most together. A .case file that expects outcomes stays in
    any case, and so do findings: a campaign's, and AFL's crashes and hangs.

    Example: gff corpus prune campaign --max-cases 1000 --dry-run
    """
    names = kernel_names(kernel) if kernel else ()
    limit = Limit(max_cases, max_bytes)
    with ProgressLine() as line:
        done = prune(Path(folder), names, limit, _progress(line), dry=dry_run)
    if json:
        show_json(done)
    else:
        show(pruned(done))
    return Status.CLEAN


def import_corpus(folders: Folders, json: Json = False) -> Status:
    """Put every case of libFuzzer's, AFL's or other directories into a campaign or .case files.

    A new INTO becomes a folder of .case files. Nothing that is there is overwritten. A file that is
    no case is named and left out; the exit status is then 2.

    Example: gff corpus import afl-out campaign
    """
    sources, into = _places(folders)
    return _told(copy(sources, into, target_of_import(into)), json=json)


def export_corpus(folders: Folders, kind: ExportAs = "libfuzzer", json: Json = False) -> Status:
    """Write every case of campaigns or other directories as another tool has them.

    Nothing that is there is overwritten. A file that is no case is named and left out; the exit
    status is then 2.

    Example: gff corpus export campaign afl-in --as afl
    """
    sources, into = _places(folders)
    aim = _kind(kind) or Kind.LIBFUZZER
    return _told(copy(sources, into, target_of_export(into, aim)), json=json)


def _places(folders: Sequence[str]) -> tuple[list[Path], Path]:
    if len(folders) < 2 or not all(folders):
        raise UserError("expected one or more directories of cases, and the one to write to")
    *sources, into = map(Path, folders)
    return sources, into


def _kind(name: str | None) -> Kind | None:
    known = {kind.value: kind for kind in Kind}
    if name is not None and name not in known:
        # A campaign that is there is written to, but nothing becomes one.
        offered = [each for each in known if each != Kind.CAMPAIGN.value]
        raise UserError(unknown("kind", name, offered))
    return None if name is None else known[name]


def _progress(line: ProgressLine) -> OnProgress:
    return lambda done: line.update(f"{counted(done, 'case')} run")


def _told(done: Brought, *, json: bool) -> Status:
    if json:
        show_json(done)
    else:
        show(brought(done))
    return Status.USAGE if done.bad else Status.CLEAN


def brought(done: Brought) -> RenderableType:
    """What came to the directory, and what did not."""
    words = [f"{done.new:,} new"]
    words += [f"{done.renamed:,} of them renamed, the name was taken"] if done.renamed else []
    words += [f"{done.there:,} there already"] if done.there else []
    words += [f"{done.useless:,} that reach nothing more"] if done.useless else []
    lines = [f"{counted(done.files, 'file')}, {counted(done.cases, 'case')}: {', '.join(words)}"]
    if done.features:
        lines.append(f"{done.into} reaches {counted(done.features, 'feature')}")
    if done.reshaped:
        lines.append(f"{counted(done.reshaped, 'case')} not of our making, read as far as it goes")
    for each in done.aside:
        left = f"{counted(each.files, 'other file')} left aside"
        lines.append(f"{printable(each.folder)}: taken for kind {each.kind.value}, {left}")
    return Group(*map(Text, (*lines, *_left_out(done.crashed, done.bad))))


def pruned(done: Pruned) -> RenderableType:
    """What went, and what is left."""
    verb = "would go" if done.dry else "gone"
    stay = f"{done.stay:,} stay, with {counted(done.size, 'byte')}"
    lines = [f"{counted(done.gone, 'case')} {verb}; {stay}"]
    lines.append(f"they reach {counted(done.features, 'feature')} on {', '.join(done.kernels)}")
    if done.expecting:
        lines.append(f"{counted(done.expecting, 'file')} that expect outcomes stay for that")
    if done.found:
        lines.append(f"{counted(done.found, 'file')} in crashes/ and hangs/ stay for that")
    return Group(*map(Text, (*lines, *_left_out(done.crashed, done.bad))))


def _left_out(crashed: Sequence[str], bad: Sequence[Bad]) -> Iterator[str]:
    for name in crashed:
        yield f"gff itself crashed on {printable(name)}"
    for each in bad[:_NAMED]:
        yield f"not taken: {each.file}: {each.reason}"
    if len(bad) > _NAMED:
        yield f"not taken: {len(bad) - _NAMED:,} more"
