"""The traces screen: requests on the left, the one under the cursor on the right; one key rates it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal

from screens.actions import bindings_of
from screens.navigation import Destination, TraceFilterPlace, TracePlace
from screens.shell.live_screen import LiveScreen
from screens.traces.list_pane import TraceListPane
from screens.traces.trace_pane import TracePane
from screens.widgets.table import Table

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile


def make(services: Services, profile: TerminalProfile) -> TracesScreen:
    """Make the screen."""
    return TracesScreen(services, profile)


class TracesScreen(LiveScreen):
    """A list and one trace."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("traces")  # type: ignore[assignment]
    AUTO_FOCUS = "#trace-list"
    opens = (TracePlace, TraceFilterPlace)
    scope = "traces"
    about = (
        "Every request that a model of this workspace answered: the messages, the prompt version and parameters, "
        "the timings and the feedback. / filters by words, ~regex, and terms such as model:NAME prompt:NAME@3 "
        "is:down is:failed slow:2000 since:24h."
    )

    def compose_body(self) -> ComposeResult:
        """Two panes."""
        with Horizontal(id="columns"):
            yield TraceListPane()
            yield TracePane()

    @property
    def _list(self) -> TraceListPane:
        return self.query_one(TraceListPane)

    @property
    def _one(self) -> TracePane:
        return self.query_one(TracePane)

    async def refresh_all(self, select: str = "") -> None:
        """Read again what has changed."""
        await self._list.load(select)

    @on(TraceListPane.CursorMoved)
    def _cursor_moved(self, event: TraceListPane.CursorMoved) -> None:
        self.act("trace", self._one.show, event.line)

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        event.stop()
        self._one.focus_inside()

    @on(TracePane.Corrected)
    def _corrected(self, event: TracePane.Corrected) -> None:
        self._list.say_of([event.trace], correction=event.answer)

    # ── places ──

    async def go_to(self, destination: Destination) -> None:
        """Show a trace, or those that a filter finds."""
        if isinstance(destination, TracePlace):
            self._list.show_trace(destination.trace)
        elif isinstance(destination, TraceFilterPlace):
            self._list.filter_by(destination.said)

    def place(self) -> Destination:
        """The filter, or the trace under the cursor where there is none."""
        line = self._list.line
        return TraceFilterPlace(self._list.said) if self._list.said or line is None else TracePlace(line.id)

    def lineage_subject(self) -> str:
        """The trace."""
        return self._list.line.id if self._list.line is not None else ""

    def copy_choices(self) -> list[tuple[str, str]]:
        """The answer, the id, the record."""
        trace = self._one.trace
        if trace is None:
            return []
        import json

        record = json.dumps(trace.as_dict(), indent=2, ensure_ascii=False)
        return [
            ("answer", trace.output),
            ("trace id", trace.line.id),
            ("JSON", record),
            ("command", self.cli_command()),
        ]

    def cli_command(self) -> str:
        """``llmops traces list`` with the filter, or ``show`` of the one under the cursor."""
        line, said = self._list.line, self._list.said
        if line is not None:
            return shlex.join(["llmops", "traces", "show", line.id])
        return shlex.join(["llmops", "traces", "list", *(["--filter", said] if said else [])])
