"""What the terminal shows until the first frame, which takes seconds on a busy machine."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual._compositor import CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.color import Color
from textual.strip import Strip

from llmops_tui.safe_text import safe_line


def opening_frame(app: App[int], name: str) -> CompositorUpdate:
    """A frame in the colours of the app, which says in its middle which workspace is opened."""
    width, height = app.size
    paper, ink = (Color.parse(app.theme_variables[colour]) for colour in ("background", "muted"))
    style = Style(color=ink.rich_color, bgcolor=paper.rich_color)
    said = Strip([Segment(f"Opening {safe_line(name)} …", style)])
    left = Strip.blank(max(0, (width - said.cell_length) // 2), style)
    lines = [Strip.blank(width, style)] * height
    lines[height // 2] = Strip.join([left, said]).adjust_cell_length(width, style)
    for one in app.get_line_filters():
        lines = [line.apply_filter(one, paper) for line in lines]
    return LayoutUpdate([[line] for line in lines], app.size.region)
