"""Checks day by day, their evidence, and the alarm."""

from __future__ import annotations

import numpy as np
import pytest

from llmops_tui.decisions.change_alarm import USUAL_THRESHOLD, course
from llmops_tui.monitoring.rules import DEFAULT_RULES
from llmops_tui.monitoring.traffic_days import TrafficDays
from llmops_tui.workspace.event_log import EventLog


@pytest.fixture
def days(event_log: EventLog) -> TrafficDays:
    return TrafficDays(event_log)


def test_nothing_was_checked(days: TrafficDays) -> None:
    assert days.course("m") == []
    assert days.monitors() == []
    assert days.evidence() == {}


def test_evidence_is_added_up_day_by_day_and_a_day_counts_once(days: TrafficDays) -> None:
    p_values = [0.5, 0.2, 0.01]
    for number, p in enumerate(p_values, 1):
        days.record("m", f"2027-03-0{number}", p, {"n": number})
        days.record("m", f"2027-03-0{number}", p, {"n": number})
    days.record("other", "2027-03-01", 1.0, {})
    assert [one.statistic for one in days.course("m")] == pytest.approx(course(p_values))
    assert [one.facts for one in days.course("m")] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert days.evidence() == pytest.approx({"m": course(p_values)[-1], "other": 0.5})


def test_a_day_of_too_few_conversations_leaves_the_evidence_as_it_was(days: TrafficDays) -> None:
    days.record("m", "2027-03-01", 0.01, {})
    days.record("m", "2027-03-02", None, {})
    first, second = days.course("m")
    assert (second.p, second.statistic) == (None, first.statistic)


def test_days_of_change_are_an_alarm_of_the_monitor_until_they_are_forgotten(days: TrafficDays) -> None:
    for number in range(1, 4):
        days.record("all traffic", f"2027-03-0{number}", 0.001, {})
    assert days.course("all traffic")[-1].alarm
    rule = next(rule for rule in DEFAULT_RULES if rule.series == "drift.*.evidence")
    assert rule.beyond(USUAL_THRESHOLD)
    assert rule.beyond(days.evidence()["all traffic"])
    assert days.begin_anew("all traffic") == 3
    assert days.evidence() == {}


# Eight minutes of a processor that is free; a busy machine takes what it takes.
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_of_months_without_a_change_few_have_an_alarm_and_a_change_is_found_within_a_week() -> None:
    """Windows of 100 against references of 400, drawn anew each day, as a window that moves on has them."""
    from llmops_tui.decisions.two_samples import discrepancy

    random = np.random.default_rng(9)

    def p_of(share: float) -> float:
        window = random.normal(size=(100, 16))
        window[: int(100 * share), :6] += 1.5
        reference = random.normal(size=(400, 16))
        return discrepancy(reference, window, (np.arange(400), np.arange(100)), int(random.integers(1 << 30))).p

    unchanged = [max(course([p_of(0.0) for _ in range(30)])) for _ in range(60)]
    assert np.mean(np.array(unchanged) >= USUAL_THRESHOLD) <= 0.1
    delays = []
    for _ in range(20):
        found = course([p_of(0.0) for _ in range(5)] + [p_of(0.2) for _ in range(7)])
        delays.append(next((day - 5 for day, one in enumerate(found) if one >= USUAL_THRESHOLD), None))
    assert np.mean([delay is not None and delay >= 0 for delay in delays]) >= 0.8
