"""The rows that a check found, as they are shown: those that belong together side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.datasets.records import ROW
from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    from llmops_tui.datasets.reports import Problem

_READ_SECONDS = 6.0


class FoundRows:
    """What a check found.

    Attributes:
        filter: shows the rows, in the order of their groups.
        repeats: rows that repeat another one, by their numbers.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        grouped = [n for group in problem["groups"] for n in group]
        self._numbers = list(dict.fromkeys(grouped or problem["row_numbers"]))
        self.filter = f"= {ROW} IN ({', '.join(map(str, self._numbers))})"
        self.repeats = {n: group[0] for group in problem["groups"] for n in group[1:]}

    @property
    def title(self) -> str:
        """Which rows these are."""
        groups = self._problem["group_count"]
        told = f"{safe_line(self._problem['title'], 60)}: {counted(self._problem['rows'], 'row')}"
        return f"{told}, each below what it repeats, in {counted(groups, 'group')}" if groups else told

    def told(self) -> Iterator[tuple[str, float]]:
        """What is to be said of them, with the seconds that it takes to read it: that they are not all, why one is among them.

        What the problem is stands with the checks, and what a row repeats in the title and beside the row.
        """
        problem, shown = self._problem, len(self._numbers)
        if problem["rows"] > shown:
            yield f"The first {shown:,} of {problem['rows']:,} rows are shown.", _READ_SECONDS
        for first in problem["examples"][:1] if not problem["groups"] else ():
            yield f"Row {first['row']:,}: {first['reason']}.", _READ_SECONDS
