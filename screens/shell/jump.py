"""Jump mode: a letter on every pane, a digit on every screen; one key takes you there, or copies."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from screens.widgets.modal import Modal
from screens.widgets.panel import Panel

# Copies what the cursor is on, also while text is written; no pane has it.
COPY_KEY = "y"


class JumpScreen(Modal[str | None]):
    """The overlay; closes with the key that was pressed. ``copied`` is what would be copied, where anything would."""

    CSS_PATH = "jump.tcss"

    def __init__(self, panels: Sequence[Panel], screens: dict[str, str], copied: str = "") -> None:
        super().__init__()
        self._panels = panels
        self._screens = screens
        self._acts = {COPY_KEY: f"Copy {copied}"} if copied else {}

    def compose(self) -> ComposeResult:
        """One badge a pane, drawn over it, and a line with the screens and what can be copied."""
        for panel in self._panels:
            region = panel.region
            if region.area:
                badge = Static(Content(f" {panel.jump_key} "), classes="jump-badge")
                badge.styles.offset = (region.x + 1, region.y)
                yield badge
        keys = [(key, name, "reverse $accent") for key, name in self._screens.items()]
        keys += [(p.jump_key, p.title, "reverse") for p in self._panels if not p.region.area]
        keys += [(key, name, "reverse $success") for key, name in self._acts.items()]
        names: list[tuple[str, str] | str] = []
        at = 0
        for key, name, style in keys:
            # A key and its word are one: a line is broken behind them.
            taken = cell_len(f" {key}  {name}   ")
            if at and at + taken > self.app.size.width - 2:
                names.append("\n")
                at = 0
            at += taken
            names += [(f" {key} ", style), f" {name}   "]
        yield Static(Content.assemble(*names), id="jump-screens")

    def on_key(self, event: events.Key) -> None:
        """Any key closes; a known one is the answer."""
        event.stop()
        key = event.character or event.key
        known = {panel.jump_key for panel in self._panels} | set(self._screens) | set(self._acts)
        self.dismiss(key if key in known else None)
