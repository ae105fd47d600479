"""How far a model's distribution over next tokens has moved, from the likeliest tokens that two builds tell: figures alone.

At each token of a recorded answer two distributions P (then) and Q (now) are known in part: the log-probabilities of the
likeliest tokens, and so what is left for all others together. Taken are the tokens that both told, each by itself, and all
others as one. By the data processing inequality (Cover and Thomas, *Elements of Information Theory*, 2006, theorem 2.8.1 for
divergences) the divergence of what is taken together is at most that of the whole: KL(P ‖ Q) of the whole vocabulary is this
figure or more, and nothing is said of how the tokens beyond moved among each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from llmops_tui.evaluation.statistics.intervals import mean_interval
from llmops_tui.evaluation.statistics.student import t_quantile

Tops = Mapping[str, float]
"""The natural log-probabilities of the likeliest tokens at one place, by their text; the answer's own token is among them."""
_LEVEL, _POWER = 0.95, 0.8
# Figures of a model are rounded to some seven digits, and a mass that is smaller is not told from none.
RESOLUTION = 1e-6
_LEAST_MASS = 1e-9
# A token of half a character stands for several.
_HALF = "\ufffd"


class ShiftRecord(TypedDict):
    """As JSON; divergences in nats a token of the answers, the mean over canaries. ``changed`` is none where nothing can be said.

    ``rest`` is the mean share of the probability that the tokens beyond those told have. ``noise`` is what two looks at the
    recorded build differed by, which is taken off. ``smallest`` would have been seen in four of five cases. ``left_out`` are
    canaries beyond the most that are looked at, or without a text. ``fresh``: it was recorded just now, so nothing can be said.
    """

    recorded_by: str
    now: str
    recorded_at: float
    canaries: int
    left_out: int
    tokens: int
    mean: float
    low: float | None
    high: float | None
    noise: float
    smallest: float | None
    rest: float
    changed: bool | None
    fresh: bool
    seconds: float
    retokenized: int


@dataclass(frozen=True)
class Moved:
    """Of one canary: nats a token beyond what noise is, the noise, the mass of the rest, and how many tokens."""

    divergence: float
    noise: float
    rest: float
    tokens: int


def divergence_of(before: Tops, after: Tops) -> tuple[float, float]:
    """A lower bound of KL(P ‖ Q) in nats at one place, and the share of P that is told by no token of its own."""
    shared = [name for name in before if name in after and _HALF not in name]
    total, p_rest, q_rest = 0.0, 1.0, 1.0
    for name in shared:
        p, q = math.exp(before[name]), math.exp(after[name])
        total += p * (before[name] - after[name])
        p_rest -= p
        q_rest -= q
    p_rest, q_rest = max(0.0, p_rest), max(_LEAST_MASS, q_rest)
    if p_rest > _LEAST_MASS:
        total += p_rest * math.log(p_rest / q_rest)
    return max(0.0, total), p_rest


def moved(recorded: Sequence[Tops], again: Sequence[Tops], now: Sequence[Tops]) -> Moved:
    """Of one canary: ``recorded`` and ``again`` are two looks at the recorded build, ``now`` is one at the present one."""
    pairs = [divergence_of(p, q) for p, q in zip(recorded, now, strict=True)]
    noise = [divergence_of(p, q)[0] for p, q in zip(recorded, again, strict=True)]
    return Moved(
        float(np.mean([one for one, _ in pairs])),
        float(np.mean(noise)),
        float(np.mean([rest for _, rest in pairs])),
        len(pairs),
    )


@dataclass(frozen=True)
class Shift:
    """The mean over canaries with its interval, as :class:`ShiftRecord` has it."""

    found: tuple[Moved, ...]

    @property
    def _beyond(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([one.divergence - one.noise for one in self.found], np.float64)

    @property
    def mean(self) -> float:
        """Nats a token."""
        return float(self._beyond.mean()) if self.found else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """By Student's distribution over canaries; where all are alike, that one figure, as far as figures are told."""
        values = self._beyond
        if len(values) < 2:
            return math.nan, math.nan
        if float(np.ptp(values)) <= RESOLUTION:
            return float(values.min()) - RESOLUTION, float(values.max()) + RESOLUTION
        found = mean_interval(values, level=_LEVEL, bounds=(0.0, math.inf) if self.still else None)
        return found.low, found.high

    @property
    def still(self) -> bool:
        """Whether two looks at the recorded build gave the same figures, as those of one build on one machine do."""
        return all(one.noise <= RESOLUTION for one in self.found)

    @property
    def changed(self) -> bool | None:
        """Whether anything moved; none of fewer than two canaries, of which nothing can be said.

        Where the recorded build gave the same figures twice, any other one is a change, as any other answer is; else the mean has
        to be surely above the noise.
        """
        low, _ = self.interval
        if math.isnan(low):
            return None
        return low > 0 or (self.still and any(one.divergence > RESOLUTION for one in self.found))

    @property
    def smallest(self) -> float | None:
        """The mean shift that would have been seen in four of five cases, in nats a token; without noise any that is told."""
        if len(self.found) < 2:
            return None
        if self.still:
            return RESOLUTION
        error = float(self._beyond.std(ddof=1)) / math.sqrt(len(self.found))
        degrees = len(self.found) - 1
        return max(RESOLUTION, (t_quantile((1 + _LEVEL) / 2, degrees) + t_quantile(_POWER, degrees)) * error)


def told_of(one: ShiftRecord) -> str:
    """A shift in a sentence."""
    cost = f"{one['canaries']:,} answers, {one['tokens']:,} tokens, {one['seconds']:.1f} s"
    if one["fresh"]:
        return f"probabilities were recorded with {one['now']}: what comes later is held against them ({cost})"
    if one["changed"] is None:
        why = f"{one['canaries']} answers are too few to say" if one["canaries"] else "no answer has a text"
        return f"probabilities: {why}"
    builds = "" if one["recorded_by"] == one["now"] else f"; recorded by {one['recorded_by']}, now {one['now']}"
    spread = f"{one['low']:.2g} to {one['high']:.2g}"
    rest = f"{1 - one['rest']:.1%} of the probability is in tokens that both tell"
    if not one["changed"]:
        surely = "" if one["noise"] <= RESOLUTION else " in four of five cases"
        said = f"no shift of probabilities was seen; {one['smallest']:.2g} nats a token would have been{surely}"
        return f"{said} ({rest}; {cost}){builds}"
    return f"probabilities shifted by at least {one['mean']:.2g} nats a token ({spread}; {rest}; {cost}){builds}"
