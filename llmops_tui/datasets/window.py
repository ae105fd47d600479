"""A window on a version: any rows, filtered, searched and sorted by a query, whatever their number."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmops_tui.datasets.parts import typed_projection
from llmops_tui.datasets.records import CONTENT_COLUMNS, ROW, Row, answer_text, input_text, load_json
from llmops_tui.datasets.reports import ViewRecord
from llmops_tui.datasets.search import SearchIndex
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.sandbox import check_expression, limited, lock, open_sandbox, quote_name, quote_text

if TYPE_CHECKING:
    import duckdb

# How a filter begins that is searched for by meaning.
MEANING = "??"
# How one begins that is searched for by words.
WORDS = "?"
# An SQL filter that lists rows, which are shown in the order of the list: those that belong together stand together.
_LISTED = re.compile(rf"=\s*{ROW}\s+IN\s*\((\s*\d{{1,18}}\s*(?:,\s*\d{{1,18}}\s*)*)\)\s*", re.IGNORECASE)
BLOCK = 256
_BLOCKS = 24
_CELL = 300
_LARGE = 200_000


@dataclass(frozen=True)
class View:
    """What of a version is shown: a filter as it is typed, a column to sort by, and whether downwards.

    A filter that begins with ``=`` is an SQL expression, with ``~`` a regular expression, with ``?`` words for the
    full-text search, with ``??`` a text for the search by meaning, whose rows come the nearest first; anything else is text
    that some column holds, whatever its case. Rows that SQL lists by their numbers come in the order of the list.
    """

    filter: str = ""
    sort: str = ""
    descending: bool = False

    def as_dict(self) -> ViewRecord:
        """The view as JSON."""
        return {"filter": self.filter, "sort": self.sort, "descending": self.descending}


@dataclass(frozen=True)
class Line:
    """A row of the table: its number and its cells, as text."""

    row: int
    cells: tuple[str, ...]


@dataclass
class _Selected:
    """Which rows a view shows: all in their order where ``rows`` is none."""

    rows: npt.NDArray[np.int64] | None = None
    blocks: OrderedDict[int, list[Line]] = field(default_factory=OrderedDict)


class RowWindow:
    """Reads the rows of one version, a block at a time, and remembers the last few blocks. Thread-safe."""

    def __init__(self, version: DatasetVersion) -> None:
        self.version = version
        self.view = View()
        self.columns = self._shown_columns()
        self._lock = threading.Lock()
        self._connection = self._connect()
        self._selected = _Selected()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="rows")
        self._asked: set[int] = set()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = open_sandbox(self.version.files, memory="256MB")
        connection.execute(f"CREATE VIEW stored AS SELECT * FROM {self.version.source}")
        connection.execute(f"CREATE VIEW rows AS SELECT {ROW}, {typed_projection(self.version.columns)} FROM stored")
        lock(connection)
        return connection

    def close(self) -> None:
        """Stop reading."""
        self._connection.interrupt()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._connection.close()

    @property
    def count(self) -> int:
        """How many rows the view shows."""
        rows = self._selected.rows
        return self.version.rows if rows is None else len(rows)

    def select(
        self,
        view: View,
        index: Callable[[], SearchIndex] | None = None,
        meaning: Callable[[str], Sequence[int]] | None = None,
    ) -> None:
        """Show what a view says; ``index`` gives the full-text index where it is needed, ``meaning`` the rows of a search.

        Raises:
            InputRefusedError: the filter cannot be used; what was shown stays.
        """
        if view.filter.startswith(MEANING):
            if meaning is None:
                raise InputRefusedError("not_embedded", "the rows cannot be searched by meaning here")
            self._select_found(view, meaning(view.filter[len(MEANING) :].strip()))
            return
        if view.filter.startswith(WORDS):
            if index is None:
                raise InputRefusedError("no_index", "there is no full-text index of this version")
            self._select_found(view, index().find(view.filter[len(WORDS) :].strip()))
            return
        if view == View():
            self._selected, self.view = _Selected(), view
            return
        if not view.sort and (listed := _LISTED.fullmatch(view.filter)):
            numbers = dict.fromkeys(int(number) for number in listed[1].split(","))
            self._select_found(view, [number for number in numbers if number < self.version.rows])
            return
        condition = self._condition(view.filter)
        order = ROW
        if view.sort:
            if view.sort not in {c.name for c in self.version.columns}:
                raise InputRefusedError("unknown_column", f"there is no column {view.sort!r}")
            order = f"{quote_name(view.sort)} {'DESC' if view.descending else 'ASC'} NULLS LAST, {ROW}"
        text = f"SELECT {ROW} FROM rows" + (f" WHERE {condition}" if condition else "") + f" ORDER BY {order}"
        with self._lock, limited(self._connection):
            rows = self._connection.execute(text).fetchnumpy()[ROW]
        self._selected, self.view = _Selected(np.asarray(rows, np.int64)), view
        self._asked.clear()

    def _select_found(self, view: View, found: Sequence[int] | npt.NDArray[np.int64]) -> None:
        """Show the rows of a search in its order, unless the view has one of its own."""
        rows = np.asarray(found, np.int64)
        if view.sort:
            # All rows in that order, of which some are kept: SQL that lists the rows of a large cluster takes long to read.
            self.select(replace(view, filter=""))
            assert self._selected.rows is not None
            rows = self._selected.rows[np.isin(self._selected.rows, rows)]
        self._selected, self.view = _Selected(rows), view
        self._asked.clear()

    def _condition(self, text: str) -> str:
        kind, rest = text[:1], text[1:].strip()
        if kind == "=":
            return check_expression(rest)
        if not text.strip():
            return ""
        texts = [f"CAST({quote_name(c.name)} AS VARCHAR)" for c in self.version.columns]
        if kind == "~":
            tests = [f"regexp_matches({text_}, {quote_text(rest)}, 'i')" for text_ in texts]
        else:
            plain = text.strip().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            tests = [f"{text_} ILIKE {quote_text(f'%{plain}%')} ESCAPE '\\'" for text_ in texts]
        return "(" + " OR ".join(tests) + ")" if tests else ""

    # ── reading ──

    def row_at(self, index: int) -> int:
        """The number of the row at a place of the view."""
        rows = self._selected.rows
        return index if rows is None else int(rows[index])

    def index_of(self, row: int) -> int | None:
        """The place of a row in the view; none where the view does not show it."""
        rows = self._selected.rows
        if rows is None:
            return row if row < self.version.rows else None
        found = np.flatnonzero(rows == row)
        return int(found[0]) if len(found) else None

    def numbers(self) -> list[int]:
        """The numbers of all rows of the view."""
        rows = self._selected.rows
        return list(range(self.version.rows)) if rows is None else rows.tolist()

    def lines(self, first: int, count: int) -> list[Line]:
        """Lines of the table, read now where they are not remembered."""
        out: list[Line] = []
        for block in range(first // BLOCK, (min(first + count, self.count) - 1) // BLOCK + 1):
            lines = self._block(self._selected, block)
            begin = block * BLOCK
            out += lines[max(0, first - begin) : max(0, first + count - begin)]
        return out

    def remembered(self, index: int) -> Line | None:
        """A line that was read already; never reads, never waits."""
        lines = self._selected.blocks.get(index // BLOCK)
        return lines[index % BLOCK] if lines is not None and index % BLOCK < len(lines) else None

    def prefetch(self, index: int, ready: Callable[[], None]) -> None:
        """Read the block of a place and its neighbours in the background; ``ready`` is called after each that was read."""
        here = index // BLOCK
        # The next half of a block is read before the cursor gets there.
        near = [here] + ([here + 1] if index % BLOCK > BLOCK // 2 else [here - 1])
        for block in near:
            if 0 <= block * BLOCK < self.count and block not in self._selected.blocks and block not in self._asked:
                self._asked.add(block)
                self._pool.submit(self._fetch, self._selected, block, ready)

    def _fetch(self, selected: _Selected, block: int, ready: Callable[[], None]) -> None:
        try:
            if selected is self._selected:
                self._block(selected, block)
        finally:
            self._asked.discard(block)
        ready()

    def _block(self, selected: _Selected, block: int) -> list[Line]:
        found = selected.blocks.get(block)
        if found is not None:
            return found
        begin = block * BLOCK
        rows = selected.rows
        if rows is None:
            where = f"{ROW} BETWEEN {begin} AND {begin + BLOCK - 1}"
            wanted = None
        else:
            wanted = rows[begin : begin + BLOCK].tolist()
            # The range lets whole row groups be passed over; the list alone does not.
            where = f"{ROW} BETWEEN {min(wanted)} AND {max(wanted)} AND {ROW} IN ({', '.join(map(str, wanted))})"
        parts = [_cell_sql(c.name, whole=c.name in self._content) for c in self.version.columns]
        text = f"SELECT {', '.join([ROW, *parts])} FROM stored WHERE {where} ORDER BY {ROW}"
        with self._lock:
            values = self._connection.execute(text).fetchall()
        lines = {int(v[0]): self._line(v) for v in values}
        ordered = list(lines.values()) if wanted is None else [lines[n] for n in wanted if n in lines]
        selected.blocks[block] = ordered
        while len(selected.blocks) > _BLOCKS:
            selected.blocks.popitem(last=False)
        return ordered

    # ── cells ──

    @property
    def _content(self) -> tuple[str, ...]:
        return CONTENT_COLUMNS.get(self.version.kind, ())

    def _shown_columns(self) -> tuple[str, ...]:
        """The columns of the table: what is asked and answered in place of the lists of messages."""
        content = CONTENT_COLUMNS.get(self.version.kind, ())
        others = tuple(c.name for c in self.version.columns if c.name not in content)
        asked = {"messages": ("user", "assistant"), "text": ("text",)}.get(self.version.kind, ())
        if self.version.kind in {"prompt-completion", "kto", "preference"}:
            asked = ("prompt", "completion" if self.version.kind != "preference" else "chosen")
        # Short columns first, so that they are seen beside the text.
        return (*others, *asked)

    def _line(self, values: tuple[Any, ...]) -> Line:
        stored = dict(zip((c.name for c in self.version.columns), values[1:], strict=True))
        cells: list[str] = [_shown(v) for n, v in stored.items() if n not in self._content]
        if self._content:
            row: Row = {}
            for name in self._content:
                value = stored.get(name)
                row[name] = _decoded(value)
            if self.version.kind == "messages":
                turns = row.get("messages")
                users = (
                    [m for m in turns if isinstance(m, dict) and m.get("role") == "user"]
                    if isinstance(turns, list)
                    else []
                )
                asked = input_text("messages", {"messages": users[-1:]}) if users else _shown(stored["messages"])
                cells += [_shown(asked), _shown(answer_text("messages", row))]
            elif self.version.kind == "text":
                cells.append(_shown(row.get("text")))
            else:
                cells += [_shown(input_text(self.version.kind, row)), _shown(answer_text(self.version.kind, row))]
        return Line(int(values[0]), tuple(cells))


def _cell_sql(name: str, *, whole: bool) -> str:
    quoted = quote_name(name)
    if whole:
        return f"CASE WHEN length({quoted}) > {_LARGE} THEN left({quoted}, 2000) ELSE {quoted} END"
    return f"left(CAST({quoted} AS VARCHAR), {_CELL})"


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in '[{"':
        try:
            return load_json(value)
        except ValueError:
            return value
    return value


def _shown(value: Any) -> str:
    return "" if value is None else str(value)[:_CELL]
