"""The comparison of two runs on the same cases: difference, uncertainty, and the cases that changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from llmops_tui.evaluation.comparability import Comparable, comparable, scored_in_one
from llmops_tui.evaluation.difference import Difference, difference_sentence
from llmops_tui.evaluation.measures import measured_otherwise
from llmops_tui.evaluation.metrics.base import Case, Metric
from llmops_tui.evaluation.metrics.built_in import ALWAYS
from llmops_tui.evaluation.records import ComparisonRecord, SliceRecord
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.runner.summary import ScoredCases
from llmops_tui.evaluation.statistics.bootstrap import RESAMPLES, Floats, Interval, clustered_sums
from llmops_tui.evaluation.statistics.clusters import numbered
from llmops_tui.evaluation.statistics.intervals import difference_interval, figure_interval
from llmops_tui.evaluation.statistics.significance import holm, mcnemar_exact, sign_flip, smallest_effect
from llmops_tui.evaluation.statistics.studentised import FEWEST

FEW = 30
_WHOLE_SET_RESAMPLES = 1000
_COSTS = {metric.called for metric in ALWAYS}


@dataclass(frozen=True)
class Slice:
    """The first metric in a part of the cases."""

    by: str
    value: str
    n: int
    baseline: float
    candidate: float
    interval: Interval

    @property
    def few(self) -> bool:
        """Whether there are so few cases that hardly anything can be said."""
        return self.n < FEW

    def as_dict(self) -> SliceRecord:
        """For JSON."""
        return {
            "by": self.by,
            "value": self.value,
            "n": self.n,
            "few": self.few,
            "baseline": self.baseline,
            "candidate": self.candidate,
            "difference": self.interval.value,
            "low": self.interval.low,
            "high": self.interval.high,
        }


@dataclass(frozen=True)
class Pair:
    """One case in both runs. ``change`` is above 0 where the candidate is better, none where a score is missing."""

    baseline: Result
    candidate: Result
    change: float | None


@dataclass
class Comparison:
    """All of it."""

    baseline: EvalRun
    candidate: EvalRun
    comparable: Comparable
    metric: str
    differences: list[Difference] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """The verdict, as a colleague can quote it."""
        if self.comparable.refused:
            return "No verdict: " + "; ".join(self.comparable.refused) + "."
        found = next((d for d in self.differences if d.name == self.metric), None)
        if found is None or not found.n:
            return "No verdict: the runs have no score in common."
        return difference_sentence(found)

    def regressed(self) -> list[Pair]:
        """Cases on which the candidate is worse."""
        return [pair for pair in self.pairs if pair.change is not None and pair.change < 0]

    def as_dict(self) -> ComparisonRecord:
        """For JSON; cases are named by their place in the suite."""
        return {
            "baseline": self.baseline.name,
            "candidate": self.candidate.name,
            "metric": self.metric,
            "comparable": not self.comparable.refused,
            "refused": list(self.comparable.refused),
            "notes": list(self.comparable.notes),
            "changed": list(self.comparable.changed),
            "verdict": self.sentence,
            "metrics": [d.as_dict() for d in self.differences],
            "slices": [s.as_dict() for s in self.slices],
            "regressed": [
                {
                    "case": p.baseline.case.index,
                    "row": p.baseline.case.row,
                    "expected": p.baseline.case.expected,
                    "baseline": p.baseline.answer.text,
                    "candidate": p.candidate.answer.text,
                    "reason": _reason(p.candidate, self.metric),
                }
                for p in self.regressed()
            ],
        }


def _reason(result: Result, metric: str) -> str:
    score = result.scores.get(metric)
    return score.reason if score is not None else ""


def compare(
    a: tuple[EvalRun, Sequence[Result]],
    b: tuple[EvalRun, Sequence[Result]],
    metrics: Sequence[Metric],
    metric: str = "",
    *,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare a candidate ``b`` with a baseline ``a`` on the cases that both have; variations are left out.

    ``metrics`` are those of the suite; ``metric`` is the one that cases are ordered and slices are made by, else the first.
    """
    (base_run, base), (run, found) = a, b
    left, right = ([r for r in part if not r.case.variation] for part in (base, found))
    known = [{r.case.key for r in part} for part in (left, right)]
    keys, counts = known[0] & known[1], (len(known[0]), len(known[1]))
    left, right = ([r for r in part if r.case.key in keys] for part in (left, right))
    chosen = metric or (metrics[0].called if metrics else "")
    differing = measured_otherwise((r.case for r in left), (r.case for r in right))
    ours, theirs = ScoredCases(left), ScoredCases(right)
    lost = scored_in_one(ours, theirs)
    result = Comparison(base_run, run, comparable(base_run, run, len(keys), counts, *differing, lost), chosen)
    everything = [*metrics, *(m for m in ALWAYS if m.called not in {given.called for given in metrics})]
    result.differences = _differences(ours, theirs, everything, resamples)
    main = next((m for m in everything if m.called == chosen), None)
    result.pairs = pairs_of(ours, theirs, chosen, main.better if main else 1)
    if main and not main.whole_set:
        result.slices = _slices(ours, theirs, main)
    return result


def _differences(left: ScoredCases, right: ScoredCases, metrics: Sequence[Metric], resamples: int) -> list[Difference]:
    found = [d for m in metrics if (d := _difference(left, right, m, resamples)) is not None]
    tested = [d for d in found if d.p is not None and d.name not in _COSTS]
    corrected = dict(zip((d.name for d in tested), holm([d.p or 0.0 for d in tested]), strict=True))
    return [Difference(**{**vars(d), "p_holm": corrected.get(d.name, d.p)}) for d in found]


def _paired(left: ScoredCases, right: ScoredCases, name: str) -> tuple[Floats, Floats, list[Case]]:
    """Scores of both where both have one, with their cases."""
    first = left.by_key(name)
    found = [
        (before, value, case)
        for case, value in right.scores(name)
        if value is not None and (before := first.get(case.key)) is not None
    ]
    return (
        np.array([before for before, _, _ in found]),
        np.array([value for _, value, _ in found]),
        [c for _, _, c in found],
    )


def _difference(left: ScoredCases, right: ScoredCases, metric: Metric, resamples: int) -> Difference | None:
    name = metric.called
    before, after, cases = _paired(left, right, name)
    if not len(before):
        return None
    differences = after - before
    clusters = numbered([case.group for case in cases])
    signed = differences * (metric.better or 1)
    wins, losses = int((signed > 0).sum()), int((signed < 0).sum())
    share = bool(before.min() >= 0 and before.max() <= 1 and after.min() >= 0 and after.max() <= 1)
    common = {"wins": wins, "losses": losses, "ties": len(signed) - wins - losses, "n": len(signed)}
    if metric.whole_set:
        interval, figures = _whole_set(left.results, right.results, metric, {case.key for case in cases})
        return Difference(
            name,
            figures[0],
            figures[1],
            interval,
            None,
            None,
            "none for a figure of the whole set",
            **common,
            smallest=(1.96 + 0.84) * interval.half_width / 1.96,
            better=metric.better,
            unit=metric.unit,
            share=max(abs(figures[0]), abs(figures[1])) <= 1,
        )
    binary = bool(np.isin(before, (0.0, 1.0)).all() and np.isin(after, (0.0, 1.0)).all())
    interval = difference_interval(differences, clusters, binary=binary, bounds=metric.bounds)
    if binary and clusters is None:
        p, test = mcnemar_exact(wins, losses), "McNemar, exact"
    else:
        p, test = (
            sign_flip(differences, clusters, flips=resamples),
            "paired permutation" + (", by group" if clusters is not None else ""),
        )
    return Difference(
        name,
        float(before.mean()),
        float(after.mean()),
        interval,
        p,
        None,
        test,
        **common,
        smallest=smallest_effect(differences, clusters),
        better=metric.better,
        unit=metric.unit,
        share=share,
    )


def _whole_set(
    left: Sequence[Result], right: Sequence[Result], metric: Metric, keys: set[str]
) -> tuple[Interval, tuple[float, float]]:
    """The difference of a figure of a whole set, both sides resampled together."""
    name = metric.called
    one = {(r.case.key, r.repeat): r for r in left if r.case.key in keys and _scored(r, name)}
    two = {(r.case.key, r.repeat): r for r in right if r.case.key in keys and _scored(r, name)}
    order = [at for at in one if at in two]
    # Together, so that both have the same columns.
    rows = metric.rows([*(one[at].scores[name] for at in order), *(two[at].scores[name] for at in order)])
    n, width = len(order), rows.shape[1]
    clusters = numbered([one[at].case.group for at in order])
    both = clustered_sums(np.hstack([rows[:n], rows[n:]]), clusters)
    whole = both.sum(axis=0, keepdims=True)
    figures = float(metric.figure(whole[:, :width])[0]), float(metric.figure(whole[:, width:])[0])
    span = np.ptp(metric.figure_bounds) if metric.figure_bounds is not None else None
    interval = figure_interval(
        both,
        lambda sums: metric.figure(sums[:, width:]) - metric.figure(sums[:, :width]),
        resamples=_WHOLE_SET_RESAMPLES,
        bounds=None if span is None else (-span, span),
        enough=f"{FEWEST} cases" if clusters is None else f"{FEWEST} groups",
    )
    return interval, figures


def _scored(result: Result, name: str) -> bool:
    return name in result.scores and result.scores[name].value is not None


def pairs_of(left: ScoredCases, right: ScoredCases, name: str, better: int) -> list[Pair]:
    """All cases that both have, variations left out: worst first, then failed, better, the same, and those without a score."""
    before = {r.case.key: r for r in left.results if r.repeat == 0 and not r.case.variation}
    first, second, found = left.by_key(name), right.by_key(name), []
    for result in right.results:
        if result.repeat or result.case.key not in before:
            continue
        a, b = first.get(result.case.key), second.get(result.case.key)
        change = (b - a) * (better or 1) if a is not None and b is not None else None
        found.append(Pair(before[result.case.key], result, change))

    def order(pair: Pair) -> tuple[int, float, int]:
        if pair.change is None:
            # A metric that does not hold for a case says nothing of it; an answer that failed does.
            return 1 if pair.candidate.answer.error else 4, 0.0, pair.baseline.case.index
        rank = 0 if pair.change < 0 else 3 if pair.change == 0 else 2
        return rank, -abs(pair.change), pair.baseline.case.index

    return sorted(found, key=order)


def _slices(left: ScoredCases, right: ScoredCases, metric: Metric) -> list[Slice]:
    before, after, cases = _paired(left, right, metric.called)
    of = {r.case.key: r.case.slices for r in left.results}
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, case in enumerate(cases):
        for by, value in of[case.key].items():
            places[by, value].append(i)
    found = []
    for (by, value), at in sorted(places.items()):
        a, b = before[at], after[at]
        binary = bool(np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all())
        interval = difference_interval(
            b - a, numbered([cases[i].group for i in at]), binary=binary, bounds=metric.bounds
        )
        found.append(Slice(by, value, len(at), float(a.mean()), float(b.mean()), interval))
    return found
