"""Records of what is known of a run before it is made: power, cost and contamination."""

from __future__ import annotations

from typing import TypedDict

from llmops_tui.evaluation.records import OverlapFacts


class PowerRecord(TypedDict):
    """What so many cases can show of one metric.

    ``needed`` cases show ``effect`` in 80 % of all comparisons, and ``cases`` show ``smallest``; none where that is out of
    reach. ``correlation`` is that of two runs over the same cases, and ``differing`` the share of cases that they answered
    with another verdict; ``measured`` names the runs, and is empty where both are assumed.
    """

    metric: str
    binary: bool
    cases: int
    effect: float
    needed: int | None
    smallest: float | None
    correlation: float | None
    differing: float | None
    spread: float
    measured: list[str]
    basis: str


class CostPlan(TypedDict):
    """What a case took in an earlier run, and so what all of them will; none where nothing was measured."""

    measured: str
    seconds_per_case: float | None
    tokens_per_case: float | None
    joules_per_case: float | None
    seconds: float | None
    tokens: float | None
    joules: float | None
    energy: str
    note: str


class PlanRecord(TypedDict):
    """What is known before a run of a suite on a model."""

    suite: str
    model: str
    cases: int
    of: int
    power: list[PowerRecord]
    cost: CostPlan
    overlap: OverlapFacts
