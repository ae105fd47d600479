"""What the terminal shows until the first frame, which takes seconds on a busy machine."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual._compositor import CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.color import Color
from textual.scrollbar import ScrollBar
from textual.strip import Strip

from llmops_tui.safe_text import safe_line
from screens.services import Services
from screens.shell.shell import Shell
from screens.terminal import TerminalProfile
from screens.textual_caches import keep_no_widgets
from screens.widgets.scroll_line import ScrollLine


class Opening(Shell):
    """What is Textual's, and other than it before anything is made; and what is seen until the first frame."""

    def __init__(self, services: Services, profile: TerminalProfile, keymap: dict[str, str]) -> None:
        keep_no_widgets()
        ScrollBar.renderer = ScrollLine
        super().__init__(services, profile, keymap)

    def on_compose(self) -> None:
        """Say that the workspace is opened: behind this, the first screen is loaded and made."""
        if (write := self.terminal_writer()) is not None:
            write(self._delta.render(opening_frame(self, self.services.workspace.name), self.console))


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
