"""How abusive a text is: a small linear model over hashed words and letters, trained by ``tools/train_toxicity.py``."""

from __future__ import annotations

import functools
import json
import re
import zlib
from pathlib import Path

import numpy as np

from llmops_tui.datasets.checks.sentences import sentences, unquoted
from llmops_tui.datasets.checks.texts import offensive_words
from llmops_tui.evaluation.statistics.bootstrap import Floats

WEIGHTS = Path(__file__).parent / "toxicity_weights.json"
# Beside the hashed columns: words of the list, and such words said to somebody.
_HASHED = 4096
_OWN = 6
# From so high a probability on a sentence counts; chosen by cross-validation over the halves of the labelled sets to tune on.
THRESHOLD = 0.4
COLUMNS = _HASHED + _OWN
_LISTED = 20
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_YOU = re.compile(r"\b(?:you|your|you're|yourself|u)\b")
_CALLED = re.compile(r"\byou (?:\w+ ){0,2}$|\byou(?:'re| are) (?:\w+ ){0,4}$")
_THREAT = re.compile(
    r"\b(?:i'll|i will|i'm going to|gonna|i'd)\b.{0,30}\b(?:you|your|them)\b|\b(?:die|rot|burn|choke|suffer)\b"
)
_THEY = re.compile(
    r"^(?:all (?:of )?)?(?:the |those |these )?\w+(?: people)? (?:are|should|ought|deserve|belong|have no|just)\b"
)


def features(text: str) -> Floats:
    """The columns of a text, of shape (COLUMNS,): words, pairs of words and letters of words, hashed, and what is counted."""
    bare = unquoted(text).lower().replace("’", "'")
    words = _WORD.findall(bare)
    found = np.zeros(COLUMNS)
    for kind, grams in (
        ("w", words),
        ("b", [f"{a} {b}" for a, b in zip(["^", *words], [*words, "$"], strict=True)]),
        ("c", [f"^{w}$"[i : i + 4] for w in words for i in range(max(1, len(w) - 1))]),
    ):
        for gram in grams:
            found[zlib.crc32(f"{kind}{gram}".encode()) % _HASHED] += 0.4 if kind == "c" else 1.0
    norm = float(np.linalg.norm(found))
    if norm:
        found /= norm
    listed = offensive_words(bare)
    places = [bare.find(word.lower()) for word in listed[:_LISTED]]
    found[_HASHED:] = (
        min(len(listed), 2) / 2,
        float(any(_CALLED.search(bare[:place]) for place in places)),
        float(bool(listed) and _YOU.search(bare) is not None),
        float(_YOU.search(bare) is not None) / 2,
        float(_THREAT.search(bare) is not None),
        float(_THEY.search(bare) is not None) / 2,
    )
    return found


@functools.cache
def _weights() -> Floats:
    return np.array(json.loads(WEIGHTS.read_text(encoding="utf-8")))


def toxicity(text: str) -> tuple[float, str]:
    """The probability that the most abusive sentence of a text is abusive, and that sentence."""
    weights = _weights()
    parts = sentences(text) or [""]
    scores = [float(features(part) @ weights[:-1] + weights[-1]) for part in parts]
    worst = max(range(len(parts)), key=lambda i: scores[i])
    return float(1 / (1 + np.exp(-scores[worst]))), parts[worst]
