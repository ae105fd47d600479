"""A terminal as pyte emulates it, with what most terminals have beside that: a sign is repeated, the cursor's place is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pyte


class EmulatedScreen(pyte.Screen):
    """As pyte's, but that it repeats signs, and says where its cursor is.

    Attributes:
        answer: takes what the terminal answers; nothing where nobody listens.
        ascii_alone: whether it repeats signs of ASCII alone and leaves out others, as tmux does.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self.answer: Callable[[str], object] = lambda _: None
        self.ascii_alone = False
        self._last = ""
        super().__init__(columns, lines)

    def draw(self, data: str) -> None:
        """Write signs, and keep the last."""
        self._last = data[-1:]
        super().draw(data)

    def repeat(self, count: int = 1, **_: Any) -> None:
        """Write the last sign again, so often."""
        if self._last.isascii() or not self.ascii_alone:
            super().draw(self._last * (count or 1))

    def report_device_status(self, mode: int, **_: Any) -> None:
        """Say where the cursor is; a place behind the last column is that column."""
        if mode == 6:
            self.answer(f"\x1b[{self.cursor.y + 1};{min(self.cursor.x, self.columns - 1) + 1}R")


class EmulatedStream(pyte.Stream):
    """Reads text for such a screen."""

    csi: ClassVar = {**pyte.Stream.csi, "b": "repeat"}
    events: ClassVar = pyte.Stream.events | {"repeat"}


class EmulatedByteStream(pyte.ByteStream):
    """Reads bytes for such a screen."""

    csi: ClassVar = EmulatedStream.csi
    events: ClassVar = EmulatedStream.events
