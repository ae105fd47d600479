"""The end of a job's output, below its state and cause."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from llmops_tui.jobs.outcomes import facts_of
from llmops_tui.jobs.store import Job
from llmops_tui.regular_files import open_regular
from llmops_tui.safe_text import safe_line, safe_text
from screens.shell.pane import Pane
from screens.widgets.motions import TextScroll

_LOG_BYTES = 20_000


class LogPane(Pane):
    """The log of one job."""

    def __init__(self) -> None:
        super().__init__(title="Log", jump_key="g", id="log", help_text="The end of the job's output.")
        self._wanted = ""

    def compose(self) -> ComposeResult:
        """What came of the job, which stays in view, and its output."""
        yield Static("", id="log-head", markup=False)
        with TextScroll(id="log-scroll"):
            yield Static("", id="log-text", markup=False)

    async def show(self, job: Job | None) -> None:
        """Show the log of a job; what is shown stays where there is none."""
        if job is None:
            return
        new = job.id != self._wanted
        self._wanted = job.id
        path = self.services.jobs.store.folder(job) / "output.log"
        text = await asyncio.to_thread(_tail, path)
        if self._wanted != job.id:
            return  # another job is under the cursor by now
        head: list[tuple[str, str] | str] = [
            (safe_line(job.title, 200), "bold"),
            f"  {job.state.value}",
            (f"  {job.id}", "$muted"),
        ]
        head += [(f"  {safe_line(job.cause)}", "$error")] if job.cause else []
        # Paths are long and only copied: they stand last.
        facts = sorted(facts_of(job), key=lambda fact: fact[1].startswith("/"))
        # Beside each other: below them the log has the room.
        for place, (name, value) in enumerate(facts):
            head += [("   " if place else "\n", ""), (f"{safe_line(name)}  ", "$muted"), safe_line(value)]
        # What was said last is no news once it is known what came of it.
        head += [f"\n{safe_line(job.message)}"] if job.message and not facts else []
        scroll = self.query_one(TextScroll)
        self.query_one("#log-head", Static).update(Content.assemble(*head))
        self.query_one("#log-text", Static).update(Content(safe_text(overwritten(text))))
        if new:
            # The newest line is shown, until somebody reads further above.
            scroll.anchor()


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
