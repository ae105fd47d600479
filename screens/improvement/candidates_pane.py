"""The candidates of an improvement: score with interval, length, gain, and what became of each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.improvement.summary import length_of
from llmops_tui.safe_text import safe_line
from screens.shell.pane import Pane
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.improvement.records import CandidateRecord, ImprovedRecord

_EMPTY = "The candidates of an improvement are shown here, the seed first."
_HELP = (
    "Each candidate is a version of the prompt with its parent, which no list shows until it is taken: p takes the one under the "
    "cursor, u opens it in the playground. Scores are of the rows that candidates were chosen by, so the best looks better "
    "than it is; ● marks those that no other is better than and as short."
)


class CandidatesPane(Pane):
    """One line a candidate."""

    class CursorMoved(Message):
        """Another one is under the cursor."""

    class Changed(Message):
        """One was promoted."""

    class Wanted(Message):
        """A version is wanted in the playground."""

        def __init__(self, prompt: str, version: int) -> None:
            super().__init__()
            self.prompt, self.version = prompt, version

    def __init__(self) -> None:
        super().__init__(title="Candidates", jump_key="c", id="improvement-candidates", help_text=_HELP)
        self._prompt = ""

    def compose(self) -> ComposeResult:
        """The list."""
        yield Table(
            _columns(), id="candidates-table", key=lambda one: str(one["version"]), empty=_EMPTY, selects=False,
            mark=lambda one: ("●", "accent") if one["front"] else ("", "plain"),
        )  # fmt: skip

    @property
    def _table(self) -> Table[CandidateRecord]:
        return self.query_one(Table)

    @property
    def current(self) -> CandidateRecord | None:
        """The candidate under the cursor."""
        return self._table.current

    def show(self, found: ImprovedRecord | None) -> None:
        """The candidates of what was found."""
        self._prompt = found["prompt"] if found is not None else ""
        self.set_note(safe_line(_note(found), 120) if found is not None else "")
        with self.prevent(Table.Moved):
            self._table.fill(found["candidates"] if found is not None else [])

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self.post_message(self.CursorMoved())

    # ── actions ──

    def action_promote(self) -> None:
        """Take the candidate under the cursor."""
        if self.current is None or self.current["parent"] is None:
            self.shell.say("The seed is a version already; choose a candidate.", severity="warning")
        else:
            self.act("promote", self._promote, f"{self._prompt}@{self.current['version']}")

    async def _promote(self, ref: str) -> None:
        version = await asyncio.to_thread(self.services.prompts.promote, ref)
        self.shell.say(f"{version.ref} is a version like any other now; l in the playground points a label at it.")
        self.post_message(self.Changed())

    def action_use(self) -> None:
        """Open the candidate in the playground."""
        if self.current is None:
            return
        if self.current["parent"] is not None:
            self.act("use", self._use, f"{self._prompt}@{self.current['version']}", self.current["version"])
        else:
            self.post_message(self.Wanted(self._prompt, self.current["version"]))

    async def _use(self, ref: str, number: int) -> None:
        version = await asyncio.to_thread(self.services.prompts.get, ref)
        if version.candidate_of:
            self.shell.say(
                f"{ref} is a candidate, which the playground does not list: p takes it first.", severity="warning"
            )
        else:
            self.post_message(self.Wanted(self._prompt, number))


def _note(found: ImprovedRecord) -> str:
    taken = found["taken"]
    return f"{found['step']} · {taken['calls']:,} calls · {taken['seconds'] / 60:.1f} min"


def _score(one: CandidateRecord) -> Part:
    if one["mean"] is None:
        return "", "muted"
    ends = f" [{one['low']:.2f}, {one['high']:.2f}]" if one["low"] is not None and one["high"] is not None else ""
    return f"{one['mean']:.3f}{ends}", "plain"


def _gain(one: CandidateRecord) -> Part:
    gain = one["gain"]
    return ("", "muted") if gain is None else (f"{gain:+.3f}", "good" if gain > 0 else "bad" if gain < 0 else "plain")


def _columns() -> list[Column[CandidateRecord]]:
    return [
        Column("version", lambda one: f"@{one['version']}", lambda one: one["version"]),
        Column("of", lambda one: f"@{one['parent']}" if one["parent"] is not None else "", rank=3),
        Column("what", lambda one: one["kind"], rank=1),
        Column("score", _score, lambda one: one["mean"], falling=True),
        Column("rows", lambda one: units.whole(one["rows"] or None), lambda one: one["rows"], right=True, rank=2),
        Column("gain", _gain, lambda one: one["gain"], right=True, falling=True, rank=1),
        Column("length", lambda one: units.whole(round(length_of(one))), length_of, right=True, rank=2),
        Column("fate", lambda one: (safe_line(one["fate"], 120), "muted"), share=1, least=8, rank=2),
    ]  # fmt: skip
