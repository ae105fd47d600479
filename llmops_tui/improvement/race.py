"""Racing: candidates are asked more and more rows, and at each stage the better half goes on (successive halving).

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", 2016. The seed is no runner:
it is asked all rows, because the winner is held against it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from llmops_tui.improvement.candidates import Candidate

FIRST_ROWS = 16

Score = Callable[[Candidate, Sequence[str]], Awaitable[Sequence[float | None]]]


def stages(rows: int) -> list[int]:
    """How many rows have been asked at the end of each stage: an eighth of them, at least 16, then twice as many each time."""
    found = [min(rows, max(FIRST_ROWS, math.ceil(rows / 8)))]
    while found[-1] < rows:
        found.append(min(rows, 2 * found[-1]))
    return found


def cost(candidates: int, rows: int) -> int:
    """The calls of a race of so many candidates over so many rows, with the seed's."""
    asked, alive, before = rows, candidates, 0
    for number, end in enumerate(stages(rows)):
        asked += alive * (end - before)
        before = end
        if number < len(stages(rows)) - 1:
            alive = math.ceil(alive / 2)
    return asked


@dataclass
class Runner:
    """A candidate in a race: its scores so far, in the order of the rows."""

    candidate: Candidate
    scores: list[float | None] = field(default_factory=list)
    out_after: int = 0

    def mean(self, better: int) -> float:
        """The mean of its scores, more being better; rows without a score are left out."""
        known = [score for score in self.scores if score is not None]
        return better * float(np.mean(known)) if known else -math.inf


@dataclass
class Race:
    """All that ran, and who won; no winner where the race was stopped before its end, or nobody ran."""

    seed: Runner
    runners: list[Runner]
    winner: Runner | None = None
    stopped: str = ""


async def race(
    seed: Candidate,
    candidates: Sequence[Candidate],
    rows: Sequence[str],
    score: Score,
    *,
    better: int,
    may: Callable[[int, int], str],
) -> Race:
    """Race candidates over rows, given by their keys in an order that says nothing.

    ``may`` is asked before each stage with its number and its calls, and says why the race has to stop, if it has to. Of equal
    means the shorter one goes on.
    """
    found = Race(Runner(seed), [Runner(candidate) for candidate in candidates])
    alive, before, ends = list(found.runners), 0, stages(len(rows))
    if not alive:
        return found
    for number, end in enumerate(ends):
        part = rows[before:end]
        if stopped := may(number, (len(alive) + 1) * len(part)):
            found.stopped = stopped
            return found
        for runner in (found.seed, *alive):
            runner.scores += await score(runner.candidate, part)
        alive.sort(key=lambda r: (-r.mean(better), r.candidate.words, r.candidate.number))
        if number < len(ends) - 1:
            keep = math.ceil(len(alive) / 2)
            for runner in alive[keep:]:
                runner.out_after = end
            alive = alive[:keep]
        before = end
    found.winner = alive[0]
    return found
