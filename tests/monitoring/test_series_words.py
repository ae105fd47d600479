"""Series and their values in words, as alerts tell them."""

from __future__ import annotations

import pytest

from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.rules import DEFAULT_RULES, Rule

BY_NAME = {rule.name: rule for rule in DEFAULT_RULES}


@pytest.mark.parametrize(
    ("rule", "series", "worst", "told"),
    [
        ("slow answers", "latency.support.base.first.p95", 6200.0,
            "first token of support.base, 95th percentile above 5 s, worst 6.2 s"),
        ("failing requests", "errors.m", 0.25, "failed requests of m above 5%, worst 25%"),
        ("hot GPU", "gpu1.temperature", 91.0, "temperature of GPU 1 above 87 °C, worst 91 °C"),
        ("full GPU memory", "gpu0.3.memory", 98.25, "memory in use of GPU 0 instance 3 above 97%, worst 98.25%"),
        ("no space left", "host.disk_free", 2.5e8, "free space on the disk below 1 GB, worst 250 MB"),
        ("engine down", "engine.m.up", 0.0, "the engine of m is down"),
        ("failed job", "job.eval.failed", 2.0, "failed jobs of kind eval above 0, worst 2"),
        ("stopped canary", "experiment.one.rolled_back", 1.0, "the experiment one was rolled back"),
        ("changed traffic", "drift.daily.evidence", 650.0, "evidence of change in daily above 599, worst 650"),
        ("lost GPU", "gpu0.lost", 1.0, "GPU 0 is lost"),
        ("throttled GPU", "gpu2.throttled", 1.0, "GPU 2 is slowed down"),
        ("full disk", "host.disk", None, "disk in use: no data"),
    ],
)  # fmt: skip
def test_an_alert_has_words_and_units(rule: str, series: str, worst: float | None, told: str) -> None:
    assert Alert(BY_NAME[rule], series, 0.0, worst).text == f"{rule}: {told}"


def test_a_series_of_others_keeps_its_name() -> None:
    assert Alert(Rule(name="own", series="x.y", above=1), "x.y", 0.0, 2.5).text == "own: x.y above 1, worst 2.5"


def test_a_state_is_told_as_the_rule_asks_for_it() -> None:
    assert "is down" not in Alert(Rule(name="own", series="engine.*.up", above=0), "engine.m.up", 0.0, 1.0).text
    assert "is lost" not in Alert(Rule(name="own", series="gpu*.lost", below=1), "gpu0.lost", 0.0, 0.0).text
