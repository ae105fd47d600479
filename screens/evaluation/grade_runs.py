"""Have a person grade the answers of runs, or choose between those of two."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from screens.evaluation.grade_screen import GradeScreen
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import EvalRun


async def grade_runs(shell: Shell, runs: Sequence[EvalRun]) -> None:
    """Ask by what, and grade; the answers of all runs are mixed.

    Raises:
        InputRefusedError: nothing in the runs can be graded.
    """
    from llmops_tui.evaluation.grading.criterion import OWN
    from llmops_tui.evaluation.grading.opening import grade_sheet, grader_name
    from llmops_tui.evaluation.metrics.model_graded import Judge
    from llmops_tui.evaluation.run_comparison import metrics_of_run, results_of

    store = shell.services.evaluation
    first = runs[0]
    metrics = await asyncio.to_thread(lambda: metrics_of_run(store, first, results_of(first)))
    metrics = sorted((m for m in metrics if isinstance(m, Judge) or m.binary), key=lambda m: not isinstance(m, Judge))
    choices = [
        Choice(m.called, m.called, "the scale of the judge" if isinstance(m, Judge) else "right or wrong")
        for m in metrics
    ]
    own = Choice(OWN, OWN, "a criterion of your own, from 1 to 5")
    chosen = await shell.ask(ChoiceDialog("Grade the answers by …", [*choices, own])) if choices else OWN
    if chosen is None:
        return
    who = grader_name("", shell.services.settings.grader)
    names = [run.name for run in runs]
    sheet = await asyncio.to_thread(lambda: grade_sheet(store, names, who, criterion=chosen))
    await shell.ask(GradeScreen(sheet))


async def vote_between(shell: Shell, runs: Sequence[EvalRun]) -> None:
    """Choose between the answers of two runs, case by case.

    Raises:
        InputRefusedError: they have no case in common.
    """
    from llmops_tui.evaluation.grading.opening import grader_name, vote_sheet

    who = grader_name("", shell.services.settings.grader)
    names = [run.name for run in runs]
    sheet = await asyncio.to_thread(vote_sheet, shell.services.evaluation, names, who)
    await shell.ask(GradeScreen(sheet))
