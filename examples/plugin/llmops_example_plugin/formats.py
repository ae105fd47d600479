"""A dataset format: questions and answers, one of each a row."""

from __future__ import annotations

from llmops_tui.datasets.formats.base import Format, RowRefusedError, has
from llmops_tui.datasets.records import Row


class QuestionAnswer(Format):
    """``{"q": …, "a": …}``."""

    name = "qa"
    kind = "messages"
    columns = frozenset({"q", "a"})
    sign = "have 'q' and 'a'"

    def recognises(self, row: Row) -> bool:
        """By both columns."""
        return has(row, "q", "a")

    def read(self, row: Row) -> Row:
        """Two messages; other columns stay."""
        question, answer = row.pop("q", None), row.pop("a", None)
        if not (isinstance(question, str) and isinstance(answer, str)):
            raise RowRefusedError("q and a are not both texts")
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return {"messages": turns, **row}

    def write(self, row: Row) -> Row:
        """The two texts; longer conversations do not fit."""
        turns = row.pop("messages")
        if len(turns) != 2:
            raise RowRefusedError(f"two turns are required, and it has {len(turns)}")
        return {"q": turns[0].get("content"), "a": turns[1].get("content"), **row}
