"""Records of people's grades and votes, as commands and screens show them."""

from __future__ import annotations

from typing import TypedDict


class Kappas(TypedDict):
    """Cohen's kappa of two graders over ``n`` answers, plain and with quadratic weights; none where it is not defined."""

    n: int
    kappa: float | None
    kappa_quadratic: float | None


class Alphas(TypedDict):
    """Krippendorff's alpha by what of the grades counts: that they differ, their order, their distance."""

    nominal: float | None
    ordinal: float | None
    interval: float | None


class GradeAgreement(TypedDict):
    """How far people agree about one criterion, and a judge with them.

    ``graders`` has how many answers each graded, ``pairs`` each two of them, ``judge`` the metric's agreement with each, and
    ``judge_mean`` with the mean of their grades.
    """

    criterion: str
    scale: list[int]
    graders: dict[str, int]
    answers: int
    with_several: int
    alpha: Alphas
    pairs: dict[str, Kappas]
    metric: str
    judge: dict[str, Kappas]
    judge_mean: Kappas | None


class RankRecord(TypedDict):
    """A run by people's votes: strength in log-odds above the mean of all runs, and the chance to win over the first."""

    run: str
    column: str
    votes: int
    strength: float | None
    low: float | None
    high: float | None
    chance: float | None
    chance_low: float | None
    chance_high: float | None


class Ranking(TypedDict):
    """Runs by the votes between them, the best first; ``reason`` where there are no strengths."""

    criterion: str
    graders: dict[str, int]
    votes: int
    ties: int
    cases: int
    runs: list[RankRecord]
    alpha: float | None
    reason: str
