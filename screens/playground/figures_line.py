"""The line below an answer: the figures of its run, none of which is broken at the end of a line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from screens.playground.run_figures import figures

if TYPE_CHECKING:
    from llmops_tui.prompts.run_history import RunRecord

_WIDTH = 72


class FiguresLine(Static):
    """Shows a run, or what is going on."""

    def __init__(self) -> None:
        super().__init__("", id="figures", markup=False)
        self._run: RunRecord | None = None
        # The room that a model had, by run: traces do not keep it, and what was told once stays told.
        self._contexts: dict[str, int] = {}

    def show(self, run: RunRecord | None) -> None:
        """Show the figures of a run; none shows nothing."""
        if run is not None and run.context is not None:
            self._contexts[run.id] = run.context
        elif run is not None:
            run = replace(run, context=self._contexts.get(run.id))
        self._run = run
        self.update(figures(run, self.size.width or _WIDTH))

    def tell(self, text: str, style: str = "$muted", *, more: str = "") -> None:
        """Say what is going on, in place of figures, and ``more`` of it behind that."""
        self._run = None
        self.update(Content.assemble((text, style), (f"  {more}" if more else "", "$muted")))

    def on_resize(self) -> None:
        """Lines are broken for the room there is."""
        if self._run is not None:
            self.show(self._run)
