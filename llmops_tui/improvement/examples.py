"""Worked examples for a prompt: rows of the reflect part that are far from each other in meaning."""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from llmops_tui.improvement.candidates import Example
from llmops_tui.words import WORDS

Vectors = npt.NDArray[np.float32]
_BUCKETS = 512
_MOST_CHARACTERS = 1200


def usable(examples: Sequence[Example]) -> list[Example]:
    """Those that are short enough to be shown, each question once."""
    found: dict[str, Example] = {}
    for one in examples:
        if one.right.strip() and len(one.text) <= _MOST_CHARACTERS:
            found.setdefault(one.asked.strip().lower(), one)
    return list(found.values())


def word_vectors(texts: Sequence[str]) -> Vectors:
    """Vectors of length 1 by the words of texts, hashed: what stands in for embeddings where there is no embedder.

    Shape (texts, 512); words that most texts have count little (inverse document frequency).
    """
    counts = np.zeros((len(texts), _BUCKETS), np.float32)
    for n, text in enumerate(texts):
        for word in set(WORDS.findall(text.lower())):
            bucket = int.from_bytes(blake2b(word.encode("utf-8", "replace"), digest_size=4).digest(), "little")
            counts[n, bucket % _BUCKETS] += 1
    spread = np.log((1 + len(texts)) / (1 + (counts > 0).sum(axis=0))) + 1
    weighted = counts * spread.astype(np.float32)
    lengths = np.linalg.norm(weighted, axis=1, keepdims=True)
    return np.asarray(weighted / np.where(lengths > 0, lengths, 1), np.float32)


def diverse(vectors: Vectors, count: int, draw: int, seed: int) -> list[int]:
    """The places of so many vectors that are far from each other.

    From a drawn one on, the next is each time the one that is farthest from all that were taken:
    Gonzalez, "Clustering to Minimize the Maximum Intercluster Distance", Theoretical Computer Science 38, 1985. ``vectors`` have
    shape (rows, dimensions) and length 1.
    """
    if not len(vectors):
        return []
    chosen = [random.Random(f"{seed}:{draw}").randrange(len(vectors))]  # noqa: S311
    nearest = vectors @ vectors[chosen[0]]
    while len(chosen) < min(count, len(vectors)):
        masked = nearest.copy()
        masked[chosen] = np.inf
        chosen.append(int(masked.argmin()))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    return chosen
