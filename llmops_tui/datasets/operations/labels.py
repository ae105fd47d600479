"""A version made from annotations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmops_tui.counts import counted
from llmops_tui.datasets.operations.base import Made, Work
from llmops_tui.datasets.records import Row


def label(work: Work) -> Made:
    """Apply the ``values`` by row number.

    A label is a column, a rejected row goes, a corrected one is replaced, and a preferred answer becomes the chosen one;
    a tie goes. Rows nobody judged stay as they are.
    """
    task, kind = str(work.parameter("task")), str(work.parameter("kind"))
    said: dict[int, dict[str, Any]] = {int(n): v for n, v in work.parameter("values").items()}

    def change(number: int, row: Row) -> Row | None:
        if number not in said:
            return row
        value = said[number]["value"]
        if kind == "classify":
            return row | {task: value}
        if kind == "review":
            return None if value == "reject" else said[number].get("row", row)
        if value == "tie":
            return None
        return row if value == "first" else row | {"chosen": row["rejected"], "rejected": row["chosen"]}

    made = work.rewrite(change)
    return replace(made, note=f"{counted(len(said), 'row')} labelled: {task}{work.gone()}")
