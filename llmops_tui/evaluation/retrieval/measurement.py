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
from llmops_tui.evaluation.metrics.claims import support
from llmops_tui.evaluation.retrieval.gold import GoldQuery, left_out, read_queries
from llmops_tui.evaluation.retrieval.rank_metrics import Piece, is_right, scores, within_tokens
from llmops_tui.evaluation.retrieval.records import (
    FittedRecord,
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

    def learnt_on(self, queries: Sequence[GoldQuery], queries_sha256: str) -> int:
        """On how many of these queries the weight was learnt by which it fuses both rankings.

        Records of before have no hashes of their queries: of those the file with ``queries_sha256`` is the same or another.
        """
        fusion = self.index.record.get("fusion")
        if fusion is None or self.by not in _FUSING:
            return 0
        if (known := fusion.get("query_hashes")) is not None:
            return sum(query.sha256 in known for query in queries)
        return len(queries) if fusion["queries_sha256"] == queries_sha256 else 0


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
    every: list[GoldQuery] = []
    queries: list[GoldQuery] = []
    # By embedder: two ways to search one index ask for the same vectors.
    known: dict[EmbedderSpec, Mapping[str, Vectors]] = {}
    for number, contender in enumerate(contenders):
        with ExitStack() as stack:
            vectors: Mapping[str, Vectors] = {}
            retriever = stack.enter_context(opened_retriever(store, contender.index, lambda text: vectors[text]))  # noqa: B023  used within
            every = read_queries(path, retriever.file, contender.index.ref)
            queries = [one for one in every if one.ranked or one.reference]
            if not queries:
                raise InputRefusedError("no_ranks", f"nothing should come for any query of {path}", "Say what should.")
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
    names = list(dict.fromkeys(name for one in by_contender[0] for name in one))
    columns = [{name: np.array([one.get(name, math.nan) for one in found]) for name in names} for found in by_contender]
    ranked = [one for one in queries if one.ranked]
    fitted: list[FittedRecord] = [
        {"retriever": contender.name, "learnt_on": count, "of": len(ranked)}
        for contender in contenders
        if (count := contender.learnt_on(ranked, digest))
    ]
    return {
        "queries": len(ranked),
        "gold": "spans" if any(one.spans for one in queries) else "documents",
        "left_out": left_out(every),
        "fitted": fitted,
        "k": list(plan.ks),
        "retrievers": [
            {
                "index": contender.index.ref,
                "by": contender.by,
                "figures": [_figure(name, values) for name, values in column.items() if not np.isnan(values).all()],
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
        chunks, pieces = _ranked(retriever, query.text, by, plan, places)
        right = sum(is_right(piece, query.spans) for piece in places.values()) if query.spans else 0
        of_ranks = scores(query, pieces, plan.ks, plan.budget, right) if query.ranked else {}
        found.append(of_ranks | _recalled(retriever, query, chunks, pieces, plan))
        tokens += sum(piece.tokens for piece in pieces[: max(plan.ks)])
        told(number / len(queries))
    return found, tokens / len(queries)


def _recalled(
    retriever: Retriever, query: GoldQuery, chunks: Sequence[int], pieces: Sequence[Piece], plan: Plan
) -> dict[str, float]:
    """Context recall of what was found, by rank; nothing where no answer is known, or it claims nothing."""
    if not query.reference:
        return {}
    cuts = {f"context-recall@{k}": k for k in plan.ks}
    if plan.budget is not None:
        cuts[f"context-recall@{plan.budget}t"] = len(within_tokens(pieces, plan.budget))
    passages = retriever.file.passages(chunks[: max(cuts.values())])
    texts = ["\n".join(filter(None, (passages[c]["heading"], passages[c]["text"]))) for c in chunks if c in passages]
    shares = {name: support(query.reference, texts[:cut], query.text).share for name, cut in cuts.items()}
    return {name: share for name, share in shares.items() if share is not None}


def _ranked(
    retriever: Retriever, query: str, by: By, plan: Plan, places: Mapping[int, Piece]
) -> tuple[list[int], list[Piece]]:
    """The chunks that a query finds, as deep as the largest k and the tokens ask for."""
    depth = max(*plan.ks, _DEPTH if plan.budget is not None else 0)
    while True:
        chunks = [chunk for chunk, _ in retriever.rank(query, by, depth).order]
        pieces = [places[chunk] for chunk in chunks]
        if plan.budget is None or len(pieces) < depth or sum(piece.tokens for piece in pieces) > plan.budget:
            return chunks, pieces
        depth *= 2


def _figure(name: str, column: Floats) -> RankFigure:
    values = column[~np.isnan(column)]
    interval = mean_interval(values, bounds=_BOUNDS)
    low, high = ends(interval)
    return {
        "metric": name,
        "n": len(values),
        "mean": float(values.mean()),
        "low": low,
        "high": high,
        "method": interval.method,
        "too_few": interval.too_few,
    }


def _compared(contenders: Sequence[Contender], columns: Sequence[Mapping[str, Floats]]) -> list[RetrieverComparison]:
    baseline = columns[0]
    # A metric that both have of no query, such as of spans that say something in one index alone, is not compared.
    raw = [
        [
            _difference(name, baseline[name], column[name])
            for name in column
            if not np.isnan(baseline[name] + column[name]).all()
        ]
        for column in columns[1:]
    ]
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
    both = ~np.isnan(before) & ~np.isnan(after)
    before, after = before[both], after[both]
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
        "n": len(changes),
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
