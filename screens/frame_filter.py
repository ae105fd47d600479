"""The last filter of frames: removes terminal control characters from every cell."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from llmops_tui.safe_text import strip_frame_controls


class FrameFilter(LineFilter):
    """Drops control, bidirectional and surrogate characters from every segment of every line."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002  the interface
        """The same segments, harmless."""
        out = []
        for segment in segments:
            text = segment.text
            # Nearly all text of a frame is printable ASCII, which is told without a regular expression.
            safe = text if text.isascii() and text.isprintable() else strip_frame_controls(text)
            out.append(segment if safe == text else Segment(safe, segment.style, None))
        return out
