"""Runs side by side: the cases on which they disagree come first, by scores and then by words; slices and metrics narrow them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.columns.side_by_side import (
    CaseAcross,
    by_disagreement,
    check_runs,
    columns_of,
    metrics_of,
    side_by_side,
)
from llmops_tui.evaluation.metrics.base import Answer, Score
from llmops_tui.evaluation.run import Asked, EvalRun
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.engine_wire import SamplingRecord
from llmops_tui.workspace.catalog import Catalog
from tests.commands import Llmops
from tests.evaluation.conftest import case, made_run
from tests.evaluation.test_grading import graded_run, made_model
from tests.fakes import start_no_processes


def answers(*said: tuple[str, float | None], **fields: Any) -> list[Result]:
    return [Result(case(n, **fields), 0, Answer(text=t), {"exact": Score(v)}) for n, (t, v) in enumerate(said)]


def finished(name: str, *metrics: str, model: str = "m") -> EvalRun:
    summary: Any = {"metrics": {name: {} for name in metrics or ("exact",)}}
    return replace(made_run(name), asked=Asked("p@1", model), summary=summary)


THREE = [
    (finished("a"), answers(("yes", 1.0), ("red shoes", 0.0), ("yes", 1.0), ("yes.", 1.0))),
    (finished("b"), answers(("yes", 1.0), ("blue shoes", 0.0), ("no", 0.0), ("yes", 1.0))),
    (finished("c"), answers(("yes", 1.0), ("nothing at all", 0.0), ("no", 0.0))),
]


def order(rows: list[CaseAcross]) -> list[int]:
    return [row.case.index for row in rows]


def test_those_that_disagree_come_first() -> None:
    rows = by_disagreement(side_by_side(THREE), "exact")
    # Scores differ on 2; words on 1 by much, on 3 by a sign; on 0 all say the same.
    assert order(rows) == [2, 1, 3, 0]
    assert (rows[0].spread("exact"), rows[1].spread("exact"), rows[3].apart) == (1.0, 0.0, 0.0)
    assert rows[0].scores("exact") == [1.0, 0.0, 0.0]
    # What a run did not ask has no answer there, and is told apart from a wrong one.
    assert rows[2].results[2] is None
    assert rows[2].as_dict("exact")["scores"] == [1.0, 1.0, None]
    # Repeats and variations are no further rows.
    more = [*THREE[0][1], *answers(("x", 0.0), variation="typos"), replace(THREE[0][1][0], repeat=1)]
    assert order(by_disagreement(side_by_side([(THREE[0][0], more), *THREE[1:]]), "exact")) == [2, 1, 3, 0]


def test_metrics_narrow_the_cases() -> None:
    rows = by_disagreement(side_by_side(THREE), "exact")
    assert order([row for row in rows if row.is_among("exact", "differ")]) == [2]
    assert order([row for row in rows if row.is_among("exact", "wrong")]) == [2, 1, 3]
    # Where nothing is scored, other words are what differs.
    unscored = [(run, [replace(r, scores={}) for r in found]) for run, found in THREE]
    bare = by_disagreement(side_by_side(unscored), "")
    assert order([row for row in bare if row.is_among("", "differ")]) == [1, 2, 3]


def test_what_cannot_be_read_side_by_side_is_refused() -> None:
    with pytest.raises(InputRefusedError, match="7 runs do not fit"):
        check_runs([finished(str(n)) for n in range(7)])
    with pytest.raises(InputRefusedError, match="run b is not finished"):
        check_runs([finished("a"), replace(finished("b"), summary=None)])
    apart = [replace(r, case=replace(r.case, key=f"other{r.case.index}")) for r in THREE[1][1]]
    with pytest.raises(InputRefusedError, match="no case in common"):
        side_by_side([THREE[0], (THREE[1][0], apart)])


def test_all_columns_of_a_suite_are_its_newest_finished_runs() -> None:
    runs = [
        finished("s-4", model="x"),
        finished("s-3", model="y"),
        finished("s-2", model="y"),
        finished("s-1", model="z"),
    ]
    runs[3] = replace(runs[3], summary=None)
    other = replace(finished("t-1", model="w"), suite="t")
    assert [run.name for run in columns_of(runs[2], [other, *runs])] == ["s-2", "s-4"]
    # Another way to sample is another column; how long an answer may be, and what is as usual, is not told.
    given: list[SamplingRecord] = [
        {"temperature": 0.0, "max_tokens": 9},
        {"temperature": 1.5},
        {"enable_thinking": False},
    ]
    swept = [
        replace(runs[0], name=f"w-{n}", asked=replace(runs[0].asked, parameters=one)) for n, one in enumerate(given)
    ]
    assert [run.name for run in columns_of(swept[0], [*swept, *runs[:1]])] == ["w-0", "w-1", "w-2"]
    assert [run.column.split(" · ")[-1] for run in swept[1:]] == ["temperature 1.5", "thinking off"]
    assert swept[0].column == runs[0].column
    assert metrics_of([finished("a", "exact", "f1", "cost"), finished("b", "f1", "exact")]) == ["exact", "f1"]


def test_a_command_prints_them(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    start_no_processes(monkeypatch)
    made_model(catalog)
    store = EvaluationStore(catalog.workspace)
    first = graded_run(store, [5.0, 1.0, 3.0])
    second = graded_run(store, [5.0, 4.0, 3.0], said="other", column={"temperature": 0.5})
    llmops = Llmops(catalog.workspace)
    found = llmops.run("eval", "columns", first, second, "--differ", "--limit", "5")
    assert (found["runs"], found["metric"], found["total"]) == ([first, second], "judge", 1)
    (row,) = found["rows"]
    assert (row["case"], row["scores"], row["answers"]) == (1, [1.0, 4.0], ["answer 1", "other 1"])
    # One run stands for all columns of its suite.
    assert llmops.run("eval", "columns", first)["runs"] == [first, second]
    refused = llmops.run("eval", "columns", first, second, "--slice", "intent=refund", code=3)
    assert "no case has a slice 'intent'" in refused["error"]["message"]
    refused = llmops.run("eval", "columns", first, second, "--metric", "exakt", code=3)
    assert refused["error"]["code"] == "unknown_metric"
