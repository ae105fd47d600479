"""How often the rows of each dataset of a mixture are used."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random


def repeats(sizes: Sequence[int], weights: Sequence[float], temperature: float) -> list[float]:
    """How many times the rows of each dataset are used, on average, in one epoch.

    A dataset's share is its size times its weight, to the power of 1/temperature (Devlin et al., multilingual BERT, 2018;
    Raffel et al., "Exploring the Limits of Transfer Learning", 2020). The epoch stays as long as without: at a temperature of
    1 each is used as often as its weight says. A dataset without rows is not used.
    """
    wanted = [size * weight for size, weight in zip(sizes, weights, strict=True)]
    # Beside the largest, so that no power is too large a number.
    largest = max(wanted, default=0) or 1
    flattened = [(each / largest) ** (1 / temperature) if each else 0.0 for each in wanted]
    total, whole = sum(wanted), sum(flattened) or 1
    if temperature == 1:
        return list(weights)
    return [total * share / whole / size if size else 0.0 for share, size in zip(flattened, sizes, strict=True)]


def times(repeat: float, chance: Random) -> int:
    """How often one row is used: the whole part of so many times, and once more by chance for the rest."""
    return int(repeat) + (chance.random() < repeat % 1)
