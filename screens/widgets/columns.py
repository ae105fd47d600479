"""Columns of a table: what they show of a row, how rows are sorted by them, and how wide they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from rich.cells import cell_len, set_cell_size, split_graphemes

Row = TypeVar("Row")
# A text with the name of its colour, as in a line of a list.
Part = tuple[str, str]
GAP = 2
_MEASURED = 600
_NOTHING = frozenset({"", "–"})


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column.

    Attributes:
        name: its head, which is also what filters and the kept choice call it.
        cell: what it shows of a row: a text of one line, with a colour where it has a meaning.
        value: what rows are sorted by, and compared with in a filter; without it the text. None comes last.
        unit: written behind the name in the head, so that figures need none.
        right: figures stand at the right.
        least, most: cells it needs, and the most it takes while others want more.
        names: its texts are names, which often differ at their ends alone: they are cut in the middle.
        share: of what is left over, in proportion to those of other columns; with 0 it is as wide as its texts.
        rank: where there is no room for all, the highest goes first; 0 stays.
        chosen: whether it is shown before anybody chose.
        spare: left out while it says nothing of any row.
        falling: whether the greatest come first when it is sorted by.
        good: cells in which its texts say enough; where they have less, columns that are ``extra`` make room.
        told: left out while it says the same of all rows, as the title of the list tells that; see :func:`common_of`.
    """

    name: str
    cell: Callable[[Row], str | Part]
    value: Callable[[Row], float | str | None] | None = None
    unit: str = ""
    right: bool = False
    least: int = 3
    most: int = 24
    names: bool = False
    share: int = 0
    rank: int = 0
    chosen: bool = True
    spare: bool = False
    falling: bool = False
    good: int = 0
    extra: bool = False
    told: bool = False

    @property
    def head(self) -> str:
        """The name with its unit."""
        return f"{self.name} {self.unit}" if self.unit else self.name

    def part(self, row: Row) -> Part:
        """The text and its colour."""
        shown = self.cell(row)
        return (shown, "plain") if isinstance(shown, str) else shown

    def sort_value(self, row: Row) -> float | str | None:
        """What the row is sorted by here."""
        return self.value(row) if self.value is not None else self.part(row)[0].casefold()


def fit(text: str, width: int, *, right: bool = False, middle: bool = False) -> str:
    """A text in exactly so many cells; where it is cut it says so, at the end or in the ``middle``.

    No character is cut in two.
    """
    if width < 1:
        return ""
    length = cell_len(text)
    if length > width:
        end = _end_of(text, (width - 1) // 2) if middle else ""
        begin = set_cell_size(text, width - 1 - cell_len(end)).rstrip()
        return set_cell_size(f"{begin}…{end}", width)
    return " " * (width - length) + text if right else text + " " * (width - length)


def _end_of(text: str, width: int) -> str:
    """The last characters of a text that take no more cells than ``width``."""
    begin, taken = len(text), 0
    for first, _, cells in reversed(split_graphemes(text)[0]):
        taken += cells
        if taken > width:
            break
        begin = first
    return text[begin:].lstrip()


def sort_rows(rows: Iterable[Row], column: Column[Row], *, falling: bool) -> list[Row]:
    """The rows by a column; those without a value are last either way, and equal ones stay as they were."""
    valued = [(column.sort_value(row), row) for row in rows]
    # Of one column all values are of one type.
    known = sorted((pair for pair in valued if pair[0] is not None), key=lambda pair: pair[0], reverse=falling)  # type: ignore[arg-type,return-value]
    return [row for _, row in known] + [row for value, row in valued if value is None]


def common_of(columns: Iterable[Column[Row]], rows: Sequence[Row], order: str) -> dict[str, str]:
    """What each column that is ``told`` says of all rows, where there are several and nobody sorts by it."""
    told = [column for column in columns if column.told and column.name != order and len(rows) > 1]
    said = {column.name: {column.part(row)[0] for row in rows} for column in told}
    return {name: texts.pop() for name, texts in said.items() if len(texts) == 1}


def without_common(columns: Sequence[Column[Row]], rows: Sequence[Row], order: str) -> list[Column[Row]]:
    """The columns but those that say the same of all rows, which the title of the list tells."""
    common = common_of(columns, rows, order)
    return [column for column in columns if column.name not in common]


def fit_columns(columns: Sequence[Column[Row]], wanted: dict[str, int], room: int) -> list[tuple[Column[Row], int]]:
    """The columns that fit into ``room`` cells, and how wide each is; ``wanted`` are the cells of their longest texts."""
    shown = list(columns)

    def own(column: Column[Row]) -> int:
        return column.least if column.share else max(column.least, min(wanted.get(column.name, 0), column.most))

    def needed() -> int:
        return sum(own(column) for column in shown) + GAP * max(0, len(shown) - 1)

    def lacking() -> int:
        """Cells that texts need to say enough, beyond their least."""
        return sum(max(0, min(column.good, wanted.get(column.name, 0)) - own(column)) for column in shown)

    while needed() + lacking() > room and (extras := [column for column in shown if column.extra]):
        shown.remove(max(extras, key=lambda column: column.rank))
    while needed() > room and len(shown) > 1 and (spare := max(shown, key=lambda column: column.rank)).rank:
        shown.remove(spare)
    # Of texts that are shorter than the least of their column, others have the rest.
    widths = {c.name: min(own(c), wanted.get(c.name, 0)) if c.share else own(c) for c in shown}
    while (over := needed_of(widths)) > room and max(widths.values()) > 1:
        widest = max(widths, key=lambda name: widths[name])
        widths[widest] -= min(over - room, widths[widest] - 1)
    left = room - needed_of(widths)
    # Again and again for what some did not need.
    while left > 0 and (open_ := [c for c in shown if c.share and widths[c.name] < wanted.get(c.name, 0)]):
        whole, shares = left, sum(c.share for c in open_)
        for column in open_:
            more = min(left, max(1, whole * column.share // shares), wanted[column.name] - widths[column.name])
            widths[column.name] += more
            left -= more
    # What nobody wants is for those that are cut at their most.
    for column in shown:
        more = max(0, min(left, wanted.get(column.name, 0) - widths[column.name]))
        widths[column.name] += more
        left -= more
    return [(column, widths[column.name]) for column in shown]


def needed_of(widths: dict[str, int]) -> int:
    """Cells of columns of these widths, with the gaps between them."""
    return sum(widths.values()) + GAP * max(0, len(widths) - 1)


class ColumnPlan(Generic[Row]):
    """Which columns are drawn in a width, and how wide each of them is.

    ``indent`` cells before the first are somebody else's.
    """

    def __init__(
        self, columns: Sequence[Column[Row]], rows: Sequence[Row], order: str, width: int, indent: int
    ) -> None:
        self.width = width
        self._indent = indent
        heads = {c.name: cell_len(c.head) + (c.name == order) for c in columns}
        # Of very many rows not all are looked at.
        measured = rows if len(rows) <= _MEASURED else [*rows[: _MEASURED // 2], *rows[:: 2 * len(rows) // _MEASURED]]
        texts = {c.name: [c.part(row)[0] for row in measured] for c in columns}
        columns = [c for c in columns if not c.spare or any(text not in _NOTHING for text in texts[c.name])]
        wanted = {c.name: max([heads[c.name], *map(cell_len, texts[c.name])]) for c in columns}
        # With room for their heads.
        roomy = [replace(c, least=max(c.least, min(heads[c.name], c.most))) for c in columns]
        self._columns = fit_columns(roomy, wanted, width - indent)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ColumnPlan) and (self.width, self.widths) == (other.width, other.widths)

    __hash__ = None  # type: ignore[assignment]  # it is compared, and never a key

    @property
    def widths(self) -> list[tuple[str, int]]:
        """The columns by their names, with their cells."""
        return [(column.name, cells) for column, cells in self._columns]

    def line(self, row: Row) -> list[Part]:
        """A row in its columns."""
        parts = []
        for place, (column, cells) in enumerate(self._columns):
            text, style = column.part(row)
            parts.append((" " * GAP * (place > 0) + fit(text, cells, right=column.right, middle=column.names), style))
        return parts

    def head(self, order: str, *, falling: bool) -> list[tuple[str, bool]]:
        """The names of the columns, and whether it is the one that rows are sorted by."""
        parts = []
        for place, (column, cells) in enumerate(self._columns):
            mark = ("▾" if falling else "▴") if column.name == order else ""
            # On the side where nothing is aligned. Where there is no room for all of it, the mark and a unit still are seen.
            said = mark + column.head if column.right else column.head + mark
            text = fit(said, cells, right=column.right, middle=True)
            parts.append((" " * GAP * (place > 0) + text, column.name == order))
        return parts

    def column_at(self, x: int) -> str:
        """The name of the column in a cell; empty right of the last."""
        end = self._indent
        for column, cells in self._columns:
            end += cells + GAP
            if x < end:
                return column.name
        return ""
