"""``llmops sql``: read-only SQL over the workspace."""

from __future__ import annotations

from typing import Annotated

import typer

from llmops_tui.cli.output import session_of


def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="One SELECT statement.")],
    limit: Annotated[int, typer.Option(help="Maximum number of rows.", min=1)] = 1000,
) -> None:
    """Run one SELECT over the workspace."""
    from llmops_tui.datasets.sql_console import run_query
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.json_values import Notes, as_json
    from llmops_tui.workspace.ingest import ingest

    session = session_of(context)
    catalog = session.catalog
    ingest(catalog, session.event_log)
    answer = run_query(DatasetStore(catalog), query, limit)
    if answer.more:
        session.say(f"rows after the first {limit:,} are not shown; --limit shows more")
    notes = Notes()
    data = {"columns": answer.columns, "rows": as_json(answer.rows, "rows", notes), "truncated": answer.more}
    if told := notes.told():
        data["notes"] = told
    session.emit(data, lambda: session.rows(answer.columns, answer.rows))
