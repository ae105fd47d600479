"""Lines as a picture in the cells of a chart, for terminals that show pictures in the place of signs.

The picture is sent beside the frame, and its cells are signs that stand for parts of it (kitty's graphics protocol, Unicode
placeholders): so they are laid out, covered and written as all others.
"""

from __future__ import annotations

import base64
import io
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.content import Content

from screens.terminal_pen import PLACEHOLDER
from screens.widgets.chart_png import dashed

if TYPE_CHECKING:
    from textual.app import App

# Marks of rows, in the protocol's order; a placeholder without them goes on from the one at its left.
_ROWS = (
    "\u0305\u030d\u030e\u0310\u0312\u033d\u033e\u033f\u0346\u034a\u034b\u034c\u0350\u0351\u0352\u0357\u035b\u0363\u0364\u0365\u0366"
    "\u0367\u0368\u0369\u036a\u036b\u036c\u036d\u036e\u036f\u0483\u0484\u0485\u0486\u0487"
)
# Pixels of a cell: about those of a dense display; the terminal fits them to its own.
_WIDE, _HIGH = 12, 24
_LINE, _DASHES = 3, (12.0, 12.0)
# Bytes of one message of the protocol.
_PART = 4096


@dataclass(frozen=True)
class PictureTerminal:
    """A terminal that shows pictures.

    Attributes:
        write: writes to it.
        colours: what colour a style is, as ``#rrggbb``.
        drawn_anew: how often all was written anew, since it may have lost what it showed.
    """

    write: Callable[[str], None]
    colours: Callable[[str], str]
    drawn_anew: int = 0


def shown_by(app: App[object]) -> PictureTerminal | None:
    """The terminal, where it shows pictures."""
    found = getattr(app, "picture_terminal", None)
    return found() if found is not None else None


class PixelCanvas:
    """A picture that lines are drawn into, as wide and high as so many cells."""

    MOST_ROWS = len(_ROWS)

    def __init__(self, columns: int, rows: int, colours: Callable[[str], str], name: str) -> None:
        # Few terminals show pictures: others do not load it.
        from PIL import Image, ImageDraw

        self.columns, self.rows = columns, rows
        self._colours = colours
        # Of its own for each chart, and 1 to 255, which is a colour of its cells.
        self._id = 1 + zlib.crc32(name.encode()) % 255
        self._image = Image.new("RGBA", (columns * _WIDE, rows * _HIGH))
        self._pen = ImageDraw.Draw(self._image)

    def trace(
        self,
        points: Sequence[tuple[float, float]],
        xs: tuple[float, float],
        ys: tuple[float, float],
        style: str,
        *,
        dotted: bool = False,
    ) -> None:
        """Draw a line through points, given the range of both axes; a point whose y is no number breaks it."""
        across, down = self._image.width - _LINE, self._image.height - _LINE
        span_x, span_y = (xs[1] - xs[0]) or 1.0, (ys[1] - ys[0]) or 1.0
        colour, half = self._colours(style), _LINE / 2
        for part in _unbroken(points):
            places = [(half + (x - xs[0]) / span_x * across, half + (ys[1] - y) / span_y * down) for x, y in part]
            if len(places) == 1:
                (x, y), far = places[0], _LINE
                self._pen.ellipse((x - far, y - far, x + far, y + far), colour)
                continue
            for stroke in dashed(places, _DASHES) if dotted else [places]:
                self._pen.line(stroke, colour, _LINE, joint="curve")

    def row(self, row: int, *, utf8: bool, cross: int | None = None) -> Content:  # noqa: ARG002  as a canvas of braille
        """One row of placeholders, which say by their colour of which picture they are."""
        # The first says row and column, from which the others go on.
        first = PLACEHOLDER + _ROWS[row] + _ROWS[0]
        style = f"#0000{self._id:02x}"
        return Content.styled(first + PLACEHOLDER * (self.columns - 1), style)

    def sent(self) -> str:
        """The messages that send the picture in place of the one before it; no answer is asked for."""
        out = io.BytesIO()
        self._image.save(out, "PNG")
        text = base64.standard_b64encode(out.getvalue()).decode("ascii")
        parts = [text[at : at + _PART] for at in range(0, len(text), _PART)]
        told = f"a=T,U=1,i={self._id},f=100,c={self.columns},r={self.rows},q=2,"
        return "".join(
            f"\x1b_G{told if number == 0 else ''}m={int(number < len(parts) - 1)};{part}\x1b\\"
            for number, part in enumerate(parts)
        )


def _unbroken(points: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """The points between those whose y is no number."""
    part: list[tuple[float, float]] = []
    for x, y in points:
        if math.isnan(y):
            if part:
                yield part
            part = []
        else:
            part.append((x, y))
    if part:
        yield part
