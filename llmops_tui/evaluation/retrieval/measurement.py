"""Retrievers measured on queries, and compared with the first of them query by query."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llmops_tui.embeddings.embedder import EmbedderSpec, Vectors
from llmops_tui.embeddings.opened import opened_embedder
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.retrieval.gold import GoldQuery, read_queries
from llmops_tui.evaluation.retrieval.rank_metrics import Piece, is_right, scores
from llmops_tui.evaluation.retrieval.records import (
    MeasurementRecord,
    QueryScores,
    RankDifference,
    RankFigure,
    RetrieverComparison,
)
from llmops_tui.evaluation.statistics.bootstrap import Floats
from llmops_tui.evaluation.statistics.intervals import difference_interval, ends, mean_interval
from llmops_tui.evaluation.statistics.power import pairs_needed, scores_needed
from llmops_tui.evaluation.statistics.significance import holm, mcnemar_exact, sign_flip, smallest_effect
from llmops_tui.retrieval.retriever import By, Retriever, opened_retriever
from llmops_tui.retrieval.store import Index, IndexStore
from llmops_tui.workspace.files import sha256_file

KS = (1, 5, 10)
_SIGNIFICANT = 0.05
# What is reranked is what hybrid finds.
_FUSING: frozenset[By] = frozenset({"hybrid", "reranked"})
# Every figure of a query is a share.
_BOUNDS = (0.0, 1.0)
# How deep a ranking is looked at first where it is cut off by tokens.
_DEPTH = 100
Told = Callable[[float, str], None]
EmbedAll = Callable[[EmbedderSpec, Sequence[str]], Mapping[str, Vectors]]


@dataclass(frozen=True)
class Contender:
    """A retriever to measure: a version of an index, and how it is searched."""

    index: Index
    by: By

    @property
    def name(self) -> str:
        """How it is told."""
        return f"{self.index.ref} {self.by}"

    def is_fitted_to(self, queries_sha256: str) -> bool:
        """Whether it fuses both rankings by a weight that was learnt on the queries of the file with this hash."""
        fusion = self.index.record.get("fusion")
        return fusion is not None and self.by in _FUSING and fusion["queries_sha256"] == queries_sha256


@dataclass(frozen=True)
class Plan:
    """What is measured: at which ranks, and within how many tokens where that is asked."""

    ks: tuple[int, ...] = KS
    budget: int | None = None


def measure(
    store: IndexStore,
    contenders: Sequence[Contender],
    path: Path,
    plan: Plan,
    told: Told,
    embed_all: EmbedAll | None = None,
) -> MeasurementRecord:
    """Measure retrievers on the queries of a file; the first is what the others are compared with.

    Raises:
        InputRefusedError: the queries are none for an index, or a retriever cannot search it; ``everything`` has no ranks.
    """
    if any(contender.by == "everything" for contender in contenders):
        raise InputRefusedError(
            "not_ranked",
            "everything finds all that there is, in no order: its recall is 1, and no rank can be measured",
            "What it costs is its tokens, which llmops index show tells.",
        )
    digest = sha256_file(path)
    by_contender: list[list[dict[str, float]]] = []
    tokens: list[float] = []
    queries: list[GoldQuery] = []
    # By embedder: two ways to search one index ask for the same vectors.
    known: dict[EmbedderSpec, Mapping[str, Vectors]] = {}
    for number, contender in enumerate(contenders):
        with ExitStack() as stack:
            vectors: Mapping[str, Vectors] = {}
            retriever = stack.enter_context(opened_retriever(store, contender.index, lambda text: vectors[text]))  # noqa: B023  used within
            queries = read_queries(path, retriever.file, contender.index.ref)
            spec = contender.index.spec
            if contender.by in {"vectors", "hybrid", "reranked"} and spec is not None:
                told(number / len(contenders), f"embedding {len(queries):,} queries")
                if spec not in known:
                    known[spec] = (embed_all or embedder_of(store))(spec, [query.text for query in queries])
                vectors = known[spec]
            found, size = _measured(
                retriever,
                contender.by,
                queries,
                plan,
                lambda share, at=number: told((at + share) / len(contenders), ""),  # type: ignore[misc]
            )
        by_contender.append(found)
        tokens.append(size)
    told(1.0, "")
    names = list(by_contender[0][0])
    columns = [{name: np.array([one[name] for one in found]) for name in names} for found in by_contender]
    return {
        "queries": len(queries),
        "gold": "spans" if queries[0].spans else "documents",
        "fitted": [contender.name for contender in contenders if contender.is_fitted_to(digest)],
        "k": list(plan.ks),
        "retrievers": [
            {
                "index": contender.index.ref,
                "by": contender.by,
                "figures": [_figure(name, values) for name, values in column.items()],
                "tokens": round(size, 1),
            }
            for contender, column, size in zip(contenders, columns, tokens, strict=True)
        ],
        "comparisons": _compared(contenders, columns),
        "by_query": _by_query(queries, by_contender),
    }


def embedder_of(store: IndexStore) -> EmbedAll:
    """What embeds the queries of a measurement: the model of an index, its server started where it has to be."""

    def embed(spec: EmbedderSpec, texts: Sequence[str]) -> Mapping[str, Vectors]:
        async def work() -> dict[str, Vectors]:
            async with opened_embedder(store.catalog, spec) as embedder:
                return {text: await embedder.query(text) for text in dict.fromkeys(texts)}

        return asyncio.run(work())

    return embed


def _measured(
    retriever: Retriever, by: By, queries: Sequence[GoldQuery], plan: Plan, told: Callable[[float], None]
) -> tuple[list[dict[str, float]], float]:
    """The scores of each query, and the mean tokens of the first k of them, of the largest k."""
    places = {
        p["chunk"]: Piece(p["document"], p["start"], p["end"], p["tokens"]) for p in retriever.file.all_passages()
    }
    found, tokens = [], 0
    for number, query in enumerate(queries, 1):
        pieces = _ranked(retriever, query.text, by, plan, places)
        right = sum(is_right(piece, query.spans) for piece in places.values()) if query.spans else 0
        found.append(scores(query, pieces, plan.ks, plan.budget, right))
        tokens += sum(piece.tokens for piece in pieces[: max(plan.ks)])
        told(number / len(queries))
    return found, tokens / len(queries)


def _ranked(retriever: Retriever, query: str, by: By, plan: Plan, places: Mapping[int, Piece]) -> list[Piece]:
    """What a query finds, as deep as the largest k and the tokens ask for."""
    depth = max(*plan.ks, _DEPTH if plan.budget is not None else 0)
    while True:
        pieces = [places[chunk] for chunk, _ in retriever.rank(query, by, depth).order]
        if plan.budget is None or len(pieces) < depth or sum(piece.tokens for piece in pieces) > plan.budget:
            return pieces
        depth *= 2


def _figure(name: str, values: Floats) -> RankFigure:
    interval = mean_interval(values, bounds=_BOUNDS)
    low, high = ends(interval)
    return {
        "metric": name,
        "mean": float(values.mean()),
        "low": low,
        "high": high,
        "method": interval.method,
        "too_few": interval.too_few,
    }


def _compared(contenders: Sequence[Contender], columns: Sequence[Mapping[str, Floats]]) -> list[RetrieverComparison]:
    baseline = columns[0]
    raw = [[_difference(name, baseline[name], column[name]) for name in column] for column in columns[1:]]
    corrected = iter(holm([one["p"] for differences in raw for one in differences]))
    for differences in raw:
        for one in differences:
            one["p_holm"] = next(corrected)
            one["verdict"] = _verdict(one)
    return [
        {"baseline": contenders[0].name, "candidate": contender.name, "differences": differences}
        for contender, differences in zip(contenders[1:], raw, strict=True)
    ]


def _difference(name: str, before: Floats, after: Floats) -> RankDifference:
    changes = after - before
    binary = name.startswith("hit@")
    interval = difference_interval(changes, binary=binary, bounds=_BOUNDS)
    wins, losses = int((changes > 0).sum()), int((changes < 0).sum())
    effect = float(changes.mean())
    if binary:
        p, needed = mcnemar_exact(wins, losses), pairs_needed(effect, (wins + losses) / len(changes))
    else:
        p = sign_flip(changes)
        needed = scores_needed(effect, float(changes.std(ddof=1)) if len(changes) > 1 else 0.0)
    low, high = ends(interval)
    smallest = smallest_effect(changes)
    return {
        "metric": name,
        "baseline": float(before.mean()),
        "candidate": float(after.mean()),
        "difference": effect,
        "low": None if interval.too_few else low,
        "high": None if interval.too_few else high,
        "method": interval.method,
        "p": p,
        "p_holm": p,
        "wins": wins,
        "ties": len(changes) - wins - losses,
        "losses": losses,
        "smallest": smallest if math.isfinite(smallest) else None,
        "needed": needed,
        "verdict": "",
    }


def _verdict(one: RankDifference) -> str:
    low, high = one["low"], one["high"]
    if low is None or high is None or one["p_holm"] >= _SIGNIFICANT or low <= 0 <= high:
        return "unclear"
    return "better" if one["difference"] > 0 else "worse"


def _by_query(queries: Sequence[GoldQuery], found: Sequence[Sequence[dict[str, float]]]) -> list[QueryScores]:
    return [
        {"id": query.id, "query": query.text, "scores": [of[at] for of in found]} for at, query in enumerate(queries)
    ]
