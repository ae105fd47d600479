"""The past runs of the open prompt, or of one of its versions: a list, newest first."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from llmops_tui.safe_text import safe_line
from screens.shell.pane import Pane
from screens.widgets.motions import Options

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model
    from llmops_tui.prompts.runs import RunRecord
    from llmops_tui.prompts.store import PromptVersion

_HELP = "Past runs of the version under the cursor, newest first. Enter shows one's output."
_EMPTY = "No runs yet. F5 runs the prompt."


class RunList(Options):
    """Past runs with their outputs in brief."""

    def __init__(self) -> None:
        super().__init__(id="run-list", markup=False, compact=True)
        self.runs: list[RunRecord] = []

    @property
    def current(self) -> RunRecord | None:
        """The run under the cursor."""
        if self.highlighted is None or self.highlighted >= len(self.runs):
            return None
        return self.runs[self.highlighted]

    def show(self, runs: list[RunRecord]) -> None:
        """Show these runs."""
        self.clear_options()
        self.runs = runs
        for run in runs:
            bad = run.finish_reason in {"error", "cancelled"}
            speed = f"{run.tokens_per_s:,.0f} tok/s" if run.tokens_per_s else ""
            self.add_option(
                Option(
                    Content.assemble(
                        (time.strftime("%H:%M", time.localtime(run.started_at)), "$muted"),
                        f" @{run.version} ",
                        (f"{run.finish_reason} ", "$error") if bad else "",
                        safe_line(run.output, 120) or "(nothing)",
                        ("  " + speed, "$muted"),
                    ),
                    id=run.id,
                )
            )
        if not runs:
            self.add_option(Option(Content.styled(_EMPTY, "$muted"), disabled=True))


class RunsPane(Pane):
    """The runs of what is looked at; ``answer`` gives the text of the answer that is shown."""

    class Opened(Message):
        """A run was chosen: its output is wanted."""

        def __init__(self, run: RunRecord) -> None:
            super().__init__()
            self.run = run

    def __init__(self, answer: Callable[[], str]) -> None:
        super().__init__(title="Runs", jump_key="r", id="playground-runs", help_text=_HELP)
        self._answer = answer
        self._list = RunList()
        self._wanted: tuple[str, int | None] | None = None

    def compose(self) -> ComposeResult:
        """The list."""
        yield self._list

    def show(self, runs: list[RunRecord]) -> None:
        """Show these runs, whatever is still being read."""
        self._wanted = None
        self._list.show(runs)

    async def load(self, prompt: str, version: PromptVersion | None) -> list[RunRecord]:
        """Read and show the runs of a version, or of all; those that are shown, none where others are wanted by now."""
        wanted = self._wanted = (prompt, version.number if version is not None else None)
        runs = await asyncio.to_thread(self.services.history.of, *wanted)
        if self._wanted != wanted:
            return []
        self._list.show(runs)
        title = f"@{version.number}" if version is not None else ""
        self.set_title("Runs", f"{title} · {len(runs)}" if title else str(len(runs)))
        return runs

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
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
        text = self._answer()
        return next((run for run in self._list.runs if run.output == text), None)

    def as_json(self) -> str:
        """The run under the cursor as JSON, or nothing."""
        run = self._list.current
        return json.dumps(run.as_dict(), ensure_ascii=False, indent=2) if run is not None else ""

    def as_code(self, models: Sequence[Model]) -> list[tuple[str, str]]:
        """The run that is shown as other programs make it, by name; none where nothing was kept of it."""
        from llmops_tui.inference.request_code import FORMS, code_of

        run = self._shown_run()
        if run is None or not run.messages:
            return []
        model = next((one for one in models if one.name == run.model), None)
        code = code_of(run.model, model, run.messages, run.parameters, run.output or "")
        return [(f"run as {form}", code.written(form)) for form in FORMS]
