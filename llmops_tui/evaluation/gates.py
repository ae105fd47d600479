"""Gates: rules on the metrics of a run and on differences from a baseline, with their uncertainty."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from llmops_tui.counts import counted
from llmops_tui.evaluation.comparison import Comparison
from llmops_tui.evaluation.difference import Difference, interval_words, points
from llmops_tui.evaluation.records import Figure, RunSummary
from llmops_tui.evaluation.rules import Rule
from llmops_tui.evaluation.statistics.words import too_few_to_say

_HOLDS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
Outcome = Literal["pass", "fail", "unsure"]


class RulingRecord(TypedDict):
    """What a rule says of a run: ``pass``, ``fail`` or ``unsure``, and why."""

    rule: str
    outcome: str
    why: str


@dataclass(frozen=True)
class Ruling:
    """What a rule says of a run, and why."""

    rule: str
    outcome: Outcome
    why: str

    def as_dict(self) -> RulingRecord:
        """For JSON."""
        return {"rule": self.rule, "outcome": self.outcome, "why": self.why}


def judge(rules: Sequence[Rule], summary: RunSummary, comparison: Comparison | None) -> list[Ruling]:
    """What the rules say of a run with this summary, compared with its baseline.

    ``not worse`` fails only where the whole 95 % interval is beyond the margin, so that a candidate which is not worse by more
    is stopped in at most one of twenty evaluations, of skewed scores too; it passes where all of it is within, and is unsure
    otherwise. ``better`` passes only where all of it is above 0. What is too few to say shows nothing.
    """
    return [_judge(rule, summary, comparison) for rule in rules]


def _judge(rule: Rule, summary: RunSummary, comparison: Comparison | None) -> Ruling:
    if rule.kind == "absolute":
        return _absolute(rule, summary)
    if comparison is None:
        return Ruling(rule.text, "fail", "no baseline was given")
    found = next((d for d in comparison.differences if d.name == rule.metric), None)
    if comparison.comparable.refused:
        why = f"not comparable: {'; '.join(comparison.comparable.refused)}"
    elif found is None:
        why = f"{rule.metric} is not measured in both runs"
    elif not found.better:
        why = f"{rule.metric} has no better direction: more of it is neither better nor worse"
    else:
        return _compared(rule, found)
    return Ruling(rule.text, "fail", why)


def _compared(rule: Rule, found: Difference) -> Ruling:
    """What a rule says of a difference from the baseline."""
    low, high = found.interval.low, found.interval.high
    if found.better < 0:
        low, high = -high, -low
    margin = rule.margin * abs(found.baseline) if rule.relative else rule.margin
    told = _told(found)
    if found.interval.too_few:
        return Ruling(
            rule.text, "fail" if rule.kind == "better" else "unsure", f"{told}; {too_few_to_say(found.interval.needed)}"
        )
    if rule.kind == "better":
        return Ruling(rule.text, "pass" if low > 0 else "fail", told)
    if high < -margin:
        return Ruling(rule.text, "fail", told)
    return Ruling(rule.text, "pass" if low > -margin or (margin == 0 and low >= 0) else "unsure", told)


def _told(d: Difference) -> str:
    change = points(d.interval.value, share=d.share, unit=d.unit, named=True)
    if not math.isfinite(d.interval.low):
        same = f"{d.n:,} cases too similar for an interval"
        return f"{d.name} {d.baseline:.4g} to {d.candidate:.4g}: {change}, {same}"
    sure = interval_words(d.interval, share=d.share, unit=d.unit)
    return f"{d.name} {d.baseline:.4g} to {d.candidate:.4g}: {change}, {sure}, n {d.n:,}"


def _absolute(rule: Rule, summary: RunSummary) -> Ruling:
    figure = summary.get("metrics", {}).get(rule.metric)
    if figure is None or figure["mean"] is None:
        return Ruling(rule.text, "fail", f"{rule.metric} is not measured")
    low: float | None
    high: float | None
    if rule.percentile:
        given = figure.get("facts", {}).get(rule.percentile)
        if not isinstance(given, int | float):
            return Ruling(rule.text, "fail", f"{rule.metric} has no {rule.percentile}")
        value, low, high = given, given, given
    else:
        value, low, high = figure["mean"], figure["low"], figure["high"]
    told = f"{rule.metric} {rule.percentile} is {value:.4g}".replace("  ", " ")
    if not rule.percentile and low is not None:
        told += f" (95 % {low:.4g} to {high:.4g}, n {figure['n']:,})"
    if figure["unusable"]:
        told += f"; {counted(figure['unusable'], 'answer')} without a score"
    if rule.surely and not rule.percentile and figure["too_few"]:
        return Ruling(rule.text, "fail", f"{told}; {too_few_to_say(figure['needed'])}")
    checked = value
    if rule.surely and low is not None and high is not None:
        checked = low if rule.sign.startswith(">") else high
    if not _HOLDS[rule.sign](checked, rule.limit):
        return Ruling(rule.text, "fail", told)
    if figure["unusable"] and not _holds_without(rule, figure, checked):
        return Ruling(rule.text, "unsure", f"{told}, which could decide otherwise")
    return Ruling(rule.text, "pass", told)


def _holds_without(rule: Rule, figure: Figure, checked: float) -> bool:
    """Whether a rule holds whatever the scores would be that are missing; of what has no limits nobody knows."""
    if rule.percentile or not figure["binary"]:
        return False
    worst = 0.0 if rule.sign.startswith(">") else 1.0
    count = figure["n"] + figure["unusable"]
    return bool(_HOLDS[rule.sign]((checked * figure["n"] + worst * figure["unusable"]) / count, rule.limit))


def passes(rulings: Sequence[Ruling], *, strict: bool = False) -> bool:
    """Whether the gate opens; a strict one also wants to be sure."""
    return all(r.outcome == "pass" or (r.outcome == "unsure" and not strict) for r in rulings)
