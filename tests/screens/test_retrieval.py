"""The indexes on their screen: listed, searched by each ranker, explained, built and removed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from llmops_tui.chains.store import ChainStore
from llmops_tui.evaluation.suite import Suite
from llmops_tui.prompts.store import PromptStore
from llmops_tui.retrieval.build import build_index
from llmops_tui.retrieval.records import BuildRecord
from llmops_tui.retrieval.sources import source_of
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.retrieval.written_queries import WrittenQueries
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.layout import Workspace
from screens.evaluation import run_suite as run_flow
from screens.retrieval import build_index as build_flow
from screens.retrieval.found_pane import FoundPane
from screens.retrieval.list_pane import ListPane
from screens.retrieval.screen import RetrievalScreen
from screens.retrieval.source_pane import SourcePane
from screens.widgets.dialogs import ChoiceDialog, ConfirmDialog, LineDialog, VerdictDialog
from screens.widgets.motions import Options
from tests.retrieval.conftest import SHOP
from tests.screens.conftest import OpenApp, notices, settle, until


@pytest.fixture
def shop(sample: Workspace, tmp_path: Path) -> IndexStore:
    """An index of four documents, by words alone: no model is started."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in SHOP.items():
        (folder / name).write_text(text, encoding="utf-8")
    store = IndexStore(Catalog(sample))
    asked: BuildRecord = {
        "source": source_of(store.catalog, str(folder)),
        "tokens": 20,
        "embedder": None,
        "take_back": False,
    }
    asyncio.run(build_index(store, "shop", asked, None, lambda _share, _told: None))
    return store


async def indexes(pilot: Pilot[int]) -> RetrievalScreen:
    """Open the indexes from the datasets, and wait until they are read."""
    await pilot.press("f9", "2")
    await settle(pilot)
    await pilot.press("K")
    await until(pilot, lambda: isinstance(pilot.app.screen, RetrievalScreen))
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, RetrievalScreen)
    return screen


async def test_chunks_are_found_shown_and_explained(open_app: OpenApp, shop: IndexStore, tmp_path: Path) -> None:
    async with open_app() as pilot:
        app, source = pilot.app, (await indexes(pilot)).query_one(SourcePane)
        assert "shop@1: 4 documents" in source.told
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        app.screen.query_one(Input).value = "refunds"
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query_one(FoundPane).current is not None)
        await settle(pilot)
        hit = app.screen.query_one(FoundPane).current
        assert hit is not None
        assert (hit["passage"]["document"], hit["terms"]) == ("orders.md", ["refunds"])
        assert "The money comes back within five days." in source.told
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        app.screen.query_one(Input).value = "my card did not arrive"
        await pilot.press("enter")
        await until(pilot, lambda: "it has none of the words of the query" in source.told)
        # What is stale is told in the list.
        (tmp_path / "shop" / "card.txt").write_text("changed")
        await pilot.press("r")
        await settle(pilot)
        listed = app.screen.query_one(ListPane).current
        assert listed is not None
        assert listed.stale == ("1 file changed: card.txt",)


@pytest.mark.slow
async def test_without_an_index_the_screen_says_what_to_do(
    open_app: OpenApp, sample: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "one.md").write_text("# One\n\nA note.")
    built: list[BuildRecord] = []

    async def build(_shell: object, _progress: object, name: str, asked: BuildRecord) -> None:
        built.append(asked)
        await build_index(IndexStore(Catalog(sample)), name, asked, None, lambda _share, _told: None)

    monkeypatch.setattr(build_flow, "_build", build)
    async with open_app() as pilot:
        app, screen = pilot.app, await indexes(pilot)
        await pilot.press("f5")
        await settle(pilot)
        assert "n makes one" in notices(pilot)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press(*"folder", "enter")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        app.screen.query_one(Input).value = str(folder)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press(*"words alone", "enter")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        assert app.screen.query_one(Input).value == "notes"
        await pilot.press("enter")
        await until(pilot, lambda: screen.query_one(ListPane).current is not None)
        assert built[0]["embedder"] is None
        await settle(pilot)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press(*"whole", "enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("Y")
        await until(pilot, lambda: screen.query_one(ListPane).current is None)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, RetrievalScreen))


@pytest.mark.slow
async def test_queries_are_confirmed_by_a_key_and_contexts_and_weights_are_offered(
    open_app: OpenApp, shop: IndexStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = WrittenQueries(shop, "shop")
    passage = sha256_text("My card did not arrive.")
    for number in range(3):
        assert queries.add(
            {
                "id": f"q{number}", "query": f"When does it come, {number}?", "document": "card.txt", "start": 0, "end": 23, "sha256": passage,
                "state": "open", "model": "writer", "model_sha256": "a", "of": "shop@1", "copied": 0.0,
            }
        )  # fmt: skip
    built: list[BuildRecord] = []

    async def build(_shell: object, _progress: object, _name: str, asked: BuildRecord) -> None:
        built.append(asked)

    async def allow(_shell: object, _progress: object, _name: str, asked: BuildRecord) -> bool:
        return asked.get("context") is None

    monkeypatch.setattr(build_flow, "_build", build)
    monkeypatch.setattr(build_flow, "_allow_contexts", allow)
    async with open_app() as pilot:
        app, screen = pilot.app, await indexes(pilot)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press(*"look through", "enter")
        await until(pilot, lambda: isinstance(app.screen, VerdictDialog))
        shown = " ".join(str(one.render()) for one in app.screen.query(Static))
        assert "When does it come, 0?" in shown
        assert "My card did not arrive." in shown
        await pilot.press("y")
        await until(pilot, lambda: queries.all()[0]["state"] == "confirmed" and isinstance(app.screen, VerdictDialog))
        await pilot.press("n")
        await until(pilot, lambda: queries.all()[1]["state"] == "rejected" and isinstance(app.screen, VerdictDialog))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        assert [one["state"] for one in queries.all()] == ["confirmed", "rejected", "open"]
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press(*"no contexts", "enter")
        await until(pilot, lambda: bool(built))
        assert built[0].get("context") is None
        await until(pilot, lambda: app.screen is screen)
        await settle(pilot)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        app.screen.query_one(Input).value = str(tmp_path / "none.jsonl")
        await pilot.press("enter")
        await until(pilot, lambda: "nothing to weigh" in notices(pilot))


async def test_queries_are_answered_as_an_evaluation_by_a_key(
    open_app: OpenApp, shop: IndexStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PromptStore(shop.catalog).save("faq", template="{{ retrieve(question, 1) }} {{ question }}")
    PromptStore(shop.catalog).save("plain", template="{{ question }}")
    for name, prompt in (("asks", "faq"), ("asks-nothing", "plain"), ("names-nothing", "gone")):
        ChainStore(shop.catalog).save(name, f"inputs: {{question: text}}\nsteps: {{answer: {{prompt: {prompt}}}}}\n")
    path = tmp_path / "queries.jsonl"
    path.write_text('{"query": "my card", "documents": ["card.txt"]}\n{"query": "moon", "answerable": false}\n')
    run: list[Suite] = []

    async def kept(_shell: object, suite: Suite) -> str | None:
        run.append(suite)
        return None

    monkeypatch.setattr(run_flow, "run_suite", kept)
    async with open_app() as pilot:
        app, screen = pilot.app, await indexes(pilot)
        for queries, told in ((str(path), ""), ("", "no confirmed queries")):
            await pilot.press("v")
            await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
            offered = app.screen.query_one(Options).options
            assert [str(one.prompt).strip() for one in offered] == ["faq@1", "chain/asks@1"]
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, LineDialog))
            app.screen.query_one(Input).value = queries
            await pilot.press("enter")
            await until(pilot, lambda: bool(run))
            await until(pilot, lambda: app.screen is screen)
            await settle(pilot)
            assert told in notices(pilot)
    (suite,) = run
    assert (suite.name, suite.prompts(), len(suite.cases)) == ("shop-answers", ["faq@1"], 2)
