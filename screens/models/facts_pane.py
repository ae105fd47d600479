"""The facts of the model under the cursor."""

from __future__ import annotations

import asyncio

from textual.app import ComposeResult
from textual.widgets import Static

from llmops_tui.models.registry import Model
from screens.models.facts import Details, facts, read_details
from screens.shell.pane import Pane
from screens.widgets.motions import TextScroll


class FactsPane(Pane):
    """What a file and its engine say; what takes a look is kept for each model, so that coming back shows it at once."""

    def __init__(self) -> None:
        super().__init__(
            title="Facts", jump_key="f", id="facts", help_text="Metadata of the file and state of its engine."
        )
        self._shown: tuple[Model | None, bool] = (None, False)
        self._details: dict[str, Details] = {}

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(id="facts-scroll"):
            yield Static("", id="facts-text", markup=False)

    def show(self, model: Model | None, *, loaded: bool) -> None:
        """Show what is known of a model; nothing where there is none."""
        self._shown = (model, loaded)
        details = self._details.get(model.name, Details()) if model is not None else Details()
        # A scroll bar may come with what is shown, and takes two columns.
        width = self.query_one("#facts-text", Static).size.width - 2
        content = facts(model, loaded=loaded, details=details, width=width) if model is not None else ""
        self.query_one("#facts-text", Static).update(content)

    def on_resize(self) -> None:
        """Paths go on in the next line where this one ends."""
        model, loaded = self._shown
        self.call_after_refresh(self.show, model, loaded=loaded)

    async def inspect(self, available: dict[str, int]) -> None:
        """Look at the shown model's file and engine; ``available`` is what can be taken of each device, in bytes."""
        model, _ = self._shown
        if model is None:
            return
        self._details[model.name] = await asyncio.to_thread(read_details, self.services, model, available)
        shown, loaded = self._shown
        if shown == model:
            self.show(model, loaded=loaded)
