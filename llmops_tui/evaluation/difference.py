"""A metric in two runs: the difference, its verdict, and how it is told, in one way for sentences, tables and rulings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmops_tui.counts import counted
from llmops_tui.evaluation.digits import SHARE, fixed, interval, places
from llmops_tui.evaluation.records import DifferenceRecord
from llmops_tui.evaluation.statistics.bootstrap import Interval
from llmops_tui.evaluation.statistics.words import too_few_to_say

_LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """One metric in both runs, over the cases that both have. The difference is candidate less baseline.

    Attributes:
        p: of McNemar's exact test or the paired permutation test; none for a figure of a whole set.
        p_holm: the same corrected for the number of metrics.
        wins: cases on which the candidate is better, in the sense of the metric.
        smallest: the smallest difference that so many cases would show in 80 % of all evaluations.
    """

    name: str
    baseline: float
    candidate: float
    interval: Interval
    p: float | None
    p_holm: float | None
    test: str
    wins: int
    ties: int
    losses: int
    n: int
    smallest: float
    better: int
    unit: str
    share: bool

    @property
    def verdict(self) -> str:
        """better, worse, or unclear; of what has no better direction, differs."""
        p = self.p_holm if self.p_holm is not None else 0.0
        if not self.n or self.interval.too_few or not math.isfinite(self.interval.low) or p >= 1 - _LEVEL:
            return "unclear"
        if self.interval.low <= 0 <= self.interval.high:
            return "unclear"
        if not self.better:
            return "differs"
        return "better" if self.interval.value * self.better > 0 else "worse"

    def as_dict(self) -> DifferenceRecord:
        """For JSON."""
        i = self.interval
        return {
            "metric": self.name,
            "baseline": self.baseline,
            "candidate": self.candidate,
            "difference": i.value,
            "low": i.low,
            "high": i.high,
            "level": i.level,
            "method": i.method,
            "p": self.p,
            "p_holm": self.p_holm,
            "test": self.test,
            "wins": self.wins,
            "ties": self.ties,
            "losses": self.losses,
            "n": self.n,
            "smallest_effect": self.smallest,
            "too_few": i.too_few,
            "needed": i.needed,
            "verdict": self.verdict,
            "unit": self.unit,
        }


def points(value: float, *, share: bool, unit: str = "", signed: bool = True, named: bool = False) -> str:
    """A difference as people say it: in points where the metric is a share, with that word where they are ``named``."""
    sign = "+" if signed and value > 0 else ""
    if share:
        return f"{sign}{value * 100:.3g}" + (f" point{'s' if f'{value * 100:.3g}' != '1' else ''}" if named else "")
    return f"{sign}{value:.3g}" + (f" {unit}" if unit else "")


def change_words(found: Interval, *, share: bool) -> tuple[str, str]:
    """A difference and its interval, without their unit: points for a share; with decimals in common."""
    change, low, high = (end * 100 if share else end for end in (found.value, found.low, found.high))
    # A difference is known more closely than what it is between, and has digits of its own.
    decimals = places(change, low, high)
    if share:
        decimals = max(decimals, SHARE - 2)
    return fixed(change, decimals, signed=True), interval(low, high, decimals, signed=True)


def interval_words(found: Interval, *, share: bool, unit: str = "") -> str:
    """The interval of a difference with its level and its unit, such as ``95 % [+1.2, +3.4] points``."""
    _, ends = change_words(found, share=share)
    return f"{100 * found.level:.3g} % {ends} {'points' if share else unit}".rstrip()


def difference_sentence(d: Difference) -> str:
    """The verdict on one metric, as a colleague can quote it."""
    size = points(abs(d.interval.value), share=d.share, unit=d.unit, signed=False, named=True)
    sure = f"({interval_words(d.interval, share=d.share, unit=d.unit)}, {d.n:,} paired cases)"
    if not math.isfinite(d.interval.low):
        sure = f"({d.n:,} paired cases, too similar for an interval)"
    if d.interval.too_few:
        text = f"{too_few_to_say(d.interval.needed).capitalize()}; {d.name} differs by {size} {sure}."
    elif d.verdict in {"better", "worse"}:
        text = f"The candidate is {d.verdict} on {d.name} by {size} {sure}."
    elif d.verdict == "differs":
        text = f"The candidate differs on {d.name} by {size} {sure}."
    else:
        seen = points(d.smallest, share=d.share, unit=d.unit, signed=False, named=True)
        found = _at_odds(d) or f"No difference on {d.name} was found {sure}"
        text = f"{found}; less than {seen} may be missed with this number of cases."
    if d.losses:
        text += f" {counted(d.losses, 'case')} got worse."
    return text


def _at_odds(d: Difference) -> str:
    """Why nothing is decided where the test and the interval say different things; empty where they agree.

    The interval is of one metric alone and of another method than the test, so that each may be on either side of its limit.
    """
    if not d.n or d.p is None or d.p_holm is None or not math.isfinite(d.interval.low):
        return ""
    limit = 1 - _LEVEL
    zero = d.interval.low <= 0 <= d.interval.high
    if zero and min(d.p, d.p_holm) >= limit:
        return ""
    told = f"p {d.p:.3g}" if d.p == d.p_holm else f"p {d.p_holm:.3g} corrected for several metrics, {d.p:.3g} before"
    side = "takes in 0" if zero else "is above 0" if d.interval.low > 0 else "is below 0"
    decides = "the interval" if d.p_holm < limit else "p"
    ends = interval_words(d.interval, share=d.share, unit=d.unit)
    return (
        f"Not decided on {d.name}: {told}, though the interval {side} ({ends}, {d.n:,} paired cases); {decides} decides"
    )
