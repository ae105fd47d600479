"""Rows of evaluation runs in the catalog: what of a run is kept there, and how it is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from llmops_tui.evaluation.kept_summary import whole
from llmops_tui.evaluation.run import Asked, EvalRun
from llmops_tui.workspace.json_columns import kept
from llmops_tui.workspace.layout import within

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.evaluation.records import Manifest
    from llmops_tui.workspace.layout import Workspace


def how_asked(asked: Asked, target: str) -> str:
    """What a row says of how its run is asked, and where it is answered: by the cluster of a target, or on this machine."""
    return json.dumps({**asked.as_dict(), "target": target})


def answered_here(connection: duckdb.DuckDBPyConnection, job: str) -> None:
    """Have the runs of a job be answered on this machine, wherever they were to be before."""
    rows = connection.execute("SELECT name, asked FROM evaluation_runs WHERE job = ?", [job]).fetchall()
    for name, asked in rows:
        how = {**(kept("evaluation_runs", "asked", name, asked) or {}), "target": ""}
        connection.execute("UPDATE evaluation_runs SET asked = ? WHERE name = ?", [json.dumps(how), name])


def run_of(row: tuple[Any, ...], workspace: Workspace) -> EvalRun:
    """A run from its row.

    Raises:
        LlmopsError: the row is damaged.
    """
    name, suite, number, job, asked, manifest, summary, digest, created, finished = row
    how = kept("evaluation_runs", "asked", name, asked)
    sources = cast("Manifest", kept("evaluation_runs", "manifest", name, manifest) or {})
    return EvalRun(
        name,
        suite,
        int(number),
        job,
        Asked(
            how["prompt"],
            how["model"],
            how["parameters"],
            how["parallel"],
            how.get("limit"),
            bool(how.get("fresh")),
        ),
        sources,
        whole(kept("evaluation_runs", "summary", name, summary)),
        digest or "",
        created,
        finished,
        within(within(workspace.runs, job or f"none-{name}"), name),
        how.get("target"),
    )


def next_names(connection: duckdb.DuckDBPyConnection, suite: str, count: int) -> list[str]:
    """Names for so many new runs of a suite."""
    known = {row[0] for row in connection.execute("SELECT name FROM evaluation_runs").fetchall()}
    found: list[str] = []
    number = 1
    while len(found) < count:
        if f"{suite}-{number}" not in known:
            found.append(f"{suite}-{number}")
        number += 1
    return found
