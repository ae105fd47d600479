"""What a run of rewards learned: its rewards on the held-out rows before its first step and at its last, with intervals."""

from __future__ import annotations

import math
from typing import TypedDict

from llmops_tui.training.history import History

_NORMAL = 1.96
_PREFIX = "eval_rewards/"


class Learned(TypedDict):
    """A figure of the held-out rows' greedy answers at the first evaluation and at the last, with 95 % intervals.

    The intervals are of the mean over rows, by the normal approximation.
    """

    name: str
    before: float
    before_interval: tuple[float, float]
    after: float
    after_interval: tuple[float, float]


def reward_names(history: History) -> list[str]:
    """The rewards that a run measured, in their order."""
    ends = "/mean"
    return [
        name[len("rewards/") : -len(ends)] for name in history.series if name.startswith("rewards/") and ends in name
    ]


def learned(history: History) -> list[Learned]:
    """The reward and its parts before and after; nothing of a run without two evaluations of rewards."""
    if len(history.series.get("eval_reward", {})) < 2:
        return []
    names = [("reward", "eval_reward", "eval_reward_se")]
    names += [(name, f"{_PREFIX}{name}", f"{_PREFIX}{name}/se") for name in reward_names(history)]
    found: list[Learned] = []
    for name, key, error in names:
        values, errors = history.series.get(key, {}), history.series.get(error, {})
        if not values:
            continue
        first, last = min(values), max(values)
        ends = [_interval(values[at], errors.get(at, math.nan)) for at in (first, last)]
        found.append(
            {
                "name": name,
                "before": values[first],
                "before_interval": ends[0],
                "after": values[last],
                "after_interval": ends[1],
            }
        )
    return found


def learned_told(history: History) -> list[tuple[str, str]]:
    """The same in words, by name."""
    return [
        (
            one["name"],
            f"{one['before']:.3g} ({_told(one['before_interval'])}) → {one['after']:.3g} ({_told(one['after_interval'])})",
        )
        for one in learned(history)
    ]


def _interval(value: float, error: float) -> tuple[float, float]:
    return value - _NORMAL * error, value + _NORMAL * error


def _told(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3g} to {interval[1]:.3g}"
