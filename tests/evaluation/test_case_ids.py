"""Cases by the ids that suites and queries give them."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.evaluation.case_names import case_number, told_case
from llmops_tui.evaluation.cases import build_cases
from llmops_tui.evaluation.metrics.base import Answer, Case
from llmops_tui.evaluation.runner.results import Result, read_line
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.workspace.layout import Workspace

CASES: list[dict[str, Any]] = [
    {"id": "greeting", "vars": {"q": "hello"}, "expected": "hi"},
    {"id": 7, "q": "short form"},
    {"vars": {"q": "none"}},
]


def _suite(cases: list[dict[str, Any]]) -> Any:
    return check_suite({"cases": cases, "metrics": ["exact"]}, "s")


def test_an_id_names_its_case_and_is_no_part_of_what_is_asked(sample: Workspace) -> None:
    store = EvaluationStore(sample)
    cases = build_cases(_suite(CASES), store.datasets).cases
    assert [told_case(one) for one in cases] == ["0 (greeting)", "1 (7)", "2"]
    assert cases[1].variables == {"q": "short form"}
    assert [case_number(cases, given, "") for given in ("greeting", "1", "2")] == [0, 1, 2]
    for given in ("7", "", "greetin", "-1", "99999999999999999999"):
        with pytest.raises(NotFoundError, match="no case"):
            case_number(cases, given, "")
    bare = [{name: value for name, value in one.items() if name != "id"} for one in CASES]
    assert [one.key for one in build_cases(_suite(bare), store.datasets).cases] == [one.key for one in cases]


def test_an_id_is_kept_with_a_result() -> None:
    kept = Result(Case(0, "k", id="greeting"), 0, Answer(text="hi"), {})
    assert read_line(kept.to_line()).case.id == "greeting"


def test_two_cases_of_one_id_are_refused(sample: Workspace) -> None:
    with pytest.raises(InputRefusedError, match=r"cases\[1\].id: 'a' is that of cases\[0\]"):
        EvaluationStore(sample).save_suite(_suite([{"id": "a", "vars": {"q": "1"}}, {"id": "a", "vars": {"q": "2"}}]))
