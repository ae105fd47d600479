"""The table of all lists: a head with units, order by any column, a filter, a selection, and columns that one chooses."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import ClassVar, Generic

from rich.segment import Segment
from textual import events
from textual.binding import Binding
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from screens.widgets.arrangement import Arrangement
from screens.widgets.columns import Column, ColumnPlan, Part, Row, fit, without_common
from screens.widgets.line_list import Line
from screens.widgets.row_filter import arranged, is_filter
from screens.widgets.selecting_list import SelectingList
from screens.widgets.table_filter import Filtered, TableFilter

# The keys of every table; no action takes one of them but those that do the same on their screen.
TABLE_KEYS = ("greater_than_sign", "less_than_sign", "S", "vertical_line", "V", "ctrl+a")
_GUTTER = 2


class Table(SelectingList, Filtered, Generic[Row]):
    """Rows under a head. ``key`` names a row, so that cursor and selection stay on theirs when it is filled anew.

    With ``sorts`` false somebody else puts the rows into the order that :attr:`order` and :attr:`falling` say, as for
    rows of which only a page is here; with ``filters`` false somebody else filters them, and ``selects`` false has no
    selection. ``mark`` is drawn before a row that is not selected.
    """

    head_lines: ClassVar[int] = 1
    COMPONENT_CLASSES: ClassVar[set[str]] = {"table--head", "table--order"}
    DEFAULT_CSS = """
    Table { & > .table--head { color: $muted; text-style: bold; } & > .table--order { color: $accent; text-style: bold; } }
    """
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]  # narrower than the base allows
        Binding("greater_than_sign", "order_by(1)", show=False),
        Binding("less_than_sign", "order_by(-1)", show=False),
        Binding("S", "turn_order", show=False),
        Binding("vertical_line", "choose_columns", show=False),
        Binding("slash,ctrl+f", "filter", "Filter", show=False),
        Binding("escape", "clear", show=False),
        Binding("enter", "choose", show=False),
    ]

    class Chosen(Message):
        """Enter was pressed on a row."""

    class Arranged(Message):
        """Somebody chose columns, the order or the filter."""

        def __init__(self, table: Table[object]) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> Table[object]:
            """The table."""
            return self.table

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        *,
        id: str,  # noqa: A002  the name every widget has
        key: Callable[[Row], str],
        empty: str,
        mark: Callable[[Row], Part] | None = None,
        sorts: bool = True,
        filters: bool = True,
        selects: bool = True,
        reads: bool = False,
    ) -> None:
        """``reads``: its rows are read when the screen opens; until they are there, it does not say that there are none."""
        super().__init__(id=id)
        self.columns = list(columns)
        self.empty, self._reads = empty, reads
        self.placeholder = "Reading …" if reads else empty
        self.rows, self.shown = list[Row](), list[Row]()
        self.arrangement = Arrangement()
        self._key, self._mark = key, mark or (lambda _row: ("", "plain"))
        self._may = {"filter": filters, "select": selects, "sort": sorts}
        self._plan: ColumnPlan[Row] | None = None
        self._drawn: dict[int, Line] = {}

    # ── what it says ──

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self.shown[self.cursor] if self.cursor < len(self.shown) else None

    @property
    def current_key(self) -> str | None:
        """The name of the row under the cursor."""
        return self._key(self.current) if self.current is not None else None

    @property
    def picked(self) -> list[Row]:
        """The selected rows that are shown, or else the one under the cursor: what an action is about."""
        found = [row for row in self.shown if self._key(row) in self.selected]
        return found or ([self.current] if self.current is not None else [])

    @property
    def order(self) -> str:
        """The column that rows are sorted by; empty for the order they came in."""
        return self.arrangement.order

    @property
    def falling(self) -> bool:
        """Whether the greatest come first."""
        return self.arrangement.falling

    @property
    def chosen_columns(self) -> list[Column[Row]]:
        """The columns that are shown where there is room for them."""
        by_name = {column.name: column for column in self.columns}
        chosen = [by_name[name] for name in self.arrangement.columns if name in by_name]
        return chosen or without_common([one for one in self.columns if one.chosen], self.shown, self.order)

    def keys(self) -> list[str]:
        """The names of the rows that are shown."""
        return [self._key(row) for row in self.shown]

    # ── filling it ──

    def fill(self, rows: Sequence[Row], select: str = "", *, top: bool = False) -> None:
        """Show these rows; the cursor stays on its row, or goes to the one named ``select`` or with ``top`` to the first."""
        before = self.current_key
        self._reads = False
        self.rows = list(rows)
        here = {self._key(row) for row in rows}
        self.selected = {key: None for key in self.selected if key in here}
        self.cursor = 0 if top else self.cursor
        self._apply(before, select or (None if top else before))

    def set_columns(self, columns: Sequence[Column[Row]]) -> None:
        """Other columns, for rows of another kind, which are filled in next."""
        if [c.name for c in columns] != [c.name for c in self.columns]:
            self.rows, self.shown = [], []
        self.columns, self._plan = list(columns), None

    def restore(self, arrangement: Arrangement) -> None:
        """Show it as somebody left it; what is not known any more is left out."""
        names = {column.name for column in self.columns}
        order = arrangement.order if arrangement.order in names else ""
        columns = tuple(name for name in arrangement.columns if name in names)
        said = arrangement.said if self._may["filter"] and is_filter(arrangement.said) else ""
        self.arrangement = Arrangement(columns, order, arrangement.falling, said)
        if said:
            TableFilter.of(self).show(said)
        self._apply(self.current_key, self.current_key)

    def _change(self, arrangement: Arrangement, *, top: bool = False) -> None:
        before = self.current_key
        self.arrangement = arrangement
        if top:
            self.cursor = 0
        self._apply(before, None if top else before)
        self.post_message(self.Arranged(self))  # type: ignore[arg-type]

    def _apply(self, before: str | None, kept: str | None) -> None:
        """Filter, sort, put the cursor on the row ``kept``, and draw what became different."""
        count, cursor, plan, drawn = len(self.shown), self.cursor, self._plan, self._drawn
        found = self.shown = arranged(self.rows, self.columns, self.arrangement, sorts=self._may["sort"])
        nothing, said = "Reading …" if self._reads else self.empty, self.arrangement.said
        self.placeholder = f"Nothing matches “{said}”.\nesc clears the filter." if said and self.rows else nothing
        place = next((n for n, row in enumerate(found) if self._key(row) == kept), min(cursor, max(0, len(found) - 1)))
        self._plan, self._drawn = None, {}
        if found and count == len(found) and place == cursor and plan is not None and self._planned() == plan:
            self.count, self._line = len(found), self._line_of
            self._draw_changed(drawn)
        else:
            self.show(len(found), self._line_of, place)
        if self.current_key != before:
            self.post_message(self.Moved())

    def _draw_changed(self, drawn: dict[int, Line]) -> None:
        top = self.scroll_offset.y
        for index in range(top, min(len(self.shown), top + self.size.height)):
            if drawn.get(index) != self._line_of(index, self.room):
                self.refresh(Region(0, index - top + self.head_lines, self.size.width, 1))

    # ── drawing ──

    def _planned(self) -> ColumnPlan[Row]:
        if self._plan is None or self._plan.width != self.room:
            self._plan = ColumnPlan(self.chosen_columns, self.shown, self.order, self.room, _GUTTER)
        return self._plan

    def _line_of(self, index: int, _width: int) -> Line:
        row = self.shown[index]
        text, style = self._mark(row)
        if self._key(row) in self.selected and not text.strip():
            text, style = "●", "warn"
        self._drawn[index] = [(fit(text, _GUTTER), style), *self._planned().line(row)]
        return self._drawn[index]

    @property
    def has_head(self) -> bool:
        """Not above what says that there are no rows."""
        return bool(self.rows)

    def _head(self, width: int) -> Strip:  # noqa: ARG002  the room for columns is narrower
        names = self._planned().head(self.order, falling=self.falling)
        styles = {
            ordered: self.get_component_rich_style(f"table--{'order' if ordered else 'head'}")
            for ordered in (True, False)
        }
        return Strip(
            [Segment(" " * _GUTTER, styles[False]), *(Segment(text, styles[ordered]) for text, ordered in names)]
        )

    # ── order and columns ──

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  the interface
        """What somebody else does here is left to their key."""
        if action == "filter":
            return self._may["filter"]
        if action in {"select", "select_range", "extend", "select_all"}:
            return self._may["select"]
        if action == "clear":
            return bool(self.selected or (self.arrangement.said and self._may["filter"]))
        return True

    def order_by(self, name: str, *, falling: bool | None = None) -> None:
        """Sort by a column, or with an empty name show the order the rows came in."""
        column = next((c for c in self.columns if c.name == name), None)
        down = column.falling if falling is None and column is not None else bool(falling)
        here = self.arrangement
        self._change(Arrangement(here.columns, name, down, here.said), top=True)

    def action_order_by(self, step: int) -> None:
        """Sort by the next column or the one before; between the last and the first stands the order they came in."""
        names = ["", *(name for name, _ in self._planned().widths)]
        at = names.index(self.order) if self.order in names else 0
        self.order_by(names[(at + step) % len(names)])

    def action_turn_order(self) -> None:
        """The greatest first, or the least."""
        if self.order:
            self.order_by(self.order, falling=not self.falling)

    def action_choose_columns(self) -> None:
        """Ask which columns are shown."""
        from screens.widgets.choose_columns import ColumnsDialog

        shown = [*self.arrangement.columns] or [column.name for column in self.columns if column.chosen]

        def chosen(names: list[str] | None) -> None:
            if names is not None:
                here = self.arrangement
                self._change(Arrangement(tuple(names), here.order, here.falling, here.said))

        self.app.push_screen(
            ColumnsDialog([column.head for column in self.columns], [c.name for c in self.columns], shown), chosen
        )

    def on_click(self, event: events.Click) -> None:
        """A click on a head sorts by it, and turns the order round where it is sorted by it."""
        if event.y >= self.head_lines:
            super().on_click(event)
        elif name := self._planned().column_at(event.x):
            self.order_by(name, falling=not self.falling if name == self.order else None)

    # ── filter ──

    def filter_by(self, said: str) -> None:
        """Show what matches.

        Raises:
            re.error: the regular expression is wrong; what is shown stays.
        """
        if said.startswith("~"):
            re.compile(said[1:])
        here = self.arrangement
        if said != here.said and self._may["filter"]:
            self._change(Arrangement(here.columns, here.order, here.falling, said))

    def action_filter(self) -> None:
        """Write what rows are to match, in a line below."""
        TableFilter.of(self).write()

    def action_clear(self) -> None:
        """No selection any more; after that no filter."""
        self.end_range()
        if self.selected:
            self.select(())
        else:
            TableFilter.of(self).clear()

    def action_choose(self) -> None:
        """Enter."""
        if self.current is not None:
            self.post_message(self.Chosen())
