"""The statistics of an improvement: whether a sealed part may be opened, and what it says once it was.

Only the sealed part says whether a prompt is better. The best of several equal candidates looks better on the rows that it
was chosen by, however it was chosen, so those rows decide nothing but who is asked the sealed ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmops_tui.evaluation.statistics.bootstrap import Floats, Interval
from llmops_tui.evaluation.statistics.clusters import numbered
from llmops_tui.evaluation.statistics.intervals import difference_interval
from llmops_tui.evaluation.statistics.significance import mcnemar_exact, sign_flip, smallest_effect
from llmops_tui.evaluation.statistics.studentised import FEWEST

ERROR = 0.05
"""The chance that any look at the same sealed rows, of all that there will ever be, finds a difference that is not there."""
SPENT = 0.8
"""The share of what is left of it that a look spends: the first is the one that is meant."""
OPENED_AT = 0.25
"""The corrected p-value, one-sided, up to which the best candidate is worth a look at the sealed rows.

It decides no claim, so it need not be small; of runs whose candidates are all equal at most so many open their sealed part.
"""

Scores = Sequence[float | None]


@dataclass(frozen=True)
class Paired:
    """Two prompts on the same rows, the seed first; rows that one of them has no score for are left out, and counted.

    ``differences`` are signed so that above 0 the candidate is better; ``clusters`` are of rows that ask nearly the same.
    """

    seed: Floats
    candidate: Floats
    differences: Floats
    groups: tuple[str, ...]
    left_out: int

    @property
    def n(self) -> int:
        """The rows that both have a score for."""
        return len(self.differences)

    @property
    def binary(self) -> bool:
        """Whether all scores are 0 or 1."""
        return bool(np.isin(self.seed, (0.0, 1.0)).all() and np.isin(self.candidate, (0.0, 1.0)).all())

    @property
    def wins(self) -> int:
        """The rows on which the candidate is better."""
        return int((self.differences > 0).sum())

    @property
    def losses(self) -> int:
        """The rows on which the seed is better."""
        return int((self.differences < 0).sum())

    def p(self) -> float:
        """The two-sided p-value: McNemar's exact test of rows that are right or wrong, else the paired permutation test."""
        if not self.n:
            return 1.0
        clusters = numbered(self.groups)
        if self.binary and clusters is None:
            return mcnemar_exact(self.wins, self.losses)
        return sign_flip(self.differences, clusters)


def paired(seed: Scores, candidate: Scores, groups: Sequence[str], better: int = 1) -> Paired:
    """Scores of the same rows, shape (rows,), side by side; ``better`` is -1 where less is better."""
    both = [n for n, (a, b) in enumerate(zip(seed, candidate, strict=True)) if a is not None and b is not None]
    one = np.array([seed[n] for n in both], np.float64)
    other = np.array([candidate[n] for n in both], np.float64)
    return Paired(one, other, (other - one) * better, tuple(groups[n] for n in both), len(seed) - len(both))


def worth_a_look(found: Paired, candidates: int) -> float:
    """The p-value that the candidate is better, one-sided, corrected for having been chosen among so many (Bonferroni).

    Of rows on which it was not better, 1. Whoever was dropped on the way counts: without that the best of many equal ones
    would pass as often as there are candidates.
    """
    if not found.n or float(found.differences.mean()) <= 0:
        return 1.0
    return min(1.0, found.p() / 2 * max(1, candidates))


@dataclass(frozen=True)
class Judged:
    """What the sealed rows say of one candidate.

    Attributes:
        interval: of the mean difference, at a level that the number of looks at these rows makes stricter.
        smallest: the smallest true difference that so many rows would have shown in 80 % of all runs.
        look: 1 where nobody looked at any of these rows before.
    """

    paired: Paired
    interval: Interval
    p: float
    smallest: float
    look: int

    @property
    def better(self) -> bool:
        """Whether an improvement is claimed: the interval is above 0, and the exact test agrees."""
        i = self.interval
        return not i.too_few and math.isfinite(i.low) and i.low > 0 and self.p < 1 - i.level

    @property
    def worse(self) -> bool:
        """Whether the candidate is worse, by the same rule."""
        i = self.interval
        return not i.too_few and math.isfinite(i.high) and i.high < 0 and self.p < 1 - i.level


def level_of(look: int) -> float:
    """The level of the interval of the n-th look at the same sealed rows: 96 %, then 99.2 %, 99.84 % and so on.

    Each look spends four fifths of what is left of 5 %, so that all looks together, however many, err in 5 % at the most
    (alpha spending, by Bonferroni's inequality). That holds for candidates that nobody chose by the sealed rows themselves.
    """
    return 1 - ERROR * SPENT * (1 - SPENT) ** (max(1, look) - 1)


def judge(found: Paired, look: int = 1, level: float | None = None) -> Judged:
    """The verdict of the sealed rows on one candidate, which was chosen without them.

    ``level`` is that of the interval, where it is not the one of the look.
    The interval is Tango's score interval for rows that are right or wrong, else Student's, of groups where there are any.
    """
    level = level_of(look) if level is None else level
    clusters = numbered(found.groups)
    if found.n < 2:
        nothing = Interval(math.nan, math.nan, math.nan, level, "none: fewer than two rows", needed=f"{FEWEST} cases")
        return Judged(found, nothing, 1.0, math.nan, look)
    shares = max(found.seed.max(), found.candidate.max()) <= 1 and min(found.seed.min(), found.candidate.min()) >= 0
    bounds = (0.0, 1.0) if shares else None
    interval = difference_interval(found.differences, clusters, binary=found.binary, level=level, bounds=bounds)
    return Judged(found, interval, found.p(), smallest_effect(found.differences, clusters, level=level), look)
