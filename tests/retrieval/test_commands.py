"""``llmops index`` on the command line: without a model, by words alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from llmops_tui.cli.index import show
from llmops_tui.cli.index_queries import queries
from llmops_tui.cli.index_tune import tune
from llmops_tui.errors import LlmopsError
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops, llmops
from tests.retrieval.conftest import Build


def test_an_index_is_inspected_searched_explained_measured_and_removed(
    workspace: Workspace, store: IndexStore, shop: Path, build: Build, tmp_path: Path
) -> None:
    build(shop, words_alone=True)
    command = Llmops(workspace)
    (listed,) = command.run("index", "list")["indexes"]
    assert (listed["name"], listed["documents"], listed["stale"]) == ("shop", 4, [])
    assert command.run("index", "show", "shop", "--documents")["listed"][0] == {"document": "card.txt", "chunks": 1}
    found = command.run("index", "search", "shop", "where is my card", "-k", "2")
    assert (found["by"], found["hits"][0]["passage"]["document"]) == ("bm25", "card.txt")
    why = command.run("index", "why", "shop", "where is my card", "--text", "five days", "-k", "1")
    assert why["document"] == "orders.md"
    assert not why["found"]
    known = tmp_path / "queries.jsonl"
    known.write_text(json.dumps({"query": "where is my card", "documents": ["card.txt"]}))
    measured = command.run("index", "measure", "shop", "--queries", str(known), "-k", "1")
    assert {f["metric"]: f["mean"] for f in measured["retrievers"][0]["figures"]}["mrr@1"] == 1
    told = llmops("index", "measure", "shop", "--queries", str(known), workspace=workspace)
    assert "recall@10" in told.stdout
    assert command.run("index", "remove", "shop", "--document", "pin.html")["versions"] == ["shop@1"]
    assert command.run("index", "remove", "shop", "--document", "pin.html", "--yes")["done"]
    assert store.get("shop").record["documents"] == 3
    assert command.run("index", "remove", "shop")["done"] is False
    assert command.run("index", "remove", "shop", "--yes")["removed"] == ["shop@1"]
    assert command.run("index", "list")["total"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("build", "new"), 3, "there is no index new yet"),
        (("build", "new", "--from", "."), 3, "no model that embeds is registered"),
        (("search", "none", "x"), 3, "no index 'none'"),
        (("why", "shop", "x"), 2, "give --chunk or --text"),
        (("search", "shop", "x", "--by", "magic"), 2, "--by takes"),
        (("search", "shop", "x", "--context", "9"), 2, "--context goes with --by everything; bm25 takes"),
        (("search", "shop", "x", "--by", "everything", "-k", "9"), 2, "-k does not go with --by everything"),
        (("measure", "shop", "--queries", "none.jsonl", "--by", "bm25", "--by", "bm25"), 2, "named twice"),
        (("remove", "shop@1", "--document", "card.txt"), 2, "goes with an index"),
    ],
)
def test_what_cannot_be_done_is_said(
    workspace: Workspace, shop: Path, build: Build, arguments: tuple[str, ...], code: int, told: str
) -> None:
    build(shop, words_alone=True)
    done = llmops("index", *arguments, workspace=workspace)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("queries shop --count 5", "--count goes with --model"),
        ("queries shop --detach", "--detach goes with --model"),
        ("queries shop --model m --confirm a", "--confirm judges"),
        ("queries shop --model m --limit 5", "--limit judges or lists"),
        ("tune shop --forget --metric mrr@10", "--metric goes with learning"),
        ("tune shop --forget --preview", "--preview goes with learning"),
        ("show shop --limit 5", "--limit goes with --documents"),
    ],
)
def test_an_option_that_would_not_be_looked_at_is_refused_by_name(line: str, told: str) -> None:
    app = typer.Typer()
    for name, command in {"queries": queries, "tune": tune, "show": show}.items():
        app.command(name)(command)
    error = CliRunner().invoke(app, line.split()).exception
    assert isinstance(error, LlmopsError)
    assert (error.code, error.message.startswith(told)) == ("usage", True), error.message


@pytest.mark.slow
def test_an_index_is_built_as_a_job(workspace: Workspace, store: IndexStore, shop: Path) -> None:
    built = Llmops(workspace).run("index", "build", "shop", "--from", str(shop), "--embedder", "none")
    assert (built["index"]["number"], built["unchanged"]) == (1, False)
    assert Llmops(workspace).run("index", "build", "shop")["unchanged"]
    assert store.get("shop").record["documents"] == 4
