"""How much each setting of a search decides the loss: the share of what all settings explain that is lost without it.

The ranks of the losses are explained by all settings at once, by least squares; a setting's part is what the rest cannot
explain without it, less what chance would be expected to explain (the type III sum of squares of an analysis of variance,
as in Montgomery, "Design and Analysis of Experiments", chapter 15). Settings are explained together, so that those which a
sampler happened to move at the same time are told apart; ranks, so that one run that diverged does not decide alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_STEPS = 6

Array = npt.NDArray[np.float64]
Trial = tuple[Mapping[str, Any], float]
"""A trial's settings by name, and its loss."""


def importance(trials: Sequence[Trial], logarithmic: frozenset[str] = frozenset()) -> dict[str, float]:
    """The share of each setting, from 0 to 1 and together 1, the largest first; none where too few trials tell it.

    ``logarithmic`` are the settings that were tried by orders of magnitude.
    """
    measured = [(settings, loss) for settings, loss in trials if not math.isnan(loss)]
    names = [name for name in measured[0][0] if len({str(s[name]) for s, _ in measured}) > 1] if measured else []
    losses = _ranks(np.array([loss for _, loss in measured], np.float64))
    for curved in (True, False):
        parts = [_columns([s[name] for s, _ in measured], name in logarithmic, curved=curved) for name in names]
        left = len(measured) - 1 - sum(part.shape[1] for part in parts)
        if left > 0:
            break
    else:
        return {}
    if not names or not losses.any():
        return {}
    rest = _unexplained(parts, losses)
    chance = rest / left
    lost = {
        name: max(0.0, _unexplained([*parts[:at], *parts[at + 1 :]], losses) - rest - parts[at].shape[1] * chance)
        for at, name in enumerate(names)
    }
    total = sum(lost.values())
    if total <= 1e-9 * float(losses @ losses):
        return {}
    shares = {name: lost.get(name, 0.0) / total for name in measured[0][0]}
    return dict(sorted(((name, round(share, 3)) for name, share in shares.items()), key=lambda item: -item[1]))


def _ranks(values: Array) -> Array:
    """The places of values in their order around 0, equal ones with the same."""
    order = np.sort(values)
    places = (np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right")).astype(np.float64)
    centred: Array = places - places.mean() if len(places) else places
    return centred


def _columns(values: list[Any], logarithmic: bool, *, curved: bool) -> Array:
    """A setting as columns: one for each step of a few, else a line, and a curve where there is room."""
    known = sorted(set(map(str, values)))
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if not numbers or (curved and len(known) <= _MOST_STEPS):
        return np.array([[float(str(value) == one) for one in known[1:]] for value in values])
    line = np.array([math.log(value) if logarithmic else value for value in values], np.float64)
    line = (line - line.mean()) / (line.std() or 1.0)
    return np.stack([line, line**2], 1) if curved else line[:, None]


def _unexplained(parts: list[Array], losses: Array) -> float:
    design = np.concatenate([np.ones((len(losses), 1)), *parts], 1)
    fitted = design @ np.linalg.lstsq(design, losses, rcond=None)[0]
    return float(((losses - fitted) ** 2).sum())
