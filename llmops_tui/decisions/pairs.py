"""Two answers to the same question, of which one is better: the exact evidence on discordant pairs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from llmops_tui.decisions.numbers import Floats, log_beta

# Both parameters of the mixture over how often B wins: most of it between 0.3 and 0.7, where decisions are hard.
PRIOR = 10.0


def discordant_evidence(wins: npt.ArrayLike, losses: npt.ArrayLike, prior: float = PRIOR) -> Floats:
    """The evidence that B wins more, or less, than half of the pairs that differ; of counts in any shape, in that shape.

    E = B(wins + a, losses + a) / B(a, a) · 2^(wins + losses): the likelihood under a beta mixture over the share of wins
    against that under one half. Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of
    Mathematical Statistics 41, 1970; as a test of a coin: Ramdas et al. 2023, section 4. It is exact.

    Assumes one sign a conversation, and that conversations do not depend on each other. Pairs that are alike say nothing.
    """
    won, lost = np.asarray(wins, np.float64), np.asarray(losses, np.float64)
    return log_beta(won + prior, lost + prior) - log_beta(prior, prior) + (won + lost) * math.log(2)


def win_rate_sequence(wins: int, losses: int, level: float = 0.95) -> tuple[float, float]:
    """The shares of wins among pairs that differ that the evidence does not exclude: right at all looks together.

    Where there is no such pair it is 0 to 1. By the same mixture, whose evidence is least at the share that was seen.
    """
    n = wins + losses
    if not n:
        return 0.0, 1.0
    share, limit = wins / n, -math.log(1 - level)
    mixture = float(log_beta(wins + PRIOR, losses + PRIOR) - log_beta(PRIOR, PRIOR))

    def excluded(rate: float) -> bool:
        if rate <= 0 or rate >= 1:
            return True
        return mixture - wins * math.log(rate) - losses * math.log1p(-rate) > limit

    def end(outer: float) -> float:
        inside, outside = share, outer
        # With few pairs not even the share that was seen is as likely as the mixture has it; it is never left out.
        for _ in range(60):
            middle = (inside + outside) / 2
            if excluded(middle):
                outside = middle
            else:
                inside = middle
        return outside

    return (0.0 if wins == 0 else end(0.0)), (1.0 if losses == 0 else end(1.0))
