"""The problems that checks found in the open version."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from llmops_tui.counts import counted
from screens.datasets import rendering
from screens.datasets.operation import Operation, OperationWanted
from screens.shell.pane import Pane
from screens.widgets.dialogs import ConfirmDialog
from screens.widgets.motions import Options

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

    def compose(self) -> ComposeResult:
        """The list."""
        yield Options(id="check-list", markup=False, compact=True)

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
        self.set_note("checking …")
        await self.services.check_dataset(version)
        await self.read(version)
        if self._version is version and self.report is None:
            self._draw()

    def _draw(self) -> None:
        """The report, or that there is none."""
        options = self.query_one(OptionList)
        former = options.highlighted or 0
        options.clear_options()
        report, note = self.report, ""
        if report is None:
            options.add_option(Option(Content.styled(rendering.NO_CHECKS, "$muted"), disabled=True))
        elif not report["problems"]:
            options.add_option(Option(Content.styled("No problems were found.", "$success"), disabled=True))
        else:
            problems = report["problems"]
            for problem in problems:
                options.add_option(rendering.check_option(problem, report["of"]))
            options.highlighted = min(former, len(problems) - 1)
            found = counted(sum(bool(p["rows"]) for p in problems), "problem")
            note = f"{found}, {counted(len(report['clean']), 'check')} found nothing"
        self.set_note(note)

    @property
    def _problem(self) -> Problem | None:
        """The problem under the cursor."""
        index = self.query_one(OptionList).highlighted
        problems = self.report["problems"] if self.report is not None else []
        return problems[index] if index is not None and index < len(problems) else None

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        problem = self._problem
        if problem is not None and problem["rows"]:
            self.post_message(self.Chosen(problem))

    def action_fix(self) -> None:
        """Fix what the check under the cursor found."""
        problem = self._problem
        if self._version is None or problem is None or not problem["rows"]:
            self.shell.say("Nothing to fix here: F5 runs the checks.", severity="warning")
        elif not problem["fix"]:
            self.shell.say("This problem has no automatic fix; enter shows the rows.", severity="warning")
        else:
            self.act("fix", self._fix, self._version, problem)

    async def _fix(self, version: DatasetVersion, problem: Problem) -> None:
        """Show the rows it is about, say what will be done with how many, and do it where that is wanted."""
        self.post_message(self.Chosen(problem))
        share = f"{counted(problem['rows'], 'row')} of {version.rows:,}"
        dialog = ConfirmDialog(
            f"{problem['title']}: {problem['fix']}?",
            f"It concerns {share}, which are shown behind this. {version.ref} stays as it is; a new version is made, and "
            "z undoes it.",
        )
        if await self.shell.ask(dialog):
            self.post_message(OperationWanted(Operation(version, "fix", {"check": problem["kind"]})))
