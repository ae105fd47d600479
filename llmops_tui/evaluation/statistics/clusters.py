"""Clusters by name as numbers from 0, as the statistics take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def numbered(groups: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """The number of each case's cluster, or none where every case stands for itself."""
    known: dict[str, int] = {}
    found = np.array([known.setdefault(group, len(known)) for group in groups], np.int64)
    return None if len(known) == len(groups) else found
