"""What of a row is embedded: a declared choice, shown beside everything that rests on it."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_tui.datasets.label_columns import LABEL_NAMES
from llmops_tui.datasets.records import CONTENT_COLUMNS, Column, Row, answer_text, question_text, whole_text
from llmops_tui.errors import InputRefusedError

ASKED, WHOLE, ANSWER = "question", "whole", "answer"
# Columns that would tell the answer, or that only number and name rows.
_NOT_ASKED = frozenset({"id", "_id", "uuid", "guid", "answer", *LABEL_NAMES})


class RowText:
    """Gives the text of each row of a kind by a choice: ``question``, ``whole``, ``answer``, or columns with commas.

    ``question`` is what a row asks, without system turns; of a table and of texts, the columns of text that are not named as
    labels or ids are.
    """

    def __init__(self, kind: str, columns: Sequence[Column], of: str = "") -> None:
        self._kind = kind
        self.of = of or ASKED
        texts = [c.name for c in columns if c.type == "text"]
        named = [name.strip() for name in self.of.split(",")]
        if self.of in {ASKED, WHOLE, ANSWER}:
            self.columns = tuple(name for name in texts if name.lower() not in _NOT_ASKED) or tuple(texts)
        else:
            self.columns = tuple(named)
            if unknown := [name for name in named if name not in {c.name for c in columns}]:
                raise InputRefusedError(
                    "unknown_column",
                    f"there is no column {unknown[0]!r}",
                    f"Give {ASKED}, {WHOLE}, {ANSWER}, or columns: {', '.join(texts)}",
                )
        if self.of == ANSWER and kind in {"text", "tabular"}:
            raise InputRefusedError(
                "no_answer", f"{kind} rows have no answers", f"Give {ASKED}, {WHOLE}, or columns with commas."
            )

    @property
    def told(self) -> str:
        """What is embedded, in words."""
        if self.of not in {ASKED, WHOLE, ANSWER}:
            return f"the columns {', '.join(self.columns)}"
        if self._kind in {"text", "tabular"}:
            return "all columns of text" if self.of == WHOLE else f"the columns {', '.join(self.columns)}"
        own = ", ".join(CONTENT_COLUMNS.get(self._kind, ()))
        return {
            ASKED: f"what each row asks, without system turns (of {own})",
            WHOLE: f"all that each row says (of {own})",
            ANSWER: f"what each row answers (of {own})",
        }[self.of]

    def text(self, row: Row) -> str:
        """The text of a row without blanks around it; it may be empty."""
        return self._text(row).strip()

    def _text(self, row: Row) -> str:
        if self.of == WHOLE:
            return whole_text(self._kind, row)
        if self.of == ANSWER:
            return answer_text(self._kind, row)
        if self.of == ASKED:
            return question_text(self._kind, row, self.columns)
        return "\n".join(value for name in self.columns if isinstance(value := row.get(name), str))
