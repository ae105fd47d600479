"""Retrievers of an index: by BM25, by vectors, by both, and everything where that fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from llmops_tui.embeddings.embedder import Vectors
from llmops_tui.embeddings.opened import embed_query
from llmops_tui.errors import InputRefusedError
from llmops_tui.retrieval.chunk_file import ChunkFile
from llmops_tui.retrieval.fusion import Candidates, Ranked, fusion_of
from llmops_tui.retrieval.records import HitRecord
from llmops_tui.retrieval.store import Index, IndexStore
from llmops_tui.retrieval.terms import query_terms

By = Literal["bm25", "vectors", "hybrid", "reranked", "everything"]
WAYS: tuple[By, ...] = ("bm25", "vectors", "hybrid", "reranked", "everything")
# So many of each ranking are fused.
FUSED = 200
DEEP = 50
"""So many of what was found are reranked; the rest stays behind them."""
# What of a context "everything" may take, in estimated tokens.
CONTEXT = 8192
_TERMS_OF = 50
Embed = Callable[[str], Vectors]
Rerank = Callable[[str, Sequence[str]], list[float]]
"""The scores of texts for a query."""


@dataclass(frozen=True)
class Ranking:
    """Chunks by what they were found by, the best first: ``(chunk, score)``; and of each ranker the rank and score of each.

    ``compared`` of how many chunks the cosine was taken.
    """

    order: list[tuple[int, float | None]]
    words: Ranked = field(default_factory=dict)
    vectors: Ranked = field(default_factory=dict)
    compared: int = 0


def usual_way(index: Index) -> By:
    """How an index is searched unless somebody says otherwise: as labelled queries recommend; else by both, if it has vectors."""
    if index.spec is None:
        return "bm25"
    fusion = index.record.get("fusion")
    return "hybrid" if fusion is None else cast("By", fusion["recommended"])


class Retriever:
    """Searches one version of an index; for one thread at a time."""

    def __init__(self, index: Index, file: ChunkFile, embed: Embed, rerank: Rerank) -> None:
        self.index = index
        self.file = file
        self._embed = embed
        self._rerank = rerank
        self._asked: tuple[str, Vectors] | None = None

    def vector(self, query: str) -> Vectors:
        """The vector of a query; that of the last one is known."""
        if self._asked is None or self._asked[0] != query:
            self._asked = query, self._embed(query)
        return self._asked[1]

    @property
    def best_way(self) -> By:
        """As :func:`usual_way`."""
        return usual_way(self.index)

    def rank(self, query: str, by: By, count: int, *, context: int = CONTEXT) -> Ranking:
        """The chunks for a query, the best ``count``; with ``everything`` all, in the order of the documents.

        Raises:
            InputRefusedError: ``bad_search``: the query is empty; ``no_vectors``: the index has none; ``too_much``: everything
                does not fit into ``context`` tokens.
        """
        if not query.strip():
            raise InputRefusedError("bad_search", "there is nothing to search for", "Say it in your own words.")
        if by == "everything":
            return self._everything(context)
        if by == "reranked":
            return self._reranked(query, count)
        deep = max(count, FUSED) if by == "hybrid" else count
        words: Ranked = self.by_words(query, deep) if by != "vectors" else {}
        vectors, compared = self.by_meaning(query, deep) if by != "bm25" else ({}, 0)
        order: list[tuple[int, float | None]] = [(chunk, score) for chunk, (_, score) in (words or vectors).items()]
        if by == "hybrid":
            order = [*Candidates(words, vectors).first(fusion_of(self.index.record.get("fusion")), count)]
        return Ranking(order, words, vectors, compared)

    def by_words(self, query: str, count: int) -> dict[int, tuple[int, float]]:
        """The best chunks by BM25, each with its rank and score."""
        found = self.file.best(query_terms(query), count)
        return {chunk: (rank, score) for rank, (chunk, score) in enumerate(found, 1)}

    def by_meaning(self, query: str, count: int) -> tuple[dict[int, tuple[int, float]], int]:
        """The nearest chunks, each with its rank and cosine; and of how many chunks that was taken.

        Raises:
            InputRefusedError: ``no_vectors``.
        """
        self._require_vectors()
        near = self.index.nearest.find(self.vector(query), count)
        pairs = zip(near.rows.tolist(), near.cosines.tolist(), strict=True)
        return {row + 1: (rank, float(cosine)) for rank, (row, cosine) in enumerate(pairs, 1)}, near.compared

    def _reranked(self, query: str, count: int) -> Ranking:
        """What the usual way finds first, in the order of the reranker's scores, and the rest behind it as it was."""
        if self.index.record.get("reranker") is None:
            name = self.index.record["name"]
            raise InputRefusedError(
                "no_reranker",
                f"{self.index.ref} was built without a reranker",
                f"Search by {self.best_way}, or build it with one: llmops index build {name} --reranker MODEL.",
            )
        found = self.rank(query, self.best_way, max(count, DEEP))
        first = [chunk for chunk, _ in found.order[:DEEP]]
        passages = self.file.passages(first)
        texts = ["\n".join(filter(None, (passages[n]["heading"], passages[n]["text"]))) for n in first]
        scored = sorted(zip(first, self._rerank(query, texts), strict=True), key=lambda one: -one[1]) if first else []
        order: list[tuple[int, float | None]] = [*scored, *((chunk, None) for chunk, _ in found.order[DEEP:])]
        return replace(found, order=order[:count])

    def _everything(self, context: int) -> Ranking:
        tokens = self.index.record["tokens"]
        if tokens > context:
            raise InputRefusedError(
                "too_much",
                f"{self.index.ref} has about {tokens:,} tokens, more than the {context:,} that everything may take",
                "Allow more with --context where the model's context has room, or search by hybrid.",
            )
        return Ranking([(chunk, None) for chunk in range(1, self.index.record["chunks"] + 1)])

    def _require_vectors(self) -> None:
        if self.index.spec is None:
            name = self.index.record["name"]
            raise InputRefusedError(
                "no_vectors",
                f"{self.index.ref} was built without an embedder",
                f"Search by bm25, or build it with one: llmops index build {name} --embedder MODEL.",
            )

    def search(self, query: str, by: By, count: int, *, context: int = CONTEXT) -> tuple[list[HitRecord], int]:
        """As :meth:`rank`, with all that is to be shown of each chunk; and of how many the cosine was taken."""
        ranking = self.rank(query, by, count, context=context)
        return self._hits(query, ranking), ranking.compared

    def _hits(self, query: str, ranking: Ranking) -> list[HitRecord]:
        chunks = [chunk for chunk, _ in ranking.order]
        passages = self.file.passages(chunks)
        terms = query_terms(query)
        # Terms are told of those that somebody may look at.
        having = {term: self.file.having(term, chunks[:_TERMS_OF]) for term in terms} if chunks else {}
        found: list[HitRecord] = []
        for rank, (chunk, score) in enumerate(ranking.order, 1):
            by_words, by_vectors = ranking.words.get(chunk), ranking.vectors.get(chunk)
            found.append(
                {
                    "rank": rank,
                    "passage": passages[chunk],
                    "score": score,
                    "bm25_rank": None if by_words is None else by_words[0],
                    "bm25": None if by_words is None else by_words[1],
                    "vectors_rank": None if by_vectors is None else by_vectors[0],
                    "cosine": None if by_vectors is None else round(by_vectors[1], 4),
                    "terms": [term.said for term in terms if chunk in having.get(term, ())],
                }
            )
        return found


@contextmanager
def opened_retriever(
    store: IndexStore, index: Index, embed: Embed | None = None, rerank: Rerank | None = None
) -> Iterator[Retriever]:
    """A retriever of an index; models are started when a query needs them, unless ``embed`` and ``rerank`` do their work."""

    def ask(query: str) -> Vectors:
        spec = index.spec
        assert spec is not None
        return embed_query(store.catalog, spec, query)

    def order(query: str, texts: Sequence[str]) -> list[float]:
        from llmops_tui.retrieval.reranking import rerank_texts

        record = index.record.get("reranker")
        assert record is not None
        return rerank_texts(store.catalog, record, query, texts)

    with ChunkFile.opened(index.folder) as file:
        yield Retriever(index, file, embed or ask, rerank or order)
