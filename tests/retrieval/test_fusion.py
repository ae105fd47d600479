"""The weight of meaning against words: how both are fused, what is learnt on labelled queries, and what of it is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmops_tui.cli.index_measure import measurement_text
from llmops_tui.datasets.meaning.search import fuse
from llmops_tui.embeddings.embedder import EmbedderSpec, Vectors
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.retrieval.measurement import Contender, Plan, measure
from llmops_tui.evaluation.retrieval.weight_learning import learn_weight
from llmops_tui.retrieval.fusion import Candidates, Fusion
from llmops_tui.retrieval.records import FusionRecord
from llmops_tui.retrieval.removal import remove_documents
from llmops_tui.retrieval.request import build_request
from llmops_tui.retrieval.retriever import By, usual_way
from llmops_tui.retrieval.staleness import stale_because
from llmops_tui.retrieval.store import Index, IndexStore
from llmops_tui.retrieval.told import fusion_text, index_text
from llmops_tui.retrieval.weighting import keep_fusion
from llmops_tui.retrieval.why_not import explain, place_of_chunk
from llmops_tui.workspace.layout import Workspace
from tests.commands import llmops
from tests.retrieval.conftest import Build, Open
from tests.word_embedder import vector

WORDS = {3: (1, 9.0), 1: (2, 5.0), 7: (3, 4.0)}
MEANING = {1: (1, 0.9), 2: (2, 0.8), 3: (3, 0.1)}


def embed_all(_spec: EmbedderSpec, texts: Sequence[str]) -> Mapping[str, Vectors]:
    return {text: vector(text) for text in texts}


def untold(_share: float, _what: str) -> None:
    pass


def test_equal_weights_by_ranks_are_reciprocal_rank_fusion() -> None:
    found = Candidates(WORDS, MEANING).first(Fusion(), 10)
    assert found == list(fuse([list(WORDS), list(MEANING)]).items())


def test_a_weight_goes_from_words_to_meaning_and_what_a_ranking_lacks_is_its_last() -> None:
    both = Candidates(WORDS, MEANING)
    assert [chunk for chunk, _ in both.first(Fusion("ranks", 1.0), 3)] == [1, 2, 3]
    assert [chunk for chunk, _ in both.first(Fusion("ranks", 0.0), 3)] == [3, 1, 7]
    given = np.array([9.0, 5.0, 4.0])
    standard = (given - given.mean()) / given.std()
    cosines = np.array([0.9, 0.8, 0.1])
    meant = (cosines - cosines.mean()) / cosines.std()
    found = dict(both.first(Fusion("scores", 0.25), 4))
    assert found[3] == pytest.approx(1.5 * standard[0] + 0.5 * meant[2])
    assert found[2] == pytest.approx(1.5 * standard[2] + 0.5 * meant[1])
    # Scores that are all alike say nothing; nor does a ranking of nothing.
    assert [c for c, _ in Candidates({1: (1, 2.0), 2: (2, 2.0)}, {2: (1, 0.5)}).first(Fusion("scores"), 2)] == [1, 2]
    assert Candidates({}, MEANING).first(Fusion("scores", 0.5), 1)[0][0] == 1
    assert Candidates({}, {}).first(Fusion(), 5) == []


def written(path: Path, lines: Sequence[object]) -> Path:
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture
def corpus(tmp_path: Path, build: Build) -> Path:
    """Forty documents; half of the queries are found by words alone, half by meaning alone."""
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(40):
        (folder / f"{n}.txt").write_text(f"refund{n} about things")
    build(folder, name="many")
    return folder


def of_weights(store: IndexStore, index: Index) -> list[str]:
    """What of an index is stale, but for its embedder, which is no model."""
    return [why for why in stale_because(store, index) if "weight" in why]


def by_stems(count: int) -> list[dict[str, object]]:
    """Queries whose words have another ending: BM25 finds them, and to the embedder of these tests they are other words."""
    return [{"query": f"refund{n}s", "documents": [f"{n}.txt"]} for n in range(count)]


@pytest.mark.usefixtures("corpus")
def test_where_both_together_are_not_better_the_better_alone_is_recommended(store: IndexStore, tmp_path: Path) -> None:
    index = store.get("many")
    path = written(tmp_path / "q.jsonl", [{"query": f"refund{n} about", "documents": [f"{n}.txt"]} for n in range(30)])
    found = learn_weight(store, index, path, untold, embed_all=embed_all)
    assert (found["queries"], found["metric"], found["of"]) == (30, "mrr@10", "many@1")
    assert (found["mean"], found["alone"], found["gain"], found["baseline"]) == (1.0, 1.0, 0.0, "vectors")
    assert found["low"] is not None
    assert found["low"] < 0 < (found["high"] or 0)
    # Three of thirty could have been missed.
    assert (found["smallest"], found["recommended"]) == (pytest.approx(0.1), "vectors")
    assert "vectors alone is recommended" in fusion_text(found)
    # Of equally good ones the weight is nearest to meaning alone.
    assert (found["method"], found["weight"]) == ("ranks", 0.95)


@pytest.mark.usefixtures("corpus")
def test_a_gain_that_is_seen_on_queries_that_were_not_learnt_on_recommends_hybrid(
    store: IndexStore, tmp_path: Path
) -> None:
    index = store.get("many")
    # Half is said with another ending, which only words find, and half lacks the word that tells documents apart but for meaning.
    lines = by_stems(40)
    meant = {f"{n} other": vector(f"refund{n} about things") for n in range(40)}
    lines += [{"query": text, "documents": [f"{n}.txt"]} for n, text in enumerate(meant)]
    path = written(tmp_path / "q.jsonl", lines)
    found = learn_weight(
        store, index, path, untold, embed_all=lambda _spec, texts: {t: meant.get(t, vector(t)) for t in texts}
    )
    assert found["mean"] > found["alone"] + 0.2
    assert found["low"] is not None
    assert found["low"] > 0
    assert (found["recommended"], found["p"] < 0.01) == ("hybrid", True)
    assert "hybrid is recommended" in fusion_text(found)


@pytest.mark.usefixtures("corpus")
def test_what_nothing_can_be_learnt_from_is_refused(
    store: IndexStore, shop: Path, build: Build, tmp_path: Path
) -> None:
    index = store.get("many")
    few = written(tmp_path / "few.jsonl", by_stems(19))
    for metric, told in (
        ("mrr@10", "has 19 queries"),
        ("mrr", "not by 'mrr'"),
        ("f1@3", "not by"),
        ("hit@0", "not by"),
    ):
        with pytest.raises(InputRefusedError, match=told):
            learn_weight(store, index, few, untold, metric=metric, embed_all=embed_all)
    build(shop, words_alone=True)
    with pytest.raises(InputRefusedError, match="nothing to weigh"):
        learn_weight(store, store.get("shop"), few, untold)
    with pytest.raises(InputRefusedError, match="nothing to weigh"):
        keep_fusion(store, store.get("shop"), None)


def learnt(store: IndexStore, tmp_path: Path, **more: object) -> FusionRecord:
    path = written(tmp_path / "q.jsonl", by_stems(40))
    found = learn_weight(store, store.get("many"), path, untold, metric="hit@1", embed_all=embed_all)
    return {**found, **more}  # type: ignore[typeddict-item]


@pytest.mark.usefixtures("corpus")
def test_a_weight_that_is_measured_on_its_own_queries_is_told(store: IndexStore, tmp_path: Path) -> None:
    before, path = store.get("many"), written(tmp_path / "q.jsonl", by_stems(20))
    fusion = learn_weight(store, before, path, untold, metric="hit@1", embed_all=embed_all)
    kept = keep_fusion(store, before, fusion)
    ways: list[tuple[Index, By]] = [(kept, "bm25"), (kept, "hybrid"), (before, "hybrid")]
    contenders = [Contender(index, by) for index, by in ways]
    found = measure(store, contenders, path, Plan((1,)), untold, embed_all)
    assert found["fitted"] == [{"retriever": "many@2 hybrid", "learnt_on": 20, "of": 20}]
    session: Any = type("Session", (), {"rows": lambda *_: ""})()
    assert "the weight of many@2 hybrid was learnt on these very queries" in measurement_text(session, found)
    others = written(tmp_path / "others.jsonl", by_stems(22)[20:])
    found = measure(store, contenders, others, Plan((1,)), untold, embed_all)
    assert (found["fitted"], "very queries" in measurement_text(session, found)) == ([], False)


def test_a_weight_is_a_version_which_is_searched_so_and_stays_with_the_next(
    store: IndexStore, corpus: Path, build: Build, opened: Open, tmp_path: Path
) -> None:
    before = store.get("many")
    found = learnt(store, tmp_path)
    assert (found["baseline"], found["recommended"], usual_way(before)) == ("bm25", "bm25", "hybrid")
    kept = keep_fusion(store, before, {**found, "method": "ranks", "weight": 0.05})
    assert (kept.ref, kept.record["sha256"] == before.record["sha256"], usual_way(kept)) == ("many@2", False, "bm25")
    assert kept.record["content"] == before.record["content"]
    assert of_weights(store, kept) == []
    with opened("many") as retriever, opened("many@1") as plain:
        query = "refund7s things"
        hits, _ = retriever.search(query, "hybrid", 3)
        assert hits[0]["passage"]["document"] == "7.txt"
        assert hits[0]["score"] != plain.search(query, "hybrid", 3)[0][0]["score"]
        why = explain(retriever, query, [place_of_chunk(retriever, 5)], "hybrid", 3)
        assert any("meaning weighs 0.05 and words 0.95, learnt on 40 queries" in told for told in why["reasons"])
    assert "learnt on 40 queries for many@1" in index_text(kept.record, [])
    # The same again is no other version; one that is not the newest is not weighed.
    assert keep_fusion(store, kept, kept.record.get("fusion")).ref == "many@2"
    with pytest.raises(InputRefusedError, match="many@2 is"):
        keep_fusion(store, before, None)
    # Built again with other documents it stays, and is told to be of others.
    assert build_request(store, "many", embedder="none").get("fusion") == kept.record.get("fusion")
    (corpus / "new.txt").write_text("something else")
    asked = build_request(store, "many", embedder="none")
    build(corpus, name="many", fusion=asked.get("fusion"))
    assert store.get("many").record["number"] == 3
    (told,) = of_weights(store, store.get("many"))
    assert told == "its weight was learnt on many@1, whose chunks were others: llmops index tune many"
    forgotten = keep_fusion(store, store.get("many"), None)
    assert (forgotten.ref, of_weights(store, forgotten), usual_way(forgotten)) == ("many@4", [], "hybrid")


def test_a_document_that_goes_out_makes_the_weight_one_of_other_chunks(
    store: IndexStore, corpus: Path, tmp_path: Path
) -> None:
    kept = keep_fusion(store, store.get("many"), learnt(store, tmp_path))
    remove_documents(store, "many", ["5.txt"])
    changed = store.get("many")
    assert (changed.ref, changed.record["sha256"] != kept.record["sha256"]) == ("many@2", True)
    (told,) = of_weights(store, changed)
    assert "learnt on many@1" in told
    assert corpus.is_dir()


def test_the_command_refuses_what_it_cannot_do(workspace: Workspace, shop: Path, build: Build, tmp_path: Path) -> None:
    build(shop, words_alone=True)
    queries = written(tmp_path / "q.jsonl", by_stems(40))

    for arguments, code, told in (
        (("shop", "--queries", str(queries), "--forget"), 2, "--queries goes with learning; give --forget alone"),
        (("shop", "--queries", str(queries)), 3, "nothing to weigh"),
    ):
        done = llmops("index", "tune", *arguments, workspace=workspace)
        assert (done.returncode, told in done.stderr) == (code, True), done.stderr
