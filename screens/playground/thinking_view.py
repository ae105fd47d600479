"""What the model thought before its answer: one line, which unfolds."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from screens.terminal import TerminalProfile
from screens.widgets.stream_view import StreamView


class ThinkingView(Vertical):
    """Folded until a key unfolds it; not there at all where nothing was thought."""

    def __init__(self, profile: TerminalProfile) -> None:
        super().__init__(id="thinking")
        self._signs = ("▸", "▾") if profile.utf8 else (">", "v")
        self._line = Static("", id="thinking-line", markup=False)
        self._text = StreamView(profile, id="thinking-text")
        self._tokens: int | None = None
        self._folded = True
        self.display = False

    def compose(self) -> ComposeResult:
        """The line, and the text under it."""
        yield self._line
        yield self._text

    def on_mount(self) -> None:
        """Begin folded."""
        self._draw()

    @property
    def text(self) -> str:
        """All that was thought."""
        return self._text.text

    def show(self, text: str, tokens: int | None = None) -> None:
        """Show what was thought of an answer; nothing hides the line."""
        self._tokens = tokens
        self._text.show(text)
        self._draw()

    def feed(self, text: str) -> None:
        """Add to it."""
        self._text.feed(text)
        if not self.display:
            self._draw()

    def count(self, tokens: int | None) -> None:
        """Say how many tokens it had, now that it is over."""
        self._tokens = tokens
        self._text.flush()
        self._draw()

    def toggle(self) -> bool:
        """Unfold or fold; returns whether there is anything."""
        self._folded = not self._folded
        self._draw()
        return self.display

    def _draw(self) -> None:
        self.display = bool(self.text)
        self._text.display = not self._folded
        many = f"{self._tokens:,} tokens" if self._tokens else "…"
        keys = "h unfolds" if self._folded else "h folds"
        self._line.update(Content.styled(f"{self._signs[not self._folded]} thinking, {many}  {keys}", "$muted"))
