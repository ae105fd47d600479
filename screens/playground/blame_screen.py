"""Which version brought each line of a version, as a page."""

from __future__ import annotations

import time
from collections.abc import Sequence
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
    from llmops_tui.prompts.blame import BlamedLine

# Versions that follow each other must not look the same.
_COLOURS = ("$accent", "$success", "$warning", "$secondary")


class BlameScreen(Modal[None]):
    """The lines of a version, each after the version that brought it."""

    CSS_PATH = ["../dialog.tcss", "diff_screen.tcss"]  # noqa: RUF012  declared so by Textual
    BINDINGS = [Binding("escape,q,b", "close", "Close")]  # noqa: RUF012  declared so by Textual

    def __init__(self, ref: str, lines: Sequence[BlamedLine]) -> None:
        super().__init__()
        self._ref, self._lines = ref, lines

    def compose(self) -> ComposeResult:
        """A head line, the lines, the keys."""
        brought = len({line.version.number for line in self._lines})
        head = Content.assemble(
            (self._ref, "bold"),
            (
                f"   {counted(len(self._lines), 'line')} from {counted(brought, 'version')}: since, saved, line",
                "$muted",
            ),
        )
        with Vertical(classes="dialog dialog-wide"):
            yield Static(head, id="diff-head", markup=False)
            with TextScroll():
                yield Static(self._drawn(), markup=False)
            yield KeysLine(("esc", "close"))

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)

    def _drawn(self) -> Content:
        parts: list[tuple[str, str] | str] = []
        section = ""
        width = max((len(f"@{line.version.number}") for line in self._lines), default=0)
        before = 0
        for line in self._lines:
            if line.section != section:
                section, before = line.section, 0
                parts.append((f"\n── {section} ──\n", "$accent"))
            number = line.version.number
            # A block of lines has its version once, as in a book's margin.
            mark, day = (f"@{number}", time.strftime("%m-%d", time.localtime(line.version.created_at)))
            blank = number == before
            parts.append((f"{'' if blank else mark:<{width}} ", f"{_COLOURS[number % len(_COLOURS)]}"))
            parts.append((f"{'' if blank else day:<5} {line.line:>3} ", "$muted"))
            parts.append(f"{safe_text(line.text)}")
            if line.version.note and not blank:
                parts.append((f"  ← {safe_line(line.version.note, 40)}", "$muted"))
            parts.append("\n")
            before = number
        return Content.assemble(*parts)
