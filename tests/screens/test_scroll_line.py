"""The horizontal scroll bar is a thin line that the mouse moves as it does Textual's."""

from __future__ import annotations

from rich.console import Console
from rich.segment import Segment

from screens.widgets.scroll_line import LINE, ScrollLine


def bar(*, vertical: bool) -> list[Segment]:
    line = ScrollLine(virtual_size=80, window_size=20, position=30, vertical=vertical, style="#333b4b on #12151b")
    console = Console(width=1 if vertical else 20, height=20)
    options = console.options.update(height=20 if vertical else 1)
    return [segment for segment in console.render(line, options) if segment.text.strip("\n")]


def test_a_horizontal_bar_has_the_lowest_part_of_its_cells_alone() -> None:
    drawn = bar(vertical=False)
    assert "".join(segment.text for segment in drawn).strip() == LINE * 6
    for segment in drawn:
        assert segment.style is not None
        assert segment.style.bgcolor is not None
        assert (segment.style.bgcolor.name, segment.style.reverse) == ("#12151b", None)
        moves = segment.style.meta["@mouse.down"]
        assert (moves == "grab") == (segment.text == LINE)


def test_a_vertical_bar_is_textuals() -> None:
    assert LINE * 2 not in "".join(segment.text for segment in bar(vertical=True))
