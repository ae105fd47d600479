"""``llmops index measure``: retrievers on queries whose answers are known, with intervals, compared query by query."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli.index import store_of, way_of
from llmops_tui.cli.index_answers import (
    Abstains,
    AbstainsRegex,
    Answers,
    Judge,
    Models,
    Variable,
    measure_answers,
    require_answered,
)
from llmops_tui.cli.output import Session, refuse_idle, session_of
from llmops_tui.counts import agree, counted
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError
from llmops_tui.user_files import with_home

if TYPE_CHECKING:
    from llmops_tui.evaluation.retrieval.records import MeasurementRecord, RankDifference, RankFigure
    from llmops_tui.retrieval.store import Index


def measure(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="INDEX", help="name, for its newest version, or name@number.")],
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            help="JSON Lines: query, and documents or spans that should come; default: those that you confirmed.",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by", help="bm25, vectors, hybrid or reranked; repeatable, the others are compared with the first."
        ),
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option("--against", help="Another index or version to compare with; repeatable.")
    ] = None,
    k: Annotated[
        list[int] | None, typer.Option("-k", min=1, max=1000, help="Ranks; repeatable. Default: 1, 5, 10.")
    ] = None,
    within: Annotated[
        int | None,
        typer.Option("--context-tokens", min=1, help="Recall within so many tokens, too, whatever a chunk has."),
    ] = None,
    answers: Answers = None,
    models: Models = None,
    judge: Judge = "",
    abstains: Abstains = None,
    abstains_regex: AbstainsRegex = "",
    variable: Variable = "",
) -> None:
    """Measure how well an index finds what should come, what differs between retrievers, and what becomes of it in answers."""
    from llmops_tui.evaluation.retrieval.answering import AnswersAsked
    from llmops_tui.evaluation.retrieval.measurement import KS, Contender, Plan
    from llmops_tui.evaluation.retrieval.measurement import measure as measure_now

    if not answers:
        names = ("models", "judge", "abstains", "abstains_regex", "variable")
        refuse_idle(context, "goes with answers; give --answers PROMPT", *names)
    session = session_of(context)
    store = store_of(session)
    indexes = [store.get(one) for one in (ref, *(against or []))]
    contenders = [Contender(index, way_of(way, index)) for index in indexes for way in (by or [""])]
    if len({contender.name for contender in contenders}) < len(contenders):
        raise LlmopsError("usage", "the same retriever is named twice", exit_code=ExitCode.USAGE)
    show = session.progress(f"measure {ref}")
    plan = Plan(tuple(sorted(set(k or KS))), within)
    with ExitStack() as stack:
        path = queries_of(session, stack, indexes[0], queries)
        found: MeasurementRecord | None = None
        try:
            found = measure_now(store, contenders, path, plan, lambda share, _what: show(share) if show else None)
        except InputRefusedError as error:
            # Of queries that all have no answer there are answers to measure all the same.
            if error.code != "no_ranks" or not answers:
                raise
            session.say(error.message)
        told = measurement_text(session, found) if found is not None else ""
        data: dict[str, Any] = {**found} if found is not None else {}
        if answers:
            asked = AnswersAsked(tuple(answers), variable, judge, tuple(abstains or ()), abstains_regex)
            data["answers"], more = measure_answers(session, indexes[0], path, asked, models)
            told = f"{told}\n\n{more}".strip()
    session.emit(data, lambda: told)
    if answers:
        require_answered(session, [run["run"] for run in data["answers"]["runs"]])


def queries_of(session: Session, stack: ExitStack, index: Index, given: Path | None) -> Path:
    """The file of queries that is named; else those that a model wrote about an index and somebody confirmed."""
    if given is not None:
        return with_home(given)
    from llmops_tui.retrieval.written_queries import confirmed_queries

    path, told = stack.enter_context(confirmed_queries(store_of(session), index))
    for line in told:
        session.say(line)
    return path


def measurement_text(session: Session, found: MeasurementRecord) -> str:
    """What is printed of a measurement."""
    lines = [f"{counted(found['queries'], 'query', 'queries')} with {found['gold']} that should come"]
    lines += [
        f"{counted(n, 'query', 'queries')} {why}: no rank is measured on {agree(n, 'it', 'them')}"
        for why, n in found["left_out"].items()
    ]
    for fit in found["fitted"]:
        on = f"{fit['learnt_on']:,} of these {fit['of']:,}" if fit["learnt_on"] < fit["of"] else "these very"
        whose = f"the weight of {fit['retriever']} was learnt on {on} queries"
        lines.append(f"{whose}: its figures and differences on them are no evidence for it; measure on other queries")
    for one in found["retrievers"]:
        figures = [(f["metric"], f"{f['mean']:.3f}", _interval(f), f["n"]) for f in one["figures"]]
        title = f"{one['index']} {one['by']}: about {one['tokens']:,.0f} tokens a query"
        lines += ["", title, session.rows(("metric", "mean", "95 %", "queries"), figures)]
    for other in found["comparisons"]:
        rows = [
            (
                d["metric"],
                f"{d['difference']:+.3f}",
                _interval(d),
                f"{d['p_holm']:.3g}",
                d["wins"],
                d["losses"],
                _needed(d),
                d["verdict"],
                d["n"],
            )
            for d in other["differences"]
        ]
        headers = (
            "metric",
            "difference",
            "95 %",
            "p (Holm)",
            "better",
            "worse",
            "queries needed",
            "verdict",
            "queries",
        )
        lines += ["", f"{other['candidate']} against {other['baseline']}", session.rows(headers, rows)]
    if found["comparisons"]:
        lines += ["", "queries needed: to show a difference as large as this in 80 % of all measurements"]
    return "\n".join(lines)


def _interval(one: RankFigure | RankDifference) -> str:
    low, high = one["low"], one["high"]
    return "too few to say" if low is None or high is None else f"{low:.3f} … {high:.3f}"


def _needed(one: RankDifference) -> str:
    return "" if one["needed"] is None else f"{one['needed']:,}"
