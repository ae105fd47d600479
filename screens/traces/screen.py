"""The traces screen: requests at the left, the one under the cursor at the right; one key says what one thinks of it."""

from __future__ import annotations

import asyncio
import shlex
import time
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.actions import bindings_of
from screens.looking_screen import LookingScreen
from screens.traces import commands, drawing
from screens.widgets.line_list import LineList
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from llmops_tui.traces.store import Trace, TraceLine
    from screens.services import Services
    from screens.terminal import TerminalProfile

PAGE = 500
QUEUE = "is:queue"


def make(services: Services, profile: TerminalProfile) -> TracesScreen:
    """Make the screen."""
    return TracesScreen(services, profile)


class TracesScreen(LookingScreen):
    """A list and one trace."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("traces")  # type: ignore[assignment]
    AUTO_FOCUS = "#trace-list"
    scope = "traces"
    about = (
        "Every request that a model of this workspace answered: what was asked, with which prompt version and parameters, how "
        "long it took, and what people said of it. / filters by words, ~regex, and terms such as model:NAME prompt:NAME@3 "
        "is:down is:failed slow:2000 since:24h."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.said = self._understood = ""
        self.lines: list[TraceLine] = []
        self.total = 0
        self.view = 0
        self.start = 0
        self.trace: Trace | None = None
        self._seen: tuple[object, ...] = ()

    def compose_body(self) -> ComposeResult:
        """Two panes."""
        with Horizontal(id="columns"):
            with Panel(title="Traces", jump_key="t", id="trace-side", help_text=drawing.HELP_LIST):
                yield LineList(id="trace-list")
            with Panel(title="Conversation", jump_key="v", id="trace-one", help_text=drawing.HELP_TRACE):
                with VerticalScroll(id="trace-scroll"):
                    yield Static("", id="trace-text", markup=False)

    def on_mount(self) -> None:
        """What an empty list says."""
        self.query_one(LineList).placeholder = drawing.NO_TRACES

    # ── the list ──

    async def refresh_all(self, select: str = "") -> None:
        """Read again what has changed; with ``select`` put the cursor on a trace."""
        stamp = await asyncio.to_thread(lambda: (self.services.catalogue.stamp(), self.services.journal.newest()))
        seen = (stamp, self.said, self.start)
        if seen == self._seen and not select:
            return
        try:
            lines, total = await asyncio.to_thread(self._page)
        except LlmopsError:
            # A filter that cannot be understood leaves the one before.
            self.said = self._understood
            raise
        self._understood = self.said
        # Reading folds the journal into the book, which changes its stamp.
        stamp = await asyncio.to_thread(lambda: (self.services.catalogue.stamp(), self.services.journal.newest()))
        self._seen = (stamp, self.said, self.start)
        wanted = select or (self.line.id if self.line is not None else "")
        # Somebody who reads the newest goes on doing so; else the cursor stays on its trace.
        if not select and self.query_one(LineList).cursor == 0 and self.start == 0:
            wanted = ""
        self.lines, self.total = lines, total
        place = next((n for n, line in enumerate(lines) if line.id == wanted), 0)
        listed = self.query_one(LineList)
        listed.placeholder = drawing.NO_MATCH if self.said else drawing.NO_TRACES
        listed.show(len(lines), lambda n, width: drawing.trace_line(lines[n], width, utf8=self.profile.utf8), place)
        note = f"{self.start + 1:,}–{self.start + len(lines):,} of {total:,}" if total > PAGE else f"{total:,}"
        self.query_one("#trace-side", Panel).set_title(
            "Traces", note + (f" · {safe_line(self.said)}" if self.said else "")
        )
        self.act("trace", self._open)

    def _page(self) -> tuple[list[TraceLine], int]:
        from llmops_tui.traces.store import TraceFilter

        return self.services.traces.page(TraceFilter.parse(self.said, time.time()), PAGE, self.start)

    @property
    def line(self) -> TraceLine | None:
        """The trace under the cursor."""
        at = self.query_one(LineList).cursor
        return self.lines[at] if at < len(self.lines) else None

    @on(LineList.Moved)
    def _moved(self, event: LineList.Moved) -> None:
        event.stop()
        self.act("trace", self._open)

    async def _open(self) -> None:
        line = self.line
        if line is None:
            self.trace = None
            self.query_one("#trace-text", Static).update("")
            return
        same = self.trace is not None and self.trace.line.id == line.id
        self.trace = await asyncio.to_thread(self.services.traces.get, line.id)
        self.draw_trace()
        if not same:
            self.query_one("#trace-scroll", VerticalScroll).scroll_home(animate=False)

    def draw_trace(self) -> None:
        """Draw the trace that is open."""
        trace = self.trace
        if trace is None:
            return
        kind = drawing.VIEWS[self.view % len(drawing.VIEWS)]
        content: Content = {
            "Conversation": drawing.conversation, "Figures": drawing.figures, "JSON": drawing.as_json,
        }[kind](trace)  # fmt: skip
        self.query_one("#trace-one", Panel).set_title(kind, trace.line.id)
        self.query_one("#trace-text", Static).update(content)

    def filter_by(self, said: str, select: str = "") -> None:
        """Show the traces that match from now on."""
        self.said, self.start = said, 0
        self.act("load", self.refresh_all, select)

    async def show_trace(self, trace: str) -> None:
        """Show one trace, whatever the filter."""
        self.filter_by("" if any(line.id == trace for line in self.lines) else trace, trace)

    # ── actions ──

    def action_look(self) -> None:
        """Read again."""
        self._seen = ()
        self.act("load", self.refresh_all)

    def action_filter(self) -> None:
        """Ask which traces to show."""
        commands.ask_filter(self)

    def action_queue(self) -> None:
        """Show what waits for a verdict, or everything again."""
        self.filter_by("" if self.said == QUEUE else QUEUE)

    def action_up(self) -> None:
        """A thumb up."""
        commands.give(self, score="up")

    def action_down(self) -> None:
        """A thumb down."""
        commands.give(self, score="down")

    def action_correct(self) -> None:
        """Write the answer that would have been right."""
        commands.correct(self)

    def action_comment(self) -> None:
        """Write what one thinks."""
        commands.comment(self)

    def action_accept(self) -> None:
        """Accept what was said: it may go into a dataset."""
        commands.give(self, verdict="accepted")

    def action_reject(self) -> None:
        """Dismiss what was said: it goes into no dataset."""
        commands.give(self, verdict="dismissed")

    def action_delete(self) -> None:
        """Delete the trace."""
        commands.delete(self)

    def action_to_dataset(self) -> None:
        """Make a dataset version of what is shown."""
        commands.to_dataset(self)

    def action_use(self) -> None:
        """Open the trace in the playground."""
        self.act("use", commands.use, self)

    def action_detail(self) -> None:
        """The next view of the trace."""
        self.view += 1
        self.draw_trace()

    def action_older(self) -> None:
        """The next page."""
        if self.start + PAGE < self.total:
            self.start += PAGE
            self.act("load", self.refresh_all)

    def action_newer(self) -> None:
        """The page before."""
        if self.start:
            self.start -= PAGE
            self.act("load", self.refresh_all)

    def action_back(self) -> None:
        """Clear the filter."""
        if self.said:
            self.filter_by("")

    def lineage_subject(self) -> str:
        """The trace."""
        return self.line.id if self.line is not None else ""

    def copy_choices(self) -> list[tuple[str, str]]:
        """The answer, the id, the record."""
        if self.trace is None:
            return []
        import json

        return [
            ("answer", self.trace.output), ("trace id", self.trace.line.id),
            ("JSON", json.dumps(self.trace.as_dict(), indent=2, ensure_ascii=False)), ("command", self.cli_command()),
        ]  # fmt: skip

    def cli_command(self) -> str:
        """``llmops traces list`` with the filter, or ``show`` of the one under the cursor."""
        if self.line is not None:
            return shlex.join(["llmops", "traces", "show", self.line.id])
        return shlex.join(["llmops", "traces", "list", *(["--filter", self.said] if self.said else [])])
