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
    from llmops_tui.prompts.runs import RunRecord
    from llmops_tui.prompts.store import PromptVersion

_HELP = "Past runs of the version under the cursor, newest first. Enter shows one's output."
_EMPTY = "No runs yet. F5 runs the prompt."


_ENDS = {"error": ("error", "bad"), "cancelled": ("cancelled", "bad"), "length": ("cut off", "warn")}


def _answer(run: RunRecord) -> str | Part:
    nothing = "nothing" if run.finish_reason else "answering …"
    return safe_line(run.output, 300) or (nothing, "muted")


COLUMNS: list[Column[RunRecord]] = [
    Column("time", lambda run: units.moment(run.started_at), lambda run: run.started_at, falling=True),
    Column("@", lambda run: "–" if run.version is None else f"@{run.version}", lambda run: run.version, least=2, falling=True),
    Column("answer", _answer, share=3, least=20),
    Column("end", lambda run: _ENDS.get(run.finish_reason, ""), rank=1, spare=True),
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
        )


class RunsPane(Pane):
    """The runs of what is looked at; ``shown`` gives the id of the run whose answer is in front."""

    class Opened(Message):
        """A run was chosen: its output is wanted."""

        def __init__(self, run: RunRecord) -> None:
            super().__init__()
            self.run = run

    def __init__(self, shown: Callable[[], str]) -> None:
        super().__init__(title="Runs", jump_key="r", id="playground-runs", help_text=_HELP)
        self._shown = shown
        self._list = RunList(lambda run: run.id == shown())
        self._wanted: tuple[str, int | None] | None = None
        # Whose runs are listed, those that were read, and the one that is on its way.
        self._of: tuple[str | None, int | None] = (None, None)
        self._read: list[RunRecord] = []
        self._going: RunRecord | None = None

    def compose(self) -> ComposeResult:
        """The list."""
        yield self._list

    def show(self, prompt: str | None, version: PromptVersion | None, runs: list[RunRecord]) -> list[RunRecord]:
        """Show those of these runs that are of a version, or all without one, whatever is still being read; gives them."""
        self._wanted = None
        if self._going is not None and self._going.finish_reason:
            self._going = None  # what is read now was written after it
        number = version.number if version is not None else None
        found = [run for run in runs if number in {None, run.version}]
        self._fill((prompt, number), found)
        return found

    def follow(self, run: RunRecord | None) -> None:
        """Show a run that is on its way, or just ended, before the others."""
        self._going = run
        self._fill(self._of, self._read)

    def _fill(self, of: tuple[str | None, int | None], runs: list[RunRecord]) -> None:
        """Draw the rows, and what they are of in the title; never the one without the other."""
        self._of, self._read = of, runs
        prompt, version = of
        going = self._going
        if (
            going is not None
            and going.prompt == prompt
            and version in {None, going.version}
            and all(run.id != going.id for run in runs)
        ):
            runs = [going, *runs]
        self._list.fill(runs)
        self.set_title("Runs", f"@{version} · {len(runs)}" if version is not None else str(len(runs)))

    def mark_shown(self) -> None:
        """The answer of another run is in front."""
        self._list.refresh()

    async def load(self, prompt: str, version: PromptVersion | None) -> list[RunRecord]:
        """Read and show the runs of a version, or of all; those that are shown, none where others are wanted by now."""
        wanted = self._wanted = (prompt, version.number if version is not None else None)
        runs = await asyncio.to_thread(self.services.history.of, *wanted)
        if self._wanted != wanted:
            return []
        self._fill(wanted, runs)
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
        return next((run for run in self._list.rows if run.id == self._shown()), None)

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
