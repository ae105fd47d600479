"""The time resolutions of recorded series, and the chunks they are stored in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Resolution:
    """One resolution: seconds a value stands for, how long it is kept, and how many values lie together."""

    seconds: int
    kept: int
    together: int

    @property
    def span(self) -> int:
        """Seconds that lie together."""
        return self.seconds * self.together


RESOLUTIONS = (Resolution(1, 15 * 60, 60), Resolution(10, 24 * 3600, 60), Resolution(60, 90 * 24 * 3600, 120))


@dataclass(frozen=True)
class Curve:
    """A series over time: begin of each value in seconds since the epoch, mean and largest value; NaN where unknown."""

    resolution: int
    times: np.ndarray[Any, Any]
    mean: np.ndarray[Any, Any]
    largest: np.ndarray[Any, Any]


class Tail:
    """The newest values of one series in one grain, not yet or only partly on the disk."""

    def __init__(self, place: int, values: np.ndarray[Any, Any]) -> None:
        self.place = place
        self.values = values
        self.bucket = -1
        self.sum, self.count, self.top = 0.0, 0, -math.inf


def values_of(body: bytes) -> np.ndarray[Any, Any]:
    """Values that lie together, as they are kept: means and largest values, 32 bits each."""
    return np.frombuffer(body, dtype=np.float32).reshape(-1, 2).copy()
