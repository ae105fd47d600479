"""Retrievers: what each finds, and why a passage was not found."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.retrieval.chunk_file import ChunkFile
from llmops_tui.retrieval.staleness import stale_because
from llmops_tui.retrieval.store import Index, IndexStore
from llmops_tui.retrieval.terms import Term, query_terms
from llmops_tui.retrieval.why_not import explain, find_places, place_of_chunk
from tests.retrieval.conftest import SHOP, Build, Open
from tests.word_embedder import Words


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


_SAID = [
    "the",
    "card",
    "of",
    "number",
    "is",
    "red",
    "blue",
    "refund",
    "refunds",
    "running",
    "ran",
    "café",
    "cafe",
    "don't",
    "E-1042",
    "C++",
    "snake_case",
    "x.y",
    "返金は五日以内",
    "届きます",
    "Straße",
    "ÅNGSTRÖM",
    "é",
    "नमस्ते",
    "5",
    "-5",
    "_",
    "__a",
]


@pytest.fixture
def drawn(tmp_path: Path, build: Build) -> None:
    """Chunks of drawn words, which are in few of them, in most, or in all."""
    chance = Random(5)
    folder = tmp_path / "many"
    folder.mkdir()
    weights = [1 / (1 + at) for at in range(len(_SAID))]
    for n in range(150):
        words = chance.choices(_SAID, weights, k=chance.randrange(1, 12)) + [f"no{n % 60}"] * (n % 3)
        (folder / f"{n:03}.txt").write_text(" ".join(["always", *words]))
    # Longer than the counts of a byte.
    (folder / "again.txt").write_text("red " * 300 + "blue " * 3)
    build(folder, name="many", tokens=4000, words_alone=True)


def by_sqlite_of(file: ChunkFile, term: Term) -> list[tuple[int, float]]:
    return file._connection.execute("SELECT rowid, -rank FROM words WHERE words MATCH ?", (term.expression,)).fetchall()


def forget_arrays(index: Index) -> None:
    with closing(sqlite3.connect(index.folder / "chunks.db", isolation_level=None)) as connection:
        connection.execute("DROP TABLE postings")
        connection.execute("DROP TABLE lengths")


def by_sqlite(file: ChunkFile, query: str, count: int) -> list[tuple[int, float]]:
    """What FTS5 ranks first for all terms of a query at once, and its scores."""
    asked = " OR ".join(term.expression for term in query_terms(query))
    found = file._connection.execute(
        "SELECT rowid, -rank FROM words WHERE words MATCH ? ORDER BY rank, rowid LIMIT ?", (asked, count)
    )
    return found.fetchall()


@pytest.mark.usefixtures("drawn")
def test_the_ranking_and_its_scores_are_those_of_sqlite(opened: Open) -> None:
    chance = Random(6)
    queries = [
        " ".join(chance.choices([*_SAID, "always", "no7", "nowhere"], k=chance.randrange(1, 9))) for _ in range(80)
    ]
    with opened("many") as retriever:
        file = retriever.file
        assert file.has_arrays
        chunks = retriever.index.record["chunks"]
        for query in (
            *queries,
            "always",
            "nowhere",
            "_",
            "red",
            "refund refunds refunding",
            "snake_case",
            "返",
            "届き",
        ):
            terms = query_terms(query)
            if not terms:
                assert file.best(terms, 5) == []
                continue
            for count in (1, 10, chunks, chunks + 1):
                found, sqlite = file.best(terms, count), by_sqlite(file, query, count)
                assert [chunk for chunk, _ in found] == [chunk for chunk, _ in sqlite], query
                assert [score for _, score in found] == pytest.approx([score for _, score in sqlite], rel=1e-12)
            for term in terms:
                having = {row for row, _ in by_sqlite_of(file, term)}
                assert file.frequency(term) == len(having)
                assert file.having(term, range(1, 40)) == {row for row in having if row < 40}


@pytest.mark.usefixtures("drawn")
def test_the_words_of_a_file_that_an_earlier_release_wrote_are_found_by_sqlite(opened: Open, store: IndexStore) -> None:
    index = store.get("many")
    queries = [" ".join(_SAID[at : at + 4]) for at in range(0, len(_SAID), 4)]
    with opened("many") as retriever:
        now = [retriever.file.best(query_terms(query), 20) for query in queries]
    forget_arrays(index)
    with opened("many") as retriever:
        assert not retriever.file.has_arrays
        for query, found in zip(queries, now, strict=True):
            before = retriever.file.best(query_terms(query), 20)
            assert [chunk for chunk, _ in before] == [chunk for chunk, _ in found]
            assert [score for _, score in before] == pytest.approx([score for _, score in found], rel=1e-12)
    assert stale_because(store, index) == [
        "an earlier release wrote its words, and searching by bm25 is slower in them"
    ]


def test_building_again_writes_the_arrays_that_an_earlier_release_did_not(
    shop: Path, build: Build, opened: Open, store: IndexStore
) -> None:
    build(shop)
    before = store.get("shop")
    with opened() as retriever:
        hits = retriever.search("where is my card", "hybrid", 4)
    forget_arrays(before)
    words = Words()
    assert build(shop, words)["unchanged"]
    assert not words.asked
    after = store.get("shop")
    assert (after.ref, after.record["sha256"]) == ("shop@1", before.record["sha256"])
    assert not before.folder.exists()
    assert not any("release" in why for why in stale_because(store, after))
    with opened() as retriever:
        assert retriever.file.has_arrays
        assert retriever.search("where is my card", "hybrid", 4) == hits
    assert build(shop)["unchanged"]
    assert store.get("shop").folder == after.folder


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE lengths SET tokens = x'00'",
        "DELETE FROM lengths",
        "UPDATE postings SET steps = x'ffff' WHERE chunks = 2",
        "UPDATE postings SET steps = x'01' WHERE chunks = 2",
        "UPDATE postings SET steps = x'0000' WHERE chunks = 2",
        "UPDATE postings SET counts = x'010203' WHERE chunks = 2",
    ],
)
def test_arrays_that_are_not_whole_are_told(
    tmp_path: Path, build: Build, opened: Open, store: IndexStore, damage: str
) -> None:
    (tmp_path / "two").mkdir()
    for name in "ab":
        (tmp_path / "two" / f"{name}.txt").write_text("lamp")
    build(tmp_path / "two", name="two", words_alone=True)
    with closing(sqlite3.connect(store.get("two").folder / "chunks.db", isolation_level=None)) as connection:
        connection.execute(damage)
    with pytest.raises(LlmopsError, match="cannot be read"), opened("two") as retriever:
        retriever.search("lamp", "bm25", 2)


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
