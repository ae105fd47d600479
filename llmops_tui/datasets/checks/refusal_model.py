"""How probably a sentence refuses: a small linear model over classes of words, trained by ``tools/train_refusal.py``."""

from __future__ import annotations

import functools
import itertools
import json
import re
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WEIGHTS = Path(__file__).parent / "refusal_weights.json"
COLUMNS = 3072
# From so high a probability on a sentence counts; chosen by cross-validation over the half of the labelled set to tune on.
THRESHOLD = 0.5
# So near to each other stand two words that say something together.
_NEAR = 5
_MARKS = frozenset(".,;:!?")
# Of a sentence no more words are looked at.
_WORDS = 60
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|[.,;:!?]")
_ELIDED = re.compile(r"(?:j|n|m|t|s|l|d|c|qu|jusqu|lorsqu|puisqu)['’]", re.IGNORECASE)
_CONTRACTED = re.compile(r"['’](?:m|re|ve|ll|d|s)\b", re.IGNORECASE)

Floats = NDArray[np.float64]


@functools.cache
def _lexicon() -> tuple[dict[str, list[str]], list[tuple[str, str]], list[tuple[str, str]]]:
    """The classes of whole words, of how words begin, and of how they end."""
    whole: dict[str, list[str]] = {}
    begins: list[tuple[str, str]] = []
    ends: list[tuple[str, str]] = []
    for line in (Path(__file__).parent / "refusal_words.txt").read_text(encoding="utf-8").splitlines():
        name, sign, words = line.partition(": ")
        if not sign or line.startswith("#"):
            continue
        for word in words.split():
            if word.endswith("*"):
                begins.append((word[:-1], name))
            elif word.startswith("*"):
                ends.append((word[1:], name))
            else:
                whole.setdefault(word, []).append(name)
    return whole, begins, ends


@functools.lru_cache(maxsize=20_000)
def _classes(word: str) -> tuple[str, ...]:
    whole, begins, ends = _lexicon()
    found = [
        *whole.get(word, []),
        *(name for start, name in begins if word.startswith(start)),
        *(name for end, name in ends if len(word) > len(end) + 2 and word.endswith(end)),
    ]
    return tuple(dict.fromkeys(found))


def _words(sentence: str) -> list[str]:
    apart = _CONTRACTED.sub(" ", _ELIDED.sub(lambda found: f"{found.group()[:-1]} ", sentence))
    return [word.lower().replace("’", "'") for word in _WORD.findall(apart)[:_WORDS]]


def features(sentence: str) -> Floats:
    """The columns of a sentence, of shape (COLUMNS,): classes, which stand near each other in a clause, and words, hashed."""
    words = _words(sentence)
    bare = [word for word in words if word not in _MARKS]
    told = _told(words)
    named = {f"c {name}": 0.5 for *_, classes in told for name in classes}
    if words:
        named[f"^ {'+'.join(_classes(words[0])) or '*'}"] = 0.5
    for first, second in itertools.combinations(told, 2):
        if second[1] == first[1] and second[0] - first[0] <= _NEAR:
            named |= {f"p {a} {b}": 0.5 for a in first[2] for b in second[2]}
    for _, group in itertools.groupby(told, key=lambda one: one[1]):
        here = sorted({name for *_, classes in group for name in classes})
        named |= {f"t {' '.join(three)}": 0.25 for three in itertools.combinations(here, 3)}
    named |= {f"w {word}": 0.25 for word in bare} | {f"b {a} {b}": 0.25 for a, b in itertools.pairwise(["^", *bare])}
    found = np.zeros(COLUMNS)
    for name, value in named.items():
        found[zlib.crc32(name.encode()) % COLUMNS] += value
    norm = float(np.linalg.norm(found))
    return found / norm if norm else found


def _told(words: list[str]) -> list[tuple[int, int, tuple[str, ...]]]:
    """The words that have classes: their places, their clauses, their classes."""
    clause = 0
    told = []
    for place, word in enumerate(words):
        if word in _MARKS:
            clause += 1
        elif classes := _classes(word):
            told.append((place, clause, classes))
    return told


@functools.cache
def _weights() -> Floats:
    return np.array(json.loads(WEIGHTS.read_text(encoding="utf-8")))


def probability(sentence: str) -> float:
    """How probably the sentence refuses, from 0 to 1."""
    weights = _weights()
    return float(1 / (1 + np.exp(-(features(sentence) @ weights[:-1] + weights[-1]))))
