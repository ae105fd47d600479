"""Runs whose requests all fail for one reason: they end early, say why, and are never taken for answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from llmops_tui.evaluation.comparison import compare
from llmops_tui.evaluation.kept_summary import failures_told
from llmops_tui.evaluation.metrics.base import Answer
from llmops_tui.evaluation.runner.failing import ALIKE, FailingAlike, reasons
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.runner.summary import summarise
from screens.evaluation.case_rendering import case_content, pair_columns
from screens.evaluation.model import Opened
from screens.evaluation.rendering import figures
from tests.commands import Llmops
from tests.evaluation.conftest import EXACT, case, made_run, results

GONE = "adapter_changed: the file is not there"


def failed(count: int, error: str = GONE, repeats: int = 1) -> list[Result]:
    return [Result(case(i), repeat, Answer(error=error), {}) for i in range(count) for repeat in range(repeats)]


@pytest.mark.parametrize(
    ("answered", "errors", "hopeless"),
    [
        (False, [GONE] * ALIKE, True),
        (False, [GONE] * (ALIKE - 1), False),
        (False, ["", *[GONE] * ALIKE], False),
        (False, ["too_long: 9", *[GONE] * ALIKE], False),
        (True, [GONE] * ALIKE, False),
        (False, [f"server_error: request {n} at 12:{n}" for n in range(ALIKE)], True),
        (False, [f"context_length_exceeded: the prompt has {5000 + n} tokens" for n in range(ALIKE)], False),
    ],
)
def test_a_run_gives_up_where_all_fail_for_one_reason_from_the_first_on(
    answered: bool, errors: list[str], hopeless: bool
) -> None:
    alike = FailingAlike(answered=answered)
    for error in errors:
        alike.note(Answer(error=error))
    assert alike.hopeless == hopeless


def test_reasons_are_grouped_by_their_code() -> None:
    found = [*failed(3), *failed(1, "too_long: 600 tokens"), *failed(1, "too_long: 700 tokens"), *failed(1, "Odd")]
    assert reasons([*found, *results([1])]) == [
        {"count": 3, "reason": GONE},
        {"count": 2, "reason": "too_long: 600 tokens"},
        {"count": 1, "reason": "Odd"},
    ]


def test_two_errors_are_not_the_same_answer() -> None:
    summary = summarise(failed(4, repeats=2), [EXACT], 1.0)
    assert summary["agreement"] is None
    assert failures_told(summary) == f"8 of 8: {GONE}"
    origins = failed(2)
    varied = [replace(one, case=replace(one.case, variation="typos", key="v")) for one in origins]
    assert summarise([*origins, *varied], [EXACT], 1.0)["variations"] == []


def test_a_comparison_with_such_a_run_says_its_reason_and_nothing_else() -> None:
    silent = failed(40)
    run = replace(made_run("b"), summary=summarise(silent, [EXACT], 1.0) | {"gave_up": True, "of": 300})
    found = compare((made_run("a"), results([1] * 40)), (run, silent), [EXACT])
    assert found.sentence == f"No verdict: b got no answer: 40 of 40: {GONE}; the other 260 cases were not asked."
    assert found.comparable.notes == ()


def test_an_error_is_told_as_one_and_not_compared_word_by_word() -> None:
    before, after = results([1])[0], failed(1)[0]
    shown = case_content(after, before, 80).plain
    assert f"baseline     answer 1\ncandidate    error: {GONE}" in shown
    assert "{+" not in shown
    columns = {column.name: column for column in pair_columns("exact", utf8=True)}
    run, silent = made_run("a"), failed(1)
    (pair,) = compare((run, silent), (run, silent), [EXACT]).pairs
    assert columns["candidate"].part(pair) == (GONE, "bad")
    assert columns["baseline"].part(pair) == (GONE, "bad")


def test_the_figures_of_such_a_run_are_its_reason() -> None:
    summary = summarise(failed(3), [EXACT], 1.0)
    shown = figures(Opened(replace(made_run("b"), summary=summary), [], [EXACT], "exact"), utf8=True).plain
    assert shown.startswith(f"No figures: all requests failed.\n3 of 3: {GONE}\n")
    assert "exact" not in shown


@pytest.mark.slow
def test_a_run_ends_after_the_first_requests_that_fail_alike(llmops: Llmops, tmp_path: Path) -> None:
    llmops.run("prompt", "save", "long", "--text", "{{text}}")
    path = tmp_path / "hopeless.yaml"
    cases = [{"text": f"kettle {n:04} " * 900, "expected": "x"} for n in range(60)]
    path.write_text(json.dumps({"cases": cases, "prompt": "long", "metrics": ["exact"], "vary": [{"kind": "upper"}]}))
    refused = llmops.run("eval", "run", str(path), "--model", "support-base", code=1)
    assert refused["error"]["code"] == "all_failed"
    assert "hopeless-1 got no answer: " in refused["error"]["message"]
    (run,) = llmops.run("eval", "list")["runs"][:1]
    assert ALIKE <= run["errors"] < len(cases)
    left = len(cases) - run["errors"]
    assert f"; the other {left} cases were not asked" in refused["error"]["message"]
    job = llmops.run("job", "show", run["job"])
    assert job["state"] == "failed"
    assert "hopeless-1 got no answer" in job["cause"]
