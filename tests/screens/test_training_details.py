"""Details of runs and recipes: lines that keep figures whole, what is told of a run that is over, and the focus where it is seen."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.layout import Workspace
from screens.training import details_rendering
from screens.widgets.chart import Series, draw
from screens.widgets.text_wrap import hanging, join_parts
from tests.screens.conftest import OpenApp, notices, settle
from tests.screens.test_training import open_training, pretend_run, recipe, text


def test_lines_are_broken_between_figures_and_never_inside_one() -> None:
    parts = ["step 330 of 363", "loss 0.293", "gradient norm 0.0067", "2,068 tok/s", "1.39 GB"]
    for width in (20, 30, 45, 80, 200):
        lines = join_parts(parts, width)
        assert [part for line in lines for part in line.split(" · ")] == parts
        assert all(cell_len(line) <= max(width, cell_len(max(parts, key=len))) for line in lines)
    assert join_parts(parts, 200) == [" · ".join(parts)]
    assert join_parts([], 10) == []


def test_further_lines_begin_below_the_first_word() -> None:
    told = hanging("one two three four five", 16, 6)
    assert told.split("\n") == ["one two", "      three four", "      five"]
    assert all(line.startswith(" " * 6) for line in told.split("\n")[1:])


def test_the_axis_below_a_chart_says_what_it_counts() -> None:
    lines = draw(
        [Series("a", "$accent", [(1.0, 3.0), (90.0, 1.0)])], 60, 8, weight=0.0, logarithmic=False, zoom=1.0, utf8=True,
        across="step",
    )  # fmt: skip
    assert lines[-1].plain.split()[:2] == ["step", "1"]
    assert lines[-1].plain.rstrip().endswith("90")


@pytest.mark.parametrize("width", [50, 60, 78, 120])
def test_a_recipe_is_told_in_groups_of_words_and_fits(width: int) -> None:
    told = details_rendering.settings(recipe(seed=3), width).plain
    lines = told.splitlines()
    assert lines[0].startswith("QLoRA: an adapter of rank 16")
    assert {"Model", "Data", "Steps", "Adapter", "Evaluation"} <= set(lines)
    assert "most steps: no limit" in told
    assert any(line.split() == ["seed", "3"] for line in lines)
    assert all(cell_len(line) <= width for line in lines[1:]), [line for line in lines if cell_len(line) > width]


def test_each_part_of_the_memory_has_its_unit_and_the_parts_come_to_the_sum() -> None:
    parts = {"weights": 5e9, "adapter": 3e6, "optimizer": 2e8, "activations": 3e9, "logits": 4e8, "overhead": 9e8}
    memory: Any = {**parts, "total": 1.1 * sum(parts.values()), "available": 24e9, "device": "gpu0", "fits": True}
    told = "".join(part if isinstance(part, str) else part[0] for part in details_rendering._memory(memory))
    assert "5.0 GB" in told
    assert "3.0 MB" in told
    assert "+950.3 MB  as measured runs came to" in told
    memory["total"] = sum(parts.values())
    assert "correction" not in "".join(
        part if isinstance(part, str) else part[0] for part in details_rendering._memory(memory)
    )


async def test_a_run_that_is_over_is_told_so_and_shows_what_came_of_it(
    open_app: OpenApp, sample: Workspace, monkeypatch: Any
) -> None:
    RunStore(sample).save_recipe(recipe())
    name = pretend_run(sample, monkeypatch)
    async with open_app() as pilot:
        screen = await open_training(pilot)
        await pilot.press("f9", "r")
        await settle(pilot)
        assert "u use" in str(screen.query_one("#training-runs").border_subtitle)
        await pilot.press("x")
        await settle(pilot)
        assert f"{name} is done: there is nothing to stop." in notices(pilot)
        assert pilot.app.screen is screen


async def test_on_a_narrow_terminal_the_focus_is_where_something_is_seen(open_app: OpenApp, sample: Workspace) -> None:
    RunStore(sample).save_recipe(recipe())
    async with open_app(size=(80, 24)) as pilot:
        screen = await open_training(pilot)
        await settle(pilot)
        focused = screen.focused
        assert focused is not None
        assert all(widget.display for widget in focused.ancestors_with_self if hasattr(widget, "display"))
        assert "QLoRA" in text(pilot, "#details-text")
        await pilot.press("f9", "e")
        await settle(pilot)
        assert screen.focused is not None
        assert screen.focused.id == "recipe-list"
