"""Trains the weights of the refusal model: a linear model over classes of words, from sentences made of frames.

The training sentences are made of the frames and words of ``refusal_frames.yaml``, and of the half of the labelled set that is
there to tune on; the other half is never seen. Run it after a change of either: ``python -m tools.train_refusal``; ``--check``
tells what the half to tune on gives when its parts are left out in turn, by which penalty and threshold were chosen.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from pathlib import Path

import numpy as np
import yaml

from llmops_tui.datasets.checks.refusal_model import WEIGHTS, features
from llmops_tui.datasets.checks.sentences import sentences, unquoted
from llmops_tui.evaluation.metrics.labelled_sets import labelled
from tools.logistic import Floats, trained

# How strongly weights are held near 0, and what a sentence of the labelled set counts over one of a frame; both chosen by
# leaving out parts of the half to tune on.
PENALTY = 0.3
WRITTEN = 4.0
EACH = 6

FRAMES = Path(__file__).parent / "refusal_frames.yaml"


def framed() -> tuple[list[str], list[float]]:
    """The sentences of all frames, so many of each, and 1 where they refuse."""
    told = yaml.safe_load(FRAMES.read_text(encoding="utf-8"))
    random_ = random.Random(1)
    texts: list[str] = []
    labels: list[float] = []
    for kind, label in (("refuses", 1.0), ("answers", 0.0)):
        for language, frames in told[kind].items():
            for frame, _ in itertools.product(frames, range(EACH)):
                values = {name: random_.choice(words) for name, words in told["words"][language].items()}
                values["place"] = random_.choice(told["places"])
                values["neg"] = random_.choice(told["negated"])
                values["Wish"] = values["wish"][0].upper() + values["wish"][1:]
                texts.append(frame.format(**values))
                labels.append(label)
    return texts, labels


def written() -> tuple[list[str], list[float]]:
    """The sentences of the half to tune on, and 1 where they refuse.

    Of an answer that refuses in several sentences it is not said which one does; it is left out.
    """
    texts: list[str] = []
    labels: list[float] = []
    for one in labelled("refusal"):
        parts = sentences(unquoted(str(one["text"])))[:3]
        if one["half"] == "tune" and (not one["label"] or len(parts) == 1):
            texts += parts
            labels += [float(one["label"])] * len(parts)
    return texts, labels


def weights_of(more: list[str], their: list[float]) -> Floats:
    """Trained on the frames and these sentences."""
    texts, labels = framed()
    weights = np.array([1.0] * len(texts) + [WRITTEN] * len(more))
    return trained([*texts, *more], np.array([*labels, *their]), weights, features, PENALTY)


def made_weights() -> list[float]:
    """The weights of the columns, and last the one that every sentence has."""
    return [round(float(w), 3) for w in weights_of(*written())]


def main() -> None:
    """Train, and write the weights."""
    if "--check" in sys.argv:
        check()
    else:
        Path(WEIGHTS).write_text(json.dumps(made_weights()) + "\n", encoding="utf-8")


def check(parts: int = 5) -> None:
    """What sentences get of weights that have not seen them, at several thresholds."""
    texts, labels = written()
    scores = np.zeros(len(texts))
    for part in range(parts):
        held = [i for i in range(len(texts)) if i % parts == part]
        rest = [i for i in range(len(texts)) if i % parts != part]
        weights = weights_of([texts[i] for i in rest], [labels[i] for i in rest])
        for i in held:
            scores[i] = float(features(texts[i]) @ weights[:-1] + weights[-1])
    chances = 1 / (1 + np.exp(-scores))
    truth = np.array(labels) == 1
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        found = chances >= threshold
        hits = int((found & truth).sum())
        sys.stdout.write(
            f"{threshold}: precision {hits / max(1, int(found.sum())):.2f}, recall {hits / int(truth.sum()):.2f}\n"
        )


if __name__ == "__main__":
    main()
