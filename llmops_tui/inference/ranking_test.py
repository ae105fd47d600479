"""Whether a model ranks at all: an obvious pair and an absurd one, which it has to tell apart.

Files of models that rank by the word they would say next come with a head of another kind, or without one; their scores are
then all nothing, all alike, or no numbers, and nobody is told.
"""

from __future__ import annotations

import math

QUERY = "What is the capital of France?"
OBVIOUS = "Paris is the capital of France."
ABSURD = "Knead the dough for ten minutes and let it rest in a warm place."
# Of a pair that is obvious no model that ranks says so little.
_NOTHING = 1e-9


def unfit(obvious: float, absurd: float) -> str:
    """Why scores are none of a model that ranks; empty where they may be."""
    told = f"{obvious:.3g} for an obvious pair, {absurd:.3g} for an absurd one"
    if not (math.isfinite(obvious) and math.isfinite(absurd)):
        return f"its scores are no numbers: {told}"
    if max(abs(obvious), abs(absurd)) < _NOTHING:
        return f"its scores are nothing: {told}"
    if obvious == absurd:
        return f"its scores are all alike: {told}"
    if obvious < absurd:
        return f"it ranks the wrong way round: {told}"
    return ""
