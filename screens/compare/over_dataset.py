"""The columns over the rows of a dataset: start the job, watch it, look at the rows that differ."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.columns.over_dataset import ColumnTable, paths_for, start
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.prompts.compare.boards import Board
from llmops_tui.prompts.compare.columns import Column, defaults_in, of_version
from screens.compare.rows_screen import RowsScreen
from screens.compare.state import CompareState
from screens.navigation import JobPlace
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import EvalRun
    from llmops_tui.prompts.store import PromptStore
    from screens.services import Services

_ROWS = 20
_SEE, _ASK, _FRESH = "see", "ask", "fresh"


async def compare_over(shell: Shell, state: CompareState, keep: Callable[[Board], None]) -> None:
    """Show the rows that were asked before, or ask others; the board with their runs is kept before they are looked at."""
    board = state.board
    if not board.columns:
        shell.say("There is no column yet: a adds one.", severity="warning")
        return
    services = shell.services
    fresh = False
    if board.over:
        table = await asyncio.to_thread(_table, services, board.over)
        done = sum(run.summary is not None for run in table.runs)
        choices = [
            Choice(
                _SEE, "Look at the rows", f"{table.suite.cases}, {done} of {counted(len(table.runs), 'column')} done"
            ),
            Choice(_ASK, "Ask the rows of a dataset again", "as another job"),
            Choice(_FRESH, "Ask them and take no answer from the cache", "as another job"),
        ]
        what = await shell.ask(ChoiceDialog("Over a dataset", choices))
        if what is None:
            return
        if what == _SEE:
            await _show_rows(shell, table)
            return
        fresh = what == _FRESH
    if any(column.version is None for column in board.columns):
        raise InputRefusedError("draft_column", "a column is in no version yet", "F5 runs the columns and saves it.")
    await _ask(shell, board, keep, fresh=fresh)


def _table(services: Services, runs: Sequence[str]) -> ColumnTable:
    store = services.evaluation
    return ColumnTable(store, [store.get(run) for run in runs])


async def _show_rows(shell: Shell, table: ColumnTable) -> None:
    """Show rows with the columns that were asked, whatever columns the board has by now."""
    services = shell.services
    columns = await asyncio.to_thread(lambda: [column_of_run(services.prompts, run) for run in table.runs])
    await shell.ask(RowsScreen(services, table, columns))


def column_of_run(prompts: PromptStore, run: EvalRun) -> Column:
    """The column that an evaluation run is of."""
    asked = run.asked
    version = prompts.get(asked.prompt)
    parameters = SamplingParameters.model_validate(asked.parameters)
    return of_version(version, asked.model, parameters)


async def _ask(shell: Shell, board: Board, keep: Callable[[Board], None], *, fresh: bool) -> None:
    services = shell.services
    summaries = await asyncio.to_thread(lambda: [log[0] for log in services.datasets.logs().values() if log])
    choices = [Choice(v.ref, v.ref, f"{counted(v.rows, 'row')} of {v.kind}", "dataset") for v in summaries]
    ref = await shell.ask(
        ChoiceDialog("Ask the rows of …", choices, "There is no dataset yet; the Datasets screen imports one.")
    )
    if ref is None:
        return
    version = next(v for v in summaries if v.ref == ref)
    count = await shell.ask(
        LineDialog(
            "How many rows?",
            f"a sample of the {version.rows:,}; each is asked of every column",
            str(min(_ROWS, version.rows)),
        )
    )
    if not count:
        return
    if not count.isdigit() or not int(count):
        raise InputRefusedError("bad_count", f"{count!r} is no number of rows", "Write a whole number, such as 20.")
    texts = "\n".join(f"{column.system}\n{column.template}" for column in board.columns)
    variables = await asyncio.to_thread(services.renderer.variables, texts)
    given: dict[str, str] = {}
    while True:
        try:
            paths = await asyncio.to_thread(paths_for, variables, version, given, defaults_in(board.columns))
            break
        except InputRefusedError as error:
            name = next(name for name in variables if name not in given)
            known = ", ".join(column.name for column in version.columns)
            path = await shell.ask(LineDialog(f"Where is {name} in a row?", f"{error.message}; columns: {known}"))
            if not path:
                return
            given[name] = path
    runs = await asyncio.to_thread(start, services.evaluation, board.columns, ref, int(count), paths, fresh=fresh)
    shell.say(f"{counted(len(runs), 'column')} over {count} rows of {ref}: a job; o shows the rows as they come.")
    keep(made := replace(board, over=tuple(run.name for run in runs)))
    if (
        await shell.ask(
            ChoiceDialog(
                "The job is started", [Choice(_SEE, "Look at the rows as they come"), Choice(_ASK, "See the job")]
            )
        )
        == _ASK
    ):
        shell.open_place(JobPlace(runs[0].job))
    else:
        table = await asyncio.to_thread(_table, services, made.over)
        await _show_rows(shell, table)
