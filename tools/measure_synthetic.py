"""Whether synthetic rows help on BANKING77: ``measure_synthetic.py FOLDER WORKSPACE SEEDS VERSION…``.

FOLDER has ``test.csv`` with ``text,category``; of the workspace SEEDS and each VERSION are datasets with these columns. A
classifier on words, TF-IDF with logistic regression, is fitted on the seeds alone and on the seeds with each version. JSON
comes out: the accuracy on the test set, its difference to the seeds alone with the 95 % interval of a paired bootstrap over
the test rows, and the same over the test rows whose intent the seeds have; and all that beside the names of the intents, as one
text each, which the model was told.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmops_tui.datasets.origins import written_of
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace

_RESAMPLES = 10_000
Rows = list[tuple[str, str]]


def main(folder: Path, workspace: Path, seeds: str, refs: list[str]) -> dict[str, Any]:
    store = DatasetStore(Catalog(Workspace(workspace)))
    with (folder / "test.csv").open(encoding="utf-8", newline="") as file:
        test = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    own = _rows(store, seeds)
    known = np.array([label in {label for _, label in own} for _, label in test])
    alone = _right(own, test)
    found: dict[str, Any] = {
        "test_rows": len(test),
        "test_rows_of_known_intents": int(known.sum()),
        "seeds": {"rows": len(own), "intents": len({label for _, label in own}), **_accuracy(alone, known)},
    }
    # What the names of the intents alone are worth, which the model was told and the classifier was not.
    names = [(label.replace("_", " "), label) for label in sorted({label for _, label in own})]
    named = _right([*own, *names], test)
    found["names of the intents"] = _compared(named, alone, known)
    for ref in refs:
        version = store.get(ref)
        right = _right([*own, *_rows(store, ref)], test)
        funnel = {"rows": version.rows, "fell": version.rejected, "share_synthetic": written_of(store, version).share}
        both = _right([*own, *names, *_rows(store, ref)], test)
        found[ref] = funnel | _compared(right, alone, known) | {"beside the names": _compared(both, named, known)}
    return found


def _rows(store: DatasetStore, ref: str) -> Rows:
    return [(row["text"], row["category"]) for batch in store.get(ref).read() for _, row in batch]


def _right(rows: Rows, test: Rows) -> npt.NDArray[np.float64]:
    """Which test rows a classifier that is fitted on rows gets right."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=2000)
    )
    model.fit([text for text, _ in rows], [label for _, label in rows])
    said = model.predict([text for text, _ in test])
    return np.array([a == b for a, (_, b) in zip(said, test, strict=True)], np.float64)


def _accuracy(right: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]) -> dict[str, float]:
    return {
        "accuracy": round(float(right.mean()), 4),
        "accuracy_of_known_intents": round(float(right[known].mean()), 4),
    }


def _compared(
    right: npt.NDArray[np.float64], alone: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    return _accuracy(right, known) | {
        "difference": _difference(right, alone),
        "difference_of_known_intents": _difference(right[known], alone[known]),
    }


def _difference(right: npt.NDArray[np.float64], alone: npt.NDArray[np.float64]) -> list[float]:
    """The mean difference, and the ends of its 95 % interval."""
    pairs = right - alone
    chance = np.random.default_rng(0)
    means = [float(pairs[chance.integers(0, len(pairs), len(pairs))].mean()) for _ in range(_RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return [round(float(pairs.mean()), 4), round(float(low), 4), round(float(high), 4)]


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:]), indent=2))
