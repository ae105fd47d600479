"""Citations to documents and offsets, held against what the passages say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmops_tui.retrieval.chunk_file import ChunkFile
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.traces.citations import check_citations, citation_words, citations_of
from llmops_tui.traces.store import Trace, TraceLine
from llmops_tui.workspace.catalog import Catalog
from tests.retrieval.conftest import Build, build, shop, store  # noqa: F401  fixtures

ORDERS = "Orders can be changed until they are packed. Refunds come within five days."


def _passage(document: str, text: str, start: int = 0) -> tuple[str, Any]:
    return "shop@1", {
        "chunk": 1, "document": document, "start": start, "end": start + len(text), "page": None, "heading": "",
        "sha256": "ab", "tokens": 9, "text": text,
    }  # fmt: skip


KNOWN = {1: [_passage("orders.md", ORDERS, 100)], 2: [_passage("card.txt", "The card costs 5 euros a year.")]}


def _verdicts(answer: str, known: Any = KNOWN) -> list[tuple[int, str, str]]:
    return [
        (one["number"], one["document"], one["verdict"]) for one in check_citations(answer, known, "When is my refund?")
    ]


def test_each_citation_is_held_against_its_passage() -> None:
    answer = "Refunds come within five days [1]. The card costs 9 euros a year. [2] A zebra is striped [1, 3]!"
    assert _verdicts(answer) == [
        (1, "orders.md", "supported"),
        (2, "card.txt", "unsupported"),
        (1, "orders.md", "unsupported"),
        (3, "", "no passage"),
    ]
    found = list(check_citations(answer, KNOWN, ""))
    assert (found[0]["start"], found[0]["end"]) == (100, 100 + len(ORDERS))
    assert found[0]["sentence"] == "Refunds come within five days ."
    assert "9" in found[1]["why"]
    assert citation_words(found[3]) == "[3]: no passage (no passage has the number 3)"
    assert citation_words(found[0]) == f"[1] orders.md 100:{100 + len(ORDERS)} of shop@1: supported"
    assert _verdicts("No citation, and [a] and [1234] are none.") == []


def test_what_is_quoted_is_found_letter_by_letter_with_its_place() -> None:
    (found,) = check_citations('It says "refunds come  within five days" [1].', KNOWN, "")
    begin = 100 + ORDERS.index("Refunds come")
    assert (found["verdict"], found["start"], found["end"]) == (
        "supported",
        begin,
        begin + len("Refunds come within five days"),
    )
    told = 'Of the 900 euros "refunds come within five days" [1].'
    assert _verdicts(told) == [(1, "orders.md", "unsupported")]
    assert _verdicts("It says “refunds come within six days” [1].") == [(1, "orders.md", "misquoted")]


def test_of_two_searches_the_passage_that_says_it_is_meant_and_what_is_gone_is_not_judged() -> None:
    both = {1: [KNOWN[2][0], KNOWN[1][0]]}
    assert _verdicts("Refunds come within five days [1].", both) == [(1, "orders.md", "supported")]
    assert _verdicts("Refunds come within five days [1].", {1: [("shop@1", None)]}) == [(1, "", "not known")]


def test_citations_of_a_trace_are_looked_up_in_the_version_that_was_searched(
    catalog: Catalog,
    store: IndexStore,  # noqa: F811
    shop: Any,  # noqa: F811
    build: Build,  # noqa: F811
) -> None:
    build(shop, words_alone=True)
    index = store.get("shop@1")
    with ChunkFile.opened(index.folder) as file:
        (passage,) = [one for one in file.all_passages() if one["document"] == "card.txt"]
    noted = {name: passage[name] for name in ("chunk", "document", "start", "end", "sha256")} | {"score": 1.0}
    search = {
        "index": "shop@1", "query": "card", "k": 1, "by": "bm25", "started_at": 0.0, "seconds": 0.1, "passages": [noted],
    }  # fmt: skip
    line = TraceLine(
        "run_1", 0.0, "m", None, None, "stop", None, 1, 1, 1.0, 1.0, 1.0, "", None, None, None, None, "keep", ""
    )
    trace = Trace(line, [], {}, {}, "Your card did not arrive [1].", None, None, None, {"retrieved": [search]})
    assert [one["verdict"] for one in citations_of(catalog, trace)] == ["supported"]
    store.remove("shop")
    assert [one["verdict"] for one in citations_of(catalog, trace)] == ["not known"]
    assert citations_of(catalog, replace(trace, client=None)) == []
