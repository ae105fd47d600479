"""The picture of a chart as PNG, for what takes no SVG. Its letters come with Pillow: a server may have no fonts."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw, ImageFont

from screens.widgets.chart_file import HEIGHT, WIDTH, Shape, Stroke, Words

# Pixels of the file for each of the picture: sharp on dense displays.
SCALE = 2
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}
Point = tuple[float, float]


def as_png(shapes: Sequence[Shape]) -> bytes:
    """The bytes of the file, 1,920 by 960."""
    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), "#ffffff")
    pen = ImageDraw.Draw(image)
    for shape in shapes:
        if isinstance(shape, Words):
            font = ImageFont.load_default(shape.size * SCALE)
            place = (shape.x * SCALE, shape.y * SCALE)
            weight = 1 if shape.bold else 0
            pen.text(place, shape.text, "#000000", font, anchor=_ANCHORS[shape.anchor], stroke_width=weight)
        else:
            _draw(pen, shape)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _draw(pen: ImageDraw.ImageDraw, stroke: Stroke) -> None:
    points = [(x * SCALE, y * SCALE) for x, y in stroke.points]
    width = max(1, round(stroke.width * SCALE))
    if len(set(points)) == 1:
        (x, y), half = points[0], max(width, 3 * SCALE) / 2
        pen.ellipse((x - half, y - half, x + half, y + half), stroke.colour)
        return
    lengths = [float(length) * SCALE for length in stroke.dashes.split()]
    for part in dashed(points, lengths) if lengths else [points]:
        pen.line(part, stroke.colour, width, joint="curve")


def dashed(points: Sequence[Point], lengths: Sequence[float]) -> Iterator[list[Point]]:
    """The strokes of a dashed line: ``lengths`` of a stroke and a gap in turns, all above 0."""
    number, left = 0, lengths[0]
    part: list[Point] = [points[0]]
    for (x, y), (far, low) in itertools.pairwise(points):
        whole = math.hypot(far - x, low - y)
        gone = 0.0
        while whole - gone > left:
            gone += left
            at = (x + (far - x) * gone / whole, y + (low - y) * gone / whole)
            if number % 2 == 0:
                yield [*part, at]
            part = [at]
            number += 1
            left = lengths[number % len(lengths)]
        left -= whole - gone
        part.append((far, low))
    if number % 2 == 0 and len(part) > 1:
        yield part
