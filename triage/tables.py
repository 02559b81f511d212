"""Plain tables: columns, no frames, nothing that a copy into a mail would lose."""

from collections.abc import Collection, Iterable

from rich.console import JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


def columns(*names: str, wide: str = "", right: Collection[str] = ()) -> Table:
    """An empty table; only the column ``wide`` may be folded to fit. Numbers stand ``right``."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        justify: JustifyMethod = "right" if name in right else "left"
        table.add_column(name, no_wrap=name != wide, overflow="fold", justify=justify)
    return table


def styled(text: str, style: str) -> Text:
    """Text with one style, never read as markup."""
    return Text(text, style=style)


def rows(labelled: Iterable[tuple[str | Text, RenderableType]]) -> Padding:
    """Labels in a narrow column, and beside each what it labels."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, min_width=6)
    grid.add_column(overflow="fold")
    for label, content in labelled:
        grid.add_row(label, content)
    return Padding(grid, (0, 0, 0, 2))
