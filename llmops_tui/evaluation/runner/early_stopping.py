"""The interval by which a run ends early: one that holds at every look."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import cast

from llmops_tui.evaluation.metrics.base import Metric
from llmops_tui.evaluation.records import Figure, RunSummary
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.runner.summary import case_scores
from llmops_tui.evaluation.statistics.bootstrap import Interval
from llmops_tui.evaluation.statistics.sequential import mean_sequence
from llmops_tui.evaluation.suite import Until


def sequence_of(metrics: Sequence[Metric], results: list[Result], until: Until) -> Interval:
    """The interval of the metric that decides when to stop; a group counts as one case."""
    metric = next(m for m in metrics if m.called == until.metric)
    groups: dict[str, list[float]] = defaultdict(list)
    for case, value in case_scores([r for r in results if not r.case.variation], metric.called):
        if value is not None:
            groups[case.group].append(value)
    means = [sum(values) / len(values) for values in groups.values()]
    return mean_sequence(means, metric.bounds, until.at_least)


def note_sequence(summary: RunSummary, metrics: Sequence[Metric], results: list[Result], until: Until) -> None:
    """Have a summary tell the interval of what was looked at again and again: only one for that keeps what it promises."""
    if until.metric not in summary["metrics"]:
        return
    found = sequence_of(metrics, results, until)
    known = {"mean": found.value, "low": found.low, "high": found.high, "method": found.method}
    if math.isfinite(found.half_width):
        summary["metrics"][until.metric] |= cast("Figure", known)
