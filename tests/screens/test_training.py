"""The training screen: empty, with recipes, with runs; plan, start, steer; other programs' runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from llmops_tui.jobs.store import JobState, JobStore
from llmops_tui.training import control
from llmops_tui.training.history import History, Recorder
from llmops_tui.training.recipe import Recipe, check
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.training import rendering, reward_rendering
from screens.training.details_pane import DetailsPane
from screens.training.model import Shown
from screens.training.recipe_form import RecipeForm
from screens.training.recipes_pane import RecipesPane
from screens.training.runs_pane import RunsPane
from screens.training.screen import TrainingScreen
from screens.training.start_dialog import StartDialog
from screens.training.sweep_form import SweepForm
from screens.widgets.chart import LineChart
from screens.widgets.dialogs import ConfirmDialog
from screens.widgets.fields import Choice, Field
from screens.widgets.table import Table
from tests.fakes import end_processes, start_no_processes
from tests.screens.conftest import OpenApp, notices, settle, until


def recipe(name: str = "mine", **changes: Any) -> Recipe:
    return check({"name": name, "base": "support-base-hf", "data": ["triage"]} | changes)


def pretend_run(
    workspace: Workspace, monkeypatch: Any, state: JobState = JobState.DONE, steps: int = 40, name: str = "mine"
) -> str:
    """A run as a trainer would have left it, without any trainer."""
    store = RunStore(workspace)
    start_no_processes(monkeypatch)
    run = store.start(recipe(name))
    jobs = JobStore(EventLog(workspace))
    run.folder.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(run.folder)
    recorder.write("start", 0, total=100, rows=1936)
    for step in range(1, steps + 1):
        recorder.write(
            "step",
            step,
            loss=3 * math.exp(-step / 20),
            learning_rate=1e-3,
            grad_norm=0.5,
            seconds=0.5,
            tokens_per_s=2000,
            memory_bytes=9.6e9,
        )
    recorder.write("eval", steps, eval_loss=0.4)
    recorder.write("sample", steps, prompt="p", expected='{"a": 1}', text='{"a": 1}')
    recorder.write("event", steps, level="warn", message="the loss jumped \x1b[31m", hint="Look at the rows.")
    if state.final:
        recorder.write("end", steps, state="done")
        if state == JobState.DONE:
            store.catalog.write(
                lambda connection: connection.execute(
                    "UPDATE training_runs SET result = ? WHERE name = ?",
                    [json.dumps({"model": run.name, "serving": "support-base", "loss": 0.4}), run.name],
                )
            )
    recorder.close()
    jobs.update(run.job, state=state.value, started_at=1.0, message="step 40 of 100")
    if state.final:
        end_processes()
    return run.name


def text(pilot: Pilot[int], selector: str) -> str:
    return str(pilot.app.screen_stack[0].query_one(selector, Static).content)


async def open_training(pilot: Pilot[int]) -> TrainingScreen:
    await pilot.press("f9", "3")
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, TrainingScreen)
    return screen


def run_of(screen: TrainingScreen) -> str:
    """The name of the run under the cursor."""
    run = screen.query_one(RunsPane).run
    return run.name if run is not None else ""


@pytest.mark.slow
async def test_an_empty_screen_says_what_to_do(open_app: OpenApp, sample: Workspace) -> None:
    RunStore(sample).catalog.write(lambda connection: connection.execute("DELETE FROM training_recipes"))
    async with open_app() as pilot:
        await open_training(pilot)
        assert "n makes one" in text(pilot, "#details-text")
        await pilot.press("f5")
        await settle(pilot)
        assert "n makes one" in notices(pilot)


def titles(pilot: Pilot[Any]) -> str:
    """The title of the dialog that is open."""
    return " ".join(str(title.content) for title in pilot.app.screen.query(".dialog-title").results(Static))


@pytest.mark.slow
async def test_a_gguf_file_is_chosen_as_the_base_and_is_not_quantized_again(
    open_app: OpenApp, sample: Workspace
) -> None:
    async with open_app() as pilot:
        await open_training(pilot)
        await pilot.press("n")
        await until(pilot, lambda: bool(pilot.app.screen.query("#narrow")))
        await pilot.press(*"tiny", "enter")
        await until(pilot, lambda: "Train" in titles(pilot) and bool(pilot.app.screen.query("#narrow")))
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RecipeForm))
        await until(pilot, lambda: bool(pilot.app.screen.query(Input)))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "triage-tiny@1 is saved" in notices(pilot))
        kept = RunStore(sample).recipe("triage-tiny")
        assert (kept.base, kept.quantization.type) == ("support-base", "none")


async def test_a_recipe_is_made_from_a_preset_changed_and_kept(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        screen = await open_training(pilot)
        await pilot.press("n")
        await until(pilot, lambda: bool(pilot.app.screen.query("#narrow")))
        await pilot.press(*"tiny", "enter")
        await until(pilot, lambda: "Train" in titles(pilot) and bool(pilot.app.screen.query("#narrow")))
        # A folder comes before GGUF files.
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RecipeForm))
        form = pilot.app.screen
        await until(pilot, lambda: "lora.rank" in {field.name for field in form.query(Input)})
        fields = {field.name: field for field in form.query(Input)}
        assert fields["base"].value == "support-base-hf"
        fields["lora.rank"].value = "many"
        await pilot.pause()
        assert "lora.rank" in str(form.query_one("#recipe-verdict", Static).content)
        await pilot.press("ctrl+s")
        assert pilot.app.screen is form
        fields["lora.rank"].value = "64"
        await pilot.pause()
        assert "16 at once × 1 accumulated = 16 rows" in str(form.query_one("#recipe-verdict", Static).content)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "triage-tiny@1 is saved" in notices(pilot))
        await settle(pilot)
        kept = RunStore(sample).recipe("triage-tiny")
        assert kept.lora.rank == 64
        assert screen.query_one(RecipesPane).recipe == kept
        assert "64" in text(pilot, "#details-text")
        assert screen.cli_command() == "llmops train start triage-tiny"


async def test_a_run_is_drawn_with_its_figures_samples_and_events(
    open_app: OpenApp, sample: Workspace, monkeypatch: Any
) -> None:
    name = pretend_run(sample, monkeypatch)
    async with open_app() as pilot:
        screen = await open_training(pilot)
        screen.query_one("#run-rows").focus()
        await settle(pilot)
        assert "step 40 of 100" in text(pilot, "#chart-figures")
        chart = screen.query_one("#chart", LineChart)
        drawn = chart.render().plain
        assert any("\u2800" < c <= "\u28ff" for c in drawn)
        assert "2┤" in drawn
        assert "1┤" in drawn
        assert "the loss jumped" in text(pilot, "#details-text")
        await pilot.press("w")
        assert '{"a": 1}' in text(pilot, "#details-text")
        await pilot.press("w")
        assert "support-base-hf" in text(pilot, "#details-text")
        await pilot.press("s", "s")
        assert "gradient norm" in str(screen.query_one("#training-chart").border_title)
        await pilot.press("l")
        assert chart.logarithmic
        await pilot.press("plus")
        assert chart.zoom == 0.5
        await pilot.press("space")
        assert screen.query_one(RunsPane).marked == {name}
        used: list[str] = []
        monkeypatch.setattr(pilot.app, "open_place", lambda place: used.append(place.model))
        await pilot.press("u")
        await settle(pilot)
        assert used == [f"support-base+{name}"]


async def test_a_start_asks_and_a_stop_asks(open_app: OpenApp, sample: Workspace, monkeypatch: Any) -> None:
    store = RunStore(sample)
    store.save_recipe(recipe())
    start_no_processes(monkeypatch)
    async with open_app() as pilot:
        screen = await open_training(pilot)
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(pilot.app.screen, StartDialog))
        await pilot.press("n")
        await settle(pilot)
        assert store.all() == []
        screen.model.plans[recipe().sha256] = {
            "ok": False,
            "problems": [{"level": "error", "message": "no memory", "hint": ""}],
        }
        await pilot.press("f5")
        await settle(pilot)
        assert "no memory" in notices(pilot)
        assert store.all() == []
        screen.model.plans.clear()
        await pilot.press("f5", "p")
        await until(pilot, lambda: [job.kind for job in store.jobs.all()] == ["plan"])
        assert store.all() == []
        store.jobs.update(store.jobs.all()[0].id, state="cancelled")
        await settle(pilot)
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(pilot.app.screen, StartDialog))
        await pilot.press("y")
        await settle(pilot)
        await until(pilot, lambda: bool(run_of(screen)))
        run = store.all()[0]
        assert run_of(screen) == run.name == "mine-1"
        run.folder.mkdir(parents=True, exist_ok=True)
        await pilot.press("P")
        await settle(pilot)
        assert control.asked(run.folder) == control.PAUSE
        await pilot.press("X")
        await settle(pilot)
        assert control.asked(run.folder) == control.STOP_AFTER_SAVE
        await pilot.press("x")
        await pilot.pause()
        assert isinstance(pilot.app.screen, ConfirmDialog)
        await pilot.press("y")
        await settle(pilot)
        assert JobStore(EventLog(sample)).cancel_requested(run.job)


@pytest.mark.slow
async def test_a_run_is_deleted_after_its_consequence_was_shown(
    open_app: OpenApp, sample: Workspace, monkeypatch: Any
) -> None:
    name = pretend_run(sample, monkeypatch)
    other = pretend_run(sample, monkeypatch, JobState.RUNNING, name="other")
    store = RunStore(sample)
    async with open_app() as pilot:
        screen = await open_training(pilot)
        runs = screen.query_one("#run-rows", Table)
        runs.focus()
        await until(pilot, lambda: run_of(screen) == other)
        await pilot.press("D")
        await until(pilot, lambda: f"llmops train stop {other}" in notices(pilot))
        assert not isinstance(pilot.app.screen, ConfirmDialog)
        await pilot.press("down")
        await until(pilot, lambda: run_of(screen) == name)
        await pilot.press("backspace")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        assert f"model {name} was made by it" in shown_in_dialog(pilot)
        await pilot.press("n")
        await settle(pilot)
        assert {run.name for run in store.all()} == {name, other}
        await pilot.press("D")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("Y")
        await until(pilot, lambda: f"{name} is deleted" in notices(pilot))
        await until(pilot, lambda: runs.count == 1)
        assert [run.name for run in store.all()] == [other]


@pytest.mark.slow
async def test_a_recipe_is_deleted_where_the_recipes_have_the_focus_and_comes_back(
    open_app: OpenApp, sample: Workspace
) -> None:
    store = RunStore(sample)
    before = store.recipes()
    async with open_app() as pilot:
        screen = await open_training(pilot)
        recipes = screen.query_one("#recipe-list", Table)
        recipes.focus()
        await settle(pilot)
        name = screen._recipes.recipe.name
        await pilot.press("D")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        assert "z brings them back" in shown_in_dialog(pilot)
        await pilot.press("y")
        await until(pilot, lambda: f"{name} is deleted" in notices(pilot))
        assert name not in {one[0] for one in store.recipes()}
        await pilot.press("z")
        await until(pilot, lambda: store.recipes() == before)


def shown_in_dialog(pilot: Pilot[int]) -> str:
    return str(pilot.app.screen.query_one(".dialog-text", Static).content)


@pytest.mark.slow
async def test_two_runs_share_a_chart_and_a_foreign_one_is_watched(
    open_app: OpenApp, sample: Workspace, monkeypatch: Any, tmp_path: Path
) -> None:
    pretend_run(sample, monkeypatch)
    pretend_run(sample, monkeypatch, steps=20)
    foreign = tmp_path / "factory-run"
    foreign.mkdir()
    rows = [{"current_steps": s, "total_steps": 30, "loss": 3 - s / 10} for s in (10, 20)]
    (foreign / "trainer_log.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    async with open_app(size=(200, 50)) as pilot:
        screen = await open_training(pilot)
        screen.query_one("#run-rows").focus()
        await pilot.press("space", "down", "space")
        await settle(pilot)
        assert len(screen.query_one("#chart", LineChart)._series) == 4
        assert "mine-1" in text(pilot, "#chart-figures")
        await pilot.press("o")
        await pilot.pause()
        pilot.app.screen.query_one(Input).value = str(foreign)
        await pilot.press("enter")
        await settle(pilot)
        assert [shown.name for shown in screen.model.runs] == ["mine-2", "mine-1", "factory-run"]
        assert screen.model.runs[2].history.series["loss"] == {10: 2.0, 20: 1.0}


@pytest.mark.slow
async def test_a_plan_is_drawn_with_tokens_memory_and_findings(open_app: OpenApp, sample: Workspace) -> None:
    RunStore(sample).save_recipe(recipe())
    async with open_app() as pilot:
        screen = await open_training(pilot)
        screen.model.plans[recipe().sha256] = {
            "ok": True,
            "problems": [{"level": "warn", "message": "3 rows are cut", "hint": "Raise it."}],
            "data": {
                "examples": 10,
                "packed": 0,
                "held_out": 2,
                "trained_tokens": 99,
                "histogram": [1, 5, 2],
                "tokens": {"p50": 10, "p95": 20, "max": 30, "total": 300},
            },
            "memory": {
                "total": 9e9,
                "available": 24e9,
                "device": "gpu0",
                "fits": True,
                "weights": 5e9,
                "adapter": 3e8,
                "optimizer": 2e8,
                "activations": 3e9,
                "logits": 4e8,
                "overhead": 9e8,
            },
            "time": {"steps": 100, "seconds": 840.0, "tokens_per_s": 7000},
            "parity": {"compared": 50, "different": 0, "serving": "s"},
            "savings": [
                {
                    "setting": "kernels: liger",
                    "used": False,
                    "absent": "",
                    "memory": 640_000_000,
                    "step": None,
                    "padding": None,
                }
            ],
            "examples": [[["<|im_start|>user\n", "masked"], ["yes", "trained"], ["late", "cut"]]],
        }
        screen.draw()
        shown = text(pilot, "#details-text")
        for part in (
            "3 rows are cut",
            "9.00 GB of 24.0 GB",
            "fits",
            "14 min",
            "same tokens",
            "kernels: liger is not in use; it would save 0.64 GB",
            "<|im_start|>user⏎yeslate",
        ):
            assert part in shown, part


@pytest.mark.slow
async def test_a_sweep_is_drawn_with_its_trials_and_what_mattered(open_app: OpenApp, sample: Workspace) -> None:
    store = RunStore(sample)
    store.save_recipe(recipe())
    result = {
        "best": {"lora.rank": 16},
        "loss": 0.3,
        "recipe": "mine-best@1",
        "importance": {"lora.rank": 0.9},
        "trials": [
            {"trial": 0, "state": "complete", "loss": 0.3, "lora.rank": 16},
            {"trial": 1, "state": "pruned", "loss": 2.0, "lora.rank": 4},
        ],
    }
    job = store.jobs.add(
        kind="sweep", title="sweep mine", spec={"entry": "", "arguments": {"recipe": {"name": "mine"}}}
    )
    store.jobs.update(job.id, state="done", result=json.dumps(result))
    async with open_app() as pilot:
        await open_training(pilot)
        await pilot.press("w")
        shown = text(pilot, "#details-text")
        assert "mine-best@1" in shown
        assert "ended early" in shown
        assert "90%" in shown


@pytest.mark.slow
async def test_several_objectives_are_drawn_with_their_front(open_app: OpenApp, sample: Workspace) -> None:
    store = RunStore(sample)
    store.save_recipe(recipe())
    trials = [
        {"trial": n, "state": "complete", "loss": loss, "values": {"loss": loss, "size": size}, "lora.rank": rank}
        for n, (loss, size, rank) in enumerate([(0.3, 4e6, 32), (0.5, 1e6, 8), (0.6, 2e6, 16)])
    ]
    ended = {"trial": 3, "state": "pruned", "loss": 2.0, "why": "behind the median at step 4", "lora.rank": 4}
    result = {
        "best": {"lora.rank": 32}, "loss": 0.3, "recipe": "mine-best@1", "importance": {}, "trials": [*trials, ended],
        "objectives": ["loss", "size"], "front": [0, 1],
    }  # fmt: skip
    job = store.jobs.add(
        kind="sweep", title="sweep mine", spec={"entry": "", "arguments": {"recipe": {"name": "mine"}}}
    )
    store.jobs.update(job.id, state="done", result=json.dumps(result))
    async with open_app() as pilot:
        await open_training(pilot)
        await pilot.press("w")
        shown = text(pilot, "#details-text")
        # Two of the front as dots, and one in the legend; one that another is better than.
        assert shown.count("●") == 3
        assert shown.count("·") == 1
        assert "no other trial is better in all of loss, size" in shown
        assert "behind the median at step 4" in shown


@pytest.mark.slow
async def test_a_sweep_is_only_started_where_each_trial_could_be_run(
    open_app: OpenApp, sample: Workspace, monkeypatch: Any
) -> None:
    store = RunStore(sample)
    store.save_recipe(recipe())
    start_no_processes(monkeypatch)
    async with open_app() as pilot:
        screen = await open_training(pilot)
        await pilot.press("v")
        await until(pilot, lambda: isinstance(pilot.app.screen, SweepForm))
        form = pilot.app.screen
        fields = {field.name: field for field in form.query(Field)}
        assert fields["optimizer.learning_rate"].value.endswith(" log")
        assert "lora.dora" in fields
        for typed in ({"quantization.type": "fp4", "optimizer.name": "adamw_8bit"}, {"lora.dora": "yes, no"}):
            for name, value in typed.items():
                fields[name].value = value
        await until(
            pilot, lambda: "dora cannot be combined with fp4" in str(form.query_one("#sweep-verdict", Static).content)
        )
        assert "the trial with" in str(form.query_one("#sweep-verdict", Static).content)
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert pilot.app.screen is form
        fields["lora.dora"].value = ""
        fields["objectives"].value = "loss, size"
        await until(pilot, lambda: "Use the pruner none" in str(form.query_one("#sweep-verdict", Static).content))
        chosen = {choice.name: choice for choice in form.query(Choice)}
        chosen["pruner"].value = "none"
        chosen["sampler"].value = "nsga2"
        fields["at once"].value = "3"
        await until(pilot, lambda: "one after another" in str(form.query_one("#sweep-verdict", Static).content))
        fields["at once"].value = ""
        await until(pilot, lambda: "✓ 8 trials" in str(form.query_one("#sweep-verdict", Static).content))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: [job.kind for job in store.jobs.all()] == ["sweep"])
        given = store.jobs.all()[0].spec["arguments"]
        assert given["objectives"] == ["loss", "size"]
        assert (given["sampler"], given["pruner"]) == ("nsga2", "none")
        assert given["space"]["quantization.type"] == {"choices": ["fp4"]}
        await until(pilot, lambda: pilot.app.screen is screen)


def test_a_run_by_rewards_shows_its_reward_and_its_answers(tmp_path: Path) -> None:
    history = [
        {"kind": "start", "step": 0, "total": 9},
        {"kind": "eval", "step": 0, "eval_loss": -0.2, "eval_reward": 0.2, "eval_reward_se": 0.01, "eval_rewards/length": 13.0},
        {"kind": "answer", "step": 1, "prompt": "Where is it?", "text": "[red]On its way[/red]", "rewards": {"length": 3.0},
         "reward": 0.9, "advantage": 1.2, "why": "short"},
        {"kind": "step", "step": 1, "loss": 0.01, "learning_rate": 1e-4, "seconds": 1.0, "memory_bytes": 1, "reward": 0.4,
         "reward_std": 0.2, "kl": 0.01, "completions/mean_length": 12.0, "rewards/length/mean": 12.0},
        {"kind": "eval", "step": 9, "eval_loss": -0.8, "eval_reward": 0.8, "eval_reward_se": 0.01, "eval_rewards/length": 4.0},
    ]  # fmt: skip
    read = History()
    for line in history:
        read.add(line)  # type: ignore[arg-type]
    shown = Shown("brief-1", tmp_path, "done", read)
    figures = rendering.figures_of([shown])
    assert figures[0].title == "reward ± spread"
    assert "reward length" in [figure.title for figure in figures]
    lines = {series.name: series.points for series in rendering.lines([shown], figures[0])}
    assert lines["brief-1 reward+"] == [(1.0, pytest.approx(0.6))]
    assert lines["brief-1 reward-"] == [(1.0, pytest.approx(0.2))]
    told = str(reward_rendering.answers(shown))
    assert "[red]On its way[/red]" in told
    assert "0.2 (0.18 to 0.22) → 0.8 (0.78 to 0.82)" in told
    assert "held out 0.8" in str(rendering.figures(shown, [shown], 200))


@pytest.mark.slow
async def test_a_sweep_is_waited_for_while_another_is_asked_about(
    open_app: OpenApp, sample: Workspace, monkeypatch: Any
) -> None:
    store = RunStore(sample)
    store.save_recipe(recipe())
    start_no_processes(monkeypatch)
    async with open_app() as pilot:
        screen = await open_training(pilot)
        await pilot.press("v")
        await until(pilot, lambda: isinstance(pilot.app.screen, SweepForm))
        await pilot.press("enter")
        await until(pilot, lambda: [job.kind for job in store.jobs.all()] == ["sweep"])
        job = store.jobs.all()[0]
        assert job.spec["arguments"]["trials"] == 8
        await until(pilot, lambda: pilot.app.screen is screen)
        await pilot.press("v")
        await until(pilot, lambda: isinstance(pilot.app.screen, SweepForm))
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        details = screen.query_one(DetailsPane)
        await until(pilot, lambda: "sweep mine" in str(details.border_subtitle))
        result = {"best": {"lora.rank": 16}, "recipe": "mine-best@1", "trials": [], "loss": 0.3, "importance": {}}
        store.jobs.update(job.id, state="done", result=json.dumps(result))
        await until(pilot, lambda: "The best of 0 trials is saved as mine-best@1" in notices(pilot))
        await until(pilot, lambda: not details.border_subtitle)
