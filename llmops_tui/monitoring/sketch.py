"""A quantile sketch: percentiles in bounded memory with bounded relative error; sketches can be merged.

DDSketch (Masson, Rim and Lee 2019, https://arxiv.org/abs/1908.10693): buckets whose bounds grow by a constant factor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

# A quantile is wrong by at most this share of its value.
ACCURACY = 0.005
_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = math.log(_GAMMA)
_LEAST = 1e-6


class LatencySketch:
    """How often values of each size came. Values are positive; what is smaller than a millionth counts as that."""

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        place = math.ceil(math.log(max(value, _LEAST)) / _LOG_GAMMA)
        self.buckets[place] = self.buckets.get(place, 0) + 1
        self.count += 1
        self.total += value

    def merge(self, other: LatencySketch) -> None:
        """Add another sketch to this one; the result is the same as if all values had been added here."""
        for place, count in other.buckets.items():
            self.buckets[place] = self.buckets.get(place, 0) + count
        self.count += other.count
        self.total += other.total

    def quantile(self, share: float) -> float | None:
        """The value that ``share`` (0 to 1) of all values do not exceed, within :data:`ACCURACY`; none without values.

        The rank is that of numpy's ``lower`` method: floor(share · (n − 1)).
        """
        if not self.count:
            return None
        rank = math.floor(share * (self.count - 1))
        seen = 0
        for place in sorted(self.buckets):
            seen += self.buckets[place]
            if seen > rank:
                return 2 * _GAMMA**place / (_GAMMA + 1)
        raise AssertionError("the counts add up")

    def histogram(self, bars: int) -> list[tuple[float, float, int]]:
        """The values as ``bars`` bars of equal ratio between the smallest and the largest: (from, to, how many)."""
        if not self.count:
            return []
        low, high = min(self.buckets), max(self.buckets)
        width = max(1.0, (high - low + 1) / bars)
        counts = [0] * bars
        for place, count in self.buckets.items():
            counts[min(bars - 1, int((place - low) / width))] += count
        edges = [_GAMMA ** (low - 1 + width * n) for n in range(bars + 1)]
        return [(edges[n], edges[n + 1], counts[n]) for n in range(bars)]

    def dump(self) -> str:
        """As text, to be kept."""
        return json.dumps([self.count, self.total, sorted(self.buckets.items())])

    @classmethod
    def load(cls, text: str) -> LatencySketch:
        """A sketch that was kept."""
        sketch = cls()
        sketch.count, sketch.total, buckets = json.loads(text)
        sketch.buckets = {int(place): int(count) for place, count in buckets}
        return sketch

    @classmethod
    def sum(cls, sketches: Iterable[LatencySketch]) -> LatencySketch:
        """Several sketches as one."""
        whole = cls()
        for sketch in sketches:
            whole.merge(sketch)
        return whole
