"""What is known before a run: how many cases an effect needs, what the run will cost, and what the model has seen of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.cases import build_cases
from llmops_tui.evaluation.metrics.base import Metric
from llmops_tui.evaluation.plan_records import CostPlan, PlanRecord, PowerRecord
from llmops_tui.evaluation.run import EvalRun, SuiteVersion
from llmops_tui.evaluation.run_comparison import results_of
from llmops_tui.evaluation.runner.contamination import find_overlap
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.runner.summary import case_scores
from llmops_tui.evaluation.statistics.bootstrap import Floats
from llmops_tui.evaluation.statistics.power import (
    pairs_needed,
    scores_needed,
    smallest_difference,
    spread_of_differences,
)
from llmops_tui.evaluation.statistics.student import t_quantile
from llmops_tui.evaluation.store import EvaluationStore

# What is assumed of two runs over the same cases where there are no two.
ASSUMED_CORRELATION = 0.5
_ASSUMED_SHARE = 0.5
EFFECT = 0.05
_FEWEST = 10


def plan(
    store: EvaluationStore, version: SuiteVersion, model: str, *, effect: float = EFFECT, limit: int | None = None
) -> PlanRecord:
    """What a run of a suite on a model could show, what it would take, and which cases the model was trained on.

    ``effect`` is the difference that somebody wants to see, in the metric's own unit.

    Raises:
        InputRefusedError: ``bad_effect``; the cases cannot be made. NotFoundError: the model.
    """
    if not effect > 0:
        raise InputRefusedError("bad_effect", f"{effect:g} is no effect", "Give a difference above 0, such as 0.05.")
    store.registry.writing(model)
    cases = build_cases(version.suite, store.datasets, limit)
    count = sum(not case.variation for case in cases.cases)
    runs = [run for run in store.all() if run.suite == version.suite.name and run.summary is not None]
    known = _Known(runs)
    power = [
        _power(metric, count, effect, known)
        for metric in version.suite.made_metrics()
        if not metric.whole_set and not metric.unit
    ]
    return {
        "suite": version.ref,
        "model": model,
        "cases": count,
        "of": cases.of,
        "power": power,
        "cost": cost_plan(runs, model, len(cases.cases) * version.suite.repeats),
        "overlap": find_overlap(store, model, cases).facts(),
    }


class _Known:
    """The results of earlier runs, the newest first, each read once and only where it is looked at."""

    def __init__(self, runs: Sequence[EvalRun]) -> None:
        self._runs = [run for run in runs if not run.not_whole]
        self._read: dict[str, list[Result]] = {}

    def scores(self, run: EvalRun, metric: str) -> dict[str, float]:
        """The score of each case, by its key."""
        if run.name not in self._read:
            try:
                self._read[run.name] = [r for r in results_of(run) if not r.case.variation]
            except LlmopsError:
                # Results that are gone or damaged are no basis; the run itself says so where it is opened.
                self._read[run.name] = []
        return {case.key: v for case, v in case_scores(self._read[run.name], metric) if v is not None}

    def pair(self, metric: str) -> tuple[list[str], Floats, Floats] | None:
        """The scores of the newest two runs of different columns over the cases that both have."""
        for i, newer in enumerate(self._runs):
            for older in self._runs[i + 1 :]:
                if newer.column == older.column:
                    # The same asked twice says nothing of how two versions differ.
                    continue
                a, b = self.scores(older, metric), self.scores(newer, metric)
                keys = [key for key in a if key in b]
                if len(keys) >= _FEWEST:
                    return [older.name, newer.name], np.array([a[k] for k in keys]), np.array([b[k] for k in keys])
        return None

    def one(self, metric: str) -> tuple[list[str], Floats] | None:
        """The scores of the newest run that has enough of them."""
        for run in self._runs:
            found = list(self.scores(run, metric).values())
            if len(found) >= _FEWEST:
                return [run.name], np.array(found)
        return None


def _power(metric: Metric, cases: int, effect: float, known: _Known) -> PowerRecord:
    pair, one = known.pair(metric.called), known.one(metric.called)
    correlation: float | None = ASSUMED_CORRELATION
    if pair is not None:
        names, a, b = pair
        first, second = float(a.std(ddof=1)), float(b.std(ddof=1))
        correlation = float(np.corrcoef(a, b)[0, 1]) if first and second else None
        differing, spread = float((a != b).mean()), float((b - a).std(ddof=1))
        basis = "measured between these runs"
    elif one is not None:
        names, values = one
        sd = float(values.std(ddof=1))
        spread = spread_of_differences(sd, sd, ASSUMED_CORRELATION)
        # Two answers that are right with the same probability p, correlated by r, differ in 2 p (1 - p) (1 - r).
        share = float(values.mean())
        differing = 2 * share * (1 - share) * (1 - ASSUMED_CORRELATION)
        basis = f"spread measured; correlation of {ASSUMED_CORRELATION:g} assumed, as no two runs share its cases"
    else:
        names = []
        low, high = metric.bounds or (0.0, 1.0)
        sd = (high - low) / 2 if metric.binary else (high - low) / 4
        spread = spread_of_differences(sd, sd, ASSUMED_CORRELATION)
        differing = 2 * _ASSUMED_SHARE * (1 - _ASSUMED_SHARE) * (1 - ASSUMED_CORRELATION)
        basis = "assumed: half of the answers right, correlation of 0.5" if metric.binary else "assumed: no run yet"
    if metric.binary:
        # What differs at least is what the effect itself makes differ.
        share = min(1.0, max(differing, effect))
        needed, smallest = pairs_needed(effect, share), smallest_difference(cases, min(1.0, max(differing, 1 / cases)))
    else:
        needed, smallest = scores_needed(effect, spread), _smallest(cases, spread)
    return {
        "metric": metric.called,
        "binary": metric.binary,
        "cases": cases,
        "effect": effect,
        "needed": needed,
        "smallest": smallest,
        "correlation": correlation,
        "differing": differing if metric.binary else None,
        "spread": spread,
        "measured": names,
        "basis": basis,
    }


def _smallest(cases: int, spread: float) -> float | None:
    if cases < 2 or not spread > 0:
        return None
    return (t_quantile(0.975, cases - 1) + t_quantile(0.8, cases - 1)) * spread / math.sqrt(cases)


def cost_plan(runs: Sequence[EvalRun], model: str, requests: int) -> CostPlan:
    """What a run will take by the newest run of the suite on this model that asked anything; else on another model."""
    asked = [run for run in runs if run.summary is not None and run.summary["answers"] > run.summary["cached"]]
    same = [run for run in asked if run.asked.model == model]
    chosen = next(iter(same or asked), None)
    if chosen is None or chosen.summary is None:
        return {
            "measured": "", "seconds_per_case": None, "tokens_per_case": None, "joules_per_case": None, "seconds": None,
            "tokens": None, "joules": None, "energy": "", "note": "no run of this suite has measured it yet",
        }  # fmt: skip
    costs = chosen.summary["costs"]
    count = chosen.summary["answers"] - chosen.summary["cached"]
    timed = costs.get("asked") or count
    seconds = costs["seconds"] / timed
    tokens = (costs["prompt_tokens"] + costs["completion_tokens"]) / count
    joules = costs.get("joules")
    each = None if joules is None else joules / timed
    return {
        "measured": chosen.name,
        "seconds_per_case": seconds,
        "tokens_per_case": tokens,
        "joules_per_case": each,
        "seconds": seconds * requests,
        "tokens": tokens * requests,
        "joules": None if each is None else each * requests,
        "energy": costs.get("energy", ""),
        "note": "" if same else f"measured with {chosen.asked.model}: another model takes another time",
    }
