"""Drift and quality on the monitor: a line for each statement, and one for what is damaged."""

from __future__ import annotations

from typing import Any

import pytest
from textual.widgets import OptionList

from llmops_tui.models.registry import ModelRegistry
from llmops_tui.quality.judges import JudgeStore
from llmops_tui.quality.labels import LabelStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace
from screens.monitor.quality_screen import QualityScreen
from screens.widgets.dialogs import VerdictDialog
from tests.maintenance.conftest import fill_traces
from tests.screens.conftest import OpenApp, settle, until
from tests.screens.test_monitor import go, nvml, recorder, shown

__all__ = ["nvml", "recorder"]
RUN = (
    "broken-1", "smoke", 1, "job_2", '{"prompt": "", "model": "m", "parameters": {}, "parallel": 0}', "3", None, None, 1.0, 2.0,
)  # fmt: skip


@pytest.mark.slow
async def test_what_is_damaged_is_a_line_and_hides_nothing_else(
    open_app: OpenApp, sample: Workspace, recorder: object
) -> None:
    fill_traces(sample, 30)
    ingest(Catalog(sample), EventLog(sample))

    def spoil(connection: Any) -> None:
        connection.execute("UPDATE requests SET started_at = epoch(now()), variables = '3' WHERE id = 'run_000003'")
        connection.execute("UPDATE requests SET started_at = epoch(now()) WHERE id = 'run_000004'")
        connection.execute(f"INSERT INTO evaluation_runs VALUES ({', '.join('?' * len(RUN))})", RUN)

    Catalog(sample).write(spoil)
    async with open_app() as pilot:
        await go(pilot, "6")
        await pilot.press("a")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, QualityScreen)
        await until(pilot, lambda: bool(screen.statements))
        states = {one.about: one.state for one in screen.statements}
        assert (states["run broken-1"], states["trace run_000003"]) == ("damaged", "damaged")
        assert states["answers, personal"] in {"check", "none"}
        await pilot.press("end")
        await settle(pilot)
        assert "row run_000003: variables is not valid" in shown(pilot, "#quality-facts")


@pytest.mark.slow
async def test_answers_are_labelled_by_chance_and_a_judge_is_a_line(
    open_app: OpenApp, sample: Workspace, recorder: object
) -> None:
    fill_traces(sample, 30)
    ingest(Catalog(sample), EventLog(sample))
    Catalog(sample).write(lambda db: db.execute("UPDATE requests SET started_at = epoch(now()) - 60"))
    model = ModelRegistry(Catalog(sample)).all()[0].name
    JudgeStore(EventLog(sample)).keep("kind", model, "Is it kind?")
    async with open_app() as pilot:
        await go(pilot, "6")
        await pilot.press("a")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, QualityScreen)
        await until(pilot, lambda: bool(screen.statements))
        abouts = [one.about for one in screen.statements]
        judge = screen.statements[abouts.index("answers, kind")]
        assert (judge.state, judge.told, judge.check) == ("none", "not asked yet", "kind")
        screen.query_one(OptionList).highlighted = abouts.index("answers, kind")
        for said in ("y", "n"):
            await pilot.press("l") if said == "y" else None
            await until(pilot, lambda: isinstance(pilot.app.screen, VerdictDialog))
            await pilot.press(said)
            await settle(pilot)
        await until(pilot, lambda: len(LabelStore(EventLog(sample)).of("kind")) == 2)
        await until(pilot, lambda: isinstance(pilot.app.screen, VerdictDialog))
        await pilot.press("escape")
        await settle(pilot)
        assert sorted(LabelStore(EventLog(sample)).of("kind").values()) == [0.0, 1.0]
        # Probabilities are no matter of answers.
        await pilot.press("k")
        assert isinstance(pilot.app.screen, QualityScreen)
