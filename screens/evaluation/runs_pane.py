"""The runs, the selected one, the baseline, and the actions on them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from screens.evaluation import rendering
from screens.evaluation.messages import Changed
from screens.shell.pane import Pane
from screens.shell.removal import offer_removal
from screens.widgets.dialogs import ConfirmDialog
from screens.widgets.motions import Options

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import EvalRun, EvalState


class RunsPane(Pane):
    """The newest first."""

    class CursorMoved(Message):
        """Another run is under the cursor, or another one is the baseline."""

    class Chosen(Message):
        """The run under the cursor is to be looked at case by case."""

    def __init__(self) -> None:
        super().__init__(title="Runs", jump_key="r", id="evaluation-runs", help_text=rendering.HELP_RUNS)
        self.states: list[EvalState] = []
        self._baseline = ""

    def compose(self) -> ComposeResult:
        """The list."""
        yield Options(id="eval-run-list", markup=False, compact=True)

    @property
    def _list(self) -> OptionList:
        return self.query_one(OptionList)

    @property
    def state(self) -> EvalState | None:
        """The run under the cursor."""
        index = self._list.highlighted
        return self.states[index] if index is not None and index < len(self.states) else None

    @property
    def baseline(self) -> EvalRun | None:
        """The run that others are compared with."""
        return next((s.run for s in self.states if s.run.name == self._baseline), None)

    def show(self, states: list[EvalState], select: str = "") -> None:
        """Show these runs; with ``select`` that one gets the cursor, and the list the focus."""
        self.states = states
        runs = self._list
        names = [s.run.name for s in states]
        lines = [rendering.run_line(s, baseline=s.run.name == self._baseline) for s in states]
        if names and not select and [o.id for o in runs.options] == names:
            for index, line in enumerate(lines):
                runs.replace_option_prompt_at_index(index, line)
            return
        kept = names.index(select) if select in names else runs.highlighted or 0
        runs.clear_options()
        runs.add_options([Option(line, id=name) for line, name in zip(lines, names, strict=True)])
        if not names:
            runs.add_option(Option(Content.styled(rendering.NO_RUNS, "$muted"), disabled=True))
        else:
            runs.highlighted = min(kept, len(names) - 1)
        if select in names:
            runs.focus()

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.post_message(self.CursorMoved())

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Chosen())

    # ── actions ──

    def action_mark(self) -> None:
        """Make the run the baseline, or take that back."""
        if self.state is not None:
            name = self.state.run.name
            self._baseline = "" if self._baseline == name else name
            self.show(self.states)
            self.post_message(self.CursorMoved())

    def action_stop(self) -> None:
        """Ask, then stop the run."""
        state = self.state
        if state is None or state.job is None or state.job.state.final:
            self.shell.say("This run is not running.", severity="warning")
        else:
            self.act("steer", self._stop, state.run.name, state.job.id)

    async def _stop(self, name: str, job: str) -> None:
        if await self.shell.ask(ConfirmDialog(f"Stop {name}?", "Answers so far are kept; R resumes.")):
            await asyncio.to_thread(self.services.jobs.cancel, job)
            self.post_message(Changed())

    def action_resume(self) -> None:
        """Go on with the run."""
        if self.state is not None:
            self.act("steer", self._resume, self.state.run.name)

    async def _resume(self, name: str) -> None:
        await asyncio.to_thread(self.services.evaluation.resume, name)
        self.shell.say(f"{name} is resumed; answered cases are not run again.")
        self.post_message(Changed(name))

    def action_remove(self) -> None:
        """Delete the run."""
        if self.state is not None:
            self.act("removal", offer_removal, self.shell, "evaluation run", self.state.run.name, self._removed)

    async def _removed(self) -> None:
        self.post_message(Changed())
