"""The list of traces: its filter, and feedback on the one under the cursor."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.shell.pane import Pane
from screens.traces import rendering
from screens.traces.make_dataset import make_dataset
from screens.widgets.dialogs import ConfirmDialog, LineDialog
from screens.widgets.line_list import LineList

if TYPE_CHECKING:
    from llmops_tui.traces.store import TraceLine

PAGE = 500
_ORDERS = ("newest first", "slowest of the last hour", "slowest of all")
_HOUR = 3600.0
QUEUE = "is:queue"
# Lines of what else has a trace's texts that are shown before it is deleted.
_SHOWN = 8


class TraceListPane(Pane):
    """A page of the traces that a filter finds."""

    class CursorMoved(Message):
        """The trace under the cursor is another one, or was read again."""

        def __init__(self, line: TraceLine | None) -> None:
            super().__init__()
            self.line = line

    def __init__(self) -> None:
        super().__init__(title="Traces", jump_key="t", id="traces-list", help_text=rendering.HELP_LIST)
        self.said = self._understood = ""
        self.lines: list[TraceLine] = []
        self.total = 0
        self.start = 0
        self.order = _ORDERS[0]
        self._seen: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """The list."""
        yield Static("", id="trace-head", markup=False)
        yield LineList(id="trace-list")

    def on_mount(self) -> None:
        """What an empty list says."""
        self._list.placeholder = rendering.NO_TRACES

    @property
    def _list(self) -> LineList:
        return self.query_one(LineList)

    @property
    def line(self) -> TraceLine | None:
        """The trace under the cursor."""
        at = self._list.cursor
        return self.lines[at] if at < len(self.lines) else None

    async def load(self, select: str = "") -> None:
        """Read again what has changed; with ``select`` put the cursor on a trace."""
        said, start, order = self.said, self.start, self.order
        if (await self._stamp(), said, start, order) == self._seen and not select:
            return
        try:
            lines, total = await asyncio.to_thread(self._page, said, start, order)
        except LlmopsError:
            if self.said != said:
                return  # it was told already, or something else was asked for meanwhile
            # A filter that cannot be understood leaves the one before.
            self.said = self._understood
            raise
        if (said, start, order) != (self.said, self.start, self.order):
            return  # something else was asked for meanwhile, and whoever asked reads it
        self._understood = said
        # Reading ingests the event log into the catalog, which changes its stamp.
        self._seen = (await self._stamp(), said, start, order)
        wanted = select or (self.line.id if self.line is not None else "")
        # Somebody who reads the newest goes on doing so; else the cursor stays on its trace.
        if not select and self._list.cursor == 0 and self.start == 0:
            wanted = ""
        self.lines, self.total = lines, total
        place = next((n for n, line in enumerate(lines) if line.id == wanted), 0)
        self._list.placeholder = rendering.NO_MATCH if self.said else rendering.NO_TRACES
        utf8 = self.shell.profile.utf8
        self._list.show(len(lines), lambda n, width: rendering.trace_line(lines[n], width, utf8=utf8), place)
        note = f"{self.start + 1:,}–{self.start + len(lines):,} of {total:,}" if total > PAGE else f"{total:,}"
        note += f" · {order}" if order != _ORDERS[0] else ""
        self.query_one("#trace-head", Static).update(rendering.head(self._list.size.width, slowest=order != _ORDERS[0]))
        self.set_title("Traces", note + (f" · {safe_line(self.said)}" if self.said else ""))
        self.post_message(self.CursorMoved(self.line))

    async def _stamp(self) -> tuple[object, object]:
        return await asyncio.to_thread(lambda: (self.services.catalog.stamp(), self.services.event_log.newest()))

    def _page(self, said: str, start: int, order: str) -> tuple[list[TraceLine], int]:
        from llmops_tui.traces.store import TraceFilter

        now = time.time()
        wanted = TraceFilter.parse(said, now)
        if order == _ORDERS[1]:
            wanted = replace(wanted, since=max(now - _HOUR, wanted.since or 0.0))
        return self.services.traces.page(wanted, PAGE, start, slowest=order != _ORDERS[0])

    def action_order(self) -> None:
        """The newest first, the slowest of the last hour, or the slowest of all."""
        self.order = _ORDERS[(_ORDERS.index(self.order) + 1) % len(_ORDERS)]
        self.start = 0
        self._list.cursor = 0
        self.act("load", self.load)

    @on(LineList.Moved)
    def _moved(self, event: LineList.Moved) -> None:
        event.stop()
        self.post_message(self.CursorMoved(self.line))

    def filter_by(self, said: str, select: str = "") -> None:
        """Show the traces that match from now on."""
        self.said, self.start = said, 0
        self.act("load", self.load, select)

    def show_trace(self, trace: str) -> None:
        """Show one trace, whatever the filter."""
        here = any(line.id == trace for line in self.lines)
        # The slowest may be without it.
        self.order = self.order if here else _ORDERS[0]
        self.filter_by("" if here else trace, trace)

    # ── which are shown ──

    def action_look(self) -> None:
        """Read again."""
        self._seen = ()
        self.act("load", self.load)

    def action_filter(self) -> None:
        """Ask which traces to show."""
        self.act("filter", self._ask_filter)

    async def _ask_filter(self) -> None:
        hint = "Words, ~regex, model:M prompt:P@3 is:down is:failed slow:2000 since:24h."
        said = await self.shell.ask(LineDialog("Show traces with …", hint, self.said))
        if said is not None:
            self.filter_by(said)

    def action_queue(self) -> None:
        """Show what waits for a verdict, or everything again."""
        self.filter_by("" if self.said == QUEUE else QUEUE)

    def action_older(self) -> None:
        """The next page."""
        if self.start + PAGE < self.total:
            self.start += PAGE
            self.act("load", self.load)

    def action_newer(self) -> None:
        """The page before."""
        if self.start:
            self.start -= PAGE
            self.act("load", self.load)

    def action_back(self) -> None:
        """Clear the filter."""
        if self.said:
            self.filter_by("")

    # ── what one says of a trace ──

    def say_of(self, trace: str, **what: str) -> None:
        """Keep what is said of a trace: a score, a verdict, a comment or a correction."""
        self.act("give", self._say_of, trace, what)

    async def _say_of(self, trace: str, what: dict[str, str]) -> None:
        from llmops_tui.traces.feedback import give

        await asyncio.to_thread(lambda: give(self.services.traces, trace, **what))
        await self.load(trace)

    def _say(self, **what: str) -> None:
        if self.line is not None:
            self.say_of(self.line.id, **what)

    def action_up(self) -> None:
        """A thumb up."""
        self._say(score="up")

    def action_down(self) -> None:
        """A thumb down."""
        self._say(score="down")

    def action_accept(self) -> None:
        """Accept what was said: it may go into a dataset."""
        self._say(verdict="accepted")

    def action_reject(self) -> None:
        """Dismiss what was said: it goes into no dataset."""
        self._say(verdict="dismissed")

    def action_comment(self) -> None:
        """Write what one thinks."""
        if self.line is not None:
            self.act("comment", self._ask_comment, self.line.id)

    async def _ask_comment(self, trace: str) -> None:
        text = await self.shell.ask(LineDialog("Comment on the answer", "One line; earlier comments are kept."))
        if text:
            self.say_of(trace, comment=text)

    # ── what is made of traces ──

    def action_to_dataset(self) -> None:
        """Make a dataset version of what is shown."""
        self.act("dataset", make_dataset, self.shell, self.said)

    def action_delete(self) -> None:
        """Show what else has the trace's texts, ask, then delete it and what was said of it from every file."""
        if self.line is not None:
            # A group of its own: whoever looks again meanwhile must not cancel it.
            self.act("removal", self._delete, self.line.id)

    async def _delete(self, trace: str) -> None:
        from llmops_tui.maintenance.trace_removal import plan_trace_removal, remove_traces
        from llmops_tui.traces.store import TraceFilter

        planned = await asyncio.to_thread(plan_trace_removal, self.services.workspace, TraceFilter(), trace)
        told = ["With its feedback, from every file of the workspace."]
        told += [f"Also deleted: {safe_line(name)}" for name in planned.files]
        told += [f"Still has the text: {safe_line(one)}" for one in planned.staying]
        if len(told) > _SHOWN:
            told[_SHOWN:] = [f"and {len(told) - _SHOWN} more: llmops traces remove {trace}"]
        if not await self.shell.ask(ConfirmDialog(f"Delete {safe_line(trace)}?", "\n".join(told))):
            return
        done = await asyncio.to_thread(remove_traces, self.services.workspace, TraceFilter(), trace)
        still = (
            f" {counted(len(done.staying), 'place still has', 'places still have')} its texts: {safe_line(done.staying[0])}"
            if done.staying
            else ""
        )
        self.shell.say(f"{safe_line(trace)} is deleted.{still}")
        await self.load()
