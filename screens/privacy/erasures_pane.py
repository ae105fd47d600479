"""The erasures of the workspace: those that are done, and those that were interrupted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.counts import counted
from llmops_tui.states import tone_of
from screens.shell.pane import Pane
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.maintenance.erasure_records import ErasureRecord

_EMPTY = "Nobody was forgotten yet.\nn finds a person, and shows what forgetting them would do."


class ErasuresPane(Pane):
    """The newest first."""

    class CursorMoved(Message):
        """Another erasure is under the cursor."""

        def __init__(self, erasure: ErasureRecord) -> None:
            super().__init__()
            self.erasure = erasure

    class Resumed(Message):
        """Interrupted erasures were completed."""

    def __init__(self) -> None:
        super().__init__(
            title="Erasures",
            jump_key="e",
            id="privacy-erasures",
            help_text="Receipts of what was erased; they name nobody. r completes what was interrupted.",
        )
        self.erasures: list[ErasureRecord] = []

    def compose(self) -> ComposeResult:
        """The list."""
        yield Table(_columns(), id="erasure-list", key=lambda one: one["id"], empty=_EMPTY, selects=False)

    @property
    def _table(self) -> Table[ErasureRecord]:
        return self.query_one(Table)

    async def load(self, select: str = "") -> None:
        """Read the ledger; with ``select`` put the cursor on an erasure."""
        from llmops_tui.maintenance.erasure_ledger import Ledger

        found = await asyncio.to_thread(lambda: Ledger(self.services.workspace).all()[::-1])
        self.erasures = found
        self._table.fill(found, select)

    @property
    def current(self) -> ErasureRecord | None:
        """The erasure under the cursor."""
        return self._table.current

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        if self.current is not None and self._table.has_focus:
            self.post_message(self.CursorMoved(self.current))

    def action_resume(self) -> None:
        """Complete what was interrupted."""
        if any(one["receipt"] is None for one in self.erasures):
            self.act("resume", self._resume)
        else:
            self.shell.say("No erasure was interrupted.")

    async def _resume(self) -> None:
        from llmops_tui.maintenance.forgetting.erase import resume

        done = await asyncio.to_thread(resume, self.services.workspace)
        self.shell.say(f"{counted(len(done), 'erasure')} completed.")
        self.post_message(self.Resumed())


def _state(erasure: ErasureRecord) -> Part:
    receipt = erasure["receipt"]
    word = "interrupted" if receipt is None else "incomplete" if receipt["searched"]["left"] else "done"
    return word, tone_of(word)


def _columns() -> list[Column[ErasureRecord]]:
    return [
        Column("state", _state),
        Column("begun", lambda one: units.moment(one["begun_at"]), lambda one: one["begun_at"], falling=True),
        Column("things", lambda one: units.whole(sum(one["planned"].values())), lambda one: sum(one["planned"].values()),
            right=True, falling=True),
        Column("receipt", lambda one: (one["id"], "muted"), share=1, least=8, rank=1),
    ]  # fmt: skip
