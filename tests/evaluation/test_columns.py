"""Columns over a dataset: where variables come from, which rows differ, votes and their ranking, pairs for training."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.columns import over_dataset
from llmops_tui.evaluation.columns.kept_votes import keep_pairs, pairs_of
from llmops_tui.evaluation.columns.over_dataset import ColumnTable, paths_for, start
from llmops_tui.evaluation.metrics.base import Answer, Case
from llmops_tui.evaluation.run import Asked, EvalRun
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.prompts.compare.boards import TIE
from llmops_tui.prompts.compare.columns import Column
from llmops_tui.workspace.catalog import Catalog
from tests.evaluation.test_grading import made_model
from tests.fakes import start_no_processes

TEXTS = [["Yes.", "Yes.", "Yes."], ["Red shoes", "Blue shoes", "None of these at all"], ["a b", "a b!", "a b"]]


def dataset(catalog: Catalog, name: str, rows: list[dict[str, object]], form: str) -> DatasetVersion:
    path = catalog.workspace.root.parent / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return import_now(DatasetStore(catalog), [path], name, form)


def test_variables_are_found_in_the_rows(catalog: Catalog) -> None:
    table = dataset(catalog, "t", [{"message": "a", "product": "b", "n": 1}], "tabular")
    assert paths_for(["message", "product"], table, {}) == {"message": "message", "product": "product"}
    assert paths_for(["x", "message"], table, {"x": "product"}) == {"x": "product", "message": "message"}
    with pytest.raises(InputRefusedError, match="no column for the variable 'x'"):
        paths_for(["x", "message"], table, {})
    with pytest.raises(InputRefusedError, match="no variable 'y'"):
        paths_for(["message"], table, {"y": "product"})
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
    ]
    chats = dataset(catalog, "c", [{"messages": turns}], "messages")
    assert paths_for(["question"], chats, {}) == {"question": "messages[1].content"}


def test_a_draft_is_not_asked_over_a_dataset(catalog: Catalog) -> None:
    draft = Column("p", None, "", "x", "m", SamplingParameters())
    with pytest.raises(InputRefusedError, match="in no version"):
        start(EvaluationStore(catalog.workspace), [draft], "t", 5, {})


def test_rows_are_asked_afresh_where_that_is_wanted(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    start_no_processes(monkeypatch)
    made_model(catalog)
    store = EvaluationStore(catalog.workspace)
    version, _ = store.prompts.save("p", template="{{ message }}")
    rows = dataset(catalog, "t", [{"message": "a"}, {"message": "b"}], "tabular")
    column = Column("p", version.number, "", "{{ message }}", "m", SamplingParameters())
    for fresh in (False, True):
        (run,) = start(store, [column], rows.ref, 2, {"message": "message"}, fresh=fresh)
        assert run.asked.fresh is fresh


@pytest.fixture
def table(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> ColumnTable:
    """Three finished runs with the answers of :data:`TEXTS`."""
    runs = []
    found = {}
    for n, name in enumerate(("compare-3", "compare-1", "compare-2")):
        asked = Asked("p@1", f"m{n}")
        runs.append(EvalRun(name, "s", 1, "", asked, {}, {}, f"{n}" * 64, 0.0, 1.0, catalog.workspace.runs))
        found[name] = [
            Result(Case(row, f"k{row}", {"x": str(row)}), 0, Answer(text=texts[n]), {})
            for row, texts in enumerate(TEXTS)
        ]
    monkeypatch.setattr(over_dataset, "results_so_far", lambda run: found[run.name])
    return ColumnTable(EvaluationStore(catalog.workspace), runs)


def test_rows_that_differ_come_first(table: ColumnTable) -> None:
    rows = table.rows()
    assert [row.case.index for row in rows] == [1, 2, 0]
    assert rows[0].apart > 0.5 > rows[1].apart > 0 == rows[2].apart
    assert rows[0].answers == tuple(TEXTS[1])


def test_votes_are_kept_between_each_two_and_ranked(table: ColumnTable) -> None:
    first, second, third = table.rows()
    table.vote(first, 2, "ann")
    table.vote(second, TIE, "ann")
    table.vote(third, 0, "bo")
    assert table.votes("ann") == {1: 2, 2: TIE}
    # Another word of the same person takes the place of the first.
    table.vote(first, 0, "ann")
    assert table.votes("ann") == {1: 0, 2: TIE}
    assert table.votes() == {1: 0, 2: TIE, 0: 0}
    kept = table.store.catalog.read(
        lambda db: db.execute("SELECT sha256, value FROM annotations WHERE row = 1").fetchall()
    )
    # Which of two runs is the first goes by their names, as in votes between runs elsewhere.
    assert {(digest[0], json.loads(value)["value"], json.loads(value)["against"][0]) for digest, value in kept} == {
        ("1", "second", "0"), ("2", "second", "0"),
    }  # fmt: skip
    ranking = table.ranking(["a", "b", "c"])
    assert (ranking["votes"], ranking["inputs"]) == (3, 3)
    # The tie joins them all: each could be reached.
    assert ranking["reason"] == ""
    assert next(one["title"] for one in ranking["columns"]) == "a"
    assert [one["wins"] for one in ranking["columns"]] == [2.5, 0.5, 0.5]


def test_another_vote_leaves_what_was_said_beside_other_runs(table: ColumnTable) -> None:
    row = table.rows()[0]
    table.vote(row, 0, "ann")
    two = ColumnTable(table.store, table.runs[:2])
    two.vote(two.rows()[0], 1, "ann")
    assert two.votes("ann") == {row.case.index: 1}
    # Of the third nothing was said anew: the first still won over it.
    apart = ColumnTable(table.store, [table.runs[0], table.runs[2]])
    assert apart.votes("ann") == {row.case.index: 0}


def test_a_run_at_work_is_not_voted_on(table: ColumnTable) -> None:
    row = table.rows()[0]
    table.runs[1] = replace(table.runs[1], results_sha256="")
    with pytest.raises(InputRefusedError, match="compare-1 is not finished"):
        table.vote(row, 0, "ann")


def test_a_vote_becomes_pairs(catalog: Catalog) -> None:
    datasets = DatasetStore(catalog)
    asked = [{"role": "user", "content": "q"}]
    made = keep_pairs(datasets, "prefs", asked, ["good", "bad", "worse", "good", ""], 0, ["run_1", "run_2"])
    assert (made.kind, made.rows) == ("preference", 2)
    again = keep_pairs(datasets, "prefs", asked, ["x", "y"], 1, ["run_3"])
    rows = [row for batch in again.read() for _, row in batch]
    assert (again.rows, again.parent) == (3, made.number)
    assert rows[2]["chosen"] == [{"role": "assistant", "content": "y"}]
    assert dict(again.recipe.inputs) == {"run_3": "run_3", made.ref: made.sha256}
    assert pairs_of(asked, ["", "x"], 0) == []
    with pytest.raises(InputRefusedError, match="the same"):
        keep_pairs(datasets, "prefs", asked, ["x", "x"], 0, [])
    dataset(catalog, "table", [{"a": "b"}], "tabular")
    with pytest.raises(InputRefusedError, match="holds tabular rows"):
        keep_pairs(datasets, "table", asked, ["x", "y"], 0, [])
