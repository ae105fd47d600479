"""The one status line of every screen: workspace, model, load, jobs, alerts; each part is a place to go."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from llmops_tui.safe_text import safe_line

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.:-=+*#"
_GAUGE_SAMPLES = 5


@dataclass(frozen=True)
class Status:
    """What the status line shows. Loads in percent; none where they cannot be known."""

    workspace: str = ""
    model: str = ""
    loaded: bool = False
    tokens_per_s: float | None = None
    cpu: tuple[float, ...] = ()
    gpu: tuple[float, ...] = ()
    gpu_memory: str = ""
    jobs: int = 0
    job_title: str = ""
    notices: int = 0


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

    def show(self, content: Content) -> None:
        """Draw only where something changed."""
        if content != self._shown:
            same_width = self._shown is not None and self._shown.cell_length == content.cell_length
            self._shown = content
            self.display = bool(content.plain)
            self.update(content, layout=not same_width)

    def on_click(self) -> None:
        """Go there."""
        self.post_message(self.Chosen(self.place))


class StatusLine(Horizontal):
    """The row above the footer."""

    def __init__(self, *, utf8: bool) -> None:
        super().__init__(id="status-line")
        self._utf8 = utf8

    def compose(self) -> ComposeResult:
        """The parts, left to right."""
        for place in ("workspace", "model", "gpu", "cpu", "jobs", "alerts"):
            yield StatusPart(place)

    def show(self, status: Status) -> None:
        """Show a new status."""
        mark = ("▣" if status.loaded else "□") if self._utf8 else ("[x]" if status.loaded else "[ ]")
        speed = f" · {status.tokens_per_s:,.0f} tok/s" if status.tokens_per_s else ""
        parts = {
            "workspace": Content(safe_line(status.workspace)),
            "model": Content.assemble(
                (mark, "$success" if status.loaded else "$muted"), " ", safe_line(status.model or "no model"),
                (speed, "$muted"),
            ),
            "gpu": self._load("GPU", status.gpu, status.gpu_memory),
            "cpu": self._load("CPU", status.cpu, ""),
            "jobs": Content(f"⛭ {status.jobs} {safe_line(status.job_title, 40)}".strip()) if status.jobs else Content(""),
            "alerts": Content.styled(f"⚠ {status.notices}", "$warning") if status.notices else Content(""),
        }  # fmt: skip
        for place, content in parts.items():
            self.query_one(f"#status-{place}", StatusPart).show(content)

    def _load(self, name: str, values: tuple[float, ...], note: str) -> Content:
        if not values:
            return Content("")
        return Content.assemble((f"{name} ", "$muted"), gauge(values, utf8=self._utf8), f" {note}".rstrip())


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
