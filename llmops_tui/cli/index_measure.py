"""``llmops index measure``: retrievers on queries whose answers are known, with intervals, compared query by query."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.index import store_of, way_of
from llmops_tui.cli.output import Session, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, LlmopsError
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
) -> None:
    """Measure how well an index finds what should come: recall, hit, MRR and nDCG, and what differs between retrievers."""
    from llmops_tui.evaluation.retrieval.measurement import KS, Contender, Plan
    from llmops_tui.evaluation.retrieval.measurement import measure as measure_now

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
        found = measure_now(store, contenders, path, plan, lambda share, _what: show(share) if show else None)
    session.emit(found, lambda: measurement_text(session, found))


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
    head = f"{counted(found['queries'], 'query', 'queries')} with {found['gold']} that should come"
    lines = [head]
    if found["fitted"]:
        whose = f"the weight of {' and of '.join(found['fitted'])} was learnt on these very queries"
        lines.append(f"{whose}: their figures and differences are no evidence for it; measure on other queries")
    for one in found["retrievers"]:
        figures = [(f["metric"], f"{f['mean']:.3f}", _interval(f)) for f in one["figures"]]
        title = f"{one['index']} {one['by']}: about {one['tokens']:,.0f} tokens a query"
        lines += ["", title, session.rows(("metric", "mean", "95 %"), figures)]
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
            )
            for d in other["differences"]
        ]
        headers = ("metric", "difference", "95 %", "p (Holm)", "better", "worse", "queries needed", "verdict")
        lines += ["", f"{other['candidate']} against {other['baseline']}", session.rows(headers, rows)]
    if found["comparisons"]:
        lines += ["", "queries needed: to show a difference as large as this in 80 % of all measurements"]
    return "\n".join(lines)


def _interval(one: RankFigure | RankDifference) -> str:
    low, high = one["low"], one["high"]
    return "too few to say" if low is None or high is None else f"{low:.3f} … {high:.3f}"


def _needed(one: RankDifference) -> str:
    return "" if one["needed"] is None else f"{one['needed']:,}"
