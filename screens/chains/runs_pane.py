"""The runs of a chain."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.counts import counted
from llmops_tui.safe_text import safe_line
from llmops_tui.states import tone_of
from screens.shell.pane import Pane
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.chains.runs import ChainRunRecord

_EMPTY = "No run of this chain yet.\nF5 runs the version under the cursor; A runs it for each row of a dataset."
_HELP = (
    "The runs of the chain, the newest first. r goes on with one that ended early, x stops one; its steps are below."
)
_LONG = 200


class RunsPane(Pane):
    """One line a run."""

    class CursorMoved(Message):
        """Another run is under the cursor."""

    def __init__(self) -> None:
        super().__init__(title="Runs", jump_key="r", id="chains-runs", help_text=_HELP)
        self._chain = ""
        self._shown: list[tuple[object, ...]] = []

    def compose(self) -> ComposeResult:
        """The list."""
        yield Table(_columns(), id="chains-run-list", key=lambda one: one.id, empty=_EMPTY, selects=False)

    @property
    def _table(self) -> Table[ChainRunRecord]:
        return self.query_one(Table)

    @property
    def current(self) -> ChainRunRecord | None:
        """The run under the cursor."""
        return self._table.current

    async def load(self, chain: str, select: str = "") -> None:
        """Read the runs of a chain; with ``select`` put the cursor on one."""
        from screens.chains.reading import read_runs

        self._chain = chain
        found = await asyncio.to_thread(read_runs, self.services, chain) if chain else []
        if self._chain != chain:
            return  # another chain is under the cursor by now
        shown = [(one.id, one.job.state, one.job.message) for one in found]
        if shown != self._shown or select:
            self._shown = list(shown)
            self._table.fill(found, select)

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self.post_message(self.CursorMoved())

    # ── actions ──

    def action_resume(self) -> None:
        """Go on with a run that ended early."""
        if self.current is not None:
            self.act("resume", self._resume, self.current)

    async def _resume(self, run: ChainRunRecord) -> None:
        job = await asyncio.to_thread(self.services.jobs.resume, run.job.id)
        self.shell.say(f"{run.ref} goes on where it stopped, as {job.id}.")
        await self.load(self._chain, run.id)

    def action_stop(self) -> None:
        """Stop the run."""
        if self.current is not None:
            self.act("stop", self._stop, self.current)

    async def _stop(self, run: ChainRunRecord) -> None:
        job = await asyncio.to_thread(self.services.jobs.cancel, run.job.id)
        self.shell.say(f"{job.id} is {job.state.value}; what was done is kept, and r goes on with it.")
        await self.load(self._chain, run.id)


def _state(run: ChainRunRecord) -> Part:
    state = run.job.state.value
    result = run.job.result
    if result and result.get("failed"):
        return f"{state}, {result['failed']} failed", "warn"
    return state, tone_of(state)


def _of(run: ChainRunRecord) -> str:
    if run.asked["dataset"]:
        return run.asked["dataset"]
    return safe_line(json.dumps(run.asked["inputs"], ensure_ascii=False))[:_LONG]


def _note(run: ChainRunRecord) -> str:
    """What came of a run that ended, and how far one is that goes on."""
    result = run.job.result
    if run.job.cause or not result:
        return run.job.cause or run.job.message
    known = f", {result['cached']:,} known" if result["cached"] else ""
    rows = f"{counted(result['rows'], 'row')} · " if run.asked["dataset"] else ""
    return f"{rows}{counted(result['requests'], 'request')}{known} · {counted(result['tokens'], 'token')}"


def _columns() -> list[Column[ChainRunRecord]]:
    return [
        Column("at", lambda run: units.moment(run.job.created_at),
            lambda run: run.job.created_at, falling=True),
        Column("version", lambda run: run.ref, rank=3),
        Column("state", _state),
        Column("of", _of, share=1, least=8, most=_LONG, rank=1),
        Column("note", _note, share=1, least=8, most=_LONG, rank=2, spare=True),
    ]  # fmt: skip
