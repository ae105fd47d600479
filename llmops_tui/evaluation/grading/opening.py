"""Sheets by the names of runs, for commands and screens."""

from __future__ import annotations

import getpass
from collections.abc import Sequence

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.grading.criterion import Criterion, criterion_of
from llmops_tui.evaluation.grading.sheets import GradeSheet, VoteSheet, answers_of, pairs_between
from llmops_tui.evaluation.metrics.base import Metric
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.run_comparison import metrics_of_run, results_of
from llmops_tui.evaluation.store import EvaluationStore

PREFERENCE = "preference"


def grader_name(given: str, settings_name: str) -> str:
    """Who grades: who is named, else who the settings name, else the user of the system."""
    return given.strip() or settings_name.strip() or getpass.getuser()


def grade_sheet(
    store: EvaluationStore,
    names: Sequence[str],
    grader: str,
    *,
    criterion: str = "",
    scale: str = "",
    question: str = "",
) -> GradeSheet:
    """A sheet of the answers of finished runs, which may be of several versions.

    Raises:
        NotFoundError: there is no such run. InputRefusedError: as :func:`criterion_of` and :func:`answers_of`.
    """
    runs = _runs(store, names)
    items = answers_of(runs)
    metrics: dict[str, list[Metric]] = {}
    for run in runs:
        for metric in metrics_of_run(store, run, results_of(run)):
            metrics.setdefault(metric.called, []).append(metric)
    asked = criterion_of([same[0] for same in metrics.values()], criterion, scale, question)
    ways = [metric.model_dump() for metric in metrics.get(asked.metric, ())]
    # Also of the judge that nobody named: its scores beside people's would be of two measures.
    if any(way != ways[0] for way in ways):
        raise InputRefusedError(
            "bad_criterion", f"the runs measure {asked.metric} in different ways", "Grade them apart."
        )
    return GradeSheet(store, items, asked, grader)


def vote_sheet(
    store: EvaluationStore, names: Sequence[str], grader: str, *, criterion: str = "", question: str = ""
) -> VoteSheet:
    """A sheet of pairs of answers of runs.

    Raises:
        NotFoundError: there is no such run. InputRefusedError: as :func:`pairs_between`.
    """
    asked = Criterion(criterion or PREFERENCE, question or "Which answer is better?", 0, 1)
    return VoteSheet(store, pairs_between(_runs(store, names)), asked, grader)


def _runs(store: EvaluationStore, names: Sequence[str]) -> list[EvalRun]:
    """Each run once, in the order of their names: which one is the first of a pair does not depend on the command."""
    return [store.get(name) for name in sorted(dict.fromkeys(names))]
