"""Replay of alert rules over recorded history."""

from __future__ import annotations

import fnmatch
import math

from llmops_tui.monitoring.alerts import Alert, AlertEngine
from llmops_tui.monitoring.history import History
from llmops_tui.monitoring.rules import Rule


def replay(history: History, rules: tuple[Rule, ...], begin: float, end: float) -> list[Alert]:
    """The alerts of a stretch of the past, the newest first.

    Beyond 15 minutes the past is known in coarser grains, of which the largest (or, for a lower limit, the mean) counts.
    """
    names = [name for name in history.series() if any(fnmatch.fnmatch(name, rule.series) for rule in rules)]
    above = {name: any(r.above is not None and fnmatch.fnmatch(name, r.series) for r in rules) for name in names}
    curves = {name: history.read(name, begin, end, end) for name in names}
    engine = AlertEngine(rules)
    found: list[Alert] = []
    if curves:
        times = next(iter(curves.values())).times
        values = {name: (curve.largest if above[name] else curve.mean) for name, curve in curves.items()}
        for place, at in enumerate(times):
            moment: dict[str, float | None] = {
                name: float(column[place]) for name, column in values.items() if not math.isnan(column[place])
            }
            told = [alert for alert in engine.step(float(at), moment) if alert.cleared_at is None]
            # One that counts what happens is told again as it grows.
            found += [alert for alert in told if not any(alert is known for known in found)]
    return sorted(found, key=lambda a: -a.raised_at)
