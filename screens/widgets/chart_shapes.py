"""What a picture of a chart consists of, whatever file it becomes: texts and lines on 960 by 480."""

from __future__ import annotations

from dataclasses import dataclass

WIDTH, HEIGHT = 960, 480
USUAL_SIZE = 13


@dataclass(frozen=True)
class Words:
    """A text of the picture, on its base line; ``anchor`` is the part of it that is at x: start, middle or end."""

    x: float
    y: float
    text: str
    size: int = USUAL_SIZE
    bold: bool = False
    anchor: str = "start"


@dataclass(frozen=True)
class Stroke:
    """A line of the picture through points; ``dashes`` are the lengths of strokes and gaps, with blanks between."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float
    dashes: str = ""
    is_series: bool = False


Shape = Words | Stroke
