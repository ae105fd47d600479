"""The loop on the monitor: where a served name stands, and the key that does the next step."""

from __future__ import annotations

import pytest
from textual.widgets import OptionList

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.traces.feedback import give
from llmops_tui.traces.store import TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.monitor.loop_screen import LoopScreen
from tests.maintenance.conftest import fill_traces
from tests.screens.conftest import OpenApp, notices, settle
from tests.screens.test_monitor import go, nvml, recorder, shown

__all__ = ["nvml", "recorder"]


@pytest.mark.slow
async def test_each_station_is_seen_and_enter_does_its_next_step(
    open_app: OpenApp, sample: Workspace, recorder: object
) -> None:
    fill_traces(sample, 30)
    store = TraceStore(Catalog(sample), EventLog(sample))
    for number in range(20):
        give(store, f"run_{number:06d}", score="up")
    give(store, "run_000025", score="down")
    async with open_app() as pilot:
        await go(pilot, "6")
        await pilot.press("v")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, LoopScreen)
        if screen.standing is None or screen.standing.subject.name != "support-base":
            screen._served, screen.standing = "support-base", None
            await screen._read()
            await settle(pilot)
        assert "support-base, answered by support-base" in shown(pilot, "#loop-title")
        # The furthest step that is to be done is under the cursor.
        assert screen.current is not None
        assert (screen.current.station, screen.current.state) == ("dataset", "to do")
        assert "llmops loop collect support-base feedback" in shown(pilot, "#loop-facts")
        await pilot.press("enter")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert "held out" in notices(pilot)
        names = {one.dataset for one in DatasetStore(Catalog(sample)).all()}
        assert "feedback" in names
        states = {one.station: one.state for one in screen.standing.stations}  # type: ignore[union-attr]
        assert (states["dataset"], states["review"]) == ("done", "to do")
        # The review is done where traces are.
        screen.query_one(OptionList).highlighted = 1
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert pilot.app.current_mode == "traces"
