"""The same evidence by another's code, where that is installed: `pip install savvi`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llmops_tui.decisions.pairs import discordant_evidence
from llmops_tui.decisions.splits import share_evidence

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.95, 0.05), (0.25, 0.25, 0.5)])
def test_how_traffic_was_split_is_judged_as_by_savvi(shares: tuple[float, ...]) -> None:
    multinomial = pytest.importorskip("savvi.multinomial")
    theirs = multinomial.Multinomial(0.05, np.array(shares), k=100)
    random, counts = np.random.default_rng(4), np.zeros(len(shares), np.int64)
    for _ in range(50):
        new = random.multinomial(20, np.roll(shares, 1))
        counts += new
        theirs.update(new)
        if not 1e-250 < theirs.odds < 1e250:
            break
        assert float(share_evidence(counts, shares)) == pytest.approx(math.log(theirs.odds), abs=1e-6)


def test_pairs_are_judged_as_by_savvi() -> None:
    multinomial = pytest.importorskip("savvi.multinomial")
    theirs = multinomial.Multinomial(0.05, np.array([0.5, 0.5]), k=20)
    wins = losses = 0
    for won, lost in ((3, 1), (10, 8), (30, 12), (100, 80), (1, 40)):
        wins, losses = wins + won, losses + lost
        theirs.update(np.array([won, lost]))
        assert float(discordant_evidence(wins, losses)) == pytest.approx(math.log(theirs.odds), abs=1e-6)
