"""Retrievers: what each finds, and why a passage was not found."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.retrieval.terms import query_terms
from llmops_tui.retrieval.why_not import explain, find_places, place_of_chunk
from tests.retrieval.conftest import SHOP, Build, Open


@pytest.fixture
def built(shop: Path, build: Build) -> None:
    build(shop, tokens=20)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("query", "document", "terms"),
    [
        # Stems, without accents.
        ("refunding", "orders.md", ["refunding"]),
        ("Réfunds", "orders.md", ["Réfunds"]),
        ("C++", "codes.txt", ["C", "C++"]),
        ("what is E-1042", "codes.txt", ["E", "1042", "E-1042"]),
        ("返金", "codes.txt", ["返金"]),
        ("届", "codes.txt", ["届"]),
    ],
)
def test_words_are_found_whatever_their_form(opened: Open, query: str, document: str, terms: list[str]) -> None:
    with opened() as retriever:
        hits, _ = retriever.search(query, "bm25", 3)
    assert hits[0]["passage"]["document"] == document
    assert set(terms) <= set(hits[0]["terms"])
    assert (hits[0]["bm25_rank"], hits[0]["vectors_rank"], hits[0]["cosine"]) == (1, None, None)


def test_words_that_most_chunks_have_are_left_out_where_others_find_enough(
    tmp_path: Path, build: Build, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(40):
        (folder / f"{n:02}.txt").write_text(
            f"The card of number {n} is {'red' if n % 3 else 'blue and blue'}. {'x ' * n}"
        )
    build(folder, name="many", words_alone=True)
    with opened("many") as retriever:
        assert {"the", "card", "of", "number", "is", "red"} <= retriever.file._common_words()
        assert not {"blue", "7"} & retriever.file._common_words()
        asked: list[int] = []
        whole = retriever.file._ranked
        monkeypatch.setattr(
            retriever.file, "_ranked", lambda terms, count: asked.append(len(terms)) or whole(terms, count)
        )
        for query, count, looked in (
            ("is the blue card number 7", 5, [2]),
            ("is the blue card", 40, [1, 4]),
            ("the red card", 5, [3]),
            ("blue", 5, [1]),
        ):
            asked.clear()
            terms = query_terms(query)
            found, all_of_them = retriever.file.best(terms, count), whole(terms, count)
            assert asked == looked
            assert [chunk for chunk, _ in found] == [chunk for chunk, _ in all_of_them]
            assert [s for _, s in found] == pytest.approx([s for _, s in all_of_them], abs=1e-4)
        # Files of an earlier version do not tell.
        monkeypatch.setattr(retriever.file, "_common", frozenset())
        assert retriever.file.best(query_terms("is the blue card number 7"), 5)


@pytest.mark.usefixtures("built")
def test_a_heading_above_a_chunk_is_found_and_is_no_part_of_it(opened: Open) -> None:
    with opened() as retriever:
        hits, _ = retriever.search("orders refunds", "bm25", 1)
    assert hits[0]["passage"]["heading"] == "Orders › Refunds"
    assert hits[0]["passage"]["text"].startswith("## Refunds")
    assert hits[0]["terms"] == ["orders", "refunds"]


@pytest.mark.usefixtures("built")
def test_both_rankings_are_fused_by_their_reciprocals(opened: Open) -> None:
    with opened() as retriever:
        hits, _ = retriever.search("where is my card", "hybrid", 10)
    for hit in hits:
        ranks = [rank for rank in (hit["bm25_rank"], hit["vectors_rank"]) if rank is not None]
        assert hit["score"] == pytest.approx(sum(1 / (60 + rank) for rank in ranks))
    assert [hit["rank"] for hit in hits] == list(range(1, len(hits) + 1))
    assert hits[0]["passage"]["document"] == "card.txt"
    assert hits[0]["cosine"] is not None


@pytest.mark.usefixtures("built")
def test_everything_is_all_in_its_order_where_it_fits(opened: Open) -> None:
    with opened() as retriever:
        hits, _ = retriever.search("anything", "everything", 1)
        assert [hit["passage"]["chunk"] for hit in hits] == list(range(1, retriever.index.record["chunks"] + 1))
        with pytest.raises(InputRefusedError, match="more than the 10 that everything may take"):
            retriever.search("anything", "everything", 1, context=10)


def test_an_index_of_words_alone_says_what_it_lacks(shop: Path, build: Build, opened: Open) -> None:
    build(shop, words_alone=True)
    with opened() as retriever:
        assert retriever.search("card", "bm25", 1)[0][0]["passage"]["document"] == "card.txt"
        assert retriever.best_way == "bm25"
        for way in ("vectors", "hybrid"):
            with pytest.raises(InputRefusedError, match="built without an embedder"):
                retriever.search("card", way, 1)
        found = explain(retriever, "card", find_places(retriever, "Where is my card"), "bm25", 3)
        assert (found["found"], found["pieces"][0]["cosine"], found["pieces"][0]["hybrid_rank"]) == (True, None, None)


@pytest.mark.usefixtures("built")
def test_an_empty_query_is_refused_and_signs_are_no_syntax(opened: Open) -> None:
    with opened() as retriever:
        with pytest.raises(InputRefusedError, match="nothing to search for"):
            retriever.search("  ", "bm25", 1)
        for query in ('"', "NEAR(a b)", "text:card", "*", "a AND", "(", "{}", "^x", "-"):
            retriever.search(query, "bm25", 3)


@pytest.mark.usefixtures("built")
def test_pages_of_a_text_are_told(shop: Path, build: Build, opened: Open) -> None:
    # Form feeds separate pages of PDFs alone.
    (shop / "feeds.txt").write_text("one\fsecond page")
    build(shop, tokens=20)
    with opened() as retriever:
        assert retriever.search("second", "bm25", 1)[0][0]["passage"]["page"] is None


# ── why not ──


@pytest.mark.usefixtures("built")
def test_why_a_passage_did_not_come(opened: Open) -> None:
    with opened() as retriever:
        places = find_places(retriever, "the money  comes back\nwithin five days")
        found = explain(retriever, "when is my card delivered", places, "bm25", 1)
    assert (found["document"], found["found"], found["places"]) == ("orders.md", False, 1)
    (piece,) = found["pieces"]
    assert (piece["bm25_rank"], piece["share"]) == (None, 1.0)
    assert piece["vectors_rank"] is not None
    assert piece["cosine"] is not None
    assert {term["term"]: term["matched"] for term in found["terms"]} == dict.fromkeys(
        ["when", "is", "my", "card", "delivered"], False
    )
    assert found["beaten_by"][0]["passage"]["document"] == "card.txt"
    assert "it has none of the words of the query" in found["reasons"]
    assert any("card.txt came first" in reason for reason in found["reasons"])


@pytest.mark.usefixtures("built")
def test_the_ranks_of_a_passage_are_those_of_a_search_that_goes_deep_enough(opened: Open) -> None:
    query = "change my order or card"
    with opened() as retriever:
        count = retriever.index.record["chunks"]
        ranks = {
            way: {hit["passage"]["chunk"]: hit["rank"] for hit in retriever.search(query, way, count)[0]}
            for way in ("bm25", "vectors", "hybrid")
        }
        for chunk in range(1, count + 1):
            (piece,) = explain(retriever, query, [place_of_chunk(retriever, chunk)], "hybrid", 3)["pieces"]
            assert piece["bm25_rank"] == ranks["bm25"].get(chunk)
            assert piece["vectors_rank"] == ranks["vectors"][chunk]
            assert piece["hybrid_rank"] == ranks["hybrid"][chunk]


@pytest.mark.usefixtures("built")
def test_a_passage_that_a_border_cuts_says_so(opened: Open) -> None:
    with opened() as retriever:
        text = "until it is packed.\n\n## Refunds\n\nThe money"
        assert text in SHOP["orders.md"]
        found = explain(retriever, "packed", find_places(retriever, text), "bm25", 3)
    assert len(found["pieces"]) == 2
    assert sum(piece["share"] for piece in found["pieces"]) == pytest.approx(1, abs=0.1)
    assert found["reasons"][0].startswith("1 border of chunks cuts it")


@pytest.mark.usefixtures("built")
def test_what_is_in_no_document_is_refused(opened: Open, store: IndexStore) -> None:
    with opened() as retriever:
        with pytest.raises(InputRefusedError, match="no document of shop@1 has this text"):
            find_places(retriever, "nobody wrote this")
        with pytest.raises(InputRefusedError, match="no text to look for"):
            find_places(retriever, " ")
        with pytest.raises(InputRefusedError, match="has no chunk 99"):
            place_of_chunk(retriever, 99)


def test_of_several_places_the_one_that_came_first_is_explained(shop: Path, build: Build, opened: Open) -> None:
    (shop / "again.txt").write_text("Where is my card? It is a card.")
    build(shop)
    with opened() as retriever:
        found = explain(retriever, "card", find_places(retriever, "Where is my card?"), "bm25", 1)
        assert found["places"] == 2
        assert found["found"]
        assert found["document"] == retriever.search("card", "bm25", 1)[0][0]["passage"]["document"]
