"""Messages from the panes of the evaluation screen to the screen."""

from __future__ import annotations

from textual.message import Message


class Changed(Message):
    """Runs or suites are others than before; the cursor goes to the run ``select``."""

    def __init__(self, select: str = "") -> None:
        super().__init__()
        self.select = select
