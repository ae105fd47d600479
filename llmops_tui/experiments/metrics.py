"""What an experiment is decided by: ratings, whether requests were answered, or a metric that needs nothing but answers."""

from __future__ import annotations

from dataclasses import dataclass

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Answer, Case, Metric
from llmops_tui.evaluation.metrics.registry import METRICS, make_metric
from llmops_tui.experiments.records import Exchange
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.experiments.records import ANSWERED, RATING, Kind

_NO_CASE = Case(0, "")


@dataclass(frozen=True)
class Decider:
    """A metric of exchanges from 0 to 1, of which more is better; ``entry`` is how it is kept."""

    name: str
    entry: JsonObject
    metric: Metric | None = None

    @property
    def two_valued(self) -> bool:
        """Whether its scores are 0 or 1."""
        return self.metric is None or self.metric.binary

    def score(self, exchange: Exchange) -> float | None:
        """The score of one answer, none where it cannot be said."""
        if self.entry == RATING:
            return exchange.rating
        if self.entry == ANSWERED:
            return None if exchange.failed is None else float(not exchange.failed)
        assert self.metric is not None
        if exchange.failed is not False:
            return None
        case = Case(0, exchange.trace, messages=exchange.messages)
        value = self.metric.score(case, Answer(text=exchange.output, asked=exchange.messages)).value
        if value is None:
            return None
        return float(value) if self.metric.better > 0 else 1.0 - float(value)


def decider(entry: JsonObject, kind: Kind) -> Decider:
    """The metric of an experiment of this kind, from how it is written: ``rating``, ``answered``, or as a suite writes it.

    Raises:
        InputRefusedError: ``bad_metric``: it is not known, has no scores from 0 to 1, or needs what traffic does not have.
    """
    name = str(entry.get("type", ""))
    if entry in (RATING, ANSWERED):
        if kind == "shadow" and entry == RATING:
            told = "metric: rating: users see the answers of A alone, and rate no shadow"
            raise InputRefusedError("bad_metric", told, f"Name a metric of answers: {_usable()}.")
        return Decider(name, entry)
    metric = make_metric(entry, "metric")
    # What has no score of any answer lacks a setting, such as the text that answers are to contain.
    why = _unfit(metric) or (
        "" if (tried := metric.score(_NO_CASE, Answer(text="x"))).value is not None else tried.reason
    )
    if why:
        raise InputRefusedError("bad_metric", f"metric: {name}: {why}", f"Use rating, answered, or {_usable()}.")
    return Decider(metric.name or name, entry, metric)


def _unfit(metric: Metric | type[Metric]) -> str:
    if metric.needs_expected or metric.needs_choices or metric.needs_logprob:
        return "traffic says not what it compares with"
    if not (metric.binary or metric.share) or metric.whole_set or not metric.better:
        return "its scores are not from 0 to 1, the more the better"
    if not metric.plain:
        return "it is scored in a process with limits, and not while requests are looked at"
    return ""


def _usable() -> str:
    return ", ".join(sorted(name for name, kind in METRICS.items() if not _unfit(kind)))
