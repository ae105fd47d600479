"""The columns of the open version: the number of distinct values, and their distribution."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.widgets import Static

from screens.datasets import rendering
from screens.shell.pane import Pane
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.datasets.profile_record import ColumnStatistics
    from llmops_tui.datasets.version import DatasetVersion

# What the table shows of these columns has other names.
_CONTENT = {"messages", "prompt", "text"}


class ColumnsPane(Pane):
    """One line a column, and more about the one under the cursor of the rows."""

    def __init__(self) -> None:
        super().__init__(title="Columns", jump_key="o", id="datasets-columns", help_text=rendering.HELP_COLUMNS)
        self.statistics: list[ColumnStatistics] = []
        self._version: DatasetVersion | None = None
        self._column = ""

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(can_focus=True):
            yield Static("", id="column-facts", markup=False)

    def open(self, version: DatasetVersion | None) -> None:
        """Another version is open: what was read of the one before holds no more."""
        self._version, self.statistics = version, []

    async def read(self, version: DatasetVersion) -> None:
        """Read the columns of the version that is open, and show them."""
        from llmops_tui.datasets.column_statistics import column_statistics

        found = await asyncio.to_thread(column_statistics, version)
        if self._version is version:
            self.statistics = found
            self._draw()

    def inspect(self, column: str) -> None:
        """Tell more about a column."""
        self._column = column
        self._draw()

    def _draw(self) -> None:
        names = [column["name"] for column in self.statistics]
        shown = self._column if self._column in names else next((n for n in names if n in _CONTENT), "")
        facts = rendering.column_facts(self.statistics, shown, blocks=self.shell.profile.utf8)
        self.query_one("#column-facts", Static).update(facts)
