"""Which rows of a table a filter leaves, and in which order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic

from screens.widgets.arrangement import Arrangement
from screens.widgets.columns import Column, Row, sort_rows

_TERM = re.compile(r"^([^\s:<>]+)([:<>])(\S+)$")


class RowFilter(Generic[Row]):
    """Which rows are shown: those with all words, or with a ``~regex``, in any column.

    ``state:failed`` is a word of one column, ``took>5`` and ``took<5`` compare its figures.
    """

    def __init__(self, said: str, columns: Sequence[Column[Row]]) -> None:
        """Read what was typed.

        Raises:
            re.error: the regular expression is wrong.
        """
        self._columns = columns
        self._pattern = re.compile(said[1:], re.IGNORECASE) if said.startswith("~") else None
        self._tests: list[Callable[[Row], bool]] = []
        by_name = {column.name.casefold().replace(" ", "-"): column for column in columns}
        for word in said.casefold().split() if self._pattern is None else []:
            match = _TERM.match(word)
            column = by_name.get(match.group(1)) if match is not None else None
            if match is None or column is None:
                self._tests.append(partial(self._has, word))
            elif match.group(2) == ":":
                self._tests.append(partial(_says, column, match.group(3)))
            else:
                self._tests.append(partial(_compares, column, match.group(2), match.group(3)))

    def shows(self, row: Row) -> bool:
        """Whether a row is shown."""
        if self._pattern is not None:
            return self._pattern.search(self._text(row)) is not None
        return all(test(row) for test in self._tests)

    def _has(self, word: str, row: Row) -> bool:
        return word in self._text(row)

    def _text(self, row: Row) -> str:
        return "\n".join(column.part(row)[0] for column in self._columns).casefold()


def is_filter(said: str) -> bool:
    """Whether a text can be a filter: what was kept in a workspace from elsewhere may be anything."""
    try:
        RowFilter(said, ())
    except re.error:
        return False
    return True


def _says(column: Column[Row], word: str, row: Row) -> bool:
    return word in column.part(row)[0].casefold()


def _compares(column: Column[Row], sign: str, text: str, row: Row) -> bool:
    value = column.sort_value(row)
    try:
        limit = float(text)
    except ValueError:
        return False
    return isinstance(value, int | float) and (value > limit if sign == ">" else value < limit)


def arranged(rows: list[Row], columns: Sequence[Column[Row]], wanted: Arrangement, *, sorts: bool) -> list[Row]:
    """The rows that its filter leaves, in its order where this is to sort them."""
    if wanted.said:
        keeps = RowFilter(wanted.said, columns)
        rows = [row for row in rows if keeps.shows(row)]
    order = next((column for column in columns if column.name == wanted.order), None)
    return sort_rows(rows, order, falling=wanted.falling) if order is not None and sorts else list(rows)
