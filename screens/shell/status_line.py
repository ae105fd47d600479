"""The one status line of every screen: workspace and its trust, model, load, jobs, alerts; each part leads to its screen."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from llmops_tui.safe_text import safe_line
from screens.shell.tab_badges import Badge

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.:-=+*#"
_GAUGE_SAMPLES = 5
# Names may be long; what stands behind them matters more.
_MODEL, _NAME, _SHORT_NAME = 40, 24, 12
# Between two parts, and so much that all parts together have at the ends of the line.
_GAP = 2
_LEANEST = 4


@dataclass(frozen=True)
class Status:
    """What the status line and the tabs show. Loads in percent, none where they cannot be known; no model before it is known."""

    workspace: str = ""
    workspace_status: str = ""
    model: str | None = None
    loaded: bool = False
    tokens_per_s: float | None = None
    cpu: tuple[float, ...] = ()
    gpu: tuple[float, ...] = ()
    gpu_memory: str = ""
    jobs: int = 0
    job_title: str = ""
    notices: int = 0
    badges: dict[str, Badge] = field(default_factory=dict)


def gauge(values: Sequence[float], *, utf8: bool) -> str:
    """The last values, each from 0 to 100, as a row of bars with the newest in figures."""
    if not values:
        return ""
    glyphs = _BLOCKS if utf8 else _ASCII
    bars = "".join(glyphs[min(7, max(0, int(v / 100 * 7.999)))] for v in list(values)[-_GAUGE_SAMPLES:])
    return f"{bars} {values[-1]:3.0f}%"


class StatusPart(Static):
    """One part; a click goes where it points."""

    class Chosen(Message):
        """The part was clicked."""

        def __init__(self, place: str) -> None:
            super().__init__()
            self.place = place

    def __init__(self, place: str) -> None:
        super().__init__("", id=f"status-{place}", markup=False)
        self.place = place
        self._shown: Content | None = None

    @property
    def shown(self) -> Content:
        """What it says."""
        return self._shown or Content("")

    def show(self, content: Content) -> None:
        """Draw only where something changed, in as many cells as it has."""
        # Asked of the layout and not of what was shown before: whatever the layout missed is put right the next time.
        fits = self.content_size.width == (content.cell_length if content.plain else 0)
        if content != self._shown or not fits:
            self._shown = content
            self.display = bool(content.plain)
            self.update(content, layout=not fits)

    def on_click(self) -> None:
        """Go there."""
        self.post_message(self.Chosen(self.place))


class StatusLine(Horizontal):
    """The row above the footer."""

    def __init__(self, *, utf8: bool) -> None:
        super().__init__(id="status-line")
        self._utf8 = utf8
        self._status = Status()
        self._marks: tuple[Content, ...] = ()

    def compose(self) -> ComposeResult:
        """The parts, left to right."""
        for place in ("workspace", "trust", "model", "gpu", "cpu", "jobs", "alerts"):
            yield StatusPart(place)
        yield Static("", id="status-more", markup=False)

    def tell_hidden(self, marks: Sequence[Content]) -> None:
        """Say at the end of the line what has no place on the terminal, in the first of these ways that fits."""
        if tuple(marks) != self._marks:
            self._marks = tuple(marks)
            self.show(self._status)

    def _show_mark(self) -> None:
        shown = [part.shown for part in self.children if isinstance(part, StatusPart)]
        room = self.size.width - _GAP - sum(part.cell_length + _GAP for part in shown if part.plain)
        fitting = next((mark for mark in self._marks if mark.cell_length <= room), Content(""))
        more = self.query_one("#status-more", Static)
        if more.content != fitting:
            more.update(fitting, layout=False)

    def show(self, status: Status) -> None:
        """Show a new status: as much of it as fits, what can be looked up elsewhere going first."""
        self._status = status
        # That panes are hidden is told nowhere else; what the parts say more of stands on their screens.
        mark = min((mark.cell_length for mark in self._marks if mark.plain), default=-_GAP) + _GAP
        for leanness in range(_LEANEST + 1):
            parts = self._parts(status, leanness)
            if sum(part.cell_length + _GAP for part in parts.values() if part.plain) + mark <= self.size.width:
                break
        for part in self.children:
            if isinstance(part, StatusPart):
                part.show(parts[part.place])
        self._show_mark()

    def on_resize(self) -> None:
        """More fits now, or less."""
        self.show(self._status)

    def _parts(self, status: Status, leanness: int) -> dict[str, Content]:
        """What is said in each place; with ``leanness`` first bars go, then titles and speed, then figures, then loads."""
        mark = ("▣" if status.loaded else "□") if self._utf8 else ("[x]" if status.loaded else "[ ]")
        warning, wheel = ("⚠", "▶") if self._utf8 else ("!", "jobs")
        speed = f" · {status.tokens_per_s:,.0f} tok/s" if status.tokens_per_s and leanness < 2 else ""
        title = f" {safe_line(status.job_title, 40)}" if status.job_title and leanness < 2 else ""
        return {
            "workspace": Content(safe_line(status.workspace, _NAME if leanness < 3 else _SHORT_NAME)),
            "trust": Content.styled(
                status.workspace_status and f"{warning} {status.workspace_status}", "$warning bold"
            ),
            "model": Content("")
            if status.model is None
            else Content.assemble(
                (mark, "$success" if status.loaded else "$muted"),
                " ",
                safe_line(status.model or "no model", _MODEL if leanness < 3 else _NAME),
                (speed, "$muted"),
            ),
            "gpu": self._load("GPU", status.gpu, status.gpu_memory if leanness < 3 else "", leanness),
            "cpu": self._load("CPU", status.cpu, "", leanness),
            "jobs": Content(f"{wheel} {status.jobs}{title}") if status.jobs else Content(""),
            "alerts": Content.styled(f"{warning} {status.notices}", "$warning") if status.notices else Content(""),
        }

    def _load(self, name: str, values: tuple[float, ...], note: str, leanness: int) -> Content:
        if not values or leanness == _LEANEST:
            return Content("")
        figures = gauge(values, utf8=self._utf8) if leanness < 1 else f"{values[-1]:3.0f}%"
        return Content.assemble((f"{name} ", "$muted"), figures, f" {note}".rstrip())


class LoadHistory:
    """The last few samples of a load."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=_GAUGE_SAMPLES)

    def add(self, value: float | None) -> tuple[float, ...]:
        """Add a sample; a missing one adds nothing."""
        if value is not None:
            # Rounded to a bar's height, so that a calm machine repaints nothing.
            self._values.append(round(value / 2) * 2)
        return tuple(self._values)
