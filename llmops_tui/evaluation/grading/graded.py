"""What graded answers are good for: a labelled set, and examples that a judge is shown."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.datasets.parts import PartWriter
from llmops_tui.datasets.records import Row
from llmops_tui.datasets.store import check_name
from llmops_tui.datasets.version import DatasetVersion, Recipe
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.grading.agreement import grades_by_item
from llmops_tui.evaluation.grading.files import line_of, question_of
from llmops_tui.evaluation.grading.sheets import GradeSheet
from llmops_tui.evaluation.metrics.model_graded import Example, Judge, names_something
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.store import EvaluationStore

if TYPE_CHECKING:
    from llmops_tui.evaluation.metrics.base import MetricEntry
    from llmops_tui.evaluation.run import SuiteVersion

EXAMPLES = 4


def make_dataset(sheet: GradeSheet, name: str) -> DatasetVersion:
    """Keep what was graded as a version of a dataset: a row an answer, with its mean grade and each person's.

    Raises:
        InputRefusedError: ``nothing_graded``.
    """
    check_name(name)
    items = grades_by_item(sheet)
    if not items:
        raise InputRefusedError("nothing_graded", "no answer of these runs is graded yet", "llmops eval grade RUN")
    rows: list[Row] = []
    for id_, grades in sorted(items.items(), key=lambda one: sheet.items[one[0]].place):
        line = line_of(sheet.items[id_])
        rows.append(
            {
                **line,
                "grade": sum(grades.values()) / len(grades),
                "graders": len(grades),
                "grades": grades,
                "run": sheet.items[id_].run.name,
            }
        )
    datasets = sheet.store.datasets
    folder = datasets.staging()
    try:
        writer = PartWriter(folder)
        writer.add(rows)
        runs = {item.run.name: item.run.results_sha256 for item in sheet.items.values()}
        parameters = {"criterion": sheet.criterion.name, "scale": [sheet.criterion.low, sheet.criterion.high]}
        recipe = Recipe("grades", parameters, tuple(runs.items()))
        note = f"{counted(len(rows), 'answer')} graded by people for {sheet.criterion.name}"
        columns = writer.finish()
        return datasets.keep(folder, name, kind="tabular", columns=columns, recipe=recipe, note=note)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def examples_from(sheet: GradeSheet, most: int = EXAMPLES) -> list[Example]:
    """Graded answers to show a judge: of each grade in turn those on which people agree most, one a case.

    Raises:
        InputRefusedError: ``nothing_graded``.
    """
    by_grade: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for id_, grades in grades_by_item(sheet).items():
        mean = sum(grades.values()) / len(grades)
        # Those on which several agree before those that one person graded.
        apart = max(abs(grade - mean) for grade in grades.values())
        by_grade[round(mean)].append((apart - len(grades) * 1e-3, id_))
    if not by_grade:
        raise InputRefusedError("nothing_graded", "no answer of these runs is graded yet", "llmops eval grade RUN")
    queues = {grade: sorted(by_grade[grade]) for grade in _ends_first(sorted(by_grade))}
    chosen: list[Example] = []
    seen: set[str] = set()
    while any(queues.values()) and len(chosen) < most:
        for grade, queue in queues.items():
            while queue and sheet.items[queue[0][1]].result.case.key in seen:
                queue.pop(0)
            if queue and len(chosen) < most:
                _, id_ = queue.pop(0)
                seen.add(sheet.items[id_].result.case.key)
                chosen.append(_example(sheet, id_, grade))
    return chosen


def _ends_first(grades: Sequence[int]) -> list[int]:
    """The lowest, the highest, the next lowest …, so that few examples span the scale."""
    left, right = list(grades), list(reversed(grades))
    both = [grade for pair in zip(left, right, strict=True) for grade in pair]
    return list(dict.fromkeys(both))


def _example(sheet: GradeSheet, id_: str, grade: int) -> Example:
    item = sheet.items[id_]
    case = item.result.case
    given: MetricEntry = {"conversation": question_of(item), "answer": item.result.answer.text, "grade": grade}
    if names_something(sheet.criterion.question):
        # The rubric of a judge may name these, and is then filled in for each example.
        given |= {
            "variables": dict(case.variables),
            "context": case.context,
            "expected": case.expected_text if case.expected is not None else "",
        }
    return Example.model_validate(given)


def teach_judge(sheet: GradeSheet, suite: str, most: int = EXAMPLES) -> tuple[SuiteVersion, int]:
    """A new version of a suite whose judge is shown graded answers; the version, and how many they are.

    Raises:
        InputRefusedError: ``no_judge``: the criterion is no judge of the suite; ``nothing_graded``.
    """
    store: EvaluationStore = sheet.store
    kept = store.suite(suite).suite
    examples = examples_from(sheet, most)
    entries: list[MetricEntry | str] = []
    found = False
    for entry in kept.metrics:
        metric = make_metric(entry)
        if isinstance(metric, Judge) and metric.called == sheet.criterion.metric and isinstance(entry, dict):
            entries.append({**entry, "examples": [example.model_dump(exclude_defaults=True) for example in examples]})
            found = True
        else:
            entries.append(entry)
    if not found:
        raise InputRefusedError(
            "no_judge",
            f"suite {suite} has no judge called {sheet.criterion.name!r}, which examples could be shown to",
            "Grade by a judge of the suite: --criterion NAME.",
        )
    note = f"{counted(len(examples), 'graded answer')} shown to {sheet.criterion.name}"
    return store.save_suite(kept.model_copy(update={"metrics": entries}), note), len(examples)
