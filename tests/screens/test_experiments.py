"""Experiments on the monitor: their counts, the line of their evidence, and how one is begun and ended."""

from __future__ import annotations

import math
from typing import Any

import pytest
from textual.pilot import Pilot

from llmops_tui.experiments.beginning import NewExperiment
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.monitor.experiments_pane import ExperimentsPane
from screens.widgets.chart import LineChart
from screens.widgets.fields import Field
from tests.screens.conftest import OpenApp, notices, settle
from tests.screens.test_monitor import go, nvml, recorder, shown

__all__ = ["nvml", "recorder"]


async def looked(pilot: Pilot[int]) -> Any:
    screen = await go(pilot, "6")
    await screen.refresh_all()
    await settle(pilot)
    return screen


def field(pilot: Pilot[int], name: str) -> Field:
    return next(one for one in pilot.app.screen.query(Field) if one.name == name)


async def test_the_evidence_of_a_canary_is_a_line_with_its_threshold(
    open_app: OpenApp, sample: Workspace, recorder: object
) -> None:
    store = ExperimentStore(EventLog(sample))
    asked = NewExperiment(name="support-base", b="support-base-q4", kind="canary", split=0.5)
    made = store.start("support-base", "canary", asked.settings())
    async with open_app() as pilot:
        recorder.inspect()  # type: ignore[attr-defined]
        for k in range(6):
            store.assign(made.id, f"unit{k}", "b")
        store.fail(made, "unit5")
        screen = await looked(pilot)
        pane = screen.query_one(ExperimentsPane)
        assert pane.region.area
        assert "support-base  canary running  support-base 0  support-base-q4 6  1 failed" in shown(
            pilot, "#experiment-lines"
        )
        assert "1 of 6 conversations failed" in shown(pilot, "#experiment-verdict")
        threshold, evidence = screen.query_one(LineChart).series
        assert [y for _, y in threshold.points] == [100.0, 100.0]
        assert [x for x, _ in evidence.points] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert evidence.points[-1][1] > evidence.points[-2][1]
        assert math.isfinite(evidence.points[-1][1])
        await pilot.press("X")
        await settle(pilot)
        await pilot.press("y")
        await settle(pilot)
        assert "is stopped" in notices(pilot)
        assert store.get(made.id).state == "stopped"
        await screen.refresh_all()
        await settle(pilot)
        assert not pane.region.area


@pytest.mark.slow
async def test_an_experiment_is_begun_in_a_form(open_app: OpenApp, sample: Workspace, recorder: object) -> None:
    store = ExperimentStore(EventLog(sample))
    async with open_app() as pilot:
        recorder.inspect()  # type: ignore[attr-defined]
        await looked(pilot)
        await pilot.press("b")
        await settle(pilot)
        for name, typed in (("name", "support-base"), ("b", "support-base")):
            field(pilot, name).value = typed
        await settle(pilot)
        await pilot.press("f5")
        await settle(pilot)
        # The form comes again, with what was filled in.
        assert "both" in notices(pilot)
        field(pilot, "b").value = "support-base-q4"
        await settle(pilot)
        await pilot.press("f5")
        await settle(pilot)
        (made,) = store.in_force()
        assert (made.name, made.settings["a"], made.settings["b"]) == (
            "support-base",
            "support-base",
            "support-base-q4",
        )
        assert f"{made.id} has begun" in notices(pilot)
