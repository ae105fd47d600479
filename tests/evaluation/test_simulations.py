"""Intervals keep what they promise, and gates raise at most one false alarm in twenty, in simulated suites."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.evaluation.simulated import BINARY, DIFFERENCES, HELD_MORE, clustered, clustered_flips, rates

SUITES = 4000
# Three standard errors of a share of 5 % in so many suites.
ERROR = 0.0103
UNEQUAL = (2, 5, 10, 25, 60)


@pytest.mark.parametrize("name", ["normal", "exponential", "binary, 10 and 10 %"])
def test_a_few_suites_keep_their_promise(name: str) -> None:
    draw, truth = DIFFERENCES[name]
    found = rates(lambda r: draw(r, (20,)), truth, 200, 5, binary=name in BINARY)
    assert found.inside >= 0.9
    assert found.below <= 0.08


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("n", [5, 10, 20, 30, 100])
@pytest.mark.parametrize("name", DIFFERENCES)
def test_intervals_cover_93_to_97_of_100_and_gates_stop_5_at_most(name: str, n: int, record_property: Any) -> None:
    draw, truth = DIFFERENCES[name]
    binary = name in BINARY
    found = rates(lambda r: draw(r, (n,)), truth, SUITES, n, binary=binary)
    record_property("simulated", str(found))
    if n < 10 and not binary:
        assert found.few == 1, "nothing is said of them"
        return
    assert found.few == 0
    assert found.below <= 0.05 + ERROR, found
    assert found.above <= 0.05 + ERROR, found
    assert 0.93 - ERROR <= found.inside <= (1 if name in HELD_MORE else 0.97 + ERROR), found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [3, 5, 10, 30, 60])
@pytest.mark.parametrize("sizes", [(10,), UNEQUAL], ids=["equal", "unequal"])
@pytest.mark.parametrize(
    "name",
    ["normal", "heavy-tailed (t3)", "of lognormal scores", "exponential", "lognormal, sigma 1", "right or wrong"],
)
def test_few_clusters_keep_their_promise(name: str, sizes: tuple[int, ...], count: int, record_property: Any) -> None:
    sizes = tuple(np.resize(sizes, count).tolist())
    clusters = np.repeat(np.arange(count), sizes)
    binary = name == "right or wrong"
    draw = clustered_flips(sizes) if binary else clustered(DIFFERENCES[name][0], sizes, 1.0)
    found = rates(draw, 0.0, SUITES, count, clusters=clusters, binary=binary)
    record_property("simulated", str(found))
    # Thirty groups of these sizes are worth fewer than ten of one size.
    if count < (60 if len(set(sizes)) > 1 else 10):
        assert found.few == 1, "nothing is said of them"
        return
    assert found.few == 0
    assert found.below <= 0.05 + ERROR, found
    assert 0.93 - ERROR <= found.inside <= 0.98, found
