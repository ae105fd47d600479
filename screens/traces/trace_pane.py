"""One trace: its conversation, its figures, its record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from llmops_tui.safe_text import safe_text
from llmops_tui.traces.retrieved import retrieved_of
from screens.shell import external_editor
from screens.shell.pane import Pane
from screens.traces import rendering
from screens.traces.open_in_playground import open_in_playground
from screens.traces.waterfall import in_one_line, waterfall
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.traces.store import Trace, TraceLine

_VIEWS = {"Conversation": rendering.conversation, "Figures": rendering.figures, "JSON": rendering.as_json}


class TracePane(Pane):
    """The trace that is open, in one of three views."""

    class Corrected(Message):
        """The answer that would have been right was written."""

        def __init__(self, trace: str, answer: str) -> None:
            super().__init__()
            self.trace = trace
            self.answer = answer

    def __init__(self) -> None:
        super().__init__(title="Conversation", jump_key="v", id="traces-one", help_text=rendering.HELP_TRACE)
        self.trace: Trace | None = None
        self._view = 0
        self._cited: list[str] = []

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(id="trace-scroll"):
            yield Static("", id="trace-text", markup=False)

    async def show(self, line: TraceLine | None) -> None:
        """Open a trace; nothing where there is none."""
        if line is None:
            self.trace = None
            self.query_one("#trace-text", Static).update("")
            return
        same = self.trace is not None and self.trace.line.id == line.id
        self.trace = await asyncio.to_thread(self.services.traces.get, line.id)
        self._cited = await asyncio.to_thread(self._citations, self.trace)
        self._draw(self.trace)
        if not same:
            self.query_one("#trace-scroll", TextScroll).scroll_home(animate=False)

    def _citations(self, trace: Trace) -> list[str]:
        """What the passages say of the citations in the answer, each in a line."""
        if not retrieved_of(trace.client):
            return []
        from llmops_tui.traces.citations import citation_words, citations_of

        return [citation_words(one) for one in citations_of(self.services.catalog, trace)]

    def _draw(self, trace: Trace) -> None:
        kind = list(_VIEWS)[self._view % len(_VIEWS)]
        self.set_title(kind, trace.line.id)
        utf8 = self.shell.profile.utf8
        above = {"Conversation": in_one_line, "Figures": waterfall}.get(kind)
        parts = [above(trace, utf8=utf8)] if above is not None else []
        cited = self._cited if kind == "Figures" else []
        behind = [part for one in cited for part in ("\n", ("citation ", "$muted"), safe_text(one))]
        self.query_one("#trace-text", Static).update(Content.assemble(*parts, _VIEWS[kind](trace), *behind))

    def action_detail(self) -> None:
        """The next view."""
        self._view += 1
        if self.trace is not None:
            self._draw(self.trace)

    def action_correct(self) -> None:
        """Write the right answer in $EDITOR, beginning with the one that was given."""
        if self.trace is None:
            return
        before = self.trace.line.correction or self.trace.output
        changed = external_editor.edit_outside(self.shell, before, "answer.txt")
        if changed is not None and changed.strip() and changed != before:
            self.post_message(self.Corrected(self.trace.line.id, changed))

    def action_use(self) -> None:
        """Open what was asked in the playground, with the model that answered."""
        if self.trace is not None:
            self.act("use", open_in_playground, self.shell, self.trace)
