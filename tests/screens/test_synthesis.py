"""Rows that a model writes, asked for on the datasets screen: the form, the budget, the funnel, and topics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Static

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.origins import COLUMN
from llmops_tui.datasets.sources.base import Reject
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.synthesis.topics import Topic
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from screens.datasets import synthesise_rows
from screens.datasets.funnel_screen import FunnelScreen
from screens.datasets.screen import DatasetsScreen
from screens.datasets.synthesis_form import MOST_ROWS, NoiseAsked, RowsAsked, SynthesisDialog, WordsAsked, name_of_made
from screens.datasets.topics_screen import TopicsScreen
from screens.datasets.versions_pane import VersionsPane
from screens.widgets.dialogs import ChoiceDialog, ConfirmDialog
from screens.widgets.line_list import LineList
from tests.screens.conftest import OpenApp, settle, until
from tests.screens.test_datasets import go

BUDGET = {
    "rows": 100, "calls": 100, "judge_calls": 0, "prompt_tokens": 900, "completion_tokens": 100, "seconds": 90.0,
    "most_completion_tokens": 25600, "samples": [{"text": "a sample row", COLUMN: {}}], "told": ["written: text"],
}  # fmt: skip


@pytest.fixture
def store(sample: Workspace, tmp_path: Path) -> DatasetStore:
    """A version that the screen opens first, and one that was written of it."""
    made = DatasetStore(Catalog(sample))
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"the question number {n}"}) + "\n" for n in range(4)))
    import_now(made, [path], "ask", "text")
    origin = {"by": "model", "way": "rows", "seed": 1, "parents": []}
    path.write_text("".join(json.dumps({"text": f"new {n}", COLUMN: origin}) + "\n" for n in range(2)))
    import_now(made, [path], "written", "text")
    return made


async def test_rows_are_written_once_the_budget_is_confirmed(
    open_app: OpenApp, store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, dict[str, Any]]] = []

    async def job(_shell: Any, _progress: Any, kind: str, _title: str, _entry: str, arguments: dict[str, Any]) -> Any:
        started.append((kind, arguments))
        return BUDGET if kind == "budget" else {"dataset": "written", "version": 1}

    monkeypatch.setattr(synthesise_rows, "_job", job)
    async with open_app() as pilot:
        screen = await go(pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press(*"synth", "enter")
        await until(pilot, lambda: "More rows" in str(pilot.app.screen.query(".dialog-title").first(Static).render()))
        await pilot.press(*"like", "enter")
        await until(pilot, lambda: "Written by" in str(pilot.app.screen.query(".dialog-title").first(Static).render()))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, SynthesisDialog))
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        told = str(pilot.app.screen.query_one(".dialog-text", Static).render())
        assert "100 calls, about 1,000 tokens (100 written, 25,600 at the most), about 2 min" in told
        assert '{"text": "a sample row"}' in told
        assert [kind for kind, _ in started] == ["budget"]
        await pilot.press("y")
        await until(pilot, lambda: isinstance(pilot.app.screen, FunnelScreen))
        assert [kind for kind, _ in started] == ["budget", "synthesis"]
        assert started[1][1]["plan"]["seeds"] == "ask@1"
        await pilot.press("escape")
        await until(pilot, lambda: screen.version is not None and screen.version.ref == "written@1")
        await settle(pilot)
        versions = screen.query_one(VersionsPane).table
        await until(pilot, lambda: bool(versions.shown) and versions.shown[0].origins == "100% synthetic")


@pytest.mark.slow
async def test_noise_makes_a_dataset_of_its_own(open_app: OpenApp, store: DatasetStore) -> None:
    async with open_app() as pilot:
        screen = await go(pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press(*"synth", "enter")
        await until(pilot, lambda: "More rows" in str(pilot.app.screen.query(".dialog-title").first(Static).render()))
        await pilot.press(*"typing", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, SynthesisDialog))
        await pilot.press("f2")
        await until(pilot, lambda: screen.version is not None and screen.version.ref == "ask-noise@1")
        await settle(pilot)
    assert store.get("ask-noise").recipe.inputs[0][0] == "ask@1"


@pytest.mark.slow
async def test_topics_are_edited_and_what_fell_is_looked_at(
    open_app: OpenApp, store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = (Topic("Cards", topics=(Topic("Lost"), Topic("New [red]"))), Topic("Loans"))
    monkeypatch.setattr("screens.datasets.topics_screen.edit_outside", lambda *_: "- One\n- topic: Two\n  rows: 3\n")
    async with open_app() as pilot:
        screen: DatasetsScreen = await go(pilot)
        answers: list[object] = []
        pilot.app.push_screen(TopicsScreen(screen.shell, tree, "a bank"), answers.append)
        await until(pilot, lambda: isinstance(pilot.app.screen, TopicsScreen))
        head = pilot.app.screen.query_one("#topics-head", Static)
        assert "3 topics to write about" in str(head.render())
        await pilot.press("down", "x")
        assert "2 topics" in str(head.render())
        assert pilot.app.screen.query_one(LineList).length == 3
        await pilot.press("e")
        await pilot.press("enter")
        await settle(pilot)
        assert answers == [(Topic("One"), Topic("Two", rows=3))]
        fallen = [
            Reject("copy", 3, -1, 1, "copy: as row 1", b"[red]same[/]"),
            Reject("judge", 4, -1, 1, "judge: 1", b"bad"),
        ]
        pilot.app.push_screen(FunnelScreen(store.get("written"), fallen))
        await until(pilot, lambda: isinstance(pilot.app.screen, FunnelScreen))
        await settle(pilot)
        assert "2 rows of 4 left: 50.0%" in str(pilot.app.screen.query_one("#funnel-lines", Static).render())
        shown = pilot.app.screen.query_one("#funnel-fallen", Static)
        assert "[red]same[/]" in str(shown.render())
        await pilot.press("tab")
        assert "bad" in str(shown.render())


def test_the_form_makes_a_plan(tmp_path: Path) -> None:
    schema = tmp_path / "row.json"
    schema.write_text('{"type": "object", "properties": {"text": {"type": "string"}}}')
    asked = RowsAsked(name="new", schema_file=str(schema), judge="big")
    plan = asked.plan("small", "ask@1", [{"topic": "Cards"}])
    assert plan["schema"]["properties"] == {"text": {"type": "string"}}
    assert (plan["filters"]["judge"], plan["topics"]) == ("big", [{"topic": "Cards"}])


@pytest.mark.parametrize("dataset", ["größe", "質問", "a" * 100, "ä" * 100, "й" * 99])
def test_rows_of_a_dataset_with_any_name_get_one(dataset: str) -> None:
    name = name_of_made(dataset, "back-translation")
    assert name.endswith("-back-translation")
    assert NoiseAsked(name=name).name == WordsAsked(name=name, rows=MOST_ROWS).name == name
    with pytest.raises(ValueError, match="letters and digits"):
        RowsAsked(name="two words")
