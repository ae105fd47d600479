"""The improvements of a prompt, or of all: where each is, what it looked at, and what came of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.safe_text import safe_line
from llmops_tui.states import tone_of
from screens.shell.pane import Pane
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.improvement.records import ImprovedRecord, ImprovementRecord
    from llmops_tui.improvement.store import Improvement
    from screens.services import Services

_EMPTY = "No improvement yet.\nn finds better instructions and examples for a prompt, and proves them on sealed rows."
_HELP = (
    "Improvements, the newest first. n begins one, after showing what it takes; x cancels it, r goes on with one that ended "
    "early: nothing is asked twice. Under sealed stands whether it looked at its sealed rows, and the how-many-th look it was."
)
_AT_WORK = {"queued", "running"}


@dataclass(frozen=True)
class Listed:
    """An improvement with its line."""

    improvement: Improvement
    record: ImprovementRecord


class ListPane(Pane):
    """One line an improvement."""

    class CursorMoved(Message):
        """Another one is under the cursor."""

    class Changed(Message):
        """One was begun, cancelled or resumed."""

    def __init__(self) -> None:
        super().__init__(title="Improvements", jump_key="i", id="improvement-list", help_text=_HELP)
        self.prompt = ""

    def compose(self) -> ComposeResult:
        """The list."""
        yield Table(
            _columns(), id="improvement-table", key=lambda one: one.record["improvement"], empty=_EMPTY, selects=False
        )

    @property
    def _table(self) -> Table[Listed]:
        return self.query_one(Table)

    @property
    def current(self) -> Listed | None:
        """The improvement under the cursor."""
        return self._table.current

    async def load(self, select: str = "") -> None:
        """Read them; with ``select`` put the cursor on one."""
        found = await asyncio.to_thread(_read, self.services, self.prompt)
        self.set_title("Improvements", safe_line(self.prompt))
        with self.prevent(Table.Moved):
            self._table.fill(found, select)

    async def found(self) -> ImprovedRecord | None:
        """What the one under the cursor has found; none where there is none, or nothing is known."""
        if self.current is None:
            return None
        return await asyncio.to_thread(_found, self.services, self.current.improvement)

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self.post_message(self.CursorMoved())

    # ── actions ──

    def action_new(self) -> None:
        """Begin one."""
        self.ask_by("new", self._new)

    async def _new(self) -> None:
        from screens.improvement.start_improvement import start_improvement

        if (begun := await start_improvement(self.shell, self, self.prompt)) is not None:
            await self.load(begun)
            self.post_message(self.Changed())

    def action_cancel(self) -> None:
        """Cancel the one under the cursor; what was asked is kept."""
        current = self.current
        if current is None or current.record["state"] not in _AT_WORK:
            self.shell.say("None is at work here.", severity="warning")
        else:
            self.act("cancel", self._cancel, current.improvement.id)

    async def _cancel(self, improvement: str) -> None:
        jobs = self.services.jobs
        newest = await asyncio.to_thread(jobs.store.newest_for, [improvement])
        await asyncio.to_thread(jobs.cancel, newest[improvement].id)
        self.shell.say("Cancelled; r goes on with it, and asks nothing twice.")
        self.post_message(self.Changed())

    def action_resume(self) -> None:
        """Go on with the one under the cursor."""
        current = self.current
        if current is None or current.record["state"] in {*_AT_WORK, "done"}:
            self.shell.say("There is nothing to go on with: it is at work, or done.", severity="warning")
        else:
            self.act("resume", self._resume, current.improvement.id)

    async def _resume(self, improvement: str) -> None:
        jobs = self.services.jobs
        newest = await asyncio.to_thread(jobs.store.newest_for, [improvement])
        if improvement not in newest:
            self.shell.say("Its job was removed; begin another one.", severity="warning")
            return
        await asyncio.to_thread(lambda: jobs.resume(newest[improvement].id, unfinished=True))
        self.post_message(self.Changed())


def _read(services: Services, prompt: str) -> list[Listed]:
    from llmops_tui.improvement.store import ImprovementStore

    store = ImprovementStore(services.catalog)
    found = store.all(prompt)
    return [Listed(one, record) for one, record in zip(found, store.records(found), strict=True)]


def _found(services: Services, improvement: Improvement) -> ImprovedRecord | None:
    from llmops_tui.improvement.store import ImprovementStore

    return ImprovementStore(services.catalog).so_far(improvement)


def _sealed(one: Listed) -> Part:
    looked = one.record["looked"]
    if looked is None:
        return "closed", "muted"
    return f"look {looked['look']}", "plain" if looked["look"] == 1 else "warn"


def _state(one: Listed) -> Part:
    state = one.record["state"]
    return state, tone_of(state)


def _columns() -> list[Column[Listed]]:
    return [
        Column("seed", lambda one: safe_line(f"{one.record['prompt']}@{one.record['seed']}")),
        Column("state", _state, rank=1),
        Column("began", lambda one: units.moment(one.record["started_at"]), lambda one: one.record["started_at"],
            falling=True, rank=3),
        Column("sealed", _sealed, rank=1),
        Column("verdict", lambda one: safe_line(one.record["verdict"], 300), share=1, least=10, rank=2),
    ]  # fmt: skip
