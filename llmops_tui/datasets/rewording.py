"""The text of a row that may be said otherwise: what it asks, or its text; and the row with another one in its place.

What is beside it stays: a label or an answer is right for the same thing said in other words. It is not where the words
themselves are what it is about, such as a label of spelling or of politeness, which nobody but a person can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmops_tui.datasets.label_columns import label_column
from llmops_tui.datasets.origins import COLUMN
from llmops_tui.datasets.records import Row
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError

_PLACES = {"prompt-completion": "prompt", "preference": "prompt", "kto": "prompt", "text": "text"}


@dataclass(frozen=True)
class Rewording:
    """Where the text stands in the rows of a version: a column, or the last thing that the user says.

    ``carried`` has the columns that come along as they are.
    """

    kind: str
    column: str
    carried: tuple[str, ...]

    def text_of(self, row: Row) -> str | None:
        """The text; none where a row has none, or one of several parts."""
        value = row.get(self.column)
        if isinstance(value, list):
            place = _last_said(value)
            value = value[place].get("content") if place is not None else None
        return value if isinstance(value, str) and value.strip() else None

    def with_text(self, row: Row, text: str) -> Row:
        """The row with another text; what had made the old one is left out."""
        value: Any = row[self.column]
        if isinstance(value, list):
            place = _last_said(value)
            assert place is not None
            text_at: Any = [turn | {"content": text} if n == place else turn for n, turn in enumerate(value)]
        else:
            text_at = text
        return {name: text_at if name == self.column else old for name, old in row.items() if name != COLUMN}


def _last_said(turns: list[Any]) -> int | None:
    places = [n for n, turn in enumerate(turns) if isinstance(turn, dict) and turn.get("role") == "user"]
    return places[-1] if places else None


def rewording_of(version: DatasetVersion, column: str = "") -> Rewording:
    """Where the text of a version's rows stands; of a table it may have to be named.

    Raises:
        InputRefusedError: ``unknown_column``, ``column_missing``.
    """
    texts = [c.name for c in version.columns if c.type == "text"]
    if version.kind == "messages":
        place = "messages"
    elif version.kind in _PLACES:
        place = _PLACES[version.kind]
    else:
        label = label_column(version.columns)
        free = [name for name in texts if name not in {label, "id", COLUMN}]
        place = column or (free[0] if len(free) == 1 else "")
        if not place:
            raise InputRefusedError(
                "column_missing",
                f"which column of {version.ref} is said otherwise?",
                f"Name one of: {', '.join(free) or 'there is none of texts'}.",
            )
    if version.kind == "tabular" and place not in texts:
        raise InputRefusedError(
            "unknown_column",
            f"{version.ref} has no column of texts {place!r}",
            f"Columns of texts: {', '.join(texts)}.",
        )
    if column not in {"", place}:
        raise InputRefusedError(
            "unknown_column",
            f"{column!r} of {version.ref} cannot be said otherwise: of rows of kind {version.kind} that is {place!r}",
            "Leave the column out.",
        )
    if place not in {c.name for c in version.columns}:
        raise InputRefusedError("column_missing", f"{version.ref} has no column {place!r} to say otherwise")
    carried = tuple(c.name for c in version.columns if c.name not in {place, COLUMN})
    return Rewording(version.kind, place, carried)
