"""All versions of all chains."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from screens.shell.pane import Pane
from screens.widgets import units
from screens.widgets.archive_table import ArchiveTable
from screens.widgets.columns import Column
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.chains.store import ChainVersion

_EMPTY = "No chain yet.\nn writes one: prompts, searches, branches and maps that use each other's results."
_HELP = (
    "Versions of chains, those of the chain that was changed last first. n begins a new chain, l points a label such as "
    "production at the version, d compares it with its parent, F5 runs it, & archives the chain. "
    "A chain keeps its name, since its runs have it: llmops chain copy makes one of another name."
)


class ListPane(Pane):
    """One line a version."""

    class CursorMoved(Message):
        """Another version is under the cursor."""

    class Changed(Message):
        """A chain is another now, or gone."""

    class Compared(Message):
        """A version was compared with another one."""

        def __init__(self, title: str, told: str) -> None:
            super().__init__()
            self.title, self.told = title, told

    class Begun(Message):
        """A new chain is to be written."""

    class Wanted(Message):
        """The version is to be run; with ``rows`` over those of a dataset."""

        def __init__(self, *, rows: bool = False) -> None:
            super().__init__()
            self.rows = rows

    def __init__(self) -> None:
        super().__init__(title="Chains", jump_key="c", id="chains-list", help_text=_HELP)
        self._stamp: object = None

    def compose(self) -> ComposeResult:
        """The list."""
        yield ArchiveTable(
            _columns(),
            kind="chain",
            id="chains-versions",
            key=lambda one: one.ref,
            named=lambda one: one.name,
            empty=_EMPTY,
            selects=False,
        )

    @property
    def _table(self) -> Table[ChainVersion]:
        return self.query_one(Table)

    @property
    def current(self) -> ChainVersion | None:
        """The version under the cursor."""
        return self._table.current

    async def load(self, select: str = "") -> None:
        """Read the versions, where something changed; with ``select`` put the cursor on one."""
        from screens.chains.reading import read_versions

        stamp = self.services.catalog.stamp()
        if stamp == self._stamp and not select:
            return
        found = await asyncio.to_thread(read_versions, self.services)
        self._stamp = stamp
        self._table.fill(found, select)

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self.post_message(self.CursorMoved())

    # ── actions ──

    def action_run(self) -> None:
        """Run the version."""
        self.post_message(self.Wanted())

    def action_run_rows(self) -> None:
        """Run the version for each row of a dataset."""
        self.post_message(self.Wanted(rows=True))

    def action_new(self) -> None:
        """Begin a chain."""
        self.post_message(self.Begun())

    def action_label(self) -> None:
        """Point a label at the version."""
        if self.current is not None:
            self.ask_by("label", self._label, self.current)

    async def _label(self, version: ChainVersion) -> None:
        from screens.chains.change_chain import label_version

        if await label_version(self.shell, version):
            await self.load(version.ref)
            self.post_message(self.Changed())

    def action_diff(self) -> None:
        """Compare the version with the one it was made of."""
        if self.current is not None:
            self.act("diff", self._diff, self.current)

    async def _diff(self, version: ChainVersion) -> None:
        from screens.chains.change_chain import diff_with_parent

        if (found := await diff_with_parent(self.shell, version)) is not None:
            self.post_message(self.Compared(*found))

    def action_remove(self) -> None:
        """Delete the chain."""
        if self.current is not None:
            self.ask_by("remove", self._remove, self.current)

    async def _remove(self, version: ChainVersion) -> None:
        from screens.chains.change_chain import remove_chain

        if await remove_chain(self.shell, version):
            self._stamp = None
            await self.load()
            self.post_message(self.Changed())


def _columns() -> list[Column[ChainVersion]]:
    return [
        Column("chain", lambda one: one.ref, names=True),
        Column("labels", lambda one: (" ".join(one.labels), "good"), rank=1, spare=True),
        Column("note", lambda one: one.note, share=1, least=6, rank=2, most=200, spare=True),
        Column("saved", lambda one: units.moment(one.created_at), lambda one: one.created_at,
            rank=3, falling=True),
    ]  # fmt: skip
