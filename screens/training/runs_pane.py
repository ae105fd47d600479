"""The runs of llmops and of other programs, and the actions on the one under the cursor."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from screens.navigation import ModelInPlayground
from screens.shell.pane import Pane
from screens.shell.removal import offer_removal
from screens.training import rendering
from screens.training.export_run import choose_constraint, export_run
from screens.training.messages import Changed, CursorMoved, Progress
from screens.training.model import Shown
from screens.widgets.archive_table import ArchiveTable
from screens.widgets.dialogs import ConfirmDialog, LineDialog
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.training.records import ProofStep

_AT_WORK = frozenset({"running", "queued", "starting"})


class RunsPane(Pane):
    """The newest first; marked ones share a chart."""

    class Exported(Message):
        """A run was made into a model; the steps of its proof."""

        def __init__(self, run: str, proof: list[ProofStep]) -> None:
            super().__init__()
            self.run = run
            self.proof = proof

    def __init__(self) -> None:
        super().__init__(title="Runs", jump_key="r", id="training-runs", help_text=rendering.HELP_RUNS)

    def compose(self) -> ComposeResult:
        """The list."""
        yield ArchiveTable(
            rendering.RUN_COLUMNS, kind="training", id="run-rows", key=lambda shown: shown.name, empty=rendering.NO_RUNS
        )

    @property
    def _rows(self) -> Table[Shown]:
        return self.query_one(Table)

    @property
    def runs(self) -> list[Shown]:
        """All that were read, the newest first."""
        return self._rows.rows

    @property
    def run(self) -> Shown | None:
        """The run under the cursor."""
        return self._rows.current

    @property
    def marked(self) -> set[str]:
        """The names of the selected runs."""
        return set(self._rows.selected)

    @property
    def charted(self) -> list[Shown]:
        """The selected runs, or the one under the cursor."""
        return self._rows.picked

    def show(self, runs: list[Shown], select: str = "") -> None:
        """Show these runs; with ``select`` that one gets the cursor, and the list the focus."""
        self._rows.fill(runs, select)
        self.set_title("Runs", f"{len(runs):,}" if runs else "")
        self.tell_keys()
        if select and self.run is not None and self.run.name == select:
            self._rows.focus()

    def tell_keys(self) -> None:
        """Say what can be done with the run under the cursor now."""
        run = self.run
        if run is None or run.own is None:
            self.set_note("")
        elif run.state in _AT_WORK:
            self.set_note("x stop · P pause")
        else:
            self.set_note("u use · E export" if run.state == "done" else "R resume")

    @on(Table.Moved)
    @on(Table.Selected)
    def _moved(self, event: Table.Moved | Table.Selected) -> None:
        event.stop()
        self.tell_keys()
        self.post_message(CursorMoved())

    # ── actions ──

    def action_mark(self) -> None:
        """Mark the run for one chart with others."""
        self._rows.action_select()

    def _own(self) -> Shown | None:
        """The run under the cursor, where it is of this workspace; else that is told."""
        if self.run is None or self.run.own is None:
            self.shell.say("Choose a run of this workspace first.", severity="warning")
            return None
        return self.run

    def action_stop(self) -> None:
        """Ask, then stop the run now; another program's run is only forgotten."""
        if self.run is None:
            return
        if self.run.own is None:
            self.act("forget", self._forget, self.run.folder)
        elif self.run.state not in _AT_WORK:
            self.shell.say(f"{self.run.name} is {self.run.state}: there is nothing to stop.", severity="warning")
        else:
            self.ask_by("steer", self._stop, self.run.name)

    async def _forget(self, folder: Path) -> None:
        from llmops_tui.training.foreign_runs import forget

        await asyncio.to_thread(forget, self.services.event_log, folder)
        self.shell.say(f"{folder.name} is no longer watched; its files stay.")
        self.post_message(Changed())

    async def _stop(self, name: str) -> None:
        if await self.shell.ask(
            ConfirmDialog(f"Stop {name} now?", "R resumes it, from its last checkpoint where it has one.")
        ):
            await self._steer(name, self.services.training.stop, "is stopping")

    def action_stop_after_save(self) -> None:
        """Stop once a checkpoint is written."""
        run = self._own()
        if run is not None:
            stop = functools.partial(self.services.training.stop, after_save=True)
            self.act("steer", self._steer, run.name, stop, "is stopping")

    def action_pause(self) -> None:
        """Leave the device to others."""
        run = self._own()
        if run is not None:
            said = "writes a checkpoint and releases the device"
            self.act("steer", self._steer, run.name, self.services.training.pause, said)

    def action_resume(self) -> None:
        """Go on."""
        run = self._own()
        if run is not None:
            self.act("steer", self._steer, run.name, self.services.training.resume, "is resumed")

    async def _steer(self, name: str, do: Callable[[str], object], said: str) -> None:
        await asyncio.to_thread(do, name)
        self.shell.say(f"{name} {said}.")
        self.post_message(Changed())

    def delete_picked(self) -> None:
        """Ask, then delete the runs; another program's run is not ours to delete."""
        picked = self._rows.picked
        if not picked:
            return
        foreign = next((run for run in picked if run.own is None), None)
        if foreign is not None:
            self.shell.say(
                f"{foreign.name} is a run of another program: x removes it from the list, and its files stay.",
                severity="warning",
            )
            return
        self.ask_by("removal", offer_removal, self.shell, "training run", [run.name for run in picked], self._removed)

    async def _removed(self) -> None:
        self.post_message(Changed())

    def action_export(self) -> None:
        """Merge, quantize, prove."""
        run = self._own()
        if run is not None:
            self.ask_by("choose", self._choose_form, run.name)

    async def _choose_form(self, name: str) -> None:
        kind = await choose_constraint(self.shell, name)
        if kind is not None:
            # A group of its own: whoever is asked again must not end the wait for an export under way.
            self.act("export", self._export, name, kind)

    async def _export(self, name: str, kind: str) -> None:
        proof = await export_run(self.shell, name, kind, lambda text: self.post_message(Progress(text)))
        self.post_message(self.Exported(name, proof))

    def action_use(self) -> None:
        """Prompt the result in the playground, beside its base."""
        run = self._own()
        if run is None or run.own is None:
            return
        result = run.own.run.result
        if not result or not result.get("model") or not result.get("serving"):
            self.shell.say("It has no GGUF adapter with a GGUF base yet: E exports it.", severity="warning")
        else:
            self.shell.open_place(ModelInPlayground(f"{result['serving']}+{result['model']}"))

    def action_watch(self) -> None:
        """Ask for the output folder of another program's run, and watch it."""
        self.ask_by("watch", self._watch)

    async def _watch(self) -> None:
        from llmops_tui.training.foreign_runs import watch

        hint = "Output folder of a run of Hugging Face's Trainer, LLaMA-Factory, axolotl or unsloth"
        text = await self.shell.ask(LineDialog("Watch a run", hint, path=True))
        if text:
            folder = Path(text)
            await asyncio.to_thread(watch, self.services.event_log, folder)
            self.post_message(Changed(folder.name))
