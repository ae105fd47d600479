"""The past runs of the open prompt, or of one of its versions: a list, newest first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.safe_text import safe_line
from screens.shell.pane import Pane
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model
    from llmops_tui.prompts.run_history import RunRecord
    from llmops_tui.prompts.store import PromptVersion

_HELP = "Past runs of the version under the cursor, newest first. Enter shows one's output."
_EMPTY = "No runs yet. F5 runs the prompt."


# How one ended, where that was not well.
_ENDS: dict[str, Part] = {"error": ("error", "bad"), "cancelled": ("cancelled", "bad"), "length": ("cut off", "warn")}


def _answer(run: RunRecord) -> Part:
    if run.output:
        return safe_line(run.output, 300), "plain"
    return ("nothing" if run.finish_reason else "answering …"), "muted"


COLUMNS: list[Column[RunRecord]] = [
    Column("time", lambda run: units.moment(run.started_at), lambda run: run.started_at, falling=True),
    Column("@", lambda run: "–" if run.version is None else f"@{run.version}", lambda run: run.version, least=2, falling=True),
    Column("answer", _answer, share=3, least=20),
    Column("end", lambda run: _ENDS.get(run.finish_reason, ("", "muted")), rank=1, spare=True),
    Column("speed", lambda run: units.whole(run.tokens_per_s), lambda run: run.tokens_per_s,
        unit="tok/s", right=True, falling=True, rank=2, spare=True),
    Column("model", lambda run: safe_line(run.model, 120), share=1, least=8, chosen=False, rank=3, names=True),
    Column("tokens", lambda run: units.whole(run.completion_tokens), lambda run: run.completion_tokens,
        right=True, falling=True, chosen=False, rank=4),
    Column("first", lambda run: units.whole(run.ttft_ms), lambda run: run.ttft_ms, unit="ms",
        right=True, falling=True, chosen=False, rank=5),
    Column("took", lambda run: units.whole(run.total_ms), lambda run: run.total_ms, unit="ms",
        right=True, falling=True, chosen=False, rank=6),
]  # fmt: skip


class RunList(Table["RunRecord"]):
    """Past runs with their answers in brief; ``is_shown`` says of which run the answer is in front."""

    def __init__(self, is_shown: Callable[[RunRecord], bool]) -> None:
        super().__init__(
            COLUMNS,
            id="run-list",
            key=lambda run: run.id,
            empty=_EMPTY,
            mark=lambda run: ("▸", "accent") if is_shown(run) else ("", "plain"),
            reads=True,
        )


class RunsPane(Pane):
    """The runs of what is looked at; ``shown`` gives the id of the run whose answer is in front."""

    class Opened(Message):
        """A run was chosen: its output is wanted."""

        def __init__(self, run: RunRecord) -> None:
            super().__init__()
            self.run = run

    def __init__(self, shown: Callable[[], RunRecord | None], prompt: Callable[[], str | None]) -> None:
        """``shown`` gives the run whose answer is in front, ``prompt`` the prompt that is open."""
        super().__init__(title="Runs", jump_key="r", id="playground-runs", help_text=_HELP)
        self._shown, self._prompt = shown, prompt
        self._version: int | None = None
        self._read: list[RunRecord] = []
        self._list = RunList(lambda run: (front := shown()) is not None and run.id == front.id)
        self._wanted: tuple[str, int | None] | None = None

    def compose(self) -> ComposeResult:
        """The list."""
        yield self._list

    def show(self, runs: list[RunRecord], version: PromptVersion | None) -> list[RunRecord]:
        """Show those of these runs that are of a version, or all without one, whatever is still being read; gives them."""
        self._wanted = None
        self._version = version.number if version is not None else None
        self._read = [run for run in runs if version is None or run.version == version.number]
        self._fill()
        return self._read

    def mark_shown(self) -> None:
        """The answer of another run is in front; one that is going on, or was not read yet, is among the others."""
        self._fill()

    def _fill(self) -> None:
        front, runs = self._shown(), self._read
        if front is not None and self._takes(front) and all(run.id != front.id for run in runs):
            runs = [front, *runs]
        # The newest stays in view for whoever does not go through the others.
        follows = front is not None and bool(runs) and runs[0].id == front.id and not self._list.has_focus
        self._list.fill(runs, runs[0].id if follows else "")
        self._list.refresh()
        title = f"@{self._version} · " if self._version is not None else ""
        self.set_title("Runs", f"{title}{len(runs)}")

    def _takes(self, run: RunRecord) -> bool:
        """Whether a run that was not read belongs here; one that failed before its first word may be in no trace."""
        of_these = run.prompt == self._prompt() and self._version in {None, run.version}
        return of_these and (bool(run.output) or not run.finish_reason)

    async def load(self, prompt: str, version: PromptVersion | None) -> list[RunRecord]:
        """Read and show the runs of a version, or of all; those that are shown, none where others are wanted by now."""
        wanted = self._wanted = (prompt, version.number if version is not None else None)
        runs = await asyncio.to_thread(self.services.history.of, *wanted)
        if self._wanted != wanted:
            return []
        self._version, self._read = wanted[1], runs
        self._fill()
        return runs

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        event.stop()
        if self._list.current is not None:
            self.post_message(self.Opened(self._list.current))

    # ── what one thinks of a run ──

    def action_up(self) -> None:
        """A thumb up for the answer."""
        self._rate("up")

    def action_down(self) -> None:
        """A thumb down for the answer."""
        self._rate("down")

    def _rate(self, score: str) -> None:
        from screens.playground.feedback import give_thumb

        run = self._shown_run()
        if run is None:
            self.shell.say("There is no answer to rate: F5 runs the prompt.", severity="warning")
            return
        self.act("feedback", give_thumb, self.shell, run.id, score)

    def _shown_run(self) -> RunRecord | None:
        """The run under the cursor while the list has the focus, else the one whose answer is shown."""
        if self._list.has_focus:
            return self._list.current
        front = self._shown()
        return next((run for run in self._list.rows if front is not None and run.id == front.id), None)

    def as_json(self) -> str:
        """The run under the cursor as JSON, or nothing."""
        run = self._list.current
        return json.dumps(run.as_dict(), ensure_ascii=False, indent=2) if run is not None else ""

    def as_code(self, models: Sequence[Model], versions: Sequence[PromptVersion]) -> list[tuple[str, str]]:
        """The run that is shown as other programs make it, by name; none where nothing was kept of it."""
        from llmops_tui.inference.request_code import FORMS, code_of

        run = self._shown_run()
        if run is None or not run.messages:
            return []
        model = next((one for one in models if one.name == run.model), None)
        version = next((one for one in versions if one.number == run.version), None)
        settings = version.settings if version is not None else None
        code = code_of(run.model, model, run.messages, run.parameters, run.output or "", settings)
        return [(f"run as {form}", code.written(form)) for form in FORMS]
