"""The suites, and the actions on the selected one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from screens.evaluation import rendering
from screens.evaluation.messages import Changed
from screens.evaluation.model import KeptSuite
from screens.evaluation.run_suite import make_attacks, plan_suite, run_suite
from screens.evaluation.run_task import run_task
from screens.evaluation.write_suite import change_suite, write_suite
from screens.shell.pane import Pane
from screens.shell.removal import offer_definition_removal
from screens.widgets.archive_table import ArchiveTable
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.evaluation.plan_records import PlanRecord
    from llmops_tui.evaluation.suite import Suite


class SuitesPane(Pane):
    """The newest version of each, and those that ship with the app."""

    class CursorMoved(Message):
        """Another suite is under the cursor; whether the list has the focus."""

        def __init__(self, *, focused: bool) -> None:
            super().__init__()
            self.focused = focused

    class Planned(Message):
        """What is known before a run is to be shown."""

        def __init__(self, plan: PlanRecord) -> None:
            super().__init__()
            self.plan = plan

    def __init__(self) -> None:
        super().__init__(title="Suites", jump_key="s", id="evaluation-suites", help_text=rendering.HELP_SUITES)

    def compose(self) -> ComposeResult:
        """The list."""
        yield ArchiveTable(
            rendering.SUITE_COLUMNS,
            kind="suite",
            id="suite-list",
            key=lambda kept: kept.suite.name,
            empty=rendering.NO_SUITES,
            selects=False,
        )

    @property
    def _list(self) -> Table[KeptSuite]:
        return self.query_one(Table)

    @property
    def suite(self) -> KeptSuite | None:
        """The suite under the cursor."""
        return self._list.current

    def show(self, kept: list[KeptSuite]) -> None:
        """Show these suites."""
        if [one.ref for one in kept] != [one.ref for one in self._list.rows]:
            self._list.fill(kept)

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self.post_message(self.CursorMoved(focused=self._list.has_focus))

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        event.stop()
        self.action_run()

    # ── actions ──

    def action_run(self) -> None:
        """Run the suite."""
        self._start(fresh=False)

    def action_run_fresh(self) -> None:
        """Run the suite without answers from the cache."""
        self._start(fresh=True)

    def _start(self, *, fresh: bool) -> None:
        if self.suite is None:
            self.shell.say("No suites yet: n writes one.", severity="warning")
        else:
            self.ask_by("run", self._run, self.suite.suite, fresh)

    async def _run(self, suite: Suite, fresh: bool) -> None:
        name = await run_suite(self.shell, suite, fresh=fresh)
        if name is not None:
            self.post_message(Changed(name))

    def action_plan(self) -> None:
        """Show what is known before a run."""
        if self.suite is not None:
            self.ask_by("plan", self._plan, self.suite.suite)

    async def _plan(self, suite: Suite) -> None:
        found = await plan_suite(self.shell, suite)
        if found is not None:
            self.post_message(self.Planned(found))

    def action_redteam(self) -> None:
        """Make a suite of attacks."""
        self.act("redteam", self._redteam)

    async def _redteam(self) -> None:
        ref = await make_attacks(self.shell)
        self.shell.say(f"{ref} has the attacks: F5 runs them on a model.")
        self.post_message(Changed())

    def action_task(self) -> None:
        """Run a standard task."""
        self.ask_by("task", self._run_task)

    async def _run_task(self) -> None:
        name = await run_task(self.shell, self.set_note, lambda: self.post_message(Changed()))
        if name is not None:
            self.shell.say(f"{name} has the result.")
            self.post_message(Changed(name))

    def action_new(self) -> None:
        """Write a suite."""
        self.ask_by("new", self._new)

    async def _new(self) -> None:
        if await write_suite(self.shell):
            self.post_message(Changed())

    def action_duplicate(self) -> None:
        """A suite of its own that begins with this one."""
        if self.suite is not None:
            self.ask_by("name", self._duplicate, self.suite)

    async def _duplicate(self, kept: KeptSuite) -> None:
        from llmops_tui.maintenance.archiving import Archivable
        from screens.shell.renaming import copy_definition

        if not kept.kept:
            self.shell.say("This suite comes with llmops: n makes one of your own of it.", severity="warning")
        elif await copy_definition(self.shell, Archivable.SUITE, kept.ref):
            self.post_message(Changed())

    def delete_picked(self) -> None:
        """Delete the suite, after asking."""
        from llmops_tui.maintenance.archiving import Archivable

        if self.suite is None:
            return
        if not self.suite.kept:
            self.shell.say("This suite comes with llmops, and stays.", severity="warning")
            return
        name = self.suite.suite.name
        self.ask_by("removal", offer_definition_removal, self.shell, Archivable.SUITE, name, self._removed)

    async def _removed(self) -> None:
        self.post_message(Changed())

    def action_edit(self) -> None:
        """Change the suite."""
        if self.suite is not None:
            self.ask_by("edit", self._edit, self.suite.suite)

    async def _edit(self, suite: Suite) -> None:
        if await change_suite(self.shell, suite):
            self.post_message(Changed())
