"""Retrieval that is measured: metrics against their definitions and other programs, and retrievers compared."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.embeddings.embedder import EmbedderSpec, Vectors
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.retrieval.gold import GoldQuery, Span, read_queries
from llmops_tui.evaluation.retrieval.measurement import Contender, Plan, measure
from llmops_tui.evaluation.retrieval.rank_metrics import Piece, covered, scores, within_tokens
from llmops_tui.retrieval.store import IndexStore
from tests.retrieval.conftest import Build, Open
from tests.word_embedder import vector

PIECES = [Piece("a", 0, 100, 20), Piece("b", 0, 50, 10), Piece("a", 100, 200, 20), Piece("c", 0, 10, 2)]


def embed_all(_spec: EmbedderSpec, texts: Sequence[str]) -> Mapping[str, Vectors]:
    return {text: vector(text) for text in texts}


def of_documents(**grades: float) -> GoldQuery:
    return GoldQuery("1", "query", grades, ())


def test_metrics_of_documents_by_hand() -> None:
    found = scores(of_documents(b=2, c=1, d=1), PIECES, [1, 2, 4], 32, 0)
    assert found["recall@1"] == 0
    assert found["recall@2"] == pytest.approx(1 / 3)
    assert found["recall@4"] == pytest.approx(2 / 3)
    assert (found["hit@1"], found["hit@2"], found["mrr@4"]) == (0, 1, 0.5)
    best = 2 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found["ndcg@4"] == pytest.approx((2 / math.log2(3) + 1 / math.log2(5)) / best)
    # 20 and 10 tokens fit into 32, another 20 do not.
    assert found["recall@32t"] == pytest.approx(1 / 3)


def test_a_document_counts_once_however_many_of_its_chunks_come() -> None:
    found = scores(of_documents(a=1), [PIECES[0], PIECES[2]], [2], None, 0)
    assert found == {"recall@2": 1.0, "hit@2": 1.0, "mrr@2": 1.0, "ndcg@2": 1.0}


def test_metrics_of_spans_by_hand() -> None:
    query = GoldQuery("1", "query", {}, (Span("a", 80, 120), Span("c", 0, 10), Span("c", 5, 10)))
    found = scores(query, PIECES, [1, 4], None, 3)
    # Of 40 and 10 characters the first chunk has 20.
    assert (found["recall@1"], found["precision@1"]) == (20 / 50, 20 / 100)
    assert (found["recall@4"], found["precision@4"]) == (1.0, 50 / 260)
    assert (found["hit@1"], found["mrr@4"]) == (1.0, 1.0)
    gain = 1 + 1 / math.log2(4) + 1 / math.log2(5)
    assert found["ndcg@4"] == pytest.approx(gain / (1 + 1 / math.log2(3) + 1 / math.log2(4)))


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=6),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=6),
)
def test_covered_characters_are_counted_once(
    given_pieces: list[tuple[int, int]], given_spans: list[tuple[int, int]]
) -> None:
    pieces = [Piece("a", start, start + size, 1) for start, size in given_pieces]
    spans = [Span("a", start, start + size) for start, size in given_spans]
    there = {at for p in pieces for at in range(p.start, p.end)}
    wanted = {at for s in spans for at in range(s.start, s.end)}
    assert covered(pieces, spans) == len(there & wanted)


def test_what_fits_into_tokens_is_cut_off_at_the_first_that_does_not() -> None:
    assert [within_tokens(PIECES, n) for n in (19, 20, 51, 52)] == [[], PIECES[:1], PIECES[:3], PIECES]


@pytest.mark.slow
def test_metrics_are_those_of_trec_eval() -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    draw = random.Random(1)
    names = [f"d{n}" for n in range(60)]
    qrels, run, ours = {}, {}, {}
    for number in range(200):
        qid = str(number)
        graded = {name: draw.randint(1, 3) for name in draw.sample(names, draw.randint(1, 8))}
        ranked = draw.sample(names, draw.randint(1, 40))
        qrels[qid] = graded
        run[qid] = {name: float(len(ranked) - at) for at, name in enumerate(ranked)}
        pieces = [Piece(name, 0, 10, 1) for name in ranked]
        ours[qid] = scores(
            GoldQuery(qid, "q", {n: float(g) for n, g in graded.items()}, ()), pieces, [5, 10, 1000], None, 0
        )
    asked = {"recall.5,10", "ndcg_cut.5,10", "recip_rank", "success.5,10"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(run)
    for qid, found in theirs.items():
        for k in (5, 10):
            assert ours[qid][f"recall@{k}"] == pytest.approx(found[f"recall_{k}"])
            assert ours[qid][f"ndcg@{k}"] == pytest.approx(found[f"ndcg_cut_{k}"])
            assert ours[qid][f"hit@{k}"] == found[f"success_{k}"]
        assert ours[qid]["mrr@1000"] == pytest.approx(found["recip_rank"])


# ── queries ──


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "queries.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_queries_are_read(shop: Path, build: Build, opened: Open, tmp_path: Path) -> None:
    build(shop, words_alone=True)
    with opened() as retriever:
        path = written(
            tmp_path,
            {"id": "x", "query": "a", "documents": {"card.txt": 2}},
            "",
            {"query": "b", "documents": ["pin.html"]},
        )
        assert read_queries(path, retriever.file, "shop@1") == [
            GoldQuery("x", "a", {"card.txt": 2.0}, ()),
            GoldQuery("3", "b", {"pin.html": 1.0}, ()),
        ]
        spans = [{"document": "card.txt", "start": 3, "end": 7}, {"document": "card.txt", "text": "Where is"}]
        path = written(tmp_path, {"query": "a", "spans": spans})
        (query,) = read_queries(path, retriever.file, "shop@1")
        assert query.spans == (Span("card.txt", 3, 7), Span("card.txt", 24, 32))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "it is no JSON"),
        ([], "it is no object"),
        ({"query": "a", "docs": ["card.txt"]}, "'docs' is none of"),
        ({"documents": ["card.txt"]}, "it has no query"),
        ({"query": "a"}, "either documents or spans"),
        ({"query": "a", "documents": [], "spans": []}, "either documents or spans"),
        ({"query": "a", "documents": ["none.txt"]}, "shop@1 has no document 'none.txt'"),
        ({"query": "a", "documents": [5]}, "a list of names"),
        ({"query": "a", "documents": "card.txt"}, "a list of names"),
        ({"query": "a", "documents": {"card.txt": 0}}, "no number above 0"),
        ({"query": "a", "documents": {"card.txt": True}}, "no number above 0"),
        ({"query": "a", "spans": ["card.txt"]}, "a span has a document"),
        ({"query": "a", "spans": [{"document": "card.txt", "start": 5, "end": 5}]}, "has no characters from 5 to 5"),
        ({"query": "a", "spans": [{"document": "card.txt", "start": 0, "end": 9000}]}, "it has 41"),
        ({"query": "a", "spans": [{"document": "card.txt", "text": "card"}]}, "has the span's text 2 times"),
        ({"query": "a", "spans": [{"document": "card.txt", "text": "moon"}]}, "does not have the span's text"),
        ({"query": "a", "spans": [{"document": "card.txt", "text": "card", "start": 1}]}, "either a text or start"),
    ],
)
def test_queries_that_are_none_are_refused_by_line(
    shop: Path, build: Build, opened: Open, tmp_path: Path, line: Any, told: str
) -> None:
    build(shop, words_alone=True)
    with opened() as retriever, pytest.raises(InputRefusedError, match=told) as refused:
        read_queries(written(tmp_path, {"query": "a", "documents": ["card.txt"]}, line), retriever.file, "shop@1")
    assert "line 2" in refused.value.message


def test_files_without_queries_and_with_both_kinds_are_refused(
    shop: Path, build: Build, opened: Open, tmp_path: Path
) -> None:
    build(shop, words_alone=True)
    span = {"query": "a", "spans": [{"document": "card.txt", "start": 0, "end": 5}]}
    with opened() as retriever:
        for path, told in (
            (written(tmp_path, ""), "has no queries"),
            (tmp_path / "nothing.jsonl", "cannot be read"),
        ):
            with pytest.raises(InputRefusedError, match=told):
                read_queries(path, retriever.file, "shop@1")
        both = written(tmp_path, {"query": "a", "documents": ["card.txt"]}, span)
        with pytest.raises(InputRefusedError, match="documents and spans"):
            read_queries(both, retriever.file, "shop@1")


# ── measurements ──


def numbered(folder: Path, count: int) -> Path:
    """Documents of a word of their own and one in common; queries for each, of which some say it otherwise."""
    folder.mkdir()
    for n in range(count):
        (folder / f"{n}.txt").write_text(f"subject{n} common " + "filler " * (n % 5))
    return folder


def test_retrievers_are_measured_and_compared(store: IndexStore, build: Build, tmp_path: Path) -> None:
    build(numbered(tmp_path / "many", 40), name="many")
    lines = [
        # A word that BM25 finds by its stem, and whose vector is another.
        {"query": f"subject{n}" if n % 2 else f"subject{n}s", "documents": [f"{n}.txt"]}
        for n in range(40)
    ]
    index = store.get("many")
    found = measure(
        store, [Contender(index, "bm25"), Contender(index, "vectors")], written(tmp_path, *lines), Plan((1, 10), 30),
        lambda _share, _what: None, embed_all,
    )  # fmt: skip
    words, meaning = found["retrievers"]
    assert (found["queries"], found["gold"], words["by"], meaning["by"]) == (40, "documents", "bm25", "vectors")
    figures = {f["metric"]: f for f in words["figures"]}
    assert set(figures) == {
        "recall@1",
        "hit@1",
        "mrr@1",
        "ndcg@1",
        "recall@10",
        "hit@10",
        "mrr@10",
        "ndcg@10",
        "recall@30t",
    }
    assert figures["hit@1"]["method"] == "Wilson"
    (comparison,) = found["comparisons"]
    assert (comparison["baseline"], comparison["candidate"]) == ("many@1 bm25", "many@1 vectors")
    hit = next(d for d in comparison["differences"] if d["metric"] == "hit@1")
    by_query = [q["scores"][1]["hit@1"] - q["scores"][0]["hit@1"] for q in found["by_query"]]
    assert hit["difference"] == pytest.approx(sum(by_query) / 40)
    assert (hit["wins"], hit["losses"]) == (sum(d > 0 for d in by_query), sum(d < 0 for d in by_query))
    assert hit["p_holm"] >= hit["p"]
    assert hit["verdict"] == ("worse" if hit["p_holm"] < 0.05 and hit["difference"] < 0 else "unclear")


def test_equal_retrievers_do_not_differ(store: IndexStore, shop: Path, build: Build, tmp_path: Path) -> None:
    build(shop, words_alone=True)
    build(shop, words_alone=True, tokens=20)
    path = written(tmp_path, {"query": "card", "documents": ["card.txt"]}, {"query": "pin", "documents": ["pin.html"]})
    contenders = [Contender(store.get(f"shop@{n}"), "bm25") for n in (1, 2)]
    found = measure(store, contenders, path, Plan((1,)), lambda _share, _what: None)
    assert {d["verdict"] for d in found["comparisons"][0]["differences"]} == {"unclear"}
    assert {d["needed"] for d in found["comparisons"][0]["differences"]} == {None}


def test_everything_is_not_ranked(store: IndexStore, shop: Path, build: Build, tmp_path: Path) -> None:
    build(shop, words_alone=True)
    with pytest.raises(InputRefusedError, match="no rank can be measured"):
        measure(
            store, [Contender(store.get("shop"), "everything")], written(tmp_path), Plan(), lambda _share, _what: None
        )
