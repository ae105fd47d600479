"""What embeddings are worth on BANKING77, 10,003 questions with 77 intents: ``measure_meaning.py FOLDER WORKSPACE``.

FOLDER has ``train.csv`` and ``test.csv``; the workspace has them as ``banking`` and ``banking-test``, embedded. JSON comes out:
search by category, clusters against intents, and active learning against labels that are drawn at random.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmops_tui.datasets.meaning.active_learning import (
    Proposer,
    first_rows,
    fit_logistic,
    next_rows,
    predict_logistic,
)
from llmops_tui.datasets.meaning.clustering import fit_clusters, nearest_clusters
from llmops_tui.datasets.meaning.index import require_index
from llmops_tui.datasets.meaning.search import MeaningSearch
from llmops_tui.datasets.search import SearchIndex
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace

_STEP, _LABELS, _SEEDS = 100, 1000, 2
_QUERIES = 600


def _categories(path: Path) -> npt.NDArray[np.str_]:
    with path.open(encoding="utf-8", newline="") as file:
        return np.array([row["category"] for row in csv.DictReader(file)])


def main(folder: Path, workspace: Path) -> dict[str, Any]:
    store = DatasetStore(Catalog(Workspace(workspace)))
    train, test = (require_index(store.get(name)) for name in ("banking", "banking-test"))
    intents, asked = _categories(folder / "train.csv"), _categories(folder / "test.csv")
    vectors = np.asarray(train.file.vectors(), np.float32)
    tests = np.asarray(test.file.vectors(), np.float32)
    return {
        "model": train.spec.model,
        "search": _search(train, test, tests, intents, asked),
        "clusters": _clusters(vectors, intents),
        "labels": _learning(vectors, intents, tests, asked),
    }


def _search(train: Any, test: Any, tests: Any, intents: Any, asked: Any) -> dict[str, Any]:
    """Of questions that were not seen, drawn at random: whether the first row has the intent, and one of the first ten."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(tests))[:_QUERIES])
    texts = [test.text.text(row) for row in test.version.rows_at(chosen.tolist())]
    words = SearchIndex(train.version).make()
    of = dict(zip(texts, tests[chosen], strict=True))
    search = MeaningSearch(train, lambda text: of[text], lambda: words)
    ways = {
        "words": lambda text: words.best(text, 10),
        "meaning": lambda text: search.find(text, 10).rows,
        "both": lambda text: search.find(text, 10, "both").rows,
    }
    found: dict[str, Any] = {"queries": len(texts)}
    for name, way in ways.items():
        hits = [intents[way(text)] == asked[n] for text, n in zip(texts, chosen, strict=True)]
        ranks = [1 / (int(np.argmax(h)) + 1) if h.any() else 0.0 for h in hits]
        found[name] = {
            "hit_at_1": float(np.mean([h[:1].any() for h in hits])),
            "hit_at_10": float(np.mean([h.any() for h in hits])),
            "mrr_at_10": float(np.mean(ranks)),
            "precision_at_10": float(np.mean([h.sum() / 10 for h in hits])),
        }
    return found


def _clusters(vectors: Any, intents: Any) -> dict[str, float]:
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    rows = np.arange(len(vectors))
    of = nearest_clusters(vectors, rows, fit_clusters(vectors, rows, 77))
    return {
        "clusters": 77,
        "adjusted_rand": float(adjusted_rand_score(intents, of)),
        "normalised_mutual_information": float(normalized_mutual_info_score(intents, of)),
    }


def _learning(vectors: Any, intents: Any, tests: Any, asked: Any) -> dict[str, Any]:
    """Accuracy on the test set by number of labels: chosen by cluster and margin, and drawn at random."""

    def accuracy(rows: list[int]) -> float:
        known = np.array(sorted(set(intents[rows].tolist())))
        weights = fit_logistic(vectors[rows], intents[rows].tolist())
        return float((known[predict_logistic(weights, tests).argmax(axis=1)] == asked).mean())

    curves: dict[str, Any] = {"labels": list(range(_STEP, _LABELS + 1, _STEP))}
    drawn = []
    for seed in range(_SEEDS):
        order = np.random.default_rng(seed).permutation(len(vectors))
        drawn.append([accuracy(order[:n].tolist()) for n in curves["labels"]])
    curves["random"] = np.mean(drawn, axis=0).round(4).tolist()
    everything = np.arange(len(vectors))
    chosen = first_rows(vectors, everything, _STEP)
    curves["active"] = [{"labels": len(chosen), "accuracy": round(accuracy(chosen), 4)}]
    while len(chosen) < _LABELS:
        rest = np.setdiff1d(everything, chosen)
        proposer = Proposer(vectors, {row: str(intents[row]) for row in chosen})
        chosen += next_rows(proposer, vectors, rest, _STEP)
        curves["active"].append({"labels": len(chosen), "accuracy": round(accuracy(chosen), 4)})
    return curves


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2])), indent=2))
