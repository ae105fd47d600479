"""The table of things that can be put away: it leaves them out, or shows them pale where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from screens.widgets.columns import Column, Part, Row
from screens.widgets.line_list import Line
from screens.widgets.table import Table


class ArchiveTable(Table[Row]):
    """A table whose rows have the names of one ``kind`` of thing as keys, or are versions of the one that ``named`` tells.

    Attributes:
        kind: what they are, as the archive calls it.
        away: the names of those that are put away.
        shows_away: whether these are shown, too.
    """

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        *,
        kind: str,
        id: str,  # noqa: A002  the name every widget has
        key: Callable[[Row], str],
        empty: str,
        mark: Callable[[Row], Part] | None = None,
        filters: bool = True,
        selects: bool = True,
        named: Callable[[Row], str] | None = None,
    ) -> None:
        super().__init__(columns, id=id, key=key, empty=empty, mark=mark, filters=filters, selects=selects, reads=True)
        self.kind = kind
        self._named = named or key
        self.away: frozenset[str] = frozenset()
        self.shows_away = False
        self._every: list[Row] = []
        self._nothing = empty

    @property
    def picked_keys(self) -> list[str]:
        """The names of the selected rows, or of the one under the cursor."""
        return list(dict.fromkeys(self._named(row) for row in self.picked))

    def fill(self, rows: Sequence[Row], select: str = "", *, top: bool = False) -> None:
        """As that of every table, with what is put away left out."""
        self._every = list(rows)
        left = [row for row in rows if self.shows_away or self._named(row) not in self.away]
        hidden = f"All {len(rows)} are archived.\n% shows what is archived."
        self.empty = hidden if rows and not left else self._nothing
        super().fill(left, select, top=top)

    def put_away(self, names: Collection[str], *, shows: bool) -> None:
        """Other things are put away now, or are to be shown."""
        if (frozenset(names), shows) != (self.away, self.shows_away):
            self.away, self.shows_away = frozenset(names), shows
            if not self._reads:
                self.fill(self._every)

    def _line_of(self, index: int, width: int) -> Line:
        line = super()._line_of(index, width)
        if self._named(self.shown[index]) in self.away:
            self._drawn[index] = line = [(text, "muted") for text, _ in line]
        return line
