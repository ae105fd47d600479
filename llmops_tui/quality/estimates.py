"""The shares that checks find in all traffic, with their intervals, what they rest on, and what they cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypedDict

import numpy as np

from llmops_tui.decisions.prediction_powered import FEWEST, Estimate, Stratum, estimate
from llmops_tui.quality.sampling import Drawn, Sample, read_exchanges

if TYPE_CHECKING:
    from llmops_tui.errors import LlmopsError
    from llmops_tui.quality.checks import Check
    from llmops_tui.quality.labels import LabelStore
    from llmops_tui.workspace.catalog import Catalog

_BATCH = 200
_SHOWN = 20


class QualityRecord(TypedDict):
    """What a check found, as ``--json`` has it.

    ``value`` with ``low`` and ``high`` is the share of all traffic that it applies to; ``method`` says what it rests on: labels
    and the check, labels alone, or the check alone, which may err. ``ms`` is what an answer costs. ``more`` is about how many
    further labels make the interval half as wide.
    """

    check: str
    about: str
    value: float | None
    low: float
    high: float
    level: float
    method: str
    judged: int
    labels: int
    weight: float
    applies: int
    ms: float
    more: int | None
    traces: list[str]


class Named(Protocol):
    """What found something: a check, or a judge."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def about(self) -> str:
        """What it counts."""


@dataclass(frozen=True)
class Found:
    """A check over a sample: the estimate, to how many answers it applied, its cost, and the first traces that it found."""

    check: Named
    estimate: Estimate
    applies: int
    seconds: float
    looked: int
    traces: tuple[str, ...]

    @property
    def more(self) -> int | None:
        """About how many further labels would make the interval half as wide; none where there are no labels yet."""
        return 3 * self.estimate.labels if self.estimate.labels else None

    @property
    def ms(self) -> float:
        """What one answer costs, in milliseconds."""
        return 1000 * self.seconds / self.looked if self.looked else 0.0

    @property
    def told(self) -> str:
        """In a sentence."""
        one = self.estimate
        if math.isnan(one.value):
            return f"{self.check.name}: nothing that it applies to"
        shares = f"{self.check.name} {one.value:.1%} ({one.low:.1%} to {one.high:.1%})"
        if one.method == "check":
            return f"{shares} by the check alone, which may err; {FEWEST} labels of each kind correct it"
        rest = f", and {one.judged - one.labels:,} that the check judged" if one.method == "labels and check" else ""
        return f"{shares}, from {one.labels:,} of your labels{rest}"

    def as_dict(self) -> QualityRecord:
        """For JSON."""
        one = self.estimate
        return {
            "check": self.check.name,
            "about": self.check.about,
            "value": None if math.isnan(one.value) else one.value,
            "low": one.low,
            "high": one.high,
            "level": one.level,
            "method": one.method,
            "judged": one.judged,
            "labels": one.labels,
            "weight": one.weight,
            "applies": self.applies,
            "ms": self.ms,
            "more": self.more,
            "traces": list(self.traces),
        }


@dataclass(frozen=True)
class Looked:
    """What checks found, in their order; and of the traces that cannot be read, by id, what is wrong with each.

    ``without_passages`` counts those of which an index has not all passages any more, by which they could be judged.
    """

    found: tuple[Found, ...]
    damaged: Mapping[str, LlmopsError]
    without_passages: int = 0


def look(
    catalog: Catalog,
    sample: Sample,
    checks: Sequence[Check],
    labels: LabelStore,
    *,
    seconds: float = math.inf,
    report: Callable[[float], None] = lambda _share: None,
) -> Looked:
    """Judge a sample by checks, and estimate what each would find in all traffic.

    ``seconds`` bounds the time of judging; what was not reached by then is not judged, and the estimate is wider for it. Labelled
    answers are judged first. Strata are judged evenly, so that whichever is left out, the rest was drawn by chance. Answers that
    cannot be read are not judged, and named.
    """
    given = {check.name: labels.of(check.name) for check in checks}
    stream = set(sample.stream)
    order = order_of(sample, sorted({trace for one in given.values() for trace in one if trace in stream}))
    judged: dict[str, dict[str, float | None]] = {check.name: {} for check in checks}
    spent = dict.fromkeys(judged, 0.0)
    damaged: dict[str, LlmopsError] = {}
    without_passages = 0
    begun = time.monotonic()
    for start in range(0, len(order), _BATCH):
        if time.monotonic() - begun > seconds:
            break
        exchanges = read_exchanges(catalog, order[start : start + _BATCH])
        damaged |= exchanges.damaged
        without_passages += sum(one.passages is None for one in exchanges.found.values())
        for check in checks:
            at = time.perf_counter()
            judged[check.name] |= {trace: check.judge(one) for trace, one in exchanges.found.items()}
            spent[check.name] += time.perf_counter() - at
        report(min(1.0, (start + _BATCH) / len(order)))
    found = [found_of(check, sample, judged[check.name], given[check.name], spent[check.name]) for check in checks]
    return Looked(tuple(found), damaged, without_passages)


def _evenly(strata: Sequence[Drawn]) -> list[str]:
    """The drawn traces, so that every beginning of them has of each stratum its share."""
    placed = [
        ((number + 0.5) / len(one.traces), one.stratum, trace)
        for one in strata
        for number, trace in enumerate(one.traces)
    ]
    return [trace for _, _, trace in sorted(placed)]


def order_of(sample: Sample, labelled: Sequence[str]) -> list[str]:
    """In which order answers are judged: those that are labelled, then the drawn ones so that any beginning is a fair sample."""
    first = set(labelled)
    return [*labelled, *(trace for trace in _evenly(sample.strata) if trace not in first)]


def found_of(
    check: Named, sample: Sample, judged: dict[str, float | None], labels: dict[str, float], seconds: float
) -> Found:
    """What values by trace say of all traffic, none of those that the check does not apply to; with a person's labels."""
    strata, applies, hits = [], 0, list[str]()
    place = {trace: one.stratum for one in sample.strata for trace in one.traces}
    by_label: dict[str, list[str]] = {}
    for trace in labels:
        if judged.get(trace) is not None:
            by_label.setdefault(place.get(trace, ""), []).append(trace)
    for one in sample.strata:
        values = {trace: value for trace in one.traces if (value := judged.get(trace)) is not None}
        looked = sum(trace in judged for trace in one.traces)
        said = [trace for trace in by_label.get(one.stratum, ()) if trace in values]
        applies += len(values)
        hits += [trace for trace, value in values.items() if value > 0]
        if values:
            # How much of the stratum it applies to is known from the same draw.
            size = one.size * len(values) / max(1, looked)
            rest = np.array([value for trace, value in values.items() if trace not in labels])
            strata.append(Stratum(size, rest, np.array([values[t] for t in said]), np.array([labels[t] for t in said])))
    return Found(check, estimate(strata), applies, seconds, len(judged), tuple(hits[:_SHOWN]))


def to_label(sample: Sample, labels: LabelStore, check: str, count: int) -> list[str]:
    """The next answers to label, in the order of chance."""
    known = labels.of(check)
    return [trace for trace in sample.stream if trace not in known][:count]
