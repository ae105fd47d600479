"""Decisions in use keep what they promise over a thousand simulated experiments, looked at after every conversation."""

from __future__ import annotations

import numpy as np
import pytest

from llmops_tui.decisions.guardrails import bounded_guardrail
from tests.decisions import simulated

# Minutes of a processor that is free; a busy machine takes what it takes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
# Three standard errors of a share of 5 %, and of 1 %, in a thousand runs.
ERROR, SMALL = 0.0207, 0.0094
ALWAYS = {"asymptotic sequence", "discordant pairs", "betting"}


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_pairs_that_do_not_differ_raise_no_more_false_alarms_than_promised(correlation: float) -> None:
    found = dict(simulated.paired(0.0, correlation, 11))
    for name in ALWAYS | {"group-sequential"}:
        assert found[name].share <= 0.05 + ERROR, (name, found[name])
    # What everybody does instead.
    assert found["z looked at after each"].share > 0.3


def test_pairs_that_differ_are_decided_in_fewer_than_were_planned() -> None:
    found = dict(simulated.paired(0.1, 0.6, 12))
    for name in ALWAYS:
        assert found[name].share > 0.99
        assert found[name].mean_n < found["group-sequential"].mean_n


def test_a_split_keeps_its_promise_and_finds_ten_points() -> None:
    same, better = dict(simulated.split(0.0, 13)), dict(simulated.split(0.1, 13))
    for name, found in same.items():
        assert found.share <= 0.05 + ERROR, (name, found)
        assert better[name].share > 0.95, (name, better[name])


def test_a_canary_stops_when_it_should() -> None:
    assert simulated.canary(0.02, 14)[0] <= 0.01 + SMALL
    stops, median = simulated.canary(0.3, 14)
    assert stops == 1
    assert median <= 15
    assert simulated.canary(0.05, 14)[0] > 0.99


def test_shares_that_leak_are_found_and_others_are_not() -> None:
    assert simulated.leaking(0.5, 0.5, 15, 300)[0] <= 0.01
    assert simulated.leaking(0.4, 0.5, 15, 300)[0] > 0.99


def test_conversations_and_not_turns_are_the_unit() -> None:
    by_turns, by_conversations = simulated.turns(0.3, 16)
    assert by_turns > 0.1
    assert by_conversations <= 0.05 + ERROR


def test_a_guardrail_at_its_margin_is_wrong_on_neither_side() -> None:
    random = np.random.default_rng(17)
    wrong = {"not worse": 0, "worse": 0, "open": 0}
    for _ in range(200):
        # How much worse it is is the margin itself.
        wrong[bounded_guardrail(random.choice([1.0, -1.0, 0.0], 500, p=[0.15, 0.1, 0.75]), 0.05, (-1, 1)).state] += 1
    assert wrong["not worse"] <= 0.05 * 200 + 10
    assert wrong["worse"] <= 0.05 * 200 + 10
