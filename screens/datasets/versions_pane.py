"""The versions of the open dataset, and the actions on them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.datasets.version import DatasetVersion
from screens.datasets import rendering
from screens.datasets.compare_versions import compare_versions
from screens.shell.pane import Pane
from screens.shell.removal import offer_removal
from screens.widgets.dialogs import LineDialog
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.datasets.store import DatasetStore


class VersionsPane(Pane):
    """The newest first."""

    class Chosen(Message):
        """A version is to be opened."""

        def __init__(self, version: DatasetVersion) -> None:
            super().__init__()
            self.version = version

    class Changed(Message):
        """A tag was moved, or a version deleted."""

    class Restored(Message):
        """An old version's rows are the newest version again, which is ``version``."""

        def __init__(self, version: DatasetVersion) -> None:
            super().__init__()
            self.version = version

    def __init__(self) -> None:
        super().__init__(title="Versions", jump_key="v", id="datasets-versions", help_text=rendering.HELP_VERSIONS)
        self._log: list[DatasetVersion] = []
        self._version: DatasetVersion | None = None
        # By the id of a version, what is to be said where nobody wrote some of its rows.
        self._origins: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """The list."""
        yield Table(
            rendering.version_columns(),
            id="data-version-list",
            key=lambda row: row.version.ref,
            empty="",
            mark=lambda row: ("▸", "accent") if self._is_open(row.version) else ("", "plain"),
        )

    @property
    def table(self) -> Table[rendering.VersionRow]:
        """The versions."""
        return self.query_one(Table)

    def _is_open(self, version: DatasetVersion) -> bool:
        return self._version is not None and version.id == self._version.id

    def show(self, log: list[DatasetVersion], version: DatasetVersion | None) -> None:
        """Show the versions of a dataset, with the cursor on the one that is open."""
        moves = version is not None and not self._is_open(version)
        self._log, self._version = log, version
        self._fill(version.ref if version is not None and moves else "")
        if any(one.id not in self._origins for one in log):
            self.act("origins", self._read_origins, log)

    async def _read_origins(self, log: list[DatasetVersion]) -> None:
        """Count the rows that nobody wrote, and say so behind each version."""
        self._origins |= await asyncio.to_thread(_origins_of, self.services.datasets, log)
        self._fill()

    def _fill(self, select: str = "") -> None:
        changes = changes_of(self._log)
        rows = [
            rendering.VersionRow(one, changes[one.number], self._origins.get(one.id, ""))
            for one in (self._log if self._version is not None else [])
        ]
        self.table.fill(rows, select)

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        event.stop()
        if self.table.current is not None:
            self.post_message(self.Chosen(self.table.current.version))

    def action_tag(self) -> None:
        """Ask for a tag and point it at the open version."""
        if self._version is not None:
            self.ask_by("tag", self._tag, self._version)

    async def _tag(self, version: DatasetVersion) -> None:
        hint = "such as production; a tag moves, versions stay; z undoes"
        name = await self.shell.ask(LineDialog(f"Tag {version.ref}", hint))
        if name:
            tagged = await asyncio.to_thread(self.services.undo.move_tag, version.ref, name)
            self.shell.say(f"{name} is {tagged.ref}; z undoes.")
            self.post_message(self.Changed())

    def action_diff(self) -> None:
        """Compare the open version with its parent, or another."""
        if self._version is not None:
            self.ask_by("diff", compare_versions, self.shell, self._version)

    def action_restore(self) -> None:
        """Make the open version the newest again."""
        version = self._version
        if version is None or version.id == next((v.id for v in self._log), ""):
            self.shell.say("This is the newest version.", severity="warning")
        else:
            self.act("restore", self._restore, version)

    async def _restore(self, version: DatasetVersion) -> None:
        restored = await asyncio.to_thread(self.services.datasets.restore, version.ref)
        self.shell.say(f"{restored.ref} has the rows of @{version.number}.")
        self.post_message(self.Restored(restored))

    def action_delete(self) -> None:
        """Ask, then delete the selected versions or the one under the cursor where the list has the focus, else the open one."""
        rows = self.table.picked if self.table.has_focus else []
        refs = [row.version.ref for row in rows] or ([self._version.ref] if self._version is not None else [])
        if refs:
            self.ask_by("removal", offer_removal, self.shell, "dataset", refs, self._removed)

    async def _removed(self) -> None:
        self.post_message(self.Changed())


def _origins_of(store: DatasetStore, log: list[DatasetVersion]) -> dict[str, str]:
    from llmops_tui.datasets.origins import written_of

    logs = store.logs()
    found = [(one.id, written_of(store, one, logs)) for one in log]
    return {id_: f"{w.share:.0%} synthetic" if w.share else "synthetic inputs" if w.any else "" for id_, w in found}


def changes_of(log: list[DatasetVersion]) -> dict[int, int]:
    """How many rows each version has more than the one that it changed, by its number; 0 where that is not known.

    Rows that are the newest again changed the version that was so before.
    """
    rows = {one.number: one.rows for one in log}
    found = {}
    for one in log:
        restored = one.recipe.operation == "restore"
        before = max((n for n in rows if n < one.number), default=None) if restored else one.parent
        found[one.number] = one.rows - rows[before] if before in rows else 0
    return found
