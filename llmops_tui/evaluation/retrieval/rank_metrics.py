"""Metrics of one ranking of chunks against what should come; each from 0 to 1.

Of documents: recall@k, the share of those that should come of which a chunk is among the first k; hit@k, whether one is;
MRR@k, 1 / the rank of the first; nDCG@k, Σ grade / log2(rank + 1) over the first chunk of each document, by that of the best
order (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002, with the grade as its gain, as trec_eval
has it). Where each document is one chunk these are what trec_eval computes.

Of spans: recall@k, the share of their characters that the first k chunks cover; precision@k, the share of the characters of
these chunks that are of spans. A chunk is right for hit, MRR and nDCG where it has half of a span, or is half a span's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmops_tui.evaluation.retrieval.gold import GoldQuery, Span

_HALF = 0.5


@dataclass(frozen=True)
class Piece:
    """A chunk as it was ranked."""

    document: str
    start: int
    end: int
    tokens: int


def gains(pieces: Sequence[Piece], documents: Mapping[str, float]) -> list[float]:
    """What each chunk of a ranking adds: the grade of its document where that has none before it."""
    seen: set[str] = set()
    found = []
    for piece in pieces:
        found.append(0.0 if piece.document in seen else documents.get(piece.document, 0.0))
        seen.add(piece.document)
    return found


def reciprocal_rank(values: Sequence[float]) -> float:
    """1 / the rank of the first that adds something; 0 where none does."""
    return next((1 / rank for rank, value in enumerate(values, 1) if value > 0), 0.0)


def ndcg(values: Sequence[float], ideal: Sequence[float]) -> float:
    """The discounted gain of a ranking by that of the best one, ``ideal``, both cut off at the same rank."""
    best = _dcg(ideal)
    return _dcg(values) / best if best else 0.0


def _dcg(values: Sequence[float]) -> float:
    return sum(value / math.log2(rank + 1) for rank, value in enumerate(values, 1))


def covered(pieces: Sequence[Piece], spans: Sequence[Span]) -> int:
    """How many characters of spans some chunks have, each counted once."""
    return sum(
        _length([(max(p.start, s.start), min(p.end, s.end)) for p in pieces if p.document == s.document])
        for s in _merged(spans)
    )


def _length(ranges: Sequence[tuple[int, int]]) -> int:
    total = last = 0
    for start, end in sorted(ranges):
        if end > max(start, last):
            total += end - max(start, last)
            last = end
    return total


def _merged(spans: Sequence[Span]) -> Iterator[Span]:
    """Spans without what they have in common."""
    last: Span | None = None
    for span in sorted(spans, key=lambda one: (one.document, one.start, one.end)):
        if last is not None and last.document == span.document and span.start <= last.end:
            last = Span(last.document, last.start, max(last.end, span.end))
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last


def is_right(piece: Piece, spans: Sequence[Span]) -> bool:
    """Whether a chunk has half of a span, or is half a span's."""
    for span in spans:
        shared = min(piece.end, span.end) - max(piece.start, span.start)
        if piece.document == span.document and shared >= _HALF * min(piece.end - piece.start, span.end - span.start):
            return True
    return False


def within_tokens(pieces: Sequence[Piece], tokens: int) -> Sequence[Piece]:
    """The first chunks that have no more tokens together; so retrievers with chunks of other sizes are compared fairly."""
    total = 0
    for number, piece in enumerate(pieces):
        total += piece.tokens
        if total > tokens:
            return pieces[:number]
    return pieces


def scores(
    query: GoldQuery, pieces: Sequence[Piece], ks: Sequence[int], budget: int | None, right_chunks: int
) -> dict[str, float]:
    """All metrics of a ranking, by name; ``right_chunks`` is how many chunks of the index are right for the spans."""
    found: dict[str, float] = {}
    if query.spans:
        values = [float(is_right(piece, query.spans)) for piece in pieces]
        ideal = [1.0] * right_chunks
    else:
        values, ideal = gains(pieces, query.documents), sorted(query.documents.values(), reverse=True)
    for k in ks:
        found |= {f"{name}@{k}": value for name, value in _of_part(query, pieces[:k]).items()}
        found[f"hit@{k}"] = float(any(values[:k]))
        found[f"mrr@{k}"] = reciprocal_rank(values[:k])
        found[f"ndcg@{k}"] = ndcg(values[:k], ideal[:k])
    if budget is not None:
        part = _of_part(query, within_tokens(pieces, budget))
        found |= {f"{name}@{budget}t": value for name, value in part.items()}
    return found


def _of_part(query: GoldQuery, pieces: Sequence[Piece]) -> dict[str, float]:
    if not query.spans:
        came = {piece.document for piece in pieces} & query.documents.keys()
        return {"recall": len(came) / len(query.documents)}
    shared = covered(pieces, query.spans)
    wanted = sum(span.end - span.start for span in _merged(query.spans))
    size = sum(piece.end - piece.start for piece in pieces)
    return {"recall": shared / wanted, "precision": shared / size if size else 0.0}
