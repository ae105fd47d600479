"""The summary of a run: metrics with intervals, effects of variations, agreement of repeats, costs."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from llmops_tui.counts import counted
from llmops_tui.evaluation.metrics.base import Case, Metric, Score, Summary
from llmops_tui.evaluation.metrics.built_in import ALWAYS
from llmops_tui.evaluation.metrics.custom import at_work
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.records import Agreement, Figure, GapRecord, PairedFigure, RunSummary, VariationRecord
from llmops_tui.evaluation.runner.failing import reasons
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.statistics.bootstrap import Interval
from llmops_tui.evaluation.statistics.clusters import numbered
from llmops_tui.evaluation.statistics.intervals import difference_interval, mean_interval


def metrics_of(case: Case, common: Sequence[Metric]) -> list[Metric]:
    """The metrics of a case: those of its suite, and its own."""
    return [*common, *(make_metric(entry, "case metrics") for entry in case.metrics)]


def summarise(
    results: Sequence[Result], metrics: Sequence[Metric], seconds: float, swaps: Sequence[Sequence[str]] = ()
) -> RunSummary:
    """The summary of a run as it is kept: JSON. ``swaps`` are the names of the groups of each swap."""
    base = [r for r in results if not r.case.variation]
    costs = {metric.called for metric in ALWAYS}
    # What is asked of single cases comes before what is always measured.
    everything = [metric for metric in metrics if metric.called not in costs]
    seen = {metric.called for metric in metrics}
    for result in base:
        for metric in metrics_of(result.case, ()):
            if metric.called not in seen:
                seen.add(metric.called)
                everything.append(metric)
    everything += [metric for metric in metrics if metric.called in costs]
    figures = {m.called: as_dict(m, figure_of(m, base)) for m in everything if any(m.called in r.scores for r in base)}
    return {
        "cases": len({r.case.index for r in base}),
        "answers": len(results),
        "errors": sum(bool(r.answer.error) for r in results),
        "failures": reasons(results),
        "cached": sum(r.answer.cached for r in results),
        "oldest": min((r.answer.kept_at for r in results if r.answer.kept_at is not None), default=None),
        "metrics": figures,
        "variations": _variations(results, everything),
        "gaps": gaps(results, everything, swaps),
        "agreement": _agreement(base),
        "costs": {
            "prompt_tokens": sum(r.answer.prompt_tokens or 0 for r in results if not r.answer.cached),
            "completion_tokens": sum(r.answer.completion_tokens or 0 for r in results if not r.answer.cached),
            "seconds": round(seconds, 3),
        },
    }


def case_scores(results: Sequence[Result], name: str) -> list[tuple[Case, float | None]]:
    """The score of each case in one metric: the mean over its repeats, none where none of them is usable."""
    if not any(result.repeat for result in results):
        return [(result.case, result.scores[name].value) for result in results if name in result.scores]
    by_case: dict[int, list[float | None]] = defaultdict(list)
    cases: dict[int, Case] = {}
    for result in results:
        if name in result.scores:
            cases[result.case.index] = result.case
            by_case[result.case.index].append(result.scores[name].value)
    found = []
    for index, values in by_case.items():
        usable = [v for v in values if v is not None]
        found.append((cases[index], sum(usable) / len(usable) if usable else None))
    return found


class ScoredCases:
    """Results whose scores of cases are read once by metric, however often they are asked for."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = results
        self._scores: dict[str, list[tuple[Case, float | None]]] = {}
        self._by_key: dict[str, dict[str, float | None]] = {}

    def scores(self, name: str) -> list[tuple[Case, float | None]]:
        """What :func:`case_scores` finds."""
        if name not in self._scores:
            self._scores[name] = case_scores(self.results, name)
        return self._scores[name]

    def by_key(self, name: str) -> dict[str, float | None]:
        """The same by the key of the case."""
        if name not in self._by_key:
            self._by_key[name] = {case.key: value for case, value in self.scores(name)}
        return self._by_key[name]


class RunningMeans:
    """The means of metrics while a run is at work: what each result adds is known without a look at all others."""

    def __init__(self, names: Iterable[str]) -> None:
        # By case: the sum and the number of the usable scores of its repeats.
        self._cases: dict[str, dict[int, tuple[float, int]]] = {name: {} for name in names}

        self._errors = 0

    def add(self, result: Result) -> None:
        """Take in one result."""
        self._errors += bool(result.answer.error)
        for name, cases in self._cases.items():
            score = result.scores.get(name)
            if score is not None and score.value is not None:
                total, count = cases.get(result.case.index, (0.0, 0))
                cases[result.case.index] = total + score.value, count + 1

    def mean(self, name: str) -> Interval | None:
        """A mean with its interval; none of what is not known yet."""
        cases = self._cases[name]
        return mean_interval(np.array([total / count for total, count in cases.values()])) if cases else None

    def told(self) -> list[str]:
        """How many answers ended in an error, and each known mean with its name and its interval, which may be lopsided."""
        found = [counted(self._errors, "error")] if self._errors else []
        for name in self._cases:
            if (mean := self.mean(name)) is not None:
                known = math.isfinite(mean.half_width)
                found.append(f"{name} {mean.value:.3g}" + (f" [{mean.low:.2g}, {mean.high:.2g}]" if known else ""))
        return found


def figure_of(metric: Metric, results: Sequence[Result]) -> Summary:
    """A metric over results; cases of a group, and repeats of a case, are a cluster.

    Raises:
        LlmopsError: ``plugin_failed``: the metric is one of a package, which could not make a figure.
    """
    with at_work(metric):
        return _figure_of(metric, results)


def _figure_of(metric: Metric, results: Sequence[Result]) -> Summary:
    name = metric.called
    if metric.whole_set:
        there = [r for r in results if name in r.scores]
        return metric.summarise([r.scores[name] for r in there], numbered([r.case.group for r in there]))
    scores = case_scores(results, name)
    repeated = any(r.repeat for r in results)
    kept = [Score(value) for _, value in scores]
    if repeated and metric.of_case:
        # An answer that failed has no detail, and says nothing of its case.
        details = {
            r.case.index: r.scores[name].detail
            for r in reversed(results)
            if name in r.scores and all(n in r.scores[name].detail for n in metric.of_case)
        }
        known = [details.get(case.index, {}) for case, _ in scores]
        kept = [
            Score(one.value, detail={n: of[n] for n in metric.of_case if n in of})
            for one, of in zip(kept, known, strict=True)
        ]
    if not repeated:
        # With their reasons and details, which a metric may have more to say about.
        kept = [r.scores[name] for r in results if name in r.scores]
    return metric.summarise(kept, numbered([case.group for case, _ in scores]))


def as_dict(metric: Metric, summary: Summary) -> Figure:
    """A figure for JSON; what is no number becomes null."""
    i = summary.interval
    figure: Figure = {
        "mean": _number(i.value),
        "low": _number(i.low),
        "high": _number(i.high),
        "n": summary.n,
        "unusable": summary.unusable,
        "method": i.method,
        "better": metric.better,
        "unit": metric.unit,
        "type": metric.type,
        "binary": metric.binary,
        "too_few": i.too_few,
        "needed": i.needed,
    }
    if summary.facts:
        figure["facts"] = summary.facts
    return figure


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _variations(results: Sequence[Result], metrics: Sequence[Metric]) -> list[VariationRecord]:
    """For each variation what it changes, paired with the case it was made of; the difference is variation less original."""
    names = sorted({r.case.variation for r in results if r.case.variation})
    originals = {r.case.key: r for r in results if not r.case.variation and r.repeat == 0}
    found: list[VariationRecord] = []
    for name in names:
        pairs = [
            (originals[r.case.origin], r)
            for r in results
            if r.case.variation == name and r.repeat == 0 and r.case.origin in originals
        ]
        # An error is no answer, and two of them are not the same one.
        pairs = [(a, b) for a, b in pairs if not a.answer.error and not b.answer.error]
        if not pairs:
            continue
        same = sum(a.answer.text == b.answer.text for a, b in pairs) / len(pairs)
        figures = _paired_figures(pairs, metrics)
        found.append({"variation": name, "n": len(pairs), "same_answer": same, "metrics": figures})
    return found


def gaps(results: Sequence[Result], metrics: Sequence[Metric], swaps: Sequence[Sequence[str]]) -> list[GapRecord]:
    """What swapping one group for another changes: each two groups of a swap, paired by the case that both were made of.

    The difference is the second group's figure less the first's. Counterfactual fairness after Kusner et al. 2017; Garg et
    al., "Counterfactual Fairness in Text Classification through Robustness", 2019.
    """
    found: list[GapRecord] = []
    for groups in swaps:
        for first, second in itertools.combinations(groups, 2):
            one = {r.case.origin: r for r in results if r.case.variation == first and r.repeat == 0}
            two = {r.case.origin: r for r in results if r.case.variation == second and r.repeat == 0}
            pairs = [(one[key], two[key]) for key in one if key in two]
            if pairs:
                figures = _paired_figures(pairs, metrics)
                found.append({"first": first, "second": second, "n": len(pairs), "metrics": figures})
    return found


def _paired_figures(pairs: Sequence[tuple[Result, Result]], metrics: Sequence[Metric]) -> dict[str, PairedFigure]:
    """For each metric that is a mean: the second's mean, and the difference from the first with its interval."""
    found: dict[str, PairedFigure] = {}
    for metric in metrics:
        scored = [(a.scores.get(metric.called), b.scores.get(metric.called), a.case.group) for a, b in pairs]
        kept = [(a.value, b.value, g) for a, b, g in scored if a and b and a.value is not None and b.value is not None]
        usable = [(a, b) for a, b, _ in kept]
        clusters = numbered([group for _, _, group in kept])
        if usable and not metric.whole_set:
            differences = np.array([b - a for a, b in usable])
            interval = difference_interval(differences, clusters, binary=metric.binary, bounds=metric.bounds)
            found[metric.called] = {
                "mean": sum(b for _, b in usable) / len(usable),
                "difference": interval.value,
                "low": _number(interval.low),
                "high": _number(interval.high),
                "n": len(usable),
            }
    return found


def _agreement(results: Sequence[Result]) -> Agreement | None:
    """How often two answers to one case are the same text: self-consistency.

    Manakul et al., "SelfCheckGPT", 2023: what a model does not know it tells differently each time.
    """
    by_case: dict[int, list[str]] = defaultdict(list)
    for result in results:
        if not result.answer.error:
            by_case[result.case.index].append(result.answer.text.strip())
    shares = []
    for texts in by_case.values():
        pairs = list(itertools.combinations(texts, 2))
        if pairs:
            shares.append(sum(a == b for a, b in pairs) / len(pairs))
    if not shares:
        return None
    interval = mean_interval(np.array(shares), bounds=(0.0, 1.0))
    return {"mean": interval.value, "low": interval.low, "high": interval.high, "n": len(shares)}
