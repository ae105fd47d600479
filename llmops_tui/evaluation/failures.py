"""The cases of a run that are wrong, refused or unscored."""

from __future__ import annotations

from typing import Any, TypedDict

from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.run_comparison import results_so_far
from llmops_tui.evaluation.runner.results import Result


class FailureRecord(TypedDict):
    """A case that is wrong, refused or unscored.

    ``id`` is what its suite calls it, ``row`` its row in the dataset, ``trace`` the id of its request.
    """

    case: int
    id: str
    row: int | None
    variation: str
    expected: Any
    output: str
    error: str
    trace: str
    scores: dict[str, float | None]
    reasons: dict[str, str]


def failed_results(run: EvalRun) -> list[Result]:
    """They in the order of the suite, of a run that may be going on.

    Raises:
        LlmopsError: ``results_damaged``: a finished run's file is gone, or is not what the run wrote.
    """
    figures = (run.summary or {}).get("metrics", {})
    # Where tests have a verdict, it says which fail: of what it is made, some may.
    binary = {name for name, figure in figures.items() if figure["type"] == "verdict"}
    binary = binary or {name for name, figure in figures.items() if figure["binary"]}
    return [result for result in results_so_far(run) if _failed(result, binary)]


def failure_record(result: Result) -> FailureRecord:
    """A failed case as JSON has it."""
    return {
        "case": result.case.index,
        "id": result.case.id,
        "row": result.case.row,
        "variation": result.case.variation,
        "expected": result.case.expected,
        "output": result.answer.text,
        "error": result.answer.error,
        "trace": result.answer.trace,
        "scores": {name: score.value for name, score in result.scores.items()},
        "reasons": {name: score.reason for name, score in result.scores.items() if score.reason},
    }


def _failed(result: Result, binary: set[str]) -> bool:
    if result.answer.error:
        return True
    return any(s.value is None or (n in binary and s.value < 1) for n, s in result.scores.items() if n in binary) or (
        not binary and any(s.reason for s in result.scores.values())
    )
