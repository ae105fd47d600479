"""Near-duplicates: word shingles, MinHash sketches in bands to find candidates, and exact Jaccard to decide.

Jaccard similarity of two texts is that of their sets of five-word shingles, case and the punctuation of prose left out
(Broder, "On the resemblance and containment of documents", 1997). Signs that carry meaning, such as those of sums and of
code, and emoji are words of their own, and so is each character of a language that puts no blanks between words. With 20
bands of 6 hashes a pair of similarity s is looked at with probability 1 - (1 - s^6)^20: 0.997 at 0.8, 0.92 at 0.7
(Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from llmops_tui.words import WORD

SHINGLE_WORDS = 5
BANDS, HASHES = 20, 6
_SIGNS = "+*/=<>^|~\\\\#@$%&¬±×÷°€£¥₹\u2190-\u23ff\u2600-\u27bf\U0001f000-\U0001faff"
# A hyphen within a word joins it; before a number or a blank it is a minus.
_WORD = re.compile(rf"{WORD}|[{_SIGNS}]|(?<!\w)-|-(?=[\s\d])")
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_BATCH = 20_000
_ALL_PAIRS = 24
_SEED = 42

Hashes = npt.NDArray[np.uint64]


class Shingler:
    """Turns texts into hashes of their word shingles; the hash of a word is kept, so that it is made once."""

    def __init__(self, words: int = SHINGLE_WORDS) -> None:
        self._width = words
        self._known: dict[str, int] = {}

    def shingles(self, texts: Iterable[str]) -> tuple[Hashes, npt.NDArray[np.int64]]:
        """The shingles of all texts in one array, and where each text's begin; a text has one at the least.

        A text of fewer words than a shingle is one shingle of all its words.
        """
        known = self._known
        ids: list[int] = []
        counts: list[int] = []
        for text in texts:
            words = _WORD.findall(text.lower())
            for word in words:
                if word not in known:
                    known[word] = int.from_bytes(
                        blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "little"
                    )
            ids += [known[word] for word in words]
            # Short texts are filled up, so that each has a shingle.
            missing = self._width - len(words)
            if missing > 0:
                ids += [0] * missing
            counts.append(max(len(words), self._width))
        flat = np.array(ids, np.uint64)
        rolled = np.zeros(max(0, len(flat) - self._width + 1), np.uint64)
        for k in range(self._width):
            rolled = rolled * _PRIME + flat[k : k + len(rolled)]
        rolled ^= rolled >> np.uint64(29)
        rolled *= np.uint64(0xBF58476D1CE4E5B9)
        rolled ^= rolled >> np.uint64(32)
        lengths = np.array(counts, np.int64)
        begins = np.concatenate(([0], np.cumsum(lengths)))
        inside = np.ones(len(flat), bool)
        for k in range(1, self._width):
            inside[begins[1:] - k] = False
        kept = lengths - self._width + 1
        return rolled[inside[: len(rolled)]], np.concatenate(([0], np.cumsum(kept)))


def band_keys(hashes: Hashes, begins: npt.NDArray[np.int64]) -> Hashes:
    """The keys of each text's bands, as an array of texts × 20."""
    from rensa import RMinHash

    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, begins.astype(np.uint64), BANDS * HASHES, _SEED)
    digests = np.array(matrix.to_rows(), np.uint64).reshape(-1, BANDS, HASHES)
    keys = np.zeros(digests.shape[:2], np.uint64)
    for k in range(HASHES):
        keys = (keys ^ digests[:, :, k]) * _PRIME
        keys ^= keys >> np.uint64(31)
    return keys


@dataclass(frozen=True)
class Pair:
    """Two texts by position, the earlier first, and their exact Jaccard similarity."""

    left: int
    right: int
    similarity: float


class Sketches:
    """The sketches of many texts, added in batches."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._shingler = Shingler()
        self._keys: list[Hashes] = []
        self._shingles: list[Hashes] = []
        self._texts: list[str] = []

    def __len__(self) -> int:
        return len(self._shingles) + len(self._texts)

    def add(self, texts: Iterable[str], frame: bytes = b"") -> None:
        """Add texts; their positions go on from those before. Only texts with the same ``frame`` make pairs."""
        for text in texts:
            self._texts.append(text)
            self._frames.append(frame)
            if len(self._texts) >= _BATCH:
                self._sketch()

    def _sketch(self) -> None:
        if not self._texts:
            return
        hashes, begins = self._shingler.shingles(self._texts)
        self._keys.append(band_keys(hashes, begins))
        self._shingles += [np.unique(part) for part in np.split(hashes, begins[1:-1])]
        self._texts = []

    def similarity(self, left: int, right: int) -> float:
        """The exact Jaccard similarity of two texts by their shingles."""
        a, b = self._shingles[left], self._shingles[right]
        both = len(np.intersect1d(a, b, assume_unique=True))
        return both / (len(a) + len(b) - both)

    def pairs(self, threshold: float = 0.8, split_at: int | None = None) -> Iterator[Pair]:
        """The pairs of texts at least so similar; with ``split_at`` only pairs with one text on each side of it.

        Of more than 24 texts with the same key each is compared with the first and with its neighbour alone.
        """
        self._sketch()
        if not self._keys:
            return
        keys = np.concatenate(self._keys)
        seen: set[tuple[int, int]] = set()
        for band in range(BANDS):
            for left, right in _candidates(keys[:, band], split_at):
                if (left, right) not in seen and self._frames[left] == self._frames[right]:
                    seen.add((left, right))
                    similarity = self.similarity(left, right)
                    if similarity >= threshold:
                        yield Pair(left, right, similarity)


def _candidates(keys: Hashes, split_at: int | None) -> Iterator[tuple[int, int]]:
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    ends = np.flatnonzero(np.concatenate((ordered[1:] != ordered[:-1], [True]))) + 1
    begin = 0
    for end in ends.tolist():
        if end - begin > 1:
            group = order[begin:end].tolist()
            if split_at is not None:
                yield from _across(group, split_at)
            elif len(group) <= _ALL_PAIRS:
                yield from ((group[i], group[j]) for i in range(len(group)) for j in range(i + 1, len(group)))
            else:
                yield from ((group[0], other) for other in group[1:])
                yield from pairwise(group[1:])
        begin = end


def _across(group: list[int], split_at: int) -> Iterator[tuple[int, int]]:
    left = [i for i in group if i < split_at]
    right = [i for i in group if i >= split_at]
    if len(left) * len(right) > _ALL_PAIRS**2:
        left = left[:_ALL_PAIRS]
    yield from ((a, b) for a in left for b in right)


def clusters(pairs: Iterable[Pair]) -> list[list[int]]:
    """Texts that are joined by pairs, each cluster and the list of them in the order of position."""
    parent: dict[int, int] = {}

    def root(item: int) -> int:
        while parent.setdefault(item, item) != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for pair in pairs:
        a, b = root(pair.left), root(pair.right)
        parent[max(a, b)] = min(a, b)
    found: dict[int, list[int]] = {}
    for item in sorted(parent):
        found.setdefault(root(item), []).append(item)
    return [members for _, members in sorted(found.items())]
