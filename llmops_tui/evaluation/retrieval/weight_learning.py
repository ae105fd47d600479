"""The weight of meaning against words, learnt on labelled queries, and whether both together are better than the better alone.

That is judged on queries which the weight was not learnt on: these are parted into ten, and each part is searched with the weight
that is best on the others (Stone, "Cross-validatory choice and assessment of statistical predictions", 1974). The weight that is
kept is the best on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from llmops_tui.embeddings.embedder import Vectors
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.retrieval.gold import GoldQuery, read_queries
from llmops_tui.evaluation.retrieval.measurement import EmbedAll, Told, embedder_of
from llmops_tui.evaluation.retrieval.rank_metrics import Piece, is_right, scores
from llmops_tui.evaluation.statistics.bootstrap import Floats
from llmops_tui.evaluation.statistics.intervals import difference_interval, ends
from llmops_tui.evaluation.statistics.power import scores_needed
from llmops_tui.evaluation.statistics.significance import sign_flip, smallest_effect
from llmops_tui.retrieval.fusion import METHODS, Candidates, Fusion
from llmops_tui.retrieval.records import FusionRecord
from llmops_tui.retrieval.retriever import FUSED, By, Retriever, opened_retriever
from llmops_tui.retrieval.store import Index, IndexStore
from llmops_tui.retrieval.weighting import content_of
from llmops_tui.workspace.files import sha256_file

METRIC = "mrr@10"
_METRICS = ("recall", "hit", "mrr", "ndcg")
FEWEST = 20
"""With fewer queries every part of them has one or two, and nothing is learnt but chance."""
_PARTS = 10
# Of meaning, in steps of a twentieth; all and nothing are the rankers alone.
_WEIGHTS = tuple(n / 20 for n in range(1, 20))
# Those nearest to meaning alone first, and ranks before scores: of equally good ones the first is taken.
_WAYS = tuple(Fusion(method, weight) for method in METHODS for weight in reversed(_WEIGHTS))
_ALONE: tuple[By, ...] = ("vectors", "bm25")


def learn_weight(
    store: IndexStore,
    index: Index,
    path: Path,
    told: Told,
    *,
    metric: str = METRIC,
    embed_all: EmbedAll | None = None,
) -> FusionRecord:
    """What the queries of a file say of an index; nothing is kept.

    Raises:
        InputRefusedError: ``no_vectors``; ``bad_metric``; ``too_few_queries``; the queries are none for the index.
    """
    name, k = _metric(metric)
    spec = index.spec
    if spec is None:
        raise InputRefusedError(
            "no_vectors",
            f"{index.ref} is searched by words alone: there is nothing to weigh",
            f"llmops index build {index.record['name']} --embedder MODEL",
        )
    with ExitStack() as stack:
        vectors: Mapping[str, Vectors] = {}
        retriever = stack.enter_context(opened_retriever(store, index, lambda text: vectors[text]))
        every = read_queries(path, retriever.file, index.ref)
        queries = [one for one in every if one.ranked]
        if len(queries) < FEWEST:
            what = " with what should come" if len(every) > len(queries) else ""
            raise InputRefusedError(
                "too_few_queries",
                f"{path} has {len(queries)} queries{what}, and a weight is learnt on {FEWEST} or more",
                "Label more of them.",
            )
        told(0.0, f"embedding {len(queries):,} queries")
        vectors = (embed_all or embedder_of(store))(spec, [query.text for query in queries])
        found = _scored(retriever, queries, name, k, told)
    told(1.0, "")
    alone, ways = found[:, : len(_ALONE)], found[:, len(_ALONE) :]
    best = int(np.argmax(alone.mean(axis=0)))
    judged = _judged(index, path, metric, _WAYS[_best(ways)], _by_others(ways), _ALONE[best], alone[:, best])
    judged["query_hashes"] = sorted({one.sha256 for one in queries})
    if len(every) > len(queries):
        judged["left_out"] = len(every) - len(queries)
    return judged


def _metric(given: str) -> tuple[str, int]:
    name, _, rank = given.partition("@")
    if name not in _METRICS or not (rank.isascii() and rank.isdecimal()) or not 1 <= int(rank) <= FUSED:
        told = f"a weight is learnt by {', '.join(_METRICS)} at a rank up to {FUSED}, not by {given!r}"
        raise InputRefusedError("bad_metric", told, f"Such as {METRIC}.")
    return name, int(rank)


def _scored(retriever: Retriever, queries: Sequence[GoldQuery], name: str, k: int, told: Told) -> Floats:
    """The metric of each query by each ranker alone and by each way to fuse them, of shape (queries, 2 + ways)."""
    places = {
        p["chunk"]: Piece(p["document"], p["start"], p["end"], p["tokens"]) for p in retriever.file.all_passages()
    }
    found = np.zeros((len(queries), len(_ALONE) + len(_WAYS)))
    for row, query in enumerate(queries):
        words = retriever.by_words(query.text, FUSED)
        vectors, _ = retriever.by_meaning(query.text, FUSED)
        both = Candidates(words, vectors)
        right = sum(is_right(piece, query.spans) for piece in places.values()) if query.spans else 0
        rankings = [list(vectors)[:k], list(words)[:k], *([c for c, _ in both.first(way, k)] for way in _WAYS)]
        # Many ways come to the same ranking.
        known: dict[tuple[int, ...], float] = {}
        for column, chunks in enumerate(map(tuple, rankings)):
            if chunks not in known:
                pieces = [places[chunk] for chunk in chunks]
                known[chunks] = scores(query, pieces, [k], None, right)[f"{name}@{k}"]
            found[row, column] = known[chunks]
        told(0.1 + 0.9 * (row + 1) / len(queries), "")
    return found


def _best(ways: Floats) -> int:
    """The best way on some queries; sums of the same numbers in another order differ in their last digits."""
    return int(np.argmax(np.round(ways.mean(axis=0), 12)))


def _by_others(ways: Floats) -> Floats:
    """The metric of each query with the way that is best on the queries of other parts."""
    part = np.random.default_rng(0).permutation(len(ways)) % _PARTS
    found = np.zeros(len(ways))
    for number in range(_PARTS):
        found[part == number] = ways[part == number, _best(ways[part != number])]
    return found


def _judged(
    index: Index, path: Path, metric: str, chosen: Fusion, parted: Floats, baseline: By, alone: Floats
) -> FusionRecord:
    changes = parted - alone
    interval = difference_interval(changes, binary=metric.startswith("hit@"), bounds=(0.0, 1.0))
    low, high = (None, None) if interval.too_few else ends(interval)
    gain, smallest = float(changes.mean()), smallest_effect(changes)
    return {
        "method": chosen.method,
        "weight": chosen.weight,
        "metric": metric,
        "queries": len(parted),
        "queries_sha256": sha256_file(path),
        "of": index.ref,
        "content": content_of(index),
        "baseline": baseline,
        "mean": float(parted.mean()),
        "alone": float(alone.mean()),
        "gain": gain,
        "low": low,
        "high": high,
        "p": sign_flip(changes),
        "smallest": smallest if math.isfinite(smallest) else None,
        "needed": scores_needed(gain, float(changes.std(ddof=1))),
        # Both together are not taken to be better: it has to be seen.
        "recommended": "hybrid" if low is not None and low > 0 else baseline,
    }
