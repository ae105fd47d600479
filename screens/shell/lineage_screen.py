"""The lineage of one object as a tree: its inputs above, what was derived from it below."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Static

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from screens.services import Services

_STYLES = {"title": "$muted", "here": "bold $accent"}


class LineageScreen(Modal[None]):
    """The tree; escape closes it."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [Binding("escape,L,q", "close", "Close")]  # noqa: RUF012  declared so by Textual

    def __init__(self, services: Services, subject: str, *, utf8: bool) -> None:
        super().__init__()
        self._services = services
        self._subject = subject
        self._utf8 = utf8

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(classes="dialog dialog-help"):
            yield Static(Content.styled("Loading …", "$muted"), id="lineage-text", markup=False)

    def on_mount(self) -> None:
        """Look."""
        self.run_worker(self._inspect(), group="lineage", exit_on_error=False)

    async def _inspect(self) -> None:
        from llmops_tui.maintenance.lineage import draw, trace_lineage

        services = self._services
        try:
            found = await asyncio.to_thread(partial(trace_lineage, services.catalog, services.event_log, self._subject))
        except LlmopsError as error:
            text = Content(safe_line(error.told))
        else:
            parts: list[tuple[str, str] | str] = []
            for branches, kind, line in draw(found, utf8=self._utf8):
                name = (safe_line(line, 300), _STYLES[kind]) if kind in _STYLES else safe_line(line, 300)
                parts += [(branches, "$line"), name, "\n"]
            text = Content.assemble(*parts, "\n", (f"llmops lineage {safe_line(self._subject)}", "$muted"))
        self.query_one("#lineage-text", Static).update(text)

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)
