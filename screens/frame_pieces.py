"""What a frame of Textual's compositor draws, and the signs of its texts."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len, split_graphemes
from rich.segment import Segment
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate


def graphemes(text: str) -> Iterable[tuple[str, int]]:
    """The signs of a text, each with the cells it takes."""
    out: list[tuple[str, int]] = []
    for char in text:
        cells = cell_len(char)
        if cells == 0 and out:
            out[-1] = (out[-1][0] + char, out[-1][1])
        elif cells:
            out.append((char, cells))
    if sum(cells for _, cells in out) == cell_len(text):
        return out
    return [(text[begin:end], cells) for begin, end, cells in split_graphemes(text)[0] if cells]


def pieces_of(update: CompositorUpdate) -> tuple[int, int, list[tuple[int, int, Iterable[Segment]]]] | None:
    """Width and height of the frame, and what is drawn: line, column, segments. None of what is no whole frame."""
    if isinstance(update, LayoutUpdate):
        x, y, width, height = update.region
        lines = [(line, x, [s for strip in strips for s in strip]) for line, strips in enumerate(update.strips, y)]
        return x + width, y + height, lines  # type: ignore[return-value]  # a list of segments is one
    if isinstance(update, ChopsUpdate) and update.chops:
        drawn: list[tuple[int, int, Iterable[Segment]]] = []
        # As Textual does it: strips that reach into a span, cut where it ends.
        for line, begin, end in update.spans:
            for stop, (x, strip) in zip(update.chop_ends[line], update.chops[line].items(), strict=False):
                if strip is None or x > end or stop <= begin:
                    continue
                whole = end > x >= begin and stop <= end
                drawn.append((line, x, strip if whole else strip.crop(0, min(stop, end) - x)))
        return update.chop_ends[0][-1], len(update.chops), drawn
    return None
