"""``gff matrix``: kernels against clauses, and what of the contract was put to the test."""

from collections.abc import Sequence
from functools import cache
from typing import Annotated

import typer

from emu.case import Case
from emu.kernels import KERNELS
from emu.model import Model
from fuzz.search.together import Together
from triage.case_input import read_all, read_case_file
from triage.commands.corpus import Places
from triage.commands.options import Json, OnlyKernels, ReadingName
from triage.corpus import files_below
from triage.ending import Status
from triage.inputs import kernel_names, reading
from triage.matrix import Matrix, matrix
from triage.matrix_page import page
from triage.matrix_text import markdown, screen
from triage.screen import printable, show, show_json
from triage.written import write

Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown.")]
Html = Annotated[
    str | None, typer.Option("--html", metavar="FILE", help="Write one HTML page to FILE as well.")
]


def show_matrix(
    places: Places = None,
    kernel: OnlyKernels = None,
    reading_name: ReadingName = "paranoid",
    html: Html = None,
    markdown_only: Markdown = False,
    json: Json = False,
) -> Status:
    """Run every case on every kernel, and show which breaks which clause, with the smallest case.

    Without arguments: the corpus that came with gff. A campaign's findings are cases too: name its
    folder. Exit status 0 whatever is broken, for most of these kernels are here to be.

    Example: gff matrix --html matrix.html
    """
    asked = reading(reading_name)
    names = kernel_names(kernel) if kernel else tuple(KERNELS)
    cases = _cases(files_below(places))
    together = Together(Model(), {name: KERNELS[name] for name in names})
    outcomes = cache(together.each)  # a case is asked for by one kernel after another
    found = matrix(cases, names, lambda case, name: outcomes(case)[name], asked)
    if html is not None:
        write(html, page(found))
    _print(found, as_json=json, as_markdown=markdown_only)
    return Status.CLEAN


def _print(found: Matrix, *, as_json: bool, as_markdown: bool) -> None:
    if as_json:
        show_json(found)
    elif as_markdown:
        typer.echo(markdown(found), nl=False)
    else:
        show(screen(found))


def _cases(files: Sequence[str]) -> list[tuple[str, Case]]:
    read = read_all(files, read_case_file)
    return [(printable(name), file.case) for name, file in zip(files, read, strict=True)]
