"""Strengths from votes between two and two: the model of Bradley and Terry, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmops_tui.evaluation.statistics.student import t_quantile

_ROUNDS = 200


@dataclass(frozen=True)
class Contest:
    """A vote between two players, by their numbers: ``share`` is 1 if the first won, 0 if the second did, 0.5 for a tie.

    Votes of one ``cluster``, such as those on one case, are not independent.
    """

    first: int
    second: int
    share: float
    cluster: int


@dataclass(frozen=True)
class Strengths:
    """What each player is worth, in log-odds above their mean.

    ``covariance`` has shape (players, players); ``degrees`` are those of Student's distribution. Without figures ``reason``
    says why: then some player never won, or never lost, against the others. ``least``, of the same shape, is the covariance
    that so many votes have by the model itself: no interval is narrower than by it.
    """

    values: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    degrees: int
    reason: str = ""
    least: npt.NDArray[np.float64] | None = None

    def interval(self, player: int, level: float = 0.95) -> tuple[float, float]:
        """The ends of the interval of a player's strength."""
        at = np.zeros(len(self.values))
        at[player] = 1.0
        return self._ends(float(self.values[player]), self._variance(at), level)

    def chance(self, one: int, other: int, level: float = 0.95) -> tuple[float, float, float]:
        """The probability that one wins over another, with its interval, which is that of the log-odds."""
        between = np.zeros(len(self.values))
        between[one], between[other] = 1.0, -1.0
        gap = float(self.values[one] - self.values[other])
        low, high = self._ends(gap, self._variance(between), level)
        return _chance(gap), _chance(low), _chance(high)

    def _variance(self, weights: npt.NDArray[np.float64]) -> float:
        """That of a weighted sum of strengths."""
        own = float(weights @ self.covariance @ weights)
        return own if self.least is None else max(own, float(weights @ self.least @ weights))

    def _ends(self, value: float, variance: float, level: float) -> tuple[float, float]:
        if self.degrees < 1:
            return math.nan, math.nan
        half = t_quantile((1 + level) / 2, self.degrees) * math.sqrt(max(0.0, variance))
        return value - half, value + half


def _chance(odds: float) -> float:
    # As 1 / (1 + exp(-odds)), which overflows where the interval of few votes is wide.
    return (1 + math.tanh(odds / 2)) / 2


def bradley_terry(contests: Sequence[Contest], players: int) -> Strengths:
    """The strengths of players by the votes between them; a tie counts as half a win of each.

    Bradley and Terry, "Rank Analysis of Incomplete Block Designs", Biometrika 39, 1952, by Newton's method. The covariance
    is the sandwich over clusters with its factor G / (G - 1) (Liang and Zeger 1986): several people's votes on one case count
    as what they are. Of votes that are alike, such as ties alone, the sandwich is zero, and of few it is often too small; so the
    larger of it and of the model's own covariance counts (Angrist and Pischke, "Mostly Harmless Econometrics", 2009,
    section 8.1). There is a finite solution where each half of the players won something against the other half
    (Ford, "Solution of a Ranking Problem from Binary Comparisons", 1957).
    """
    zero = np.zeros(players)
    nothing = np.full((players, players), math.nan)
    clusters = {contest.cluster for contest in contests}
    if reason := _undetermined(contests, players):
        return Strengths(np.full(players, math.nan), nothing, 0, reason)
    design = np.zeros((len(contests), players))
    share = np.array([c.share for c in contests])
    for row, contest in enumerate(contests):
        design[row, contest.first], design[row, contest.second] = 1.0, -1.0
    values = zero
    for _ in range(_ROUNDS):
        chance = 1 / (1 + np.exp(-design @ values))
        information = design.T @ (design * (chance * (1 - chance))[:, None])
        step = _inverse(information) @ (design.T @ (share - chance))
        # Whole steps may leap too far while chances are near 0 or 1.
        values = values + step / max(1.0, float(np.abs(step).max()))
        if float(np.abs(step).max()) < 1e-12:
            break
    chance = 1 / (1 + np.exp(-design @ values))
    bread = _inverse(design.T @ (design * (chance * (1 - chance))[:, None]))
    known = {name: i for i, name in enumerate(sorted(clusters))}
    scores = np.zeros((len(known), players))
    np.add.at(scores, [known[c.cluster] for c in contests], design * (share - chance)[:, None])
    count = len(known)
    factor = count / (count - 1) if count > 1 else math.nan
    sandwich = bread @ (scores.T @ scores) @ bread * factor
    return Strengths(values - values.mean(), sandwich, count - 1, least=bread * factor)


def _inverse(information: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The inverse beside the direction in which all strengths move together, which no vote says anything about.

    Rounding leaves a little there, which must not be taken for information: its inverse would drown the rest.
    """
    return np.asarray(np.linalg.pinv(information, rcond=1e-10, hermitian=True))


def _undetermined(contests: Sequence[Contest], players: int) -> str:
    """Why there are no finite strengths; nothing where there are: everybody can be reached from everybody along wins."""
    won: list[set[int]] = [set() for _ in range(players)]
    for contest in contests:
        if contest.share > 0:
            won[contest.first].add(contest.second)
        if contest.share < 1:
            won[contest.second].add(contest.first)
    lost: list[set[int]] = [{i for i in range(players) if player in won[i]} for player in range(players)]
    if not contests:
        return "there are no votes"
    for reach, what in ((won, "won nothing"), (lost, "lost nothing")):
        seen, waiting = {0}, [0]
        while waiting:
            for other in reach[waiting.pop()] - seen:
                seen.add(other)
                waiting.append(other)
        if len(seen) < players:
            return f"some runs {what} against the others: there is no finite strength yet"
    return ""
