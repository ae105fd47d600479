"""The steps of a run: what each was given, what came, how long it took, and why it stopped or failed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.counts import counted
from llmops_tui.safe_text import safe_line
from screens.shell.pane import Pane
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.chains.records import SpanRecord
    from llmops_tui.chains.runs import ChainRunRecord

_EMPTY = "The steps of the run under the cursor are shown here, each as it is done."
_HELP = (
    "The steps of a run. a runs the chain again from this step on, with an edit; what comes before stays as it was. f shows "
    "only those that failed."
)
_LONG = 300


class StepsPane(Pane):
    """One line a step."""

    class CursorMoved(Message):
        """Another step is under the cursor."""

    class Again(Message):
        """The chain is to be run again from the step under the cursor on."""

    def __init__(self) -> None:
        super().__init__(title="Steps", jump_key="s", id="chains-steps", help_text=_HELP)
        self._run = ""
        self._position = 0
        self._spans: dict[str, SpanRecord] = {}
        self._failed = False

    def compose(self) -> ComposeResult:
        """The list."""
        yield Table(_columns(), id="chains-step-list", key=lambda one: one["path"], empty=_EMPTY, selects=False)

    @property
    def _table(self) -> Table[SpanRecord]:
        return self.query_one(Table)

    @property
    def current(self) -> SpanRecord | None:
        """The step under the cursor."""
        return self._table.current

    async def load(self, run: ChainRunRecord | None) -> None:
        """Read what a run did since the last look."""
        from llmops_tui.chains.spans import spans_behind

        wanted = run.id if run is not None else ""
        if wanted != self._run:
            self._run, self._position, self._spans = wanted, 0, {}
            self._fill()
        if run is None:
            return
        found, position = await asyncio.to_thread(spans_behind, run.folder, self._position)
        if self._run != wanted:
            return  # another run is under the cursor by now
        self._position = position
        if found:
            for span in found:
                self._spans.pop(span["path"], None)
                self._spans[span["path"]] = span
            self._fill()

    def _fill(self) -> None:
        spans = [one for one in self._spans.values() if not self._failed or one["state"] == "failed"]
        self._table.fill(spans)
        failed = sum(one["state"] == "failed" for one in self._spans.values())
        told = [counted(len(self._spans), "step")] if self._spans else []
        told += [f"{failed:,} failed"] if failed else []
        told += ["only these are shown"] if self._failed else []
        self.set_note(" · ".join(told))

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self.post_message(self.CursorMoved())

    # ── actions ──

    def action_again(self) -> None:
        """Run again from here."""
        if self.current is None:
            self.shell.say("There is no step yet: F5 runs the chain.", severity="warning")
        else:
            self.post_message(self.Again())

    def action_failed(self) -> None:
        """Show only the steps that failed, or all again."""
        self._failed = not self._failed
        self._fill()


def as_line(value: Any) -> str:
    """A value in one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return safe_line(" ".join(text.split()))[:_LONG]


def _tokens(span: SpanRecord) -> int:
    return (span["prompt_tokens"] or 0) + (span["completion_tokens"] or 0)


def _came(span: SpanRecord) -> Part:
    if span["state"] == "failed":
        return as_line(span["error"]), "bad"
    if span["rows"] is not None:
        failed = f", {span['failed']:,} failed" if span["failed"] else ""
        return f"{span['rows']:,} rows{failed}", "warn" if failed else "muted"
    return ("" if span["output"] is None else as_line(span["output"])), "plain"


def _columns() -> list[Column[SpanRecord]]:
    return [
        Column("step", lambda one: one["path"], most=40),
        Column("kind", lambda one: (one["kind"], "muted"), rank=2),
        Column("took", lambda one: units.whole(one["seconds"] * 1000), lambda one: one["seconds"],
            unit="ms", right=True, falling=True, rank=1),
        Column("tokens", lambda one: f"{_tokens(one):,}" if _tokens(one) else "", _tokens, right=True, falling=True, rank=3),
        Column("stopped", lambda one: "known" if one["cached"] else one["stopped"], rank=4, spare=True),
        Column("output", _came, share=1, least=8, most=_LONG),
    ]  # fmt: skip
