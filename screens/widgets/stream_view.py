"""A view of text that streams in: cheap to extend, drawn in batches, only changed lines repainted."""

from __future__ import annotations

import time

from rich.segment import Segment
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer

from llmops_tui.safe_text import safe_text
from screens.terminal import TerminalProfile
from screens.widgets.motions import TextMotions
from screens.widgets.text_wrap import wrap_line


class StreamView(ScrollView, TextMotions, can_focus=True):  # type: ignore[misc]  # each level has BINDINGS of its own
    """Shows foreign text, made harmless; ``feed`` may be called for every token."""

    DEFAULT_CSS = "StreamView { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; }"

    def __init__(self, profile: TerminalProfile, *, placeholder: str = "", id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._profile = profile
        self._placeholder = placeholder
        self._pieces: list[str] = []
        self._pending: list[str] = []
        self._lines: list[str] = []
        self._timer: Timer | None = None
        self._not_before = 0.0

    @property
    def text(self) -> str:
        """The text as it came, shown or still waiting to be."""
        return "".join(self._pieces) + "".join(self._pending)

    def clear(self, placeholder: str | None = None) -> None:
        """Forget the text."""
        if placeholder is not None:
            self._placeholder = placeholder
        self._pieces, self._pending, self._lines = [], [], []
        self._resize_content()
        self.scroll_to(y=0, animate=False, immediate=True)
        self.refresh()

    def show(self, text: str) -> None:
        """Replace the text."""
        self.clear()
        self._pending = [text]
        self.flush()
        self.scroll_to(y=0, animate=False, immediate=True)

    def feed(self, text: str) -> None:
        """Add text; it is drawn with the next batch."""
        self._pending.append(text)
        if self._timer is None:
            delay = max(self._profile.stream_interval / 2, self._not_before - time.monotonic())
            self._timer = self.set_timer(delay, self._flush_on_timer)

    def hold(self, text: str) -> None:
        """Add text that whoever has several of these draws with the others: by :meth:`flush`."""
        self._pending.append(text)

    def flush(self) -> int:
        """Draw what is waiting now; returns how many cells that repaints."""
        if not self._pending:
            return 0
        text = "".join(self._pending)
        self._pieces.append(text)
        self._pending = []
        first = self._append(safe_text(text))
        follow = self._at_end()
        self._resize_content()
        if follow and self._scroll_on():
            cells = self.size.area
        else:
            count = len(self._lines) - first
            self.refresh_lines(first, count)
            cells = count * self.size.width
        pause = max(self._profile.stream_interval, cells / self._profile.cells_per_second)
        self._not_before = time.monotonic() + pause
        return cells

    def render_line(self, y: int) -> Strip:
        """One line of the widget."""
        width = self.size.width
        style = self.rich_style
        if not self._lines:
            notes = [part for line in self._placeholder.split("\n") for part in wrap_line(line, width)]
            text = notes[y] if y < len(notes) else ""
            style += self.get_component_rich_style("stream-view--placeholder", partial=True)
        else:
            at = y + self.scroll_offset.y
            text = self._lines[at].rstrip() if at < len(self._lines) else ""
        strip = Strip([Segment(text, style)] if text else [])
        return strip.adjust_cell_length(width, style).crop(0, width)

    COMPONENT_CLASSES = {"stream-view--placeholder"}  # noqa: RUF012  declared so by Textual

    def on_resize(self) -> None:
        """Wrap again to the new width."""
        self._lines = []
        self._append(safe_text("".join(self._pieces)))
        self._resize_content()
        self.refresh()

    def _flush_on_timer(self) -> None:
        self._timer = None
        self.flush()

    def _append(self, text: str) -> int:
        """Add harmless text to the wrapped lines; returns the index of the first line that changed."""
        if not text:
            return len(self._lines)
        width = max(1, self.size.width)
        first = max(0, len(self._lines) - 1)
        last = self._lines.pop() if self._lines else ""
        for index, part in enumerate(text.split("\n")):
            self._lines += wrap_line(last + part if index == 0 else part, width)
        return first

    def _resize_content(self) -> None:
        height = len(self._lines)
        if self._profile.remote:
            # Room to scroll half a page at a time: every scroll repaints the whole pane.
            height = max(height, self.scroll_offset.y + self.size.height)
        if self.virtual_size.height != height or self.virtual_size.width != self.size.width:
            self.virtual_size = Size(self.size.width, height)

    def _at_end(self) -> bool:
        hidden = self.virtual_size.height - self.size.height
        return self.scroll_offset.y >= hidden - 1 or self._profile.remote

    def _scroll_on(self) -> bool:
        """Follow the end of the text; true where the view moved."""
        height = self.size.height
        overflow = len(self._lines) - (self.scroll_offset.y + height)
        if overflow <= 0 or height <= 0:
            return False
        target = self.scroll_offset.y + overflow
        if self._profile.remote:
            target += height // 2
            self.virtual_size = Size(self.size.width, target + height)
        self.scroll_to(y=target, animate=False, immediate=True)
        return True
