"""``llmops index queries``: queries that a local model writes about passages; you confirm those that are good ones."""

from __future__ import annotations

from typing import Annotated

import typer

from llmops_tui.cli.index import store_of
from llmops_tui.cli.job import run_job
from llmops_tui.cli.output import LIMIT, refuse_idle, session_of
from llmops_tui.counts import counted


def queries(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="INDEX", help="An index.")],
    model: Annotated[str, typer.Option("--model", help="A local model that writes more of them.")] = "",
    count: Annotated[int, typer.Option("--count", min=1, max=2000, help="How many more.")] = 50,
    confirm: Annotated[list[str] | None, typer.Option("--confirm", help="The id of a good one; repeatable.")] = None,
    reject: Annotated[list[str] | None, typer.Option("--reject", help="The id of a bad one; repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number that is listed.")] = LIMIT,
    detach: Annotated[bool, typer.Option("--detach", help="Run the job in the background.")] = False,
) -> None:
    """List the queries that a model wrote about an index, have more written, or say which are good; measure takes those."""
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.retrieval.local_writer import writer_record
    from llmops_tui.retrieval.query_writing import ENTRY, KIND
    from llmops_tui.retrieval.written_queries import CONFIRMED, REJECTED, WrittenQueries

    if model:
        refuse_idle(context, "judges or lists, and --model writes more", "confirm", "reject", "limit")
    else:
        refuse_idle(context, "goes with --model, which writes more", "count", "detach")
    session = session_of(context)
    store = store_of(session)
    name = store.get(ref).record["name"]
    kept = WrittenQueries(store, name)
    if model:
        record = writer_record(ModelRegistry(session.catalog), model, "no_writer")
        arguments = {"name": name, "record": record, "count": count}
        title = f"queries about {name}"
        made = run_job(session, kind=KIND, title=title, entry=ENTRY, arguments=arguments, detach=detach)
        if made is not None:
            fell = f"{made['alike']:,} were like others, {made['empty']:,} were none"
            fell += f", the passages of {made['gone']:,} were taken out meanwhile" if made["gone"] else ""
            session.emit(made, lambda: f"{counted(made['written'], 'query', 'queries')} written; {fell}")
        return
    for state, ids in ((CONFIRMED, confirm), (REJECTED, reject)):
        if ids:
            kept.judge(state, ids)
    found = kept.all()
    rows = [
        (one["id"], one["state"], one["query"], f"{one['document']} [{one['start']}:{one['end']}]") for one in found
    ]
    headers = ("id", "state", "query", "passage")
    session.emit(
        {"queries": found[:limit], "total": len(found)}, lambda: session.rows(headers, rows[:limit], len(found))
    )
