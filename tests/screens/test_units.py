"""How lengths of time and figures with units are written in tables and below charts."""

from __future__ import annotations

import pytest

from llmops_tui.hardware.gpus import GpuView
from llmops_tui.hardware.host import HostLoad
from llmops_tui.monitoring.latency import KINDS, Latency
from llmops_tui.monitoring.recorder import Moment
from llmops_tui.monitoring.series_words import value_told
from llmops_tui.monitoring.sketch import LatencySketch
from screens.monitor import rendering
from screens.widgets import units


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0:00"),
        (0.2, "<0:01"),
        (7.4, "0:07"),
        (59.6, "1:00"),
        (318, "5:18"),
        (3599.6, "1:00:00"),
        (45_296, "12:34:56"),
    ],
)
def test_a_length_of_time_is_in_one_unit_in_all_rows(seconds: float, told: str) -> None:
    assert units.clock_time(seconds) == told


def test_percent_is_written_one_way() -> None:
    assert (units.measured("99", "%"), units.measured("12", "ms"), units.measured("3", "")) == ("99%", "12 ms", "3")
    assert rendering.number(42.4, "%") == "42%"
    assert (value_told("errors.m", 0.25), value_told("gpu0.memory", 97.0)) == ("25%", "97%")


def latencies(requests: int, width: int) -> list[str]:
    sketches = {kind: LatencySketch() for kind in KINDS}
    for at in range(requests):
        sketches["total"].add(100.0 + at)
    moment = Moment(
        0.0, HostLoad(1.0, 1, 2), GpuView("none", ()), (), latencies=(Latency("m", 15, requests, 0, 0, sketches),)
    )
    return ["".join(text for text, _ in line) for line in rendering.engines(moment, width, utf8=True)]


@pytest.mark.parametrize("width", range(44, 90))
def test_no_figure_of_latencies_is_cut(width: int) -> None:
    for requests in (2, 30, 200, 9_950):
        assert all(len(line) <= width for line in latencies(requests, width)[1:])


def test_of_few_requests_the_ends_are_told_and_no_percentiles() -> None:
    assert not any(word in latencies(1, 70)[-1] for word in ("p50", "least", "most"))
    few = latencies(2, 70)[-1]
    assert "least" in few
    assert "most" in few
    assert not any(share in few for share in ("p50", "p95", "p99"))
    many = latencies(30, 70)[-1]
    assert all(share in many for share in ("p50", "p95", "most"))
    assert "p99" not in many
    assert "most" not in latencies(200, 80)[-1]


@pytest.mark.parametrize("width", [44, 54, 60, 66, 68, 70, 80, 120])
def test_no_figure_of_a_latency_is_cut(width: int) -> None:
    for requests in (1, 2, 30, 200):
        line = latencies(requests, width)[-1]
        assert len(line) <= width, (width, line)
