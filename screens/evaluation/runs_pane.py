"""The runs, the selected one, the baseline, and the actions on them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from screens.evaluation import rendering
from screens.evaluation.cases_pane import CasesFirst
from screens.evaluation.messages import Changed
from screens.evaluation.show_columns import show_columns
from screens.shell.pane import Pane
from screens.shell.removal import offer_removal
from screens.widgets.archive_table import ArchiveTable
from screens.widgets.columns import Part
from screens.widgets.dialogs import ConfirmDialog
from screens.widgets.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmops_tui.evaluation.run import EvalRun, EvalState


class RunTable(CasesFirst["EvalState"], ArchiveTable["EvalState"]):
    """The runs; the baseline is taken back behind what narrows the cases."""


class RunsPane(Pane):
    """The newest first."""

    class CursorMoved(Message):
        """Another run is under the cursor, or another one is the baseline."""

    class Chosen(Message):
        """The run under the cursor is to be looked at case by case."""

    def __init__(self) -> None:
        super().__init__(title="Runs", jump_key="r", id="evaluation-runs", help_text=rendering.HELP_RUNS)

    def compose(self) -> ComposeResult:
        """The list."""
        yield RunTable(
            rendering.RUN_COLUMNS,
            kind="evaluation",
            id="eval-run-list",
            key=lambda state: state.run.name,
            empty=rendering.NO_RUNS,
            mark=self._mark,
        )

    def _mark(self, state: EvalState) -> Part:
        return ("◆", "warn") if state.run.name == self._baseline else ("", "plain")

    @property
    def _list(self) -> Table[EvalState]:
        return self.query_one(Table)

    @property
    def states(self) -> list[EvalState]:
        """All that were read, the newest first."""
        return self._list.rows

    @property
    def state(self) -> EvalState | None:
        """The run under the cursor."""
        return self._list.current

    @property
    def marked(self) -> list[str]:
        """The runs that are selected, the baseline first: that which was selected last."""
        return list(reversed(self._list.selected))

    def mark(self, names: Sequence[str]) -> None:
        """Select these runs, as far as they are there; the first is the baseline."""
        here = {state.run.name for state in self.states}
        self._list.select(name for name in reversed(names) if name in here)

    @property
    def _baseline(self) -> str:
        """The run that was selected last: the key on another run moves it there."""
        return next(reversed(self._list.selected), "")

    @property
    def baseline(self) -> EvalRun | None:
        """The run that others are compared with."""
        return next((s.run for s in self.states if s.run.name == self._baseline), None)

    def show(self, states: list[EvalState], select: str = "") -> None:
        """Show these runs; with ``select`` that one gets the cursor, and the list the focus."""
        self._list.fill(states, select)
        self.set_title("Runs", f"{len(states):,}" if states else "")
        if select and self.state is not None and self.state.run.name == select:
            self._list.focus()

    @on(Table.Moved)
    @on(Table.Selected)
    def _moved(self, event: Table.Moved | Table.Selected) -> None:
        event.stop()
        self.post_message(self.CursorMoved())

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        event.stop()
        self.post_message(self.Chosen())

    # ── actions ──

    def action_mark(self) -> None:
        """Make the run the baseline, or take that back."""
        self._list.action_select()

    def action_columns(self) -> None:
        """Show the marked runs with the one under the cursor side by side; with none marked all columns of its suite."""
        if self.state is None:
            self.shell.say("There is no run yet.", severity="warning")
        else:
            marked = [state.run for state in self.states if state.run.name in self._list.selected]
            self.ask_by("columns", show_columns, self.shell, self.state.run, marked, [s.run for s in self.states])

    def action_stop(self) -> None:
        """Ask, then stop the run."""
        state = self.state
        if state is None or state.job is None or state.job.state.final:
            self.shell.say("This run is not running.", severity="warning")
        else:
            self.ask_by("steer", self._stop, state.run.name, state.job.id)

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

    def delete_picked(self) -> None:
        """Delete the selected runs where there are several, or the one under the cursor: one that is selected is the baseline."""
        names = self.marked if len(self.marked) > 1 else [self.state.run.name] if self.state is not None else []
        if names:
            self.ask_by("removal", offer_removal, self.shell, "evaluation run", names, self._removed)

    async def _removed(self) -> None:
        self.post_message(Changed())
