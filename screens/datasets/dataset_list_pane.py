"""The list of datasets."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.datasets.version import DatasetVersion
from screens.datasets import rendering
from screens.navigation import ScreenPlace
from screens.shell.pane import Pane
from screens.widgets.archive_table import ArchiveTable
from screens.widgets.table import Table

_ONE = "One at a time: esc takes the selection back."


class DatasetListPane(Pane):
    """One line a dataset, with what its newest version holds."""

    class Chosen(Message):
        """A dataset is to be opened."""

        def __init__(self, dataset: str) -> None:
            super().__init__()
            self.dataset = dataset

    class Changed(Message):
        """Datasets were deleted, or have other names; ``opens`` is the one to go on with, where it is another."""

        def __init__(self, opens: str = "") -> None:
            super().__init__()
            self.opens = opens

    def __init__(self) -> None:
        super().__init__(title="Datasets", jump_key="d", id="datasets-list", help_text=rendering.HELP_DATASETS)
        self._current = ""

    def compose(self) -> ComposeResult:
        """The list."""
        yield ArchiveTable(
            rendering.DATASET_COLUMNS,
            kind="dataset",
            id="dataset-list",
            key=lambda version: version.dataset,
            empty=rendering.NO_DATASETS,
            mark=lambda version: ("▸", "accent") if version.dataset == self._current else ("", "plain"),
        )

    @property
    def table(self) -> Table[DatasetVersion]:
        """The newest version of each dataset."""
        return self.query_one(Table)

    # ── what is done with datasets ──

    @property
    def _subjects(self) -> list[str]:
        """The selected datasets or the one under the cursor while the list has the focus, else the open one."""
        if self.table.has_focus:
            return [version.dataset for version in self.table.picked]
        return [self._current] if self._current else []

    def action_indexes(self) -> None:
        """Go to the indexes."""
        self.shell.open_place(ScreenPlace("retrieval"))

    def action_rename(self) -> None:
        """Another name for the dataset."""
        self._with_one(self._rename)

    async def _rename(self, name: str) -> None:
        from llmops_tui.maintenance.archiving import Kept
        from screens.shell.renaming import rename

        opened = name == self._current
        if new := await rename(self.shell, Kept.DATASET, name):
            self.post_message(self.Changed(new if opened else ""))

    def action_duplicate(self) -> None:
        """A dataset of its own that begins with this one's newest version."""
        self._with_one(self._duplicate)

    async def _duplicate(self, name: str) -> None:
        from llmops_tui.maintenance.archiving import Kept
        from screens.shell.renaming import copy

        if made := await copy(self.shell, Kept.DATASET, name):
            self.post_message(self.Changed(made.partition("@")[0]))

    def _with_one(self, do: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        names = self._subjects
        if len(names) == 1:
            self.ask_by("name", do, names[0])
        else:
            self.shell.say(_ONE if names else "No datasets yet: i imports one.", severity="warning")

    def offer_removal(self) -> bool:
        """Ask, then delete the datasets of the list, where it has the focus; whether that is so."""
        if not self.table.has_focus or not self._subjects:
            return False
        from screens.shell.removal import offer_removal

        self.ask_by("removal", offer_removal, self.shell, "dataset", self._subjects, self._removed)
        return True

    async def _removed(self) -> None:
        self.post_message(self.Changed())

    def show(self, logs: dict[str, list[DatasetVersion]], current: str) -> None:
        """Show datasets, with the cursor on the one that is open; ``current`` is empty where none is."""
        moves = current != self._current
        self._current = current
        self.table.fill([log[0] for log in logs.values()], current if moves else "")

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        event.stop()
        if self.table.current is not None:
            self.post_message(self.Chosen(self.table.current.dataset))
