"""Plain tables: no frames, nothing that a copy into a mail would lose."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

_GAP: Final = 2
_UNBOUNDED: Final = 10_000  # columns; wider than any cell


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under the names of their columns, never wider than the page.

    Only the column ``wide`` may be folded, at its spaces; numbers stand ``right``. Where that is
    not enough, the columns ``spare`` go, the first first. Where nothing fits, a row is a paragraph.
    """

    names: tuple[str, ...]
    wide: str = ""
    right: Collection[str] = ()
    spare: tuple[str, ...] = ()
    rows: list[Sequence[RenderableType]] = field(default_factory=list)

    def add_row(self, *cells: RenderableType) -> None:
        """Add one row, a cell for each name."""
        self.rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich asks this for what to draw."""
        for gone in range(len(self.spare) + 1):
            shown = [
                index
                for index, name in enumerate(self.names)
                if name not in self.spare[:gone] and (name or self._filled(index))
            ]
            if self._width(shown, console, options) <= options.max_width:
                yield self._drawn(shown)
                return
        yield from self._paragraphs()

    def _filled(self, index: int) -> bool:
        return any(str(row[index]) for row in self.rows)

    def _width(self, shown: Sequence[int], console: Console, options: ConsoleOptions) -> int:
        """The least that these columns need."""
        unbounded = options.update_width(_UNBOUNDED)
        total = _GAP * (len(shown) - 1)
        for index in shown:
            name = self.names[index]
            cells = (Text(name), *(row[index] for row in self.rows))
            sizes = [Measurement.get(console, unbounded, cell) for cell in cells]
            least = (each.minimum if name == self.wide else each.maximum for each in sizes)
            total += max(least)
        return total

    def _drawn(self, shown: Sequence[int]) -> RichTable:
        table = RichTable(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
        for index in shown:
            name = self.names[index]
            justify: JustifyMethod = "right" if name in self.right else "left"
            table.add_column(name, no_wrap=name != self.wide, overflow="fold", justify=justify)
        for row in self.rows:
            table.add_row(*(row[index] for index in shown))
        return table

    def _paragraphs(self) -> Iterable[RenderableType]:
        for row in self.rows:
            for index, (name, cell) in enumerate(zip(self.names, row, strict=True)):
                label = Text(f"{name} ", style="bold") if name and index else Text()
                if not isinstance(cell, str | Text):
                    yield Padding(cell, (0, 0, 0, _GAP if index else 0))
                elif str(cell):
                    yield Padding(label.append(cell), (0, 0, 0, _GAP if index else 0))


def columns(
    *names: str, wide: str = "", right: Collection[str] = (), spare: tuple[str, ...] = ()
) -> Table:
    """An empty table."""
    return Table(names, wide, right, spare)


def styled(text: str, style: str) -> Text:
    """Text with one style, never read as markup."""
    return Text(text, style=style)


def rows(labelled: Iterable[tuple[str | Text, RenderableType]]) -> Padding:
    """Labels in a narrow column, and beside each what it labels."""
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, min_width=6)
    grid.add_column(overflow="fold")
    for label, content in labelled:
        grid.add_row(label, content)
    return Padding(grid, (0, 0, 0, 2))
