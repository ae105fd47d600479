"""Show several runs of one suite side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from screens.evaluation.try_case import try_case
from screens.shell.shell import Shell

if TYPE_CHECKING:
    from llmops_tui.evaluation.columns.side_by_side import CaseAcross
    from llmops_tui.evaluation.run import EvalRun


async def show_columns(shell: Shell, current: EvalRun, marked: Sequence[EvalRun], runs: Sequence[EvalRun]) -> None:
    """The marked runs and the current one; with none marked the newest finished ones of its suite. ``runs`` are all of them.

    Raises:
        InputRefusedError: they are too many, not finished, or of suites without a case in common. LlmopsError: damaged results.
    """
    from llmops_tui.evaluation.columns.side_by_side import check_runs, columns_of, metrics_of, side_by_side
    from llmops_tui.evaluation.run_comparison import results_of
    from llmops_tui.evaluation.runner.results import many_objects
    from screens.evaluation.columns_screen import ColumnsScreen

    chosen = list({run.name: run for run in (*marked, current)}.values()) if marked else columns_of(current, runs)
    check_runs(chosen)

    def read() -> list[CaseAcross]:
        with many_objects():
            return side_by_side([(run, results_of(run)) for run in chosen])

    if len(chosen) == 1:
        shell.say(
            f"{chosen[0].name} is the only finished run of its suite; mark others with space.", severity="warning"
        )
        return
    wanted = await shell.ask(ColumnsScreen(chosen, await asyncio.to_thread(read), metrics_of(chosen)))
    if wanted is not None:
        await try_case(shell, *wanted)
