"""JSON in the catalog that is not as llmops writes it: told by table, row and column, by its readers and by the check."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.improvement.store import ImprovementStore
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.lineage import trace_lineage
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.training.export.proof_store import read_proof
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.json_columns import SHAPES, kept
from llmops_tui.workspace.layout import Workspace

# A row for each table that the sample has none of.
ROWS = {
    "dataset_views": ("triage", "mine", "{}", 1.0),
    "dataset_mappings": ('["a"]', "{}", 1.0),
    "dataset_reports": ("0" * 64, "checks", '{"problems": []}', 1.0),
    "annotations": ("ann_1", "0" * 64, "label", 1, "me", 0, '{"value": "a"}', 1.0),
    "training_runs": (
        "mine-1", None, "job_1", "0" * 64, "[]", '{"beside": false, "make_room": false, "force": false}', None, 1.0, 2.0,
    ),
    "model_proofs": ("0" * 64, "[]", 1.0),
    "evaluation_runs": (
        "run-1", "triage", 1, "job_2", '{"prompt": "", "model": "m", "parameters": {}, "parallel": 0}', "{}", None, None, 1.0, 2.0,
    ),
    "improvements": (
        "job_3", "triage", 1, 1.0, '{"prompt": "triage@1", "model": "m", "metric": "exact"}',
        '{"reflect": [], "select": [], "sealed": []}', '{"at": 1.0, "candidate": 1, "look": 1}', '{"verdict": "", "candidates": []}',
    ),
}  # fmt: skip
READERS: dict[str, Callable[[Workspace], Any]] = {
    "dataset_versions": lambda w: DatasetStore(Catalog(w)).logs(),
    "models": lambda w: ModelRegistry(Catalog(w)).all(),
    "training_recipes": lambda w: RunStore(w).recipes(),
    "training_runs": lambda w: RunStore(w).all(),
    "evaluation_suites": lambda w: EvaluationStore(w).suites(),
    "evaluation_runs": lambda w: EvaluationStore(w).all(),
    "dataset_views": lambda w: DatasetStore(Catalog(w)).views("triage"),
    "dataset_reports": lambda w: DatasetStore(Catalog(w)).report("0" * 64, "checks"),
    "improvements": lambda w: ImprovementStore(Catalog(w)).all(),
    "model_proofs": lambda w: read_proof(Catalog(w), "0" * 64),
}


@pytest.fixture
def full(lived: Workspace) -> Workspace:
    """A workspace with a row in every table of the catalog that has columns of JSON."""

    def work(connection: Any) -> None:
        recipe = connection.execute("SELECT body FROM training_recipes").fetchone()[0]
        for table, row in ROWS.items():
            values = [recipe if (table, n) == ("training_runs", 1) else value for n, value in enumerate(row)]
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)

    Catalog(lived).write(work)
    return lived


def test_every_column_of_json_is_known(full: Workspace) -> None:
    columns = "SELECT table_name, column_name FROM duckdb_columns() WHERE data_type = 'JSON' AND NOT internal"
    found = set(Catalog(full).read(lambda connection: connection.execute(columns).fetchall()))
    assert found == {(table, column) for table, (_, known) in SHAPES.items() for column in known}
    empty = Catalog(full).read(
        lambda connection: [t for t in SHAPES if connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] == 0]
    )
    assert empty == []
    assert check(full).errors == []


def test_a_check_names_every_odd_row(full: Workspace) -> None:
    """One after another in one transaction would hide one behind another: the check reads row by row."""
    places = []

    def spoil(connection: Any) -> None:
        for table, (key, columns) in SHAPES.items():
            row = connection.execute(f"SELECT concat_ws('@', {', '.join(key)}) FROM {table} LIMIT 1").fetchone()[0]
            for column in columns:
                connection.execute(
                    f"UPDATE {table} SET {column} = '[3]' WHERE concat_ws('@', {', '.join(key)}) = ?", [row]
                )
                places.append(f"table {table}, row {row}: {column} ")

    Catalog(full).write(spoil)
    told = "\n".join(error.text for error in check(full).errors)
    assert [place for place in places if place not in told] == []
    assert "cannot be checked" not in told


def test_a_reader_tells_the_row(full: Workspace) -> None:
    """Each column that a reader takes, one at a time; a recipe and a suite have rules beside their shape."""
    odd = [(table, column, "3") for table in READERS for column in SHAPES[table][1]]
    odd += [("training_recipes", "body", '{"epochs": "many"}'), ("evaluation_suites", "body", '{"cases": 3}')]
    for table, column, text in odd:
        key, _ = SHAPES[table]
        row = f"concat_ws('@', {', '.join(key)})"
        change = f"UPDATE {table} SET {column} = ? WHERE {row} = ?"
        name, before = Catalog(full).read(_first(f"SELECT {row}, {column} FROM {table}"))
        Catalog(full).write(_execute(change, text, name))
        with pytest.raises(LlmopsError, match=rf"table {table}, row .*: {column} is not") as caught:
            READERS[table](full)
        assert caught.value.code == "row_damaged"
        assert name.split("@")[0][:12] in caught.value.message
        assert "llmops restore" in caught.value.hint
        Catalog(full).write(_execute(change, before, name))


def _first(sql: str) -> Callable[[Any], Any]:
    return lambda connection: connection.execute(sql).fetchone()


def _execute(sql: str, *values: object) -> Callable[[Any], Any]:
    return lambda connection: connection.execute(sql, list(values))


def test_a_shape_is_told_by_where_it_differs() -> None:
    summary = {
        "metrics": {
            "exact": {"mean": 0.5, "low": None, "high": None, "n": "many", "unusable": 0, "method": "t", "binary": True}
        },
        "cases": 1,
        "answers": 1,
        "cached": 0,
        "errors": 0,
        "costs": {},
        "variations": [],
    }
    with pytest.raises(LlmopsError, match=r"row run-1: summary .*metrics\.exact\.n is a text"):
        kept("evaluation_runs", "summary", "run-1", json.dumps(summary))
    summary["metrics"]["exact"]["n"] = 3  # type: ignore[index]
    assert kept("evaluation_runs", "summary", "run-1", json.dumps(summary)) == summary
    assert kept("evaluation_runs", "summary", "run-1", "null") is None
    with pytest.raises(LlmopsError, match="is not valid"):
        kept("training_runs", "data", "run-1", '[["a", "b"], ["a"]]')


def test_lineage_tells_the_dataset_whose_recipe_is_odd(full: Workspace) -> None:
    Catalog(full).write(
        lambda connection: connection.execute("UPDATE dataset_versions SET recipe = '{}' WHERE dataset = 'triage'")
    )
    with pytest.raises(LlmopsError, match="row triage@1: recipe"):
        trace_lineage(Catalog(full), EventLog(full), "prompt:triage")
