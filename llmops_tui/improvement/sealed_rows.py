"""The rows behind a verdict: what the seed and the candidate answered to each sealed row."""

from __future__ import annotations

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.improvement.call_log import FILE, Asked, CallLog
from llmops_tui.improvement.candidates import asked_text
from llmops_tui.improvement.plan import check_plan
from llmops_tui.improvement.prepared import case_sets
from llmops_tui.improvement.records import SealedRowRecord
from llmops_tui.improvement.store import Improvement, ImprovementStore
from llmops_tui.workspace.catalog import Catalog


def sealed_rows(catalog: Catalog, improvement: Improvement) -> list[SealedRowRecord]:
    """The sealed rows that both were asked, those that the candidate lost first, then those that it won.

    Empty where nobody looked at them yet.

    Raises:
        InputRefusedError: ``rows_removed``: the job's folder, which had the answers, was removed.
        LlmopsError: the log of calls is damaged. NotFoundError: what the plan names is gone.
    """
    if improvement.looked is None or improvement.parts is None:
        return []
    store = ImprovementStore(catalog)
    if not (store.folder(improvement.id) / FILE).is_file():
        raise InputRefusedError(
            "rows_removed",
            f"the answers of {improvement.id} were removed with its job",
            "The verdict is kept; the sealed rows count as looked at.",
        )
    plan = check_plan(improvement.plan)
    evaluations = EvaluationStore(catalog.workspace)
    suite = check_suite(plan.suite)
    cases = {case.key: case for one in case_sets(evaluations, plan, suite).values() for case in one.cases}
    better = next(metric.better for metric in suite.made_metrics() if metric.called == plan.metric)
    seed = evaluations.prompts.get(f"{improvement.prompt}@{improvement.number}")
    log = CallLog(store.folder(improvement.id) / FILE, read_only=True)
    candidate = evaluations.prompts.get(f"{improvement.prompt}@{improvement.looked['candidate']}")
    found = []
    for key in improvement.parts["sealed"]:
        before, after = log.answers.get((seed.sha256, key)), log.answers.get((candidate.sha256, key))
        case = cases.get(key)
        if before is None or after is None or case is None:
            continue
        change = (after.value or 0.0) - (before.value or 0.0)
        expected = case.expected_text if case.expected is not None else ""
        found.append((change * better, _row(case.row, asked_text(case.variables), expected, before, after)))
    order = {-1: 0, 1: 1, 0: 2}
    found.sort(key=lambda one: (order[(one[0] > 0) - (one[0] < 0)], one[1]["row"] or 0))
    return [row for _, row in found]


def _row(number: int | None, asked: str, expected: str, before: Asked, after: Asked) -> SealedRowRecord:
    return {
        "row": number,
        "asked": asked,
        "expected": expected,
        "seed": before.text,
        "candidate": after.text,
        "seed_score": before.value,
        "candidate_score": after.value,
        "why": after.why,
    }
