"""The map of topics, rows alike, and labelling with proposals, on the datasets screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from textual.widgets import Static

from llmops_tui.datasets.assisted_labelling import LabelAssistant
from llmops_tui.datasets.labelling import Labelling, Task
from llmops_tui.datasets.meaning.index import require_index
from llmops_tui.datasets.meaning.topics import make_map, require_map
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from screens.datasets.label_screen import LabelScreen
from screens.datasets.map_screen import MapScreen
from screens.datasets.rows_pane import RowsPane
from screens.widgets.dialogs import ChoiceDialog
from screens.widgets.line_list import LineList
from screens.widgets.scatter import cells_of
from tests.datasets.test_meaning import TOPICS, embedded, imported
from tests.screens.conftest import OpenApp, settle, until
from tests.screens.test_datasets import go


def test_points_become_dots_of_braille() -> None:
    points = np.array([[0, 0], [1, 1], [np.nan, 0.5]], np.float32)
    cells = cells_of(points, 3, 2)
    assert cells.tolist() == [[0, 0, 0x08], [0x40, 0, 0]]
    assert cells_of(points[:0], 3, 2).tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.fixture
def bank(sample: Workspace, tmp_path: Path) -> DatasetStore:
    """A small version that is embedded and mapped, which the screen opens first."""
    store = DatasetStore(Catalog(sample))
    rows = [{"text": text, "label": topic} for topic, texts in TOPICS.items() for text in texts]
    make_map(embedded(imported(store, tmp_path, "bank", rows)), 3)
    return store


@pytest.mark.parametrize("size", [(120, 40), pytest.param((80, 24), marks=pytest.mark.slow)])
async def test_clusters_of_the_map_are_shown_as_rows(
    open_app: OpenApp, bank: DatasetStore, size: tuple[int, int]
) -> None:
    async with open_app(size=size) as pilot:
        screen = await go(pilot)
        rows = screen.query_one(RowsPane)
        await pilot.press("M")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press(*"map", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, MapScreen))
        facts = pilot.app.screen.query_one("#map-facts", Static)
        await until(pilot, lambda: "cluster 0" in str(facts.render()))
        await pilot.press("space", "down", "space", "enter")
        await until(pilot, lambda: rows.filter == "??@0,1")
        await settle(pilot)
        assert rows.window is not None
        assert rows.window.count == 8
        await pilot.press("a")
        await until(pilot, lambda: rows.filter.startswith("??#"))
        assert rows.window.count == 12


@pytest.mark.slow
async def test_walking_on_the_map_goes_to_the_cluster_on_that_side(open_app: OpenApp, bank: DatasetStore) -> None:
    async with open_app() as pilot:
        await go(pilot)
        topic_map = require_map(bank.get("bank"))
        pilot.app.push_screen(MapScreen(topic_map))
        await until(pilot, lambda: isinstance(pilot.app.screen, MapScreen))
        lines = pilot.app.screen.query_one(LineList)
        leftmost = min(topic_map.record["topics"], key=lambda topic: topic["x"])["cluster"]
        for _ in range(3):
            await pilot.press("left")
        assert topic_map.record["topics"][lines.cursor]["cluster"] == leftmost


@pytest.mark.slow
async def test_enter_takes_the_proposed_label(open_app: OpenApp, bank: DatasetStore) -> None:
    version = bank.get("bank")
    work = Labelling(bank, version, Task.make("topic", "classify", tuple(TOPICS)), "ann")
    for row, topic in ((0, "card"), (4, "rate"), (8, "pin")):
        work.say(row, topic)
    async with open_app() as pilot:
        await go(pilot)
        pilot.app.push_screen(LabelScreen(work, LabelAssistant(work, require_index(version))))
        await until(pilot, lambda: isinstance(pilot.app.screen, LabelScreen))
        keys = pilot.app.screen.query_one("#label-keys", Static)
        await until(pilot, lambda: "is proposed" in str(keys.render()))
        await pilot.press("enter")
        await until(pilot, lambda: len(work.own()) == 4)
        assert work.own()[-1].value == work.own()[-1].proposed
