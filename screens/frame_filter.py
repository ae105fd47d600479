"""The last filter of frames: removes terminal control characters from every cell."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from llmops_tui.safe_text import strip_frame_controls

# For terminals without UTF-8: the app's own signs and borders, one cell for one cell.
_PLAIN = str.maketrans("…▾▴▸▶●◆■□▣✓✗‖–·×“”╭╮╰╯│─┌┐└┘├┤┬┴┼━┃▂", '~v^>>*#=-#+x|--x""++++|-+++++++++=|_')


class FrameFilter(LineFilter):
    """Drops control, bidirectional and surrogate characters from every segment of every line.

    With ``utf8`` false the app's own signs are drawn in ASCII, too.
    """

    def __init__(self, *, utf8: bool = True) -> None:
        super().__init__()
        self._utf8 = utf8

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002  the interface
        """The same segments, harmless."""
        out = []
        for segment in segments:
            text = segment.text
            # Nearly all text of a frame is printable ASCII, which is told without a regular expression.
            safe = text if text.isascii() and text.isprintable() else strip_frame_controls(text)
            if not self._utf8 and not safe.isascii():
                safe = safe.translate(_PLAIN)
            out.append(segment if safe == text else Segment(safe, segment.style, None))
        return out
