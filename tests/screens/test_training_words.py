"""What the training screen says of runs and recipes: where a run is, its newest figures, and what a start knows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.training.control import waits, waits_for
from llmops_tui.training.history import History
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.layout import Workspace
from screens.training import details_rendering, rendering
from screens.training.model import Shown
from screens.training.recipes_pane import RecipesPane
from screens.widgets.dialogs import ConfirmDialog
from tests.fakes import start_no_processes
from tests.screens.conftest import OpenApp, until
from tests.screens.test_training import open_training, recipe, text


def _shown(state: str, message: str) -> Shown:
    own: Any = SimpleNamespace(job=SimpleNamespace(message=message))
    return Shown("mine-1", Path("runs"), state, History(), own)


@pytest.mark.parametrize(
    ("state", "message", "told"),
    [
        ("running", waits_for("mine (pid 7) on cpu"), "· waiting"),
        ("running", "step 3 of 40", "▶ running"),
        # What a run said last before it was ended is no state of it.
        ("failed", waits_for("mine (pid 7) on cpu"), "✗ failed"),
    ],
)
def test_a_run_whose_turn_has_not_come_waits(state: str, message: str, told: str) -> None:
    column = next(column for column in rendering.RUN_COLUMNS if column.name == "state")
    assert column.part(_shown(state, message))[0] == told
    assert waits(message) == message.startswith("waits")


@pytest.mark.parametrize(
    ("seconds", "spread", "told"),
    [
        (360.0, 77.0, "6 ± 2 min"),
        (360.0, 60.0, "6 ± 1 min"),
        (50.0, 0.2, "50 ± 1 s"),
        (7200.0, 400.0, "2.0 ± 0.2 h"),
        (7200.0, 0.0, "2.0 ± 0.1 h"),
    ],
)
def test_a_time_and_what_it_may_differ_by_have_one_unit(seconds: float, spread: float, told: str) -> None:
    assert rendering.duration_between(seconds, spread) == told


def test_figures_keep_their_digits_from_step_to_step() -> None:
    told = []
    for rate in (0.00113, 0.0008):
        shown = _shown("done", "")
        lines = [
            {"kind": "step", "step": 1, "loss": 0.5, "learning_rate": rate, "seconds": 1.0, "memory_bytes": 1},
            {"kind": "eval", "step": 1, "eval_loss": 0.51},
        ]
        for line in lines:
            shown.history.add(line)  # type: ignore[arg-type]
        told.append(str(rendering.figures(shown, [shown], 200)))
    assert "learning rate 1.13e-03" in told[0]
    assert "learning rate 8.00e-04" in told[1]
    # As in the list.
    assert "━ loss 0.500 · ┄ eval loss 0.510" in told[0]


def test_what_a_result_and_the_record_of_its_run_both_tell_is_told_once() -> None:
    own: Any = SimpleNamespace(
        run=SimpleNamespace(result={"steps": 9, "batch": [16, 1]}, recipe=SimpleNamespace(base="small"), data=[])
    )
    shown = Shown("mine-1", Path("runs"), "done", History(), own)
    shown.history.add({"kind": "start", "step": 0, "total": 9, "batch": 16, "accumulation": 1})  # type: ignore[arg-type]
    lines = str(details_rendering.result(shown, 80)).splitlines()
    assert [line.split() for line in lines if line.startswith("batch")] == [["batch", "16"]]
    assert any(line.split() == ["accumulation", "1"] for line in lines)


async def test_a_start_says_that_the_preflight_still_runs(
    open_app: OpenApp, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(sample)
    store.save_recipe(recipe())
    start_no_processes(monkeypatch)
    async with open_app() as pilot:
        screen = await open_training(pilot)
        await until(pilot, lambda: screen.query_one(RecipesPane).recipe is not None)
        await pilot.press("p")
        await until(pilot, lambda: [job.kind for job in store.jobs.all()] == ["plan"])
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        told = str(pilot.app.screen.query_one(".dialog-text").render())
        assert "Its preflight still runs" in told
        assert text(pilot, "#chart-figures")
