"""The problems that checks found in the open version."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import Static

from llmops_tui.counts import counted
from screens.datasets import rendering
from screens.datasets.operation import Operation, OperationWanted
from screens.shell.pane import Pane
from screens.widgets.dialogs import ConfirmDialog
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.datasets.reports import CheckReport, Problem
    from llmops_tui.datasets.version import DatasetVersion

_CHECKED_UNASKED = 20_000


class ChecksPane(Pane):
    """One line a problem."""

    class Chosen(Message):
        """The rows of a problem are to be shown."""

        def __init__(self, problem: Problem) -> None:
            super().__init__()
            self.problem = problem

    def __init__(self) -> None:
        super().__init__(title="Checks", jump_key="c", id="datasets-checks", help_text=rendering.HELP_CHECKS)
        self.report: CheckReport | None = None
        self._version: DatasetVersion | None = None
        # The id of the version that is being checked.
        self._checked = ""
        self._began = 0.0

    def compose(self) -> ComposeResult:
        """The list."""
        yield Table(
            rendering.check_columns(0),
            id="check-list",
            key=lambda problem: problem["kind"],
            empty=rendering.NO_CHECKS,
            mark=lambda problem: rendering.check_mark(problem, self._of),
            selects=False,
        )
        yield Static("", id="check-told", markup=False)

    @property
    def table(self) -> Table[Problem]:
        """The problems."""
        return self.query_one(Table)

    @property
    def _of(self) -> int:
        return self.report["of"] if self.report is not None else 0

    def open(self, version: DatasetVersion | None) -> None:
        """Another version is open; what was found in it is not read yet."""
        self._version, self.report = version, None
        self._draw()

    async def read(self, version: DatasetVersion) -> None:
        """Read what was found in the version that is open, and show it."""
        found = await asyncio.to_thread(self.services.datasets.report, version.sha256, "checks")
        if self._version is version and found:
            self.report = cast("CheckReport", found)
            self._draw()

    async def check_unasked(self, version: DatasetVersion) -> None:
        """A small version is checked when it is first looked at; of a large one that is asked for."""
        if self._version is not version or self.report is not None or version.rows > _CHECKED_UNASKED:
            return
        async with self.checking(version):
            await self.services.check_dataset(version)
            await self.read(version)

    @asynccontextmanager
    async def checking(self, version: DatasetVersion) -> AsyncIterator[None]:
        """Say while it lasts that the version is checked, where it is the one that is open."""
        self._checked, self._began = version.id, time.monotonic()
        self._draw()
        # On a busy machine it takes long, and is seen to be at work.
        clock = self.set_interval(1.0, self._draw)
        try:
            yield
        finally:
            clock.stop()
            self._checked = ""
            if self._version is not None and self._version.id == version.id:
                self._draw()

    def _draw(self) -> None:
        """The report, that there is none yet, or that it is being made."""
        report, note = self.report, ""
        at_work = self._version is not None and self._version.id == self._checked
        problems = report["problems"] if report is not None else []
        nothing = rendering.NO_CHECKS
        if at_work and self._version is not None:
            rows = counted(self._version.rows, "row")
            nothing = rendering.CHECKING.format(rows=rows, seconds=time.monotonic() - self._began)
        self.table.empty = nothing if report is None else "No problems were found."
        self.table.set_columns(rendering.check_columns(self._of))
        self.table.fill(problems)
        if report is not None and problems:
            found = counted(sum(bool(p["rows"]) for p in problems), "problem")
            note = f"{found}, {counted(len(report['clean']), 'check')} found nothing"
        self.set_note(note)
        self._tell()

    @property
    def _problem(self) -> Problem | None:
        """The problem under the cursor."""
        return self.table.current

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self._tell()

    def _tell(self) -> None:
        """All that is known of the problem under the cursor: the list may have no room for it."""
        told = self.query_one("#check-told", Static)
        told.update(rendering.problem_told(self._problem) if self._problem is not None else "")
        told.display = self._problem is not None

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        event.stop()
        problem = self._problem
        if problem is not None and problem["rows"]:
            self.post_message(self.Chosen(problem))
        elif problem is not None:
            self.shell.say(rendering.problem_told(problem), seconds=10)

    def action_fix(self) -> None:
        """Fix what the check under the cursor found."""
        problem = self._problem
        if self._version is None or problem is None or not problem["rows"]:
            self.shell.say("Nothing to fix here: F5 runs the checks.", severity="warning")
        elif not problem["fix"]:
            self.shell.say("This problem has no automatic fix; enter shows the rows.", severity="warning")
        else:
            self.ask_by("fix", self._fix, self._version, problem)

    async def _fix(self, version: DatasetVersion, problem: Problem) -> None:
        """Show the rows it is about, say what will be done with how many, and do it where that is wanted."""
        self.post_message(self.Chosen(problem))
        share = f"{counted(problem['rows'], 'row')} of {version.rows:,}"
        shown = (
            ". Behind this each stands below the row that it repeats"
            if problem["groups"]
            else ", which are shown behind this"
        )
        dialog = ConfirmDialog(
            f"{problem['title']}: {problem['fix']}?",
            f"It concerns {share}{shown}. {version.ref} stays as it is; a new version is made, and z undoes it.",
        )
        if await self.shell.ask(dialog):
            self.post_message(OperationWanted(Operation(version, "fix", {"check": problem["kind"]})))
