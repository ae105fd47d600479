"""The list of traces: its filter, and feedback on the one under the cursor."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import Static

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.shell.pane import Pane
from screens.traces import rendering
from screens.traces.columns import times_of, trace_columns
from screens.traces.delete_traces import delete_traces
from screens.traces.make_dataset import make_dataset
from screens.widgets.columns import common_of
from screens.widgets.dialogs import LineDialog
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.traces.orders import TraceTimes
    from llmops_tui.traces.store import TraceLine

PAGE = 500
# Lines of the pane from which there is room for bars of times above the list, and for two rows of them.
_LEAST_ROOM, _ROOMY = 14, 24
_HOUR = 3600.0
QUEUE = "is:queue"


@dataclass(frozen=True)
class Wanted:
    """What is asked of the store: a filter as it is typed, the first of the page, the order, whether of the last hour alone."""

    said: str
    start: int
    order: str
    falling: bool
    last_hour: bool


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
        self.total = self.start = 0
        self._last_hour = False
        self._seen: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """The list."""
        yield Static("", id="trace-times", markup=False)
        yield Table(
            trace_columns(utf8=self.shell.profile.utf8),
            id="trace-list",
            key=lambda line: line.id,
            empty=rendering.NO_TRACES,
            reads=True,
            sorts=False,
            filters=False,
        )

    @property
    def _list(self) -> Table[TraceLine]:
        return self.query_one(Table)

    @property
    def line(self) -> TraceLine | None:
        """The trace under the cursor."""
        return self._list.current

    @property
    def lines(self) -> list[TraceLine]:
        """The page that is shown."""
        return self._list.rows

    async def load(self, select: str = "") -> None:
        """Read again what has changed; with ``select`` put the cursor on a trace."""
        wanted = self._wanted
        if (await self._stamp(), wanted) == self._seen and not select:
            return
        try:
            lines, total, times = await asyncio.to_thread(self._page, wanted)
        except LlmopsError:
            if self.said != wanted.said:
                return  # it was told already, or something else was asked for meanwhile
            # A filter that cannot be understood leaves the one before.
            self.said = self._understood
            raise
        if wanted != self._wanted:
            return  # something else was asked for meanwhile, and whoever asked reads it
        self._understood = wanted.said
        # Reading ingests the event log into the catalog, which changes its stamp.
        self._seen = (await self._stamp(), wanted)
        # Somebody who reads the newest goes on doing so; else the cursor stays on its trace.
        top = not select and self._list.cursor == 0 and self.start == 0
        self.total = total
        self._list.empty = rendering.NO_MATCH.format(safe_line(self.said)) if self.said else rendering.NO_TRACES
        before = self.line
        self._list.fill(lines, select, top=top)
        self._draw_times(times)
        note = f"{self.start + 1:,}–{self.start + len(lines):,} of {total:,}" if total > PAGE else f"{total:,}"
        table = self._list
        # What all have in common takes no column.
        alike = {} if table.arrangement.columns else common_of(table.columns, table.shown, table.order)
        names = [text for text in reversed(alike.values()) if text != "–"]
        told = [note, self._order_told, *names, safe_line(self.said)]
        self.set_title("Traces", " · ".join(text for text in told if text))
        if self.line != before or select or not lines:
            self.post_message(self.CursorMoved(self.line))

    @property
    def _wanted(self) -> Wanted:
        return Wanted(self.said, self.start, self._list.order, self._list.falling, self._last_hour)

    @property
    def _order_told(self) -> str:
        name = self._list.order
        if name == "took" and self._list.falling:
            return "slowest of the last hour" if self._last_hour else "slowest of all"
        way = "falling" if self._list.falling else "rising"
        return f"by {name}, {way}" if name else ""

    def _draw_times(self, times: TraceTimes) -> None:
        shown = self.query_one("#trace-times", Static)
        rows = 2 if self.size.height >= _ROOMY else 1
        shown.display = times.count > 1 and self.size.height >= _LEAST_ROOM
        if shown.display:
            shown.styles.height = rows
            shown.update(times_of(times, self._list.size.width, rows, utf8=self.shell.profile.utf8))

    async def _stamp(self) -> tuple[object, object]:
        return await asyncio.to_thread(lambda: (self.services.catalog.stamp(), self.services.event_log.newest()))

    def _page(self, asked: Wanted) -> tuple[list[TraceLine], int, TraceTimes]:
        from llmops_tui.traces.orders import NEWEST, TraceOrder
        from llmops_tui.traces.store import TraceFilter

        now = time.time()
        wanted = TraceFilter.parse(asked.said, now)
        if asked.last_hour:
            wanted = replace(wanted, since=max(now - _HOUR, wanted.since or 0.0))
        order = TraceOrder(asked.order, asked.falling) if asked.order else NEWEST
        lines, total = self.services.traces.page(wanted, PAGE, asked.start, order)
        return lines, total, self.services.traces.times(wanted)

    def action_order(self) -> None:
        """The newest first, the slowest of the last hour, or the slowest of all."""
        if not (self._list.order == "took" and self._list.falling):
            self._last_hour = True
            # The table says that it was arranged anew, and the list is read.
            self._list.order_by("took", falling=True)
        elif self._last_hour:
            self._last_hour, self.start, self._list.cursor = False, 0, 0
            self.act("load", self.load)
        else:
            self._list.order_by("")

    @on(Table.Arranged)
    def _arranged(self) -> None:
        self._last_hour = self._last_hour and self._list.order == "took" and self._list.falling
        self.start = 0
        self.act("load", self.load)

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self.post_message(self.CursorMoved(self.line))

    def filter_by(self, said: str, select: str = "") -> None:
        """Show the traces that match from now on."""
        self.said, self.start = said, 0
        self.act("load", self.load, select)

    def show_trace(self, trace: str) -> None:
        """Show one trace, whatever the filter."""
        here = any(line.id == trace for line in self.lines)
        # The slowest of the last hour may be without it.
        self._last_hour = self._last_hour and here
        self.filter_by("" if here else trace, trace)

    # ── which are shown ──

    def action_look(self) -> None:
        """Read again."""
        self._seen = ()
        self.act("load", self.load)

    def action_filter(self) -> None:
        """Ask which traces to show."""
        self.ask_by("filter", self._ask_filter)

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

    def say_of(self, traces: list[str], **what: str) -> None:
        """Keep what is said of traces: a score, a verdict, a comment or a correction."""
        self.act("give", self._say_of, traces, what)

    async def _say_of(self, traces: list[str], what: dict[str, str]) -> None:
        from llmops_tui.traces.feedback import give

        for trace in traces:
            await asyncio.to_thread(lambda trace=trace: give(self.services.traces, trace, **what))  # type: ignore[misc]
        self.shell.say(rendering.said_of(traces, what))
        await self.load(traces[0] if len(traces) == 1 else "")

    def _say(self, **what: str) -> None:
        if self._list.picked:
            self.say_of([line.id for line in self._list.picked], **what)

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
        if self._list.picked:
            self.ask_by("comment", self._ask_comment, [line.id for line in self._list.picked])

    async def _ask_comment(self, traces: list[str]) -> None:
        text = await self.shell.ask(LineDialog("Comment on the answer", "One line; earlier comments are kept."))
        if text:
            self.say_of(traces, comment=text)

    # ── what is made of traces ──

    def action_to_dataset(self) -> None:
        """Make a dataset version of what is shown."""
        self.ask_by("dataset", make_dataset, self.shell, self.said)

    def action_delete(self) -> None:
        """Show what else has the texts of the traces, ask, then delete them and what was said of them from every file."""
        if self._list.picked:
            # A group of its own: whoever looks again meanwhile must not cancel it.
            self.ask_by("removal", self._delete, [line.id for line in self._list.picked])

    async def _delete(self, traces: list[str]) -> None:
        if await delete_traces(self.shell, traces):
            self._list.select(())
            await self.load()
