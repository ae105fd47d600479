"""How a batch is shared out among processes that train together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sized
from typing import cast


class RankBatches:
    """One rank's part of each batch of all ranks together, in the order of a sampler.

    The last batch is shared as evenly as it goes. With fewer rows than ranks, a rank without a row takes one that another
    one has, since all must take part in each step.
    """

    def __init__(self, rows: Sized, size: int, rank: int, count: int) -> None:
        self.sampler = rows
        self.batch_size = size
        self.drop_last = False
        self._rank, self._count = rank, count

    def __iter__(self) -> Iterator[list[int]]:
        """The rows of each batch."""
        together: list[int] = []
        for row in cast("Iterable[int]", self.sampler):
            together.append(row)
            if len(together) == self.batch_size * self._count:
                yield together[self._rank * self.batch_size : (self._rank + 1) * self.batch_size]
                together = []
        if together:
            yield together[self._rank :: self._count] or [together[self._rank % len(together)]]

    def __len__(self) -> int:
        """Batches of an epoch."""
        return math.ceil(len(self.sampler) / (self.batch_size * self._count))
