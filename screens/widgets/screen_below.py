"""What is seen of a screen below a dialog: of what changes there, only those lines are drawn.

Textual draws and tints the whole screen for every word that an answer below goes on by, and asks a screen that changed once
to be drawn again with every later frame. Both cost 20 to 30 ms a frame at 120 by 40, which each key in the dialog waits for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.segment import Segment
from rich.style import Style
from textual._compositor import Compositor  # Textual exports neither this
from textual._context import visible_screen_stack  # nor this
from textual.color import Color
from textual.geometry import Region, Size
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import Screen, ScreenResultType
from textual.strip import Strip
from textual.widget import _RenderCache  # nor this


@dataclass
class _Below:
    """The lines of the screen below: as they are there, and tinted. For one size, one tint, and one look of what has none."""

    size: Size
    tint: Color
    usual: Style
    lines: list[Strip] = field(init=False)
    tinted: list[Strip] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = [Strip([])] * self.size.height
        self.tinted = [Strip.blank(self.size.width)] * self.size.height

    def draw(self, compositor: Compositor, rows: set[int]) -> None:
        """Take these lines from what composes a screen."""
        crop = Region(0, min(rows), self.size.width, max(rows) - min(rows) + 1)
        pieces = compositor._render_chops(crop, rows.__contains__)  # noqa: SLF001
        for row in rows:
            line = Strip.join(pieces[row].values())
            if line != self.lines[row]:
                self.lines[row] = line
                tinted = BackgroundScreen.process_segments(line, self.tint)
                self.tinted[row] = Strip(Segment.apply_style(tinted, self.usual), line.cell_length)


class LayeredScreen(Screen[ScreenResultType]):
    """A screen that may be above another one, or below it."""

    _below: _Below | None = None

    def _render_content(self) -> None:
        screens, tint, size = visible_screen_stack.get([]), self.styles.background, self.size
        if not screens or screens[-1] is self or not 0 < tint.a < 1:
            super()._render_content()
            return
        rows = {row for region in self._dirty_regions for row in region.line_range if 0 <= row < size.height}
        usual = self.visual_style.rich_style
        if self._below is None or (self._below.size, self._below.tint, self._below.usual) != (size, tint, usual):
            self._below, rows = _Below(size, tint, usual), set(range(size.height))
        # Who draws takes his screen from the list: the one below may be above another one itself.
        compositor = screens.pop()._compositor  # noqa: SLF001
        if rows:
            self._below.draw(compositor, rows)
        self._render_cache = _RenderCache(size, self._below.tinted)
        self._dirty_regions.clear()

    def _compositor_refresh(self) -> None:
        stack = self.app.screen_stack
        if self not in self.app._background_screens:  # noqa: SLF001
            super()._compositor_refresh()
            return
        if dirty := self._compositor._dirty_regions:  # noqa: SLF001
            stack[stack.index(self) + 1].refresh(*dirty)
            dirty.clear()
        self._dirty_widgets.clear()
