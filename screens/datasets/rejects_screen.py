"""Records that an import rejected: each with its line, reason and bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.safe_text import safe_line, safe_text
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.datasets.sources.base import Reject
    from llmops_tui.datasets.version import DatasetVersion


class RejectsScreen(Modal[None]):
    """The records, one under another."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [Binding("escape,q", "close", "Close")]  # noqa: RUF012  declared so by Textual

    def __init__(self, version: DatasetVersion, found: list[Reject]) -> None:
        super().__init__()
        self._version = version
        self._found = found

    def compose(self) -> ComposeResult:
        """The list, and the key."""
        from llmops_tui.datasets.raw import show_bytes

        parts: list[str | tuple[str, str]] = []
        for reject in self._found:
            parts += [
                (f"line {reject.line:,}  ", "$accent"),
                (safe_line(reject.reason), "$warning"),
                f"  {reject.length:,} bytes\n",
            ]
            parts += [safe_text(show_bytes(reject.raw[:600])[0]), "\n\n"]
        with Vertical(classes="dialog dialog-wide"):
            shown = f"{self._version.ref}: {counted(self._version.rejected, 'record')} rejected"
            yield Static(Content(shown), classes="dialog-title")
            with TextScroll():
                yield Static(Content.assemble(*parts))
            yield KeysLine(("esc", "close"))

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)
