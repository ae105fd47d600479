"""Passages in another order: by a model with a head for it, by one that is asked yes or no, and what is refused as neither."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.inference.ranking_test import OBVIOUS, unfit
from llmops_tui.maintenance.model_removal import plan_removal
from llmops_tui.maintenance.model_renaming import _models_of
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.retrieval.build import index_digest
from llmops_tui.retrieval.request import build_request, with_reranker
from llmops_tui.retrieval.reranking import HeadReranker, YesNoReranker, reranker_record
from llmops_tui.retrieval.retriever import opened_retriever
from llmops_tui.retrieval.staleness import stale_because
from llmops_tui.retrieval.store import Index, IndexStore
from tests.retrieval.conftest import Build
from tests.word_embedder import vector

YES, NO = 7, 8


class Client:
    """A server that says yes to a text by how many words of the query it has; tokens are numbers of letters."""

    def __init__(self, words: dict[str, list[int]] | None = None, thinks: bool = True) -> None:
        self.asked: list[dict[str, Any]] = []
        self._words = words or {"yes": [YES], "no": [NO]}
        self._thinks = thinks

    async def tokenize(self, *, messages: Sequence[dict[str, str]], enable_thinking: bool | None) -> dict[str, Any]:
        if enable_thinking is not None and not self._thinks:
            raise InputRefusedError("bad_field", "the template knows of no thinking")
        return {"tokens": [ord(letter) for letter in messages[-1]["content"]]}

    async def complete(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/tokenize":
            return {"tokens": self._words.get(body["content"], [1, 2])}
        self.asked.append(body)
        if path == "/v1/rerank":
            scores = sorted(enumerate(map(len, body["documents"])), key=lambda one: -one[1])
            return {"results": [{"index": at, "relevance_score": score} for at, score in scores]}
        choices = [
            {"index": at, "logprobs": {"token_logprobs": [self._said(ids)]}} for at, ids in enumerate(body["prompt"])
        ]
        # In whatever order.
        return {"choices": choices[::-1]}

    def _said(self, ids: list[int]) -> float:
        text = "".join(map(chr, ids[:-1]))
        query, _, rest = text.removeprefix("Query: ").partition("\n\nText: ")
        shared = len(set(query.lower().split()) & set(rest.partition("\n\n")[0].lower().split()))
        share = (1 + shared) / (3 + shared)
        return math.log(share if ids[-1] == YES else 1 - share)


def test_a_model_is_asked_yes_or_no_and_the_query_stands_before_the_texts() -> None:
    client = Client()
    asking = YesNoReranker(client, "m")  # type: ignore[arg-type]
    texts = ["the card is lost", "where is my card", "a zebra", *["other"] * 20]
    scores = asyncio.run(asking.scores("where is my card", texts))
    assert scores == pytest.approx([3 / 5, 5 / 7, 1 / 3, *[1 / 3] * 20])
    first = client.asked[0]
    # Two prompts a text, which differ in their last token; all begin with the query.
    assert first["prompt"][0][:-1] == first["prompt"][1][:-1]
    assert [ids[-1] for ids in first["prompt"][:4]] == [YES, NO, YES, NO]
    beginning = [ord(letter) for letter in "Query: where is my card\n\nText: "]
    assert all(ids[: len(beginning)] == beginning for ids in first["prompt"])
    assert sum(len(body["prompt"]) for body in client.asked) == 2 * len(texts)


def test_templates_that_know_of_no_thinking_are_not_told_of_it_and_words_are_single_tokens() -> None:
    plain = YesNoReranker(Client({"Yes": [YES], "No": [NO]}, thinks=False), "m")  # type: ignore[arg-type]
    assert asyncio.run(plain.scores("a b", ["a b", "c"])) == pytest.approx([3 / 5, 1 / 3])
    cut = YesNoReranker(Client({"yes": [1, 2]}), "m")  # type: ignore[arg-type]
    with pytest.raises(LlmopsError, match="yes and no are no single tokens"):
        asyncio.run(cut.scores("a", ["a"]))


def test_a_model_that_cannot_tell_an_obvious_pair_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(YesNoReranker(Client(), "m").test())  # type: ignore[arg-type]
    for said, told in ((lambda _ids: -1.0, "all alike"), (lambda _ids: math.nan, "no numbers")):
        client = Client()
        monkeypatch.setattr(client, "_said", said)
        with pytest.raises(LlmopsError, match=told):
            asyncio.run(YesNoReranker(client, "m").test())  # type: ignore[arg-type]
    assert unfit(1e-20, 1e-22).startswith("its scores are nothing")
    assert OBVIOUS


def test_a_head_gives_its_scores_in_the_order_of_the_texts() -> None:
    ranking = HeadReranker(Client())  # type: ignore[arg-type]
    assert asyncio.run(ranking.scores("q", ["aa", "aaaa", ""])) == [2.0, 4.0, 1.0]


def _reranked(store: IndexStore) -> Index:
    """The index, as if it had been built with a reranker."""
    index = store.get("shop")
    return Index(store.home("shop"), {**index.record, "reranker": {"model": "judge", "sha256": "ab"}})


def test_what_is_found_comes_in_the_order_of_the_reranker(store: IndexStore, shop: Path, build: Build) -> None:
    build(shop, tokens=20)
    asked: list[tuple[str, list[str]]] = []

    def by_length(query: str, texts: Sequence[str]) -> list[float]:
        asked.append((query, list(texts)))
        return [-float(len(text)) for text in texts]

    with opened_retriever(store, _reranked(store), vector, by_length) as retriever:
        hits, _ = retriever.search("where is my card", "reranked", 3)
        usual, _ = retriever.search("where is my card", "hybrid", 3)
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert [hit["score"] for hit in hits] == sorted((-float(len(text)) for text in asked[0][1]), reverse=True)[:3]
    assert hits[0]["passage"] != usual[0]["passage"]
    # How the other rankers have it is told all the same, and headings are read with their chunks.
    assert any(hit["vectors_rank"] is not None for hit in hits)
    assert any(text.startswith("Orders › Refunds\n## Refunds") for text in asked[0][1])


def test_a_reranker_belongs_to_a_version_and_stays_with_the_next(
    store: IndexStore, shop: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(shop, words_alone=True)
    with opened_retriever(store, store.get("shop"), vector) as retriever, pytest.raises(InputRefusedError) as without:
        retriever.search("card", "reranked", 3)
    assert (without.value.code, "--reranker" in without.value.hint) == ("no_reranker", True)
    plain = with_reranker(store, "shop", build_request(store, "shop"))
    assert plain["reranker"] is None
    store.catalog.write(
        lambda db: db.execute(
            "INSERT INTO models VALUES ('judge', 'gguf', '/nowhere/judge.gguf', 'ab', 1, "
            "'{\"chat_template\": \"x\"}', 0, NULL), ('bare', 'gguf', '/nowhere/bare.gguf', 'cd', 1, '{}', 0, NULL)"
        )
    )
    asked = with_reranker(store, "shop", plain, "judge")
    assert asked["reranker"] == {"model": "judge", "sha256": "ab"}
    with pytest.raises(InputRefusedError, match="neither a head that ranks nor a template"):
        reranker_record(ModelRegistry(store.catalog), "bare")
    # Another version, since other passages come first; what was without one keeps its hash.
    record = store.get("shop").record
    given = ("d", 300, record["embedder"], record["source"])
    assert index_digest(*given) == index_digest(*given, None) != index_digest(*given, asked["reranker"])
    kept = _reranked(store)
    assert stale_because(store, kept) == []
    store.note(store.get("shop"), kept.record)
    # It is found by its name, and is told of to whoever removes it.
    assert list(_models_of(kept.record)) == ["judge"]
    assert "index reranked by it: shop@1" in plan_removal(store.catalog.workspace, "judge").uses
    store.catalog.write(lambda db: db.execute("UPDATE models SET sha256 = 'other' WHERE name = 'judge'"))
    assert stale_because(store, kept) == ["judge is another model now than the one that reranks it"]
    again = with_reranker(store, "shop", plain)["reranker"]
    assert again == {"model": "judge", "sha256": "other"}
    # It is built without one, or with another, also when that one is gone.
    store.catalog.write(lambda db: db.execute("UPDATE models SET name = 'other' WHERE name = 'judge'"))
    with pytest.raises(NotFoundError, match="judge"):
        with_reranker(store, "shop", plain)
    assert with_reranker(store, "shop", plain, "none")["reranker"] is None
    assert with_reranker(store, "shop", plain, "other")["reranker"] == {"model": "other", "sha256": "other"}
