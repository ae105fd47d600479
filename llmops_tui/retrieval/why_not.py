"""Why a passage that should have come did not: its rank in each ranker, and what of the query, the index or the chunks did it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from llmops_tui.counts import agree, counted
from llmops_tui.embeddings.embedder import Vectors
from llmops_tui.errors import InputRefusedError
from llmops_tui.retrieval.records import PassageRecord, PieceRecord, TermRecord, WhyRecord
from llmops_tui.retrieval.retriever import FUSED, By, Retriever
from llmops_tui.retrieval.terms import Term, query_terms

_BEATEN_BY = 3
_MOST_PLACES = 100
# A term that is in more of all chunks than this hardly tells one from another.
_COMMON = 0.3
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Place:
    """Where a passage is: a document, and characters of its text."""

    document: str
    start: int
    end: int


def find_places(retriever: Retriever, text: str) -> list[Place]:
    """Where a text is in the documents, up to a hundred places: letter by letter, else whatever the case and the space are.

    Raises:
        InputRefusedError: ``no_passage``: the text is empty, or in no document.
    """
    words = [re.escape(word) for word in _SPACE.split(text.strip()) if word]
    if not words:
        raise InputRefusedError("no_passage", "there is no text to look for", "Give some words of the passage.")
    loose = re.compile(r"\s+".join(words), re.IGNORECASE)
    exact = re.compile(re.escape(text.strip()))
    for pattern in (exact, loose):
        found = list(islice(_matches(retriever, pattern), _MOST_PLACES))
        if found:
            return found
    record = retriever.index.record
    apart = (
        [f"{counted(len(record['excluded']), 'document was', 'documents were')} taken out"]
        if record["excluded"]
        else []
    )
    apart += [f"{counted(len(record['refused']), 'document')} could not be read"] if record["refused"] else []
    told = f" ({'; '.join(apart)})" if apart else ""
    raise InputRefusedError(
        "no_passage",
        f"no document of {retriever.index.ref} has this text{told}",
        f"llmops index show {record['name']} says what is in it.",
    )


def _matches(retriever: Retriever, pattern: re.Pattern[str]) -> Iterator[Place]:
    for name, text in retriever.file.documents():
        for match in pattern.finditer(text):
            yield Place(name, match.start(), match.end())


def place_of_chunk(retriever: Retriever, chunk: int) -> Place:
    """The place of a chunk by its number.

    Raises:
        InputRefusedError: ``no_passage``: there is no such chunk.
    """
    passage = retriever.file.passages([chunk]).get(chunk)
    if passage is None:
        count = retriever.index.record["chunks"]
        raise InputRefusedError("no_passage", f"{retriever.index.ref} has no chunk {chunk}", f"It has 1 to {count:,}.")
    return Place(passage["document"], passage["start"], passage["end"])


def explain(retriever: Retriever, query: str, places: Sequence[Place], by: By, k: int) -> WhyRecord:
    """Why the first of some places was found where it was; of several the one that came first is explained.

    ``by`` and ``k`` are those of the search that it is about.
    """
    ranking = retriever.rank(query, by, max(k, FUSED))
    order = {chunk: rank for rank, (chunk, _) in enumerate(ranking.order, 1)}
    cut = {place: retriever.file.overlapping(place.document, place.start, place.end) for place in places}

    def came(place: Place) -> int:
        return min((order.get(p["chunk"], len(order) + 1) for p in cut[place]), default=len(order) + 1)

    place = min(places, key=came)
    terms = query_terms(query)
    pieces = _pieces(retriever, query, place, cut[place], terms)
    told = _terms(retriever, terms, pieces)
    hits, _ = retriever.search(query, by, min(k, _BEATEN_BY)) if by != "everything" else ([], 0)
    own = {piece["passage"]["chunk"] for piece in pieces}
    found = any(order.get(chunk, k + 1) <= k for chunk in own)
    why: WhyRecord = {
        "index": retriever.index.ref,
        "query": query,
        "by": by,
        "k": k,
        "document": place.document,
        "start": place.start,
        "end": place.end,
        "places": len(places),
        "pieces": pieces,
        "terms": told,
        "beaten_by": [hit for hit in hits if hit["passage"]["chunk"] not in own],
        "found": found,
        "reasons": [],
    }
    why["reasons"] = list(_reasons(retriever, why))
    return why


def _pieces(
    retriever: Retriever, query: str, place: Place, passages: Sequence[PassageRecord], terms: Sequence[Term]
) -> list[PieceRecord]:
    cosines = _cosines(retriever, query)
    fused: dict[int, int] = {}
    if cosines is not None:
        fused = {c: rank for rank, (c, _) in enumerate(retriever.rank(query, "hybrid", 2 * FUSED).order, 1)}
    found: list[PieceRecord] = []
    for passage in passages:
        chunk = passage["chunk"]
        words = retriever.file.word_rank(terms, chunk)
        cosine = None if cosines is None else float(cosines[chunk - 1])
        shared = min(place.end, passage["end"]) - max(place.start, passage["start"])
        found.append(
            {
                "passage": passage,
                "share": round(shared / max(1, place.end - place.start), 4),
                "bm25_rank": None if words is None else words[0],
                "bm25": None if words is None else words[1],
                "vectors_rank": None if cosines is None else 1 + int((cosines > cosines[chunk - 1]).sum()),
                "cosine": None if cosine is None else round(cosine, 4),
                "hybrid_rank": fused.get(chunk),
            }
        )
    return sorted(found, key=lambda piece: -piece["share"])


def _cosines(retriever: Retriever, query: str) -> Vectors | None:
    """The cosine of every chunk to the query, not of candidates alone."""
    if retriever.index.spec is None:
        return None
    vector = retriever.vector(query)
    return np.concatenate([block @ vector for _, block in retriever.index.vectors.blocks()])


def _terms(retriever: Retriever, terms: Sequence[Term], pieces: Sequence[PieceRecord]) -> list[TermRecord]:
    chunks = [piece["passage"]["chunk"] for piece in pieces]
    return [
        {
            "term": term.said,
            "matched": bool(chunks) and bool(retriever.file.having(term, chunks)),
            "chunks": retriever.file.frequency(term),
        }
        for term in terms
    ]


def _reasons(retriever: Retriever, why: WhyRecord) -> Iterator[str]:
    pieces, k = why["pieces"], why["k"]
    if not pieces:
        yield "no chunk has it: it is nothing but space"
        return
    if why["places"] > 1:
        yield f"its text is in {counted(why['places'], 'place')}; this is the one that came first"
    if len(pieces) > 1:
        shares = ", ".join(f"{piece['share']:.0%} in chunk {piece['passage']['chunk']}" for piece in pieces)
        cuts = len(pieces) - 1
        yield f"{counted(cuts, 'border')} of chunks {agree(cuts, 'cuts', 'cut')} it: {shares}"
    best = pieces[0]
    yield from _of_words(retriever, why, best)
    if best["vectors_rank"] is not None:
        of = retriever.index.record["chunks"]
        yield f"by meaning it is number {best['vectors_rank']:,} of {of:,}, cosine {best['cosine']:.3f}"
    fusion = retriever.index.record.get("fusion")
    if fusion is not None and best["hybrid_rank"] is not None:
        yield (
            f"fused it is number {best['hybrid_rank']:,}: meaning weighs {fusion['weight']:.2f} and words "
            f"{1 - fusion['weight']:.2f}, learnt on {counted(fusion['queries'], 'query', 'queries')} "
            f"({fusion['metric']} {fusion['gain']:+.3f}; {fusion['recommended']} is recommended)"
        )
    if why["by"] == "hybrid" and best["hybrid_rank"] is None:
        yield f"it is among the first {FUSED} of neither ranker, so it was not fused"
    if why["found"]:
        yield f"it was found among the first {k}"
    elif why["beaten_by"]:
        first = why["beaten_by"][0]
        terms = f", which has {', '.join(first['terms'])}" if first["terms"] else ""
        yield f"chunk {first['passage']['chunk']} of {first['passage']['document']} came first{terms}"


def _of_words(retriever: Retriever, why: WhyRecord, best: PieceRecord) -> Iterator[str]:
    matched = [term for term in why["terms"] if term["matched"]]
    absent = [term["term"] for term in why["terms"] if not term["matched"]]
    if not matched:
        yield "it has none of the words of the query" if why["terms"] else "the query has no words to search by"
        return
    total = retriever.index.record["chunks"]
    yield (
        f"by words it is number {best['bm25_rank']:,}"
        if best["bm25_rank"]
        else "its largest part has no word of the query"
    )
    if absent:
        yield f"it lacks {', '.join(absent)}"
    common = [term["term"] for term in matched if term["chunks"] > max(1, _COMMON * total)]
    if len(common) == len(matched) and total > 1:
        yield f"what it shares with the query is common: {', '.join(common)}"
