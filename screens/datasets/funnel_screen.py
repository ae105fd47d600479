"""The funnel of rows that a model wrote: what fell at each stage and why, and the rows that fell, to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.safe_text import safe_line, safe_text
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.datasets.sources.base import Reject
    from llmops_tui.datasets.version import DatasetVersion

_MOST_SHOWN = 500
_LONGEST = 600


class FunnelScreen(Modal[None]):
    """The funnel above, what fell below it; a key goes to the next stage."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q", "close", "Close"),
        Binding("tab,n", "next_stage", "Stage", priority=True),
    ]

    def __init__(self, version: DatasetVersion, fallen: list[Reject]) -> None:
        super().__init__()
        self._version, self._fallen = version, fallen
        self._stages = list(dict.fromkeys(one.source for one in fallen))
        self._stage = 0

    def compose(self) -> ComposeResult:
        """The funnel, the rows that fell, and the keys."""
        from llmops_tui.synthesis.funnel import funnel_lines, funnel_of

        lines = funnel_lines(funnel_of(self._version.rows, self._fallen))
        with Vertical(classes="dialog dialog-wide"):
            yield Static(Content(safe_line(f"{self._version.ref}: {self._version.note}", 150)), classes="dialog-title")
            yield Static(Content("\n".join(safe_line(line, 150) for line in lines)), id="funnel-lines")
            with TextScroll():
                yield Static("", id="funnel-fallen", markup=False)
            yield KeysLine(("tab", "what fell at the next stage"), ("esc", "close"))

    def on_mount(self) -> None:
        """Show what fell at the first stage."""
        self._show()

    def _show(self) -> None:
        if not self._stages:
            self.query_one("#funnel-fallen", Static).update(Content.styled("Nothing fell.", "$muted"))
            return
        stage = self._stages[self._stage]
        parts: list[str | tuple[str, str]] = []
        for one in [one for one in self._fallen if one.source == stage][:_MOST_SHOWN]:
            said = safe_text(one.raw.decode("utf-8", "replace")[:_LONGEST])
            parts += [(f"{one.line:>6,}  ", "$accent"), (safe_line(one.reason, 160), "$warning"), f"\n        {said}\n"]
        self.query_one("#funnel-fallen", Static).update(Content.assemble(*parts))

    def action_next_stage(self) -> None:
        """Show what fell at the next stage."""
        if self._stages:
            self._stage = (self._stage + 1) % len(self._stages)
            self._show()

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)
