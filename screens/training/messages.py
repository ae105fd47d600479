"""Messages from the panes of the training screen to the screen."""

from __future__ import annotations

from textual.message import Message


class Changed(Message):
    """Runs or recipes are others than before; the cursor goes to the run ``select``."""

    def __init__(self, select: str = "") -> None:
        super().__init__()
        self.select = select


class Progress(Message):
    """How far a job is that was started here; empty when it has ended."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class CursorMoved(Message):
    """Something else is under a cursor, or is marked."""
