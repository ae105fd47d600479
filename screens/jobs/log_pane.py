"""The end of a job's output, below its state, its times and what came of it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from pathlib import Path

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.jobs.outcomes import facts_of, seconds_left
from llmops_tui.jobs.store import Job, JobState
from llmops_tui.regular_files import open_regular
from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.states import mark_of, tone_of
from screens.jobs.jobs_pane import STOPPING
from screens.jobs.places import place_of_job
from screens.shell.pane import Pane
from screens.widgets import units
from screens.widgets.motions import TextScroll
from screens.widgets.text_wrap import hanging, join_parts

_LOG_BYTES = 20_000
# Cells of the bar, of what goes on in the next line, and of a line before it is known how many there are.
_BAR_CELLS, _INDENT, _WIDTH = 20, 2, 72
_BAR, _WARNING = re.compile(r"\d%\|"), re.compile(r"\b[A-Z]\w*Warning: ")
_ROOMY = 90
# In fewer lines facts stand beside each other.
_DENSE_ROWS = 14
_COLOURS = {"good": "$success", "bad": "$error", "warn": "$warning", "accent": "$accent", "muted": "$muted"}


class LogPane(Pane):
    """The log of one job, below what it is and what came of it."""

    def __init__(self) -> None:
        super().__init__(
            title="Log", jump_key="g", id="log", help_text="What came of the job, and the end of its output."
        )
        self._shown: Job | None = None
        self._lines: list[str] = []
        self._follows = False
        self._drawn = 0

    def compose(self) -> ComposeResult:
        """What came of the job, which stays in view, and its output."""
        yield Static("", id="log-head", markup=False)
        with TextScroll(id="log-scroll"):
            yield Static("", id="log-text", markup=False)

    async def show(self, job: Job | None) -> None:
        """Show the log of a job; what is shown stays where there is none."""
        if job is None:
            return
        new = self._shown is None or job.id != self._shown.id
        self._shown = job
        if not new:
            self._draw()  # its state at once; its output when it was read
        path = self.services.jobs.store.folder(job) / "output.log"
        text = await asyncio.to_thread(_tail, path)
        if self._shown.id != job.id:
            return  # another job is under the cursor by now
        self._lines = quiet(safe_text(overwritten(text)).rstrip("\n").split("\n"))
        self.set_title("Log", f"{safe_line(job.title, 80)} · {job.id}")
        self.set_note(keys_for(job))
        self._draw()
        scroll = self.query_one(TextScroll)
        # The newest line is shown, until somebody reads further above; what is shorter begins at the top.
        longer = self._drawn > scroll.size.height
        if longer and (new or not self._follows):
            scroll.anchor()
        elif new:
            scroll.anchor(False)
            scroll.scroll_home(animate=False)
        self._follows = longer or (self._follows and not new)

    def on_resize(self) -> None:
        """Lines are broken for the room there is."""
        self._draw()

    def _draw(self) -> None:
        if self._shown is None:
            return
        width = (self.query_one(TextScroll).size.width or _WIDTH) - 1
        told = head_of(self._shown, width, time.time(), dense=self.size.height < _DENSE_ROWS)
        self.query_one("#log-head", Static).update(told)
        # What goes on is below its beginning, so that one sees where lines begin.
        text = "\n".join(hanging(line, width, _INDENT) for line in self._lines)
        self._drawn = text.count("\n") + 1
        self.query_one("#log-text", Static).update(Content(text))


def keys_for(job: Job) -> str:
    """What can be done with a job now."""
    opens = "⏎ open · " if place_of_job(job) is not None else ""
    if not job.state.final:
        return opens.removesuffix(" · ") if job.stopping else f"{opens}x cancel"
    return opens + ("D delete" if job.state == JobState.DONE else "r resume · D delete")


def head_of(job: Job, width: int, now: float, *, dense: bool = False) -> Content:
    """What a job is and how far, when it was at work, and what came of it, in lines of so many cells.

    ``dense``: facts beside each other, where each has a line else.
    """
    word = "stopped" if job.stopping else job.word
    said = STOPPING if job.stopping else word
    parts: list[tuple[str, str] | str] = [(f"{mark_of(word)} {said}", f"bold {_COLOURS[tone_of(word)]}")]
    if job.state == JobState.RUNNING:
        parts.append(
            (
                f"  {units.bar(job.progress, _BAR_CELLS if width >= _ROOMY else _BAR_CELLS // 2)} {job.progress:.0%}",
                "$accent",
            )
        )
    parts.append(("  " + " · ".join(_times(job, now)), "$muted"))
    if job.cause:
        parts.append((f"\n{hanging(safe_line(job.cause), width, 0)}", "$error"))
    # Paths are long and only copied: they stand last.
    facts = sorted(facts_of(job), key=lambda fact: fact[1].startswith("/"))
    if dense:
        parts += [f"\n{line}" for line in join_parts([f"{safe_line(n)} {safe_line(v)}" for n, v in facts], width)]
    else:
        column = max((len(name) for name, _ in facts), default=0) + 2
        for name, value in facts:
            parts += [(f"\n{safe_line(name):{column}}", "$muted"), hanging(safe_line(value), width, column)]
    # What was said last is no news once it is known what came of it.
    parts += [f"\n{safe_line(job.message)}"] if job.message and not facts else []
    return Content.assemble(*parts)


def _times(job: Job, now: float) -> list[str]:
    began = job.started_at or job.created_at
    told = [f"{'began' if job.started_at else 'since'} {units.moment(began, now)[0]}"]
    if job.started_at is None:
        return told
    took = units.clock_time(max(0.0, (job.finished_at or now) - job.started_at))
    if job.state.final:
        return [*told, f"took {took}"]
    left = None if job.stopping else seconds_left(job, now)
    return [*told, f"{took} so far", *([f"about {units.clock_time(left)} left"] if left is not None else [])]


def quiet(lines: Sequence[str]) -> list[str]:
    """Lines of a log, but that warnings of packages and bars of their progress are counted, and not shown."""
    found: list[str] = []
    noise, warned = 0, False
    for line in [*lines, None]:
        # The one line of code that a warning points at stands below it, further in.
        pointed, warned = warned and line is not None and line.startswith("  ") and bool(line.strip()), False
        if line is not None and (pointed or _BAR.search(line) or _WARNING.search(line)):
            noise, warned = noise + 1, not pointed and _WARNING.search(line) is not None
            continue
        if noise:
            found.append(f"· {counted(noise, 'line')} of packages' warnings and progress bars; llmops job logs has all")
            noise = 0
        found += [line] if line is not None else []
    return found


def overwritten(text: str) -> str:
    """A text as a terminal shows it whose lines are written again behind a carriage return: the last writing of each."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


def _tail(path: Path) -> str:
    try:
        with open_regular(path) as reader:
            size = reader.seek(0, 2)
            begin = max(0, size - _LOG_BYTES)
            reader.seek(begin)
            text = reader.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"
    # What is left of a line whose beginning is not shown says nothing.
    return text.partition("\n")[2] or text if begin else text
