"""``llmops prompt compare`` and ``board``: several columns on one input, or on the rows of a dataset."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session, is_given, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.safe_text import safe_line, safe_text

if TYPE_CHECKING:
    from llmops_tui.evaluation.columns.over_dataset import ColumnTable
    from llmops_tui.evaluation.columns.ranking import ColumnRanking
    from llmops_tui.inference.sampling import SamplingParameters
    from llmops_tui.prompts.compare.boards import Board
    from llmops_tui.prompts.compare.columns import Column
    from llmops_tui.prompts.compare.records import AnswerShown, ColumnShown, Compared, ComparedRow

_SHOWN = 20


def compare(
    context: typer.Context,
    refs: Annotated[list[str], typer.Argument(metavar="PROMPT...", help="name, name@number or name@label.")],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", help="A model, MODEL+ADAPTER with an adapter; repeatable; default: what each version holds."
        ),
    ] = None,
    var: Annotated[list[str] | None, typer.Option("--var", help="A variable, as name=value.")] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            help="A column for each value, such as 'temperature 0 0.5 1', 'seed 1..4', 'thinking on off'; "
            "repeatable, for each value of one with each of the others."
        ),
    ] = None,
    temperature: Annotated[float | None, typer.Option()] = None,
    top_p: Annotated[float | None, typer.Option()] = None,
    max_tokens: Annotated[int | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    thinking: Annotated[
        bool | None, typer.Option("--thinking/--no-thinking", help="Think first or not; default: as the template does.")
    ] = None,
    thinking_budget: Annotated[int | None, typer.Option(help="End the thinking after this many tokens.")] = None,
    board: Annotated[str, typer.Option(help="Keep columns, input and runs on this board.")] = "",
    over: Annotated[str, typer.Option(metavar="DATASET", help="Ask the rows of a dataset instead of one input.")] = "",
    rows: Annotated[int, typer.Option(min=1, help="With --over: a sample of so many rows.")] = 20,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="VARIABLE=PATH", help="With --over: where a variable's value is in a row."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="With --over: take no answer that was kept before.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="With --over: run the job in the background.")] = False,
) -> None:
    """Compare up to six columns: versions × models × the values of a sweep, on one input or over a dataset."""
    from llmops_tui.cli.generate import parameters_from

    session = session_of(context)
    given = {
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "seed": seed,
        "enable_thinking": thinking,
        "thinking_budget": thinking_budget,
    }
    columns = _columns(session, refs, models or [], parameters_from(given), sweep or [])
    if over:
        if var:
            raise InputRefusedError(
                "bad_option", "--var gives one input, and --over the rows of a dataset", "Leave one out."
            )
        table = _over(session, columns, over, rows, column or [], board, fresh=fresh, detach=detach)
        if table is None:
            return
        compared = _table_shown(columns, table)
        session.emit(compared, lambda: _table_text(session, compared))
        return
    if column or fresh or detach or is_given(context, "rows"):
        raise InputRefusedError(
            "bad_option",
            "--column, --rows, --fresh and --detach go with --over",
            "Add --over DATASET, or leave them out.",
        )
    compared = asyncio.run(_live(session, columns, _variables(var or []), board))
    session.emit(compared, lambda: _live_text(compared))
    if all(answer["error"] for answer in compared["rows"][0]["answers"]):
        raise LlmopsError("all_failed", "no column has an answer", "The reasons stand in the columns above.")


def board(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The board; without one, all are listed.")] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Forget the board; runs and traces stay.")] = False,
) -> None:
    """List the boards, or show one: its columns, rounds, and the ranking by votes (Bradley–Terry) with intervals."""
    from llmops_tui.evaluation.columns.over_dataset import ColumnTable
    from llmops_tui.evaluation.columns.ranking import ranking_of_board
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.prompts.compare.boards import Boards
    from llmops_tui.prompts.compare.columns import titles

    session = session_of(context)
    boards = Boards(session.event_log)
    if not name:
        if remove:
            raise InputRefusedError("bad_option", "--remove needs the name of a board", "Name the board to forget.")
        found = [boards.load(one) for one in boards.names()]
        data = {"boards": [{"board": b.name, "columns": len(b.columns), "rounds": len(b.rounds)} for b in found]}
        lines = [(b.name, len(b.columns), len(b.rounds), sum(len(r.votes) for r in b.rounds)) for b in found]
        session.emit(data, lambda: session.rows(("board", "columns", "rounds", "votes"), lines))
        return
    if remove:
        boards.remove(name)
        session.emit({"removed": name}, lambda: f"{name} is forgotten")
        return
    kept = boards.load(name)
    ranking = ranking_of_board(kept)
    if kept.over:
        store = EvaluationStore(session.workspace)
        over = ColumnTable(store, [store.get(run) for run in kept.over]).ranking(titles(kept.columns))
        ranking = over if over["votes"] else ranking
    data_shown = {"board": name, **kept.as_dict(), "ranking": ranking}
    session.emit(data_shown, lambda: _board_text(session, kept, ranking))


def _columns(
    session: Session, refs: Sequence[str], models: Sequence[str], parameters: SamplingParameters, sweeps: Sequence[str]
) -> list[Column]:
    from llmops_tui.inference.asked_prompt import model_of
    from llmops_tui.prompts.compare.columns import check_count, of_version, read_sweep, swept
    from llmops_tui.prompts.store import PromptStore

    store = PromptStore(session.catalog)
    versions = [store.get(ref) for ref in refs]
    found = [
        of_version(v, model, parameters) for v in versions for model in models or [model_of(v.settings, None, v.ref)]
    ]
    seen: set[str] = set()
    for field, values in map(read_sweep, sweeps):
        if field in seen:
            raise InputRefusedError("bad_sweep", f"there are two sweeps of {field}", "Write all its values into one.")
        seen.add(field)
        found = [made for column in found for made in swept(column, field, values)]
    check_count(len(found))
    return found


async def _live(session: Session, columns: list[Column], variables: dict[str, str], board: str) -> Compared:
    from llmops_tui.cli.prompt import refuse_unknown
    from llmops_tui.cli.serve import opener
    from llmops_tui.inference.supervisor import ServerSupervisor
    from llmops_tui.inference.template_renderer import TemplateRenderer
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.prompts.compare.boards import Boards
    from llmops_tui.prompts.compare.records import Answering
    from llmops_tui.prompts.compare.running import ColumnRunner, unload_idle
    from llmops_tui.prompts.runs import PromptRunner
    from llmops_tui.prompts.store import PromptStore
    from llmops_tui.retrieval.in_prompts import PromptRetrieval

    registry, supervisor = ModelRegistry(session.catalog), ServerSupervisor(session.workspace)
    models = {column.model: registry.writing(column.model) for column in columns}
    renderer = TemplateRenderer(retrieve=PromptRetrieval(session.catalog))
    answers = [Answering() for _ in columns]
    try:
        refuse_unknown(variables, columns, ", ".join(dict.fromkeys(column.ref for column in columns)), renderer)
        runner = ColumnRunner(
            PromptRunner(session.catalog, session.event_log, renderer, opener(session)),
            PromptStore(session.catalog),
            models,
            lambda name: unload_idle(supervisor, name),
        )
        async with aclosing(runner.run(columns, variables)) as steps:
            async for step in steps:
                answers[step.column].take(step)
                if step.waits:
                    session.say(f"{columns[step.column].model}: {step.waits}")
    finally:
        renderer.close()
    if board:
        boards = Boards(session.event_log)
        kept = replace(boards.load_or_new(board), columns=tuple(columns), variables=variables)
        boards.save(kept.asked([answer.run for answer in answers]))
    row: ComparedRow = {
        "case": None,
        "variables": dict(variables),
        "answers": [answer.as_dict() for answer in answers],
        "apart": None,
    }
    return {"columns": _shown(columns), "rows": [row]}


def _shown(columns: Sequence[Column]) -> list[ColumnShown]:
    from llmops_tui.prompts.compare.columns import titles

    return [
        {"title": title, "prompt": c.ref, "model": c.model, "parameters": c.as_dict()["parameters"]}
        for title, c in zip(titles(columns), columns, strict=True)
    ]


def _over(
    session: Session,
    columns: list[Column],
    dataset: str,
    rows: int,
    given: Sequence[str],
    board: str,
    *,
    fresh: bool,
    detach: bool,
) -> ColumnTable | None:
    """Ask the rows; none where the job goes on by itself."""
    from llmops_tui.cli.evaluate import follow
    from llmops_tui.cli.evaluate_options import store_of
    from llmops_tui.evaluation.columns.over_dataset import ColumnTable, paths_for, start
    from llmops_tui.inference.template_renderer import TemplateRenderer
    from llmops_tui.prompts.compare.boards import Boards
    from llmops_tui.prompts.compare.columns import defaults_in

    store = store_of(session)
    version = store.datasets.get(dataset)
    renderer = TemplateRenderer()
    try:
        texts = "\n".join(f"{column.system}\n{column.template}" for column in columns)
        variables = renderer.variables(texts)
    finally:
        renderer.close()
    paths = paths_for(variables, version, _variables(given), defaults_in(columns))
    runs = start(store, columns, dataset, rows, paths, fresh=fresh)
    names = [run.name for run in runs]
    if board:
        boards = Boards(session.event_log)
        # Rounds and votes on single inputs stay.
        boards.save(replace(boards.load_or_new(board), columns=tuple(columns), over=tuple(names)))
    if detach:
        data = {"runs": names, "job": runs[0].job}
        session.emit(data, lambda: f"{', '.join(names)} in {runs[0].job}; llmops eval resume continues them")
        return None
    follow(session, store, names)
    return ColumnTable(store, [store.get(name) for name in names])


def _table_shown(columns: Sequence[Column], table: ColumnTable) -> Compared:
    rows: list[ComparedRow] = []
    for row in table.rows():
        answers: list[AnswerShown] = [
            {
                "run": run.name,
                "text": text or "",
                "thinking": "",
                "finish_reason": "",
                "error": "" if text is not None else "no answer",
            }
            for run, text in zip(table.runs, row.answers, strict=True)
        ]
        rows.append(
            {"case": row.case.index, "variables": dict(row.case.variables), "answers": answers, "apart": row.apart}
        )
    return {"columns": _shown(columns), "rows": rows}


def _variables(given: Sequence[str]) -> dict[str, str]:
    from llmops_tui.cli.prompt import read_variables

    return read_variables(list(given))


def _live_text(compared: Compared) -> str:
    blocks = []
    answers = compared["rows"][0]["answers"]
    for n, (column, answer) in enumerate(zip(compared["columns"], answers, strict=True), 1):
        head = f"── {n} {safe_line(column['title'])} · {answer['finish_reason'] or 'error'} ──"
        thought = f"(thinking: {counted(len(answer['thinking'].split()), 'word')})\n" if answer["thinking"] else ""
        blocks.append(
            f"{head}\n{thought}{safe_text(answer['text'])}" + (f"\n{answer['error']}" if answer["error"] else "")
        )
    return "\n\n".join(blocks)


def _table_text(session: Session, compared: Compared) -> str:
    rows = compared["rows"]
    same = sum(row["apart"] == 0 and not any(answer["error"] for answer in row["answers"]) for row in rows)
    head = (
        f"{counted(len(rows), 'row')}: {counted(same, 'row')} answered alike by all columns; those furthest apart first"
    )
    titles = [safe_line(column["title"], 30) for column in compared["columns"]]
    lines = [
        (row["case"], f"{row['apart']:.2f}", *(safe_line(a["text"] or a["error"], 40) for a in row["answers"]))
        for row in rows[:_SHOWN]
    ]
    return f"{head}\n{session.rows(('case', 'apart', *titles), lines, len(rows))}"


def _board_text(session: Session, board: Board, ranking: ColumnRanking) -> str:
    head = f"{board.name}: {counted(len(board.columns), 'column')}, {counted(len(board.rounds), 'round')}"
    if board.over:
        head += f", over a dataset: {', '.join(board.over)}"
    return f"{head}\n{ranking_text(session, ranking)}"


def ranking_text(session: Session, ranking: ColumnRanking) -> str:
    """The ranking as a table, with what it cannot say."""
    told = f"{counted(ranking['votes'], 'vote')} on {counted(ranking['inputs'], 'input')}"
    told += f"; no strengths: {ranking['reason']}" if ranking["reason"] else ""
    lines = []
    for one in ranking["columns"]:
        strength = "" if one["strength"] is None else f"{one['strength']:+.2f}"
        interval = "" if one["low"] is None else f"[{one['low']:+.2f}, {one['high']:+.2f}]"
        chance = (
            "" if one["chance"] is None else f"{one['chance']:.0%} [{one['chance_low']:.0%}, {one['chance_high']:.0%}]"
        )
        lines.append((safe_line(one["title"], 50), f"{one['wins']:g} of {one['votes']}", strength, interval, chance))
    return f"{told}\n{session.rows(('column', 'won', 'strength', '95 %', 'wins over the first'), lines)}"
