"""When a canary has to stop: the evidence that more of its conversations fail than may."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmops_tui.decisions.numbers import Floats, log_mean_exp

_RATES = 36
_WORST = 0.9
LARGEST_BUDGET = 0.5


def failure_evidence(conversations: npt.ArrayLike, failed: npt.ArrayLike, budget: float) -> Floats:
    """The evidence that more than ``budget`` of conversations fail; of counts in any shape, in that shape.

    The likelihood of the counts under a mixture of 36 rates, from a quarter above the budget to 90 %, against that under the
    budget: each of its parts loses in the mean where fewer fail. Wald's sequential test with a mixture; Robbins 1970, and
    Ramdas et al. 2023, section 3. Exact.

    Conversations count from their first request on, as failed from their first failure on. One that has not failed yet may,
    so what is known in between is less than the evidence that there will be, and the promise holds.

    Raises:
        ValueError: the budget is not above 0 and at most :data:`LARGEST_BUDGET`.
    """
    if not 0 < budget <= LARGEST_BUDGET:
        raise ValueError(f"a budget of {budget} is not above 0 and at most {LARGEST_BUDGET}")
    n, bad = np.asarray(conversations, np.float64), np.asarray(failed, np.float64)
    rates = np.geomspace(1.25 * budget, _WORST, _RATES)
    return log_mean_exp(bad * np.log(rate / budget) + (n - bad) * np.log((1 - rate) / (1 - budget)) for rate in rates)
